//! Why a credential is not good: the closed list, with the codes that clients may rely on.

use thiserror::Error;

/// Why a credential is not good. Each is answered with a fresh 402 (PROTOCOLS §1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum Refusal {
    /// Over [`crate::l402::MAX_MACAROON_BYTES`].
    #[error("the macaroon is larger than 4 KiB")]
    MacaroonTooLarge,
    /// Not version 2 binary in its one spelling; version 1, JSON and trailing bytes included.
    #[error("the credential does not hold a macaroon of version 2")]
    MacaroonUndecodable,
    /// Over [`crate::l402::MAX_CAVEATS`].
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
            Refusal::CaveatUndecodable => "caveat_undecodable",
            Refusal::CaveatWidens => "caveat_widens",
        }
    }
}
