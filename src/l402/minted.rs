//! A macaroon that we minted: the first steps of every look at one.
//!
//! Invariant: a [`Minted`] is whole, in an epoch that is in force and signed by us, and what it sells is
//! known; nothing about a token is told to whoever cannot sign its chain.

use super::credential::Presented;
use super::identifier::Identifier;
use super::keys::MasterKeys;
use super::narrowing::{Narrowed, UnknownCaveats};
use super::refusal::Refusal;
use super::seal::Seal;
use super::sold::Sold;
use super::wire::Unverified;

/// A token whose chain of signatures was proved.
pub(super) struct Minted {
    pub(super) identifier: Identifier,
    pub(super) sold: Sold,
    macaroon: Unverified,
    seals: Vec<Seal>,
}

impl Minted {
    /// Proves the chain of what was presented and reads what it sells.
    pub(super) fn prove(keys: &MasterKeys, presented: &Presented) -> Result<Minted, Refusal> {
        let macaroon = Unverified::read(&presented.macaroon)?;
        let identifier = Identifier::parse(&macaroon.identifier).map_err(|_| Refusal::UnknownIdentifier)?;
        let root_key = keys.root_key(&identifier).ok_or(Refusal::UnknownEpoch)?;
        let seals = macaroon.check(&root_key)?;
        let (sold, _) = Sold::read(&macaroon.caveats).ok_or(Refusal::UnknownTerms)?;
        Ok(Minted { identifier, sold, macaroon, seals })
    }

    /// What its holders appended.
    pub(super) fn narrowed(&self, unknown: UnknownCaveats) -> Result<Narrowed<'_>, Refusal> {
        // A token sells something only if it has all the minted caveats, with a seal each.
        let (appended, seals) = (&self.macaroon.caveats[Sold::CAVEATS..], &self.seals[Sold::CAVEATS..]);
        Narrowed::read(&self.sold, appended, seals, unknown)
    }

    /// The seal of the last caveat that a holder appended.
    pub(super) fn last_appended(&self) -> Option<&Seal> {
        self.seals[Sold::CAVEATS..].last()
    }
}

/// Verifies that we minted a token, whoever holds it, and reads what it sells. It says nothing of a
/// payment.
///
/// # Errors
/// The first reason why it is not one of ours.
pub fn minted(keys: &MasterKeys, presented: &Presented) -> Result<(Identifier, Sold), Refusal> {
    Minted::prove(keys, presented).map(|minted| (minted.identifier, minted.sold))
}
