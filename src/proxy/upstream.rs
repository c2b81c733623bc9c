//! The HTTP client behind the gate: one connection attempt, one request, no second try.
//!
//! Invariants: nothing is sent twice by itself; a connection that carried a broken body is not used
//! again (hyper closes it); the caller learns exactly whether anything may have been sent.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::{HttpConnector, capture_connection};
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::TokioTimer;
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;
use tokio_util::task::TaskTracker;

use super::body::{ClientBody, Upload};
use super::{ProxyConfig, UpstreamTrust, Waits};
use crate::catalog::Upstream;
use crate::throttle::Pace;

/// Why there is no response.
#[derive(Debug, Error)]
pub(super) enum SendFault {
    /// No connection: nothing was sent.
    #[error("the upstream cannot be reached: {0}")]
    Unreachable(ClientError),
    /// No connection, or no response head, in time.
    #[error("the upstream did not answer in time")]
    Timeout,
    /// The connection broke before a response head, or what came was not HTTP.
    #[error("the upstream did not answer as HTTP: {0}")]
    Broken(ClientError),
    /// The client's own body broke off.
    #[error("the client's body broke off")]
    ClientBody,
    /// The client stopped sending its body.
    #[error("the client's body stalled")]
    ClientStalled,
}

/// The TLS settings cannot be used.
#[derive(Debug, Error)]
#[error("the upstream client's TLS settings: {0}")]
pub struct TlsFault(#[from] rustls::Error);

/// Runs hyper's connection tasks under the application's tracker.
#[derive(Clone, Debug)]
struct Tracked(TaskTracker);

impl<F> hyper::rt::Executor<F> for Tracked
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        self.0.spawn(future);
    }
}

/// Sends requests to upstreams.
#[derive(Clone, Debug)]
pub(super) struct Upstreams {
    client: Client<HttpsConnector<HttpConnector>, ClientBody>,
    config: Arc<ProxyConfig>,
}

impl Upstreams {
    /// A client whose tasks belong to `tracker`.
    pub(super) fn new(config: Arc<ProxyConfig>, tracker: TaskTracker) -> Result<Upstreams, TlsFault> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(config.connect_timeout));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls(&config.trust)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(Tracked(tracker))
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(config.pool_idle)
            .pool_max_idle_per_host(config.pool_size)
            .retry_canceled_requests(false)
            .http1_max_buf_size(config.max_buffer)
            .build(connector);
        Ok(Upstreams { client, config })
    }

    /// How long `upstream` is waited for.
    pub(super) fn waits(&self, upstream: &Upstream) -> Waits {
        self.config.waits(upstream)
    }

    /// Sends `request` once. `sent` is called as soon as anything of it may reach the upstream, and
    /// always before this future gives up control with that having happened.
    pub(super) async fn send(
        &self,
        mut request: Request<ClientBody>,
        upload: &Upload,
        waits: &Waits,
        mut sent: impl FnMut(),
    ) -> Result<Response<Incoming>, SendFault> {
        let captured = capture_connection(&mut request);
        let mut response = pin!(self.client.request(request));
        let mut patience = pin!(tokio::time::sleep(waits.connect));
        let mut connected = false;
        let mut slow = SlowUpload::new(waits.header);
        let answered = poll_fn(|cx| {
            let polled = response.as_mut().poll(cx);
            if !connected && captured.connection_metadata().is_some() {
                connected = true;
                sent();
                patience.set(tokio::time::sleep(waits.header));
            }
            if let Poll::Ready(answer) = polled {
                return Poll::Ready(Some(answer));
            }
            loop {
                ready!(patience.as_mut().poll(cx));
                // A long upload that moves is no stalled upstream.
                let Some(more) = slow.more(upload).filter(|_| connected) else { return Poll::Ready(None) };
                patience.set(tokio::time::sleep(more));
            }
        })
        .await;
        match answered {
            Some(Ok(response)) => Ok(response),
            Some(Err(_)) if upload.failed() => Err(SendFault::ClientBody),
            Some(Err(error)) if !connected || error.is_connect() => Err(SendFault::Unreachable(error)),
            Some(Err(error)) => Err(SendFault::Broken(error)),
            None if connected && upload.starved() => Err(SendFault::ClientStalled),
            None => Err(SendFault::Timeout),
        }
    }
}

/// How long the upstream is waited for while the client's body comes: its bytes buy time, for a while
/// that is no longer than they need at a pace that is not slow, and its end the whole time once more.
struct SlowUpload {
    pace: Pace,
    /// How long the wait was that is over now.
    waited: Duration,
    whole: Duration,
    bytes: u64,
    ended: bool,
}

impl SlowUpload {
    fn new(whole: Duration) -> SlowUpload {
        SlowUpload { pace: Pace::new(whole), waited: whole, whole, bytes: 0, ended: false }
    }

    /// How much longer to wait, now that the last wait is over.
    fn more(&mut self, upload: &Upload) -> Option<Duration> {
        let moved = upload.bytes() - self.bytes;
        self.bytes += moved;
        if moved > 0 && upload.ended() && !self.ended {
            self.ended = true;
            return Some(self.whole);
        }
        self.pace.waited(self.waited);
        self.pace.moved(moved);
        self.waited = self.pace.left();
        (!self.waited.is_zero()).then_some(self.waited)
    }
}

fn tls(trust: &UpstreamTrust) -> Result<ClientConfig, TlsFault> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(match trust {
        UpstreamTrust::Public => builder.with_webpki_roots().with_no_client_auth(),
        UpstreamTrust::Only(roots) => {
            let mut store = RootCertStore::empty();
            for root in roots {
                store.add(root.clone())?;
            }
            builder.with_root_certificates(store).with_no_client_auth()
        }
    })
}
