//! A wallet at hand that pays as a customer would: where the world is in a box, for trying things out.

use thiserror::Error;

use super::BoxFuture;
use crate::types::{Msat, Preimage};

/// Why there is no proof of a payment.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NotPaid {
    /// Nothing was sent: the wallet is not up yet, or will not pay this; the text says why.
    #[error("nothing was paid: {0}")]
    Refused(String),
    /// It was sent, and did not arrive: no coins moved.
    #[error("the payment failed, and no coins moved: {0}")]
    Failed(String),
    /// It is still on its way; the same call joins it.
    #[error("the payment is still on its way")]
    Pending,
}

/// Pays invoices for whoever tries the shop out. There is none where coins are worth something.
pub trait Customer: Send + Sync {
    /// Pays `bolt11`, once however often it is asked, and waits for its end; gives the proof.
    ///
    /// # Errors
    /// When there is no proof, or not yet.
    fn pay<'a>(&'a self, bolt11: &'a str) -> BoxFuture<'a, Result<Preimage, NotPaid>>;

    /// An invoice of its own over `amount`, for whoever tries a payout.
    ///
    /// # Errors
    /// When it cannot receive that, or is not up yet; the text says why.
    fn invoice(&self, amount: Msat) -> Result<String, String>;

    /// Where its node can be reached, `KEY@HOST:PORT`, for whoever wants to open a channel to it; `None` while it is
    /// not up.
    fn place(&self) -> Option<String>;
}
