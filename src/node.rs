//! The Lightning node: the only module that speaks to LDK.
//!
//! A [`LightningNode`] exists before its engine does: it answers "not ready" while no chain source is
//! there, so that the gate can be up and say so. Its engine is replaced when it moves to another source. It never reads a file or the environment for its
//! settings; [`config::NodeConfig`] tells it everything.

mod birthday;
mod chain_sources;
mod coins;
pub mod config;
mod disarm;
mod engine;
mod enquiry;
mod events;
mod fallback;
mod handover;
mod homecoming;
mod inbound;
mod kept;
mod keys;
mod life;
mod log;
mod mint;
mod monitors;
mod offers;
mod pulse;
mod repeats;
mod storage;
mod unsent;
mod view;
mod wallet_keys;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use thiserror::Error;
use tokio::sync::{Notify, watch};

use crate::chain::Sources;
use crate::clock::{Clock, Entropy};
use crate::ports::{
    BoxFuture, CannotReceive, CloseHow, InvoiceAsk, KeyValue, MintedInvoice, Minter, NodeControl, NodeEvent,
    NodeEvents, NodeFault, NodeView, NodeWatch, OfferAsk, OfferPayer, OfferPayment, OfferTerms, OpenAsk,
    Outgoing, Payer, SendFault,
};
use crate::types::{Msat, PaymentHash};
pub use birthday::{Birthday, ScanFault, Search, find_birthday, wallet_rows};
use config::NodeConfig;
pub use disarm::disarmed;
use engine::Engine;
pub use homecoming::{Homecoming, OnTheWay, Waits};
pub use kept::{MONITORS, belongs_in_snapshot, is_monitor, is_monitor_update, survives_recovery};
pub use keys::{NodeSeed, UnusableSeed, node_id};
use mint::StatelessMinter;
pub use monitors::{MonitoredChannel, UnreadableMonitors, monitored_channels};
use unsent::Unsent;

/// Where the node stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// Not up yet; the text says what it waits for.
    Starting(String),
    /// Up.
    Running,
    /// It will not come up by itself; the text says what to do.
    Failed(String),
    /// Stopped in order.
    Stopped,
}

/// What the last turn saw of the chain sources.
#[derive(Clone, Debug, Default)]
struct ChainSeen {
    unheard_for: Duration,
    answers: Vec<Option<bool>>,
}

/// The node cannot be prepared.
#[derive(Debug, Error)]
pub enum NodeError {
    /// The seed is unusable.
    #[error(transparent)]
    Seed(#[from] UnusableSeed),
}

/// The node, before, while and after it runs.
pub struct LightningNode {
    config: NodeConfig,
    seed: NodeSeed,
    store: Arc<dyn KeyValue>,
    minter: StatelessMinter,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    sources: Arc<Sources>,
    engine: watch::Sender<Option<Arc<Engine>>>,
    usable: AtomicBool,
    state: watch::Sender<NodeState>,
    chain_seen: watch::Sender<ChainSeen>,
    doors_changed: Notify,
    unsent: Arc<Unsent>,
    /// What was told last is no event of the library's: there is nothing to drop.
    told_a_beginning: AtomicBool,
}

impl LightningNode {
    /// Prepares a node; [`LightningNode::run`] brings it up.
    ///
    /// # Errors
    /// When the seed is unusable.
    pub fn new(
        config: NodeConfig,
        seed: NodeSeed,
        store: Arc<dyn KeyValue>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Arc<LightningNode>, NodeError> {
        let keys = keys::MintingKeys::derive(&seed, config.network)?;
        let minter = StatelessMinter::new(keys, config.network, Arc::clone(&clock), Arc::clone(&entropy));
        let (state, _) = watch::channel(NodeState::Starting("it has not been started".to_owned()));
        let sources = Arc::new(Sources::new(config.chain.clone()));
        let unsent = Arc::new(Unsent::kept_in(Arc::clone(&store), Arc::clone(&clock)));
        Ok(Arc::new(LightningNode {
            config,
            seed,
            store,
            minter,
            clock,
            entropy,
            sources,
            engine: watch::Sender::new(None),
            usable: AtomicBool::new(false),
            state,
            chain_seen: watch::Sender::default(),
            doors_changed: Notify::new(),
            unsent,
            told_a_beginning: AtomicBool::new(false),
        }))
    }

    /// The node's public key, hexadecimal.
    pub fn node_id(&self) -> String {
        self.minter.node_id().to_string()
    }

    /// The chain that it is on.
    pub fn network(&self) -> bitcoin::Network {
        self.config.network
    }

    /// Where it stands, now and as it changes.
    pub fn state(&self) -> watch::Receiver<NodeState> {
        self.state.subscribe()
    }

    /// Keeps the node from starting, for a reason that it tells whoever asks. Call it before
    /// [`LightningNode::run`].
    pub fn bar(&self, why: String) {
        self.give_up(why);
    }

    /// What of the node's coins is in channels that end, and what is home.
    ///
    /// # Errors
    /// When the node is not up.
    pub async fn homecoming(&self) -> Result<Homecoming, NodeFault> {
        self.call(homecoming::of).await
    }

    /// Waits until the node runs.
    ///
    /// # Errors
    /// When it failed or was stopped; the text says why.
    pub async fn ready(&self) -> Result<(), NodeFault> {
        let mut state = self.state.subscribe();
        let end = state.wait_for(|state| !matches!(state, NodeState::Starting(_))).await;
        match end.as_deref() {
            Ok(NodeState::Running) => Ok(()),
            Ok(NodeState::Failed(why)) => Err(NodeFault(why.clone())),
            _ => Err(NodeFault("the node was stopped".to_owned())),
        }
    }

    /// The chain sources; whoever else reads the chain follows the one that the node uses.
    pub fn sources(&self) -> &Arc<Sources> {
        &self.sources
    }

    fn engine(&self) -> Result<Arc<Engine>, NodeFault> {
        self.engine.borrow().clone().ok_or_else(|| NodeFault(self.not_ready()))
    }

    fn not_ready(&self) -> String {
        match &*self.state.borrow() {
            NodeState::Starting(why) => format!("it is starting: {why}"),
            NodeState::Failed(why) => why.clone(),
            NodeState::Running => {
                format!(
                    "nothing was heard of the chain for {} s",
                    self.chain_seen.borrow().unheard_for.as_secs()
                )
            }
            NodeState::Stopped => "it was stopped".to_owned(),
        }
    }

    /// Runs `work` on the node.
    async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&ldk_node::Node) -> T + Send + 'static,
    ) -> Result<T, NodeFault> {
        self.engine()?.call(work).await
    }

    /// Makes an invoice through the library, which stores it: only to compare with (`scripts/bench`).
    ///
    /// # Errors
    /// When the node is not up or refuses.
    pub async fn stored_invoice(&self, ask: InvoiceAsk) -> Result<String, NodeFault> {
        use lightning_invoice::{Bolt11InvoiceDescription, Description};
        let expiry = u32::try_from(ask.expiry.as_secs()).unwrap_or(u32::MAX);
        let text = Description::new(ask.description).map_err(|error| NodeFault(error.to_string()))?;
        let description = Bolt11InvoiceDescription::Direct(text);
        self.call(move |node| node.bolt11_payment().receive(ask.amount.msat(), &description, expiry))
            .await?
            .map(|invoice| invoice.to_string())
            .map_err(|error| NodeFault(error.to_string()))
    }
}

impl Minter for LightningNode {
    fn mint(&self, ask: &InvoiceAsk) -> Result<MintedInvoice, CannotReceive> {
        if !self.usable.load(Ordering::Acquire) {
            return Err(CannotReceive::NotReady(self.not_ready()));
        }
        self.minter.mint(ask)
    }
}

impl NodeEvents for LightningNode {
    fn next_event(&self) -> BoxFuture<'_, NodeEvent> {
        Box::pin(async move {
            let mut engines = self.engine.subscribe();
            loop {
                let engine = engines.borrow_and_update().clone();
                let Some(engine) = engine else {
                    if engines.changed().await.is_err() {
                        std::future::pending::<()>().await;
                    }
                    continue;
                };
                if engine.beginnings().is_due() {
                    self.told_a_beginning.store(true, Ordering::Release);
                    return NodeEvent::Began;
                }
                // An engine that is replaced takes its queue along: the next one has the same head.
                let event = tokio::select! {
                    event = engine.next_event() => event,
                    _ = engines.changed() => continue,
                };
                let noted = match events::offer_of(&event) {
                    None => None,
                    Some(id) => match engine.call(move |node| offers::noted(node, id)).await {
                        Ok(noted) => Some(noted),
                        // It is stopping: the event comes again from the next one.
                        Err(_) => {
                            if engines.changed().await.is_err() {
                                std::future::pending::<()>().await;
                            }
                            continue;
                        }
                    },
                };
                let mut told = events::translate(&event, noted);
                if let NodeEvent::Received { payment_hash, opening_fee, .. } = &mut told {
                    let hash = *payment_hash;
                    match engine.call(move |node| inbound::opening_fee(node, hash)).await {
                        Ok(kept) => *opening_fee = kept,
                        // Likewise.
                        Err(_) => {
                            if engines.changed().await.is_err() {
                                std::future::pending::<()>().await;
                            }
                            continue;
                        }
                    }
                }
                self.doors_changed.notify_one();
                return told;
            }
        })
    }

    fn acknowledge(&self) -> BoxFuture<'_, Result<(), NodeFault>> {
        Box::pin(async move {
            if self.told_a_beginning.swap(false, Ordering::AcqRel) {
                return Ok(());
            }
            let engine = self.engine()?;
            // A call that fails was never begun: the next engine reads the same head.
            engine.call(repeats::drop_head).await?;
            engine.beginnings().acknowledged();
            Ok(())
        })
    }
}

impl Payer for LightningNode {
    fn send(&self, bolt11: &str, max_fee: Msat) -> BoxFuture<'_, Result<(), SendFault>> {
        let bolt11 = bolt11.to_owned();
        Box::pin(async move {
            let engine = self.engine().map_err(|fault| SendFault::Away(fault.0))?;
            // A call that was cut off may have reached the library.
            let sent = engine.call(move |node| engine::send(node, &bolt11, max_fee)).await;
            sent.map_err(|fault| SendFault::Uncertain(fault.0))?
        })
    }

    fn outgoing(&self, payment_hash: PaymentHash) -> BoxFuture<'_, Outgoing> {
        Box::pin(async move {
            self.call(move |node| engine::outgoing(node, payment_hash)).await.unwrap_or(Outgoing::Away)
        })
    }
}

impl OfferPayer for LightningNode {
    fn offer_terms(&self, offer: &str) -> Result<OfferTerms, NodeFault> {
        offers::terms(self.config.network, offer)
    }

    fn send_offer(&self, ask: OfferAsk) -> BoxFuture<'_, Result<(), SendFault>> {
        Box::pin(async move {
            let engine = self.engine().map_err(|fault| SendFault::Away(fault.0))?;
            // A call that was cut off may have reached the library.
            let sent = engine.call(move |node| offers::send(node, &ask)).await;
            sent.map_err(|fault| SendFault::Uncertain(fault.0))?
        })
    }

    fn offer_payment(&self, note: &str) -> BoxFuture<'_, OfferPayment> {
        let note = note.to_owned();
        Box::pin(async move {
            self.call(move |node| offers::payment(node, &note)).await.unwrap_or(OfferPayment::Away)
        })
    }
}

impl NodeWatch for LightningNode {
    fn view(&self) -> BoxFuture<'_, NodeView> {
        Box::pin(async move {
            let listening = self.config.listen.clone();
            let seen = self.call(move |node| view::of(node, listening)).await;
            seen.unwrap_or_else(|_| NodeView {
                node_id: self.node_id(),
                network: self.config.network.to_string(),
                listening: self.config.listen.clone(),
                ..NodeView::default()
            })
        })
    }
}

impl NodeControl for LightningNode {
    fn new_address(&self) -> BoxFuture<'_, Result<String, NodeFault>> {
        Box::pin(async move {
            let address = self.call(|node| node.onchain_payment().new_address()).await?;
            address.map(|address| address.to_string()).map_err(|error| NodeFault(error.to_string()))
        })
    }

    fn connect(&self, peer: &str, address: &str) -> BoxFuture<'_, Result<(), NodeFault>> {
        let (peer, address) = (peer.to_owned(), address.to_owned());
        Box::pin(async move { self.call(move |node| engine::connect(node, &peer, &address)).await? })
    }

    fn sync(&self) -> BoxFuture<'_, Result<(), NodeFault>> {
        Box::pin(async move {
            let synced = self.call(ldk_node::Node::sync_wallets).await?;
            self.refresh_doors().await;
            synced.map_err(|error| NodeFault(error.to_string()))
        })
    }

    fn open_channel(&self, ask: OpenAsk) -> BoxFuture<'_, Result<String, SendFault>> {
        Box::pin(async move {
            let engine = self.engine().map_err(|fault| SendFault::Away(fault.0))?;
            let opened = engine.call(move |node| engine::open_channel(node, &ask)).await;
            opened.map_err(|fault| SendFault::Uncertain(fault.0))?
        })
    }

    fn close_channel(&self, channel_id: &str, how: CloseHow) -> BoxFuture<'_, Result<(), SendFault>> {
        let channel_id = channel_id.to_owned();
        Box::pin(async move {
            let engine = self.engine().map_err(|fault| SendFault::Away(fault.0))?;
            let closed = engine.call(move |node| engine::close_channel(node, &channel_id, how)).await;
            closed.map_err(|fault| SendFault::Uncertain(fault.0))?
        })
    }
}
