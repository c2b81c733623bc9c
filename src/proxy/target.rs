//! Where a request goes, and as what: the upstream's URI and the headers that it sees.

use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Uri, Version};
use http_body::SizeHint;

use crate::catalog::{Speaks, Upstream};
use crate::request::CanonicalRequest;
use crate::types::path::lies_under;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// The URI to ask: the canonical path without the stripped prefix, under the base's own path.
pub(super) fn uri(upstream: &Upstream, request: &CanonicalRequest) -> Result<Uri, http::Error> {
    let path = match &upstream.strip_prefix {
        // In any letter case: a request that is priced by a service is sent as one of it.
        Some(prefix) if lies_under(&request.path().to_ascii_lowercase(), &prefix.to_ascii_lowercase()) => {
            &request.path()[prefix.trim_end_matches('/').len()..]
        }
        _ => request.path(),
    };
    join(upstream, path, request.query())
}

/// The URI of a path at the upstream itself.
pub(super) fn uri_of(upstream: &Upstream, path: &str) -> Result<Uri, http::Error> {
    join(upstream, path, None)
}

fn join(upstream: &Upstream, path: &str, query: Option<&str>) -> Result<Uri, http::Error> {
    let base = upstream.base.path().trim_end_matches('/');
    let slash = if path.is_empty() && base.is_empty() { "/" } else { "" };
    let mut target = format!("{base}{slash}{path}");
    if let Some(query) = query {
        target.push('?');
        target.push_str(query);
    }
    Uri::builder()
        .scheme(upstream.base.scheme())
        .authority(&upstream.base[url::Position::BeforeHost..url::Position::AfterPort])
        .path_and_query(target)
        .build()
}

/// The HTTP that a request goes up in. Over TLS a gRPC call needs HTTP/2; all else is HTTP/1.1, unless the
/// upstream is known to speak HTTP/2.
pub(super) fn version(upstream: &Upstream, request: &CanonicalRequest) -> Version {
    let native = request.is_grpc() && !is_web(request.headers());
    match upstream.speaks {
        Speaks::Two => Version::HTTP_2,
        Speaks::One if native && upstream.base.scheme() == "https" => Version::HTTP_2,
        Speaks::One => Version::HTTP_11,
    }
}

/// gRPC-Web goes over any HTTP.
fn is_web(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    kind.to_ascii_lowercase().starts_with(b"application/grpc-web")
}

/// The headers to send: the client's cleaned ones, then ours, then the service's own.
pub(super) fn headers(
    upstream: &Upstream,
    request: &CanonicalRequest,
    body: &SizeHint,
    proto: &HeaderValue,
) -> HeaderMap {
    let version = version(upstream, request);
    let mut headers = request.headers().clone();
    let peer = request.peer().to_string();
    for (name, text) in [(X_FORWARDED_FOR, &*peer), (X_REAL_IP, &*peer), (X_FORWARDED_HOST, request.host())] {
        if let Ok(value) = HeaderValue::from_str(text) {
            headers.insert(name, value);
        }
    }
    let asked = request.scheme().and_then(|scheme| HeaderValue::from_str(scheme.as_str()).ok());
    headers.insert(X_FORWARDED_PROTO, asked.unwrap_or_else(|| proto.clone()));
    frame(&mut headers, body, version);
    if let Some(trailers) = request.announced_trailers().filter(|_| body.exact().is_none()) {
        headers.insert(TRAILER, trailers.clone());
    }
    if request.takes_trailers() {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    if version != Version::HTTP_2 {
        // In HTTP/2 the host is the URI's, and nothing is said of the hop.
        if request.takes_trailers() {
            headers.insert(CONNECTION, HeaderValue::from_static("te"));
        }
        if request.wants_websocket() {
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        }
        if let Some(host) = &upstream.host {
            headers.insert(HOST, host.clone());
        }
    }
    for (name, _) in &upstream.headers {
        headers.remove(name);
    }
    for (name, value) in &upstream.headers {
        headers.append(name, value.clone());
    }
    headers
}

/// Says where the body ends in exactly one way: hyper would drop a GET's body of unknown length.
fn frame(headers: &mut HeaderMap, body: &SizeHint, version: Version) {
    let announced = headers.remove(CONTENT_LENGTH).is_some();
    match body.exact() {
        Some(length) if length > 0 || announced => {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        Some(_) => {}
        None if version == Version::HTTP_2 => {}
        None => {
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv6Addr};

    use http::Request;

    use super::*;
    use crate::catalog::Timeouts;
    use crate::request::admit;

    fn asked(uri: &str) -> CanonicalRequest {
        let request = Request::builder()
            .uri(uri)
            .header("host", "api.example")
            .header("authorization", "Bearer theirs")
            .header("x-api-key", "theirs")
            .header("x-forwarded-for", "6.6.6.6")
            .body(())
            .expect("a request");
        let mapped = IpAddr::V6("::ffff:192.0.2.1".parse::<Ipv6Addr>().expect("an address"));
        admit(&request.into_parts().0, mapped).expect("let in")
    }

    fn upstream(base: &str, strip: Option<&str>) -> Upstream {
        Upstream {
            base: base.parse().expect("a URL"),
            speaks: Speaks::One,
            strip_prefix: strip.map(str::to_owned),
            host: None,
            headers: vec![],
            timeouts: Timeouts::default(),
        }
    }

    #[test]
    fn prefixes_are_taken_off_and_put_on_at_segments() {
        for (base, strip, asked_for, sent) in [
            ("http://u:1", None, "/v1/x?q=1", "http://u:1/v1/x?q=1"),
            ("http://u:1/", None, "/", "http://u:1/"),
            ("http://u:1/api/", None, "/v1", "http://u:1/api/v1"),
            ("http://u:1", Some("/v1"), "/v1", "http://u:1/"),
            ("http://u:1", Some("/v1"), "/v1/", "http://u:1/"),
            ("http://u:1", Some("/v1"), "/v1/x", "http://u:1/x"),
            ("http://u:1", Some("/v1"), "/v10/x", "http://u:1/v10/x"),
            ("http://u:1", Some("/v1"), "/V1/x", "http://u:1/x"),
            ("https://u/api", Some("/v1"), "/v1", "https://u/api"),
            ("https://u/api", Some("/"), "/v1", "https://u/api/v1"),
            ("http://k:s@u:1/", None, "/", "http://u:1/"),
            ("http://[::1]:9/", None, "/a%20b", "http://[::1]:9/a%20b"),
        ] {
            let uri = uri(&upstream(base, strip), &asked(asked_for)).expect("a URI");
            assert_eq!(uri.to_string(), sent, "{base} {strip:?} {asked_for}");
        }
    }

    #[test]
    fn the_services_headers_replace_the_clients() {
        let mut up = upstream("http://u:1", None);
        let key = HeaderValue::from_static("ours");
        up.headers = vec![(HeaderName::from_static("x-api-key"), key)];
        up.host = Some(HeaderValue::from_static("inner.example"));
        let proto = HeaderValue::from_static("https");
        let sent = headers(&up, &asked("/"), &SizeHint::with_exact(0), &proto);
        let all = |name: &str| {
            sent.get_all(name).iter().map(|v| v.to_str().expect("text").to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(all("x-api-key"), ["ours"]);
        assert_eq!(all("authorization"), ["Bearer theirs"]);
        assert_eq!(all("x-forwarded-for"), ["192.0.2.1"]);
        assert_eq!(all("x-forwarded-host"), ["api.example"]);
        assert_eq!(all("x-forwarded-proto"), ["https"]);
        assert_eq!(all("host"), ["inner.example"]);
        assert!(!sent.contains_key("content-length") && !sent.contains_key("transfer-encoding"));
    }

    #[test]
    fn a_body_is_framed_once() {
        let mut headers = HeaderMap::new();
        frame(&mut headers, &SizeHint::default(), Version::HTTP_11);
        assert_eq!(headers["transfer-encoding"], "chunked");
        let mut headers = HeaderMap::from_iter([(CONTENT_LENGTH, HeaderValue::from(9))]);
        frame(&mut headers, &SizeHint::with_exact(0), Version::HTTP_11);
        assert_eq!(headers["content-length"], "0");
        frame(&mut headers, &SizeHint::default(), Version::HTTP_11);
        assert!(!headers.contains_key("content-length"));
    }
}
