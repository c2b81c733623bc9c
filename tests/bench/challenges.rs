//! Challenges a second over HTTP: computed, stored on our store, stored on the node's default store.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use ldk_node::io::sqlite_store::SqliteStore;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tollhouse::catalog::{Catalog, RouteTable, Service, Terms, Upstream};
use tollhouse::checkout::{Checkout, CheckoutConfig, CheckoutParts};
use tollhouse::clock::{Clock, SystemClock, SystemEntropy};
use tollhouse::l402::{Keyring, MasterKeys};
use tollhouse::ledger::RecentChallenges;
use tollhouse::node::config::{GossipSource, Liquidity, NodeConfig};
use tollhouse::node::{LightningNode, NodeSeed};
use tollhouse::ports::Minter;
use tollhouse::pricing::NoExchange;
use tollhouse::proxy::{self, ProxyConfig, ProxyState};
use tollhouse::sandbox::world::World;
use tollhouse::store::Ledger;
use tollhouse::types::{Msat, Timestamp};

use crate::load::challenges_per_second;
use crate::storing::{DefaultStore, StoringMinter};

/// Challenges a second, rounded.
#[derive(Serialize)]
pub(crate) struct Challenges {
    computed: f64,
    stored_on_ours: f64,
    stored_on_default: f64,
    ratio_to_ours: f64,
    ratio_to_default: f64,
}

impl fmt::Display for Challenges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Challenges a second over HTTP (16 connections, client on the same machine)")?;
        writeln!(f, "  computed, nothing stored          {:>8.0}", self.computed)?;
        let (ours, default) = (self.stored_on_ours, self.stored_on_default);
        writeln!(
            f,
            "  receive() on our WAL store        {ours:>8.0}   ours is {:.1} times faster",
            self.ratio_to_ours
        )?;
        write!(
            f,
            "  receive() on the default store    {default:>8.0}   ours is {:.1} times faster",
            self.ratio_to_default
        )
    }
}

/// Measures the three, one after the other.
pub(crate) async fn measure(world: &World, folder: &Path) -> Result<Challenges> {
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let bench = Bench { folder, stop: &stop, tasks: &tasks };
    let shop = Arc::clone(world.shop.node());
    let computed = bench.of("computed", shop.clone()).await?;
    let stored_on_ours = bench.of("ours", Arc::new(StoringMinter(shop))).await?;

    let store = SqliteStore::new(folder.join("default"), Some("node.db".to_owned()), None)
        .map_err(|error| anyhow::anyhow!("the default store: {error}"))?;
    let config = NodeConfig {
        network: bitcoin::Network::Regtest,
        chain: world.chain_source.clone().into(),
        gossip: GossipSource::P2p,
        listen: Vec::new(),
        alias: None,
        trusted_peers_no_reserve: Vec::new(),
        liquidity: Liquidity::default(),
    };
    let store = Arc::new(DefaultStore(store));
    let node = LightningNode::new(config, NodeSeed::new(&[7; 64]), store, clock(), SystemEntropy::new())?;
    tasks.spawn(Arc::clone(&node).run(stop.clone()));
    node.ready().await?;
    let stored_on_default = bench.of("default", Arc::new(StoringMinter(node))).await?;
    stop.cancel();
    tasks.close();
    tasks.wait().await;
    Ok(Challenges {
        computed,
        stored_on_ours,
        stored_on_default,
        ratio_to_ours: computed / stored_on_ours,
        ratio_to_default: computed / stored_on_default,
    })
}

pub(crate) fn clock() -> Arc<dyn Clock> {
    SystemClock::new(Timestamp::default())
}

struct Bench<'a> {
    folder: &'a Path,
    stop: &'a CancellationToken,
    tasks: &'a TaskTracker,
}

impl Bench<'_> {
    /// The same gateway with another source of invoices.
    async fn of(&self, name: &str, minter: Arc<dyn Minter>) -> Result<f64> {
        let state = gateway(&self.folder.join(format!("{name}.db")), minter, self.tasks)?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let router = proxy::router(state).into_make_service_with_connect_info::<SocketAddr>();
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
            served.await.expect("a local listener serves")
        });
        challenges_per_second(address).await.with_context(|| format!("the gateway `{name}`"))
    }
}

/// A gateway that sells one service; nobody asks too often.
pub(crate) fn gateway(ledger: &Path, minter: Arc<dyn Minter>, tasks: &TaskTracker) -> Result<ProxyState> {
    let (ledger, _) = Ledger::open(ledger, clock())?;
    let parts = CheckoutParts {
        catalog: Arc::new(Catalog::new(RouteTable::new(vec![service()?])?)),
        keys: Keyring::new(MasterKeys::new(1, [(1, [3; 32])])?),
        ledger,
        minter,
        exchange: Arc::new(NoExchange),
        recent: Arc::new(RecentChallenges::new(16_384)),
        clock: clock(),
        entropy: SystemEntropy::new(),
        cut: CancellationToken::new(),
    };
    let checkout = Checkout::new(parts, CheckoutConfig::default());
    Ok(ProxyState::new(checkout, ProxyConfig::default(), tasks.clone())?)
}

fn service() -> Result<Service> {
    let upstream = Upstream::at("http://127.0.0.1:9/".parse()?);
    Ok(Service::new("sample".parse()?, "/v1", Terms::fixed(Msat::from_sat(5)?), upstream))
}
