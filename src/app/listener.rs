//! Serves a router on a socket: bounded connections, bounded patience, an orderly end.
//!
//! Invariants: the number of open connections is capped below the process's file descriptors, so
//! that the node's own accept loop never meets EMFILE (LDK.md); no more requests are under way at once than
//! there may be connections, however many of them share one (HTTP/2); every connection ends at shutdown,
//! after the requests that it carries or when the drain's time is over.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use http::uri::Scheme;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

pub use super::bounds::{Ending, Versions, Waits};
use super::connection::Connection;
use super::introduction::Introductions;

/// After a failed accept, so that a full process does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

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
pub struct Front {
    /// The socket, bound.
    pub tcp: TcpListener,
    /// Who answers.
    pub router: Router,
    /// How many connections may be open, and how many requests under way.
    pub connections: usize,
    /// Which HTTP is spoken.
    pub versions: Versions,
    /// How long clients are waited for.
    pub waits: Waits,
    /// TLS, where it is spoken.
    pub tls: Option<Arc<ServerConfig>>,
    /// Whether proxies in front say who connects.
    pub introductions: Introductions,
}

impl Front {
    /// A listener without TLS that waits as long as usual.
    pub fn new(tcp: TcpListener, router: Router, connections: usize, versions: Versions) -> Front {
        let introductions = Introductions::default();
        Front { tcp, router, connections, versions, waits: Waits::default(), tls: None, introductions }
    }
}

/// Accepts until the drain begins; each connection is a task of `tracker`. Gives the socket back, on which
/// whoever connects waits for the next who serves it.
pub async fn serve(front: Front, ending: Ending, tracker: TaskTracker) -> TcpListener {
    let Front { tcp, router, connections, versions, waits, tls, introductions } = front;
    let acceptor = tls.map(TlsAcceptor::from);
    let room = Arc::new(Semaphore::new(connections));
    let turns = Arc::new(Semaphore::new(connections));
    loop {
        let accepted = tokio::select! {
            () = ending.drain.cancelled() => return tcp,
            accepted = accept(&tcp, &room) => accepted,
        };
        match accepted {
            Ok((stream, peer, seat)) => {
                let connection = Connection {
                    peer,
                    scheme: None,
                    router: router.clone(),
                    ending: ending.clone(),
                    tracker: tracker.clone(),
                    seat: Arc::new(seat),
                    turns: Arc::clone(&turns),
                    versions,
                    waits,
                };
                tracker.spawn(welcome(connection, stream, introductions.clone(), acceptor.clone()));
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
    let seat = Arc::clone(room).acquire_owned().await.expect("the semaphore is never closed");
    let (stream, peer) = tcp.accept().await?;
    // Small answers should leave at once; a socket that refuses works all the same.
    let _ = stream.set_nodelay(true);
    Ok((stream, peer, seat))
}

/// Hears who connects, shakes hands where there is TLS, and serves.
async fn welcome(
    mut connection: Connection,
    mut stream: TcpStream,
    introductions: Introductions,
    acceptor: Option<TlsAcceptor>,
) {
    let told = tokio::select! {
        told = introductions.of(&mut stream, connection.peer) => told,
        () = connection.ending.drain.cancelled() => return,
    };
    match told {
        Ok(client) => connection.peer = client,
        Err(error) => {
            return tracing::warn!(peer = %connection.peer, %error, "a proxy did not say who connects");
        }
    }
    let Some(acceptor) = acceptor else { return connection.serve(stream).await };
    connection.scheme = Some(Scheme::HTTPS);
    let shaken = tokio::select! {
        shaken = tokio::time::timeout(connection.waits.head, acceptor.accept(stream)) => shaken,
        () = connection.ending.drain.cancelled() => return,
    };
    match shaken {
        Ok(Ok(stream)) => connection.serve(stream).await,
        Ok(Err(error)) => tracing::debug!(peer = %connection.peer, %error, "no TLS handshake"),
        Err(_) => tracing::debug!(peer = %connection.peer, "the TLS handshake took too long"),
    }
}
