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
    /// It has it: since now, or before, in a block or waiting for one.
    Taken,
    /// Not now, but perhaps later: its fee is too low for what waits at the moment. The source's words.
    NotNow(String),
    /// It spends what the source does not know, or what is spent. The source's words.
    Inputs(String),
    /// No, for another reason. The source's words.
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
            // The words of the bitcoind behind it come with 400; other answers are about the server.
            if status.as_u16() != 400 {
                return Err(format!("it answered {status}"));
            }
            Ok(refusal(answer.text().await.map_err(innermost)?))
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
    const HAS_IT: [&str; 5] = [
        "already in block chain",
        "already in utxo set",
        "txn-already-known",
        "txn-already-in-mempool",
        "txn-same-nonwitness-data-in-mempool",
    ];
    const FEE: [&str; 3] = ["min fee not met", "min relay fee not met", "mempool full"];
    const INPUTS: [&str; 2] = ["missingorspent", "missing inputs"];
    let low = words.to_lowercase();
    let says = |any: &[&str]| any.iter().any(|one| low.contains(one));
    if says(&HAS_IT) {
        Published::Taken
    } else if says(&FEE) {
        Published::NotNow(words)
    } else if says(&INPUTS) {
        Published::Inputs(words)
    } else {
        Published::Refused(words)
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
            assert_eq!((refusal(words.to_owned()), esplora(words)), (Published::Taken, Published::Taken));
        }
        for words in ["mempool min fee not met, 110 < 500", "min relay fee not met, 0 < 110"] {
            assert!(matches!(refusal(words.to_owned()), Published::NotNow(_)), "{words}");
            assert!(matches!(esplora(words), Published::NotNow(_)), "{words}");
        }
        assert!(matches!(esplora("bad-txns-inputs-missingorspent"), Published::Inputs(_)));
        for words in ["insufficient fee, rejecting replacement", "non-BIP68-final", "dust"] {
            assert!(matches!(esplora(words), Published::Refused(_)), "{words}");
        }
    }
}
