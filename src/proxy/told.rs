//! What upstreams read about the request: what it was sold as, and what paid for it.
//!
//! The client's own headers of these names never arrive (`request::headers`), so what an upstream reads
//! under them is ours. A free request, and one on trial, says its service and route alone.

use http::header::ACCEPT_ENCODING;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::answer_headers::{X_TOLLHOUSE_AMOUNT_MSAT, X_TOLLHOUSE_PAYMENT_HASH};
use crate::catalog::Matched;
use crate::metering::{Hold, X_TOLLHOUSE_LEFT};

const X_TOLLHOUSE_SERVICE: HeaderName = HeaderName::from_static("x-tollhouse-service");
const X_TOLLHOUSE_ROUTE: HeaderName = HeaderName::from_static("x-tollhouse-route");

/// Headers that the gateway adds to a request.
#[derive(Debug)]
pub(super) struct Told(HeaderMap);

impl Told {
    /// Of a request for `matched`.
    pub(super) fn of(matched: &Matched) -> Told {
        let mut told = HeaderMap::new();
        for (name, text) in [
            (X_TOLLHOUSE_SERVICE, matched.service.name.as_str()),
            (X_TOLLHOUSE_ROUTE, matched.route.as_str()),
        ] {
            if let Ok(value) = HeaderValue::from_str(text) {
                told.insert(name, value);
            }
        }
        Told(told)
    }

    /// Of one that `hold` pays for: at most so much, and what its token has left after it.
    pub(super) fn paid_by(mut self, hold: &Hold) -> Told {
        self.0.insert(X_TOLLHOUSE_AMOUNT_MSAT, HeaderValue::from(hold.most()));
        self.0.insert(X_TOLLHOUSE_LEFT, HeaderValue::from(hold.left_if_charged()));
        if let Ok(hash) = HeaderValue::try_from(hold.sale().payment_hash.to_hex()) {
            self.0.insert(X_TOLLHOUSE_PAYMENT_HASH, hash);
        }
        self
    }

    /// Of one whose answer is to be read on its way.
    pub(super) fn in_plain_text(mut self) -> Told {
        self.0.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        self
    }

    /// Puts them in the place of what `headers` have under these names.
    pub(super) fn tell(self, headers: &mut HeaderMap) {
        for (name, value) in self.0 {
            // No name is there twice.
            let Some(name) = name else { continue };
            headers.insert(name, value);
        }
    }
}
