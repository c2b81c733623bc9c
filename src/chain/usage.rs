//! Which of a wallet's scripts a server knows payments of.

use std::time::Duration;

use bitcoin::hashes::{Hash, sha256};
use bitcoin::{Script, ScriptBuf};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::Value;

use super::check::fetch_text;
use super::electrum;
use super::http::client;

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Requests to an Esplora server at a time; public ones refuse those who ask much at once.
const ABREAST: usize = 4;

/// A server that is asked for scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScriptServer<'a> {
    /// Esplora, by its address.
    Esplora(&'a str),
    /// Electrum, by its address.
    Electrum(&'a str),
}

impl ScriptServer<'_> {
    /// Whether each of the scripts was ever paid, in their order.
    ///
    /// # Errors
    /// When the server does not answer as it should; the text says what.
    pub async fn used(self, scripts: &[ScriptBuf]) -> Result<Vec<bool>, String> {
        match self {
            ScriptServer::Esplora(url) => {
                let base = url.trim_end_matches('/');
                let http = client(PATIENCE);
                let ask = |script: &ScriptBuf| {
                    let hash = sha256::Hash::hash(script.as_bytes());
                    let request = http.get(format!("{base}/scripthash/{hash}/txs"));
                    async move {
                        let text = fetch_text(request).await?;
                        let found: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
                        found.as_array().map(|all| !all.is_empty()).ok_or_else(|| "no list".to_owned())
                    }
                };
                let asked = stream::iter(scripts.iter().map(ask).collect::<Vec<_>>());
                let used = asked.buffered(ABREAST).try_collect().await;
                used.map_err(|why: String| format!("{url}: {why}"))
            }
            ScriptServer::Electrum(url) => {
                let (at, scripts) = (url.to_owned(), scripts.to_vec());
                let asked = tokio::task::spawn_blocking(move || {
                    use electrum_client::ElectrumApi;
                    let client = electrum::connect(&at, PATIENCE)?;
                    let scripts: Vec<&Script> = scripts.iter().map(|script| &**script).collect();
                    client.batch_script_get_history(scripts)
                });
                let histories = asked.await.map_err(|error| error.to_string())?;
                let histories = histories.map_err(|error| format!("{url}: {error}"))?;
                Ok(histories.iter().map(|history| !history.is_empty()).collect())
            }
        }
    }
}
