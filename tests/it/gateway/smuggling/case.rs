//! One connection's bytes: a request that is wrong somewhere, with another hidden in it, and one behind it.

use std::fmt;

use crate::chance::Chance;

/// In every target, host and value that must not be read as a request.
pub(super) const HIDDEN: &str = "smuggled";

/// What one connection is sent.
pub(super) struct Case {
    /// In packets, as far as the socket keeps them apart.
    pub(super) parts: Vec<Vec<u8>>,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.parts.concat().escape_ascii())
    }
}

const METHODS: &[&str] = &["GET", "POST", "POST", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "PATCH"];
const ODD_METHODS: &[&str] =
    &["get", "TRACE", "CONNECT", "PRI", "", "G\tET", "GET\0", "POST\r\n", "PROPFIND"];
const VERSIONS: &[&str] = &[
    "HTTP/1.0",
    "HTTP/1.2",
    "HTTP/2.0",
    "HTTP/0.9",
    "http/1.1",
    "HTTP/1.1 ",
    "",
    "HTTP/1.1\t",
    "HTTP/1.1\0",
];
const TARGETS: &[&str] = &[
    "/a/../b",
    "/%2e%2e/b",
    "//b",
    "/a;b",
    "/a%00",
    "/a%5cb",
    "/a\\b",
    "/%25%32%65",
    "/a b",
    "*",
    "b",
    "?b",
    "/#b",
    "/a?b#c",
    "http://other.example/b",
    "http://u@other.example/b",
    "/\u{e9}",
    "/%ff",
    "/a\tb",
    "/a\0b",
    "/%",
    "/%zz",
    "/.well-known/l402-services",
    "/a%0d%0aHost:%20x",
    "/?a=\u{e9}",
    "other.example:443",
    "///",
    "/a//",
];
const ENDS: &[&str] =
    &["\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\n", "\r", "\r\r\n", " \r\n", "\0\r\n", "\n\r\n"];
const HOST_LINES: &[&str] = &[
    "Host: other.example",
    "Host:",
    "Host : {host}",
    " Host: {host}",
    "Host: {host}\r\nHost: {host}",
    "Host: {host}\r\nHost: other.example",
    "Host: u@{host}",
    "Host: {host}:1:2",
    "Host: {host}/x",
    "Host: {host}, x",
    "X: y",
    "Host: {host}\r\n .other",
    "hOST:\t{host}\t",
    "Host: {host}:8402",
    "Host: {host}.",
];
const LENGTHS: &[&str] = &[
    "Content-Length: {n}",
    "Content-Length: {n}\r\nContent-Length: {n}",
    "Content-Length: {n}\r\nContent-Length: 0",
    "Content-Length: 0\r\nContent-Length: {n}",
    "Content-Length: {n}, {n}",
    "Content-Length: +{n}",
    "Content-Length: -{n}",
    "Content-Length: 0{n}",
    "Content-Length: 0x{n}",
    "Content-Length: {n} ",
    "Content-Length : {n}",
    " Content-Length: {n}",
    "Content-Length:\u{b}{n}",
    "Content-Length:{n}\r\n 0",
    "Content-Length: 18446744073709551616",
    "Content-Length: 99999999999",
    "Content-Length:",
    "Content_Length: {n}",
    "Content-Length: {n}\r\nContent_Length: 0",
    "CONTENT-LENGTH:{n}",
    "Content-Length: {n}\0",
    "X: y\nContent-Length: {n}",
    "X: y\rContent-Length: {n}",
    "Content-Length: 1e1",
    "Content-Length: {n};x=y",
    "Content-Length: \"{n}\"",
];
const CODINGS: &[&str] = &[
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: chunked",
    "transfer-encoding:Chunked",
    "Transfer-Encoding : chunked",
    " Transfer-Encoding: chunked",
    "Transfer-Encoding:\tchunked",
    "Transfer-Encoding:\u{b}chunked",
    "Transfer-Encoding: \u{b}chunked",
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding: chunkedx",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: chunked, identity",
    "Transfer-Encoding: identity",
    "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding:\r\n chunked",
    "Transfer-Encoding: chunked;x=y",
    "Transfer-Encoding: \"chunked\"",
    "Transfer_Encoding: chunked",
    "X: y\nTransfer-Encoding: chunked",
    "X: y\rTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\0",
    "Transfer-Encoding: ,chunked",
    "Transfer-Encoding",
    "Transfer-Encoding: chu\r\n nked",
    "TE: chunked",
];
const FIELDS: &[&str] = &[
    "Connection: close",
    "Connection: keep-alive, x-hop",
    "Connection: host",
    "Connection: content-length",
    "Connection: transfer-encoding",
    "Connection: authorization",
    "Connection: \u{e9}",
    "Connection: upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__",
    "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Expect: 100-continue",
    "Expect: x",
    "Trailer: Content-Length",
    "TE: trailers",
    "Keep-Alive: timeout=1",
    "Proxy-Connection: keep-alive",
    "X-Original-URL: /smuggled",
    "X-Rewrite-URL: /smuggled",
    "X-HTTP-Method-Override: DELETE",
    "X-Forwarded-Host: smuggled",
    "X_Forwarded_Host: smuggled",
    "X-Tollhouse-Refused: bad_framing",
    "X: \r\n y",
    "X:\u{0}",
    ": x",
    "X y: z",
    "X\t: y",
    "\u{e9}: x",
    "X",
    "",
    "Range: bytes=0-",
    "Content-Encoding: gzip",
    "Prefer: l402-offer=pack",
    "Idempotency-Key: {k}",
    "Macaroon: 00",
    "Authorization: L402 AAAA:00",
    "Cookie: a\r\n ;b",
    "PROXY TCP4 1.1.1.1 2.2.2.2 1 2",
];
/// Sizes of chunks that are none, and ends of bodies that are none.
const CHUNKS: &[&str] = &[
    "0\r\n\r\n",
    "0;x=y\r\n\r\n",
    "00000000000000000000\r\n\r\n",
    "0\r\nX: y\r\n\r\n",
    "0\r\nContent-Length: 5\r\n\r\n",
    "0\r\nTransfer-Encoding: x\r\n\r\n",
    "0\n\n",
    "0\r\n\n",
    "0\r\r\n\r\n",
    "0 \r\n\r\n",
    " 0\r\n\r\n",
    "0x0\r\n\r\n",
    "-0\r\n\r\n",
    "+0\r\n\r\n",
    "g\r\n\r\n",
    "\r\n\r\n",
    "5\r\nhello0\r\n\r\n",
    "5\nhello\r\n0\r\n\r\n",
    "5\r\nhello\n0\r\n\r\n",
    "6\r\nhello\r\n0\r\n\r\n",
    "4\r\nhello\r\n0\r\n\r\n",
    "fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "7fffffffffffffff\r\nhello",
    "5;\nx\r\nhello\r\n0\r\n\r\n",
    "5;\"\r\nhello\r\n0\r\n\r\n",
    "5\r\nhello\r\n0\r\nX: y\n\r\n",
    "1\r\nh\r\n1;a\r\ni\r\n0\r\n\r\n",
    "0\r\n: x\r\n\r\n",
    "0\r\nX\r\n\r\n",
];

impl Case {
    /// Draws one for `host`.example, whose packs open with `credential`.
    pub(super) fn draw(chance: &mut Chance, host: &str, credential: &str, number: u64) -> Case {
        let host = format!("{host}.example");
        let hidden = format!("GET /{HIDDEN}/{number} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let mut bytes = request(chance, &host, credential, &hidden, number);
        if chance.below(4) == 0 {
            mutate(chance, &mut bytes);
        }
        if chance.below(3) == 0 {
            bytes.extend(request(chance, &host, credential, &hidden, number));
        }
        // With it the gate closes, wherever it still reads requests.
        bytes.extend_from_slice(
            format!("GET /last/{number} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes(),
        );
        Case { parts: packets(chance, bytes) }
    }
}

fn text<'a>(chance: &mut Chance, list: &[&'a str]) -> &'a str {
    chance.pick(list).expect("not empty")
}

fn request(chance: &mut Chance, host: &str, credential: &str, hidden: &str, number: u64) -> Vec<u8> {
    // At most two things in each are wrong; the rest is as it should be, so that it gets far.
    let wrong: Vec<u64> = (0..chance.below(3)).map(|_| chance.below(9)).collect();
    let odd = |which: u64| wrong.contains(&which);
    let method = if odd(0) { text(chance, ODD_METHODS) } else { text(chance, METHODS) };
    let target = if odd(1) { text(chance, TARGETS).to_owned() } else { format!("/case/{number}") };
    let version = if odd(2) { text(chance, VERSIONS) } else { "HTTP/1.1" };
    let mut lines = vec![format!("{method} {target} {version}")];
    lines.push(if odd(3) {
        text(chance, HOST_LINES).replace("{host}", host)
    } else {
        format!("Host: {host}")
    });
    if chance.below(4) > 0 {
        lines.push(format!("Authorization: {credential}"));
    }
    let body = body(chance, hidden, odd(4) || odd(5));
    let length = body.len().to_string();
    match chance.below(8) {
        0 | 1 => {}
        2..=4 if odd(6) => lines.push(text(chance, LENGTHS).replace("{n}", &length)),
        2..=4 => lines.push(format!("Content-Length: {length}")),
        5 | 6 if odd(7) => lines.push(text(chance, CODINGS).to_owned()),
        5 | 6 => lines.push("Transfer-Encoding: chunked".to_owned()),
        _ => {
            lines.push(text(chance, LENGTHS).replace("{n}", &length));
            lines.push(text(chance, CODINGS).to_owned());
        }
    }
    for _ in 0..chance.below(2) {
        lines.push(text(chance, FIELDS).replace("{k}", &number.to_string()));
    }
    // The order of fields is nobody's.
    for at in (2..lines.len()).rev() {
        lines.swap(at, 1 + chance.index(at));
    }
    let mut head = String::new();
    for line in lines {
        head.push_str(&line);
        head.push_str(if odd(8) { text(chance, ENDS) } else { "\r\n" });
    }
    head.push_str(if odd(8) { text(chance, ENDS) } else { "\r\n" });
    [head.into_bytes(), body].concat()
}

/// A body in which another request stands, for whoever thinks that it ends sooner.
fn body(chance: &mut Chance, hidden: &str, odd: bool) -> Vec<u8> {
    let chunked = format!("{:x}\r\n{hidden}\r\n0\r\n\r\n", hidden.len());
    let body = match chance.below(6) {
        0 => String::new(),
        1 => hidden.to_owned(),
        2 => chunked,
        3 => format!("0\r\n\r\n{hidden}"),
        4 if odd => format!("{}{hidden}", text(chance, CHUNKS)),
        4 => format!("1;{}\r\nx\r\n{chunked}", "a=b;".repeat(chance.index(4))),
        _ if odd => format!("{}{chunked}", text(chance, CHUNKS)),
        _ => format!("5\r\nhello\r\n{chunked}"),
    };
    body.into_bytes()
}

/// Changes some bytes, wherever they are.
fn mutate(chance: &mut Chance, bytes: &mut Vec<u8>) {
    for _ in 0..=chance.below(3) {
        let at = chance.index(bytes.len().max(1)).min(bytes.len().saturating_sub(1));
        match chance.below(5) {
            0 => bytes.insert(at, chance.byte()),
            1 if !bytes.is_empty() => drop(bytes.remove(at)),
            2 if !bytes.is_empty() => bytes[at] = chance.byte(),
            3 => drop(bytes.splice(at..at, *b"\r\n")),
            _ => drop(bytes.splice(at..at, [*chance.pick(b"\r\n\0 \t:;,\x0b\x7f\xff").expect("a byte")])),
        }
    }
}

/// In one to three parts, cut anywhere.
fn packets(chance: &mut Chance, bytes: Vec<u8>) -> Vec<Vec<u8>> {
    let mut parts = vec![bytes];
    for _ in 0..chance.below(3) {
        let last = parts.pop().expect("a part");
        let (now, later) = last.split_at(chance.index(last.len() + 1));
        parts.extend([now.to_vec(), later.to_vec()]);
    }
    parts
}
