//! Chain sources: what they are, whether one is there and on the right network, which one is in use,
//! and bitcoind's JSON-RPC for whoever reads blocks besides the node.
//!
//! The node library has clients of its own; this is for deciding which source it is built on, and for
//! the vault.

mod check;
mod electrum;
mod fee_rates;
mod http;
mod publish;
mod rpc;
mod source;
mod spender;
mod time;
mod usage;

pub use check::{SourceFault, check};
pub use electrum::connect as connect_electrum;
pub use fee_rates::fee_rates;
pub use publish::{Published, publish};
pub use rpc::{Bitcoind, RpcFault};
pub use source::{ChainConfig, ChainSource, RpcAuth, Sources};
pub use spender::{MOST_BLOCKS, Spent, contents, spender, spent, spent_before, waits};
pub use time::source_time;
pub use usage::ScriptServer;
