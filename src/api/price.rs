//! What a request would cost, and why: which route it is for, and why no other. Nothing is sold by asking.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::bad_body;
use crate::catalog::{Candidate, Fate};
use crate::web::{MayRead, Operator, PriceAsk, PriceTold, Problem};

/// What `POST /api/v1/price` takes: a request as a customer would send it.
#[derive(Debug, Deserialize, JsonSchema)]
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
) -> Result<Json<Price>, Problem> {
    let Json(Asked { method, url, headers, body }) = asked.map_err(bad_body)?;
    let method: Method = method
        .as_deref()
        .unwrap_or("GET")
        .parse()
        .map_err(|_| Problem::bad_request("bad_method", "method: there is no such method."))?;
    let text = body.map(|body| body.as_str().map_or_else(|| body.to_string(), str::to_owned));
    let ask =
        PriceAsk { method, url, headers: headers.into_iter().collect(), body: text.unwrap_or_default() };
    let PriceTold { request, tag, candidates } = op.price_of(&ask)?;
    let tag = match tag {
        Some(tag) => tag.json(),
        None => json!({ "service": null, "why": ["nothing is sold there: 404"] }),
    };
    Ok(Json(Price {
        method: request.method().to_string(),
        host: request.host().to_owned(),
        path: request.path().to_owned(),
        candidates: candidates.iter().map(Weighed::from).collect(),
        tag,
    }))
}

/// What a request would cost, and why: `service`, `route`, `price`, `why`, `offers` and more, as
/// `tollhouse price --json` says it.
#[derive(Serialize, JsonSchema)]
pub(super) struct Price {
    method: String,
    host: String,
    path: String,
    /// The routes that it might have been for.
    candidates: Vec<Weighed>,
    #[serde(flatten)]
    tag: Value,
}

/// A route that the request might be for.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Candidate")]
struct Weighed {
    service: String,
    route: String,
    /// What it is for.
    requests: String,
    won: bool,
    why: String,
}

impl From<&Candidate> for Weighed {
    fn from(candidate: &Candidate) -> Weighed {
        let host = candidate.service.host.as_deref().unwrap_or("*");
        let method = candidate.method.as_ref().map_or("any", Method::as_str);
        Weighed {
            service: candidate.service.name.to_string(),
            route: candidate.route.to_string(),
            requests: format!("{method} {host}{}", candidate.path),
            won: matches!(candidate.fate, Fate::Won | Fate::WonByLikeness),
            why: candidate.fate.to_string(),
        }
    }
}
