//! The table that finds a request's service, route and price.
//!
//! Invariants: every path and host in it is canonical, so a comparison of bytes decides; for every
//! request there is at most one answer, whatever the order of the services.

use std::sync::{Arc, PoisonError, RwLock};

use http::Method;
use ring::digest;
use thiserror::Error;

use super::{Mode, PathPattern, Route, Service, Terms};
use crate::pricing::{Amount, Rule};
use crate::types::Name;
use crate::types::host::canonical_host;
use crate::types::path::{PathFault, canonical_path, lies_under};

/// The name that a request's route has when none of its service's routes covers it.
pub const DEFAULT_ROUTE: &str = "default";

/// Why services cannot be sold side by side.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CatalogError {
    /// Two services have one name, so a token for one would open the other.
    #[error("two services are called `{name}`")]
    DuplicateService {
        /// The name.
        name: Name,
    },
    /// Two services match the same requests.
    #[error("the services `{first}` and `{second}` match the same requests: same host, same path")]
    Overlap {
        /// One.
        first: Name,
        /// The other.
        second: Name,
    },
    /// Two routes of a service have one name, or one takes the name of the default.
    #[error("the service `{service}` has two routes called `{route}`")]
    DuplicateRoute {
        /// The service.
        service: Name,
        /// The name.
        route: Name,
    },
    /// Two routes of a service match the same requests.
    #[error("the routes `{first}` and `{second}` of `{service}` match the same requests")]
    RouteOverlap {
        /// The service.
        service: Name,
        /// One.
        first: Name,
        /// The other.
        second: Name,
    },
    /// A route covers nothing, for its path is outside its service's.
    #[error("the route `{route}` of `{service}` is outside the service's path")]
    RouteOutside {
        /// The service.
        service: Name,
        /// The route.
        route: Name,
    },
    /// A path that no request can have.
    #[error("the path `{path}` of `{service}` cannot be requested: {fault}")]
    Path {
        /// The service.
        service: Name,
        /// The path as it was given.
        path: String,
        /// What is wrong with it.
        fault: PathFault,
    },
    /// A host that no request can name.
    #[error("`{host}` of `{service}` is not a host name")]
    Host {
        /// The service.
        service: Name,
        /// The host as it was given.
        host: String,
    },
    /// A price of zero that is not called free.
    #[error("a price of `{service}` is zero: call it free")]
    ZeroPrice {
        /// The service.
        service: Name,
    },
}

/// Finds the service and route of a request.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    services: Vec<Arc<Service>>,
}

/// What a request is for, and what it costs.
#[derive(Clone, Debug)]
pub struct Matched {
    /// The service.
    pub service: Arc<Service>,
    /// The route's name, or [`DEFAULT_ROUTE`].
    pub route: Name,
    /// On what terms it is sold.
    pub terms: Arc<Terms>,
    /// A fingerprint of service, route and terms: it changes when they do.
    pub revision: u32,
}

impl RouteTable {
    /// A table of `services`, with every host and path in its canonical spelling.
    ///
    /// # Errors
    /// When two of them match the same requests, or one can match none.
    pub fn new(services: Vec<Service>) -> Result<RouteTable, CatalogError> {
        let services = services
            .into_iter()
            .map(|service| canonical(service).map(Arc::new))
            .collect::<Result<Vec<_>, _>>()?;
        for (index, second) in services.iter().enumerate() {
            for first in &services[..index] {
                if first.name == second.name {
                    return Err(CatalogError::DuplicateService { name: first.name.clone() });
                }
                if first.host == second.host && first.path == second.path {
                    return Err(CatalogError::Overlap {
                        first: first.name.clone(),
                        second: second.name.clone(),
                    });
                }
            }
        }
        Ok(RouteTable { services })
    }

    /// The services, as they were canonicalised.
    pub fn services(&self) -> &[Arc<Service>] {
        &self.services
    }

    /// What a request with this canonical `host` and `path` is for. A named host wins over any
    /// host, then the longer path prefix wins.
    pub fn lookup(&self, method: &Method, host: &str, path: &str) -> Option<Matched> {
        let service = self
            .services
            .iter()
            .filter(|s| s.mode != Mode::Off)
            .filter(|s| s.host.as_deref().is_none_or(|own| own == host) && lies_under(path, &s.path))
            .max_by_key(|s| (s.host.is_some(), s.path.len()))?;
        let exact = route_of(service, method, path, Spelling::Exact);
        let (mut route, mut terms) =
            exact.map_or_else(|| (default_route(), &service.terms), |r| (r.name.clone(), &r.terms));
        // A path that differs from a dearer route's only in letter case or a trailing slash is not
        // cheaper: upstreams commonly answer both alike.
        let similar = route_of(service, method, &loose(path), Spelling::Loose);
        if let Some(similar) = similar.filter(|r| may_be_dearer(&r.terms.rule, &terms.rule)) {
            (route, terms) = (similar.name.clone(), &similar.terms);
        }
        Some(Matched {
            revision: revision(service, &route, terms),
            service: Arc::clone(service),
            route,
            terms: Arc::clone(terms),
        })
    }
}

/// The table now in force. It is swapped whole: a request keeps the one that it began with.
#[derive(Debug, Default)]
pub struct Catalog(RwLock<Arc<RouteTable>>);

impl Catalog {
    /// Begins with `table`.
    pub fn new(table: RouteTable) -> Catalog {
        Catalog(RwLock::new(Arc::new(table)))
    }

    /// The table now.
    pub fn current(&self) -> Arc<RouteTable> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts `table` in force for requests that begin from now on.
    pub fn swap(&self, table: RouteTable) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
    }
}

fn default_route() -> Name {
    DEFAULT_ROUTE.parse().expect("the default route's name is a name")
}

/// How a request's path is compared with a route's.
#[derive(Clone, Copy)]
enum Spelling {
    Exact,
    /// Letter case and a trailing slash count for nothing, as in many frameworks.
    Loose,
}

/// The most specific route: an exact path before a prefix, a longer prefix before a shorter, a
/// named method before any.
fn route_of<'a>(service: &'a Service, method: &Method, path: &str, spelling: Spelling) -> Option<&'a Route> {
    // HEAD asks for GET's headers, so it has GET's price.
    let asked = if method == Method::HEAD { &Method::GET } else { method };
    let spelled = |own: &str| match spelling {
        Spelling::Exact => own.to_owned(),
        Spelling::Loose => loose(own),
    };
    service
        .routes
        .iter()
        .filter(|r| r.method.as_ref().is_none_or(|own| own == method || own == asked))
        .filter(|r| match &r.path {
            PathPattern::Exact(own) => spelled(own) == path,
            PathPattern::Under(own) => lies_under(path, &spelled(own)),
        })
        .max_by_key(|r| {
            let (exact, length) = match &r.path {
                PathPattern::Exact(own) => (true, own.len()),
                PathPattern::Under(own) => (false, own.len()),
            };
            // HEAD's own price, if there is one, before GET's.
            (exact, length, r.method.is_some(), r.method.as_ref() == Some(method))
        })
}

fn loose(path: &str) -> String {
    path.trim_end_matches('/').to_ascii_lowercase()
}

/// Whether `one` could cost more than `other`; where that cannot be known it could.
fn may_be_dearer(one: &Rule, other: &Rule) -> bool {
    match (one, other) {
        (Rule::Free, _) => false,
        (Rule::Fixed(Amount::Msat(one)), Rule::Fixed(Amount::Msat(other))) => one > other,
        (one, other) => one != other,
    }
}

fn revision(service: &Service, route: &Name, terms: &Terms) -> u32 {
    let text = format!("{}\n{route}\n{}\n{:?}", service.name, terms.rule, terms.offers);
    let hash = digest::digest(&digest::SHA256, text.as_bytes());
    let mut front = [0u8; 4];
    front.copy_from_slice(&hash.as_ref()[..4]);
    u32::from_be_bytes(front)
}

/// The service with canonical host and paths.
fn canonical(mut service: Service) -> Result<Service, CatalogError> {
    let name = service.name.clone();
    let path = |path: &str| {
        canonical_path(path).map_err(|fault| CatalogError::Path {
            service: name.clone(),
            path: path.to_owned(),
            fault,
        })
    };
    let prefix = |text: &str| {
        path(text).map(|p| match p.trim_end_matches('/') {
            "" => "/".to_owned(),
            trimmed => trimmed.to_owned(),
        })
    };
    if let Some(host) = &service.host {
        let bad = || CatalogError::Host { service: name.clone(), host: host.clone() };
        let port = !host.starts_with('[') && host.contains(':');
        service.host = Some(canonical_host(host).ok().filter(|_| !port).ok_or_else(bad)?);
    }
    service.path = prefix(&service.path)?;
    if let Some(strip) = &service.upstream.strip_prefix {
        service.upstream.strip_prefix = Some(prefix(strip)?);
    }
    for route in &mut service.routes {
        route.path = match &route.path {
            PathPattern::Exact(own) => PathPattern::Exact(path(own)?),
            PathPattern::Under(own) => PathPattern::Under(prefix(own)?),
        };
    }
    routes_fit(&service)?;
    Ok(service)
}

fn routes_fit(service: &Service) -> Result<(), CatalogError> {
    let name = || service.name.clone();
    let all = service.routes.iter().map(|r| &r.terms).chain([&service.terms]);
    let is_nothing = |rule: &Rule| matches!(rule, Rule::Fixed(amount) if amount.is_zero());
    if all.into_iter().any(|terms| is_nothing(&terms.rule)) {
        return Err(CatalogError::ZeroPrice { service: name() });
    }
    for (index, second) in service.routes.iter().enumerate() {
        let (PathPattern::Exact(own) | PathPattern::Under(own)) = &second.path;
        if !lies_under(own, &service.path) {
            return Err(CatalogError::RouteOutside { service: name(), route: second.name.clone() });
        }
        let same_name = |first: &&Route| first.name == second.name;
        if second.name.as_str() == DEFAULT_ROUTE || service.routes[..index].iter().any(|r| same_name(&r)) {
            return Err(CatalogError::DuplicateRoute { service: name(), route: second.name.clone() });
        }
        let same = |first: &&Route| first.path == second.path && first.method == second.method;
        if let Some(first) = service.routes[..index].iter().find(same) {
            return Err(CatalogError::RouteOverlap {
                service: name(),
                first: first.name.clone(),
                second: second.name.clone(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
