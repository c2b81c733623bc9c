//! The admin listener on a real socket, with a node that is made up.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, SET_COOKIE};
use reqwest::{Client, RequestBuilder, Response, StatusCode, redirect};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch::Sender;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tollhouse::backup::{BackupConfig, Backups, BackupsParts, Owner};
use tollhouse::catalog::{RouteTable, Service};
use tollhouse::chain::{ChainSource, Sources};
use tollhouse::checkout::{Checkout, CheckoutConfig, CheckoutParts};
use tollhouse::clock::{Clock, FixedClock, SystemEntropy};
use tollhouse::custody::{Custody, CustodyLimits};
use tollhouse::egress::{Egress, Reach, SystemResolver};
use tollhouse::ledger::RecentChallenges;
use tollhouse::payments::Outbox;
use tollhouse::pricing::NoExchange;
use tollhouse::rates::{Rates, RatesConfig};
use tollhouse::rescue::Standing;
use tollhouse::secrets::{Secrets, write_private};
use tollhouse::store::Ledger;
use tollhouse::storefront::{Market, Storefront};
use tollhouse::treasury::{Treasury, TreasuryParts};
use tollhouse::types::Timestamp;
use tollhouse::upkeep::{FileRules, PayoutsParts, Upkeep, UpkeepParts};
use tollhouse::vault::Vault;
use tollhouse::watchman::{AlarmLimits, Watchman, WatchmanParts};
use tollhouse::web::{self, Configuration, LogTail, Operator, OperatorParts, WebConfig};
use tollhouse::webhooks::{Webhooks, WebhooksConfig, WebhooksParts};
use tollhouse::{api, ui, wallet_face};

use crate::gateway::FakeMinter;
pub(crate) use node::{MEMO, MadeUpNode, usable_channel};

mod copies;
mod described;
pub(crate) mod neighbours;
mod node;
mod shop;
pub(crate) mod wallet;

/// What the tests set as the operator's password.
pub(crate) const PASSWORD: &str = "correct horse battery staple";
/// When the tests' clock starts.
pub(crate) const START: Timestamp = Timestamp::from_secs(1_760_000_000);

/// A running admin listener.
pub(crate) struct AdminApp {
    pub(crate) origin: String,
    pub(crate) gateway: String,
    pub(crate) ledger: Ledger,
    pub(crate) op: Arc<Operator>,
    pub(crate) node: Arc<MadeUpNode>,
    pub(crate) minter: Arc<FakeMinter>,
    pub(crate) recent: Arc<RecentChallenges>,
    pub(crate) clock: Arc<FixedClock>,
    pub(crate) client: Client,
    pub(crate) dir: TempDir,
    snapshot: Sender<Standing>,
    stop: CancellationToken,
}

impl AdminApp {
    /// Starts one on a fresh ledger, unclaimed.
    pub(crate) async fn start() -> AdminApp {
        AdminApp::selling(Vec::new()).await
    }

    /// The same, with exchange rates from `rates`.
    pub(crate) async fn trading(rates: RatesConfig) -> AdminApp {
        AdminApp::with(Vec::new(), rates).await
    }

    /// The same, of an appliance that sells `services`.
    pub(crate) async fn selling(services: Vec<Service>) -> AdminApp {
        AdminApp::with(services, AdminApp::steady()).await
    }

    /// The same, with a vault that can be looked for on `source`.
    pub(crate) async fn watching(source: ChainSource) -> AdminApp {
        AdminApp::over(Vec::new(), AdminApp::steady(), source, Configuration::default()).await
    }

    /// The same, of one that was told these settings.
    pub(crate) async fn told(configuration: Configuration) -> AdminApp {
        AdminApp::over(Vec::new(), AdminApp::steady(), nowhere(), configuration).await
    }

    fn steady() -> RatesConfig {
        RatesConfig::fixed("USD".parse().expect("a code"), 64_000.into())
    }

    async fn with(services: Vec<Service>, rates: RatesConfig) -> AdminApp {
        AdminApp::over(services, rates, nowhere(), Configuration::default()).await
    }

    async fn over(
        services: Vec<Service>,
        rates: RatesConfig,
        source: ChainSource,
        configuration: Configuration,
    ) -> AdminApp {
        let dir = TempDir::new().expect("a temporary directory");
        let (clock, snapshot) = (FixedClock::at(START), Sender::default());
        let (ledger, _) = Ledger::open(&dir.path().join("ledger.db"), clock.clone()).expect("a ledger");
        let node = Arc::new(MadeUpNode::default());
        let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
        let variables = Box::new(|name: &str| (name == "UPSTREAM_KEY").then(|| "sesame".to_owned()));
        let market = Market { exchange: Arc::new(NoExchange), clock: clock.clone() };
        let opened = Storefront::open(ledger.clone(), market, variables, Box::new(|_| {})).await;
        let storefront = opened.expect("a storefront");
        let catalog = Arc::clone(storefront.catalog());
        catalog.swap(RouteTable::new(services).expect("a table"));
        let minter = FakeMinter::new(clock.clone());
        // Every appliance of these tests has the same first key.
        let keys = dir.path().join("secrets").join("keys");
        std::fs::create_dir(keys.with_file_name("")).expect("a folder");
        write_private(&keys, format!("1 {}\n", "05".repeat(32))).expect("keys");
        let secrets = Secrets::load_or_create(
            &keys.with_file_name(""),
            bitcoin::Network::Regtest,
            &*SystemEntropy::new(),
        );
        let secrets = secrets.expect("secrets");
        let epochs = Arc::new(secrets.epochs().expect("epochs"));
        let recent = Arc::new(RecentChallenges::new(64));
        let checkout = Checkout::new(
            CheckoutParts {
                catalog: Arc::clone(&catalog),
                keys: Arc::clone(epochs.ring()),
                ledger: ledger.clone(),
                minter: minter.clone(),
                exchange: Arc::new(NoExchange),
                recent: Arc::clone(&recent),
                clock: Arc::clone(&clock) as Arc<dyn Clock>,
                entropy: SystemEntropy::new(),
                cut: CancellationToken::new(),
            },
            CheckoutConfig::default(),
        );
        let gateway = shop::open(checkout.clone(), &tracker, &stop).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let listen = listener.local_addr().expect("bound");
        let origin = format!("http://{listen}");
        let egress = Arc::new(Egress::new(Arc::new(SystemResolver)).expect("a client"));
        let parts = WebhooksParts {
            ledger: ledger.clone(),
            egress: Arc::clone(&egress),
            clock: clock.clone(),
            entropy: SystemEntropy::new(),
        };
        let webhooks = Arc::new(Webhooks::new(parts, WebhooksConfig::default()));
        tracker.spawn(Arc::clone(&webhooks).run(stop.clone()));
        let outbox = Outbox::new(
            ledger.clone(),
            node.clone(),
            clock.clone(),
            bitcoin::Network::Regtest,
            tracker.clone(),
        );
        let outbox = Arc::new(outbox);
        let sources = Arc::new(Sources::new(source.into()));
        let network = bitcoin::Network::Regtest;
        let vault = Vault::open(ledger.clone(), sources, network, clock.clone()).await.expect("no vault yet");
        let rates = Arc::new(Rates::new(rates, Arc::clone(&egress), clock.clone()));
        let watched = WatchmanParts {
            ledger: ledger.clone(),
            node: node.clone(),
            pulse: node.clone(),
            chain: node.clone(),
            opens_for: Arc::new(|_| false),
            minter: minter.clone(),
            catalog: Arc::clone(&catalog),
            exchange: rates.clone(),
            clock: clock.clone(),
            dir: dir.path().to_owned(),
        };
        // A disk that is nearly full on the machine of the test is no matter of the test.
        let limits = AlarmLimits { disk_free_bytes: 0, ..AlarmLimits::default() };
        let upkeep = Upkeep::new(
            UpkeepParts {
                ledger: ledger.clone(),
                node: node.clone(),
                catalog: Arc::clone(&catalog),
                exchange: Arc::new(NoExchange),
                clock: clock.clone(),
                splicer: node.clone(),
                rules: FileRules::default(),
            },
            PayoutsParts {
                ledger: ledger.clone(),
                outbox: Arc::clone(&outbox),
                offers: node.clone(),
                node: node.clone(),
                egress: Arc::clone(&egress),
                reach: Reach::Private,
                network: bitcoin::Network::Regtest,
                clock: clock.clone(),
                entropy: SystemEntropy::new(),
                tracker: tracker.clone(),
                stop: stop.clone(),
            },
        );
        let op = Operator::new(OperatorParts {
            watchman: Watchman::new(watched, limits),
            ledger: ledger.clone(),
            node: node.clone(),
            chain: node.clone(),
            vault,
            control: node.clone(),
            coins: node.clone(),
            peers: node.clone(),
            treasury: Treasury::new(TreasuryParts {
                ledger: ledger.clone(),
                node: node.clone(),
                control: node.clone(),
                coins: node.clone(),
                clock: clock.clone(),
                tasks: tracker.clone(),
            }),
            checkout,
            custody: Custody::new(CustodyLimits::default(), clock.clone(), SystemEntropy::new()),
            outbox: Arc::clone(&outbox),
            upkeep,
            storefront: storefront.clone(),
            inbound: neighbours::inbound(
                &node,
                (&ledger, &outbox),
                &(Arc::clone(&clock) as Arc<dyn Clock>),
                &tracker,
                &stop,
            ),
            snapshot: snapshot.subscribe(),
            backups: Backups::new(
                BackupsParts {
                    ledger: ledger.clone(),
                    epochs: Arc::clone(&epochs),
                    owner: Owner {
                        key: [7; 32].into(),
                        network: "regtest".to_owned(),
                        node_id: "02".repeat(33),
                    },
                    data: dir.path().to_owned(),
                    clock: clock.clone(),
                    entropy: SystemEntropy::new(),
                },
                BackupConfig { dir: Some(dir.path().join("backups")), ..BackupConfig::default() },
            ),
            rates,
            epochs,
            seed: Arc::clone(secrets.custody()),
            webhooks: Arc::clone(&webhooks),
            egress,
            customer: Some(Arc::new(shop::Purse(Arc::clone(&minter)))),
            clock: clock.clone(),
            entropy: SystemEntropy::new(),
            tracker: tracker.clone(),
            stop: stop.clone(),
            config: WebConfig {
                listen,
                origin: origin.clone(),
                hosts: vec!["tollhouse.example".to_owned()],
                gateway: gateway.clone(),
                configuration,
            },
            log: LogTail::default(),
        });
        let router = web::finish(api::router().merge(ui::router()).merge(wallet_face::router()), op.clone());
        let router = router.layer(axum::middleware::from_fn(described::described));
        let stopped = stop.clone().cancelled_owned();
        tracker.spawn(async move { axum::serve(listener, router).with_graceful_shutdown(stopped).await });
        let client = Client::builder().redirect(redirect::Policy::none()).build().expect("a client");
        AdminApp { origin, gateway, ledger, op, node, minter, recent, clock, client, dir, snapshot, stop }
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("{}{path}", self.origin))
    }

    /// A POST as one of our own pages sends it.
    pub(crate) fn post(&self, path: &str) -> RequestBuilder {
        self.client.post(format!("{}{path}", self.origin)).header("origin", &self.origin)
    }

    pub(crate) async fn read(&self, path: &str, key: &str) -> Response {
        self.get(path).bearer_auth(key).send().await.expect("an answer")
    }

    pub(crate) async fn change(&self, path: &str, key: &str, body: Value) -> Response {
        let url = format!("{}{path}", self.origin);
        let request = self.client.post(url).bearer_auth(key).header(CONTENT_TYPE, "application/json");
        request.body(body.to_string()).send().await.expect("an answer")
    }

    pub(crate) async fn delete(&self, path: &str, key: &str) -> Response {
        let url = format!("{}{path}", self.origin);
        self.client.delete(url).bearer_auth(key).send().await.expect("an answer")
    }

    /// The token of the claim link that a start would print.
    pub(crate) async fn claim_token(&self) -> String {
        let link = web::claim::ensure(&self.op, self.dir.path()).await.expect("stored").expect("unclaimed");
        let prefix = format!("{}/claim?token=", self.origin);
        link.url().strip_prefix(&prefix).expect("a link to this listener").to_owned()
    }

    pub(crate) fn claim_file(&self) -> PathBuf {
        self.dir.path().join("claim")
    }

    pub(crate) async fn claim(&self, token: &str, password: &str, again: &str) -> Response {
        let form = [("token", token), ("password", password), ("again", again)];
        self.post("/claim").form(&form).send().await.expect("an answer")
    }

    pub(crate) async fn login(&self, password: &str) -> Response {
        self.post("/login").form(&[("password", password)]).send().await.expect("an answer")
    }

    /// Claims with [`PASSWORD`]; the session's cookie, `name=value`.
    pub(crate) async fn claimed(&self) -> String {
        let token = self.claim_token().await;
        cookie(self.claim(&token, PASSWORD, PASSWORD).await.headers())
    }

    /// A key with these scopes.
    pub(crate) async fn key(&self, scopes: &[web::keys::Scope]) -> String {
        let entropy = SystemEntropy::new();
        let key = web::keys::create(&self.ledger, entropy.as_ref(), "test", scopes).await.expect("stored");
        key.key.text().to_owned()
    }
}

impl Drop for AdminApp {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A chain source that is not there.
fn nowhere() -> ChainSource {
    ChainSource::Esplora { url: "http://127.0.0.1:1".to_owned() }
}

/// Status and code of a refusal.
pub(crate) async fn problem(response: Response) -> (StatusCode, String) {
    let status = response.status();
    assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
    let body: Value = response.json().await.expect("JSON");
    assert_eq!(body["status"], status.as_u16());
    (status, body["code"].as_str().expect("a code").to_owned())
}

/// The body of an answer that is 200.
pub(crate) async fn ok(response: Response) -> Value {
    assert_eq!(response.status(), StatusCode::OK);
    response.json().await.expect("JSON")
}

/// The `name=value` of the one cookie that a response sets.
pub(crate) fn cookie(headers: &HeaderMap) -> String {
    let line = headers.get(SET_COOKIE).expect("a cookie is set").to_str().expect("readable");
    line.split(';').next().expect("a first part").to_owned()
}

/// Long enough for anything that is going to happen at all.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
