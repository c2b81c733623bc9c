//! An Esplora server over a real bitcoind, for tests: what LDK Node's Esplora chain source calls. Its index serves
//! the Electrum server too.
//!
//! It scans bitcoind's blocks and mempool before each answer, so an answer is never behind. A path that it does not
//! know is 501, not 404: the client would take a 404 for "there is no such transaction".

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bitcoin::consensus::encode::{deserialize_hex, serialize, serialize_hex};
use bitcoin::hashes::{Hash, sha256};
use bitcoin::{Block, BlockHash, MerkleBlock, OutPoint, ScriptBuf, Transaction, TxOut, Txid};
use http::StatusCode;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::bitcoind::{Bitcoind, Refused, Rpc};

/// Confirmed transactions on one page of a script's history.
const PAGE: usize = 25;
/// Blocks in one list.
const BLOCKS: usize = 10;

/// A running server; it ends when dropped.
pub(crate) struct Esplora {
    pub(crate) url: String,
    _stop: DropGuard,
}

impl Esplora {
    pub(crate) async fn new(bitcoind: &Bitcoind) -> Esplora {
        Esplora::with(Face::over(bitcoind)).await
    }

    /// One that says that what is to be in a block within two hours pays so much, sat/vB; what may wait pays the least.
    pub(crate) async fn in_a_rush(bitcoind: &Bitcoind, urgent: f64) -> Esplora {
        Esplora::with(Face { urgent, ..Face::over(bitcoind) }).await
    }

    async fn with(face: Face) -> Esplora {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port is free");
        let url = format!("http://{}", listener.local_addr().expect("a bound listener has an address"));
        let stop = CancellationToken::new();
        let served = axum::serve(listener, router(Arc::new(face)))
            .with_graceful_shutdown(stop.clone().cancelled_owned());
        TaskTracker::new().spawn(served.into_future());
        Esplora { url, _stop: stop.drop_guard() }
    }
}

pub(crate) struct Face {
    pub(crate) rpc: Rpc,
    index: Mutex<Index>,
    /// What a transaction pays that is to be in a block within two hours, sat/vB.
    urgent: f64,
}

/// What bitcoind holds, by what is asked for.
#[derive(Default)]
pub(crate) struct Index {
    pub(crate) blocks: Vec<Block>,
    heights: HashMap<BlockHash, usize>,
    pub(crate) txs: HashMap<Txid, Seen>,
    /// Transactions that touch a script, in the order of the chain, then the mempool's.
    histories: HashMap<sha256::Hash, Vec<Txid>>,
    spenders: HashMap<OutPoint, (Txid, usize)>,
    mempool: BTreeSet<Txid>,
}

pub(crate) struct Seen {
    pub(crate) tx: Transaction,
    pub(crate) height: Option<usize>,
}

/// Why there is no answer: an HTTP status and a line.
#[derive(Debug)]
pub(crate) struct Failure(StatusCode, pub(crate) String);

type Answer = Result<Response, Failure>;

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.0, self.1).into_response()
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Failure {
        Failure(StatusCode::BAD_GATEWAY, format!("{refused:?}"))
    }
}

fn absent() -> Failure {
    Failure(StatusCode::NOT_FOUND, "not found".into())
}

fn router(face: Arc<Face>) -> Router {
    Router::new()
        .route("/blocks", get(blocks))
        .route("/blocks/tip/hash", get(tip_hash))
        .route("/blocks/tip/height", get(tip_height))
        .route("/block-height/{height}", get(block_hash))
        .route("/block/{hash}/header", get(header))
        .route("/block/{hash}/status", get(block_status))
        .route("/tx", post(broadcast))
        .route("/tx/{txid}", get(tx))
        .route("/tx/{txid}/raw", get(raw_tx))
        .route("/tx/{txid}/status", get(tx_status))
        .route("/tx/{txid}/merkleblock-proof", get(merkle_block))
        .route("/tx/{txid}/outspend/{vout}", get(outspend))
        .route("/scripthash/{hash}/txs", get(history))
        .route("/scripthash/{hash}/txs/chain/{last}", get(older_history))
        .route("/fee-estimates", get(fee_estimates))
        .fallback(|uri: http::Uri| async move { (StatusCode::NOT_IMPLEMENTED, uri.to_string()) })
        .with_state(face)
}

type Shared = State<Arc<Face>>;

async fn blocks(State(face): Shared) -> Answer {
    let index = face.fresh().await?;
    let newest: Vec<Value> =
        (0..index.blocks.len()).rev().take(BLOCKS).map(|h| index.block_json(h)).collect();
    Ok(axum::Json(newest).into_response())
}

async fn tip_hash(State(face): Shared) -> Answer {
    let index = face.fresh().await?;
    Ok(index.tip().to_string().into_response())
}

async fn tip_height(State(face): Shared) -> Answer {
    let index = face.fresh().await?;
    Ok((index.blocks.len() - 1).to_string().into_response())
}

async fn block_hash(State(face): Shared, Path(height): Path<usize>) -> Answer {
    let index = face.fresh().await?;
    let block = index.blocks.get(height).ok_or_else(absent)?;
    Ok(block.block_hash().to_string().into_response())
}

async fn header(State(face): Shared, Path(hash): Path<BlockHash>) -> Answer {
    let index = face.fresh().await?;
    let height = *index.heights.get(&hash).ok_or_else(absent)?;
    Ok(serialize_hex(&index.blocks[height].header).into_response())
}

async fn block_status(State(face): Shared, Path(hash): Path<BlockHash>) -> Answer {
    let index = face.fresh().await?;
    let height = index.heights.get(&hash).copied();
    let next = height.and_then(|height| index.blocks.get(height + 1)).map(Block::block_hash);
    let status = json!({ "in_best_chain": height.is_some(), "height": height, "next_best": next });
    Ok(axum::Json(status).into_response())
}

async fn broadcast(State(face): Shared, body: String) -> Answer {
    let sent = face.rpc.call("sendrawtransaction", json!([body])).await;
    let txid =
        sent.map_err(|refused| Failure(StatusCode::BAD_REQUEST, format!("sendrawtransaction: {refused:?}")))?;
    Ok(txid.as_str().unwrap_or_default().to_owned().into_response())
}

async fn tx(State(face): Shared, Path(txid): Path<Txid>) -> Answer {
    let index = face.fresh().await?;
    Ok(axum::Json(index.tx_json(&txid).ok_or_else(absent)?).into_response())
}

async fn raw_tx(State(face): Shared, Path(txid): Path<Txid>) -> Answer {
    let index = face.fresh().await?;
    Ok(serialize(&index.txs.get(&txid).ok_or_else(absent)?.tx).into_response())
}

async fn tx_status(State(face): Shared, Path(txid): Path<Txid>) -> Answer {
    let index = face.fresh().await?;
    Ok(axum::Json(index.status_json(&txid)).into_response())
}

async fn merkle_block(State(face): Shared, Path(txid): Path<Txid>) -> Answer {
    let index = face.fresh().await?;
    let height = index.txs.get(&txid).and_then(|seen| seen.height).ok_or_else(absent)?;
    let proof = MerkleBlock::from_block_with_predicate(&index.blocks[height], |other| *other == txid);
    Ok(serialize_hex(&proof).into_response())
}

async fn outspend(State(face): Shared, Path((txid, vout)): Path<(Txid, u32)>) -> Answer {
    let index = face.fresh().await?;
    index.txs.get(&txid).ok_or_else(absent)?;
    let spender = index.spenders.get(&OutPoint { txid, vout });
    let status = match spender {
        None => json!({ "spent": false }),
        Some((by, vin)) => json!({ "spent": true, "txid": by, "vin": vin, "status": index.status_json(by) }),
    };
    Ok(axum::Json(status).into_response())
}

async fn history(State(face): Shared, Path(script): Path<sha256::Hash>) -> Answer {
    let index = face.fresh().await?;
    let (confirmed, waiting) = index.history(&script);
    let page = waiting.iter().chain(confirmed.iter().take(PAGE)).filter_map(|txid| index.tx_json(txid));
    Ok(axum::Json(page.collect::<Vec<_>>()).into_response())
}

async fn older_history(State(face): Shared, Path((script, last)): Path<(sha256::Hash, Txid)>) -> Answer {
    let index = face.fresh().await?;
    let (confirmed, _) = index.history(&script);
    let older = confirmed.iter().skip_while(|txid| **txid != last).skip(1).take(PAGE);
    Ok(axum::Json(older.filter_map(|txid| index.tx_json(txid)).collect::<Vec<_>>()).into_response())
}

async fn fee_estimates(State(face): Shared) -> axum::Json<Value> {
    let targets = [1, 2, 3, 4, 5, 6, 10, 12, 20, 25, 144, 504, 1008];
    axum::Json(
        targets
            .iter()
            .map(|blocks: &i32| (blocks.to_string(), json!(if *blocks <= 12 { face.urgent } else { 1.0 })))
            .collect(),
    )
}

impl Face {
    pub(crate) fn over(bitcoind: &Bitcoind) -> Face {
        Face { rpc: bitcoind.rpc(), index: Mutex::default(), urgent: 1.0 }
    }

    async fn ask<T: DeserializeOwned>(&self, method: &str, params: Value) -> Result<T, Failure> {
        let answer = self.rpc.call(method, params).await?;
        serde_json::from_value(answer).map_err(|error| Failure(StatusCode::BAD_GATEWAY, error.to_string()))
    }

    /// The index, brought up to bitcoind's tip and mempool.
    pub(crate) async fn fresh(&self) -> Result<tokio::sync::MutexGuard<'_, Index>, Failure> {
        let undecodable = |_| Failure(StatusCode::BAD_GATEWAY, "not what it should be".into());
        let mut index = self.index.lock().await;
        let tip: BlockHash = self.ask("getbestblockhash", json!([])).await?;
        let mempool: BTreeSet<Txid> = self.ask("getrawmempool", json!([])).await?;
        if index.mempool.is_subset(&mempool) && !index.blocks.is_empty() && index.tip() == tip {
            for txid in mempool.difference(&index.mempool.clone()) {
                // One that just left the pool is looked for again at the next call.
                if let Ok(raw) = self.ask::<String>("getrawtransaction", json!([txid])).await {
                    index.add(deserialize_hex(&raw).map_err(undecodable)?, None);
                    index.mempool.insert(*txid);
                }
            }
            return Ok(index);
        }
        // Anything else than more of the same: read all again. A test's chain is short.
        let known: HashMap<BlockHash, Block> =
            std::mem::take(&mut *index).blocks.into_iter().map(|block| (block.block_hash(), block)).collect();
        let height: usize = self.ask::<Value>("getblockheader", json!([tip])).await?["height"]
            .as_u64()
            .and_then(|height| usize::try_from(height).ok())
            .ok_or_else(absent)?;
        for height in 0..=height {
            let hash: BlockHash = self.ask("getblockhash", json!([height])).await?;
            let block = match known.get(&hash) {
                Some(block) => block.clone(),
                None => {
                    let raw: String = self.ask("getblock", json!([hash, 0])).await?;
                    deserialize_hex(&raw).map_err(undecodable)?
                }
            };
            index.add_block(block);
        }
        drop(index);
        Box::pin(self.fresh()).await
    }
}

impl Index {
    fn tip(&self) -> BlockHash {
        self.blocks.last().expect("read before any answer").block_hash()
    }

    fn add_block(&mut self, block: Block) {
        let height = self.blocks.len();
        self.heights.insert(block.block_hash(), height);
        for tx in &block.txdata {
            self.add(tx.clone(), Some(height));
        }
        self.blocks.push(block);
    }

    fn add(&mut self, tx: Transaction, height: Option<usize>) {
        let txid = tx.compute_txid();
        let mut scripts: BTreeSet<ScriptBuf> =
            tx.output.iter().map(|output| output.script_pubkey.clone()).collect();
        for (vin, input) in tx.input.iter().enumerate() {
            scripts.extend(self.output(&input.previous_output).map(|spent| spent.script_pubkey.clone()));
            self.spenders.insert(input.previous_output, (txid, vin));
        }
        for script in scripts {
            self.histories.entry(sha256::Hash::hash(script.as_bytes())).or_default().push(txid);
        }
        self.txs.insert(txid, Seen { tx, height });
    }

    fn output(&self, outpoint: &OutPoint) -> Option<&TxOut> {
        self.txs.get(&outpoint.txid)?.tx.output.get(usize::try_from(outpoint.vout).ok()?)
    }

    /// A script's confirmed transactions, newest first, and its waiting ones.
    pub(crate) fn history(&self, script: &sha256::Hash) -> (Vec<Txid>, Vec<Txid>) {
        let all = self.histories.get(script).into_iter().flatten().rev().copied();
        all.partition(|txid| self.txs[txid].height.is_some())
    }

    fn block_json(&self, height: usize) -> Value {
        let block = &self.blocks[height];
        let mut times: Vec<u32> = self.blocks[(height + 1).saturating_sub(11)..=height]
            .iter()
            .map(|block| block.header.time)
            .collect();
        times.sort_unstable();
        json!({
            "id": block.block_hash(),
            "height": height,
            "version": block.header.version.to_consensus(),
            "timestamp": block.header.time,
            "tx_count": block.txdata.len(),
            "size": block.total_size(),
            "weight": block.weight().to_wu(),
            "merkle_root": block.header.merkle_root,
            "previousblockhash": (height > 0).then_some(block.header.prev_blockhash),
            "mediantime": times[times.len() / 2],
            "nonce": block.header.nonce,
            "bits": block.header.bits.to_consensus(),
            "difficulty": block.header.difficulty_float(),
        })
    }

    fn status_json(&self, txid: &Txid) -> Value {
        let Some(height) = self.txs.get(txid).and_then(|seen| seen.height) else {
            return json!({ "confirmed": false });
        };
        let block = &self.blocks[height];
        json!({
            "confirmed": true,
            "block_height": height,
            "block_hash": block.block_hash(),
            "block_time": block.header.time,
        })
    }

    fn tx_json(&self, txid: &Txid) -> Option<Value> {
        let tx = &self.txs.get(txid)?.tx;
        let spent: Vec<Option<&TxOut>> =
            tx.input.iter().map(|input| self.output(&input.previous_output)).collect();
        let taken: u64 = spent.iter().flatten().map(|output| output.value.to_sat()).sum();
        let given: u64 = tx.output.iter().map(|output| output.value.to_sat()).sum();
        let output_json =
            |output: &TxOut| json!({ "value": output.value.to_sat(), "scriptpubkey": output.script_pubkey });
        let inputs = tx.input.iter().zip(&spent).map(|(input, spent)| {
            json!({
                "txid": input.previous_output.txid,
                "vout": input.previous_output.vout,
                "prevout": spent.map(output_json),
                "scriptsig": input.script_sig,
                "witness": input.witness.iter().map(hex::encode).collect::<Vec<_>>(),
                "sequence": input.sequence,
                "is_coinbase": tx.is_coinbase(),
            })
        });
        Some(json!({
            "txid": txid,
            "version": tx.version,
            "locktime": tx.lock_time,
            "vin": inputs.collect::<Vec<_>>(),
            "vout": tx.output.iter().map(output_json).collect::<Vec<_>>(),
            "size": tx.total_size(),
            "weight": tx.weight().to_wu(),
            "fee": taken.saturating_sub(given),
            "status": self.status_json(txid),
        }))
    }
}
