//! The Lightning node: the only module that speaks to LDK.
//!
//! A [`LightningNode`] exists before its engine does: it answers "not ready" while the chain source
//! is away, so that the gate can be up and say so. It never reads a file or the environment for its
//! settings; [`config::NodeConfig`] tells it everything.

pub mod config;
mod engine;
mod events;
mod keys;
mod log;
mod mint;
mod offers;
mod source_check;
mod storage;
mod view;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use thiserror::Error;
use tokio::sync::{Notify, OnceCell, watch};
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Entropy};
use crate::ports::{
    BoxFuture, CannotReceive, CloseHow, InvoiceAsk, KeyValue, MintedInvoice, Minter, NodeControl, NodeEvent,
    NodeEvents, NodeFault, NodeView, NodeWatch, OfferAsk, OfferPayer, OfferPayment, OfferTerms, OpenAsk,
    Outgoing, Payer, SendFault,
};
use crate::types::{Msat, PaymentHash};
use config::NodeConfig;
use engine::{Engine, EngineFault};
pub use keys::{NodeSeed, UnusableSeed};
use mint::StatelessMinter;

/// The channels' capacities are read anew this often, and on every channel event.
const DOORS_REFRESH: Duration = Duration::from_secs(1);

/// Waits between two tries to come up: doubled each time, up to a minute.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// How often an unreadable channel state is tried again (MONEY rule 15): the order in which LDK
/// reads its maps differs by try, and some orders load what others do not.
const UNREADABLE_TRIES: u32 = 5;

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
    engine: OnceCell<Engine>,
    usable: AtomicBool,
    state: watch::Sender<NodeState>,
    doors_changed: Notify,
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
        let minter = StatelessMinter::new(keys, config.network, clock, entropy);
        let (state, _) = watch::channel(NodeState::Starting("it has not been started".to_owned()));
        Ok(Arc::new(LightningNode {
            config,
            seed,
            store,
            minter,
            engine: OnceCell::new(),
            usable: AtomicBool::new(false),
            state,
            doors_changed: Notify::new(),
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

    /// Brings the node up, keeps its view of the channels fresh until `stop`, then stops it in order.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        if self.bring_up(&stop).await {
            self.state.send_replace(NodeState::Running);
            self.keep_doors(&stop).await;
        }
        self.usable.store(false, Ordering::Release);
        if let Some(engine) = self.engine.get() {
            engine.stop().await;
        }
        self.state.send_if_modified(|state| {
            let failed = matches!(state, NodeState::Failed(_));
            if !failed {
                *state = NodeState::Stopped;
            }
            !failed
        });
    }

    /// Tries until the engine runs; false when it never will or `stop` came first.
    async fn bring_up(self: &Arc<Self>, stop: &CancellationToken) -> bool {
        let mut wait = FIRST_WAIT;
        let mut unreadable = 0;
        loop {
            // Cut short only while the source is asked: an engine that has begun to start is waited for,
            // so that it can be stopped in order.
            let checked = match stop.run_until_cancelled(self.check_source()).await {
                Some(checked) => checked,
                None => return false,
            };
            let fault = match checked {
                Ok(()) => match self.start_engine().await {
                    Ok(()) => return true,
                    Err(fault) => fault,
                },
                Err(fault) => fault,
            };
            match fault {
                EngineFault::Setting(why) => return self.give_up(why),
                EngineFault::Unreadable if unreadable + 1 >= UNREADABLE_TRIES => {
                    let advice = "keep channels.db as it is, and follow the recovery notes in the README";
                    return self.give_up(format!("{fault} in {UNREADABLE_TRIES} tries: {advice}"));
                }
                EngineFault::Unreadable => {
                    if unreadable == 0 {
                        self.keep_copy().await;
                    }
                    unreadable += 1;
                }
                EngineFault::Passing(_) => {}
            }
            tracing::warn!(reason = %fault, retry_in_ms = wait.as_millis(), "the node is not up yet");
            self.state.send_replace(NodeState::Starting(fault.to_string()));
            tokio::select! {
                () = stop.cancelled() => return false,
                () = tokio::time::sleep(wait) => wait = (wait * 2).min(LONGEST_WAIT),
            }
        }
    }

    fn give_up(&self, why: String) -> bool {
        tracing::error!(reason = %why, "the node will not come up by itself");
        self.state.send_replace(NodeState::Failed(why));
        false
    }

    /// Before anything is tried on it, the channel state is copied as it is (MONEY rule 15).
    async fn keep_copy(&self) {
        let store = Arc::clone(&self.store);
        match tokio::task::spawn_blocking(move || store.keep_copy()).await {
            Ok(Ok(copy)) => tracing::warn!(copy = %copy.display(), "the channel state was copied as it is"),
            Ok(Err(error)) => tracing::error!(%error, "the channel state could not be copied"),
            Err(error) => tracing::error!(%error, "the copy of the channel state was cut off"),
        }
    }

    async fn check_source(&self) -> Result<(), EngineFault> {
        source_check::check(&self.config.chain, self.config.network).await.map_err(|fault| match fault {
            source_check::SourceFault::Unreachable { .. } => EngineFault::Passing(fault.to_string()),
            source_check::SourceFault::WrongNetwork { .. } => EngineFault::Setting(fault.to_string()),
        })
    }

    async fn start_engine(self: &Arc<Self>) -> Result<(), EngineFault> {
        let this = Arc::clone(self);
        // A plain thread: the library blocks on whatever runtime its caller is in.
        let started = tokio::task::spawn_blocking(move || {
            std::thread::scope(|scope| {
                let engine = scope.spawn(|| Engine::start(&this.config, &this.seed, Arc::clone(&this.store)));
                // The library asserts on channel state that it cannot make sense of (two claims of one
                // payment hash, seen after kills): not a thing to try for ever.
                engine.join().unwrap_or(Err(EngineFault::Unreadable))
            })
        });
        let engine =
            started.await.map_err(|_| EngineFault::Passing("the start was cut off".to_owned()))??;
        if self.engine.set(engine).is_err() {
            return Err(EngineFault::Setting("the node was started twice".to_owned()));
        }
        self.refresh_doors().await;
        self.usable.store(true, Ordering::Release);
        Ok(())
    }

    async fn keep_doors(&self, stop: &CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.doors_changed.notified() => {}
                () = tokio::time::sleep(DOORS_REFRESH) => {}
            }
            self.refresh_doors().await;
        }
    }

    async fn refresh_doors(&self) {
        if let Some(engine) = self.engine.get()
            && let Ok(doors) = engine.call(engine::doors).await
        {
            self.minter.refresh(doors);
        }
    }

    fn engine(&self) -> Result<&Engine, NodeFault> {
        self.engine.get().ok_or_else(|| NodeFault(self.not_ready()))
    }

    fn not_ready(&self) -> String {
        match &*self.state.borrow() {
            NodeState::Starting(why) => format!("it is starting: {why}"),
            NodeState::Failed(why) => why.clone(),
            NodeState::Running => "it is starting".to_owned(),
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
            if self.ready().await.is_err() {
                std::future::pending::<()>().await;
            }
            match self.engine.get() {
                Some(engine) => {
                    let event = engine.next_event().await;
                    let noted = match events::offer_of(&event) {
                        None => None,
                        Some(id) => match engine.call(move |node| offers::noted(node, id)).await {
                            Ok(noted) => Some(noted),
                            // The node is stopping: the event comes again at its next start.
                            Err(_) => std::future::pending().await,
                        },
                    };
                    let event = events::translate(&event, noted);
                    self.doors_changed.notify_one();
                    event
                }
                None => std::future::pending().await,
            }
        })
    }

    fn acknowledge(&self) -> BoxFuture<'_, Result<(), NodeFault>> {
        Box::pin(async move {
            self.call(ldk_node::Node::event_handled).await?.map_err(|error| NodeFault(error.to_string()))
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

    fn open_channel(&self, ask: OpenAsk) -> BoxFuture<'_, Result<(), NodeFault>> {
        Box::pin(async move { self.call(move |node| engine::open_channel(node, &ask)).await? })
    }

    fn close_channel(&self, channel_id: &str, how: CloseHow) -> BoxFuture<'_, Result<(), NodeFault>> {
        let channel_id = channel_id.to_owned();
        Box::pin(async move { self.call(move |node| engine::close_channel(node, &channel_id, how)).await? })
    }
}
