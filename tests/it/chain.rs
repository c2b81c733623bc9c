//! The in-box chain is proved against a real bitcoind: it takes every block, and says the same of every transaction.

use std::sync::Arc;
use std::time::Duration;

use bitcoin::absolute::LockTime;
use bitcoin::consensus::encode::serialize_hex;
use bitcoin::opcodes::all::OP_RETURN;
use bitcoin::script::Builder;
use bitcoin::{
    Address, Amount, Network, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid, Weight, Witness,
    transaction,
};
use serde_json::json;
use tempfile::TempDir;
use tollhouse::clock::{Clock, FixedClock, SystemClock};
use tollhouse::sandbox::chain::{Chain, FaucetError, FileError, Rejection};
use tollhouse::types::Timestamp;

use crate::bitcoind::{Bitcoind, Refused, assert_accepted, assert_block_accepted};

const SUBSIDY_SAT: u64 = 5_000_000_000;

/// A clock an hour back, so that a test may advance it and still make no block from the future.
fn clock() -> Arc<FixedClock> {
    FixedClock::at(SystemClock::new(Timestamp::default()).now().minus(Duration::from_secs(3_600)))
}

/// A script that anyone can satisfy, other than the faucet's: its coins are not the faucet's to spend.
fn anyone() -> ScriptBuf {
    Builder::new().push_int(2).into_script()
}

fn anyone_address() -> Address {
    Address::p2wsh(&anyone(), Network::Regtest)
}

/// A transaction that spends anyone-can-spend outputs to one more; what differs between cases is set afterwards.
fn spend(inputs: &[(OutPoint, Sequence)], outputs_sat: &[u64]) -> Transaction {
    let input = |(previous_output, sequence): &(OutPoint, Sequence)| TxIn {
        previous_output: *previous_output,
        script_sig: ScriptBuf::new(),
        sequence: *sequence,
        witness: Witness::from_slice(&[anyone().as_bytes()]),
    };
    let output =
        |sat: &u64| TxOut { value: Amount::from_sat(*sat), script_pubkey: anyone_address().script_pubkey() };
    Transaction {
        version: transaction::Version::TWO,
        lock_time: LockTime::ZERO,
        input: inputs.iter().map(input).collect(),
        output: outputs_sat.iter().map(output).collect(),
    }
}

/// The in-box chain and a bitcoind that is told of the same transactions and gets the same blocks.
struct Twins {
    chain: Chain,
    bitcoind: Bitcoind,
}

impl Twins {
    async fn start(clock: Arc<dyn Clock>) -> Twins {
        Twins { chain: Chain::new(clock), bitcoind: Bitcoind::start().await }
    }

    async fn mine(&self, count: u32) {
        for hash in self.chain.mine(count).expect("memory does not fail") {
            let block = self.chain.block(&hash).expect("just mined");
            assert_block_accepted(&self.bitcoind, &block, self.chain.height()).await;
        }
        assert_eq!(self.bitcoind.tip().await, self.chain.tip().hash);
        self.assert_same_mempool().await;
    }

    async fn assert_same_mempool(&self) {
        let theirs = self.bitcoind.expect("getrawmempool", json!([])).await;
        let mut theirs: Vec<Txid> = serde_json::from_value(theirs).expect("transaction ids");
        let mut ours = self.chain.mempool_txids();
        theirs.sort_unstable();
        ours.sort_unstable();
        assert_eq!(ours, theirs);
    }

    async fn send(&self, tx: &Transaction) -> Result<Txid, Rejection> {
        let verdict = self.chain.submit_tx(tx.clone());
        let theirs = self.bitcoind.call("sendrawtransaction", json!([serialize_hex(tx)])).await;
        match (&verdict, theirs) {
            (Ok(txid), theirs) => assert_eq!(theirs, Ok(json!(txid))),
            (Err(rejection), Err(Refused { message, .. })) => {
                assert!(
                    message.starts_with(&rejection.to_string()),
                    "we say {rejection}, bitcoind says {message}"
                );
            }
            (Err(rejection), Ok(_)) => panic!("we refuse what bitcoind takes: {rejection}"),
        }
        self.assert_same_mempool().await;
        verdict
    }

    async fn accepted(&self, tx: &Transaction) -> Txid {
        self.send(tx).await.expect("the transaction is in order")
    }

    /// A confirmed coin of that size.
    async fn coin(&self, sat: u64) -> OutPoint {
        let txid =
            self.chain.faucet_send(&anyone_address(), Amount::from_sat(sat)).expect("the faucet is full");
        let tx = self.chain.mempool_entry(&txid).expect("just sent").tx;
        self.accepted(&tx).await;
        self.mine(1).await;
        assert_eq!(self.chain.confirmed_at(&txid), Some(self.chain.height()));
        OutPoint { txid, vout: 0 }
    }
}

/// Coinbases, faucet payments, families in one block, replacement, both kinds of locktime and two halvings.
#[tokio::test]
async fn bitcoind_takes_every_block() {
    let clock = clock();
    let chain = Chain::new(clock.clone());
    chain.mine(99).expect("memory does not fail");
    let pay = |sat| chain.faucet_send(&anyone_address(), Amount::from_sat(sat));
    assert!(matches!(pay(1_000), Err(FaucetError::Dry { .. })), "no coinbase has matured");
    chain.mine(1).expect("memory does not fail");

    let first = OutPoint { txid: pay(1_000_000).expect("one coinbase has matured"), vout: 0 };
    for sat in [2_000, 3_000, 4_000] {
        pay(sat).expect("the change can be spent at once");
    }
    let parent =
        chain.submit_tx(spend(&[(first, Sequence::MAX)], &[500_000, 400_000])).expect("spends the faucet's");
    let halves = [
        (OutPoint { txid: parent, vout: 0 }, Sequence::MAX),
        (OutPoint { txid: parent, vout: 1 }, Sequence::MAX),
    ];
    let child = chain.submit_tx(spend(&halves, &[890_000])).expect("spends the parent's");
    let seen = chain.mempool_txids().len();
    chain.mine(1).expect("memory does not fail");
    assert!(chain.mempool_txids().is_empty());
    let block = chain.block(&chain.tip().hash).expect("the tip is there");
    assert_eq!(block.txdata.len(), seen + 1, "one block confirms the whole family");
    let fees: u64 = block.txdata[0].output[0].value.to_sat() - SUBSIDY_SAT;
    assert!(fees > 100_000 + 10_000, "the miner gets the fees");

    let mut locked = spend(&[(OutPoint { txid: child, vout: 0 }, Sequence::from_height(3))], &[880_000]);
    locked.lock_time = LockTime::from_consensus(chain.height() + 2);
    assert_eq!(chain.submit_tx(locked.clone()), Err(Rejection::NotFinal));
    chain.mine(2).expect("memory does not fail");
    chain.submit_tx(locked).expect("both locks are open");
    chain.mine(1).expect("memory does not fail");
    clock.advance(Duration::from_secs(1_200));
    chain.mine(220).expect("memory does not fail");
    pay(600_000_000_000).expect("many coins make one payment");
    chain.mine(1).expect("memory does not fail");
    assert!(chain.height() > 300, "past two halvings");
    let reward = |height| {
        chain.block(&chain.block_hash(height).expect("there")).expect("there").txdata[0].output[0].value
    };
    assert_eq!(
        [149, 150, 299, 300].map(|height| reward(height).to_sat()),
        [SUBSIDY_SAT, SUBSIDY_SAT / 2, SUBSIDY_SAT / 2, SUBSIDY_SAT / 4]
    );
    assert_accepted(&Bitcoind::start().await, &chain.blocks()).await;
}

#[tokio::test]
async fn bitcoind_says_the_same_of_every_transaction() {
    let clock = clock();
    let twins = Twins::start(clock.clone()).await;
    twins.mine(110).await;
    let coin = twins.coin(1_000_000).await;
    let free = |outpoint| (outpoint, Sequence::ENABLE_RBF_NO_LOCKTIME);

    // Form and amounts.
    let mut coinbase = twins.chain.blocks()[1].txdata[0].clone();
    assert_eq!(twins.send(&coinbase).await, Err(Rejection::AlreadyConfirmed));
    coinbase.output.truncate(1);
    let cases = [
        (spend(&[free(coin)], &[1_000_001]), Rejection::Overspent),
        (spend(&[free(coin)], &[2_100_000_000_000_001]), Rejection::Malformed("bad-txns-vout-toolarge")),
        (spend(&[free(coin), free(coin)], &[900_000]), Rejection::Malformed("bad-txns-inputs-duplicate")),
        (spend(&[free(OutPoint { vout: 7, ..coin })], &[900_000]), Rejection::MissingInputs),
        (spend(&[free(coin)], &[1_000_000]), Rejection::FeeTooLow { paid: 0, needed: 96 }),
        (coinbase, Rejection::Malformed("coinbase")),
    ];
    for (tx, rejection) in cases {
        assert_eq!(twins.send(&tx).await, Err(rejection));
    }
    let young = OutPoint { txid: twins.chain.blocks()[100].txdata[0].compute_txid(), vout: 0 };
    assert_eq!(twins.send(&spend(&[free(young)], &[900_000])).await, Err(Rejection::Immature));

    // A double spend, and a replacement that pays for itself.
    let first = twins.accepted(&spend(&[free(coin)], &[990_000])).await;
    let child = spend(&[free(OutPoint { txid: first, vout: 0 })], &[985_000]);
    twins.accepted(&child).await;
    twins.accepted(&child).await;
    let cheaper = spend(&[free(coin)], &[989_000]);
    assert_eq!(twins.send(&cheaper).await, Err(Rejection::NotReplacing("insufficient fee")));
    let better = spend(&[free(coin)], &[900_000]);
    let better_id = twins.accepted(&better).await;
    assert_eq!(twins.chain.mempool_txids(), [better_id], "the replaced one left with its child");
    twins.mine(1).await;
    assert_eq!(twins.send(&better).await, Err(Rejection::AlreadyConfirmed));
    assert_eq!(twins.send(&cheaper).await, Err(Rejection::MissingInputs));

    // A family as long as may be, confirmed at once.
    let mut last = OutPoint { txid: better_id, vout: 0 };
    for step in 1..=25 {
        last = OutPoint {
            txid: twins.accepted(&spend(&[free(last)], &[900_000 - step * 1_000])).await,
            vout: 0,
        };
    }
    assert_eq!(twins.send(&spend(&[free(last)], &[800_000])).await, Err(Rejection::TooManyAncestors));
    twins.mine(1).await;

    // nLockTime by height and by median time.
    let mut by_height = spend(&[free(last)], &[800_000]);
    by_height.lock_time = LockTime::from_consensus(twins.chain.height() + 1);
    assert_eq!(twins.send(&by_height).await, Err(Rejection::NotFinal));
    twins.mine(1).await;
    last = OutPoint { txid: twins.accepted(&by_height).await, vout: 0 };
    let mut by_time = spend(&[free(last)], &[700_000]);
    by_time.lock_time = LockTime::from_consensus(twins.chain.tip().median_time + 600);
    assert_eq!(twins.send(&by_time).await, Err(Rejection::NotFinal));
    clock.advance(Duration::from_secs(700));
    twins.mine(5).await;
    assert_eq!(twins.send(&by_time).await, Err(Rejection::NotFinal), "the median lags behind the clock");
    twins.mine(6).await;
    last = OutPoint { txid: twins.accepted(&by_time).await, vout: 0 };

    // nSequence by height and by time, on a coin that is not even confirmed.
    let by_age = spend(&[(last, Sequence::from_height(3))], &[600_000]);
    for _ in 0..3 {
        assert_eq!(twins.send(&by_age).await, Err(Rejection::TooYoung));
        twins.mine(1).await;
    }
    last = OutPoint { txid: twins.accepted(&by_age).await, vout: 0 };
    twins.mine(1).await;
    let by_span = spend(&[(last, Sequence::from_512_second_intervals(1))], &[500_000]);
    assert_eq!(twins.send(&by_span).await, Err(Rejection::TooYoung));
    clock.advance(Duration::from_secs(700));
    twins.mine(11).await;
    twins.accepted(&by_span).await;
    twins.mine(1).await;
}

/// What does not fit waits for the next block, and its children with it.
#[tokio::test]
async fn a_block_is_never_too_heavy() {
    let chain = Chain::new(clock());
    chain.mine(110).unwrap();
    for _ in 0..12 {
        chain.faucet_send(&anyone_address(), Amount::from_sat(200_000)).unwrap();
    }
    let coins: Vec<OutPoint> =
        chain.mempool_txids().into_iter().map(|txid| OutPoint { txid, vout: 0 }).collect();
    chain.mine(1).unwrap();
    let filler = ScriptBuf::from_bytes([vec![OP_RETURN.to_u8()], vec![OP_RETURN.to_u8(); 97_000]].concat());
    for coin in coins {
        let mut heavy = spend(&[(coin, Sequence::MAX)], &[90_000]);
        heavy.output.push(TxOut { value: Amount::ZERO, script_pubkey: filler.clone() });
        let parent = OutPoint { txid: chain.submit_tx(heavy).unwrap(), vout: 0 };
        chain.submit_tx(spend(&[(parent, Sequence::MAX)], &[80_000])).unwrap();
    }
    let hashes = chain.mine(2).unwrap();
    let blocks: Vec<_> = hashes.iter().map(|hash| chain.block(hash).unwrap()).collect();
    assert!(blocks.iter().all(|block| block.weight() <= Weight::MAX_BLOCK));
    assert!(blocks[0].weight() > Weight::from_wu(3_800_000), "the first is full");
    assert_eq!(blocks[0].txdata.len() + blocks[1].txdata.len(), 2 + 24);
    assert!(chain.mempool_txids().is_empty());
    assert_accepted(&Bitcoind::start().await, &chain.blocks()).await;
}

/// A demo's world outlives it, also when the last write was cut short; damage elsewhere is told, not mended.
#[test]
fn the_file_keeps_the_chain() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("blocks.dat");
    let clock = clock();
    let chain = Chain::open(&path, clock.clone()).unwrap();
    chain.mine(110).unwrap();
    let paid = chain.faucet_send(&anyone_address(), Amount::from_sat(70_000)).unwrap();
    chain.mine(1).unwrap();
    let (tip, blocks) = (chain.tip(), chain.blocks());
    drop(chain);

    let whole = std::fs::read(&path).unwrap();
    let again = Chain::open(&path, clock.clone()).unwrap();
    assert_eq!((again.tip(), again.blocks()), (tip, blocks));
    assert!(again.coin(&OutPoint { txid: paid, vout: 0 }).is_some());
    again
        .faucet_send(&anyone_address(), Amount::from_sat(1_000))
        .expect("the faucet's coins are known again");
    drop(again);

    for cut in [1, 50, 200] {
        std::fs::write(&path, &whole[..whole.len() - cut]).unwrap();
        let shorter = Chain::open(&path, clock.clone()).unwrap();
        assert_eq!(shorter.height(), 110, "only the last block is gone");
        shorter.mine(2).unwrap();
        drop(shorter);
        assert_eq!(Chain::open(&path, clock.clone()).unwrap().height(), 112);
    }
    std::fs::write(&path, [&whole[..], &[0; 4096]].concat()).unwrap();
    assert_eq!(Chain::open(&path, clock.clone()).unwrap().height(), 111, "zeros at the end are a cut tail");

    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 1;
    std::fs::write(&path, &damaged).unwrap();
    assert!(matches!(Chain::open(&path, clock), Err(FileError::Corrupt { .. })));
    assert_eq!(std::fs::read(&path).unwrap(), damaged, "nothing was thrown away");
}

/// Whoever mines on demand waits for these.
#[tokio::test]
async fn watchers_hear_of_transactions_and_blocks() {
    let chain = Chain::new(clock());
    chain.mine(101).unwrap();
    let (mut mempool, mut height) = (chain.watch_mempool(), chain.watch_height());
    chain.faucet_send(&anyone_address(), Amount::from_sat(5_000)).unwrap();
    mempool.changed().await.unwrap();
    chain.mine(1).unwrap();
    height.changed().await.unwrap();
    assert_eq!(*height.borrow_and_update(), 102);
}
