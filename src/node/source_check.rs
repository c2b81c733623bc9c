//! Asks the chain source whether it is there and on the right network, before the node is built.
//!
//! Why: a node built while its bitcoind is down takes genesis for its wallet's birthday, and one
//! started while its fee source is down fails to start (LDK.md).

use std::time::Duration;

use bitcoin::Network;
use serde_json::{Value, json};
use thiserror::Error;

use super::config::{ChainSource, RpcAuth};

const PATIENCE: Duration = Duration::from_secs(10);

/// Why the chain source can't be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum SourceFault {
    /// It may come back: try again.
    #[error("the chain source {at} does not answer: {why}")]
    Unreachable {
        /// Where it was looked for.
        at: String,
        /// What went wrong.
        why: String,
    },
    /// Trying again will not help.
    #[error(
        "the chain source {at} is on `{theirs}`, but this node is set to `{ours}`: correct `network` or `chain`"
    )]
    WrongNetwork {
        /// Where.
        at: String,
        /// What it said.
        theirs: String,
        /// What is configured.
        ours: String,
    },
}

/// bitcoind's user and password, read from its cookie when it is told so.
///
/// # Errors
/// When the cookie is not there (bitcoind is down) or not of the form `user:password`.
pub(super) fn credentials(auth: &RpcAuth) -> std::io::Result<(String, String)> {
    match auth {
        RpcAuth::Password { user, password } => Ok((user.clone(), password.clone())),
        RpcAuth::CookieFile(path) => {
            let cookie = std::fs::read_to_string(path)?;
            let (user, password) = cookie.trim().split_once(':').ok_or_else(|| {
                std::io::Error::new(std::io::ErrorKind::InvalidData, "the cookie is not `user:password`")
            })?;
            Ok((user.to_owned(), password.to_owned()))
        }
    }
}

/// Asks once.
pub(super) async fn check(source: &ChainSource, network: Network) -> Result<(), SourceFault> {
    match source {
        ChainSource::Bitcoind { host, port, auth } => {
            let at = format!("{host}:{port}");
            let unreachable = |why: String| SourceFault::Unreachable { at: at.clone(), why };
            let (user, password) = credentials(auth).map_err(|error| match auth {
                RpcAuth::CookieFile(path) => unreachable(format!("its cookie {}: {error}", path.display())),
                RpcAuth::Password { .. } => unreachable(error.to_string()),
            })?;
            let ask =
                json!({"jsonrpc": "1.0", "id": "tollhouse", "method": "getblockchaininfo", "params": []});
            let request = client().post(format!("http://{at}/")).basic_auth(user, Some(password)).json(&ask);
            let answer: Value = fetch(request).await.map_err(unreachable)?;
            let theirs = answer["result"]["chain"].as_str().unwrap_or("unknown");
            if theirs == network.to_core_arg() {
                Ok(())
            } else {
                let ours = network.to_core_arg().to_owned();
                Err(SourceFault::WrongNetwork { at, theirs: theirs.to_owned(), ours })
            }
        }
        ChainSource::Esplora { url } => {
            let unreachable = |why: String| SourceFault::Unreachable { at: url.clone(), why };
            let base = url.trim_end_matches('/');
            let genesis =
                fetch_text(client().get(format!("{base}/block-height/0"))).await.map_err(unreachable)?;
            let ours = bitcoin::constants::genesis_block(network).block_hash().to_string();
            if genesis.trim() == ours {
                Ok(())
            } else {
                let theirs = format!("a chain whose first block is {}", genesis.trim());
                Err(SourceFault::WrongNetwork { at: url.clone(), theirs, ours: network.to_string() })
            }
        }
    }
}

fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .timeout(PATIENCE)
        .no_proxy()
        .build()
        .expect("a client with a timeout and no other setting can be built")
}

async fn fetch(request: reqwest::RequestBuilder) -> Result<Value, String> {
    let text = fetch_text(request).await?;
    serde_json::from_str(&text).map_err(|_| "it did not answer in JSON".to_owned())
}

async fn fetch_text(request: reqwest::RequestBuilder) -> Result<String, String> {
    let answer = request.send().await.map_err(innermost)?;
    let status = answer.status();
    if !status.is_success() {
        return Err(match status.as_u16() {
            401 | 403 => "it refused the user and password".to_owned(),
            other => format!("it answered {other}"),
        });
    }
    answer.text().await.map_err(innermost)
}

/// The deepest cause says most, such as "connection refused".
fn innermost(error: reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = &error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
