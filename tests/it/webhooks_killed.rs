//! kill -9 while messages are on their way, again and again: whatever was in the log arrives.
//!
//! The courier lives in a child process, the receiver here. The child is this same test, started with an
//! environment variable that only its parent sets.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tollhouse::clock::{Clock, SystemClock, SystemEntropy};
use tollhouse::egress::{Egress, Reach, SystemResolver};
use tollhouse::event::Event;
use tollhouse::store::{DeliveryFilter, DeliveryState, DirLock, Ledger};
use tollhouse::types::{Msat, PaymentHash};
use tollhouse::webhooks::{Schedule, WebhookAsk, Webhooks, WebhooksConfig, WebhooksParts};

use crate::chance::{Chance, SaysSeed, count};
use crate::webhooks::Receiver;

const NAME: &str = "webhooks_killed::kills_lose_no_message";
const DIR: &str = "TOLLHOUSE_KILL_WEBHOOKS_DIR";
const SEED: &str = "TOLLHOUSE_KILL_SEED";
const CYCLES: &str = "TOLLHOUSE_SOAK_CYCLES";
/// A courier lives at most this long once it is up, in microseconds.
const LONGEST_LIFE: u64 = 120_000;

#[test]
fn kills_lose_no_message() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    if let Some(dir) = std::env::var_os(DIR) {
        runtime.block_on(live(&PathBuf::from(dir)));
        end()
    }
    let seed = Chance::seed(SEED);
    let _says = SaysSeed(SEED, seed);
    runtime.block_on(campaign(count(CYCLES, 30), Chance::new(seed)));
}

/// Never returns into the test harness, so that nothing is reported as a test that passed.
#[expect(clippy::disallowed_methods, reason = "the child must not come back to the harness")]
fn end() -> ! {
    std::process::exit(0)
}

fn open(dir: &Path) -> (Ledger, Arc<Webhooks>) {
    let path = dir.join("ledger.db");
    let clock: Arc<dyn Clock> = SystemClock::new(Ledger::high_water(&path).expect("a time"));
    let (ledger, _) = Ledger::open(&path, Arc::clone(&clock)).expect("the ledger opens");
    let egress = Arc::new(Egress::new(Arc::new(SystemResolver)).expect("a client"));
    let parts = WebhooksParts { ledger: ledger.clone(), egress, clock, entropy: SystemEntropy::new() };
    // What fails is tried again soon, and never given up: the test is short.
    let schedule = Schedule::new(vec![Duration::from_millis(5); 1_000]);
    let config = WebhooksConfig { schedule, patience: Duration::from_secs(5) };
    (ledger, Arc::new(Webhooks::new(parts, config)))
}

/// The child: notes each payment that it is told of, and delivers.
async fn live(dir: &Path) {
    let _lock = DirLock::take(dir).expect("the one before is dead");
    let (ledger, webhooks) = open(dir);
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    tasks.spawn(webhooks.run(stop.clone()));
    say("up");
    let (told, mut hears) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let _ = told.send(line);
        }
    });
    while let Some(line) = hears.recv().await {
        let payment_hash: PaymentHash = line.parse().expect("a payment hash");
        let amount_msat = Msat::from_sat(1).expect("in range");
        let event = Event::PaymentReceived {
            payment_hash,
            amount_msat,
            service: None,
            route: None,
            over_msat: Msat::ZERO,
            opening_fee_msat: Msat::ZERO,
            late: false,
        };
        ledger.log(event).await.expect("logged");
        say(&line);
    }
    stop.cancel();
    tasks.close();
    tasks.wait().await;
    ledger.close().await.expect("the ledger closes in order");
}

fn say(word: &str) {
    // One write: a kill leaves a whole line or none. The mark tells it from the harness's lines.
    let _ = std::io::stdout().write_all(format!("child: {word}\n").as_bytes());
}

/// A courier that is up.
struct Courier {
    process: Child,
    input: Option<ChildStdin>,
    reader: JoinHandle<()>,
}

impl Courier {
    /// Starts one; what it notes is entered in `noted`.
    async fn start(dir: &Path, noted: &Arc<Mutex<BTreeSet<String>>>) -> Courier {
        let mut process = Command::new(std::env::current_exe().expect("this binary"))
            .args(["--exact", NAME, "--nocapture"])
            .env(DIR, dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the child starts");
        let output = BufReader::new(process.stdout.take().expect("piped"));
        let (up, is_up) = tokio::sync::oneshot::channel();
        let noted = Arc::clone(noted);
        let reader = std::thread::spawn(move || {
            let mut up = Some(up);
            for line in output.lines().map_while(Result::ok) {
                // The harness does not end its own line before the child speaks.
                let Some((_, word)) = line.split_once("child: ") else { continue };
                if word == "up" {
                    up.take().map(|up| up.send(()));
                } else {
                    noted.lock().expect("no test panics here").insert(word.to_owned());
                }
            }
        });
        let waited = tokio::time::timeout(Duration::from_secs(30), is_up).await;
        waited.expect("the child is up in time").expect("the child came up instead of dying");
        let input = process.stdin.take();
        Courier { process, input, reader }
    }

    fn pay(&mut self, hash: &PaymentHash) {
        let input = self.input.as_mut().expect("it listens");
        input.write_all(format!("{hash}\n").as_bytes()).expect("it is alive");
    }

    /// kill -9.
    fn kill(mut self) {
        self.process.kill().expect("it was running");
        let status = self.process.wait().expect("it ends");
        assert!(status.code().is_none(), "the child ended by itself: {status}");
        self.reader.join().expect("the reader does not panic");
    }

    /// Ends it in order.
    fn end(mut self) {
        drop(self.input.take());
        let status = self.process.wait().expect("it ends");
        assert!(status.success(), "the child ended badly: {status}");
        self.reader.join().expect("the reader does not panic");
    }
}

async fn campaign(cycles: u64, mut chance: Chance) {
    let dir = tempfile::tempdir().expect("a folder");
    let receiver = Receiver::start(&[]).await;
    let (ledger, webhooks) = open(dir.path());
    let topics = vec!["payment.received".to_owned()];
    let ask = WebhookAsk { url: receiver.url.clone(), topics, label: "x".to_owned(), reach: Reach::Private };
    let (webhook, secret) = webhooks.add(ask).await.expect("made");
    ledger.close().await.expect("closed");
    drop((ledger, webhooks));

    let noted = Arc::<Mutex<BTreeSet<String>>>::default();
    let mut paid = 0_u64;
    for _ in 0..cycles {
        let mut courier = Courier::start(dir.path(), &noted).await;
        receiver.answer(*chance.pick(&[200, 200, 204, 500, 503]).expect("one of five"));
        for _ in 0..chance.below(40) {
            let mut hash = [0; 32];
            paid += 1;
            hash[..8].copy_from_slice(&paid.to_be_bytes());
            courier.pay(&PaymentHash::from_bytes(hash));
        }
        tokio::time::sleep(Duration::from_micros(chance.below(LONGEST_LIFE))).await;
        courier.kill();
    }
    receiver.answer(200);
    let courier = Courier::start(dir.path(), &noted).await;
    let noted_by_all = noted.lock().expect("no test panics here").clone();
    let hash = |told: &serde_json::Value| told["data"]["payment_hash"].as_str().expect("a hash").to_owned();
    let got = receiver
        .got(|got| {
            let arrived: BTreeSet<String> = got.iter().map(|got| hash(&got.told())).collect();
            noted_by_all.is_subset(&arrived)
        })
        .await;
    courier.end();

    let mut ids: BTreeMap<String, String> = BTreeMap::new();
    for got in &got {
        assert!(got.is_signed_with(&secret.text()), "{got:?}");
        let id = ids.entry(hash(&got.told())).or_insert_with(|| got.id.clone());
        assert_eq!(*id, got.id, "the same message has the same id each time");
    }
    let taken = got.iter().filter(|got| (200..300).contains(&got.answered)).count();
    let distinct: BTreeSet<&String> = ids.values().collect();
    assert_eq!(distinct.len(), ids.len(), "each message has an id of its own");
    let (ledger, _) = open(dir.path());
    let unsent = DeliveryFilter { webhook: Some(webhook), state: Some(DeliveryState::Parked), before: None };
    assert_eq!(ledger.deliveries(unsent, 10).await.expect("read"), []);
    assert!(ledger.audit().await.expect("read").ok);
    ledger.close().await.expect("closed");
    eprintln!(
        "{cycles} kills: {} of {paid} payments answered as noted, {} in the log, all arrived; {} messages, of \
         which {} were taken once more because a kill hid that they had been",
        noted_by_all.len(),
        ids.len(),
        got.len(),
        taken.saturating_sub(ids.len())
    );
    // Some in each thirty; a hundred without one is no chance.
    assert!(
        cycles < 100 || taken > ids.len(),
        "no kill met a message on its way: the campaign proves nothing"
    );
}
