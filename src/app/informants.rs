//! The parts that know best how they fare, in the watchman's words: the seed, the backups, the channels' snapshot.

use std::sync::Arc;
use std::time::Duration;

use bitcoin::Network;
use tokio::sync::watch;

use crate::backup::Backups;
use crate::clock::{Clock, Past, in_words};
use crate::ports::{Alarm, BoxFuture, Check, Informant};
use crate::rescue::Standing;
use crate::secrets::Seed;
use crate::store::{Doubt, Generation, Ledger, StoreError};
use crate::types::Severity::{Critical, Info, Warning};
use crate::types::Timestamp;

/// Whether the words are on paper.
pub(super) struct SeedInformant {
    pub(super) seed: Arc<Seed>,
    pub(super) network: Network,
    pub(super) worthless: bool,
}

impl Informant for SeedInformant {
    fn checks(&self) -> BoxFuture<'_, Vec<Check>> {
        let verified = self.seed.status().verified_at.is_some();
        let check = match verified {
            true => Check::fine("seed", "encrypted, and its words were verified"),
            false if self.worthless => Check::fine("seed", "encrypted; nothing in a demo is worth keeping"),
            false => {
                let text = "Nobody proved yet to have the seed's words on paper: without them a dead disk is lost \
                            money.";
                let fix = "First steps, the words of the seed: it asks for three of them. So does `tollhouse seed verify`.";
                let severity = if self.network == Network::Bitcoin { Warning } else { Info };
                let alarm = Alarm::new("seed_not_verified", severity, text, fix);
                Check::fine("seed", "encrypted, and its words were not verified").with([alarm])
            }
        };
        Box::pin(async move { vec![check] })
    }
}

/// What a restore of the ledger left for the operator to decide.
pub(super) struct RestoreInformant {
    pub(super) ledger: Ledger,
}

impl Informant for RestoreInformant {
    fn checks(&self) -> BoxFuture<'_, Vec<Check>> {
        Box::pin(async move {
            let found = async {
                Ok::<_, StoreError>((self.ledger.generation().await?, self.ledger.doubts(MOST_DOUBTS).await?))
            };
            match found.await {
                Ok((life, doubts)) => vec![restored(&life, &doubts)],
                Err(error) => {
                    tracing::debug!(%error, "what a restore left could not be looked at");
                    Vec::new()
                }
            }
        })
    }
}

/// Tokens in doubt are counted up to here.
const MOST_DOUBTS: u32 = 100;

fn restored(life: &Generation, doubts: &[Doubt]) -> Check {
    let doubtful = life.doubtful_below_epoch > 0;
    let waiting = doubts.iter().filter(|doubt| doubt.honoured_at.is_none()).count();
    let parked = life.payouts_parked.then(|| {
        let text = "The ledger is a copy that was brought back: nothing is sent or paid out, because the copy does not \
                    know what was sent since it was made.";
        let fix = "Look at the wallet's history and at `tollhouse operations`; then `tollhouse backup release-payouts`.";
        Alarm::new("payouts_parked", Warning, text, fix)
    });
    let doubted = (doubtful && waiting > 0).then(|| {
        let text = match waiting {
            1 => "A token came that the restored ledger cannot prove; its holder is refused.".to_owned(),
            many => format!(
                "{many} tokens came that the restored ledger cannot prove; their holders are refused."
            ),
        };
        let fix =
            "`tollhouse tokens doubtful` lists them; `tollhouse tokens honour` takes one, or all, to be good.";
        Alarm::new("tokens_doubtful", Warning, text, fix)
    });
    let detail = match (doubtful, life.payouts_parked) {
        (false, false) => "nothing is in doubt after a restore".to_owned(),
        (true, _) => format!("tokens of epochs below {} are in doubt", life.doubtful_below_epoch),
        (false, true) => "nothing is sent after a restore".to_owned(),
    };
    Check::fine("restore", detail).with(parked).with(doubted)
}

/// Whether there is a fresh backup of the ledger.
pub(super) struct BackupInformant {
    pub(super) backups: Arc<Backups>,
    pub(super) clock: Arc<dyn Clock>,
    /// An older one is an alarm.
    pub(super) oldest: Duration,
    /// Since when one could have been made.
    pub(super) begun: Past,
    pub(super) network: Network,
    /// In the sandbox, where there is nothing to keep.
    pub(super) worthless: bool,
}

impl Informant for BackupInformant {
    fn checks(&self) -> BoxFuture<'_, Vec<Check>> {
        Box::pin(async move {
            let standing = self.backups.standing().await;
            if standing.dir.is_none() && self.worthless {
                return vec![Check::fine("backup", "none: nothing in a demo is worth keeping")];
            }
            if standing.dir.is_none() {
                let text =
                    "The ledger is not backed up: a dead disk takes what buyers have paid for and not used.";
                let fix = "Name a folder on another disk: backup.dir.";
                let wanted = self.network == Network::Bitcoin;
                let alarm = wanted.then(|| Alarm::new("backup_missing", Warning, text, fix));
                return vec![Check::fine("backup", "none is set up").cautioned(Info).with(alarm)];
            }
            let made = standing.newest.as_ref().map(|newest| self.backups.age_of(newest));
            let age = made.unwrap_or_else(|| self.begun.age(&*self.clock));
            let mut detail =
                standing.newest.map_or_else(|| "none was made yet".to_owned(), |newest| newest.file);
            if standing.others > 0 {
                let others =
                    format!("; {} there of another life of the ledger, never removed", standing.others);
                detail.push_str(&others);
            }
            let beside = standing.apart == Some(false);
            if beside {
                detail.push_str("; on the same disk as the data: a dead disk takes both");
            }
            let fix = "`tollhouse backup now` says what is in the way.";
            let alarm = if let Some(why) = standing.failed {
                Some(Alarm::new("backup_failed", Warning, format!("The last backup failed: {why}."), fix))
            } else if age >= self.oldest {
                let days = in_words(Duration::from_secs(age.as_secs() / 3_600 * 3_600));
                let text = format!("The newest backup of the ledger is {days} old.");
                Some(Alarm::new("backup_old", Warning, text, fix))
            } else {
                None
            };
            let check = Check::fine("backup", detail).aged(made).with(alarm);
            vec![if beside { check.cautioned(Info) } else { check }]
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
        let barred = standing.barred.as_ref().map(|why| {
            let fix = "`tollhouse recover`. Never start an old copy elsewhere: peers could take the coins.";
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
        let detail = standing.kept();
        let check = Check::fine("snapshot", detail).aged(age).with(barred).with(failed).with(behind);
        Box::pin(async move { vec![check] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::PaymentHash;

    #[test]
    fn what_a_restore_left_open_is_an_alarm_until_it_is_decided() {
        let life = |doubtful_below_epoch, payouts_parked| Generation {
            generation: 2,
            first_event: 9,
            begun_at: Timestamp::from_secs(1),
            copy_made_at: None,
            why: "restored".to_owned(),
            doubtful_below_epoch,
            payouts_parked,
        };
        let doubt = |honoured_at| Doubt {
            payment_hash: PaymentHash::from_bytes([1; 32]),
            service: None,
            route: None,
            kind: None,
            units: None,
            price_msat: None,
            presented_at: Some(Timestamp::from_secs(2)),
            honoured_at,
            given_after: false,
        };
        let codes = |life: Generation, doubts: &[Doubt]| -> Vec<String> {
            restored(&life, doubts).alarms.iter().map(|alarm| alarm.code.to_string()).collect()
        };
        let honoured = doubt(Some(Timestamp::from_secs(3)));
        assert!(codes(life(0, false), &[]).is_empty());
        assert!(codes(life(2, false), std::slice::from_ref(&honoured)).is_empty(), "decided");
        assert_eq!(codes(life(2, true), &[]), ["payouts_parked"]);
        assert_eq!(codes(life(2, true), &[doubt(None), honoured]), ["payouts_parked", "tokens_doubtful"]);
    }
}
