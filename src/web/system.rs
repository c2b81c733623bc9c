//! How the appliance is: what it is made of, how far it is, what it takes of its machine, what is the matter.
//! The page, the API and the diagnostics tell the same.

use schemars::JsonSchema;
use serde::Serialize;

use super::Operator;
use crate::ports::{ChainView, Check, NodeStage};
use crate::store::{AlarmRow, StoreError};
use crate::types::{Severity, Timestamp};
use crate::watchman::Unready;

/// What it is built on, as `Cargo.lock` has it.
const LIBRARIES: [Library; 3] = [
    Library { name: "ldk-node", version: "0.7.1" },
    Library { name: "lightning", version: "0.2.7" },
    Library { name: "bdk_wallet", version: "2.4.0" },
];

/// A library that handles money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Library {
    /// Its name.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CheckView {
    /// Stable word, such as `chain`.
    pub name: &'static str,
    /// `ok`, or how bad the worst is that was found.
    pub status: &'static str,
    /// What was found, in a few words.
    pub detail: String,
    /// Seconds since what it speaks of.
    pub age_secs: Option<u64>,
    /// An alarm says so, too.
    #[serde(skip)]
    pub alarmed: bool,
}

/// Something that stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct AlarmView {
    /// Stable word, such as `chain_stale`.
    pub code: String,
    /// What it is about, where there may be several.
    pub subject: Option<String>,
    /// How bad it is.
    pub severity: Severity,
    /// What is the matter.
    pub text: String,
    /// What to do.
    pub fix: String,
    /// Since when.
    pub raised_at: Timestamp,
}

/// A database in the data directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct FileView {
    /// Its name.
    pub name: String,
    /// Its length with its log of writes.
    pub bytes: u64,
}

/// The appliance at one moment.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct SystemView {
    /// Tollhouse's version.
    pub version: &'static str,
    /// The libraries that handle money.
    pub libraries: [Library; 3],
    /// What it was built for, such as `linux x86_64`.
    pub platform: String,
    /// The node's network.
    pub network: String,
    /// The node's public key.
    pub node_id: String,
    /// The moment.
    pub time: Timestamp,
    /// When it came up.
    pub started_at: Timestamp,
    /// `starting`, `running`, `failed` or `stopped`.
    pub node: &'static str,
    /// What the node waits for, or why it failed.
    pub node_detail: Option<String>,
    /// Height of the best block that the node knows.
    pub block_height: u32,
    /// When the node was last in step with the chain.
    pub synced_at: Option<Timestamp>,
    /// When the on-chain wallet was.
    pub onchain_synced_at: Option<Timestamp>,
    /// When fee rates were last learned.
    pub fee_rates_at: Option<Timestamp>,
    /// Connected peers.
    pub peers_connected: usize,
    /// The chain sources.
    pub chain: ChainView,
    /// Room left on the disk of the data directory, bytes.
    pub disk_free_bytes: Option<u64>,
    /// That disk's size, bytes.
    pub disk_total_bytes: Option<u64>,
    /// Memory that the process has, bytes.
    pub memory_bytes: Option<u64>,
    /// The databases.
    pub files: Vec<FileView>,
    /// Whether a request can be sold now.
    pub ready: bool,
    /// Why not, a stable word.
    pub not_ready: Option<&'static str>,
    /// `ok`, or how bad the worst alarm is.
    pub status: &'static str,
    /// What was looked at.
    pub checks: Vec<CheckView>,
    /// What stands.
    pub alarms: Vec<AlarmView>,
}

impl Operator {
    /// Has the watchman look at once: what was just changed may end an alarm, and the next page is to know.
    pub(super) async fn look_again(&self) {
        if let Err(error) = self.parts.watchman.look().await {
            tracing::error!(%error, "the alarms could not be noted");
        }
    }

    /// How the appliance is now. Looking notes new alarms, as the watchman's own looks do.
    ///
    /// # Errors
    /// When the ledger fails.
    pub async fn system(&self) -> Result<SystemView, StoreError> {
        let watchman = &self.parts.watchman;
        let health = watchman.look().await?;
        let ready = watchman.ready().await;
        let (view, pulse) = (self.parts.node.view().await, watchman.pulse().await);
        let taken = watchman.footprint();
        let (node, node_detail) = stage(pulse.stage);
        Ok(SystemView {
            version: env!("CARGO_PKG_VERSION"),
            libraries: LIBRARIES,
            platform: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            network: view.network,
            node_id: view.node_id,
            time: health.at,
            started_at: watchman.begun(),
            node,
            node_detail,
            block_height: view.block_height,
            synced_at: view.synced_at.map(Timestamp::from_secs),
            onchain_synced_at: pulse.onchain_synced_at,
            fee_rates_at: pulse.fee_rates_at,
            peers_connected: view.peers_connected,
            chain: self.parts.chain.chain(),
            disk_free_bytes: taken.disk.map(|disk| disk.free),
            disk_total_bytes: taken.disk.map(|disk| disk.total),
            memory_bytes: taken.resident_bytes,
            files: taken.files.into_iter().map(|(name, bytes)| FileView { name, bytes }).collect(),
            ready: ready.is_ok(),
            not_ready: ready.err().map(Unready::code),
            status: health.worst().map_or("ok", Severity::as_str),
            checks: health.checks.iter().map(CheckView::of).collect(),
            alarms: health.alarms.iter().map(AlarmView::of).collect(),
        })
    }
}

impl Operator {
    /// What the node waits for, or why it gave up; nothing while it runs.
    pub async fn node_waits_for(&self) -> Option<String> {
        stage(self.parts.watchman.pulse().await.stage).1
    }
}

impl CheckView {
    fn of(check: &Check) -> CheckView {
        CheckView {
            name: check.name,
            status: check.worst().map_or("ok", Severity::as_str),
            detail: check.detail.clone(),
            age_secs: check.age.map(|age| age.as_secs()),
            alarmed: !check.alarms.is_empty(),
        }
    }
}

impl AlarmView {
    fn of(row: &AlarmRow) -> AlarmView {
        let alarm = row.alarm.clone();
        AlarmView {
            code: alarm.code,
            subject: alarm.subject,
            severity: alarm.severity,
            text: alarm.text,
            fix: alarm.fix,
            raised_at: row.raised_at,
        }
    }
}

fn stage(stage: NodeStage) -> (&'static str, Option<String>) {
    match stage {
        NodeStage::Starting(why) => ("starting", Some(why)),
        NodeStage::Running => ("running", None),
        NodeStage::Failed(why) => ("failed", Some(why)),
        NodeStage::Stopped => ("stopped", None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_libraries_are_those_that_were_built_in() {
        let lock = include_str!("../../Cargo.lock");
        for Library { name, version } in LIBRARIES {
            let entry = format!("name = \"{name}\"\nversion = \"{version}\"");
            assert!(lock.contains(&entry), "{name} is not {version} any more");
        }
    }
}
