//! Which of the client's headers may go upstream.

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header};

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

/// Fields that mean nothing, or too much, behind a body (RFC 9110 §6.5.1).
const NOT_BEHIND: [&str; 10] = [
    "authorization",
    "cache-control",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "cookie",
    "max-forwards",
    "range",
    "set-cookie",
];

fn passes_behind(name: &HeaderName) -> bool {
    passes(name) && !NOT_BEHIND.contains(&name.as_str())
}

/// The client's trailers that may go upstream.
pub fn cleaned_trailers(trailers: HeaderMap) -> HeaderMap {
    let mut cleaned = HeaderMap::with_capacity(trailers.len());
    for (name, value) in &trailers {
        if passes_behind(name) {
            cleaned.append(name, value.clone());
        }
    }
    cleaned
}

/// What `Trailer` announces, without what may not go upstream.
pub(super) fn announced_trailers(headers: &HeaderMap) -> Option<HeaderValue> {
    let said = headers.get_all(header::TRAILER).iter().filter_map(|value| value.to_str().ok());
    let names = said.flat_map(|value| value.split(',')).filter_map(|name| name.trim().parse().ok());
    let names: Vec<HeaderName> = names.filter(passes_behind).collect();
    let text = names.iter().map(HeaderName::as_str).collect::<Vec<_>>().join(", ");
    HeaderValue::try_from(text).ok().filter(|text| !text.is_empty())
}

/// Whether the list in `name` has `word`, in any letter case.
pub(super) fn lists(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    let items = headers.get_all(name).iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
    items.into_iter().any(|item| item.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
}

/// Whether a request asks for a WebSocket, and for nothing else beside it.
pub(super) fn asks_for_websocket(parts: &Parts) -> bool {
    let mut wanted = parts.headers.get_all(header::UPGRADE).iter();
    parts.version == Version::HTTP_11
        && parts.method == Method::GET
        && wanted.next().is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
        && wanted.next().is_none()
        && lists(&parts.headers, &header::CONNECTION, "upgrade")
        && !parts.headers.contains_key(header::TRANSFER_ENCODING)
        && parts.headers.get(header::CONTENT_LENGTH).is_none_or(|length| length == "0")
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

/// HTTP/2 may send each cookie by itself; in HTTP/1 they are one line (RFC 9113 §8.2.3).
pub(super) fn join_cookies(headers: &mut HeaderMap) {
    let crumbs: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if crumbs.len() > 1
        && let Ok(cookie) = HeaderValue::from_bytes(&crumbs.join(b"; ".as_slice()))
    {
        headers.insert(header::COOKIE, cookie);
    }
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
