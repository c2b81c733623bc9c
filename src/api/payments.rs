//! `GET /api/v1/payments`: what arrived, newest first, and one payment in full.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::answer::Path;
use super::{bad_query, ledger_fault, tokens};
use crate::store::PaymentRow;
use crate::types::{Kind, Msat, Name, PaymentHash, Timestamp};
use crate::web::{MayRead, Operator, Problem, Rows};

/// Which page.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Page {
    #[serde(default)]
    limit: Rows,
    before: Option<i64>,
}

/// Payments, newest first.
#[derive(Serialize, JsonSchema)]
pub(super) struct Payments {
    payments: Vec<Payment>,
    next_before: Option<i64>,
}

/// `next_before` goes into the next question; it is `null` on the last page.
pub(super) async fn list(
    _: MayRead,
    State(op): State<Arc<Operator>>,
    query: Result<Query<Page>, QueryRejection>,
) -> Result<Json<Payments>, Problem> {
    let Query(Page { limit, before }) = query.map_err(bad_query)?;
    op.parts.ledger.barrier().await;
    let mut rows = op.parts.ledger.payments(limit.to_read(), before).await.map_err(ledger_fault)?;
    let next_before = limit.page(&mut rows, |row| row.id);
    Ok(Json(Payments { payments: rows.into_iter().map(Payment::from).collect(), next_before }))
}

/// `GET /api/v1/payments/{payment_hash}`: what arrived, what was sold for it, and what became of every unit. Of
/// a token that was given away, too.
pub(super) async fn look(
    _: MayRead,
    State(op): State<Arc<Operator>>,
    Path(payment_hash): Path<String>,
    query: Result<Query<tokens::Spends>, QueryRejection>,
) -> Result<Json<Opened>, Problem> {
    let Query(page) = query.map_err(bad_query)?;
    let hash = tokens::hash(&payment_hash)?;
    op.parts.ledger.barrier().await;
    let payment = op.parts.ledger.payment(hash).await.map_err(ledger_fault)?.map(Payment::from);
    let token = tokens::in_full(&op, hash, &page).await?;
    if payment.is_none() && token.is_none() {
        let detail = "No payment with that hash arrived, and no token was granted under it.";
        return Err(Problem::new(StatusCode::NOT_FOUND, "unknown_payment", detail));
    }
    Ok(Json(Opened { payment_hash: hash, payment, token }))
}

/// One payment, opened in full.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PaymentInFull")]
pub(super) struct Opened {
    payment_hash: PaymentHash,
    /// What arrived; null for a token that was given away.
    payment: Option<Payment>,
    /// What was sold for it, and the requests that were charged to it; null while it was not used.
    token: Option<tokens::Looked>,
}

/// One payment that arrived.
#[derive(Serialize, JsonSchema)]
struct Payment {
    payment_hash: PaymentHash,
    /// What was paid.
    amount_msat: Msat,
    /// The part of it that stayed with a provider for the channel that it opened for it.
    opening_fee_msat: Msat,
    /// What may have been paid again.
    surplus_msat: Msat,
    /// What arrived beyond what the invoice asked for.
    over_msat: Msat,
    /// It came after its invoice had expired.
    late: bool,
    /// What was sold for it, once known.
    kind: Option<Kind>,
    /// The price in another currency that the invoice was made at, with its rate.
    quote: Option<String>,
    /// The rate that was known when it came, such as `64000 USD` for one bitcoin; `null` where none was.
    rate: Option<String>,
    /// What it was worth then, in that currency.
    worth: Option<String>,
    received_at: Timestamp,
    service: Option<Name>,
    route: Option<Name>,
    /// What became of it.
    state: &'static str,
    /// It may be of the time that a copy lacks from which the ledger was brought back, and delivered then: nobody knows.
    perhaps_delivered: bool,
}

impl From<PaymentRow> for Payment {
    fn from(row: PaymentRow) -> Payment {
        Payment {
            payment_hash: row.payment_hash,
            amount_msat: row.amount,
            opening_fee_msat: row.opening_fee,
            surplus_msat: row.surplus,
            over_msat: row.over,
            late: row.late,
            kind: row.kind,
            quote: row.quote,
            rate: row.rate.map(|rate| rate.to_string()),
            worth: row.rate.and_then(|rate| rate.back(row.amount)).map(|worth| worth.amount.to_string()),
            received_at: row.received_at,
            service: row.service,
            route: row.route,
            state: row.state.code(),
            perhaps_delivered: row.perhaps_delivered,
        }
    }
}
