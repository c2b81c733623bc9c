//! The flags of `[alarms]`.

use clap::Args;

/// The flags of `[alarms]`: it is an alarm when …
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct AlarmFlags {
    /// The chain was not heard of for so long [env: TOLLHOUSE_ALARMS_CHAIN_STALE]
    #[arg(long, value_name = "TIME")]
    alarms_chain_stale: Option<String>,
    /// No fee rates were learned for so long [env: TOLLHOUSE_ALARMS_FEES_STALE]
    #[arg(long, value_name = "TIME")]
    alarms_fees_stale: Option<String>,
    /// No peer was connected for so long [env: TOLLHOUSE_ALARMS_PEERS_OFFLINE]
    #[arg(long, value_name = "TIME")]
    alarms_peers_offline: Option<String>,
    /// What can be received is below so many sales at the highest price [env: TOLLHOUSE_ALARMS_RECEIVABLE_SALES]
    #[arg(long, value_name = "COUNT")]
    alarms_receivable_sales: Option<String>,
    /// The disk has less room than this [env: TOLLHOUSE_ALARMS_DISK_FREE]
    #[arg(long, value_name = "SIZE")]
    alarms_disk_free: Option<String>,
    /// Our clock and others' differ by so much [env: TOLLHOUSE_ALARMS_CLOCK_SKEW]
    #[arg(long, value_name = "TIME")]
    alarms_clock_skew: Option<String>,
    /// A channel's stored state is larger than this [env: TOLLHOUSE_ALARMS_MONITOR_SIZE]
    #[arg(long, value_name = "SIZE")]
    alarms_monitor_size: Option<String>,
    /// The newest backup is older than this [env: TOLLHOUSE_ALARMS_BACKUP_AGE]
    #[arg(long, value_name = "TIME")]
    alarms_backup_age: Option<String>,
    /// The recovery snapshot is behind the channels for so long [env: TOLLHOUSE_ALARMS_SNAPSHOT_AGE]
    #[arg(long, value_name = "TIME")]
    alarms_snapshot_age: Option<String>,
}

impl AlarmFlags {
    pub(crate) fn values(&self, setting: &str) -> &[String] {
        match setting {
            "alarms.chain_stale" => self.alarms_chain_stale.as_slice(),
            "alarms.fees_stale" => self.alarms_fees_stale.as_slice(),
            "alarms.peers_offline" => self.alarms_peers_offline.as_slice(),
            "alarms.receivable_sales" => self.alarms_receivable_sales.as_slice(),
            "alarms.disk_free" => self.alarms_disk_free.as_slice(),
            "alarms.clock_skew" => self.alarms_clock_skew.as_slice(),
            "alarms.monitor_size" => self.alarms_monitor_size.as_slice(),
            "alarms.backup_age" => self.alarms_backup_age.as_slice(),
            "alarms.snapshot_age" => self.alarms_snapshot_age.as_slice(),
            _ => &[],
        }
    }
}
