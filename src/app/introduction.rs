//! The header of the PROXY protocol, by which a proxy in front says whose connection it hands on.
//!
//! Invariants: only connections of trusted proxies are asked for one, and theirs must begin with it, in a
//! version that the operator wants: one that does not is closed, for it cannot be told who is there.
//! Not a byte behind the header is taken. The header's length and the wait for it are bounded.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use proxy_header::{ParseConfig, ProxyHeader};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::config::ProxyProtocol;
use crate::request::Proxies;

/// A proxy has this long to say whose connection it is.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest header in text, its line end included (PROXY protocol, 2.1).
const LONGEST_V1: usize = 107;

/// A longer binary header is none: the addresses take 232 bytes at most, what else it says little more.
const LONGEST_V2: usize = 4 * 1024;

/// How the binary header begins, up to its length.
const START_V2: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// Which connections begin with a header.
#[derive(Clone, Debug, Default)]
pub struct Introductions {
    /// In which version.
    pub protocol: ProxyProtocol,
    /// From whom.
    pub proxies: Proxies,
}

impl Introductions {
    /// Whose connection `stream` is, which came from `peer`.
    ///
    /// # Errors
    /// When a trusted proxy does not say it, or not in time.
    pub(super) async fn of<S: AsyncRead + Unpin>(
        &self,
        stream: &mut S,
        peer: SocketAddr,
    ) -> io::Result<SocketAddr> {
        self.within(PATIENCE, stream, peer).await
    }

    async fn within<S: AsyncRead + Unpin>(
        &self,
        patience: Duration,
        stream: &mut S,
        peer: SocketAddr,
    ) -> io::Result<SocketAddr> {
        if self.protocol == ProxyProtocol::Off || !self.proxies.trust(peer.ip()) {
            return Ok(peer);
        }
        let header = tokio::time::timeout(patience, self.header(stream)).await;
        let header =
            header.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no PROXY header came"))??;
        let (read, length) = ProxyHeader::parse(&header, ParseConfig::default()).map_err(io::Error::other)?;
        if length != header.len() {
            return Err(bad("a PROXY header with something in it that is none"));
        }
        // The proxy's own connections, such as health checks, and those of families without addresses.
        Ok(read.proxied_address().map_or(peer, |told| told.source))
    }

    /// The header's bytes, and none behind them.
    async fn header<S: AsyncRead + Unpin>(&self, stream: &mut S) -> io::Result<Vec<u8>> {
        let (v1, v2) = match self.protocol {
            ProxyProtocol::Off => (false, false),
            ProxyProtocol::V1 => (true, false),
            ProxyProtocol::V2 => (false, true),
            ProxyProtocol::Any => (true, true),
        };
        let mut header = vec![0; START_V2.len()];
        stream.read_exact(&mut header).await?;
        if v2 && header == START_V2 {
            let mut rest = [0; 4];
            stream.read_exact(&mut rest).await?;
            let [_, _, high, low] = rest;
            let length = usize::from(u16::from_be_bytes([high, low]));
            if length > LONGEST_V2 {
                return Err(bad("a PROXY header that is too long"));
            }
            header.extend_from_slice(&rest);
            let start = header.len();
            header.resize(start + length, 0);
            stream.read_exact(&mut header[start..]).await?;
            return Ok(header);
        }
        if !v1 || !header.starts_with(b"PROXY ") {
            return Err(bad("no PROXY header"));
        }
        while !header.ends_with(b"\r\n") {
            if header.len() == LONGEST_V1 {
                return Err(bad("a PROXY header that is too long"));
            }
            header.push(stream.read_u8().await?);
        }
        Ok(header)
    }
}

fn bad(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROXY: &str = "10.0.0.1:4000";
    const V1: &[u8] = b"PROXY TCP4 192.0.2.7 10.0.0.2 5000 80\r\n";

    fn v2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let length = u16::try_from(addresses.len()).unwrap().to_be_bytes();
        [&START_V2[..], &[0x20 | command, family], &length, addresses].concat()
    }

    fn tcp4() -> Vec<u8> {
        v2(1, 0x11, &[192, 0, 2, 8, 10, 0, 0, 2, 0x13, 0x88, 0, 80])
    }

    /// Whose connection it is, and what is left of it.
    async fn told(protocol: ProxyProtocol, peer: &str, bytes: &[u8]) -> Result<(String, Vec<u8>), String> {
        let trusted = vec!["10.0.0.0/8".parse().unwrap()];
        let proxies = Proxies { trusted, ..Proxies::default() };
        let mut stream = bytes;
        let told = Introductions { protocol, proxies }.of(&mut stream, peer.parse().unwrap()).await;
        told.map(|address| (address.to_string(), stream.to_vec())).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_trusted_proxy_says_whose_connection_it_is() {
        let with_request = |header: &[u8]| [header, b"GET / HTTP/1.1\r\n"].concat();
        let rest = b"GET / HTTP/1.1\r\n".to_vec();
        let tlv = v2(1, 0x11, &[192, 0, 2, 8, 10, 0, 0, 2, 0x13, 0x88, 0, 80, 4, 0, 2, 0, 0]);
        let mut v6 = "2001:db8::7".parse::<std::net::Ipv6Addr>().unwrap().octets().to_vec();
        v6.extend([0; 16]);
        v6.extend([0x13, 0x88, 0, 80]);
        for (protocol, header, who) in [
            (ProxyProtocol::V1, V1.to_vec(), "192.0.2.7:5000"),
            (ProxyProtocol::Any, V1.to_vec(), "192.0.2.7:5000"),
            (
                ProxyProtocol::V1,
                b"PROXY TCP6 2001:db8::7 2001:db8::2 5000 80\r\n".to_vec(),
                "[2001:db8::7]:5000",
            ),
            (ProxyProtocol::V1, b"PROXY UNKNOWN\r\n".to_vec(), PROXY),
            (ProxyProtocol::V2, tcp4(), "192.0.2.8:5000"),
            (ProxyProtocol::Any, tlv, "192.0.2.8:5000"),
            (ProxyProtocol::V2, v2(1, 0x21, &v6), "[2001:db8::7]:5000"),
            (ProxyProtocol::V2, v2(0, 0, &[]), PROXY),
        ] {
            let told = told(protocol, PROXY, &with_request(&header)).await;
            assert_eq!(told, Ok((who.to_owned(), rest.clone())), "{header:?}");
        }
    }

    #[tokio::test]
    async fn nobody_else_does_and_nothing_else_is_believed() {
        for (protocol, peer) in [(ProxyProtocol::Any, "192.0.2.1:1"), (ProxyProtocol::Off, PROXY)] {
            let untouched = (peer.to_owned(), V1.to_vec());
            assert_eq!(told(protocol, peer, V1).await, Ok(untouched), "{peer}");
        }
        let long = [b"PROXY TCP4 ".as_slice(), &[b'1'; 200], b"\r\n"].concat();
        let mut huge = v2(1, 0x11, &[]);
        huge[14..16].copy_from_slice(&[0xff, 0xff]);
        for (protocol, bytes) in [
            (ProxyProtocol::V2, V1.to_vec()),
            (ProxyProtocol::V1, tcp4()),
            (ProxyProtocol::Any, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
            (ProxyProtocol::Any, b"PROXY TCP4 192.0.2.7 nowhere 5000 80\r\n".to_vec()),
            (ProxyProtocol::Any, b"PROXY TCP4 192.0.2.7\r\n".to_vec()),
            (ProxyProtocol::Any, long),
            (ProxyProtocol::Any, huge),
            (ProxyProtocol::Any, v2(1, 0x11, &[1, 2, 3])),
            (ProxyProtocol::Any, V1[..20].to_vec()),
            (ProxyProtocol::Any, Vec::new()),
        ] {
            assert!(told(protocol, PROXY, &bytes).await.is_err(), "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn silence_is_not_waited_for() {
        let (_silent, mut stream) = tokio::io::duplex(64);
        let trusted = vec!["10.0.0.0/8".parse().unwrap()];
        let introductions = Introductions {
            protocol: ProxyProtocol::Any,
            proxies: Proxies { trusted, ..Proxies::default() },
        };
        let patience = Duration::from_millis(20);
        let told = introductions.within(patience, &mut stream, PROXY.parse().unwrap()).await;
        assert_eq!(told.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
