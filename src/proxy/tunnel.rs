//! A WebSocket between a client and an upstream: bytes both ways, after the upstream's 101.
//!
//! Invariants: it begins only behind an upstream's 101 to a request that was paid for, or costs nothing, and
//! that asked for a WebSocket; nothing is read ahead that the other side has no room for; it ends when either
//! side does, when nothing moves for [`ProxyConfig::tunnel_idle`](super::ProxyConfig::tunnel_idle), when its
//! [`Fare`] says so, and at shutdown.

use std::future::pending;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::response::Response;
use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, UPGRADE};
use http::{Extensions, HeaderMap, HeaderValue, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use super::ProxyState;
use crate::metering::{Closing, Fare, Through};
use crate::request::CanonicalRequest;

/// So much is read at once of either side.
const PIECE: usize = 16 * 1024;

/// The client's side of a tunnel to be, with what its request takes up at its listener.
#[derive(Debug)]
pub(super) struct Entrance {
    client: OnUpgrade,
    _place: Extensions,
}

impl Entrance {
    /// What `extensions`, those of the client's request, have of one, if it asks for a WebSocket.
    pub(super) fn of(request: &CanonicalRequest, extensions: &mut Extensions) -> Option<Entrance> {
        if !request.wants_websocket() {
            return None;
        }
        let mut extensions = std::mem::take(extensions);
        let client = extensions.remove::<OnUpgrade>()?;
        Some(Entrance { client, _place: extensions })
    }
}

/// Both sides of a tunnel to be.
#[derive(Debug)]
pub(super) struct Passage {
    pub(super) entrance: Entrance,
    pub(super) upstream: OnUpgrade,
}

/// Whether an answer switches to what was asked for (RFC 6455 §4.2.2).
pub(super) fn is_websocket(status: StatusCode, headers: &HeaderMap) -> bool {
    let mut said = headers.get_all(UPGRADE).iter();
    status == StatusCode::SWITCHING_PROTOCOLS
        && said.next().is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
        && said.next().is_none()
}

impl ProxyState {
    /// Runs a tunnel once both sides have switched. `fare` pays for it, where it is not free; `cut` ends it.
    pub(super) fn open(&self, passage: Passage, fare: Option<Fare>, cut: CancellationToken) {
        let idle = self.config.tunnel_idle;
        self.tracker.spawn(async move {
            let Passage { entrance: Entrance { client, _place }, upstream } = passage;
            let mut fare = fare;
            let carried = async {
                let client = TokioIo::new(client.await.map_err(io::Error::other)?);
                let upstream = TokioIo::new(upstream.await.map_err(io::Error::other)?);
                carry(client, upstream, &mut fare, idle).await
            };
            let closed = tokio::select! {
                closed = carried => closed,
                // The fare is dropped as what it then is.
                () = cut.cancelled() => return,
            };
            let closing = closed.unwrap_or_else(|error| {
                tracing::debug!(%error, "a tunnel broke off");
                None
            });
            if let Some(fare) = fare {
                fare.end(closing);
            }
        });
    }
}

/// Carries bytes until the tunnel ends; gives why, when that was from here.
async fn carry<C, U>(
    client: C,
    upstream: U,
    fare: &mut Option<Fare>,
    idle: Duration,
) -> io::Result<Option<Closing>>
where
    C: AsyncRead + AsyncWrite,
    U: AsyncRead + AsyncWrite,
{
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_upstream, mut to_upstream) = tokio::io::split(upstream);
    let moved = AtomicU64::new(0);
    let mut up = pin!(async {
        let mut buffer = BytesMut::new();
        while let Some(data) = piece(&mut from_client, &mut buffer, &moved).await? {
            to_upstream.write_all(&data).await?;
            moved.fetch_add(1, Ordering::AcqRel);
        }
        to_upstream.shutdown().await
    });
    let mut still = pin!(async {
        loop {
            let before = moved.load(Ordering::Acquire);
            tokio::time::sleep(idle).await;
            if before == moved.load(Ordering::Acquire) {
                return;
            }
        }
    });
    let (mut buffer, mut up_ended) = (BytesMut::new(), false);
    loop {
        let data = tokio::select! {
            data = piece(&mut from_upstream, &mut buffer, &moved) => data?,
            closing = closing(fare) => return Ok(Some(closing)),
            ended = &mut up, if !up_ended => {
                ended?;
                up_ended = true;
                continue;
            }
            () = &mut still => return Ok(None),
        };
        let Some(data) = data else {
            // A WebSocket has said its close by now: nobody reads what is still to come from the client.
            to_client.shutdown().await?;
            return Ok(None);
        };
        let through = match fare {
            Some(fare) => fare.pass(data),
            None => Through::Open(data),
        };
        let (data, last) = match through {
            Through::Open(data) => (data, false),
            Through::Last(data) => (data, true),
        };
        let mut given = pin!(async {
            to_client.write_all(&data).await?;
            to_client.flush().await
        });
        loop {
            tokio::select! {
                given = &mut given => break given?,
                closing = closing(fare) => return Ok(Some(closing)),
                ended = &mut up, if !up_ended => {
                    ended?;
                    up_ended = true;
                }
                () = &mut still => return Ok(None),
            }
        }
        moved.fetch_add(1, Ordering::AcqRel);
        if last {
            return Ok(Some(Closing::UsedUp));
        }
    }
}

/// The next bytes of a side; `None` when it has ended.
async fn piece<S: AsyncRead + Unpin>(
    side: &mut S,
    buffer: &mut BytesMut,
    moved: &AtomicU64,
) -> io::Result<Option<Bytes>> {
    buffer.reserve(PIECE);
    let length = side.read_buf(buffer).await?;
    moved.fetch_add(1, Ordering::AcqRel);
    Ok((length > 0).then(|| buffer.split().freeze()))
}

async fn closing(fare: &mut Option<Fare>) -> Closing {
    match fare {
        None => pending().await,
        Some(fare) => fare.closing().await,
    }
}

/// The client's 101.
pub(super) fn switched(mut headers: HeaderMap) -> Response {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    let mut response = Response::new(axum::body::Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() = headers;
    response
}
