//! Debian's Caddy in front of an API, with Tollhouse deciding.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use reqwest::StatusCode;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::caddy::Caddy;
use super::{Asked, problem_code};

/// What Caddy is told, as the README says it.
pub(crate) fn site(forward_auth: &str, upstream: &str) -> String {
    format!(
        "	forward_auth {forward_auth} {{
		uri /forward-auth
		header_up X-Tollhouse-Key {{env.TOLLHOUSE_KEY}}
		copy_headers X-Tollhouse-Unit X-Tollhouse-Payment-Hash X-Tollhouse-Amount-Msat X-Tollhouse-Left X-Tollhouse-Service X-Tollhouse-Route
	}}
	reverse_proxy {upstream} {{
		header_up -Authorization
	}}"
    )
}

/// A request as the API behind saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) uri: String,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// An API that notes what reaches it.
pub(crate) struct Behind {
    pub(crate) address: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    _stop: DropGuard,
}

impl Behind {
    pub(crate) async fn start() -> Behind {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let (seen, stop) = (Arc::<Mutex<Vec<Seen>>>::default(), CancellationToken::new());
        let router = Router::new().fallback(note).with_state(Arc::clone(&seen));
        let served = axum::serve(listener, router).with_graceful_shutdown(stop.clone().cancelled_owned());
        TaskTracker::new().spawn(served.into_future());
        Behind { address, seen, _stop: stop.drop_guard() }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("not poisoned").clone()
    }
}

async fn note(State(seen): State<Arc<Mutex<Vec<Seen>>>>, request: Request<Body>) -> &'static str {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.expect("a body").to_vec();
    let (method, uri) = (parts.method.to_string(), parts.uri.to_string());
    seen.lock().expect("not poisoned").push(Seen { method, uri, headers: parts.headers, body });
    "delivered"
}

async fn text(response: reqwest::Response) -> (StatusCode, String) {
    (response.status(), response.text().await.expect("a body"))
}

#[tokio::test]
async fn caddy_forwards_what_was_paid_and_nothing_else() {
    let (asked, behind) = (Asked::start().await, Behind::start().await);
    let caddy = Caddy::start(&site(&asked.address.to_string(), &behind.address), &asked.key).await;
    let http = &asked.app.client;
    let ask = |path: &str| http.post(caddy.url(path)).body("the customer's body");

    // Unpaid: the 402 passes through whole, and nothing reaches the API.
    let unpaid = ask("/a?b=c").send().await.expect("an answer");
    assert_eq!(unpaid.headers()["content-type"], "application/problem+json");
    let (token, hash) = asked.pay(unpaid).await;
    assert_eq!(behind.seen().len(), 0);

    // Paid: forwarded once, with the verdict in place of what the customer claims.
    let paid = ask("/a?b=c")
        .header("authorization", &token)
        .header("x-tollhouse-unit", "mine")
        .header("x-tollhouse-left", "1000000")
        .header("x-tollhouse-key", "tollhouse_guess");
    let delivered = text(paid.send().await.expect("an answer")).await;
    assert_eq!(delivered, (StatusCode::OK, "delivered".to_owned()), "{}", caddy.log());
    let seen = behind.seen();
    assert_eq!(seen.len(), 1);
    let [Seen { method, uri, headers, body }] = &seen[..] else { panic!("one request") };
    assert_eq!((method.as_str(), uri.as_str()), ("POST", "/a?b=c"));
    assert_eq!(body, b"the customer's body");
    let said =
        |name: &str| headers.get_all(name).iter().map(|v| v.to_str().expect("text")).collect::<Vec<_>>();
    assert_eq!(said("x-tollhouse-unit"), ["spent"]);
    assert_eq!(said("x-tollhouse-payment-hash"), [hash.to_hex()]);
    assert_eq!(said("x-tollhouse-left"), ["0"]);
    assert!(said("authorization").is_empty(), "the credential ends at the proxy");
    assert_eq!(asked.units(hash).await, (0, 0, 1));

    // Again: a fresh challenge.
    let again = ask("/a?b=c").header("authorization", &token).send().await.expect("an answer");
    let body: Value = again.json().await.expect("JSON");
    assert_eq!((&body["status"], &body["code"]), (&402.into(), &"spent".into()));
    assert_ne!(body["paymentHash"], hash.to_hex());

    // Free: forwarded, and what the customer claims is overwritten all the same.
    let free = http.get(caddy.url("/free")).header("x-tollhouse-unit", "spent").send().await;
    assert_eq!(text(free.expect("an answer")).await.0, StatusCode::OK);
    assert_eq!(behind.seen()[1].headers["x-tollhouse-unit"], "none");
    asked.books_balance().await;
}

#[tokio::test]
async fn behind_caddy_nobody_passes_unpaid() {
    let (asked, behind) = (Asked::start().await, Behind::start().await);
    let caddy = Caddy::start(&site(&asked.address.to_string(), &behind.address), &asked.key).await;
    let http = &asked.app.client;
    let (token, hash) = asked.buy("/a").await;
    // Through Caddy, a customer's claims about method, path, host and address.
    for (name, value) in [
        ("x-forwarded-uri", "/free"),
        ("x-forwarded-method", "OPTIONS"),
        ("x-forwarded-host", "elsewhere.example"),
        ("x-original-url", "/free"),
        ("x-http-method-override", "GET"),
        ("x-tollhouse-key", "tollhouse_guess"),
        ("connection", "x-forwarded-uri"),
        ("connection", "x-tollhouse-key"),
    ] {
        let claimed = http.get(caddy.url("/dear")).header(name, value).header("authorization", &token);
        let (status, code) = problem_code(claimed.send().await.expect("an answer")).await;
        assert!(matches!(status, 400 | 402), "{name}: {status} {code}");
    }
    let raw = [
        "/free/../dear",
        "//dear",
        "/free/%2e%2e/dear",
        "/free/..%2fdear",
        "/free;/../dear",
        "/free\\..\\dear",
    ];
    for path in raw {
        let answer = crate::forward_auth::raw(caddy.address, path).await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{path}: {answer}");
    }
    assert_eq!(behind.seen().len(), 0, "{:?}", behind.seen());
    assert_eq!(asked.units(hash).await, (0, 0, 0), "nothing was charged");

    // A wrong key in Caddy: everybody is shut out, even from what is free.
    let closed = Caddy::start(&site(&asked.address.to_string(), &behind.address), "tollhouse_wrong").await;
    let answer = http.get(closed.url("/free")).send().await.expect("an answer");
    assert_eq!(problem_code(answer).await, (403, "unknown_proxy".to_owned()));
    assert_eq!(behind.seen().len(), 0);
}
