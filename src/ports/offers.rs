//! Paying offers (BOLT 12): the node fetches the invoice itself, so there is no hash to know a payment by
//! before it ended. A note of ours, unique to each payment, takes its place.

use crate::types::{Msat, PaymentHash, Preimage, Timestamp};

use super::{BoxFuture, NodeFault, SendFault};

/// What an offer says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OfferTerms {
    /// The least that it takes; `None` leaves the amount to the payer.
    pub amount: Option<Msat>,
    /// What it is for.
    pub description: Option<String>,
    /// Until when it may be paid.
    pub expires_at: Option<Timestamp>,
}

/// What is to be paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferAsk {
    /// The offer (`lno1…`).
    pub offer: String,
    /// How much; at least what the offer asks for.
    pub amount: Msat,
    /// The most that routing may cost.
    pub max_fee: Msat,
    /// What the payment is known by; the payee reads it too.
    pub note: String,
}

/// What the node knows of a payment to an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OfferPayment {
    /// Its list has none with this note. It may have taken one all the same, a moment before it died.
    Unknown,
    /// On its way: it waits for the invoice, or pays it.
    Pending,
    /// Arrived.
    Succeeded {
        /// The invoice's hash.
        payment_hash: PaymentHash,
        /// The proof.
        preimage: Preimage,
        /// What it paid.
        amount: Msat,
        /// What routing cost.
        fee: Msat,
    },
    /// Will not arrive.
    Failed,
    /// The node cannot be asked now, so this says nothing.
    Away,
}

/// Pays offers.
pub trait OfferPayer: Send + Sync {
    /// Reads an offer for the node's network.
    ///
    /// # Errors
    /// When it is none, or asks for what cannot be paid here; the text says why.
    fn offer_terms(&self, offer: &str) -> Result<OfferTerms, NodeFault>;

    /// Starts paying; returns when the node asks for the invoice, not when anything arrived. The node
    /// pays as often as it is asked to: the caller notes its intent first (MONEY rule 14).
    fn send_offer(&self, ask: OfferAsk) -> BoxFuture<'_, Result<(), SendFault>>;

    /// What became of the payment with this note.
    fn offer_payment(&self, note: &str) -> BoxFuture<'_, OfferPayment>;
}
