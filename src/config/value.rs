//! What each kind of value must look like. Pure: no file, no network, no environment.

use std::net::SocketAddr;

use bitcoin::Network;
use bitcoin::secp256k1::PublicKey;
use tracing_subscriber::EnvFilter;

use super::problem::Bad;
pub(crate) use crate::catalog::spec::words::{base_url, filled, host, one_of, port};

/// A network that may be used today.
pub(crate) fn network(text: &str) -> Result<Network, Bad> {
    match text {
        "regtest" => Ok(Network::Regtest),
        "signet" => Ok(Network::Signet),
        "testnet" => Ok(Network::Testnet),
        "mainnet" | "bitcoin" => Ok(Network::Bitcoin),
        _ => Err(one_of(text, "a network", &["regtest", "signet", "testnet", "mainnet"])),
    }
}

/// An address and port to listen on.
pub(crate) fn listen(text: &str) -> Result<SocketAddr, Bad> {
    text.parse().map_err(|_| {
        Bad::new(
            format!("\"{text}\" is not an address to listen on"),
            "Write an IP address and a port, such as \"127.0.0.1:8402\" or \"[::]:8402\".",
        )
    })
}

/// What the log shows.
pub(crate) fn log(text: &str) -> Result<String, Bad> {
    let bad = || {
        Bad::new(
            format!("\"{text}\" is not a log filter"),
            "Use error, warn, info, debug or trace, or a filter such as \"info,tollhouse::proxy=debug\".",
        )
    };
    let levels = ["off", "error", "warn", "info", "debug", "trace"];
    // A lone word is a level here; the filter's own grammar would take any word for a module.
    let lone_word = !text.contains([',', '=']);
    // Likewise what follows a module's name, and a word between commas.
    let known = |part: &str| levels.contains(&part.rsplit('=').next().unwrap_or_default().trim());
    let parts_known = text.split(',').all(|part| !part.trim().is_empty() && known(part));
    if (lone_word && !levels.contains(&text)) || !parts_known {
        return Err(bad());
    }
    EnvFilter::try_new(text).map(|_| text.to_owned()).map_err(|_| bad())
}

/// The node's name on the network.
pub(crate) fn alias(text: &str) -> Result<String, Bad> {
    let text = filled(text)?;
    if text.len() > 32 || text.chars().any(char::is_control) {
        return Err(Bad::new("a node's alias has at most 32 bytes and no control characters", "Shorten it."));
    }
    Ok(text)
}

/// A node's public key.
pub(crate) fn node_key(text: &str) -> Result<String, Bad> {
    text.parse::<PublicKey>().map(|key| key.to_string()).map_err(|_| {
        Bad::new(format!("\"{text}\" is not a node's public key"), "Write its 66 hexadecimal digits.")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_filter_is_not_any_word() {
        assert!(log("info").is_ok() && log("warn,tollhouse::proxy=debug").is_ok());
        assert!(log("loud").is_err() && log("").is_err() && log("tollhouse=loud").is_err());
    }
}
