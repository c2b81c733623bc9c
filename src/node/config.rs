//! What a node needs to know before it is built. `config` fills it; nothing here parses or does I/O.
//!
//! The RPC password is in here: `Debug` leaves it out.

use std::fmt;
use std::path::PathBuf;

use bitcoin::Network;

/// How to build a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeConfig {
    /// The chain; never [`Network::Bitcoin`] until the seed is encrypted and backups exist.
    pub network: Network,
    /// Where blocks and fees come from.
    pub chain: ChainSource,
    /// Where the map of channels comes from.
    pub gossip: GossipSource,
    /// Where to listen for peers, `host:port`; none is a node that only dials.
    pub listen: Vec<String>,
    /// The name that the node announces, at most 32 bytes.
    pub alias: Option<String>,
    /// Public keys (hexadecimal) of peers whose anchor channels need no reserve of coins.
    pub trusted_peers_no_reserve: Vec<String>,
}

/// Where blocks and fees come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChainSource {
    /// A bitcoind's JSON-RPC.
    Bitcoind {
        /// Its host name or address.
        host: String,
        /// Its RPC port.
        port: u16,
        /// How to log in.
        auth: RpcAuth,
    },
    /// An Esplora server.
    Esplora {
        /// The root of its API, such as `https://blockstream.info/signet/api`.
        url: String,
    },
}

/// How to log in to bitcoind's RPC.
#[derive(Clone, PartialEq, Eq)]
pub enum RpcAuth {
    /// A user and a password.
    Password {
        /// `rpcuser`, or the name in `rpcauth`.
        user: String,
        /// The password.
        password: String,
    },
    /// The cookie that bitcoind writes anew at each of its starts: read it when the node is built.
    CookieFile(PathBuf),
}

impl fmt::Debug for RpcAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RpcAuth::Password { user, .. } => write!(f, "Password({user}, redacted)"),
            RpcAuth::CookieFile(path) => write!(f, "CookieFile({})", path.display()),
        }
    }
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
