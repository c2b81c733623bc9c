//! What stands before every handler of the admin listener, and what every response carries.

use std::fmt;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::{Operator, Problem, hosts};
use crate::clock::Entropy;

/// The word that lets one page's own script run, new with every response.
#[derive(Clone, Debug)]
pub struct Nonce(String);

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Refuses foreign hosts (421) and cross-site changes (403), makes the nonce, and puts the security
/// headers on whatever comes back, refusals included.
pub(super) async fn guard(State(op): State<Arc<Operator>>, request: Request, next: Next) -> Response {
    pass(&op.hosts, op.parts.entropy.as_ref(), request, next).await
}

/// The same for whoever answers to `hosts`.
pub(super) async fn pass(
    listed: &hosts::HostList,
    entropy: &dyn Entropy,
    mut request: Request,
    next: Next,
) -> Response {
    let mut bytes = [0; 16];
    entropy.fill(&mut bytes);
    let nonce = Nonce(BASE64_URL_SAFE_NO_PAD.encode(bytes));
    let mut response = if !listed.admits(request.headers()) {
        Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            "unknown_host",
            "This address does not serve that host. Call it by its listening address, or add the \
             host name to the admin hosts in the configuration.",
        )
        .into_response()
    } else if !hosts::same_origin(request.method(), request.headers())
        && !hosts::plain_program(request.uri().path(), request.headers())
    {
        Problem::new(
            StatusCode::FORBIDDEN,
            "cross_site",
            "The request did not come from this site's own pages, so nothing was done. Programs \
             send an API key in Authorization instead of a cookie.",
        )
        .into_response()
    } else {
        request.extensions_mut().insert(nonce.clone());
        next.run(request).await
    };
    protect(response.headers_mut(), &nonce);
    response
}

fn protect(headers: &mut HeaderMap, nonce: &Nonce) {
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'self'; img-src 'self'; font-src 'self'; \
         connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    );
    let policy = HeaderValue::try_from(policy).expect("base64 and a fixed text are visible ASCII");
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    let fixed = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // Nothing leaves for other sites. `no-referrer` would make browsers send `Origin: null` with
        // our own forms, and over plain HTTP in a home network nothing else vouches for them.
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}
