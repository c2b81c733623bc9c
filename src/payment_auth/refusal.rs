//! Why a `Payment` credential is not good: the closed list, with the codes that clients may rely on.

use thiserror::Error;

/// Why a credential is not good. Each is answered with a fresh 402.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum Refusal {
    /// Over 16 KiB, not base64url, not JSON, or without the fields that every credential has.
    #[error("the Payment credential cannot be read")]
    Malformed,
    /// The payload has no preimage of 64 hexadecimal digits.
    #[error("the Payment credential's payload has no preimage of 64 hexadecimal digits")]
    NotPreimage,
    /// The echoed challenge is not one that we made for this service, or was changed.
    #[error("the Payment credential answers a challenge that was not made here for this service")]
    UnknownChallenge,
    /// A preimage that does not hash to the challenge's payment hash.
    #[error("the preimage does not belong to this challenge")]
    PreimageMismatch,
    /// Too long past its end.
    #[error("the challenge has expired")]
    Expired,
}

impl Refusal {
    /// The stable code that the answer's body carries.
    pub const fn code(self) -> &'static str {
        match self {
            Refusal::Malformed => "credential_malformed",
            Refusal::NotPreimage => "preimage_not_hex",
            Refusal::UnknownChallenge => "unknown_challenge",
            Refusal::PreimageMismatch => "preimage_mismatch",
            Refusal::Expired => "expired",
        }
    }
}
