//! A request that costs something and takes a GET, for whoever wants to see a 402.

use std::sync::Arc;

use http::Method;

use super::Operator;
use crate::catalog::{Mode, Route, Service};

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

    /// The lines that buy it, on the machine of another Tollhouse that pays: the first makes the key that lets the
    /// second pay, each as it stands.
    pub fn bought(&self) -> [String; 2] {
        let host = self.host.as_ref().map(|host| format!(" -H 'Host: {host}'")).unwrap_or_default();
        [
            "(umask 077; tollhouse keys add --label fetch --scope pay > pay.key)".to_owned(),
            format!(
                "tollhouse fetch '{}'{host} --wallet http://127.0.0.1:8403 --wallet-key-file pay.key",
                self.url
            ),
        ]
    }
}

impl Operator {
    /// One of the service `named`, else of any; nothing when nothing costs.
    pub fn sample(&self, named: Option<&str>) -> Option<Sample> {
        let table = self.parts.storefront.catalog().current();
        let chosen = |service: &&Arc<Service>| match named {
            Some(name) => service.name.as_str() == name,
            // What is off answers 404, and what is in shadow asks nothing: neither would earn.
            None => service.mode == Mode::On,
        };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_that_buy_it_name_who_pays_and_its_key() {
        let sample = Sample {
            service: "a".to_owned(),
            path: "/v1".to_owned(),
            host: Some("api.example.com".to_owned()),
            url: "http://127.0.0.1:8402/v1".to_owned(),
        };
        let [key, fetch] = sample.bought();
        assert!(key.contains("keys add --label fetch --scope pay > pay.key"), "{key}");
        assert_eq!(
            fetch,
            "tollhouse fetch 'http://127.0.0.1:8402/v1' -H 'Host: api.example.com' --wallet http://127.0.0.1:8403 \
             --wallet-key-file pay.key"
        );
    }
}
