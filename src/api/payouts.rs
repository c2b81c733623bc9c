//! `/api/v1/payouts`: paying out over Lightning, once for each `Idempotency-Key`.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{bad_body, bad_query, ledger_fault};
use crate::store::{LONGEST_OPERATION_KEY, OperationRow};
use crate::types::Msat;
use crate::upkeep::{PAY_OUT, PayoutAsk, PayoutError, PayoutPlan, RULE_KEYS};
use crate::web::{MayRead, MaySpend, Operator, Problem};

/// How long the answer waits for the end when the caller does not say.
const USUAL_WAIT: Duration = Duration::from_secs(30);
/// And at the most.
const LONGEST_WAIT: Duration = Duration::from_secs(120);
/// How many are listed when the caller does not say, and at the most.
const USUAL_ROWS: u32 = 50;
const MOST_ROWS: u32 = 500;

/// What `POST /api/v1/payouts` takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PayOut {
    to: String,
    amount_sat: Option<u64>,
    max_fee_sat: Option<u64>,
    wait_ms: Option<u64>,
}

/// What it takes in its query.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct How {
    #[serde(default)]
    dry_run: bool,
}

/// `POST /api/v1/payouts`; with `?dry_run=true` it only says what would happen. An invoice that a payout pays
/// already is answered with that payout, `already` of a dry run.
pub(super) async fn pay(
    _: MaySpend,
    State(op): State<Arc<Operator>>,
    how: Result<Query<How>, QueryRejection>,
    headers: HeaderMap,
    body: Result<Json<PayOut>, JsonRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(How { dry_run }) = how.map_err(bad_query)?;
    let Json(PayOut { to, amount_sat, max_fee_sat, wait_ms }) = body.map_err(bad_body)?;
    let ask = PayoutAsk {
        to,
        amount: amount("amount_sat", amount_sat)?,
        max_fee: amount("max_fee_sat", max_fee_sat)?,
        why: None,
    };
    if dry_run && let Some(twin) = op.parts.upkeep.payouts().twin(&ask.to).await.map_err(ledger_fault)? {
        return Ok(Json(json!({ "dry_run": true, "already": shown(&twin) })));
    }
    if dry_run {
        return Ok(Json(plan_shown(&op.parts.upkeep.payouts().plan(&ask).await.map_err(refused)?)));
    }
    let key = key(&headers)?;
    let wait = wait_ms.map_or(USUAL_WAIT, Duration::from_millis).min(LONGEST_WAIT);
    let row = op.parts.upkeep.payouts().pay(key, &ask, wait).await.map_err(refused)?;
    Ok(Json(shown(&row)))
}

/// What `GET /api/v1/payouts` takes in its query.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rows {
    limit: Option<u32>,
}

/// `GET /api/v1/payouts`, the newest first.
pub(super) async fn list(
    _: MayRead,
    State(op): State<Arc<Operator>>,
    rows: Result<Query<Rows>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(Rows { limit }) = rows.map_err(bad_query)?;
    let limit = limit.unwrap_or(USUAL_ROWS).clamp(1, MOST_ROWS);
    let rows = op.parts.ledger.operations_of(PAY_OUT, limit).await.map_err(ledger_fault)?;
    Ok(Json(json!({ "payouts": rows.iter().map(shown).collect::<Vec<_>>() })))
}

/// `GET /api/v1/payouts/{id}`.
pub(super) async fn look(
    _: MayRead,
    State(op): State<Arc<Operator>>,
    Path(id): Path<i64>,
) -> Result<Json<Value>, Problem> {
    let row = op.parts.ledger.operation(id).await.map_err(ledger_fault)?;
    let unknown = || Problem::new(StatusCode::NOT_FOUND, "unknown_payout", "There is no such payout.");
    row.filter(|row| row.kind == PAY_OUT).map(|row| Json(shown(&row))).ok_or_else(unknown)
}

/// The key that names the operation; the operator's programs make one, and say it again when in doubt.
fn key(headers: &HeaderMap) -> Result<&str, Problem> {
    let missing = || {
        let detail = format!(
            "Send an Idempotency-Key of 1 to {LONGEST_OPERATION_KEY} visible characters: the same again is the \
             same payout."
        );
        Problem::bad_request("bad_idempotency_key", detail)
    };
    let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok()).ok_or_else(missing)?;
    let fits = (1..=LONGEST_OPERATION_KEY).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic());
    if !fits || key.starts_with(RULE_KEYS) {
        return Err(missing());
    }
    Ok(key)
}

fn amount(field: &str, sat: Option<u64>) -> Result<Option<Msat>, Problem> {
    let bad = |error| Problem::bad_request("bad_amount", format!("{field}: {error}."));
    sat.map(|sat| Msat::from_sat(sat).map_err(bad)).transpose()
}

pub(super) fn refused(error: PayoutError) -> Problem {
    match error {
        PayoutError::Store(error) => ledger_fault(error),
        refusal @ PayoutError::KeyTaken(_) => {
            Problem::new(StatusCode::CONFLICT, refusal.code(), format!("Nothing was paid: {refusal}."))
        }
        refusal @ PayoutError::NodeAway => {
            let detail = format!("Nothing was paid: {refusal}.");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, refusal.code(), detail).retry_after(5)
        }
        refusal => {
            let detail = format!("Nothing was paid: {refusal}.");
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, refusal.code(), detail)
        }
    }
}

fn plan_shown(plan: &PayoutPlan) -> Value {
    let most = plan.amount.checked_add(plan.max_fee).unwrap_or(Msat::MAX);
    json!({
        "dry_run": true,
        "by": plan.payee.word(),
        "description": plan.description,
        "amount_msat": plan.amount,
        "max_fee_msat": plan.max_fee,
        "spendable_msat": plan.spendable,
        "spendable_after_msat": plan.spendable.checked_sub(most).unwrap_or(Msat::ZERO),
        "receivable_gained_msat": plan.amount,
    })
}

/// A payout for programs: what was asked for, and how it stands.
pub(super) fn shown(row: &OperationRow) -> Value {
    json!({
        "id": row.id,
        "key": row.key,
        "to": row.ask["to"],
        "state": row.state.word(),
        "amount_msat": if row.outcome["amount_msat"].is_null() { &row.ask["amount_msat"] } else { &row.outcome["amount_msat"] },
        "max_fee_msat": row.ask["max_fee_msat"],
        "fee_msat": row.outcome["fee_msat"],
        "payment_hash": row.outcome["payment_hash"],
        "reason": row.outcome["reason"],
        "begun_at": row.begun_at,
        "ended_at": row.ended_at,
    })
}
