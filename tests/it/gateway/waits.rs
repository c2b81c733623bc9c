//! How long one waits for an upstream, and for a client that is slow on purpose (THREATS 14).

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tollhouse::catalog::{Service, Timeouts};

use super::client::Reply;
use super::upstream::{Origin, Step};
use super::{TestGate, head, patient, quick, service};

const SOON: Option<Duration> = Some(Duration::from_millis(300));

fn waiting(origin: &Origin, timeouts: Timeouts) -> Service {
    let mut service = service(origin);
    service.upstream.timeouts = timeouts;
    service
}

/// A service's own times count where all others would wait longer than this test does.
#[tokio::test]
async fn a_service_says_how_long_its_upstream_is_waited_for() {
    let origin = Origin::start().await;
    let header = Timeouts { header: SOON, ..Timeouts::default() };
    let gate = TestGate::with(vec![waiting(&origin, header)], patient()).await;
    for path in ["/silent", "/drip"] {
        let credential = gate.buy("/ok").await;
        let reply = gate.get(path, &credential.line()).await;
        assert_eq!((reply.status, reply.code().as_str()), (504, "upstream_timeout"), "{path}");
        assert_eq!(gate.settled(&credential).await, (1, 0, 0), "{path}: given back");
    }
    let idle = Timeouts { idle: SOON, ..Timeouts::default() };
    let gate = TestGate::with(vec![waiting(&origin, idle)], patient()).await;
    let credential = gate.buy("/ok").await;
    let reply = gate.get("/stalled-body", &credential.line()).await;
    assert_eq!((reply.status, reply.complete), (200, false));
    assert_eq!(gate.settled(&credential).await, (1, 0, 0), "given back");
    gate.audited().await;

    // An upstream that takes the connection and never shakes hands is not connected.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let mut behind_tls = waiting(&origin, Timeouts { connect: SOON, ..Timeouts::default() });
    let address = silent.local_addr().expect("an address");
    behind_tls.upstream.base = format!("https://{address}/").parse().expect("a URL");
    let gate = TestGate::with(vec![behind_tls], patient()).await;
    let credential = gate.buy("/ok").await;
    let reply = gate.get("/ok", &credential.line()).await;
    assert_eq!((reply.status, reply.code().as_str()), (504, "upstream_timeout"));
    assert_eq!(gate.settled(&credential).await, (1, 0, 0), "given back");
}

/// As many header lines as fit, and one more than that.
#[tokio::test]
async fn an_upstreams_head_has_bounds() {
    let origin = Origin::start().await;
    let gate = TestGate::before(&origin).await;
    for (lines, status) in [(90, 200), (101, 502)] {
        let many = "x-a: b\r\n".repeat(lines - 1);
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n{many}\r\nok");
        origin.script("/many", vec![Step::say(answer), Step::Close]);
        let credential = gate.buy("/ok").await;
        let reply = gate.get("/many", &credential.line()).await;
        assert_eq!(reply.status, status, "{lines} lines: {reply:?}");
        let left = if status == 200 { (0, 0, 1) } else { (1, 0, 0) };
        assert_eq!(gate.settled(&credential).await, left, "{lines}");
    }
}

/// A byte now and then buys no more time than silence: its unit and the upstream's place are not held.
#[tokio::test]
async fn who_drips_an_upload_is_left() {
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![service(&origin)], quick()).await;
    let credential = gate.buy("/ok").await;
    let lines = format!("{}Content-Length: 100000\r\n", credential.line());
    let mut stream = TcpStream::connect(gate.address).await.expect("the gate listens");
    stream.write_all(head("PUT", "/ok", &lines).as_bytes()).await.expect("sent");
    let (mut reads, mut writes) = stream.split();
    let answer = async {
        let mut bytes = Vec::new();
        let mut buffer = [0u8; 4096];
        while let Ok(length @ 1..) = tokio::io::AsyncReadExt::read(&mut reads, &mut buffer).await {
            bytes.extend_from_slice(&buffer[..length]);
        }
        Reply::read(&bytes, false)
    };
    let drip = async {
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            if writes.write_all(b"x").await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    let reply = tokio::select! {
        reply = answer => reply,
        () = drip => unreachable!("it drips for ever"),
        () = tokio::time::sleep(super::PATIENCE) => panic!("a drip was waited for"),
    };
    assert_eq!((reply.status, reply.code().as_str()), (408, "body_stalled"));
    assert_eq!(gate.settled(&credential).await, (0, 0, 1), "the client used its unit");
    origin.until(|seen| seen.broken == 1).await;
}

/// The upstream has its whole time after an upload that took long.
#[tokio::test]
async fn the_time_for_an_answer_begins_when_the_upload_ended() {
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![service(&origin)], quick()).await;
    let credential = gate.buy("/ok").await;
    let lines = format!("{}Content-Length: 640\r\n", credential.line());
    let mut stream = TcpStream::connect(gate.address).await.expect("the gate listens");
    stream.write_all(head("PUT", "/gated", &lines).as_bytes()).await.expect("sent");
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(80)).await;
        stream.write_all(&[b'x'; 64]).await.expect("sent");
    }
    origin.until(|seen| seen.bodies.len() == 1).await;
    // Longer than what the upload's pace has left, shorter than the whole time.
    tokio::time::sleep(Duration::from_millis(150)).await;
    origin.shared.gate.notify_one();
    super::streams::read_until(&mut stream, "HTTP/1.1 200 ").await;
    assert_eq!(gate.settled(&credential).await, (0, 0, 1));
}
