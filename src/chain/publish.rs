//! Hands a transaction to a chain source.

use std::time::Duration;

use bitcoin::Transaction;
use bitcoin::consensus::encode::serialize_hex;
use electrum_client::{ElectrumApi, Error};
use serde_json::json;

use super::electrum;
use super::http::{client, innermost};
use super::rpc::{Bitcoind, RpcFault};
use super::source::ChainSource;

const PATIENCE: Duration = Duration::from_secs(10);

/// What a source that was reached said to a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Published {
    /// It waits for a block there: since now, or before.
    Taken,
    /// It is in a block.
    InBlock,
    /// Not now. Its fee is too low for what waits at the moment, what it spends is spent or not known there, or the
    /// source has troubles of its own: what a server answers does not tell these apart for sure. The source's words.
    Refused(String),
}

/// Hands `transaction` to `source`.
///
/// # Errors
/// When the source does not answer; the text says why.
pub async fn publish(source: &ChainSource, transaction: &Transaction) -> Result<Published, String> {
    match source {
        ChainSource::Bitcoind { host, port, auth } => {
            let bitcoind = Bitcoind::new(host, *port, auth, PATIENCE).map_err(|fault| fault.to_string())?;
            let sent: Result<String, RpcFault> =
                bitcoind.call("sendrawtransaction", json!([serialize_hex(transaction)])).await;
            match sent {
                Ok(_) => Ok(Published::Taken),
                // It is warming up (RPC_IN_WARMUP).
                Err(RpcFault::Refused { code: -28, message, .. }) => Err(message),
                Err(RpcFault::Refused { message, .. }) => Ok(refusal(message)),
                Err(RpcFault::Away(why)) => Err(why),
            }
        }
        ChainSource::Esplora { url } => {
            let to = format!("{}/tx", url.trim_end_matches('/'));
            let sent = client(PATIENCE).post(to).body(serialize_hex(transaction)).send().await;
            let answer = sent.map_err(innermost)?;
            let status = answer.status();
            if status.is_success() {
                return Ok(Published::Taken);
            }
            // The words of the bitcoind behind it come with 400, as a rule.
            let words = answer.text().await.map_err(innermost)?;
            Ok(refusal(if status.as_u16() == 400 { words } else { format!("it answered {status}") }))
        }
        ChainSource::Electrum { url } => {
            let (url, transaction) = (url.clone(), transaction.clone());
            let asked = tokio::task::spawn_blocking(move || {
                electrum::connect(&url, PATIENCE)?.transaction_broadcast(&transaction)
            });
            match asked.await.map_err(|error| error.to_string())? {
                Ok(_) => Ok(Published::Taken),
                Err(Error::Protocol(words)) => Ok(refusal(words.to_string())),
                Err(error) => Err(error.to_string()),
            }
        }
    }
}

/// What the words of a bitcoind mean; servers pass them on inside of their own.
fn refusal(words: String) -> Published {
    const IN_BLOCK: [&str; 2] = ["already in block chain", "already in utxo set"];
    const WAITS: [&str; 3] =
        ["txn-already-known", "txn-already-in-mempool", "txn-same-nonwitness-data-in-mempool"];
    let low = words.to_lowercase();
    let says = |any: &[&str]| any.iter().any(|one| low.contains(one));
    if says(&IN_BLOCK) {
        Published::InBlock
    } else if says(&WAITS) {
        Published::Taken
    } else {
        // A server's page may be long.
        Published::Refused(words.chars().take(200).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bitcoinds_words_are_told_apart_through_a_servers() {
        let esplora = |words: &str| {
            refusal(format!(r#"sendrawtransaction RPC error: {{"code":-26,"message":"{words}"}}"#))
        };
        for words in ["Transaction already in block chain", "Transaction outputs already in utxo set"] {
            assert_eq!((refusal(words.to_owned()), esplora(words)), (Published::InBlock, Published::InBlock));
        }
        assert_eq!(esplora("txn-already-in-mempool"), Published::Taken);
        for words in ["min relay fee not met, 0 < 110", "bad-txns-inputs-missingorspent", "non-final", ""] {
            assert!(matches!(esplora(words), Published::Refused(_)), "{words}");
        }
        assert_eq!(refusal("x".repeat(9_000)), Published::Refused("x".repeat(200)));
    }
}
