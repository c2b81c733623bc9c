//! A disk that is full, a step that fails, a file of somebody else.

use super::{World, books_are_right, draw, events, hash, price, units};
use crate::event::Event;
use crate::ledger::Ending;
use crate::store::page::Page;
use crate::store::{Ledger, ReserveError, StoreError};

/// Lets the file grow by so many pages and no more, as a full disk would.
async fn room(ledger: &Ledger, pages: Option<i64>) {
    let set = move |page: &mut Page<'_>| {
        let count: i64 = page.connection.pragma_query_value(None, "page_count", |row| row.get(0))?;
        let limit = pages.map_or(1_073_741_823, |pages| count + pages);
        page.connection.pragma_update(None, "max_page_count", limit)?;
        Ok(())
    };
    ledger.0.writer.call(set).await.unwrap();
}

#[tokio::test]
async fn a_full_disk_is_told_and_does_not_poison() {
    let world = World::new();
    let (ledger, _) = world.open();
    let mut held = ledger.reserve(world.sale(1, 1), draw()).await.unwrap();
    held.dispatched();
    room(&ledger, Some(0)).await;
    let mut refused = 0;
    for seed in 10..250u8 {
        match ledger.reserve(world.sale(seed, 1), draw()).await {
            // Nothing is sold that could not be written.
            Err(ReserveError::Store(StoreError::Full)) => refused += 1,
            Ok(_) | Err(ReserveError::Refused(_)) => {}
            Err(other) => panic!("{other}"),
        }
    }
    assert!(refused > 0);
    assert!(matches!(ledger.set_setting("x", &"y".repeat(100_000)).await, Err(StoreError::Full)));
    assert!(ledger.totals().await.is_ok(), "readers go on");
    room(&ledger, Some(0)).await;
    held.end(Ending::Delivered);
    ledger.barrier().await;
    room(&ledger, None).await;
    // The end of the hold was kept until there was room, or found some.
    for _ in 0..100 {
        if units(&ledger, 1).await == (0, 0, 1) {
            break;
        }
        ledger.barrier().await;
    }
    assert_eq!(units(&ledger, 1).await, (0, 0, 1));
    ledger.reserve(world.sale(2, 1), draw()).await.unwrap().end(Ending::Delivered);
    ledger.barrier().await;
    books_are_right(&ledger).await;
    ledger.close().await.unwrap();
    let (ledger, opened) = world.open();
    assert!(opened.clean);
    books_are_right(&ledger).await;
}

#[tokio::test]
async fn a_failed_commit_fails_everything_in_it_and_nothing_after() {
    let world = World::new();
    let (ledger, _) = world.open();
    // A deferred foreign key breaks at the commit, not before.
    let broken = |page: &mut Page<'_>| {
        page.connection.execute_batch(
            "PRAGMA defer_foreign_keys = ON;
             INSERT INTO holds (grant_id, units, route, opened_at) VALUES (7, 1, 1, 0);",
        )?;
        Ok(())
    };
    let writer = &ledger.0.writer;
    let (broke, reserved, logged) = tokio::join!(
        writer.call(broken),
        ledger.reserve(world.sale(1, 1), draw()),
        ledger.log(Event::Stopped)
    );
    assert!(matches!(broke, Err(StoreError::Database(_))), "{broke:?}");
    // They shared the commit, or came after it; either way the answer is the truth.
    let grant = ledger.grant(hash(1)).await.unwrap();
    assert_eq!(grant.is_some(), reserved.is_ok());
    let told = usize::from(logged.is_ok()) + usize::from(reserved.is_ok());
    assert_eq!(events(&ledger).await.len(), told);
    drop(reserved);
    ledger.reserve(world.sale(2, 1), draw()).await.unwrap().end(Ending::Delivered);
    ledger.barrier().await;
    books_are_right(&ledger).await;
}

#[tokio::test]
async fn a_job_that_fails_takes_nobody_with_it() {
    let world = World::new();
    let (ledger, _) = world.open();
    let bad = |page: &mut Page<'_>| {
        page.log(&Event::Stopped)?;
        page.totals.payments += 7;
        page.run += 7;
        Err::<(), _>(StoreError::Corrupt("as the test wants it"))
    };
    let (received, failed, logged) = tokio::join!(
        ledger.receive(hash(1), price(), None),
        ledger.0.writer.call(bad),
        ledger.log(Event::Started { version: "1".into(), clean: true })
    );
    assert!(received.is_ok() && logged.is_ok());
    assert!(matches!(failed, Err(StoreError::Corrupt(_))));
    assert_eq!(events(&ledger).await.len(), 2, "what the failed job wrote is gone");
    let again = ledger.receive(hash(1), price(), None).await.unwrap();
    assert_eq!(again, crate::store::Credit::PossibleSurplus, "the run did not move");
    books_are_right(&ledger).await;
}

#[tokio::test]
async fn an_end_without_a_hold_is_dropped_and_stops_nothing() {
    let world = World::new();
    let (ledger, _) = world.open();
    let held = ledger.reserve(world.sale(1, 1), draw()).await.unwrap();
    let lose = |page: &mut Page<'_>| Ok(page.connection.execute("DELETE FROM holds", [])?);
    ledger.0.writer.call(lose).await.unwrap();
    held.end(Ending::Delivered);
    ledger.log(Event::Stopped).await.unwrap();
    let audit = ledger.audit().await.unwrap();
    assert!(!audit.ok && audit.mismatches[0].contains("holds"), "{audit:?}");
}

#[tokio::test]
async fn files_of_others_and_of_the_future_are_refused_untouched() {
    let world = World::new();
    let (ledger, _) = world.open();
    ledger.close().await.unwrap();
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(world.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let connection = rusqlite::Connection::open(world.path()).unwrap();
        connection.pragma_update(None, "user_version", 99).unwrap();
    }
    let refused = Ledger::open(&world.path(), world.clock.clone()).unwrap_err();
    assert!(matches!(refused, StoreError::TooNew { found: 99, .. }), "{refused}");
    let other = World::new();
    {
        let connection = rusqlite::Connection::open(other.path()).unwrap();
        connection.execute_batch("CREATE TABLE theirs (x)").unwrap();
    }
    let refused = Ledger::open(&other.path(), other.clock.clone()).unwrap_err();
    assert!(matches!(refused, StoreError::NotOurs(_)), "{refused}");
    std::fs::write(other.path(), b"this is no database, not at all, but long enough to be read").unwrap();
    assert!(Ledger::open(&other.path(), other.clock.clone()).is_err());
}
