//! What a restore leaves that fails, or that a crash ends.

use std::io;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::backup::restore::restore_by;
use crate::secrets::Adopted;

/// Every file in `dir` that a restore could touch.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let named = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    let all = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    all.filter(|path| path.is_file()).map(|path| (named(&path), std::fs::read(&path).unwrap())).collect()
}

fn copied(dir: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for name in files(dir).into_keys() {
        std::fs::copy(dir.join(&name), copy.path().join(&name)).unwrap();
    }
    copy
}

/// How the next start finds the ledger.
async fn started(dir: TempDir) -> (u64, String, bool) {
    let secrets =
        Secrets::load_or_create(dir.path(), bitcoin::Network::Regtest, &*SystemEntropy::new()).unwrap();
    let clock = FixedClock::at(Timestamp::from_secs(1_900_000_000));
    let (ledger, _) = open_at(&dir, &secrets.epochs().unwrap(), &clock);
    let life = ledger.generation().await.unwrap();
    ledger.close().await.unwrap();
    (life.generation, life.why, life.payouts_parked)
}

/// A backup with other master keys, as after a loss of the disk.
async fn another_line() -> (Shop, PathBuf) {
    let theirs = Shop::with_master("08");
    theirs.use_once(&theirs.sale(1, 2)).await.unwrap();
    let made = theirs.backups().make().await.unwrap();
    let file = theirs.dir.path().join("backups").join(made.file);
    (theirs, file)
}

#[tokio::test]
async fn one_that_fails_leaves_ledger_keys_and_note_as_they_were() {
    let (_theirs, file) = another_line().await;
    let mut ours = Shop::open();
    let sale = ours.sale(2, 3);
    ours.use_once(&sale).await.unwrap();
    let (epochs, now) = (Arc::clone(&ours.epochs), ours.clock.now());
    let keys = epochs.written();
    ours.restart(|dir| {
        let before = files(dir);
        let full = || io::Error::other("the disk is full");
        let unplaced = restore_by(&file, &owner(), dir, &epochs, now, |_, _| Err(full()));
        assert!(unplaced.unwrap_err().to_string().ends_with("ledger.db cannot be used: the disk is full"));
        let undone = restore_by(&file, &owner(), dir, &epochs, now, |copy, ledger| {
            copy.persist(ledger).map_err(|error| error.error)?;
            Err(full())
        });
        assert_eq!(undone.unwrap_err().code(), "backup_file");
        let after = files(dir);
        assert_eq!(after.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
        for name in ["generation", "seed"] {
            assert!(after[name] == before[name], "{name}");
        }
        assert_eq!(epochs.written(), keys);

        // One that cannot be set aside: nothing was begun.
        let away = dir.join("away");
        std::fs::rename(dir.join(LEDGER_FILE), &away).unwrap();
        std::fs::create_dir(dir.join(LEDGER_FILE)).unwrap();
        let refused = restore(&file, &owner(), dir, &epochs, now).unwrap_err();
        assert_eq!(refused.code(), "backup_file", "{refused}");
        std::fs::remove_dir(dir.join(LEDGER_FILE)).unwrap();
        std::fs::rename(away, dir.join(LEDGER_FILE)).unwrap();
        assert!(files(dir) == after);
        assert_eq!(epochs.written(), keys);
    })
    .await;
    assert_eq!(ours.generation().await, 1);
    ours.use_once(&sale).await.unwrap();
}

/// Where the mark came last, a copy of the same generation with more steps than the note passed for an honest ledger.
#[tokio::test]
async fn one_that_a_crash_ends_is_doubted_whichever_ledger_is_in_place() {
    let mut shop = Shop::open();
    let sale = shop.sale(1, 9);
    let old = copied(shop.dir.path());
    for _ in 0..5 {
        shop.use_once(&sale).await.unwrap();
    }
    let made = shop.backups().make().await.unwrap();
    let file = shop.dir.path().join("backups").join(made.file);
    shop.restart(|_| {}).await;
    let mut crashes = Vec::new();
    // The note is behind, as after a crash.
    restore_by(&file, &owner(), old.path(), &shop.epochs, shop.clock.now(), |copy, ledger| {
        crashes.push(copied(old.path()));
        copy.persist(ledger).map_err(|error| error.error)?;
        crashes.push(copied(old.path()));
        Ok(())
    })
    .unwrap();
    crashes.push(old);
    for dir in crashes {
        assert_eq!(started(dir).await, (2, "restored".to_owned(), true));
    }
}

#[tokio::test]
async fn the_ledger_that_was_there_is_kept_with_its_keys() {
    let (_theirs, file) = another_line().await;
    let mut ours = Shop::open();
    let sale = ours.sale(2, 3);
    ours.use_once(&sale).await.unwrap();
    let (epochs, now) = (Arc::clone(&ours.epochs), ours.clock.now());
    let mut kept = None;
    ours.restart(|dir| {
        let before = files(dir);
        let done = restore(&file, &owner(), dir, &epochs, now).unwrap();
        let (ledger, keys) = (done.set_aside.unwrap(), done.keys_set_aside.unwrap());
        assert_eq!(done.keys, Adopted::Replaced);
        assert_eq!(ledger, dir.join(format!("ledger.db.before-{}", now.millis())));
        assert_eq!(keys, dir.join(format!("keys.before-{}", now.millis())));
        assert_eq!(std::fs::metadata(&keys).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read(&keys).unwrap(), before["keys"]);
        // Both by hand in their old places are what was there.
        let back = copied(dir);
        for (from, to) in [(&ledger, LEDGER_FILE), (&keys, "keys")] {
            std::fs::rename(back.path().join(from.file_name().unwrap()), back.path().join(to)).unwrap();
        }
        std::fs::write(back.path().join("generation"), &before["generation"]).unwrap();
        kept = Some(back);
        // A second one in the same moment finds other names.
        let again = restore(&file, &owner(), dir, &epochs, now).unwrap();
        assert_eq!((again.keys, again.keys_set_aside), (Adopted::Kept, None));
        assert_ne!(again.set_aside.unwrap(), ledger);
    })
    .await;
    assert_eq!(ours.generation().await, 2);
    let dir = kept.unwrap();
    let secrets =
        Secrets::load_or_create(dir.path(), bitcoin::Network::Regtest, &*SystemEntropy::new()).unwrap();
    let epochs = Arc::new(secrets.epochs().unwrap());
    let clock = FixedClock::at(now);
    let (ledger, _) = open_at(&dir, &epochs, &clock);
    let old = Shop { dir, clock, epochs, ledger };
    assert_eq!(old.generation().await, 1);
    assert_eq!(old.sale(2, 3).token_id, sale.token_id, "its tokens verify");
    old.use_once(&sale).await.unwrap();
}
