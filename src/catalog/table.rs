//! The table that finds a request's service, route and price.
//!
//! The order, by which one answer is found whatever the order of the services:
//! 1. a service with the request's host before one for any host;
//! 2. the service with the longer path;
//! 3. the route whose path says more, from the left: a named segment before `{any}`, that before `*`,
//!    and an end before `*`; a service's default is last;
//! 4. a route for the method before one for any (HEAD has GET's, unless it has its own).
//!
//! A path that differs from another answer's only in letter case or a trailing slash is not cheaper
//! than that, across services too: upstreams commonly answer both alike. An operator who spells both
//! out has both. What is off takes part, so that nothing broader is sold in its place.
//!
//! Invariants: every path and host in it is canonical, so a comparison of bytes decides.

use std::cmp::Ordering;
use std::sync::{Arc, PoisonError, RwLock};

use http::Method;
use ring::digest;
use thiserror::Error;

use super::pattern::{Segments, Shape, Spelling};
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

mod explain;

pub use explain::{Candidate, Explanation, Fate};

/// Finds the service and route of a request.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    services: Vec<Arc<Service>>,
    places: Vec<Place>,
}

/// One thing that a request may be for: a route of a service, or what its routes leave.
#[derive(Clone, Debug)]
struct Place {
    /// Of [`RouteTable::services`].
    service: usize,
    /// Of its routes; `None` is the default.
    route: Option<usize>,
    /// The service's path and the route's, as they are written.
    exact: (Shape, Shape),
    /// The same, in any letter case.
    loose: (Shape, Shape),
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
        let places =
            services.iter().enumerate().flat_map(|(index, service)| places_of(index, service)).collect();
        Ok(RouteTable { services, places })
    }

    /// The services, as they were canonicalised.
    pub fn services(&self) -> &[Arc<Service>] {
        &self.services
    }

    /// What a request with this canonical `host` and `path` is for; `None` where nothing is sold.
    pub fn lookup(&self, method: &Method, host: &str, path: &str) -> Option<Matched> {
        let found = self.find(method, host, path)?;
        (self.services[found.service].mode != Mode::Off).then(|| self.matched(found))
    }

    /// The same where a service that is off answers, too: what the request would be for if it were on.
    pub fn on_sale_or_off(&self, method: &Method, host: &str, path: &str) -> Option<Matched> {
        self.find(method, host, path).map(|found| self.matched(found))
    }

    /// The place that decides, an off one too.
    fn find(&self, method: &Method, host: &str, path: &str) -> Option<&Place> {
        let exact = self.best(method, host, path, Spelling::Exact)?;
        let like = self.best(method, host, path, Spelling::Loose)?;
        let guarded = self.order(like, exact, method, Spelling::Loose).is_gt() && self.dearer(like, exact);
        Some(if guarded { like } else { exact })
    }

    fn best(&self, method: &Method, host: &str, path: &str, spelling: Spelling) -> Option<&Place> {
        let path = Segments::of(path, spelling);
        let fits = |place: &&Place| {
            let (service, route) = place.shapes(spelling);
            self.answers(place, host)
                && self.takes(place, method)
                && service.covers(&path)
                && route.covers(&path)
        };
        self.places.iter().filter(fits).max_by(|one, other| {
            // Of two that differ in spelling alone, the dearer.
            let order = self.order(one, other, method, spelling);
            order.then_with(|| self.dearer(one, other).cmp(&self.dearer(other, one)))
        })
    }

    fn answers(&self, place: &Place, host: &str) -> bool {
        self.services[place.service].host.as_deref().is_none_or(|own| own == host)
    }

    fn takes(&self, place: &Place, method: &Method) -> bool {
        let asked = if method == Method::HEAD { &Method::GET } else { method };
        self.method_of(place).is_none_or(|own| own == method || own == asked)
    }

    fn method_of(&self, place: &Place) -> Option<&Method> {
        self.route_of(place)?.method.as_ref()
    }

    fn route_of(&self, place: &Place) -> Option<&Route> {
        place.route.map(|index| &self.services[place.service].routes[index])
    }

    fn terms_of(&self, place: &Place) -> &Arc<Terms> {
        self.route_of(place).map_or(&self.services[place.service].terms, |route| &route.terms)
    }

    /// Which of two places that cover one path comes first; the greater does.
    fn order(&self, one: &Place, other: &Place, method: &Method, spelling: Spelling) -> Ordering {
        let named = |place: &Place| self.services[place.service].host.is_some();
        let own = |place: &Place| {
            let own = self.method_of(place);
            (own.is_some(), own == Some(method))
        };
        let ((service, route), (other_service, other_route)) = (one.shapes(spelling), other.shapes(spelling));
        named(one)
            .cmp(&named(other))
            .then_with(|| service.specificity(other_service))
            .then_with(|| one.route.is_some().cmp(&other.route.is_some()))
            .then_with(|| route.specificity(other_route))
            .then_with(|| own(one).cmp(&own(other)))
    }

    /// Whether a request could cost more at `one` than at `other`; nothing is dearer than what is off.
    fn dearer(&self, one: &Place, other: &Place) -> bool {
        match (self.services[one.service].mode, self.services[other.service].mode) {
            (_, Mode::Off) | (Mode::Shadow, _) => false,
            (Mode::Off, _) => true,
            (Mode::On, Mode::Shadow) => !self.terms_of(one).rule.is_free(),
            (Mode::On, Mode::On) => {
                let (one, other) = (self.terms_of(one), self.terms_of(other));
                may_be_dearer(&one.rule, &other.rule) || gives_less(one, other)
            }
        }
    }

    fn matched(&self, place: &Place) -> Matched {
        let service = &self.services[place.service];
        let terms = self.terms_of(place);
        let route = self.route_of(place).map_or_else(default_route, |route| route.name.clone());
        Matched {
            revision: revision(service, &route, terms),
            service: Arc::clone(service),
            route,
            terms: Arc::clone(terms),
        }
    }
}

impl Place {
    fn shapes(&self, spelling: Spelling) -> (&Shape, &Shape) {
        let (service, route) = match spelling {
            Spelling::Exact => &self.exact,
            Spelling::Loose => &self.loose,
        };
        (service, route)
    }
}

fn places_of(index: usize, service: &Service) -> Vec<Place> {
    let own = PathPattern::Under(service.path.clone());
    let place = |route: Option<usize>, path: &PathPattern| Place {
        service: index,
        route,
        exact: (Shape::of(&own, Spelling::Exact), Shape::of(path, Spelling::Exact)),
        loose: (Shape::of(&own, Spelling::Loose), Shape::of(path, Spelling::Loose)),
    };
    let routes = service.routes.iter().enumerate().map(|(number, route)| place(Some(number), &route.path));
    routes.chain([place(None, &own)]).collect()
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

/// Whether `one` could cost more than `other`; where that cannot be known it could.
fn may_be_dearer(one: &Rule, other: &Rule) -> bool {
    match (one, other) {
        (Rule::Free, _) => false,
        (Rule::Fixed(Amount::Msat(one)), Rule::Fixed(Amount::Msat(other))) => one > other,
        (one, other) => one != other,
    }
}

/// Whether `one` is no cheaper than `other` by its rule, and has not what the other gives for nothing, or
/// for its fallback.
fn gives_less(one: &Terms, other: &Terms) -> bool {
    let free = other.free.is_some() && one.free != other.free;
    let fallback = other.fallback.is_some_and(|other| one.fallback.is_none_or(|one| other < one));
    !one.rule.is_free() && !may_be_dearer(&other.rule, &one.rule) && (free || fallback)
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
            PathPattern::Template(own) => {
                // Its braces are ours; the rest of it is a path.
                path(&own.replace(['{', '}', '*'], "x"))?;
                PathPattern::Template(own.clone())
            }
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
        if !lies_under(second.path.front(), &service.path) {
            return Err(CatalogError::RouteOutside { service: name(), route: second.name.clone() });
        }
        let same_name = |first: &&Route| first.name == second.name;
        if second.name.as_str() == DEFAULT_ROUTE || service.routes[..index].iter().any(|r| same_name(&r)) {
            return Err(CatalogError::DuplicateRoute { service: name(), route: second.name.clone() });
        }
        let same = |first: &&Route| first.path.same_paths(&second.path) && first.method == second.method;
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
