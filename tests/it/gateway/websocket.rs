//! WebSockets: switched only when paid and only after the upstream's 101, then bytes both ways until either
//! side, the money or the operator ends it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use tollhouse::catalog::{Offer, Offering, Service, Terms};
use tollhouse::pricing::{Amount, Formula, Rule, Zero};
use tollhouse::proxy::ProxyConfig;
use tollhouse::types::Msat;

use super::client::Reply;
use super::upstream::{Origin, Step};
use super::{Credential, PATIENCE, TestGate, head, patient, service};

const ASKS: &str = "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const ACCEPTS: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: WebSocket\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// An upstream that switches and sends back what comes, and what it saw.
struct Echo {
    address: SocketAddr,
    heads: watch::Receiver<Vec<String>>,
    /// Tunnels that were ended from the other side.
    ended: watch::Receiver<usize>,
}

async fn echo() -> Echo {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let ((seen, heads), (ends, ended)) = (watch::channel(Vec::new()), watch::channel(0));
    let (tracker, ends) = (TaskTracker::new(), Arc::new(ends));
    tracker.clone().spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let head = read_head(&mut stream).await;
            seen.send_modify(|heads| heads.push(head));
            let ends = Arc::clone(&ends);
            tracker.spawn(async move {
                let _ = stream.write_all(ACCEPTS.as_bytes()).await;
                let mut buffer = [0u8; 4096];
                while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                    if stream.write_all(&buffer[..length]).await.is_err() {
                        break;
                    }
                }
                ends.send_modify(|n| *n += 1);
            });
        }
    });
    Echo { address, heads, ended }
}

/// A head, without what comes behind it.
async fn read_head(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let mut byte = [0u8; 1];
    let read = async {
        while !text.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).await.expect("more of the head");
            text.push(byte[0]);
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("a head in time");
    String::from_utf8(text).expect("text")
}

fn before(echo: &Echo, origin: &Origin) -> Service {
    let mut service = service(origin);
    service.upstream.base = format!("http://{}/", echo.address).parse().expect("a URL");
    service
}

fn asking(path: &str, credential: Option<&Credential>) -> String {
    let line = credential.map(Credential::line).unwrap_or_default();
    format!("GET {path} HTTP/1.1\r\nHost: api.example\r\n{line}{ASKS}\r\n")
}

async fn open(gate: &TestGate, request: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(gate.address).await.expect("the gate listens");
    stream.write_all(request.as_bytes()).await.expect("the gate reads");
    let head = read_head(&mut stream).await;
    (stream, head)
}

async fn echoes(stream: &mut TcpStream, text: &[u8]) {
    stream.write_all(text).await.expect("sent");
    hears(stream, text).await;
}

async fn hears(stream: &mut TcpStream, text: &[u8]) {
    let mut back = vec![0; text.len()];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut back)).await.expect("in time").expect("it comes");
    assert_eq!(back, text);
}

async fn ends(stream: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("it ends in time");
    assert!(read.is_ok() || rest.is_empty());
    rest
}

#[tokio::test]
async fn it_opens_when_paid_and_is_spent_with_the_101() {
    let (echo, origin) = (echo().await, Origin::start().await);
    let gate = TestGate::with(vec![before(&echo, &origin)], patient()).await;
    let unpaid = gate.ask(&asking("/ws", None).replace("keep-alive, Upgrade", "close, Upgrade")).await;
    assert_eq!(unpaid.status, 402);
    assert!(echo.heads.borrow().is_empty());

    let credential = gate.pay(&unpaid);
    let (mut stream, head) = open(&gate, &asking("/ws?x=1", Some(&credential))).await;
    let reply = Reply::read(head.as_bytes(), true);
    assert_eq!(reply.status, 101, "{head}");
    assert_eq!(reply.header("upgrade"), Some("websocket"));
    assert_eq!(reply.header("connection").map(str::to_ascii_lowercase), Some("upgrade".to_owned()));
    assert_eq!(reply.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(reply.header("x-tollhouse-unit"), Some("spent"));
    let seen = echo.heads.borrow()[0].to_ascii_lowercase();
    assert!(seen.starts_with("get /ws?x=1 http/1.1\r\n"), "{seen}");
    assert!(
        seen.contains("\r\nupgrade: websocket\r\n") && seen.contains("\r\nconnection: upgrade\r\n"),
        "{seen}"
    );
    assert!(seen.contains("\r\nsec-websocket-key: ") && !seen.contains("authorization"), "{seen}");
    // Frames are binary: bare line feeds and all.
    echoes(&mut stream, b"\x81\x05hello\n\n\x00GET / HTTP/1.1\r\n\r\n").await;
    assert_eq!(gate.settled(&credential).await, (0, 0, 1), "while it is open");
    let again =
        gate.ask(&asking("/ws", Some(&credential)).replace("keep-alive, Upgrade", "close, Upgrade")).await;
    assert_eq!((again.status, again.code().as_str()), (402, "spent"));
    echoes(&mut stream, &[b'x'; 100_000]).await;
    drop(stream);
    echo.ended.clone().wait_for(|ended| *ended == 1).await.expect("the upstream hears of it");
    gate.audited().await;
}

#[tokio::test]
async fn what_is_sent_early_waits_for_the_101() {
    let (echo, origin) = (echo().await, Origin::start().await);
    let gate = TestGate::with(vec![before(&echo, &origin)], patient()).await;
    let credential = gate.buy("/ws").await;
    let early = asking("/ws", Some(&credential)) + "early\n\n";
    let (mut stream, head) = open(&gate, &early).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    hears(&mut stream, b"early\n\n").await;
}

/// Whoever speaks another protocol behind an answer that is no 101 is read as HTTP, and refused.
#[tokio::test]
async fn nothing_is_tunnelled_behind_any_other_answer() {
    let origin = Origin::start().await;
    let gate = TestGate::before(&origin).await;
    let refused = "HTTP/1.1 426 Upgrade Required\r\ncontent-length: 2\r\n\r\nno";
    origin.script("/refuses", vec![Step::say(refused)]);
    origin.script(
        "/other",
        vec![Step::say("HTTP/1.1 101 Switch\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n")],
    );
    let behind = "GET /paid HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\n\r\n";

    let credential = gate.buy("/ok").await;
    let both = gate.ask(&(asking("/refuses", Some(&credential)) + behind)).await;
    assert_eq!((both.status, &both.body[..2]), (426, b"no".as_slice()));
    assert!(
        both.text().contains("HTTP/1.1 402 "),
        "the next one is a request like any other: {}",
        both.text()
    );
    assert_eq!(gate.settled(&credential).await, (0, 0, 1), "a 4xx is charged");

    let credential = gate.buy("/ok").await;
    let wrong = gate.ask(&(asking("/other", Some(&credential)) + behind)).await;
    assert_eq!(wrong.status, 502, "{wrong:?}");
    assert!(wrong.text().contains("upstream_misbehaved") && wrong.text().contains("HTTP/1.1 402 "));
    assert_eq!(gate.settled(&credential).await, (1, 0, 0));

    // Other protocols are not asked for: h2c behind a paid request would be a tunnel for unpaid ones.
    for lines in [
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n",
        "Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n",
        "Connection: keep-alive\r\nUpgrade: websocket\r\n",
    ] {
        let request = format!("GET /free/ok HTTP/1.1\r\nHost: api.example\r\n{lines}\r\n{behind}");
        let reply = gate.ask(&request).await;
        assert_eq!(reply.status, 200, "{lines}");
        assert!(reply.text().contains("HTTP/1.1 402 "), "{lines}: {}", reply.text());
        let hit = origin.last();
        assert!(hit.header("upgrade").is_empty() && hit.header("http2-settings").is_empty(), "{}", hit.head);
    }
    assert!(origin.seen(|seen| seen.hits.iter().all(|hit| !hit.line().contains("/paid"))));
    gate.audited().await;
}

#[tokio::test]
async fn a_silent_tunnel_is_closed() {
    let (echo, origin) = (echo().await, Origin::start().await);
    let config = ProxyConfig { tunnel_idle: Duration::from_millis(200), ..patient() };
    let gate = TestGate::with(vec![before(&echo, &origin)], config).await;
    let (mut stream, head) = open(&gate, &asking("/free/ws", None)).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    echoes(&mut stream, b"one").await;
    assert_eq!(ends(&mut stream).await, b"");
    echo.ended.clone().wait_for(|ended| *ended == 1).await.expect("the upstream hears of it");
}

/// THREATS 3: a token that is taken back ends what it opened.
#[tokio::test]
async fn a_revoked_token_closes_its_tunnel() {
    let (echo, origin) = (echo().await, Origin::start().await);
    let gate = TestGate::with(vec![before(&echo, &origin)], patient()).await;
    let credential = gate.buy("/ws").await;
    let (mut stream, _) = open(&gate, &asking("/ws", Some(&credential))).await;
    echoes(&mut stream, b"one").await;
    gate.ledger.revoke(credential.hash).await.expect("revoked");
    assert_eq!(ends(&mut stream).await, b"");
    echo.ended.clone().wait_for(|ended| *ended == 1).await.expect("the upstream hears of it");
    gate.audited().await;
}

#[tokio::test]
async fn shutdown_closes_it() {
    let (echo, origin) = (echo().await, Origin::start().await);
    let gate = TestGate::with(vec![before(&echo, &origin)], patient()).await;
    let credential = gate.buy("/ws").await;
    let (mut stream, _) = open(&gate, &asking("/ws", Some(&credential))).await;
    echoes(&mut stream, b"one").await;
    gate.cut.cancel();
    assert_eq!(ends(&mut stream).await, b"");
    assert_eq!(gate.settled(&credential).await, (0, 0, 1), "it was delivered with the 101");
}

/// A balance pays for what comes down, to the byte.
#[tokio::test]
async fn a_balance_pays_by_the_byte_and_no_further() {
    let (echo, origin) = (echo().await, Origin::start().await);
    let mut metered = before(&echo, &origin);
    metered.routes.clear();
    let sat = Msat::from_sat(1).expect("in range");
    let formula = Formula::compile("1 + response.bytes", Some(sat), Zero::Refuse).expect("a formula");
    let (rule, value) = (Rule::Formula(formula), Amount::Msat(sat));
    let offer =
        Offer { name: "balance".parse().expect("a name"), what: Offering::Balance { value, price: None } };
    metered.terms = Arc::new(Terms { rule, offers: vec![offer], ..Terms::free() });
    let gate = TestGate::with(vec![metered], patient()).await;
    let credential = gate.buy("/ws").await;
    let (mut stream, head) = open(&gate, &asking("/ws", Some(&credential))).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    echoes(&mut stream, &[b'x'; 100]).await;
    assert_eq!(gate.units(&credential).await.2, 0, "it is charged at its end");
    drop(stream);
    assert_eq!(gate.settled(&credential).await, (899, 0, 101));

    let (mut stream, _) = open(&gate, &asking("/ws", Some(&credential))).await;
    stream.write_all(&[b'y'; 2_000]).await.expect("sent");
    assert_eq!(ends(&mut stream).await, [b'y'; 898]);
    assert_eq!(gate.settled(&credential).await, (0, 0, 1_000));
    let (mut stream, head) = open(&gate, &asking("/ws", Some(&credential))).await;
    assert!(head.starts_with("HTTP/1.1 402 "), "{head}");
    drop(stream.shutdown().await);
    gate.audited().await;
}

#[tokio::test]
async fn an_unpaid_head_is_the_whole_answer() {
    let origin = Origin::start().await;
    let gate = TestGate::before(&origin).await;
    let reply = gate.ask(&head("GET", "/ws", &ASKS.replace("keep-alive, Upgrade", "Upgrade"))).await;
    assert_eq!((reply.status, reply.complete, origin.hits()), (402, true, 0));
}
