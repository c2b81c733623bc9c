//! Free requests: counted by the connection, whatever a header says.

use std::sync::Arc;
use std::time::Duration;

use tollhouse::catalog::{Allowance, AllowanceBy, Service, Terms};

use super::upstream::Origin;
use super::{TestGate, quick, sat, service};

/// A day's free requests, on the whole service but its free and its dear route.
fn generous(origin: &Origin, requests: u32, by: AllowanceBy) -> Service {
    let free = Some(Allowance { requests, per: Duration::from_secs(86_400), by });
    let mut service = service(origin);
    service.terms = Arc::new(Terms { free, ..sat(10) });
    service
}

#[tokio::test]
async fn so_many_are_free_and_then_they_cost() {
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![generous(&origin, 3, AllowanceBy::Ip)], quick()).await;
    let before = gate.rows().await;
    for spoofed in ["", "X-Forwarded-For: 10.0.0.1\r\n", "Forwarded: for=10.0.0.2\r\nX-Real-IP: 10.0.0.3\r\n"]
    {
        let reply = gate.get("/ok", spoofed).await;
        assert_eq!((reply.status, reply.header("x-tollhouse-unit")), (200, None), "{spoofed}");
    }
    for spoofed in [
        "",
        "X-Forwarded-For: 10.0.0.4\r\n",
        "Forwarded: for=10.0.0.5\r\n",
        "X-Real-IP: 10.0.0.6\r\nTrue-Client-IP: 10.0.0.7\r\nCF-Connecting-IP: 10.0.0.8\r\n",
        "X_Forwarded_For: 10.0.0.9\r\n",
    ] {
        assert_eq!(gate.get("/ok", spoofed).await.status, 402, "{spoofed}");
    }
    assert_eq!(origin.hits(), 3);
    // Another route with terms of its own has no part in it.
    assert_eq!(gate.get("/dear/ok", "").await.status, 402);
    assert_eq!(gate.rows().await, before, "nothing is written for it");
    let credential = gate.buy("/ok").await;
    assert_eq!(gate.get("/ok", &credential.line()).await.status, 200);
    assert_eq!(gate.settled(&credential).await, (0, 0, 1));
}

/// Who comes with a credential is judged by it, and takes nothing of the allowance.
#[tokio::test]
async fn a_credential_goes_first() {
    let origin = Origin::start().await;
    let gate = TestGate::before(&origin).await;
    let credential = gate.buy("/ok").await;
    gate.sell(vec![generous(&origin, 2, AllowanceBy::Ip)]);
    assert_eq!(gate.get("/ok", &credential.line()).await.status, 200);
    assert_eq!(gate.settled(&credential).await, (0, 0, 1));
    let spent = gate.get("/ok", &credential.line()).await;
    assert_eq!((spent.status, spent.code().as_str()), (402, "spent"));
    for expected in [200, 200, 402] {
        assert_eq!(gate.get("/ok", "").await.status, expected);
    }
}

#[tokio::test]
async fn everyone_shares_what_is_for_everyone() {
    let origin = Origin::start().await;
    let gate = Arc::new(TestGate::with(vec![generous(&origin, 5, AllowanceBy::Everyone)], quick()).await);
    let ask = |_| {
        let gate = Arc::clone(&gate);
        async move { gate.get("/ok", "").await.status }
    };
    let statuses = futures_util::future::join_all((0..20).map(ask)).await;
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 5);
    assert_eq!(origin.hits(), 5);
}
