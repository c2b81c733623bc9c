//! Decides about a credential, and is the only maker of a [`Permit`].
//!
//! Pure: it asks no store. That a unit is left is found out by reserving it (`metering`).
//!
//! Invariant: nothing dearer is served than what was sold (MONEY rule 2). A unit of a request or pack
//! opens what costs at most what it covers, at today's rate or at the one that the token was sold at; one of a
//! pack also what is sold as such a pack for no more than was paid; a pass opens what shares its scope; a balance
//! pays each request's price.

mod charge;

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use thiserror::Error;

use crate::catalog::{Service, Terms, Unit};
use crate::l402::{
    Examined, Identifier, Keyring, Malformed, Presented, Refusal, Sold, UnknownCaveats, Use, Verified,
    examine, presented, verify,
};
use crate::ledger::{Draw, Sale};
use crate::payment_auth;
use crate::pricing::{Quote, Unpriced};
use crate::types::{Kind, Msat, Name, Timestamp, TokenCopy};
use charge::{charged, charged_for};

/// Proof that a paid token opens one request. Only [`Gate::decide`] makes it.
#[derive(Debug)]
pub struct Permit {
    verified: Verified,
    draw: Draw,
    quote: Option<Quote>,
    /// The challenge of the `Payment` scheme that was paid, when that is how it came.
    challenge_id: Option<String>,
}

impl Permit {
    /// The sale as the ledger books it.
    pub fn sale(&self) -> Sale {
        sale_of(&self.verified.identifier, &self.verified.sold)
    }

    /// What the request draws of it.
    pub fn draw(&self) -> &Draw {
        &self.draw
    }

    /// What the request costs, as the token is charged; `None` under a pass.
    pub fn quote(&self) -> Option<&Quote> {
        self.quote.as_ref()
    }

    /// The challenge of the `Payment` scheme that was paid; `None` for an L402 token.
    pub fn challenge_id(&self) -> Option<&str> {
        self.challenge_id.as_deref()
    }

    /// Whose copy of the token it is.
    pub fn copy(&self) -> TokenCopy {
        self.verified.copy
    }

    fn admit(mut verified: Verified, draw: Draw, quote: Option<Quote>) -> Decision {
        let draw = draw.within(std::mem::take(&mut verified.limits));
        Decision::Admit(Box::new(Permit { verified, draw, quote, challenge_id: None }))
    }
}

/// The sale of a token as the ledger books it. A pass says its time where the others say their units; to
/// the ledger that time is its one unit, and what counts is until when it may be begun: its token lives
/// longer by that time.
pub fn sale_of(identifier: &Identifier, sold: &Sold) -> Sale {
    let (units, lasts) = match sold.kind {
        Kind::Pass => (1, Some(Duration::from_secs(sold.units))),
        _ => (sold.units, None),
    };
    let valid_until = sold.valid_until.minus(lasts.unwrap_or_default());
    Sale {
        payment_hash: identifier.payment_hash,
        token_id: identifier.token_id,
        service: sold.service.clone(),
        route: sold.route.clone(),
        kind: sold.kind,
        units,
        lasts,
        sold: sold.sold,
        covers: sold.covers,
        quote: sold.quote.as_ref().map(ToString::to_string),
        valid_until,
    }
}

/// What a request costs, as far as the gate has to know it.
pub trait Priced: Sync {
    /// At today's rates.
    ///
    /// # Errors
    /// When nobody can say.
    fn today(&self) -> Result<Quote, Unpriced>;

    /// At the rate that a token was sold at, when its quote names one.
    ///
    /// # Errors
    /// When nobody can say.
    fn as_sold(&self, sold: &Sold) -> Option<Result<Quote, Unpriced>>;

    /// The price of such a request of `service`, where the pack that `sold` says is still on sale for it, for what was
    /// paid or for less, at today's rates or at the one of the sale.
    fn still_sold(&self, sold: &Sold, service: &Service) -> Option<Quote>;
}

/// What is to be done with a request.
#[derive(Debug)]
pub enum Decision {
    /// It comes with a good token: reserve what the permit draws, then forward it.
    Admit(Box<Permit>),
    /// It has to be paid for.
    Challenge(Why),
    /// The token would have to pay a price that nobody can tell.
    Unpriced {
        /// Why not.
        why: Unpriced,
        /// The token, which is good in all else.
        copy: TokenCopy,
    },
    /// A header that means to be a credential cannot be read.
    Malformed(Malformed),
}

/// Why a request has to be paid for.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Why {
    /// No credential came.
    #[error("pay the invoice and repeat the request with the token and the preimage")]
    Unpaid,
    /// The credentials are not good; this is what is wrong with the first.
    #[error("{0}")]
    Refused(Refusal),
    /// Nor is a credential of the `Payment` scheme that came first.
    #[error("{0}")]
    ChargeRefused(payment_auth::Refusal),
    /// The token was sold for less than the request costs (MONEY rule 2).
    #[error("the token opens requests that cost {} at most, and this one costs {}", .sold.in_sat(), .price.in_sat())]
    PriceChanged {
        /// The dearest request that a unit of the token opens.
        sold: Msat,
        /// The price now.
        price: Msat,
        /// The token, which is good in all else.
        copy: TokenCopy,
    },
    /// The pass opens other routes of the service.
    #[error("the pass opens the routes of `{scope}`, and this request is not one of them")]
    OtherScope {
        /// What it opens.
        scope: Name,
        /// The token, which is good in all else.
        copy: TokenCopy,
    },
}

impl Why {
    /// The stable code that the 402 carries.
    pub const fn code(&self) -> &'static str {
        match self {
            Why::Unpaid => "payment_required",
            Why::Refused(refusal) => refusal.code(),
            Why::ChargeRefused(refusal) => refusal.code(),
            Why::PriceChanged { .. } => "price_changed",
            Why::OtherScope { .. } => "wrong_route",
        }
    }

    /// A token that was good for another request.
    pub const fn copy(&self) -> Option<&TokenCopy> {
        match self {
            Why::Unpaid | Why::Refused(_) | Why::ChargeRefused(_) => None,
            Why::PriceChanged { copy, .. } | Why::OtherScope { copy, .. } => Some(copy),
        }
    }
}

/// Verifies credentials.
#[derive(Clone, Debug)]
pub struct Gate {
    keys: Arc<Keyring>,
    unknown: UnknownCaveats,
}

/// What a credential is to be used for.
#[derive(Clone, Copy)]
pub struct Wanted<'a> {
    /// The service.
    pub service: &'a Service,
    /// The request's route.
    pub route: &'a Name,
    /// The terms of the request's route.
    pub terms: &'a Terms,
    /// The method, upper case.
    pub method: &'a str,
    /// The canonical path.
    pub path: &'a str,
    /// What it costs.
    pub price: &'a dyn Priced,
}

impl Gate {
    /// A gate that believes tokens of `keys`.
    pub fn new(keys: Arc<Keyring>, unknown: UnknownCaveats) -> Gate {
        Gate { keys, unknown }
    }

    /// Looks into a credential that is not to be used.
    ///
    /// # Errors
    /// As [`examine`].
    pub fn examine(&self, credential: &Presented) -> Result<Examined, Refusal> {
        examine(&self.keys.keys(), credential, self.unknown)
    }

    /// Looks into a credential of the `Payment` scheme that is not to be used: what it bought of one of
    /// `services`. Which route's request that was does not stand in it.
    ///
    /// # Errors
    /// When it answers no challenge of ours that is still good; what is wrong with it then.
    pub fn examine_charge<'s>(
        &self,
        credential: &payment_auth::Presented,
        services: impl IntoIterator<Item = &'s Service>,
        now: Timestamp,
    ) -> Result<Examined, payment_auth::Refusal> {
        let (keys, mut refused) = (self.keys.keys(), payment_auth::Refusal::UnknownChallenge);
        for service in services {
            let (named, life) = ((&service.name, &service.terms.scope), service.terms.request_life());
            match charged_for(&keys, credential, named, life, now) {
                Ok((bought, _)) => return Ok(Examined::of(bought)),
                Err(payment_auth::Refusal::UnknownChallenge) => {}
                Err(refusal) => refused = refusal,
            }
        }
        Err(refused)
    }

    /// Decides about a request that came with `credentials`, the headers as the client sent them. The
    /// first credential that verifies decides (PROTOCOLS §1), those of L402 before those of the `Payment`
    /// scheme.
    pub fn decide(&self, wanted: &Wanted<'_>, credentials: &HeaderMap, now: Timestamp) -> Decision {
        let presented = match presented(credentials) {
            Ok(presented) => presented,
            Err(malformed) => return Decision::Malformed(malformed),
        };
        let how = Use { service: &wanted.service.name, method: wanted.method, path: wanted.path, now };
        let keys = self.keys.keys();
        let mut why = Why::Unpaid;
        for credential in &presented {
            match verify(&keys, credential, &how, self.unknown) {
                Ok(verified) => return opens(verified, wanted),
                Err(refusal) if why == Why::Unpaid => why = Why::Refused(refusal),
                Err(_) => {}
            }
        }
        for credential in payment_auth::presented(credentials) {
            match credential.and_then(|credential| charged(&keys, &credential, wanted, now)) {
                Ok((verified, challenge_id)) => {
                    return match opens(verified, wanted) {
                        Decision::Admit(permit) => {
                            Decision::Admit(Box::new(Permit { challenge_id: Some(challenge_id), ..*permit }))
                        }
                        other => other,
                    };
                }
                Err(refusal) if why == Why::Unpaid => why = Why::ChargeRefused(refusal),
                Err(_) => {}
            }
        }
        Decision::Challenge(why)
    }
}

/// Serves nothing but what was sold.
fn opens(verified: Verified, wanted: &Wanted<'_>) -> Decision {
    match verified.sold.kind {
        Kind::Request | Kind::Pack => opens_one(verified, wanted),
        Kind::Pass => opens_all(verified, wanted),
        Kind::Balance | Kind::Granted => match wanted.price.today() {
            // The ledger says whether enough is left.
            Ok(quote) => {
                let draw = Draw::money(quote.least, quote.most, wanted.route.clone());
                Permit::admit(verified, draw, Some(quote))
            }
            Err(why) => Decision::Unpriced { why, copy: verified.copy },
        },
    }
}

fn opens_all(verified: Verified, wanted: &Wanted<'_>) -> Decision {
    let scope = &verified.sold.route;
    if *scope == wanted.terms.scope {
        let draw = Draw::pass(wanted.route.clone());
        return Permit::admit(verified, draw, None);
    }
    let copy = verified.copy;
    Decision::Challenge(Why::OtherScope { scope: scope.clone(), copy })
}

fn opens_one(verified: Verified, wanted: &Wanted<'_>) -> Decision {
    let copy = verified.copy;
    let covers = |quote: &Quote| Unit::of(&verified.sold).covers(wanted.service, wanted.terms, quote);
    let covered = |quote: &Quote| quote.most <= covers(quote);
    let today = wanted.price.today();
    let good = match &today {
        Ok(quote) if covered(quote) => Some(quote.clone()),
        // A price in another currency stays what it was in that currency, whatever bitcoin costs by now.
        _ => wanted
            .price
            .as_sold(&verified.sold)
            .and_then(Result::ok)
            .filter(covered)
            .or_else(|| wanted.price.still_sold(&verified.sold, wanted.service)),
    };
    match (good, today) {
        (Some(quote), _) => {
            let draw = Draw::one(wanted.route.clone());
            Permit::admit(verified, draw, Some(quote))
        }
        (None, Ok(quote)) => {
            let sold = covers(&quote);
            Decision::Challenge(Why::PriceChanged { sold, price: quote.most, copy })
        }
        (None, Err(why)) => Decision::Unpriced { why, copy },
    }
}
