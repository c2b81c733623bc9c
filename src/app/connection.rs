//! One client's connection, in whichever HTTP it speaks, from its first byte to its end.
//!
//! What an HTTP/2 client may take is bounded: [`STREAMS`] at once, a small window for what it uploads, a
//! head of [`HEAD_BYTES`], few streams that it opens and resets (hyper and h2 count them and close the
//! connection: "rapid reset"). One that answers no ping, or carries no request for a while, is closed.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use http::uri::Scheme;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::MissedTickBehavior;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::bounds::{Ending, Versions, Waits};
use super::exchange::{Exchanges, Given};
use super::patience::Patient;
use super::preface::{self, Spoken};
use crate::proxy::Framed;

/// A request's head may take this many bytes.
const HEAD_BYTES: usize = 64 * 1024;

/// So many requests of one HTTP/2 connection are under way at once.
const STREAMS: u32 = 100;

/// What an HTTP/2 client may send ahead of one request's reader, in bytes.
const STREAM_WINDOW: u32 = 128 * 1024;

/// What it may send ahead of all of them.
const CONNECTION_WINDOW: u32 = 512 * 1024;

/// So often an HTTP/2 client is asked whether it is still there, and so long it has to answer.
const PING: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(20));

/// One client's connection.
pub(super) struct Connection {
    pub(super) peer: SocketAddr,
    /// Known where it is TLS that ends here; a proxy in front may have ended one.
    pub(super) scheme: Option<Scheme>,
    pub(super) router: Router,
    pub(super) ending: Ending,
    pub(super) tracker: TaskTracker,
    /// Its place among the connections.
    pub(super) seat: Arc<OwnedSemaphorePermit>,
    /// Where its requests get their place among those that are under way.
    pub(super) turns: Arc<Semaphore>,
    pub(super) versions: Versions,
    pub(super) waits: Waits,
}

/// What a request takes up while anything of it is alive: kept among its extensions.
#[derive(Clone)]
struct Place {
    _seat: Arc<OwnedSemaphorePermit>,
    _turn: Arc<OwnedSemaphorePermit>,
}

impl Connection {
    /// Serves it to its end.
    pub(super) async fn serve<S>(self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let stream = Patient::new(stream, self.waits.read);
        if self.versions == Versions::One {
            return self.one(stream).await;
        }
        let begun = tokio::select! {
            begun = tokio::time::timeout(self.waits.head, preface::listen(stream)) => begun,
            () = self.ending.drain.cancelled() => return,
        };
        match begun {
            Ok(Ok(Some((Spoken::Two, stream)))) => self.two(stream).await,
            Ok(Ok(Some((Spoken::One, stream)))) => self.one(stream).await,
            Ok(Ok(None) | Err(_)) | Err(_) => {}
        }
    }

    /// HTTP/1, guarded against what hyper would forgive.
    async fn one<S>(self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let framed = Framed::new(stream);
        let (switch, asking) = (framed.switch(), self.asking());
        let service = service_fn(move |request: Request<Incoming>| {
            let (switch, asking) = (switch.clone(), asking.clone());
            async move {
                let answer = asking.answer(request).await;
                switch.answered(answer.status());
                Ok::<_, Infallible>(answer)
            }
        });
        let serving = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.waits.head)
            .max_buf_size(HEAD_BYTES)
            .serve_connection(TokioIo::new(framed), service)
            .with_upgrades();
        tokio::pin!(serving);
        let mut draining = false;
        loop {
            tokio::select! {
                ended = serving.as_mut() => return self.ended(ended),
                () = self.ending.drain.cancelled(), if !draining => {
                    draining = true;
                    serving.as_mut().graceful_shutdown();
                }
                () = self.ending.cut.cancelled() => return,
            }
        }
    }

    /// HTTP/2.
    async fn two<S>(self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let asking = self.asking();
        let service = service_fn(move |request: Request<Incoming>| {
            let asking = asking.clone();
            async move { Ok::<_, Infallible>(asking.answer(request).await) }
        });
        let exchanges = Exchanges::new(self.tracker.clone(), self.ending.cut.clone(), self.waits.read);
        let serving = http2::Builder::new(exchanges.clone())
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(u32::try_from(HEAD_BYTES).unwrap_or(u32::MAX))
            .max_send_buf_size(HEAD_BYTES)
            .keep_alive_interval(PING.0)
            .keep_alive_timeout(PING.1)
            .serve_connection(TokioIo::new(stream), service);
        tokio::pin!(serving);
        let mut looks = tokio::time::interval(self.waits.idle);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        looks.tick().await;
        let (mut closing, mut before) = (false, exchanges.begun());
        loop {
            tokio::select! {
                ended = serving.as_mut() => return self.ended(ended),
                () = self.ending.drain.cancelled(), if !closing => {
                    closing = true;
                    serving.as_mut().graceful_shutdown();
                }
                () = self.ending.cut.cancelled() => return,
                _ = looks.tick() => {
                    let idle = exchanges.open() == 0 && exchanges.begun() == before;
                    before = exchanges.begun();
                    match (idle, closing) {
                        // What is left are answers that the client does not take.
                        (true, true) => return,
                        (true, false) => {
                            closing = true;
                            serving.as_mut().graceful_shutdown();
                        }
                        (false, _) => {}
                    }
                }
            }
        }
    }

    fn asking(&self) -> Asking {
        Asking {
            peer: self.peer,
            scheme: self.scheme.clone(),
            router: self.router.clone(),
            seat: Arc::clone(&self.seat),
            turns: Arc::clone(&self.turns),
        }
    }

    fn ended(&self, ended: hyper::Result<()>) {
        if let Err(error) = ended {
            tracing::debug!(peer = %self.peer, %error, "a connection ended early");
        }
    }
}

/// Has requests answered.
#[derive(Clone)]
struct Asking {
    peer: SocketAddr,
    scheme: Option<Scheme>,
    router: Router,
    seat: Arc<OwnedSemaphorePermit>,
    turns: Arc<Semaphore>,
}

impl Asking {
    async fn answer(self, request: Request<Incoming>) -> Response<Given> {
        let Asking { peer, scheme, router, seat, turns } = self;
        let turn = Arc::new(turns.acquire_owned().await.expect("the semaphore is never closed"));
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        if let Some(scheme) = scheme {
            request.extensions_mut().insert(scheme);
        }
        request.extensions_mut().insert(Place { _seat: seat, _turn: Arc::clone(&turn) });
        let answer = router.oneshot(request).await.unwrap_or_else(|never| match never {});
        answer.map(|body| Given::new(body, turn))
    }
}
