//! Where a payout may go: an offer, a Lightning address or other LNURL, an invoice.

use std::fmt;

use bitcoin::bech32;
use thiserror::Error;
use url::{Host, Url};

use crate::egress::Reach;

/// The longest text that is looked at, in bytes: offers with many paths are long.
const LONGEST: usize = 8_192;

/// Who is paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// An invoice (BOLT 11): one payment.
    Invoice(String),
    /// An offer (BOLT 12): as many as one likes.
    Offer(String),
    /// A Lightning address (LUD-16) or another LNURL for paying (LUD-01, LUD-17): as many as one likes.
    Lnurl(Url),
}

/// The text names nobody who can be paid.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DestinationFault {
    /// None of the forms.
    #[error("it is neither an offer (lno1…), nor a Lightning address (name@host), nor an invoice")]
    Unknown,
    /// Looks like a Lightning address and is none.
    #[error("it is not a Lightning address: {0}")]
    Address(&'static str),
    /// Looks like an LNURL and is none.
    #[error("it is not an LNURL")]
    Lnurl,
    /// An address on the chain.
    #[error("it is an address on the chain: payouts go over Lightning; send coins there, or splice them out")]
    OnChain,
}

impl Destination {
    /// Reads what the operator wrote; plain http only as far as `reach` goes.
    ///
    /// # Errors
    /// When nobody can be paid there.
    pub fn read(text: &str, reach: Reach) -> Result<Destination, DestinationFault> {
        let text = text.trim();
        let scheme = text.get(..10).filter(|head| head.eq_ignore_ascii_case("lightning:"));
        let text = if scheme.is_some() { &text[10..] } else { text };
        if text.is_empty() || text.len() > LONGEST {
            return Err(DestinationFault::Unknown);
        }
        let lower = text.to_ascii_lowercase();
        if lower.starts_with("lno1") {
            return Ok(Destination::Offer(text.to_owned()));
        }
        if lower.starts_with("lnurl1") {
            return of_bech32(text, reach);
        }
        if let Some(rest) = lower.strip_prefix("lnurlp://") {
            return of_url(&text[text.len() - rest.len()..], reach).ok_or(DestinationFault::Lnurl);
        }
        if let Some((name, host)) = text.split_once('@') {
            return of_address(name, host, reach);
        }
        if ["lnbc", "lntb", "lnbcrt", "lntbs"].iter().any(|start| lower.starts_with(start)) {
            return Ok(Destination::Invoice(text.to_owned()));
        }
        let on_chain = ["bitcoin:", "bc1", "tb1", "bcrt1"].iter().any(|start| lower.starts_with(start));
        Err(if on_chain { DestinationFault::OnChain } else { DestinationFault::Unknown })
    }

    /// Whether it can be paid more than once, as a rule does.
    pub const fn is_reusable(&self) -> bool {
        !matches!(self, Destination::Invoice(_))
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Destination::Invoice(_) => f.write_str("an invoice"),
            Destination::Offer(_) => f.write_str("an offer"),
            Destination::Lnurl(url) => f.write_str(url.host_str().unwrap_or("an LNURL")),
        }
    }
}

/// LUD-16: `name@host` is `https://host/.well-known/lnurlp/name`.
fn of_address(name: &str, host: &str, reach: Reach) -> Result<Destination, DestinationFault> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.' | '+');
    let name = name.to_ascii_lowercase();
    if name.is_empty() || name.starts_with('.') || !name.chars().all(fits) {
        return Err(DestinationFault::Address("its name has other signs than a-z, 0-9, - _ . +"));
    }
    if host.is_empty() || host.contains(['/', '?', '#', '@', '\\', '%']) || host.contains(char::is_whitespace)
    {
        return Err(DestinationFault::Address("what follows the @ is not a host"));
    }
    of_url(&format!("{host}/.well-known/lnurlp/{name}"), reach)
        .ok_or(DestinationFault::Address("what follows the @ is not a host"))
}

/// `rest` is a URL without its scheme: https, or http on this machine where the operator allowed that.
fn of_url(rest: &str, reach: Reach) -> Option<Destination> {
    let url = Url::parse(&format!("https://{rest}")).ok()?;
    let here = match url.host()? {
        Host::Domain(name) => name == "localhost",
        Host::Ipv4(ip) => ip.is_loopback(),
        Host::Ipv6(ip) => ip.is_loopback(),
    };
    if here && reach == Reach::Private {
        return Url::parse(&format!("http://{rest}")).ok().map(Destination::Lnurl);
    }
    Some(Destination::Lnurl(url))
}

/// LUD-01.
fn of_bech32(text: &str, reach: Reach) -> Result<Destination, DestinationFault> {
    let (hrp, data) = bech32::decode(text).map_err(|_| DestinationFault::Lnurl)?;
    let url = String::from_utf8(data).ok().and_then(|url| Url::parse(&url).ok());
    let url = url.filter(|_| hrp.to_lowercase() == "lnurl").ok_or(DestinationFault::Lnurl)?;
    match (url.scheme(), reach) {
        ("https", _) | ("http", Reach::Private) => Ok(Destination::Lnurl(url)),
        _ => Err(DestinationFault::Lnurl),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Destination, DestinationFault> {
        Destination::read(text, Reach::Public)
    }

    #[test]
    fn each_form_is_known() {
        assert!(matches!(read("lno1pqps7sjqpgt"), Ok(Destination::Offer(_))));
        assert!(matches!(read(" LIGHTNING:lnbcrt10u1abc"), Ok(Destination::Invoice(_))));
        let address = |url: &str| Ok(Destination::Lnurl(url.parse().unwrap()));
        assert_eq!(read("Me+tips@Example.com"), address("https://example.com/.well-known/lnurlp/me+tips"));
        assert_eq!(read("lnurlp://example.com/pay?id=1"), address("https://example.com/pay?id=1"));
        // LUD-01's own example.
        let example = "LNURL1DP68GURN8GHJ7UM9WFMXJCM99E3K7MF0V9CXJ0M385EKVCENXC6R2C35XVUKXEFCV5MKVV34X5EKZD3EV56NYD3HXQURZEPEXEJXXEPNXSCRVWFNV9NXZCN9XQ6XYEFHVGCXXCMYXYMNSERXFQ5FNS";
        let Ok(Destination::Lnurl(url)) = read(example) else { panic!("an LNURL") };
        assert_eq!(url.host_str(), Some("service.com"));
        assert!(read("lno1pqps7sjqpgt").unwrap().is_reusable() && !read("lnbc1").unwrap().is_reusable());
    }

    #[test]
    fn what_is_none_is_refused() {
        for bad in
            ["", "x", "me@", "@example.com", "me@evil.com/x", "a b@example.com", "me@a@b", "me@exa mple"]
        {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert_eq!(read("lnurl1dp68gurn8ghj7um9wfmxjcm99e3k7mf0"), Err(DestinationFault::Lnurl));
        assert_eq!(read("bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"), Err(DestinationFault::OnChain));
    }

    #[test]
    fn plain_http_is_for_this_machine_when_the_operator_says_so() {
        let Ok(Destination::Lnurl(url)) = read("me@127.0.0.1:8080") else { panic!("an address") };
        assert_eq!(url.scheme(), "https");
        let read = |text| Destination::read(text, Reach::Private);
        let Ok(Destination::Lnurl(url)) = read("me@127.0.0.1:8080") else { panic!("an address") };
        assert_eq!(url.as_str(), "http://127.0.0.1:8080/.well-known/lnurlp/me");
        let Ok(Destination::Lnurl(url)) = read("me@example.com") else { panic!("an address") };
        assert_eq!(url.scheme(), "https");
    }
}
