//! Looks for the vault's coins on the chain, at the source that the node uses.
//!
//! bitcoind is walked block by block from the vault's birthday, and only blocks that concern it, the tip
//! and now and then a mark on the way are kept; servers are asked for the vault's scripts. Pure of locks:
//! every step goes through [`Look::with`], and none is held while something is asked.

use std::collections::BTreeSet;
use std::time::Duration;

use bdk_electrum::BdkElectrumClient;
use bdk_esplora::{EsploraAsyncExt, esplora_client};
use bdk_wallet::Update;
use bdk_wallet::chain::BlockId;
use bitcoin::{Block, Txid};

use super::VaultFault;
use super::look::{Look, SyncFault};
use crate::chain::{Bitcoind, ChainSource, RpcFault, connect_electrum};

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Requests to an Esplora server at a time.
const ABREAST: usize = 2;
/// Scripts in one request to an Electrum server.
const BATCH: usize = 10;
/// Blocks between two marks of a long walk, after which it is not begun anew.
const MARK_EVERY: u32 = 500;
/// Of a larger mempool nothing is looked at: deposits are seen when they confirm.
const LARGEST_MEMPOOL: usize = 10_000;

impl From<RpcFault> for SyncFault {
    fn from(fault: RpcFault) -> SyncFault {
        SyncFault::Away(fault.to_string())
    }
}

/// What is remembered between two looks at bitcoind.
#[derive(Default)]
pub(super) struct Memory {
    mempool: BTreeSet<Txid>,
}

/// Looks once. `whole` looks at servers for scripts beyond those handed out, too.
pub(super) async fn look(
    vault: &Look<'_>,
    source: &ChainSource,
    whole: bool,
    memory: &mut Memory,
) -> Result<(), SyncFault> {
    match source {
        ChainSource::Bitcoind { host, port, auth } => {
            let bitcoind = Bitcoind::new(host, *port, auth, PATIENCE)?;
            walk(vault, &bitcoind).await?;
            waiting(vault, &bitcoind, memory).await
        }
        ChainSource::Esplora { url } => {
            let client = esplora_client::Builder::new(url)
                .timeout(PATIENCE.as_secs())
                .build_async()
                .map_err(|error| SyncFault::Away(error.to_string()))?;
            let away = |error: Box<esplora_client::Error>| SyncFault::Away(error.to_string());
            let now = vault.now();
            let update: Update = if whole {
                let (request, gap) =
                    vault.with(|open| (open.watched.0.start_full_scan_at(now), open.gap()))?;
                client.full_scan(request, gap, ABREAST).await.map_err(away)?.into()
            } else {
                let request = vault.with(|open| open.watched.0.start_sync_with_revealed_spks_at(now))?;
                client.sync(request, ABREAST).await.map_err(away)?.into()
            };
            apply(vault, update).await
        }
        ChainSource::Electrum { url } => {
            let now = vault.now();
            let scan = if whole {
                let (request, gap) =
                    vault.with(|open| (open.watched.0.start_full_scan_at(now).build(), open.gap()))?;
                Err((request, gap))
            } else {
                Ok(vault.with(|open| open.watched.0.start_sync_with_revealed_spks_at(now).build())?)
            };
            let known = vault.with(|open| {
                let txs = open.watched.0.tx_graph().full_txs().map(|node| node.tx);
                txs.collect::<Vec<_>>()
            })?;
            let url = url.clone();
            let asked = tokio::task::spawn_blocking(move || {
                let client = BdkElectrumClient::new(connect_electrum(&url, PATIENCE)?);
                client.populate_tx_cache(known);
                let update: Update = match scan {
                    Ok(request) => client.sync(request, BATCH, false)?.into(),
                    Err((request, gap)) => client.full_scan(request, gap, BATCH, false)?.into(),
                };
                Ok::<Update, electrum_client::Error>(update)
            });
            let update = asked.await.map_err(|error| SyncFault::Away(error.to_string()))?;
            apply(vault, update.map_err(|error| SyncFault::Away(error.to_string()))?).await
        }
    }
}

async fn apply(vault: &Look<'_>, update: Update) -> Result<(), SyncFault> {
    vault
        .learn(true, move |open| {
            open.watched.0.apply_update(update).map_err(|_| {
                VaultFault::Chain("what the server said does not connect to what is known".to_owned())
            })
        })
        .await?;
    Ok(())
}

/// Takes in the blocks since the last look.
async fn walk(vault: &Look<'_>, bitcoind: &Bitcoind) -> Result<(), SyncFault> {
    let shorter = || SyncFault::Away("the chain became shorter: its next blocks are waited for".to_owned());
    let (tip, _) = bitcoind.tip().await?;
    let (mut base, taken_back) = fork(vault, bitcoind).await?;
    // The block that stands where the lowest one that was taken back stood.
    let instead = match taken_back {
        Some(height) => {
            let hash = bitcoind.hash_at(height).await?.filter(|_| height <= tip).ok_or_else(shorter)?;
            Some(BlockId { height, hash })
        }
        None => None,
    };
    let birthday = vault.with(|open| open.row.vault.birthday)?;
    let start = match (base.height, birthday) {
        // Nothing is known yet.
        (0, Some(birthday)) => birthday.max(1),
        // Addresses that were paid long ago would be handed out again.
        (0, None) => {
            return Err(SyncFault::Away("bitcoind is read from a block on, and this vault has none: set it once more, with its “From block”".to_owned()));
        }
        (height, _) => height.saturating_add(1),
    };
    let start = instead.map_or(start, |instead| start.min(instead.height));
    let mut before = (start.checked_sub(1) == Some(base.height)).then_some(base.hash);
    for height in start..=tip {
        let hash = bitcoind.hash_at(height).await?.ok_or_else(shorter)?;
        let block = bitcoind.block(hash).await?;
        if before.is_some_and(|before| block.header.prev_blockhash != before) {
            return Err(SyncFault::Away("the chain changed while it was read".to_owned()));
        }
        before = Some(hash);
        vault.passes(height, tip);
        let concerns = vault.with(|open| block.txdata.iter().any(|tx| open.watched.concerns(tx)))?;
        let replaces = instead.is_some_and(|instead| instead.height == height);
        if concerns || replaces || height == tip || height % MARK_EVERY == 0 {
            let above = instead.filter(|instead| instead.height > height);
            take_in(vault, block, base, BlockId { height, hash }, above, height == tip).await?;
            base = BlockId { height, hash };
        }
    }
    if start > tip {
        vault.learn(true, |_| Ok(())).await?;
    }
    Ok(())
}

async fn take_in(
    vault: &Look<'_>,
    block: Block,
    base: BlockId,
    at: BlockId,
    above: Option<BlockId>,
    last: bool,
) -> Result<(), SyncFault> {
    vault
        .learn(last, move |open| {
            let connected = open.watched.connect(&block, base, at, above);
            connected.map_err(|()| VaultFault::Chain("a block does not connect to what is known".to_owned()))
        })
        .await?;
    Ok(())
}

/// The highest block that both the vault and bitcoind's best chain have, and the height of the lowest one above
/// it that only the vault has.
async fn fork(vault: &Look<'_>, bitcoind: &Bitcoind) -> Result<(BlockId, Option<u32>), SyncFault> {
    let known: Vec<BlockId> =
        vault.with(|open| open.watched.0.checkpoints().map(|point| point.block_id()).collect())?;
    let mut taken_back = None;
    for block in known {
        if block.height == 0 || bitcoind.hash_at(block.height).await? == Some(block.hash) {
            return Ok((block, taken_back));
        }
        taken_back = Some(block.height);
    }
    Err(SyncFault::Away("the vault knows no block, not even the first one".to_owned()))
}

/// Takes in what waits to be confirmed, where the mempool is small enough to be read.
async fn waiting(vault: &Look<'_>, bitcoind: &Bitcoind, memory: &mut Memory) -> Result<(), SyncFault> {
    let mempool: BTreeSet<Txid> = bitcoind.mempool().await?.into_iter().collect();
    if mempool.len() > LARGEST_MEMPOOL {
        memory.mempool.clear();
        return Ok(());
    }
    let mut seen = Vec::new();
    for txid in mempool.difference(&memory.mempool) {
        if let Some(tx) = bitcoind.waiting(*txid).await?
            && vault.with(|open| open.watched.concerns(&tx))?
        {
            seen.push(tx);
        }
    }
    let now = vault.now();
    let gone: Vec<Txid> = vault.with(|open| {
        let ours = open.watched.0.transactions();
        let waiting = ours.filter(|tx| tx.chain_position.is_unconfirmed()).map(|tx| tx.tx_node.txid);
        waiting.filter(|txid| !mempool.contains(txid)).collect()
    })?;
    memory.mempool = mempool;
    if seen.is_empty() && gone.is_empty() {
        return Ok(());
    }
    vault
        .learn(false, move |open| {
            open.watched.0.apply_unconfirmed_txs(seen.into_iter().map(|tx| (tx, now)));
            open.watched.0.apply_evicted_txs(gone.into_iter().map(|txid| (txid, now)));
            Ok(())
        })
        .await?;
    Ok(())
}
