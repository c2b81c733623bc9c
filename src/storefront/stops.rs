//! What a change makes stop: services that are served no more, and requests that earned and would not any more.
//!
//! Requests are compared by samples, one for each route that there was or will be and one for what the routes leave,
//! as both tables answer them. One that is moved to another address goes on there, and is not counted.

use http::Method;
use schemars::JsonSchema;
use serde::Serialize;

use crate::catalog::{Mode, PathPattern, RouteTable, Service};
use crate::types::Name;

/// What stops with one service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Stop {
    /// Which.
    pub service: Name,
    /// How it comes.
    pub how: How,
    /// The requests that it is about, such as `GET /v1/rates`; none are all of the service's.
    pub requests: Vec<String>,
}

/// How something stops earning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// It costs nothing any more.
    Free,
    /// Everything passes, and is counted alone.
    Shadow,
    /// Nothing is served there any more.
    Off,
    /// It is taken away.
    Removed,
}

impl Stop {
    /// What stops on the way from one table to the other.
    pub(super) fn between(before: &RouteTable, after: &RouteTable) -> Vec<Stop> {
        let one = |service: &Service| {
            let then = after.services().iter().find(|then| then.name == service.name);
            let stop = |how, requests| Some(Stop { service: service.name.clone(), how, requests });
            match (service.mode, then.map(|then| then.mode)) {
                (Mode::On | Mode::Shadow, None) => stop(How::Removed, Vec::new()),
                (Mode::On | Mode::Shadow, Some(Mode::Off)) => stop(How::Off, Vec::new()),
                (Mode::On | Mode::Off, Some(Mode::Shadow)) if has_price(service) => {
                    stop(How::Shadow, Vec::new())
                }
                (Mode::On, Some(Mode::On)) if has_price(service) => {
                    let then = then?;
                    if !has_price(then) {
                        return stop(How::Free, Vec::new());
                    }
                    let lost = given_away(service, then, before, after);
                    if lost.is_empty() { None } else { stop(How::Free, lost) }
                }
                _ => None,
            }
        };
        before.services().iter().filter_map(|service| one(service)).collect()
    }
}

fn has_price(service: &Service) -> bool {
    let mut all = service.routes.iter().map(|route| &route.terms).chain([&service.terms]);
    all.any(|terms| !terms.rule.is_free())
}

/// The requests of `service` that cost something before, and nothing when it is as `then`.
fn given_away(service: &Service, then: &Service, before: &RouteTable, after: &RouteTable) -> Vec<String> {
    let host = service.host.as_deref().unwrap_or_default();
    let lost = |sample: &Sample| {
        let earned = before.lookup(&sample.method, host, &sample.path).is_some_and(|found| {
            found.service.name == service.name
                && found.service.mode == Mode::On
                && !found.terms.rule.is_free()
        });
        let earns =
            |found: crate::catalog::Matched| found.service.mode == Mode::On && !found.terms.rule.is_free();
        earned && after.lookup(&sample.method, host, &sample.path).is_some_and(|found| !earns(found))
    };
    let mut requests: Vec<String> = Vec::new();
    for sample in samples(service).chain(samples(then)).filter(lost) {
        if !requests.contains(&sample.requests) {
            requests.push(sample.requests);
        }
    }
    requests
}

/// One request of many that are sold alike.
pub(super) struct Sample {
    /// All of them, as prices name them.
    pub(super) requests: String,
    pub(super) method: Method,
    pub(super) path: String,
}

/// A segment that no route is written with.
const ANY: &str = "~";

/// One of each route's requests, and one of what they leave.
pub(super) fn samples(service: &Service) -> impl Iterator<Item = Sample> {
    let rest = PathPattern::Under(service.path.clone());
    let routes = service.routes.iter().map(|route| (route.method.clone(), route.path.clone()));
    routes.chain([(None, rest)]).map(|(method, path)| {
        let named = method.as_ref().map(|method| format!("{method} ")).unwrap_or_default();
        let front = path.front().split('/').map(|part| if part.starts_with('{') { ANY } else { part });
        let mut one = front.collect::<Vec<_>>().join("/");
        if path.to_string().ends_with("/*") {
            one = format!("{}/{ANY}", one.trim_end_matches('/'));
        }
        Sample { requests: format!("{named}{path}"), method: method.unwrap_or(Method::GET), path: one }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::spec::Spec;

    fn table(services: &str) -> RouteTable {
        let file: serde_json::Value = toml::from_str(services).unwrap();
        let of = |value| Spec::read(value).0.compile(&|_| None).unwrap();
        RouteTable::new(file["service"].as_array().into_iter().flatten().map(of).collect()).unwrap()
    }

    fn service(lines: &str) -> RouteTable {
        table(&format!(
            "[[service]]\nname = \"a\"\npath = \"/v1\"\nupstream = \"http://127.0.0.1:1\"\n{lines}"
        ))
    }

    fn stops(before: &str, after: &str) -> Vec<(How, Vec<String>)> {
        let stops = Stop::between(&service(before), &service(after));
        stops.into_iter().map(|stop| (stop.how, stop.requests)).collect()
    }

    const PRICED: &str = "price = \"5 sat\"";
    const ROUTES: &str = "price = \"5 sat\"\nroute = [{ path = \"/v1/users/{id}\", price = \"7 sat\" }, { method = \"POST\", \
                          path = \"/v1/files/*\", price = \"9 sat\" }]";

    #[test]
    fn what_earned_and_does_not_any_more_is_found() {
        let free = "price = \"free\"";
        let with = |mode: &str| format!("{PRICED}\nmode = \"{mode}\"");
        assert_eq!(stops(PRICED, "price = \"1 msat\""), [], "a lower price is a price");
        assert_eq!(stops(PRICED, free), [(How::Free, Vec::new())]);
        assert_eq!(stops(PRICED, &with("shadow")), [(How::Shadow, Vec::new())]);
        assert_eq!(stops(PRICED, &with("off")), [(How::Off, Vec::new())]);
        assert_eq!(stops(&with("shadow"), &with("off")), [(How::Off, Vec::new())]);
        assert_eq!(stops(&with("off"), &with("shadow")), [(How::Shadow, Vec::new())], "nobody was let in");
        assert_eq!(stops(&with("off"), PRICED), []);
        assert_eq!(stops(free, "price = \"free\"\nmode = \"shadow\""), []);
        let gone = Stop::between(&service(PRICED), &table(""));
        assert_eq!(gone.iter().map(|stop| stop.how).collect::<Vec<_>>(), [How::Removed]);
    }

    #[test]
    fn a_route_that_is_given_away_is_named() {
        let part = |requests: &[&str]| {
            vec![(How::Free, requests.iter().map(|&text| text.to_owned()).collect::<Vec<_>>())]
        };
        let one_free = ROUTES.replace("7 sat", "free");
        assert_eq!(stops(ROUTES, &one_free), part(&["/v1/users/{id}"]));
        assert_eq!(stops(ROUTES, &ROUTES.replace("9 sat", "free")), part(&["POST /v1/files/*"]));
        assert_eq!(stops(ROUTES, &ROUTES.replace("5 sat", "free")), part(&["/v1/*"]));
        assert_eq!(
            stops(PRICED, &one_free),
            part(&["/v1/users/{id}"]),
            "a new route takes them out of the rest"
        );
        let rest_free =
            "price = \"free\"\nroute = [{ method = \"POST\", path = \"/v1/files/*\", price = \"9 sat\" }]";
        assert_eq!(
            stops(&ROUTES.replace("5 sat", "free"), rest_free),
            part(&["/v1/users/{id}"]),
            "a route is gone"
        );
        assert_eq!(stops(ROUTES, PRICED), [], "what is left costs what the service says");
    }
}
