//! `/api/v1/operations`: every move of coins that was asked for, and how one is asked for.
//!
//! A call that moves coins takes an `Idempotency-Key`: asked again under the same key, it is answered with
//! the same operation and done once. Without one it gets a key of its own, which the answer tells.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::answer::{Accepted, IdempotencyKey, Path};
use super::document::signature::Answers;
use super::document::told::Told;
use super::payouts::not_reserved;
use super::{bad_body, bad_query};
use crate::ports::FeeRate;
use crate::store::{OperationRow, OperationState};
use crate::treasury::{Deed, Preview, TreasuryError, Verdict};
use crate::types::Timestamp;
use crate::web::{MayRead, MaySpend, Operator, Problem, Rows, treasury_problem};

/// An answer to a call that moves coins.
pub(super) type Answer = Result<Moved, Problem>;

/// What became of a call that moves coins.
pub(super) enum Moved {
    /// Nothing: it was only asked what would.
    Not(Preview),
    /// It is done.
    Done(Operation),
    /// It goes on, or nobody knows yet.
    Running(Operation),
}

impl IntoResponse for Moved {
    fn into_response(self) -> Response {
        match self {
            Moved::Not(preview) => Json(preview).into_response(),
            Moved::Done(operation) => Json(operation).into_response(),
            Moved::Running(operation) => Accepted(operation).into_response(),
        }
    }
}

impl Answers for Moved {
    fn answer(told: &mut Told<'_>) {
        Json::<Preview>::answer(told);
        Json::<Operation>::answer(told);
        Accepted::<Operation>::answer(told);
    }
}

/// How a call that moves coins is made, in its query.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct How {
    /// Only say what would happen.
    #[serde(default)]
    dry_run: bool,
    /// Of coins that are sent: what the transaction pays at the most, in satoshi for 1,000 virtual bytes, such as a
    /// dry run's `fee_rate_sat_per_kvb`. Where the rate has risen since, this is paid.
    most_sat_per_kvb: Option<FeeRate>,
}

/// Has the treasury do `deed` under the request's key, or under a new one; with `?dry_run=true` it only says
/// what would happen.
pub(super) async fn carry_out(op: &Operator, how: How, key: IdempotencyKey, deed: Deed) -> Answer {
    if how.dry_run {
        let preview = op.preview(&deed).await?;
        return Ok(Moved::Not(preview));
    }
    let key = match key.0 {
        Some(value) => value.to_str().map_err(|_| treasury_problem(TreasuryError::BadKey))?.to_owned(),
        None => op.fresh_key(),
    };
    not_reserved(&key)?;
    let row = op.carry_out(&key, deed, how.most_sat_per_kvb).await?;
    match row.state {
        OperationState::Failed => {
            let why = row.outcome["reason"].as_str().unwrap_or("it did not say why");
            let detail = format!("The node refused: {why}. Nothing was moved.");
            let refused = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "node_refused", detail);
            Err(Problem { errors: vec![serde_json::json!(Operation::from(row))], ..refused })
        }
        OperationState::Done => Ok(Moved::Done(row.into())),
        OperationState::Intended | OperationState::Sent | OperationState::Unclear => {
            Ok(Moved::Running(row.into()))
        }
    }
}

/// Which page.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Page {
    #[serde(default)]
    limit: Rows,
    before: Option<i64>,
    /// Only the one that this Idempotency-Key names.
    key: Option<String>,
}

/// Operations, newest first.
#[derive(Serialize, JsonSchema)]
pub(super) struct Operations {
    operations: Vec<Operation>,
    next_before: Option<i64>,
}

/// `GET /api/v1/operations`, newest first; `next_before` is `null` on the last page.
pub(super) async fn list(
    _: MayRead,
    State(op): State<Arc<Operator>>,
    query: Result<Query<Page>, QueryRejection>,
) -> Result<Json<Operations>, Problem> {
    let Query(Page { limit, before, key }) = query.map_err(bad_query)?;
    if let Some(key) = key {
        let named = op.parts.treasury.operation_of_key(&key).await.map_err(treasury_problem)?;
        let operations = named.into_iter().map(Operation::from).collect();
        return Ok(Json(Operations { operations, next_before: None }));
    }
    let before = before.unwrap_or(i64::MAX);
    let mut rows = op.parts.treasury.operations(before, limit.to_read()).await.map_err(treasury_problem)?;
    let next_before = limit.page(&mut rows, |row| row.id);
    Ok(Json(Operations { operations: rows.into_iter().map(Operation::from).collect(), next_before }))
}

/// `GET /api/v1/operations/{id}`.
pub(super) async fn look(
    _: MayRead,
    State(op): State<Arc<Operator>>,
    Path(id): Path<i64>,
) -> Result<Json<Operation>, Problem> {
    Ok(Json(op.parts.treasury.operation(id).await.map_err(treasury_problem)?.into()))
}

/// What `POST /api/v1/operations/{id}/settle` takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Settle {
    outcome: Outcome,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Done,
    Failed,
}

/// `POST /api/v1/operations/{id}/settle`: the operator found out what became of one that is unclear.
pub(super) async fn settle(
    _: MaySpend,
    State(op): State<Arc<Operator>>,
    Path(id): Path<i64>,
    body: Result<Json<Settle>, JsonRejection>,
) -> Result<Json<Operation>, Problem> {
    let Json(Settle { outcome }) = body.map_err(bad_body)?;
    let verdict = match outcome {
        Outcome::Done => Verdict::Done,
        Outcome::Failed => Verdict::Failed,
    };
    Ok(Json(op.parts.treasury.settle(id, verdict).await.map_err(treasury_problem)?.into()))
}

/// One move of coins that was asked for.
#[derive(Serialize, JsonSchema)]
pub(super) struct Operation {
    /// Its number.
    operation: i64,
    /// The key that names it.
    key: String,
    /// What it does, such as `send` or `open_channel`.
    kind: String,
    /// What was asked for.
    ask: Value,
    /// `intended`, `sent`, `done`, `failed`, or `unclear` when a crash hid what became of it.
    state: &'static str,
    /// What is known of its outcome: a transaction, a channel, the reason of a failure.
    outcome: Value,
    begun_at: Timestamp,
    ended_at: Option<Timestamp>,
}

impl From<OperationRow> for Operation {
    /// What the treasury noted to find it again stays in the ledger.
    fn from(row: OperationRow) -> Operation {
        let mut outcome = row.outcome;
        if let Some(known) = outcome.as_object_mut() {
            known.remove("before");
        }
        Operation {
            operation: row.id,
            key: row.key,
            kind: row.kind,
            ask: row.ask,
            state: row.state.word(),
            outcome,
            begun_at: row.begun_at,
            ended_at: row.ended_at,
        }
    }
}
