//! Packs, passes, balances and granted tokens from the outside: what is held, told, kept and reported.

use std::time::Duration;

use super::{World, books_are_right, draw, events, hash, price};
use crate::clock::Clock;
use crate::event::Event;
use crate::ledger::{Bought, Draw, Ending, ReserveRefused, RestoreReason, SPENDS_KEPT, Sale};
use crate::store::{
    Charge, GrantFilter, GrantState, Ledger, NewGrant, PaymentState, Reservation, ReserveError, SalesFilter,
    Step,
};
use crate::types::{Kind, Msat, Name, Timestamp, TokenId};

fn money(least: u64, most: u64) -> Draw {
    Draw { least, most, ..Draw::one("chat".parse().unwrap()) }
}

fn balance(world: &World, seed: u8, units: u64) -> Sale {
    Sale { kind: Kind::Balance, units, ..world.sale(seed, 1) }
}

async fn refused(ledger: &Ledger, sale: &Sale, draw: Draw) -> ReserveRefused {
    match ledger.reserve(sale.clone(), draw).await {
        Err(ReserveError::Refused(refused)) => refused,
        other => panic!("{other:?}"),
    }
}

async fn held(ledger: &Ledger, sale: &Sale, draw: Draw) -> Reservation {
    let mut held = ledger.reserve(sale.clone(), draw).await.unwrap();
    held.dispatched();
    held
}

#[tokio::test]
async fn a_balance_is_drawn_down_and_each_draw_is_told() {
    let world = World::new();
    let (ledger, _) = world.open();
    let sale = balance(&world, 1, 1_000);
    let mut first = held(&ledger, &sale, money(10, 700)).await;
    assert_eq!((first.held(), first.left(), first.used().requests), (700, 300, 0));
    let second = held(&ledger, &sale, money(10, 700)).await;
    assert_eq!((second.held(), second.left(), second.used().requests), (300, 0, 1), "as much as is there");
    assert_eq!(refused(&ledger, &sale, money(10, 700)).await, ReserveRefused::InFlight);
    first.delivered_bytes(512);
    first.end(Ending::Charged(450));
    second.end(Ending::Restored(RestoreReason::Policy));
    ledger.barrier().await;
    let too_small = ReserveRefused::TooSmall { left: 550, needed: 551 };
    assert_eq!(refused(&ledger, &sale, money(551, 700)).await, too_small);
    assert_eq!(refused(&ledger, &sale, money(551, 700)).await, too_small);
    assert_eq!(too_small.code(), "balance_too_small");
    let third = held(&ledger, &sale, money(550, 550)).await;
    assert_eq!((third.used().requests, third.used().bytes), (1, 512));
    third.end(Ending::Delivered);
    ledger.barrier().await;
    assert_eq!(refused(&ledger, &sale, money(1, 1)).await, ReserveRefused::Spent);

    let row = ledger.grant(hash(1)).await.unwrap().unwrap();
    assert_eq!((row.grant.spent, row.grant.calls, row.grant.restored), (1_000, 2, 1));
    assert_eq!(row.state(), PaymentState::Spent);
    let spends = ledger.spends(hash(1), 10, None).await.unwrap();
    let shown: Vec<_> = spends.iter().map(|s| (s.number, s.units, s.earned.msat(), s.bytes, s.how)).collect();
    assert_eq!(shown, [(2, 550, 5_500, 0, Charge::Delivered), (1, 450, 4_500, 512, Charge::Metered)]);
    assert_eq!(spends[0].route.as_str(), "chat", "the route of the request, not of the sale");
    assert_eq!(ledger.spends(hash(1), 10, Some(2)).await.unwrap().len(), 1);
    let told = events(&ledger).await;
    let exhausted: Vec<_> = told
        .iter()
        .filter_map(|event| match event {
            Event::GrantExhausted { left, offer: Kind::Balance, .. } => Some(*left),
            _ => None,
        })
        .collect();
    assert_eq!(exhausted, [550], "told once, when it first was too small");
    books_are_right(&ledger).await;
}

#[tokio::test]
async fn what_was_too_little_for_one_request_is_live_and_told_until_it_buys_another() {
    let world = World::new();
    let (ledger, _) = world.open();
    let sale = balance(&world, 1, 1_000);
    let stands = async || {
        ledger.barrier().await;
        let of = async |state| {
            let filter = GrantFilter { state: Some(state), ..GrantFilter::default() };
            ledger.grants(filter, 9, None).await.unwrap().len()
        };
        let row = ledger.grant(hash(1)).await.unwrap().unwrap();
        assert_eq!(of(GrantState::Over).await, 0);
        (row.state(), of(GrantState::Live).await, row.too_little())
    };
    held(&ledger, &sale, money(400, 400)).await.end(Ending::Delivered);
    assert_eq!(stands().await, (PaymentState::Left, 1, false));
    refused(&ledger, &sale, money(700, 700)).await;
    assert_eq!(stands().await, (PaymentState::Left, 1, true));
    let cheap = held(&ledger, &sale, money(100, 100)).await;
    assert_eq!(stands().await, (PaymentState::Held, 1, false));
    cheap.end(Ending::Delivered);
    assert_eq!(stands().await, (PaymentState::Left, 1, false));
    refused(&ledger, &sale, money(700, 700)).await;
    assert_eq!(stands().await, (PaymentState::Left, 1, true));
    let told = events(&ledger).await;
    let exhausted = told.iter().filter(|event| matches!(event, Event::GrantExhausted { .. }));
    assert_eq!(exhausted.count(), 2);
    books_are_right(&ledger).await;
}

#[tokio::test]
async fn a_client_that_leaves_pays_what_it_cost_so_far() {
    let world = World::new();
    let (ledger, _) = world.open();
    let sale = balance(&world, 1, 1_000);
    let mut metered = held(&ledger, &sale, money(10, 400)).await;
    metered.cost_so_far(120);
    metered.cost_so_far(130);
    drop(metered);
    drop(held(&ledger, &sale, money(10, 400)).await);
    // Before it left for the upstream it costs nothing, whatever was metered.
    let mut early = ledger.reserve(sale.clone(), money(10, 400)).await.unwrap();
    early.cost_so_far(300);
    drop(early);
    ledger.barrier().await;
    let row = ledger.grant(hash(1)).await.unwrap().unwrap();
    assert_eq!((row.grant.left, row.grant.spent), (470, 530));
    books_are_right(&ledger).await;
}

#[tokio::test]
async fn provoked_load_on_a_balance_is_bound_by_its_money() {
    let world = World::new();
    let (ledger, _) = world.open();
    let sale = balance(&world, 1, 100);
    let mut tries = 0;
    loop {
        match ledger.reserve(sale.clone(), money(50, 50)).await {
            Ok(mut held) => {
                held.dispatched();
                held.end(Ending::Restored(RestoreReason::UpstreamError));
                ledger.barrier().await;
                tries += 1;
            }
            Err(ReserveError::Refused(refused)) => {
                assert_eq!(refused, ReserveRefused::RestoresExhausted);
                break;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(tries, 32, "sixteen times the two requests that it pays for");
    books_are_right(&ledger).await;
}

/// Answers that were too dear for what was held: they cost the upstream what they would have cost.
#[tokio::test]
async fn the_last_of_a_balance_provokes_no_more_than_the_balance_would() {
    let world = World::new();
    let (ledger, _) = world.open();
    let sale = balance(&world, 1, 1_000);
    held(&ledger, &sale, money(999, 999)).await.end(Ending::Delivered);
    ledger.barrier().await;
    for tries in 0.. {
        assert!(tries <= 32, "free load");
        match ledger.reserve(sale.clone(), money(1, 600)).await {
            Ok(mut held) => {
                assert_eq!(held.held(), 1);
                held.dispatched();
                held.end(Ending::Restored(RestoreReason::TooDear(Msat::new(500).unwrap())));
                ledger.barrier().await;
            }
            Err(ReserveError::Refused(ReserveRefused::RestoresExhausted)) => {
                assert_eq!(tries, 32);
                break;
            }
            Err(error) => panic!("{error}"),
        }
    }
    books_are_right(&ledger).await;
}

#[tokio::test]
async fn a_pass_opens_at_its_first_use_and_ends_by_itself() {
    let world = World::new();
    let (ledger, _) = world.open();
    let hour = Duration::from_secs(3_600);
    let sale = Sale { kind: Kind::Pass, lasts: Some(hour * 2), ..world.sale(1, 1) };
    ledger.receive(hash(1), price(), None).await.unwrap();
    let pass = Draw::pass("chat".parse().unwrap());
    let one = held(&ledger, &sale, pass.clone()).await;
    let two = held(&ledger, &sale, pass.clone()).await;
    assert_eq!(
        (one.held(), one.left(), two.opens_until()),
        (0, 7_200, Some(world.clock.now().plus(hour * 2)))
    );
    one.end(Ending::Delivered);
    two.end(Ending::Delivered);
    ledger.barrier().await;
    // Its own time counts, not the token's.
    world.clock.advance(hour * 2);
    held(&ledger, &sale, pass.clone()).await.end(Ending::Delivered);
    ledger.barrier().await;
    assert_eq!(ledger.payments(1, None).await.unwrap()[0].state, PaymentState::Left);
    let revenue = ledger.revenue(world.clock.now()).await.unwrap();
    assert_eq!((revenue.total, revenue.calls_total, revenue.unearned), (price(), 3, Msat::ZERO));
    world.clock.advance(Duration::from_secs(61));
    assert_eq!(refused(&ledger, &sale, pass).await, ReserveRefused::Expired);
    ledger.barrier().await;
    ledger.barrier().await;
    let row = ledger.grant(hash(1)).await.unwrap().unwrap();
    assert!(row.over_at.is_some() && row.state() == PaymentState::Spent, "{row:?}");
    let told = events(&ledger).await;
    assert!(matches!(told[..], [.., Event::GrantExhausted { offer: Kind::Pass, left: 0, .. }]), "{told:?}");
    books_are_right(&ledger).await;
}

fn partner(world: &World, seed: u8, per: Option<Duration>) -> NewGrant {
    NewGrant {
        payment_hash: hash(seed),
        token_id: TokenId::from_bytes([seed; 32]),
        service: "rates".parse().unwrap(),
        budget_msat: Msat::new(1_000).unwrap(),
        per,
        label: format!("partner {seed}"),
        valid_until: world.clock.now().plus(Duration::from_secs(40 * 86_400)),
    }
}

fn presented(new: &NewGrant, world: &World, seed: u8) -> Sale {
    Sale {
        kind: Kind::Granted,
        units: new.budget_msat.msat(),
        sold: Msat::ZERO,
        valid_until: new.valid_until,
        ..world.sale(seed, 1)
    }
}

#[tokio::test]
async fn a_granted_token_is_metered_and_earns_nothing() {
    let world = World::new();
    let (ledger, _) = world.open();
    let day = Duration::from_secs(86_400);
    let new = partner(&world, 1, Some(day));
    let sale = presented(&new, &world, 1);
    assert_eq!(refused(&ledger, &sale, money(1, 1)).await, ReserveRefused::NotGranted);
    ledger.grant_token(new.clone()).await.unwrap();
    assert!(ledger.grant_token(new.clone()).await.is_err(), "a hash is granted once");
    let forged = Sale { units: 5_000, ..sale.clone() };
    assert_eq!(refused(&ledger, &forged, money(1, 1)).await, ReserveRefused::TermsDiffer);

    held(&ledger, &sale, money(1_000, 1_000)).await.end(Ending::Delivered);
    ledger.barrier().await;
    let too_small = ReserveRefused::TooSmall { left: 0, needed: 1 };
    assert_eq!(refused(&ledger, &sale, money(1, 1)).await, too_small);
    world.clock.advance(day);
    held(&ledger, &sale, money(300, 300)).await.end(Ending::Delivered);
    ledger.barrier().await;
    let row = ledger.grant(hash(1)).await.unwrap().unwrap();
    assert_eq!((row.grant.sold, row.grant.left, row.grant.spent), (2_000, 700, 1_300));
    let revenue = ledger.revenue(world.clock.now()).await.unwrap();
    assert_eq!((revenue.total, revenue.unearned, revenue.calls_today), (Msat::ZERO, Msat::ZERO, 0));
    assert_eq!((revenue.granted_today.msat(), revenue.granted_total.msat()), (300, 1_300));
    let told = events(&ledger).await;
    assert!(
        matches!(&told[..], [Event::TokenGranted { label, per_secs: Some(86_400), .. },
            Event::GrantExhausted { left: 0, .. }] if label == "partner 1"),
        "{told:?}"
    );
    assert_eq!(ledger.revoke(hash(1)).await.unwrap(), 700);
    assert_eq!(refused(&ledger, &sale, money(1, 1)).await, ReserveRefused::Revoked);
    let audit = ledger.audit().await.unwrap();
    assert_eq!((audit.payments_pending, audit.sums.granted_revoked_msat), (0, 700), "nobody owes a payment");
    books_are_right(&ledger).await;
}

#[tokio::test]
async fn what_has_long_been_over_keeps_its_sums_and_loses_its_rows() {
    let world = World::new();
    let (ledger, _) = world.open();
    let sale = world.sale(1, 5_000);
    for _ in 0..5_000 {
        held(&ledger, &sale, draw()).await.end(Ending::Delivered);
    }
    held(&ledger, &world.sale(2, 2), draw()).await.end(Ending::Delivered);
    ledger.barrier().await;
    assert_eq!(ledger.audit().await.unwrap().spends, 5_001);
    world.clock.advance(SPENDS_KEPT);
    ledger.barrier().await;
    ledger.barrier().await;
    assert_eq!(ledger.audit().await.unwrap().spends, 5_001, "thirty days are kept");
    world.clock.advance(Duration::from_secs(61));
    ledger.barrier().await;
    ledger.barrier().await;
    let part = ledger.audit().await.unwrap();
    assert!(part.ok && part.spends < 5_001 && part.spends > 1, "some at a time: {part:?}");
    world.clock.advance(Duration::from_secs(61));
    ledger.barrier().await;
    ledger.barrier().await;
    // The second one expired only now: it is kept for its own thirty days.
    assert_eq!(ledger.audit().await.unwrap().spends, 1);
    let revenue = ledger.revenue(world.clock.now()).await.unwrap();
    assert_eq!((revenue.calls_total, revenue.total.msat()), (5_001, 15_000));
    let row = ledger.grant(hash(1)).await.unwrap().unwrap();
    assert_eq!((row.grant.spent, row.grant.calls), (5_000, 5_000));
    books_are_right(&ledger).await;
}

#[tokio::test]
async fn what_is_too_much_or_late_or_for_nobody_knows_what_is_accounted() {
    let world = World::new();
    let (ledger, _) = world.open();
    let (service, route): (Name, Name) = ("rates".parse().unwrap(), "latest".parse().unwrap());
    let more = Msat::new(12_500).unwrap();
    let due = world.clock.now().plus(Duration::from_secs(900));
    let bought =
        Bought { quote: Some("0.01 USD@80000".into()), ..Bought::request(service, route, price(), due) };
    world.clock.advance(Duration::from_secs(901));
    ledger.receive(hash(1), more, Some(bought)).await.unwrap();
    ledger.receive(hash(2), more, None).await.unwrap();
    let rows = ledger.payments(10, None).await.unwrap();
    assert_eq!(
        (rows[1].over.msat(), rows[1].late, rows[1].quote.as_deref()),
        (2_500, true, Some("0.01 USD@80000"))
    );
    assert_eq!((rows[0].over.msat(), rows[0].late, rows[0].service.as_ref()), (0, false, None));
    let sums = ledger.totals().await.unwrap();
    assert_eq!((sums.overpaid_msat, sums.payments_late, sums.payments_unknown), (2_500, 1, 1));
    assert_eq!(sums.unredeemed_msat, 10_000 + 12_500, "nobody knows what the second one was to cost");
    books_are_right(&ledger).await;
    // Its token comes after all.
    held(&ledger, &world.sale(2, 1), draw()).await.end(Ending::Delivered);
    ledger.barrier().await;
    let sums = ledger.totals().await.unwrap();
    assert_eq!((sums.overpaid_msat, sums.payments_unknown, sums.unredeemed_msat), (5_000, 0, 10_000));
    let revenue = ledger.revenue(world.clock.now()).await.unwrap();
    assert_eq!((revenue.total, revenue.unearned, revenue.overpaid.msat()), (price(), price(), 5_000));
    let told = events(&ledger).await;
    let attributed = |event: &&Event| matches!(event, Event::SaleAttributed { .. });
    assert_eq!(told.iter().filter(attributed).count(), 2, "each sale is told once: {told:?}");
    assert!(
        matches!(told[0], Event::PaymentReceived { late: true, over_msat, .. } if over_msat.msat() == 2_500)
    );
    let quoted = Sale { quote: Some("0.01 USD@80000".into()), ..world.sale(1, 1) };
    held(&ledger, &quoted, draw()).await.end(Ending::Delivered);
    ledger.barrier().await;
    let told = events(&ledger).await;
    assert_eq!(told.iter().filter(attributed).count(), 2, "each sale is told once: {told:?}");
    books_are_right(&ledger).await;
}

#[tokio::test]
async fn grants_are_found_by_what_stands_on_a_bill() {
    let world = World::new();
    let (ledger, _) = world.open();
    for seed in 1..=6 {
        held(&ledger, &world.sale(seed, u64::from(seed)), draw()).await.end(Ending::Delivered);
    }
    let other = Sale { service: "chat".parse().unwrap(), ..balance(&world, 7, 100) };
    let open = held(&ledger, &other, money(5, 5)).await;
    ledger.grant_token(partner(&world, 8, None)).await.unwrap();
    ledger.revoke(hash(6)).await.unwrap();
    ledger.barrier().await;
    let find = async |filter: GrantFilter| -> Vec<u8> {
        let rows = ledger.grants(filter, 100, None).await.unwrap();
        rows.iter().map(|row| row.payment_hash.as_bytes()[0]).collect()
    };
    let all = GrantFilter::default;
    assert_eq!(find(all()).await, [8, 7, 6, 5, 4, 3, 2, 1], "newest first");
    assert_eq!(find(GrantFilter { text: Some("030".into()), ..all() }).await, [3]);
    assert_eq!(find(GrantFilter { text: Some("Partner".into()), ..all() }).await, [8]);
    assert_eq!(find(GrantFilter { text: Some("%".into()), ..all() }).await, [0u8; 0]);
    assert_eq!(find(GrantFilter { service: Some("chat".parse().unwrap()), ..all() }).await, [7]);
    assert_eq!(find(GrantFilter { service: Some("none".parse().unwrap()), ..all() }).await, [0u8; 0]);
    assert_eq!(find(GrantFilter { kind: Some(Kind::Request), ..all() }).await, [1]);
    assert_eq!(find(GrantFilter { state: Some(GrantState::Held), ..all() }).await, [7]);
    assert_eq!(find(GrantFilter { state: Some(GrantState::Revoked), ..all() }).await, [6]);
    assert_eq!(find(GrantFilter { state: Some(GrantState::Over), ..all() }).await, [6, 1]);
    let page = ledger.grants(GrantFilter { state: Some(GrantState::Live), ..all() }, 2, None).await.unwrap();
    let next = ledger.grants(all(), 2, Some(page[1].id)).await.unwrap();
    assert_eq!(next[0].payment_hash, hash(6));
    drop(open);
}

#[tokio::test]
async fn the_hours_tell_what_was_earned_given_and_would_have_been_charged() {
    let world = World::new();
    let (ledger, _) = world.open();
    let (rates, latest): (Name, Name) = ("rates".parse().unwrap(), "latest".parse().unwrap());
    let start = world.clock.now();
    for hour in 0..3u8 {
        held(&ledger, &world.sale(hour + 1, 1), draw()).await.end(Ending::Delivered);
        let chat = Sale { service: "chat".parse().unwrap(), ..balance(&world, hour + 11, 1_000) };
        held(&ledger, &chat, money(100, 100)).await.end(Ending::Delivered);
        ledger.count_shadow(&rates, &latest, Msat::new(7).unwrap());
        ledger.count_shadow(&rates, &latest, Msat::new(8).unwrap());
        ledger.barrier().await;
        world.clock.advance(Duration::from_secs(3_600));
    }
    let (from, to) = (start, world.clock.now());
    let all = SalesFilter::default;
    let of = |service: &str, route: Option<&str>| SalesFilter {
        service: Some(service.parse().unwrap()),
        route: route.map(|route| route.parse().unwrap()),
    };
    let hours = ledger.revenue_series(from, to, Step::Hour, all()).await.unwrap();
    assert_eq!(hours.len(), 3);
    let sums = hours[0].sums;
    assert_eq!(
        (sums.calls, sums.earned_msat.msat(), sums.shadow_calls, sums.shadow_msat.msat()),
        (2, 11_000, 2, 15)
    );
    assert_eq!(hours[0].at, Timestamp::from_secs(start.secs() / 3_600 * 3_600));
    let days = ledger.revenue_series(from, to, Step::Day, of("rates", None)).await.unwrap();
    assert_eq!(days.iter().map(|day| day.sums.earned_msat.msat()).sum::<u64>(), 30_000);
    assert_eq!(ledger.revenue_series(from, from, Step::Hour, all()).await.unwrap(), []);
    for nothing in [of("nobody", None), of("rates", Some("nothing")), of("rates", Some("chat"))] {
        assert_eq!(ledger.revenue_series(from, to, Step::Hour, nothing.clone()).await.unwrap(), []);
        assert_eq!(ledger.revenue_by_route(from, to, Step::Hour, nothing).await.unwrap(), []);
    }
    let one = ledger.revenue_series(from, to, Step::Hour, of("rates", Some("latest"))).await.unwrap();
    assert_eq!(one.iter().map(|hour| hour.sums.calls).collect::<Vec<_>>(), [1, 1, 1]);
    let one = ledger.revenue_by_route(from, to, Step::Day, of("chat", None)).await.unwrap();
    assert_eq!(one.iter().map(|line| line.route.as_str()).collect::<Vec<_>>(), ["chat"]);
    let routes = ledger.revenue_by_route(from, to, Step::Hour, all()).await.unwrap();
    let shown: Vec<_> = routes.iter().map(|r| (r.service.as_str(), r.route.as_str(), r.sums.calls)).collect();
    assert_eq!(shown, [("rates", "latest", 3), ("chat", "chat", 3)]);
    assert_eq!(ledger.revenue_by_route(from, to, Step::Day, all()).await.unwrap(), routes);
    books_are_right(&ledger).await;
}

#[tokio::test]
async fn counts_of_shadow_mode_are_written_at_the_close() {
    let world = World::new();
    let (ledger, _) = world.open();
    ledger.count_shadow(&"rates".parse().unwrap(), &"latest".parse().unwrap(), price());
    ledger.close().await.unwrap();
    let (ledger, _) = world.open();
    let revenue = ledger.revenue(world.clock.now()).await.unwrap();
    assert_eq!((revenue.shadow_calls_today, revenue.shadow_today, revenue.total), (1, price(), Msat::ZERO));
}

#[tokio::test]
async fn the_file_is_audited_beside_the_ledger_and_without_it() {
    let world = World::new();
    let (ledger, _) = world.open();
    let open = held(&ledger, &balance(&world, 1, 100), money(5, 5)).await;
    held(&ledger, &world.sale(2, 1), draw()).await.end(Ending::Delivered);
    drop(ledger.reserve(world.sale(3, 2), draw()).await.unwrap());
    ledger.revoke(hash(3)).await.unwrap();
    ledger.barrier().await;
    let beside = Ledger::audit_file(&world.path()).unwrap();
    assert!(beside.ok && beside.sums.holds_open == 1, "{beside:?}");
    drop(open);
    ledger.close().await.unwrap();
    let alone = Ledger::audit_file(&world.path()).unwrap();
    assert!(alone.ok && alone.sums.holds_open == 0 && alone.sums.calls == 2, "{alone:?}");
    // Somebody who edits the file is found out.
    for (edit, found) in [
        ("UPDATE spends SET units = units + 1", "other spends than they count"),
        ("UPDATE grants SET left_ = left_ + 1, sold = sold + 1", "running sums"),
        ("UPDATE revenue_hourly SET earned_msat = 1", "the hours say"),
        ("INSERT INTO holds (grant_id, units, route, opened_at) VALUES (1, 5, 1, 0)", "more or fewer holds"),
        ("UPDATE totals SET received_msat = 1", "running sums"),
        (
            "PRAGMA foreign_keys = OFF; INSERT INTO holds (grant_id, units, route, opened_at) VALUES (9, 5, 1, 0)",
            "holds are of no grant",
        ),
        ("UPDATE grants SET due = NULL", "never run out"),
        ("UPDATE grants SET over_at = 1", "are over, and have units left"),
        ("DELETE FROM spends WHERE grant_id = 2", "other spends than they count"),
        ("DELETE FROM revocations", "their tokens are not revoked"),
    ] {
        let file = world.snapshot();
        rusqlite::Connection::open(file.path()).unwrap().execute_batch(edit).unwrap();
        let audit = Ledger::audit_file(&file.path()).unwrap();
        assert!(!audit.ok && audit.mismatches.iter().any(|what| what.contains(found)), "{edit}: {audit:?}");
    }
}
