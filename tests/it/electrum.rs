//! An Electrum server over a real bitcoind, for tests: what LDK Node's and the vault's Electrum clients call.
//!
//! It is never behind, for it shares the Esplora server's index; it tells of nothing by itself. It can come back on
//! the port that it had.

use std::sync::Arc;

use bitcoin::consensus::encode::serialize_hex;
use bitcoin::hashes::{Hash, sha256, sha256d};
use bitcoin::{Block, Txid};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::bitcoind::Bitcoind;
use crate::esplora::{Face, Index};

/// A running server; it ends, and hangs up on everybody, when dropped.
pub(crate) struct Electrum {
    pub(crate) port: u16,
    _stop: DropGuard,
}

impl Electrum {
    pub(crate) async fn new(bitcoind: &Bitcoind) -> Electrum {
        Electrum::on(bitcoind, 0).await
    }

    /// On a port that was chosen before; 0 is any.
    pub(crate) async fn on(bitcoind: &Bitcoind, port: u16) -> Electrum {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("the port is free");
        let port = listener.local_addr().expect("a bound listener has an address").port();
        let (stop, tasks, face) =
            (CancellationToken::new(), TaskTracker::new(), Arc::new(Face::over(bitcoind)));
        let (told, peers) = (stop.clone(), tasks.clone());
        tasks.spawn(stop.clone().run_until_cancelled_owned(async move {
            loop {
                // One client that was gone before it was let in is no reason to close to the others.
                match listener.accept().await {
                    Ok((stream, _)) => {
                        peers.spawn(told.clone().run_until_cancelled_owned(serve(stream, Arc::clone(&face))));
                    }
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        }));
        Electrum { port, _stop: stop.drop_guard() }
    }

    pub(crate) fn url(&self) -> String {
        format!("tcp://127.0.0.1:{}", self.port)
    }
}

async fn serve(stream: TcpStream, face: Arc<Face>) {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let ask: Value = serde_json::from_str(&line).expect("a client writes JSON");
        let method = ask["method"].as_str().unwrap_or_default();
        let mut answer = match answer(&face, method, &ask["params"]).await {
            Ok(result) => json!({ "jsonrpc": "2.0", "id": ask["id"], "result": result }),
            Err(message) => {
                json!({ "jsonrpc": "2.0", "id": ask["id"], "error": { "code": 1, "message": message } })
            }
        }
        .to_string();
        answer.push('\n');
        if write.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn answer(face: &Face, method: &str, params: &Value) -> Result<Value, String> {
    if method == "blockchain.transaction.broadcast" {
        let sent = face.rpc.call("sendrawtransaction", json!([params[0]])).await;
        return sent.map_err(|refused| format!("{refused:?}"));
    }
    let index = face.fresh().await.map_err(|failure| failure.1)?;
    let height = |value: &Value| value.as_u64().and_then(|height| usize::try_from(height).ok());
    let header = |height: usize| index.blocks.get(height).map(|block| serialize_hex(&block.header));
    let absent = || "no such thing".to_owned();
    Ok(match method {
        "server.version" => json!(["test", "1.4"]),
        "server.ping" => Value::Null,
        "blockchain.estimatefee" | "blockchain.relayfee" => json!(0.00001),
        "blockchain.headers.subscribe" => {
            let tip = index.blocks.len() - 1;
            json!({ "height": tip, "hex": header(tip) })
        }
        "blockchain.block.header" => json!(height(&params[0]).and_then(header).ok_or_else(absent)?),
        "blockchain.block.headers" => {
            let start = height(&params[0]).ok_or_else(absent)?;
            let headers: Vec<String> =
                (start..).map_while(header).take(height(&params[1]).unwrap_or(0)).collect();
            json!({ "count": headers.len(), "hex": headers.concat(), "max": 2_016 })
        }
        "blockchain.scripthash.subscribe" => Value::Null,
        "blockchain.scripthash.get_history" => history(&index, &params[0]).ok_or_else(absent)?,
        "blockchain.scripthash.listunspent" => json!([]),
        "blockchain.transaction.get" => {
            let tx = id(&params[0]).and_then(|txid| index.txs.get(&txid)).ok_or_else(absent)?;
            json!(serialize_hex(&tx.tx))
        }
        "blockchain.transaction.get_merkle" => {
            let txid = id(&params[0]).ok_or_else(absent)?;
            let height = index.txs.get(&txid).and_then(|seen| seen.height).ok_or_else(absent)?;
            let (merkle, pos) = branch(&index.blocks[height], txid);
            json!({ "block_height": height, "merkle": merkle, "pos": pos })
        }
        other => return Err(format!("{other} is not served here")),
    })
}

fn id(value: &Value) -> Option<Txid> {
    value.as_str()?.parse().ok()
}

/// Confirmed first, in the chain's order.
fn history(index: &Index, script: &Value) -> Option<Value> {
    let mut bytes: [u8; 32] = hex::decode(script.as_str()?).ok()?.try_into().ok()?;
    bytes.reverse();
    let (confirmed, waiting) = index.history(&sha256::Hash::from_byte_array(bytes));
    let confirmed =
        confirmed.iter().rev().map(|txid| json!({ "tx_hash": txid, "height": index.txs[txid].height }));
    let waiting = waiting.iter().map(|txid| json!({ "tx_hash": txid, "height": 0, "fee": 200 }));
    Some(confirmed.chain(waiting).collect())
}

/// The hashes beside the way from a transaction up to the merkle root, and its place in the block.
fn branch(block: &Block, txid: Txid) -> (Vec<String>, usize) {
    let mut row: Vec<sha256d::Hash> =
        block.txdata.iter().map(|tx| sha256d::Hash::from(tx.compute_txid())).collect();
    let place = row.iter().position(|id| *id == sha256d::Hash::from(txid)).expect("the block holds it");
    let (mut at, mut beside) = (place, Vec::new());
    while row.len() > 1 {
        if row.len() % 2 == 1 {
            row.push(*row.last().expect("not empty"));
        }
        beside.push(row[at ^ 1].to_string());
        at /= 2;
        row = row
            .chunks(2)
            .map(|pair| {
                sha256d::Hash::hash(&[pair[0].as_byte_array().as_slice(), pair[1].as_byte_array()].concat())
            })
            .collect();
    }
    (beside, place)
}
