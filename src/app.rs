//! The composition root: takes a [`Blueprint`], builds every part, starts what runs, and ends it in
//! order. The only place that knows all of them.

mod addresses;
mod blueprint;
mod bounds;
mod channels;
mod connection;
mod desk;
mod exchange;
mod ground;
mod inbound;
mod informants;
mod introduction;
pub mod listener;
mod locked;
mod lookout;
pub mod offline;
mod outside;
mod patience;
mod preface;
mod splicer;
mod upkeep;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use http::HeaderValue;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::backup::{self, BackupConfig, Backups, BackupsParts, Owner, Witness};
use crate::catalog::{Catalog, RouteTable};
use crate::checkout::{Checkout, CheckoutConfig, CheckoutParts};
use crate::custody::{Custody, CustodyLimits};
use crate::event::Event;
use crate::forward_auth::{self, ForwardAuth};
use crate::ledger::RecentChallenges;
use crate::node::{LightningNode, NodeSeed, NodeState};
use crate::payments::{self, Outbox};
use crate::ports::{Coins, Minter, NodeControl, NodeEvents, NodeWatch, Payer};
use crate::pricing::Exchange;
use crate::proxy::{self, Certificate, ProxyConfig, ProxyState, Shown};
use crate::request::Proxies;
use crate::rescue::Keeper;
use crate::secrets::Secrets;
use crate::store::{DirLock, Ledger};
use crate::storefront::{Market, Run, Storefront};
use crate::treasury::{Treasury, TreasuryParts};
use crate::upkeep::Upkeep;
use crate::vault::Vault;
use crate::web::WebConfig;
use addresses::{reachable, scheme, trimmed};
pub use blueprint::{Blueprint, take_dir};
use desk::Shop;
use ground::Ground;
pub use introduction::Introductions;
use listener::{Ending, Front, Versions};
pub use locked::Waits;
use outside::Outside;

/// Challenges whose purpose is remembered until they are paid.
const RECENT_CHALLENGES: usize = 16_384;

/// Requests in flight have this long to end at shutdown.
const DRAIN: Duration = Duration::from_secs(10);

/// What is left of connections and tasks has this long once it was told to end.
const LAST_GRACE: Duration = Duration::from_secs(5);

/// The operator's page needs few connections.
const ADMIN_CONNECTIONS: usize = 256;

/// Another proxy keeps its connections; more customers at once wait for one of them.
const ASKING_CONNECTIONS: usize = 256;

/// A running appliance.
pub struct Appliance {
    node: Arc<LightningNode>,
    ledger: Ledger,
    storefront: Arc<Storefront>,
    outbox: Arc<Outbox>,
    upkeep: Upkeep,
    treasury: Treasury,
    gateway: SocketAddr,
    certificate: Option<Shown>,
    admin: SocketAddr,
    claim: Option<String>,
    admin_key: PathBuf,
    keeper: Arc<Keeper>,
    witness: Witness,
    ending: Ending,
    stop_streams: CancellationToken,
    stop_custody: CancellationToken,
    stop_node: CancellationToken,
    stop_events: CancellationToken,
    serving: TaskTracker,
    node_tasks: TaskTracker,
    _lock: DirLock,
}

impl Appliance {
    /// Starts everything, with the secrets open. The gate answers as soon as this returns; the node may still be on its way
    /// up, and until it is there nothing is sold (see [`Appliance::node`]).
    ///
    /// # Errors
    /// When a setting, the directory or a file cannot be used.
    pub async fn start(blueprint: Blueprint, secrets: Secrets) -> Result<Appliance> {
        let (gateway, admin) = (blueprint.gateway.local_addr()?, blueprint.admin.local_addr()?);
        let network = blueprint.node.network;
        let data_dir = blueprint.data_dir.clone();
        let opening = tokio::task::spawn_blocking(move || Ground::open(&data_dir, network, secrets));
        let (dir, ground) = opening.await??;
        let event = Event::Started { version: env!("CARGO_PKG_VERSION").to_owned(), clean: ground.clean };
        ground.ledger.log(event).await?;

        channels::note_recovered(&dir, &ground.ledger).await?;
        let channels = channels::open(&dir, blueprint.snapshot_dir, network, &ground).await?;
        if let Some(memory) = channels.memory {
            let lost = ground.ledger.note_node_memory(memory).await?;
            if lost > 0 {
                tracing::error!(
                    lost,
                    "payments were cut off that the node cannot know any more: see the operations"
                );
            }
        }
        let seed = NodeSeed::new(ground.secrets.seed());
        let (clock, entropy) = (Arc::clone(&ground.clock), ground.entropy.clone());
        let liquidity = blueprint.node.liquidity.clone();
        let node = LightningNode::new(blueprint.node, seed, channels.store, clock, entropy)?;
        if let Some(why) = channels.barred {
            node.bar(why);
        }
        let payer: Arc<dyn Payer> = node.clone();
        let ending = Ending::default();
        let (serving, node_tasks) = (TaskTracker::new(), TaskTracker::new());
        let (ledger, clock) = (ground.ledger.clone(), Arc::clone(&ground.clock));
        let outbox = Arc::new(Outbox::new(ledger, payer, clock, network, node_tasks.clone()));
        let treasury = treasury(&ground, &node, &node_tasks);
        let coins = Arc::new(treasury.clone());
        let inbound = inbound::of(liquidity, &ground, &node, &outbox, coins);
        let recent = Arc::new(RecentChallenges::new(RECENT_CHALLENGES));
        let certificate = blueprint.tls.map(Shown::new);
        let scheme = scheme(certificate.as_ref());
        let public = blueprint.public_url.as_ref().map_or_else(|| reachable(scheme, gateway), trimmed);
        let (clock, entropy) = (Arc::clone(&ground.clock), ground.entropy.clone());
        let outside = Outside::new(blueprint.rates, ground.ledger.clone(), clock, entropy)?;
        let caller = outside.clone();
        let listener = Box::new(move |table: &RouteTable| {
            caller.serve(table.services().iter().map(AsRef::as_ref));
        });
        let market = Market { exchange: outside.rates.clone(), clock: Arc::clone(&ground.clock) };
        let ledger = ground.ledger.clone();
        let storefront = Storefront::open(ledger, market, blueprint.variables, listener).await?;
        storefront.own(blueprint.services).await?;
        let stock = blueprint.stock.into_iter().map(|spec| (spec, Vec::new())).collect();
        storefront.put(stock, Run::Real).await?;
        if storefront.stock().is_empty() {
            tracing::warn!("nothing is on sale: no file names a service, and none was made");
        }
        let catalog = Arc::clone(storefront.catalog());
        let terms = CheckoutConfig {
            limits: blueprint.entrance.limits.clone(),
            unknown_caveats: blueprint.entrance.unknown_caveats,
            ..CheckoutConfig::default()
        };
        let checkout = checkout(catalog, &ground, &node, &outside, &recent, &ending, terms)?;
        let checkout = match &inbound.openings {
            Some(openings) => checkout.opening(Arc::clone(openings)),
            None => checkout,
        };
        let told = blueprint.public_url.as_ref().map(trimmed);
        let proxies = blueprint.entrance.proxies.clone();
        let gate = gateway_router(checkout.clone(), &public, told, proxies, &serving)?;
        let origin = reachable("http", admin);
        let web = WebConfig {
            listen: admin,
            origin,
            hosts: blueprint.allowed_hosts,
            gateway: public,
            configuration: blueprint.configuration,
        };
        let stop_streams = CancellationToken::new();
        let asked = ForwardAuth { checkout: checkout.clone(), ledger: ground.ledger.clone() };
        let custody = custody(&ground);
        let (sources, clock) = (Arc::clone(node.sources()), Arc::clone(&ground.clock));
        let vault = Vault::open(ground.ledger.clone(), sources, network, clock).await?;
        let (stop_node, stop_events) = (CancellationToken::new(), CancellationToken::new());
        let backups = backups(&ground, &dir, network, &node, blueprint.backup);
        let plan = upkeep::Plan {
            node: Arc::clone(&node),
            outbox: Arc::clone(&outbox),
            catalog: Arc::clone(storefront.catalog()),
            splicer: Arc::new(splicer::FromChannels::new(treasury.clone(), &node, &vault)),
            reach: blueprint.payouts,
            rules: blueprint.rules,
            tracker: node_tasks.clone(),
            stop: stop_events.clone(),
        };
        let upkeep = upkeep::of(&ground, &outside, plan);
        let lookout = lookout::Lookout {
            ground: &ground,
            dir: &dir,
            network,
            node: &node,
            outside: &outside,
            catalog: storefront.catalog(),
            inbound: &inbound,
            snapshot: channels.keeper.standing(),
            backups: &backups,
            worthless: blueprint.customer.is_some(),
        };
        let watchman = lookout.watchman(blueprint.alarms);
        let shop = Shop {
            watchman: Arc::clone(&watchman),
            node: Arc::clone(&node),
            vault: Arc::clone(&vault),
            upkeep: upkeep.clone(),
            treasury: treasury.clone(),
            outbox: Arc::clone(&outbox),
            checkout,
            custody: Arc::clone(&custody),
            outside: outside.clone(),
            storefront: Arc::clone(&storefront),
            backups: Arc::clone(&backups),
            inbound: inbound.clone(),
            snapshot: channels.keeper.standing(),
            customer: blueprint.customer,
            log: blueprint.log,
        };
        let (desk, claim) =
            desk::router(web, &dir, &ground, shop, blueprint.claim, &stop_streams, &serving).await?;

        let appliance = Appliance {
            node: Arc::clone(&node),
            ledger: ground.ledger.clone(),
            storefront,
            outbox,
            upkeep,
            treasury,
            gateway,
            certificate: certificate.clone(),
            admin,
            claim,
            admin_key: dir.join("admin.key"),
            keeper: Arc::clone(&channels.keeper),
            witness: Witness::of(&dir),
            ending: ending.clone(),
            stop_streams,
            stop_custody: CancellationToken::new(),
            stop_node,
            stop_events,
            serving: serving.clone(),
            node_tasks,
            _lock: blueprint.lock,
        };
        let limit = listener::connection_limit();
        let introductions = Introductions {
            protocol: blueprint.entrance.proxy_protocol,
            proxies: blueprint.entrance.proxies,
        };
        let tls = certificate.as_ref().map(Shown::server).transpose().context("no TLS for the gateway")?;
        let front = Front::new(blueprint.gateway, gate, limit, Versions::OneAndTwo);
        let front = Front { tls, introductions, ..front };
        serving.spawn(listener::serve(front, ending.clone(), serving.clone()));
        let front = Front::new(blueprint.admin, desk, ADMIN_CONNECTIONS, Versions::One);
        serving.spawn(listener::serve(front, ending.clone(), serving.clone()));
        if let Some(tcp) = blueprint.forward_auth {
            let front = Front::new(tcp, forward_auth::router(asked), ASKING_CONNECTIONS, Versions::One);
            serving.spawn(listener::serve(front, ending, serving.clone()));
        }
        appliance.node_tasks.spawn(Arc::clone(&custody).watch(appliance.stop_custody.clone()));
        appliance.node_tasks.spawn(backups.run(appliance.stop_events.clone()));
        appliance.node_tasks.spawn(watchman.run(appliance.stop_events.clone()));
        let exchange: Arc<dyn Exchange> = outside.rates.clone();
        outside.start(&appliance.node_tasks, &appliance.stop_events);
        appliance.node_tasks.spawn(vault.run(appliance.stop_events.clone()));
        let log = ground::log_sources(ground.ledger.clone(), node.clone(), appliance.stop_events.clone());
        appliance.node_tasks.spawn(log);
        inbound::start(inbound, &node, &appliance.node_tasks, &appliance.stop_events);
        if !ground.clean {
            appliance.node_tasks.spawn(ground::audit_after_crash(ground.ledger.clone()));
        }
        let (witness, stop) = (appliance.witness.clone(), appliance.stop_events.clone());
        appliance.node_tasks.spawn(witness.keep(ground.ledger.clone(), stop));
        appliance.node_tasks.spawn(channels.keeper.run(appliance.stop_events.clone()));
        appliance.start_node(node, recent, exchange);
        Ok(appliance)
    }

    fn start_node(
        &self,
        node: Arc<LightningNode>,
        recent: Arc<RecentChallenges>,
        exchange: Arc<dyn Exchange>,
    ) {
        let events: Arc<dyn NodeEvents> = node.clone();
        let payer: Arc<dyn Payer> = node.clone();
        let stop = self.stop_events.clone();
        let ledger = self.ledger.clone();
        self.node_tasks.spawn(payments::consume(events, payer, ledger, recent, exchange, stop));
        let (outbox, upkeep, waiting) = (Arc::clone(&self.outbox), self.upkeep.clone(), node.clone());
        let (stop, keeper) = (self.stop_events.clone(), Arc::clone(&self.keeper));
        self.node_tasks.spawn(async move {
            if waiting.ready().await.is_err() {
                return;
            }
            keeper.came_up();
            tokio::join!(outbox.look_up(stop.clone()), upkeep.run(stop));
        });
        let (treasury, waiting, stop) = (self.treasury.clone(), node.clone(), self.stop_events.clone());
        self.node_tasks.spawn(async move {
            if waiting.ready().await.is_ok() {
                treasury.watch(stop).await;
            }
        });
        self.node_tasks.spawn(node.run(self.stop_node.clone()));
    }

    /// Moves coins.
    pub fn treasury(&self) -> &Treasury {
        &self.treasury
    }

    /// Pays.
    pub fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }

    /// The node.
    pub fn node(&self) -> &Arc<LightningNode> {
        &self.node
    }

    /// The ledger.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// What is sold.
    pub fn storefront(&self) -> &Arc<Storefront> {
        &self.storefront
    }

    /// Where the node stands, now and as it changes.
    pub fn node_state(&self) -> watch::Receiver<NodeState> {
        self.node.state()
    }

    /// The gateway's root, as reached from this machine.
    pub fn gateway_url(&self) -> String {
        reachable(scheme(self.certificate.as_ref()), self.gateway)
    }

    /// Has the gateway show `certificate` to whoever connects from now on. Whether it speaks TLS at all is
    /// settled at the start: gives whether that is so.
    pub fn show(&self, certificate: Option<Certificate>) -> bool {
        match (&self.certificate, certificate) {
            (Some(shown), Some(certificate)) => {
                shown.change(certificate);
                true
            }
            (shown, certificate) => shown.is_none() && certificate.is_none(),
        }
    }

    /// The operator's page, as reached from this machine.
    pub fn admin_url(&self) -> String {
        reachable("http", self.admin)
    }

    /// The one-time link that sets the page's password, while nobody has.
    pub fn claim_link(&self) -> Option<&str> {
        self.claim.as_deref()
    }

    /// The file with the key for the admin API.
    pub fn admin_key_file(&self) -> &Path {
        &self.admin_key
    }

    /// Ends everything in order: no new connections, requests in flight run out (bounded), the node
    /// stops, its last events are written, the ledger is closed. The ends of holds that a broken-off
    /// request leaves are written too.
    pub async fn stop(self) {
        self.ending.drain.cancel();
        self.stop_streams.cancel();
        self.serving.close();
        if tokio::time::timeout(DRAIN, self.serving.wait()).await.is_err() {
            tracing::warn!(open = self.serving.len(), "requests were broken off at the end of the drain");
            self.ending.cut.cancel();
            if tokio::time::timeout(LAST_GRACE, self.serving.wait()).await.is_err() {
                tracing::warn!(open = self.serving.len(), "some connections did not end");
            }
        }
        // Nobody can settle any more: what applications hold goes back before the ledger closes.
        self.stop_custody.cancel();
        // Events first: what the node tells from here on it tells again at the next start.
        self.stop_events.cancel();
        self.stop_node.cancel();
        self.node_tasks.close();
        self.node_tasks.wait().await;
        self.keeper.last().await;
        if let Err(error) = self.ledger.log(Event::Stopped).await {
            tracing::warn!(%error, "the stop could not be logged");
        }
        if let Err(error) = self.witness.note(&self.ledger).await {
            tracing::warn!(%error, "how far the ledger is could not be noted beside it");
        }
        if let Err(error) = self.ledger.close().await {
            tracing::error!(%error, "the ledger was not closed in order");
        }
    }
}

fn checkout(
    catalog: Arc<Catalog>,
    ground: &Ground,
    node: &Arc<LightningNode>,
    outside: &Outside,
    recent: &Arc<RecentChallenges>,
    ending: &Ending,
    terms: CheckoutConfig,
) -> Result<Checkout> {
    let minter: Arc<dyn Minter> = node.clone();
    let exchange: Arc<dyn Exchange> = outside.rates.clone();
    let parts = CheckoutParts {
        catalog,
        keys: Arc::clone(ground.epochs.ring()),
        ledger: ground.ledger.clone(),
        minter,
        exchange,
        recent: Arc::clone(recent),
        clock: Arc::clone(&ground.clock),
        entropy: ground.entropy.clone(),
        cut: ending.cut.clone(),
    };
    Ok(Checkout::new(parts, terms))
}

fn gateway_router(
    checkout: Checkout,
    public: &str,
    public_url: Option<String>,
    proxies: Proxies,
    tracker: &TaskTracker,
) -> Result<axum::Router> {
    let scheme = if public.starts_with("https:") { "https" } else { "http" };
    let public_scheme = HeaderValue::from_static(scheme);
    let config = ProxyConfig { public_scheme, public_url, proxies, ..ProxyConfig::default() };
    Ok(proxy::router(ProxyState::new(checkout, config, tracker.clone())?))
}

/// Copies of the ledger.
fn backups(
    ground: &Ground,
    dir: &Path,
    network: bitcoin::Network,
    node: &LightningNode,
    config: BackupConfig,
) -> Arc<Backups> {
    let owner = Owner {
        key: ground.secrets.derive(backup::PURPOSE),
        network: network.to_string(),
        node_id: node.node_id(),
    };
    let parts = BackupsParts {
        ledger: ground.ledger.clone(),
        epochs: Arc::clone(&ground.epochs),
        owner,
        data: dir.to_owned(),
        clock: Arc::clone(&ground.clock),
        entropy: ground.entropy.clone(),
    };
    Backups::new(parts, config)
}

fn treasury(ground: &Ground, node: &Arc<LightningNode>, tasks: &TaskTracker) -> Treasury {
    let (watch, control, coins): (Arc<dyn NodeWatch>, Arc<dyn NodeControl>, Arc<dyn Coins>) =
        (node.clone(), node.clone(), node.clone());
    let ledger = ground.ledger.clone();
    let clock = Arc::clone(&ground.clock);
    Treasury::new(TreasuryParts { ledger, node: watch, control, coins, clock, tasks: tasks.clone() })
}

/// Where applications' holds wait for their end.
fn custody(ground: &Ground) -> Arc<Custody> {
    Custody::new(CustodyLimits::default(), Arc::clone(&ground.clock), ground.entropy.clone())
}
