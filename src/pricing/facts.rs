//! What a rule may look at: the request, its answer, and what the token was used for before.

use http::HeaderMap;
use serde_json::Value;

/// The request, as it was admitted; what is priced is what is sent.
#[derive(Clone, Debug, Default)]
pub struct RequestFacts {
    /// The method, upper case.
    pub method: String,
    /// The canonical path, without the query.
    pub path: String,
    /// The query, without its `?`.
    pub query: Option<String>,
    /// The headers that are forwarded; no credential is among them.
    pub headers: HeaderMap,
    /// The body's size in bytes, when it was announced or the body was read.
    pub size_bytes: Option<u64>,
    /// The body, when a rule reads it and it is JSON within the limit.
    pub json: Option<Value>,
}

/// The answer, as far as it went.
#[derive(Clone, Debug, Default)]
pub struct ResponseFacts {
    /// The status code.
    pub status: u16,
    /// The headers that are handed down.
    pub headers: HeaderMap,
    /// Bytes of body handed down so far.
    pub bytes: u64,
    /// Milliseconds since the request was dispatched.
    pub ms: u64,
    /// Server-sent events handed down so far; for other bodies, the frames.
    pub chunks: u64,
    /// The body, once it ended, when a rule reads it: the JSON document, or the last server-sent
    /// event whose data is a JSON object.
    pub json: Option<Value>,
}

/// What the token was used for before this request: what volume tiers count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Requests that were charged or are on their way.
    pub requests: u64,
    /// Bytes of answers handed down.
    pub bytes: u64,
}
