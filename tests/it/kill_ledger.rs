//! kill -9 in the middle of paid traffic, again and again: no unit lost, none spent twice, the books
//! right after every start.
//!
//! The gate lives in a child process, the upstream and the customers here. The child is this same test,
//! started with an environment variable that only its parent sets: there is no second test that does
//! nothing when it is run alone.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tollhouse::clock::{Clock, SystemClock};
use tollhouse::event::Event;
use tollhouse::store::Ledger;
use tollhouse::types::{PaymentHash, Timestamp};

use crate::chance::{Chance, SaysSeed, count};
use customers::Customers;
use gate::{Gate, Payments};
use origin::Origin;

mod child;
mod customers;
mod gate;
mod origin;

/// The test's name, as the harness knows it.
const NAME: &str = "kill_ledger::kills_lose_no_unit_and_spend_none_twice";
const SEED: &str = "TOLLHOUSE_KILL_SEED";
const CYCLES: &str = "TOLLHOUSE_SOAK_CYCLES";
const PATIENCE: Duration = Duration::from_secs(30);
/// A gate lives at most this long, in microseconds.
const LONGEST_LIFE: u64 = 300_000;

#[test]
fn kills_lose_no_unit_and_spend_none_twice() {
    if let Some(dir) = std::env::var_os(child::DIR) {
        child::run(&PathBuf::from(dir));
    }
    let seed = Chance::seed(SEED);
    let _says = SaysSeed(SEED, seed);
    tokio::runtime::Runtime::new()
        .expect("a runtime")
        .block_on(campaign(count(CYCLES, 50), Chance::new(seed)));
}

async fn campaign(cycles: u64, mut chance: Chance) {
    let dir = tempfile::tempdir().expect("a folder");
    let (origin, payments, customers) =
        (Origin::start().await, Arc::<Payments>::default(), Arc::<Customers>::default());
    let (mut restored, mut charged) = (0, 0);
    for cycle in 0..cycles {
        let gate = Gate::start(dir.path(), origin.address, &payments).await;
        let (more_restored, more_charged) = check_start(&gate.report, cycle == 0, &origin, &customers);
        restored += more_restored;
        charged += more_charged;
        let (gate, stop) = (Arc::new(gate), CancellationToken::new());
        let throng = {
            let (customers, gate, stop, mut chance) =
                (customers.clone(), gate.clone(), stop.clone(), chance.fork());
            TaskTracker::new().spawn(async move { customers.throng(&gate, &mut chance, stop).await })
        };
        tokio::time::sleep(Duration::from_micros(chance.below(LONGEST_LIFE))).await;
        gate.kill();
        stop.cancel();
        throng.await.expect("no customer panics");
        let faults = customers.faults.lock().expect("no test panics here").clone();
        assert!(faults.is_empty(), "in cycle {cycle}: {faults:?}");
    }
    let gate = Gate::start(dir.path(), origin.address, &payments).await;
    let (more_restored, more_charged) = check_start(&gate.report, false, &origin, &customers);
    (restored, charged) = (restored + more_restored, charged + more_charged);
    let gate = Arc::new(gate);
    customers.use_up(&gate).await;
    payments.all_noted().await;
    gate.end();
    let faults = customers.faults.lock().expect("no test panics here").clone();
    assert!(faults.is_empty(), "after the last start: {faults:?}");
    check_books(dir.path(), &origin, &customers, restored, charged).await;
    let (hits, _) = origin.total();
    let (tokens, presented) = (customers.tokens().len(), customers.presented.load(Ordering::SeqCst));
    eprintln!(
        "{cycles} kills: {tokens} tokens presented {presented} times, {} requests served and {} failed upstream, \
         {restored} units restored after a crash, {charged} charged after a second one",
        hits.served, hits.failed
    );
    assert!(cycles < 50 || restored > 0, "no kill met a request under way: the campaign proves nothing");
}

/// The books right after a start; gives how many holds were restored and charged.
fn check_start(report: &Value, first: bool, origin: &Origin, customers: &Customers) -> (u64, u64) {
    let audit = &report["audit"];
    let number = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("{report}"));
    assert_eq!(audit["ok"], true, "{audit}");
    assert_eq!(report["clean"], first, "{report}");
    let sum = |name: &str| number(&audit[name]);
    let parts = ["units_left", "units_held", "units_spent", "units_expired", "units_revoked"];
    assert_eq!(sum("units_sold"), parts.into_iter().map(sum).sum::<u64>(), "{audit}");
    assert_eq!((sum("units_held"), sum("holds_open"), sum("surplus_msat")), (0, 0, 0), "{audit}");
    // Whatever reached the upstream was held, on disk, before.
    let (hits, hit_tokens) = origin.total();
    let ended = sum("units_spent") + sum("crash_restored");
    assert!(hits.served <= ended, "{hits:?} in {audit}");
    assert!(hits.served + hits.failed <= ended + sum("restored"), "{hits:?} in {audit}");
    assert!(u64::try_from(hit_tokens).expect("fits") <= sum("grants"), "{hit_tokens} tokens in {audit}");
    let complete: u64 = customers.tokens().iter().map(|token| token.complete.load(Ordering::SeqCst)).sum();
    assert!(complete <= ended, "{complete} whole answers in {audit}");
    (number(&report["crash_restored"]), number(&report["crash_charged"]))
}

/// Every token's own books, read from the file when nobody else has it open.
async fn check_books(dir: &Path, origin: &Origin, customers: &Customers, restored: u64, charged: u64) {
    let clock: Arc<dyn Clock> = SystemClock::new(Timestamp::default());
    let (ledger, opened) = Ledger::open(&dir.join("ledger.db"), clock).expect("the ledger opens");
    assert!(opened.clean, "the last end was orderly");
    let tokens = customers.tokens();
    let crashed = crashed_twice(&ledger).await;
    assert_eq!(u64::try_from(crashed.len()).expect("fits"), charged);
    for token in &tokens {
        let row = ledger.grant(token.hash).await.expect("it reads").expect("a paid token has its grant");
        let (grant, hits) = (row.grant, origin.hits(&token.hash.to_string()));
        let complete = token.complete.load(Ordering::SeqCst);
        let ended = grant.spent + grant.crash_restored;
        let seen = format!("{grant:?}, {hits:?}, {complete} whole answers");
        assert_eq!((grant.sold, grant.left, grant.held, grant.spent), (1, 0, 0, 1), "{seen}");
        assert!(token.spent.load(Ordering::SeqCst), "a used token is answered 402: {seen}");
        assert!(hits.served <= ended && complete <= hits.served, "{seen}");
        assert!(hits.served + hits.failed <= ended + grant.restored, "{seen}");
        // A second crash charges, whether or not the request had left: the one way to pay for nothing.
        assert!(hits.served > 0 || crashed.contains(&token.hash), "a unit was lost: {seen}");
    }
    let audit = ledger.audit().await.expect("it reads");
    assert!(audit.ok, "{audit:?}");
    let bought = i64::try_from(tokens.len()).expect("fits");
    let price = i64::try_from(child::price().msat()).expect("fits");
    assert_eq!((audit.sums.grants, audit.sums.units_spent), (bought, bought), "{audit:?}");
    assert_eq!((audit.sums.payments, audit.payments_pending), (bought, 0), "{audit:?}");
    assert_eq!((audit.sums.received_msat, audit.sums.surplus_msat), (bought * price, 0), "{audit:?}");
    assert_eq!((audit.sums.earned_msat, audit.sums.owed_msat), (bought * price, 0), "{audit:?}");
    assert_eq!(audit.sums.crash_restored, i64::try_from(restored).expect("fits"), "{audit:?}");
    ledger.close().await.expect("it closes");
}

/// Tokens that a second crash charged.
async fn crashed_twice(ledger: &Ledger) -> HashSet<PaymentHash> {
    let (mut found, mut after) = (HashSet::new(), 0);
    loop {
        let events = ledger.events_after(after, 1_000).await.expect("it reads");
        let Some(last) = events.last() else { return found };
        after = last.id;
        found.extend(events.iter().filter_map(|logged| match logged.event {
            Event::CrashRestored { payment_hash, restored: false } => Some(payment_hash),
            _ => None,
        }));
    }
}
