//! Deaths in the middle of paid traffic, again and again: no unit lost, none spent twice, the books
//! right after every start. The gate is killed at any moment, or dies at a named one.
//!
//! The gate lives in a child process, the upstream and the customers here. The child is this same test,
//! started with an environment variable that only its parent sets: there is no second test that does
//! nothing when it is run alone. What the customers and the upstream saw is the log that the books are
//! held against; that it notices is shown by ledgers with a fault put in on purpose.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tollhouse::clock::{Clock, SystemClock};
use tollhouse::event::Event;
use tollhouse::moment::Moment;
use tollhouse::store::{Flaw, Ledger};
use tollhouse::types::{PaymentHash, Timestamp};

use crate::chance::{Chance, SaysSeed, count};
use customers::Customers;
use deadline::Deadline;
use gate::{Gate, Payments};
use origin::Origin;

mod books;
mod child;
mod customers;
pub(crate) mod deadline;
mod gate;
mod origin;

/// The test's name, as the harness knows it.
const NAME: &str = "kill_ledger::kills_lose_no_unit_and_spend_none_twice";
const SEED: &str = "TOLLHOUSE_KILL_SEED";
const CYCLES: &str = "TOLLHOUSE_SOAK_CYCLES";
const PATIENCE: Duration = Duration::from_secs(30);
/// A gate lives at most this long, in microseconds.
const LONGEST_LIFE: u64 = 300_000;
/// Customers at once.
const CROWD: usize = 12;
/// So often at most a moment passes before the gate dies at it.
const LATEST: u64 = 40;

#[test]
fn kills_lose_no_unit_and_spend_none_twice() {
    if let Some(dir) = std::env::var_os(child::DIR) {
        child::run(&PathBuf::from(dir));
    }
    campaign(Flaw::None, count(CYCLES, 60), CROWD);
}

#[test]
#[should_panic(expected = "holds are open after a start")]
fn the_campaign_finds_a_ledger_that_forgets_its_holds() {
    campaign(Flaw::ForgetsHolds, 60, CROWD);
}

#[test]
#[should_panic(expected = "the books lack what was seen")]
fn the_campaign_finds_a_ledger_that_answers_before_it_commits() {
    // Each waits for the other's batch, so that what a kill takes was seen by somebody.
    campaign(Flaw::AnswersFirst, 20, 2);
}

#[test]
#[should_panic(expected = "more was charged than was seen")]
fn the_campaign_finds_a_ledger_that_charges_twice() {
    campaign(Flaw::ChargesTwice, 10, CROWD);
}

#[test]
#[should_panic(expected = "limits do not hold")]
fn the_campaign_finds_a_ledger_that_counts_no_limits() {
    campaign(Flaw::CountsNoLimits, 10, CROWD);
}

fn campaign(flaw: Flaw, cycles: u64, crowd: usize) {
    let seed = Chance::seed(SEED);
    let _says = SaysSeed(SEED, seed);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async { Place::new(flaw, crowd).await.campaign(cycles, Chance::new(seed)).await });
}

/// Where a campaign happens: everything that outlives the gate.
struct Place {
    dir: tempfile::TempDir,
    flaw: Flaw,
    /// Customers at once.
    crowd: usize,
    origin: Origin,
    payments: Arc<Payments>,
    customers: Arc<Customers>,
}

/// What a campaign did.
#[derive(Default)]
struct Tally {
    /// A gate was up before.
    been_up: bool,
    restored: u64,
    charged: u64,
    /// How often the gate died by itself, and where.
    deaths: BTreeMap<Moment, u64>,
}

impl Place {
    async fn new(flaw: Flaw, crowd: usize) -> Place {
        let dir = tempfile::tempdir().expect("a folder");
        let (payments, customers) = (Arc::<Payments>::default(), Arc::<Customers>::default());
        Place { dir, flaw, crowd, origin: Origin::start().await, payments, customers }
    }

    async fn campaign(self, cycles: u64, mut chance: Chance) {
        let mut tally = Tally::default();
        for cycle in 0..cycles {
            let deadline = deadline(cycle, &mut chance);
            let died = match Gate::start(&self, deadline).await {
                Some(gate) => {
                    self.check_start(&gate.report, &mut tally);
                    self.live(gate, deadline, &mut chance).await
                }
                None => true,
            };
            if let (true, Some(deadline)) = (died, deadline) {
                *tally.deaths.entry(deadline.moment).or_default() += 1;
            }
            self.no_faults(&format!("in cycle {cycle}"));
        }
        let gate = Gate::start(&self, None).await.expect("it has no deadline");
        self.check_start(&gate.report, &mut tally);
        let gate = Arc::new(gate);
        self.customers.use_up(&gate).await;
        self.payments.all_noted().await;
        gate.end();
        self.no_faults("after the last start");
        self.check_books(&tally).await;
        self.report(cycles, &tally);
    }

    /// A gate's life under traffic; whether it died at its deadline.
    async fn live(&self, gate: Gate, deadline: Option<Deadline>, chance: &mut Chance) -> bool {
        let (gate, stop) = (Arc::new(gate), CancellationToken::new());
        let crowd = self.crowd;
        let throng = {
            let (customers, gate, stop, mut chance) =
                (self.customers.clone(), gate.clone(), stop.clone(), chance.fork());
            TaskTracker::new().spawn(async move { customers.throng(crowd, &gate, &mut chance, stop).await })
        };
        // The moment should come first.
        let longest = if deadline.is_some() { 10 * LONGEST_LIFE } else { chance.below(LONGEST_LIFE) };
        let died = tokio::select! {
            () = gate.died() => true,
            () = tokio::time::sleep(Duration::from_micros(longest)) => false,
        };
        gate.kill();
        stop.cancel();
        throng.await.expect("no customer panics");
        died
    }

    fn no_faults(&self, when: &str) {
        let faults = self.customers.faults.lock().expect("no test panics here").clone();
        assert!(faults.is_empty(), "{when}: {faults:?}");
    }

    fn report(&self, cycles: u64, tally: &Tally) {
        let (hits, _) = self.origin.total();
        let (tokens, presented) =
            (self.customers.tokens().len(), self.customers.presented.load(Ordering::SeqCst));
        let Tally { restored, charged, deaths, .. } = tally;
        eprintln!(
            "{cycles} kills, of them {deaths:?}: {tokens} tokens presented {presented} times, {} requests and {} \
             streams served and {} failed upstream, {restored} requests restored after a crash, {charged} charged \
             after a second one",
            hits.served, hits.streams, hits.failed
        );
        if cycles >= 60 {
            assert!(*restored > 0, "no kill met a request under way: the campaign proves nothing");
            let missed: Vec<&Moment> = moments().filter(|moment| !deaths.contains_key(moment)).collect();
            assert!(missed.is_empty(), "no gate died at {missed:?}");
        }
    }
}

fn moments() -> impl Iterator<Item = &'static Moment> {
    Moment::ALL.iter().filter(|moment| moment.is_of_a_sale())
}

/// Every other gate dies at a moment, each in its turn.
fn deadline(cycle: u64, chance: &mut Chance) -> Option<Deadline> {
    let turn = usize::try_from(cycle / 2).expect("few cycles") % moments().count();
    let moment = *moments().nth(turn).expect("there are so many");
    // This one comes once.
    let time = if moment == Moment::Resolved { 1 } else { 1 + chance.below(LATEST) };
    (cycle % 2 == 1).then_some(Deadline { moment, time })
}

impl Place {
    /// The books right after a start.
    fn check_start(&self, report: &Value, tally: &mut Tally) {
        let audit = &report["audit"];
        let number = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("{report}"));
        assert_eq!(audit["ok"], true, "the audit after a start: {audit}");
        assert!(report["clean"] == false || !tally.been_up, "{report}");
        let sum = |name: &str| number(&audit[name]);
        for [whole, parts @ ..] in [UNITS, BALANCES] {
            assert_eq!(sum(whole), parts.into_iter().map(sum).sum::<u64>(), "{audit}");
        }
        let held = (sum("units_held"), sum("balance_held_msat"), sum("holds_open"));
        assert_eq!(held, (0, 0, 0), "holds are open after a start: {audit}");
        assert_eq!(sum("surplus_msat"), 0, "{audit}");
        // Whatever reached the upstream was held, on disk, before.
        let (hits, hit_tokens) = self.origin.total();
        let ended = sum("calls") + sum("crash_restored");
        assert!(hits.answered() <= ended, "the books lack what was seen: {hits:?} in {audit}");
        let all = hits.answered() + hits.failed;
        assert!(all <= ended + sum("restored"), "the books lack what was seen: {hits:?} in {audit}");
        let tokens = u64::try_from(hit_tokens).expect("fits");
        assert!(tokens <= sum("grants"), "the books lack what was seen: {tokens} tokens in {audit}");
        tally.been_up = true;
        tally.restored += number(&report["crash_restored"]);
        tally.charged += number(&report["crash_charged"]);
    }

    /// Every token's own books, read from the file when nobody else has it open.
    async fn check_books(&self, tally: &Tally) {
        let clock: Arc<dyn Clock> = SystemClock::new(Timestamp::default());
        let (ledger, opened) = Ledger::open(&self.dir.path().join("ledger.db"), clock).expect("it opens");
        let tokens = self.customers.tokens();
        let crashed = Crashed::of(&ledger).await;
        // A gate that died before it was up has told nobody what it resolved.
        assert!(tally.restored <= crashed.restored && tally.charged <= crashed.charged, "the log of crashes");
        let (mut paid, mut limited) = (0, 0);
        for token in &tokens {
            let row = ledger.grant(token.hash).await.expect("it reads").expect("a paid token has its grant");
            let hits = self.origin.hits(&token.hash.to_string());
            let charged = crashed.charges.get(&token.hash).copied().unwrap_or(0);
            books::check(token, &row.grant, &hits, charged);
            let limits = ledger.counters(token.hash).await.expect("it reads");
            books::check_limits(token, &row.grant, &limits, &self.origin, charged);
            limited += limits.iter().map(|row| row.counter.used).filter(|used| *used > 0).count();
            paid += i64::try_from(child::price_of(token.kind).msat()).expect("fits");
        }
        assert!(opened.clean, "the last end was orderly");
        assert!(limited > 0, "no limited copy was used: the campaign proves nothing of them");
        let audit = ledger.audit().await.expect("it reads");
        assert!(audit.ok, "{audit:?}");
        let bought = i64::try_from(tokens.len()).expect("fits");
        assert_eq!((audit.sums.grants, audit.sums.payments), (bought, bought), "{audit:?}");
        assert_eq!((audit.payments_pending, audit.sums.surplus_msat), (0, 0), "{audit:?}");
        assert_eq!(audit.sums.received_msat, paid, "{audit:?}");
        assert_eq!(audit.sums.earned_msat + audit.sums.owed_msat, paid, "{audit:?}");
        assert_eq!(audit.sums.crash_restored, i64::try_from(crashed.restored).expect("fits"), "{audit:?}");
        ledger.close().await.expect("it closes");
    }
}

/// What was sold, and where it is.
const UNITS: [&str; 6] =
    ["units_sold", "units_left", "units_held", "units_spent", "units_expired", "units_revoked"];
const BALANCES: [&str; 6] = [
    "balance_sold_msat",
    "balance_left_msat",
    "balance_held_msat",
    "balance_spent_msat",
    "balance_expired_msat",
    "balance_revoked_msat",
];

/// What the log says about crashes.
#[derive(Default)]
struct Crashed {
    restored: u64,
    charged: u64,
    /// How often a second crash charged a token.
    charges: HashMap<PaymentHash, u64>,
}

impl Crashed {
    async fn of(ledger: &Ledger) -> Crashed {
        let (mut crashed, mut after) = (Crashed::default(), 0);
        loop {
            let events = ledger.events_after(after, 1_000).await.expect("it reads");
            let Some(last) = events.last() else { return crashed };
            after = last.id;
            for logged in &events {
                match logged.event {
                    Event::CrashRestored { restored: true, .. } => crashed.restored += 1,
                    Event::CrashRestored { payment_hash, restored: false } => {
                        crashed.charged += 1;
                        *crashed.charges.entry(payment_hash).or_default() += 1;
                    }
                    _ => {}
                }
            }
        }
    }
}
