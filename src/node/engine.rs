//! One running LDK node on a runtime of its own.
//!
//! Why its own: the library waits for disk and peers by blocking the caller's runtime, and the gate
//! must not feel it. Every call goes through [`Engine::call`]; the engine is stopped before its
//! runtime ends.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ldk_node::bitcoin::secp256k1::PublicKey;
use ldk_node::config::{BackgroundSyncConfig, ElectrumSyncConfig, EsploraSyncConfig};
use ldk_node::lightning::ln::channelmanager::PaymentId;
use ldk_node::lightning::ln::msgs::SocketAddress;
use ldk_node::lightning::routing::router::RouteParametersConfig;
use ldk_node::lightning_invoice::Bolt11Invoice;
use ldk_node::payment::{PaymentKind, PaymentStatus};
use ldk_node::{BuildError, Builder, ChannelDetails, DynStore, Node, NodeError};
use thiserror::Error;
use tokio::runtime::Runtime;

use super::config::{ChainSource, GossipSource, Liquidity, Lsp, NodeConfig};
use super::keys::NodeSeed;
use super::log::TracingLog;
use super::mint::Doors;
use super::repeats::Beginnings;
use super::storage::{Fence, LdkStorage};
use super::unsent::Unsent;
use super::view;
use crate::ports::{CloseHow, KeyValue, NodeFault, OpenAsk, Outgoing, SendFault};
use crate::types::{Msat, PaymentHash, Preimage};

const RUNTIME_GRACE: Duration = Duration::from_secs(5);

/// A server is asked this often; the library refuses less than 10 s.
const SERVER_SYNC: BackgroundSyncConfig = BackgroundSyncConfig {
    onchain_wallet_sync_interval_secs: 10,
    lightning_wallet_sync_interval_secs: 10,
    fee_rate_cache_update_interval_secs: 600,
};

/// Why a node did not come up.
#[derive(Debug, Error)]
pub(super) enum EngineFault {
    /// A setting is wrong; trying again will not help.
    #[error("{0}")]
    Setting(String),
    /// The stored channel state could not be read (MONEY rule 15).
    #[error("the stored channel state could not be read")]
    Unreadable,
    /// It may work later.
    #[error("{0}")]
    Passing(String),
}

/// A started node.
pub(super) struct Engine {
    node: Arc<Node>,
    runtime: Mutex<Option<Runtime>>,
    handle: tokio::runtime::Handle,
    beginnings: Mutex<Beginnings>,
    fence: Fence,
    login: Option<[u8; 32]>,
}

impl Engine {
    /// What the library logs in to its bitcoind with ([`ChainSource::login_mark`]): it keeps that for its life.
    pub(super) const fn login(&self) -> Option<[u8; 32]> {
        self.login
    }

    /// Builds and starts a node. Blocks; call it outside any runtime's workers.
    pub(super) fn start(
        config: &NodeConfig,
        source: &ChainSource,
        seed: &NodeSeed,
        store: Arc<dyn KeyValue>,
        unsent: Arc<Unsent>,
    ) -> Result<Engine, EngineFault> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("node")
            .enable_all()
            .build()
            .map_err(|error| EngineFault::Passing(format!("the node's runtime did not start: {error}")))?;
        let handle = runtime.handle().clone();
        let (storage, fence) = LdkStorage::fenced(Arc::clone(&store));
        // Before the library reads it: one that changes in between is seen as changed.
        let login = source.login_mark();
        let built = (|| {
            let mut builder = builder_for(config, source, seed, unsent)?;
            builder.set_runtime(handle.clone());
            let beginnings = Beginnings::on(&*store).map_err(|error| {
                EngineFault::Passing(format!("the node's store could not be read: {error}"))
            })?;
            let store: Arc<DynStore> = Arc::new(storage);
            let node = builder.build_with_store(store).map_err(build_fault)?;
            let _inside = handle.enter();
            node.start().map_err(|error| EngineFault::Passing(format!("the node did not start: {error}")))?;
            Ok((node, beginnings))
        })();
        match built {
            Ok((node, beginnings)) => Ok(Engine {
                node: Arc::new(node),
                runtime: Mutex::new(Some(runtime)),
                handle,
                beginnings: Mutex::new(beginnings),
                fence,
                login,
            }),
            Err(fault) => {
                fence.shut();
                runtime.shutdown_timeout(RUNTIME_GRACE);
                Err(fault)
            }
        }
    }

    /// Runs `work` where blocking is allowed.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Node) -> T + Send + 'static,
    ) -> Result<T, NodeFault> {
        let node = Arc::clone(&self.node);
        let done = self.handle.spawn_blocking(move || work(&node)).await;
        done.map_err(|_| NodeFault("the node is stopping".to_owned()))
    }

    /// Runs `work`, which waits for the network, on the node's runtime.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, NodeFault> {
        let done = self.handle.spawn(work).await;
        done.map_err(|_| NodeFault("the node is stopping".to_owned()))
    }

    /// Where it begins to repeat what was told before.
    pub(super) fn beginnings(&self) -> MutexGuard<'_, Beginnings> {
        self.beginnings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The head of the event queue; waits for one.
    pub(super) async fn next_event(&self) -> ldk_node::Event {
        self.node.next_event_async().await
    }

    /// Stops the node, then its runtime. Blocks for as long as LDK's shutdown takes.
    pub(super) async fn stop(&self) {
        if let Ok(Err(error)) = self.call(Node::stop).await {
            tracing::warn!(%error, "the node did not stop in order");
        }
        // Before the next engine is built, and also when a thread of this one does not end with its runtime.
        self.fence.shut();
        let runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(runtime) = runtime {
            let ended = tokio::task::spawn_blocking(move || runtime.shutdown_timeout(RUNTIME_GRACE)).await;
            if ended.is_err() {
                tracing::warn!("the node's runtime did not end in order");
            }
        }
    }
}

/// Builds a node and throws it away, for what the library writes into the store. Blocks; `source` is asked
/// nothing where it is a server.
pub(super) fn build_only(
    config: &NodeConfig,
    source: &ChainSource,
    seed: &NodeSeed,
    store: Arc<DynStore>,
) -> Result<(), EngineFault> {
    std::thread::scope(|scope| {
        let build = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
            let runtime = runtime.map_err(|error| EngineFault::Passing(error.to_string()))?;
            let mut builder = builder_for(config, source, seed, Arc::default())?;
            builder.set_runtime(runtime.handle().clone());
            let built = builder.build_with_store(store).map(drop).map_err(build_fault);
            runtime.shutdown_timeout(RUNTIME_GRACE);
            built
        });
        build.join().unwrap_or(Err(EngineFault::Unreadable))
    })
}

fn builder_for(
    config: &NodeConfig,
    source: &ChainSource,
    seed: &NodeSeed,
    unsent: Arc<Unsent>,
) -> Result<Builder, EngineFault> {
    let mut settings = ldk_node::config::Config { network: config.network, ..Default::default() };
    if let Some(anchors) = settings.anchor_channels_config.as_mut() {
        for text in &config.trusted_peers_no_reserve {
            let peer: PublicKey = text.parse().map_err(|_| {
                EngineFault::Setting(format!(
                    "lightning.trusted_peers_no_reserve: `{text}` is not a public key"
                ))
            })?;
            anchors.trusted_peers_no_reserve.push(peer);
        }
    }
    let Liquidity { just_in_time, orders } = &config.liquidity;
    let just_in_time = just_in_time.as_ref().map(|just_in_time| &just_in_time.lsp);
    for lsp in just_in_time.into_iter().chain(orders) {
        // Who has no coins yet could not reserve any for the anchor channel that it is given.
        if let Some(anchors) = settings.anchor_channels_config.as_mut() {
            anchors.trusted_peers_no_reserve.push(lsp_key(lsp)?);
        }
    }
    let mut builder = Builder::from_config(settings);
    // The library takes channels of these without confirmations (`trusted_peers_0conf`).
    if let Some(lsp) = just_in_time {
        builder.set_liquidity_source_lsps2(lsp_key(lsp)?, address(&lsp.address)?, lsp.token.clone());
    }
    if let Some(lsp) = orders {
        builder.set_liquidity_source_lsps1(lsp_key(lsp)?, address(&lsp.address)?, lsp.token.clone());
    }
    builder.set_entropy_seed_bytes(**seed.0);
    builder.set_custom_logger(Arc::new(TracingLog::new(config.network, unsent)));
    if !config.listen.is_empty() {
        let addresses: Result<Vec<SocketAddress>, EngineFault> =
            config.listen.iter().map(|at| address(at)).collect();
        builder
            .set_listening_addresses(addresses?)
            .map_err(|_| EngineFault::Setting("lightning.listen: too many addresses".to_owned()))?;
    }
    if let Some(alias) = &config.alias {
        builder
            .set_node_alias(alias.clone())
            .map_err(|_| EngineFault::Setting("lightning.alias: at most 32 bytes".to_owned()))?;
    }
    match source {
        ChainSource::Bitcoind { host, port, auth } => {
            let (user, password) = auth
                .credentials()
                .map_err(|error| EngineFault::Passing(format!("bitcoind's cookie: {error}")))?;
            builder.set_chain_source_bitcoind_rpc(host.clone(), *port, user, password);
        }
        ChainSource::Esplora { url } => {
            let sync = EsploraSyncConfig { background_sync_config: Some(SERVER_SYNC) };
            builder.set_chain_source_esplora(url.clone(), Some(sync));
        }
        ChainSource::Electrum { url } => {
            let sync = ElectrumSyncConfig { background_sync_config: Some(SERVER_SYNC) };
            builder.set_chain_source_electrum(url.clone(), Some(sync));
        }
    }
    match &config.gossip {
        GossipSource::P2p => builder.set_gossip_source_p2p(),
        GossipSource::RapidSync { url } => builder.set_gossip_source_rgs(url.clone()),
    };
    Ok(builder)
}

fn lsp_key(lsp: &Lsp) -> Result<PublicKey, EngineFault> {
    lsp.node
        .parse()
        .map_err(|_| EngineFault::Setting(format!("liquidity: `{}` is not a public key", lsp.node)))
}

fn build_fault(error: BuildError) -> EngineFault {
    match error {
        BuildError::ReadFailed | BuildError::InvalidChannelMonitor => EngineFault::Unreadable,
        BuildError::NetworkMismatch => EngineFault::Setting(
            "network: the data directory belongs to a node on another network".to_owned(),
        ),
        BuildError::InvalidListeningAddresses => {
            EngineFault::Setting("lightning.listen: not usable".to_owned())
        }
        other => EngineFault::Passing(format!("the node could not be built: {other}")),
    }
}

fn address(text: &str) -> Result<SocketAddress, EngineFault> {
    text.parse()
        .map_err(|_| EngineFault::Setting(format!("`{text}` is not an address of the form host:port")))
}

/// Starts paying an invoice.
pub(super) fn send(node: &Node, bolt11: &str, max_fee: Msat) -> Result<(), SendFault> {
    let invoice: Bolt11Invoice =
        bolt11.parse().map_err(|error| SendFault::Refused(format!("not a BOLT 11 invoice: {error:?}")))?;
    let limits = RouteParametersConfig::default().with_max_total_routing_fee_msat(max_fee.msat());
    match node.bolt11_payment().send(&invoice, Some(limits)) {
        Ok(_) => Ok(()),
        Err(error @ NodeError::NotRunning) => Err(SendFault::Away(error.to_string())),
        // The library sends first and notes it after: when the note fails, or a kill came between, only
        // the payment's event tells the truth.
        Err(error @ (NodeError::DuplicatePayment | NodeError::PersistenceFailed)) => {
            Err(SendFault::Uncertain(error.to_string()))
        }
        Err(error) => Err(SendFault::Refused(error.to_string())),
    }
}

/// What became of a payment of ours.
pub(super) fn outgoing(node: &Node, payment_hash: PaymentHash) -> Outgoing {
    let Some(payment) = node.payment(&PaymentId(*payment_hash.as_bytes())) else {
        return Outgoing::Unknown;
    };
    let preimage = match payment.kind {
        PaymentKind::Bolt11 { preimage: Some(preimage), .. } => Some(Preimage::from_bytes(preimage.0)),
        _ => None,
    };
    match (payment.status, preimage) {
        (PaymentStatus::Succeeded, Some(preimage)) => {
            let fee = payment.fee_paid_msat.and_then(|fee| Msat::new(fee).ok());
            Outgoing::Succeeded { preimage, fee }
        }
        (PaymentStatus::Failed, _) => Outgoing::Failed,
        (PaymentStatus::Pending | PaymentStatus::Succeeded, _) => Outgoing::Pending,
    }
}

/// The channels as doors for payments.
pub(super) fn doors(node: &Node) -> Doors {
    Doors::of(&node.list_channels())
}

/// Connects to a peer and remembers it.
pub(super) fn connect(node: &Node, peer: &str, at: &str) -> Result<(), NodeFault> {
    let at = address(at).map_err(|fault| NodeFault(fault.to_string()))?;
    node.connect(public_key(peer)?, at, true).map_err(|error| NodeFault(error.to_string()))
}

/// A node's key, as text.
pub(super) fn public_key(text: &str) -> Result<PublicKey, NodeFault> {
    text.parse().map_err(|_| NodeFault(format!("`{text}` is not a node's public key")))
}

/// Connects and starts opening a channel; gives our own id of it.
pub(super) fn open_channel(node: &Node, ask: &OpenAsk) -> Result<String, SendFault> {
    let peer = public_key(&ask.peer).map_err(|fault| SendFault::Refused(fault.0))?;
    let at = address(&ask.address).map_err(|fault| SendFault::Refused(fault.to_string()))?;
    let push = (ask.push > Msat::ZERO).then(|| ask.push.msat());
    let opened = if ask.announce {
        node.open_announced_channel(peer, at, ask.amount_sat, push, None)
    } else {
        node.open_channel(peer, at, ask.amount_sat, push, None)
    };
    match opened {
        Ok(id) => Ok(id.0.to_string()),
        // The opening has begun by then; only the peer's address could not be kept.
        Err(error @ NodeError::PersistenceFailed) => Err(SendFault::Uncertain(error.to_string())),
        Err(error @ NodeError::NotRunning) => Err(SendFault::Away(error.to_string())),
        Err(error) => Err(SendFault::Refused(error.to_string())),
    }
}

/// The channel with that id.
pub(super) fn find_channel(node: &Node, channel_id: &str) -> Result<ChannelDetails, NodeFault> {
    let channels = node.list_channels().into_iter();
    let mut fitting = channels.filter(|channel| view::id(channel) == channel_id);
    fitting.next().ok_or_else(|| NodeFault(format!("no open channel `{channel_id}`")))
}

/// Starts closing a channel.
pub(super) fn close_channel(node: &Node, channel_id: &str, how: CloseHow) -> Result<(), SendFault> {
    let channel = find_channel(node, channel_id).map_err(|fault| SendFault::Refused(fault.0))?;
    let closed = match how {
        CloseHow::Cooperative => node.close_channel(&channel.user_channel_id, channel.counterparty_node_id),
        CloseHow::Force => {
            let reason = Some("the operator asked for it".to_owned());
            node.force_close_channel(&channel.user_channel_id, channel.counterparty_node_id, reason)
        }
    };
    closed.map_err(|error| match error {
        // The close has begun by then; only the peer could not be forgotten.
        NodeError::PersistenceFailed => SendFault::Uncertain(error.to_string()),
        other => SendFault::Refused(other.to_string()),
    })
}
