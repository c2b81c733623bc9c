//! Decides about a credential, and is the only maker of a [`Permit`].
//!
//! Pure: it asks no store. That a unit is left is found out by reserving it (`metering`).

use std::sync::Arc;

use http::HeaderMap;
use thiserror::Error;

use crate::catalog::{Matched, Price};
use crate::l402::{Malformed, MasterKeys, Refusal, UnknownCaveats, Use, Verified, presented, verify};
use crate::ledger::Sale;
use crate::request::CanonicalRequest;
use crate::types::{Msat, PaymentHash, Timestamp};

/// Proof that a paid token opens one request. Only [`Gate::decide`] makes it.
#[derive(Debug)]
pub struct Permit {
    verified: Verified,
}

impl Permit {
    /// The sale as the ledger books it.
    pub fn sale(&self) -> Sale {
        let Verified { identifier, sold, .. } = &self.verified;
        Sale {
            payment_hash: identifier.payment_hash,
            token_id: identifier.token_id,
            service: sold.service.clone(),
            route: sold.route.clone(),
            units: sold.units,
            sold: sold.sold,
            valid_until: sold.valid_until,
        }
    }
}

/// What is to be done with a request.
#[derive(Debug)]
pub enum Decision {
    /// It costs nothing: forward it.
    Open,
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

    /// Decides about `request`, which is for `matched` and came with `credentials`, the headers as
    /// the client sent them. The first credential that verifies decides (PROTOCOLS §1).
    pub fn decide(
        &self,
        matched: &Matched,
        request: &CanonicalRequest,
        credentials: &HeaderMap,
        now: Timestamp,
    ) -> Decision {
        let Price::Fixed(price) = matched.price else {
            return Decision::Open;
        };
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
        let mut why = Why::Unpaid { price };
        for (index, credential) in presented.iter().enumerate() {
            match verify(&self.keys, credential, &how, self.unknown) {
                Ok(verified) => return priced(verified, price),
                Err(refusal) if index == 0 => why = Why::Refused(refusal),
                Err(_) => {}
            }
        }
        Decision::Challenge(why)
    }
}

/// Serves nothing dearer than what was sold.
fn priced(verified: Verified, price: Msat) -> Decision {
    let units = u64::from(verified.sold.units.max(1));
    if price.checked_mul(units).is_ok_and(|whole| whole <= verified.sold.sold) {
        Decision::Admit(Permit { verified })
    } else {
        let sold = Msat::new(verified.sold.sold.msat() / units).unwrap_or(verified.sold.sold);
        Decision::Challenge(Why::PriceChanged { sold, price, payment_hash: verified.identifier.payment_hash })
    }
}
