//! A lost answer is not lost money: who names a request by an idempotency key and is killed gets one
//! body for its one payment.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tollhouse::catalog::RouteTable;
use tollhouse::checkout::CheckoutConfig;
use tollhouse::metering::ReplayLimits;
use tollhouse::proxy::ProxyConfig;

use super::client::Reply;
use super::offers::shop;
use super::upstream::Origin;
use super::{Credential, PATIENCE, TestGate, Units, head, patient, quick, sat, service};

const SPENT: Units = (0, 0, 1);
const RESTORED: Units = (1, 0, 0);

fn named(credential: &Credential, key: &str) -> String {
    format!("{}Idempotency-Key: {key}\r\n", credential.line())
}

/// Sends a request, waits until the upstream has it, and is gone as by kill -9.
async fn killed(gate: &TestGate, origin: &Origin, request: &str) {
    let hits = origin.hits();
    let mut stream = TcpStream::connect(gate.address).await.expect("the gate listens");
    stream.write_all(request.as_bytes()).await.expect("sent");
    origin.until(|seen| seen.hits.len() > hits).await;
    stream.set_zero_linger().expect("a reset");
}

/// Repeats a request until it is no longer under way.
async fn retried(gate: &TestGate, path: &str, lines: &str) -> Reply {
    let retry = async {
        loop {
            let reply = gate.get(path, lines).await;
            if reply.status != 409 {
                return reply;
            }
            // As Retry-After says, only sooner.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, retry).await.expect("the exchange ends")
}

fn is_replay(reply: &Reply) -> bool {
    reply.header("x-tollhouse-replayed") == Some("true")
}

#[tokio::test]
async fn a_killed_client_gets_the_answer_that_it_paid_for() {
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![service(&origin)], patient()).await;
    for path in ["/gated?q=1", "/parts"] {
        let credential = gate.buy("/ok").await;
        let (lines, hits) = (named(&credential, "run-1"), origin.hits());
        killed(&gate, &origin, &head("GET", path, &lines)).await;
        assert_eq!(origin.last().header("idempotency-key"), ["run-1"], "the upstream has it too");

        let early = gate.get(path, &lines).await;
        assert_eq!((early.status, early.header("retry-after")), (409, Some("1")));
        assert_eq!(gate.units(&credential).await, (0, 1, 0), "it runs on");
        origin.shared.gate.notify_one();
        let first = retried(&gate, path, &lines).await;
        let (status, body) = if path == "/parts" { (201, "firstsecond") } else { (200, "ok") };
        for reply in [first, gate.get(path, &lines).await] {
            assert_eq!((reply.status, reply.text().as_str(), reply.complete), (status, body, true));
            assert!(is_replay(&reply));
            assert_eq!(reply.header("x-tollhouse-payment-hash"), Some(&*credential.hash.to_hex()));
            assert_eq!(reply.header("x-tollhouse-unit"), Some("spent"));
            assert_eq!(reply.header("cache-control"), Some("private, no-store"));
            assert_eq!(reply.header("x-upstream").is_some(), path == "/parts");
        }
        assert_eq!((gate.settled(&credential).await, origin.hits()), (SPENT, hits + 1), "{path}");
    }
}

/// The client that stays gets its answer as ever, frame by frame, and may ask for it again.
#[tokio::test]
async fn a_client_that_stays_notices_nothing() {
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![service(&origin)], patient()).await;
    for (method, path, status, body) in [
        ("GET", "/ok", 200, "ok"),
        ("GET", "/chunked", 200, "onetwo"),
        ("GET", "/404", 404, "no"),
        ("GET", "/204", 204, ""),
        ("GET", "/304", 304, ""),
        ("HEAD", "/ok", 200, ""),
    ] {
        let credential = gate.buy("/ok").await;
        let request = head(method, path, &named(&credential, "k"));
        let hits = origin.hits();
        for replay in [false, true, true] {
            let reply = gate.ask(&request).await;
            assert_eq!((reply.status, reply.text().as_str()), (status, body), "{method} {path}");
            assert_eq!((reply.complete, is_replay(&reply)), (true, replay), "{method} {path}");
            assert_eq!(gate.settled(&credential).await, SPENT, "{method} {path}");
        }
        assert_eq!(origin.hits(), hits + 1);
    }
    let credential = gate.buy("/ok").await;
    let mut stream = TcpStream::connect(gate.address).await.expect("the gate listens");
    let request = head("GET", "/parts", &named(&credential, "k"));
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut text = Vec::new();
    while !text.ends_with(b"first\r\n") {
        let byte = tokio::time::timeout(PATIENCE, stream.read_u8()).await.expect("before the end");
        text.push(byte.expect("more"));
    }
    origin.shared.gate.notify_one();
    stream.read_to_end(&mut text).await.expect("the rest");
    assert!(text.ends_with(b"second\r\n0\r\n\r\n"));
}

#[tokio::test]
async fn without_a_key_a_client_that_leaves_has_used_its_unit() {
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![service(&origin)], patient()).await;
    let long = format!("Idempotency-Key: {}\r\n", "k".repeat(256));
    for lines in ["", "Idempotency-Key: \r\n", "Idempotency-Key: a b\r\n", &long] {
        let credential = gate.buy("/ok").await;
        let lines = format!("{}{lines}", credential.line());
        let hits = origin.hits();
        killed(&gate, &origin, &head("GET", "/silent", &lines)).await;
        assert_eq!(gate.settled(&credential).await, SPENT);
        let reply = gate.get("/silent", &lines).await;
        assert_eq!((reply.status, reply.code().as_str()), (402, "spent"));
        assert_eq!(origin.hits(), hits + 1);
    }
}

#[tokio::test]
async fn nobody_else_and_nothing_else_gets_the_answer() {
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![service(&origin)], patient()).await;
    let credential = gate.buy("/ok").await;
    let lines = named(&credential, "k");
    assert_eq!(gate.get("/ok?a=1", &lines).await.status, 200);
    assert_eq!(gate.settled(&credential).await, SPENT);
    let other_host = head("GET", "/ok?a=1", &lines).replace("api.example", "other.example");
    for request in [
        head("GET", "/ok?a=1", &named(&credential, "K")),
        head("GET", "/ok?a=1", &credential.line()),
        head("GET", "/ok?a=2", &lines),
        head("GET", "/ok", &lines),
        head("GET", "/404?a=1", &lines),
        head("POST", "/ok?a=1", &lines),
        other_host,
    ] {
        let reply = gate.ask(&request).await;
        assert_eq!((reply.status, reply.code().as_str()), (402, "spent"), "{request}");
    }
    // Neither does who has not paid, nor who paid for something else.
    let unpaid = gate.get("/ok?a=1", "Idempotency-Key: k\r\n").await;
    assert_eq!((unpaid.status, unpaid.code().as_str()), (402, "payment_required"));
    let forged = lines.replace(&credential.header[credential.header.len() - 64..], &"0".repeat(64));
    assert_eq!(gate.get("/ok?a=1", &forged).await.status, 402);
    assert_eq!(origin.hits(), 1);
    let other = gate.buy("/ok").await;
    let fresh = gate.get("/ok?a=1", &named(&other, "k")).await;
    assert_eq!((fresh.status, is_replay(&fresh), origin.hits()), (200, false, 2));
    assert!(is_replay(&gate.get("/ok?a=1", &lines).await), "the first one's is still there");
}

/// What was given back is asked for anew, not replayed.
#[tokio::test]
async fn a_failure_is_never_kept() {
    let origin = Origin::start().await;
    let gate = TestGate::before(&origin).await;
    for path in ["/500", "/truncated", "/truncated-chunks", "/stalled-body", "/silent", "/close"] {
        let credential = gate.buy("/ok").await;
        let lines = named(&credential, "k");
        for _ in 0..2 {
            let hits = origin.hits();
            let reply = gate.get(path, &lines).await;
            assert!(!is_replay(&reply));
            assert!(reply.status >= 500 || !reply.complete, "{path}: {reply:?}");
            assert_eq!((gate.settled(&credential).await, origin.hits()), (RESTORED, hits + 1), "{path}");
        }
    }
    let gate = TestGate::with(vec![service(&origin)], patient()).await;
    let credential = gate.buy("/ok").await;
    killed(&gate, &origin, &head("GET", "/gated-500", &named(&credential, "k"))).await;
    origin.shared.gate.notify_one();
    assert_eq!(gate.settled(&credential).await, RESTORED, "the client left, and got nothing for it");
}

#[tokio::test]
async fn too_large_an_answer_ends_with_its_client() {
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![service(&origin)], patient()).await;
    for path in ["/large", "/endless"] {
        let credential = gate.buy("/ok").await;
        let lines = named(&credential, "k");
        if path == "/large" {
            let reply = gate.get(path, &lines).await;
            assert_eq!((reply.status, reply.body.len(), reply.complete), (200, 2 << 20, true));
        } else {
            let broken = origin.seen(|seen| seen.broken);
            killed(&gate, &origin, &head("GET", path, &lines)).await;
            origin.until(|seen| seen.broken > broken).await;
        }
        assert_eq!(gate.settled(&credential).await, SPENT, "{path}");
        let hits = origin.hits();
        let reply = gate.get(path, &lines).await;
        assert_eq!((reply.status, reply.code().as_str()), (402, "spent"), "{path}");
        assert_eq!(origin.hits(), hits);
    }
}

#[tokio::test]
async fn too_long_an_answer_is_given_up() {
    let origin = Origin::start().await;
    let brief = ProxyConfig { outlive: Duration::from_millis(100), ..patient() };
    let gate = TestGate::with(vec![service(&origin)], brief).await;
    for path in ["/silent", "/stalled-body"] {
        let credential = gate.buy("/ok").await;
        let lines = named(&credential, "k");
        let broken = origin.seen(|seen| seen.broken);
        killed(&gate, &origin, &head("GET", path, &lines)).await;
        origin.until(|seen| seen.broken > broken).await;
        assert_eq!(gate.settled(&credential).await, SPENT, "{path}");
        assert_eq!(gate.get(path, &lines).await.code(), "spent", "{path}");
    }
}

#[tokio::test]
async fn what_is_kept_is_bounded_in_bytes_and_in_time() {
    let origin = Origin::start().await;
    let few = ReplayLimits { total_bytes: 4_000, ..ReplayLimits::default() };
    let terms = CheckoutConfig { replays: few, ..CheckoutConfig::default() };
    let gate = TestGate::selling(vec![service(&origin)], quick(), terms).await;
    let mut lines = Vec::new();
    for _ in 0..10 {
        let credential = gate.buy("/ok").await;
        assert_eq!(gate.get("/ok", &named(&credential, "k")).await.status, 200);
        gate.settled(&credential).await;
        lines.push(named(&credential, "k"));
    }
    let mut kept = Vec::new();
    for line in &lines {
        kept.push(is_replay(&gate.get("/ok", line).await));
    }
    assert!(!kept[0] && kept[9], "the oldest made room: {kept:?}");
    assert!(kept.is_sorted(), "{kept:?}");

    let short = ReplayLimits { life: Duration::from_millis(1), ..ReplayLimits::default() };
    let terms = CheckoutConfig { replays: short, ..CheckoutConfig::default() };
    let gate = TestGate::selling(vec![service(&origin)], quick(), terms).await;
    let credential = gate.buy("/ok").await;
    assert_eq!(gate.get("/ok", &named(&credential, "k")).await.status, 200);
    gate.settled(&credential).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(gate.get("/ok", &named(&credential, "k")).await.code(), "spent");
}

/// What the gate itself breaks off is given back, key or not.
#[tokio::test]
async fn a_shutdown_gives_back_what_outlived_its_client() {
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![service(&origin)], patient()).await;
    let credential = gate.buy("/ok").await;
    killed(&gate, &origin, &head("GET", "/parts", &named(&credential, "k"))).await;
    assert_eq!(gate.units(&credential).await, (0, 1, 0));
    gate.cut.cancel();
    assert_eq!(gate.settled(&credential).await, RESTORED);
}

/// Eight retries race with the end of the exchange: each is told to wait or gets the answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_retry_is_never_told_spent_before_the_answer_is_there() {
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![service(&origin)], patient()).await;
    for _ in 0..10 {
        let credential = gate.buy("/ok").await;
        let (lines, hits) = (named(&credential, "k"), origin.hits());
        killed(&gate, &origin, &head("GET", "/gated", &lines)).await;
        origin.shared.gate.notify_one();
        let replies = futures_util::future::join_all((0..8).map(|_| retried(&gate, "/gated", &lines))).await;
        assert!(replies.iter().all(|reply| is_replay(reply) && reply.text() == "ok"), "{replies:?}");
        assert_eq!((gate.settled(&credential).await, origin.hits()), (SPENT, hits + 1));
    }
}

/// A price that rose meanwhile does not take away what was paid for before.
#[tokio::test]
async fn a_dearer_price_does_not_hide_the_answer() {
    let origin = Origin::start().await;
    let gate = TestGate::before(&origin).await;
    let credential = gate.buy("/ok").await;
    let lines = named(&credential, "k");
    assert_eq!(gate.get("/ok", &lines).await.status, 200);
    assert_eq!(gate.settled(&credential).await, SPENT);
    let mut dearer = service(&origin);
    dearer.terms = sat(11).into();
    gate.catalog.swap(RouteTable::new(vec![dearer]).expect("a table"));
    assert!(is_replay(&gate.get("/ok", &lines).await));
    assert_eq!(gate.get("/ok", &credential.line()).await.code(), "spent", "and at any price");
}

/// A token for several requests: who comes again for one answer uses one unit, also while it is on its
/// way.
#[tokio::test]
async fn a_pack_pays_once_for_a_request_that_is_named() {
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![shop(&origin)], patient()).await;
    for (offer, before) in [("pack-5", (4, 1, 0)), ("purse", (25_000, 10_000, 0))] {
        let token = gate.buy_offer("/gated", offer).await;
        let (lines, hits) = (named(&token, "run-1"), origin.hits());
        killed(&gate, &origin, &head("GET", "/gated", &lines)).await;
        let early = gate.get("/gated", &lines).await;
        assert_eq!((early.status, early.code().as_str()), (409, "in_flight"), "{offer}");
        assert_eq!(gate.units(&token).await, before, "{offer}");
        origin.shared.gate.notify_one();
        for _ in 0..3 {
            let reply = retried(&gate, "/gated", &lines).await;
            assert_eq!(
                (reply.status, reply.text().as_str(), is_replay(&reply)),
                (200, "ok", true),
                "{offer}"
            );
        }
        let (left, held, spent) = gate.settled(&token).await;
        assert_eq!((left, held, spent), (before.0, 0, before.1), "{offer}");
        // Another name is another request.
        assert_eq!(gate.get("/ok", &named(&token, "run-2")).await.status, 200);
        assert_eq!(origin.hits(), hits + 2);
        assert_eq!(gate.settled(&token).await, (before.0 - before.1, 0, 2 * before.1), "{offer}");
    }
}
