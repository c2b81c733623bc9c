//! The HTTP client behind the gate: one connection attempt, one request, no second try.
//!
//! Each upstream is spoken to in the HTTP that [`super::target::version`] says. Many customers share one
//! HTTP/2 connection: one who reads slowly fills the window of one stream, and the connection's is so much
//! wider that the others go on.
//!
//! Invariants: nothing is sent twice by itself; a connection that carried a broken body is not used
//! again (hyper closes it); the caller learns exactly whether anything may have been sent.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use http::{Request, Response, Version};
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

/// What an upstream may send ahead of one reader over HTTP/2, in bytes.
const STREAM_WINDOW: u32 = 128 * 1024;

/// What it may send ahead of all readers of a connection: those of 256 streams.
const CONNECTION_WINDOW: u32 = 256 * STREAM_WINDOW;

/// So often an HTTP/2 upstream is asked whether it is still there while it works, and so long it has to
/// answer.
const PING: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(20));

type Speaking = Client<HttpsConnector<HttpConnector>, ClientBody>;

/// Sends requests to upstreams.
#[derive(Clone, Debug)]
pub(super) struct Upstreams {
    /// In HTTP/1.1.
    one: Speaking,
    /// In HTTP/2: known beforehand, or the only thing that is offered under TLS.
    two: Speaking,
    config: Arc<ProxyConfig>,
}

impl Upstreams {
    /// A client whose tasks belong to `tracker`.
    pub(super) fn new(config: Arc<ProxyConfig>, tracker: TaskTracker) -> Result<Upstreams, TlsFault> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(config.connect_timeout));
        let tls = tls(&config.trust)?;
        let secured = || HttpsConnectorBuilder::new().with_tls_config(tls.clone()).https_or_http();
        let one = secured().enable_http1().wrap_connector(tcp.clone());
        let two = secured().enable_http2().wrap_connector(tcp);
        let mut client = Client::builder(Tracked(tracker));
        client
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(config.pool_idle)
            .pool_max_idle_per_host(config.pool_size)
            .retry_canceled_requests(false);
        let one = client.clone().http1_max_buf_size(config.max_buffer).build(one);
        let two = client
            .http2_only(true)
            .http2_initial_stream_window_size(STREAM_WINDOW)
            .http2_initial_connection_window_size(CONNECTION_WINDOW)
            .http2_max_header_list_size(u32::try_from(config.max_buffer).unwrap_or(u32::MAX))
            .http2_keep_alive_interval(PING.0)
            .http2_keep_alive_timeout(PING.1)
            .build(two);
        Ok(Upstreams { one, two, config })
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
        let client = if request.version() == Version::HTTP_2 { &self.two } else { &self.one };
        let mut response = pin!(client.request(request));
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
