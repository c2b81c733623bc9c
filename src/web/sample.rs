//! A request that costs something and takes a GET, for whoever wants to see a 402.

use std::sync::Arc;

use http::Method;

use super::Operator;
use crate::catalog::{Route, Service};

/// A request at the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Whose it is.
    pub service: String,
    /// The path.
    pub path: String,
    /// The `Host` that its service answers to, where it wants one.
    pub host: Option<String>,
    /// The whole address.
    pub url: String,
}

impl Sample {
    /// The line that asks for it in a shell.
    pub fn curl(&self) -> String {
        match &self.host {
            Some(host) => format!("curl -i -H 'Host: {host}' '{}'", self.url),
            None => format!("curl -i '{}'", self.url),
        }
    }
}

impl Operator {
    /// One of the service `named`, else of any; nothing when nothing costs.
    pub fn sample(&self, named: Option<&str>) -> Option<Sample> {
        let table = self.parts.storefront.catalog().current();
        let chosen = |service: &&Arc<Service>| named.is_none_or(|name| service.name.as_str() == name);
        table.services().iter().filter(chosen).find_map(|service| {
            let path = path(service)?;
            Some(Sample {
                service: service.name.to_string(),
                url: format!("{}{path}", self.parts.config.gateway),
                host: service.host.clone(),
                path,
            })
        })
    }
}

/// `/users/{id}` with something in its place.
fn filled(path: &str) -> String {
    let parts = path.split('/').map(|part| if part.starts_with('{') { "1" } else { part });
    parts.collect::<Vec<_>>().join("/")
}

fn path(service: &Service) -> Option<String> {
    let gets = |route: &&Route| route.method.as_ref().is_none_or(|method| *method == Method::GET);
    let route = service.routes.iter().filter(gets).find(|route| !route.terms.rule.is_free());
    let route = route.map(|route| filled(route.path.front()));
    route.or_else(|| (!service.terms.rule.is_free()).then(|| service.path.clone()))
}
