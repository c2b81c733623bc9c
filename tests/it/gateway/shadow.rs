//! A service on trial: everything passes, and what it would have cost is counted. A service that is off.

use std::sync::Arc;

use tollhouse::catalog::{Mode, Terms};
use tollhouse::pricing::{Formula, Rule, Zero};
use tollhouse::store::{SalesFilter, Step};
use tollhouse::types::Timestamp;

use super::offers::amount;
use super::upstream::Origin;
use super::{TestGate, quick, sat, service};

#[tokio::test]
async fn a_shadow_lets_everything_through_and_counts() {
    let origin = Origin::start().await;
    let gate = TestGate::before(&origin).await;
    let credential = gate.buy("/ok").await;
    let mut shadow = service(&origin);
    shadow.mode = Mode::Shadow;
    gate.sell(vec![shadow]);
    for (path, lines) in [
        ("/ok", ""),
        ("/dear/ok", ""),
        ("/free/ok", ""),
        ("/ok", "Authorization: L402 junk\r\n"),
        ("/500", ""),
    ] {
        let reply = gate.get(path, lines).await;
        assert_eq!(reply.status, if path == "/500" { 500 } else { 200 }, "{path}");
        assert_eq!(reply.header("x-tollhouse-unit"), None);
    }
    // A good token is left alone.
    assert_eq!(gate.get("/ok", &credential.line()).await.status, 200);
    assert_eq!(gate.units(&credential).await, (0, 0, 0));
    assert_eq!((gate.minter.minted(), origin.hits()), (1, 6));
    // It is good when the service is sold again.
    gate.sell(vec![service(&origin)]);
    assert_eq!(gate.get("/ok", &credential.line()).await.status, 200);
    assert_eq!(gate.settled(&credential).await, (0, 0, 1));
    // What would have been charged: three at 10 sat and one at 50; an answer of 5xx is not.
    assert_eq!(counted(&gate).await, (5, 80_000));
    gate.audited().await;
}

/// How many requests passed in shadow mode, and what they would have been charged.
async fn counted(gate: &TestGate) -> (u64, u64) {
    gate.ledger.barrier().await;
    let (from, to) = (Timestamp::from_secs(0), Timestamp::from_secs(1 << 33));
    let series = gate
        .ledger
        .revenue_series(from, to, Step::Hour, SalesFilter::default())
        .await
        .expect("the ledger reads");
    series.iter().fold((0, 0), |(calls, sum), point| {
        (calls + point.sums.shadow_calls, sum + point.sums.shadow_msat.msat())
    })
}

/// A price that the answer decides is told by the answer, as if it had been sold.
#[tokio::test]
async fn a_shadow_meters_what_it_hands_down() {
    let origin = Origin::start().await;
    let formula = Formula::compile("1000 + response.bytes", Some(amount("100 sat")), Zero::Refuse);
    let mut shadow = service(&origin);
    shadow.mode = Mode::Shadow;
    shadow.routes.clear();
    shadow.terms = Arc::new(Terms { rule: Rule::Formula(formula.expect("a formula")), ..sat(1) });
    let gate = TestGate::with(vec![shadow], quick()).await;
    let mut sum = 0;
    for (path, calls, cost) in [
        ("/ok", 1, 1_002),
        ("/chunked", 2, 1_006),
        ("/204", 3, 1_000),
        ("/500", 4, 0),
        ("/close", 5, 0),
        // Beyond the ceiling it would not have been handed down.
        ("/large", 6, 0),
    ] {
        gate.get(path, "").await;
        sum += cost;
        assert_eq!(counted(&gate).await, (calls, sum), "{path}");
    }
    assert_eq!(gate.minter.minted(), 0);
}

#[tokio::test]
async fn what_is_off_is_not_there() {
    let origin = Origin::start().await;
    let gate = TestGate::before(&origin).await;
    let credential = gate.buy("/ok").await;
    // Another service behind it would not do: its price and its upstream are others.
    let (mut off, mut wide) = (service(&origin), service(&origin));
    off.mode = Mode::Off;
    off.host = Some("api.example".to_owned());
    wide.name = "wide".parse().expect("a name");
    gate.sell(vec![off, wide]);
    for lines in ["", &credential.line()] {
        let reply = gate.get("/ok", lines).await;
        assert_eq!((reply.status, reply.code().as_str()), (404, "no_such_route"));
    }
    assert_eq!(origin.hits(), 0);
    gate.sell(vec![service(&origin)]);
    assert_eq!(gate.get("/ok", &credential.line()).await.status, 200);
}
