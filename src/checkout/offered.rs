//! A ready offer: everything that a 402 says.

use http::uri::Scheme;
use http::{HeaderValue, Method};
use serde_json::{Value, json};

use super::mint::Minted;
use super::ware::Ware;
use crate::catalog::{Matched, RestorePolicy};
use crate::l402::{BrowserKey, Challenge, Quoted, Sold};
use crate::payment_auth;
use crate::pricing::{Metering, Quote};
use crate::request::CanonicalRequest;
use crate::types::Name;

/// The request that is offered to be served, as a person would name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errand {
    /// The method.
    pub method: Method,
    /// The host, without a port.
    pub host: String,
    /// The canonical path, without the query.
    pub path: String,
    /// How the customer came, where that is known.
    pub scheme: Option<Scheme>,
}

impl Errand {
    /// What `request` asks for.
    pub(super) fn of(request: &CanonicalRequest) -> Errand {
        let (host, path) = (request.host().to_owned(), request.path().to_owned());
        Errand { method: request.method().clone(), host, path, scheme: request.scheme().cloned() }
    }
}

/// A ready offer: the data of a 402.
#[derive(Debug)]
pub struct Offered {
    pub(super) minted: Minted,
    pub(super) matched: Matched,
    pub(super) errand: Errand,
    /// Everything that may be asked for instead, itself included, in the operator's order.
    pub(super) wares: Vec<Ware>,
    /// It is what the client asked for by name.
    pub(super) preferred: bool,
    /// What the request costs.
    pub(super) quote: Quote,
    pub(super) restore: RestorePolicy,
    pub(super) code: &'static str,
    pub(super) detail: String,
}

impl Offered {
    /// The service and the route that it was asked for.
    pub fn place(&self) -> (&Name, &Name) {
        (&self.matched.service.name, &self.matched.route)
    }

    /// The offer as the protocol shows it.
    pub fn challenge(&self) -> Challenge<'_> {
        let Minted { sold, token, invoice, .. } = &self.minted;
        Challenge {
            token,
            bolt11: &invoice.bolt11,
            payment_hash: invoice.payment_hash,
            amount: sold.sold,
            expires_at: invoice.expires_at,
            valid_until: sold.valid_until,
            kind: sold.kind,
            units: sold.units,
        }
    }

    /// What the request is for.
    pub fn matched(&self) -> &Matched {
        &self.matched
    }

    /// What was asked for.
    pub fn errand(&self) -> &Errand {
        &self.errand
    }

    /// What a browser is to keep, when it is let in once the invoice is paid.
    pub fn browser_key(&self) -> Option<BrowserKey> {
        self.minted.browser_key
    }

    /// Lets in nobody who has no preimage, for a door where nobody could ask whether it was paid.
    pub fn lock(&mut self) {
        self.minted.browser_key = None;
    }

    /// What is offered.
    pub fn ware(&self) -> &Ware {
        &self.minted.ware
    }

    /// Everything that may be asked for instead, what is offered included, in the operator's order.
    pub fn wares(&self) -> &[Ware] {
        &self.wares
    }

    /// Which ends of the request are not charged, in words.
    pub fn restores(&self) -> String {
        restore_words(&self.restore, &self.quote)
    }

    /// The values of `WWW-Authenticate`, in the order and the dialects of the service. Where only the
    /// `Payment` scheme is wanted and cannot say what is sold, `L402` does.
    pub fn challenges(&self) -> Vec<HeaderValue> {
        let (charge, dialects) = (&self.minted.charge, self.matched.service.dialects);
        let l402 = dialects.l402 || (charge.is_none() && !dialects.lsat);
        let lines = [
            dialects.lsat.then(|| self.challenge().lsat_value()),
            l402.then(|| self.challenge().header_value()),
            charge.as_ref().map(payment_auth::Challenge::header_value),
        ];
        lines.into_iter().flatten().collect()
    }

    /// Stable code of the reason.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// The reason in words.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// What the token sells.
    pub fn sold(&self) -> &Sold {
        &self.minted.sold
    }

    /// The offer's name, when it is what the client asked for (`Preference-Applied`).
    pub fn applied(&self) -> Option<&Name> {
        self.preferred.then_some(&self.minted.ware.name)
    }

    /// The body of the 402: the challenge's fields, the offers, what this request costs, what gives a
    /// unit back, and the lifetimes in words.
    pub fn body(&self) -> Value {
        let mut body = self.challenge().body(self.code, &self.detail);
        let Minted { ware, charge, .. } = &self.minted;
        if self.matched.service.dialects.payment {
            body["type"] = json!(payment_auth::problem_type(self.code));
        }
        if let Some(charge) = charge {
            body["challengeId"] = json!(charge.id());
        }
        body["offer"] = json!(ware.name);
        body["description"] = json!(ware.words());
        body["amount"] = json!(ware.price.in_sat().to_string());
        body["quote"] = json!(ware.quote.as_ref().map(Quoted::as_str));
        body["offers"] = self.wares.iter().map(Ware::json).collect();
        body["request"] = json!({
            "leastMsat": self.quote.least,
            "mostMsat": self.quote.most,
            "price": price_words(&self.quote),
        });
        if let Some(fee) = self.minted.opening_fee {
            body["channelOpening"] = json!({
                "feeMsat": fee,
                "words": "Paying this invoice opens a channel to this shop, which may take some seconds more. \
                          The shop pays for it out of the price.",
            });
        }
        body["restore_on"] = json!(self.restores());
        body["lifetimes"] = json!(ware.lifetimes());
        body
    }
}

/// What the request costs, in words.
pub(super) fn price_words(quote: &Quote) -> String {
    let (least, most) = (quote.least.in_sat(), quote.most.in_sat());
    match quote.metering {
        Metering::Exact => most.to_string(),
        Metering::AtReserve => format!("{least} to {most}, by what the token was used for before"),
        Metering::Flowing => format!("{least} to {most}, metered while the answer flows"),
        Metering::AtEnd => format!("at most {most}: the answer says how much"),
    }
}

/// Which ends of a request are not charged, in words.
pub(super) fn restore_words(restore: &RestorePolicy, quote: &Quote) -> String {
    let statuses = restore.to_string();
    let answers =
        if statuses.is_empty() { String::new() } else { format!(", and when it answers {statuses}") };
    let broken = match quote.metering {
        Metering::Exact | Metering::AtReserve => "or breaks its answer off",
        Metering::Flowing | Metering::AtEnd => {
            "or breaks off before its answer (an answer that breaks off later costs what was delivered)"
        }
    };
    format!(
        "Nothing is charged when the upstream cannot be reached, does not answer in time, {broken}{answers}. \
         Every other answer is charged."
    )
}
