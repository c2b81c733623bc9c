//! A ledger of the first version becomes one of this version, and nothing of it is lost.

use super::{World, books_are_right, draw, events, hash, price};
use crate::event::Event;
use crate::ledger::{Ending, ReserveRefused};
use crate::store::{Ledger, PaymentState, ReserveError, StoreError};

/// One payment redeemed, spent and once restored; one pack half used with a request under way; one
/// payment that nobody presented; one that ran out.
const OLD: &str = "
    INSERT INTO grants VALUES
        (unhex(:one), unhex(:one), 'rates', 'latest', 10000, 1, 0, 0, 1, 0, 0, 1, 1, 0, 1799990000000, 1800003600000),
        (unhex(:two), unhex(:two), 'rates', 'fx', 10000, 3, 1, 1, 1, 0, 0, 0, 0, 0, 1799990000001, 1800003600000),
        (unhex(:three), unhex(:three), 'old', 'fx', 500, 1, 0, 0, 0, 1, 0, 0, 0, 0, 1799980000000, 1799990000000);
    INSERT INTO holds (payment_hash, opened_at) VALUES (unhex(:two), 1799999999000);
    INSERT INTO payments (payment_hash, amount_msat, received_at, service, route, run, surplus_msat) VALUES
        (unhex(:one), 10000, 1799990000000, 'rates', 'latest', 1, 10000),
        (unhex(:two), 10400, 1799990000000, 'rates', 'fx', 1, 0),
        (unhex(:three), 500, 1799980000000, 'old', 'fx', 1, 0),
        (unhex(:four), 700, 1799990000000, NULL, NULL, 1, 0);
    INSERT INTO revenue_hourly VALUES (499997, 'rates', 'latest', 1, 10000), (499998, 'rates', 'fx', 1, 3333);
    INSERT INTO events (at, body) VALUES
        (1799990000000, '{\"kind\":\"payment_received\",\"payment_hash\":\":one\",\"amount_msat\":10000,
                          \"service\":\"rates\",\"route\":\"latest\"}'),
        (1799990000500, '{\"kind\":\"unit_spent\",\"payment_hash\":\":one\",\"service\":\"rates\",
                          \"route\":\"latest\",\"amount_msat\":10000}'),
        (1799993000000, '{\"kind\":\"unit_spent\",\"payment_hash\":\":two\",\"service\":\"rates\",
                          \"route\":\"fx\",\"amount_msat\":3333}'),
        (1799999999000, '{\"kind\":\"stopped\"}');
    UPDATE totals SET grants = 3, units_sold = 5, units_left = 1, units_held = 1, units_spent = 2,
        units_expired = 1, restored = 1, earned_msat = 13333, owed_msat = 6667, payments = 4,
        received_msat = 21600, unredeemed_msat = 700, surplus_msat = 10000, high_water_ms = 1799999999000;
    UPDATE mark SET value = 0 WHERE name = 'clean';
    PRAGMA user_version = 1;
    PRAGMA application_id = 1953459308;
";

fn old(world: &World) {
    let connection = rusqlite::Connection::open(world.path()).unwrap();
    connection.execute_batch(include_str!("../schema/0001_first.sql")).unwrap();
    let mut script = OLD.to_owned();
    for (name, seed) in [(":one", 1), (":two", 2), (":three", 3), (":four", 4)] {
        let hex = hash(seed).to_hex();
        script = script.replace(&format!("unhex({name})"), &format!("x'{hex}'")).replace(name, &hex);
    }
    connection.execute_batch(&script).unwrap();
}

#[tokio::test]
async fn the_first_versions_ledger_is_read_on() {
    let world = World::new();
    old(&world);
    let unread = Ledger::audit_file(&world.path()).unwrap_err();
    assert!(matches!(unread, StoreError::TooOld { found: 1, .. }), "{unread}");
    let (ledger, opened) = world.open();
    assert_eq!((opened.clean, opened.crash_restored), (false, 1));
    books_are_right(&ledger).await;
    let sums = ledger.totals().await.unwrap();
    assert_eq!((sums.units_sold, sums.units_left, sums.units_spent, sums.units_expired), (5, 2, 2, 1));
    assert_eq!((sums.calls, sums.holds_open, sums.lapsed_msat, sums.overpaid_msat), (2, 0, 500, 400));
    let rows = ledger.payments(10, None).await.unwrap();
    let states: Vec<_> = rows.iter().map(|row| (row.state, row.over.msat(), row.service.is_some())).collect();
    let expected = [
        (PaymentState::Unredeemed, 0, false),
        (PaymentState::Expired, 0, true),
        (PaymentState::Left, 400, true),
        (PaymentState::Spent, 0, true),
    ];
    assert_eq!(states, expected);
    let spends = ledger.spends(hash(2), 10, None).await.unwrap();
    assert_eq!((spends.len(), spends[0].earned.msat(), spends[0].route.as_str()), (1, 3_333, "fx"));
    let log = events_of(&ledger).await;
    assert!(
        matches!(log[..], [Event::PaymentReceived { .. }, Event::Stopped, Event::CrashRestored { .. }]),
        "{log:?}"
    );

    // What was sold goes on: the pack has two left, the single one is spent.
    let pack = crate::ledger::Sale { route: "fx".parse().unwrap(), ..world.sale(2, 3) };
    ledger.reserve(pack.clone(), draw()).await.unwrap().end(Ending::Delivered);
    ledger.barrier().await;
    let again = ledger.reserve(world.sale(1, 1), draw()).await.unwrap_err();
    assert!(matches!(again, ReserveError::Refused(ReserveRefused::Spent)), "{again}");
    let revenue = ledger.revenue(crate::clock::Clock::now(world.clock.as_ref())).await.unwrap();
    assert_eq!((revenue.calls_total, revenue.surplus), (3, price()));
    books_are_right(&ledger).await;
}

/// The log, whose old spends left gaps.
async fn events_of(ledger: &Ledger) -> Vec<Event> {
    ledger.events_after(0, 100).await.unwrap().into_iter().map(|logged| logged.event).collect()
}

#[tokio::test]
async fn an_empty_ledger_of_the_first_version_is_one_of_this() {
    let world = World::new();
    {
        let connection = rusqlite::Connection::open(world.path()).unwrap();
        connection.execute_batch(include_str!("../schema/0001_first.sql")).unwrap();
        connection.execute_batch("PRAGMA user_version = 1; PRAGMA application_id = 1953459308").unwrap();
    }
    let (ledger, opened) = world.open();
    assert!(opened.clean && events(&ledger).await.is_empty());
    books_are_right(&ledger).await;
}
