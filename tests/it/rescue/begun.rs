//! Channel states in which a close had begun when they were written: our commitment went out once, and the library
//! sends it again by itself, every half minute and with each start; or a close was in a block that is no more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use bitcoin::absolute::LockTime;
use bitcoin::bip32::Xpriv;
use bitcoin::consensus::encode::serialize_hex;
use bitcoin::hashes::Hash;
use bitcoin::{
    Amount, BlockHash, CompactTarget, Network, ScriptBuf, Sequence, Transaction, TxIn, TxMerkleNode, TxOut,
    block, transaction,
};
use ldk_node::lightning::chain::chaininterface::{
    BroadcasterInterface, ConfirmationTarget, FEERATE_FLOOR_SATS_PER_KW, FeeEstimator,
};
use ldk_node::lightning::chain::channelmonitor::{ChannelMonitor, ChannelMonitorUpdate};
use ldk_node::lightning::events::bump_transaction::BumpTransactionEvent;
use ldk_node::lightning::events::{Event, EventHandler, ReplayEvent};
use ldk_node::lightning::io;
use ldk_node::lightning::sign::{InMemorySigner, KeysManager};
use ldk_node::lightning::util::logger::{Logger, Record};
use ldk_node::lightning::util::persist::{KVStoreSync, MonitorUpdatingPersister};
use ldk_node::lightning::util::ser::{BigSize, Readable, Writeable};
use serde_json::json;
use tollhouse::node::{MONITORS, is_monitor, is_monitor_update};
use tollhouse::store::StoredBytes;

use crate::bitcoind::Bitcoind;

type Monitor = ChannelMonitor<InMemorySigner>;

/// How a close had begun.
#[derive(Clone, Copy, Debug)]
pub(super) enum Begun {
    /// Not at all.
    No,
    /// The monitor by itself, as at a payment's end.
    Alone,
    /// The node, as the operator told it or as a peer's fault made it.
    Told,
    /// Both: what a start without a manager adds.
    Both,
    /// Somebody's was in a block, and a reorganisation took the block away.
    Undone,
}

impl Begun {
    pub(super) const ALL: [Begun; 5] = [Begun::No, Begun::Alone, Begun::Told, Begun::Both, Begun::Undone];
}

/// The keys of the node that has this seed.
pub(super) fn keys(seed: &[u8; 64]) -> Arc<KeysManager> {
    let master = Xpriv::new_master(Network::Regtest, seed).expect("a seed").private_key.secret_bytes();
    Arc::new(KeysManager::new(&master, 0, 0, true))
}

/// The same state after a close had begun, as the node would have stored it.
pub(super) fn begun(rows: &[StoredBytes], keys: &Arc<KeysManager>, how: Begun) -> Vec<StoredBytes> {
    let mut kept: Vec<StoredBytes> = rows.to_vec();
    kept.retain(|row| !is_monitor(&row.primary) && !is_monitor_update(&row.primary));
    for monitor in monitors(rows, keys) {
        if matches!(how, Begun::Alone | Begun::Both) {
            monitor.broadcast_latest_holder_commitment_txn(&&Deaf, &&Deaf, &&Deaf);
        }
        if matches!(how, Begun::Told | Begun::Both) {
            force_close(&monitor, &Deaf);
        }
        if matches!(how, Begun::Undone) {
            undone(&monitor);
        }
        kept.push(StoredBytes {
            primary: MONITORS.to_owned(),
            secondary: String::new(),
            key: monitor.persistence_key().to_string(),
            value: monitor.encode(),
        });
    }
    kept
}

/// What spends a channel's funding of all that the library would send with this state: by itself, as blocks
/// come, and as a start without a manager makes it.
pub(super) fn sent(rows: &[StoredBytes], keys: &Arc<KeysManager>) -> Vec<Transaction> {
    let mut all = Vec::new();
    for monitor in monitors(rows, keys) {
        let heard = Heard::default();
        let again = || {
            monitor.rebroadcast_pending_claims(&heard, &Deaf, &&Deaf);
            monitor.process_pending_events(&&heard, &&Deaf).expect("it takes every event");
        };
        again();
        let (header, height) = next(&monitor);
        monitor.best_block_updated(&header, height + 2_000, &heard, &Deaf, &&Deaf);
        again();
        force_close(&monitor, &heard);
        again();
        let funding = monitor.get_funding_txo().into_bitcoin_outpoint();
        let heard = heard.0.into_inner().expect("one at a time");
        all.extend(heard.into_iter().filter(|sent| sent.input[0].previous_output == funding));
    }
    all
}

/// Whether a real node would take any of them.
pub(super) async fn any_is_taken(bitcoind: &Bitcoind, sent: Vec<Transaction>) -> bool {
    let distinct: BTreeSet<String> = sent.iter().map(serialize_hex).collect();
    for transaction in distinct {
        let told = bitcoind.expect("testmempoolaccept", json!([[transaction]])).await;
        if told[0]["allowed"] == true {
            return true;
        }
        let why = told[0]["reject-reason"].as_str().expect("a reason").to_owned();
        assert!(why.contains("script-verify-flag"), "it is refused for something else: {told}");
    }
    false
}

/// The step by which the node has a monitor close its channel: (4), in a record of 3 bytes: publish (0).
fn force_close(monitor: &Monitor, to: &impl BroadcasterInterface) {
    let number = monitor.get_latest_update_id() + 1;
    let step = [4, 3, 0, 1, 1];
    let update = [&[1, 1][..], &number.encode(), &1u64.encode(), &step, &BigSize(0).encode()].concat();
    let update = ChannelMonitorUpdate::read(&mut &update[..]).expect("an update");
    monitor.update_monitor(&update, &to, &&Deaf, &&Deaf).expect("it is taken in");
}

/// A block in which the funding is spent, and its end.
fn undone(monitor: &Monitor) {
    let (header, height) = next(monitor);
    let spend = Transaction {
        version: transaction::Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn {
            previous_output: monitor.get_funding_txo().into_bitcoin_outpoint(),
            sequence: Sequence::MAX,
            ..TxIn::default()
        }],
        output: vec![TxOut { value: Amount::from_sat(1_000), script_pubkey: ScriptBuf::new() }],
    };
    monitor.transactions_confirmed(&header, &[(1, &spend)], height, &Deaf, &Deaf, &&Deaf);
    monitor.transaction_unconfirmed(&spend.compute_txid(), &Deaf, &Deaf, &&Deaf);
}

/// A block on top of what the monitor knows.
fn next(monitor: &Monitor) -> (block::Header, u32) {
    let at = monitor.current_best_block();
    let header = block::Header {
        version: block::Version::TWO,
        prev_blockhash: at.block_hash,
        merkle_root: TxMerkleNode::all_zeros(),
        time: 0,
        bits: CompactTarget::from_consensus(0x207f_ffff),
        nonce: 0,
    };
    (header, at.height + 1)
}

fn monitors(rows: &[StoredBytes], keys: &Arc<KeysManager>) -> Vec<Monitor> {
    let name = |row: &StoredBytes| [row.primary.clone(), row.secondary.clone(), row.key.clone()];
    let rows = Arc::new(Rows(rows.iter().map(|row| (name(row), row.value.clone())).collect()));
    let keys = || Arc::clone(keys);
    let persister = MonitorUpdatingPersister::new(rows, &Deaf, 0, keys(), keys(), &Deaf, &Deaf);
    let read = persister.read_all_channel_monitors_with_updates().expect("they can be read");
    read.into_iter().map(|(_, monitor): (BlockHash, Monitor)| monitor).collect()
}

struct Rows(BTreeMap<[String; 3], Vec<u8>>);

impl KVStoreSync for Rows {
    fn read(&self, primary: &str, secondary: &str, key: &str) -> io::Result<Vec<u8>> {
        let found = self.0.get(&[primary, secondary, key].map(str::to_owned));
        found.cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn write(&self, _: &str, _: &str, _: &str, _: Vec<u8>) -> io::Result<()> {
        unreachable!("it is only read")
    }

    fn remove(&self, _: &str, _: &str, _: &str, _: bool) -> io::Result<()> {
        unreachable!("it is only read")
    }

    fn list(&self, primary: &str, secondary: &str) -> io::Result<Vec<String>> {
        let under = self.0.keys().filter(|[first, second, _]| first == primary && second == secondary);
        Ok(under.map(|[_, _, key]| key.clone()).collect())
    }
}

/// Sends nothing, guesses the least, says nothing.
struct Deaf;

impl BroadcasterInterface for Deaf {
    fn broadcast_transactions(&self, _: &[&Transaction]) {}
}

impl FeeEstimator for Deaf {
    fn get_est_sat_per_1000_weight(&self, _: ConfirmationTarget) -> u32 {
        FEERATE_FLOOR_SATS_PER_KW
    }
}

impl Logger for Deaf {
    fn log(&self, _: Record) {}
}

/// Keeps what it is told to send, also what is handed on to whoever adds the fee.
#[derive(Default)]
struct Heard(Mutex<Vec<Transaction>>);

impl BroadcasterInterface for Heard {
    fn broadcast_transactions(&self, transactions: &[&Transaction]) {
        let sent = transactions.iter().map(|transaction| (*transaction).clone());
        self.0.lock().expect("one at a time").extend(sent);
    }
}

impl EventHandler for Heard {
    fn handle_event(&self, event: Event) -> Result<(), ReplayEvent> {
        if let Event::BumpTransaction(BumpTransactionEvent::ChannelClose { commitment_tx, .. }) = event {
            self.broadcast_transactions(&[&commitment_tx]);
        }
        Ok(())
    }
}
