//! `/openapi.json`: every operation with its price, in the upstream's own document where there is one.
//!
//! A path of an upstream's document is shown as customers ask for it, priced as the table finds it, and
//! left out when it cannot be asked for here. Names of components are kept apart by service when there
//! is more than one document.

use std::sync::Arc;

use http::Method;
use serde_json::{Map, Value, json};

use super::endpoint::{Endpoint, endpoints, fixed, price, told};
use crate::catalog::{Dialects, Mode, Offering, PathPattern, RouteTable, Service, Terms};
use crate::payment_auth::{INTENT, METHOD};
use crate::pricing::{Amount, Rule};

/// What an operation may be.
const METHODS: [&str; 7] = ["get", "head", "post", "put", "patch", "delete", "options"];
/// What a route for any method is shown with.
const ANY: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// The document of all that is `sold` on `host`; `documents` are the upstreams' own, in the same order.
pub(super) fn document(
    table: &RouteTable,
    host: &str,
    sold: &[Arc<Service>],
    documents: &[Option<Arc<Value>>],
    base: &str,
) -> Value {
    let mut whole = match (sold, documents) {
        ([_], [Some(only)]) => {
            let mut own = (**only).clone();
            own["paths"] = json!({});
            own
        }
        _ => json!({ "openapi": "3.1.0", "info": info(sold), "paths": {} }),
    };
    whole["servers"] = json!([{ "url": base }]);
    let title = |service: &Arc<Service>| {
        let title = service.about.title.as_deref().unwrap_or(service.name.as_str());
        json!({ "name": service.name, "title": title, "description": service.about.description, "path": service.path })
    };
    whole["x-service-info"] = json!({
        "protocols": if sold.iter().any(|service| service.dialects.payment) { json!(["L402", "Payment"]) } else { json!(["L402"]) },
        "services": sold.iter().map(title).collect::<Vec<_>>(),
        "docs": {
            "llms": format!("{base}/llms.txt"),
            "l402": format!("{base}/.well-known/l402-services"),
        },
    });
    let mut paths = Map::new();
    let several = documents.iter().flatten().count() > 1 || sold.len() > 1;
    for (service, document) in sold.iter().zip(documents) {
        if let Some(document) = document {
            let mut own = (**document).clone();
            if several {
                keep_apart(&mut own, service.name.as_str(), &mut whole);
            }
            merge(&mut paths, &own, table, host, service);
        }
        let shown =
            |endpoint: &Endpoint<'_>| document.is_none() || !matches!(endpoint.path, PathPattern::Under(_));
        endpoints(service).iter().filter(|endpoint| shown(endpoint)).for_each(|one| add(&mut paths, one));
    }
    whole["paths"] = Value::Object(paths);
    whole
}

fn info(sold: &[Arc<Service>]) -> Value {
    let title = match sold {
        [only] => only.about.title.clone().unwrap_or_else(|| only.name.to_string()),
        _ => "Paid API".to_owned(),
    };
    let description = match sold {
        [only] => only.about.description.clone(),
        _ => None,
    };
    let description =
        description.unwrap_or_else(|| "Paid for by the L402 protocol, over Lightning.".to_owned());
    json!({ "title": title, "version": "1", "description": description })
}

/// Puts one of our own routes where no document says more of it.
fn add(paths: &mut Map<String, Value>, endpoint: &Endpoint<'_>) {
    let (path, parameters) = templated(&endpoint.path);
    let item = paths.entry(path).or_insert_with(|| json!({}));
    let methods: Vec<String> = match endpoint.method {
        Some(method) => vec![method.as_str().to_ascii_lowercase()],
        None => ANY.map(str::to_owned).to_vec(),
    };
    for method in methods {
        if item.get(&method).is_some() {
            continue;
        }
        let mut operation = json!({
            "operationId": format!("{}-{}-{method}", endpoint.service.name, endpoint.route),
            "summary": endpoint.description.unwrap_or_else(|| endpoint.title()),
            "tags": [endpoint.service.name],
            "responses": { "default": { "description": "What the service answers" } },
        });
        if !parameters.is_empty() {
            operation["parameters"] = parameters.clone().into();
        }
        charge(&mut operation, endpoint.route, endpoint.terms, endpoint.service.dialects);
        item[method] = operation;
    }
}

/// The path as OpenAPI has it, and its parameters; `*` is one, too.
fn templated(pattern: &PathPattern) -> (String, Vec<Value>) {
    let text = pattern.to_string();
    let path = match text.strip_suffix("/*") {
        Some(front) => format!("{front}/{{rest}}"),
        None => text,
    };
    let names = path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    let parameter =
        |name: &str| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } });
    let parameters = names.map(parameter).collect();
    (path, parameters)
}

/// Puts the operations of an upstream's document where customers ask for them.
fn merge(
    paths: &mut Map<String, Value>,
    document: &Value,
    table: &RouteTable,
    host: &str,
    service: &Service,
) {
    for (path, item) in document["paths"].as_object().into_iter().flatten() {
        let Some(shown) = asked_as(service, path) else { continue };
        let mut item = item.clone();
        let Some(operations) = item.as_object_mut() else { continue };
        let mut kept = false;
        for method in METHODS {
            let Some(operation) = operations.get_mut(method) else { continue };
            let asked = Method::from_bytes(method.to_ascii_uppercase().as_bytes()).unwrap_or(Method::GET);
            let found = table.lookup(&asked, host, &concrete(&shown));
            match found.filter(|found| found.service.name == service.name && found.service.mode == Mode::On) {
                Some(found) => {
                    charge(operation, found.route.as_str(), &found.terms, service.dialects);
                    kept = true;
                }
                None => {
                    operations.remove(method);
                }
            }
        }
        operations.remove("servers");
        if kept {
            paths.insert(shown, item);
        }
    }
}

/// The path of a request for what the upstream calls `path`; `None` when there is none.
fn asked_as(service: &Service, path: &str) -> Option<String> {
    let base = service.upstream.base.path().trim_end_matches('/');
    // A document may write its paths with the upstream's base, or without.
    let inner = path.strip_prefix(base).filter(|rest| rest.starts_with('/')).unwrap_or(path);
    let strip = service.upstream.strip_prefix.as_deref().unwrap_or_default();
    let asked = format!("{strip}{inner}");
    let asked = if asked.len() > 1 { asked.trim_end_matches('/').to_owned() } else { asked };
    crate::types::path::lies_under(&asked, &service.path).then_some(asked)
}

/// Some path that the template covers; the parameters get a word that no route is likely to name.
fn concrete(template: &str) -> String {
    let segment = |segment: &str| if segment.contains('{') { "~".to_owned() } else { segment.to_owned() };
    template.split('/').map(segment).collect::<Vec<_>>().join("/")
}

/// Says what an operation costs.
fn charge(operation: &mut Value, route: &str, terms: &Terms, dialects: Dialects) {
    let Some(operation) = operation.as_object_mut() else { return };
    if terms.rule.is_free() {
        operation.remove("x-payment-info");
        return;
    }
    let (mode, currency, amount) = match &terms.rule {
        Rule::Fixed(Amount::Fiat(fiat)) => {
            ("fixed", fiat.currency.to_string(), Some(fiat.amount.to_string()))
        }
        rule => match fixed(rule) {
            Some(msat) => ("fixed", "msat".to_owned(), Some(msat.msat().to_string())),
            None => ("dynamic", "msat".to_owned(), None),
        },
    };
    let info = json!({
        "protocols": protocols(terms, dialects),
        "intent": "charge",
        "method": "lightning",
        "amount": amount,
        "currency": currency,
        "price": { "mode": mode, "currency": currency, "amount": amount },
        "rule": price(&terms.rule),
        "route": route,
        "offers": terms.offers.iter().map(|offer| told(offer, &terms.rule)).collect::<Vec<_>>(),
        "restored_on": terms.restore.to_string(),
        "description": terms.rule.describe(),
    });
    operation.insert("x-payment-info".to_owned(), info);
    let responses = operation.entry("responses").or_insert_with(|| json!({}));
    if let Some(responses) = responses.as_object_mut() {
        let told = json!({ "description": "Payment required: an invoice and a token, by the L402 protocol" });
        responses.insert("402".to_owned(), told);
    }
}

/// How an operation may be paid for. The `Payment` scheme says single requests only, and the one that the 402
/// offers is the first.
fn protocols(terms: &Terms, dialects: Dialects) -> Value {
    let single = matches!(terms.offers.first().map(|offer| &offer.what), Some(Offering::Request));
    let charge =
        dialects.payment && single && fixed(&terms.rule).is_none_or(|price| price.whole_sats().is_some());
    let mut protocols = Vec::new();
    if dialects.l402 || dialects.lsat || !charge {
        protocols.push(json!({ "l402": {} }));
    }
    if charge {
        protocols.push(json!({ "mpp": { "method": METHOD, "intent": INTENT, "currency": "sat" } }));
    }
    protocols.into()
}

/// Gives the document's components names with the service's in front, and puts them into `whole`.
fn keep_apart(document: &mut Value, service: &str, whole: &mut Value) {
    rename(document, service);
    let Some(groups) = document["components"].as_object() else { return };
    for (group, named) in groups.clone() {
        for (name, component) in named.as_object().into_iter().flatten() {
            whole["components"][&group][format!("{service}.{name}")] = component.clone();
        }
    }
}

/// Follows the new names in every reference.
fn rename(value: &mut Value, service: &str) {
    match value {
        Value::Object(table) => {
            for (key, inner) in table.iter_mut() {
                let reference = inner.as_str().filter(|_| key == "$ref").and_then(|text| {
                    let (group, name) = text.strip_prefix("#/components/")?.split_once('/')?;
                    Some(format!("#/components/{group}/{service}.{name}"))
                });
                match reference {
                    Some(reference) => *inner = Value::String(reference),
                    None => rename(inner, service),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, service)),
        _ => {}
    }
}
