//! Regtest in the box: a chain that needs no bitcoind, a shop and a payer with a channel between them,
//! an API to sell, and customers. For `tollhouse demo`.
//!
//! The shop and the payer are the appliance itself; nothing here is used in production.

pub mod buyer;
pub mod chain;
mod customer;
mod miner;
pub mod once;
pub mod place;
pub mod rpc;
pub mod sample_api;
pub mod traffic;
pub mod world;
