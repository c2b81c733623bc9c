//! From a presented credential to the proof that it was bought, is whole and may be used now.
//!
//! Order: shape, epoch, chain of signatures, what was sold, what holders appended, preimage, and
//! only then the request. Nothing about a token is told to whoever cannot sign its chain.

use http::HeaderMap;

use super::credential::{Presented, presented};
use super::identifier::Identifier;
use super::keys::MasterKeys;
use super::minted::Minted;
use super::narrowing::{Narrowed, UnknownCaveats, Use};
use super::refusal::Refusal;
use super::seal::Seal;
use super::sold::Sold;
use super::wire::Unverified;
use crate::types::{Limit, Preimage, Timestamp, TokenCopy};

/// A token that was paid for and may be used. Whether a unit is left is the ledger's to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The token and its payment.
    pub identifier: Identifier,
    /// The proof of payment: it hashes to the identifier's payment hash, or is what we gave to the browser
    /// that bought ([`MasterKeys::settled_word`]).
    pub preimage: Preimage,
    /// What was sold, as minted.
    pub sold: Sold,
    /// When this copy of the token ends: `sold.valid_until`, or sooner where a holder said so.
    pub expires_at: Timestamp,
    /// What its holders allow of it, in the order of the chain: every one of them counts each use.
    pub limits: Vec<Limit>,
    /// Whose copy of the token it is: each that a holder narrowed is one of its own.
    pub copy: TokenCopy,
}

/// Verifies one credential for one use. Pure: it neither reserves nor remembers.
///
/// # Errors
/// The first reason, in the module's order, why it is not good.
pub fn verify(
    keys: &MasterKeys,
    presented: &Presented,
    how: &Use<'_>,
    unknown: UnknownCaveats,
) -> Result<Verified, Refusal> {
    let minted = Minted::prove(keys, presented)?;
    let narrowed = minted.narrowed(unknown)?;
    let preimage = proof(keys, &minted.identifier, presented.preimage.iter().chain(&narrowed.preimages))?;
    narrowed.holds(how)?;
    let Narrowed { expires_at, limits, .. } = narrowed;
    let narrowed = minted.last_appended().map(Seal::counter);
    let Minted { identifier, sold, .. } = minted;
    let copy = TokenCopy { payment_hash: identifier.payment_hash, narrowed };
    Ok(Verified { identifier, preimage, sold, expires_at, limits, copy })
}

/// Whether one of `headers`' L402 credentials brings a preimage of its own payment hash, or what stands for
/// it. That says nothing about whose token it is, and costs next to nothing to find out. What cannot be
/// read, or is no L402 credential, is not judged here.
pub fn looks_paid(keys: &MasterKeys, headers: &HeaderMap) -> bool {
    let paid = |presented: &Presented| brings_its_preimage(keys, presented);
    presented(headers).map_or(true, |all| all.is_empty() || all.iter().any(paid))
}

fn brings_its_preimage(keys: &MasterKeys, presented: &Presented) -> bool {
    let Ok(macaroon) = Unverified::read(&presented.macaroon) else { return false };
    let Ok(identifier) = Identifier::parse(&macaroon.identifier) else { return false };
    let caveat = |caveat: &Vec<u8>| {
        let value = caveat.strip_prefix(b"preimage=")?;
        std::str::from_utf8(value).ok()?.trim().parse::<Preimage>().ok()
    };
    let appended: Vec<Preimage> = macaroon.caveats.iter().filter_map(caveat).collect();
    proof(keys, &identifier, presented.preimage.iter().chain(&appended)).is_ok()
}

/// The preimage, when there is one and every one that was given opens the payment hash or stands for
/// one that does.
pub(super) fn proof<'a>(
    keys: &MasterKeys,
    identifier: &Identifier,
    preimages: impl Iterator<Item = &'a Preimage>,
) -> Result<Preimage, Refusal> {
    let mut proof = Err(Refusal::PreimageMissing);
    for preimage in preimages {
        // The word is made only for what is no preimage: almost never.
        if !preimage.opens(&identifier.payment_hash) && keys.settled_word(identifier) != Some(*preimage) {
            return Err(Refusal::PreimageMismatch);
        }
        proof = Ok(*preimage);
    }
    proof
}
