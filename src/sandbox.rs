//! Regtest in the box: a chain that needs no bitcoind, for `tollhouse demo`.

pub mod chain;
pub mod rpc;
