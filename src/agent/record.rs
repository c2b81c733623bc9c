//! What is remembered of one purchase, and how far it is.

use serde::{Deserialize, Serialize};

use super::fault::{Fault, Paid};
use super::offer::Offer;
use crate::l402::{self, ReceivedChallenge, Sold};
use crate::types::{Msat, Name, PaymentHash, Preimage, Timestamp};

/// One purchase. It holds the token: no `Debug`, and its file is private.
#[derive(Serialize, Deserialize)]
pub(super) struct Record {
    /// Makes the idempotency key this purchase's own.
    pub(super) nonce: String,
    macaroon: String,
    pub(super) invoice: String,
    pub(super) payment_hash: PaymentHash,
    pub(super) price_msat: u64,
    /// When the token is good for more than this purchase.
    #[serde(default)]
    pub(super) reusable: Option<Reusable>,
    /// The token comes from an earlier purchase.
    #[serde(default)]
    pub(super) paid_before: bool,
    pub(super) state: State,
}

/// What a token that lives on is good for.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Reusable {
    pub(super) service: Name,
    pub(super) until: Timestamp,
}

/// A token that was paid for, and its proof.
#[derive(Serialize, Deserialize)]
pub(super) struct Ticket {
    pub(super) payment_hash: PaymentHash,
    macaroon: String,
    invoice: String,
    price_msat: u64,
    proof: Proof,
}

/// How far a purchase is. Each is on disk before what it announces is begun.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "at", rename_all = "snake_case")]
pub(super) enum State {
    /// A payment may have been asked for.
    Challenged,
    /// It was made.
    Paid { proof: Proof },
    /// The proof may have reached the server.
    Sent { proof: Proof },
    /// The whole answer is on disk; it may have been handed over.
    Complete {
        proof: Proof,
        status: u16,
        length: u64,
        /// The server said that the unit came back.
        #[serde(default)]
        restored: bool,
    },
}

/// A payment that was made.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Proof {
    preimage: String,
    /// What routing cost, where the wallet tells.
    pub(super) fee_msat: Option<u64>,
}

impl Proof {
    /// The wallet's answer, if it opens the hash.
    pub(super) fn of(
        preimage: &str,
        fee_msat: Option<u64>,
        payment_hash: PaymentHash,
    ) -> Result<Proof, Fault> {
        let opens = preimage.parse::<Preimage>().is_ok_and(|read| read.opens(&payment_hash));
        if !opens {
            return Err(Fault::FalseProof(payment_hash));
        }
        Ok(Proof { preimage: preimage.to_owned(), fee_msat })
    }
}

impl Ticket {
    /// What the token says that it sold; `None` where no Tollhouse made it.
    pub(super) fn sold(&self) -> Option<Sold> {
        let challenge =
            ReceivedChallenge { macaroon_b64: self.macaroon.clone(), invoice: self.invoice.clone() };
        challenge.sold()
    }
}

impl Record {
    /// A purchase that begins with a challenge.
    pub(super) fn challenged(offer: Offer, nonce: String) -> Record {
        let reusable = offer.sold.filter(|sold| sold.kind.reusable());
        Record {
            nonce,
            reusable: reusable.map(|sold| Reusable { service: sold.service, until: sold.valid_until }),
            paid_before: false,
            macaroon: offer.challenge.macaroon_b64,
            invoice: offer.challenge.invoice,
            payment_hash: offer.payment_hash,
            price_msat: offer.price.msat(),
            state: State::Challenged,
        }
    }

    /// A purchase that a token from an earlier one pays for.
    pub(super) fn with(ticket: Ticket, nonce: String) -> Record {
        Record {
            nonce,
            macaroon: ticket.macaroon,
            invoice: ticket.invoice,
            payment_hash: ticket.payment_hash,
            price_msat: ticket.price_msat,
            reusable: None,
            paid_before: true,
            state: State::Paid { proof: ticket.proof },
        }
    }

    /// The token with its proof, once there is one.
    pub(super) fn ticket(&self) -> Option<Ticket> {
        Some(Ticket {
            payment_hash: self.payment_hash,
            macaroon: self.macaroon.clone(),
            invoice: self.invoice.clone(),
            price_msat: self.price_msat,
            proof: self.proof()?.clone(),
        })
    }

    pub(super) fn price(&self) -> Result<Msat, Fault> {
        Msat::new(self.price_msat).map_err(|error| Fault::BadChallenge(error.to_string()))
    }

    /// What its token cost.
    pub(super) fn paid(&self) -> Result<Paid, Fault> {
        let fee = self.proof().and_then(|proof| proof.fee_msat).and_then(|fee| Msat::new(fee).ok());
        Ok(Paid { price: self.price()?, fee, payment_hash: self.payment_hash, before: self.paid_before })
    }

    /// The proof, once there is one.
    pub(super) fn proof(&self) -> Option<&Proof> {
        match &self.state {
            State::Challenged => None,
            State::Paid { proof } | State::Sent { proof } | State::Complete { proof, .. } => Some(proof),
        }
    }

    /// The value of `Authorization`; a secret.
    pub(super) fn credential(&self) -> Option<String> {
        let preimage = self.proof()?.preimage.parse().ok()?;
        Some(l402::authorization(&self.macaroon, &preimage))
    }
}
