//! What guards the money against a dead disk: the seed's words, the channels' snapshot, the copies of the ledger; whether
//! each is fine, and what is to do about it.

use std::time::Duration;

use bytesize::ByteSize;

use crate::backup::{Destination, Standing};
use crate::rescue::Standing as Way;
use crate::secrets::SeedStatus;
use crate::types::Timestamp;
use crate::ui::figures::utc;
use crate::ui::lapse::ago;

/// A snapshot that is behind the channels for less is about to be written.
const BEHIND: Duration = Duration::from_secs(120);

/// One thing that brings money back, and how it stands.
pub(super) struct Guard {
    pub(super) name: &'static str,
    /// What is lost without it.
    pub(super) why: &'static str,
    pub(super) fine: bool,
    pub(super) state: String,
    /// What a dead disk takes all the same, and what to do about it.
    pub(super) warning: Option<String>,
    pub(super) more: Vec<String>,
    pub(super) way: Option<(&'static str, &'static str)>,
    /// It is a file that can be fetched, by a form that goes there.
    pub(super) fetch: Option<&'static str>,
}

/// What the guards come to together, and no more.
pub(super) fn headline(guards: &[Guard]) -> &'static str {
    if guards.iter().any(|guard| !guard.fine) {
        "A dead disk would cost you money"
    } else if guards.iter().any(|guard| guard.warning.is_some()) {
        "A dead disk would take the copies on it, too"
    } else {
        // Another file system may still be a part of the same disk.
        "A dead disk would cost you little, if the copies lie on another one"
    }
}

/// Whether a copy of the snapshot lies on another file system than the channels' own state.
pub(super) async fn is_elsewhere(way: Way) -> bool {
    let look = move || {
        let Some(data) = way.copies.first().and_then(|copy| copy.file.parent()) else { return false };
        let written = way.copies.iter().filter(|copy| copy.written_at.is_some());
        written
            .filter_map(|copy| copy.file.parent())
            .any(|dir| Destination::new(dir.to_owned(), data.to_owned()).is_apart().unwrap_or(false))
    };
    tokio::task::spawn_blocking(look).await.unwrap_or(false)
}

/// How the words of the seed stand.
pub(super) fn words(seed: &SeedStatus, now: Timestamp) -> Guard {
    let (fine, state) = match seed.verified_at {
        Some(at) => (true, format!("Last checked {}.", ago(at, now))),
        None if seed.shown_at.is_some() => {
            (false, "They were shown, and nobody proved to have them yet.".to_owned())
        }
        None => (false, "Nobody has seen them yet.".to_owned()),
    };
    let opens = match (seed.opens_with.passphrase, seed.opens_with.key_file) {
        (true, true) => "On disk a passphrase or a key file opens the seed.",
        (true, false) => "On disk a passphrase opens the seed.",
        _ => "On disk a key file beside it opens the seed: whoever copies the whole disk has both.",
    };
    Guard {
        name: "The seed’s words",
        why: "Without them a dead disk is lost money: they open everything else.",
        fine,
        state,
        warning: None,
        more: vec![opens.to_owned()],
        way: Some(match (fine, seed.opens_with.passphrase) {
            (true, true) => ("/start/seed", "Check them again, or change the passphrase"),
            (true, false) => ("/start/seed", "Check them again"),
            (false, _) => ("/start/seed", "Write them down and check them"),
        }),
        fetch: None,
    }
}

/// How the snapshot of the channels stands.
pub(super) fn snapshot(way: &Way, elsewhere: bool, now: Timestamp) -> Guard {
    let newest = way.copies.iter().filter_map(|copy| copy.written_at).max();
    let behind = way.behind_since.filter(|then| now.minus(BEHIND) > *then);
    let failed = way.copies.iter().find_map(|copy| copy.error.as_ref());
    let (fine, state) = match (&way.barred, behind, failed, newest) {
        (Some(why), ..) => (false, format!("The node stays away from its peers: {why}.")),
        (None, Some(then), ..) => (false, format!("It is behind the channels since {}.", utc(then))),
        (None, None, Some(why), _) => (false, format!("It could not be written: {why}.")),
        (None, None, None, Some(at)) => (true, format!("Written {}, {}.", ago(at, now), way.kept())),
        (None, None, None, None) => (true, "There is no channel to keep yet.".to_owned()),
    };
    let more =
        way.copies.iter().map(|copy| format!("{} ({})", copy.file.display(), ByteSize(copy.bytes))).collect();
    let second = match way.copies.len() {
        0 | 1 => {
            "Name a second place for it on another disk, as snapshot.dir in tollhouse.toml, and start again"
        }
        _ => "Name a folder on another disk as snapshot.dir in tollhouse.toml, and start again",
    };
    let warning = newest.filter(|_| !elsewhere).map(|_| {
        format!(
            "It lies on the same disk as the channels themselves: a dead disk takes both. {second}; or download it \
             after each change."
        )
    });
    Guard {
        name: "The channels’ snapshot",
        why: "With it and the words, the coins in channels come home when the disk is gone.",
        fine,
        state,
        warning,
        more,
        way: None,
        fetch: newest.map(|_| "/backup/snapshot"),
    }
}

/// How the copies of the ledger stand.
pub(super) fn ledger(standing: &Standing, now: Timestamp) -> Guard {
    let every = Duration::from_secs(standing.every_seconds);
    let (fine, state) = match (&standing.dir, &standing.failed, &standing.newest) {
        (None, ..) => (false, "None is made: name a folder on another disk.".to_owned()),
        (Some(_), Some(why), _) => (false, format!("The last one failed: {why}.")),
        (Some(_), None, None) => (false, "None was made yet.".to_owned()),
        (Some(_), None, Some(newest)) => {
            let made = newest.created_at;
            // One that is late by less is about to be made.
            (now.minus(every * 2) <= made, format!("Made {}.", ago(made, now)))
        }
    };
    Guard {
        name: "The ledger’s backup",
        why: "Without it a dead disk takes what buyers paid for and did not use, and your books.",
        fine,
        state,
        warning: (standing.dir.is_some() && standing.apart == Some(false)).then(|| {
            "These copies lie on the same disk as the data: a dead disk takes both. Name a folder on another disk as \
             backup.dir in tollhouse.toml and start again, or have this folder copied to another machine."
                .to_owned()
        }),
        more: Vec::new(),
        way: None,
        fetch: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::Shelved;
    use crate::rescue::SnapshotCopy;

    const NOW: Timestamp = Timestamp::from_secs(1_760_000_000);

    #[test]
    fn a_ledger_without_a_fresh_copy_is_red() {
        let hour = Duration::from_secs(3_600);
        let made = |ago: Duration| Shelved {
            file: "a".to_owned(),
            bytes: 1,
            created_at: NOW.minus(ago),
            of_this_ledger: true,
            came_from: false,
        };
        let standing = |newest: Option<Shelved>, failed: Option<&str>| Standing {
            dir: Some("/backups".into()),
            apart: Some(true),
            every_seconds: 3_600,
            keep: 3,
            newest,
            others: 0,
            failed: failed.map(str::to_owned),
        };
        assert!(ledger(&standing(Some(made(hour)), None), NOW).fine);
        assert!(!ledger(&standing(Some(made(hour * 3)), None), NOW).fine, "it is late");
        assert!(!ledger(&standing(Some(made(hour)), Some("disk full")), NOW).fine);
        assert!(!ledger(&standing(None, None), NOW).fine);
        let nowhere = Standing { dir: None, ..standing(Some(made(hour)), None) };
        assert!(!ledger(&nowhere, NOW).fine);
        let beside = ledger(&Standing { apart: Some(false), ..standing(Some(made(hour)), None) }, NOW);
        assert!(beside.fine && beside.warning.as_ref().is_some_and(|told| told.contains("takes both")));
        assert_eq!(headline(&[beside]), "A dead disk would take the copies on it, too");
        let apart = ledger(&standing(Some(made(hour)), None), NOW);
        assert_eq!(apart.warning, None);
        assert!(headline(&[apart]).ends_with(", if the copies lie on another one"));
        let late = Standing { apart: Some(false), ..standing(Some(made(hour * 3)), None) };
        assert_eq!(headline(&[ledger(&late, NOW)]), "A dead disk would cost you money");
    }

    #[test]
    fn a_passphrase_is_changed_only_where_one_is_set() {
        let way = |passphrase| {
            let opens_with = crate::secrets::OpensWith { passphrase, key_file: true };
            let status = SeedStatus { opens_with, shown_at: Some(NOW), verified_at: Some(NOW) };
            words(&status, NOW).way.map(|way| way.1)
        };
        assert_eq!(way(true), Some("Check them again, or change the passphrase"));
        assert_eq!(way(false), Some("Check them again"));
    }

    #[test]
    fn a_snapshot_that_is_behind_or_barred_is_red() {
        assert!(snapshot(&Way::default(), true, NOW).fine, "no channel, nothing to keep");
        let copy = SnapshotCopy {
            file: "/data/snapshot".into(),
            written_at: Some(NOW.minus(Duration::from_secs(60))),
            bytes: 900,
            error: None,
        };
        let kept = Way { channels: 2, copies: vec![copy.clone()], ..Way::default() };
        let fine = snapshot(&kept, true, NOW);
        assert!(fine.fine && fine.state.contains("of 2 channels, open or closed lately"), "{}", fine.state);
        assert_eq!(fine.warning, None);
        let one_disk = snapshot(&kept, false, NOW);
        assert!(one_disk.fine && one_disk.warning.is_some_and(|told| told.contains("snapshot.dir")));
        assert_eq!(snapshot(&Way::default(), false, NOW).warning, None, "there is nothing to lose");
        let none = snapshot(&Way { channels: 0, ..kept.clone() }, true, NOW);
        assert!(none.fine && none.state.ends_with("of no channel."), "{}", none.state);
        let just = Way { behind_since: Some(NOW), ..kept.clone() };
        assert!(snapshot(&just, true, NOW).fine, "it is being written");
        let behind = Way { behind_since: Some(NOW.minus(BEHIND * 2)), ..kept.clone() };
        assert!(!snapshot(&behind, true, NOW).fine);
        assert!(!snapshot(&Way { barred: Some("old".to_owned()), ..kept.clone() }, true, NOW).fine);
        let failed = SnapshotCopy { error: Some("read-only".to_owned()), ..copy };
        assert!(!snapshot(&Way { copies: vec![failed], ..kept }, true, NOW).fine);
    }
}
