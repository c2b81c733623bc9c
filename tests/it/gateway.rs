//! A gateway on a real socket with a real ledger, a minter that signs real invoices and knows their
//! preimages, and upstreams that do what they are told.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use bitcoin::hashes::{Hash, sha256};
use bitcoin::secp256k1::{Secp256k1, SecretKey};
use lightning_invoice::{Currency, InvoiceBuilder, PaymentSecret};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tollhouse::app::listener::{Ending, Front, Versions, serve as serve_front};
use tollhouse::catalog::{Catalog, PathPattern, Route, RouteTable, Service, Terms, Upstream};
use tollhouse::checkout::{Checkout, CheckoutConfig, CheckoutParts};
use tollhouse::clock::{Clock, SystemClock, SystemEntropy};
use tollhouse::l402::{Keyring, MasterKeys, authorization, parse_challenge};
use tollhouse::ledger::RecentChallenges;
use tollhouse::ports::{CannotReceive, InvoiceAsk, MintedInvoice, Minter};
use tollhouse::pricing::{Currency as Fiat, Exchange, Rate, RateFault};
use tollhouse::proxy::{ProxyConfig, ProxyState, router};
use tollhouse::store::Ledger;
use tollhouse::types::{Msat, PaymentHash, Preimage, Timestamp};

use client::{Reply, ask};
use upstream::Origin;

mod abuse;
mod allowance;
mod arrives;
mod cached;
mod charges;
mod client;
mod conformance;
mod credentials;
mod delegation;
mod discovery;
mod doubts;
mod flood;
mod fronts;
mod grpc;
mod headers;
mod hostile_tokens;
mod http2;
mod introspection;
mod limits;
mod metered;
mod money;
mod offers;
mod own_tls;
mod pay_browser;
mod pay_page;
mod priced;
mod replays;
mod revocations;
mod shadow;
mod smuggling;
mod streams;
mod tls;
mod unlock;
mod upstream;
mod waits;
mod websocket;

/// Longer than anything here takes, shorter than a hung test run.
const PATIENCE: Duration = Duration::from_secs(20);

/// More than any test opens.
const CONNECTIONS: usize = 4096;

/// As many as the application remembers.
const RECENT_CHALLENGES: usize = 16_384;

/// Signs real invoices and knows every preimage, as the payers' nodes would after paying.
#[derive(Debug)]
pub(crate) struct FakeMinter {
    clock: Arc<dyn Clock>,
    minted: AtomicU64,
    pub(crate) can_receive: AtomicBool,
    /// What the channels take at least.
    smallest: Mutex<Option<Msat>>,
    /// Whether the payers' nodes are to be played; for ever, so that a flood turns it off.
    remembers: AtomicBool,
    preimages: Mutex<HashMap<PaymentHash, Preimage>>,
}

impl FakeMinter {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Arc<FakeMinter> {
        Arc::new(FakeMinter {
            clock,
            minted: AtomicU64::new(0),
            can_receive: AtomicBool::new(true),
            smallest: Mutex::default(),
            remembers: AtomicBool::new(true),
            preimages: Mutex::default(),
        })
    }

    pub(crate) fn preimage(&self, hash: &PaymentHash) -> Preimage {
        self.preimages.lock().expect("no test panics here")[hash]
    }

    pub(crate) fn minted(&self) -> u64 {
        self.minted.load(Ordering::SeqCst)
    }
}

impl Minter for FakeMinter {
    fn mint(&self, ask: &InvoiceAsk) -> Result<MintedInvoice, CannotReceive> {
        if !self.can_receive.load(Ordering::SeqCst) {
            return Err(CannotReceive::NoUsableChannel);
        }
        if let Some(smallest) = *self.smallest.lock().expect("no test panics here")
            && ask.amount < smallest
        {
            return Err(CannotReceive::TooSmall { smallest });
        }
        let number = self.minted.fetch_add(1, Ordering::SeqCst);
        let mut bytes = [9u8; 32];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        let preimage = Preimage::from_bytes(bytes);
        let payment_hash = preimage.payment_hash();
        if self.remembers.load(Ordering::SeqCst) {
            self.preimages.lock().expect("no test panics here").insert(payment_hash, preimage);
        }
        Ok(signed_invoice(ask, payment_hash, [3; 32], self.clock.now()))
    }
}

/// An invoice that a wallet would read.
pub(crate) fn signed_invoice(
    ask: &InvoiceAsk,
    payment_hash: PaymentHash,
    payment_secret: [u8; 32],
    now: Timestamp,
) -> MintedInvoice {
    let key = SecretKey::from_slice(&[7; 32]).expect("a key");
    let invoice = InvoiceBuilder::new(Currency::Regtest)
        .description(ask.description.clone())
        .payment_hash(sha256::Hash::from_byte_array(*payment_hash.as_bytes()))
        .payment_secret(PaymentSecret(payment_secret))
        .duration_since_epoch(Duration::from_millis(now.millis()))
        .min_final_cltv_expiry_delta(42)
        .expiry_time(ask.expiry)
        .amount_milli_satoshis(ask.amount.msat())
        .build_signed(|message| Secp256k1::new().sign_ecdsa_recoverable(message, &key))
        .expect("a whole invoice");
    let expires_at = Timestamp::from_secs(now.secs()).plus(ask.expiry);
    MintedInvoice { bolt11: invoice.to_string(), payment_hash, expires_at }
}

/// Knows the rates that a test sets.
#[derive(Debug, Default)]
struct Market(Mutex<HashMap<String, String>>);

impl Market {
    /// From now on a bitcoin costs so many dollars; nobody knows any more when `None`.
    fn set_usd(&self, per_btc: Option<&str>) {
        let mut rates = self.0.lock().expect("no test panics here");
        match per_btc {
            Some(rate) => rates.insert("USD".to_owned(), rate.to_owned()),
            None => rates.remove("USD"),
        };
    }
}

impl Exchange for Market {
    fn rate(&self, currency: Fiat, now: Timestamp) -> Result<Rate, RateFault> {
        let rates = self.0.lock().expect("no test panics here");
        let per_btc = rates.get(currency.as_str()).ok_or(RateFault::Stale(currency))?;
        Ok(Rate { currency, per_btc: per_btc.parse().expect("a rate"), at: now })
    }
}

/// A paid token.
#[derive(Clone, Debug)]
struct Credential {
    header: String,
    hash: PaymentHash,
}

impl Credential {
    /// The header line, for raw requests.
    fn line(&self) -> String {
        format!("Authorization: {}\r\n", self.header)
    }
}

/// A grant's units: left, held, spent.
type Units = (u64, u64, u64);

struct TestGate {
    address: SocketAddr,
    /// For another listener in front of the same gate.
    router: Router,
    minter: Arc<FakeMinter>,
    ledger: Ledger,
    catalog: Arc<Catalog>,
    checkout: Checkout,
    keys: Arc<Keyring>,
    market: Arc<Market>,
    recent: Arc<RecentChallenges>,
    cut: CancellationToken,
    folder: tempfile::TempDir,
}

impl TestGate {
    /// A gate before `origin`: everything costs 10 sat, but `/free` nothing and `/dear` 50 sat.
    async fn before(origin: &Origin) -> TestGate {
        TestGate::with(vec![service(origin)], quick()).await
    }

    async fn with(services: Vec<Service>, config: ProxyConfig) -> TestGate {
        TestGate::selling(services, config, CheckoutConfig::default()).await
    }

    async fn selling(services: Vec<Service>, config: ProxyConfig, terms: CheckoutConfig) -> TestGate {
        TestGate::at(SystemClock::new(Timestamp::default()), services, config, terms).await
    }

    async fn at(
        clock: Arc<dyn Clock>,
        services: Vec<Service>,
        config: ProxyConfig,
        terms: CheckoutConfig,
    ) -> TestGate {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (ledger, _) =
            Ledger::open(&folder.path().join("ledger.db"), Arc::clone(&clock)).expect("a ledger");
        let minter = FakeMinter::new(Arc::clone(&clock));
        let catalog = Arc::new(Catalog::new(RouteTable::new(services).expect("a table")));
        let (cut, market) = (CancellationToken::new(), Arc::<Market>::default());
        let recent = Arc::new(RecentChallenges::new(RECENT_CHALLENGES));
        let keys = Keyring::new(MasterKeys::new(1, [(1, [5; 32])]).expect("keys"));
        let parts = CheckoutParts {
            catalog: Arc::clone(&catalog),
            keys: Arc::clone(&keys),
            ledger: ledger.clone(),
            minter: Arc::clone(&minter) as Arc<dyn Minter>,
            exchange: Arc::clone(&market) as Arc<dyn Exchange>,
            recent: Arc::clone(&recent),
            clock,
            entropy: SystemEntropy::new(),
            cut: cut.clone(),
        };
        let checkout = Checkout::new(parts, terms);
        let tracker = TaskTracker::new();
        let state = ProxyState::new(checkout.clone(), config, tracker.clone()).expect("TLS settings");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let router = router(state);
        tracker.spawn(serve(listener, router.clone(), tracker.clone(), cut.clone()));
        TestGate { address, router, minter, ledger, catalog, checkout, keys, market, recent, cut, folder }
    }

    async fn ask(&self, request: &str) -> Reply {
        ask(self.address, request.as_bytes()).await
    }

    /// `METHOD path` with more header lines, each ended by CRLF.
    async fn get(&self, path: &str, lines: &str) -> Reply {
        self.ask(&head("GET", path, lines)).await
    }

    /// Asks for `path` and for an offer by its name, and pays it.
    async fn buy_offer(&self, path: &str, offer: &str) -> Credential {
        let reply = self.get(path, &format!("Prefer: l402-offer={offer}\r\n")).await;
        assert_eq!((reply.status, reply.json()["offer"].as_str()), (402, Some(offer)), "{reply:?}");
        self.pay(&reply)
    }

    /// Puts `services` in the place of all before.
    fn sell(&self, services: Vec<Service>) {
        self.catalog.swap(RouteTable::new(services).expect("a table"));
    }

    /// Nothing was created or lost.
    async fn audited(&self) {
        self.ledger.barrier().await;
        let audit = self.ledger.audit().await.expect("the ledger reads");
        assert!(audit.ok, "{audit:?}");
    }

    /// Asks for `path`, takes the challenge and pays it.
    async fn buy(&self, path: &str) -> Credential {
        let reply = self.get(path, "").await;
        assert_eq!(reply.status, 402, "{reply:?}");
        self.pay(&reply)
    }

    fn pay(&self, reply: &Reply) -> Credential {
        let challenge =
            parse_challenge(reply.header("www-authenticate").expect("a challenge")).expect("readable");
        let hash = reply.json()["paymentHash"].as_str().expect("a hash").parse().expect("a hash");
        let preimage = self.minter.preimage(&hash);
        Credential { header: authorization(&challenge.macaroon_b64, &preimage), hash }
    }

    /// The grant's units now.
    async fn units(&self, credential: &Credential) -> Units {
        self.ledger.barrier().await;
        units_of(&self.ledger, &credential.hash).await
    }

    /// How many rows each table has, as whoever reads the file sees them.
    async fn rows(&self) -> BTreeMap<String, u64> {
        self.ledger.barrier().await;
        let file = rusqlite::Connection::open(self.folder.path().join("ledger.db")).expect("the file");
        let mut tables =
            file.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").expect("a query");
        let names: Vec<String> =
            tables.query_map([], |row| row.get(0)).expect("tables").map(|n| n.expect("a name")).collect();
        let count = |name: &String| {
            file.query_row(&format!("SELECT count(*) FROM \"{name}\""), [], |row| row.get::<_, u64>(0))
        };
        assert!(names.len() > 3, "{names:?}");
        let mut rows: BTreeMap<String, u64> = BTreeMap::new();
        for name in names {
            let counted = count(&name).expect("a count");
            rows.insert(name, counted);
        }
        // What was demanded is folded into the sums once a minute: at most a row for each hour and route, and the
        // names of these.
        for sums in ["revenue_hourly", "revenue_daily", "names"] {
            let folded = rows.remove(sums).expect("a table of sums");
            assert!(folded <= 10, "{folded} rows of {sums}");
        }
        rows
    }

    /// The grant's units once nothing is held.
    async fn settled(&self, credential: &Credential) -> Units {
        let mut news = self.ledger.watch();
        let wait = async {
            loop {
                news.mark_unchanged();
                let units = self.units(credential).await;
                if units.1 == 0 {
                    return units;
                }
                news.changed().await.expect("the ledger is open");
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("the hold ends")
    }
}

async fn units_of(ledger: &Ledger, hash: &PaymentHash) -> Units {
    let row = ledger.grant(*hash).await.expect("the ledger reads");
    row.map_or((0, 0, 0), |row| (row.grant.left, row.grant.held, row.grant.spent))
}

/// Short waits, so that the tests of slowness are quick.
fn quick() -> ProxyConfig {
    ProxyConfig {
        connect_timeout: Duration::from_secs(2),
        header_timeout: Duration::from_millis(400),
        idle_timeout: Duration::from_millis(400),
        ..ProxyConfig::default()
    }
}

/// Waits that no test outlasts, for tests in which somebody is slow on purpose.
fn patient() -> ProxyConfig {
    ProxyConfig { header_timeout: PATIENCE, idle_timeout: PATIENCE, ..ProxyConfig::default() }
}

fn sat(amount: u64) -> Terms {
    Terms::fixed(Msat::from_sat(amount).expect("in range"))
}

fn service(origin: &Origin) -> Service {
    let route = |name: &str, path: &str, terms| {
        Route::new(name.parse().expect("a name"), None, PathPattern::Under(path.to_owned()), terms)
    };
    let upstream = Upstream::at(format!("http://{}/", origin.address).parse().expect("a URL"));
    Service {
        routes: vec![route("free", "/free", Terms::free()), route("dear", "/dear", sat(50))],
        ..Service::new("api".parse().expect("a name"), "/", sat(10), upstream)
    }
}

fn head(method: &str, path: &str, lines: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\n{lines}\r\n")
}

/// As the application serves it.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    tracker: TaskTracker,
    cut: CancellationToken,
) {
    let front = Front::new(listener, router, CONNECTIONS, Versions::OneAndTwo);
    serve_front(front, Ending { cut, ..Ending::default() }, tracker).await;
}
