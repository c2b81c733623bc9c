//! `/api/v1/keys`: keys for programs, each with the scopes that it needs and no more.
//!
//! A key is shown in the answer that makes it and never again: only its hash is kept. A key of the scope
//! `wallet` has limits and no other scope: it is made to be given away.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{bad_body, ledger_fault};
use crate::store::{ApiKeyRow, WalletRow};
use crate::types::Msat;
use crate::web::keys;
use crate::web::{KeyWish, MayAdmin, MaySpend, Operator, Problem};

/// What `POST /api/v1/keys` takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Add {
    label: String,
    scopes: Vec<String>,
    per_day_msat: Option<Msat>,
    per_payment_msat: Option<Msat>,
    /// Seconds from now; without it the key has no end.
    expires_in_secs: Option<u64>,
}

/// `POST /api/v1/keys`.
pub(super) async fn add(
    _: MaySpend,
    State(op): State<Arc<Operator>>,
    body: Result<Json<Add>, JsonRejection>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let Json(add) = body.map_err(bad_body)?;
    let wish = KeyWish {
        label: add.label,
        scopes: add.scopes,
        per_day: add.per_day_msat,
        per_payment: add.per_payment_msat,
        lasts: add.expires_in_secs.map(Duration::from_secs),
    };
    let ask = wish.checked()?;
    let (ledger, entropy, now) = (&op.parts.ledger, op.parts.entropy.as_ref(), op.parts.clock.now());
    let made = keys::make(ledger, entropy, now, &ask).await.map_err(ledger_fault)?;
    let words: Vec<&str> = ask.scopes.iter().map(|scope| scope.word()).collect();
    let mut shown = json!({
        "id": made.id,
        "label": ask.label,
        "scopes": words,
        "key": made.key.text(),
        "expires_at": ask.lasts.map(|lasts| now.plus(lasts)),
    });
    if let Some(limits) = ask.limits {
        shown["macaroon"] = made.key.as_macaroon().into();
        shown["per_day_msat"] = limits.per_day.msat().into();
        shown["per_payment_msat"] = limits.per_payment.msat().into();
    }
    Ok((StatusCode::CREATED, Json(shown)))
}

/// `GET /api/v1/keys`.
pub(super) async fn list(_: MayAdmin, State(op): State<Arc<Operator>>) -> Result<Json<Value>, Problem> {
    let rows = op.parts.ledger.list_api_keys().await.map_err(ledger_fault)?;
    let wallets = op.parts.ledger.wallets(op.parts.clock.now()).await.map_err(ledger_fault)?;
    let wallet = |row: &ApiKeyRow| wallets.iter().find(|wallet| wallet.key == row.id);
    let keys: Vec<Value> = rows.iter().map(|row| shown(row, wallet(row))).collect();
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

fn shown(row: &ApiKeyRow, wallet: Option<&WalletRow>) -> Value {
    let scopes: Vec<&str> = row.scopes.split([' ', ',']).filter(|word| !word.is_empty()).collect();
    let mut value = json!({
        "id": row.id,
        "label": row.label,
        "scopes": scopes,
        "created_at": row.created_at,
        "revoked_at": row.revoked_at,
        "expires_at": row.expires_at,
    });
    if let Some(wallet) = wallet {
        value["wallet"] = json!({
            "per_day_msat": wallet.limits.per_day,
            "per_payment_msat": wallet.limits.per_payment,
            "spent_today_msat": wallet.spent,
            "reserved_today_msat": wallet.reserved,
            "left_today_msat": wallet.left(),
        });
    }
    value
}
