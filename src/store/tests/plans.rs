//! Reports are as fast with ten million spends as with none: no report's plan walks a table that grows.

use std::time::Duration;

use super::{World, hash, price};
use crate::clock::Clock;
use crate::ledger::{Bought, Draw, Ending, Sale};
use crate::store::plan::walks;
use crate::store::{GrantFilter, GrantState, Left, SalesFilter, Step};
use crate::types::{Kind, Name};

#[tokio::test]
async fn no_report_walks_what_grows() {
    let world = World::new();
    let (ledger, _) = world.open();
    for seed in 1..5 {
        ledger.receive(hash(seed), price(), None).await.unwrap();
        let held = ledger.reserve(world.sale(seed, 3), Draw::one("latest".parse().unwrap())).await.unwrap();
        held.end(Ending::Delivered);
    }
    ledger.barrier().await;
    // Each query is checked where it is prepared.
    let now = world.clock.now();
    let service: Name = "rates".parse().unwrap();
    let (from, to) = (crate::types::Timestamp::default(), now.plus(Duration::from_secs(3_600)));
    assert_eq!(ledger.revenue(now).await.unwrap().calls_total, 4);
    for by in [Step::Hour, Step::Day] {
        let route: Name = "latest".parse().unwrap();
        for of in [
            SalesFilter::default(),
            SalesFilter { service: Some(service.clone()), route: None },
            SalesFilter { service: Some(service.clone()), route: Some(route) },
        ] {
            assert_eq!(ledger.revenue_series(from, to, by, of.clone()).await.unwrap().len(), 1);
            assert_eq!(ledger.revenue_by_route(from, to, by, of).await.unwrap().len(), 1);
        }
    }
    assert_eq!(ledger.totals().await.unwrap().calls, 4);
    assert_eq!(ledger.payments(10, None).await.unwrap().len(), 4);
    assert_eq!(ledger.spends(hash(1), 10, None).await.unwrap().len(), 1);
    assert!(ledger.events_after(0, 100).await.unwrap().len() > 4);
    // Four packs of three requests for 10 sat, of which one is used of each; and what was over by then.
    let held = ledger.outstanding(vec![service.clone(), "other".parse().unwrap()], now).await.unwrap();
    let [(of, found)] = held.iter().collect::<Vec<_>>()[..] else { panic!("{held:?}") };
    let [alike] = &found.requests[..] else { panic!("{held:?}") };
    let nothing = Left::default();
    let given = (found.balances, found.given);
    assert_eq!((of, given, alike.left), (&service, (nothing, nothing), Left { tokens: 4, units: 8 }));
    assert_eq!((alike.covers.msat(), alike.sold, alike.units), (3_334, price(), 3));
    // And what was paid for, but for a pass, and did not come yet.
    let latest: Name = "latest".parse().unwrap();
    let waits = |seed, kind, units| {
        let bought =
            Bought::request(service.clone(), latest.clone(), price(), now.plus(Duration::from_secs(60)));
        ledger.receive(hash(seed), price(), Some(Bought { kind, units, ..bought }))
    };
    for (seed, kind, units) in [
        (11, Kind::Request, 1),
        (12, Kind::Request, 1),
        (13, Kind::Balance, 7_000),
        (14, Kind::Pass, 60),
        (15, Kind::Request, 1),
    ] {
        waits(seed, kind, units).await.unwrap();
    }
    ledger.revoke(hash(15)).await.unwrap();
    let found = async |at| ledger.outstanding(vec![service.clone()], at).await.unwrap().remove(&service);
    let held = found(now).await.unwrap();
    let singles = held.requests.iter().find(|alike| alike.kind == Kind::Request).unwrap();
    assert_eq!((held.requests.len(), singles.left), (2, Left { tokens: 2, units: 2 }));
    assert_eq!((singles.covers, singles.sold, &singles.route), (price(), price(), &latest));
    assert_eq!(held.balances, Left { tokens: 1, units: 7_000 });
    // It came: it is a token like the others.
    ledger
        .reserve(Sale { kind: Kind::Request, ..world.sale(11, 1) }, Draw::one(latest.clone()))
        .await
        .unwrap()
        .end(Ending::Delivered);
    ledger.barrier().await;
    let held = found(now).await.unwrap();
    let singles = held.requests.iter().find(|alike| alike.kind == Kind::Request).unwrap();
    assert_eq!(singles.left, Left { tokens: 1, units: 1 });
    assert!(found(to.plus(Duration::from_secs(27 * 3_600))).await.is_none(), "all of it ran out");
    let states = GrantState::ALL.map(|(_, state)| Some(state));
    for state in states.into_iter().chain([None]) {
        for (text, kind) in [(None, None), (Some("01"), None), (Some("x"), None), (None, Some(Kind::Pack))] {
            for service in [None, Some(service.clone())] {
                let filter = GrantFilter { text: text.map(str::to_owned), service, kind, state };
                ledger.grants(filter, 10, None).await.unwrap();
            }
        }
    }
}

#[test]
fn a_walk_is_seen() {
    let world = World::new();
    let (ledger, _) = world.open();
    let file = rusqlite::Connection::open(world.path()).unwrap();
    for sql in [
        "SELECT SUM(earned_msat) FROM spends",
        "SELECT COUNT(*) FROM payments p JOIN grants g ON g.payment_hash = p.payment_hash",
        "SELECT * FROM grants_named WHERE bytes > 1",
        "SELECT SUM(calls) FROM revenue_hourly WHERE service = 1",
    ] {
        assert_eq!(walks(&file, sql).len(), 1, "{sql}");
    }
    drop(ledger);
}
