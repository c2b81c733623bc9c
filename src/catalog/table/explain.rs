//! Why a request is for what it is for: every place that might have been, and what spoke against it.

use std::fmt;
use std::sync::Arc;

use http::Method;

use super::{Matched, Place, RouteTable, default_route};
use crate::catalog::pattern::{Segments, Spelling};
use crate::catalog::{Mode, PathPattern, Service};
use crate::types::Name;

/// What the table says of a request.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// What it is for; `None` where nothing is sold.
    pub matched: Option<Matched>,
    /// Every place, the deciding one first, then those that cover it.
    pub candidates: Vec<Candidate>,
}

/// A route of a service, or what its routes leave, and how it fared.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The service.
    pub service: Arc<Service>,
    /// The route, or [`super::DEFAULT_ROUTE`].
    pub route: Name,
    /// The method that it is for; `None` is any.
    pub method: Option<Method>,
    /// The paths that it is for.
    pub path: PathPattern,
    /// How it fared.
    pub fate: Fate,
}

/// How a place fared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The request is for it.
    Won,
    /// The request is for it, for its path differs from what it is for in letter case or a slash at its
    /// end alone, and it would have been cheaper without.
    WonByLikeness,
    /// It decides, and it is off: nothing is sold.
    Off,
    /// It is for another host.
    OtherHost,
    /// It is for other paths.
    OtherPath,
    /// It is for another method.
    OtherMethod,
    /// It covers the request, but this one goes before it, and why.
    Behind {
        /// Which service.
        service: Name,
        /// Which route of it.
        route: Name,
        /// The rule that decided.
        because: &'static str,
    },
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fate::Won => f.write_str("it is the most specific"),
            Fate::WonByLikeness => f.write_str(
                "the path differs in letter case or a final slash alone, and may not be cheaper for that",
            ),
            Fate::Off => f.write_str("it is the most specific, and its service is off"),
            Fate::OtherHost => f.write_str("it is for another host"),
            Fate::OtherPath => f.write_str("it is for other paths"),
            Fate::OtherMethod => f.write_str("it is for another method"),
            Fate::Behind { service, route, because } => write!(f, "behind {service}/{route}: {because}"),
        }
    }
}

impl RouteTable {
    /// What a request with this canonical `host` and `path` is for, and why nothing else.
    pub fn explain(&self, method: &Method, host: &str, path: &str) -> Explanation {
        let found = self.find(method, host, path);
        let asked = Segments::of(path, Spelling::Exact);
        let mut candidates: Vec<(u8, Candidate)> = Vec::new();
        for place in &self.places {
            let service = &self.services[place.service];
            let (own, route) = place.shapes(Spelling::Exact);
            let covers = own.covers(&asked) && route.covers(&asked);
            let won = found.is_some_and(|found| std::ptr::eq(found, place));
            let fate = match found {
                _ if won && service.mode == Mode::Off => Fate::Off,
                _ if won && !covers => Fate::WonByLikeness,
                _ if won => Fate::Won,
                _ if !self.answers(place, host) => Fate::OtherHost,
                _ if !covers => Fate::OtherPath,
                _ if !self.takes(place, method) => Fate::OtherMethod,
                Some(winner) => self.behind(place, winner, method, &asked),
                // What covers a request and takes its method leaves it not without an answer.
                None => Fate::OtherPath,
            };
            let rank = match fate {
                Fate::Won | Fate::WonByLikeness | Fate::Off => 0,
                Fate::Behind { .. } => 1,
                Fate::OtherMethod => 2,
                Fate::OtherPath => 3,
                Fate::OtherHost => 4,
            };
            candidates.push((rank, self.candidate(place, fate)));
        }
        candidates.sort_by_key(|(rank, _)| *rank);
        let matched = found.filter(|place| self.services[place.service].mode != Mode::Off);
        Explanation {
            matched: matched.map(|place| self.matched(place)),
            candidates: candidates.into_iter().map(|(_, candidate)| candidate).collect(),
        }
    }

    fn candidate(&self, place: &Place, fate: Fate) -> Candidate {
        let service = &self.services[place.service];
        let route = self.route_of(place);
        Candidate {
            service: Arc::clone(service),
            route: route.map_or_else(default_route, |route| route.name.clone()),
            method: route.and_then(|route| route.method.clone()),
            path: route.map_or_else(|| PathPattern::Under(service.path.clone()), |route| route.path.clone()),
            fate,
        }
    }

    fn behind(&self, place: &Place, winner: &Place, method: &Method, asked: &Segments) -> Fate {
        let (own, theirs) = (&self.services[place.service], &self.services[winner.service]);
        let (service, route) = place.shapes(Spelling::Exact);
        let (other_service, other_route) = winner.shapes(Spelling::Exact);
        let liked = !(other_service.covers(asked) && other_route.covers(asked));
        let because = if liked {
            "the paths differ in letter case or a final slash alone, and that one may be dearer"
        } else if own.host.is_some() != theirs.host.is_some() {
            "a named host goes before any host"
        } else if service.specificity(other_service).is_ne() {
            "the service with the longer path goes first"
        } else if place.route.is_none() {
            "a route goes before its service's default"
        } else if route.specificity(other_route).is_ne() {
            "its path is the more specific"
        } else if self.method_of(winner) == Some(method) {
            "it is for this method alone"
        } else {
            "it is for the method that this one has its price from"
        };
        let route = self.route_of(winner).map_or_else(default_route, |route| route.name.clone());
        Fate::Behind { service: theirs.name.clone(), route, because }
    }
}
