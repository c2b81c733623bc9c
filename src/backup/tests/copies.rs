//! Copies are whole, sealed, kept in their number, and made while sales go on.

use super::*;

#[tokio::test]
async fn a_backup_is_whole_sealed_and_this_nodes_own() {
    let shop = Shop::open();
    let sale = shop.sale(1, 2);
    shop.use_once(&sale).await.unwrap();
    let backups = shop.backups();
    let made = backups.make().await.unwrap();
    let path = backups.path(&made.file).unwrap();
    let verified = backups.verify(&made.file).await.unwrap();
    assert_eq!((verified.manifest.generation, verified.audit.sums.calls), (1, 1));
    assert_eq!(verified.manifest.ledger_sha256.len(), 64);
    let bytes = std::fs::read(&path).unwrap();
    let master = hex::decode("07".repeat(32)).unwrap();
    let within = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
    assert!(!within(&master) && !within("07".repeat(32).as_bytes()) && !within(b"SQLite format 3"));
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

    let dir = shop.dir.path();
    let refused = |owner: &Owner| verify(&path, owner, dir).unwrap_err().code();
    assert_eq!(refused(&Owner { key: Zeroizing::new([8; 32]), ..owner() }), "bad_backup");
    assert_eq!(refused(&Owner { node_id: "03".repeat(33), ..owner() }), "foreign_backup");
    assert_eq!(refused(&Owner { network: "signet".to_owned(), ..owner() }), "foreign_backup");
    for at in [60, bytes.len() / 2, bytes.len() - 1] {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        std::fs::write(dir.join("changed"), changed).unwrap();
        assert_eq!(verify(&dir.join("changed"), &owner(), dir).unwrap_err().code(), "bad_backup");
    }
    let left: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with(".backup-")), "{left:?}");
    assert!(matches!(backups.verify("../ledger.db").await, Err(BackupFault::Unknown { .. })));
}

#[tokio::test]
async fn the_newest_are_kept_and_a_failure_removes_nothing() {
    let shop = Shop::open();
    let two = |dir: PathBuf| {
        let parts = shop.backups().parts.clone();
        Backups::new(parts, BackupConfig { dir: Some(dir), keep: 2, ..BackupConfig::default() })
    };
    let backups = two(shop.dir.path().join("kept"));
    let mut made = Vec::new();
    for _ in 0..4 {
        shop.clock.advance(Duration::from_secs(60));
        made.push(backups.make().await.unwrap());
    }
    made.reverse();
    assert_eq!(backups.list().await.unwrap(), made[..2]);
    // A place that is no directory.
    std::fs::write(shop.dir.path().join("file"), "").unwrap();
    let failing = two(shop.dir.path().join("file"));
    assert_eq!(failing.make().await.unwrap_err().code(), "backup_file");
    assert!(failing.standing().await.failed.is_some());
    let events = shop.ledger.events_after(0, 100).await.unwrap();
    assert!(events.iter().any(|logged| matches!(logged.event, Event::BackupFailed { .. })));
    assert_eq!(backups.list().await.unwrap().len(), 2);
}

/// A new ledger, or one that was brought back, makes no room for itself among copies that it did not make.
#[tokio::test]
async fn copies_of_another_life_of_the_ledger_are_never_removed() {
    let mut shop = Shop::open();
    let keeping_two = |shop: &Shop| {
        let parts = shop.backups().parts.clone();
        let dir = Some(shop.dir.path().join("backups"));
        Backups::new(parts, BackupConfig { dir, keep: 2, ..BackupConfig::default() })
    };
    let three = async |shop: &Shop| {
        let (backups, mut made) = (keeping_two(shop), Vec::new());
        for _ in 0..3 {
            shop.clock.advance(Duration::from_secs(60));
            made.push(backups.make().await.unwrap());
        }
        made
    };
    let names = async |shop: &Shop| {
        let all = keeping_two(shop).list().await.unwrap();
        let (own, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|one| one.of_this_ledger);
        let files = |all: Vec<Shelved>| all.into_iter().map(|one| one.file).collect::<Vec<_>>();
        (files(own), files(others))
    };
    let lost = three(&shop).await;
    let lost = [lost[2].file.clone(), lost[1].file.clone()];
    // The disk is gone; the words bring back the same keys.
    shop.restart(|dir| {
        for file in [LEDGER_FILE, "generation"] {
            std::fs::remove_file(dir.join(file)).unwrap();
        }
    })
    .await;
    assert_eq!(shop.generation().await, 1, "nothing tells it from a first one");
    assert_eq!(keeping_two(&shop).standing().await.newest, None, "it has no copy of its own yet");
    let new = three(&shop).await;
    assert_eq!(names(&shop).await, (vec![new[2].file.clone(), new[1].file.clone()], lost.to_vec()));
    assert_eq!(keeping_two(&shop).standing().await.others, 2);

    // One of the lost ledger's is brought back: its older ones are its own again, those after it are not.
    let dir = shop.dir.path().join("backups");
    shop.restore(&dir.join(&lost[0])).await;
    let (own, others) = names(&shop).await;
    assert_eq!((own, others.len()), (vec![lost[1].clone()], 3));
    // The one that it came from is told as that; the log in it ends before it was made.
    let came_from = async |shop: &Shop| {
        let all = keeping_two(shop).list().await.unwrap();
        all.into_iter().filter(|one| one.came_from).map(|one| one.file).collect::<Vec<_>>()
    };
    assert_eq!(came_from(&shop).await, [lost[0].clone()]);
    assert_eq!(keeping_two(&shop).standing().await.others, 2);
    // One that nobody can read any more stays, though it is its own.
    std::fs::write(dir.join(&lost[1]), "damaged").unwrap();
    let newest = three(&shop).await;
    let (own, others) = names(&shop).await;
    assert_eq!(own, [newest[2].file.clone(), newest[1].file.clone(), lost[1].clone()]);
    assert_eq!(others, [new[2].file.clone(), new[1].file.clone(), lost[0].clone()]);
    assert_eq!(came_from(&shop).await, [lost[0].clone()], "and is never removed");
}

#[tokio::test]
async fn sales_go_on_while_a_backup_is_made() {
    let shop = Shop::open();
    let sale = shop.sale(1, 400);
    let backups = shop.backups();
    let selling = async {
        for _ in 0..400 {
            shop.use_once(&sale).await.unwrap();
        }
    };
    let copying = async {
        let mut all = Vec::new();
        for _ in 0..5 {
            all.push(backups.make().await.unwrap());
            shop.clock.advance(Duration::from_secs(1));
        }
        all
    };
    let ((), all) = tokio::join!(selling, copying);
    let mut before = 0;
    for made in all {
        // Each is one moment of the ledger, whose books are right.
        let verified = backups.verify(&made.file).await.unwrap();
        assert!(verified.audit.sums.calls >= before);
        before = verified.audit.sums.calls;
    }
    shop.books_are_right().await;
}
