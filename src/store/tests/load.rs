//! Many at once: one unit goes to one caller, commits are shared, nothing leaks.

use std::sync::Arc;

use tokio::sync::Barrier;
use tokio_util::task::TaskTracker;

use super::{World, books_are_right, draw, events, hash, units};
use crate::event::Event;
use crate::ledger::{Ending, ReserveRefused};
use crate::store::{Reservation, ReserveError, StoreError};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_64_at_once_one_gets_the_unit() {
    let world = World::new();
    let (ledger, _) = world.open();
    let (tasks, gate) = (TaskTracker::new(), Arc::new(Barrier::new(64)));
    let mut callers = Vec::new();
    for _ in 0..64 {
        let (ledger, gate, sale) = (ledger.clone(), Arc::clone(&gate), world.sale(1, 1));
        callers.push(tasks.spawn(async move {
            gate.wait().await;
            ledger.reserve(sale, draw()).await
        }));
    }
    let mut winners: Vec<Reservation> = Vec::new();
    for caller in callers {
        match caller.await.unwrap() {
            Ok(reservation) => winners.push(reservation),
            Err(ReserveError::Refused(refused)) => assert_eq!(refused, ReserveRefused::InFlight),
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(winners.len(), 1);
    let mut winner = winners.pop().unwrap();
    winner.dispatched();
    winner.end(Ending::Delivered);
    ledger.barrier().await;
    let again = ledger.reserve(world.sale(1, 1), draw()).await.unwrap_err();
    assert!(matches!(again, ReserveError::Refused(ReserveRefused::Spent)), "{again}");
    assert_eq!(units(&ledger, 1).await, (0, 0, 1));
    books_are_right(&ledger).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_reserves_share_few_commits() {
    let world = World::new();
    let (ledger, _) = world.open();
    let tasks = TaskTracker::new();
    let before = ledger.commits();
    let mut callers = Vec::new();
    for round in 0..8u32 {
        for seed in 0..64u8 {
            let (ledger, sale) = (ledger.clone(), world.sale(seed, 8));
            callers.push(tasks.spawn(async move {
                let held = ledger.reserve(sale, draw()).await.unwrap();
                held.end(if round % 2 == 0 {
                    Ending::Delivered
                } else {
                    Ending::Restored(crate::ledger::RestoreReason::UpstreamError)
                });
            }));
        }
    }
    for caller in callers {
        caller.await.unwrap();
    }
    ledger.barrier().await;
    let commits = ledger.commits() - before;
    // 512 reserves and 512 ends. One at a time they would need 1,024.
    assert!(commits < 256, "{commits} commits for 512 reserves");
    assert_eq!(ledger.totals().await.unwrap().units_spent, 256);
    assert_eq!(ledger.totals().await.unwrap().restored, 256);
    books_are_right(&ledger).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_caller_that_leaves_at_any_moment_leaves_no_hold() {
    let world = World::new();
    let (ledger, _) = world.open();
    for polls in 0..40 {
        // Polled so often, then dropped: before the send, before the commit, after it, after the answer.
        let mut waiting = Box::pin(ledger.reserve(world.sale(1, 1), draw()));
        let mut got = None;
        for _ in 0..polls {
            if let std::task::Poll::Ready(done) = futures_util::poll!(&mut waiting) {
                got = Some(done);
                break;
            }
            tokio::task::yield_now().await;
            std::thread::yield_now();
        }
        drop(waiting);
        drop(got);
        ledger.barrier().await;
        // The writer's own release may follow the barrier's batch.
        ledger.barrier().await;
        // A caller that left early enough made no grant.
        if let Some(row) = ledger.grant(hash(1)).await.unwrap() {
            assert_eq!((row.grant.left, row.grant.held), (1, 0), "after {polls} polls");
        }
    }
    books_are_right(&ledger).await;
}

#[tokio::test]
async fn an_answer_that_nobody_reads_is_given_back() {
    let world = World::new();
    let (ledger, _) = world.open();
    // The commit is done and the answer lies in the channel when the future is dropped.
    let mut waiting = Box::pin(ledger.reserve(world.sale(1, 1), draw()));
    assert!(futures_util::poll!(&mut waiting).is_pending());
    ledger.barrier().await;
    assert_eq!(units(&ledger, 1).await, (0, 1, 0));
    drop(waiting);
    ledger.barrier().await;
    assert_eq!(units(&ledger, 1).await, (1, 0, 0));
    let log = events(&ledger).await;
    assert!(
        matches!(&log[..], [Event::SaleAttributed { .. }, Event::UnitRestored { payment_hash, reason, .. }]
            if *payment_hash == hash(1) && reason == "not_dispatched"),
        "{log:?}"
    );
}

#[tokio::test]
async fn open_holds_do_not_stand_in_the_way_of_the_rest() {
    let world = World::new();
    let (ledger, _) = world.open();
    let mut open = Vec::new();
    // More than the jobs' queue has places.
    for _ in 0..1_500 {
        open.push(ledger.reserve(world.sale(1, 2_000), draw()).await.unwrap());
    }
    ledger.log(Event::Stopped).await.unwrap();
    assert_eq!(units(&ledger, 1).await, (500, 1_500, 0));
    drop(open);
    ledger.barrier().await;
    assert_eq!(units(&ledger, 1).await, (2_000, 0, 0));
    books_are_right(&ledger).await;
}

#[tokio::test]
async fn readers_see_what_is_committed_and_are_woken_by_it() {
    let world = World::new();
    let (ledger, _) = world.open();
    let mut news = ledger.watch();
    assert_eq!(*news.borrow_and_update(), 0);
    let held = ledger.reserve(world.sale(1, 1), draw()).await.unwrap();
    assert_eq!(units(&ledger, 1).await, (0, 1, 0), "on disk when the reserve returns");
    news.borrow_and_update();
    held.end(Ending::Delivered);
    news.changed().await.unwrap();
    assert!(matches!(events(&ledger).await[..], [Event::SaleAttributed { .. }]), "a spend is no event");
    assert_eq!(ledger.spends(hash(1), 10, None).await.unwrap().len(), 1);
    ledger.close().await.unwrap();
    assert!(matches!(ledger.log(Event::Stopped).await, Err(StoreError::Closed)));
    assert!(matches!(
        ledger.reserve(world.sale(2, 1), draw()).await,
        Err(ReserveError::Store(StoreError::Closed))
    ));
    assert!(matches!(ledger.totals().await, Err(StoreError::Closed)));
}
