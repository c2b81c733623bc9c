//! The Lightning node: the only module that speaks to LDK.
//!
//! It is told what to do by a [`config::NodeConfig`]; it never reads a file or the environment for it.

pub mod config;
