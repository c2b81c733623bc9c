//! Limits that holders put into their tokens: each counts what its copies use, and no more.

use futures_util::future::join_all;

use super::{World, books_are_right, draw, hash, price};
use crate::clock::Clock;
use crate::ledger::{
    Draw, Ending, MAX_COUNTERS, MAX_COUNTERS_BELOW, ReserveRefused, RestoreReason, SPENDS_KEPT, Sale,
};
use crate::store::{Ledger, Reservation, ReserveError};
use crate::types::{Bound, CounterId, Kind, Limit, Msat};

fn uses(id: u8, most: u64) -> Limit {
    Limit { counter: CounterId::from_bytes([id; 32]), bound: Bound::Uses(most) }
}

fn spend(id: u8, most: u64) -> Limit {
    Limit { counter: CounterId::from_bytes([id; 32]), bound: Bound::Spend(Msat::new(most).unwrap()) }
}

fn one(limits: &[Limit]) -> Draw {
    draw().within(limits.to_vec())
}

fn money(least: u64, most: u64, limits: &[Limit]) -> Draw {
    Draw { least, most, ..one(limits) }
}

fn of(world: &World, kind: Kind, units: u64) -> Sale {
    let lasts = (kind == Kind::Pass).then_some(std::time::Duration::from_secs(60));
    Sale { kind, lasts, ..world.sale(1, units) }
}

async fn held(ledger: &Ledger, sale: &Sale, draw: Draw) -> Reservation {
    let mut held = ledger.reserve(sale.clone(), draw).await.unwrap();
    held.dispatched();
    held
}

async fn used(ledger: &Ledger, sale: &Sale, draw: Draw) {
    held(ledger, sale, draw).await.end(Ending::Delivered);
    ledger.barrier().await;
}

async fn refused(ledger: &Ledger, sale: &Sale, draw: Draw) -> &'static str {
    match ledger.reserve(sale.clone(), draw).await {
        Err(ReserveError::Refused(refused)) => refused.code(),
        other => panic!("{other:?}"),
    }
}

/// Used and held, in the order of the counters' numbers.
async fn counted(ledger: &Ledger) -> Vec<(u8, u64, u64)> {
    ledger.barrier().await;
    let rows = ledger.counters(hash(1)).await.unwrap();
    let mut all: Vec<_> =
        rows.iter().map(|row| (row.id.as_bytes()[0], row.counter.used, row.counter.held)).collect();
    all.sort_unstable();
    all
}

async fn left(ledger: &Ledger) -> (u64, u64, u64) {
    super::units(ledger, 1).await
}

#[tokio::test]
async fn siblings_have_a_counter_each_below_the_pack_and_nested_ones_all_count() {
    let world = World::new();
    let (ledger, _) = world.open();
    let pack = of(&world, Kind::Pack, 10);
    let (a, b) = ([uses(1, 2)], [uses(2, 3)]);
    used(&ledger, &pack, one(&a)).await;
    used(&ledger, &pack, one(&a)).await;
    assert_eq!(refused(&ledger, &pack, one(&a)).await, "uses_exhausted");
    // What lies below a limit that is reached is refused, whatever it says itself.
    assert_eq!(refused(&ledger, &pack, one(&[a[0], uses(3, 2)])).await, "uses_exhausted");
    used(&ledger, &pack, one(&b)).await;
    used(&ledger, &pack, one(&[b[0], uses(4, 1)])).await;
    assert_eq!(refused(&ledger, &pack, one(&[b[0], uses(4, 1)])).await, "uses_exhausted");
    used(&ledger, &pack, one(&[b[0], uses(5, 1)])).await;
    assert_eq!(refused(&ledger, &pack, one(&[b[0], uses(6, 1)])).await, "uses_exhausted");
    assert_eq!(counted(&ledger).await, [(1, 2, 0), (2, 3, 0), (4, 1, 0), (5, 1, 0)]);
    let rows = ledger.counters(hash(1)).await.unwrap();
    let below = |id: u8| rows.iter().find(|row| row.id.as_bytes()[0] == id).unwrap().below;
    assert_eq!((below(1), below(4)), (None, Some(b[0].counter)));
    // The parent is as good as before, and nothing exceeds it.
    assert_eq!(left(&ledger).await, (5, 0, 5));
    for _ in 0..5 {
        used(&ledger, &pack, one(&[uses(7, 100)])).await;
    }
    assert_eq!(refused(&ledger, &pack, one(&[uses(7, 100)])).await, "spent");
    assert_eq!(refused(&ledger, &pack, one(&[uses(8, 100)])).await, "spent");
    assert_eq!(counted(&ledger).await.len(), 5, "a refusal leaves no row");
    books_are_right(&ledger).await;
}

#[tokio::test]
async fn a_balance_holds_no_more_than_the_smallest_rest_and_is_counted_what_it_is_charged() {
    let world = World::new();
    let (ledger, _) = world.open();
    let balance = of(&world, Kind::Balance, 10_000);
    let limits = [spend(1, 1_000), spend(2, 600)];
    let first = held(&ledger, &balance, money(10, 400, &limits)).await;
    assert_eq!((first.held(), first.left(), first.left_after(Some(100))), (400, 200, 500));
    let second = held(&ledger, &balance, money(10, 400, &limits)).await;
    assert_eq!((second.held(), second.left(), second.limited()), (200, 0, true));
    let too_small = ReserveRefused::BudgetExhausted { left: 200, needed: 300 };
    assert_eq!(second.too_small(300), too_small);
    // What is on its way may come back: that is no reason to pay again.
    assert_eq!(refused(&ledger, &balance, money(10, 400, &limits)).await, "in_flight");
    assert_eq!(refused(&ledger, &balance, money(601, 700, &limits)).await, "budget_exhausted");
    assert_eq!(left(&ledger).await, (9_400, 600, 0));
    first.end(Ending::Charged(150));
    second.end(Ending::Restored(RestoreReason::UpstreamError));
    assert_eq!(counted(&ledger).await, [(1, 150, 0), (2, 150, 0)]);
    let third = held(&ledger, &balance, money(450, 700, &limits)).await;
    assert_eq!((third.held(), third.left_after(None)), (450, 450));
    third.end(Ending::Delivered);
    ledger.barrier().await;
    assert_eq!(refused(&ledger, &balance, money(1, 1, &limits)).await, "budget_exhausted");
    assert_eq!(refused(&ledger, &balance, money(0, 1, &limits[1..])).await, "budget_exhausted");
    used(&ledger, &balance, money(400, 400, &limits[..1])).await;
    assert_eq!(counted(&ledger).await, [(1, 1_000, 0), (2, 600, 0)]);
    assert_eq!(left(&ledger).await, (9_000, 0, 1_000));
    books_are_right(&ledger).await;
}

#[tokio::test]
async fn a_unit_of_a_pack_counts_what_it_cost_rounded_up() {
    let world = World::new();
    let (ledger, _) = world.open();
    // Three for 10,000 msat: 3,334 each.
    let pack = of(&world, Kind::Pack, 3);
    assert_eq!(refused(&ledger, &pack, one(&[spend(1, 3_333)])).await, "budget_exhausted");
    assert!(ledger.grant(hash(1)).await.unwrap().is_none(), "refused before the parent is touched");
    let first = held(&ledger, &pack, one(&[spend(1, 6_668), uses(2, 3)])).await;
    assert_eq!((first.left(), first.left_after(None)), (1, 2), "the smaller of both");
    first.end(Ending::Delivered);
    used(&ledger, &pack, one(&[spend(1, 6_668)])).await;
    assert_eq!(refused(&ledger, &pack, one(&[spend(1, 6_668)])).await, "budget_exhausted");
    assert_eq!(counted(&ledger).await, [(1, 6_668, 0), (2, 1, 0)]);
    books_are_right(&ledger).await;
}

#[tokio::test]
async fn a_pass_counts_its_price_once() {
    let world = World::new();
    let (ledger, _) = world.open();
    let pass = of(&world, Kind::Pass, 1);
    let (cheap, dear) = ([spend(1, price().msat() - 1)], [spend(2, price().msat()), uses(3, 3)]);
    assert_eq!(
        refused(&ledger, &pass, Draw::pass(draw().route).within(cheap.to_vec())).await,
        "budget_exhausted"
    );
    let under = || Draw::pass(draw().route).within(dear.to_vec());
    let (first, second) = (held(&ledger, &pass, under()).await, held(&ledger, &pass, under()).await);
    assert_eq!((first.left(), second.left()), (60, 60), "seconds");
    first.end(Ending::Restored(RestoreReason::UpstreamError));
    assert_eq!(counted(&ledger).await, [(2, 0, 0), (3, 0, 1)]);
    second.end(Ending::Delivered);
    used(&ledger, &pass, under()).await;
    assert_eq!(counted(&ledger).await, [(2, price().msat(), 0), (3, 2, 0)]);
    assert_eq!(held(&ledger, &pass, under()).await.left(), 0, "its last use");
    assert_eq!(counted(&ledger).await, [(2, price().msat(), 0), (3, 3, 0)]);
    assert_eq!(refused(&ledger, &pass, under()).await, "uses_exhausted");
    books_are_right(&ledger).await;
}

#[tokio::test]
async fn what_comes_to_nothing_leaves_nothing() {
    let world = World::new();
    let (ledger, _) = world.open();
    let pack = of(&world, Kind::Pack, 3);
    let limits = [uses(1, 1), spend(2, 5_000)];
    drop(ledger.reserve(pack.clone(), one(&limits)).await.unwrap());
    held(&ledger, &pack, one(&limits)).await.end(Ending::Restored(RestoreReason::UpstreamError));
    assert_eq!(counted(&ledger).await, []);
    // Whoever goes away after the commit has used nothing.
    let mut waiting = Box::pin(ledger.reserve(pack.clone(), one(&limits)));
    let _ = futures_util::poll!(&mut waiting);
    ledger.barrier().await;
    drop(waiting);
    assert_eq!(counted(&ledger).await, []);
    assert_eq!(left(&ledger).await, (3, 0, 0));
    books_are_right(&ledger).await;
}

#[tokio::test]
async fn a_crash_is_forgiven_once_under_a_limit_too() {
    let world = World::new();
    for (crash, expected, counters) in [(1, (1, 0), vec![]), (2, (0, 1), vec![(1, 1, 0), (2, 10_000, 0)])] {
        let (ledger, _) = world.open();
        let limits = [uses(1, 1), spend(2, 10_000)];
        let open = held(&ledger, &of(&world, Kind::Request, 1), one(&limits)).await;
        assert_eq!(refused(&ledger, &of(&world, Kind::Request, 1), one(&limits)).await, "in_flight");
        ledger.crash().await;
        drop(open);
        let (ledger, opened) = world.open();
        assert_eq!((opened.crash_restored, opened.crash_charged), expected, "crash {crash}");
        assert_eq!(counted(&ledger).await, counters, "crash {crash}");
        books_are_right(&ledger).await;
        ledger.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_four_at_once_on_one_use_get_one() {
    let world = World::new();
    let (ledger, _) = world.open();
    let balance = of(&world, Kind::Balance, 1_000_000);
    let tries = (0..64u8).map(|n| {
        let (ledger, balance) = (ledger.clone(), balance.clone());
        // Copies of one limited copy, each with another limit of its own.
        async move { ledger.reserve(balance, money(10, 10, &[uses(200, 1), uses(n, 1)])).await }
    });
    let mut got: Vec<Reservation> = join_all(tries).await.into_iter().filter_map(Result::ok).collect();
    assert_eq!(got.len(), 1);
    assert_eq!(counted(&ledger).await.len(), 2);
    got.remove(0).end(Ending::Delivered);
    ledger.barrier().await;
    assert_eq!(refused(&ledger, &balance, money(10, 10, &[uses(200, 1)])).await, "uses_exhausted");
    assert_eq!(left(&ledger).await, (999_990, 0, 10));
    books_are_right(&ledger).await;
}

#[tokio::test]
async fn the_limits_that_are_counted_are_bounded_and_a_child_does_not_take_all_places() {
    let world = World::new();
    let (ledger, _) = world.open();
    let balance = of(&world, Kind::Balance, 1_000_000);
    let named = |n: u64| {
        let mut id = [9; 32];
        id[..8].copy_from_slice(&n.to_be_bytes());
        Limit { counter: CounterId::from_bytes(id), bound: Bound::Uses(5_000) }
    };
    let child = uses(1, 5_000);
    for n in 0..MAX_COUNTERS_BELOW {
        held(&ledger, &balance, money(1, 1, &[child, named(n)])).await.end(Ending::Delivered);
    }
    ledger.barrier().await;
    let over = money(1, 1, &[child, named(u64::MAX)]);
    assert_eq!(refused(&ledger, &balance, over).await, "too_many_budgets");
    used(&ledger, &balance, money(1, 1, &[child, named(0)])).await;
    used(&ledger, &balance, money(1, 1, &[child])).await;
    for n in 0..MAX_COUNTERS - MAX_COUNTERS_BELOW - 1 {
        held(&ledger, &balance, money(1, 1, &[named(10_000 + n)])).await.end(Ending::Delivered);
    }
    ledger.barrier().await;
    assert_eq!(ledger.counters(hash(1)).await.unwrap().len(), usize::try_from(MAX_COUNTERS).unwrap());
    assert_eq!(refused(&ledger, &balance, money(1, 1, &[uses(2, 1)])).await, "too_many_budgets");
    let before = left(&ledger).await;
    used(&ledger, &balance, money(1, 1, &[named(10_000)])).await;
    used(&ledger, &balance, money(1, 1, &[])).await;
    assert_eq!(left(&ledger).await.0, before.0 - 2, "what is known and what has no limit goes on");
    books_are_right(&ledger).await;
}

#[tokio::test]
async fn a_revoked_token_says_so_and_what_is_long_over_is_forgotten() {
    let world = World::new();
    let (ledger, _) = world.open();
    let pack = of(&world, Kind::Pack, 2);
    used(&ledger, &pack, one(&[uses(1, 1), uses(2, 1)])).await;
    assert_eq!(refused(&ledger, &pack, one(&[uses(1, 1)])).await, "uses_exhausted");
    ledger.revoke(hash(1)).await.unwrap();
    assert_eq!(refused(&ledger, &pack, one(&[uses(1, 1)])).await, "revoked");
    books_are_right(&ledger).await;
    world.clock.advance(SPENDS_KEPT + std::time::Duration::from_secs(3_600));
    ledger.close().await.unwrap();
    let (ledger, _) = world.open();
    assert!(world.clock.now() > pack.valid_until);
    assert_eq!(counted(&ledger).await, []);
    assert_eq!(refused(&ledger, &pack, one(&[uses(1, 1)])).await, "revoked");
    books_are_right(&ledger).await;
}

#[tokio::test]
async fn whoever_edits_a_counter_is_found_out() {
    let world = World::new();
    let (ledger, _) = world.open();
    let open = held(&ledger, &of(&world, Kind::Balance, 100), money(5, 5, &[uses(1, 9), spend(2, 50)])).await;
    used(&ledger, &of(&world, Kind::Balance, 100), money(7, 7, &[uses(1, 9), spend(2, 50)])).await;
    books_are_right(&ledger).await;
    for (edit, found) in [
        (
            "PRAGMA ignore_check_constraints = ON; UPDATE counters SET used = 48 WHERE counts = 'msat'",
            "limits are exceeded",
        ),
        ("UPDATE counters SET held = 0 WHERE counts = 'msat'", "limits hold other sums"),
        ("DELETE FROM counted", "other limits than they say"),
        ("INSERT INTO counted VALUES (99, 1, 0)", "held by nothing"),
        ("UPDATE counters SET used = 2 WHERE counts = 'uses'", "more under their limits than in all"),
        ("UPDATE counters SET counts = 'uses'", "more than the one above them"),
    ] {
        let file = world.snapshot();
        rusqlite::Connection::open(file.path()).unwrap().execute_batch(edit).unwrap();
        let audit = Ledger::audit_file(&file.path()).unwrap();
        assert!(!audit.ok && audit.mismatches.iter().any(|what| what.contains(found)), "{edit}: {audit:?}");
    }
    drop(open);
}
