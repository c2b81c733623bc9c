//! Two bare nodes on a chain in the box, each with its file of channel state, to lose and recover.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use bitcoin::{Address, Amount, Network};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tollhouse::clock::{Clock, SystemClock, SystemEntropy};
use tollhouse::node::config::{ChainSource, GossipSource, NodeConfig, RpcAuth};
use tollhouse::node::{LightningNode, MonitoredChannel, NodeSeed, belongs_in_snapshot, node_id};
use tollhouse::ports::{
    InvoiceAsk, KeyValue, KvKey, Minter, NodeControl, NodeEvents, NodeWatch, OpenAsk, Outgoing, Payer,
};
use tollhouse::rescue::{self, Found, Keeper, Place, Recovery};
use tollhouse::sandbox::chain::Chain;
use tollhouse::sandbox::rpc;
use tollhouse::store::StoredBytes;
use tollhouse::types::{Msat, Preimage, Timestamp};

use crate::appliance::{PATIENCE, until};
use crate::bitcoind::free_port;

/// What the payer puts into the channel, and what it pays to the shop.
pub(super) const CHANNEL_SAT: u64 = 5_000_000;
pub(super) const PAID_SAT: u64 = 300_000;
/// What the shop has on-chain.
pub(super) const SHOP_SAT: u64 = 100_000;

pub(super) fn clock() -> Arc<SystemClock> {
    SystemClock::new(Timestamp::default())
}

/// A chain in the box that nodes can ask.
pub(super) struct Net {
    pub(super) chain: Chain,
    pub(super) source: ChainSource,
    pub(super) port: u16,
    stop: CancellationToken,
}

impl Net {
    pub(super) async fn start(dir: &Path) -> Net {
        let chain = Chain::open(&dir.join("chain.dat"), clock()).expect("a chain");
        chain.mine(101).expect("mined");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let stop = CancellationToken::new();
        let access = rpc::Access::new("user", "password");
        rpc::serve(listener, chain.clone(), access, stop.clone(), &TaskTracker::new());
        let auth = RpcAuth::Password { user: "user".to_owned(), password: "password".to_owned() };
        let source = ChainSource::Bitcoind { host: "127.0.0.1".to_owned(), port, auth };
        Net { chain, source, port, stop }
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

struct Running {
    node: Arc<LightningNode>,
    keeper: Arc<Keeper>,
    stop: CancellationToken,
    run: JoinHandle<()>,
}

/// One node: its folder and seed stay when it stops.
pub(super) struct Peer {
    pub(super) dir: PathBuf,
    pub(super) seed: [u8; 64],
    /// Seals its snapshots.
    pub(super) key: [u8; 32],
    pub(super) address: String,
    /// Keeps every state of its channels that there was, if set.
    pub(super) states: Option<States>,
    source: ChainSource,
    running: Option<Running>,
}

impl Peer {
    pub(super) fn new(dir: &Path, byte: u8, source: &ChainSource) -> Peer {
        std::fs::create_dir_all(dir).expect("a folder");
        let address = format!("127.0.0.1:{}", free_port());
        let (dir, source) = (dir.to_owned(), source.clone());
        Peer { dir, seed: [byte; 64], key: [byte; 32], address, states: None, source, running: None }
    }

    pub(super) fn config(&self) -> NodeConfig {
        NodeConfig {
            network: Network::Regtest,
            chain: self.source.clone().into(),
            gossip: GossipSource::P2p,
            listen: vec![self.address.clone()],
            alias: None,
            trusted_peers_no_reserve: Vec::new(),
            liquidity: tollhouse::node::config::Liquidity::default(),
        }
    }

    pub(super) fn place(&self) -> Place {
        let node_id = node_id(&NodeSeed::new(&self.seed), Network::Regtest).expect("a seed");
        let key = zeroize::Zeroizing::new(self.key);
        let second = Some(self.dir.with_extension("elsewhere"));
        Place { dir: self.dir.clone(), second, network: Network::Regtest, node_id, key }
    }

    /// Starts it on the channel state in its folder; gives it as soon as it tries.
    pub(super) fn start(&mut self) -> Arc<LightningNode> {
        let opened = rescue::open(self.place(), clock(), SystemEntropy::new()).expect("it opens");
        let (seed, entropy) = (NodeSeed::new(&self.seed), SystemEntropy::new());
        let store: Arc<dyn KeyValue> = match &self.states {
            Some(states) => Arc::new(Recording { store: opened.store, states: states.clone() }),
            None => opened.store,
        };
        let node = LightningNode::new(self.config(), seed, store, clock(), entropy).expect("a node");
        if let Some(why) = opened.barred {
            node.bar(why);
        }
        let (stop, keeper) = (CancellationToken::new(), opened.keeper);
        let tasks = TaskTracker::new();
        let run = tasks.spawn(node.clone().run(stop.clone()));
        tasks.spawn(keeper.clone().run(stop.clone()));
        tasks.spawn(drain(Arc::downgrade(&node)));
        self.running = Some(Running { node: node.clone(), keeper, stop, run });
        node
    }

    pub(super) async fn up(&mut self) -> Arc<LightningNode> {
        let node = self.start();
        tokio::time::timeout(PATIENCE, node.ready()).await.expect("in time").expect("it runs");
        self.running.as_ref().expect("it runs").keeper.came_up();
        node
    }

    pub(super) fn node(&self) -> &Arc<LightningNode> {
        &self.running.as_ref().expect("it runs").node
    }

    /// Waits until the snapshot has every channel's newest state.
    pub(super) async fn snapshot(&self) {
        let keeper = &self.running.as_ref().expect("it runs").keeper;
        until("the snapshot", async || {
            let standing = keeper.standing().borrow().clone();
            (standing.channels > 0 && standing.behind_since.is_none()).then_some(())
        })
        .await;
    }

    pub(super) async fn stop(&mut self) {
        let Running { keeper, stop, run, node } = self.running.take().expect("it runs");
        stop.cancel();
        run.await.expect("it ends");
        keeper.last().await;
        // The node's runtime may not end inside of another.
        tokio::task::spawn_blocking(move || drop(node)).await.expect("dropped");
    }

    /// Removes files, and what SQLite keeps beside them.
    pub(super) fn lose(&self, names: &[&str]) {
        for name in names {
            for end in ["", "-wal", "-shm"] {
                let _ = std::fs::remove_file(self.dir.join(format!("{name}{end}")));
            }
        }
    }

    /// Puts channel state without a manager in place; gives what was found and what is kept of the old.
    pub(super) fn recover(&self) -> (Found, Vec<MonitoredChannel>, Option<PathBuf>) {
        let recovery = Recovery::look(self.place(), None).expect("it can be looked at");
        let seed = NodeSeed::new(&self.seed);
        let channels = recovery.channels(&seed).expect("the monitors can be read");
        let found = recovery.found().clone();
        (found, channels, recovery.rebuild(&seed, Vec::new(), clock().now()).expect("it is rebuilt"))
    }
}

/// Nobody keeps books here. Holds the node only while it takes an event.
async fn drain(node: Weak<LightningNode>) {
    loop {
        let Some(strong) = node.upgrade() else { return };
        if let Ok(event) = tokio::time::timeout(Duration::from_millis(500), strong.next_event()).await {
            eprintln!("{event:?}");
            let _ = strong.acknowledge().await;
        }
        // Dropped where a runtime may end, should it be the last.
        let _ = tokio::task::spawn_blocking(move || drop(strong)).await;
    }
}

/// Gives a node coins.
pub(super) async fn fund(world: &Net, node: &LightningNode, sat: u64) {
    let address: Address<_> = node.new_address().await.expect("an address").parse().expect("an address");
    let address = address.require_network(Network::Regtest).expect("of regtest");
    world.chain.faucet_send(&address, Amount::from_sat(sat)).expect("sent");
    world.chain.mine(1).expect("mined");
    let funded = async || {
        node.sync().await.ok()?;
        (node.view().await.onchain_spendable_sat >= sat).then_some(())
    };
    until("coins", funded).await;
}

/// A shop and a payer with a channel, in which the shop has [`PAID_SAT`].
pub(super) struct World {
    pub(super) net: Net,
    pub(super) shop: Peer,
    pub(super) payer: Peer,
    pub(super) _dir: TempDir,
}

impl World {
    pub(super) async fn start() -> World {
        let dir = TempDir::new().expect("a folder");
        let net = Net::start(dir.path()).await;
        let shop = Peer::new(&dir.path().join("shop"), 7, &net.source);
        World::of(dir, net, shop).await
    }

    /// The same with this shop.
    pub(super) async fn of(dir: TempDir, net: Net, mut shop: Peer) -> World {
        let mut payer = Peer::new(&dir.path().join("payer"), 8, &net.source);
        shop.up().await;
        payer.up().await;
        fund(&net, shop.node(), SHOP_SAT).await;
        fund(&net, payer.node(), 2 * CHANNEL_SAT).await;
        let world = World { net, shop, payer, _dir: dir };
        world.open().await;
        world.pay().await;
        world
    }

    async fn open(&self) {
        let (shop, payer) = (self.shop.node(), self.payer.node());
        // The shop knows where the payer lives, as it does of a peer that it chose.
        shop.connect(&payer.node_id(), &self.payer.address).await.expect("connected");
        let ask = OpenAsk {
            peer: shop.node_id(),
            address: self.shop.address.clone(),
            amount_sat: CHANNEL_SAT,
            push: Msat::ZERO,
            announce: false,
        };
        payer.open_channel(ask).await.expect("it opens");
        until("the funding", async || (!self.net.chain.mempool_txids().is_empty()).then_some(())).await;
        self.net.chain.mine(6).expect("mined");
    }

    /// The payer pays the shop.
    pub(super) async fn pay(&self) {
        pay(self.shop.node(), self.payer.node()).await;
    }

    pub(super) async fn end(mut self) {
        self.shop.stop().await;
        self.payer.stop().await;
    }

    /// Mines and syncs until the shop's wallet has what it must have.
    pub(super) async fn comes_home(&self, at_least_sat: u64) {
        let shop = self.shop.node();
        until("the coins to come home", async || {
            self.net.chain.mine(1).expect("mined");
            let _ = shop.sync().await;
            let _ = self.payer.node().sync().await;
            let view = shop.view().await;
            (view.onchain_spendable_sat >= at_least_sat).then_some(())
        })
        .await;
    }
}

/// The payer pays the shop [`PAID_SAT`]; gives the proof.
pub(super) async fn pay(shop: &LightningNode, payer: &LightningNode) -> Preimage {
    let ask = InvoiceAsk {
        amount: Msat::from_sat(PAID_SAT).expect("an amount"),
        description: "goods".to_owned(),
        expiry: Duration::from_secs(600),
    };
    let minted = until("an invoice", async || {
        shop.sync().await.ok()?;
        payer.sync().await.ok()?;
        shop.mint(&ask).ok()
    })
    .await;
    // After a restart the peers meet again first, and the payer may take a channel for usable whose peer
    // has just left: what could not leave, or came back, leaves again. Its hash keeps it one payment.
    let most = Msat::from_sat(1_000).expect("an amount");
    until("the end of the payment", async || match payer.outgoing(minted.payment_hash).await {
        Outgoing::Succeeded { preimage, .. } => Some(preimage),
        Outgoing::Pending | Outgoing::Away => None,
        Outgoing::Unknown | Outgoing::Failed => {
            let _ = payer.send(&minted.bolt11, most).await;
            None
        }
    })
    .await
}

/// What a snapshot would have had, after each change of a channel.
pub(super) type States = Arc<Mutex<Vec<Vec<StoredBytes>>>>;

/// A node's store that keeps every state of its channels.
struct Recording {
    store: Arc<dyn KeyValue>,
    states: States,
}

impl Recording {
    fn changed(&self, key: &KvKey<'_>, value: Option<&[u8]>) {
        let mut states = self.states.lock().expect("one at a time");
        let mut rows = states.last().cloned().unwrap_or_default();
        let same = |row: &StoredBytes| {
            (&*row.primary, &*row.secondary, &*row.key) == (key.primary, key.secondary, key.key)
        };
        rows.retain(|row| !same(row));
        rows.extend(value.map(|value| StoredBytes {
            primary: key.primary.to_owned(),
            secondary: key.secondary.to_owned(),
            key: key.key.to_owned(),
            value: value.to_owned(),
        }));
        states.push(rows);
    }
}

impl KeyValue for Recording {
    fn read(&self, key: &KvKey<'_>) -> io::Result<Option<Vec<u8>>> {
        self.store.read(key)
    }

    fn write(&self, key: &KvKey<'_>, value: &[u8]) -> io::Result<()> {
        self.store.write(key, value)?;
        if belongs_in_snapshot(key.primary, key.secondary, key.key) {
            self.changed(key, Some(value));
        }
        Ok(())
    }

    fn remove(&self, key: &KvKey<'_>) -> io::Result<()> {
        self.store.remove(key)?;
        if belongs_in_snapshot(key.primary, key.secondary, key.key) {
            self.changed(key, None);
        }
        Ok(())
    }

    fn list(&self, primary: &str, secondary: &str) -> io::Result<Vec<String>> {
        self.store.list(primary, secondary)
    }

    fn keep_copy(&self) -> io::Result<PathBuf> {
        self.store.keep_copy()
    }
}
