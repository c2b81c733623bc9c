//! The parent's side of the child: starts it, hears it, tells it of payments, kills it.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::Value;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;
use tollhouse::types::{Msat, PaymentHash};

use super::deadline::Deadline;
use super::{PATIENCE, Place, child};

/// The signals that end a child.
const KILLED: i32 = 9;
const ABORTED: i32 = 6;

/// Payments that arrived and that no gate has noted yet: told again after every start, as LDK does.
#[derive(Debug, Default)]
pub(super) struct Payments {
    waiting: Mutex<HashMap<PaymentHash, Msat>>,
    left: watch::Sender<usize>,
}

impl Payments {
    fn changed(&self, change: impl FnOnce(&mut HashMap<PaymentHash, Msat>)) {
        let mut waiting = self.waiting.lock().expect("no test panics here");
        change(&mut waiting);
        self.left.send_replace(waiting.len());
    }

    /// Waits until every one is noted.
    pub(super) async fn all_noted(&self) {
        let mut left = self.left.subscribe();
        let noted = tokio::time::timeout(PATIENCE, left.wait_for(|left| *left == 0)).await;
        noted.expect("the gate notes every payment in time").expect("the sender is here");
    }
}

/// A child that is up.
pub(super) struct Gate {
    pub(super) address: SocketAddr,
    /// What it said when it was up.
    pub(super) report: Value,
    process: Mutex<Child>,
    input: Mutex<Option<ChildStdin>>,
    payments: Arc<Payments>,
    reader: Mutex<Option<JoinHandle<()>>>,
    died: CancellationToken,
}

impl Gate {
    /// Starts one and tells it of the payments that are not noted yet; `None` when its deadline came
    /// before it was up.
    pub(super) async fn start(place: &Place, deadline: Option<Deadline>) -> Option<Gate> {
        let payments = &place.payments;
        let mut process = Command::new(std::env::current_exe().expect("this binary"))
            .args(["--exact", super::NAME, "--nocapture"])
            .env(child::DIR, place.dir.path())
            .env(child::ORIGIN, place.origin.address.to_string())
            .env(child::FLAW, place.flaw.code())
            .envs(deadline.map(|deadline| (child::DEADLINE, deadline.told())))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the child starts");
        let input = process.stdin.take().expect("piped");
        let output = BufReader::new(process.stdout.take().expect("piped"));
        let (up, is_up) = oneshot::channel();
        let (hears, died) = (Arc::clone(payments), CancellationToken::new());
        let over = died.clone();
        let reader = std::thread::spawn(move || {
            let mut up = Some(up);
            for line in output.lines().map_while(Result::ok) {
                // The test harness writes lines of its own.
                let Ok(said) = serde_json::from_str::<Value>(&line) else { continue };
                if let Some(noted) = said["noted"].as_str() {
                    let hash = noted.parse().expect("a hash");
                    hears.changed(|waiting| {
                        waiting.remove(&hash);
                    });
                } else if let (true, Some(up)) = (said["gate"].is_string(), up.take()) {
                    let _ = up.send(said);
                }
            }
            over.cancel();
        });
        let report = tokio::time::timeout(PATIENCE, is_up).await.expect("the child is up in time");
        let Ok(report) = report else {
            let status = process.wait().expect("it ends");
            let at_its_deadline = deadline.is_some() && status.signal() == Some(ABORTED);
            assert!(at_its_deadline, "the child died before it was up: {status}; see its words above");
            return None;
        };
        let address = report["gate"].as_str().and_then(|at| at.parse().ok()).expect("an address");
        let gate = Gate {
            address,
            report,
            process: Mutex::new(process),
            input: Mutex::new(Some(input)),
            payments: Arc::clone(payments),
            reader: Mutex::new(Some(reader)),
            died,
        };
        let waiting = payments.waiting.lock().expect("no test panics here").clone();
        waiting.iter().for_each(|(hash, amount)| gate.write(hash, *amount));
        Some(gate)
    }

    /// It died at its deadline.
    pub(super) async fn died(&self) {
        self.died.cancelled().await;
    }

    /// A payment arrived.
    pub(super) fn paid(&self, hash: &PaymentHash, amount: Msat) {
        self.payments.changed(|waiting| {
            waiting.insert(*hash, amount);
        });
        self.write(hash, amount);
    }

    fn write(&self, hash: &PaymentHash, amount: Msat) {
        if let Some(input) = self.input.lock().expect("no test panics here").as_mut() {
            // A dead child hears of it when it is back.
            let _ = input.write_all(format!("{hash} {}\n", amount.msat()).as_bytes());
        }
    }

    /// kill -9, if it has not died.
    pub(super) fn kill(&self) {
        let mut process = self.process.lock().expect("no test panics here");
        process.kill().expect("it was running");
        let status = process.wait().expect("it ends");
        let killed = matches!(status.signal(), Some(KILLED | ABORTED));
        assert!(killed, "the child ended by itself: {status}");
        self.drained();
    }

    /// Ends it in order.
    pub(super) fn end(&self) {
        self.input.lock().expect("no test panics here").take();
        let status = self.process.lock().expect("no test panics here").wait().expect("it ends");
        assert!(status.success(), "the child ended badly: {status}");
        self.drained();
    }

    /// Its last words are heard before another speaks.
    fn drained(&self) {
        if let Some(reader) = self.reader.lock().expect("no test panics here").take() {
            reader.join().expect("the reader does not panic");
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        if let Ok(process) = self.process.get_mut() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
