//! A flood of challenges costs the gate neither disk nor memory.
//!
//! The gate runs in a process of its own, this test binary started again, so that what is measured
//! is the memory of who serves and not of who asks.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::Ordering;

use super::upstream::Origin;
use super::{PATIENCE, TestGate};

/// Set for the process that serves.
const SERVE: &str = "TOLLHOUSE_TEST_FLOOD_SERVER";

/// What the serving process says begins so; the test harness speaks on the same pipe.
const SAYS: &str = "flood: ";

const CONNECTIONS: usize = 8;
const WARM_UP: usize = 5_000;
const FLOOD: usize = 100_000;
/// Requests that are sent before the first one's answer is read.
const AT_ONCE: usize = 50;

/// The other process; it ends with the test.
struct Server {
    child: Child,
    orders: ChildStdin,
    says: BufReader<ChildStdout>,
}

impl Server {
    fn start() -> (Server, SocketAddr) {
        let mut child = Command::new(std::env::current_exe().expect("this binary"))
            .args(["--exact", "gateway::flood::the_process_that_serves_the_flood", "--nocapture"])
            .env(SERVE, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this binary starts again");
        let orders = child.stdin.take().expect("piped");
        let says = BufReader::new(child.stdout.take().expect("piped"));
        let mut server = Server { child, orders, says };
        let address = server.hear().parse().expect("an address");
        (server, address)
    }

    fn hear(&mut self) -> String {
        loop {
            let mut line = String::new();
            assert!(self.says.read_line(&mut line).expect("text") > 0, "the server ended");
            if let Some(said) = line.strip_prefix(SAYS) {
                return said.trim_end().to_owned();
            }
        }
    }

    /// What its ledger holds and its upstream saw.
    fn traces(&mut self) -> String {
        self.orders.write_all(b"\n").expect("the server listens");
        self.hear()
    }

    /// Resident memory in KiB.
    fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_hundred_thousand_challenges_cost_no_row_and_no_memory() {
    let (mut server, address) = Server::start();
    let before = server.traces();
    let mut hashes = flood(address, WARM_UP);
    let warm = server.resident();
    hashes.extend(flood(address, FLOOD));
    let after = server.resident();
    assert_eq!(hashes.len(), WARM_UP + FLOOD, "each challenge has its own payment hash");
    assert_eq!(server.traces(), before, "no row, and nothing for the upstream");
    let grown = after.saturating_sub(warm);
    println!("resident: {warm} KiB warm, {after} KiB after the flood");
    assert!(grown <= 32 * 1024, "{grown} KiB more for {FLOOD} challenges");
}

/// Asks `total` times over a few connections at once and collects the payment hashes offered.
fn flood(address: SocketAddr, total: usize) -> HashSet<String> {
    std::thread::scope(|scope| {
        let share = total / CONNECTIONS;
        let asking: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(move || ask(address, share))).collect();
        asking.into_iter().flat_map(|one| one.join().expect("all were answered")).collect()
    })
}

/// One kept connection.
fn ask(address: SocketAddr, total: usize) -> Vec<String> {
    let mut stream = TcpStream::connect(address).expect("the gate listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let mut answers = BufReader::new(stream.try_clone().expect("a socket"));
    let mut hashes = Vec::with_capacity(total);
    while hashes.len() < total {
        let batch = AT_ONCE.min(total - hashes.len());
        let requests = "GET /ok HTTP/1.1\r\nHost: api.example\r\n\r\n".repeat(batch);
        stream.write_all(requests.as_bytes()).expect("the gate reads");
        hashes.extend((0..batch).map(|_| offered(&mut answers)));
    }
    hashes
}

/// Reads one 402 and gives its payment hash.
fn offered(answers: &mut impl BufRead) -> String {
    let (mut length, mut challenged, mut line) = (0, false, String::new());
    answers.read_line(&mut line).expect("a status");
    assert!(line.starts_with("HTTP/1.1 402 "), "{line:?}");
    while line != "\r\n" {
        line.clear();
        answers.read_line(&mut line).expect("a header");
        let (name, value) = line.trim_end().split_once(':').unwrap_or_default();
        match name {
            "content-length" => length = value.trim().parse().expect("a length"),
            "www-authenticate" => challenged |= value.trim().starts_with("L402 macaroon="),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    answers.read_exact(&mut body).expect("a body");
    let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    assert!(challenged);
    body["paymentHash"].as_str().expect("a payment hash").to_owned()
}

/// No test by itself: the other process of the one above. It serves until its input ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process_that_serves_the_flood() {
    if std::env::var_os(SERVE).is_none() {
        return;
    }
    let origin = Origin::start().await;
    let gate = TestGate::before(&origin).await;
    gate.minter.remembers.store(false, Ordering::SeqCst);
    println!("\n{SAYS}{}", gate.address);
    loop {
        let mut order = String::new();
        let read = tokio::task::block_in_place(|| std::io::stdin().read_line(&mut order));
        if read.expect("text") == 0 {
            return;
        }
        println!("{SAYS}{:?} {} hits", gate.rows().await, origin.hits());
    }
}
