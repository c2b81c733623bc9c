//! Kills and power cuts: every hold is resolved once, and what was acknowledged is there.

use std::time::Duration;

use super::{World, books_are_right, draw, events, hash, price, units};
use crate::clock::Clock;
use crate::event::Event;
use crate::ledger::{Ending, ReserveRefused};
use crate::store::{Credit, Ledger, ReserveError};

#[tokio::test]
async fn a_crash_is_forgiven_once_and_charged_the_second_time() {
    let world = World::new();
    let (ledger, opened) = world.open();
    assert!(opened.clean);
    let mut hits = 0;
    for (crash, expected) in [(1, (1, 0)), (2, (0, 1)), (3, (0, 0))] {
        let (ledger, opened) = if crash == 1 { (ledger.clone(), opened) } else { world.open() };
        assert_eq!(opened.clean, crash == 1);
        if crash < 3 {
            let mut held = ledger.reserve(world.sale(1, 1), draw()).await.unwrap();
            held.dispatched();
            hits += 1;
            ledger.crash().await;
            // Its end comes too late to be written.
            drop(held);
        } else {
            // The two starts before have charged it.
            let refused = ledger.reserve(world.sale(1, 1), draw()).await.unwrap_err();
            assert!(matches!(refused, ReserveError::Refused(ReserveRefused::Spent)));
            ledger.crash().await;
        }
        let (ledger, opened) = world.open();
        assert_eq!((opened.crash_restored, opened.crash_charged), expected, "crash {crash}");
        books_are_right(&ledger).await;
        let sums = ledger.totals().await.unwrap();
        assert!(hits <= sums.units_spent + sums.crash_restored + sums.units_held);
        ledger.crash().await;
    }
    let (ledger, _) = world.open();
    assert_eq!(units(&ledger, 1).await, (0, 0, 1));
    let log = events(&ledger).await;
    let resolved: Vec<bool> = log
        .iter()
        .filter_map(|event| match event {
            Event::CrashRestored { restored, .. } => Some(*restored),
            _ => None,
        })
        .collect();
    assert_eq!(resolved, [true, false], "each hold is resolved once: {log:?}");
    assert_eq!(ledger.revenue(world.clock.now()).await.unwrap().total, price());
}

#[tokio::test]
async fn a_power_cut_keeps_what_was_answered() {
    let world = World::new();
    let (ledger, _) = world.open();
    ledger.receive(hash(1), price(), None).await.unwrap();
    let _open = ledger.reserve(world.sale(1, 1), draw()).await.unwrap();
    ledger.reserve(world.sale(2, 1), draw()).await.unwrap().end(Ending::Delivered);
    ledger.barrier().await;
    let cut = world.snapshot();
    // The first ledger goes on meanwhile; the copy knows nothing of it.
    ledger.reserve(world.sale(3, 1), draw()).await.unwrap().end(Ending::Delivered);
    let (after, opened) = cut.open();
    assert_eq!((opened.clean, opened.crash_restored), (false, 1));
    assert_eq!(units(&after, 1).await, (1, 0, 0));
    assert_eq!(units(&after, 2).await, (0, 0, 1));
    assert!(after.grant(hash(3)).await.unwrap().is_none());
    books_are_right(&after).await;
}

#[tokio::test]
async fn a_torn_last_write_is_as_if_it_had_not_begun() {
    let world = World::new();
    let (ledger, _) = world.open();
    ledger.reserve(world.sale(1, 1), draw()).await.unwrap().end(Ending::Delivered);
    ledger.barrier().await;
    let whole = std::fs::metadata(world.folder.path().join("ledger.db-wal")).unwrap().len();
    ledger.reserve(world.sale(2, 1), draw()).await.unwrap().end(Ending::Delivered);
    ledger.barrier().await;
    let end = std::fs::metadata(world.folder.path().join("ledger.db-wal")).unwrap().len();
    assert!(end > whole);
    for length in [whole, whole + 1, (whole + end) / 2, end - 1, end] {
        let cut = world.snapshot();
        let wal = cut.folder.path().join("ledger.db-wal");
        std::fs::OpenOptions::new().write(true).open(wal).unwrap().set_len(length).unwrap();
        let (after, _) = cut.open();
        assert_eq!(units(&after, 1).await, (0, 0, 1));
        books_are_right(&after).await;
    }
}

#[tokio::test]
async fn a_clean_stop_leaves_no_hold_and_is_known() {
    let world = World::new();
    let (ledger, _) = world.open();
    let mut held = ledger.reserve(world.sale(1, 2), draw()).await.unwrap();
    held.dispatched();
    let other = ledger.reserve(world.sale(1, 2), draw()).await.unwrap();
    // A close waits for what is open, and takes it along.
    let closing = ledger.close();
    let ends = async {
        tokio::task::yield_now().await;
        held.end(Ending::Delivered);
        drop(other);
    };
    let (closed, ()) = tokio::join!(closing, ends);
    closed.unwrap();
    let (ledger, opened) = world.open();
    assert_eq!((opened.clean, opened.crash_restored, opened.crash_charged), (true, 0, 0));
    assert_eq!(units(&ledger, 1).await, (1, 0, 1));
    books_are_right(&ledger).await;
}

#[tokio::test]
async fn time_does_not_step_back_over_a_restart() {
    let world = World::new();
    assert_eq!(Ledger::high_water(&world.path()).unwrap().millis(), 0);
    let (ledger, _) = world.open();
    world.clock.advance(Duration::from_secs(500));
    ledger.log(Event::Stopped).await.unwrap();
    ledger.crash().await;
    assert_eq!(Ledger::high_water(&world.path()).unwrap(), world.clock.now());
    // A later start with a slow clock does not lower it.
    let slow = crate::clock::FixedClock::at(crate::types::Timestamp::from_secs(5));
    let (ledger, _) = Ledger::open(&world.path(), slow).unwrap();
    ledger.log(Event::Stopped).await.unwrap();
    ledger.close().await.unwrap();
    assert_eq!(Ledger::high_water(&world.path()).unwrap(), world.clock.now());
}

#[tokio::test]
async fn a_repeat_in_one_run_may_be_surplus_and_a_replay_is_not() {
    let world = World::new();
    let (ledger, _) = world.open();
    assert_eq!(ledger.receive(hash(1), price(), None).await.unwrap(), Credit::First);
    ledger.crash().await;
    let (ledger, _) = world.open();
    assert_eq!(ledger.receive(hash(1), price(), None).await.unwrap(), Credit::Replayed);
    assert_eq!(ledger.receive(hash(1), price(), None).await.unwrap(), Credit::PossibleSurplus);
    // Another node in the same process tells from the start.
    ledger.begin_run().await.unwrap();
    assert_eq!(ledger.receive(hash(1), price(), None).await.unwrap(), Credit::Replayed);
    let revenue = ledger.revenue(world.clock.now()).await.unwrap();
    assert_eq!((revenue.received_total, revenue.surplus, revenue.unearned), (price(), price(), price()));
    assert_eq!(revenue.total.msat(), 0);
    let log = events(&ledger).await;
    assert!(matches!(log[..], [Event::PaymentReceived { .. }, Event::PossibleSurplus { .. }]), "{log:?}");
    books_are_right(&ledger).await;
}
