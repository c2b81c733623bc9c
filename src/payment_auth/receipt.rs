//! The receipt that goes with what was paid for (draft-lightning-charge-00, "Receipt Generation").

use http::{HeaderName, HeaderValue};
use serde::Serialize;

use super::challenge::rfc3339;
use super::{METHOD, base64url};
use crate::types::{PaymentHash, Timestamp};

/// The header that carries it.
pub const PAYMENT_RECEIPT: HeaderName = HeaderName::from_static("payment-receipt");

/// The fields in the order of their names (RFC 8785).
#[derive(Serialize)]
struct Receipt<'a> {
    #[serde(rename = "challengeId")]
    challenge_id: &'a str,
    method: &'a str,
    reference: PaymentHash,
    status: &'a str,
    timestamp: String,
}

/// The value of [`PAYMENT_RECEIPT`] for the payment of the challenge with this id, which was found good at
/// `at`. It names the payment by its hash; the preimage stays a secret. `None` when `at` is no date.
pub fn receipt(challenge_id: &str, payment_hash: PaymentHash, at: Timestamp) -> Option<HeaderValue> {
    let receipt = Receipt {
        challenge_id,
        method: METHOD,
        reference: payment_hash,
        status: "success",
        timestamp: rfc3339(at)?,
    };
    HeaderValue::try_from(base64url::encode(&serde_json::to_vec(&receipt).ok()?)).ok()
}
