//! Generated requests, malformed on purpose, before upstreams that were not written here (THREATS 8 to 12).
//!
//! What has to hold for each of them: nothing of the gate panics, no upstream reads a request that the
//! ledger did not book, and none that was hidden in another one's body, head or target.
//!
//! `TOLLHOUSE_SMUGGLING_SEED` draws the same again, `TOLLHOUSE_SMUGGLING_CASES` says how many.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tollhouse::catalog::{Offer, Offering, Service, Terms, Upstream};

use self::case::{Case, HIDDEN};
use self::frames::Frames;
use self::servers::{Reads, Server};
use super::{Credential, PATIENCE, TestGate, patient, sat};
use crate::chance::{Chance, SaysSeed, count};

mod case;
mod frames;
mod servers;

const SEED: &str = "TOLLHOUSE_SMUGGLING_SEED";
const CASES: &str = "TOLLHOUSE_SMUGGLING_CASES";
const USUAL_CASES: u64 = 10_000;
const AT_ONCE: usize = 24;
/// One connection in so many more speaks HTTP/2.
const FRAMES_ONE_IN: u64 = 5;

/// A gate that waits for more bytes is told after so long that there are none.
const SILENCE: Duration = Duration::from_millis(250);

/// Everything behind one host at 10 sat, with a pack that no campaign uses up.
fn service(name: &str, upstream: SocketAddr) -> Service {
    let upstream = Upstream::at(format!("http://{upstream}/").parse().expect("a URL"));
    let offer = |name: &str, what| Offer { name: name.parse().expect("a name"), what };
    let pack = Offering::Pack { requests: 1_000_000, price: Some("1000 sat".parse().expect("an amount")) };
    let terms = Terms { offers: vec![offer("request", Offering::Request), offer("pack", pack)], ..sat(10) };
    let host = Some(format!("{name}.example"));
    Service { host, ..Service::new(name.parse().expect("a name"), "/", terms, upstream) }
}

/// What came of the cases of one server.
#[derive(Debug, Default)]
struct Tally {
    cases: u64,
    /// Answers by their status, and connections without one.
    answers: BTreeMap<String, u64>,
}

impl Tally {
    fn of(&self, status: &str) -> u64 {
        self.answers.get(status).copied().unwrap_or_default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_generated_request_reaches_an_upstream_unpaid() {
    let seed = Chance::seed(SEED);
    let _says = SaysSeed(SEED, seed);
    let mut chance = Chance::new(seed);
    let panics = Panics::watch();
    let servers = [Server::hyper().await, Server::nginx(), Server::node()];
    let services = servers.iter().map(|server| service(server.name, server.address)).collect();
    let gate = TestGate::with(services, patient()).await;
    let total = count(CASES, USUAL_CASES);
    for (share, server) in (0u64..).zip(servers) {
        let name = server.name;
        let pack = bought(&gate, name).await;
        let cases = total / 3 + u64::from(share < total % 3);
        let tally = campaign(gate.address, name, &pack, chance.fork(), cases).await;
        framed(gate.address, name, &pack, chance.fork(), cases / FRAMES_ONE_IN).await;
        let (_, _, spent) = gate.settled(&pack).await;
        let read = server.finish().await;
        eprintln!("{name}: {} hits for {spent} units, {tally:?}", read.hits.len());
        judge(name, &tally, &read, spent);
    }
    assert_eq!(panics.seen(), 0, "nothing of the gate panics");
    gate.audited().await;
}

/// The pack of this server's service.
async fn bought(gate: &TestGate, name: &str) -> Credential {
    let lines = "Connection: close\r\nPrefer: l402-offer=pack\r\n";
    let reply = gate.ask(&format!("GET /x HTTP/1.1\r\nHost: {name}.example\r\n{lines}\r\n")).await;
    assert_eq!((reply.status, reply.json()["offer"].as_str()), (402, Some("pack")), "{reply:?}");
    gate.pay(&reply)
}

async fn campaign(gate: SocketAddr, name: &str, pack: &Credential, mut chance: Chance, cases: u64) -> Tally {
    let (room, mut under_way) = (Arc::new(Semaphore::new(AT_ONCE)), JoinSet::new());
    let mut tally = Tally { cases, ..Tally::default() };
    for number in 0..cases {
        let case = Case::draw(&mut chance, name, &pack.header, number);
        let permit = Arc::clone(&room).acquire_owned().await.expect("never closed");
        under_way.spawn(async move {
            let statuses = statuses(gate, &case).await;
            drop(permit);
            statuses
        });
    }
    while let Some(statuses) = under_way.join_next().await {
        for status in statuses.expect("a case is tried") {
            *tally.answers.entry(status).or_default() += 1;
        }
    }
    tally
}

/// The same as frames of HTTP/2; what they come to is counted by the server and the ledger.
async fn framed(gate: SocketAddr, name: &str, pack: &Credential, mut chance: Chance, cases: u64) {
    let (room, mut under_way) = (Arc::new(Semaphore::new(AT_ONCE)), JoinSet::new());
    for number in 0..cases {
        let frames = Frames::draw(&mut chance, name, &pack.header, number);
        let permit = Arc::clone(&room).acquire_owned().await.expect("never closed");
        under_way.spawn(async move {
            let whole = exchanged(gate, &frames).await;
            drop(permit);
            whole
        });
    }
    let mut whole = 0;
    while let Some(case) = under_way.join_next().await {
        whole += u64::from(case.expect("a case is tried"));
    }
    eprintln!("{name}: of {cases} connections with frames, {whole} had an end of every stream");
    assert!(cases < 100 || whole > cases / 4, "{name}: {whole} of {cases}");
}

/// Sends the frames and reads until every stream ended, or the gate had enough; whether they all ended.
async fn exchanged(gate: SocketAddr, frames: &Frames) -> bool {
    let mut stream = TcpStream::connect(gate).await.expect("the gate listens");
    // A gate that refused already may be gone.
    let _ = stream.write_all(&frames.bytes).await;
    let (mut bytes, mut told, mut whole) = (Vec::new(), false, false);
    let mut buffer = [0u8; 16 * 1024];
    loop {
        let patience = if told { PATIENCE } else { SILENCE };
        let silent = match tokio::time::timeout(patience, stream.read(&mut buffer)).await {
            Ok(Ok(length @ 1..)) => {
                bytes.extend_from_slice(&buffer[..length]);
                false
            }
            Ok(_) => return whole,
            Err(_) if told => panic!("the gate neither answers nor closes: {frames}"),
            Err(_) => true,
        };
        whole = frames.ended(&bytes) == Some(frames.streams.len());
        if !told && (whole || silent) {
            told = true;
            let _ = stream.write_all(&Frames::goodbye()).await;
            let _ = stream.shutdown().await;
        }
    }
}

/// Sends the case as its parts, and says how each of its requests was answered.
async fn statuses(gate: SocketAddr, case: &Case) -> Vec<String> {
    let talk = async {
        let mut stream = TcpStream::connect(gate).await.expect("the gate listens");
        for part in &case.parts {
            // A gate that refused already may be gone.
            if stream.write_all(part).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        let (mut bytes, mut told) = (Vec::new(), false);
        let mut buffer = [0u8; 16 * 1024];
        loop {
            let patience = if told { PATIENCE } else { SILENCE };
            match tokio::time::timeout(patience, stream.read(&mut buffer)).await {
                Ok(Ok(length @ 1..)) => bytes.extend_from_slice(&buffer[..length]),
                Ok(_) => return bytes,
                Err(_) if told => panic!("the gate neither answers nor closes: {case}"),
                Err(_) => {
                    told = true;
                    // An end of our side is no end of the gate's answer, so that it is awaited.
                    let _ = stream.shutdown().await;
                }
            }
        }
    };
    let bytes = talk.await;
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.is_empty() || text.starts_with("HTTP/1."), "no answer of HTTP: {text}\n{case}");
    assert!(!text.to_lowercase().contains(HIDDEN), "an answer to what was hidden: {text}\n{case}");
    let lines = text.split("HTTP/1.").skip(1);
    let statuses: Vec<String> = lines.filter_map(|line| line.split(' ').nth(1)).map(str::to_owned).collect();
    if statuses.is_empty() { vec!["none".to_owned()] } else { statuses }
}

fn judge(name: &str, tally: &Tally, read: &Reads, spent: u64) {
    for hit in &read.hits {
        assert!(!hit.to_lowercase().contains(HIDDEN), "{name} read what was hidden: {hit}");
    }
    let hits = u64::try_from(read.hits.len()).expect("few");
    assert!(hits <= spent, "{name} read {hits} requests and {spent} were paid for: {:?}", read.hits);
    assert!(tally.of("200") <= hits, "{name}: {tally:?}");
    assert!(tally.of("500") == 0, "{name}: {tally:?}");
    // The generator is worth something: it gets through, and it is refused, in many ways.
    if tally.cases >= 300 {
        for status in ["200", "400", "402", "501"] {
            assert!(tally.of(status) > 0, "{name}: no {status} among {tally:?}");
        }
    }
    assert_eq!(read.malformed, 0, "{name} was sent what it could not read");
}

/// Counts panics of the code under test, wherever they are caught.
struct Panics(Arc<AtomicU64>);

impl Panics {
    fn watch() -> Panics {
        let seen = Arc::new(AtomicU64::new(0));
        let (count, before) = (Arc::clone(&seen), std::panic::take_hook());
        std::panic::set_hook(Box::new(move |panic| {
            // A failing test of its own is none of ours.
            if panic.location().is_some_and(|place| !place.file().contains("tests/")) {
                count.fetch_add(1, Ordering::SeqCst);
            }
            before(panic);
        }));
        Panics(seen)
    }

    fn seen(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}
