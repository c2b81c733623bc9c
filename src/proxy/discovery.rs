//! What this host sells, for programs that look before they ask: free, cacheable, and made of the price
//! list in force, so that it is never behind it.
//!
//! | path | what |
//! |---|---|
//! | `/.well-known/l402-services` (also `/.well-known/l402`, `/.well-known/l402.json`) | every endpoint with its price and offers |
//! | `/openapi.json` | OpenAPI 3.1 with `x-service-info` and `x-payment-info`; a service's own document is merged in |
//! | `/llms.txt` | the same in words, with one worked example |
//!
//! Only what is on, and only services of the asked host, are told. A route or service that an operator
//! has for exactly such a path goes before it. Where nothing is sold there is nothing to discover: 404.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE, ETAG, HOST, IF_NONE_MATCH, VARY,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use ring::digest;
use serde_json::Value;

use super::ProxyState;
use crate::catalog::{Mode, PathPattern, RouteTable, Service};
use crate::request::CanonicalRequest;

mod endpoint;
mod openapi;
mod rendered;
mod upstream_document;
mod words;

pub(super) use rendered::Rendered;
pub(super) use upstream_document::Documents;

/// How long a copy may be used without asking again, in seconds.
const FRESH: &str = "public, max-age=60";

/// Which document is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Services,
    OpenApi,
    Words,
}

fn kind(path: &str) -> Option<Kind> {
    match path {
        "/.well-known/l402-services" | "/.well-known/l402" | "/.well-known/l402.json" => Some(Kind::Services),
        "/openapi.json" => Some(Kind::OpenApi),
        "/llms.txt" => Some(Kind::Words),
        _ => None,
    }
}

/// Answers when the request is for a document of ours.
pub(super) async fn answer(
    state: &ProxyState,
    request: &CanonicalRequest,
    headers: &HeaderMap,
) -> Option<Response> {
    let kind = kind(request.path()).filter(|_| matches!(*request.method(), Method::GET | Method::HEAD))?;
    let table = state.checkout.price_list();
    let (host, path) = (request.host(), request.path());
    if has_its_own(&table, host, path) {
        return None;
    }
    let sold: Vec<Arc<Service>> = answering(&table, host).filter(|s| s.mode == Mode::On).cloned().collect();
    if sold.is_empty() {
        return None;
    }
    let base = base(state, &sold, host, headers);
    let mut documents = Vec::new();
    if kind == Kind::OpenApi {
        let now = state.checkout.now();
        for service in &sold {
            documents.push(state.documents.of(&state.upstreams, service, now).await);
        }
    }
    // Whoever asks chooses both names; what is costly is written once for all that nobody named.
    let host = if answering(&table, host).any(|service| service.host.is_some()) { host } else { "" };
    let text = state.rendered.get((kind, host.to_owned()), table, documents, |table, documents| match kind {
        Kind::Services => endpoint::document(&sold, BASE).to_string(),
        Kind::OpenApi => openapi::document(table, host, &sold, documents, BASE).to_string(),
        Kind::Words => words::document(&sold, BASE),
    });
    Some(cacheable(kind, based(kind, &text, &base), headers))
}

/// Stands for the address in what is kept.
const BASE: &str = "http://this-gateway.tollhouse.invalid";

/// The document of whom `base` reaches.
fn based(kind: Kind, text: &str, base: &str) -> Bytes {
    let quoted = Value::from(base).to_string();
    let base = if kind == Kind::Words { base } else { quoted.trim_matches('"') };
    Bytes::from(text.replace(BASE, base))
}

fn answering<'t>(table: &'t RouteTable, host: &'t str) -> impl Iterator<Item = &'t Arc<Service>> {
    table.services().iter().filter(move |service| service.host.as_deref().is_none_or(|own| own == host))
}

/// Whether the operator has something of exactly this path.
pub(super) fn has_its_own(table: &RouteTable, host: &str, path: &str) -> bool {
    answering(table, host).any(|service| {
        let named = |pattern: &PathPattern| matches!(pattern, PathPattern::Exact(own) if own == path);
        service.path == path || service.routes.iter().any(|route| named(&route.path))
    })
}

/// How customers reach this host: as this one did, or as the operator says where they may come by any
/// name.
fn base(state: &ProxyState, sold: &[Arc<Service>], host: &str, headers: &HeaderMap) -> String {
    let named = sold.iter().any(|service| service.host.is_some());
    if let Some(public) = state.config.public_url.as_ref().filter(|_| !named) {
        return public.clone();
    }
    let scheme = state.config.public_scheme.to_str().unwrap_or("http");
    let asked = headers.get(HOST).and_then(|value| value.to_str().ok()).unwrap_or(host);
    format!("{scheme}://{asked}")
}

fn cacheable(kind: Kind, text: Bytes, asked: &HeaderMap) -> Response {
    let media = match kind {
        Kind::Services | Kind::OpenApi => "application/json",
        Kind::Words => "text/plain; charset=utf-8",
    };
    let hash = digest::digest(&digest::SHA256, &text);
    let tag = format!("\"{}\"", hex::encode(&hash.as_ref()[..16]));
    let known = asked.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok()).any(|list| {
        list.split(',').any(|one| matches!(one.trim(), "*") || one.trim().trim_start_matches("W/") == tag)
    });
    let mut response = Response::new(if known { Body::empty() } else { Body::from(text) });
    if known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(FRESH));
    headers.insert(VARY, HeaderValue::from_static("Host"));
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    if let Ok(tag) = HeaderValue::try_from(tag) {
        headers.insert(ETAG, tag);
    }
    response
}
