//! From a presented credential to the proof that it was bought, is whole and may be used now.
//!
//! Order: shape, epoch, chain of signatures, what was sold, what holders appended, preimage, and
//! only then the request. Nothing about a token is told to whoever cannot sign its chain.

use subtle::ConstantTimeEq;
use thiserror::Error;

use super::credential::Presented;
use super::identifier::Identifier;
use super::keys::MasterKeys;
use super::narrowing::{Narrowed, UnknownCaveats};
use super::sold::Sold;
use super::wire::Unverified;
use crate::types::{Name, Preimage, Timestamp};

/// What a token shall be used for.
#[derive(Clone, Copy, Debug)]
pub struct Use<'a> {
    /// The service that the request matched.
    pub service: &'a Name,
    /// The request's method, upper case.
    pub method: &'a str,
    /// The request's canonical path as the client sent it, without the query.
    pub path: &'a str,
    /// Now.
    pub now: Timestamp,
}

/// A token that was paid for and may be used. Whether a unit is left is the ledger's to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The token and its payment.
    pub identifier: Identifier,
    /// The proof of payment: it hashes to the identifier's payment hash.
    pub preimage: Preimage,
    /// What was sold, as minted.
    pub sold: Sold,
    /// When this copy of the token ends: `sold.valid_until`, or sooner where a holder said so.
    pub expires_at: Timestamp,
}

/// Why a credential is not good. Each is answered with a fresh 402 (PROTOCOLS §1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum Refusal {
    /// Over [`super::MAX_MACAROON_BYTES`].
    #[error("the macaroon is larger than 4 KiB")]
    MacaroonTooLarge,
    /// Not version 2 binary in its one spelling; version 1, JSON and trailing bytes included.
    #[error("the credential does not hold a macaroon of version 2")]
    MacaroonUndecodable,
    /// Over [`super::MAX_CAVEATS`].
    #[error("the macaroon has more than 32 caveats")]
    TooManyCaveats,
    /// A caveat that another party should discharge.
    #[error("third-party caveats are not accepted")]
    ThirdPartyCaveat,
    /// The identifier is not an L402 identifier of version 0.
    #[error("the macaroon is not an L402 token of this gate")]
    UnknownIdentifier,
    /// The token's epoch has no master key: retired, or never ours.
    #[error("the token's key is not in use any more")]
    UnknownEpoch,
    /// The chain of signatures is not ours.
    #[error("the macaroon's signature is wrong")]
    BadSignature,
    /// The chain is ours, the minted caveats are not what this version mints.
    #[error("the token does not say what it sells")]
    UnknownTerms,
    /// No preimage, neither beside the macaroon nor in a caveat.
    #[error("the credential has no preimage: pay the invoice and present it with the macaroon")]
    PreimageMissing,
    /// A preimage that does not hash to the token's payment hash.
    #[error("the preimage does not belong to this token")]
    PreimageMismatch,
    /// Sold for another service.
    #[error("the token was sold for another service")]
    WrongService,
    /// Past its end, or past the end that a holder gave it.
    #[error("the token has expired")]
    Expired,
    /// A `scope` caveat does not cover the path.
    #[error("the token was narrowed to other paths")]
    OutOfScope,
    /// A `method` caveat does not list the method.
    #[error("the token was narrowed to other methods")]
    WrongMethod,
    /// A caveat that we do not know.
    #[error("the token has a caveat that is not understood")]
    CaveatUnknown,
    /// A caveat that counts uses or money: not enforced yet, so not accepted.
    #[error("the token has a caveat that is not supported yet")]
    CaveatUnsupported,
    /// A caveat that does not read.
    #[error("the token has a caveat that cannot be read")]
    CaveatUndecodable,
    /// A caveat that says more than the token allowed before it.
    #[error("the token has a caveat that would widen it")]
    CaveatWidens,
}

impl Refusal {
    /// The stable code that the answer's body carries.
    pub const fn code(self) -> &'static str {
        match self {
            Refusal::MacaroonTooLarge => "macaroon_too_large",
            Refusal::MacaroonUndecodable => "macaroon_undecodable",
            Refusal::TooManyCaveats => "too_many_caveats",
            Refusal::ThirdPartyCaveat => "third_party_caveat",
            Refusal::UnknownIdentifier => "unknown_identifier",
            Refusal::UnknownEpoch => "unknown_epoch",
            Refusal::BadSignature => "bad_signature",
            Refusal::UnknownTerms => "unknown_terms",
            Refusal::PreimageMissing => "preimage_missing",
            Refusal::PreimageMismatch => "preimage_mismatch",
            Refusal::WrongService => "wrong_service",
            Refusal::Expired => "expired",
            Refusal::OutOfScope => "out_of_scope",
            Refusal::WrongMethod => "wrong_method",
            Refusal::CaveatUnknown => "caveat_unknown",
            Refusal::CaveatUnsupported => "caveat_unsupported",
            Refusal::CaveatUndecodable => "caveat_undecodable",
            Refusal::CaveatWidens => "caveat_widens",
        }
    }
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
    let macaroon = Unverified::read(&presented.macaroon)?;
    let identifier = Identifier::parse(&macaroon.identifier).map_err(|_| Refusal::UnknownIdentifier)?;
    let root_key = keys.root_key(&identifier).ok_or(Refusal::UnknownEpoch)?;
    macaroon.check(&root_key)?;
    let (sold, appended) = Sold::read(&macaroon.caveats).ok_or(Refusal::UnknownTerms)?;
    let narrowed = Narrowed::read(&sold, appended, unknown)?;
    let preimage = proof(&identifier, presented.preimage.iter().chain(&narrowed.preimages))?;
    narrowed.holds(how)?;
    let expires_at = narrowed.expires_at;
    Ok(Verified { identifier, preimage, sold, expires_at })
}

/// The preimage, when there is one and every one that was given opens the payment hash.
fn proof<'a>(
    identifier: &Identifier,
    preimages: impl Iterator<Item = &'a Preimage>,
) -> Result<Preimage, Refusal> {
    let mut proof = Err(Refusal::PreimageMissing);
    for preimage in preimages {
        let hash = preimage.payment_hash();
        if !bool::from(hash.as_bytes().ct_eq(identifier.payment_hash.as_bytes())) {
            return Err(Refusal::PreimageMismatch);
        }
        proof = Ok(*preimage);
    }
    proof
}
