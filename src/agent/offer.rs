//! What a 402 offers, read from its challenge alone: the JSON beside it is not believed.

use std::str::FromStr;
use std::time::Duration;

use http::StatusCode;
use http::header::WWW_AUTHENTICATE;
use lightning_invoice::Bolt11Invoice;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::fault::Fault;
use crate::l402::{NoChallenge, ReceivedChallenge, Sold, parse_challenge};
use crate::types::{Msat, PaymentHash, Timestamp};

/// Something for sale, with an invoice that can be paid now.
#[derive(Debug)]
pub struct Offer {
    pub(super) challenge: ReceivedChallenge,
    /// What the token says that it sells, where a Tollhouse made it.
    pub sold: Option<Sold>,
    /// The invoice's hash; the macaroon's too.
    pub payment_hash: PaymentHash,
    /// The invoice's amount.
    pub price: Msat,
    /// When the invoice ends.
    pub expires_at: Timestamp,
    /// The invoice's network: `bitcoin`, `testnet`, `signet` or `regtest`.
    pub network: String,
    /// What else the seller says that it sells here; empty where its body was not read.
    pub choices: Vec<Choice>,
}

/// An offer as the 402's body tells of it: to choose from, and not to be believed about money.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Choice {
    /// Its name, for `Prefer: l402-offer=`.
    pub offer: String,
    /// What it costs, in words.
    pub amount: String,
    /// What it is, in words.
    pub description: String,
}

/// Choices that are shown at most.
const MAX_CHOICES: usize = 32;

/// What a 402's body tells of, as far as it can be shown.
pub(super) fn choices(body: &[u8]) -> Vec<Choice> {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let told = body["offers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let printable = |choice: &Choice| {
        let texts = [&choice.offer, &choice.amount, &choice.description];
        texts.into_iter().all(|text| text.len() <= 200 && !text.contains(char::is_control))
    };
    let read = told.iter().filter_map(|choice| Choice::deserialize(choice).ok());
    read.filter(printable).take(MAX_CHOICES).collect()
}

impl Offer {
    /// Reads the first L402 challenge of a 402; `None` for other answers, and for a 402 without one.
    pub(super) fn of(response: &reqwest::Response, now: Timestamp) -> Result<Option<Offer>, Fault> {
        if response.status() != StatusCode::PAYMENT_REQUIRED {
            return Ok(None);
        }
        for line in response.headers().get_all(WWW_AUTHENTICATE) {
            let Ok(line) = line.to_str() else { continue };
            match parse_challenge(line) {
                Err(NoChallenge::OtherScheme) => {}
                Err(error) => return Err(Fault::BadChallenge(error.to_string())),
                Ok(challenge) => {
                    return Offer::read(challenge, now)
                        .map(Some)
                        .map_err(|what| Fault::BadChallenge(what.to_owned()));
                }
            }
        }
        Ok(None)
    }

    /// Reads what else there is to choose, where the body tells.
    pub(super) fn with_choices(self, body: &[u8]) -> Offer {
        Offer { choices: choices(body), ..self }
    }

    fn read(challenge: ReceivedChallenge, now: Timestamp) -> Result<Offer, &'static str> {
        let invoice =
            Bolt11Invoice::from_str(&challenge.invoice).map_err(|_| "its invoice is not a valid BOLT 11")?;
        let amount = invoice.amount_milli_satoshis().ok_or("its invoice leaves the amount open")?;
        let price = Msat::new(amount).map_err(|_| "its invoice asks for more than there is")?;
        if price == Msat::ZERO {
            return Err("its invoice asks for nothing");
        }
        if invoice.would_expire(Duration::from_millis(now.millis())) {
            return Err("its invoice has expired");
        }
        let hash: &[u8; 32] = invoice.payment_hash().as_ref();
        let payment_hash = PaymentHash::from_bytes(*hash);
        // A proof of another payment opens nothing: whoever offers this wants money for nothing.
        let identifier = challenge.identifier().ok_or("its macaroon names no payment hash")?;
        if identifier.payment_hash != payment_hash {
            return Err("its macaroon belongs to another invoice");
        }
        let ends = invoice.expires_at().unwrap_or(Duration::MAX);
        Ok(Offer {
            payment_hash,
            price,
            expires_at: Timestamp::from_secs(ends.as_secs()),
            network: invoice.network().to_string(),
            choices: Vec::new(),
            sold: challenge.sold(),
            challenge,
        })
    }
}
