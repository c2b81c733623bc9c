//! `/api/v1/payouts`: paying out over Lightning, once for each `Idempotency-Key`.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::answer::{IdempotencyKey, Path};
use super::document::signature::Answers;
use super::document::told::Told;
use super::{bad_body, bad_query, ledger_fault};
use crate::store::{LONGEST_OPERATION_KEY, OperationRow, is_reserved_key};
use crate::types::{Msat, Timestamp};
use crate::upkeep::{PAY_OUT, PayoutAsk, PayoutError, PayoutPlan};
use crate::web::{MayRead, MaySpend, Operator, Problem, Rows};

/// How long the answer waits for the end when the caller does not say.
const USUAL_WAIT: Duration = Duration::from_secs(30);
/// And at the most.
const LONGEST_WAIT: Duration = Duration::from_secs(120);

/// What `POST /api/v1/payouts` takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PayOut {
    to: String,
    amount_sat: Option<u64>,
    max_fee_sat: Option<u64>,
    wait_ms: Option<u64>,
}

/// What it takes in its query.
#[derive(Debug, Deserialize, JsonSchema)]
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
    key: IdempotencyKey,
    body: Result<Json<PayOut>, JsonRejection>,
) -> Result<Paid, Problem> {
    let Query(How { dry_run }) = how.map_err(bad_query)?;
    let Json(PayOut { to, amount_sat, max_fee_sat, wait_ms }) = body.map_err(bad_body)?;
    let ask = PayoutAsk {
        to,
        amount: amount("amount_sat", amount_sat)?,
        max_fee: amount("max_fee_sat", max_fee_sat)?,
        why: None,
    };
    if dry_run && let Some(twin) = op.parts.upkeep.payouts().twin(&ask.to).await.map_err(ledger_fault)? {
        return Ok(Paid::Already(Twin { dry_run: true, already: twin.into() }));
    }
    if dry_run {
        let plan = op.parts.upkeep.payouts().plan(&ask).await.map_err(refused)?;
        return Ok(Paid::Not(plan.into()));
    }
    let key = named(&key)?;
    let wait = wait_ms.map_or(USUAL_WAIT, Duration::from_millis).min(LONGEST_WAIT);
    let row = op.parts.upkeep.payouts().pay(key, &ask, wait).await.map_err(refused)?;
    Ok(Paid::So(row.into()))
}

/// What became of a payout that was asked for.
pub(super) enum Paid {
    /// Nothing: it was only asked what would.
    Not(PayoutPreview),
    /// Nothing: a payout pays that invoice already.
    Already(Twin),
    /// It stands so.
    So(Payout),
}

impl IntoResponse for Paid {
    fn into_response(self) -> Response {
        match self {
            Paid::Not(preview) => Json(preview).into_response(),
            Paid::Already(twin) => Json(twin).into_response(),
            Paid::So(payout) => Json(payout).into_response(),
        }
    }
}

impl Answers for Paid {
    fn answer(told: &mut Told<'_>) {
        Json::<PayoutPreview>::answer(told);
        Json::<Twin>::answer(told);
        Json::<Payout>::answer(told);
    }
}

/// What a dry run says of an invoice that a payout pays already.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PayoutAlready")]
pub(super) struct Twin {
    dry_run: bool,
    already: Payout,
}

/// Which page.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    #[serde(default)]
    limit: Rows,
    before: Option<i64>,
}

/// Payouts, newest first.
#[derive(Serialize, JsonSchema)]
pub(super) struct Payouts {
    payouts: Vec<Payout>,
    next_before: Option<i64>,
}

/// `GET /api/v1/payouts`, the newest first.
pub(super) async fn list(
    _: MayRead,
    State(op): State<Arc<Operator>>,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Json<Payouts>, Problem> {
    let Query(Page { limit, before }) = page.map_err(bad_query)?;
    let before = before.unwrap_or(i64::MAX);
    let rows = op.parts.ledger.operations_of(PAY_OUT, before, limit.to_read()).await;
    let mut rows = rows.map_err(ledger_fault)?;
    let next_before = limit.page(&mut rows, |row| row.id);
    Ok(Json(Payouts { payouts: rows.into_iter().map(Payout::from).collect(), next_before }))
}

/// `GET /api/v1/payouts/{id}`.
pub(super) async fn look(
    _: MayRead,
    State(op): State<Arc<Operator>>,
    Path(id): Path<i64>,
) -> Result<Json<Payout>, Problem> {
    let row = op.parts.ledger.operation(id).await.map_err(ledger_fault)?;
    let unknown = || Problem::new(StatusCode::NOT_FOUND, "unknown_payout", "There is no such payout.");
    row.filter(|row| row.kind == PAY_OUT).map(|row| Json(row.into())).ok_or_else(unknown)
}

/// The key that names the operation; the operator's programs make one, and say it again when in doubt.
pub(super) fn named(key: &IdempotencyKey) -> Result<&str, Problem> {
    let missing = || {
        let detail = format!(
            "Send an Idempotency-Key of 1 to {LONGEST_OPERATION_KEY} visible characters: the same again is the \
             same payout."
        );
        Problem::bad_request("bad_idempotency_key", detail)
    };
    let key = key.0.as_ref().and_then(|key| key.to_str().ok()).ok_or_else(missing)?;
    let fits = (1..=LONGEST_OPERATION_KEY).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic());
    if !fits {
        return Err(missing());
    }
    not_reserved(key)?;
    Ok(key)
}

/// A caller's key is none that Tollhouse would make: one that failed would end an order or a rule's payout.
pub(super) fn not_reserved(key: &str) -> Result<(), Problem> {
    let detail = "This Idempotency-Key begins like one of Tollhouse's own: choose another. Nothing was done.";
    if is_reserved_key(key) { Err(Problem::bad_request("bad_idempotency_key", detail)) } else { Ok(()) }
}

fn amount(field: &str, sat: Option<u64>) -> Result<Option<Msat>, Problem> {
    let bad = |error| Problem::bad_request("bad_amount", format!("{field}: {error}."));
    sat.map(|sat| Msat::from_sat(sat).map_err(bad)).transpose()
}

pub(super) fn refused(error: PayoutError) -> Problem {
    match error {
        PayoutError::Store(error) => ledger_fault(error),
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

/// What a payout would do.
#[derive(Serialize, JsonSchema)]
pub(super) struct PayoutPreview {
    dry_run: bool,
    /// How the payee is asked: by an offer, a Lightning address, an invoice.
    by: &'static str,
    /// What the payee calls it.
    description: Option<String>,
    amount_msat: Msat,
    max_fee_msat: Msat,
    spendable_msat: Msat,
    /// With the highest fee.
    spendable_after_msat: Msat,
    receivable_gained_msat: Msat,
}

impl From<PayoutPlan> for PayoutPreview {
    fn from(plan: PayoutPlan) -> PayoutPreview {
        let most = plan.amount.checked_add(plan.max_fee).unwrap_or(Msat::MAX);
        PayoutPreview {
            dry_run: true,
            by: plan.payee.word(),
            description: plan.description,
            amount_msat: plan.amount,
            max_fee_msat: plan.max_fee,
            spendable_msat: plan.spendable,
            spendable_after_msat: plan.spendable.checked_sub(most).unwrap_or(Msat::ZERO),
            receivable_gained_msat: plan.amount,
        }
    }
}

/// A payout: what was asked for, and how it stands.
#[derive(Serialize, JsonSchema)]
pub(super) struct Payout {
    id: i64,
    /// The key that names it.
    key: String,
    to: Option<String>,
    /// `intended`, `sent`, `done`, `failed` or `unclear`.
    state: &'static str,
    amount_msat: Option<u64>,
    max_fee_msat: Option<u64>,
    fee_msat: Option<u64>,
    payment_hash: Option<String>,
    /// Why it failed.
    reason: Option<String>,
    begun_at: Timestamp,
    ended_at: Option<Timestamp>,
}

impl From<OperationRow> for Payout {
    fn from(row: OperationRow) -> Payout {
        let (ask, outcome) = (&row.ask, &row.outcome);
        let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
        Payout {
            to: text(&ask["to"]),
            state: row.state.word(),
            amount_msat: outcome["amount_msat"].as_u64().or_else(|| ask["amount_msat"].as_u64()),
            max_fee_msat: ask["max_fee_msat"].as_u64(),
            fee_msat: outcome["fee_msat"].as_u64(),
            payment_hash: text(&outcome["payment_hash"]),
            reason: text(&outcome["reason"]),
            begun_at: row.begun_at,
            ended_at: row.ended_at,
            id: row.id,
            key: row.key,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callers_key_is_none_of_tollhouses_own() {
        let read = |key: &'static str| {
            let key = IdempotencyKey(Some(http::HeaderValue::from_static(key)));
            named(&key).map(str::to_owned).map_err(|problem| problem.code)
        };
        for own in ["rule/pay-out/1/1", "inbound-order-7", "payment-00ff-1"] {
            assert_eq!(read(own), Err("bad_idempotency_key"), "{own}");
            assert!(not_reserved(own).is_err());
        }
        assert_eq!(read("order-inbound-order-7"), Ok("order-inbound-order-7".to_owned()));
        assert_eq!(named(&IdempotencyKey(None)).map_err(|problem| problem.code), Err("bad_idempotency_key"));
    }
}
