//! The small doors between the core and the world: what the gate asks of a Lightning node, and
//! what a node asks of a store. `node` and `store` stand behind them; tests put fakes there.

mod chain;
mod coins;
mod cold_storage;
mod customer;
mod inbound;
mod offers;
mod plain;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use thiserror::Error;

pub use inbound::{
    ChannelOrders, CoinSender, CoinsNotSent, NotOpened, OPENING_EXPIRY, OpeningInvoice, OpeningNode,
    OpeningTerms, OrderAsk, OrderLimits, OrderPaid, OrderPayment, OrderTold, UnpaidOpening,
};

use crate::types::{Msat, PaymentHash, Preimage, Timestamp};

mod health;
mod pulse;

pub use chain::{ChainView, ChainWatch, SourceAnswer, SourceView, UnsentView};
pub use coins::{
    ChainTx, Claim, CloseCause, Coins, CoinsView, FeeRate, FeeRates, ForwardingFees, Much, PeerView, Peers,
    Splice, Sweep, TxContents, Waits,
};
pub use cold_storage::{ColdAddress, ColdStorage, NoColdAddress};
pub use customer::{Customer, NotPaid};
pub use health::{Alarm, Check, Informant};
pub use offers::{OfferAsk, OfferPayer, OfferPayment, OfferTerms};
pub use plain::plain;
pub use pulse::{ComingHome, NodePulse, NodeStage, Pulse, SourceTime};

/// A boxed future, for traits that are used behind a pointer.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What an invoice shall say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvoiceAsk {
    /// The amount; never zero.
    pub amount: Msat,
    /// What is bought, in plain words (BOLT 11 `d`).
    pub description: String,
    /// How long it may be paid (BOLT 11 `x`).
    pub expiry: Duration,
}

/// An invoice that the node will honour although nothing about it was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MintedInvoice {
    /// The invoice as a wallet reads it (BOLT 11).
    pub bolt11: String,
    /// The hash that the payment will carry.
    pub payment_hash: PaymentHash,
    /// When it stops being payable.
    pub expires_at: Timestamp,
}

/// Why no invoice can be made (ARCHITECTURE, money rule 5).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CannotReceive {
    /// The node is not running, or not yet.
    #[error("the Lightning node is not ready: {0}")]
    NotReady(String),
    /// No channel is open and connected.
    #[error("no usable channel")]
    NoUsableChannel,
    /// The channels cannot take this much.
    #[error("the largest payment that can be received is {largest}")]
    TooLarge {
        /// The most that the channels together can take now.
        largest: Msat,
    },
    /// Below what any channel carries.
    #[error("the smallest payment that can be received is {smallest}")]
    TooSmall {
        /// The least that a usable channel carries.
        smallest: Msat,
    },
    /// No channel can carry it, and none is opened for it.
    #[error("no channel can carry it, and none is opened for it: {0}")]
    NotOpened(NotOpened),
    /// The library refused; the text is for the log.
    #[error("the invoice could not be made: {0}")]
    Failed(String),
}

/// Makes invoices: pure computation, no row, no file, no growth (ARCHITECTURE, money rule 1).
pub trait Minter: Send + Sync {
    /// An invoice for `ask`.
    ///
    /// # Errors
    /// When nobody could pay it.
    fn mint(&self, ask: &InvoiceAsk) -> Result<MintedInvoice, CannotReceive>;
}

/// Something that the node saw happen. The same one may come again after a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeEvent {
    /// The node was built, or built anew: it may repeat, once each, what it told before.
    Began,
    /// A payment reached us and is claimed.
    Received {
        /// Its hash.
        payment_hash: PaymentHash,
        /// What arrived, at least the invoice's amount less `opening_fee`.
        amount: Msat,
        /// What an LSP kept back for the channel that it opened for this payment.
        opening_fee: Msat,
    },
    /// A payment of ours reached its end.
    Sent {
        /// Its hash.
        payment_hash: PaymentHash,
        /// The proof.
        preimage: Preimage,
        /// What routing cost.
        fee: Msat,
    },
    /// A payment of ours will not arrive.
    SendFailed {
        /// Its hash.
        payment_hash: PaymentHash,
        /// Why, in the library's words.
        reason: String,
    },
    /// A payment of ours to an offer reached its end.
    OfferSent {
        /// What it is known by, when the node still knows.
        note: Option<String>,
        /// The invoice's hash.
        payment_hash: PaymentHash,
        /// The proof.
        preimage: Preimage,
        /// What it paid, likewise.
        amount: Msat,
        /// What routing cost.
        fee: Msat,
    },
    /// A payment of ours to an offer will not arrive.
    OfferFailed {
        /// What it is known by, when the node still knows.
        note: Option<String>,
        /// Why, in the library's words.
        reason: String,
    },
    /// A channel waits for its funding to confirm.
    ChannelPending {
        /// The channel's id, hexadecimal.
        channel_id: String,
        /// The other node's key, hexadecimal.
        peer: String,
        /// Our own id of it, which it has from the start.
        local_id: String,
    },
    /// A channel can carry payments; told again when a splice is through.
    ChannelReady {
        /// The channel's id, hexadecimal.
        channel_id: String,
        /// The other node's key, hexadecimal.
        peer: String,
        /// Our own id of it.
        local_id: String,
    },
    /// A channel is gone.
    ChannelClosed {
        /// The channel's id, hexadecimal.
        channel_id: String,
        /// The other node's key, hexadecimal.
        peer: String,
        /// Why, in the library's words.
        reason: String,
        /// Why, in ours.
        cause: CloseCause,
        /// Our own id of it.
        local_id: String,
    },
    /// A channel's new size waits for its confirmations.
    SplicePending {
        /// The channel's id, hexadecimal.
        channel_id: String,
        /// `txid:vout` of the new funding output.
        funding: String,
    },
    /// A channel stays as it was.
    SpliceFailed {
        /// The channel's id, hexadecimal.
        channel_id: String,
    },
    /// Anything else, for the log.
    Other(String),
}

/// The node's queue of events: the head stays until it is acknowledged.
pub trait NodeEvents: Send + Sync {
    /// The head of the queue; waits for one.
    fn next_event(&self) -> BoxFuture<'_, NodeEvent>;

    /// Drops the head. Call it only when what it says is durable. After an error it is still there, and may be dropped
    /// again.
    fn acknowledge(&self) -> BoxFuture<'_, Result<(), NodeFault>>;
}

/// The node could not do what was asked; the text is for the log.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}", plain(.0))]
pub struct NodeFault(pub String);

/// What the node knows of a payment that we sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outgoing {
    /// The node never heard of it.
    Unknown,
    /// On its way.
    Pending,
    /// Arrived.
    Succeeded {
        /// The proof.
        preimage: Preimage,
        /// What routing cost, where known.
        fee: Option<Msat>,
    },
    /// Will not arrive.
    Failed,
    /// The node cannot be asked now, so this says nothing.
    Away,
}

/// Why a payment, or another move of coins, was not started. The texts are for the log.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SendFault {
    /// The node is not running: it was not asked.
    #[error("the Lightning node is not ready: {0}")]
    Away(String),
    /// The node did not start it, and never will by itself.
    #[error("{}", plain(.0))]
    Refused(String),
    /// It may be on its way: the node knows the hash already, or could not note what it did.
    #[error("{}", plain(.0))]
    Uncertain(String),
}

/// Sends payments.
pub trait Payer: Send + Sync {
    /// Starts paying `bolt11`; returns when the payment is on its way, not when it arrived.
    /// Paying the same hash twice is refused by the node, as [`SendFault::Uncertain`].
    fn send(&self, bolt11: &str, max_fee: Msat) -> BoxFuture<'_, Result<(), SendFault>>;

    /// What became of a payment.
    fn outgoing(&self, payment_hash: PaymentHash) -> BoxFuture<'_, Outgoing>;
}

/// So many blocks beyond those that its funding needs, a channel is ready if the other node is there at all.
const READY_WITHIN: u32 = 3;

impl ChannelView {
    /// Whether it waits for its funding to be deep enough. One that is closing is not ready, either.
    pub fn is_opening(&self) -> bool {
        let needed = self.confirmations_required.unwrap_or(0).saturating_add(READY_WITHIN);
        !self.ready && self.confirmations.unwrap_or(0) <= needed
    }
}

/// One channel as the operator sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ChannelView {
    /// The channel's id, hexadecimal; before `funding` is there, `local_id`.
    pub channel_id: String,
    /// Our own id of it, which it has from the start; it is found by that, too.
    pub local_id: String,
    /// The other node's key, hexadecimal.
    pub peer: String,
    /// `txid:vout` of the funding output, once negotiated.
    pub funding: Option<String>,
    /// The channel's value, satoshi.
    pub capacity_sat: u64,
    /// What we can send now.
    pub spendable_msat: u64,
    /// What we can receive now.
    pub receivable_msat: u64,
    /// The largest single payment that it can bring now.
    pub largest_receivable_msat: u64,
    /// What neither side may spend: our reserve, satoshi.
    pub reserved_sat: u64,
    /// The same of the other side: its reserve, satoshi.
    pub their_reserved_sat: u64,
    /// Confirmations seen, and wanted.
    pub confirmations: Option<u32>,
    /// Confirmations that the channel waits for.
    pub confirmations_required: Option<u32>,
    /// Both sides are ready.
    pub ready: bool,
    /// Ready, and the peer is connected.
    pub usable: bool,
    /// Known to the public network.
    pub announced: bool,
    /// We opened it.
    pub outbound: bool,
    /// Its closing transaction has no anchors, so that it pays for itself and nothing is kept back for it.
    pub without_anchors: bool,
    /// What forwarding through it costs others.
    pub fees: ForwardingFees,
    /// Blocks that our coins wait when we close by force.
    pub force_close_blocks: Option<u16>,
}

/// The node at one moment, as the operator sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct NodeView {
    /// The node's public key, hexadecimal.
    pub node_id: String,
    /// `regtest`, `signet` or `testnet`.
    pub network: String,
    /// The node runs.
    pub running: bool,
    /// Height of the best block that it knows.
    pub block_height: u32,
    /// Unix seconds of the last successful chain sync, if ever.
    pub synced_at: Option<u64>,
    /// Lightning: what can be sent now over usable channels.
    pub spendable_msat: u64,
    /// Lightning: what can be received now over usable channels.
    pub receivable_msat: u64,
    /// Lightning: the largest single payment that can be received; one of our invoices is paid over one channel.
    pub largest_receivable_msat: u64,
    /// On-chain: what can be spent, satoshi.
    pub onchain_spendable_sat: u64,
    /// On-chain: kept back for closing anchor channels, of the coins that are there, satoshi.
    pub onchain_reserved_sat: u64,
    /// On-chain: what is to be kept back for them, satoshi: more than that where coins are missing.
    pub onchain_reserve_wanted_sat: u64,
    /// The channels.
    pub channels: Vec<ChannelView>,
    /// Connected peers.
    pub peers_connected: usize,
    /// Where the node listens for peers, `host:port`.
    pub listening: Vec<String>,
}

/// Tells the node's state.
pub trait NodeWatch: Send + Sync {
    /// The node now.
    fn view(&self) -> BoxFuture<'_, NodeView>;
}

/// What a channel opening asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenAsk {
    /// The other node's public key, hexadecimal.
    pub peer: String,
    /// Its address, `host:port`.
    pub address: String,
    /// The channel's value, satoshi.
    pub amount_sat: u64,
    /// What the other side gets at the start.
    pub push: Msat,
    /// Tell the public network.
    pub announce: bool,
}

/// Moves coins and channels.
pub trait NodeControl: Send + Sync {
    /// A fresh on-chain address of the node's wallet.
    fn new_address(&self) -> BoxFuture<'_, Result<String, NodeFault>>;

    /// Connects to a peer and remembers it.
    fn connect(&self, peer: &str, address: &str) -> BoxFuture<'_, Result<(), NodeFault>>;

    /// Asks the chain source now instead of at the next turn.
    fn sync(&self) -> BoxFuture<'_, Result<(), NodeFault>>;

    /// Connects and starts opening a channel; gives our own id of it. The result comes as events.
    fn open_channel(&self, ask: OpenAsk) -> BoxFuture<'_, Result<String, SendFault>>;

    /// Starts closing a channel, by agreement or by force.
    fn close_channel(&self, channel_id: &str, how: CloseHow) -> BoxFuture<'_, Result<(), SendFault>>;
}

/// How a channel is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseHow {
    /// Both sides sign: cheap and quick.
    Cooperative,
    /// Ours alone: the coins return after a delay.
    Force,
}

/// A byte store with LDK's two-level names, durable when a write returns.
pub trait KeyValue: Send + Sync {
    /// The value, or `None`.
    ///
    /// # Errors
    /// When the disk fails.
    fn read(&self, key: &KvKey<'_>) -> std::io::Result<Option<Vec<u8>>>;

    /// Stores the value; it is on disk when this returns.
    ///
    /// # Errors
    /// When the disk fails.
    fn write(&self, key: &KvKey<'_>, value: &[u8]) -> std::io::Result<()>;

    /// Removes the value if it is there.
    ///
    /// # Errors
    /// When the disk fails.
    fn remove(&self, key: &KvKey<'_>) -> std::io::Result<()>;

    /// The keys under two namespaces.
    ///
    /// # Errors
    /// When the disk fails.
    fn list(&self, primary: &str, secondary: &str) -> std::io::Result<Vec<String>>;

    /// Copies everything as it is now to a new place of its own, and says where.
    ///
    /// # Errors
    /// When the disk fails.
    fn keep_copy(&self) -> std::io::Result<std::path::PathBuf>;
}

/// Where a value lies in a [`KeyValue`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvKey<'a> {
    /// First namespace.
    pub primary: &'a str,
    /// Second namespace.
    pub secondary: &'a str,
    /// Key.
    pub key: &'a str,
}
