//! Which transaction spent an output: the node library does not tell what closed a channel.

use std::time::Duration;

use bitcoin::{OutPoint, Transaction};
use electrum_client::ElectrumApi;
use serde::Deserialize;

use super::check::fetch_text;
use super::electrum;
use super::http::client;
use super::rpc::Bitcoind;
use super::source::ChainSource;

const PATIENCE: Duration = Duration::from_secs(10);

/// A bitcoind has no index of spends: so many blocks are read at most, and so many waiting transactions.
const MOST_BLOCKS: u32 = 300;
const MOST_WAITING: usize = 2_000;

/// The transaction that spends `outpoint`, confirmed or not; looked for from the block at `height` on.
///
/// # Errors
/// When the source does not answer; the text says why.
pub async fn spender(
    source: &ChainSource,
    outpoint: OutPoint,
    height: u32,
) -> Result<Option<bitcoin::Txid>, String> {
    match source {
        ChainSource::Bitcoind { host, port, auth } => {
            let bitcoind = Bitcoind::new(host, *port, auth, PATIENCE).map_err(|fault| fault.to_string())?;
            in_blocks(&bitcoind, outpoint, height).await.map_err(|fault| fault.to_string())
        }
        ChainSource::Esplora { url } => {
            #[derive(Deserialize)]
            struct Spend {
                txid: Option<bitcoin::Txid>,
            }
            let (base, txid, vout) = (url.trim_end_matches('/'), outpoint.txid, outpoint.vout);
            let text = fetch_text(client(PATIENCE).get(format!("{base}/tx/{txid}/outspend/{vout}"))).await?;
            let spend: Spend =
                serde_json::from_str(&text).map_err(|_| "it did not answer in JSON".to_owned())?;
            Ok(spend.txid)
        }
        ChainSource::Electrum { url } => {
            let url = url.clone();
            let asked = tokio::task::spawn_blocking(move || in_history(&url, outpoint));
            asked.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
        }
    }
}

fn spends(transaction: &Transaction, outpoint: OutPoint) -> bool {
    transaction.input.iter().any(|input| input.previous_output == outpoint)
}

async fn in_blocks(
    bitcoind: &Bitcoind,
    outpoint: OutPoint,
    from: u32,
) -> Result<Option<bitcoin::Txid>, super::rpc::RpcFault> {
    let (tip, _) = bitcoind.tip().await?;
    for height in from..=tip.min(from.saturating_add(MOST_BLOCKS)) {
        let Some(hash) = bitcoind.hash_at(height).await? else { break };
        let block = bitcoind.block(hash).await?;
        if let Some(found) = block.txdata.iter().find(|transaction| spends(transaction, outpoint)) {
            return Ok(Some(found.compute_txid()));
        }
    }
    for txid in bitcoind.mempool().await?.into_iter().take(MOST_WAITING) {
        if bitcoind.waiting(txid).await?.is_some_and(|transaction| spends(&transaction, outpoint)) {
            return Ok(Some(txid));
        }
    }
    Ok(None)
}

fn in_history(url: &str, outpoint: OutPoint) -> Result<Option<bitcoin::Txid>, electrum_client::Error> {
    let client = electrum::connect(url, PATIENCE)?;
    let funding = client.transaction_get(&outpoint.txid)?;
    let output = usize::try_from(outpoint.vout).ok().and_then(|vout| funding.output.get(vout));
    let Some(output) = output else { return Ok(None) };
    for entry in client.script_get_history(&output.script_pubkey)? {
        if spends(&client.transaction_get(&entry.tx_hash)?, outpoint) {
            return Ok(Some(entry.tx_hash));
        }
    }
    Ok(None)
}
