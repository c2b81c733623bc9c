//! Everything that is tested from outside, in one binary. One `mod` line a file, in order.

mod admin_api;
mod admin_app;
mod admin_door;
mod admin_pay;
mod admin_secrets;
mod appliance;
mod bitcoind;
mod chain;
mod chain_life;
mod chain_rpc;
mod chance;
mod check;
mod config;
mod e2e_demo;
mod e2e_run;
mod esplora;
mod fetch_killed;
mod fetch_pays;
mod fetch_world;
mod gateway;
mod kill_ledger;
mod kill_node;
mod l402_attacks;
mod l402_oracles;
mod l402_world;
mod layering;
