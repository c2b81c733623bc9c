//! What a request would cost, and why: which route it is for, and why no other. Nothing is sold by asking.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use http::{HeaderMap, Method, Request, Uri, header};
use serde::Deserialize;
use serde_json::{Value, json};

use super::bad_body;
use crate::catalog::{Candidate, Fate};
use crate::checkout::BodySeen;
use crate::request::{CanonicalRequest, admit, may_be_json, plain_json};
use crate::web::{MayRead, Operator, Problem};

/// What `POST /api/v1/price` takes: a request as a customer would send it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// GET by default.
    #[serde(default)]
    method: Option<String>,
    /// Whole, or a path for the gateway's own host.
    url: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Text, or JSON as it stands.
    #[serde(default)]
    body: Option<Value>,
}

/// `POST /api/v1/price`.
pub(super) async fn ask(
    _: MayRead,
    State(op): State<Arc<Operator>>,
    asked: Result<Json<Asked>, JsonRejection>,
) -> Result<Json<Value>, Problem> {
    let Json(asked) = asked.map_err(bad_body)?;
    let (request, headers) = request(&asked, &op.parts.config.gateway)?;
    let table = op.parts.storefront.catalog().current();
    let explained = table.explain(request.method(), request.host(), request.path());
    let text = asked.body.as_ref().map(|body| body.as_str().map_or_else(|| body.to_string(), str::to_owned));
    let text = text.unwrap_or_default();
    let json = if may_be_json(&headers) { plain_json(text.as_bytes()) } else { None };
    let seen = BodySeen { size_bytes: u64::try_from(text.len()).ok(), json };
    let mut answer = match op.parts.checkout.price(&request, &headers, seen) {
        Some(tag) => tag.json(),
        None => json!({ "service": null, "why": ["nothing is sold there: 404"] }),
    };
    answer["method"] = json!(request.method().as_str());
    answer["host"] = json!(request.host());
    answer["path"] = json!(request.path());
    answer["candidates"] = explained.candidates.iter().map(candidate).collect();
    Ok(Json(answer))
}

/// The request as the gateway would let it in.
fn request(asked: &Asked, gateway: &str) -> Result<(CanonicalRequest, HeaderMap), Problem> {
    let bad = |code: &'static str, detail: String| Problem::bad_request(code, detail);
    let whole =
        if asked.url.starts_with('/') { format!("{gateway}{}", asked.url) } else { asked.url.clone() };
    let uri: Uri = whole.parse().map_err(|error| bad("bad_url", format!("url: {error}.")))?;
    let Some(authority) = uri.authority().filter(|_| uri.scheme().is_some()).cloned() else {
        return Err(bad(
            "bad_url",
            "url: write it whole, such as https://api.example.com/v1/rates.".to_owned(),
        ));
    };
    let method: Method = asked
        .method
        .as_deref()
        .unwrap_or("GET")
        .parse()
        .map_err(|_| bad("bad_method", "method: there is no such method.".to_owned()))?;
    let target = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in &asked.headers {
        if !name.eq_ignore_ascii_case(header::HOST.as_str()) {
            request = request.header(name, value);
        }
    }
    let request = request.header(header::HOST, authority.as_str()).body(());
    let (parts, ()) = request.map_err(|error| bad("bad_request", format!("headers: {error}.")))?.into_parts();
    let admitted = admit(&parts, IpAddr::V4(Ipv4Addr::LOCALHOST)).map_err(|refused| {
        let detail = format!("The gateway would refuse it: {}.", refused.detail);
        Problem::new(refused.status, refused.code, detail)
    })?;
    Ok((admitted, parts.headers))
}

fn candidate(candidate: &Candidate) -> Value {
    let host = candidate.service.host.as_deref().unwrap_or("*");
    json!({
        "service": candidate.service.name,
        "route": candidate.route,
        "requests": format!(
            "{} {host}{}",
            candidate.method.as_ref().map_or("any", Method::as_str),
            candidate.path
        ),
        "won": matches!(candidate.fate, Fate::Won | Fate::WonByLikeness),
        "why": candidate.fate.to_string(),
    })
}
