//! Serves a router on a socket: bounded connections, bounded patience, an orderly end.
//!
//! Invariants: the number of open connections is capped below the process's file descriptors, so
//! that the node's own accept loop never meets EMFILE (LDK.md); every connection ends at shutdown,
//! after the request that it carries or when the drain's time is over.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::introduction::Introductions;
use super::patience::Patient;
use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

/// A client has this long to send a request's head.
const HEAD_PATIENCE: Duration = Duration::from_secs(15);

/// A client that takes nothing of its answer for so long is left.
const READ_PATIENCE: Duration = Duration::from_secs(120);

/// A request's head may take this many bytes.
const HEAD_BYTES: usize = 64 * 1024;

/// After a failed accept, so that a full process does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Says when connections end.
#[derive(Clone, Debug, Default)]
pub(super) struct Ending {
    /// Take no new connection; close each after the request that it carries.
    pub(super) drain: CancellationToken,
    /// Close what is left.
    pub(super) cut: CancellationToken,
}

/// A quarter of the process's file descriptors, between 64 and 4096: a client costs one, the upstream
/// that it is served from another, and the node and the ledger need theirs.
pub(super) fn connection_limit() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let soft = limits
        .lines()
        .find(|line| line.starts_with("Max open files"))
        .and_then(|line| line.split_whitespace().nth(3))
        .and_then(|soft| soft.parse::<usize>().ok())
        .unwrap_or(256);
    (soft / 4).clamp(64, 4096)
}

/// What is served where, and to how many at once.
pub(super) struct Front {
    pub(super) tcp: TcpListener,
    pub(super) router: Router,
    pub(super) connections: usize,
    pub(super) introductions: Introductions,
}

/// Accepts until the drain begins; each connection is a task of `tracker`. `guard` wraps what the
/// HTTP library reads from and writes to.
pub(super) async fn serve<S, G>(front: Front, ending: Ending, tracker: TaskTracker, guard: G)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    G: Fn(TcpStream) -> S + Clone + Send + 'static,
{
    let Front { tcp, router, connections, introductions } = front;
    let room = Arc::new(Semaphore::new(connections));
    loop {
        let accepted = tokio::select! {
            () = ending.drain.cancelled() => return,
            accepted = accept(&tcp, &room) => accepted,
        };
        match accepted {
            Ok((stream, peer, permit)) => {
                let (guard, router, ending) = (guard.clone(), router.clone(), ending.clone());
                let introductions = introductions.clone();
                tracker.spawn(async move {
                    let mut stream = stream;
                    let told = tokio::select! {
                        told = introductions.of(&mut stream, peer) => told,
                        () = ending.drain.cancelled() => return,
                    };
                    match told {
                        Ok(client) => connection(guard(stream), client, router, ending, permit).await,
                        Err(error) => tracing::warn!(%peer, %error, "a proxy did not say who connects"),
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn accept(
    tcp: &TcpListener,
    room: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let permit = Arc::clone(room).acquire_owned().await.expect("the semaphore is never closed");
    let (stream, peer) = tcp.accept().await?;
    // Small answers should leave at once; a socket that refuses works all the same.
    let _ = stream.set_nodelay(true);
    Ok((stream, peer, permit))
}

async fn connection<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    peer: SocketAddr,
    router: Router,
    ending: Ending,
    _permit: OwnedSemaphorePermit,
) {
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let router = router.clone();
        async move {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(peer));
            Ok::<_, Infallible>(router.oneshot(request).await.unwrap_or_else(|never| match never {}))
        }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(Patient::new(stream, READ_PATIENCE)), service);
    tokio::pin!(serving);
    let mut draining = false;
    loop {
        tokio::select! {
            ended = serving.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%peer, %error, "a connection ended early");
                }
                return;
            }
            () = ending.drain.cancelled(), if !draining => {
                draining = true;
                serving.as_mut().graceful_shutdown();
            }
            () = ending.cut.cancelled() => return,
        }
    }
}
