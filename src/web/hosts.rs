//! Where a request says it goes, and where it says it comes from.
//!
//! The allow-list of hosts is the defence against DNS rebinding, the same-origin rule the one
//! against cross-site requests (THREATS 16). Pure: `web` applies both before any handler runs.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, Method, header};

/// The hosts by which the admin listener may be called.
#[derive(Clone, Debug)]
pub(super) struct HostList(Vec<String>);

impl HostList {
    /// The listener's own address, the loopback's names, and what the operator configured.
    pub(super) fn new(listen: SocketAddr, configured: &[String]) -> HostList {
        let mut hosts: Vec<String> = ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned).into();
        if !listen.ip().is_unspecified() {
            hosts.push(match listen.ip() {
                IpAddr::V4(ip) => ip.to_string(),
                IpAddr::V6(ip) => format!("[{ip}]"),
            });
        }
        hosts.extend(configured.iter().filter_map(|host| bare(host)));
        HostList(hosts)
    }

    /// Whether a request with these headers may be answered: exactly one `Host`, and a listed one.
    /// The port is not compared: a forwarded port is common, and a rebound name has the wrong host.
    pub(super) fn admits(&self, headers: &HeaderMap) -> bool {
        only(headers, &header::HOST).and_then(bare).is_some_and(|host| self.0.contains(&host))
    }
}

/// Headers of a macaroon: no foreign page can add them without our consent, which we never give.
const MACAROON: [HeaderName; 2] =
    [HeaderName::from_static("grpc-metadata-macaroon"), HeaderName::from_static("macaroon")];

/// Whether a request carries what only a program sends: a bearer key or a macaroon. The other schemes of
/// `Authorization` prove nothing: a browser that was told a name and a password once adds them by itself, to
/// requests of foreign pages too.
pub(super) fn own_proof(headers: &HeaderMap) -> bool {
    let bearer = only(headers, &header::AUTHORIZATION)
        .and_then(|value| value.split_once(' '))
        .is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    bearer || MACAROON.iter().any(|name| headers.contains_key(name))
}

/// Whether a request may change something on the word of a cookie: it reads only, or it carries a proof
/// of its own, or the browser vouches that one of our own pages sent it.
pub(super) fn same_origin(method: &Method, headers: &HeaderMap) -> bool {
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) || own_proof(headers) {
        return true;
    }
    let site = HeaderName::from_static("sec-fetch-site");
    let vouched = matches!(only(headers, &site), Some("same-origin" | "none"));
    if !vouched && headers.contains_key(&site) {
        return false;
    }
    match only(headers, &header::ORIGIN) {
        // A browser hides the origin where a referrer policy tells it to, and vouches all the same.
        Some("null") => vouched,
        Some(origin) => {
            let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
            let host = only(headers, &header::HOST);
            authority.zip(host).is_some_and(|(from, to)| from.eq_ignore_ascii_case(to))
        }
        None => vouched && !headers.contains_key(header::ORIGIN),
    }
}

/// Whether a program calls the API with nothing that a browser adds by itself: no cookie, no word of where it
/// comes from. Nothing is done on such a request's own word: what it may, a key, the link's token or a passphrase in
/// it says. A browser names its origin with every change that it sends for a page, or says `null`.
pub(super) fn plain_program(path: &str, headers: &HeaderMap) -> bool {
    let added = [header::COOKIE, header::ORIGIN, header::REFERER];
    let fetched = |name: &HeaderName| name.as_str().starts_with("sec-");
    path.starts_with("/api/")
        && !added.iter().any(|name| headers.contains_key(name))
        && !headers.keys().any(fetched)
}

/// The header's value when it is there exactly once and readable.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(first)
}

/// `host` or `host:port`, lower-cased, without port and trailing dot; `None` when it is neither.
fn bare(text: &str) -> Option<String> {
    let (host, rest) = match text.strip_prefix('[') {
        Some(inner) => {
            let end = inner.find(']')?;
            text.split_at(end + 2)
        }
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let port_fits = rest.is_empty()
        || rest.strip_prefix(':').is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit()));
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    (port_fits && !host.is_empty()).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, value.parse().expect("a header value"));
        }
        map
    }

    #[test]
    fn only_known_hosts_are_answered() {
        let list = HostList::new(
            "192.0.2.7:8403".parse().expect("an address"),
            &["Admin.Example.COM.".to_owned(), "box:9000".to_owned()],
        );
        for good in [
            "127.0.0.1:8403",
            "localhost",
            "LOCALHOST:1",
            "[::1]:8403",
            "192.0.2.7:8403",
            "admin.example.com",
            "box",
        ] {
            assert!(list.admits(&headers(&[("host", good)])), "{good}");
        }
        for bad in ["evil.example", "127.0.0.1.evil.example", "localhost@evil", "[::1", "", ":8403", "a:b:c"]
        {
            assert!(!list.admits(&headers(&[("host", bad)])), "{bad}");
        }
        assert!(!list.admits(&headers(&[])));
        assert!(!list.admits(&headers(&[("host", "localhost"), ("host", "localhost")])));
        let open = HostList::new("0.0.0.0:8403".parse().expect("an address"), &[]);
        assert!(!open.admits(&headers(&[("host", "0.0.0.0:8403")])));
    }

    #[test]
    fn only_our_own_pages_change_things() {
        let host = ("host", "localhost:8403");
        let own = ("origin", "http://localhost:8403");
        let refused = |pairs: &[(&'static str, &str)]| !same_origin(&Method::POST, &headers(pairs));
        assert!(!refused(&[host, own]));
        assert!(!refused(&[host, own, ("sec-fetch-site", "same-origin")]));
        assert!(!refused(&[host, ("sec-fetch-site", "same-origin")]));
        assert!(!refused(&[host, ("origin", "null"), ("sec-fetch-site", "same-origin")]));
        assert!(!refused(&[host, ("authorization", "Bearer x"), ("origin", "http://evil.example")]));
        assert!(!refused(&[host, ("grpc-metadata-macaroon", "00")]) && !refused(&[host, ("macaroon", "00")]));
        for added_by_browsers in ["Basic dXNlcjpwYXNz", "Digest x", "Negotiate x", "Bearer", ""] {
            assert!(refused(&[
                host,
                ("authorization", added_by_browsers),
                ("origin", "http://evil.example")
            ]));
            assert!(
                !refused(&[host, ("authorization", added_by_browsers), own]),
                "behind a door of their own"
            );
        }
        assert!(refused(&[host, ("authorization", "Bearer x"), ("authorization", "Basic x")]));
        assert!(refused(&[host]));
        assert!(refused(&[host, ("origin", "http://evil.example")]));
        assert!(refused(&[host, ("origin", "http://localhost:9999")]));
        assert!(refused(&[host, ("origin", "null")]));
        assert!(refused(&[host, own, own]));
        assert!(refused(&[host, ("origin", "http://evil.example"), ("sec-fetch-site", "same-origin")]));
        assert!(refused(&[host, ("origin", "null"), ("sec-fetch-site", "cross-site")]));
        for site in ["cross-site", "same-site", "nonsense"] {
            assert!(refused(&[host, own, ("sec-fetch-site", site)]), "{site}");
        }
        assert!(plain_program("/api/v1/unlock", &headers(&[host])));
        assert!(!plain_program("/login", &headers(&[host])), "the pages are for browsers");
        for added in
            [own, ("origin", "null"), ("cookie", "a=b"), ("referer", "x"), ("sec-fetch-mode", "cors")]
        {
            assert!(!plain_program("/api/v1/unlock", &headers(&[host, added])), "{added:?}");
        }
        assert!(same_origin(&Method::GET, &headers(&[host, ("sec-fetch-site", "cross-site")])));
    }
}
