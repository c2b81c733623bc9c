//! Backups where the time does not go as it should.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

/// A clock that was told a far time once, and tells that one since.
#[derive(Debug)]
struct Stuck {
    at: Timestamp,
    steady_ms: AtomicU64,
}

impl Stuck {
    fn pass(&self, span: Duration) {
        self.steady_ms.fetch_add(u64::try_from(span.as_millis()).unwrap(), Ordering::AcqRel);
    }
}

impl Clock for Stuck {
    fn now(&self) -> Timestamp {
        self.at
    }

    fn steady(&self) -> Duration {
        Duration::from_millis(self.steady_ms.load(Ordering::Acquire))
    }
}

#[tokio::test]
async fn two_in_one_moment_have_names_of_their_own() {
    let shop = Shop::open();
    let backups = shop.backups();
    let (first, second) = (backups.make().await.unwrap(), backups.make().await.unwrap());
    assert!(first.created_at < second.created_at);
    // What is there under a name is never taken for room, whoever put it there.
    let dir = shop.dir.path().join("backups");
    let next = backups.shelf.as_ref().unwrap().name(second.created_at.plus(Duration::from_millis(1)));
    std::fs::write(dir.join(&next), "somebody's").unwrap();
    let third = backups.make().await.unwrap();
    assert!(third.file > next);
    assert_eq!(std::fs::read(dir.join(&next)).unwrap(), b"somebody's");
    for made in [first, second, third] {
        assert!(made.of_this_ledger && backups.verify(&made.file).await.is_ok());
    }
}

/// The clock went a year ahead and came back: what it told stands still for that year.
#[tokio::test]
async fn one_is_due_by_the_steady_count_while_the_time_stands_still() {
    let shop = Shop::open();
    let clock = Arc::new(Stuck { at: shop.clock.now(), steady_ms: AtomicU64::new(77) });
    let parts = BackupsParts { clock: clock.clone(), ..shop.backups().parts.clone() };
    let backups = Backups::new(parts, shop.backups().config.clone());
    let day = BackupConfig::default().every;
    assert!(backups.is_due().await, "there is none");
    for _ in 0..3 {
        let made = backups.make().await.unwrap();
        assert!(!backups.is_due().await);
        clock.pass(day - Duration::from_secs(1));
        assert!(!backups.is_due().await);
        assert_eq!(backups.age_of(&made), day - Duration::from_secs(1));
        clock.pass(Duration::from_secs(1));
        assert!(backups.is_due().await);
        assert_eq!(backups.age_of(&made), day);
    }
    assert_eq!(backups.list().await.unwrap().len(), 3);
}
