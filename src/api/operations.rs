//! `/api/v1/operations`: every move of coins that was asked for, and how one is asked for.
//!
//! A call that moves coins takes an `Idempotency-Key`: asked again under the same key, it is answered with
//! the same operation and done once. Without one it gets a key of its own, which the answer tells.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{bad_body, bad_query};
use crate::store::{OperationRow, OperationState};
use crate::treasury::{Deed, TreasuryError, Verdict};
use crate::web::{MayAdmin, MayRead, Operator, Problem, treasury_problem};

const KEY: &str = "idempotency-key";
/// The most rows of one page.
const MOST: u32 = 500;

/// An answer to a call that moves coins.
pub(super) type Answer = Result<(StatusCode, Json<Value>), Problem>;

/// How a call that moves coins is made, in its query.
#[derive(Debug, Deserialize)]
pub(super) struct How {
    /// Only say what would happen.
    #[serde(default)]
    dry_run: bool,
}

/// Has the treasury do `deed` under the request's key, or under a new one; with `?dry_run=true` it only says
/// what would happen.
pub(super) async fn carry_out(op: &Operator, how: How, headers: &HeaderMap, deed: Deed) -> Answer {
    if how.dry_run {
        let preview = op.preview(&deed).await?;
        return Ok((StatusCode::OK, Json(json!(preview))));
    }
    let key = match headers.get(KEY) {
        Some(value) => value.to_str().map_err(|_| treasury_problem(TreasuryError::BadKey))?.to_owned(),
        None => op.fresh_key(),
    };
    let row = op.carry_out(&key, deed).await?;
    match row.state {
        OperationState::Failed => {
            let why = row.outcome["reason"].as_str().unwrap_or("it did not say why");
            let detail = format!("The node refused: {why}. Nothing was moved.");
            let refused = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "node_refused", detail);
            Err(Problem { errors: vec![shown(&row)], ..refused })
        }
        OperationState::Done => Ok((StatusCode::OK, Json(shown(&row)))),
        OperationState::Intended | OperationState::Sent | OperationState::Unclear => {
            Ok((StatusCode::ACCEPTED, Json(shown(&row))))
        }
    }
}

/// Which page.
#[derive(Debug, Deserialize)]
pub(super) struct Page {
    #[serde(default = "fifty")]
    limit: u32,
    before: Option<i64>,
}

fn fifty() -> u32 {
    50
}

/// `GET /api/v1/operations`, newest first; `next_before` is `null` on the last page.
pub(super) async fn list(
    _: MayRead,
    State(op): State<Arc<Operator>>,
    query: Result<Query<Page>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(Page { limit, before }) = query.map_err(bad_query)?;
    if !(1..=MOST).contains(&limit) {
        return Err(Problem::bad_request("bad_query", format!("limit must be 1 to {MOST}.")));
    }
    // One more than asked for tells whether there is a next page.
    let before = before.unwrap_or(i64::MAX);
    let mut rows = op.parts.treasury.operations(before, limit + 1).await.map_err(treasury_problem)?;
    let shown_at_once = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = rows.len() > shown_at_once;
    rows.truncate(shown_at_once);
    let next_before = more.then(|| rows.last().map(|row| row.id)).flatten();
    let operations: Vec<Value> = rows.iter().map(shown).collect();
    Ok(Json(json!({ "operations": operations, "next_before": next_before })))
}

/// `GET /api/v1/operations/{id}`.
pub(super) async fn look(
    _: MayRead,
    State(op): State<Arc<Operator>>,
    Path(id): Path<i64>,
) -> Result<Json<Value>, Problem> {
    Ok(Json(shown(&op.parts.treasury.operation(id).await.map_err(treasury_problem)?)))
}

/// What `POST /api/v1/operations/{id}/settle` takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settle {
    outcome: Outcome,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Done,
    Failed,
}

/// `POST /api/v1/operations/{id}/settle`: the operator found out what became of one that is unclear.
pub(super) async fn settle(
    _: MayAdmin,
    State(op): State<Arc<Operator>>,
    Path(id): Path<i64>,
    body: Result<Json<Settle>, JsonRejection>,
) -> Result<Json<Value>, Problem> {
    let Json(Settle { outcome }) = body.map_err(bad_body)?;
    let verdict = match outcome {
        Outcome::Done => Verdict::Done,
        Outcome::Failed => Verdict::Failed,
    };
    Ok(Json(shown(&op.parts.treasury.settle(id, verdict).await.map_err(treasury_problem)?)))
}

/// An operation for programs. What the treasury noted to find it again stays in the ledger.
pub(super) fn shown(row: &OperationRow) -> Value {
    let mut outcome = row.outcome.clone();
    if let Some(known) = outcome.as_object_mut() {
        known.remove("before");
    }
    json!({
        "operation": row.id,
        "key": row.key,
        "kind": row.kind,
        "ask": row.ask,
        "state": row.state.word(),
        "outcome": outcome,
        "begun_at": row.begun_at,
        "ended_at": row.ended_at,
    })
}
