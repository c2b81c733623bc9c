//! The parts that know best how they fare, in the watchman's words: the seed, the backups, the channels' snapshot.

use std::sync::Arc;
use std::time::Duration;

use bitcoin::Network;
use tokio::sync::watch;

use crate::backup::Backups;
use crate::clock::{Clock, in_words};
use crate::ports::{Alarm, BoxFuture, Check, Informant};
use crate::rescue::Standing;
use crate::secrets::Seed;
use crate::types::Severity::{Critical, Info, Warning};
use crate::types::Timestamp;

/// Whether the words are on paper.
pub(super) struct SeedInformant {
    pub(super) seed: Arc<Seed>,
    pub(super) network: Network,
}

impl Informant for SeedInformant {
    fn checks(&self) -> BoxFuture<'_, Vec<Check>> {
        let verified = self.seed.status().verified_at.is_some();
        let check = match verified {
            true => Check::fine("seed", "encrypted, and its words were verified"),
            false => {
                let text = "Nobody proved yet to have the seed's words on paper: without them a dead disk is lost \
                            money.";
                let fix = "tollhouse seed verify asks for three of them.";
                let severity = if self.network == Network::Bitcoin { Warning } else { Info };
                let alarm = Alarm::new("seed_not_verified", severity, text, fix);
                Check::fine("seed", "encrypted, and its words were not verified").with([alarm])
            }
        };
        Box::pin(async move { vec![check] })
    }
}

/// Whether there is a fresh backup of the ledger.
pub(super) struct BackupInformant {
    pub(super) backups: Arc<Backups>,
    pub(super) clock: Arc<dyn Clock>,
    /// An older one is an alarm.
    pub(super) oldest: Duration,
    /// Since when one could have been made.
    pub(super) begun: Timestamp,
    pub(super) network: Network,
}

impl Informant for BackupInformant {
    fn checks(&self) -> BoxFuture<'_, Vec<Check>> {
        Box::pin(async move {
            let standing = self.backups.standing().await;
            if standing.dir.is_none() {
                let text =
                    "The ledger is not backed up: a dead disk takes what buyers have paid for and not used.";
                let fix = "Name a folder on another disk: backup.dir.";
                let wanted = self.network == Network::Bitcoin;
                let alarm = wanted.then(|| Alarm::new("backup_missing", Warning, text, fix));
                return vec![Check::fine("backup", "none is set up").with(alarm)];
            }
            let then = standing.newest.as_ref().map(|newest| newest.created_at);
            let now = self.clock.now();
            let age = Duration::from_millis(now.millis().saturating_sub(then.unwrap_or(self.begun).millis()));
            let detail = standing.newest.map_or_else(|| "none was made yet".to_owned(), |newest| newest.file);
            let fix = "tollhouse backup now says what is in the way.";
            let alarm = if let Some(why) = standing.failed {
                Some(Alarm::new("backup_failed", Warning, format!("The last backup failed: {why}."), fix))
            } else if age >= self.oldest {
                let days = in_words(Duration::from_secs(age.as_secs() / 3_600 * 3_600));
                let text = format!("The newest backup of the ledger is {days} old.");
                Some(Alarm::new("backup_old", Warning, text, fix))
            } else {
                None
            };
            vec![Check::fine("backup", detail).aged(then.map(|_| age)).with(alarm)]
        })
    }
}

/// Whether the channels' coins could be brought home from a snapshot, and whether their state is the newest.
pub(super) struct SnapshotInformant {
    pub(super) standing: watch::Receiver<Standing>,
    pub(super) clock: Arc<dyn Clock>,
    /// A snapshot that is behind for longer is an alarm.
    pub(super) oldest: Duration,
}

impl Informant for SnapshotInformant {
    fn checks(&self) -> BoxFuture<'_, Vec<Check>> {
        let (standing, now) = (self.standing.borrow().clone(), self.clock.now());
        let since = |then: Timestamp| Duration::from_millis(now.millis().saturating_sub(then.millis()));
        let barred = standing.barred.map(|why| {
            let fix = "tollhouse recover. Never start an old copy elsewhere: peers could take the coins.";
            Alarm::new(
                "possible_stale_restore",
                Critical,
                format!("The node stays away from its peers: {why}."),
                fix,
            )
        });
        let failed = standing.copies.iter().filter_map(|copy| {
            let why = copy.error.as_ref()?;
            let text = format!("The recovery snapshot {} could not be written: {why}.", copy.file.display());
            let fix = "Make its directory writable, or name another one: snapshot.dir.";
            Some(Alarm::new("snapshot_failed", Warning, text, fix).about(copy.file.display().to_string()))
        });
        let behind = standing.behind_since.map(since).filter(|behind| *behind >= self.oldest).map(|behind| {
            let minutes = in_words(Duration::from_secs(behind.as_secs() / 60 * 60));
            let text = format!("The recovery snapshot is behind the channels for {minutes}.");
            Alarm::new(
                "snapshot_old",
                Warning,
                text,
                "See the log; until then channels.db alone has the newest.",
            )
        });
        let age = standing.copies.iter().filter_map(|copy| copy.written_at).max().map(since);
        let detail = format!("of {} channels", standing.channels);
        let check = Check::fine("snapshot", detail).aged(age).with(barred).with(failed).with(behind);
        Box::pin(async move { vec![check] })
    }
}
