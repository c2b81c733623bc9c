//! Sends an admitted request upstream and hands its response down.

use axum::body::Body;
use axum::response::Response;
use http::header::CONTENT_LENGTH;
use http::{Method, Request, StatusCode, response};
use http_body::Body as _;
use hyper::body::Incoming;
use thiserror::Error;

use super::ProxyState;
use super::answer::Problem;
use super::answer_headers::{paid, passing};
use super::body::{ClientBody, UpstreamBody};
use super::target;
use super::unit::Unit;
use super::upstream::SendFault;
use crate::catalog::Service;
use crate::ledger::{Ending, RestoreReason};
use crate::metering::{Hold, MeteredBody};
use crate::request::CanonicalRequest;

impl ProxyState {
    /// Forwards a request that costs nothing.
    pub(super) async fn forward_open(
        &self,
        request: &CanonicalRequest,
        service: &Service,
        body: Body,
    ) -> Response {
        match self.send(request, service, body, || {}).await {
            Ok((parts, body)) => Response::from_parts(parts, Body::new(body)),
            Err(fault) => fault.problem(None).render(),
        }
    }

    /// Forwards a request that a unit is held for, and ends the hold by what comes back.
    pub(super) async fn forward_paid(
        &self,
        request: &CanonicalRequest,
        service: &Service,
        body: Body,
        mut hold: Hold,
    ) -> Response {
        let sent = self.send(request, service, body, || hold.dispatched()).await;
        let (mut parts, body) = match sent {
            Ok(response) => response,
            Err(fault) => {
                let unit = end(hold, fault.ending());
                return fault.problem(Some(unit)).render();
            }
        };
        let sale = hold.sale().clone();
        if parts.status.is_server_error() {
            let unit = end(hold, Ending::Restored(RestoreReason::UpstreamError));
            paid(&mut parts.headers, request.headers(), &sale, unit);
            return Response::from_parts(parts, Body::new(body));
        }
        if request.method() == Method::HEAD || has_no_body(parts.status) {
            paid(&mut parts.headers, request.headers(), &sale, Unit::Spent);
            hold.record_head(parts.status, &parts.headers, 0);
            hold.end(Ending::Delivered);
            return Response::from_parts(parts, Body::empty());
        }
        paid(&mut parts.headers, request.headers(), &sale, Unit::Held);
        hold.record_head(parts.status, &parts.headers, body.size_hint().lower());
        Response::from_parts(parts, Body::new(MeteredBody::new(body, hold)))
    }

    /// Sends once; the response comes with only the headers that pass.
    async fn send(
        &self,
        request: &CanonicalRequest,
        service: &Service,
        body: Body,
        sent: impl FnMut() + Send,
    ) -> Result<(response::Parts, UpstreamBody), Fault> {
        let upstream = &service.upstream;
        let (body, upload) = ClientBody::new(body);
        let mut outgoing = Request::new(());
        *outgoing.method_mut() = request.method().clone();
        *outgoing.uri_mut() = target::uri(upstream, request).map_err(Fault::Target)?;
        *outgoing.headers_mut() =
            target::headers(upstream, request, &body.size_hint(), &self.config.public_scheme);
        let answer = self.upstreams.send(outgoing.map(|()| body), &upload, sent).await;
        let (parts, body) = answer.map_err(Fault::Send)?.into_parts();
        if parts.status == StatusCode::PAYMENT_REQUIRED || parts.status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Fault::Misbehaved(parts.status));
        }
        Ok((self.passing(parts, &body, request), UpstreamBody::new(body, self.config.idle_timeout)))
    }

    /// The head to hand down.
    fn passing(
        &self,
        upstream: response::Parts,
        body: &Incoming,
        request: &CanonicalRequest,
    ) -> response::Parts {
        let (mut parts, ()) = Response::new(()).into_parts();
        parts.status = upstream.status;
        parts.headers = passing(&upstream.headers);
        let announced = request.method() == Method::HEAD || has_no_body(parts.status);
        if !announced && body.size_hint().exact().is_none() {
            parts.headers.remove(CONTENT_LENGTH);
        }
        parts
    }
}

/// Ends `hold` and says what that makes of its unit.
fn end(hold: Hold, ending: Ending) -> Unit {
    let unit = match ending {
        Ending::Delivered | Ending::Charged(_) | Ending::Cancelled => Unit::Spent,
        Ending::Restored(reason) if hold.good_after(reason) => Unit::Restored,
        Ending::Restored(_) => Unit::Exhausted,
    };
    hold.end(ending);
    unit
}

/// Statuses whose responses never have a body (RFC 9110 §6.4.1).
fn has_no_body(status: StatusCode) -> bool {
    status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// Why nothing that the upstream said can be handed down.
#[derive(Debug, Error)]
enum Fault {
    /// The service's base and the path make no URI.
    #[error("no URI for the upstream: {0}")]
    Target(http::Error),
    /// No response.
    #[error(transparent)]
    Send(SendFault),
    /// A response that must not pass.
    #[error("the upstream answered {0}")]
    Misbehaved(StatusCode),
}

impl Fault {
    /// What it means for the unit.
    fn ending(&self) -> Ending {
        match self {
            Fault::Target(_) => Ending::Restored(RestoreReason::NotDispatched),
            Fault::Send(SendFault::Unreachable(_)) => Ending::Restored(RestoreReason::UpstreamUnreachable),
            Fault::Send(SendFault::Timeout) => Ending::Restored(RestoreReason::UpstreamTimeout),
            Fault::Send(SendFault::Broken(_)) | Fault::Misbehaved(_) => {
                Ending::Restored(RestoreReason::UpstreamError)
            }
            Fault::Send(SendFault::ClientBody | SendFault::ClientStalled) => Ending::Cancelled,
        }
    }

    /// What the client is told; the log gets the cause.
    fn problem(&self, unit: Option<Unit>) -> Problem {
        let (status, code, detail) = match self {
            Fault::Target(_) => {
                (StatusCode::BAD_GATEWAY, "bad_target", "The request cannot be addressed to the upstream.")
            }
            Fault::Send(SendFault::Unreachable(_)) => {
                (StatusCode::BAD_GATEWAY, "upstream_unreachable", "The upstream cannot be reached.")
            }
            Fault::Send(SendFault::Timeout) => {
                (StatusCode::GATEWAY_TIMEOUT, "upstream_timeout", "The upstream did not answer in time.")
            }
            Fault::Send(SendFault::Broken(_)) => {
                (StatusCode::BAD_GATEWAY, "upstream_failed", "The upstream broke off before it answered.")
            }
            Fault::Misbehaved(_) => (
                StatusCode::BAD_GATEWAY,
                "upstream_misbehaved",
                "The upstream gave an answer that cannot be passed on.",
            ),
            Fault::Send(SendFault::ClientBody) => {
                (StatusCode::BAD_REQUEST, "body_incomplete", "The request's body broke off.")
            }
            Fault::Send(SendFault::ClientStalled) => {
                (StatusCode::REQUEST_TIMEOUT, "body_stalled", "The request's body did not arrive in time.")
            }
        };
        match self {
            Fault::Send(SendFault::ClientBody | SendFault::ClientStalled) => {}
            fault => tracing::warn!(cause = %fault, code, "a request could not be forwarded"),
        }
        Problem { unit, ..Problem::new(status, code, detail) }
    }
}
