//! The process that is killed: the gateway's router on a socket, over a ledger that stays.
//!
//! It is the test binary, started anew with [`DIR`], [`ORIGIN`] and [`FLAW`] set. It speaks to its parent in lines:
//! one JSON object when it is up, one for each payment that it noted; it reads the
//! hashes and amounts of payments.
//! When its input ends it closes the ledger in order and exits; with [`DEADLINE`] set it dies by itself.

use std::io::{BufRead, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bitcoin::hashes::{Hash, sha256};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tollhouse::catalog::{
    Catalog, Offer, Offering, PathPattern, Route, RouteTable, Service, Terms, Upstream,
};
use tollhouse::checkout::{Checkout, CheckoutConfig, CheckoutParts};
use tollhouse::clock::{Clock, Entropy, SystemClock, SystemEntropy};
use tollhouse::l402::{Keyring, MasterKeys};
use tollhouse::ledger::RecentChallenges;
use tollhouse::payments;
use tollhouse::ports::{
    BoxFuture, CannotReceive, InvoiceAsk, MintedInvoice, Minter, NodeEvent, NodeEvents, NodeFault, Outgoing,
    Payer, SendFault,
};
use tollhouse::pricing::{Amount, NoExchange, Rule, Size, Tier, Tiers, Volume};
use tollhouse::proxy::{ProxyConfig, ProxyState, router};
use tollhouse::store::{DirLock, Flaw, Ledger};
use tollhouse::types::{Kind, Msat, Name, PaymentHash, Preimage};

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

/// What is sold, each for [`price_of`]; the names of the offers are those of the kinds.
pub(super) const KINDS: [Kind; 4] = [Kind::Request, Kind::Pack, Kind::Balance, Kind::Pass];
/// Requests in a pack.
pub(super) const PACK: u64 = 4;
/// What each byte of a metered stream costs, in millisatoshi.
pub(super) const BYTE_MSAT: u64 = 10;
/// The most that a metered stream costs, and what is held for it.
pub(super) const CEILING_MSAT: u64 = 20_000;
/// The path of the goods at a fixed price, and of those that are metered.
pub(super) const GOODS: &str = "/goods";
pub(super) const STREAM: &str = "/stream";

/// What one request for the goods costs.
pub(super) fn price() -> Msat {
    Msat::from_sat(10).expect("in range")
}

/// What an offer costs; a balance is worth it.
pub(super) fn price_of(kind: Kind) -> Msat {
    let requests = match kind {
        Kind::Request => 1,
        Kind::Pack => PACK,
        _ => 6,
    };
    price().checked_mul(requests).expect("in range")
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
        keys: Keyring::new(MasterKeys::new(1, [(1, [5; 32])]).expect("keys")),
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
            let (hash, msat) = line.split_once(' ').expect("a hash and an amount");
            let amount = Msat::new(msat.parse().expect("a number")).expect("in range");
            let _ = told.send((hash.parse().expect("a payment hash"), amount));
        }
        input_over.cancel();
    });
    let events = Arc::new(Told { hears: Mutex::new(hears), head: Mutex::default() });
    tracker.spawn(payments::consume(
        events,
        Arc::new(Unpaying),
        ledger.clone(),
        recent,
        Arc::new(NoExchange),
        stop.clone(),
    ));
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
    let name = |text: &str| text.parse::<Name>().expect("a name");
    let offer = |kind: Kind| {
        let price = Amount::Msat(price_of(kind));
        let what = match kind {
            Kind::Pack => Offering::Pack { requests: PACK, price: None },
            Kind::Balance => Offering::Balance { value: price, price: None },
            Kind::Pass => Offering::Pass { lasts: Duration::from_secs(86_400), price },
            _ => Offering::Request,
        };
        Offer { name: name(kind.as_str()), what }
    };
    let terms = Terms { offers: KINDS.map(offer).to_vec(), ..Terms::fixed(price()) };
    let byte = Tier { up_to: None, price: Amount::Msat(Msat::new(BYTE_MSAT * 100).expect("in range")) };
    let ceiling = Msat::new(CEILING_MSAT).expect("in range");
    let volume = Volume::Bytes { per: Size::new(100), ceiling };
    let metered = Terms {
        rule: Rule::Tiers(Tiers::new(volume, vec![byte]).expect("tiers")),
        offers: vec![offer(Kind::Balance)],
        scope: name("stream"),
        ..terms.clone()
    };
    let stream = Route::new(name("stream"), None, PathPattern::Exact(STREAM.to_owned()), metered);
    Service { routes: vec![stream], ..Service::new(name("api"), "/", terms, upstream) }
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
    hears: Mutex<mpsc::UnboundedReceiver<(PaymentHash, Msat)>>,
    head: Mutex<Option<(PaymentHash, Msat)>>,
}

impl NodeEvents for Told {
    fn next_event(&self) -> BoxFuture<'_, NodeEvent> {
        Box::pin(async move {
            let mut head = self.head.lock().await;
            if head.is_none() {
                *head = self.hears.lock().await.recv().await;
            }
            match *head {
                Some((payment_hash, amount)) => {
                    NodeEvent::Received { payment_hash, amount, opening_fee: Msat::ZERO }
                }
                None => std::future::pending().await,
            }
        })
    }

    fn acknowledge(&self) -> BoxFuture<'_, Result<(), NodeFault>> {
        Box::pin(async move {
            if let Some((hash, _)) = self.head.lock().await.take() {
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
