//! Looking: what became of a payment, and which there were. A wallet sees its own.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use serde_json::{Value, json};

use super::refusal::{Code, Refusal};
use super::{Wallet, pay, shown};
use crate::store::WalletPages;
use crate::types::PaymentHash;
use crate::web::Operator;

/// How long a payment's end is waited for.
const WAIT: Duration = Duration::from_secs(60);
/// Payments of one page when the client does not say, and at the most.
const USUAL: u32 = 100;
const MOST: u32 = 1_000;

const ANY_PADDING: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// `GET /v2/router/track/{payment_hash}`, the hash in base64url as LND wants it, or in hexadecimal: waits
/// for the payment's end and tells it, or how it stands.
pub(super) async fn track(
    Wallet(wallet): Wallet,
    State(op): State<Arc<Operator>>,
    Path(hash): Path<String>,
) -> Result<Response, Refusal> {
    let bad = || Refusal::new(Code::InvalidArgument, "bad_payment_hash", "The hash has 32 bytes.").streamed();
    let hash = read_hash(&hash).ok_or_else(bad)?;
    let ledger = |error| Refusal::ledger(&error).streamed();
    let unknown = || Refusal::new(Code::NotFound, "unknown_payment", "payment isn't initiated").streamed();
    op.parts.ledger.wallet_payment(wallet.key, hash).await.map_err(ledger)?.ok_or_else(unknown)?;
    op.parts.outbox.follow(hash, WAIT).await.map_err(ledger)?;
    let payment = op.parts.ledger.wallet_payment(wallet.key, hash).await.map_err(ledger)?;
    Ok(pay::updates(Body::from(pay::update(&payment.ok_or_else(unknown)?))))
}

fn read_hash(text: &str) -> Option<PaymentHash> {
    if let Ok(hash) = text.parse() {
        return Some(hash);
    }
    let bytes = ANY_PADDING.decode(text).ok()?;
    bytes.try_into().ok().map(PaymentHash::from_bytes)
}

/// Which payments.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Which {
    include_incomplete: bool,
    index_offset: i64,
    max_payments: u32,
    reversed: bool,
}

/// `GET /v1/payments`: oldest first; with `reversed` the page ends before `index_offset`, or at the newest.
pub(super) async fn list(
    Wallet(wallet): Wallet,
    State(op): State<Arc<Operator>>,
    query: Result<Query<Which>, QueryRejection>,
) -> Result<Json<Value>, Refusal> {
    let bad =
        |rejection: QueryRejection| Refusal::new(Code::InvalidArgument, "bad_query", rejection.body_text());
    let Query(which) = query.map_err(bad)?;
    let pages = match (which.reversed, which.index_offset) {
        (true, 0) => WalletPages::Before(i64::MAX),
        (true, index) => WalletPages::Before(index),
        (false, index) => WalletPages::After(index),
    };
    let limit = if which.max_payments == 0 { USUAL } else { which.max_payments.min(MOST) };
    let found = op.parts.ledger.wallet_payments(wallet.key, pages, which.include_incomplete, limit);
    let payments = found.await.map_err(|error| Refusal::ledger(&error))?;
    let index = |payment: Option<&crate::store::WalletPayment>| {
        payment.map_or_else(|| "0".to_owned(), |payment| payment.id.to_string())
    };
    Ok(Json(json!({
        "first_index_offset": index(payments.first()),
        "last_index_offset": index(payments.last()),
        "payments": payments.iter().map(shown::payment).collect::<Vec<_>>(),
    })))
}
