//! `POST /api/v1/payments/send`: pays an invoice, once per payment hash however often it is asked, and once
//! for each `Idempotency-Key` whatever became of it. Each payment is a recorded operation.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::answer::{IdempotencyKey, Path};
use super::payouts::named;
use super::{bad_body, ledger_fault};
use crate::payments::{PayAsk, PayError};
use crate::store::{OutgoingRow, OutgoingState};
use crate::types::{Msat, PaymentHash};
use crate::web::{MayPay, MaySend, Operator, Problem};

/// How long the answer waits for the payment's end when the caller does not say.
const USUAL_WAIT: Duration = Duration::from_secs(30);
/// What routing may cost when the caller does not say.
const USUAL_FEE: Msat = match Msat::from_sat(50) {
    Ok(fee) => fee,
    Err(_) => Msat::ZERO,
};
/// And at the most.
const LONGEST_WAIT: Duration = Duration::from_secs(120);

/// What `POST /api/v1/payments/send` takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Send {
    invoice: String,
    max_amount_msat: Option<Msat>,
    max_fee_msat: Option<Msat>,
    wait_ms: Option<u64>,
}

/// A payment that is still on its way when the wait ends is `pending`: ask again, or look. Without a key it
/// gets one of its own, and one that failed is tried anew.
pub(super) async fn pay(
    _: MaySend,
    State(op): State<Arc<Operator>>,
    key: IdempotencyKey,
    body: Result<Json<Send>, JsonRejection>,
) -> Result<Json<Sent>, Problem> {
    let Json(send) = body.map_err(bad_body)?;
    let wait = send.wait_ms.map_or(USUAL_WAIT, Duration::from_millis).min(LONGEST_WAIT);
    let ask = PayAsk {
        bolt11: send.invoice,
        max_amount: send.max_amount_msat.unwrap_or(Msat::MAX),
        max_fee: send.max_fee_msat.unwrap_or(USUAL_FEE),
        wallet: None,
    };
    let key = if key.0.is_some() { named(&key)?.to_owned() } else { op.fresh_key() };
    let row = op.parts.outbox.pay_under(&key, ask, wait).await.map_err(refused)?;
    Ok(Json(row.into()))
}

/// `GET /api/v1/payments/sent/{payment_hash}`.
pub(super) async fn look(
    _: MayPay,
    State(op): State<Arc<Operator>>,
    Path(payment_hash): Path<String>,
) -> Result<Json<Sent>, Problem> {
    let hash: PaymentHash = payment_hash
        .parse()
        .map_err(|error| Problem::bad_request("bad_payment_hash", format!("The payment hash: {error}.")))?;
    let row = op.parts.ledger.outgoing(hash).await.map_err(ledger_fault)?;
    let unknown =
        || Problem::new(StatusCode::NOT_FOUND, "unknown_payment", "No payment with that hash was asked for.");
    row.map(|row| Json(row.into())).ok_or_else(unknown)
}

/// A payment that was asked for, and how it stands.
#[derive(Serialize, JsonSchema)]
pub(super) struct Sent {
    payment_hash: PaymentHash,
    amount_msat: Msat,
    /// What routing cost, once it is known.
    fee_msat: Option<Msat>,
    /// `pending`, `succeeded` or `failed`. One that failed as `cut_off` may yet succeed: a stop came before the node
    /// told whether it took it. The same invoice may be paid again, and is paid once; another must not be.
    status: &'static str,
    /// The proof of the payment.
    #[serde(skip_serializing_if = "Option::is_none")]
    preimage: Option<String>,
    /// Why it failed, or why a payment that succeeded has no proof.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl From<OutgoingRow> for Sent {
    fn from(row: OutgoingRow) -> Sent {
        let (status, fee_msat, preimage, reason) = match row.state {
            OutgoingState::Intended | OutgoingState::Sent => ("pending", None, None, None),
            OutgoingState::Succeeded { preimage, fee } => {
                ("succeeded", Some(fee), Some(preimage.to_hex()), None)
            }
            OutgoingState::Presumed => {
                let reason = "the operator says that it arrived; its proof is lost".to_owned();
                ("succeeded", None, None, Some(reason))
            }
            OutgoingState::Failed { reason } => ("failed", None, None, Some(reason)),
        };
        Sent { payment_hash: row.payment_hash, amount_msat: row.amount, fee_msat, status, preimage, reason }
    }
}

/// Nothing was sent: every refusal comes before the intent is stored.
fn refused(error: PayError) -> Problem {
    match error {
        PayError::Store(error) => ledger_fault(error),
        refusal => Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            refusal.code(),
            format!("Nothing was paid: {refusal}."),
        ),
    }
}
