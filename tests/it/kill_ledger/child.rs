//! The process that is killed: the gateway's router on a socket, over a ledger that stays.
//!
//! It is the test binary, started anew with [`DIR`], [`ORIGIN`] and [`FLAW`] set. It speaks to its parent in lines:
//! one JSON object when it is up, one for each payment that it noted; it reads the hashes of payments.
//! When its input ends it closes the ledger in order and exits; with [`DEADLINE`] set it dies by itself.

use std::io::{BufRead, Write};
use std::path::Path;
use std::sync::Arc;

use bitcoin::hashes::{Hash, sha256};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tollhouse::catalog::{Catalog, RouteTable, Service, Terms, Upstream};
use tollhouse::checkout::{Checkout, CheckoutConfig, CheckoutParts};
use tollhouse::clock::{Clock, Entropy, SystemClock, SystemEntropy};
use tollhouse::l402::MasterKeys;
use tollhouse::ledger::RecentChallenges;
use tollhouse::payments;
use tollhouse::ports::{
    BoxFuture, CannotReceive, InvoiceAsk, MintedInvoice, Minter, NodeEvent, NodeEvents, NodeFault, Outgoing,
    Payer, SendFault,
};
use tollhouse::pricing::NoExchange;
use tollhouse::proxy::{ProxyConfig, ProxyState, router};
use tollhouse::store::{DirLock, Flaw, Ledger};
use tollhouse::types::{Msat, PaymentHash, Preimage};

use super::deadline::Deadline;
use crate::gateway::{serve, signed_invoice};

/// The folder with the ledger; set for the child only.
pub(super) const DIR: &str = "TOLLHOUSE_KILL_DIR";
/// The upstream's address.
pub(super) const ORIGIN: &str = "TOLLHOUSE_KILL_ORIGIN";

/// A fault of the ledger, put in on purpose.
pub(super) const FLAW: &str = "TOLLHOUSE_KILL_FLAW";
/// At which moment it dies; may be missing.
pub(super) const DEADLINE: &str = "TOLLHOUSE_KILL_DEADLINE";

/// What one request costs.
pub(super) fn price() -> Msat {
    Msat::from_sat(10).expect("in range")
}

/// What the parent needs to know an invoice's preimage without a Lightning network.
pub(super) fn preimage(payment_secret: &[u8; 32]) -> Preimage {
    let known_to_both = [b"the parent pays by knowing this:".as_slice(), payment_secret].concat();
    Preimage::from_bytes(sha256::Hash::hash(&known_to_both).to_byte_array())
}

/// Serves until it is killed or its input ends. Never returns into the test harness, so that nothing
/// is ever reported as a test that passed.
#[expect(clippy::disallowed_methods, reason = "the child must not come back to the harness")]
pub(super) fn run(dir: &Path) -> ! {
    let origin = std::env::var(ORIGIN).expect("the upstream's address");
    if let Ok(text) = std::env::var(DEADLINE) {
        Deadline::set(&text);
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(live(dir, &origin));
    std::process::exit(0)
}

async fn live(dir: &Path, origin: &str) {
    let _lock = DirLock::take(dir).expect("the one before is dead");
    let path = dir.join("ledger.db");
    let flaw = Flaw::of(&std::env::var(FLAW).expect("a flaw")).expect("a flaw");
    let clock: Arc<dyn Clock> = SystemClock::new(Ledger::high_water(&path).expect("a time"));
    let (ledger, opened) = Ledger::open_flawed(&path, Arc::clone(&clock), flaw).expect("the ledger opens");
    let audit = ledger.audit().await.expect("the ledger reads");
    let (cut, tracker, entropy) = (CancellationToken::new(), TaskTracker::new(), SystemEntropy::new());
    let recent = Arc::new(RecentChallenges::new(4_096));
    let parts = CheckoutParts {
        catalog: Arc::new(Catalog::new(RouteTable::new(vec![service(origin)]).expect("a table"))),
        keys: Arc::new(MasterKeys::new(1, [(1, [5; 32])]).expect("keys")),
        ledger: ledger.clone(),
        minter: Arc::new(KnownMinter { clock: Arc::clone(&clock), entropy: entropy.clone() }),
        exchange: Arc::new(NoExchange),
        recent: Arc::clone(&recent),
        clock,
        entropy,
        cut: cut.clone(),
    };
    let checkout = Checkout::new(parts, CheckoutConfig::default());
    let state = ProxyState::new(checkout, ProxyConfig::default(), tracker.clone()).expect("settings");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (told, hears) = mpsc::unbounded_channel();
    let (over, stop) = (CancellationToken::new(), CancellationToken::new());
    let input_over = over.clone();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let hash: PaymentHash = line.parse().expect("a payment hash");
            let _ = told.send(hash);
        }
        input_over.cancel();
    });
    let events = Arc::new(Told { hears: Mutex::new(hears), head: Mutex::default() });
    tracker.spawn(payments::consume(events, Arc::new(Unpaying), ledger.clone(), recent, stop.clone()));
    tracker.spawn(serve(listener, router(state), tracker.clone(), cut.clone()));
    say(&json!({
        "gate": address,
        "clean": opened.clean,
        "crash_restored": opened.crash_restored,
        "crash_charged": opened.crash_charged,
        "audit": audit,
    }));
    over.cancelled().await;
    stop.cancel();
    cut.cancel();
    ledger.close().await.expect("the ledger closes in order");
}

fn say(line: &Value) {
    // One write: a kill leaves a whole line or none.
    let _ = std::io::stdout().write_all(format!("{line}\n").as_bytes());
}

fn service(origin: &str) -> Service {
    let upstream = Upstream::at(format!("http://{origin}/").parse().expect("a URL"));
    Service::new("api".parse().expect("a name"), "/", Terms::fixed(price()), upstream)
}

struct KnownMinter {
    clock: Arc<dyn Clock>,
    entropy: Arc<SystemEntropy>,
}

impl Minter for KnownMinter {
    fn mint(&self, ask: &InvoiceAsk) -> Result<MintedInvoice, CannotReceive> {
        let mut payment_secret = [0u8; 32];
        self.entropy.fill(&mut payment_secret);
        let payment_hash = preimage(&payment_secret).payment_hash();
        Ok(signed_invoice(ask, payment_hash, payment_secret, self.clock.now()))
    }
}

/// The node's events, as the parent tells them.
struct Told {
    hears: Mutex<mpsc::UnboundedReceiver<PaymentHash>>,
    head: Mutex<Option<PaymentHash>>,
}

impl NodeEvents for Told {
    fn next_event(&self) -> BoxFuture<'_, NodeEvent> {
        Box::pin(async move {
            let mut head = self.head.lock().await;
            if head.is_none() {
                *head = self.hears.lock().await.recv().await;
            }
            match *head {
                Some(payment_hash) => NodeEvent::Received { payment_hash, amount: price() },
                None => std::future::pending().await,
            }
        })
    }

    fn acknowledge(&self) -> BoxFuture<'_, Result<(), NodeFault>> {
        Box::pin(async move {
            if let Some(hash) = self.head.lock().await.take() {
                say(&json!({ "noted": hash }));
            }
            Ok(())
        })
    }
}

/// This node only receives.
struct Unpaying;

impl Payer for Unpaying {
    fn send(&self, _: &str, _: Msat) -> BoxFuture<'_, Result<(), SendFault>> {
        Box::pin(async { Err(SendFault::Refused("this node only receives".to_owned())) })
    }

    fn outgoing(&self, _: PaymentHash) -> BoxFuture<'_, Outgoing> {
        Box::pin(async { Outgoing::Unknown })
    }
}
