//! What a proxy asks about: the customer's request, from the one place where that proxy tells it.

use std::net::IpAddr;

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header};

use super::X_TOLLHOUSE_KEY;
use crate::request::Inadmissible;

/// The prefix that Envoy puts before the customer's path.
const PREFIX: &str = "/ext-authz";

/// Headers by which many servers let a client rename its method, path or host. The gateway strips them;
/// a proxy that only asks here forwards them, and so such a request is refused.
const OVERRIDES: [&str; 9] = [
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
    "x-original-url",
    "x-original-uri",
    "x-original-method",
    "x-original-host",
    "x-rewrite-url",
    "x-host",
];

/// What is asked about.
pub(super) struct Asked {
    /// The customer's request, without its body.
    pub(super) parts: Parts,
    /// The customer's address as the proxy tells it, else the proxy's own.
    pub(super) client: IpAddr,
}

fn bad(code: &'static str, detail: impl Into<String>) -> Inadmissible {
    Inadmissible { status: StatusCode::BAD_REQUEST, code, detail: detail.into() }
}

/// `X-Forwarded-Method`, `-Host`, `-Uri` and the last of `X-Forwarded-For`.
pub(super) fn by_headers(question: &Parts, peer: IpAddr) -> Result<Asked, Inadmissible> {
    let headers = &question.headers;
    let method = only(headers, "x-forwarded-method")?;
    let method = Method::from_bytes(method.as_bytes())
        .map_err(|_| bad("bad_forwarded_header", "X-Forwarded-Method is not a method"))?;
    let host = HeaderValue::from_str(only(headers, "x-forwarded-host")?)
        .map_err(|_| bad("bad_forwarded_header", "X-Forwarded-Host is not a host"))?;
    let uri = only(headers, "x-forwarded-uri")?;
    asked(headers, method, host, uri, client(headers)?.unwrap_or(peer))
}

/// The request itself. Of the customer's address Envoy tells nothing that the customer could not.
pub(super) fn by_request(question: &Parts, peer: IpAddr) -> Result<Asked, Inadmissible> {
    let target = question.uri.path_and_query().map_or("", |target| target.as_str());
    let uri = target.strip_prefix(PREFIX).unwrap_or_default();
    let mut hosts = question.headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next().cloned(), hosts.next()) else {
        return Err(bad("bad_host", "not exactly one Host header"));
    };
    asked(&question.headers, question.method.clone(), host, uri, peer)
}

fn asked(
    headers: &HeaderMap,
    method: Method,
    host: HeaderValue,
    uri: &str,
    client: IpAddr,
) -> Result<Asked, Inadmissible> {
    // A fragment would be dropped in silence, and whoever forwards it might not.
    if !uri.starts_with('/') || uri.contains('#') {
        return Err(bad("bad_path", "the path does not start with `/`, or has a fragment"));
    }
    let uri: Uri = uri.parse().map_err(|_| bad("bad_path", "the path cannot be read"))?;
    if uri.authority().is_some() || uri.path_and_query().is_none() {
        return Err(bad("bad_path", "the path cannot be read"));
    }
    if let Some(name) = headers.keys().find(|name| overrides(name)) {
        let detail = format!("the header {name} could rename the request behind the proxy");
        return Err(bad("override_header", detail));
    }
    let (mut parts, ()) = http::Request::new(()).into_parts();
    parts.method = method;
    parts.uri = uri;
    parts.version = Version::HTTP_11;
    parts.headers = headers.clone();
    // Those of the question, not of the customer's request; and an answer that the gateway keeps for a
    // name cannot be given here.
    for name in [
        header::HOST,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::CONNECTION,
        HeaderName::from_static("idempotency-key"),
        X_TOLLHOUSE_KEY,
    ] {
        parts.headers.remove(name);
    }
    parts.headers.insert(header::HOST, host);
    Ok(Asked { parts, client })
}

/// Whether some server takes the header for another method, path or host; many read `_` as `-`.
fn overrides(name: &HeaderName) -> bool {
    let spelled = name.as_str().replace('_', "-");
    OVERRIDES.contains(&spelled.as_str())
}

/// The header's value when it is there exactly once.
fn only<'h>(headers: &'h HeaderMap, name: &'static str) -> Result<&'h str, Inadmissible> {
    let mut values = headers.get_all(name).iter();
    match (values.next().map(HeaderValue::to_str), values.next()) {
        (Some(Ok(value)), None) => Ok(value),
        _ => Err(bad("bad_forwarded_header", format!("the proxy must send exactly one {name}"))),
    }
}

/// The last address of `X-Forwarded-For`: the one that the proxy itself saw. What stands before it, the
/// customer may have written.
fn client(headers: &HeaderMap) -> Result<Option<IpAddr>, Inadmissible> {
    let unread = || bad("bad_forwarded_header", "X-Forwarded-For does not end with an address");
    let Some(last) = headers.get_all("x-forwarded-for").iter().next_back() else { return Ok(None) };
    let text = last.to_str().map_err(|_| unread())?;
    let address = text.rsplit(',').next().unwrap_or_default().trim();
    address.parse().map(Some).map_err(|_| unread())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 7));

    fn question(target: &str, headers: &[(&'static str, &str)]) -> Parts {
        let mut request = http::Request::builder().method("GET").uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn told(headers: &[(&'static str, &str)]) -> Result<(String, IpAddr), &'static str> {
        let asked = by_headers(&question("/forward-auth", headers), PEER).map_err(|refused| refused.code)?;
        let host = asked.parts.headers["host"].to_str().unwrap().to_owned();
        Ok((format!("{} {host}{}", asked.parts.method, asked.parts.uri), asked.client))
    }

    const METHOD: (&str, &str) = ("x-forwarded-method", "POST");
    const HOST: (&str, &str) = ("x-forwarded-host", "api.example");
    const URI: (&str, &str) = ("x-forwarded-uri", "/a?b=c");

    #[test]
    fn a_request_is_told_once_and_whole() {
        let asked = "POST api.example/a?b=c".to_owned();
        assert_eq!(told(&[METHOD, HOST, URI, ("host", "proxy:1")]), Ok((asked.clone(), PEER)));
        let from = |list: &str| told(&[METHOD, HOST, URI, ("x-forwarded-for", list)]);
        assert_eq!(from("192.0.2.1, 192.0.2.2"), Ok((asked.clone(), "192.0.2.2".parse().unwrap())));
        assert_eq!(from("2001:db8::1"), Ok((asked, "2001:db8::1".parse().unwrap())));
        for list in ["", "unknown", "192.0.2.1, ", "192.0.2.1:80"] {
            assert_eq!(from(list), Err("bad_forwarded_header"), "{list}");
        }
        for missing in 0..3 {
            let mut lines = vec![METHOD, HOST, URI];
            lines.remove(missing);
            assert_eq!(told(&lines), Err("bad_forwarded_header"), "{lines:?}");
        }
        for twice in [METHOD, HOST, URI] {
            assert_eq!(told(&[METHOD, HOST, URI, twice]), Err("bad_forwarded_header"), "{twice:?}");
        }
        for uri in ["a", "", "http://other/a", "/a#/b", "/a b", "*"] {
            assert!(told(&[METHOD, HOST, ("x-forwarded-uri", uri)]).is_err(), "{uri}");
        }
        for name in ["x-original-url", "x_http_method_override", "x-rewrite-url"] {
            assert_eq!(told(&[METHOD, HOST, URI, (name, "/free")]), Err("override_header"), "{name}");
        }
    }

    #[test]
    fn envoy_tells_it_by_the_request_itself() {
        let told = |target: &str, headers: &[(&'static str, &str)]| {
            let asked = by_request(&question(target, headers), PEER).map_err(|refused| refused.code)?;
            Ok::<_, &str>((asked.parts.uri.to_string(), asked.client))
        };
        let host = ("host", "api.example");
        let claims = [host, METHOD, ("x-forwarded-uri", "/free"), ("x-forwarded-for", "192.0.2.1")];
        assert_eq!(told("/ext-authz/a?b=c", &claims), Ok(("/a?b=c".to_owned(), PEER)));
        assert_eq!(told("/ext-authz/", &[host]), Ok(("/".to_owned(), PEER)));
        assert_eq!(told("/ext-authz", &[host]), Err("bad_path"));
        assert_eq!(told("/ext-authz/a", &[]), Err("bad_host"));
        assert_eq!(told("/ext-authz/a", &[host, host]), Err("bad_host"));
    }
}
