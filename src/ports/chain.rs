//! What the node knows of its chain sources.

use schemars::JsonSchema;
use serde::Serialize;

use super::BoxFuture;
use crate::types::Timestamp;

/// One chain source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SourceView {
    /// `bitcoind`, `esplora` or `electrum`.
    pub kind: &'static str,
    /// What it is and where, without how to log in.
    pub name: String,
    /// The node uses it now.
    pub in_use: bool,
    /// Whether it answered when it was asked last; nothing when it was not asked.
    pub answers: Option<bool>,
}

/// The chain sources, and how long ago the chain was heard of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ChainView {
    /// The sources, the preferred one first.
    pub sources: Vec<SourceView>,
    /// Seconds since the node last heard of the chain, as far as was watched; whatever it says of itself.
    pub unheard_s: u64,
    /// That is too long: nothing is sold.
    pub stale: bool,
    /// Transactions that no source took yet; they are handed over again and again.
    pub unsent: Vec<UnsentView>,
}

/// A transaction of ours that waits for a chain source to take it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct UnsentView {
    /// Its id, hexadecimal.
    pub txid: String,
    /// The outputs that it spends, `txid:vout`.
    pub spends: Vec<String>,
    /// Why no source took it.
    pub why: String,
    /// Since when it waits.
    pub since: Timestamp,
}

/// What became of asking one chain source just now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SourceAnswer {
    /// `bitcoind`, `esplora` or `electrum`.
    pub kind: &'static str,
    /// What it is and where, without how to log in.
    pub name: String,
    /// The node uses it now.
    pub in_use: bool,
    /// How long it took, milliseconds.
    pub took_ms: u64,
    /// Why it cannot be used: away, or on another network. Nothing when it answered rightly.
    pub fault: Option<String>,
}

/// Tells of the chain sources.
pub trait ChainWatch: Send + Sync {
    /// The sources now.
    fn chain(&self) -> ChainView;

    /// Asks every source now, each by itself; takes some seconds at most.
    fn ask(&self) -> BoxFuture<'_, Vec<SourceAnswer>>;
}
