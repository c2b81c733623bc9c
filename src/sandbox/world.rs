//! The whole world in one process: a chain, a shop with its gate, a payer with a channel to it, and
//! an API to sell.
//!
//! Both nodes are [`Appliance`]s, started through the same code as in production. Set-up waits on
//! what the nodes report, never on a guess of how long it takes.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::chain::Chain;
use super::customer::Purse;
use super::{miner, rpc, sample_api};
use crate::app::{Appliance, Blueprint, take_dir};
use crate::backup::BackupConfig;
use crate::catalog::spec::Spec;
use crate::clock::{Clock, SystemClock, SystemEntropy};
use crate::config::Entrance;
use crate::egress::Reach;
use crate::node::config::{ChainSource, GossipSource, Liquidity, NodeConfig, RpcAuth};
use crate::node::{LightningNode, NodeState};
use crate::ports::{InvoiceAsk, Minter, NodeControl, NodeView, NodeWatch, OpenAsk};
use crate::rates::RatesConfig;
use crate::secrets::Secrets;
use crate::store::{DirLock, WalletLimits};
use crate::types::{Msat, Timestamp};
use crate::upkeep::FileRules;
use crate::watchman::AlarmLimits;
use crate::web::{Configuration, LogTail, keys};

const RPC_USER: &str = "tollhouse";

/// The channel that the payer opens, satoshi: enough for a day of `demo traffic`.
const CHANNEL_SAT: u64 = 10_000_000;

/// What the payer gets to spend on-chain, satoshi.
const PAYER_COINS_SAT: u64 = 50_000_000;

/// What the shop gets: the reserve that an anchor channel wants, and some to spare.
const SHOP_COINS_SAT: u64 = 1_000_000;

/// What the shop gets of it, satoshi: what LDK has each side of a channel keep back, a hundredth. All that is
/// earned can be paid out then, from the first sale on.
const RESERVE_SAT: u64 = CHANNEL_SAT / 100;

/// What opening costs besides, satoshi: fees, and the reserve for closing it.
const CHANNEL_COSTS_SAT: u64 = 100_000;

/// What the payer lends to clients that have no node: enough to try everything, satoshi.
const WALLET_DAY_SAT: u64 = 100_000;
const WALLET_PAYMENT_SAT: u64 = 10_000;
const WALLET_LABEL: &str = "demo wallet";

/// A channel that is alive is usable this long after its peers met.
const REUNION: Duration = Duration::from_secs(10);

/// How often a channel is tried to be opened.
const OPENING_TRIES: u32 = 10;

/// How often the set-up looks whether the nodes saw what it waits for.
const LOOK: Duration = Duration::from_millis(100);

/// The set-up gives up after this long.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a bitcoin costs in the box: prices in dollars can be tried, and nobody is asked.
const DOLLARS_PER_BTC: u32 = 64_000;
/// The dearest thing that the sample API sells costs less.
const LARGEST_PRICE_SAT: u64 = 2_000;

/// What the sandbox is asked for.
pub struct WorldAsk<'a> {
    /// The folder that holds the world.
    pub dir: &'a Path,
    /// The gateway's socket, bound.
    pub gateway: TcpListener,
    /// The admin socket, bound.
    pub admin: TcpListener,
    /// Told what is being done, in a few words.
    pub progress: &'a (dyn Fn(&str) + Sync),
}

/// A running world.
pub struct World {
    /// The chain.
    pub chain: Chain,
    /// Sells.
    pub shop: Appliance,
    /// Buys.
    pub payer: Appliance,
    /// Where both nodes read the chain; a third one may, too.
    pub chain_source: ChainSource,
    /// The key of a wallet of the payer's, as a client of LND's REST interface sends its macaroon.
    pub wallet_macaroon: String,
    stop: CancellationToken,
    tasks: TaskTracker,
    _lock: DirLock,
}

impl World {
    /// Sets the world up, or wakes the one that lies in the folder.
    ///
    /// # Errors
    /// When a step fails or takes too long; the text names it.
    pub async fn start(ask: WorldAsk<'_>) -> Result<World> {
        World::start_logged(ask, LogTail::default()).await
    }

    /// The same; the shop's page shows the end of the log in `log`.
    ///
    /// # Errors
    /// As [`World::start`].
    pub async fn start_logged(ask: WorldAsk<'_>, log: LogTail) -> Result<World> {
        // Before the chain's file is touched: two miners on one file would ruin it.
        let lock = take_dir(ask.dir)?;
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let clock: Arc<dyn Clock> = SystemClock::new(Timestamp::default());
        (ask.progress)("mining a regtest chain");
        let chain = open_chain(ask.dir, clock).await?;
        let chain_source = serve_rpc(&chain, &stop, &tasks).await?;
        let upstream = serve_sample_api(&stop, &tasks).await?;
        let (waits, waiting) = watch::channel(false);
        tasks.spawn(miner::mine(chain.clone(), waiting, stop.clone()));

        (ask.progress)("starting two Lightning nodes");
        let woken = ask.dir.join("payer").exists();
        let shop_port = kept_port(&ask.dir.join("shop.port"))?;
        let payer_port = free_port()?;
        let purse = Arc::new(Purse::default());
        let shop_plan = Blueprint {
            stock: vec![sample_service(upstream)?],
            customer: Some(purse.clone()),
            log,
            ..blueprint(
                ask.dir.join("shop"),
                chain_source.clone(),
                shop_port,
                "tollhouse-demo",
                ask.gateway,
                ask.admin,
            )?
        };
        let payer_plan = blueprint(
            ask.dir.join("payer"),
            chain_source.clone(),
            payer_port,
            "payer",
            any().await?,
            any().await?,
        )?;
        let shop = start(shop_plan).await.context("the shop did not start")?;
        if woken {
            // The payer calls the shop as soon as it is up: somebody should be at home.
            let up = tokio::time::timeout(PATIENCE, ready(shop.node())).await;
            up.context("the shop took too long")??;
        }
        let payer = start(payer_plan).await.context("the payer did not start")?;
        let place = format!("{}@127.0.0.1:{payer_port}", payer.node().node_id());
        purse.open(Arc::clone(payer.outbox()), payer.node().clone(), place);
        let wallet_macaroon = open_wallet(&payer).await.context("the payer has no wallet to lend")?;
        let world = World { chain, shop, payer, chain_source, wallet_macaroon, stop, tasks, _lock: lock };
        let set_up = tokio::time::timeout(PATIENCE, world.set_up(&waits, shop_port, ask.progress)).await;
        let outcome =
            set_up.unwrap_or_else(|_| bail!("the world was not ready within {} s", PATIENCE.as_secs()));
        match outcome {
            Ok(()) => {
                world.tasks.spawn(watch_channels(
                    Arc::clone(world.payer.node()),
                    Arc::clone(world.shop.node()),
                    waits,
                    world.stop.clone(),
                ));
                Ok(world)
            }
            Err(error) => {
                world.stop().await;
                Err(error)
            }
        }
    }

    /// The peers' reunion when a channel is there already; otherwise coins and a channel. A kept world
    /// may have lost its channel: after a kill LDK closes what it is not sure of.
    async fn set_up(
        &self,
        waits: &watch::Sender<bool>,
        shop_port: u16,
        progress: &(dyn Fn(&str) + Sync),
    ) -> Result<()> {
        let (shop, payer) = (self.shop.node(), self.payer.node());
        ready(shop).await?;
        ready(payer).await?;
        let address = format!("127.0.0.1:{shop_port}");
        waits.send_replace(true);
        let kept = !payer.view().await.channels.is_empty();
        if kept {
            progress("waking the channel");
        }
        if !kept || !self.wake(&address).await {
            progress("funding both wallets");
            self.funded(shop, SHOP_COINS_SAT / 2, SHOP_COINS_SAT).await?;
            self.funded(payer, CHANNEL_SAT + CHANNEL_COSTS_SAT, PAYER_COINS_SAT).await?;
            progress("opening a channel from the payer to the shop");
            self.open(&address).await.context("the channel could not be opened")?;
        }
        progress("waiting until the channel can carry payments");
        seen(payer, |view| view.channels.iter().any(|channel| channel.usable)).await?;
        let price = InvoiceAsk {
            amount: Msat::from_sat(LARGEST_PRICE_SAT)?,
            description: "a first look".to_owned(),
            expiry: Duration::from_secs(60),
        };
        seen(shop, |_| shop.mint(&price).is_ok()).await?;
        waits.send_replace(false);
        Ok(())
    }

    /// Brings the nodes together again; false when they share no channel any more, or none that can be
    /// used within [`REUNION`]: it is closing, then.
    async fn wake(&self, address: &str) -> bool {
        let (shop, payer) = (self.shop.node(), self.payer.node());
        let reunion = async {
            loop {
                if let Err(error) = payer.connect(&shop.node_id(), address).await {
                    tracing::warn!(%error, "the payer could not reach the shop yet");
                }
                let (ours, theirs) = (payer.view().await.channels, shop.view().await.channels);
                if ours.iter().any(|channel| channel.usable) {
                    return true;
                }
                let shared = |id: &str| theirs.iter().any(|channel| channel.channel_id == id);
                if !ours.iter().any(|channel| shared(&channel.channel_id)) {
                    return false;
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(REUNION, reunion).await.unwrap_or(false)
    }

    /// Opens a channel; the end of an older one may take the connection with it, so more than once.
    async fn open(&self, address: &str) -> Result<()> {
        let (shop, payer) = (self.shop.node(), self.payer.node());
        let mut tries = OPENING_TRIES;
        loop {
            let opened = payer.open_channel(OpenAsk {
                peer: shop.node_id(),
                address: address.to_owned(),
                amount_sat: CHANNEL_SAT,
                push: Msat::from_sat(RESERVE_SAT)?,
                announce: false,
            });
            let Err(error) = opened.await else { return Ok(()) };
            tries -= 1;
            if tries == 0 {
                return Err(error.into());
            }
            tracing::warn!(%error, "the channel could not be opened yet");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Sees to it that the node can spend `wanted` satoshi; gives it `coins` when it cannot.
    async fn funded(&self, node: &LightningNode, wanted: u64, coins: u64) -> Result<()> {
        node.sync().await.context("the node could not read the chain")?;
        if node.view().await.onchain_spendable_sat < wanted {
            self.fund(node, coins).await?;
            self.chain.mine(1).context("a block could not be mined")?;
            seen(node, |view| view.onchain_spendable_sat >= wanted).await?;
        }
        Ok(())
    }

    async fn fund(&self, node: &LightningNode, sat: u64) -> Result<()> {
        let address = node.new_address().await.context("the wallet gave no address")?;
        let address = address.parse::<bitcoin::Address<_>>()?.require_network(bitcoin::Network::Regtest)?;
        self.chain
            .faucet_send(&address, bitcoin::Amount::from_sat(sat))
            .context("the faucet could not send")?;
        Ok(())
    }

    /// Ends everything in order: the payer, the shop, the chain.
    pub async fn stop(self) {
        self.payer.stop().await;
        self.shop.stop().await;
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// A wallet of the payer's for this run: keys are shown once, so an earlier run's is useless.
async fn open_wallet(payer: &Appliance) -> Result<String> {
    let ledger = payer.ledger();
    for old in ledger.list_api_keys().await?.iter().filter(|key| key.label == WALLET_LABEL) {
        ledger.revoke_api_key(old.id).await?;
    }
    let limits = WalletLimits {
        per_day: Msat::from_sat(WALLET_DAY_SAT)?,
        per_payment: Msat::from_sat(WALLET_PAYMENT_SAT)?,
    };
    let made = keys::create_wallet(ledger, SystemEntropy::new().as_ref(), WALLET_LABEL, limits).await?;
    Ok(made.key.as_macaroon())
}

/// The box's coins are worth nothing: its seeds open by themselves.
async fn start(plan: Blueprint) -> Result<Appliance> {
    let (dir, network) = (plan.data_dir.join(plan.node.network.to_string()), plan.node.network);
    let opening = tokio::task::spawn_blocking(move || {
        Secrets::load_or_create(&dir, network, SystemEntropy::new().as_ref())
    });
    Appliance::start(plan, opening.await??).await
}

async fn ready(node: &LightningNode) -> Result<()> {
    node.ready().await.context("a node did not come up")
}

/// Waits until the node sees what `wanted` looks for, with the chain's newest block in view.
async fn seen(node: &LightningNode, wanted: impl Fn(&NodeView) -> bool) -> Result<()> {
    loop {
        if wanted(&node.view().await) {
            return Ok(());
        }
        node.sync().await.context("the node could not read the chain")?;
        if wanted(&node.view().await) {
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Says to the miner whether a channel waits for confirmations.
async fn watch_channels(
    payer: Arc<LightningNode>,
    shop: Arc<LightningNode>,
    waits: watch::Sender<bool>,
    stop: CancellationToken,
) {
    let running =
        || *payer.state().borrow() == NodeState::Running && *shop.state().borrow() == NodeState::Running;
    while running() {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
        let waiting = |view: &NodeView| view.channels.iter().any(|channel| !channel.ready);
        let now = waiting(&payer.view().await) || waiting(&shop.view().await);
        waits.send_if_modified(|before| std::mem::replace(before, now) != now);
    }
}

async fn open_chain(dir: &Path, clock: Arc<dyn Clock>) -> Result<Chain> {
    let path = dir.join("chain.dat");
    let opened = tokio::task::spawn_blocking(move || -> Result<Chain> {
        let chain = Chain::open(&path, clock).with_context(|| format!("the chain in {}", path.display()))?;
        if chain.height() == 0 {
            // The first coinbase matures, so that the faucet has coins.
            chain.mine(101)?;
        }
        Ok(chain)
    });
    opened.await.context("the chain could not be opened")?
}

async fn serve_rpc(chain: &Chain, stop: &CancellationToken, tasks: &TaskTracker) -> Result<ChainSource> {
    use crate::clock::Entropy;
    let listener = any().await?;
    let port = listener.local_addr()?.port();
    let mut secret = [0u8; 16];
    SystemEntropy::new().fill(&mut secret);
    let password = hex::encode(secret);
    rpc::serve(listener, chain.clone(), rpc::Access::new(RPC_USER, &password), stop.clone(), tasks);
    let auth = RpcAuth::Password { user: RPC_USER.to_owned(), password };
    Ok(ChainSource::Bitcoind { host: "127.0.0.1".to_owned(), port, auth })
}

async fn serve_sample_api(stop: &CancellationToken, tasks: &TaskTracker) -> Result<SocketAddr> {
    let listener = any().await?;
    let address = listener.local_addr()?;
    let stop = stop.clone();
    tasks.spawn(async move {
        let served =
            axum::serve(listener, sample_api::router()).with_graceful_shutdown(stop.cancelled_owned());
        if let Err(error) = served.await {
            tracing::warn!(%error, "the sample API ended");
        }
    });
    Ok(address)
}

async fn any() -> Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("no free port on 127.0.0.1")
}

/// A port that was free a moment ago: the node binds it itself and cannot be handed a socket.
fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// The port of the last time, where the payer looks for the shop; another when somebody has it now.
fn kept_port(file: &Path) -> Result<u16> {
    let last = std::fs::read_to_string(file).ok().and_then(|text| text.trim().parse::<u16>().ok());
    let free = last.filter(|port| std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok());
    let port = free.map_or_else(free_port, Ok)?;
    std::fs::write(file, port.to_string()).with_context(|| file.display().to_string())?;
    Ok(port)
}

fn blueprint(
    data_dir: PathBuf,
    chain: ChainSource,
    port: u16,
    alias: &str,
    gateway: TcpListener,
    admin: TcpListener,
) -> Result<Blueprint> {
    let lock = take_dir(&data_dir)?;
    Ok(Blueprint {
        data_dir,
        lock,
        snapshot_dir: None,
        node: NodeConfig {
            network: bitcoin::Network::Regtest,
            chain: chain.into(),
            gossip: GossipSource::P2p,
            listen: vec![format!("127.0.0.1:{port}")],
            alias: Some(alias.to_owned()),
            trusted_peers_no_reserve: Vec::new(),
            liquidity: Liquidity::default(),
        },
        gateway,
        admin,
        forward_auth: None,
        allowed_hosts: Vec::new(),
        public_url: None,
        entrance: Entrance::default(),
        tls: None,
        backup: BackupConfig::default(),
        // A world in a box calls nobody.
        alarms: AlarmLimits { settling: Duration::from_secs(120), ..AlarmLimits::default() },
        rates: RatesConfig::fixed("USD".parse()?, DOLLARS_PER_BTC.into()),
        payouts: Reach::Private,
        rules: FileRules::default(),
        services: Vec::new(),
        stock: Vec::new(),
        variables: Box::new(|_| None),
        customer: None,
        configuration: Configuration::default(),
        log: LogTail::default(),
        claim: None,
    })
}

/// What the sandbox sells, as an operator would write it.
const SAMPLE_SERVICE: &str = include_str!("../../templates/sample_service.toml");

fn sample_service(upstream: SocketAddr) -> Result<Spec> {
    let mut file: Value = toml::from_str(SAMPLE_SERVICE)?;
    let (mut spec, shape) = Spec::read(&file["service"][0].take());
    spec.upstream = Some(format!("http://{upstream}/"));
    match shape.first() {
        None => Ok(spec),
        Some(fault) => Err(anyhow!("the sample service: {fault}")),
    }
}
