//! HTTP/2 on the gateway, in the clear: what it buys, what is refused, and what no client can hold.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Request, StatusCode};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;
use tollhouse::app::listener::{Ending, Front, Versions, Waits, serve};
use tollhouse::proxy::{ProxyState, router};

use super::upstream::Origin;
use super::{CONNECTIONS, PATIENCE, TestGate, patient, service};

/// What came back on one stream.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    pub(super) trailers: HeaderMap,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().expect("text")).unwrap_or_default()
    }

    pub(super) fn trailer(&self, name: &str) -> &str {
        self.trailers.get(name).map(|value| value.to_str().expect("text")).unwrap_or_default()
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }
}

/// An HTTP/2 client on `stream`; `window` is what it takes of each answer before it asks for more.
pub(super) async fn speak_over<S>(stream: S, window: u32) -> SendRequest<Bytes>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = h2::client::Builder::new()
        .initial_window_size(window)
        .initial_connection_window_size(1 << 20)
        .handshake(stream)
        .await
        .expect("HTTP/2");
    TaskTracker::new().spawn(connection);
    sender.ready().await.expect("a stream")
}

pub(super) async fn speak(address: SocketAddr) -> SendRequest<Bytes> {
    speak_over(TcpStream::connect(address).await.expect("the gate listens"), 1 << 16).await
}

pub(super) fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::builder().method(method).uri(format!("http://api.example{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).expect("a request")
}

/// Asks and reads to the end; the error is what ended the stream.
pub(super) async fn ask(
    sender: &mut SendRequest<Bytes>,
    request: Request<()>,
    body: &[u8],
    trailers: Option<HeaderMap>,
) -> Result<Answer, h2::Error> {
    let talk = async {
        let ended = body.is_empty() && trailers.is_none();
        let (answer, mut up) = sender.send_request(request, ended)?;
        if !body.is_empty() {
            up.send_data(Bytes::copy_from_slice(body), trailers.is_none())?;
        }
        if let Some(trailers) = trailers {
            up.send_trailers(trailers)?;
        }
        read(answer).await
    };
    tokio::time::timeout(PATIENCE, talk).await.expect("an answer in time")
}

pub(super) async fn read(answer: h2::client::ResponseFuture) -> Result<Answer, h2::Error> {
    let (head, mut down) = answer.await?.into_parts();
    let mut body = Vec::new();
    while let Some(data) = down.data().await {
        let data = data?;
        body.extend_from_slice(&data);
        down.flow_control().release_capacity(data.len())?;
    }
    let trailers = down.trailers().await?.unwrap_or_default();
    Ok(Answer { status: head.status, headers: head.headers, body, trailers })
}

/// The same gate behind another listener, with its own waits.
pub(super) async fn front(gate: &TestGate, waits: Waits) -> (SocketAddr, Ending) {
    front_over(gate, waits, None).await
}

/// The same, perhaps over TLS.
pub(super) async fn front_over(
    gate: &TestGate,
    waits: Waits,
    tls: Option<Arc<rustls::ServerConfig>>,
) -> (SocketAddr, Ending) {
    let tracker = TaskTracker::new();
    let state = ProxyState::new(gate.checkout.clone(), patient(), tracker.clone()).expect("TLS settings");
    let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = tcp.local_addr().expect("an address");
    let ending = Ending::default();
    let front = Front { waits, tls, ..Front::new(tcp, router(state), CONNECTIONS, Versions::OneAndTwo) };
    tracker.spawn(serve(front, ending.clone(), tracker.clone()));
    (address, ending)
}

#[tokio::test]
async fn it_buys_and_is_served_beside_http_1() {
    let origin = Origin::start().await;
    let gate = TestGate::before(&origin).await;
    let mut sender = speak(gate.address).await;
    let unpaid = ask(&mut sender, request("GET", "/ok", &[]), b"", None).await.expect("an answer");
    assert_eq!(unpaid.status, 402);
    assert!(unpaid.header("www-authenticate").starts_with("L402 macaroon="), "{unpaid:?}");
    assert_eq!(unpaid.json()["priceSats"], 10);
    assert_eq!(origin.hits(), 0);

    let credential = gate.buy("/ok").await;
    let headers = [("authorization", credential.header.as_str()), ("cookie", "a=b"), ("cookie", "c=d")];
    let paid =
        ask(&mut sender, request("POST", "/ok?x=1", &headers), b"body", None).await.expect("an answer");
    assert_eq!((paid.status.as_u16(), paid.body.as_slice()), (200, b"ok".as_slice()), "{paid:?}");
    assert_eq!(paid.header("cache-control"), "private, no-store");
    assert_eq!(gate.settled(&credential).await, (0, 0, 1));
    let hit = origin.last();
    assert_eq!(hit.line(), "POST /ok?x=1 HTTP/1.1");
    assert_eq!(hit.header("cookie"), ["a=b; c=d"]);
    assert_eq!(hit.header("x-forwarded-host"), ["api.example"]);
    assert!(hit.header("authorization").is_empty());
    assert_eq!(origin.seen(|seen| seen.bodies.last().cloned()), Some(b"body".to_vec()));

    let again = ask(&mut sender, request("GET", "/ok", &headers[..1]), b"", None).await.expect("an answer");
    assert_eq!((again.status.as_u16(), again.json()["code"].as_str()), (402, Some("spent")));
    gate.audited().await;
}

/// THREATS 1, over one connection.
#[tokio::test]
async fn sixty_four_streams_share_one_credit_once() {
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![service(&origin)], patient()).await;
    let credential = gate.buy("/ok").await;
    let sender = speak(gate.address).await;
    let asked = (0..64).map(|_| {
        let request = request("GET", "/gated", &[("authorization", &credential.header)]);
        sender.clone().send_request(request, true).expect("sent").0
    });
    let answers: Vec<_> = asked.collect();
    origin.until(|seen| seen.hits.len() == 1).await;
    origin.shared.gate.notify_one();
    let mut statuses = Vec::new();
    for answer in answers {
        let answer = tokio::time::timeout(PATIENCE, answer).await.expect("in time").expect("an answer");
        statuses.push(answer.status().as_u16());
    }
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| matches!(status, 200 | 402 | 409)), "{statuses:?}");
    assert_eq!((gate.settled(&credential).await, origin.hits()), ((0, 0, 1), 1));
    gate.audited().await;
}

/// THREATS 8 and 9.
#[tokio::test]
async fn what_is_not_clean_is_refused() {
    let origin = Origin::start().await;
    let gate = TestGate::before(&origin).await;
    let mut sender = speak(gate.address).await;
    for (uri, host, code) in [
        ("http://api.example/free/../ok", None, "bad_path"),
        ("http://api.example//ok", None, "bad_path"),
        ("http://api.example/%2e%2e/ok", None, "bad_path"),
        ("http://api.example/free/ok", Some("other.example"), "bad_host"),
        ("http://user@api.example/free/ok", None, "bad_host"),
        ("http://user@api.example/free/ok", Some("api.example"), "bad_host"),
    ] {
        let mut request = Request::builder().uri(uri);
        if let Some(host) = host {
            request = request.header("host", host);
        }
        let answer =
            ask(&mut sender, request.body(()).expect("a request"), b"", None).await.expect("an answer");
        assert_eq!(
            (answer.status.as_u16(), answer.json()["code"].as_str()),
            (400, Some(code)),
            "{uri} {host:?}"
        );
    }
    let same = Request::builder().uri("http://api.example/free/ok").header("host", "api.example");
    let answer = ask(&mut sender, same.body(()).expect("a request"), b"", None).await.expect("an answer");
    assert_eq!((answer.status.as_u16(), origin.hits()), (200, 1));
    let odd = ask(&mut sender, request("TRACE", "/free/ok", &[]), b"", None).await.expect("an answer");
    assert_eq!(odd.status, 405);
    assert_eq!(origin.hits(), 1);
}

/// A frame's kind, flags, stream and payload.
type Seen = (u8, u8, u32, Vec<u8>);

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("small").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header block, each field in plain letters.
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| {
        let length = text.len();
        assert!(length < 0x4000, "two bytes are enough here");
        let prefix = if length < 127 {
            vec![u8::try_from(length).expect("small")]
        } else {
            let rest = length - 127;
            let low = u8::try_from(rest % 128).expect("small");
            let high = u8::try_from(rest / 128).expect("small");
            vec![127, 0x80 | low, high]
        };
        [prefix, text.as_bytes().to_vec()].concat()
    };
    fields.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect()
}

/// Begins a connection and says `frames`.
async fn say(address: SocketAddr, frames: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("the gate listens");
    let begin =
        [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &frame(SETTINGS, 0, 0, b""), frames].concat();
    stream.write_all(&begin).await.expect("the gate reads");
    stream
}

/// The next frame that is one of `kinds`; `None` when the connection ended.
async fn hear(stream: &mut TcpStream, kinds: &[u8]) -> Option<Seen> {
    let hear = async {
        loop {
            let mut head = [0u8; 9];
            stream.read_exact(&mut head).await.ok()?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; usize::try_from(length).expect("small")];
            stream.read_exact(&mut payload).await.ok()?;
            let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            if kinds.contains(&head[3]) {
                return Some((head[3], head[4], id, payload));
            }
        }
    };
    tokio::time::timeout(PATIENCE, hear).await.expect("a frame or the end in time")
}

const GOOD: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":authority", "api.example"), (":path", "/free/ok")];

/// THREATS 11 and 12: what HTTP/2 forbids ends the stream or the connection, and nobody hears of it.
#[tokio::test]
async fn malformed_frames_reach_nobody() {
    let origin = Origin::start().await;
    let gate = TestGate::before(&origin).await;
    let with = |more: &[(&'static str, &'static str)]| [GOOD.as_slice(), more].concat();
    let big = "x".repeat(16_000).leak();
    for fields in [
        with(&[("connection", "close")]),
        with(&[("connection", "host")]),
        with(&[("transfer-encoding", "chunked")]),
        with(&[("upgrade", "websocket")]),
        with(&[("keep-alive", "1")]),
        with(&[("te", "gzip")]),
        with(&[("X-Upper", "1")]),
        with(&[("x-line", "a\r\nx: b")]),
        with(&[("x-null", "a\0b")]),
        with(&[(":path", "/free/other")]),
        with(&[("content-length", "x")]),
        GOOD[..3].to_vec(),
        GOOD[1..].to_vec(),
        [&[("x", "y")], GOOD.as_slice()].concat(),
        [&GOOD[..3], &[(":path", "")]].concat(),
        [&GOOD[..3], &[(":path", "free/ok")]].concat(),
    ] {
        let mut stream = say(gate.address, &frame(HEADERS, 5, 1, &block(&fields))).await;
        match hear(&mut stream, &[HEADERS, RESET, GOAWAY]).await {
            None | Some((RESET | GOAWAY, ..)) => {}
            // Taken for a request and refused as one; 0x88 would be HPACK's 200.
            Some((HEADERS, _, _, payload)) => assert_ne!(payload.first(), Some(&0x88), "{fields:?}"),
            other => panic!("{fields:?}: {other:?}"),
        }
        assert_eq!(origin.hits(), 0, "{fields:?}");
    }
    // A head that is too large, in as many pieces as it takes.
    let mut frames = frame(HEADERS, 1, 1, &block(&GOOD));
    for _ in 0..8 {
        frames.extend(frame(CONTINUATION, 0, 1, &block(&[("x-big", big)])));
    }
    let mut stream = say(gate.address, &frames).await;
    let _ = stream.write_all(&frame(CONTINUATION, 4, 1, b"")).await;
    let ended = hear(&mut stream, &[HEADERS, RESET, GOAWAY]).await;
    assert!(!matches!(&ended, Some((HEADERS, _, _, payload)) if payload.first() == Some(&0x88)), "{ended:?}");
    assert_eq!(origin.hits(), 0);
}

/// A body that is not as long as it says never reaches the upstream as whole.
#[tokio::test]
async fn a_body_that_lies_about_its_length_is_broken() {
    let origin = Origin::start().await;
    let gate = TestGate::before(&origin).await;
    for body in [b"".as_slice(), b"12", b"1234"] {
        let fields = [&[(":method", "POST")], &GOOD[1..], &[("content-length", "3")]].concat();
        let frames = [frame(HEADERS, 4, 1, &block(&fields)), frame(DATA, 1, 1, body)].concat();
        let mut stream = say(gate.address, &frames).await;
        let answer = hear(&mut stream, &[HEADERS, RESET, GOAWAY]).await;
        let served = matches!(&answer, Some((HEADERS, _, _, payload)) if payload.first() == Some(&0x88));
        assert!(!served, "{body:?}: {answer:?}");
        assert_eq!(origin.seen(|seen| seen.bodies.len()), 0, "{body:?}");
    }
}

/// CVE-2023-44487: streams that are opened and reset at once.
#[tokio::test]
async fn rapid_resets_end_the_connection() {
    let origin = Origin::start().await;
    let gate = TestGate::before(&origin).await;
    let mut frames = Vec::new();
    for id in (1..4_000u32).step_by(2) {
        frames.extend(frame(HEADERS, 5, id, &block(&GOOD)));
        frames.extend(frame(RESET, 0, id, &8u32.to_be_bytes()));
    }
    let mut stream = TcpStream::connect(gate.address).await.expect("the gate listens");
    let begin =
        [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &frame(SETTINGS, 0, 0, b""), &frames].concat();
    let _ = stream.write_all(&begin).await;
    let (_, _, _, payload) = hear(&mut stream, &[GOAWAY]).await.expect("it is told to go away");
    assert_eq!(payload[4..8], 11u32.to_be_bytes(), "ENHANCE_YOUR_CALM");
    assert!(origin.hits() < 500, "{} of 2000", origin.hits());
}

/// A client that gives one answer no window, while it takes another, does not hold it for ever.
#[tokio::test]
async fn an_answer_that_is_not_taken_is_ended_and_the_others_are_not() {
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![service(&origin)], patient()).await;
    let waits = Waits { read: Duration::from_millis(300), ..Waits::default() };
    let (address, _ending) = front(&gate, waits).await;
    let (slow, quick) = (gate.buy("/ok").await, gate.buy("/ok").await);
    let stream = TcpStream::connect(address).await.expect("the gate listens");
    let mut sender = speak_over(stream, 20_000).await;
    let asked = request("GET", "/endless", &[("authorization", &slow.header)]);
    let (stuck, _) = sender.send_request(asked, true).expect("sent");
    let stuck = stuck.await.expect("a head");
    let asked = request("GET", "/stepwise", &[("authorization", &quick.header)]);
    let (taken, _) = sender.send_request(asked, true).expect("sent");
    assert_eq!(gate.settled(&slow).await, (0, 0, 1), "who does not take what came has used the unit");
    origin.until(|seen| seen.broken == 1).await;
    let mut body = stuck.into_body();
    let mut got = 0;
    let ended = loop {
        match body.data().await {
            Some(Ok(data)) => got += data.len(),
            Some(Err(error)) => break error,
            None => panic!("an endless answer ended"),
        }
    };
    assert!(ended.is_reset(), "{ended:?}");
    assert!(got <= 20_000);
    // The other is as slow as its upstream, which is nobody's fault.
    origin.shared.gate.notify_one();
    let answer = tokio::time::timeout(PATIENCE, read(taken)).await.expect("in time").expect("whole");
    assert_eq!(answer.body, b"firstsecond");
    gate.audited().await;
}

/// Back-pressure: what the client does not take, the upstream cannot write.
#[tokio::test]
async fn a_slow_reader_slows_the_upstream() {
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![service(&origin)], patient()).await;
    let credential = gate.buy("/ok").await;
    let mut sender = speak(gate.address).await;
    let asked = request("GET", "/endless", &[("authorization", &credential.header)]);
    let (answer, _) = sender.send_request(asked, true).expect("sent");
    let _answer = answer.await.expect("a head");
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
    assert_eq!(gate.units(&credential).await, (0, 1, 0));
}

/// A stream that its client resets ends its own request and no other.
#[tokio::test]
async fn a_reset_ends_the_upstream_s_work() {
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![service(&origin)], patient()).await;
    let credential = gate.buy("/ok").await;
    let mut sender = speak(gate.address).await;
    let asked = request("GET", "/silent", &[("authorization", &credential.header)]);
    let (answer, mut up) = sender.send_request(asked, true).expect("sent");
    origin.until(|seen| seen.hits.len() == 1).await;
    up.send_reset(h2::Reason::CANCEL);
    drop(answer);
    origin.until(|seen| seen.broken == 1).await;
    assert_eq!(gate.settled(&credential).await, (0, 0, 1));
    let other = ask(&mut sender, request("GET", "/free/ok", &[]), b"", None).await.expect("an answer");
    assert_eq!(other.status, 200);
    gate.audited().await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_a_busy_one_is_not() {
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![service(&origin)], patient()).await;
    let waits = Waits { idle: Duration::from_millis(200), ..Waits::default() };
    let (address, _ending) = front(&gate, waits).await;
    let mut idle = say(address, b"").await;
    let mut sender = speak(address).await;
    let (busy, _) = sender.send_request(request("GET", "/free/gated", &[]), true).expect("sent");
    assert!(hear(&mut idle, &[GOAWAY]).await.is_some(), "it is told");
    assert!(hear(&mut idle, &[HEADERS]).await.is_none(), "it is closed");
    origin.shared.gate.notify_one();
    let answer = tokio::time::timeout(PATIENCE, read(busy)).await.expect("in time").expect("whole");
    assert_eq!(answer.body, b"ok");
}

#[tokio::test]
async fn a_drain_ends_the_connection_after_its_requests() {
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![service(&origin)], patient()).await;
    let (address, ending) = front(&gate, Waits::default()).await;
    let credential = gate.buy("/ok").await;
    let mut sender = speak(address).await;
    let asked = request("GET", "/gated", &[("authorization", &credential.header)]);
    let (answer, _) = sender.send_request(asked, true).expect("sent");
    origin.until(|seen| seen.hits.len() == 1).await;
    ending.drain.cancel();
    origin.shared.gate.notify_one();
    let answer = tokio::time::timeout(PATIENCE, read(answer)).await.expect("in time").expect("whole");
    assert_eq!((answer.status.as_u16(), answer.body.as_slice()), (200, b"ok".as_slice()));
    assert_eq!(gate.settled(&credential).await, (0, 0, 1));
    let refused = async {
        while sender.clone().ready().await.is_ok() {
            tokio::task::yield_now().await
        }
    };
    tokio::time::timeout(PATIENCE, refused).await.expect("no more streams");
}

/// A preface that never comes whole does not keep a place.
#[tokio::test]
async fn half_a_preface_is_not_waited_for() {
    let origin = Origin::start().await;
    let gate = TestGate::before(&origin).await;
    let waits = Waits { head: Duration::from_millis(200), ..Waits::default() };
    let (address, _ending) = front(&gate, waits).await;
    for text in [b"".as_slice(), b"PRI * HT"] {
        let mut stream = TcpStream::connect(address).await.expect("the gate listens");
        stream.write_all(text).await.expect("sent");
        let mut rest = Vec::new();
        let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("it is closed");
        assert!(read.is_err() || rest.is_empty() || rest.starts_with(b"HTTP/1.1 4"), "{rest:?}");
    }
}
