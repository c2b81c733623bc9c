//! Bodies stream both ways, a slow reader slows the writer, and either side's end ends the other.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::client::ask;
use super::upstream::Origin;
use super::{PATIENCE, ProxyConfig, TestGate, head, patient, quick, service};

async fn open(gate: &TestGate, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(gate.address).await.expect("the gate listens");
    stream.write_all(request.as_bytes()).await.expect("the gate reads");
    stream
}

/// Reads until `mark` came.
pub(super) async fn read_until(stream: &mut TcpStream, mark: &str) {
    let mut text = Vec::new();
    let mut byte = [0u8; 1];
    let read = async {
        while !text.ends_with(mark.as_bytes()) {
            stream.read_exact(&mut byte).await.expect("more to come");
            text.push(byte[0]);
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("it comes in time");
}

#[tokio::test]
async fn a_response_arrives_as_it_is_made() {
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![service(&origin)], patient()).await;
    let credential = gate.buy("/ok").await;
    let mut stream = open(&gate, &head("GET", "/stepwise", &credential.line())).await;
    read_until(&mut stream, "first\r\n").await;
    assert_eq!(gate.units(&credential).await, (0, 1, 0), "held while it streams");
    origin.shared.gate.notify_one();
    read_until(&mut stream, "second\r\n0\r\n\r\n").await;
    assert_eq!(gate.settled(&credential).await, (0, 0, 1));
}

#[tokio::test]
async fn a_request_body_arrives_as_it_is_sent() {
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![service(&origin)], patient()).await;
    let credential = gate.buy("/ok").await;
    let lines = format!("{}Transfer-Encoding: chunked\r\n", credential.line());
    let mut stream = open(&gate, &head("POST", "/ok", &lines)).await;
    stream.write_all(b"5\r\nfirst\r\n").await.expect("sent");
    origin.until(|seen| seen.body_bytes == 5).await;
    stream.write_all(b"6\r\nsecond\r\n0\r\n\r\n").await.expect("sent");
    read_until(&mut stream, "\r\n\r\nok").await;
    assert_eq!(origin.seen(|seen| seen.bodies.clone()), [b"firstsecond".to_vec()]);
    assert_eq!(gate.settled(&credential).await, (0, 0, 1));
}

#[tokio::test]
async fn every_method_s_body_arrives_whole() {
    let origin = Origin::start().await;
    let gate = TestGate::before(&origin).await;
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
        for (lines, body, whole) in [
            ("Content-Length: 3\r\n", "one", "one"),
            ("Transfer-Encoding: chunked\r\n", "3\r\none\r\n0\r\n\r\n", "one"),
            ("Content-Length: 0\r\n", "", ""),
            ("", "", ""),
        ] {
            let request = head(method, "/free/ok", lines) + body;
            assert_eq!(ask(gate.address, request.as_bytes()).await.status, 200, "{method} {lines}");
            assert_eq!(
                origin.seen(|seen| seen.bodies.last().cloned()),
                Some(whole.into()),
                "{method} {lines}"
            );
        }
    }
}

#[tokio::test]
async fn a_large_body_comes_through_both_ways() {
    let origin = Origin::start().await;
    let gate = TestGate::before(&origin).await;
    let credential = gate.buy("/ok").await;
    let body = "x".repeat(3_000_000);
    let lines = format!("{}Content-Length: {}\r\nExpect: 100-continue\r\n", credential.line(), body.len());
    let mut stream = open(&gate, &head("PUT", "/ok", &lines)).await;
    read_until(&mut stream, "HTTP/1.1 100 Continue\r\n\r\n").await;
    stream.write_all(body.as_bytes()).await.expect("sent");
    read_until(&mut stream, "\r\n\r\nok").await;
    assert_eq!(origin.seen(|seen| seen.bodies[0].len()), body.len());
    assert!(origin.last().header("expect").is_empty());
}

/// An unpaid upload is not asked for.
#[tokio::test]
async fn a_body_is_not_read_before_it_is_paid_for() {
    let origin = Origin::start().await;
    let gate = TestGate::before(&origin).await;
    let mut stream =
        open(&gate, &head("PUT", "/ok", "Content-Length: 9000000\r\nExpect: 100-continue\r\n")).await;
    read_until(&mut stream, "HTTP/1.1 402 ").await;
    assert_eq!(origin.hits(), 0);
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_upstream_and_has_used_its_unit() {
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![service(&origin)], patient()).await;
    for (path, mark) in [("/silent", ""), ("/endless", "\r\n\r\n")] {
        let credential = gate.buy("/ok").await;
        let (hits, broken) = origin.seen(|seen| (seen.hits.len(), seen.broken));
        let mut stream = open(&gate, &head("GET", path, &credential.line())).await;
        origin.until(|seen| seen.hits.len() > hits).await;
        read_until(&mut stream, mark).await;
        drop(stream);
        origin.until(|seen| seen.broken > broken).await;
        assert_eq!(gate.settled(&credential).await, (0, 0, 1), "{path}");
    }
}

#[tokio::test]
async fn a_client_that_breaks_off_its_upload_ends_the_upstream_s() {
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![service(&origin)], patient()).await;
    let credential = gate.buy("/ok").await;
    let lines = format!("{}Content-Length: 100\r\n", credential.line());
    let mut stream = open(&gate, &head("PUT", "/ok", &lines)).await;
    stream.write_all(b"some").await.expect("sent");
    origin.until(|seen| seen.body_bytes == 4).await;
    drop(stream);
    origin.until(|seen| seen.broken == 1).await;
    assert_eq!(gate.settled(&credential).await, (0, 0, 1));
    assert_eq!(origin.seen(|seen| seen.bodies.len()), 0);
}

#[tokio::test]
async fn a_client_that_stalls_its_upload_has_used_its_unit() {
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![service(&origin)], quick()).await;
    let credential = gate.buy("/ok").await;
    let lines = format!("{}Content-Length: 100\r\n", credential.line());
    let mut stream = open(&gate, &(head("PUT", "/ok", &lines) + "some")).await;
    read_until(&mut stream, "HTTP/1.1 408 ").await;
    assert_eq!(gate.settled(&credential).await, (0, 0, 1));
}

/// A slow but moving upload is not a slow upstream.
#[tokio::test]
async fn an_upload_may_take_longer_than_an_answer() {
    // Long enough that a busy machine does not make a pause of it.
    let waits = ProxyConfig {
        header_timeout: Duration::from_secs(2),
        idle_timeout: Duration::from_secs(2),
        ..quick()
    };
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![service(&origin)], waits).await;
    let credential = gate.buy("/ok").await;
    let lines = format!("{}Content-Length: 5120\r\n", credential.line());
    let mut stream = open(&gate, &head("PUT", "/ok", &lines)).await;
    for _ in 0..10 {
        // The pace is what is tried: twice the longest wait in all, never a whole one at once.
        tokio::time::sleep(Duration::from_millis(400)).await;
        stream.write_all(&[b'x'; 512]).await.expect("sent");
    }
    read_until(&mut stream, "HTTP/1.1 200 ").await;
    assert_eq!(gate.settled(&credential).await, (0, 0, 1));
}

/// Nobody gets an answer for nothing by breaking off the upload that it did not wait for.
#[tokio::test]
async fn a_client_that_breaks_its_upload_under_an_answer_has_used_its_unit() {
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![service(&origin)], patient()).await;
    let credential = gate.buy("/ok").await;
    let lines = format!("{}Transfer-Encoding: chunked\r\n", credential.line());
    let mut stream = open(&gate, &head("POST", "/meanwhile", &lines)).await;
    stream.write_all(b"2\r\nhi\r\n").await.expect("sent");
    read_until(&mut stream, "HTTP/1.1 200 ").await;
    stream.write_all(b"!\r\n").await.expect("sent");
    let mut nowhere = tokio::io::sink();
    let rest = tokio::io::copy(&mut stream, &mut nowhere);
    let _ = tokio::time::timeout(PATIENCE, rest).await.expect("it is broken off");
    assert_eq!(gate.settled(&credential).await, (0, 0, 1));
}

/// Nor by stalling it.
#[tokio::test]
async fn a_client_that_stalls_its_upload_under_an_answer_has_used_its_unit() {
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![service(&origin)], quick()).await;
    let credential = gate.buy("/ok").await;
    let lines = format!("{}Content-Length: 5\r\n", credential.line());
    let mut stream = open(&gate, &head("POST", "/meanwhile", &lines)).await;
    stream.write_all(b"hi").await.expect("sent");
    let mut nowhere = tokio::io::sink();
    let rest = tokio::io::copy(&mut stream, &mut nowhere);
    let _ = tokio::time::timeout(PATIENCE, rest).await.expect("it is broken off");
    assert_eq!(gate.settled(&credential).await, (0, 0, 1));
}

/// Back-pressure: what the client does not read, the upstream cannot write.
#[tokio::test]
async fn a_slow_reader_slows_the_upstream() {
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![service(&origin)], quick()).await;
    let credential = gate.buy("/ok").await;
    let mut stream = open(&gate, &head("GET", "/endless", &credential.line())).await;
    origin.until(|seen| seen.written > 0).await;
    let mut before = 0;
    let still = async {
        loop {
            // There is no event for "nothing more is written".
            tokio::time::sleep(Duration::from_millis(500)).await;
            let now = origin.seen(|seen| seen.written);
            if now == before {
                return now;
            }
            before = now;
        }
    };
    let written = tokio::time::timeout(PATIENCE, still).await.expect("it comes to a stop");
    assert!(written < 64 << 20, "{written} bytes were taken from the upstream and not from us");
    assert_eq!(gate.units(&credential).await, (0, 1, 0), "a slow reader is no stalled upstream");
    // It goes on when the client does.
    let mut some = vec![0u8; written];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut some)).await.expect("in time").expect("more");
    origin.until(|seen| seen.written > written).await;
}

/// A connection that carried a broken body is never used again (THREATS 11).
#[tokio::test]
async fn connections_are_kept_after_whole_bodies_only() {
    let origin = Origin::start().await;
    let gate = TestGate::before(&origin).await;
    for path in ["/free/ok", "/free/chunked", "/free/404"] {
        assert!(gate.get(path, "").await.complete);
    }
    assert_eq!(origin.last().connection, 1, "kept");
    assert!(!gate.get("/free/stalled-body", "").await.complete);
    assert!(gate.get("/free/ok", "").await.complete);
    assert!(origin.last().connection > 1, "not the stalled one");
}

/// An upstream that answers before it took the body.
#[tokio::test]
async fn an_early_answer_is_handed_down() {
    let origin = Origin::start().await;
    let gate = TestGate::before(&origin).await;
    let credential = gate.buy("/ok").await;
    let lines = format!("{}Content-Length: 50\r\n", credential.line());
    let mut stream = open(&gate, &head("PUT", "/early", &lines)).await;
    read_until(&mut stream, "HTTP/1.1 413 ").await;
    assert_eq!(gate.settled(&credential).await, (0, 0, 1), "a 4xx is charged");
}
