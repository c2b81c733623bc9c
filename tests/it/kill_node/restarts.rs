//! How often a restart after kill -9 closes a channel: the shop's channel state is copied at random instants in
//! the middle of payments, as a kill would leave it, and each copy is read as a start would read it.
//!
//! Cheaper than killing, so that there can be hundreds: the copies are made of what is committed, and reading one
//! sends nothing anywhere. LDK says of each channel that it would close: its manager is older than its monitor.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ldk_node::lightning::io;
use ldk_node::lightning::util::persist::{KVStore, KVStoreSync};
use ldk_node::logger::{LogRecord, LogWriter};
use rusqlite::{Connection, OpenFlags};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;
use tollhouse::clock::{Clock, SystemClock, SystemEntropy};
use tollhouse::sandbox::buyer::{Buyer, Wanted};
use tollhouse::sandbox::world::{World, WorldAsk};
use tollhouse::secrets::Secrets;
use tollhouse::types::Timestamp;

use crate::appliance::TURN;
use crate::chance::{Chance, count};

const INSTANTS: &str = "TOLLHOUSE_SOAK_RESTARTS";
/// Customers who pay at the same time.
const AT_ONCE: usize = 8;
/// Between two copies, in milliseconds.
const PAUSE: (u64, u64) = (50, 250);
/// LDK 0.2 says it once for each channel.
const STALE: &str = "A ChannelManager is stale compared to the current ChannelMonitor";

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_seldom_closes_a_channel() {
    let _turn = TURN.lock().await;
    let instants = count(INSTANTS, 12);
    let dir = tempfile::Builder::new().prefix("tollhouse-restarts-").tempdir().expect("a folder");
    let copies = dir.path().join("copies");
    std::fs::create_dir(&copies).expect("a folder");
    let world = World::start(WorldAsk {
        dir: dir.path(),
        gateway: TcpListener::bind("127.0.0.1:0").await.expect("a free port"),
        admin: TcpListener::bind("127.0.0.1:0").await.expect("a free port"),
        progress: &|_| {},
    });
    let world = world.await.expect("the world stands");
    let (stop, sold, crowd) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)), TaskTracker::new());
    let key = std::fs::read_to_string(world.payer.admin_key_file()).expect("a key");
    let buyer = Arc::new(Buyer::new(&world.payer.admin_url(), key.trim()).expect("a client"));
    let url = format!("{}/v1/exchange-rates?base=USD&quote=EUR", world.shop.gateway_url());
    for _ in 0..AT_ONCE {
        let (stop, sold, buyer, url) = (stop.clone(), sold.clone(), buyer.clone(), url.clone());
        crowd.spawn(async move {
            let wanted = Wanted { url, body: None };
            while !stop.load(Ordering::SeqCst) {
                let Ok(unpaid) = buyer.ask(&wanted, None).await else { continue };
                if let Ok(challenge) = unpaid.challenge()
                    && buyer.pay(&challenge).await.is_ok()
                {
                    sold.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
    }
    while sold.load(Ordering::SeqCst) < 20 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let clock = SystemClock::new(Timestamp::default());
    let (begun, before) = (clock.steady(), sold.load(Ordering::SeqCst));
    let file = dir.path().join("shop/regtest/channels.db");
    let mut chance = Chance::new(Chance::seed("TOLLHOUSE_KILL_SEED"));
    let mut taken = Vec::new();
    for number in 0..instants {
        tokio::time::sleep(Duration::from_millis(PAUSE.0 + chance.below(PAUSE.1 - PAUSE.0))).await;
        let (from, to) = (file.clone(), copies.join(format!("{number}.db")));
        tokio::task::spawn_blocking(move || copy(&from, &to)).await.expect("no panic");
        taken.push(copies.join(format!("{number}.db")));
    }
    let rate = (sold.load(Ordering::SeqCst) - before) * 1_000
        / u64::try_from((clock.steady() - begun).as_millis()).expect("short").max(1);
    stop.store(true, Ordering::SeqCst);
    crowd.close();
    crowd.wait().await;
    assert!(world.shop.ledger().audit().await.expect("it reads").ok);
    world.stop().await;
    // A manager of the first instant beside the channels' state of the last: what is counted, in the extreme.
    let (first, last) = (Memory::of(&taken[0]), Memory::of(&taken[taken.len() - 1]));
    let older = names("", "", "manager");
    let manager = first.with(|all| all.get(&older).cloned()).expect("a manager");
    last.with(|all| all.insert(older, manager));
    let secrets = Secrets::load_or_create(
        &dir.path().join("shop/regtest"),
        bitcoin::Network::Regtest,
        &*SystemEntropy::new(),
    );
    let seed = *secrets.expect("the shop's secrets").seed();
    let extreme = tokio::task::spawn_blocking(move || restart(last, seed)).await.expect("no panic");
    assert!(extreme.is_none_or(|closing| closing > 0), "the count does not see what it counts");
    let stopped =
        tokio::task::spawn_blocking(move || restart(Memory::of(&file), seed)).await.expect("no panic");
    assert_eq!(stopped, Some(0), "an orderly stop closes none");
    let (mut closing, mut unreadable) = (0_u64, 0_u64);
    for copy in taken {
        match tokio::task::spawn_blocking(move || restart(Memory::of(&copy), seed)).await.expect("no panic") {
            Some(0) => {}
            Some(_) => closing += 1,
            None => unreadable += 1,
        }
    }
    eprintln!(
        "{instants} instants at {rate} payments a second: a restart would have closed a channel {closing} times \
         ({}%), and could not have read the channel state {unreadable} times",
        closing * 100 / instants.max(1)
    );
    if let Ok(report) = std::env::var("TOLLHOUSE_SOAK_REPORT") {
        let told = json!({"instants": instants, "payments_a_second": rate, "closing": closing, "unreadable": unreadable});
        std::fs::write(report, told.to_string()).expect("the report is written");
    }
    assert!(unreadable * 5 <= instants, "the channel state is unreadable far too often");
}

/// What is committed at this moment, as one file.
fn copy(from: &Path, to: &Path) {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(from, flags).expect("it opens");
    connection.busy_timeout(Duration::from_secs(5)).expect("it waits");
    connection.execute("VACUUM INTO ?1", [to.to_str().expect("UTF-8")]).expect("it is copied");
}

/// Reads a copy as a start would; how many channels LDK would close, or nothing when it cannot be read.
fn restart(copy: Memory, seed: [u8; 64]) -> Option<u64> {
    let store = Arc::new(copy);
    let stale = Arc::new(Listener::default());
    let heard = Arc::clone(&stale);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let handle = runtime.handle().clone();
    // The library asserts on what it cannot make sense of.
    let read = std::thread::spawn(move || {
        let settings = ldk_node::config::Config { network: bitcoin::Network::Regtest, ..Default::default() };
        let mut builder = ldk_node::Builder::from_config(settings);
        builder.set_entropy_seed_bytes(seed);
        builder.set_runtime(handle);
        builder.set_custom_logger(heard);
        // Asked only once a node is started.
        builder.set_chain_source_esplora("http://127.0.0.1:1".to_owned(), None);
        builder.build_with_store(store).is_ok()
    });
    let readable = matches!(read.join(), Ok(true));
    runtime.shutdown_background();
    readable.then(|| stale.0.load(Ordering::SeqCst))
}

/// Counts what LDK says of stale channels.
#[derive(Default)]
struct Listener(AtomicU64);

impl LogWriter for Listener {
    fn log<'a>(&self, record: LogRecord<'a>) {
        if record.args.to_string().contains(STALE) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
}

type Names = (String, String, String);

/// A copy in memory: what a start would write goes nowhere.
struct Memory(Mutex<BTreeMap<Names, Vec<u8>>>);

impl Memory {
    fn of(file: &Path) -> Memory {
        let connection = Connection::open(file).expect("it opens");
        let mut query = connection.prepare("SELECT first, second, key, value FROM bytes").expect("a query");
        let rows = query.query_map([], |row| Ok(((row.get(0)?, row.get(1)?, row.get(2)?), row.get(3)?)));
        Memory(Mutex::new(rows.expect("rows").collect::<Result<_, _>>().expect("they read")))
    }

    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<Names, Vec<u8>>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

fn names(primary: &str, secondary: &str, key: &str) -> Names {
    (primary.to_owned(), secondary.to_owned(), key.to_owned())
}

impl KVStoreSync for Memory {
    fn read(&self, primary: &str, secondary: &str, key: &str) -> io::Result<Vec<u8>> {
        let found = self.with(|all| all.get(&names(primary, secondary, key)).cloned());
        found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, key))
    }

    fn write(&self, primary: &str, secondary: &str, key: &str, value: Vec<u8>) -> io::Result<()> {
        self.with(|all| all.insert(names(primary, secondary, key), value));
        Ok(())
    }

    fn remove(&self, primary: &str, secondary: &str, key: &str, _lazy: bool) -> io::Result<()> {
        self.with(|all| all.remove(&names(primary, secondary, key)));
        Ok(())
    }

    fn list(&self, primary: &str, secondary: &str) -> io::Result<Vec<String>> {
        let here = |(first, second, _): &&Names| first == primary && second == secondary;
        Ok(self.with(|all| all.keys().filter(here).map(|(_, _, key)| key.clone()).collect()))
    }
}

type Answer<T> = std::pin::Pin<Box<dyn Future<Output = io::Result<T>> + Send + 'static>>;

fn ready<T: Send + 'static>(result: io::Result<T>) -> Answer<T> {
    Box::pin(std::future::ready(result))
}

impl KVStore for Memory {
    fn read(&self, primary: &str, secondary: &str, key: &str) -> Answer<Vec<u8>> {
        ready(KVStoreSync::read(self, primary, secondary, key))
    }

    fn write(&self, primary: &str, secondary: &str, key: &str, value: Vec<u8>) -> Answer<()> {
        ready(KVStoreSync::write(self, primary, secondary, key, value))
    }

    fn remove(&self, primary: &str, secondary: &str, key: &str, lazy: bool) -> Answer<()> {
        ready(KVStoreSync::remove(self, primary, secondary, key, lazy))
    }

    fn list(&self, primary: &str, secondary: &str) -> Answer<Vec<String>> {
        ready(KVStoreSync::list(self, primary, secondary))
    }
}
