//! Paying: `/v2/router/send`, whose answer is a stream of updates, and the older
//! `/v1/channels/transactions`.
//!
//! LND streams what happens on the way; some clients take the whole body for one JSON object. So only the
//! end is told, unless the client says `"no_inflight_updates": false` itself. A payment whose end is not
//! known when the wait is over is never called failed, as LND calls it: it may still arrive.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures_util::{StreamExt, stream};
use http::{HeaderValue, header};
use lightning_invoice::Bolt11Invoice;
use serde_json::{Value, json};

use super::ask::{self, Wanted};
use super::refusal::{Code, Refusal};
use super::{Wallet, shown};
use crate::payments::{PayAsk, PayError};
use crate::store::{CUT_OFF, OutgoingState, WalletPayment, WalletRow};
use crate::types::Msat;
use crate::web::Operator;

/// `POST /v2/router/send`.
pub(super) async fn stream(
    Wallet(wallet): Wallet,
    State(op): State<Arc<Operator>>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let sent = ask::read::<ask::Send>(&body).map_err(Refusal::streamed)?;
    let told_on_the_way = sent.no_inflight_updates == Some(false);
    let wanted = sent.wanted().map_err(Refusal::streamed)?;
    let wait = Duration::from_secs(wanted.wait_secs.into());
    let first = if told_on_the_way { Duration::ZERO } else { wait };
    let begun = pay(&op, &wallet, &wanted, first).await.map_err(Refusal::streamed)?;
    let line = update(&begun);
    if !told_on_the_way || begun.row.state.is_final() {
        return Ok(updates(Body::from(line)));
    }
    let end = stream::once(async move {
        // It was sent: the same call joins it.
        match pay(&op, &wallet, &wanted, wait).await {
            Ok(payment) => Ok(update(&payment)),
            Err(_) => Err(std::io::Error::other("the ledger cannot be read")),
        }
    });
    Ok(updates(Body::from_stream(stream::once(async { Ok(line) }).chain(end))))
}

/// One update, on a line of its own.
pub(super) fn update(payment: &WalletPayment) -> String {
    format!("{}\n", json!({ "result": shown::payment(payment) }))
}

/// A stream of updates, as gRPC's gateway names it.
pub(super) fn updates(body: Body) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
}

/// `POST /v1/channels/transactions`.
pub(super) async fn wait_for_end(
    Wallet(wallet): Wallet,
    State(op): State<Arc<Operator>>,
    body: Bytes,
) -> Result<Json<Value>, Refusal> {
    let wanted = ask::read::<ask::SendSync>(&body)?.wanted()?;
    let wait = Duration::from_secs(wanted.wait_secs.into());
    let payment = pay(&op, &wallet, &wanted, wait).await?;
    let hash = BASE64_STANDARD.encode(payment.row.payment_hash.as_bytes());
    match &payment.row.state {
        OutgoingState::Succeeded { preimage, fee } => {
            let total = payment.row.amount.checked_add(*fee).unwrap_or(Msat::MAX);
            Ok(Json(json!({
                "payment_error": "",
                "payment_preimage": BASE64_STANDARD.encode(preimage.as_bytes()),
                "payment_hash": hash,
                "payment_route": {
                    "total_amt": shown::sat(total),
                    "total_amt_msat": shown::msat(total),
                    "total_fees": shown::sat(*fee),
                    "total_fees_msat": shown::msat(*fee),
                    "hops": [],
                },
            })))
        }
        OutgoingState::Presumed => Err(Refusal::new(
            Code::DeadlineExceeded,
            "proof_lost",
            "The payment arrived, and its proof is lost. It is not paid again.",
        )),
        OutgoingState::Failed { reason } if reason != CUT_OFF => Ok(Json(json!({
            "payment_error": reason,
            "payment_preimage": "",
            "payment_hash": hash,
            "payment_route": Value::Null,
        }))),
        OutgoingState::Intended | OutgoingState::Sent | OutgoingState::Failed { .. } => Err(Refusal::new(
            Code::DeadlineExceeded,
            "still_pending",
            "The payment is still on its way. Ask again with the same invoice: it is not paid twice.",
        )),
    }
}

/// Pays on the wallet's account, or joins its payment of the same invoice; it may still be on its way.
async fn pay(
    op: &Operator,
    wallet: &WalletRow,
    wanted: &Wanted,
    wait: Duration,
) -> Result<WalletPayment, Refusal> {
    let amount = amount(&wanted.bolt11)?;
    let ask = PayAsk {
        bolt11: wanted.bolt11.clone(),
        max_amount: wallet.limits.per_payment,
        max_fee: wanted.max_fee.for_amount(amount),
        wallet: Some(wallet.key),
    };
    let paid = op.parts.outbox.pay(ask, wait).await;
    let row = paid.map_err(|error| match error {
        // The wallet's limit is meant, not the caller's.
        PayError::TooExpensive { limit, .. } => {
            Refusal::unpaid(&crate::store::OverBudget::Payment { limit }.into())
        }
        error => Refusal::unpaid(&error),
    })?;
    let own = op.parts.ledger.wallet_payment(wallet.key, row.payment_hash).await;
    let own = own.map_err(|error| Refusal::ledger(&error))?;
    own.ok_or_else(|| Refusal::unpaid(&PayError::AnothersPayment))
}

fn amount(bolt11: &str) -> Result<Msat, Refusal> {
    let invoice: Bolt11Invoice =
        bolt11.trim().parse().map_err(|_| Refusal::unpaid(&PayError::NotAnInvoice))?;
    let msat = invoice.amount_milli_satoshis().unwrap_or(0);
    Msat::new(msat).map_err(|error| Refusal::unpaid(&error.into()))
}
