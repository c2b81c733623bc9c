//! The guard on outgoing calls, met by an attacker who owns a name, a server, or an address.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::IntoResponse;
use axum::routing::get;
use http::{HeaderMap, Method, StatusCode};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;
use tollhouse::egress::{Call, Egress, EgressFault, Range, Reach, Reply, Resolver, SystemResolver, Take};
use tollhouse::ports::BoxFuture;

/// Names that point where the test says, one answer after the other; the last one stays.
#[derive(Default)]
pub(crate) struct Names {
    answers: Mutex<VecDeque<Vec<IpAddr>>>,
    pub(crate) asked: AtomicUsize,
}

impl Names {
    pub(crate) fn of(answers: &[&[&str]]) -> Arc<Names> {
        let parse = |answer: &&[&str]| answer.iter().map(|ip| ip.parse().expect("an address")).collect();
        Arc::new(Names {
            answers: Mutex::new(answers.iter().map(parse).collect()),
            asked: AtomicUsize::new(0),
        })
    }
}

impl Resolver for Names {
    fn addresses<'a>(&'a self, _: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut answers = self.answers.lock().expect("no test panics here");
        let answer = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
        Box::pin(async move { answer.ok_or_else(|| io::Error::other("no such name")) })
    }
}

pub(crate) fn call(url: &str, reach: Reach) -> Call {
    Call {
        method: Method::GET,
        url: url.parse().expect("a URL"),
        reach,
        headers: HeaderMap::new(),
        body: Vec::new(),
        take: Take::Body(1_024),
        patience: Duration::from_secs(10),
    }
}

/// A server on the loopback that counts who came.
struct Target {
    port: u16,
    hits: Arc<AtomicUsize>,
    tasks: TaskTracker,
}

impl Target {
    async fn start() -> Target {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let (hits, tasks) = (Arc::<AtomicUsize>::default(), TaskTracker::new());
        let counts = Arc::clone(&hits);
        let redirect = |status: StatusCode| {
            move || async move { (status, [("location", format!("http://127.0.0.1:{port}/ok"))]).into_response() }
        };
        let endless = || async {
            let piece = || Ok::<_, io::Error>(bytes::Bytes::from_static(&[b'x'; 512]));
            Body::from_stream(futures_util::stream::repeat_with(piece))
        };
        let router = Router::new()
            .route("/ok", get(async || "fine"))
            .route("/302", get(redirect(StatusCode::FOUND)))
            .route("/307", get(redirect(StatusCode::TEMPORARY_REDIRECT)))
            .route("/endless", get(endless))
            .route("/stall", get(async || std::future::pending::<()>().await))
            .layer(axum::middleware::map_request(move |request: axum::extract::Request| {
                counts.fetch_add(1, Ordering::SeqCst);
                async { request }
            }));
        tasks.spawn(async move { axum::serve(listener, router).await });
        Target { port, hits, tasks }
    }

    fn hits(&self) -> usize {
        assert!(!self.tasks.is_empty(), "the server runs");
        self.hits.load(Ordering::SeqCst)
    }
}

async fn said(egress: &Egress, url: &str, reach: Reach) -> Result<Reply, EgressFault> {
    egress.call(call(url, reach)).await
}

#[track_caller]
fn forbidden(result: Result<Reply, EgressFault>, range: Range) {
    match result {
        Err(EgressFault::Forbidden { range: found, .. }) => assert_eq!(found, range),
        other => panic!("it was not refused: {other:?}"),
    }
}

#[tokio::test]
async fn inside_addresses_are_not_called_however_they_are_written() {
    let target = Target::start().await;
    let egress = Egress::new(Arc::new(SystemResolver)).expect("a client");
    let port = target.port;
    for host in ["127.0.0.1", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "localhost"] {
        forbidden(said(&egress, &format!("https://{host}:{port}/ok"), Reach::Public).await, Range::Loopback);
    }
    for never in
        ["http://169.254.169.254/latest/meta-data", "http://[::ffff:a9fe:a9fe]/", "http://[fe80::1]/"]
    {
        for reach in [Reach::Public, Reach::Private] {
            let url =
                if reach == Reach::Public { never.replace("http:", "https:") } else { never.to_owned() };
            let metadata = said(&egress, &url, reach).await;
            forbidden(metadata, Range::Never("link-local"));
        }
    }
    assert_eq!(target.hits(), 0);
    // The operator's word opens the loopback, and nothing else that is special.
    let reply = said(&egress, &format!("http://127.0.0.1:{port}/ok"), Reach::Private).await.expect("allowed");
    assert_eq!((reply.status, reply.body.as_slice()), (StatusCode::OK, b"fine".as_slice()));
    assert_eq!(target.hits(), 1);
}

#[tokio::test]
async fn a_name_that_points_inside_is_refused_and_a_change_of_mind_gains_nothing() {
    let target = Target::start().await;
    let port = target.port;
    let url = format!("https://rebinding.example:{port}/ok");
    // Public when it is saved, inside when it is called.
    let names = Names::of(&[&["93.184.216.34"], &["127.0.0.1"]]);
    let egress = Egress::new(names.clone()).expect("a client");
    egress.check(&url.parse().expect("a URL"), Reach::Public).await.expect("public at that moment");
    forbidden(said(&egress, &url, Reach::Public).await, Range::Loopback);
    assert_eq!(
        names.asked.load(Ordering::SeqCst),
        2,
        "one look-up for each: what was checked is what is used"
    );

    // An answer with one address inside is refused whole, in either order.
    for answer in [["93.184.216.34", "127.0.0.1"], ["127.0.0.1", "93.184.216.34"]] {
        let egress = Egress::new(Names::of(&[&answer])).expect("a client");
        forbidden(said(&egress, &url, Reach::Public).await, Range::Loopback);
    }
    for (inside, range) in [
        ("::ffff:10.0.0.1", Range::Private),
        ("fd12::1", Range::Private),
        ("100.64.0.1", Range::Private),
        ("0.0.0.0", Range::Never("this network")),
        ("169.254.169.254", Range::Never("link-local")),
    ] {
        let egress = Egress::new(Names::of(&[&[inside]])).expect("a client");
        forbidden(said(&egress, &url, Reach::Public).await, range);
    }
    let nobody = Egress::new(Names::of(&[])).expect("a client");
    assert_eq!(said(&nobody, &url, Reach::Public).await.err(), Some(EgressFault::NoAddress));
    assert_eq!(target.hits(), 0);

    // With leave, the name leads to the checked address.
    let egress = Egress::new(Names::of(&[&["127.0.0.1"], &["169.254.169.254"]])).expect("a client");
    let url = format!("http://rebinding.example:{port}/ok");
    assert_eq!(said(&egress, &url, Reach::Private).await.expect("allowed").status, StatusCode::OK);
    forbidden(said(&egress, &url, Reach::Private).await, Range::Never("link-local"));
    assert_eq!(target.hits(), 1, "no connection is kept from a name's earlier answer");
}

#[tokio::test]
async fn answers_are_bounded_and_lead_nowhere_else() {
    let target = Target::start().await;
    let egress = Egress::new(Arc::new(SystemResolver)).expect("a client");
    let url = |path: &str| format!("http://127.0.0.1:{}{path}", target.port);
    for (path, status) in [("/302", StatusCode::FOUND), ("/307", StatusCode::TEMPORARY_REDIRECT)] {
        let redirected = said(&egress, &url(path), Reach::Private).await.err();
        assert_eq!(redirected, Some(EgressFault::Redirected(status)));
    }
    assert_eq!(target.hits(), 2, "no redirect was followed");
    let endless = said(&egress, &url("/endless"), Reach::Private).await.err();
    assert_eq!(endless, Some(EgressFault::TooLarge(1_024)));
    let stalled = Call { patience: Duration::from_millis(200), ..call(&url("/stall"), Reach::Private) };
    assert_eq!(egress.call(stalled).await.err(), Some(EgressFault::TimedOut));
    let head = Call { take: Take::Status, ..call(&url("/endless"), Reach::Private) };
    assert_eq!(egress.call(head).await.expect("a head").body, b"");
}

#[tokio::test]
async fn nonsense_and_silence_are_faults() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let tasks = TaskTracker::new();
    tasks.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await;
        }
    });
    let egress = Egress::new(Arc::new(SystemResolver)).expect("a client");
    let nonsense = said(&egress, &format!("http://127.0.0.1:{port}/"), Reach::Private).await;
    assert!(matches!(nonsense, Err(EgressFault::Unreachable(_))), "{nonsense:?}");
    let nobody = said(&egress, "http://127.0.0.1:1/", Reach::Private).await;
    assert!(matches!(nobody, Err(EgressFault::Unreachable(_))), "{nobody:?}");
}
