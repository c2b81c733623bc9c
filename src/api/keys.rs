//! `/api/v1/keys`: keys for programs, each with the scopes that it needs and no more.
//!
//! A key is shown in the answer that makes it and never again: only its hash is kept. A key of the scope
//! `wallet` has limits and no other scope: it is made to be given away.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{bad_body, label, ledger_fault};
use crate::store::{ApiKeyRow, WalletLimits, WalletRow};
use crate::types::Msat;
use crate::web::keys::{self, Scope};
use crate::web::{MayAdmin, MaySpend, Operator, Problem};

/// What `POST /api/v1/keys` takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Add {
    label: String,
    scopes: Vec<String>,
    per_day_msat: Option<Msat>,
    per_payment_msat: Option<Msat>,
}

impl Add {
    /// The limits of a wallet's key; `None` when it is another.
    fn limits(&self, scopes: &[Scope]) -> Result<Option<WalletLimits>, Problem> {
        let bad = |detail: &str| Err(Problem::bad_request("bad_limits", detail));
        match (scopes, self.per_day_msat) {
            ([Scope::Wallet], Some(per_day)) => {
                let per_payment = self.per_payment_msat.unwrap_or(per_day);
                if per_payment == Msat::ZERO || per_payment > per_day {
                    return bad("A payment's limit is more than nothing and not more than a day's.");
                }
                Ok(Some(WalletLimits { per_day, per_payment }))
            }
            ([Scope::Wallet], None) => bad("A wallet's key needs a limit for a day."),
            (scopes, _) if scopes.contains(&Scope::Wallet) => {
                let detail = "A key of the scope wallet has no other scope: it is made to be given away.";
                Err(Problem::bad_request("bad_scope", detail))
            }
            (_, None) if self.per_payment_msat.is_none() => Ok(None),
            _ => bad("Only a key of the scope wallet has limits."),
        }
    }
}

/// `POST /api/v1/keys`.
pub(super) async fn add(
    _: MaySpend,
    State(op): State<Arc<Operator>>,
    body: Result<Json<Add>, JsonRejection>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let Json(add) = body.map_err(bad_body)?;
    let label = label(&add.label)?;
    let mut wanted: Vec<Scope> = Vec::new();
    for word in &add.scopes {
        let scope = word.parse().map_err(|error| Problem::bad_request("bad_scope", format!("{error}.")))?;
        if !wanted.contains(&scope) {
            wanted.push(scope);
        }
    }
    if wanted.is_empty() {
        return Err(Problem::bad_request("bad_scope", "A key needs at least one scope."));
    }
    let (ledger, entropy) = (&op.parts.ledger, op.parts.entropy.as_ref());
    let limits = add.limits(&wanted)?;
    let made = match limits {
        Some(limits) => keys::create_wallet(ledger, entropy, label, limits).await,
        None => keys::create(ledger, entropy, label, &wanted).await,
    };
    let made = made.map_err(ledger_fault)?;
    let words: Vec<&str> = wanted.iter().map(|scope| scope.word()).collect();
    let mut shown = json!({ "id": made.id, "label": label, "scopes": words, "key": made.key.text() });
    if let Some(limits) = limits {
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
