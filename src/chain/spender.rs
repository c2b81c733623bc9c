//! Which transaction spent an output: the node library does not tell what closed a channel.

use std::time::Duration;

use bitcoin::absolute::LockTime;
use bitcoin::{OutPoint, Sequence, Transaction, Txid};
use electrum_client::ElectrumApi;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::check::fetch_text;
use super::electrum;
use super::http::client;
use super::rpc::Bitcoind;
use super::source::ChainSource;

const PATIENCE: Duration = Duration::from_secs(10);

/// A bitcoind has no index of spends: so many blocks are read at most, and so many waiting transactions.
pub const MOST_BLOCKS: u32 = 300;
const MOST_WAITING: usize = 2_000;
/// Blocks of about a month.
const A_MONTH: u32 = 4_200;

/// What is known of a transaction that spends an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spend {
    /// The transaction.
    pub txid: Txid,
    /// Of its first input.
    pub sequence: Sequence,
    /// When it may be mined.
    pub lock_time: LockTime,
    /// The block that it is in; none while it waits for one.
    pub height: Option<u32>,
}

/// Whether an output was spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spent {
    /// Not that the source knew.
    No,
    /// By this.
    By(Spend),
    /// In a block that was not looked at; or its own transaction was never in a block, and the source cannot tell.
    Somewhere,
    /// The source has an index of all transactions, and the output's own is not among them, nor does it wait.
    Never,
}

impl Spend {
    fn of(transaction: &Transaction, height: Option<u32>) -> Spend {
        let sequence = transaction.input.first().map_or(Sequence::MAX, |input| input.sequence);
        Spend { txid: transaction.compute_txid(), sequence, lock_time: transaction.lock_time, height }
    }

    /// Whether it is a channel's commitment, by its mark (BOLT 3).
    pub fn is_commitment(&self) -> bool {
        self.sequence.0 >> 24 == 0x80 && self.lock_time.to_consensus_u32() >> 24 == 0x20
    }
}

/// The transaction that spends `outpoint`, confirmed or not; looked for from the block at `height` on. A bitcoind is
/// asked for [`MOST_BLOCKS`] blocks at most.
///
/// # Errors
/// When the source does not answer; the text says why.
pub async fn spender(source: &ChainSource, outpoint: OutPoint, height: u32) -> Result<Option<Txid>, String> {
    match source {
        ChainSource::Esplora { url } => Ok(in_outspend(url, outpoint).await?.map(|(txid, _)| txid)),
        _ => Ok(match spent(source, outpoint, height).await? {
            Spent::By(spend) => Some(spend.txid),
            Spent::No | Spent::Somewhere | Spent::Never => None,
        }),
    }
}

/// Like [`spender`], with what the transaction is.
///
/// # Errors
/// As [`spender`].
pub async fn spent(source: &ChainSource, outpoint: OutPoint, height: u32) -> Result<Spent, String> {
    match source {
        ChainSource::Bitcoind { host, port, auth } => {
            let bitcoind = Bitcoind::new(host, *port, auth, PATIENCE).map_err(|fault| fault.to_string())?;
            in_blocks(&bitcoind, outpoint, height).await.map_err(|fault| fault.to_string())
        }
        ChainSource::Esplora { url } => {
            #[derive(Deserialize)]
            struct Told {
                locktime: u32,
                vin: Vec<Input>,
            }
            #[derive(Deserialize)]
            struct Input {
                sequence: u32,
            }
            let Some((txid, height)) = in_outspend(url, outpoint).await? else { return Ok(Spent::No) };
            let told: Told = in_json(url, &format!("tx/{txid}")).await?;
            let sequence = told.vin.first().map_or(Sequence::MAX, |input| Sequence(input.sequence));
            let lock_time = LockTime::from_consensus(told.locktime);
            Ok(Spent::By(Spend { txid, sequence, lock_time, height }))
        }
        ChainSource::Electrum { url } => {
            let url = url.clone();
            let asked = tokio::task::spawn_blocking(move || in_history(&url, outpoint));
            asked.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
        }
    }
}

/// The same for an output that is spent in a block before the one at `height`: a bitcoind is asked for what came in the
/// month before it, the latest first.
///
/// # Errors
/// As [`spender`].
pub async fn spent_before(source: &ChainSource, outpoint: OutPoint, height: u32) -> Result<Spent, String> {
    let mut from = height;
    loop {
        from = from.saturating_sub(MOST_BLOCKS);
        let told = spent(source, outpoint, from).await?;
        if told != Spent::Somewhere || from == 0 || from.saturating_add(A_MONTH) <= height {
            return Ok(told);
        }
    }
}

/// What spends it, and the block that that is in.
async fn in_outspend(url: &str, outpoint: OutPoint) -> Result<Option<(Txid, Option<u32>)>, String> {
    #[derive(Deserialize)]
    struct Told {
        txid: Option<Txid>,
        #[serde(default)]
        status: Status,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Status {
        confirmed: bool,
        block_height: Option<u32>,
    }
    let told: Told = in_json(url, &format!("tx/{}/outspend/{}", outpoint.txid, outpoint.vout)).await?;
    let height = told.status.block_height.filter(|_| told.status.confirmed);
    Ok(told.txid.map(|txid| (txid, height)))
}

/// The outputs that a transaction spends, and what it pays, satoshi; none where the source does not know it. A bitcoind
/// is asked for what waits for a block, and for what is in the one at `height`.
///
/// # Errors
/// When the source does not answer; the text says why.
pub async fn contents(
    source: &ChainSource,
    txid: Txid,
    height: Option<u32>,
) -> Result<Option<(Vec<OutPoint>, u64)>, String> {
    let of = |transaction: &Transaction| {
        let spent = transaction.input.iter().map(|input| input.previous_output).collect();
        let paid = transaction.output.iter().map(|output| output.value.to_sat());
        (spent, paid.fold(0, u64::saturating_add))
    };
    match source {
        ChainSource::Bitcoind { host, port, auth } => {
            let bitcoind = Bitcoind::new(host, *port, auth, PATIENCE).map_err(|fault| fault.to_string())?;
            let found = in_block_or_waiting(&bitcoind, txid, height).await;
            Ok(found.map_err(|fault| fault.to_string())?.as_ref().map(of))
        }
        ChainSource::Esplora { url } => {
            #[derive(Deserialize)]
            struct Told {
                vin: Vec<Input>,
                vout: Vec<Output>,
            }
            #[derive(Deserialize)]
            struct Input {
                txid: Txid,
                vout: u32,
            }
            #[derive(Deserialize)]
            struct Output {
                value: u64,
            }
            let told: Told = in_json(url, &format!("tx/{txid}")).await?;
            let paid = told.vout.iter().map(|output| output.value).fold(0, u64::saturating_add);
            let spent = told.vin.into_iter().map(|input| OutPoint::new(input.txid, input.vout));
            Ok(Some((spent.collect(), paid)))
        }
        ChainSource::Electrum { url } => {
            let url = url.clone();
            let asked = tokio::task::spawn_blocking(move || {
                electrum::connect(&url, PATIENCE)?.transaction_get(&txid)
            });
            let told = asked.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
            Ok(Some(of(&told)))
        }
    }
}

async fn in_block_or_waiting(
    bitcoind: &Bitcoind,
    txid: Txid,
    height: Option<u32>,
) -> Result<Option<Transaction>, super::rpc::RpcFault> {
    if let Some(height) = height
        && let Some(hash) = bitcoind.hash_at(height).await?
        && let Some(found) =
            bitcoind.block(hash).await?.txdata.into_iter().find(|one| one.compute_txid() == txid)
    {
        return Ok(Some(found));
    }
    bitcoind.waiting(txid).await
}

async fn in_json<T: DeserializeOwned>(url: &str, path: &str) -> Result<T, String> {
    let text = fetch_text(client(PATIENCE).get(format!("{}/{path}", url.trim_end_matches('/')))).await?;
    serde_json::from_str(&text).map_err(|_| "it did not answer in JSON".to_owned())
}

/// Whether a bitcoind has `txid` among what waits for a block. The other sources tell the wallet of every
/// transaction of its own, so that it needs no telling here.
///
/// # Errors
/// When the source does not answer; the text says why.
pub async fn waits(source: &ChainSource, txid: Txid) -> Result<bool, String> {
    let ChainSource::Bitcoind { host, port, auth } = source else { return Ok(false) };
    let bitcoind = Bitcoind::new(host, *port, auth, PATIENCE).map_err(|fault| fault.to_string())?;
    Ok(bitcoind.waiting(txid).await.map_err(|fault| fault.to_string())?.is_some())
}

fn spends(transaction: &Transaction, outpoint: OutPoint) -> bool {
    transaction.input.iter().any(|input| input.previous_output == outpoint)
}

async fn in_blocks(
    bitcoind: &Bitcoind,
    outpoint: OutPoint,
    from: u32,
) -> Result<Spent, super::rpc::RpcFault> {
    let unspent = json!([outpoint.txid, outpoint.vout, true]);
    if bitcoind.call::<Option<Value>>("gettxout", unspent).await?.is_some() {
        return Ok(Spent::No);
    }
    let (tip, _) = bitcoind.tip().await?;
    for height in from..=tip.min(from.saturating_add(MOST_BLOCKS)) {
        let Some(hash) = bitcoind.hash_at(height).await? else { break };
        let block = bitcoind.block(hash).await?;
        if let Some(found) = block.txdata.iter().find(|transaction| spends(transaction, outpoint)) {
            return Ok(Spent::By(Spend::of(found, Some(height))));
        }
    }
    for txid in bitcoind.mempool().await?.into_iter().take(MOST_WAITING) {
        let waiting = bitcoind.waiting(txid).await?;
        if let Some(found) = waiting.filter(|transaction| spends(transaction, outpoint)) {
            return Ok(Spent::By(Spend::of(&found, None)));
        }
    }
    Ok(if is_unknown(bitcoind, outpoint.txid).await? { Spent::Never } else { Spent::Somewhere })
}

/// Whether `txid` is in no block and does not wait for one, where a bitcoind can tell: it keeps an index of all.
async fn is_unknown(bitcoind: &Bitcoind, txid: Txid) -> Result<bool, super::rpc::RpcFault> {
    let indexes = match bitcoind.call::<Value>("getindexinfo", json!(["txindex"])).await {
        Ok(indexes) => indexes,
        // An old one, or what only speaks like one.
        Err(super::rpc::RpcFault::Refused { .. }) => return Ok(false),
        Err(fault) => return Err(fault),
    };
    Ok(indexes["txindex"]["synced"] == true && bitcoind.waiting(txid).await?.is_none())
}

fn in_history(url: &str, outpoint: OutPoint) -> Result<Spent, electrum_client::Error> {
    let client = electrum::connect(url, PATIENCE)?;
    let funding = client.transaction_get(&outpoint.txid)?;
    let output = usize::try_from(outpoint.vout).ok().and_then(|vout| funding.output.get(vout));
    let Some(output) = output else { return Ok(Spent::No) };
    for entry in client.script_get_history(&output.script_pubkey)? {
        let transaction = client.transaction_get(&entry.tx_hash)?;
        if spends(&transaction, outpoint) {
            let height = u32::try_from(entry.height).ok().filter(|height| *height > 0);
            return Ok(Spent::By(Spend::of(&transaction, height)));
        }
    }
    Ok(Spent::No)
}
