//! The gateway: route, charge, forward.
//!
//! Invariants: what is forwarded is the [`crate::request::CanonicalRequest`] that was priced; a paid request is sent
//! once and only while its [`crate::metering::Hold`] lives; bodies stream both ways and the end of either side ends
//! the other. It knows nothing of the operator's side.
//!
//! What a buyer's unit comes to (MONEY, THREATS 7):
//!
//! | the upstream | the client gets | the unit |
//! |---|---|---|
//! | answers with a status that the terms do not give back | that answer | spent when the body is complete |
//! | answers with one that they do (`restore_on`, 5xx by default) | that answer, `X-Tollhouse-Unit: restored` | restored before the body |
//! | answers 402, or switches protocols unasked | 502 `upstream_misbehaved` | restored |
//! | cannot be connected to | 502 `upstream_unreachable` | restored |
//! | breaks off before its head, or is no HTTP | 502 `upstream_failed` | restored |
//! | is too slow to connect or to answer | 504 `upstream_timeout` | restored |
//! | breaks off or stalls in its body | a broken body | restored; what is metered: charged as far as it was delivered |
//!
//! A balance whose request is priced by its answer (`metering`) is charged what the answer costs when it
//! ended, and what was held beyond that is left. What is held is all that may pass: an answer that says
//! its length and would be dearer is refused before its body (402 `balance_too_small`, or 403
//! `ceiling_reached` when no balance would help); any other ends where the next event or byte is not paid
//! for. It ends as a whole body does, and an event stream with an event `tollhouse` whose data says why
//! (`balance_exhausted`, `ceiling_reached`, `revoked`); a client that sends `TE: trailers` reads
//! `X-Tollhouse-Cost-Msat`, `-Left` and `-End` behind every metered answer of unannounced length. A rule
//! that reads the answer's JSON has the upstream asked for plain text (`Accept-Encoding: identity`); an
//! answer that comes compressed all the same, or is longer than 1 MiB, costs what is held. A token that
//! the operator takes back ends its open answers.
//!
//! A gRPC answer is 200 whatever became of the call: the status in its head or its trailers counts as the
//! HTTP status that it stands for ([`crate::metering::grpc_failure`]), also when messages came before it.
//! What the gateway itself has to say to a gRPC caller it says in gRPC.
//!
//! A WebSocket is asked for upstream only when it is paid for, or costs nothing. What is sold by the request
//! is spent with the upstream's 101; a balance pays for what comes down until either side ends it. No other
//! protocol is switched to.
//!
//! A token whose requests the upstream fails too often is not charged either, but not accepted any
//! more: `X-Tollhouse-Unit: exhausted`, for provoked failures would be free load.
//!
//! A client that leaves after the request was sent, or that breaks off or stalls its own body, has
//! used its unit, and pays a metered answer as far as it took it (all that is held, or the fallback,
//! when only the answer's end would say what it costs and has not said it yet); before that it keeps it.
//! There is no retry here: the client's next request with the same token is one.
//!
//! A client that names its paid request by an `Idempotency-Key` may leave and come back: the
//! exchange outlives it, and its spent token, with the same key and request, gets the same answer
//! once more (`metering::Replays`), marked `X-Tollhouse-Replayed: true`.
//!
//! A rule that reads the request's JSON gets to see a body of at most 64 KiB; what was looked at is what
//! is sent on. A longer body, or one that is not JSON without doubt (a key that comes twice, an encoding, a
//! `Content-Type` of something else or in another charset), passes unread: the rule then has no price, and
//! the fallback holds or nothing is sold.
//!
//! Connections should be read through [`Framed`]: hyper alone takes chunked where a Content-Length
//! stands beside it (the length is then not forwarded).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::response::Response;
use http::header::CONTENT_TYPE;
use http::uri::Scheme;
use http::{HeaderValue, StatusCode};
use rustls::pki_types::CertificateDer;
use tokio_util::task::TaskTracker;

use crate::catalog::Upstream;
use crate::checkout::{Checkout, Outcome};
use crate::request::{Proxies, admit, is_grpc};

mod answer;
mod answer_headers;
pub mod answers;
mod body;
mod certificate;
mod demand;
mod discovery;
mod entity;
mod forward;
mod framing;
mod grpc;
mod introspection;
mod outlive;
mod target;
mod told;
mod tunnel;
mod unit;
mod unlock;
mod upstream;

pub use certificate::{Certificate, CertificateFault, Shown, TlsFiles};
pub use framing::{Framed, Switch};
pub use upstream::TlsFault;

use answer::{Notice, Problem, is_preflight, preflight, replayed};
use demand::{Reader, demand};
use discovery::{Documents, Rendered};
use entity::look;
use forward::Asked;
use grpc::in_grpc;
use tunnel::Entrance;
use upstream::Upstreams;

/// Whose certificates an HTTPS upstream may show.
#[derive(Clone, Debug, Default)]
pub enum UpstreamTrust {
    /// Those of the public web.
    #[default]
    Public,
    /// Those under these roots alone.
    Only(Vec<CertificateDer<'static>>),
}

/// How upstreams are spoken to.
#[derive(Clone, Debug)]
pub struct ProxyConfig {
    /// Longest wait for a connection, TLS included.
    pub connect_timeout: Duration,
    /// Longest wait for a response's head once the request stands still.
    pub header_timeout: Duration,
    /// Longest silence inside a response's body.
    pub idle_timeout: Duration,
    /// How long a tunnel (a WebSocket) stays open while nothing goes through.
    pub tunnel_idle: Duration,
    /// How long an exchange whose answer is to be kept may outlive its client.
    pub outlive: Duration,
    /// How long an unused connection is kept; shorter than what upstreams keep theirs.
    pub pool_idle: Duration,
    /// How many unused connections are kept for each upstream.
    pub pool_size: usize,
    /// Largest response head, in bytes.
    pub max_buffer: usize,
    /// The proxies in front that say who asks.
    pub proxies: Proxies,
    /// What upstreams read in `X-Forwarded-Proto` where nobody who is trusted says it.
    pub public_scheme: HeaderValue,
    /// The gateway's address as customers see it, without a slash at its end, where that is known.
    pub public_url: Option<String>,
    /// Whose certificates are believed.
    pub trust: UpstreamTrust,
}

impl Default for ProxyConfig {
    fn default() -> ProxyConfig {
        ProxyConfig {
            connect_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(60),
            tunnel_idle: Duration::from_secs(300),
            outlive: Duration::from_secs(120),
            pool_idle: Duration::from_secs(3),
            pool_size: 64,
            max_buffer: 128 * 1024,
            proxies: Proxies::default(),
            public_scheme: HeaderValue::from_static("http"),
            public_url: None,
            trust: UpstreamTrust::Public,
        }
    }
}

/// How long one upstream is waited for.
#[derive(Clone, Copy, Debug)]
struct Waits {
    connect: Duration,
    header: Duration,
    idle: Duration,
}

impl ProxyConfig {
    /// As the service says, else as for all.
    fn waits(&self, upstream: &Upstream) -> Waits {
        let own = &upstream.timeouts;
        Waits {
            connect: own.connect.unwrap_or(self.connect_timeout),
            header: own.header.unwrap_or(self.header_timeout),
            idle: own.idle.unwrap_or(self.idle_timeout),
        }
    }
}

/// What the gateway's handler works with.
#[derive(Clone, Debug)]
pub struct ProxyState {
    checkout: Checkout,
    upstreams: Upstreams,
    documents: Documents,
    rendered: Rendered,
    config: Arc<ProxyConfig>,
    tracker: TaskTracker,
}

impl ProxyState {
    /// A gateway that sells through `checkout`; its tasks belong to `tracker`.
    ///
    /// # Errors
    /// When the TLS settings cannot be used.
    pub fn new(
        checkout: Checkout,
        config: ProxyConfig,
        tracker: TaskTracker,
    ) -> Result<ProxyState, TlsFault> {
        let config = Arc::new(config);
        let upstreams = Upstreams::new(Arc::clone(&config), tracker.clone())?;
        let (documents, rendered) = (Documents::default(), Rendered::default());
        Ok(ProxyState { checkout, upstreams, documents, rendered, config, tracker })
    }
}

/// The gateway's router. Whoever serves it puts the peer's address in each request as
/// `ConnectInfo<SocketAddr>`, and the scheme where it ended the TLS itself.
pub fn router(state: ProxyState) -> Router {
    Router::new().fallback(serve).with_state(state)
}

/// Answers, in gRPC whoever asks in it.
async fn serve(State(state): State<ProxyState>, request: Request<Body>) -> Response {
    let kind = request.headers().get(CONTENT_TYPE).filter(|_| is_grpc(request.headers())).cloned();
    let checkout = state.checkout.clone();
    let answer = answer(state, request).await;
    if let Some(told) = answer.extensions().get::<Notice>() {
        checkout.tally().refused(told.code);
    }
    match kind {
        Some(kind) => in_grpc(answer, kind),
        None => answer,
    }
}

/// Admits, checks out, forwards or answers.
async fn answer(state: ProxyState, request: Request<Body>) -> Response {
    let (mut parts, body) = request.into_parts();
    let Some(ConnectInfo(peer)) = parts.extensions.get::<ConnectInfo<SocketAddr>>() else {
        tracing::error!("a request has no peer address");
        return Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "The gateway is misassembled.")
            .render();
    };
    let asker = state.config.proxies.asker(&parts.headers, peer.ip());
    let ours = parts.extensions.get::<Scheme>();
    let request = match asker.and_then(|asker| admit(&parts, asker.over(ours))) {
        Ok(request) => request,
        Err(refused) => return Problem::from(refused).render(),
    };
    if let Some(told) = discovery::answer(&state, &request, &parts.headers).await {
        return told;
    }
    if let Some(told) = unlock::answer(&state, &request, &parts.headers).await {
        return told;
    }
    if let Some(told) = introspection::answer(&state, &request, &parts.headers).await {
        return told;
    }
    let Some(matched) = state.checkout.find(&request) else {
        return Problem::new(StatusCode::NOT_FOUND, "no_such_route", "Nothing is served here.").render();
    };
    if is_preflight(request.method(), &parts.headers) {
        return preflight(&parts.headers);
    }
    let (body, seen) = match look(body, &parts.headers, &matched, state.config.idle_timeout).await {
        Ok(looked) => looked,
        Err(fault) => return fault.problem().render(),
    };
    let entrance = Entrance::of(&request, &mut parts.extensions);
    match state.checkout.check(matched, &request, &parts.headers, seen).await {
        Outcome::Open(matched) => state.forward_open(&request, &matched, body, entrance).await,
        Outcome::Shadowed(shadowed) => state.forward_shadowed(&request, body, *shadowed, entrance).await,
        Outcome::Admitted(matched, hold) => {
            let asked = Asked { request, headers: parts.headers, matched };
            match hold.light() {
                Some(light) if entrance.is_none() => state.forward_kept(asked, body, hold, light).await,
                _ => state.forward_paid(&asked, body, hold, entrance).await,
            }
        }
        Outcome::Replayed(kept) => replayed(kept),
        Outcome::Challenge(offered) => {
            let (service, route) = offered.place();
            state.checkout.tally().demanded(service, route);
            demand(&offered, Reader::of(&parts.headers))
        }
        Outcome::Refused(refused) => Problem::from(refused).render(),
    }
}
