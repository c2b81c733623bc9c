//! Decides about a credential, and is the only maker of a [`Permit`].
//!
//! Pure: it asks no store. That a unit is left is found out by reserving it (`metering`).

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use thiserror::Error;

use crate::catalog::Matched;
use crate::l402::{Malformed, MasterKeys, Refusal, Sold, UnknownCaveats, Use, Verified, presented, verify};
use crate::ledger::Sale;
use crate::pricing::{Fiat, Quote};
use crate::request::CanonicalRequest;
use crate::types::{Kind, Msat, PaymentHash, Timestamp};

/// Proof that a paid token opens one request. Only [`Gate::decide`] makes it.
#[derive(Debug)]
pub struct Permit {
    verified: Verified,
}

impl Permit {
    /// The sale as the ledger books it. A pass says its time where the others say their units; to the
    /// ledger that time is its one unit.
    pub fn sale(&self) -> Sale {
        let Verified { identifier, sold, .. } = &self.verified;
        let (units, lasts) = match sold.kind {
            Kind::Pass => (1, Some(Duration::from_secs(sold.units))),
            _ => (sold.units, None),
        };
        Sale {
            payment_hash: identifier.payment_hash,
            token_id: identifier.token_id,
            service: sold.service.clone(),
            route: sold.route.clone(),
            kind: sold.kind,
            units,
            lasts,
            sold: sold.sold,
            quote: sold.quote.as_ref().map(ToString::to_string),
            valid_until: sold.valid_until,
        }
    }
}

/// What is to be done with a request.
#[derive(Debug)]
pub enum Decision {
    /// It comes with a good token: reserve a unit, then forward it.
    Admit(Permit),
    /// It has to be paid for.
    Challenge(Why),
    /// A header that means to be a credential cannot be read.
    Malformed(Malformed),
}

/// Why a request has to be paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Why {
    /// No credential came.
    #[error(
        "this request costs {price}: pay the invoice and repeat the request with the token and the preimage"
    )]
    Unpaid {
        /// The price.
        price: Msat,
    },
    /// The credentials are not good; this is what is wrong with the first.
    #[error("{0}")]
    Refused(Refusal),
    /// The token was sold for less than the request costs (MONEY rule 2).
    #[error("the token was sold for {sold} and this request costs {price}")]
    PriceChanged {
        /// What a unit of the token was sold for.
        sold: Msat,
        /// The price now.
        price: Msat,
        /// The payment of the token, which is good in all else.
        payment_hash: PaymentHash,
    },
}

impl Why {
    /// The stable code that the 402 carries.
    pub const fn code(&self) -> &'static str {
        match self {
            Why::Unpaid { .. } => "payment_required",
            Why::Refused(refusal) => refusal.code(),
            Why::PriceChanged { .. } => "price_changed",
        }
    }
}

/// Verifies credentials.
#[derive(Clone, Debug)]
pub struct Gate {
    keys: Arc<MasterKeys>,
    unknown: UnknownCaveats,
}

impl Gate {
    /// A gate that believes tokens of `keys`.
    pub fn new(keys: Arc<MasterKeys>, unknown: UnknownCaveats) -> Gate {
        Gate { keys, unknown }
    }

    /// Decides about `request`, which is for `matched`, costs what `quote` says and came with
    /// `credentials`, the headers as the client sent them. The first credential that verifies decides
    /// (PROTOCOLS §1).
    pub fn decide(
        &self,
        matched: &Matched,
        quote: &Quote,
        request: &CanonicalRequest,
        credentials: &HeaderMap,
        now: Timestamp,
    ) -> Decision {
        let presented = match presented(credentials) {
            Ok(presented) => presented,
            Err(malformed) => return Decision::Malformed(malformed),
        };
        let how = Use {
            service: &matched.service.name,
            method: request.method().as_str(),
            path: request.path(),
            now,
        };
        let mut why = Why::Unpaid { price: quote.most };
        for (index, credential) in presented.iter().enumerate() {
            match verify(&self.keys, credential, &how, self.unknown) {
                Ok(verified) => return opens(verified, matched, quote),
                Err(refusal) if index == 0 => why = Why::Refused(refusal),
                Err(_) => {}
            }
        }
        Decision::Challenge(why)
    }
}

/// Serves nothing but what was sold (MONEY rule 2).
fn opens(verified: Verified, matched: &Matched, quote: &Quote) -> Decision {
    let sold = &verified.sold;
    let opens = match sold.kind {
        Kind::Request | Kind::Pack => covers(sold, quote),
        Kind::Pass => sold.route == matched.terms.scope,
        // The ledger says whether enough is left.
        Kind::Balance | Kind::Granted => true,
    };
    if opens {
        return Decision::Admit(Permit { verified });
    }
    Decision::Challenge(Why::PriceChanged {
        sold: sold.covers,
        price: quote.most,
        payment_hash: verified.identifier.payment_hash,
    })
}

/// Whether a unit of `sold` is worth a request at `quote`. A price in a currency stays what it was
/// in that currency, whatever bitcoin costs by now.
fn covers(sold: &Sold, quote: &Quote) -> bool {
    let same_money = || {
        let (then, _) = sold.quote.as_ref()?.as_str().split_once('@')?;
        let then: Fiat = then.parse().ok()?;
        let (now, _) = quote.changed?;
        Some(then.currency == now.currency && now.amount <= then.amount)
    };
    quote.most <= sold.covers || same_money().unwrap_or(false)
}
