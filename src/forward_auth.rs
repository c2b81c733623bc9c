//! Decides and debits for another proxy, which forwards: Caddy's `forward_auth`, Traefik's ForwardAuth,
//! Envoy's HTTP `ext_authz`.
//!
//! It has a listener of its own. The gateway faces the internet and must never believe a header that
//! names another method, path or client; the operator's listener refuses foreign hosts and reads
//! `Authorization` as its own. Here both are the normal case, and so nobody is believed who does not
//! show a key with the scope `forward_auth` in `X-Tollhouse-Key`: `Authorization` is the customer's.
//!
//! Invariants:
//! - Nothing is decided, minted or debited for a caller without that key.
//! - Each address takes the request from one place only: `/forward-auth` from `X-Forwarded-Method`,
//!   `-Host` and `-Uri`, each of which must be there exactly once; `/ext-authz…` from the request itself,
//!   whatever such headers say. A header of the customer's can therefore not pass for the proxy's.
//! - The request goes through the same admission as at the gateway. One with a header by which many
//!   servers let a client rename method or path is refused, for here nobody strips it.
//! - 2xx means: charged, or free. The answer is not seen, so the unit is spent by the decision and
//!   nothing gives it back. What is metered by the answer, or priced by a body, is not sold here.
//! - A charge by the `Payment` scheme has its receipt in the 2xx, for a proxy that hands it down.
//! - 2xx always carries every header of [`VERDICT`], so that a proxy that copies them upstream never
//!   leaves a customer's own in place.

use std::net::{IpAddr, SocketAddr};

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::response::Response;
use axum::routing::any;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::catalog::{Matched, Mode};
use crate::checkout::{BodySeen, Checkout, Outcome};
use crate::ledger::Ending;
use crate::metering::Hold;
use crate::payment_auth::{PAYMENT_RECEIPT, receipt};
use crate::proxy::answers;
use crate::request::{CanonicalRequest, Inadmissible, admit};
use crate::store::Ledger;
use crate::types::Timestamp;
use crate::web::keys::{self, Scope};

mod asked;

/// The key of the proxy that asks.
const X_TOLLHOUSE_KEY: HeaderName = HeaderName::from_static("x-tollhouse-key");

/// What a 2xx says, for the service behind the proxy; `none` where there is nothing to say.
pub const VERDICT: [HeaderName; 6] = [
    HeaderName::from_static("x-tollhouse-unit"),
    HeaderName::from_static("x-tollhouse-payment-hash"),
    HeaderName::from_static("x-tollhouse-amount-msat"),
    HeaderName::from_static("x-tollhouse-left"),
    HeaderName::from_static("x-tollhouse-service"),
    HeaderName::from_static("x-tollhouse-route"),
];

/// What the handlers work with.
#[derive(Clone, Debug)]
pub struct ForwardAuth {
    /// Decides and debits.
    pub checkout: Checkout,
    /// Knows the keys.
    pub ledger: Ledger,
}

/// The listener's router. Whoever serves it reads connections through [`crate::proxy::Framed`] and puts
/// the peer's address in each request as `ConnectInfo<SocketAddr>`.
pub fn router(state: ForwardAuth) -> Router {
    Router::new()
        .route("/forward-auth", any(by_headers))
        .route("/ext-authz", any(by_request))
        .route("/ext-authz/", any(by_request))
        .route("/ext-authz/{*rest}", any(by_request))
        .fallback(async || {
            let detail = "Ask /forward-auth (Caddy, Traefik) or /ext-authz (Envoy).";
            answers::problem(StatusCode::NOT_FOUND, "not_found", detail)
        })
        .with_state(state)
}

/// Caddy and Traefik: the request is told in headers.
async fn by_headers(State(state): State<ForwardAuth>, request: Request<Body>) -> Response {
    state.answer(&request.into_parts().0, asked::by_headers).await
}

/// Envoy: the request is told by the request itself, under a prefix.
async fn by_request(State(state): State<ForwardAuth>, request: Request<Body>) -> Response {
    state.answer(&request.into_parts().0, asked::by_request).await
}

/// Reads what is asked, and the address of whoever asked the proxy.
type Reader = fn(&Parts, IpAddr) -> Result<asked::Asked, Inadmissible>;

impl ForwardAuth {
    async fn answer(&self, question: &Parts, read: Reader) -> Response {
        let Some(ConnectInfo(peer)) = question.extensions.get::<ConnectInfo<SocketAddr>>() else {
            tracing::error!("a request has no peer address");
            let detail = "The listener is misassembled.";
            return answers::problem(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail);
        };
        if let Some(refusal) = self.unknown(&question.headers).await {
            return refusal;
        }
        let asked = match read(question, peer.ip()) {
            Ok(asked) => asked,
            Err(refused) => return answers::inadmissible(refused),
        };
        match admit(&asked.parts, asked.client) {
            Ok(canonical) => self.decide(&canonical, &asked.parts.headers).await,
            Err(refused) => answers::inadmissible(refused),
        }
    }

    /// What to answer a caller that does not show exactly one key, live and with the scope.
    async fn unknown(&self, headers: &HeaderMap) -> Option<Response> {
        let unknown = || {
            let detail = "This listener answers proxies that show a key with the scope `forward_auth` in \
                          X-Tollhouse-Key, once.";
            Some(answers::problem(StatusCode::FORBIDDEN, "unknown_proxy", detail))
        };
        let mut shown = headers.get_all(X_TOLLHOUSE_KEY).iter();
        let (Some(key), None) = (shown.next().and_then(|key| key.to_str().ok()), shown.next()) else {
            return unknown();
        };
        match self.ledger.api_key(keys::hash(key.trim()), self.checkout.now()).await {
            Ok(Some(row)) if Scope::ForwardAuth.allowed_by(&row.scopes) => None,
            Ok(_) => unknown(),
            Err(error) => {
                tracing::error!(%error, "a proxy's key could not be looked up");
                let detail = "The ledger cannot be read. Nothing was charged.";
                Some(answers::problem(StatusCode::SERVICE_UNAVAILABLE, "ledger_unavailable", detail))
            }
        }
    }

    async fn decide(&self, request: &CanonicalRequest, credentials: &HeaderMap) -> Response {
        let Some(matched) = self.checkout.find(request) else {
            return answers::problem(StatusCode::NOT_FOUND, "no_such_route", "Nothing is served here.");
        };
        if let Some(no) = unsellable(&matched) {
            return no;
        }
        match self.checkout.check(matched, request, credentials, UNSEEN).await {
            Outcome::Open(matched) => open(&matched),
            Outcome::Shadowed(shadowed) => {
                let matched = shadowed.matched().clone();
                shadowed.unseen();
                open(&matched)
            }
            Outcome::Admitted(matched, hold) => charged(hold, matched.route.as_str(), self.checkout.now()),
            // Answers are kept by the gateway that gave them, under a name that was left out here.
            Outcome::Replayed(_) => {
                tracing::error!("forward-auth met an answer that the gateway keeps");
                answers::problem(StatusCode::INTERNAL_SERVER_ERROR, "internal", "This cannot be.")
            }
            Outcome::Challenge(offered) => {
                let (service, route) = offered.place();
                self.checkout.tally().demanded(service, route);
                answers::challenge(offered, credentials)
            }
            Outcome::Refused(refused) => answers::refused(refused),
        }
    }
}

/// It passes, and nothing is charged.
fn open(matched: &Matched) -> Response {
    let (service, route) = (matched.service.name.as_str(), matched.route.as_str());
    verdict([None, None, None, None, Some(service), Some(route)])
}

/// The customer's body stays with the other proxy.
const UNSEEN: BodySeen = BodySeen { size_bytes: None, json: None };

/// What cannot be sold without seeing the answer or the body.
fn unsellable(matched: &Matched) -> Option<Response> {
    if matched.service.mode == Mode::Shadow {
        return None;
    }
    let no = |code, detail| Some(answers::problem(StatusCode::SERVICE_UNAVAILABLE, code, detail));
    let reads = matched.terms.rule.reads();
    if reads.response() {
        return no(
            "metered_by_answer",
            "This route's price depends on the answer, which forward-auth does not see: it is sold through the \
             gateway or the integration API only.",
        );
    }
    if reads.request_json || reads.size_bytes {
        return no(
            "priced_by_body",
            "This route's price depends on the request's body, which forward-auth does not see: it is sold \
             through the gateway or the integration API only.",
        );
    }
    None
}

/// Spends the unit: from here on the other proxy may forward.
fn charged(hold: Hold, route: &str, now: Timestamp) -> Response {
    let sale = hold.sale();
    let (hash, service) = (sale.payment_hash.to_hex(), sale.service.to_string());
    let amount = hold.most().to_string();
    let receipt = hold.challenge_id().and_then(|id| receipt(id, sale.payment_hash, now));
    let left = hold.end(Ending::Delivered).left.to_string();
    let mut verdict =
        verdict([Some("spent"), Some(&hash), Some(&amount), Some(&left), Some(&service), Some(route)]);
    if let Some(receipt) = receipt {
        verdict.headers_mut().insert(PAYMENT_RECEIPT, receipt);
    }
    verdict
}

/// Yes, with all that the service behind may want to know.
fn verdict(said: [Option<&str>; 6]) -> Response {
    let mut response = Response::new(Body::empty());
    for (name, text) in VERDICT.into_iter().zip(said) {
        let value = text.and_then(|text| HeaderValue::from_str(text).ok());
        response.headers_mut().insert(name, value.unwrap_or(HeaderValue::from_static("none")));
    }
    response.headers_mut().insert(http::header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
