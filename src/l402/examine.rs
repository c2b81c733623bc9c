//! What a token is, asked without using it.
//!
//! Invariant: as in [`super::verify`], nothing about a token is told to whoever cannot sign its chain.

use super::credential::Presented;
use super::identifier::Identifier;
use super::keys::MasterKeys;
use super::minted::Minted;
use super::narrowing::{Narrowed, UnknownCaveats};
use super::refusal::Refusal;
use super::sold::Sold;
use super::verify::{Verified, proof};
use crate::types::{Limit, Timestamp};

/// A token of ours, paid for or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Examined {
    /// The token and its payment.
    pub identifier: Identifier,
    /// What was sold, as minted.
    pub sold: Sold,
    /// When this copy of the token ends; it may have.
    pub expires_at: Timestamp,
    /// What its holders allow of it.
    pub limits: Vec<Limit>,
    /// The path prefix that this copy is good for, when a holder narrowed it.
    pub scope: Option<String>,
    /// The methods that this copy is good for, likewise.
    pub methods: Option<Vec<String>>,
    /// It came with the proof of its payment.
    pub paid: bool,
}

impl Examined {
    /// What was verified by another way than its macaroon.
    pub fn of(verified: Verified) -> Examined {
        let Verified { identifier, sold, expires_at, limits, .. } = verified;
        Examined { identifier, sold, expires_at, limits, scope: None, methods: None, paid: true }
    }
}

/// Looks into a credential that is not to be used. Pure.
///
/// # Errors
/// Why it is no token of ours, or none that could ever be used; a missing preimage is no such reason, a
/// wrong one is.
pub fn examine(
    keys: &MasterKeys,
    presented: &Presented,
    unknown: UnknownCaveats,
) -> Result<Examined, Refusal> {
    let minted = Minted::prove(keys, presented)?;
    let narrowed = minted.narrowed(unknown)?;
    let paid = match proof(keys, &minted.identifier, presented.preimage.iter().chain(&narrowed.preimages)) {
        Ok(_) => true,
        Err(Refusal::PreimageMissing) => false,
        Err(refusal) => return Err(refusal),
    };
    let scope = narrowed.scope().map(str::to_owned);
    let methods = narrowed.methods().map(|methods| methods.iter().map(|&one| one.to_owned()).collect());
    let Narrowed { expires_at, limits, .. } = narrowed;
    let Minted { identifier, sold, .. } = minted;
    Ok(Examined { identifier, sold, expires_at, limits, scope, methods, paid })
}
