//! Reads a connection's requests before hyper does, and refuses what hyper would forgive.
//!
//! hyper takes a Content-Length beside a Transfer-Encoding, two equal lengths and bare line feeds in
//! silence. A proxy in front may read the same bytes in another way, and then one request hides in
//! another's body (THREATS 11). Here such a head is replaced by one that admission refuses with the
//! right code, and nothing after it is read: the connection answers once and closes.
//!
//! Invariant: hyper gets either the bytes as they came, request by request, or the replacement. The
//! guard follows bodies only to find the next head; a chunked body that is not plain goes on as one
//! that nobody can read. What comes behind a request to switch protocols waits until that is answered
//! ([`Switch`]): after a 101 it is no HTTP any more and passes as it comes.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A head may take this many bytes; the connection's own limit is reached first.
const MAX_HEAD: usize = 64 * 1024;
/// A chunk's size line, extensions included.
const MAX_CHUNK_LINE: usize = 1024;

/// A connection whose requests all say in one way where they end.
#[derive(Debug)]
pub struct Framed<S> {
    inner: S,
    state: State,
    /// Read and not looked at yet.
    raw: BytesMut,
    /// So much of `raw` was searched for an end and has none: bytes that drip are searched once.
    searched: usize,
    /// Looked at and not taken yet.
    passed: BytesMut,
    /// Heads that passed.
    heads: u64,
    switch: Switch,
}

/// Tells a guarded connection how its requests were answered. Whoever serves the connection says it of
/// each, in their order.
#[derive(Clone, Debug, Default)]
pub struct Switch(Arc<Answers>);

#[derive(Debug, Default)]
struct Answers {
    count: AtomicU64,
    switched: AtomicBool,
}

impl Switch {
    /// The next request is answered with `status`.
    pub fn answered(&self, status: StatusCode) {
        if status == StatusCode::SWITCHING_PROTOCOLS {
            self.0.switched.store(true, Ordering::Release);
        }
        self.0.count.fetch_add(1, Ordering::AcqRel);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Head,
    /// So many bytes of a body are to come.
    Length(u64),
    ChunkLine,
    /// A chunk's bytes and the line end behind them are to come.
    Chunk(u64),
    Trailers,
    /// A request asks to switch protocols, and is not answered yet.
    Asked,
    /// It was answered with 101.
    Switched,
    /// A head was refused: nothing more is read.
    Refused,
}

/// Where a request's body ends, or why that cannot be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length(u64),
    Chunked,
    /// No body, and perhaps another protocol behind it.
    Switch,
    Refused(&'static str),
}

impl<S> Framed<S> {
    /// Guards `inner`.
    pub fn new(inner: S) -> Framed<S> {
        Framed {
            inner,
            state: State::Head,
            raw: BytesMut::new(),
            searched: 0,
            passed: BytesMut::new(),
            heads: 0,
            switch: Switch::default(),
        }
    }

    /// Where to say how its requests are answered.
    pub fn switch(&self) -> Switch {
        self.switch.clone()
    }

    /// Passes as much of what was read as can be judged.
    fn judge(&mut self) {
        while !self.raw.is_empty() {
            let Some(length) = self.step() else { break };
            self.searched = 0;
            self.passed.extend_from_slice(&self.raw[..length]);
            self.raw.advance(length);
        }
    }

    /// How many of the bytes may pass now; `None` when more have to come first.
    fn step(&mut self) -> Option<usize> {
        let here = u64::try_from(self.raw.len()).unwrap_or(u64::MAX);
        let pass = |length: u64| Some(usize::try_from(length).unwrap_or(usize::MAX));
        match self.state {
            State::Head => self.head(),
            State::Length(left) => {
                let length = left.min(here);
                self.state = if length == left { State::Head } else { State::Length(left - length) };
                pass(length)
            }
            State::Chunk(left) => {
                let length = left.min(here);
                self.state = if length == left { State::ChunkLine } else { State::Chunk(left - length) };
                pass(length)
            }
            State::ChunkLine => {
                let line = self.line(MAX_CHUNK_LINE)?;
                match chunk_size(&self.raw[..line]) {
                    Some(0) => self.state = State::Trailers,
                    Some(size) => self.state = State::Chunk(size + 2),
                    None => return self.refuse(b"!\r\n"),
                }
                Some(line)
            }
            State::Trailers => {
                let line = self.line(MAX_HEAD)?;
                if line == 2 {
                    self.state = State::Head;
                }
                Some(line)
            }
            State::Asked => {
                let answers = &self.switch.0;
                self.state = match answers.count.load(Ordering::Acquire) {
                    count if count < self.heads => return None,
                    _ if answers.switched.load(Ordering::Acquire) => State::Switched,
                    _ => State::Head,
                };
                Some(0)
            }
            State::Switched => Some(self.raw.len()),
            State::Refused => {
                self.raw.clear();
                None
            }
        }
    }

    /// Passes `instead` for what came, and nothing after it.
    fn refuse(&mut self, instead: &[u8]) -> Option<usize> {
        self.raw.clear();
        self.searched = 0;
        self.passed.extend_from_slice(instead);
        self.state = State::Refused;
        None
    }

    /// A whole head, judged; one that is refused is replaced.
    fn head(&mut self) -> Option<usize> {
        // Empty lines before a request are nobody's (RFC 9112 §2.2).
        if self.raw.starts_with(b"\r\n") {
            return Some(2);
        }
        let (searched, again) = (self.searched, self.searched.saturating_sub(3));
        let end = self.raw[again..].windows(4).position(|w| w == b"\r\n\r\n").map(|at| again + at + 4);
        let head = &self.raw[..end.unwrap_or(self.raw.len())];
        let bare = (searched..head.len()).any(|at| head[at] == b'\n' && (at == 0 || head[at - 1] != b'\r'));
        let framing = match end {
            _ if bare => Framing::Refused("bad_framing"),
            _ if head.len() > MAX_HEAD => Framing::Refused("head_too_large"),
            Some(_) => framing(head),
            None => {
                self.searched = head.len();
                return None;
            }
        };
        self.heads += 1;
        self.state = match framing {
            Framing::Switch => State::Asked,
            Framing::Length(0) => State::Head,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::ChunkLine,
            Framing::Refused(code) => {
                let head = "GET / HTTP/1.1\r\nHost: refused\r\nConnection: close\r\n";
                return self.refuse(format!("{head}X-Tollhouse-Refused: {code}\r\n\r\n").as_bytes());
            }
        };
        end
    }

    /// The length of a whole line of a chunked body at the front, its end included. Where none can
    /// come, hyper gets a line that it can make nothing of either.
    fn line(&mut self, longest: usize) -> Option<usize> {
        let searched = self.searched;
        match self.raw[searched..].iter().position(|b| *b == b'\n').map(|at| searched + at) {
            Some(at) if at > 0 && self.raw[at - 1] == b'\r' && at <= longest => Some(at + 1),
            None if self.raw.len() <= longest => {
                self.searched = self.raw.len();
                None
            }
            _ => self.refuse(b"!\r\n"),
        }
    }
}

fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.trim_ascii_end().split(|b| *b == b';').next()?.trim_ascii_end();
    let text = std::str::from_utf8(digits).ok()?;
    let plain = (1..=15).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
    plain.then(|| u64::from_str_radix(text, 16).ok()).flatten()
}

/// What a whole head says about its body.
fn framing(head: &[u8]) -> Framing {
    let (mut length, mut chunked, mut switch) = (None, false, false);
    for line in head.split(|b| *b == b'\n').skip(1) {
        let Some(colon) = line.iter().position(|b| *b == b':') else { continue };
        let (name, value) = (line[..colon].trim_ascii(), line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            let text = std::str::from_utf8(value).unwrap_or_default();
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            match text.parse().ok().filter(|_| digits && length.is_none()) {
                Some(told) => length = Some(told),
                None => return Framing::Refused("bad_framing"),
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Framing::Refused("transfer_encoding");
            }
            chunked = true;
        } else if name.eq_ignore_ascii_case(b"upgrade") {
            switch = true;
        }
    }
    match (length, chunked) {
        (None | Some(0), false) if switch => Framing::Switch,
        (Some(_), true) => Framing::Refused("bad_framing"),
        (Some(length), false) => Framing::Length(length),
        (None, true) => Framing::Chunked,
        (None, false) => Framing::Length(0),
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Framed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        // What waited for an answer may have it by now.
        this.judge();
        while this.passed.is_empty() {
            if this.raw.len() > MAX_HEAD {
                // Only behind a request to switch; whoever serves it asks again when that is answered.
                return Poll::Pending;
            }
            let mut bytes = [0u8; 8 * 1024];
            let mut read = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut this.inner).poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.raw.extend_from_slice(read.filled());
            this.judge();
        }
        let length = this.passed.len().min(buffer.remaining());
        buffer.put_slice(&this.passed[..length]);
        this.passed.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Framed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_a_request_to_switch_waits_for_its_answer() {
        let asks = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
        for (status, behind, passes) in [
            (StatusCode::SWITCHING_PROTOCOLS, "\x00\n\x01 not HTTP", "\x00\n\x01 not HTTP"),
            (StatusCode::PAYMENT_REQUIRED, "GET /b HTTP/1.1\r\n\r\n", "GET /b HTTP/1.1\r\n\r\n"),
            (StatusCode::PAYMENT_REQUIRED, "GET /b\nHTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nHost: refused\r\n"),
        ] {
            let mut framed = Framed::new(());
            let first = "GET /a HTTP/1.1\r\n\r\n";
            framed.raw.extend_from_slice(format!("{first}{asks}{behind}").as_bytes());
            framed.judge();
            // The answer to the request before it is not its own.
            framed.switch().answered(StatusCode::OK);
            framed.judge();
            assert_eq!(framed.passed, format!("{first}{asks}"));
            framed.passed.clear();
            framed.switch().answered(status);
            framed.judge();
            assert!(framed.passed.starts_with(passes.as_bytes()), "{status}: {:?}", framed.passed);
        }
    }

    /// What hyper would read of `parts`, arriving one by one.
    fn passed(parts: &[&[u8]]) -> String {
        let mut framed = Framed::new(());
        for part in parts {
            framed.raw.extend_from_slice(part);
            framed.judge();
        }
        String::from_utf8_lossy(&framed.passed).into_owned()
    }

    /// All at once and byte by byte, which must come to the same.
    fn whole(text: &str) -> String {
        let single: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        let at_once = passed(&[text.as_bytes()]);
        assert_eq!(at_once, passed(&single), "{text:?}");
        at_once
    }

    #[test]
    fn plain_requests_pass_as_they_came() {
        for text in [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\na\n\r\n\nGET / HTTP/1.1\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\n\n\n\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nA;x=y\r\n0123456789\r\n0\r\nX: y\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        ] {
            assert_eq!(whole(text), text);
        }
        assert_eq!(whole("GET / HTTP/1.1\r\nHost: a\r\n"), "", "not a whole head");
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_replaced() {
        let both = "Content-Length: 5\r\nTransfer-Encoding: chunked";
        for (head, code) in [
            (both, "bad_framing"),
            ("Transfer-Encoding: chunked\r\ncontent-length: 0", "bad_framing"),
            ("Content-Length: 5\r\nContent-Length: 5", "bad_framing"),
            ("Content-Length: 5, 5", "bad_framing"),
            ("Content-Length: +5", "bad_framing"),
            ("Content-Length:", "bad_framing"),
            ("Content-Length : 5\r\nTransfer-Encoding : chunked", "bad_framing"),
            ("Content-Length: 99999999999999999999", "bad_framing"),
            ("Transfer-Encoding: gzip, chunked", "transfer_encoding"),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "transfer_encoding"),
            ("Transfer-Encoding: identity", "transfer_encoding"),
            ("X: a\nContent-Length: 5", "bad_framing"),
        ] {
            let text = format!(
                "POST /paid HTTP/1.1\r\nHost: a\r\n{head}\r\n\r\n0\r\n\r\nGET /next HTTP/1.1\r\n\r\n"
            );
            let passed = whole(&text);
            assert!(passed.starts_with("GET / HTTP/1.1\r\nHost: refused\r\n"), "{head}: {passed}");
            assert!(passed.ends_with(&format!("X-Tollhouse-Refused: {code}\r\n\r\n")), "{head}: {passed}");
            assert!(!passed.contains("/next"), "{head}");
        }
        let long = format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(MAX_HEAD));
        assert!(passed(&[long.as_bytes()]).contains("head_too_large"));
    }

    #[test]
    fn a_chunked_body_that_is_not_plain_cannot_be_read_by_anyone() {
        for body in ["x\r\n", "\r\n", "-1\r\n", "+1\r\n", "0x1\r\n", "1\n", "FFFFFFFFFFFFFFFF\r\n", " 1\r\n"]
        {
            let head = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n";
            let passed = whole(&format!("{head}{body}GET /next HTTP/1.1\r\n\r\n"));
            assert_eq!(passed, format!("{head}!\r\n"), "{body:?}");
        }
    }
}
