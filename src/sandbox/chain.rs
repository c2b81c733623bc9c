//! A regtest chain in the box: real blocks, really mined, over the `bitcoin` crate.
//!
//! What holds, as a real node would have it: proof of work (regtest's), BIP34 heights, the witness commitment,
//! subsidy halving every 150 blocks, fees, coinbase maturity, no double or over-spending, absolute and
//! relative locktimes (BIP65 fields, BIP68, BIP113), weight and sigop limits. The integration tests feed its
//! blocks to a real bitcoind.
//!
//! What it must not be used for: **scripts and signatures are not verified**, so whoever reaches its RPC can spend
//! any coin; there are no reorganisations and no peers. The mempool lives in memory only.

mod best;
mod coins;
mod faucet;
mod file;
mod locks;
mod mempool;
mod miner;
mod rejection;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use bitcoin::block::Header;
use bitcoin::pow::Work;
use bitcoin::{Address, Amount, Block, BlockHash, OutPoint, ScriptBuf, Transaction, Txid};
use tokio::sync::watch;

use crate::clock::Clock;

use best::BestChain;
use coins::Coins;
use file::BlockFile;
use mempool::Mempool;

pub use coins::Coin;
pub use faucet::FaucetError;
pub use file::FileError;
pub use mempool::{Family, MempoolEntry};
pub use rejection::{MIN_RELAY_SAT_PER_KVBYTE, Rejection};

/// The chain, its unspent outputs and its mempool. Clones share one chain.
#[derive(Clone, Debug)]
pub struct Chain(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    accepted: watch::Sender<u64>,
    height: watch::Sender<u32>,
}

#[derive(Debug)]
struct State {
    best: BestChain,
    coins: Coins,
    mempool: Mempool,
    file: Option<BlockFile>,
}

/// The best block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tip {
    /// Blocks above genesis.
    pub height: u32,
    /// Its hash.
    pub hash: BlockHash,
    /// Its timestamp, seconds since the Unix epoch.
    pub time: u32,
    /// The median time of it and its ten ancestors (BIP113), seconds.
    pub median_time: u32,
    /// The work in the whole chain.
    pub work: Work,
}

/// A block's header with what the chain knows of it.
#[derive(Clone, Copy, Debug)]
pub struct PlacedHeader {
    /// The header.
    pub header: Header,
    /// Blocks above genesis.
    pub height: u32,
    /// 1 for the tip.
    pub confirmations: u32,
    /// The median time of it and its ten ancestors, seconds.
    pub median_time: u32,
    /// The work in the chain up to it.
    pub work: Work,
    /// Its transactions, the coinbase included.
    pub tx_count: usize,
    /// The block after it.
    pub next: Option<BlockHash>,
}

impl Chain {
    /// A chain of the regtest genesis block alone, in memory.
    pub fn new(clock: Arc<dyn Clock>) -> Chain {
        Chain::from_state(clock, State::genesis())
    }

    /// The chain that `path` holds, made if absent. The file is append-only, in the format of bitcoind's `blk*.dat`.
    ///
    /// A record that a crash cut short at the end is dropped.
    ///
    /// # Errors
    /// When the file cannot be read or written, or holds something other than this chain's blocks.
    pub fn open(path: &Path, clock: Arc<dyn Clock>) -> Result<Chain, FileError> {
        let (mut file, blocks) = BlockFile::open(path)?;
        let mut state = State::genesis();
        if blocks.is_empty() {
            file.append(&state.best.block_at(0).expect("genesis is always there"))?;
            file.sync()?;
        }
        for (offset, block) in blocks {
            let connected = state.read_back(Arc::new(block));
            connected.map_err(|reason| FileError::Corrupt { path: path.to_owned(), offset, reason })?;
        }
        state.file = Some(file);
        Ok(Chain::from_state(clock, state))
    }

    fn from_state(clock: Arc<dyn Clock>, state: State) -> Chain {
        let height = watch::Sender::new(state.best.height());
        Chain(Arc::new(Shared { clock, state: Mutex::new(state), accepted: watch::Sender::new(0), height }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("nothing panics while it holds the chain's lock")
    }

    fn now_secs(&self) -> u64 {
        self.0.clock.now().secs()
    }

    /// Mines `count` blocks to the faucet, with what the mempool holds. Returns their hashes, which are durable.
    ///
    /// # Errors
    /// When the chain's file cannot be written; blocks that were written before that stay.
    pub fn mine(&self, count: u32) -> Result<Vec<BlockHash>, FileError> {
        self.mine_to(&faucet::script_pubkey(), count)
    }

    /// Mines `count` blocks whose subsidy and fees `script` receives, spendable 100 blocks later.
    ///
    /// # Errors
    /// As [`Chain::mine`].
    pub fn mine_to(&self, script: &ScriptBuf, count: u32) -> Result<Vec<BlockHash>, FileError> {
        let mut hashes = Vec::new();
        let mut guard = self.state();
        let state = &mut *guard;
        let mut outcome = Ok(());
        for _ in 0..count {
            let block = Arc::new(miner::mine(&state.best, &state.mempool, script, self.now_secs()));
            if let Some(file) = &mut state.file {
                outcome = file.append(&block);
            }
            if outcome.is_err() {
                break;
            }
            hashes.push(block.block_hash());
            state.mempool.confirmed(&block);
            state.coins.connect(&block, state.best.height() + 1).expect("mined from checked transactions");
            state.best.push(block);
        }
        if let Some(file) = &mut state.file {
            outcome = outcome.and(file.sync());
        }
        self.0.height.send_replace(state.best.height());
        drop(guard);
        outcome.map(|()| hashes)
    }

    /// Takes a transaction into the mempool; one that is there already is fine. It may replace others by a higher fee.
    ///
    /// # Errors
    /// Why it was not taken.
    pub fn submit_tx(&self, tx: Transaction) -> Result<Txid, Rejection> {
        let txid = tx.compute_txid();
        let now = self.now_secs();
        let mut state = self.state();
        let State { best, coins, mempool, .. } = &mut *state;
        let is_new = mempool.submit(tx, best, coins, now)?;
        drop(state);
        if is_new {
            self.0.accepted.send_modify(|count| *count += 1);
        }
        Ok(txid)
    }

    /// Sends `amount` to `address` from what was mined to the faucet; it waits in the mempool for a block.
    ///
    /// # Errors
    /// When too little has been mined and has matured: 100 blocks make the first 50 bitcoin spendable.
    pub fn faucet_send(&self, address: &Address, amount: Amount) -> Result<Txid, FaucetError> {
        let tx = {
            let state = self.state();
            faucet::pay(&state.best, &state.coins, &state.mempool, address.script_pubkey(), amount)?
        };
        Ok(self.submit_tx(tx)?)
    }

    /// The best block.
    pub fn tip(&self) -> Tip {
        self.state().best.tip()
    }

    /// The best block's height.
    pub fn height(&self) -> u32 {
        self.state().best.height()
    }

    /// Every block, genesis first.
    pub fn blocks(&self) -> Vec<Arc<Block>> {
        self.state().best.blocks().to_vec()
    }

    /// The block of that hash.
    pub fn block(&self, hash: &BlockHash) -> Option<Arc<Block>> {
        let state = self.state();
        state.best.block_at(state.best.height_of(hash)?)
    }

    /// The hash of the block at that height.
    pub fn block_hash(&self, height: u32) -> Option<BlockHash> {
        self.state().best.hash_at(height)
    }

    /// The header of that hash and where it stands.
    pub fn header(&self, hash: &BlockHash) -> Option<PlacedHeader> {
        let state = self.state();
        state.best.placed(state.best.height_of(hash)?)
    }

    /// The height of the block that confirmed a transaction.
    pub fn confirmed_at(&self, txid: &Txid) -> Option<u32> {
        self.state().best.confirmed_at(txid)
    }

    /// An unspent confirmed output.
    pub fn coin(&self, outpoint: &OutPoint) -> Option<Coin> {
        self.state().coins.get(outpoint).cloned()
    }

    /// An unspent output as the next block will have it: the mempool's outputs count, what it spends does not.
    pub fn coin_with_mempool(&self, outpoint: &OutPoint) -> Option<Coin> {
        let state = self.state();
        state.mempool.coin(outpoint, &state.coins, state.best.height())
    }

    /// The transactions that wait for a block, parents before children.
    pub fn mempool_txids(&self) -> Vec<Txid> {
        self.state().mempool.txids()
    }

    /// A transaction that waits for a block.
    pub fn mempool_entry(&self, txid: &Txid) -> Option<MempoolEntry> {
        self.state().mempool.entry(txid)
    }

    /// Wakes at each transaction that enters the mempool; the value only counts them.
    pub fn watch_mempool(&self) -> watch::Receiver<u64> {
        self.0.accepted.subscribe()
    }

    /// Wakes at each new best block; the value is its height.
    pub fn watch_height(&self) -> watch::Receiver<u32> {
        self.0.height.subscribe()
    }
}

impl State {
    fn genesis() -> State {
        State { best: BestChain::genesis(), coins: Coins::default(), mempool: Mempool::default(), file: None }
    }

    /// Puts a block from the file on top. The file is our own, so this guards against damage, not against forgers.
    fn read_back(&mut self, block: Arc<Block>) -> Result<(), &'static str> {
        if self.best.height() == 0 && block.block_hash() == self.best.tip().hash {
            return Ok(());
        }
        self.best.fits(&block)?;
        self.coins.connect(&block, self.best.height() + 1)?;
        self.best.push(block);
        Ok(())
    }
}
