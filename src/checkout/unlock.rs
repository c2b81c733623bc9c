//! Lets the browser in that was asked to pay, once the payment arrived: for wallets that show no preimage.
//!
//! Invariants: off unless the service says so; a payment that arrived opens nothing by itself (THREATS 5):
//! it takes the token, and the key that only the browser has which was given that token's challenge. What
//! is handed out is a word that the gate takes for the preimage of this token alone, so that the unit is
//! reserved and spent as any other.

use std::net::IpAddr;

use http::HeaderMap;
use thiserror::Error;

use super::Checkout;
use crate::catalog::{BrowserUnlock, Mode};
use crate::l402::{Malformed, Refusal, minted, presented};
use crate::store::StoreError;
use crate::throttle::TooMany;
use crate::types::{Name, PaymentHash, Preimage};

/// What a browser learns that asks whether it was paid for.
#[derive(Debug)]
pub enum Unlock {
    /// Nothing arrived yet.
    Waiting,
    /// This stands in for the preimage.
    Paid(Preimage),
}

/// Why a browser learns nothing.
#[derive(Debug, Error)]
pub enum NotUnlocked {
    /// The credential cannot be read.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// There is none.
    #[error("send the token of the challenge, without a preimage")]
    NoToken,
    /// It is none of ours.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The service wants to see preimages.
    #[error("this service lets nobody in without a preimage")]
    Off,
    /// The challenge was given to another browser, or to a program.
    #[error("the challenge of this token was not given to this browser")]
    OtherBrowser,
    /// Too many tries failed near this address.
    #[error(transparent)]
    TooMany(#[from] TooMany),
    /// The ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] StoreError),
}

impl NotUnlocked {
    /// Stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            NotUnlocked::Malformed(malformed) => malformed.code(),
            NotUnlocked::NoToken => "token_missing",
            NotUnlocked::Refused(refusal) => refusal.code(),
            NotUnlocked::Off => "unlock_off",
            NotUnlocked::OtherBrowser => "other_browser",
            NotUnlocked::TooMany(many) => many.code(),
            NotUnlocked::Ledger(_) => "ledger_unavailable",
        }
    }
}

impl Checkout {
    /// Whether the payment of the token in `headers` arrived, as `peer` asks; `shown` gives what the browser
    /// keeps for a payment. Holds nothing and writes nothing; what fails counts as a failed credential.
    ///
    /// # Errors
    /// When it may not know.
    pub async fn unlock(
        &self,
        peer: IpAddr,
        headers: &HeaderMap,
        shown: impl Fn(&PaymentHash) -> Option<String>,
    ) -> Result<Unlock, NotUnlocked> {
        self.throttle.failing(peer)?;
        let unlock = self.unlocked(headers, shown).await;
        if let Err(NotUnlocked::Refused(_) | NotUnlocked::OtherBrowser) = unlock {
            self.throttle.failure(peer)?;
        }
        unlock
    }

    async fn unlocked(
        &self,
        headers: &HeaderMap,
        shown: impl Fn(&PaymentHash) -> Option<String>,
    ) -> Result<Unlock, NotUnlocked> {
        let presented = presented(headers)?;
        let keys = self.parts.keys.keys();
        let (identifier, sold) = minted(&keys, presented.first().ok_or(NotUnlocked::NoToken)?)?;
        if !self.unlocks(&sold.service) {
            return Err(NotUnlocked::Off);
        }
        let key = keys.browser_key(&identifier).ok_or(Refusal::UnknownEpoch)?;
        if !shown(&identifier.payment_hash).is_some_and(|shown| key.is(&shown)) {
            return Err(NotUnlocked::OtherBrowser);
        }
        let word = keys.settled_word(&identifier).ok_or(Refusal::UnknownEpoch)?;
        let received = self.parts.ledger.received(identifier.payment_hash).await?;
        Ok(if received.is_some_and(|amount| amount >= sold.sold) {
            Unlock::Paid(word)
        } else {
            Unlock::Waiting
        })
    }

    fn unlocks(&self, service: &Name) -> bool {
        let table = self.parts.catalog.current();
        let mut own = table.services().iter().filter(|own| own.name == *service && own.mode == Mode::On);
        own.any(|own| own.unlock == BrowserUnlock::On)
    }
}
