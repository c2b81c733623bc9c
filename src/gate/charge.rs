//! What a credential of the `Payment` scheme bought, in the words of an L402 token.
//!
//! Invariant: it is the very token that the L402 line of the same 402 offered, by its id, so that both are
//! one purchase to the ledger and the payment is used up once (money rule 2).

use std::time::Duration;

use super::Wanted;
use crate::l402::{Identifier, MasterKeys, Sold, Verified};
use crate::payment_auth::{ChallengeKey, Presented, Refusal, verify};
use crate::types::{Name, Timestamp, TokenCopy};

/// What `credential` bought, and the id of the challenge that was paid. It is good for as long after the
/// challenge's end as the tokens of the request's terms are after their invoice's.
///
/// The challenge does not carry the route that was asked for; it is taken to be this one.
pub(super) fn charged(
    keys: &MasterKeys,
    credential: &Presented,
    wanted: &Wanted<'_>,
    now: Timestamp,
) -> Result<(Verified, String), Refusal> {
    charged_for(keys, credential, (&wanted.service.name, wanted.route), wanted.terms.request_life(), now)
}

/// The same of a route of a service, where such a credential is good for `life` after its challenge's end.
pub(super) fn charged_for(
    keys: &MasterKeys,
    credential: &Presented,
    (service, route): (&Name, &Name),
    life: Duration,
    now: Timestamp,
) -> Result<(Verified, String), Refusal> {
    let key = |epoch| Some((epoch, ChallengeKey::new(&*keys.challenge_key(epoch, service)?)));
    let paid = verify(keys.epochs().filter_map(key), credential, life, now)?;
    let token_id = keys.token_id_of(paid.epoch, &paid.payment_hash);
    let token_id = token_id.expect("the key that verified was made of this epoch's master");
    let quote = paid.quote.map(|text| text.parse()).transpose();
    let sold = Sold {
        // What we made a challenge of reads, unless another version of this program made it.
        quote: quote.map_err(|_| Refusal::UnknownChallenge)?,
        ..Sold::request(service.clone(), route.clone(), paid.amount, 0, paid.valid_until)
    };
    let verified = Verified {
        identifier: Identifier { payment_hash: paid.payment_hash, token_id },
        preimage: paid.preimage,
        sold,
        expires_at: paid.valid_until,
        limits: Vec::new(),
        copy: TokenCopy { payment_hash: paid.payment_hash, narrowed: None },
    };
    Ok((verified, paid.challenge_id))
}
