//! A client that says exactly what it is told, byte for byte, and reads what comes.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::PATIENCE;

/// What came back.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    pub(super) trailers: Vec<(String, String)>,
    /// The body ended as its head said it would.
    pub(super) complete: bool,
}

impl Reply {
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    pub(super) fn header<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.all(name).next()
    }

    pub(super) fn trailer<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.trailers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }

    pub(super) fn code(&self) -> String {
        self.json()["code"].as_str().expect("a code").to_owned()
    }

    /// Reads one reply's bytes; `head_only` when its request was a HEAD.
    pub(super) fn read(bytes: &[u8], head_only: bool) -> Reply {
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap_or_else(|| {
            panic!("no whole head in {:?}", String::from_utf8_lossy(bytes));
        });
        let head = String::from_utf8(bytes[..end].to_vec()).expect("a head in text");
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|l| l.split(' ').nth(1)).and_then(|s| s.parse().ok());
        let headers = fields(lines);
        let value = |name: &str| headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
        let rest = &bytes[end + 4..];
        let (body, trailers, complete) = if head_only {
            (rest.to_vec(), Vec::new(), rest.is_empty())
        } else if value("transfer-encoding").is_some() {
            dechunked(rest)
        } else {
            let length: usize = value("content-length").and_then(|l| l.parse().ok()).unwrap_or(0);
            (rest.to_vec(), Vec::new(), rest.len() == length)
        };
        Reply { status: status.expect("a status"), headers, body, trailers, complete }
    }
}

fn fields<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<(String, String)> {
    lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect()
}

/// The body, the trailers, and whether the end came.
fn dechunked(mut rest: &[u8]) -> (Vec<u8>, Vec<(String, String)>, bool) {
    let mut body = Vec::new();
    loop {
        let Some(end) = rest.windows(2).position(|w| w == b"\r\n") else {
            return (body, Vec::new(), false);
        };
        let size = std::str::from_utf8(&rest[..end]).ok().and_then(|s| usize::from_str_radix(s, 16).ok());
        let size = size.expect("a chunk's size");
        rest = &rest[end + 2..];
        if size == 0 {
            let text = String::from_utf8_lossy(rest);
            let whole = text == "\r\n" || text.ends_with("\r\n\r\n");
            return (body, fields(text.split("\r\n")), whole);
        }
        let taken = size.min(rest.len());
        body.extend_from_slice(&rest[..taken]);
        rest = rest.get(size + 2..).unwrap_or_default();
    }
}

/// Sends `request`, which asks for the connection to be closed, and reads to the end.
pub(super) async fn ask(address: SocketAddr, request: &[u8]) -> Reply {
    Reply::read(&exchange(address, request).await, request.starts_with(b"HEAD "))
}

/// The bytes that come back, however the connection ends.
pub(super) async fn exchange(address: SocketAddr, request: &[u8]) -> Vec<u8> {
    let talk = async {
        let mut stream = TcpStream::connect(address).await.expect("the gate listens");
        stream.write_all(request).await.expect("the gate reads");
        let mut bytes = Vec::new();
        let mut buffer = [0u8; 16 * 1024];
        // A reset is an end like another: what came before it counts.
        while let Ok(length @ 1..) = stream.read(&mut buffer).await {
            bytes.extend_from_slice(&buffer[..length]);
        }
        bytes
    };
    tokio::time::timeout(PATIENCE, talk).await.expect("the gate answers in time")
}
