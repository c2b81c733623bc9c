//! Admission: what arrived becomes a [`CanonicalRequest`], or is refused (THREATS 8 to 12).
//!
//! A `CanonicalRequest` is the only thing that both the pricer and the forwarder take, so what was
//! priced is what is sent. Its fields are private and [`admit`] is its only maker.
//!
//! # What does not come here as it was sent
//! Connections are read through [`crate::proxy::Framed`] and then by hyper. What they hide or repair, and
//! the test (`tests/it/gateway/`) that shows over a raw socket what arrives upstream of it:
//!
//! | sent | what becomes of it | test |
//! |---|---|---|
//! | Content-Length beside Transfer-Encoding, or twice, also equal | `Framed`: 400 | `abuse::no_request_is_smuggled_in_anothers_body` |
//! | a bare line feed in a head | `Framed`: 400; hyper alone would take it for a line's end | `arrives::a_header_line_that_is_folded_or_has_no_clear_name_is_refused` |
//! | a Transfer-Encoding other than one `chunked` | `Framed`: 501 | `abuse::no_request_is_smuggled_in_anothers_body` |
//! | a folded line, a space before the colon, no colon | hyper: 400 | `arrives::a_header_line_that_is_folded_or_has_no_clear_name_is_refused` |
//! | two spaces in the request line, HTTP/1.2, HTTP/0.9 | hyper: 400 | `arrives::a_request_line_that_is_not_one_is_refused` |
//! | `#fragment` | hyper cuts it off; the path before it is priced and sent | `arrives::a_fragment_does_not_arrive_and_the_rest_of_the_target_does` |
//! | `http://host/path` in the request line | the path is sent; the host must be `Host`'s | `abuse::one_host_is_served_by_its_one_name` |
//! | HTTP/1.0 | answered once and closed, sent on as HTTP/1.1; chunks are refused | `arrives::http_1_0_is_served_once_and_only_without_chunks` |
//! | chunk extensions | dropped; sizes in another spelling break the body off | `arrives::chunks_arrive_as_a_body_and_nothing_more` |
//! | a body of GET, DELETE, OPTIONS | sent, with its length | `arrives::a_body_is_as_long_as_it_says_on_every_method` |
//! | bytes behind a body | the next request, judged by itself | `arrives::a_body_is_as_long_as_it_says_on_every_method` |
//! | more than 100 header lines, or 64 KiB of them | 431 | `arrives::a_head_has_bounds` |
//! | letter case of header names, space around values | lower case, none | `abuse::the_upstream_sees_only_our_claims` |
//! | `Expect: 100-continue` | answered by hyper when the body is first read, which is after payment | `streams::a_body_is_not_read_before_it_is_paid_for` |

use std::net::IpAddr;

use http::request::Parts;
use http::uri::Scheme;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use thiserror::Error;

use crate::types::host::canonical_host;
use crate::types::path::{PathFault, canonical_path};

mod asker;
mod headers;
mod json;

pub use asker::{Asker, ForwardedBy, Proxies};
pub use headers::cleaned_trailers;
pub use json::{MAX_JSON_BYTES, may_be_json, plain_json};

/// Longest query that is forwarded, in bytes.
const MAX_QUERY_BYTES: usize = 16 * 1024;

/// The methods that are let in; anything else is 405.
pub const METHODS: [Method; 7] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];

/// One request in its one spelling.
#[derive(Clone)]
pub struct CanonicalRequest {
    method: Method,
    host: String,
    path: String,
    query: Option<String>,
    headers: HeaderMap,
    peer: IpAddr,
    scheme: Option<Scheme>,
    asides: Asides,
}

/// What the client said of this hop alone, and what its request means for the next one.
#[derive(Clone, Debug, Default)]
struct Asides {
    takes_trailers: bool,
    announced: Option<HeaderValue>,
    websocket: bool,
}

impl std::fmt::Debug for CanonicalRequest {
    /// Leaves query and headers out: they may carry the client's secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CanonicalRequest({} {}{} from {})", self.method, self.host, self.path, self.peer)
    }
}

impl CanonicalRequest {
    /// The method, one of [`METHODS`].
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The host: lower-case, without port or trailing dot.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The path in its canonical spelling.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The query as it came, in ASCII.
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// What may go upstream: no hop-by-hop headers, no credentials of ours, nothing that claims
    /// another method, path or client.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The client's address: the connection's, or what a trusted proxy says. Never IPv4 in IPv6.
    pub fn peer(&self) -> IpAddr {
        self.peer
    }

    /// Whether the client asked with TLS, where that is known.
    pub fn scheme(&self) -> Option<&Scheme> {
        self.scheme.as_ref()
    }

    /// Whether the client reads trailers (RFC 9110 §6.5.1).
    pub fn takes_trailers(&self) -> bool {
        self.asides.takes_trailers
    }

    /// The trailers that the client announced and that may go upstream.
    pub fn announced_trailers(&self) -> Option<&HeaderValue> {
        self.asides.announced.as_ref()
    }

    /// Whether the client asks for a WebSocket (RFC 6455 §4.1). No other protocol is switched to: what is
    /// spoken after it could not be told from requests that nobody paid for.
    pub fn wants_websocket(&self) -> bool {
        self.asides.websocket
    }

    /// Whether it is a gRPC call.
    pub fn is_grpc(&self) -> bool {
        is_grpc(&self.headers)
    }
}

/// Whether a request with these headers is a gRPC call, over HTTP/2 or as browsers send it (gRPC-Web).
pub fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let Some((kind, rest)) = kind.split_at_checked(GRPC.len()) else { return false };
    kind.eq_ignore_ascii_case(GRPC) && matches!(rest.first(), None | Some(b'+' | b';' | b'-'))
}

/// What a gRPC call's `Content-Type` begins with.
const GRPC: &[u8] = b"application/grpc";

/// Why a request is not let in. Nothing was priced and nothing was sent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{code}: {detail}")]
pub struct Inadmissible {
    /// The status to answer with.
    pub status: StatusCode,
    /// Stable code for programs.
    pub code: &'static str,
    /// A sentence for people.
    pub detail: String,
}

impl Inadmissible {
    fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Inadmissible {
        Inadmissible { status, code, detail: detail.into() }
    }

    fn bad(code: &'static str, detail: impl Into<String>) -> Inadmissible {
        Inadmissible::new(StatusCode::BAD_REQUEST, code, detail)
    }
}

/// Lets a request of `asker` in: an address, or what [`Proxies::asker`] found.
///
/// # Errors
/// When two servers might read it in two ways, or when it is no request that a gateway forwards.
pub fn admit(parts: &Parts, asker: impl Into<Asker>) -> Result<CanonicalRequest, Inadmissible> {
    let Asker { address: peer, scheme, host: told } = asker.into();
    if let Some(code) = parts.headers.get(&REFUSED) {
        return Err(refused(code.as_bytes()));
    }
    if !METHODS.contains(&parts.method) {
        return Err(Inadmissible::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "only GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS pass",
        ));
    }
    if parts.version == Version::HTTP_09 {
        return Err(Inadmissible::new(StatusCode::HTTP_VERSION_NOT_SUPPORTED, "http_version", "HTTP/0.9"));
    }
    let host = match (host(parts)?, told) {
        (host, None) => host,
        (_, Some(told)) => told_host(&told)?,
    };
    let path = canonical_path(parts.uri.path()).map_err(|fault| match fault {
        PathFault::TooLong => Inadmissible::new(StatusCode::URI_TOO_LONG, "path_too_long", fault.to_string()),
        other => Inadmissible::bad("bad_path", other.to_string()),
    })?;
    let query = parts.uri.query().map(query).transpose()?;
    framing(&parts.headers)?;
    let mut headers = headers::cleaned(&parts.headers)?;
    if parts.version == Version::HTTP_2 {
        headers::join_cookies(&mut headers);
    }
    let asides = Asides {
        takes_trailers: headers::lists(&parts.headers, &header::TE, "trailers"),
        announced: headers::announced_trailers(&parts.headers),
        websocket: headers::asks_for_websocket(parts),
    };
    Ok(CanonicalRequest { method: parts.method.clone(), host, path, query, headers, peer, scheme, asides })
}

/// Set by whoever read the bytes before us and could not tell where the request ends.
const REFUSED: HeaderName = HeaderName::from_static("x-tollhouse-refused");

fn refused(code: &[u8]) -> Inadmissible {
    match code {
        b"head_too_large" => Inadmissible::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "head_too_large",
            "the request's head is too large",
        ),
        b"transfer_encoding" => not_chunked(),
        _ => Inadmissible::bad("bad_framing", "it cannot be told in one way where the request ends"),
    }
}

fn not_chunked() -> Inadmissible {
    Inadmissible::new(
        StatusCode::NOT_IMPLEMENTED,
        "transfer_encoding",
        "the only transfer encoding that is understood is one `chunked`",
    )
}

/// Exactly one host, and the same in the request line when that names one.
fn host(parts: &Parts) -> Result<String, Inadmissible> {
    let bad = |detail: &str| Inadmissible::bad("bad_host", detail);
    let authority = parts.uri.authority().map(http::uri::Authority::as_str);
    let mut named = parts.headers.get_all(header::HOST).iter();
    let first = match named.next() {
        Some(value) => Some(value.to_str().map_err(|_| bad("the Host header is not text"))?),
        None => None,
    };
    if named.next().is_some() {
        return Err(bad("more than one Host header"));
    }
    let text = match (first, authority) {
        (Some(host), Some(authority)) if !host.eq_ignore_ascii_case(authority) => {
            return Err(bad("the Host header and the request line name different hosts"));
        }
        (Some(host), _) => host,
        // HTTP/2 has no Host header but the authority; HTTP/1 must send one.
        (None, Some(authority)) if parts.version == Version::HTTP_2 => authority,
        (None, _) => return Err(bad("no Host header")),
    };
    canonical_host(text).map_err(|fault| bad(&format!("the Host header is {fault}")))
}

/// The host that a trusted proxy says the client asked.
fn told_host(told: &HeaderValue) -> Result<String, Inadmissible> {
    let bad = |detail: &str| Inadmissible::bad("bad_host", detail);
    let told = told.to_str().map_err(|_| bad("the forwarded host is not text"))?;
    canonical_host(told).map_err(|fault| bad(&format!("the forwarded host is {fault}")))
}

fn query(query: &str) -> Result<String, Inadmissible> {
    if query.len() > MAX_QUERY_BYTES {
        return Err(Inadmissible::new(
            StatusCode::URI_TOO_LONG,
            "query_too_long",
            "the query is longer than 16 KiB",
        ));
    }
    let mut ascii = String::with_capacity(query.len());
    for byte in query.bytes() {
        match byte {
            0..=0x20 | 0x7f => {
                return Err(Inadmissible::bad("bad_query", "the query has a control character"));
            }
            0x80.. => ascii.push_str(&format!("%{byte:02X}")),
            _ => ascii.push(char::from(byte)),
        }
    }
    Ok(ascii)
}

/// One way to know where the body ends (THREATS 11).
fn framing(headers: &HeaderMap) -> Result<(), Inadmissible> {
    let mut encodings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let encoding = encodings.next();
    let length = lengths.next();
    if encoding.is_some() && length.is_some() {
        return Err(Inadmissible::bad("bad_framing", "both Content-Length and Transfer-Encoding"));
    }
    if let Some(encoding) = encoding {
        let chunked = encoding.as_bytes().eq_ignore_ascii_case(b"chunked");
        if !chunked || encodings.next().is_some() {
            return Err(not_chunked());
        }
    }
    if let Some(length) = length {
        let digits = !length.is_empty() && length.as_bytes().iter().all(u8::is_ascii_digit);
        if !digits || lengths.next().is_some() {
            return Err(Inadmissible::bad("bad_framing", "not exactly one Content-Length"));
        }
    }
    Ok(())
}

/// The headers that carry one of our credentials besides `Authorization`.
pub const CREDENTIAL_HEADERS: [HeaderName; 3] = [
    HeaderName::from_static("macaroon"),
    HeaderName::from_static("grpc-metadata-macaroon"),
    // Where a later draft of the Payment scheme puts it beside another `Authorization`.
    HeaderName::from_static("payment-authorization"),
];

#[cfg(test)]
mod tests;
