//! The parts that know best how they fare, in the watchman's words: the seed, the backups.

use std::sync::Arc;
use std::time::Duration;

use bitcoin::Network;

use crate::backup::Backups;
use crate::clock::{Clock, in_words};
use crate::ports::{Alarm, BoxFuture, Check, Informant};
use crate::secrets::Seed;
use crate::types::Severity::{Info, Warning};
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
