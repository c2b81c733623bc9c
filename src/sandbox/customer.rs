//! The payer's purse, for the shop's operator who tries a price out: pays through the payer's own books.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::payments::{Outbox, PayAsk};
use crate::ports::{BoxFuture, Customer, InvoiceAsk, Minter, NotPaid};
use crate::store::OutgoingState;
use crate::types::{Msat, Preimage};

/// One payment costs at most this much, fee not counted.
const LARGEST_SAT: u64 = 100_000;
/// What routing may cost: there is one channel, and it is direct.
const LARGEST_FEE_SAT: u64 = 50;
/// An invoice of the payer's can be paid for so long.
const EXPIRY: Duration = Duration::from_secs(3_600);
const NOT_UP: &str = "the payer is not up yet";
/// A payment in a box takes less.
const PATIENCE: Duration = Duration::from_secs(30);

/// Pays once the payer is up; the shop is there before it.
#[derive(Default)]
pub(super) struct Purse(OnceLock<Owner>);

/// The payer.
struct Owner {
    outbox: Arc<Outbox>,
    minter: Arc<dyn Minter>,
    place: String,
}

impl Purse {
    /// The payer is there, and its node takes channels at `place`, `KEY@HOST:PORT`.
    pub(super) fn open(&self, outbox: Arc<Outbox>, minter: Arc<dyn Minter>, place: String) {
        // The first payer stays: a world has one.
        let _ = self.0.set(Owner { outbox, minter, place });
    }

    async fn paid(&self, bolt11: &str) -> Result<Preimage, NotPaid> {
        let owner = self.0.get().ok_or_else(|| NotPaid::Refused(NOT_UP.to_owned()))?;
        let outbox = &owner.outbox;
        let refused = |error: &dyn std::fmt::Display| NotPaid::Refused(error.to_string());
        let ask = PayAsk {
            bolt11: bolt11.to_owned(),
            max_amount: Msat::from_sat(LARGEST_SAT).map_err(|error| refused(&error))?,
            max_fee: Msat::from_sat(LARGEST_FEE_SAT).map_err(|error| refused(&error))?,
            wallet: None,
        };
        match outbox.pay(ask, PATIENCE).await.map_err(|error| refused(&error))?.state {
            OutgoingState::Succeeded { preimage, .. } => Ok(preimage),
            OutgoingState::Failed { reason } => Err(NotPaid::Failed(reason)),
            OutgoingState::Presumed => Err(NotPaid::Failed("its proof is lost".to_owned())),
            OutgoingState::Intended | OutgoingState::Sent => Err(NotPaid::Pending),
        }
    }
}

impl Customer for Purse {
    fn pay<'a>(&'a self, bolt11: &'a str) -> BoxFuture<'a, Result<Preimage, NotPaid>> {
        Box::pin(self.paid(bolt11))
    }

    fn invoice(&self, amount: Msat) -> Result<String, String> {
        let owner = self.0.get().ok_or_else(|| NOT_UP.to_owned())?;
        let ask = InvoiceAsk { amount, description: "a payout in the demo".to_owned(), expiry: EXPIRY };
        owner.minter.mint(&ask).map(|minted| minted.bolt11).map_err(|fault| fault.to_string())
    }

    fn place(&self) -> Option<String> {
        self.0.get().map(|owner| owner.place.clone())
    }
}
