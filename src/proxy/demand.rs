//! The 402: what a request that has not paid is answered with (PROTOCOLS §1, emission).
//!
//! Invariant: the headers do not depend on who asks; only the body does.

use axum::response::Response;
use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::answer::own;
use crate::checkout::{L402_OFFER, Offered};

const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// Who reads the 402.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    /// A program: problem details.
    Program,
}

impl Reader {
    /// Whoever sent `headers`.
    pub(super) fn of(_headers: &HeaderMap) -> Reader {
        Reader::Program
    }
}

/// Demands payment of `reader` for what is `offered`.
pub(super) fn demand(offered: &Offered, reader: Reader) -> Response {
    let mut response = match reader {
        Reader::Program => own(StatusCode::PAYMENT_REQUIRED, offered.body().to_string()),
    };
    let headers = response.headers_mut();
    headers.insert(WWW_AUTHENTICATE, offered.challenge().header_value());
    if let Some(offer) = offered.applied() {
        let applied = HeaderValue::try_from(format!("{L402_OFFER}={offer}"))
            .expect("a name is small letters, digits, `-` and `_`");
        headers.insert(PREFERENCE_APPLIED, applied);
    }
    response
}
