//! `GET /api/v1/payments`: what arrived, newest first.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{bad_query, ledger_fault};
use crate::store::PaymentRow;
use crate::web::{MayRead, Operator, Problem};

/// The most rows of one page.
const MOST: u32 = 500;

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

/// `next_before` goes into the next question; it is `null` on the last page.
pub(super) async fn list(
    _: MayRead,
    State(op): State<Arc<Operator>>,
    query: Result<Query<Page>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(Page { limit, before }) = query.map_err(bad_query)?;
    if !(1..=MOST).contains(&limit) {
        return Err(Problem::bad_request("bad_query", format!("limit must be 1 to {MOST}.")));
    }
    op.parts.ledger.barrier().await;
    // One more than asked for tells whether there is a next page.
    let mut rows = op.parts.ledger.payments(limit + 1, before).await.map_err(ledger_fault)?;
    let more = rows.len() > usize::try_from(limit).unwrap_or(usize::MAX);
    rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let next_before = more.then(|| rows.last().map(|row| row.id)).flatten();
    let payments: Vec<Value> = rows.iter().map(shown).collect();
    Ok(Json(json!({ "payments": payments, "next_before": next_before })))
}

fn shown(row: &PaymentRow) -> Value {
    json!({
        "payment_hash": row.payment_hash,
        "amount_msat": row.amount,
        "opening_fee_msat": row.opening_fee,
        "surplus_msat": row.surplus,
        "over_msat": row.over,
        "late": row.late,
        "kind": row.kind,
        "quote": row.quote,
        "received_at": row.received_at,
        "service": row.service,
        "route": row.route,
        "state": row.state.code(),
    })
}
