//! What is for sale: services, their routes, terms and offers, and the table that finds them.
//!
//! Pure: `storefront` fills it, `checkout` asks it. The table is built once and swapped whole.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use url::Url;

use crate::types::Name;

mod dialects;
mod pack;
mod pattern;
pub mod spec;
mod table;
mod terms;
mod unit;

pub use dialects::Dialects;
pub use pack::{NoPack, is_priced_for, pack_price};
pub use pattern::PathPattern;
pub use table::{Candidate, Catalog, CatalogError, DEFAULT_ROUTE, Explanation, Fate, Matched, RouteTable};
pub use terms::{
    Allowance, AllowanceBy, INVOICE_EXPIRY, LATE_PAYMENT, Offer, Offering, REUSABLE_LIFE, RestorePolicy,
    Terms,
};
pub use unit::{Today, Unit, rate_of};

/// One API behind the gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name, as in tokens and reports.
    pub name: Name,
    /// The host that it answers to, lower-case, without port or trailing dot; `None` is any.
    pub host: Option<String>,
    /// The path prefix that it answers to, at segment borders; starts with `/`, `/` is all.
    pub path: String,
    /// Whether it is sold.
    pub mode: Mode,
    /// Whether a browser that was asked to pay is let in once the payment arrived.
    pub unlock: BrowserUnlock,
    /// What it says of itself.
    pub about: About,
    /// In which dialects its 402s say the price.
    pub dialects: Dialects,
    /// The terms where no route says otherwise.
    pub terms: Arc<Terms>,
    /// Requests with terms of their own, most specific first served.
    pub routes: Vec<Route>,
    /// Where paid requests go.
    pub upstream: Upstream,
}

/// Whether a service is sold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Mode {
    /// It is.
    #[default]
    On,
    /// Nothing is served there.
    Off,
    /// Everything passes; what would have been charged is counted.
    Shadow,
}

/// Whether the browser that was given a challenge is let in once its payment arrived, without the
/// preimage. Whoever is tricked into paying that invoice then pays for that browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum BrowserUnlock {
    /// Only a preimage opens anything.
    #[default]
    Off,
    /// It is let in.
    On,
}

/// What a service says of itself to those who discover it. All of it is public.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct About {
    /// A name for people.
    pub title: Option<String>,
    /// What it does.
    pub description: Option<String>,
    /// The path of an OpenAPI document at the upstream, into which the prices are merged.
    pub openapi: Option<String>,
}

/// Some of a service's requests, with terms of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its name, as in tokens and reports; unique in its service.
    pub name: Name,
    /// The method; `None` is any.
    pub method: Option<Method>,
    /// The path, as the client sends it (before any prefix is stripped).
    pub path: PathPattern,
    /// On what terms they are sold.
    pub terms: Arc<Terms>,
    /// What it does, in words.
    pub description: Option<String>,
}

/// Where a service's requests are sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Upstream {
    /// `http` or `https`, host, port and a path that is put before the request's.
    pub base: Url,
    /// Which HTTP it is spoken to in.
    pub speaks: Speaks,
    /// A prefix that is taken off the request's path first.
    pub strip_prefix: Option<String>,
    /// The `Host` to send; by default that of `base`.
    pub host: Option<HeaderValue>,
    /// Headers to set, such as the upstream's own API key; they replace the client's.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// How long it is waited for.
    pub timeouts: Timeouts,
}

/// How long an upstream is waited for; where it says nothing, as long as all others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection.
    pub connect: Option<Duration>,
    /// For an answer's head, once the request was sent.
    pub header: Option<Duration>,
    /// For more of an answer's body.
    pub idle: Option<Duration>,
}

/// Which HTTP an upstream is spoken to in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Speaks {
    /// HTTP/1.1; where there is TLS, gRPC calls go over HTTP/2.
    #[default]
    One,
    /// HTTP/2 without TLS, known beforehand (`h2c://`).
    Two,
}

impl Service {
    /// A service that is on, answers to any host under `path`, and has no routes of its own.
    pub fn new(name: Name, path: &str, terms: Terms, upstream: Upstream) -> Service {
        Service {
            name,
            host: None,
            path: path.to_owned(),
            mode: Mode::On,
            unlock: BrowserUnlock::Off,
            about: About::default(),
            dialects: Dialects::default(),
            terms: Arc::new(terms),
            routes: Vec::new(),
            upstream,
        }
    }
}

impl Route {
    /// A route without words.
    pub fn new(name: Name, method: Option<Method>, path: PathPattern, terms: Terms) -> Route {
        Route { name, method, path, terms: Arc::new(terms), description: None }
    }
}

impl Upstream {
    /// What is at `base`, asked as the client asked.
    pub const fn at(base: Url) -> Upstream {
        let timeouts = Timeouts { connect: None, header: None, idle: None };
        Upstream { base, speaks: Speaks::One, strip_prefix: None, host: None, headers: Vec::new(), timeouts }
    }
}

impl fmt::Debug for Upstream {
    /// Leaves the headers' values out: they may be keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Upstream")
            .field("base", &self.base.as_str())
            .field("speaks", &self.speaks)
            .field("strip_prefix", &self.strip_prefix)
            .field("host", &self.host)
            .field("headers", &names)
            .field("timeouts", &self.timeouts)
            .finish()
    }
}
