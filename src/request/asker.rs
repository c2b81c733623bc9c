//! Who asks, when a proxy stands in between.
//!
//! Invariants: a header is believed only when the connection comes from a proxy that the operator
//! trusts, and then only what that proxy and others trusted behind it wrote: the list is read from its
//! end, and the first address that is not trusted is the client's. One header is read, the one that the
//! operator says the proxy writes: the other one a client may have written, for not every proxy removes
//! it. Whatever was read or not, none of these headers passes on (see [`super::headers`]).

use std::net::{IpAddr, SocketAddr};

use http::uri::Scheme;
use http::{HeaderMap, HeaderValue};
use ipnet::IpNet;

use super::Inadmissible;

/// Entries of a list that are looked at; a chain of trusted proxies is shorter.
const MOST_HOPS: usize = 32;

/// Which header the proxies write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardedBy {
    /// `X-Forwarded-For`, `-Proto` and `-Host`.
    #[default]
    XForwarded,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// The proxies in front, and how they tell who asks. None by default: the connection tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    /// Their networks.
    pub trusted: Vec<IpNet>,
    /// How they tell it.
    pub by: ForwardedBy,
}

/// Who asks, and what a trusted proxy says about how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asker {
    /// The client's address.
    pub address: IpAddr,
    /// How the client asked, when a trusted proxy or our own TLS says it.
    pub scheme: Option<Scheme>,
    /// The host that the client asked, when a trusted proxy says another than `Host`.
    pub host: Option<HeaderValue>,
}

impl From<IpAddr> for Asker {
    fn from(address: IpAddr) -> Asker {
        Asker { address: address.to_canonical(), scheme: None, host: None }
    }
}

impl Asker {
    /// On a connection with this scheme, where it is known: it counts where no trusted proxy says another.
    #[must_use]
    pub fn over(self, connection: Option<&Scheme>) -> Asker {
        Asker { scheme: self.scheme.or_else(|| connection.cloned()), ..self }
    }
}

impl Proxies {
    /// Whether `address` is one of them.
    pub fn trust(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.trusted.iter().any(|network| network.contains(&address))
    }

    /// Who asks, on a connection from `peer` with `headers`.
    ///
    /// # Errors
    /// When a trusted proxy tells host or scheme twice, or what is neither, or leaves a quote open.
    pub fn asker(&self, headers: &HeaderMap, peer: IpAddr) -> Result<Asker, Inadmissible> {
        if !self.trust(peer) {
            return Ok(peer.into());
        }
        match self.by {
            ForwardedBy::XForwarded => self.by_x_forwarded(headers, peer),
            ForwardedBy::Forwarded => self.by_forwarded(headers, peer),
        }
    }

    fn by_x_forwarded(&self, headers: &HeaderMap, peer: IpAddr) -> Result<Asker, Inadmissible> {
        let told = texts(headers, "x-forwarded-for")?;
        let hops: Vec<&str> = told.iter().flat_map(|list| list.split(',')).collect();
        let address = self.rightmost(hops.iter().rev().map(|hop| address(hop.trim())), peer);
        let scheme = only(headers, "x-forwarded-proto")?.map(|value| scheme(value.as_bytes())).transpose()?;
        Ok(Asker { address, scheme, host: only(headers, "x-forwarded-host")?.cloned() })
    }

    fn by_forwarded(&self, headers: &HeaderMap, peer: IpAddr) -> Result<Asker, Inadmissible> {
        let told = texts(headers, "forwarded")?;
        // A quote that a client left open would swallow what the proxy wrote behind it.
        if told.iter().any(|list| leaves_a_quote_open(list)) {
            return Err(bad("a quote in `Forwarded` is left open"));
        }
        let elements = told.iter().flat_map(|list| split(list, ','));
        let elements: Vec<Vec<(&str, String)>> = elements.map(pairs).collect();
        let hops = elements.iter().rev().map(|pairs| value(pairs, "for").and_then(|hop| address(&hop)));
        let address = self.rightmost(hops, peer);
        // The proxy that the connection comes from wrote the last element.
        let Some(last) = elements.last() else { return Ok(peer.into()) };
        let host = value(last, "host").map(|host| HeaderValue::from_str(&host)).transpose();
        Ok(Asker {
            address,
            scheme: value(last, "proto").map(|proto| scheme(proto.as_bytes())).transpose()?,
            host: host.map_err(|_| bad("the host of `Forwarded` is not a host"))?,
        })
    }

    /// The first of `hops` that is not trusted; the last trusted one where none is, or where a hop tells
    /// no address (`unknown`, a hidden name).
    fn rightmost(&self, hops: impl Iterator<Item = Option<IpAddr>>, peer: IpAddr) -> IpAddr {
        let mut nearest = peer.to_canonical();
        for hop in hops.take(MOST_HOPS) {
            let Some(hop) = hop else { break };
            nearest = hop;
            if !self.trust(hop) {
                break;
            }
        }
        nearest
    }
}

fn bad(detail: &str) -> Inadmissible {
    Inadmissible::bad("bad_forwarded_header", detail)
}

/// What the lines of `name` say. One that is not text is not left out: what a client put before the words
/// of a proxy must not take them away.
fn texts<'a>(headers: &'a HeaderMap, name: &str) -> Result<Vec<&'a str>, Inadmissible> {
    let lines = headers.get_all(name).iter();
    lines.map(|line| line.to_str().map_err(|_| bad(&format!("`{name}` is not text")))).collect()
}

/// The header's value, when it is there and there once.
fn only<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h HeaderValue>, Inadmissible> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (first, None) => Ok(first),
        _ => Err(bad(&format!("the proxy tells {name} more than once"))),
    }
}

fn scheme(text: &[u8]) -> Result<Scheme, Inadmissible> {
    match text {
        text if text.eq_ignore_ascii_case(b"https") => Ok(Scheme::HTTPS),
        text if text.eq_ignore_ascii_case(b"http") => Ok(Scheme::HTTP),
        _ => Err(bad("the proxy tells a protocol that is neither http nor https")),
    }
}

/// An address, alone or with a port, in brackets or not.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let with_port = || text.parse::<SocketAddr>().map(|socket| socket.ip());
    bare.parse().or_else(|_| with_port()).ok().map(|address: IpAddr| address.to_canonical())
}

fn leaves_a_quote_open(text: &str) -> bool {
    let (mut quoted, mut escaped) = (false, false);
    for char in text.chars() {
        match char {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => {}
        }
    }
    quoted
}

/// What stands between `separator`s, those in quotes apart.
fn split(text: &str, separator: char) -> Vec<&str> {
    let (mut parts, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, char) in text.char_indices() {
        match char {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            char if char == separator && !quoted => {
                parts.push(&text[start..at]);
                start = at + char.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

/// The names and values of one element of `Forwarded`.
fn pairs(element: &str) -> Vec<(&str, String)> {
    let pair = |part| str::split_once(part, '=');
    let read = split(element, ';').into_iter().filter_map(pair);
    read.map(|(name, value)| (name.trim(), unquoted(value.trim()))).collect()
}

fn unquoted(value: &str) -> String {
    let inner = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inner.map_or_else(|| value.to_owned(), |inner| inner.replace('\\', ""))
}

fn value(pairs: &[(&str, String)], name: &str) -> Option<String> {
    pairs.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(by: ForwardedBy) -> Proxies {
        let trusted = ["10.0.0.0/8", "2001:db8::/32"].map(|network| network.parse().unwrap());
        Proxies { trusted: trusted.to_vec(), by }
    }

    fn asker(by: ForwardedBy, peer: &str, lines: &[(&'static str, &str)]) -> Result<Asker, &'static str> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        proxies(by).asker(&headers, peer.parse().unwrap()).map_err(|refused| refused.code)
    }

    fn at(by: ForwardedBy, peer: &str, lines: &[(&'static str, &str)]) -> String {
        asker(by, peer, lines).unwrap().address.to_string()
    }

    #[test]
    fn the_first_from_the_right_that_is_not_trusted_asks() {
        let by = ForwardedBy::XForwarded;
        for (list, client) in [
            ("192.0.2.7", "192.0.2.7"),
            ("6.6.6.6, 192.0.2.7", "192.0.2.7"),
            ("6.6.6.6, 192.0.2.7, 10.0.0.2 ,10.0.0.3", "192.0.2.7"),
            ("10.0.0.9, 10.0.0.2", "10.0.0.9"),
            ("192.0.2.7:5123", "192.0.2.7"),
            ("2001:db9::1", "2001:db9::1"),
            ("[2001:db9::1]:443", "2001:db9::1"),
            ("[2001:db9::1]", "2001:db9::1"),
            ("6.6.6.6, 2001:db8::5", "6.6.6.6"),
            ("::ffff:192.0.2.7, ::ffff:10.0.0.2", "192.0.2.7"),
            ("6.6.6.6, unknown", "10.0.0.1"),
            ("6.6.6.6, unknown, 10.0.0.2", "10.0.0.2"),
            ("6.6.6.6,", "10.0.0.1"),
            ("", "10.0.0.1"),
        ] {
            assert_eq!(at(by, "10.0.0.1", &[("x-forwarded-for", list)]), client, "{list}");
            assert_eq!(at(by, "::ffff:10.0.0.1", &[("x-forwarded-for", list)]), client, "{list}");
            assert_eq!(at(by, "192.0.2.1", &[("x-forwarded-for", list)]), "192.0.2.1", "{list}");
        }
        let two = [("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "192.0.2.7, 10.0.0.2")];
        assert_eq!(at(by, "10.0.0.1", &two), "192.0.2.7", "lines are one list");
        assert_eq!(
            at(by, "10.0.0.1", &[("forwarded", "for=6.6.6.6")]),
            "10.0.0.1",
            "not what this one writes"
        );
        let endless = vec!["10.0.0.2"; 4_000].join(",");
        assert_eq!(at(by, "10.0.0.1", &[("x-forwarded-for", &endless)]), "10.0.0.2");
    }

    #[test]
    fn forwarded_is_read_as_its_standard_says() {
        let by = ForwardedBy::Forwarded;
        for (list, client) in [
            ("for=192.0.2.7", "192.0.2.7"),
            ("for=6.6.6.6, For=\"192.0.2.7:99\";proto=https;by=10.0.0.1", "192.0.2.7"),
            ("for=192.0.2.7, for=\"[2001:db8::2]:1\"", "192.0.2.7"),
            ("for=\"[2001:db9::1]\", for=10.0.0.4;host=\"a,b;c=d\"", "2001:db9::1"),
            ("for=6.6.6.6, for=unknown", "10.0.0.1"),
            ("for=6.6.6.6, for=_hidden, for=10.0.0.4", "10.0.0.4"),
            ("for=6.6.6.6, proto=https", "10.0.0.1"),
            ("=;,;", "10.0.0.1"),
        ] {
            let found = asker(by, "10.0.0.1", &[("forwarded", list)]);
            let found = found.map(|asker| asker.address.to_string());
            assert_eq!(found.as_deref(), Ok(client), "{list}");
        }
        // The proxy wrote what stands behind the comma, and the client would have it unread.
        for list in ["for=6.6.6.6;host=evil;x=\", for=192.0.2.7", "for=6.6.6.6;x=\"\\\", for=192.0.2.7", "\""]
        {
            assert_eq!(asker(by, "10.0.0.1", &[("forwarded", list)]), Err("bad_forwarded_header"), "{list}");
        }
        let told = asker(by, "10.0.0.1", &[("forwarded", "for=192.0.2.7;proto=https;host=api.example")]);
        let told = told.unwrap();
        assert_eq!(
            (told.scheme, told.host),
            (Some(Scheme::HTTPS), Some(HeaderValue::from_static("api.example")))
        );
        let x =
            [("x-forwarded-for", "6.6.6.6"), ("x-forwarded-proto", "https"), ("x-forwarded-host", "evil")];
        assert_eq!(asker(by, "10.0.0.1", &x), Ok(IpAddr::from([10, 0, 0, 1]).into()));
    }

    #[test]
    fn scheme_and_host_are_told_once_by_whom_we_trust() {
        let by = ForwardedBy::XForwarded;
        let lines = [("x-forwarded-proto", "HTTPS"), ("x-forwarded-host", "api.example")];
        let told = asker(by, "10.0.0.1", &lines).unwrap();
        assert_eq!(
            (told.scheme, told.host),
            (Some(Scheme::HTTPS), Some(HeaderValue::from_static("api.example")))
        );
        let nothing: Asker = IpAddr::from([192, 0, 2, 1]).into();
        assert_eq!(asker(by, "192.0.2.1", &lines), Ok(nothing));
        for bad in [
            &[("x-forwarded-proto", "ftp")][..],
            &[("x-forwarded-proto", "https, http")],
            &[("x-forwarded-proto", "https"), ("x-forwarded-proto", "https")],
            &[("x-forwarded-host", "a"), ("x-forwarded-host", "b")],
        ] {
            assert_eq!(asker(by, "10.0.0.1", bad), Err("bad_forwarded_header"), "{bad:?}");
        }
    }
}
