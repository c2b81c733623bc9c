//! `/api/v1/keys`: keys for programs, each with the scopes that it needs and no more.
//!
//! A key is shown in the answer that makes it and never again: only its hash is kept. A key of the scope
//! `wallet` has limits and no other scope: it is made to be given away.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::response::NoContent;
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::answer::{Created, Path};
use super::{bad_body, ledger_fault};
use crate::store::{ApiKeyRow, WalletRow};
use crate::types::{Msat, Timestamp};
use crate::web::keys;
use crate::web::{KeyWish, MayAdmin, MaySpend, Operator, Problem};

/// What `POST /api/v1/keys` takes.
#[derive(Debug, Deserialize, JsonSchema)]
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
) -> Result<Created<Made>, Problem> {
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
    Ok(Created(Made {
        id: made.id,
        scopes: ask.scopes.iter().map(|scope| scope.word()).collect(),
        key: made.key.text().to_owned(),
        expires_at: ask.lasts.map(|lasts| now.plus(lasts)),
        macaroon: ask.limits.map(|_| made.key.as_macaroon()),
        per_day_msat: ask.limits.map(|limits| limits.per_day),
        per_payment_msat: ask.limits.map(|limits| limits.per_payment),
        label: ask.label.to_owned(),
    }))
}

/// A key that was made.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "KeyMade")]
pub(super) struct Made {
    id: i64,
    label: String,
    scopes: Vec<&'static str>,
    /// It is shown in this answer and never again.
    key: String,
    /// When it ends by itself.
    expires_at: Option<Timestamp>,
    /// The same for a client of LND, of a wallet's key.
    #[serde(skip_serializing_if = "Option::is_none")]
    macaroon: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    per_day_msat: Option<Msat>,
    #[serde(skip_serializing_if = "Option::is_none")]
    per_payment_msat: Option<Msat>,
}

/// All keys that were ever made.
#[derive(Serialize, JsonSchema)]
pub(super) struct KeyList {
    keys: Vec<Key>,
}

/// `GET /api/v1/keys`.
pub(super) async fn list(_: MayAdmin, State(op): State<Arc<Operator>>) -> Result<Json<KeyList>, Problem> {
    let rows = op.parts.ledger.list_api_keys().await.map_err(ledger_fault)?;
    let wallets = op.parts.ledger.wallets(op.parts.clock.now()).await.map_err(ledger_fault)?;
    let wallet = |row: &ApiKeyRow| wallets.iter().find(|wallet| wallet.key == row.id);
    Ok(Json(KeyList { keys: rows.iter().map(|row| Key::of(row, wallet(row))).collect() }))
}

/// `DELETE /api/v1/keys/{id}`: the key opens nothing from its next request on.
pub(super) async fn revoke(
    _: MaySpend,
    State(op): State<Arc<Operator>>,
    Path(id): Path<String>,
) -> Result<NoContent, Problem> {
    let unknown =
        || Problem::new(StatusCode::NOT_FOUND, "unknown_key", "There is no live key of that number.");
    let id = id.parse().map_err(|_| unknown())?;
    let revoked = op.parts.ledger.revoke_api_key(id).await.map_err(ledger_fault)?;
    if revoked { Ok(NoContent) } else { Err(unknown()) }
}

/// A key, without what opens anything.
#[derive(Serialize, JsonSchema)]
struct Key {
    id: i64,
    label: String,
    scopes: Vec<String>,
    created_at: Timestamp,
    revoked_at: Option<Timestamp>,
    /// When it ends by itself.
    expires_at: Option<Timestamp>,
    /// The limits of a wallet's key.
    #[serde(skip_serializing_if = "Option::is_none")]
    wallet: Option<Lent>,
}

/// What a lent wallet may pay, and what it paid today (UTC).
#[derive(Serialize, JsonSchema)]
struct Lent {
    per_day_msat: Msat,
    per_payment_msat: Msat,
    spent_today_msat: Msat,
    reserved_today_msat: Msat,
    left_today_msat: Msat,
}

impl Key {
    fn of(row: &ApiKeyRow, wallet: Option<&WalletRow>) -> Key {
        let words = row.scopes.split([' ', ',']).filter(|word| !word.is_empty());
        Key {
            id: row.id,
            label: row.label.clone(),
            scopes: words.map(str::to_owned).collect(),
            created_at: row.created_at,
            revoked_at: row.revoked_at,
            expires_at: row.expires_at,
            wallet: wallet.map(|wallet| Lent {
                per_day_msat: wallet.limits.per_day,
                per_payment_msat: wallet.limits.per_payment,
                spent_today_msat: wallet.spent,
                reserved_today_msat: wallet.reserved,
                left_today_msat: wallet.left(),
            }),
        }
    }
}
