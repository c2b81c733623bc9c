//! What the gateway itself answers: problem details (RFC 9457) and CORS preflights.

use axum::body::Body;
use axum::response::Response;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, VARY,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde_json::json;

use super::answer_headers::{EXPOSED, X_TOLLHOUSE_REPLAYED};
use super::unit::{Unit, X_TOLLHOUSE_UNIT};
use crate::checkout::Refused;
use crate::metering::KeptAnswer;
use crate::ports::{CannotReceive, NotOpened};
use crate::request::{Inadmissible, METHODS};
use crate::store::StoreError;

const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");
const ANY: HeaderValue = HeaderValue::from_static("*");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// What an answer of the gateway's own says, for readers that get no body: kept among its extensions.
#[derive(Clone, Debug)]
pub(super) struct Notice {
    pub(super) code: &'static str,
    pub(super) detail: String,
}

/// An answer of the gateway's own that is no 402.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) detail: String,
    /// What became of the request's unit, if it came with one.
    pub(super) unit: Option<Unit>,
    pub(super) retry_after: Option<u16>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Problem {
        Problem { status, code, detail: detail.into(), unit: None, retry_after: None }
    }

    pub(super) fn render(self) -> Response {
        let detail = format!("{}{}", self.detail, self.unit.map_or("", Unit::told));
        let mut body = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "code": self.code,
            "detail": detail,
        });
        if let Some(unit) = self.unit {
            body["unit"] = unit.as_str().into();
        }
        let mut response = own(self.status, body.to_string());
        if let Some(unit) = self.unit {
            response.headers_mut().insert(X_TOLLHOUSE_UNIT, HeaderValue::from_static(unit.as_str()));
        }
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            response.headers_mut().insert(ALLOW, methods());
        }
        response.extensions_mut().insert(Notice { code: self.code, detail });
        response
    }
}

impl From<Inadmissible> for Problem {
    fn from(refused: Inadmissible) -> Problem {
        Problem::new(refused.status, refused.code, format!("The request was not let in: {}.", refused.detail))
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Problem {
        let unavailable = |code, detail: &str| Problem {
            retry_after: Some(30),
            ..Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, detail)
        };
        match refused {
            Refused::Malformed(malformed) => {
                Problem::new(StatusCode::BAD_REQUEST, malformed.code(), format!("{malformed}."))
            }
            Refused::TooMany(why) => Problem {
                retry_after: Some(why.retry_after()),
                ..Problem::new(StatusCode::TOO_MANY_REQUESTS, why.code(), format!("There were {why}."))
            },
            Refused::InFlight => Problem {
                retry_after: Some(1),
                ..Problem::new(
                    StatusCode::CONFLICT,
                    "in_flight",
                    "Another request with this token is still under way. Do not pay again: ask again in a second.",
                )
            },
            Refused::Unpriced(why) => {
                tracing::warn!(%why, code = why.code(), "no challenge: the request has no price");
                unavailable(why.code(), "What this request costs cannot be told now, so it is not sold.")
            }
            Refused::NotForSale(why) => Problem::new(
                StatusCode::FORBIDDEN,
                "not_for_sale",
                format!("No offer pays for this request: {why}."),
            ),
            Refused::CannotReceive(why) => {
                tracing::warn!(%why, "no challenge: the price cannot be received");
                let detail = match &why {
                    // Whom we buy channels of is nobody's business.
                    CannotReceive::NotOpened(why) if !matches!(why, NotOpened::Away(_)) => format!(
                        "No channel can carry this payment now, so nothing is sold: {why}. No invoice was made."
                    ),
                    _ => "No payment can be received at the moment, so nothing is sold. No invoice was made."
                        .to_owned(),
                };
                unavailable("cannot_receive", &detail)
            }
            Refused::Doubted(why) => {
                unavailable(why.code(), &format!("The token is not taken now: {why}. Nothing was charged."))
            }
            Refused::Ledger(StoreError::Busy) => Problem {
                retry_after: Some(1),
                ..unavailable("busy", "Too many requests are under way. Nothing was charged.")
            },
            Refused::Ledger(error) => {
                tracing::error!(%error, "a unit could not be reserved");
                unavailable("ledger_unavailable", "The ledger cannot be written to. Nothing was charged.")
            }
        }
    }
}

/// An answer that was paid for and sent before.
pub(super) fn replayed(kept: KeptAnswer) -> Response {
    let mut response = Response::new(Body::from(kept.body));
    *response.status_mut() = kept.status;
    *response.headers_mut() = kept.headers;
    // By now the unit is not held any more.
    let headers = response.headers_mut();
    headers.insert(X_TOLLHOUSE_UNIT, HeaderValue::from_static(Unit::Spent.as_str()));
    headers.insert(X_TOLLHOUSE_REPLAYED, HeaderValue::from_static("true"));
    response
}

/// A problem document that no cache keeps and that any web page may read.
pub(super) fn own(status: StatusCode, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, PROBLEM);
    open_to_all(response)
}

/// Lets any web page read an answer of our own, and no cache keep it.
pub(super) fn open_to_all(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, NO_STORE);
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, ANY);
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    response
}

/// Whether a browser only asks what it may send (Fetch, "CORS-preflight request").
pub(super) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// Answers a preflight: any page may ask and pay, none may send cookies.
pub(super) fn preflight(asked: &HeaderMap) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, ANY);
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods());
    // `*` does not cover Authorization, so the names that were asked for are repeated.
    let names = asked.get(ACCESS_CONTROL_REQUEST_HEADERS).cloned().unwrap_or(ANY);
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, names);
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    headers.insert(VARY, HeaderValue::from_static("Access-Control-Request-Headers"));
    headers.insert(CACHE_CONTROL, NO_STORE);
    response
}

fn methods() -> HeaderValue {
    let names: Vec<&str> = METHODS.iter().map(Method::as_str).collect();
    HeaderValue::try_from(names.join(", ")).expect("method names are header text")
}
