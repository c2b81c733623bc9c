//! One HTTP/2 connection's bytes: requests as frames written by hand, so that they can be wrong anywhere.
//!
//! Header blocks are literals without a table, which every decoder reads and no library would write so.

use std::fmt;

use super::case::HIDDEN;
use crate::chance::Chance;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// What one connection is sent.
pub(super) struct Frames {
    pub(super) bytes: Vec<u8>,
    /// The streams that are to end before it is over.
    pub(super) streams: Vec<u32>,
}

impl fmt::Display for Frames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.bytes.escape_ascii())
    }
}

const PATHS: &[&str] = &[
    "/a/../b",
    "/%2e%2e/b",
    "//b",
    "/a;b",
    "/a\\b",
    "*",
    "",
    "b",
    "http://other.example/b",
    "/a b",
    "/a\r\nHost: x",
    "/a#b",
    "/%25%32%65",
    "/\u{e9}",
    "/a\0",
    "/a HTTP/1.1\r\nHost: x\r\n\r\nGET /smuggled",
];
const METHODS: &[&str] =
    &["get", "CONNECT", "TRACE", "", "GET /smuggled HTTP/1.1\r\n", "G T", "PRI", "OPTIONS"];
const AUTHORITIES: &[&str] =
    &["other.example", "", "u@{host}", "{host}, x", "{host}:1:2", "{host}/x", "{host}\r\nX: y", "{HOST}"];
const FIELDS: &[(&str, &str)] = &[
    ("host", "other.example"),
    ("host", "{host}"),
    ("transfer-encoding", "chunked"),
    ("connection", "close"),
    ("connection", "host"),
    ("keep-alive", "1"),
    ("upgrade", "h2c"),
    ("te", "gzip"),
    ("te", "trailers"),
    ("content-length", "0"),
    ("content-length", "5"),
    ("content-length", "99999"),
    ("content-length", "+5"),
    ("content-length", "5, 5"),
    ("Content-Length", "5"),
    ("x", "a\r\nGET /smuggled HTTP/1.1\r\n\r\n"),
    ("x\r\ny", "z"),
    ("x y", "z"),
    ("", "z"),
    (":path", "/smuggled"),
    (":status", "200"),
    (":protocol", "websocket"),
    ("x:y", "z"),
    ("transfer-encoding\0", "chunked"),
    ("x-forwarded-host", "smuggled"),
    ("x_real_ip", "1.1.1.1"),
    ("expect", "100-continue"),
    ("x-tollhouse-refused", "bad_framing"),
    ("cookie", "a\0b"),
    ("x", " lead"),
    ("x", "trail "),
    ("trailer", "content-length"),
    ("idempotency-key", "{k}"),
    ("http2-settings", "AAMAAABk"),
];

impl Frames {
    /// Draws one for `host`.example, whose packs open with `credential`.
    pub(super) fn draw(chance: &mut Chance, host: &str, credential: &str, number: u64) -> Frames {
        let host = format!("{host}.example");
        let mut bytes = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
        let mut streams = Vec::new();
        for turn in 0..=u32::try_from(chance.below(3)).expect("small") {
            let stream = 2 * turn + 1;
            streams.push(stream);
            request(chance, &mut bytes, stream, &Asked { host: &host, credential, number });
        }
        if chance.below(5) == 0 {
            mutate(chance, &mut bytes);
        }
        Frames { bytes, streams }
    }

    /// What says that nothing more comes.
    pub(super) fn goodbye() -> Vec<u8> {
        frame(GOAWAY, 0, 0, &[0; 8])
    }

    /// How many of the streams ended in what came back; `None` when the gate said goodbye itself.
    pub(super) fn ended(&self, answer: &[u8]) -> Option<usize> {
        let (mut rest, mut over) = (answer, Vec::new());
        while let Some((head, tail)) = rest.split_first_chunk::<9>() {
            let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            let Some(after) = tail.get(length..) else { break };
            let last = matches!(head[3], DATA | HEADERS) && head[4] & END_STREAM != 0;
            if head[3] == GOAWAY {
                return None;
            }
            if (last || head[3] == RST_STREAM) && self.streams.contains(&stream) && !over.contains(&stream) {
                over.push(stream);
            }
            rest = after;
        }
        Some(over.len())
    }
}

struct Asked<'a> {
    host: &'a str,
    credential: &'a str,
    number: u64,
}

fn request(chance: &mut Chance, bytes: &mut Vec<u8>, stream: u32, asked: &Asked<'_>) {
    let wrong: Vec<u64> = (0..chance.below(3)).map(|_| chance.below(7)).collect();
    let odd = |which: u64| wrong.contains(&which);
    let text = |chance: &mut Chance, list: &[&str]| {
        let text = *chance.pick(list).expect("not empty");
        text.replace("{host}", asked.host).replace("{HOST}", &asked.host.to_uppercase())
    };
    let method =
        if odd(0) { text(chance, METHODS) } else { text(chance, &["GET", "POST", "POST", "PUT", "HEAD"]) };
    let path = if odd(1) { text(chance, PATHS) } else { format!("/frames/{}", asked.number) };
    let authority = if odd(2) { text(chance, AUTHORITIES) } else { asked.host.to_owned() };
    let mut fields = vec![
        (":method".to_owned(), method),
        (":scheme".to_owned(), if odd(3) { "ftp".to_owned() } else { "http".to_owned() }),
        (":path".to_owned(), path),
        (":authority".to_owned(), authority),
    ];
    if odd(3) {
        // Left out, said twice, or said too late.
        let at = chance.index(fields.len());
        let field = fields[at].clone();
        match chance.below(3) {
            0 => drop(fields.remove(at)),
            1 => fields.push(field),
            _ => fields.push(fields[0].clone()),
        }
    }
    if chance.below(4) > 0 {
        fields.push(("authorization".to_owned(), asked.credential.to_owned()));
    }
    for _ in 0..chance.below(if odd(4) { 4 } else { 1 }) {
        let (name, value) = chance.pick(FIELDS).expect("not empty");
        let value = value.replace("{host}", asked.host).replace("{k}", &asked.number.to_string());
        fields.push(((*name).to_owned(), value));
    }
    let block: Vec<u8> = fields.iter().flat_map(|(name, value)| literal(name, value)).collect();
    let hidden = format!("0\r\n\r\nGET /{HIDDEN}/{} HTTP/1.1\r\nHost: {}\r\n\r\n", asked.number, asked.host);
    let bodiless = chance.below(3) == 0;
    let flag = if bodiless { END_STREAM } else { 0 };
    if odd(5) {
        let (now, later) = block.split_at(chance.index(block.len() + 1));
        bytes.extend(frame(HEADERS, flag, stream, now));
        bytes.extend(frame(CONTINUATION, END_HEADERS, stream, later));
    } else {
        bytes.extend(frame(HEADERS, flag | END_HEADERS, stream, &block));
    }
    if !bodiless {
        bytes.extend(frame(DATA, if odd(6) { 0 } else { END_STREAM }, stream, hidden.as_bytes()));
    }
    if odd(6) {
        let body = frame(DATA, END_STREAM, stream, b"late");
        let trailers = frame(HEADERS, END_STREAM | END_HEADERS, stream, &literal("content-length", "5"));
        let reset = frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]);
        bytes.extend(chance.pick(&[body, trailers, reset]).expect("not empty"));
    }
}

/// A field as a literal that no table keeps.
fn literal(name: &str, value: &str) -> Vec<u8> {
    let mut field = vec![0];
    for text in [name, value] {
        // An integer with a prefix of seven bits.
        let mut length = text.len();
        if length < 127 {
            field.push(u8::try_from(length).expect("seven bits"));
        } else {
            field.push(127);
            length -= 127;
            while length >= 128 {
                field.push(u8::try_from(length % 128).expect("seven bits") | 128);
                length /= 128;
            }
            field.push(u8::try_from(length).expect("seven bits"));
        }
        field.extend_from_slice(text.as_bytes());
    }
    field
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Changes some bytes behind the preface.
fn mutate(chance: &mut Chance, bytes: &mut Vec<u8>) {
    for _ in 0..=chance.below(2) {
        let at = PREFACE.len() + chance.index(bytes.len() - PREFACE.len());
        match chance.below(4) {
            0 => bytes[at] = chance.byte(),
            1 => bytes[at] ^= 1 << chance.below(8),
            2 => drop(bytes.remove(at)),
            _ => {
                let kind = u8::try_from(chance.below(11)).expect("small");
                let (flags, stream) = (chance.byte(), u32::try_from(chance.below(6)).expect("small"));
                let payload = vec![chance.byte(); chance.index(12)];
                drop(bytes.splice(at..at, frame(kind, flags, stream, &payload)));
            }
        }
    }
}
