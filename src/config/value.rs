//! What each kind of value must look like. Pure: no file, no network, no environment.

use std::net::SocketAddr;

use bitcoin::Network;
use bitcoin::secp256k1::PublicKey;
use http::{HeaderValue, Method};
use tracing_subscriber::EnvFilter;
use url::Url;

use super::problem::{Bad, nearest};
use crate::catalog::{DEFAULT_ROUTE, PathPattern, Terms};
use crate::request::METHODS;
use crate::types::host::canonical_host;
use crate::types::path::canonical_path;
use crate::types::{AmountError, Msat, Name};

/// A network that may be used today.
pub(crate) fn network(text: &str) -> Result<Network, Bad> {
    match text {
        "regtest" => Ok(Network::Regtest),
        "signet" => Ok(Network::Signet),
        "testnet" => Ok(Network::Testnet),
        "mainnet" | "bitcoin" | "main" => Err(Bad::new(
            "mainnet is refused until the seed is encrypted and backups exist",
            "Use \"regtest\", \"signet\" or \"testnet\".",
        )),
        _ => Err(one_of(text, "a network", &["regtest", "signet", "testnet"])),
    }
}

/// A word of a closed list.
pub(crate) fn one_of(text: &str, noun: &str, known: &[&str]) -> Bad {
    let quoted: Vec<String> = known.iter().map(|k| format!("\"{k}\"")).collect();
    let help = match nearest(text, known.iter().copied()) {
        Some(meant) => format!("Did you mean \"{meant}\"?"),
        None => format!("Use one of {}.", quoted.join(", ")),
    };
    Bad::new(format!("\"{text}\" is not {noun}"), help)
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

/// A TCP port.
pub(crate) fn port(text: &str) -> Result<u16, Bad> {
    match text.parse() {
        Ok(port) if port != 0 => Ok(port),
        _ => Err(Bad::new(format!("{text} is not a port"), "Use a number from 1 to 65535.")),
    }
}

/// Text that may not be empty.
pub(crate) fn filled(text: &str) -> Result<String, Bad> {
    if text.trim().is_empty() {
        return Err(Bad::new("it is empty", "Write a value, or leave the line out."));
    }
    Ok(text.to_owned())
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

/// A web address that paths are put behind: no query, fragment, or login in it.
pub(crate) fn base_url(text: &str) -> Result<Url, Bad> {
    let help = "Write something like \"http://127.0.0.1:9000\" or \"https://api.example.com/base\".";
    let url = Url::parse(text).map_err(|e| Bad::new(format!("\"{text}\" is not a URL: {e}"), help))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(Bad::new(format!("\"{text}\" is not an http or https URL"), help));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Bad::new("a URL must not hold a user or password", "Put them into upstream_headers."));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(Bad::new(
            format!("\"{text}\" has a query or a fragment"),
            "Leave out what follows the path.",
        ));
    }
    Ok(url)
}

/// A host name or address as a request's `Host` has it, lower-cased, without a port.
pub(crate) fn host(text: &str) -> Result<String, Bad> {
    let bad = |why: &str| {
        Bad::new(format!("\"{text}\" is not a host name: {why}"), "Write one such as \"api.example.com\".")
    };
    let host = text.to_ascii_lowercase();
    if host.contains("://") || host.contains('/') {
        return Err(bad("leave out the scheme and the path"));
    }
    if host.starts_with('[') != host.ends_with(']') || (host.contains(':') && !host.starts_with('[')) {
        return Err(bad("leave out the port; an IPv6 address stands in brackets"));
    }
    if host.ends_with('.') {
        return Err(bad("leave out the dot at its end"));
    }
    if host.contains('*') {
        return Err(bad("a wildcard is not possible; leave `host` out to answer to any"));
    }
    canonical_host(&host)
        .map_err(|_| bad("use letters, digits, `-`, `_` and `.`, and punycode for anything else"))
}

/// What a `Host` header may say: a host, and a port where one is needed.
pub(crate) fn host_and_port(text: &str) -> Result<HeaderValue, Bad> {
    let bare = match text.rsplit_once(':') {
        Some((bare, digits)) if !digits.ends_with(']') => {
            port(digits)?;
            bare
        }
        _ => text,
    };
    host(bare)?;
    HeaderValue::from_str(text).map_err(|_| Bad::new("it cannot stand in a header", "Write a host name."))
}

/// A path in the one spelling that admission gives to requests.
pub(crate) fn path(text: &str) -> Result<String, Bad> {
    if text.contains('*') {
        let what = format!("\"{text}\" is not a path: `*` may only stand at the end of a route's path");
        return Err(Bad::new(what, "Write \"/v1/files/*\" for everything below /v1/files."));
    }
    canonical_path(text).map_err(|fault| {
        Bad::new(format!("\"{text}\" is not a path: {fault}"), "Write one such as \"/v1/files\".")
    })
}

/// A path prefix, matched at segment borders; a slash at its end says nothing more.
pub(crate) fn prefix(text: &str) -> Result<String, Bad> {
    let path = path(text)?;
    Ok(if path.len() > 1 { path.trim_end_matches('/').to_owned() } else { path })
}

/// The paths of a route: `/v1/health`, or `/v1/files/*` for all under it.
pub(crate) fn pattern(text: &str) -> Result<PathPattern, Bad> {
    match text.strip_suffix("/*") {
        Some("") => Ok(PathPattern::Under("/".to_owned())),
        Some(under) => prefix(under).map(PathPattern::Under),
        None => path(text).map(PathPattern::Exact),
    }
}

/// What one request costs.
pub(crate) fn price(text: &str) -> Result<Terms, Bad> {
    let help = "Write \"50 sat\", \"250 msat\" or \"free\".";
    if text == "free" {
        return Ok(Terms::free());
    }
    match text.parse::<Msat>() {
        Ok(Msat::ZERO) => Err(Bad::new("a price of zero", "Write \"free\" when nothing is to be paid.")),
        Ok(amount) => Ok(Terms::fixed(amount)),
        Err(AmountError::TooLarge(_)) => {
            Err(Bad::new(format!("\"{text}\" is more than 21 million bitcoin"), help))
        }
        Err(AmountError::Syntax(_)) => Err(Bad::new(format!("\"{text}\" is not a price"), help)),
    }
}

/// A method that a route can have.
pub(crate) fn method(text: &str) -> Result<Method, Bad> {
    if let Some(method) = METHODS.iter().find(|m| m.as_str() == text) {
        return Ok(method.clone());
    }
    let known: Vec<&str> = METHODS.iter().map(Method::as_str).collect();
    let upper = text.to_ascii_uppercase();
    Err(match known.iter().find(|k| **k == upper) {
        Some(meant) => Bad::new(format!("\"{text}\" is not a method"), format!("Did you mean \"{meant}\"?")),
        None => one_of(text, "a method", &known),
    })
}

/// A service's or route's name.
pub(crate) fn name(text: &str) -> Result<Name, Bad> {
    text.parse().map_err(|_| {
        Bad::new(
            format!("\"{text}\" is not a name"),
            "Use 1 to 64 of a-z, 0-9, `-` and `_`, starting with a letter.",
        )
    })
}

/// A route's name, which is not the name of what no route covers.
pub(crate) fn route_name(text: &str) -> Result<Name, Bad> {
    if text == DEFAULT_ROUTE {
        let what = format!("`{DEFAULT_ROUTE}` is the name of what no route covers");
        return Err(Bad::new(what, "Choose another name."));
    }
    name(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_lower_cased_and_bare() {
        assert_eq!(host("API.Example.com"), Ok("api.example.com".into()));
        assert_eq!(host("[::1]"), Ok("[::1]".into()));
        assert_eq!(host("127.0.0.1"), Ok("127.0.0.1".into()));
        for bad in ["", "a:80", "a.", "a..b", "-a", "a-", "http://a", "a/b", "*.a", "é", "[::x]"] {
            assert!(host(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn paths_can_be_read_one_way_only() {
        assert_eq!(prefix("/v1/"), Ok("/v1".into()));
        assert_eq!(prefix("/"), Ok("/".into()));
        assert_eq!(pattern("/v1/files/*"), Ok(PathPattern::Under("/v1/files".into())));
        assert_eq!(pattern("/*"), Ok(PathPattern::Under("/".into())));
        assert_eq!(pattern("/v1/health"), Ok(PathPattern::Exact("/v1/health".into())));
        assert_eq!(pattern("/é"), Ok(PathPattern::Exact("/%C3%A9".into())), "as requests spell it");
        for bad in [
            "", "v1", "/a/../b", "/./a", "//a", "/a//b", "/a?b", "/a#b", "/a\\b", "/%2e/a", "/a%2fb",
            "/a/*/b", "/a*",
        ] {
            assert!(pattern(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn prices_are_never_zero_by_accident() {
        assert_eq!(price("free"), Ok(Terms::free()));
        for bad in ["0 sat", "0 msat", "", "5", "-1 sat", "Free", "1.5 sat", "2100000000000001 sat"] {
            assert!(price(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_log_filter_is_not_any_word() {
        assert!(log("info").is_ok() && log("warn,tollhouse::proxy=debug").is_ok());
        assert!(log("loud").is_err() && log("").is_err() && log("tollhouse=loud").is_err());
    }
}
