//! An upstream that reads requests byte by byte, remembers them, and behaves as the path says.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio_util::task::TaskTracker;

use super::PATIENCE;

/// A request as it reached the upstream.
#[derive(Clone, Debug)]
pub(super) struct Hit {
    pub(super) head: String,
    /// Which connection it came on, from 1.
    pub(super) connection: usize,
}

impl Hit {
    pub(super) fn line(&self) -> &str {
        self.head.split("\r\n").next().unwrap_or_default()
    }

    pub(super) fn header(&self, name: &str) -> Vec<String> {
        self.head
            .split("\r\n")
            .skip(1)
            .filter_map(|line| line.split_once(':'))
            .filter(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim().to_owned())
            .collect()
    }
}

/// What the upstream saw.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) hits: Vec<Hit>,
    /// Bodies that arrived whole, dechunked.
    pub(super) bodies: Vec<Vec<u8>>,
    /// What came behind the last chunked body.
    pub(super) trailers: String,
    /// Body bytes that arrived so far.
    pub(super) body_bytes: usize,
    /// Connections that the other side ended while something was under way.
    pub(super) broken: usize,
    /// Bytes of `/endless` that could be written.
    pub(super) written: usize,
}

pub(super) struct Origin {
    pub(super) address: SocketAddr,
    pub(super) shared: Arc<Shared>,
}

#[derive(Debug, Default)]
pub(super) struct Shared {
    seen: Mutex<Seen>,
    news: watch::Sender<u64>,
    /// Lets `/gated` go on.
    pub(super) gate: Notify,
    scripts: Mutex<HashMap<String, Vec<Step>>>,
}

/// What to do next, when a test says it.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Say(Vec<u8>),
    /// Until the gate opens.
    Wait,
    /// For ever.
    Hang,
    Reset,
    Close,
}

impl Step {
    pub(super) fn say(text: impl Into<String>) -> Step {
        Step::Say(text.into().into_bytes())
    }

    /// A chunk of a chunked body.
    pub(super) fn chunk(text: &str) -> Step {
        Step::say(format!("{:x}\r\n{text}\r\n", text.len()))
    }
}

impl Shared {
    fn note(&self, what: impl FnOnce(&mut Seen)) {
        what(&mut self.seen.lock().expect("no test panics here"));
        self.news.send_modify(|n| *n += 1);
    }
}

impl Origin {
    pub(super) async fn start() -> Origin {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared::default());
        let (tracker, all) = (TaskTracker::new(), Arc::clone(&shared));
        tracker.clone().spawn(async move {
            let mut connection = 0;
            while let Ok((stream, _)) = listener.accept().await {
                connection += 1;
                tracker
                    .spawn(Visit { stream, connection, shared: Arc::clone(&all), early: Vec::new() }.run());
            }
        });
        Origin { address, shared }
    }

    /// Has `path` answered by `steps` from now on.
    pub(super) fn script(&self, path: &str, steps: Vec<Step>) {
        self.shared.scripts.lock().expect("no test panics here").insert(path.to_owned(), steps);
    }

    /// How many requests arrived.
    pub(super) fn hits(&self) -> usize {
        self.seen(|seen| seen.hits.len())
    }

    pub(super) fn last(&self) -> Hit {
        self.seen(|seen| seen.hits.last().expect("a hit").clone())
    }

    pub(super) fn seen<T>(&self, what: impl FnOnce(&Seen) -> T) -> T {
        what(&self.shared.seen.lock().expect("no test panics here"))
    }

    /// Waits until `what` is so.
    pub(super) async fn until(&self, what: impl Fn(&Seen) -> bool) {
        let mut news = self.shared.news.subscribe();
        let wait = async {
            while !self.seen(&what) {
                news.changed().await.expect("the upstream runs");
            }
        };
        if tokio::time::timeout(PATIENCE, wait).await.is_err() {
            panic!("it did not come to that: {:?}", self.seen(|seen| format!("{seen:?}")));
        }
    }
}

/// One connection.
struct Visit {
    stream: TcpStream,
    connection: usize,
    shared: Arc<Shared>,
    /// Bytes that came behind a head.
    early: Vec<u8>,
}

impl Visit {
    async fn run(mut self) {
        while let Some(head) = self.head().await {
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            let connection = self.connection;
            self.shared.note(|seen| seen.hits.push(Hit { head: head.clone(), connection }));
            if path == "/early" {
                let _ = self.stream.write_all(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n").await;
                return;
            }
            // An answer that does not wait for the request's body, and does not end.
            if path == "/meanwhile" {
                let start = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n";
                let _ = self.stream.write_all(start).await;
                self.wait_for_end().await;
                return;
            }
            if !self.body(&head).await {
                self.shared.note(|seen| seen.broken += 1);
                return;
            }
            if !self.answer(&path, head.starts_with("HEAD ")).await {
                return;
            }
        }
    }

    async fn more(&mut self) -> Option<()> {
        let mut buffer = [0u8; 16 * 1024];
        let length = self.stream.read(&mut buffer).await.ok().filter(|length| *length > 0)?;
        self.early.extend_from_slice(&buffer[..length]);
        Some(())
    }

    async fn head(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.early.windows(4).position(|w| w == b"\r\n\r\n") {
                let head = String::from_utf8(self.early[..end].to_vec()).expect("a head in text");
                self.early.drain(..end + 4);
                return Some(head);
            }
            self.more().await?;
        }
    }

    /// Reads the body that `head` announces; false when it broke off.
    async fn body(&mut self, head: &str) -> bool {
        let hit = Hit { head: head.to_owned(), connection: 0 };
        let mut body = Vec::new();
        if !hit.header("transfer-encoding").is_empty() {
            loop {
                let Some(end) = self.early.windows(2).position(|w| w == b"\r\n") else {
                    if self.more().await.is_none() {
                        return false;
                    }
                    continue;
                };
                let text = String::from_utf8_lossy(&self.early[..end]).into_owned();
                let size = usize::from_str_radix(&text, 16).expect("a chunk's size");
                if size == 0 {
                    match self.trailers(end).await {
                        Some(trailers) => self.shared.note(|seen| seen.trailers = trailers),
                        None => return false,
                    }
                    break;
                }
                while self.early.len() < end + 2 + size + 2 {
                    if self.more().await.is_none() {
                        return false;
                    }
                }
                body.extend_from_slice(&self.early[end + 2..end + 2 + size]);
                self.early.drain(..end + 2 + size + 2);
                self.shared.note(|seen| seen.body_bytes += size);
            }
        } else if let Some(length) = hit.header("content-length").first() {
            let length: usize = length.parse().expect("a length");
            while body.len() < length {
                if self.early.is_empty() && self.more().await.is_none() {
                    return false;
                }
                let taken = self.early.len().min(length - body.len());
                body.extend(self.early.drain(..taken));
                self.shared.note(|seen| seen.body_bytes += taken);
            }
        }
        self.shared.note(|seen| seen.bodies.push(body));
        true
    }

    /// Reads what follows the last chunk, whose line ends at `end`.
    async fn trailers(&mut self, end: usize) -> Option<String> {
        loop {
            if let Some(length) = self.early[end..].windows(4).position(|w| w == b"\r\n\r\n") {
                let text = String::from_utf8(self.early[end + 2..end + length + 2].to_vec()).expect("text");
                self.early.drain(..end + length + 4);
                return Some(text);
            }
            self.more().await?;
        }
    }

    /// Answers as the path says; true when the connection goes on.
    async fn answer(&mut self, path: &str, head_only: bool) -> bool {
        let plain = path.split('?').next().unwrap_or_default();
        let script = self.shared.scripts.lock().expect("no test panics here").get(plain).cloned();
        if let Some(steps) = script {
            return self.play(steps).await;
        }
        let what = plain.rsplit('/').next().unwrap_or_default();
        let text: &[u8] = match what {
            "500" => b"HTTP/1.1 500 Oops\r\ncontent-length: 4\r\n\r\noops",
            "503" => b"HTTP/1.1 503 Later\r\ncontent-length: 0\r\nretry-after: 7\r\n\r\n",
            "404" => b"HTTP/1.1 404 No\r\ncontent-length: 2\r\n\r\nno",
            "204" => b"HTTP/1.1 204 Nothing\r\n\r\n",
            "302" => b"HTTP/1.1 302 There\r\nlocation: /there\r\ncontent-length: 0\r\n\r\n",
            "304" => b"HTTP/1.1 304 Same\r\netag: \"x\"\r\n\r\n",
            "402" => b"HTTP/1.1 402 Pay me\r\nwww-authenticate: L402 macaroon=\"evil\", invoice=\"evil\"\r\ncontent-length: 4\r\n\r\nevil",
            "101" => b"HTTP/1.1 101 Switch\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
            "chunked" => b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n",
            "both" => b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n0\r\n\r\n",
            "steering" => b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncache-control: public, max-age=99\r\nexpires: Thu, 01 Jan 2099 00:00:00 GMT\r\nalt-svc: h3=\":1\"\r\nclear-site-data: \"*\"\r\nx-tollhouse-unit: restored\r\nwww-authenticate: LSAT macaroon=\"evil\"\r\nconnection: x-hop\r\nx-hop: 1\r\nx-kept: 1\r\n\r\nok",
            "close" => return false,
            "rst" => {
                let _ = self.stream.set_zero_linger();
                return false;
            }
            "garbage" => {
                let _ = self.stream.write_all(b"SSH-2.0-not-http\r\n\r\n").await;
                return false;
            }
            "half-head" => {
                let _ = self.stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-le").await;
                return false;
            }
            "big-head" => {
                let line = format!("x-big: {}\r\n", "a".repeat(8 * 1024));
                let _ = self.stream.write_all(b"HTTP/1.1 200 OK\r\n").await;
                for _ in 0..128 {
                    if self.stream.write_all(line.as_bytes()).await.is_err() {
                        break;
                    }
                }
                return false;
            }
            "truncated" => {
                let _ = self.stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort").await;
                return false;
            }
            "truncated-chunks" => {
                let _ = self.stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nshort\r\n").await;
                return false;
            }
            "to-close" => {
                let _ = self.stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nall of it").await;
                return false;
            }
            "silent" => return self.wait_for_end().await,
            "drip" => {
                let drip = async {
                    for byte in b"HTTP/1.1 200 OK\r\nx-drip: ".iter().chain(std::iter::repeat(&b'a')) {
                        if self.stream.write_all(&[*byte]).await.is_err() {
                            return;
                        }
                        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                    }
                };
                drip.await;
                return false;
            }
            "stalled-body" => {
                let _ = self.stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort").await;
                return self.wait_for_end().await;
            }
            "stepwise" => {
                let _ = self.stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n").await;
                self.shared.gate.notified().await;
                let _ = self.stream.write_all(b"6\r\nsecond\r\n0\r\n\r\n").await;
                return true;
            }
            // In two parts, the second when the gate opens.
            "parts" => {
                let _ = self.stream.write_all(b"HTTP/1.1 201 Made\r\nx-upstream: 1\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n").await;
                self.shared.gate.notified().await;
                let _ = self.stream.write_all(b"6\r\nsecond\r\n0\r\n\r\n").await;
                return true;
            }
            "large" => {
                let body = vec![b'x'; 2 << 20];
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
                let _ = self.stream.write_all(head.as_bytes()).await;
                return self.stream.write_all(&body).await.is_ok();
            }
            "gated-500" => {
                self.shared.gate.notified().await;
                b"HTTP/1.1 500 Oops\r\ncontent-length: 4\r\n\r\noops"
            }
            "endless" => {
                let _ = self.stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
                let chunk = [b"4000\r\n".as_slice(), &[b'x'; 0x4000], b"\r\n"].concat();
                while self.stream.write_all(&chunk).await.is_ok() {
                    self.shared.note(|seen| seen.written += 0x4000);
                }
                self.shared.note(|seen| seen.broken += 1);
                return false;
            }
            "gated" => {
                self.shared.gate.notified().await;
                b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
            }
            _ if head_only => b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-upstream: 1\r\n\r\n",
            _ => b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-upstream: 1\r\n\r\nok",
        };
        self.stream.write_all(text).await.is_ok()
    }

    async fn play(&mut self, steps: Vec<Step>) -> bool {
        for step in steps {
            match step {
                Step::Say(bytes) if self.stream.write_all(&bytes).await.is_err() => {
                    self.shared.note(|seen| seen.broken += 1);
                    return false;
                }
                Step::Say(_) => {}
                Step::Wait => self.shared.gate.notified().await,
                Step::Hang => return self.wait_for_end().await,
                Step::Reset => {
                    let _ = self.stream.set_zero_linger();
                    return false;
                }
                Step::Close => return false,
            }
        }
        true
    }

    /// Says nothing until the other side goes.
    async fn wait_for_end(&mut self) -> bool {
        let mut buffer = [0u8; 64];
        while let Ok(1..) = self.stream.read(&mut buffer).await {}
        self.shared.note(|seen| seen.broken += 1);
        false
    }
}
