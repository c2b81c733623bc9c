//! The one spelling of a host, so that a service is found by what it is called and no other way
//! (THREATS 9).

use std::net::{Ipv4Addr, Ipv6Addr};

use thiserror::Error;

/// A text that names no host: empty, with user information, a bad port or odd characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not a host name or address with an optional port")]
pub struct NotAHost;

/// The host of `authority` (`host[:port]`), lower-cased, without port and trailing dot.
///
/// # Errors
/// When it names no host, or carries user information.
pub fn canonical_host(authority: &str) -> Result<String, NotAHost> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (address, port) = rest.split_once(']').ok_or(NotAHost)?;
        let address: Ipv6Addr = address.parse().map_err(|_| NotAHost)?;
        if !port.is_empty() {
            port_ok(port.strip_prefix(':').ok_or(NotAHost)?)?;
        }
        return Ok(format!("[{address}]"));
    }
    let host = match authority.split_once(':') {
        Some((host, port)) => {
            port_ok(port)?;
            host
        }
        None => authority,
    };
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let label_ok = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let numeric = host.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let is_address = host.parse::<Ipv4Addr>().is_ok();
    if host.len() > 253 || !host.split('.').all(label_ok) || (numeric && !is_address) {
        return Err(NotAHost);
    }
    Ok(host)
}

fn port_ok(port: &str) -> Result<(), NotAHost> {
    let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    (digits && port.parse::<u16>().is_ok()).then_some(()).ok_or(NotAHost)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_have_one_spelling() {
        for (authority, host) in [
            ("api.example", "api.example"),
            ("API.Example:8402", "api.example"),
            ("api.example.", "api.example"),
            ("api.example.:80", "api.example"),
            ("127.0.0.1:8402", "127.0.0.1"),
            ("[::1]:8402", "[::1]"),
            ("[0:0::1]", "[::1]"),
            ("my_host", "my_host"),
        ] {
            assert_eq!(canonical_host(authority).as_deref(), Ok(host), "{authority}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for bad in [
            "",
            ".",
            "..",
            "a..b",
            "a b",
            "u@h",
            "u:p@h",
            "h:",
            "h:x",
            "h:99999",
            "h:1:2",
            "[::1",
            "[::1]x",
            "[h]",
            "é.example",
            "h/p",
            "h,h",
            "%41.example",
            "-a.example",
            "1.2.3",
            "h?",
            "h..",
        ] {
            assert_eq!(canonical_host(bad), Err(NotAHost), "{bad}");
        }
    }
}
