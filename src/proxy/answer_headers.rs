//! Which of the upstream's response headers pass, and what is said about the payment.

use axum::response::Response;
use http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH,
    ORIGIN, TRAILER, VARY, WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::unit::{Unit, X_TOLLHOUSE_UNIT};
use crate::metering::{Hold, Receipt, X_TOLLHOUSE_LEFT};
use crate::payment_auth::{PAYMENT_RECEIPT, receipt};
use crate::types::Timestamp;

/// The payment hash of the token that was used.
pub(super) const X_TOLLHOUSE_PAYMENT_HASH: HeaderName = HeaderName::from_static("x-tollhouse-payment-hash");
/// What the request costs at most; under a pass nothing more.
pub(super) const X_TOLLHOUSE_AMOUNT_MSAT: HeaderName = HeaderName::from_static("x-tollhouse-amount-msat");

/// Marks an answer that was sent before (`true`).
pub(super) const X_TOLLHOUSE_REPLAYED: HeaderName = HeaderName::from_static("x-tollhouse-replayed");

/// What a web page of another site may read of an answer, beside what it always may.
pub(super) const EXPOSED: HeaderValue = HeaderValue::from_static(
    "WWW-Authenticate, Payment-Receipt, Retry-After, Preference-Applied, X-Tollhouse-Unit, X-Tollhouse-Left, \
     X-Tollhouse-Payment-Hash, X-Tollhouse-Amount-Msat, X-Tollhouse-Replayed",
);

/// Headers of one hop, and those by which an upstream would steer clients or servers in front.
const DROPPED: [&str; 11] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "alt-svc",
    "clear-site-data",
    // It would be of another payment than the client's.
    "payment-receipt",
];

/// Headers that would let a cache keep what was paid for (THREATS 13).
const CACHING: [&str; 5] = ["expires", "pragma", "surrogate-control", "edge-control", "cdn-cache-control"];

/// The upstream's headers without what must not pass (THREATS 12, 14).
pub(super) fn passing(upstream: &HeaderMap) -> HeaderMap {
    let nominated: Vec<String> = upstream
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        // A hostile nomination must not take the length of a body or the guard of a cache.
        .filter(|name| name != CONTENT_LENGTH.as_str() && name != CACHE_CONTROL.as_str())
        .collect();
    let mut passing = HeaderMap::with_capacity(upstream.len());
    for (name, value) in upstream {
        let text = name.as_str();
        let dropped = DROPPED.contains(&text)
            || text.starts_with("x-tollhouse-")
            || text.starts_with("x-accel-")
            || (name == WWW_AUTHENTICATE && is_payment_challenge(value))
            || nominated.iter().any(|n| n == text);
        if !dropped {
            passing.append(name, value.clone());
        }
    }
    passing
}

/// What the upstream announces behind its answer, without what must not pass.
pub(super) fn announced_trailers(upstream: &HeaderMap) -> Option<HeaderValue> {
    let said = upstream.get_all(TRAILER).iter().filter_map(|value| value.to_str().ok());
    let names = said.flat_map(|value| value.split(',')).filter_map(|name| name.trim().parse().ok());
    let names: Vec<HeaderName> = names
        .filter(|name: &HeaderName| {
            !DROPPED.contains(&name.as_str()) && !name.as_str().starts_with("x-tollhouse-")
        })
        .collect();
    let text = names.iter().map(HeaderName::as_str).collect::<Vec<_>>().join(", ");
    HeaderValue::try_from(text).ok().filter(|text| !text.is_empty())
}

/// A challenge of a payment scheme anywhere in the value: it would send the client to pay another.
fn is_payment_challenge(value: &HeaderValue) -> bool {
    value.as_bytes().split(|b| *b == b',').any(|part| {
        let scheme = part.trim_ascii().split(u8::is_ascii_whitespace).next().unwrap_or_default();
        ["l402", "lsat", "payment"].iter().any(|own| scheme.eq_ignore_ascii_case(own.as_bytes()))
    })
}

/// Marks a response as paid for: no shared cache may keep it, and a browser may read it. What it comes
/// to is what `hold` says as long as it has not ended.
pub(super) fn paid(headers: &mut HeaderMap, client: &HeaderMap, hold: &Hold, unit: Unit) {
    for name in CACHING {
        headers.remove(name);
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    headers.append(VARY, HeaderValue::from_static("Authorization"));
    headers.insert(X_TOLLHOUSE_UNIT, HeaderValue::from_static(unit.as_str()));
    let (amount, left) = match unit {
        Unit::Held | Unit::Spent => (hold.most(), hold.left_if_charged()),
        Unit::Restored | Unit::Exhausted => (0, hold.left_if_restored()),
    };
    headers.insert(X_TOLLHOUSE_AMOUNT_MSAT, HeaderValue::from(amount));
    headers.insert(X_TOLLHOUSE_LEFT, HeaderValue::from(left));
    if let Ok(hash) = HeaderValue::try_from(hold.sale().payment_hash.to_hex()) {
        headers.insert(X_TOLLHOUSE_PAYMENT_HASH, hash);
    }
    // The preflight let the page send its token; it may read what it paid for. An upstream that
    // has a policy of its own keeps it.
    if client.contains_key(ORIGIN) && !headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
}

/// Gives whoever paid by the `Payment` scheme its receipt, with an answer that is a success: other answers
/// must not have one (draft-httpauth-payment, "Receipt Status Semantics").
pub(super) fn receipted(headers: &mut HeaderMap, status: StatusCode, hold: &Hold, now: Timestamp) {
    let paid = hold.challenge_id().filter(|_| status.is_success());
    if let Some(receipt) = paid.and_then(|id| receipt(id, hold.sale().payment_hash, now)) {
        headers.insert(PAYMENT_RECEIPT, receipt);
    }
}

/// Says what a request without an answer's body came to, when it was metered.
pub(super) fn settled(headers: &mut HeaderMap, receipt: Option<Receipt>) {
    if let Some(Receipt { charged, left }) = receipt {
        headers.insert(X_TOLLHOUSE_AMOUNT_MSAT, HeaderValue::from(charged));
        headers.insert(X_TOLLHOUSE_LEFT, HeaderValue::from(left));
    }
}

/// Says what became of the unit.
pub(super) fn told(mut response: Response, unit: Unit) -> Response {
    response.headers_mut().insert(X_TOLLHOUSE_UNIT, HeaderValue::from_static(unit.as_str()));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn an_upstream_cannot_steer_the_client() {
        let passed = passing(&map(&[
            ("content-type", "text/plain"),
            ("connection", "x-hop, content-length, cache-control"),
            ("x-hop", "1"),
            ("content-length", "3"),
            ("alt-svc", "h3=\":1\""),
            ("clear-site-data", "*"),
            ("x-tollhouse-unit", "restored"),
            ("x-accel-redirect", "/secret"),
            ("www-authenticate", "L402 macaroon=\"x\", invoice=\"y\""),
            ("www-authenticate", "Basic realm=\"a\", LSAT macaroon=\"x\""),
            ("www-authenticate", "Payment id=\"x\""),
            ("www-authenticate", "Bearer realm=\"a\""),
            ("set-cookie", "a=b"),
            ("set-cookie", "c=d"),
        ]));
        let lines: Vec<String> =
            passed.iter().map(|(n, v)| format!("{n}: {}", v.to_str().expect("text"))).collect();
        assert_eq!(
            lines,
            [
                "content-type: text/plain",
                "content-length: 3",
                "www-authenticate: Bearer realm=\"a\"",
                "set-cookie: a=b",
                "set-cookie: c=d",
            ]
        );
    }
}
