//! What a node needs to know before it is built. `config` fills it; nothing here parses or does I/O.

use std::fmt;

use bitcoin::Network;

pub use crate::chain::{ChainConfig, ChainSource, RpcAuth};
use crate::types::Msat;

/// How to build a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeConfig {
    /// The chain.
    pub network: Network,
    /// Where blocks and fees come from.
    pub chain: ChainConfig,
    /// Where the map of channels comes from.
    pub gossip: GossipSource,
    /// Where to listen for peers, `host:port`; none is a node that only dials.
    pub listen: Vec<String>,
    /// The name that the node announces, at most 32 bytes.
    pub alias: Option<String>,
    /// Public keys (hexadecimal) of peers whose anchor channels need no reserve of coins.
    pub trusted_peers_no_reserve: Vec<String>,
    /// Who opens channels to us.
    pub liquidity: Liquidity,
}

/// Who opens channels to us. Each is trusted for channels without confirmations, and its anchor channels
/// need no reserve of coins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Liquidity {
    /// Opens one for a payment that no channel can carry (bLIP-52, LSPS2).
    pub just_in_time: Option<JustInTime>,
    /// Sells them (bLIP-51, LSPS1).
    pub orders: Option<Lsp>,
}

/// A liquidity provider. `Debug` leaves the token out.
#[derive(Clone, PartialEq, Eq)]
pub struct Lsp {
    /// Its public key, hexadecimal.
    pub node: String,
    /// Where it listens, `host:port`.
    pub address: String,
    /// What it knows us by.
    pub token: Option<String>,
}

impl fmt::Debug for Lsp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.node, self.address)
    }
}

/// When a channel is opened for a payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JustInTime {
    /// Who opens it.
    pub lsp: Lsp,
    /// The most that one opening may cost.
    pub max_fee: Msat,
    /// The most that it may cost, in hundredths of the payment: 1 to 100.
    pub max_fee_percent: u32,
    /// Invoices of this kind that are made in an hour at most.
    pub max_per_hour: u32,
}

/// Where the map of channels comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GossipSource {
    /// From peers.
    P2p,
    /// Snapshots of a Rapid Gossip Sync server.
    RapidSync {
        /// Its root.
        url: String,
    },
}
