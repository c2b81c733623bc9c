//! What is for sale: services, their routes and prices, and the table that finds them.
//!
//! Pure: `config` fills it, `checkout` asks it. The table is built once and swapped whole.

use std::fmt;

use http::{HeaderName, HeaderValue, Method};
use url::Url;

use crate::types::{Msat, Name};

mod table;

pub use table::{Catalog, CatalogError, DEFAULT_ROUTE, Matched, RouteTable};

/// One API behind the gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name, as in tokens and reports.
    pub name: Name,
    /// The host that it answers to, lower-case, without port or trailing dot; `None` is any.
    pub host: Option<String>,
    /// The path prefix that it answers to, at segment borders; starts with `/`, `/` is all.
    pub path: String,
    /// The price where no route says otherwise.
    pub price: Price,
    /// Exceptions to the price, most specific first served.
    pub routes: Vec<Route>,
    /// Where paid requests go.
    pub upstream: Upstream,
}

/// Some of a service's requests, with a price of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its name, as in tokens and reports; unique in its service.
    pub name: Name,
    /// The method; `None` is any.
    pub method: Option<Method>,
    /// The path, as the client sends it (before any prefix is stripped).
    pub path: PathPattern,
    /// What one request costs.
    pub price: Price,
}

/// Which paths a route covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathPattern {
    /// This path only.
    Exact(String),
    /// Everything under this prefix, at segment borders (`/v1/files/*` in the configuration).
    Under(String),
}

/// What one request costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Price {
    /// Nothing: the request passes without a token.
    Free,
    /// This much; never zero.
    Fixed(Msat),
}

/// Where a service's requests are sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Upstream {
    /// `http` or `https`, host, port and a path that is put before the request's.
    pub base: Url,
    /// A prefix that is taken off the request's path first.
    pub strip_prefix: Option<String>,
    /// The `Host` to send; by default that of `base`.
    pub host: Option<HeaderValue>,
    /// Headers to set, such as the upstream's own API key; they replace the client's.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl fmt::Debug for Upstream {
    /// Leaves the headers' values out: they may be keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Upstream")
            .field("base", &self.base.as_str())
            .field("strip_prefix", &self.strip_prefix)
            .field("host", &self.host)
            .field("headers", &names)
            .finish()
    }
}
