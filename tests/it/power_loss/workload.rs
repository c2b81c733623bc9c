//! The process that is recorded: many customers at once on one ledger, each told aloud what it may rely
//! on, and beside it a node that keeps its channels' states. It lives twice: once to an orderly end, once
//! to a sudden one with holds open.
//!
//! It is the test binary, started anew with [`DIR`] set. What it says is written to a file of the folder,
//! a line in one write, so that the recording has it in its place among the ledger's writes.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use tokio_util::task::TaskTracker;
use tollhouse::clock::{Clock, SystemClock};
use tollhouse::ledger::{Draw, Ending, RestoreReason, Sale};
use tollhouse::ports::{KeyValue, KvKey};
use tollhouse::store::{Flaw, Ledger, NewGrant, NodeStore, Reservation};
use tollhouse::types::{Kind, Msat, Name, PaymentHash, Timestamp, TokenId};

use super::recording::SAID;

/// The folder with the ledger; set for the recorded process only.
pub(super) const DIR: &str = "TOLLHOUSE_POWER_DIR";
/// A fault to put in on purpose.
pub(super) const FLAW: &str = "TOLLHOUSE_POWER_FLAW";
/// Customers in each life.
pub(super) const CUSTOMERS: &str = "TOLLHOUSE_POWER_CUSTOMERS";

/// Channels of the node, and how many states each has in a life.
pub(super) const CHANNELS: u8 = 3;
const VERSIONS: u64 = 40;

/// Customers at once.
const AT_ONCE: u64 = 12;

/// How one hold ends, in units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Parts {
    pub(super) spent: u64,
    pub(super) restored: u64,
    /// What a cost known only at the end left over.
    pub(super) released: u64,
}

impl std::ops::AddAssign for Parts {
    fn add_assign(&mut self, more: Parts) {
        self.spent += more.spent;
        self.restored += more.restored;
        self.released += more.released;
    }
}

/// One line: what begins, or what is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Word {
    /// A payment is about to be told.
    Pays { who: PaymentHash },
    /// It is credited.
    Paid { who: PaymentHash },
    /// A token that nobody pays for is made.
    Granted { who: PaymentHash },
    /// Units are about to be reserved.
    Asks { who: PaymentHash, units: u64 },
    /// They are debited.
    Reserved { who: PaymentHash, units: u64 },
    /// A hold is about to end.
    Ends { who: PaymentHash, parts: Parts },
    /// Its end is on disk.
    Ended { who: PaymentHash, parts: Parts },
    /// A token is taken back.
    Revoked { who: PaymentHash },
    /// A channel's state is about to be stored.
    Stores { channel: u8, version: u64 },
    /// It is stored.
    Stored { channel: u8, version: u64 },
    /// The ledger was closed in order after so many commits.
    Closed { commits: u64 },
}

/// What one payment brings.
pub(super) fn price() -> Msat {
    Msat::new(30_001).expect("in range")
}

/// Works until it exits. Never returns into the test harness.
#[expect(clippy::disallowed_methods, reason = "the child must not come back to the harness")]
pub(super) fn run(dir: &Path) -> ! {
    let flaw = Flaw::of(&std::env::var(FLAW).expect("a flaw")).expect("a flaw");
    let customers = std::env::var(CUSTOMERS).expect("a number").parse().expect("a number");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    // Kept until the exit: the end of the second life finds them open.
    let _open = runtime.block_on(live(dir, flaw, customers));
    std::process::exit(0)
}

async fn live(dir: &Path, flaw: Flaw, customers: u64) -> Vec<Open> {
    let said = File::create(dir.join(SAID)).expect("a file");
    let said = Arc::new(Mutex::new(said));
    let first = Shop::open(dir, flaw, &said);
    let node = first.node(dir, 1);
    for Open { who, held } in first.throng(0..customers).await {
        // The customer left: charged.
        let parts = Parts { spent: held.held(), ..Parts::default() };
        first.say(Word::Ends { who, parts });
        drop(held);
    }
    let commits = first.ledger.commits();
    first.ledger.close().await.expect("it closes");
    node.join().expect("the node does not panic");
    first.say(Word::Closed { commits });
    let second = Shop::open(dir, flaw, &said);
    let node = second.node(dir, 1 + VERSIONS);
    let open = second.throng(customers..2 * customers).await;
    node.join().expect("the node does not panic");
    open
}

#[derive(Clone)]
struct Shop {
    ledger: Ledger,
    said: Arc<Mutex<File>>,
}

impl Shop {
    fn open(dir: &Path, flaw: Flaw, said: &Arc<Mutex<File>>) -> Shop {
        let path = dir.join("ledger.db");
        let clock: Arc<dyn Clock> = SystemClock::new(Timestamp::default());
        let (ledger, _) = Ledger::open_flawed(&path, clock, flaw).expect("it opens");
        Shop { ledger, said: Arc::clone(said) }
    }

    fn say(&self, word: Word) {
        let line = format!("{}\n", serde_json::to_string(&word).expect("it is text"));
        self.said.lock().expect("nothing panics here").write_all(line.as_bytes()).expect("it is written");
    }

    /// A node at work: the states of some channels, version after version.
    fn node(&self, dir: &Path, first: u64) -> std::thread::JoinHandle<()> {
        let (shop, path) = (self.clone(), dir.join("channels.db"));
        std::thread::spawn(move || {
            let store = NodeStore::open(&path).expect("it opens");
            for version in first..first + VERSIONS {
                for channel in 0..CHANNELS {
                    shop.say(Word::Stores { channel, version });
                    store.write(&key(&channel.to_string()), &state(version)).expect("it is stored");
                    shop.say(Word::Stored { channel, version });
                }
            }
        })
    }

    /// Serves these customers; gives the holds that some of them leave open.
    async fn throng(&self, customers: std::ops::Range<u64>) -> Vec<Open> {
        let (crowd, end) = (TaskTracker::new(), customers.end);
        let mut tasks = Vec::new();
        for lane in 0..AT_ONCE {
            let (shop, mut next) = (self.clone(), customers.start + lane);
            tasks.push(crowd.spawn(async move {
                let mut open = Vec::new();
                while next < end {
                    open.extend(shop.serve(next).await);
                    next += AT_ONCE;
                }
                open
            }));
        }
        let mut open = Vec::new();
        for task in tasks {
            open.extend(task.await.expect("no customer panics"));
        }
        open
    }

    async fn serve(&self, number: u64) -> Option<Open> {
        let goods = Goods::of(number);
        let who = goods.who;
        // Some redeem before the payment is told, some after, some never.
        let granted = goods.kind == Kind::Granted;
        if granted {
            self.ledger.grant_token(goods.grant()).await.expect("it is granted");
            self.say(Word::Granted { who });
        } else if number.is_multiple_of(3) {
            self.pay(who).await;
        }
        for request in 0..goods.requests {
            self.say(Word::Asks { who, units: goods.draw });
            let draw = Draw { least: goods.draw, most: goods.draw, ..Draw::one(name("goods")) };
            let mut held = self.ledger.reserve(goods.sale(), draw).await.expect("there is enough");
            self.say(Word::Reserved { who, units: held.held() });
            held.dispatched();
            if number % 7 == 3 {
                return Some(Open { who, held });
            }
            let (parts, ending) = goods.end(request);
            self.say(Word::Ends { who, parts });
            held.end(ending);
            self.ledger.barrier().await;
            self.say(Word::Ended { who, parts });
        }
        if number % 3 == 1 && !granted {
            self.pay(who).await;
        }
        if number.is_multiple_of(4) {
            self.ledger.revoke(who).await.expect("it is revoked");
            self.say(Word::Revoked { who });
        }
        None
    }

    async fn pay(&self, who: PaymentHash) {
        self.say(Word::Pays { who });
        self.ledger.receive(who, price(), None).await.expect("it is credited");
        self.say(Word::Paid { who });
    }
}

/// Where a channel's state lies.
pub(super) fn key(channel: &str) -> KvKey<'_> {
    KvKey { primary: "monitors", secondary: "", key: channel }
}

/// A version's state: of about the size of real ones and, as they, of bytes without a pattern. (SQLite's
/// checksum of the log is a weighted sum: of a page that says one byte again and again, it can take a torn
/// copy for the whole.)
pub(super) fn state(version: u64) -> Vec<u8> {
    (0..100).flat_map(|part| *hash(version << 32 | part).as_bytes()).collect()
}

/// What one customer buys and how it is used.
struct Goods {
    who: PaymentHash,
    kind: Kind,
    units: u64,
    requests: u64,
    /// What each request draws.
    draw: u64,
}

impl Goods {
    fn of(number: u64) -> Goods {
        let who = hash(number);
        match number % 5 {
            0 => Goods { who, kind: Kind::Request, units: 1, requests: 1, draw: 1 },
            3 => Goods { who, kind: Kind::Balance, units: price().msat(), requests: 4, draw: 7_000 },
            4 => Goods { who, kind: Kind::Granted, units: 50_000, requests: 3, draw: 9_000 },
            _ => Goods { who, kind: Kind::Pack, units: 5, requests: 1 + number % 3, draw: 1 },
        }
    }

    fn sale(&self) -> Sale {
        Sale {
            payment_hash: self.who,
            token_id: token(),
            service: name("api"),
            route: name("goods"),
            kind: self.kind,
            units: self.units,
            lasts: None,
            sold: if self.kind == Kind::Granted { Msat::ZERO } else { price() },
            covers: Msat::ZERO,
            quote: None,
            valid_until: far(),
        }
    }

    fn grant(&self) -> NewGrant {
        NewGrant {
            payment_hash: self.who,
            token_id: token(),
            service: name("api"),
            budget_msat: Msat::new(self.units).expect("in range"),
            per: None,
            label: "a partner".to_owned(),
            valid_until: far(),
        }
    }

    fn end(&self, request: u64) -> (Parts, Ending) {
        let whole = self.draw;
        if request % 4 == 2 {
            let reason = RestoreReason::UpstreamError;
            return (Parts { restored: whole, ..Parts::default() }, Ending::Restored(reason));
        }
        if self.kind.draws_money() {
            let spent = whole - 123 * request;
            return (Parts { spent, released: whole - spent, restored: 0 }, Ending::Charged(spent));
        }
        (Parts { spent: whole, ..Parts::default() }, Ending::Delivered)
    }
}

/// A hold that its customer leaves open.
pub(super) struct Open {
    who: PaymentHash,
    held: Reservation,
}

fn token() -> TokenId {
    TokenId::from_bytes([7; 32])
}

fn far() -> Timestamp {
    Timestamp::from_secs(30_000_000_000)
}

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

/// Scattered, as real ones are.
fn hash(number: u64) -> PaymentHash {
    use bitcoin::hashes::{Hash, sha256};
    PaymentHash::from_bytes(sha256::Hash::hash(&number.to_be_bytes()).to_byte_array())
}
