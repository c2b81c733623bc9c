//! What shows whether the node is well, beyond what its operator sees every day.

use super::{BoxFuture, NodeFault};
use crate::types::Timestamp;

/// How far the node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeStage {
    /// Not up yet; the text says what it waits for.
    Starting(String),
    /// Up.
    Running,
    /// It will not come up by itself; the text says what to do.
    Failed(String),
    /// Stopped in order.
    Stopped,
}

/// Coins of a closed channel that are on their way to the wallet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComingHome {
    /// The channel's id, hexadecimal, where it is known.
    pub channel_id: Option<String>,
    /// How much, satoshi.
    pub amount_sat: u64,
    /// Where they are, in a few words.
    pub state: &'static str,
    /// The height from which they can be claimed, where that is what is waited for.
    pub claimable_height: Option<u32>,
}

/// The node's pulse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePulse {
    /// How far it is.
    pub stage: NodeStage,
    /// When the fee rates were last learned.
    pub fee_rates_at: Option<Timestamp>,
    /// When the on-chain wallet was last in step with the chain.
    pub onchain_synced_at: Option<Timestamp>,
    /// Peers that the node keeps connections to, connected or not.
    pub peers_known: usize,
    /// What should be kept on-chain for closing the channels that there are, satoshi.
    pub reserve_wanted_sat: u64,
    /// What is there on-chain, satoshi.
    pub onchain_total_sat: u64,
    /// Coins of closed channels on their way.
    pub coming_home: Vec<ComingHome>,
}

/// What the chain source says of the time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceTime {
    /// Its own clock, from its answer's `Date`.
    pub date: Option<Timestamp>,
    /// The time that the newest block claims.
    pub tip: Option<Timestamp>,
    /// The median time of the newest eleven blocks: never later than the true time, by much.
    pub median: Option<Timestamp>,
}

/// Feels the node's pulse.
pub trait Pulse: Send + Sync {
    /// The pulse now.
    fn pulse(&self) -> BoxFuture<'_, NodePulse>;

    /// The size of the largest channel monitor that is stored, bytes. Reads all of them: ask seldom.
    fn largest_monitor(&self) -> BoxFuture<'_, Result<u64, NodeFault>>;

    /// Asks the chain source what time it is.
    fn source_time(&self) -> BoxFuture<'_, Result<SourceTime, NodeFault>>;
}
