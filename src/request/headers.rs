//! Which of the client's headers may go upstream.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{CREDENTIAL_HEADERS, Inadmissible};

/// Headers of one hop (RFC 9110 §7.6.1), with those that the proxy sets itself.
const HOP_BY_HOP: [&str; 12] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
    "host",
    // Answered by our own server when the body is first read.
    "expect",
];

/// Headers by which a client would claim to be another, or to ask for another thing (THREATS 10).
const CLAIMS: [&str; 18] = [
    "forwarded",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-original-url",
    "x-original-uri",
    "x-original-host",
    "x-original-method",
    "x-original-forwarded-for",
    "x-rewrite-url",
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
    "x-host",
    "true-client-ip",
    "cf-connecting-ip",
    "fastly-client-ip",
    "proxy",
];

/// Headers that `Connection` may not nominate: to strip them would change what the request means.
const NOT_NOMINABLE: [&str; 13] = [
    "host",
    "authorization",
    "macaroon",
    "grpc-metadata-macaroon",
    "payment-authorization",
    "cookie",
    "content-length",
    "content-type",
    "content-encoding",
    "cache-control",
    "range",
    "origin",
    "idempotency-key",
];

/// The client's headers that may go upstream.
pub(super) fn cleaned(headers: &HeaderMap) -> Result<HeaderMap, Inadmissible> {
    let nominated = nominated(headers)?;
    let mut cleaned = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        let own = name == header::AUTHORIZATION && carries_our_credential(value);
        if !own && passes(name) && !nominated.iter().any(|n| n == name.as_str()) {
            cleaned.append(name, value.clone());
        }
    }
    Ok(cleaned)
}

fn passes(name: &HeaderName) -> bool {
    let text = name.as_str();
    !(HOP_BY_HOP.contains(&text)
        || CLAIMS.contains(&text)
        || CREDENTIAL_HEADERS.contains(name)
        || text.starts_with("x-forwarded-")
        || text.starts_with("x-tollhouse-")
        // Some servers read `X_Real_IP` as `X-Real-IP`.
        || text.contains('_'))
}

/// What `Connection` nominates to be stripped, lower-cased.
fn nominated(headers: &HeaderMap) -> Result<Vec<String>, Inadmissible> {
    let mut names = Vec::new();
    for value in headers.get_all(header::CONNECTION) {
        let text = value
            .to_str()
            .map_err(|_| Inadmissible::bad("bad_connection", "the Connection header is not text"))?;
        for name in text.split(',').map(|n| n.trim().to_ascii_lowercase()) {
            if NOT_NOMINABLE.contains(&name.as_str()) {
                let detail = format!("the Connection header nominates `{name}`");
                return Err(Inadmissible::bad("bad_connection", detail));
            }
            names.push(name);
        }
    }
    Ok(names)
}

/// Whether an `Authorization` value has a credential of ours in it, alone or in a list.
fn carries_our_credential(value: &HeaderValue) -> bool {
    value.as_bytes().split(|b| *b == b',').any(|part| {
        let part = part.trim_ascii_start();
        let scheme = part.split(|b| matches!(b, b' ' | b'\t')).next().unwrap_or_default();
        ["l402", "lsat", "payment"].iter().any(|own| scheme.eq_ignore_ascii_case(own.as_bytes()))
    })
}
