//! The upstream, in the process that is not killed: it counts what reaches it, by token.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

/// How the upstream shall behave; the customers say it in the query.
pub(super) const HOWS: [&str; 4] = ["fast", "slow", "long", "fail"];

/// Requests of one token.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Hits {
    /// That were answered with the goods.
    pub(super) served: u64,
    /// That were answered 500.
    pub(super) failed: u64,
}

type Counts = Arc<Mutex<HashMap<String, Hits>>>;

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
        self.counts.lock().expect("no test panics here").get(token).copied().unwrap_or_default()
    }

    /// All tokens' requests, and how many tokens there were.
    pub(super) fn total(&self) -> (Hits, usize) {
        let counts = self.counts.lock().expect("no test panics here");
        let sum = counts.values().fold(Hits::default(), |sum, hits| Hits {
            served: sum.served + hits.served,
            failed: sum.failed + hits.failed,
        });
        (sum, counts.len())
    }
}

/// Counts first: what the upstream saw is seen, whatever becomes of the answer.
async fn answer(State(counts): State<Counts>, Query(ask): Query<HashMap<String, String>>) -> Response {
    let (token, how) = (ask["token"].clone(), ask["how"].as_str());
    {
        let mut counts = counts.lock().expect("no test panics here");
        let hits = counts.entry(token).or_default();
        if how == "fail" { hits.failed += 1 } else { hits.served += 1 }
    }
    match how {
        "fail" => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        "long" => {
            // A body whose end comes later than its start.
            let parts = futures_util::stream::unfold(0u8, |part| async move {
                if part > 0 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                (part < 3).then_some((Ok::<_, std::io::Error>(Bytes::from_static(b"goods ")), part + 1))
            });
            Body::from_stream(parts).into_response()
        }
        _ => {
            if how == "slow" {
                tokio::time::sleep(Duration::from_millis(15)).await;
            }
            "goods".into_response()
        }
    }
}
