//! The 402: what a request that has not paid is answered with (PROTOCOLS §1, emission).
//!
//! Invariant: what a client pays by, the challenge in the headers, does not depend on who reads it; the
//! body does, and what guards a page.

mod page;
mod reader;

use axum::response::Response;
use http::header::{VARY, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, StatusCode};

use super::answer::{Notice, open_to_all, own};
use crate::checkout::{L402_OFFER, Offered};

pub(super) use reader::Reader;

const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// Demands payment of `reader` for what is `offered`.
pub(super) fn demand(offered: &Offered, reader: Reader) -> Response {
    let mut response = match reader {
        Reader::Program => own(StatusCode::PAYMENT_REQUIRED, offered.body().to_string()),
        Reader::Browser => open_to_all(page::page(offered)),
    };
    let notice = Notice { code: offered.code(), detail: offered.detail().to_owned() };
    response.extensions_mut().insert(notice);
    let headers = response.headers_mut();
    for challenge in offered.challenges() {
        headers.append(WWW_AUTHENTICATE, challenge);
    }
    headers.insert(VARY, HeaderValue::from_static("Accept, Authorization, Prefer"));
    if let Some(offer) = offered.applied() {
        let applied = HeaderValue::try_from(format!("{L402_OFFER}={offer}"))
            .expect("a name is small letters, digits, `-` and `_`");
        headers.insert(PREFERENCE_APPLIED, applied);
    }
    response
}
