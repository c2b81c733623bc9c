//! Reads channels' monitors without a node: what they guard, and with whom.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bitcoin::secp256k1::PublicKey;
use bitcoin::{Network, Transaction};
use ldk_node::lightning::chain::chaininterface::{
    BroadcasterInterface, ConfirmationTarget, FEERATE_FLOOR_SATS_PER_KW, FeeEstimator,
};
use ldk_node::lightning::chain::channelmonitor::{Balance, ChannelMonitor};
use ldk_node::lightning::ln::msgs::SocketAddress;
use ldk_node::lightning::sign::{InMemorySigner, KeysManager};
use ldk_node::lightning::util::logger::{Logger, Record};
use ldk_node::lightning::util::persist::MonitorUpdatingPersister;
use ldk_node::lightning::util::ser::{BigSize, Readable, Writeable};

use super::NodeSeed;
use super::kept::is_peers;
use super::keys::{UnusableSeed, master_key};
use super::storage::LdkStorage;
use crate::ports::{KeyValue, KvKey};
use crate::store::StoredBytes;

/// A channel as its monitor knows it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct MonitoredChannel {
    /// The channel's id, hexadecimal.
    pub channel_id: String,
    /// The funding output, `txid:vout`.
    pub funding: String,
    /// The other node's key, hexadecimal.
    pub peer: String,
    /// Where the peer was reached last, if that is known.
    pub peer_address: Option<String>,
    /// What is ours in it, satoshi, as far as the monitor knows.
    pub ours_sat: u64,
    /// Payments that were on their way, and the height by which the first of them has to be settled
    /// on-chain.
    pub under_way: usize,
    /// See [`MonitoredChannel::under_way`].
    pub settle_before: Option<u32>,
    /// The channel is closed already, as far as the monitor knows.
    pub closed: bool,
    /// The last block that the monitor saw.
    pub seen_height: u32,
    /// The monitor can close the channel without the peer. One that was recovered from a state that may not
    /// be the newest cannot.
    pub closes_alone: bool,
}

/// The channel state cannot be read without a node either.
#[derive(Debug, thiserror::Error)]
pub enum UnreadableMonitors {
    /// The seed is unusable.
    #[error(transparent)]
    Seed(#[from] UnusableSeed),
    /// A monitor cannot be read under this seed.
    #[error("a channel's monitor cannot be read: {0}")]
    Monitor(String),
    /// A monitor that may be old could still publish its commitment, so nothing is recovered with it.
    #[error(
        "the channel {channel} could still be closed with an old state, at the risk of all coins in it: {why}. \
         Nothing was changed"
    )]
    Armed {
        /// The channel's id, hexadecimal.
        channel: String,
        /// What went wrong.
        why: &'static str,
    },
}

/// Reads every monitor in `rows`.
///
/// # Errors
/// When one cannot be read: damaged, or of another seed.
pub fn monitored_channels(
    rows: &[StoredBytes],
    seed: &NodeSeed,
    network: Network,
) -> Result<Vec<MonitoredChannel>, UnreadableMonitors> {
    let peers = rows.iter().find(|row| is_peers(&row.primary, &row.key));
    let addresses = peers.map(|row| addresses(&row.value)).unwrap_or_default();
    let monitors = read_monitors(rows, &keys(seed, network)?)?;
    Ok(monitors.iter().map(|monitor| channel_of(monitor, &addresses)).collect())
}

/// What reads monitors, and signs for them.
pub(super) fn keys(seed: &NodeSeed, network: Network) -> Result<Arc<KeysManager>, UnusableSeed> {
    // The starting time salts the keys of new channels, of which there are none.
    let master = master_key(seed, network)?;
    Ok(Arc::new(KeysManager::new(&master, 0, 0, true)))
}

/// Every monitor in `rows`, with its updates taken in.
pub(super) fn read_monitors(
    rows: &[StoredBytes],
    keys: &Arc<KeysManager>,
) -> Result<Vec<Monitor>, UnreadableMonitors> {
    let name = |row: &StoredBytes| [row.primary.clone(), row.secondary.clone(), row.key.clone()];
    let rows = Rows(rows.iter().map(|row| (name(row), row.value.clone())).collect());
    let (storage, silent) = (Arc::new(LdkStorage::new(Arc::new(rows))), Arc::new(Silent));
    let persister = MonitorUpdatingPersister::new(
        storage,
        Arc::clone(&silent),
        0,
        Arc::clone(keys),
        Arc::clone(keys),
        Arc::clone(&silent),
        silent,
    );
    let read = persister.read_all_channel_monitors_with_updates();
    let read = read.map_err(|error| UnreadableMonitors::Monitor(error.to_string()))?;
    Ok(read.into_iter().map(|(_, monitor)| monitor).collect())
}

/// A channel's monitor.
pub(super) type Monitor = ChannelMonitor<InMemorySigner>;

/// What a disarmed monitor has in place of the peer's signature: well formed, and no key's under anything.
pub(super) const FALSE: [u8; 64] = [1; 64];

/// Whether a monitor was disarmed once. It stays so.
fn is_disarmed(monitor: &Monitor) -> bool {
    monitor.encode().windows(FALSE.len()).any(|bytes| bytes == FALSE)
}

fn channel_of(monitor: &Monitor, addresses: &BTreeMap<PublicKey, SocketAddress>) -> MonitoredChannel {
    let balances = monitor.get_claimable_balances();
    let deadline = |balance: &Balance| match balance {
        Balance::ContentiousClaimable { timeout_height, .. } => Some(*timeout_height),
        Balance::MaybeTimeoutClaimableHTLC { claimable_height, .. } => Some(*claimable_height),
        Balance::MaybePreimageClaimableHTLC { expiry_height, .. } => Some(*expiry_height),
        _ => None,
    };
    let deadlines: Vec<u32> = balances.iter().filter_map(deadline).collect();
    let (peer, funding) = (monitor.get_counterparty_node_id(), monitor.get_funding_txo());
    MonitoredChannel {
        channel_id: monitor.channel_id().to_string(),
        funding: format!("{}:{}", funding.txid, funding.index),
        peer: peer.to_string(),
        peer_address: addresses.get(&peer).map(ToString::to_string),
        ours_sat: balances.iter().map(Balance::claimable_amount_satoshis).sum(),
        under_way: deadlines.len(),
        settle_before: deadlines.into_iter().min(),
        closed: is_closed(monitor),
        seen_height: monitor.current_best_block().height,
        closes_alone: !is_disarmed(monitor),
    }
}

/// Whether the channel's funding was spent, as far as the monitor saw.
pub(super) fn is_closed(monitor: &Monitor) -> bool {
    let open = |balance: &Balance| matches!(balance, Balance::ClaimableOnChannelClose { .. });
    !monitor.get_claimable_balances().iter().any(open)
}

/// The peers that the node calls by itself, as ldk-node stores them: a count, then for each its key and a
/// record of numbered fields. What cannot be read is left out: peers also call us.
fn addresses(mut stored: &[u8]) -> BTreeMap<PublicKey, SocketAddress> {
    let mut found = BTreeMap::new();
    let count: u16 = Readable::read(&mut stored).unwrap_or(0);
    for _ in 0..count {
        let Some((peer, address)) = stored_peer(&mut stored) else { break };
        found.extend(address.map(|address| (peer, address)));
    }
    found
}

fn stored_peer(stored: &mut &[u8]) -> Option<(PublicKey, Option<SocketAddress>)> {
    let peer: PublicKey = Readable::read(stored).ok()?;
    let mut record = field(stored)?;
    let mut address = None;
    while !record.is_empty() {
        let number: BigSize = Readable::read(&mut record).ok()?;
        let mut value = field(&mut record)?;
        if number.0 == PEER_ADDRESS {
            address = Readable::read(&mut value).ok();
        }
    }
    Some((peer, address))
}

/// The number of the address in a stored peer's record.
const PEER_ADDRESS: u64 = 2;

/// A length and as many bytes.
fn field<'a>(from: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length: BigSize = Readable::read(from).ok()?;
    let (value, rest) = from.split_at_checked(usize::try_from(length.0).ok()?)?;
    *from = rest;
    Some(value)
}

/// Rows in memory as a store that is only read.
struct Rows(BTreeMap<[String; 3], Vec<u8>>);

impl KeyValue for Rows {
    fn read(&self, key: &KvKey<'_>) -> io::Result<Option<Vec<u8>>> {
        Ok(self.0.get(&[key.primary, key.secondary, key.key].map(str::to_owned)).cloned())
    }

    fn write(&self, _: &KvKey<'_>, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn remove(&self, _: &KvKey<'_>) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn list(&self, primary: &str, secondary: &str) -> io::Result<Vec<String>> {
        let under = self.0.keys().filter(|[first, second, _]| first == primary && second == secondary);
        Ok(under.map(|[_, _, key]| key.clone()).collect())
    }

    fn keep_copy(&self) -> io::Result<PathBuf> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Sends nothing, guesses the least, says nothing: nothing here may act.
pub(super) struct Silent;

impl BroadcasterInterface for Silent {
    fn broadcast_transactions(&self, _: &[&Transaction]) {}
}

impl FeeEstimator for Silent {
    fn get_est_sat_per_1000_weight(&self, _: ConfirmationTarget) -> u32 {
        FEERATE_FLOOR_SATS_PER_KW
    }
}

impl Logger for Silent {
    fn log(&self, _: Record) {}
}
