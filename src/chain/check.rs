//! Asks the chain source whether it is there and on the right network, before the node is built.
//!
//! Why: a node built while its bitcoind is down takes genesis for its wallet's birthday, and one
//! started while its fee source is down fails to start (LDK.md).

use std::time::Duration;

use bitcoin::Network;
use electrum_client::ElectrumApi;
use serde_json::{Value, json};
use thiserror::Error;

use super::electrum;
use super::http::{client, innermost};
use super::rpc::{Bitcoind, RpcFault};
use super::source::ChainSource;

pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Why the chain source can't be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SourceFault {
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

/// Asks once; takes at most some seconds.
///
/// # Errors
/// When it is away, or on another network.
pub async fn check(source: &ChainSource, network: Network) -> Result<(), SourceFault> {
    match source {
        ChainSource::Bitcoind { host, port, auth } => {
            let at = format!("{host}:{port}");
            let unreachable =
                |fault: RpcFault| SourceFault::Unreachable { at: at.clone(), why: fault.to_string() };
            let bitcoind = Bitcoind::new(host, *port, auth, PATIENCE).map_err(unreachable)?;
            let answer: Value = bitcoind.call("getblockchaininfo", json!([])).await.map_err(unreachable)?;
            let theirs = answer["chain"].as_str().unwrap_or("unknown");
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
            let genesis = fetch_text(client(PATIENCE).get(format!("{base}/block-height/0")))
                .await
                .map_err(unreachable)?;
            same_genesis(url, genesis.trim(), network)
        }
        ChainSource::Electrum { url } => {
            let at = url.clone();
            let asked = tokio::task::spawn_blocking(move || {
                let client = electrum::connect(&at, PATIENCE)?;
                client.block_header(0).map(|header| header.block_hash().to_string())
            });
            let unreachable = |why: String| SourceFault::Unreachable { at: url.clone(), why };
            let genesis = match tokio::time::timeout(PATIENCE, asked).await {
                Ok(Ok(genesis)) => genesis.map_err(|error| unreachable(error.to_string()))?,
                Ok(Err(error)) => return Err(unreachable(error.to_string())),
                Err(_) => return Err(unreachable("it took too long".to_owned())),
            };
            same_genesis(url, &genesis, network)
        }
    }
}

fn same_genesis(at: &str, theirs: &str, network: Network) -> Result<(), SourceFault> {
    let ours = bitcoin::constants::genesis_block(network).block_hash().to_string();
    if theirs == ours {
        return Ok(());
    }
    let theirs = match theirs.len() == 64 && theirs.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        true => format!("a chain whose first block is {theirs}"),
        false => "no chain: it answers no block's hash".to_owned(),
    };
    Err(SourceFault::WrongNetwork { at: at.to_owned(), theirs, ours: network.to_string() })
}

/// The text that a request brings.
pub(super) async fn fetch_text(request: reqwest::RequestBuilder) -> Result<String, String> {
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
