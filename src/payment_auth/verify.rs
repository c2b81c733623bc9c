//! From a presented credential to the proof that its challenge was paid.
//!
//! Order: the challenge's MAC, the preimage, and only then the time. Nothing about a challenge is told to
//! whoever did not bring one of ours.

use std::time::Duration;

use http::HeaderMap;

use super::base64url;
use super::challenge::{CURRENCY, ChargeRequest, instant};
use super::credential::{Presented, presented};
use super::key::ChallengeKey;
use super::refusal::Refusal;
use super::{INTENT, METHOD};
use crate::types::{Msat, PaymentHash, Preimage, Timestamp};

/// A challenge of ours that was paid. Whether it was used before is the ledger's to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paid {
    /// The epoch of the key that made the challenge.
    pub epoch: u32,
    /// Names the challenge.
    pub challenge_id: String,
    /// The payment.
    pub payment_hash: PaymentHash,
    /// The proof: it hashes to the payment hash.
    pub preimage: Preimage,
    /// What was paid for one request.
    pub amount: Msat,
    /// What the price was changed from, at which rate, when it was.
    pub quote: Option<String>,
    /// Until when the credential is good.
    pub valid_until: Timestamp,
}

/// Verifies a credential against the keys of the service that is asked, by epoch. It is good for `late`
/// beyond its challenge's end.
///
/// # Errors
/// The first reason, in the module's order, why it is not good.
pub fn verify(
    keys: impl IntoIterator<Item = (u32, ChallengeKey)>,
    presented: &Presented,
    late: Duration,
    now: Timestamp,
) -> Result<Paid, Refusal> {
    let bound = presented.bound();
    let made = keys.into_iter().find(|(_, key)| key.made(presented.id(), &bound));
    let (epoch, key) = made.ok_or(Refusal::UnknownChallenge)?;
    if (bound.method, bound.intent) != (METHOD, INTENT) {
        return Err(Refusal::UnknownChallenge);
    }
    // What the MAC covers reads, unless another version of this program wrote it.
    let (request, expires_at) = base64url::decode(bound.request)
        .and_then(|json| serde_json::from_slice::<ChargeRequest>(&json).ok())
        .filter(|request| request.currency == CURRENCY)
        .zip(instant(bound.expires))
        .ok_or(Refusal::UnknownChallenge)?;
    let sats = request.amount.parse().map_err(|_| Refusal::UnknownChallenge)?;
    let amount = Msat::from_sat(sats).map_err(|_| Refusal::UnknownChallenge)?;
    let payment_hash = request.details.payment_hash;
    let preimage = presented.preimage()?;
    if !preimage.opens(&payment_hash) {
        return Err(Refusal::PreimageMismatch);
    }
    let valid_until = expires_at.plus(late);
    if now > valid_until {
        return Err(Refusal::Expired);
    }
    // As we spelled it: a client may have changed the alphabet of its base64.
    let (challenge_id, quote) = (key.id(&bound), request.external_id);
    Ok(Paid { epoch, challenge_id, payment_hash, preimage, amount, quote, valid_until })
}

/// Whether one of `headers`' credentials brings a preimage of the payment hash that its own challenge names.
/// That says nothing about whose challenge it is, and costs next to nothing to find out.
pub fn looks_paid(headers: &HeaderMap) -> bool {
    presented(headers).iter().flatten().any(|credential| {
        let request = base64url::decode(credential.bound().request);
        let request = request.and_then(|json| serde_json::from_slice::<ChargeRequest>(&json).ok());
        let hash = request.map(|request| request.details.payment_hash);
        hash.zip(credential.preimage().ok()).is_some_and(|(hash, preimage)| preimage.opens(&hash))
    })
}

#[cfg(test)]
mod tests;
