//! `/api/v1/keys`: keys for programs, each with the scopes that it needs and no more.
//!
//! A key is shown in the answer that makes it and never again: only its hash is kept.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{bad_body, label, ledger_fault};
use crate::store::ApiKeyRow;
use crate::web::keys::{self, Scope};
use crate::web::{MayAdmin, Operator, Problem};

/// What `POST /api/v1/keys` takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Add {
    label: String,
    scopes: Vec<String>,
}

/// `POST /api/v1/keys`.
pub(super) async fn add(
    _: MayAdmin,
    State(op): State<Arc<Operator>>,
    body: Result<Json<Add>, JsonRejection>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let Json(Add { label: text, scopes }) = body.map_err(bad_body)?;
    let label = label(&text)?;
    let mut wanted: Vec<Scope> = Vec::new();
    for word in &scopes {
        let scope = word.parse().map_err(|error| Problem::bad_request("bad_scope", format!("{error}.")))?;
        if !wanted.contains(&scope) {
            wanted.push(scope);
        }
    }
    if wanted.is_empty() {
        return Err(Problem::bad_request("bad_scope", "A key needs at least one scope."));
    }
    let made = keys::create(&op.parts.ledger, op.parts.entropy.as_ref(), label, &wanted);
    let made = made.await.map_err(ledger_fault)?;
    let words: Vec<&str> = wanted.iter().map(|scope| scope.word()).collect();
    let shown = json!({ "id": made.id, "label": label, "scopes": words, "key": made.key.text() });
    Ok((StatusCode::CREATED, Json(shown)))
}

/// `GET /api/v1/keys`.
pub(super) async fn list(_: MayAdmin, State(op): State<Arc<Operator>>) -> Result<Json<Value>, Problem> {
    let rows = op.parts.ledger.list_api_keys().await.map_err(ledger_fault)?;
    let keys: Vec<Value> = rows.iter().map(shown).collect();
    Ok(Json(json!({ "keys": keys })))
}

/// `DELETE /api/v1/keys/{id}`: the key opens nothing from its next request on.
pub(super) async fn revoke(
    _: MayAdmin,
    State(op): State<Arc<Operator>>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let unknown =
        || Problem::new(StatusCode::NOT_FOUND, "unknown_key", "There is no live key of that number.");
    let id = id.parse().map_err(|_| unknown())?;
    let revoked = op.parts.ledger.revoke_api_key(id).await.map_err(ledger_fault)?;
    if revoked { Ok(StatusCode::NO_CONTENT) } else { Err(unknown()) }
}

fn shown(row: &ApiKeyRow) -> Value {
    let scopes: Vec<&str> = row.scopes.split([' ', ',']).filter(|word| !word.is_empty()).collect();
    json!({
        "id": row.id,
        "label": row.label,
        "scopes": scopes,
        "created_at": row.created_at,
        "revoked_at": row.revoked_at,
    })
}
