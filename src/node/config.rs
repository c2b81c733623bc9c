//! What a node needs to know before it is built. `config` fills it; nothing here parses or does I/O.

use bitcoin::Network;

pub use crate::chain::{ChainConfig, ChainSource, RpcAuth};

/// How to build a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeConfig {
    /// The chain; never [`Network::Bitcoin`] until the seed is encrypted and backups exist.
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
