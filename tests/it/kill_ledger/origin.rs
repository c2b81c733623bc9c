//! The upstream, in the process that is not killed: it counts what reaches it, by token.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, Uri};
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

/// How the upstream shall behave; the customers say it in the query.
pub(super) const HOWS: [&str; 4] = ["fast", "slow", "long", "fail"];

/// Bytes of a metered stream, which comes in three parts.
pub(super) const STREAM_BYTES: u64 = 900;
const PART: usize = 300;

/// Requests of one token.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Hits {
    /// That were answered with the goods.
    pub(super) served: u64,
    /// That were answered with a metered stream.
    pub(super) streams: u64,
    /// That were answered 500.
    pub(super) failed: u64,
}

impl Hits {
    /// That were not answered 500.
    pub(super) fn answered(&self) -> u64 {
        self.served + self.streams
    }
}

#[derive(Debug, Default)]
struct Seen {
    tokens: HashMap<String, Hits>,
    /// Requests that were not answered 500, by token and limited copy of it.
    copies: HashMap<(String, String), u64>,
}

type Counts = Arc<Mutex<Seen>>;

#[derive(Debug)]
pub(super) struct Origin {
    pub(super) address: SocketAddr,
    counts: Counts,
}

impl Origin {
    pub(super) async fn start() -> Origin {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let counts = Counts::default();
        let router = Router::new().fallback(answer).with_state(Arc::clone(&counts));
        TaskTracker::new().spawn(async move { axum::serve(listener, router).await });
        Origin { address, counts }
    }

    pub(super) fn hits(&self, token: &str) -> Hits {
        self.counts.lock().expect("no test panics here").tokens.get(token).copied().unwrap_or_default()
    }

    /// Requests of a limited copy that were not answered 500.
    pub(super) fn of_copy(&self, token: &str, copy: &str) -> u64 {
        let counts = self.counts.lock().expect("no test panics here");
        counts.copies.get(&(token.to_owned(), copy.to_owned())).copied().unwrap_or(0)
    }

    /// All tokens' requests, and how many tokens there were.
    pub(super) fn total(&self) -> (Hits, usize) {
        let counts = self.counts.lock().expect("no test panics here");
        let sum = counts.tokens.values().fold(Hits::default(), |sum, hits| Hits {
            served: sum.served + hits.served,
            streams: sum.streams + hits.streams,
            failed: sum.failed + hits.failed,
        });
        (sum, counts.tokens.len())
    }
}

/// Counts first: what the upstream saw is seen, whatever becomes of the answer.
async fn answer(
    State(counts): State<Counts>,
    uri: Uri,
    Query(ask): Query<HashMap<String, String>>,
) -> Response {
    let metered = uri.path() == super::child::STREAM;
    let (token, how) = (ask["token"].clone(), ask["how"].as_str());
    {
        let mut counts = counts.lock().expect("no test panics here");
        if let (true, Some(copy)) = (how != "fail", ask.get("copy")) {
            *counts.copies.entry((token.clone(), copy.clone())).or_default() += 1;
        }
        let hits = counts.tokens.entry(token).or_default();
        match how {
            "fail" => hits.failed += 1,
            _ if metered => hits.streams += 1,
            _ => hits.served += 1,
        }
    }
    match how {
        "fail" => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        _ if metered => parts(&[b'm'; PART]),
        "long" => parts(b"goods "),
        _ => {
            if how == "slow" {
                tokio::time::sleep(Duration::from_millis(15)).await;
            }
            "goods".into_response()
        }
    }
}

/// A body whose end comes later than its start: three times the same.
fn parts(part: &'static [u8]) -> Response {
    let parts = futures_util::stream::unfold(0u8, move |number| async move {
        if number > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        (number < 3).then_some((Ok::<_, std::io::Error>(Bytes::from_static(part)), number + 1))
    });
    Body::from_stream(parts).into_response()
}
