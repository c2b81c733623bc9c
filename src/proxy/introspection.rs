//! `GET /.well-known/l402/token` with a credential: what it is good for. It costs nothing and holds
//! nothing, at any host that this gateway answers to.
//!
//! A credential that is no good is not a failed request here: 200, and `state` and `code` say so. Only
//! what cannot be read, or is not there, is 400. An operator's own route of exactly this path goes before
//! it.

use axum::body::Body;
use axum::response::Response;
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE, VARY};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::ProxyState;
use super::answer::{Problem, is_preflight, preflight};
use super::discovery::has_its_own;
use crate::checkout::{NotInspected, Refused};
use crate::request::CanonicalRequest;

/// Where holders ask.
const PATH: &str = "/.well-known/l402/token";

/// Answers when the request is such a question.
pub(super) async fn answer(
    state: &ProxyState,
    request: &CanonicalRequest,
    headers: &HeaderMap,
) -> Option<Response> {
    if request.path() != PATH || has_its_own(&state.checkout.price_list(), request.host(), PATH) {
        return None;
    }
    if is_preflight(request.method(), headers) {
        return Some(preflight(headers));
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let detail = "Ask with GET.";
        return Some(Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail).render());
    }
    Some(match state.checkout.inspect(headers, request.peer()).await {
        Ok(inspection) => told(inspection.json().to_string()),
        Err(NotInspected::Malformed(malformed)) => Problem::from(Refused::Malformed(malformed)).render(),
        Err(NotInspected::TooMany(refused)) => Problem::from(Refused::TooMany(refused)).render(),
        Err(NotInspected::Ledger(error)) => Problem::from(Refused::Ledger(error)).render(),
        Err(error @ NotInspected::NoCredential) => {
            Problem::new(StatusCode::BAD_REQUEST, "no_credential", format!("{error}.")).render()
        }
    })
}

fn told(text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(VARY, HeaderValue::from_static("Authorization"));
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}
