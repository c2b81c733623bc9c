//! Everything that is tested from outside, in one binary. One `mod` line a file, in order.

mod bitcoind;
mod chain;
mod chain_life;
mod chain_rpc;
mod esplora;
mod l402_attacks;
mod l402_oracles;
mod l402_world;
mod layering;
