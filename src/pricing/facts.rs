//! What a rule may look at: the request, its answer, and what the token was used for before.

use http::HeaderMap;
use serde_json::Value;

use super::Currency;

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
    /// The body's size in bytes, when it was announced or the body was read; `Some(0)` when there is
    /// none.
    pub size_bytes: Option<u64>,
    /// The body, when a rule reads it and it is JSON within the limit. A body that is not (`None`
    /// without `size_bytes` being zero) gives no price, rather than that of an empty one.
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
    /// The body, once it ended, when a rule reads it: the JSON document, or of an event stream the last
    /// event whose data is a JSON object with a `usage` that is not null, else the last with an object.
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

/// What a rule has to be shown: what it does not read may be left out of the facts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    /// The request's method.
    pub method: bool,
    /// Its path.
    pub path: bool,
    /// Its query.
    pub query: bool,
    /// Its headers.
    pub headers: bool,
    /// The size of its body.
    pub size_bytes: bool,
    /// Its body as JSON.
    pub request_json: bool,
    /// The answer's status.
    pub status: bool,
    /// The answer's headers.
    pub response_headers: bool,
    /// The bytes of the answer's body.
    pub bytes: bool,
    /// How long the answer takes.
    pub ms: bool,
    /// The answer's events or frames.
    pub chunks: bool,
    /// The answer's body as JSON.
    pub response_json: bool,
    /// How much the token was used before.
    pub used: bool,
    /// The rate of this currency.
    pub rate: Option<Currency>,
}

impl Reads {
    /// Nothing at all.
    pub const NOTHING: Reads = Reads {
        method: false,
        path: false,
        query: false,
        headers: false,
        size_bytes: false,
        request_json: false,
        status: false,
        response_headers: false,
        bytes: false,
        ms: false,
        chunks: false,
        response_json: false,
        used: false,
        rate: None,
    };

    /// Whether it reads anything of the request, so that two of them may cost different amounts.
    pub const fn request(&self) -> bool {
        self.method || self.path || self.query || self.headers || self.size_bytes || self.request_json
    }

    /// Whether it reads anything of the answer.
    pub const fn response(&self) -> bool {
        self.status || self.response_headers || self.bytes || self.ms || self.chunks || self.response_json
    }
}
