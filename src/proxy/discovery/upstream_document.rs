//! The OpenAPI documents of upstreams, fetched with bounds and kept for a while.
//!
//! A document that does not come, is too large or is no JSON is no reason to fail: what is sold is told
//! without it, and it is asked for again later. However many ask, the upstream is asked once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use http::{HeaderMap, Method, Request, StatusCode, Version};
use http_body_util::{BodyExt, Limited};
use serde_json::Value;

use super::super::body::ClientBody;
use super::super::target;
use super::super::upstream::Upstreams;
use crate::catalog::{Service, Speaks};
use crate::types::Timestamp;

/// The largest document that is read.
const LARGEST_BYTES: usize = 2 * 1_024 * 1_024;
/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long one is good.
const GOOD: Duration = Duration::from_secs(300);
/// How long until one that did not come is asked for again.
const RETRY: Duration = Duration::from_secs(30);
/// Documents that are kept.
const MOST: usize = 256;

/// One document, or none, until when.
#[derive(Clone, Debug)]
struct Kept {
    document: Option<Arc<Value>>,
    until: Timestamp,
}

type Slot = Arc<tokio::sync::Mutex<Option<Kept>>>;

/// The documents that are kept.
#[derive(Clone, Debug, Default)]
pub(crate) struct Documents(Arc<Mutex<HashMap<String, Slot>>>);

impl Documents {
    /// The document that `service` names, when it names one and it can be had.
    pub(super) async fn of(
        &self,
        upstreams: &Upstreams,
        service: &Service,
        now: Timestamp,
    ) -> Option<Arc<Value>> {
        let path = service.about.openapi.as_deref()?;
        let key = format!("{} {path}", service.upstream.base);
        let slot = {
            let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if slots.len() >= MOST && !slots.contains_key(&key) {
                slots.clear();
            }
            Arc::clone(slots.entry(key).or_default())
        };
        // One asks, the others wait for what comes of it.
        let mut kept = slot.lock().await;
        if let Some(kept) = kept.as_ref().filter(|kept| kept.until > now) {
            return kept.document.clone();
        }
        let got = tokio::time::timeout(PATIENCE, fetch(upstreams, service, path)).await.ok().flatten();
        let fresh = if got.is_some() { GOOD } else { RETRY };
        if got.is_none() {
            tracing::warn!(service = %service.name, path, "the upstream's OpenAPI document could not be had");
        }
        // An old document is better than none, as long as its upstream is only away.
        let document = got.map(Arc::new).or_else(|| kept.as_ref().and_then(|kept| kept.document.clone()));
        *kept = Some(Kept { document: document.clone(), until: now.plus(fresh) });
        document
    }
}

async fn fetch(upstreams: &Upstreams, service: &Service, path: &str) -> Option<Value> {
    let upstream = &service.upstream;
    let mut headers = HeaderMap::new();
    let host = upstream.host.clone();
    headers.extend(host.map(|host| (http::header::HOST, host)));
    headers.extend(upstream.headers.iter().cloned());
    let (body, upload) = ClientBody::new(Body::empty());
    let mut request = Request::new(body);
    *request.method_mut() = Method::GET;
    *request.uri_mut() = target::uri_of(upstream, path).ok()?;
    *request.headers_mut() = headers;
    if upstream.speaks == Speaks::Two {
        *request.version_mut() = Version::HTTP_2;
    }
    let waits = upstreams.waits(upstream);
    let answer = upstreams.send(request, &upload, &waits, || {}).await.ok()?;
    if answer.status() != StatusCode::OK {
        return None;
    }
    let whole = Limited::new(answer.into_body(), LARGEST_BYTES).collect().await.ok()?;
    serde_json::from_slice::<Value>(&whole.to_bytes()).ok().filter(|document| document["paths"].is_object())
}
