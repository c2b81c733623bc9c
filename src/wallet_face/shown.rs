//! A payment as LND shows it (`lnrpc.Payment`).

use serde_json::{Value, json};

use crate::store::{CUT_OFF, OutgoingState, WalletPayment};
use crate::types::Msat;

/// Whole satoshi as a text, rounded down as LND does.
pub(super) fn sat(amount: Msat) -> String {
    amount.sats_floor().to_string()
}

/// Millisatoshi as a text.
pub(super) fn msat(amount: Msat) -> String {
    amount.msat().to_string()
}

/// The payment. Until it arrived its preimage is empty, where LND has zeros: a client must not take those
/// for a proof.
pub(super) fn payment(payment: &WalletPayment) -> Value {
    let row = &payment.row;
    let (status, preimage, fee, reason) = match &row.state {
        OutgoingState::Succeeded { preimage, fee } => ("SUCCEEDED", preimage.to_hex(), *fee, "NONE"),
        OutgoingState::Presumed => ("SUCCEEDED", String::new(), Msat::ZERO, "NONE"),
        OutgoingState::Failed { reason } if reason != CUT_OFF => {
            ("FAILED", String::new(), Msat::ZERO, failure(reason))
        }
        // One that a stop cut off may have left: a client that took it as failed would pay another invoice for the
        // same thing. The same one it may ask for again.
        OutgoingState::Intended | OutgoingState::Sent | OutgoingState::Failed { .. } => {
            ("IN_FLIGHT", String::new(), Msat::ZERO, "NONE")
        }
    };
    json!({
        "payment_hash": row.payment_hash,
        "payment_preimage": preimage,
        "payment_request": payment.bolt11,
        "status": status,
        "failure_reason": format!("FAILURE_REASON_{reason}"),
        "value": sat(row.amount),
        "value_sat": sat(row.amount),
        "value_msat": msat(row.amount),
        "fee": sat(fee),
        "fee_sat": sat(fee),
        "fee_msat": msat(fee),
        "creation_date": row.created_at.secs().to_string(),
        "creation_time_ns": row.created_at.millis().saturating_mul(1_000_000).to_string(),
        "payment_index": payment.id.to_string(),
        "htlcs": [],
    })
}

/// LND's word for why our node gave up (LDK's `PaymentFailureReason`).
fn failure(reason: &str) -> &'static str {
    match reason {
        "RouteNotFound" | "RetriesExhausted" => "NO_ROUTE",
        "PaymentExpired" | "InvoiceRequestExpired" => "TIMEOUT",
        "RecipientRejected" => "INCORRECT_PAYMENT_DETAILS",
        "UserAbandoned" => "CANCELED",
        _ => "ERROR",
    }
}
