//! Sends an admitted request upstream and hands its response down.

use axum::body::Body;
use axum::response::Response;
use http::header::{CONTENT_LENGTH, TRAILER};
use http::{HeaderMap, Method, Request, StatusCode, response};
use http_body::Body as _;
use hyper::body::Incoming;
use thiserror::Error;

use super::ProxyState;
use super::answer::Problem;
use super::answer_headers::{announced_trailers, paid, passing, receipted, settled, told as with_unit};
use super::body::{ClientBody, UpstreamBody};
use super::demand::{Reader, demand};
use super::target;
use super::told::Told;
use super::tunnel::{Entrance, Passage, is_websocket, switched};
use super::unit::Unit;
use super::upstream::SendFault;
use crate::catalog::{Matched, Service};
use crate::checkout::{Outcome, UpstreamLook};
use crate::ledger::{Ending, ReserveRefused, RestoreReason};
use crate::metering::{
    Behind, Fare, Hold, MeteredBody, ShadowBody, Shadowed, TRAILERS, TooDear, grpc_failure,
};
use crate::request::CanonicalRequest;
use crate::types::Name;

/// A paid request, and what it is for.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) request: CanonicalRequest,
    /// As the client sent them.
    pub(super) headers: HeaderMap,
    pub(super) matched: Matched,
}

/// What an upstream says.
enum Said {
    /// An answer; its head has only the headers that pass.
    Answer(response::Parts, UpstreamBody),
    /// That it switches to a WebSocket, which was asked for.
    Switch(HeaderMap, Passage),
}

impl ProxyState {
    /// Forwards a request that costs nothing.
    pub(super) async fn forward_open(
        &self,
        request: &CanonicalRequest,
        matched: &Matched,
        body: Body,
        entrance: Option<Entrance>,
    ) -> Response {
        match self.send(request, matched, body, Told::of(matched), entrance, || {}).await {
            Ok(Said::Answer(parts, body)) => Response::from_parts(parts, Body::new(body)),
            Ok(Said::Switch(headers, passage)) => self.switch(headers, passage, None),
            Err(fault) => fault.problem(None).render(),
        }
    }

    /// Forwards a request that costs nothing on trial, and counts what it would have cost.
    pub(super) async fn forward_shadowed(
        &self,
        request: &CanonicalRequest,
        body: Body,
        mut shadowed: Shadowed,
        entrance: Option<Entrance>,
    ) -> Response {
        let mut told = Told::of(shadowed.matched());
        if shadowed.reads_json() {
            told = told.in_plain_text();
        }
        let matched = shadowed.matched().clone();
        match self.send(request, &matched, body, told, entrance, || {}).await {
            Ok(Said::Answer(parts, body)) => {
                let bodiless = request.method() == Method::HEAD || has_no_body(parts.status);
                let length = if bodiless { Some(0) } else { body.size_hint().exact() };
                // Without messages gRPC says in the head how the call ended; with them, behind them.
                let failed = grpc_failure(&parts.headers).filter(|_| body.is_end_stream());
                let status = failed.unwrap_or(parts.status);
                shadowed.head(status, &parts.headers, length);
                Response::from_parts(parts, Body::new(ShadowBody::new(body, shadowed)))
            }
            Ok(Said::Switch(headers, passage)) => {
                // What goes through would be charged by its bytes; on trial the opening is what counts.
                shadowed.unseen();
                self.switch(headers, passage, None)
            }
            Err(fault) => fault.problem(None).render(),
        }
    }

    /// Forwards a request that a unit is held for, and ends the hold by what comes back.
    pub(super) async fn forward_paid(
        &self,
        asked: &Asked,
        body: Body,
        mut hold: Hold,
        entrance: Option<Entrance>,
    ) -> Response {
        let Asked { request, matched, .. } = asked;
        let mut told = Told::of(matched).paid_by(&hold);
        if hold.reads_json() {
            told = told.in_plain_text();
        }
        let taken_back = hold.taken_back().cloned().unwrap_or_default();
        let sending = self.send(request, matched, body, told, entrance, || hold.dispatched());
        let sent = tokio::select! {
            biased;
            // Whoever waits for the upstream's head is told at once, however long that takes.
            () = taken_back.cancelled() => None,
            sent = sending => Some(sent),
        };
        let (mut parts, body) = match sent {
            None => return self.revoked(asked, hold),
            Some(Ok(Said::Answer(parts, body))) => (parts, body),
            Some(Ok(Said::Switch(headers, passage))) => {
                return self.switch_paid(asked, hold, headers, passage);
            }
            Some(Err(fault)) => {
                let unit = end(hold, fault.ending());
                return fault.problem(Some(unit)).render();
            }
        };
        // Without messages gRPC says in the head how the call ended; with them, behind them.
        let failed = grpc_failure(&parts.headers).filter(|_| body.is_end_stream());
        let status = failed.unwrap_or(parts.status);
        if let Some(reason) = hold.restored_by(status) {
            paid(&mut parts.headers, request.headers(), &hold, unit_after(&hold, Ending::Restored(reason)));
            hold.end(Ending::Restored(reason));
            return Response::from_parts(parts, Body::new(body));
        }
        let bodiless = request.method() == Method::HEAD || has_no_body(parts.status);
        let length = if bodiless { Some(0) } else { body.size_hint().exact() };
        if let Err(dear) = hold.head(parts.status, &parts.headers, length) {
            return self.too_dear(asked, hold, dear);
        }
        receipted(&mut parts.headers, parts.status, &hold, self.checkout.now());
        if bodiless {
            paid(&mut parts.headers, request.headers(), &hold, Unit::Spent);
            hold.record_head(parts.status, &parts.headers, 0);
            let metered = hold.is_metered();
            settled(&mut parts.headers, Some(hold.end(Ending::Delivered)).filter(|_| metered));
            return Response::from_parts(parts, Body::empty());
        }
        let ended = body.is_end_stream() && !hold.is_metered();
        let unit = if ended { Unit::Spent } else { Unit::Held };
        paid(&mut parts.headers, request.headers(), &hold, unit);
        hold.record_head(parts.status, &parts.headers, body.size_hint().lower());
        let behind = if hold.is_metered() && length.is_none() && request.takes_trailers() {
            parts.headers.append(TRAILER, TRAILERS);
            Behind::Trailers
        } else {
            Behind::Nothing
        };
        Response::from_parts(parts, Body::new(MeteredBody::new(body, hold, behind)))
    }

    /// Ends a request whose token was taken back before the upstream answered. What was held is taken too.
    fn revoked(&self, asked: &Asked, hold: Hold) -> Response {
        let facts = hold.bill().request.clone();
        hold.end(Ending::Restored(RestoreReason::Revoked));
        let (code, detail) = (ReserveRefused::Revoked.code(), ReserveRefused::Revoked.to_string());
        let why = (code, detail.clone());
        match self.checkout.offer_again(&asked.matched, &asked.request, &asked.headers, &facts, why) {
            Outcome::Challenge(offered) => demand(&offered, Reader::of(&asked.headers)),
            Outcome::Refused(refused) => Problem::from(refused).render(),
            _ => Problem::new(StatusCode::PAYMENT_REQUIRED, code, detail).render(),
        }
    }

    /// Opens a tunnel behind the upstream's 101.
    fn switch(&self, headers: HeaderMap, passage: Passage, fare: Option<Fare>) -> Response {
        self.open(passage, fare, self.checkout.cut().clone());
        switched(headers)
    }

    /// Opens a tunnel that `hold` pays for.
    fn switch_paid(
        &self,
        asked: &Asked,
        mut hold: Hold,
        mut headers: HeaderMap,
        passage: Passage,
    ) -> Response {
        if let Err(dear) = hold.head(StatusCode::SWITCHING_PROTOCOLS, &headers, None) {
            return self.too_dear(asked, hold, dear);
        }
        let unit = if hold.is_metered() { Unit::Held } else { Unit::Spent };
        paid(&mut headers, asked.request.headers(), &hold, unit);
        // There is no answer to keep: a tunnel happens once.
        hold.forget();
        self.switch(headers, passage, Some(Fare::begin(hold)))
    }

    /// Refuses an answer that would cost more than what is held, before anything of it passes.
    fn too_dear(&self, asked: &Asked, hold: Hold, dear: TooDear) -> Response {
        let facts = hold.bill().request.clone();
        let too_small = hold.too_small(dear.cost.msat());
        // One request costs no more than its ceiling, whatever the answer would have.
        let most = hold.bill().quote.as_ref().map_or(dear.cost, |quote| quote.most);
        let unit = end(hold, Ending::Restored(RestoreReason::TooDear(dear.cost.min(most))));
        let refused =
            |status, code, detail| Problem { unit: Some(unit), ..Problem::new(status, code, detail) };
        let cost = dear.cost;
        if dear.beyond_ceiling {
            let detail = format!(
                "This answer would cost {cost} or more, and one request costs at most {} msat: ask for less at a time.",
                dear.held
            );
            return refused(StatusCode::FORBIDDEN, "ceiling_reached", detail).render();
        }
        let why = (too_small.code(), too_small.to_string());
        match self.checkout.offer_again(&asked.matched, &asked.request, &asked.headers, &facts, why) {
            Outcome::Challenge(offered) => with_unit(demand(&offered, Reader::of(&asked.headers)), unit),
            Outcome::Refused(refused) => Problem { unit: Some(unit), ..Problem::from(refused) }.render(),
            _ => refused(StatusCode::PAYMENT_REQUIRED, too_small.code(), too_small.to_string()).render(),
        }
    }

    /// Sends once; the response comes with only the headers that pass. Counts how the upstream fared.
    async fn send(
        &self,
        request: &CanonicalRequest,
        matched: &Matched,
        body: Body,
        told: Told,
        entrance: Option<Entrance>,
        sent: impl FnMut() + Send,
    ) -> Result<Said, Fault> {
        let Matched { service, route, .. } = matched;
        let (tally, begun) = (self.checkout.tally(), self.checkout.steady());
        let said = self.ask(request, service, body, told, entrance, sent).await;
        match &said {
            Ok(said) => {
                let status = match said {
                    Said::Answer(parts, _) => parts.status,
                    Said::Switch(..) => StatusCode::SWITCHING_PROTOCOLS,
                };
                let took = self.checkout.steady().saturating_sub(begun);
                tally.answered(&service.name, route, status.as_u16(), took);
            }
            Err(fault) => {
                if let Some(code) = fault.of_upstream() {
                    tally.failed(&service.name, route, code);
                }
            }
        }
        said
    }

    async fn ask(
        &self,
        request: &CanonicalRequest,
        service: &Service,
        body: Body,
        told: Told,
        entrance: Option<Entrance>,
        sent: impl FnMut() + Send,
    ) -> Result<Said, Fault> {
        let upstream = &service.upstream;
        let (body, upload) = ClientBody::new(body);
        let mut outgoing = Request::new(());
        *outgoing.method_mut() = request.method().clone();
        *outgoing.version_mut() = target::version(upstream, request);
        *outgoing.uri_mut() = target::uri(upstream, request).map_err(Fault::Target)?;
        *outgoing.headers_mut() =
            target::headers(upstream, request, &body.size_hint(), &self.config.public_scheme);
        told.tell(outgoing.headers_mut());
        let waits = self.config.waits(upstream);
        let answer = self.upstreams.send(outgoing.map(|()| body), &upload, &waits, sent).await;
        self.note(&service.name, &answer);
        let mut answer = answer.map_err(Fault::Send)?;
        if let Some(entrance) = entrance.filter(|_| is_websocket(answer.status(), answer.headers())) {
            let passage = Passage { entrance, upstream: hyper::upgrade::on(&mut answer) };
            return Ok(Said::Switch(passing(answer.headers()), passage));
        }
        let (parts, body) = answer.into_parts();
        if parts.status == StatusCode::PAYMENT_REQUIRED || parts.status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Fault::Misbehaved(parts.status));
        }
        let parts = self.passing(parts, &body, request);
        Ok(Said::Answer(parts, UpstreamBody::new(body, upload, waits.idle)))
    }

    /// Remembers how an upstream answered. What the client broke off says nothing of it.
    fn note(&self, service: &Name, answer: &Result<Response<Incoming>, SendFault>) {
        let answer = match answer {
            Ok(response) => Ok(response.status()),
            Err(SendFault::Unreachable(_)) => Err("upstream_unreachable"),
            Err(SendFault::Timeout) => Err("upstream_timeout"),
            Err(SendFault::Broken(_)) => Err("upstream_failed"),
            Err(SendFault::ClientBody | SendFault::ClientStalled) => return,
        };
        self.checkout.upstreams().note(service, UpstreamLook { at: self.checkout.now(), answer });
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
            if let Some(trailers) = announced_trailers(&upstream.headers).filter(|_| request.takes_trailers())
            {
                parts.headers.insert(TRAILER, trailers);
            }
        }
        parts
    }
}

/// Ends `hold` and says what that makes of its unit.
fn end(hold: Hold, ending: Ending) -> Unit {
    let unit = unit_after(&hold, ending);
    hold.end(ending);
    unit
}

/// What `ending` makes of the unit that is held.
fn unit_after(hold: &Hold, ending: Ending) -> Unit {
    match ending {
        Ending::Delivered | Ending::Charged(_) | Ending::Cancelled => Unit::Spent,
        Ending::Restored(reason) if hold.good_after(reason) => Unit::Restored,
        Ending::Restored(_) => Unit::Exhausted,
    }
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
    /// Its code, when it is the upstream's.
    fn of_upstream(&self) -> Option<&'static str> {
        match self {
            Fault::Send(SendFault::ClientBody | SendFault::ClientStalled) => None,
            Fault::Target(_) => Some("bad_target"),
            Fault::Send(SendFault::Unreachable(_)) => Some("upstream_unreachable"),
            Fault::Send(SendFault::Timeout) => Some("upstream_timeout"),
            Fault::Send(SendFault::Broken(_)) => Some("upstream_failed"),
            Fault::Misbehaved(_) => Some("upstream_misbehaved"),
        }
    }

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
