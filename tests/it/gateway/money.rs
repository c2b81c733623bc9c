//! One unit, one request: what a buyer's unit comes to, however the request ends.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tollhouse::catalog::RouteTable;
use tollhouse::ledger::MAX_RESTORES;

use super::client::exchange;
use super::upstream::Origin;
use super::{PATIENCE, TestGate, Units, head, patient, quick, sat, service};

const SPENT: Units = (0, 0, 1);
const RESTORED: Units = (1, 0, 0);

#[tokio::test]
async fn a_paid_request_is_served_once() {
    let origin = Origin::start().await;
    let gate = TestGate::before(&origin).await;
    let unpaid = gate.get("/ok", "").await;
    assert_eq!((unpaid.status, unpaid.code().as_str()), (402, "payment_required"));
    assert_eq!(unpaid.json()["amountMsat"], 10_000);
    assert_eq!(origin.hits(), 0);

    let credential = gate.pay(&unpaid);
    let served = gate.get("/ok", &credential.line()).await;
    assert_eq!((served.status, served.text().as_str()), (200, "ok"));
    assert_eq!(served.header("x-tollhouse-payment-hash"), Some(&*credential.hash.to_hex()));
    assert_eq!(served.header("x-tollhouse-amount-msat"), Some("10000"));
    assert_eq!(gate.settled(&credential).await, SPENT);

    for _ in 0..3 {
        let replay = gate.get("/ok", &credential.line()).await;
        assert_eq!((replay.status, replay.code().as_str()), (402, "spent"));
        assert!(replay.header("www-authenticate").is_some_and(|c| c.starts_with("L402 macaroon=")));
        assert_ne!(gate.pay(&replay).hash, credential.hash, "a fresh offer");
    }
    assert_eq!((gate.settled(&credential).await, origin.hits()), (SPENT, 1));
}

/// THREATS 7: every way in which an upstream fails, and what the unit comes to.
#[tokio::test]
async fn what_was_not_delivered_is_given_back() {
    for (path, status, code, whole, units) in [
        ("/500", 500, "", true, RESTORED),
        ("/503", 503, "", true, RESTORED),
        ("/402", 502, "upstream_misbehaved", true, RESTORED),
        ("/101", 502, "upstream_misbehaved", true, RESTORED),
        ("/rst", 502, "upstream_failed", true, RESTORED),
        ("/close", 502, "upstream_failed", true, RESTORED),
        ("/garbage", 502, "upstream_failed", true, RESTORED),
        ("/half-head", 502, "upstream_failed", true, RESTORED),
        ("/big-head", 502, "upstream_failed", true, RESTORED),
        ("/silent", 504, "upstream_timeout", true, RESTORED),
        ("/drip", 504, "upstream_timeout", true, RESTORED),
        ("/truncated", 200, "", false, RESTORED),
        ("/truncated-chunks", 200, "", false, RESTORED),
        ("/stalled-body", 200, "", false, RESTORED),
        ("/404", 404, "", true, SPENT),
        ("/302", 302, "", true, SPENT),
        ("/204", 204, "", true, SPENT),
        ("/304", 304, "", true, SPENT),
        ("/chunked", 200, "", true, SPENT),
        ("/to-close", 200, "", true, SPENT),
        ("/ok", 200, "", true, SPENT),
    ] {
        let origin = Origin::start().await;
        let gate = TestGate::before(&origin).await;
        let credential = gate.buy("/ok").await;
        let reply = gate.get(path, &credential.line()).await;
        assert_eq!((reply.status, reply.complete), (status, whole), "{path}: {reply:?}");
        assert_eq!(gate.settled(&credential).await, units, "{path}");
        assert_eq!(origin.hits(), 1, "{path}: asked once, never again by itself");
        if status >= 500 {
            assert_eq!(reply.header("x-tollhouse-unit"), Some("restored"), "{path}");
        }
        if !code.is_empty() {
            assert_eq!(reply.code(), code, "{path}");
            assert_eq!(reply.json()["unit"], "restored");
            assert!(reply.text().contains("still unspent"), "{path}: {}", reply.text());
            assert_eq!(reply.header("www-authenticate"), None, "{path}");
        }
        // The same token opens the gate again exactly when it was given back.
        let again = gate.get("/ok", &credential.line()).await;
        assert_eq!(again.status, if units == RESTORED { 200 } else { 402 }, "{path}");
        assert_eq!(gate.settled(&credential).await, SPENT, "{path}");
    }
}

#[tokio::test]
async fn an_upstream_that_cannot_be_reached_costs_nothing() {
    let origin = Origin::start().await;
    let mut gone = service(&origin);
    // Bound and closed again: nobody listens there.
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port");
    gone.upstream.base = format!("http://{port}/").parse().expect("a URL");
    let gate = TestGate::with(vec![gone], quick()).await;
    let credential = gate.buy("/ok").await;
    let reply = gate.get("/ok", &credential.line()).await;
    assert_eq!((reply.status, reply.code().as_str()), (502, "upstream_unreachable"));
    assert_eq!(gate.settled(&credential).await, RESTORED);
    gate.catalog.swap(RouteTable::new(vec![service(&origin)]).expect("a table"));
    assert_eq!(gate.get("/ok", &credential.line()).await.status, 200);
    assert_eq!(gate.settled(&credential).await, SPENT);
}

/// MONEY 7: provoked failures are no free load; what was not delivered is not charged either.
#[tokio::test]
async fn a_token_that_fails_too_often_is_told_so() {
    let origin = Origin::start().await;
    let gate = TestGate::before(&origin).await;
    let credential = gate.buy("/ok").await;
    for round in 1..=MAX_RESTORES {
        let last = round == MAX_RESTORES;
        let path = if round.is_multiple_of(2) { "/500" } else { "/close" };
        let reply = gate.get(path, &credential.line()).await;
        let word = if last { "exhausted" } else { "restored" };
        assert_eq!(reply.header("x-tollhouse-unit"), Some(word), "{round}");
        assert!(!last || !reply.text().contains("still unspent"));
    }
    let reply = gate.get("/ok", &credential.line()).await;
    assert_eq!((reply.status, reply.code().as_str()), (402, "restores_exhausted"));
    assert_eq!(gate.settled(&credential).await, RESTORED, "not charged");
    assert_eq!(origin.hits(), usize::try_from(MAX_RESTORES).expect("few"));
}

/// THREATS 1: the debit is on disk before the upstream sees anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_four_at_once_are_served_once() {
    let origin = Origin::start().await;
    let gate = Arc::new(TestGate::with(vec![service(&origin)], patient()).await);
    let credential = gate.buy("/gated").await;
    let minted = gate.minter.minted();
    let all = join_all((0..64).map(|_| {
        let (gate, line) = (Arc::clone(&gate), credential.line());
        async move { gate.get("/gated", &line).await }
    }));
    // The one that was let in waits for the upstream until every other has its answer.
    let (replies, ()) = tokio::join!(all, async {
        origin.until(|seen| seen.hits.len() == 1).await;
        assert_eq!(gate.units(&credential).await, (0, 1, 0));
        let late = gate.get("/gated", &credential.line()).await;
        assert_eq!((late.status, late.code().as_str()), (409, "in_flight"));
        assert_eq!(late.header("retry-after"), Some("1"));
        assert_eq!(late.header("www-authenticate"), None, "a client must not be sent to pay again");
        origin.shared.gate.notify_one();
    });
    let count = |status| replies.iter().filter(|r| r.status == status).count();
    assert_eq!(count(200), 1);
    assert_eq!(count(409) + count(402), 63);
    assert!(replies.iter().filter(|r| r.status == 402).all(|r| r.code() == "spent"));
    assert_eq!(gate.minter.minted() - minted, u64::try_from(count(402)).expect("few"));
    assert_eq!(gate.settled(&credential).await, SPENT);
    assert_eq!(origin.hits(), 1);
    let after = gate.get("/gated", &credential.line()).await;
    assert_eq!((after.status, after.code().as_str()), (402, "spent"));
    assert_eq!((gate.settled(&credential).await, origin.hits()), (SPENT, 1));
}

/// MONEY 2: nothing dearer than what was sold is served.
#[tokio::test]
async fn a_token_buys_what_it_was_sold_for() {
    let origin = Origin::start().await;
    let gate = TestGate::before(&origin).await;
    let cheap = gate.buy("/ok").await;
    let reply = gate.get("/dear/ok", &cheap.line()).await;
    assert_eq!((reply.status, reply.code().as_str()), (402, "price_changed"));
    assert_eq!(reply.json()["amountMsat"], 50_000);
    assert_eq!(origin.hits(), 0);

    // The price rises after the sale; then it falls again, and the token is as good as new.
    let mut dearer = service(&origin);
    dearer.terms = sat(11).into();
    gate.catalog.swap(RouteTable::new(vec![dearer]).expect("a table"));
    assert_eq!(gate.get("/ok", &cheap.line()).await.code(), "price_changed");
    gate.catalog.swap(RouteTable::new(vec![service(&origin)]).expect("a table"));
    assert_eq!(gate.get("/ok", &cheap.line()).await.status, 200);
    assert_eq!((gate.settled(&cheap).await, origin.hits()), (SPENT, 1));

    // One that was taken back opens nothing at any price, and is told so.
    let back = gate.buy("/ok").await;
    gate.ledger.revoke(back.hash).await.expect("it is taken back");
    assert_eq!(gate.get("/dear/ok", &back.line()).await.code(), "revoked");
}

#[tokio::test]
async fn nothing_is_sold_that_cannot_be_paid_or_delivered() {
    let origin = Origin::start().await;
    let mut narrow = service(&origin);
    narrow.path = "/free".to_owned();
    narrow.routes.retain(|r| r.name.as_str() == "free");
    narrow.routes[0].path = tollhouse::catalog::PathPattern::Exact("/free/ok".to_owned());
    let gate = TestGate::with(vec![narrow], quick()).await;
    let reply = gate.get("/elsewhere", "").await;
    assert_eq!((reply.status, reply.code().as_str()), (404, "no_such_route"));
    assert_eq!(gate.minter.minted(), 0);

    let credential = gate.buy("/free/paid").await;
    gate.minter.can_receive.store(false, std::sync::atomic::Ordering::SeqCst);
    let reply = gate.get("/free/paid", "").await;
    assert_eq!((reply.status, reply.code().as_str()), (503, "cannot_receive"));
    assert!(reply.header("retry-after").is_some());
    assert_eq!(reply.header("www-authenticate"), None);
    // What was sold is still delivered, and what is free is still free.
    assert_eq!(gate.get("/free/paid", &credential.line()).await.status, 200);
    assert_eq!(gate.get("/free/ok", "").await.status, 200);
}

/// MONEY 8: clients that leave at any moment lose no unit but by using it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_client_that_leaves_at_any_moment_leaves_the_sums_right() {
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![service(&origin)], patient()).await;
    let mut credentials = Vec::new();
    for round in 0..60u64 {
        let credential = gate.buy("/ok").await;
        let mut stream = TcpStream::connect(gate.address).await.expect("the gate listens");
        stream.write_all(head("GET", "/ok", &credential.line()).as_bytes()).await.expect("sent");
        // Not a wait for something: the moment of leaving is what is tried.
        tokio::time::sleep(Duration::from_micros(round * 60)).await;
        stream.set_zero_linger().expect("a reset");
        drop(stream);
        credentials.push(credential);
    }
    let mut spent = 0;
    for credential in &credentials {
        let units = gate.settled(credential).await;
        match units {
            SPENT => spent += 1,
            // Nothing of it was ever booked, or it was given back.
            RESTORED | (0, 0, 0) => {}
            other => panic!("a unit was lost: {other:?}"),
        }
    }
    assert!(origin.hits() <= spent, "{} hits, {spent} units spent", origin.hits());
    // Every token that is still good is good for one request.
    let before = origin.hits();
    let mut good = 0;
    for credential in &credentials {
        let served = gate.get("/ok", &credential.line()).await.status == 200;
        good += usize::from(served);
        assert_eq!(gate.settled(credential).await, SPENT);
    }
    assert_eq!(good, credentials.len() - spent);
    assert_eq!(origin.hits(), before + good);
}

/// What the gate itself breaks off at shutdown is not the client's doing.
#[tokio::test]
async fn a_request_that_shutdown_cuts_off_is_given_back() {
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![service(&origin)], patient()).await;
    for path in ["/gated", "/endless"] {
        let credential = gate.buy("/ok").await;
        let hits = origin.hits();
        let mut stream = TcpStream::connect(gate.address).await.expect("the gate listens");
        stream.write_all(head("GET", path, &credential.line()).as_bytes()).await.expect("sent");
        origin.until(|seen| seen.hits.len() > hits).await;
        if path == "/endless" {
            let mut some = [0u8; 512];
            stream.read_exact(&mut some).await.expect("the body begins");
            gate.cut.cancel();
            assert_eq!(gate.settled(&credential).await, RESTORED, "{path}");
        } else {
            drop(stream);
            assert_eq!(gate.settled(&credential).await, SPENT, "{path}: the client left by itself");
        }
    }
}

#[tokio::test]
async fn a_flood_of_unpaid_requests_leaves_the_ledger_as_it_was() {
    let origin = Origin::start().await;
    let gate = TestGate::before(&origin).await;
    let before = gate.rows().await;
    let request = head("GET", "/ok", "").replace("Connection: close\r\n", "");
    let last = head("GET", "/ok", "");
    for _ in 0..4 {
        let flood = format!("{}{last}", request.repeat(499));
        let bytes =
            tokio::time::timeout(PATIENCE, exchange(gate.address, flood.as_bytes())).await.expect("answers");
        let text = String::from_utf8_lossy(&bytes);
        assert_eq!(text.matches("HTTP/1.1 402 ").count(), 500);
    }
    assert_eq!(gate.minter.minted(), 2_000);
    assert_eq!(gate.rows().await, before);
    assert_eq!(origin.hits(), 0);
}
