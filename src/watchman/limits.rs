//! From when on something is an alarm.

use std::time::Duration;

/// From when on something is an alarm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlarmLimits {
    /// The node was not in step with the chain for this long; critical at six times as long.
    pub chain_stale: Duration,
    /// No fee rates were learned for this long.
    pub fees_stale: Duration,
    /// No peer was connected for this long.
    pub peers_offline: Duration,
    /// For this long after the start it is no alarm that nothing can be received: channels of a sandbox are still
    /// being opened then.
    pub settling: Duration,
    /// What can be received is less than this many times the highest price.
    pub receivable_sales: u64,
    /// The disk has less room than this, bytes; critical at a tenth.
    pub disk_free_bytes: u64,
    /// Our clock and others' differ by this much; critical at five times as much.
    pub clock_skew: Duration,
    /// A channel's monitor is larger than this, bytes.
    pub monitor_bytes: u64,
    /// The newest backup of the ledger is older than this.
    pub backup_age: Duration,
    /// The recovery snapshot is behind the channels for this long.
    pub snapshot_age: Duration,
}

impl Default for AlarmLimits {
    fn default() -> AlarmLimits {
        let minutes = |count: u64| Duration::from_secs(count * 60);
        AlarmLimits {
            chain_stale: minutes(10),
            fees_stale: minutes(120),
            peers_offline: minutes(3),
            settling: Duration::ZERO,
            receivable_sales: 10,
            disk_free_bytes: 1 << 30,
            clock_skew: minutes(2),
            monitor_bytes: 8 << 20,
            backup_age: minutes(2 * 24 * 60),
            snapshot_age: minutes(10),
        }
    }
}
