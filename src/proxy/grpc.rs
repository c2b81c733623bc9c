//! How the gateway speaks to callers that know gRPC alone: always 200, and what is the matter in
//! `Grpc-Status` and `Grpc-Message`, with no body (a "trailers-only" answer).
//!
//! A call that has to be paid for gets status 13 and the message `payment required` (PROTOCOLS §1). The stable
//! code of any refusal is in `X-Tollhouse-Code`.

use std::fmt::Write;

use axum::body::Body;
use axum::response::Response;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, StatusCode};

use super::answer::Notice;
use crate::metering::GRPC_STATUS;

const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// The stable code of what the gateway itself answers a gRPC call.
pub(super) const X_TOLLHOUSE_CODE: HeaderName = HeaderName::from_static("x-tollhouse-code");

/// What has to be said of a call that has to be paid for.
const PAYMENT_REQUIRED: &str = "payment required";

/// Says `response`, if it is the gateway's own, in gRPC; `kind` is the call's `Content-Type`.
pub(super) fn in_grpc(mut response: Response, kind: HeaderValue) -> Response {
    let Some(told) = response.extensions_mut().remove::<Notice>() else { return response };
    let status = response.status();
    let (code, message) = match status {
        StatusCode::PAYMENT_REQUIRED => (13, PAYMENT_REQUIRED.to_owned()),
        status => (code_of(status), told.detail),
    };
    *response.status_mut() = StatusCode::OK;
    *response.body_mut() = Body::empty();
    let headers = response.headers_mut();
    headers.remove(CONTENT_LENGTH);
    headers.insert(CONTENT_TYPE, kind);
    headers.insert(GRPC_STATUS, HeaderValue::from(code));
    if let Ok(message) = HeaderValue::try_from(escaped(&message)) {
        headers.insert(GRPC_MESSAGE, message);
    }
    headers.insert(X_TOLLHOUSE_CODE, HeaderValue::from_static(told.code));
    response
}

/// The gRPC status nearest to an HTTP one that the gateway answers.
fn code_of(status: StatusCode) -> u16 {
    match status.as_u16() {
        400 | 411 | 414 => 3,
        401 => 16,
        403 => 7,
        404 | 405 | 501 | 505 => 12,
        408 | 504 => 4,
        409 => 10,
        413 | 429 | 431 => 8,
        502 | 503 => 14,
        _ => 13,
    }
}

/// Percent-encodes what may not stand in `Grpc-Message`.
fn escaped(message: &str) -> String {
    let mut text = String::with_capacity(message.len());
    for byte in message.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => text.push(char::from(byte)),
            _ => {
                let _ = write!(text, "%{byte:02X}");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_escaped() {
        assert_eq!(escaped("100 % of \u{e9}\n"), "100 %25 of %C3%A9%0A");
    }
}
