//! Takes from monitors that may be old what they could close their channels with.
//!
//! A monitor publishes our side's commitment by itself: on a block, when a payment in it comes near its end,
//! and whenever the library starts with a monitor whose channel its manager does not know. If the channel had
//! moved on, that commitment was revoked, and the peer may take all of the channel for it. So the peer's
//! signature under it is replaced by one that fits nothing, wherever the monitor has it: whatever the library
//! does, no node takes the transaction. What brings coins home needs none of it: our part of a commitment of
//! the peer's, and the claims of payments in one that the monitor knows.
//!
//! Dropping a monitor's payments would not do: it would still publish at a second start. The library's own
//! closing update ends that, but not the first, and we give it besides, so that nothing is even tried there.
//!
//! A channel that never moved and in which nothing is ours does not look different to the library once its close
//! has begun, and once that is done; so what has nothing to collect gets the false signature, too.
//!
//! Invariant: what comes out was read again and made to publish, into the void, and showed the false signature.

use std::sync::{Arc, Mutex, PoisonError};

use bitcoin::{Network, Transaction, ecdsa};
use ldk_node::lightning::chain::chaininterface::BroadcasterInterface;
use ldk_node::lightning::chain::channelmonitor::ChannelMonitorUpdate;
use ldk_node::lightning::events::bump_transaction::BumpTransactionEvent;
use ldk_node::lightning::events::{Event, EventHandler, ReplayEvent};
use ldk_node::lightning::sign::KeysManager;
use ldk_node::lightning::util::ser::{BigSize, Readable, ReadableArgs, Writeable};

use super::NodeSeed;
use super::kept::{MONITORS, is_monitor, is_monitor_update};
use super::monitors::{FALSE, Monitor, Silent, UnreadableMonitors, is_closed, keys, read_monitors};
use crate::store::StoredBytes;

/// The same rows, with monitors that cannot close their channels, also where our close had begun. Those that
/// collect from a channel that is closed on-chain stay as they are.
///
/// # Errors
/// When a monitor cannot be read, or could still publish.
pub fn disarmed(
    rows: Vec<StoredBytes>,
    seed: &NodeSeed,
    network: Network,
) -> Result<Vec<StoredBytes>, UnreadableMonitors> {
    let keys = keys(seed, network)?;
    let monitors = read_monitors(&rows, &keys)?;
    let (_, mut kept): (Vec<_>, Vec<_>) =
        rows.into_iter().partition(|row| is_monitor(&row.primary) || is_monitor_update(&row.primary));
    for monitor in monitors {
        let bytes = match (is_closed(&monitor), monitor.get_claimable_balances().is_empty()) {
            (false, _) => disarm(&monitor, &keys)?,
            (true, true) => silence(&monitor, &keys)?,
            (true, false) => monitor.encode(),
        };
        kept.push(StoredBytes {
            primary: MONITORS.to_owned(),
            secondary: String::new(),
            key: monitor.persistence_key().to_string(),
            value: bytes,
        });
    }
    Ok(kept)
}

fn disarm(monitor: &Monitor, keys: &Arc<KeysManager>) -> Result<Vec<u8>, UnreadableMonitors> {
    let armed = armed(monitor);
    let unread = || armed(UNREAD);
    let refused = || armed("the library would not close its monitor");
    let bytes = falsified(monitor)?;
    let mut quiet = read(&bytes, keys).ok_or_else(unread)?;
    take_in(&quiet, &CLOSED).ok_or_else(refused)?;
    if is_closed(&quiet) {
        // Of a channel without a past and without coins of ours the library now thinks that nothing can come of
        // it, and puts the monitor away. But coins may have come since.
        quiet = read(&bytes, keys).ok_or_else(unread)?;
        // Where the library saw the funding spent once, by a block that is no more, it takes this in and says no all
        // the same. What came of it is judged below.
        let _said = take_in(&quiet, &moved_on(monitor));
        take_in(&quiet, &CLOSED).ok_or_else(refused)?;
    }
    let bytes = quiet.encode();
    let again = read(&bytes, keys).ok_or_else(unread)?;
    if is_closed(&again) {
        return Err(armed("its monitor would be put away"));
    }
    if published_false(monitor, &again)? == 0 {
        return Err(armed("what its monitor would publish does not show"));
    }
    Ok(bytes)
}

/// Takes the signature from a monitor of which nothing can come: nothing in its channel is ours, and it is closed,
/// or its close had begun before it ever moved. The library takes no more steps in either.
fn silence(monitor: &Monitor, keys: &Arc<KeysManager>) -> Result<Vec<u8>, UnreadableMonitors> {
    let bytes = falsified(monitor)?;
    let again = read(&bytes, keys).ok_or_else(|| armed(monitor)(UNREAD))?;
    published_false(monitor, &again)?;
    Ok(bytes)
}

const UNREAD: &str = "its monitor cannot be read without its signature";

fn armed(monitor: &Monitor) -> impl Fn(&'static str) -> UnreadableMonitors {
    let channel = monitor.channel_id().to_string();
    move |why| UnreadableMonitors::Armed { channel: channel.clone(), why }
}

fn falsified(monitor: &Monitor) -> Result<Vec<u8>, UnreadableMonitors> {
    let mut bytes = monitor.encode();
    match falsify(&mut bytes) {
        0 => Err(armed(monitor)("its signature was not found in its monitor")),
        _ => Ok(bytes),
    }
}

/// How many commitments the monitor publishes that came of `of`: each with the false signature.
fn published_false(of: &Monitor, quiet: &Monitor) -> Result<usize, UnreadableMonitors> {
    let mut published = published(quiet);
    published.retain(is_commitment);
    match published.iter().all(is_false) {
        true => Ok(published.len()),
        false => Err(armed(of)("its monitor still publishes a commitment with the peer's signature")),
    }
}

/// Replaces the peer's signature under every commitment of ours; tells how many there were. One is stored in
/// numbered fields, of which 2 is the peer's signature, 4 whether ours comes first, 6 those under payments.
fn falsify(bytes: &mut [u8]) -> usize {
    let mut found = 0;
    for start in 0..bytes.len() {
        let window = bytes.get_mut(start..).and_then(|rest| rest.first_chunk_mut::<70>());
        if let Some([2, 64, signature @ .., 4, 1, 0 | 1, 6]) = window {
            signature.copy_from_slice(&FALSE);
            found += 1;
        }
    }
    found
}

fn read(bytes: &[u8], keys: &Arc<KeysManager>) -> Option<Monitor> {
    let read = <(bitcoin::BlockHash, Monitor)>::read(&mut &bytes[..], (&**keys, &**keys));
    read.ok().map(|(_, monitor)| monitor)
}

/// A step as the library stores one, which nobody outside of it can make otherwise. The channel was closed (4),
/// in a record of 3 bytes: publish nothing (0).
const CLOSED: [u8; 5] = [4, 3, 0, 1, 0];

/// A step by which the peer's commitment becomes the second (1), in a record of its id (0), its number counted
/// down (2), the peer's point for it (4) and its payments (6): an id that no transaction has, some point, and none.
fn moved_on(monitor: &Monitor) -> Vec<u8> {
    let point = monitor.get_counterparty_node_id().serialize();
    let id = [&[0, 32][..], &FALSE[..32]].concat();
    let number = [&[2, 8][..], &(FIRST - 1).to_be_bytes()].concat();
    let point = [&[4, 33][..], &point].concat();
    let record = [id, number, point, vec![6, 0]].concat();
    [vec![1], BigSize(u64::try_from(record.len()).unwrap_or(u64::MAX)).encode(), record].concat()
}

/// The number of a channel's first commitment (BOLT 3 counts up, the library down).
const FIRST: u64 = (1 << 48) - 1;

/// Has a monitor take in a step; `None` when it does not.
fn take_in(monitor: &Monitor, step: &[u8]) -> Option<()> {
    let number = monitor.get_latest_update_id().checked_add(1)?;
    let update = [&[1, 1][..], &number.encode(), &1u64.encode(), step, &BigSize(0).encode()].concat();
    let update = ChannelMonitorUpdate::read(&mut &update[..]).ok()?;
    monitor.update_monitor(&update, &&Silent, &&Silent, &&Silent).ok()
}

/// What a monitor publishes when it is told to close its channel.
fn published(monitor: &Monitor) -> Vec<Transaction> {
    let void = Void::default();
    monitor.broadcast_latest_holder_commitment_txn(&&void, &&Silent, &&Silent);
    // One that is being published already (by a payment's end, or the operator) is not taken up a second time.
    monitor.rebroadcast_pending_claims(&void, &Silent, &&Silent);
    // With anchors the commitment is handed to whoever adds the fee.
    let handed_on = monitor.process_pending_events(&&void, &&Silent);
    handed_on.expect("it takes every event");
    void.0.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a transaction is a commitment, by its mark (BOLT 3). Claims of payments in one need it confirmed.
fn is_commitment(transaction: &Transaction) -> bool {
    let mark = transaction.input.first().map(|input| input.sequence.0 >> 24);
    mark == Some(0x80) && transaction.lock_time.to_consensus_u32() >> 24 == 0x20
}

/// Whether the commitment has the false signature.
fn is_false(transaction: &Transaction) -> bool {
    let witness = transaction.input.first().map(|input| &input.witness);
    let signatures = witness.into_iter().flat_map(|witness| witness.iter());
    let mut read = signatures.filter_map(|bytes| ecdsa::Signature::from_slice(bytes).ok());
    read.any(|signature| signature.signature.serialize_compact() == FALSE)
}

/// Keeps what it is told to send.
#[derive(Default)]
struct Void(Mutex<Vec<Transaction>>);

impl Void {
    fn keep(&self, transaction: Transaction) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(transaction);
    }
}

impl BroadcasterInterface for Void {
    fn broadcast_transactions(&self, transactions: &[&Transaction]) {
        transactions.iter().for_each(|transaction| self.keep((*transaction).clone()));
    }
}

impl EventHandler for Void {
    fn handle_event(&self, event: Event) -> Result<(), ReplayEvent> {
        if let Event::BumpTransaction(BumpTransactionEvent::ChannelClose { commitment_tx, .. }) = event {
            self.keep(commitment_tx);
        }
        Ok(())
    }
}
