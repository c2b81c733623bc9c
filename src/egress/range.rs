//! What kind of place an address is: the public internet, somebody's own network, or nowhere that a
//! request may ever be sent.
//!
//! Follows IANA's registries of special-purpose addresses (RFC 6890 and its heirs). What is not known to
//! be public is not public: of IPv6, only 2000::/3 with its exceptions taken out. An IPv4 address inside
//! an IPv6 one (mapped, NAT64) is judged as what it is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What kind of place an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// The public internet.
    Public,
    /// This machine.
    Loopback,
    /// A network of one's own: RFC 1918, unique local (RFC 4193), and behind a carrier's NAT (RFC 6598).
    Private,
    /// What no request may be sent to: link-local addresses and cloud metadata, multicast, documentation,
    /// benchmarks, tunnels, reserved blocks. The word says which.
    Never(&'static str),
}

impl Range {
    /// Of an address.
    pub fn of(ip: IpAddr) -> Range {
        match ip {
            IpAddr::V4(ip) => v4(ip),
            IpAddr::V6(ip) => v6(ip),
        }
    }

    /// In a word, for messages.
    pub const fn word(self) -> &'static str {
        match self {
            Range::Public => "public",
            Range::Loopback => "loopback",
            Range::Private => "private",
            Range::Never(word) => word,
        }
    }
}

fn v4(ip: Ipv4Addr) -> Range {
    match ip.octets() {
        // Azure's wire server has a public number and answers on the inside.
        [168, 63, 129, 16] | [100, 100, 100, 200] => Range::Never("a cloud's metadata service"),
        [0, ..] => Range::Never("this network"),
        [127, ..] => Range::Loopback,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] => Range::Private,
        [169, 254, ..] => Range::Never("link-local"),
        [192, 0, 0, _] => Range::Never("protocol assignments"),
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Range::Never("documentation"),
        [192, 88, 99, _] => Range::Never("6to4 relay"),
        [198, 18..=19, ..] => Range::Never("benchmarking"),
        [224..=239, ..] => Range::Never("multicast"),
        [240..=255, ..] => Range::Never("reserved"),
        _ => Range::Public,
    }
}

fn v6(ip: Ipv6Addr) -> Range {
    let inner = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        v4(Ipv4Addr::new(a, b, c, d))
    };
    match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Range::Never("unspecified"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Range::Loopback,
        [0, 0, 0, 0, 0, 0, _, _] => Range::Never("IPv4-compatible"),
        // Mapped (::ffff:0:0/96) and the well-known prefix of NAT64 (RFC 6052).
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => inner(high, low),
        // Amazon's and Google's metadata services lie in private space.
        [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254] | [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254] => {
            Range::Never("a cloud's metadata service")
        }
        [0xfc00..=0xfdff, ..] => Range::Private,
        [0xfe80..=0xfebf, ..] => Range::Never("link-local"),
        [0xfec0..=0xfeff, ..] => Range::Never("site-local"),
        [0xff00..=0xffff, ..] => Range::Never("multicast"),
        // Teredo, ORCHID and other protocols.
        [0x2001, 0..=0x1ff, ..] => Range::Never("protocol assignments"),
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Range::Never("documentation"),
        [0x2002, ..] => Range::Never("6to4"),
        [0x2000..=0x3fff, ..] => Range::Public,
        _ => Range::Never("reserved"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> Range {
        Range::of(text.parse().unwrap_or_else(|_| panic!("{text} is an address")))
    }

    #[test]
    fn every_special_block_is_known_to_its_edges() {
        for public in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "::ffff:1.1.1.1",
            "64:ff9b::1.1.1.1",
            "2001:200::1",
            "2001:4860:4860::8888",
            "2606:4700:4700::1111",
            "3ffe::1",
        ] {
            assert_eq!(range(public), Range::Public, "{public}");
        }
        for own in [
            "10.0.0.0",
            "10.255.255.255",
            "100.64.0.0",
            "100.127.255.255",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.0.0",
            "192.168.255.255",
            "fc00::",
            "fdff:ffff::1",
            "::ffff:10.0.0.1",
            "64:ff9b::192.168.1.1",
        ] {
            assert_eq!(range(own), Range::Private, "{own}");
        }
        for here in
            ["127.0.0.0", "127.0.0.1", "127.255.255.255", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"]
        {
            assert_eq!(range(here), Range::Loopback, "{here}");
        }
        for never in [
            "0.0.0.0",
            "0.255.255.255",
            "100.100.100.200",
            "168.63.129.16",
            "169.254.0.0",
            "169.254.169.254",
            "192.0.0.1",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "198.18.0.0",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.7",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.0",
            "255.255.255.255",
            "::",
            "::2",
            "::127.0.0.1",
            "::ffff:0.0.0.0",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:1ff::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "3fff:fff::1",
            "4000::1",
            "5f00::1",
            "fd00:ec2::254",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(matches!(range(never), Range::Never(_)), "{never} is {:?}", range(never));
        }
    }
}
