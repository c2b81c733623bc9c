//! The best chain: blocks by height, hash and transaction, their times and their work.
//!
//! It only grows: there is one miner and no reorganisation.

use std::collections::HashMap;
use std::sync::Arc;

use bitcoin::consensus::Params;
use bitcoin::constants::genesis_block;
use bitcoin::pow::Work;
use bitcoin::{Block, BlockHash, Network, Target, Txid};

use super::{PlacedHeader, Tip};

/// Blocks whose median timestamp is a block's time for locktimes (BIP113).
const MEDIAN_TIME_SPAN: usize = 11;

#[derive(Debug)]
pub(super) struct BestChain {
    blocks: Vec<Arc<Block>>,
    hashes: Vec<BlockHash>,
    works: Vec<Work>,
    heights: HashMap<BlockHash, u32>,
    confirmed: HashMap<Txid, u32>,
}

impl BestChain {
    pub(super) fn genesis() -> BestChain {
        let mut best = BestChain {
            blocks: Vec::new(),
            hashes: Vec::new(),
            works: Vec::new(),
            heights: HashMap::new(),
            confirmed: HashMap::new(),
        };
        best.push(Arc::new(genesis_block(Params::new(Network::Regtest))));
        best
    }

    /// Adds a block that fits and whose coins are connected.
    pub(super) fn push(&mut self, block: Arc<Block>) {
        let height = u32::try_from(self.blocks.len()).expect("each block took time to mine");
        let hash = block.block_hash();
        let work = block.header.work();
        self.works.push(self.works.last().map_or(work, |below| *below + work));
        self.heights.insert(hash, height);
        self.confirmed.extend(block.txdata.iter().map(|tx| (tx.compute_txid(), height)));
        self.hashes.push(hash);
        self.blocks.push(block);
    }

    /// Whether a block is sound in itself and belongs on top.
    pub(super) fn fits(&self, block: &Block) -> Result<(), &'static str> {
        if block.header.prev_blockhash != self.tip().hash {
            return Err("a block does not follow the one before it");
        }
        if block.header.validate_pow(Target::MAX_ATTAINABLE_REGTEST).is_err() {
            return Err("a block has no proof of work");
        }
        if !block.check_merkle_root() || !block.check_witness_commitment() {
            return Err("a block's transactions are not those it commits to");
        }
        Ok(())
    }

    pub(super) fn height(&self) -> u32 {
        u32::try_from(self.blocks.len() - 1).expect("each block took time to mine")
    }

    pub(super) fn blocks(&self) -> &[Arc<Block>] {
        &self.blocks
    }

    pub(super) fn block_at(&self, height: u32) -> Option<Arc<Block>> {
        self.blocks.get(index(height)).cloned()
    }

    pub(super) fn hash_at(&self, height: u32) -> Option<BlockHash> {
        self.hashes.get(index(height)).copied()
    }

    pub(super) fn height_of(&self, hash: &BlockHash) -> Option<u32> {
        self.heights.get(hash).copied()
    }

    pub(super) fn confirmed_at(&self, txid: &Txid) -> Option<u32> {
        self.confirmed.get(txid).copied()
    }

    /// The median timestamp of the block at `height` (at most the tip's) and its ten ancestors.
    pub(super) fn median_time_past(&self, height: u32) -> u32 {
        let end = (index(height) + 1).min(self.blocks.len());
        let span = &self.blocks[end.saturating_sub(MEDIAN_TIME_SPAN)..end];
        let mut times: Vec<u32> = span.iter().map(|block| block.header.time).collect();
        times.sort_unstable();
        times[times.len() / 2]
    }

    pub(super) fn placed(&self, height: u32) -> Option<PlacedHeader> {
        let block = self.blocks.get(index(height))?;
        Some(PlacedHeader {
            header: block.header,
            height,
            confirmations: self.height() - height + 1,
            median_time: self.median_time_past(height),
            work: self.works[index(height)],
            tx_count: block.txdata.len(),
            next: self.hash_at(height + 1),
        })
    }

    pub(super) fn tip(&self) -> Tip {
        let height = self.height();
        let top = index(height);
        Tip {
            height,
            hash: self.hashes[top],
            time: self.blocks[top].header.time,
            median_time: self.median_time_past(height),
            work: self.works[top],
        }
    }
}

fn index(height: u32) -> usize {
    usize::try_from(height).expect("a usize holds 32 bits on every supported machine")
}
