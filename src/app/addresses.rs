//! Addresses as people are told them.

use std::net::SocketAddr;

use url::Url;

use crate::proxy::Shown;

/// An address as this machine reaches it: a wildcard is the loopback.
pub(super) fn reachable(scheme: &str, address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        format!("{scheme}://127.0.0.1:{}", address.port())
    } else {
        format!("{scheme}://{address}")
    }
}

/// What the gateway speaks.
pub(super) fn scheme(certificate: Option<&Shown>) -> &'static str {
    certificate.map_or("http", |_| "https")
}

/// An address without a slash at its end.
pub(super) fn trimmed(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}
