//! Which of the node's bytes bring coins home, and which must not be taken along.

use ldk_node::lightning::util::persist as names;

/// The namespace of the channels' monitors.
pub const MONITORS: &str = names::CHANNEL_MONITOR_PERSISTENCE_PRIMARY_NAMESPACE;

/// Whether a namespace holds channels' monitors.
pub fn is_monitor(primary: &str) -> bool {
    primary == MONITORS
}

/// Whether a namespace holds changes of monitors that are not in the monitors themselves yet.
pub fn is_monitor_update(primary: &str) -> bool {
    primary == names::CHANNEL_MONITOR_UPDATE_PERSISTENCE_PRIMARY_NAMESPACE
}

/// Whether a value belongs in a recovery snapshot: the monitors, the peers' addresses, what is being swept,
/// and what the wallet has seen. The channel manager is not: an old one closes channels with revoked states.
pub fn belongs_in_snapshot(primary: &str, secondary: &str, key: &str) -> bool {
    let _ = secondary;
    let single = [PEERS, names::OUTPUT_SWEEPER_PERSISTENCE_KEY];
    is_monitor(primary)
        || is_monitor_update(primary)
        || primary == WALLET
        || (primary.is_empty() && single.contains(&key))
}

/// Whether a value of a whole store is taken along when its manager is left behind. The note of the last
/// synchronisation is left, too: without it the whole wallet is looked up again.
pub fn survives_recovery(primary: &str, secondary: &str, key: &str) -> bool {
    let _ = secondary;
    let left = [names::CHANNEL_MANAGER_PERSISTENCE_KEY, SYNCED];
    !(primary.is_empty() && left.contains(&key))
}

/// ldk-node's own names, which it does not export.
const PEERS: &str = "peers";
const SYNCED: &str = "node_metrics";
const WALLET: &str = "bdk_wallet";

/// The row of the peers' addresses.
pub(super) fn is_peers(primary: &str, key: &str) -> bool {
    primary.is_empty() && key == PEERS
}
