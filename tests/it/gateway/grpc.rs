//! gRPC through the gateway: messages framed by hand, trailers both ways, and what a failed call costs.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use tollhouse::catalog::{Service, Speaks};

use super::client::ask as ask_raw;
use super::http2::{Answer, ask, request, speak, speak_over};
use super::upstream::{Origin, Step};
use super::{Credential, PATIENCE, TestGate, head, patient, service};

/// A message with its prefix: not compressed, and its length.
fn message(text: &[u8]) -> Vec<u8> {
    let length = u32::try_from(text.len()).expect("small").to_be_bytes();
    [&[0], length.as_slice(), text].concat()
}

fn fields(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    lines
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect()
}

/// What a callee does.
#[derive(Clone, Debug)]
enum Play {
    /// Sends back the message, and behind it these.
    Echo(HeaderMap),
    /// Says only this.
    Only(HeaderMap),
    /// Sends without end.
    Endless,
    /// Sends one message and resets the stream.
    Break,
}

/// A call as it reached the upstream.
#[derive(Clone, Debug)]
struct Call {
    path: String,
    authority: String,
    headers: HeaderMap,
    body: Vec<u8>,
    trailers: HeaderMap,
    /// Which connection it came on, from 1.
    connection: usize,
}

/// A gRPC server over HTTP/2 without TLS.
struct Callee {
    address: SocketAddr,
    calls: watch::Receiver<Vec<Call>>,
    plays: Arc<Mutex<HashMap<String, Play>>>,
}

impl Callee {
    async fn start() -> Callee {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (seen, calls) = watch::channel(Vec::new());
        let plays = Arc::<Mutex<HashMap<String, Play>>>::default();
        let (tracker, seen, all) = (TaskTracker::new(), Arc::new(seen), Arc::clone(&plays));
        tracker.clone().spawn(async move {
            let mut number = 0;
            while let Ok((stream, _)) = listener.accept().await {
                number += 1;
                let (seen, all, inner) = (Arc::clone(&seen), Arc::clone(&all), tracker.clone());
                tracker.spawn(async move {
                    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        inner.spawn(answer(request, respond, Arc::clone(&seen), Arc::clone(&all), number));
                    }
                });
            }
        });
        Callee { address, calls, plays }
    }

    fn plays(&self, path: &str, play: Play) {
        self.plays.lock().expect("no test panics here").insert(path.to_owned(), play);
    }

    fn last(&self) -> Call {
        self.calls.borrow().last().expect("a call").clone()
    }

    /// What the gate sells of it.
    fn service(&self, origin: &Origin) -> Service {
        let mut service = service(origin);
        service.upstream.base = format!("http://{}/", self.address).parse().expect("a URL");
        service.upstream.speaks = Speaks::Two;
        service
    }
}

async fn answer(
    request: Request<h2::RecvStream>,
    mut respond: h2::server::SendResponse<Bytes>,
    seen: Arc<watch::Sender<Vec<Call>>>,
    plays: Arc<Mutex<HashMap<String, Play>>>,
    connection: usize,
) {
    let (head, mut up) = request.into_parts();
    let mut body = Vec::new();
    while let Some(Ok(data)) = up.data().await {
        let _ = up.flow_control().release_capacity(data.len());
        body.extend_from_slice(&data);
    }
    let trailers = up.trailers().await.ok().flatten().unwrap_or_default();
    let path = head.uri.path().to_owned();
    let authority = head.uri.authority().map(ToString::to_string).unwrap_or_default();
    let call = Call { path: path.clone(), authority, headers: head.headers, body, trailers, connection };
    let echo = Bytes::from(call.body.clone());
    seen.send_modify(|calls| calls.push(call));
    let play = plays.lock().expect("no test panics here").get(&path).cloned();
    let mut response = Response::new(());
    let kind = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert("content-type", kind);
    match play.unwrap_or_else(|| Play::Echo(fields(&[("grpc-status", "0")]))) {
        Play::Only(headers) => {
            response.headers_mut().extend(headers);
            let _ = respond.send_response(response, true);
        }
        Play::Echo(trailers) => {
            let Ok(mut down) = respond.send_response(response, false) else { return };
            if !echo.is_empty() {
                let _ = down.send_data(echo, false);
            }
            let _ = down.send_trailers(trailers);
        }
        Play::Endless => {
            let Ok(mut down) = respond.send_response(response, false) else { return };
            let piece = Bytes::from_static(&[7; 16 * 1024]);
            loop {
                down.reserve_capacity(piece.len());
                match std::future::poll_fn(|cx| down.poll_capacity(cx)).await {
                    Some(Ok(1..)) => {}
                    Some(Ok(0)) => continue,
                    _ => return,
                }
                let size = down.capacity().min(piece.len());
                if down.send_data(piece.slice(..size), false).is_err() {
                    return;
                }
            }
        }
        Play::Break => {
            let Ok(mut down) = respond.send_response(response, false) else { return };
            let _ = down.send_data(Bytes::from(message(b"one")), false);
            // Sent before the stream is gone.
            tokio::time::sleep(Duration::from_millis(50)).await;
            down.send_reset(h2::Reason::INTERNAL_ERROR);
        }
    }
}

/// Calls as a gRPC client does.
async fn call(
    sender: &mut SendRequest<Bytes>,
    path: &str,
    credential: Option<&Credential>,
    trailers: Option<HeaderMap>,
) -> Result<Answer, h2::Error> {
    let mut headers =
        vec![("content-type", "application/grpc+proto"), ("te", "trailers"), ("grpc-timeout", "5S")];
    if let Some(credential) = credential {
        headers.push(("authorization", &credential.header));
    }
    ask(sender, request("POST", path, &headers), &message(b"hello"), trailers).await
}

/// Pays what a gRPC answer asks for.
fn pay(gate: &TestGate, unpaid: &Answer) -> Credential {
    let challenge = tollhouse::l402::parse_challenge(unpaid.header("www-authenticate")).expect("readable");
    let invoice: lightning_invoice::Bolt11Invoice = challenge.invoice.parse().expect("an invoice");
    let hash = invoice.payment_hash().to_string().parse().expect("a hash");
    let header = tollhouse::l402::authorization(&challenge.macaroon_b64, &gate.minter.preimage(&hash));
    Credential { header, hash }
}

#[tokio::test]
async fn a_call_is_paid_for_and_its_trailers_pass_both_ways() {
    let (callee, origin) = (Callee::start().await, Origin::start().await);
    let gate = TestGate::with(vec![callee.service(&origin)], patient()).await;
    let mut sender = speak(gate.address).await;
    let unpaid = call(&mut sender, "/shop.Prices/Get", None, None).await.expect("an answer");
    assert_eq!((unpaid.status.as_u16(), unpaid.header("grpc-status")), (200, "13"), "{unpaid:?}");
    assert_eq!(unpaid.header("grpc-message"), "payment required");
    assert_eq!(unpaid.header("content-type"), "application/grpc+proto");
    assert_eq!(unpaid.header("cache-control"), "no-store");
    assert!(unpaid.header("www-authenticate").starts_with("L402 macaroon="));
    assert!(unpaid.body.is_empty() && unpaid.trailers.is_empty());
    assert!(callee.calls.borrow().is_empty());

    let credential = pay(&gate, &unpaid);
    callee.plays(
        "/shop.Prices/Get",
        Play::Echo(fields(&[("grpc-status", "0"), ("x-sum", "42"), ("x-tollhouse-unit", "restored")])),
    );
    let behind =
        fields(&[("x-checksum", "7"), ("authorization", "L402 a:b"), ("x-forwarded-for", "6.6.6.6")]);
    let paid =
        call(&mut sender, "/shop.Prices/Get", Some(&credential), Some(behind)).await.expect("an answer");
    assert_eq!((paid.status.as_u16(), paid.body.clone()), (200, message(b"hello")));
    assert_eq!((paid.trailer("grpc-status"), paid.trailer("x-sum")), ("0", "42"));
    assert_eq!(paid.trailer("x-tollhouse-unit"), "", "only we say what became of it");
    assert_eq!(gate.settled(&credential).await, (0, 0, 1));
    let seen = callee.last();
    assert_eq!((seen.path.as_str(), seen.body), ("/shop.Prices/Get", message(b"hello")));
    assert_eq!(seen.authority, callee.address.to_string());
    assert_eq!(seen.trailers, fields(&[("x-checksum", "7")]));
    assert_eq!(
        (&seen.headers["te"], &seen.headers["grpc-timeout"]),
        (&"trailers".parse().expect("text"), &"5S".parse().expect("text"))
    );
    for absent in ["authorization", "host", "connection", "transfer-encoding"] {
        assert!(!seen.headers.contains_key(absent), "{absent}");
    }

    let spent = call(&mut sender, "/shop.Prices/Get", Some(&credential), None).await.expect("an answer");
    assert_eq!((spent.header("grpc-status"), spent.header("x-tollhouse-code")), ("13", "spent"), "{spent:?}");
    assert_eq!(callee.calls.borrow().len(), 1);
    gate.audited().await;
}

/// THREATS 7: a call's own status counts as the HTTP status that it stands for.
#[tokio::test]
async fn a_failed_call_is_given_back_and_a_refused_one_is_not() {
    let (callee, origin) = (Callee::start().await, Origin::start().await);
    let gate = TestGate::with(vec![callee.service(&origin)], patient()).await;
    let mut sender = speak(gate.address).await;
    for (status, kept) in [
        ("0", false),
        ("1", false),
        ("2", true),
        ("3", false),
        ("4", false),
        ("5", false),
        ("8", false),
        ("12", true),
        ("13", true),
        ("14", true),
        ("15", true),
    ] {
        let units = if kept { (1, 0, 0) } else { (0, 0, 1) };
        let ends = HeaderMap::from_iter([(
            HeaderName::from_static("grpc-status"),
            HeaderValue::from_static(status),
        )]);
        for play in [Play::Only(ends.clone()), Play::Echo(ends.clone())] {
            let credential = gate.buy("/ok").await;
            callee.plays("/shop.Prices/Fail", play.clone());
            let answer =
                call(&mut sender, "/shop.Prices/Fail", Some(&credential), None).await.expect("an answer");
            assert_eq!(answer.status, 200);
            let told = [answer.header("grpc-status"), answer.trailer("grpc-status")];
            assert!(told.contains(&status), "{status} {play:?}: {answer:?}");
            assert_eq!(gate.settled(&credential).await, units, "{status} {play:?}");
            if matches!(play, Play::Only(_)) {
                assert_eq!(
                    answer.header("x-tollhouse-unit"),
                    if kept { "restored" } else { "spent" },
                    "{status}"
                );
            }
        }
    }
    // One that breaks off is given back as ever, and the connection goes on.
    let credential = gate.buy("/ok").await;
    callee.plays("/shop.Prices/Break", Play::Break);
    let broken = call(&mut sender, "/shop.Prices/Break", Some(&credential), None).await;
    assert!(broken.is_err(), "{broken:?}");
    assert_eq!(gate.settled(&credential).await, (1, 0, 0));
    let whole = call(&mut sender, "/shop.Prices/Get", Some(&credential), None).await.expect("an answer");
    assert_eq!(whole.body, message(b"hello"));
    gate.audited().await;
}

#[tokio::test]
async fn refusals_are_told_in_grpc() {
    let (callee, origin) = (Callee::start().await, Origin::start().await);
    let mut sold = callee.service(&origin);
    (sold.path, sold.routes) = ("/shop.Prices".to_owned(), Vec::new());
    let gate = TestGate::with(vec![sold], patient()).await;
    let mut sender = speak(gate.address).await;
    let told = |answer: &Answer| {
        assert_eq!(answer.status, 200);
        assert!(answer.body.is_empty());
        (answer.header("grpc-status").to_owned(), answer.header("x-tollhouse-code").to_owned())
    };
    let nowhere = call(&mut sender, "/other.Service/Get", None, None).await.expect("an answer");
    assert_eq!(told(&nowhere), ("12".to_owned(), "no_such_route".to_owned()));
    let broken =
        Credential { header: "L402 %%%:zz".to_owned(), hash: "00".repeat(32).parse().expect("a hash") };
    let malformed = call(&mut sender, "/shop.Prices/Get", Some(&broken), None).await.expect("an answer");
    assert_eq!(told(&malformed).0, "3", "{malformed:?}");
    assert!(!malformed.header("grpc-message").is_empty());

    let credential = gate.pay(&gate.get("/shop.Prices/Get", "").await);
    callee.plays("/shop.Prices/Endless", Play::Endless);
    let headers = [("content-type", "application/grpc"), ("authorization", credential.header.as_str())];
    let (held, _) =
        sender.send_request(request("POST", "/shop.Prices/Endless", &headers), true).expect("sent");
    let _held = tokio::time::timeout(PATIENCE, held).await.expect("in time").expect("a head");
    let in_use = call(&mut sender, "/shop.Prices/Get", Some(&credential), None).await.expect("an answer");
    assert_eq!(told(&in_use), ("10".to_owned(), "in_flight".to_owned()));
    assert_eq!(in_use.header("retry-after"), "1");
}

/// Many customers share one HTTP/2 connection to the upstream: who does not read keeps nobody else waiting.
#[tokio::test]
async fn slow_readers_do_not_stall_the_others() {
    let (callee, origin) = (Callee::start().await, Origin::start().await);
    let gate = TestGate::with(vec![callee.service(&origin)], patient()).await;
    callee.plays("/free/Endless", Play::Endless);
    let mut stuck = Vec::new();
    for _ in 0..40 {
        let stream = tokio::net::TcpStream::connect(gate.address).await.expect("the gate listens");
        let mut slow = speak_over(stream, 0).await;
        let (answer, _) = slow.send_request(request("POST", "/free/Endless", &[]), true).expect("sent");
        stuck.push((slow, tokio::time::timeout(PATIENCE, answer).await.expect("in time").expect("a head")));
    }
    let mut quick = speak(gate.address).await;
    for _ in 0..3 {
        let answer = call(&mut quick, "/free/Get", None, None).await.expect("an answer");
        assert_eq!(answer.body, message(b"hello"));
    }
    assert_eq!(callee.last().connection, 1, "over the same connection");
}

/// Over HTTP/1 too, when both sides announce them.
#[tokio::test]
async fn trailers_pass_both_ways_over_http_1() {
    let origin = Origin::start().await;
    let gate = TestGate::before(&origin).await;
    origin.script(
        "/trailed",
        vec![Step::say(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: X-Sum, X-Tollhouse-Left\r\n\r\n2\r\nok\r\n0\r\nx-sum: 42\r\nx-tollhouse-left: 9\r\n\r\n",
        )],
    );
    let credential = gate.buy("/ok").await;
    let lines = format!(
        "{}TE: trailers\r\nConnection: TE\r\nTransfer-Encoding: chunked\r\nTrailer: X-Checksum, Authorization\r\n",
        credential.line()
    );
    let body = "2\r\nhi\r\n0\r\nX-Checksum: 7\r\nAuthorization: L402 a:b\r\n\r\n";
    let request =
        head("POST", "/trailed", &lines).replace("Connection: close\r\n", "Connection: close, TE\r\n");
    let request = request.replace("Connection: TE\r\n", "") + body;
    let reply = ask_raw(gate.address, request.as_bytes()).await;
    assert_eq!((reply.status, reply.text().as_str(), reply.complete), (200, "ok", true), "{reply:?}");
    assert_eq!((reply.trailer("x-sum"), reply.trailer("x-tollhouse-left")), (Some("42"), None));
    let hit = origin.last();
    assert_eq!(
        (hit.header("te"), hit.header("trailer")),
        (vec!["trailers".to_owned()], vec!["x-checksum".to_owned()])
    );
    assert_eq!(origin.seen(|seen| seen.trailers.to_ascii_lowercase()), "x-checksum: 7\r\n");
    assert_eq!(gate.settled(&credential).await, (0, 0, 1));
}
