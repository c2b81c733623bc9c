//! Addresses as people are told them.

use std::net::SocketAddr;
use std::sync::Arc;

use url::Url;

use crate::catalog::{Service, Terms};
use crate::proxy::Shown;

/// A path that costs something, for the curl line of an empty page.
pub(super) fn sample_path(services: &[Arc<Service>]) -> Option<String> {
    let priced = |terms: &Terms| !terms.rule.is_free();
    services.iter().find_map(|service| {
        let route = service
            .routes
            .iter()
            .find(|route| priced(&route.terms))
            .map(|route| route.path.front().to_owned());
        route.or_else(|| priced(&service.terms).then(|| service.path.clone()))
    })
}

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
