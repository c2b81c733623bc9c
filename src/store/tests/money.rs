//! Redemption, payment, revocation and expiry in every order.

use std::time::Duration;

use super::{World, books_are_right, draw, events, hash, price, units};
use crate::clock::Clock;
use crate::event::Event;
use crate::ledger::{Bought, Ending, MAX_RESTORES, ReserveRefused, RestoreReason};
use crate::store::{
    Intended, Intent, Ledger, NewApiKey, OutgoingState, PaymentState, Reservation, ReserveError,
};
use crate::types::{Msat, Preimage, Timestamp};

fn refusal(outcome: Result<Reservation, ReserveError>) -> ReserveRefused {
    match outcome {
        Err(ReserveError::Refused(refused)) => refused,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn payment_and_redemption_meet_in_either_order() {
    let (service, route) = ("rates".parse().unwrap(), "latest".parse().unwrap());
    let bought = Bought::request(service, route, price(), Timestamp::from_secs(1 << 40));
    for payment_first in [true, false] {
        for known in [None, Some(bought.clone())] {
            let world = World::new();
            let (ledger, _) = world.open();
            if payment_first {
                ledger.receive(hash(1), price(), known.clone()).await.unwrap();
                let row = &ledger.payments(10, None).await.unwrap()[0];
                assert_eq!((row.state, row.service.is_some()), (PaymentState::Unredeemed, known.is_some()));
                assert_eq!(ledger.audit().await.unwrap().payments_unredeemed, 1);
                assert_eq!(ledger.revenue(world.clock.now()).await.unwrap().unearned, price());
            }
            let held = ledger.reserve(world.sale(1, 1), draw()).await.unwrap();
            if !payment_first {
                let audit = ledger.audit().await.unwrap();
                assert!(audit.ok, "a payment pending is not an error: {audit:?}");
                assert_eq!(audit.payments_pending, 1);
                ledger.receive(hash(1), price(), known).await.unwrap();
            }
            assert_eq!(ledger.payments(10, None).await.unwrap()[0].state, PaymentState::Held);
            held.end(Ending::Delivered);
            ledger.barrier().await;
            let row = &ledger.payments(10, None).await.unwrap()[0];
            assert_eq!((row.state, row.amount), (PaymentState::Spent, price()));
            assert_eq!(row.service.as_ref().map(ToString::to_string).as_deref(), Some("rates"));
            let revenue = ledger.revenue(world.clock.now()).await.unwrap();
            assert_eq!((revenue.today, revenue.week, revenue.total), (price(), price(), price()));
            assert_eq!((revenue.received_total, revenue.unearned.msat()), (price(), 0));
            assert_eq!((revenue.calls_today, revenue.calls_total), (1, 1));
            let audit = ledger.audit().await.unwrap();
            assert_eq!((audit.payments_pending, audit.payments_unredeemed), (0, 0));
            books_are_right(&ledger).await;
        }
    }
}

#[tokio::test]
async fn revenue_moves_from_today_into_the_week_and_out_of_it() {
    let world = World::new();
    let (ledger, _) = world.open();
    ledger.reserve(world.sale(1, 1), draw()).await.unwrap().end(Ending::Delivered);
    ledger.barrier().await;
    for (days, today, week) in [(0u32, true, true), (1, false, true), (6, false, true), (7, false, false)] {
        let now = world.clock.now().plus(Duration::from_secs(86_400) * days);
        let revenue = ledger.revenue(now).await.unwrap();
        let shown = (revenue.today == price(), revenue.week == price(), revenue.total == price());
        assert_eq!(shown, (today, week, true), "after {days} days");
    }
}

#[tokio::test]
async fn what_is_revoked_stays_revoked() {
    let world = World::new();
    let (ledger, _) = world.open();
    // With units left, one on its way.
    let mut held = ledger.reserve(world.sale(1, 3), draw()).await.unwrap();
    held.dispatched();
    assert_eq!(ledger.revoke(hash(1)).await.unwrap(), 2);
    assert_eq!(ledger.revoke(hash(1)).await.unwrap(), 0);
    assert_eq!(refusal(ledger.reserve(world.sale(1, 3), draw()).await), ReserveRefused::Revoked);
    held.end(Ending::Restored(RestoreReason::UpstreamError));
    ledger.barrier().await;
    assert_eq!(units(&ledger, 1).await, (0, 0, 0), "the unit does not come back to life");
    // Before its first use.
    ledger.receive(hash(2), price(), None).await.unwrap();
    ledger.revoke(hash(2)).await.unwrap();
    assert_eq!(refusal(ledger.reserve(world.sale(2, 1), draw()).await), ReserveRefused::Revoked);
    assert_eq!(refusal(ledger.reserve(world.sale(2, 1), draw()).await), ReserveRefused::Revoked);
    assert_eq!(ledger.payments(1, None).await.unwrap()[0].state, PaymentState::Revoked);
    // Over a crash.
    let _lost = ledger.reserve(world.sale(3, 1), draw()).await.unwrap();
    ledger.revoke(hash(3)).await.unwrap();
    ledger.crash().await;
    let (ledger, opened) = world.open();
    assert_eq!(opened.crash_restored, 1);
    assert_eq!(refusal(ledger.reserve(world.sale(3, 1), draw()).await), ReserveRefused::Revoked);
    assert_eq!(ledger.totals().await.unwrap().units_revoked, 5);
    let revoked = events(&ledger).await;
    assert_eq!(revoked.iter().filter(|event| matches!(event, Event::TokenRevoked { .. })).count(), 3);
    books_are_right(&ledger).await;
}

#[tokio::test]
async fn what_ran_out_is_refused_and_counted_once() {
    let world = World::new();
    let (ledger, _) = world.open();
    let (sale, swept) = (world.sale(1, 2), world.sale(2, 2));
    let held = ledger.reserve(sale.clone(), draw()).await.unwrap();
    drop(ledger.reserve(swept, draw()).await.unwrap());
    world.clock.advance(Duration::from_secs(3_600));
    drop(ledger.reserve(sale.clone(), draw()).await.expect("its last instant is in time"));
    ledger.barrier().await;
    world.clock.advance(Duration::from_millis(1));
    assert_eq!(refusal(ledger.reserve(sale.clone(), draw()).await), ReserveRefused::Expired);
    assert_eq!(units(&ledger, 1).await, (0, 1, 0));
    drop(held);
    ledger.barrier().await;
    assert_eq!(refusal(ledger.reserve(sale.clone(), draw()).await), ReserveRefused::Expired);
    assert_eq!(refusal(ledger.reserve(sale, draw()).await), ReserveRefused::Expired);
    ledger.close().await.unwrap();
    // A start sweeps what nobody came back for.
    let (ledger, _) = world.open();
    assert_eq!(units(&ledger, 2).await, (0, 0, 0));
    let sums = ledger.totals().await.unwrap();
    assert_eq!((sums.units_expired, sums.owed_msat, sums.earned_msat), (4, 0, 0));
    books_are_right(&ledger).await;
}

#[tokio::test]
async fn what_ran_out_is_swept_while_the_ledger_runs() {
    let world = World::new();
    let (ledger, _) = world.open();
    drop(ledger.reserve(world.sale(1, 5), draw()).await.unwrap());
    ledger.barrier().await;
    world.clock.advance(Duration::from_secs(3_700));
    // Readers of the status page are no work for the ledger, and still it notes the time.
    ledger.barrier().await;
    ledger.barrier().await;
    assert_eq!(units(&ledger, 1).await, (0, 0, 0));
    assert!(matches!(
        events(&ledger).await[..],
        [Event::SaleAttributed { .. }, _, Event::UnitsExpired { units: 5, .. }]
    ));
    ledger.crash().await;
    assert_eq!(Ledger::high_water(&world.path()).unwrap(), world.clock.now());
}

#[tokio::test]
async fn failures_at_the_upstreams_expense_are_given_back_so_often() {
    let world = World::new();
    let (ledger, _) = world.open();
    for n in 1..=MAX_RESTORES {
        let mut held = ledger.reserve(world.sale(1, 1), draw()).await.unwrap();
        assert_eq!(held.restorable(), n < MAX_RESTORES);
        held.dispatched();
        held.end(Ending::Restored(RestoreReason::UpstreamError));
        ledger.barrier().await;
    }
    assert_eq!(refusal(ledger.reserve(world.sale(1, 1), draw()).await), ReserveRefused::RestoresExhausted);
    // Never charged: it is owed.
    let revenue = ledger.revenue(world.clock.now()).await.unwrap();
    assert_eq!((revenue.total.msat(), revenue.unearned), (0, price()));
    books_are_right(&ledger).await;
}

#[tokio::test]
async fn one_payment_hash_is_one_grant_on_one_set_of_terms() {
    let world = World::new();
    let (ledger, _) = world.open();
    ledger.reserve(world.sale(1, 1), draw()).await.unwrap().end(Ending::Delivered);
    ledger.barrier().await;
    let mut more = world.sale(1, 1);
    more.units = 1_000;
    assert_eq!(refusal(ledger.reserve(more, draw()).await), ReserveRefused::TermsDiffer);
    let mut other = world.sale(1, 1);
    other.token_id = crate::types::TokenId::from_bytes([9; 32]);
    assert_eq!(refusal(ledger.reserve(other, draw()).await), ReserveRefused::TermsDiffer);
    assert_eq!(units(&ledger, 1).await, (0, 0, 1));
}

#[tokio::test]
async fn dropping_a_hold_ends_it_as_what_it_was() {
    let world = World::new();
    let (ledger, _) = world.open();
    drop(ledger.reserve(world.sale(1, 2), draw()).await.unwrap());
    ledger.barrier().await;
    assert_eq!(units(&ledger, 1).await, (2, 0, 0));
    let mut held = ledger.reserve(world.sale(1, 2), draw()).await.unwrap();
    held.dispatched();
    drop(held);
    ledger.barrier().await;
    assert_eq!(units(&ledger, 1).await, (1, 0, 1));
    books_are_right(&ledger).await;
}

async fn state(ledger: &Ledger, seed: u8) -> OutgoingState {
    ledger.outgoing(hash(seed)).await.unwrap().expect("it is there").state
}

#[tokio::test]
async fn outgoing_payments_move_one_way() {
    let world = World::new();
    let (ledger, _) = world.open();
    let intent = Intent {
        payment_hash: hash(1),
        bolt11: "lnbcrt1".into(),
        amount: price(),
        max_fee: Msat::ZERO,
        wallet: None,
    };
    let failed = OutgoingState::Failed { reason: "no route".into() };
    let done = OutgoingState::Succeeded { preimage: Preimage::from_bytes([7; 32]), fee: Msat::ZERO };
    assert_eq!(ledger.intend(intent.clone()).await.unwrap(), Intended::New { max_fee: Msat::ZERO });
    assert!(matches!(ledger.intend(intent.clone()).await.unwrap(), Intended::Existing(_)));
    ledger.crash().await;
    let (ledger, _) = world.open();
    assert_eq!(ledger.unresolved_outgoing().await.unwrap().len(), 1);
    ledger.settle_outgoing(hash(1), OutgoingState::Sent).await.unwrap();
    ledger.settle_outgoing(hash(1), failed.clone()).await.unwrap();
    ledger.settle_outgoing(hash(1), OutgoingState::Sent).await.unwrap();
    assert_eq!(state(&ledger, 1).await, failed);
    assert_eq!(
        ledger.intend(intent.clone()).await.unwrap(),
        Intended::New { max_fee: Msat::ZERO },
        "a failed one may be tried anew"
    );
    ledger.settle_outgoing(hash(1), failed.clone()).await.unwrap();
    ledger.settle_outgoing(hash(1), done.clone()).await.unwrap();
    ledger.settle_outgoing(hash(1), failed).await.unwrap();
    ledger.settle_outgoing(hash(1), done.clone()).await.unwrap();
    assert_eq!(state(&ledger, 1).await, done);
    assert!(matches!(ledger.intend(intent).await.unwrap(), Intended::Existing(_)));
    // Money that left without our knowledge is noted, once.
    ledger.settle_outgoing(hash(2), OutgoingState::Failed { reason: "x".into() }).await.unwrap();
    assert!(ledger.outgoing(hash(2)).await.unwrap().is_none());
    ledger.settle_outgoing(hash(2), done.clone()).await.unwrap();
    ledger.settle_outgoing(hash(2), done).await.unwrap();
    let log = events(&ledger).await;
    let kinds = [
        matches!(log[0], Event::PaymentFailed { .. }),
        matches!(log[1], Event::PaymentFailed { .. }),
        matches!(log[2], Event::PaymentSent { .. }),
        matches!(log[3], Event::UnknownPaymentSent { .. }),
    ];
    assert!(kinds.iter().all(|is| *is) && log.len() == 4, "{log:?}");
}

#[tokio::test]
async fn settings_and_keys() {
    let world = World::new();
    let (ledger, _) = world.open();
    ledger.set_setting("claim", "a").await.unwrap();
    ledger.set_setting("claim", "b").await.unwrap();
    let (one, two) = tokio::join!(ledger.take_setting("claim"), ledger.take_setting("claim"));
    let mut taken = [one.unwrap(), two.unwrap()];
    taken.sort();
    assert_eq!(taken, [None, Some("b".into())], "of two callers one gets it");
    assert_eq!(ledger.setting("claim").await.unwrap(), None);
    let now = Timestamp::from_secs(1_000);
    let key = |hash, scopes: &str, expires_at| NewApiKey {
        label: "ci".to_owned(),
        hash,
        scopes: scopes.to_owned(),
        expires_at,
    };
    let id = ledger.add_api_key(key([1; 32], "read pay", None)).await.unwrap();
    assert!(ledger.add_api_key(key([1; 32], "admin", None)).await.is_err());
    assert_eq!(ledger.api_key([1; 32], now).await.unwrap().unwrap().scopes, "read pay");
    assert!(ledger.revoke_api_key(id).await.unwrap());
    assert!(!ledger.revoke_api_key(id).await.unwrap());
    assert_eq!(ledger.api_key([1; 32], now).await.unwrap(), None);
    let ends = now.plus(Duration::from_secs(60));
    ledger.add_api_key(key([2; 32], "read", Some(ends))).await.unwrap();
    let just_before = Timestamp::from_millis(ends.millis() - 1);
    assert_eq!(ledger.api_key([2; 32], just_before).await.unwrap().unwrap().expires_at, Some(ends));
    assert_eq!(ledger.api_key([2; 32], ends).await.unwrap(), None, "over at the moment itself");
    assert_eq!(ledger.list_api_keys().await.unwrap().len(), 2, "both stay in the list");
}
