//! Sells and verifies for an application that serves its requests itself and asks in between.
//!
//! Invariants: what an application names as the price is what is sold or drawn, never less; a token
//! opens for it what it would open at the gateway; what it does not price is priced by the terms of the
//! route that the same request would have at the gateway.

use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderMap, HeaderName, HeaderValue, header};
use thiserror::Error;

use super::counter::{Counter, opens_for};
use super::pricing::{BodySeen, Pricing, facts};
use super::ware::{Ware, quoted};
use super::{Checkout, Errand, Offered, Outcome, Refused};
use crate::catalog::{Matched, Mode, Service, Unit};
use crate::gate::{Decision, Permit, Priced, Wanted, Why};
use crate::l402::{Malformed, Sold};
use crate::ledger::ReserveRefused;
use crate::metering::{Bill, Hold};
use crate::pricing::{Amount, Exchange, LockedRate, Metering, Quote, RequestFacts, Unpriced};
use crate::request::{CanonicalRequest, Inadmissible, admit};
use crate::store::{ReserveError, StoreError};
use crate::types::{Kind, Msat, Name, Timestamp};

/// A request as an application describes it.
#[derive(Clone, Debug)]
pub struct Described {
    /// The request, without credentials.
    pub request: CanonicalRequest,
    /// What it is for.
    pub matched: Matched,
    /// What the application knows of its body.
    pub body: BodySeen,
    /// What it costs, when the application says so; else the route's terms do.
    pub price: Option<NamedPrice>,
}

/// What an application says that a request costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamedPrice {
    /// This much.
    Exact(Amount),
    /// At most this much: how much is told when the hold is settled.
    UpTo(Amount),
}

/// Why an application gets no hold.
#[derive(Debug, Error)]
pub enum NotHeld {
    /// Nothing is charged for this request now: serve it.
    #[error("nothing is charged for this request")]
    NotCharged,
    /// The credential cannot be read.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// It has to be paid for; the code says why the credential does not.
    #[error("{detail}")]
    Unpaid {
        /// Stable code.
        code: &'static str,
        /// In words.
        detail: String,
    },
    /// What is left of the token is held by requests that are under way.
    #[error("this token is in use by another request that is still under way")]
    InFlight,
    /// Nobody can say what the request costs.
    #[error(transparent)]
    Unpriced(#[from] Unpriced),
    /// The ledger fails. Nothing was taken.
    #[error(transparent)]
    Ledger(StoreError),
}

/// Why a description is no request of its service.
#[derive(Debug, Error)]
pub enum NotDescribed {
    /// There is no such service, or it is off.
    #[error("there is no such service")]
    UnknownService,
    /// The gateway would not let it in.
    #[error(transparent)]
    Inadmissible(#[from] Inadmissible),
    /// It lies outside the service.
    #[error("the service does not answer to that host and path")]
    NoRoute,
    /// The gateway would take it for another service's.
    #[error("requests to that host and path belong to the service `{0}`")]
    OtherService(Name),
}

impl Checkout {
    /// Makes a challenge for what an application describes; `offer` names one of the route's offers.
    ///
    /// # Errors
    /// When it cannot be sold; `None` when nothing is charged for it.
    pub async fn challenge(
        &self,
        asked: &Described,
        offer: Option<&str>,
    ) -> Result<Offered, Option<Refused>> {
        let (parts, matched, now) = (&self.parts, &asked.matched, self.parts.clock.now());
        let openings = self.openings.as_deref();
        let (code, detail) = ("payment_required", "pay the invoice and repeat the request with the token");
        if let Some(NamedPrice::Exact(amount) | NamedPrice::UpTo(amount)) = asked.price {
            let ware =
                one_at(amount, matched, parts.exchange.as_ref(), now).map_err(|why| Some(why.into()))?;
            let quote = exactly(&ware);
            let minted = match (parts.mint(ware.clone(), matched, asked.request.host()), openings) {
                (Err(why), Some(openings)) if opens_for(&why) => {
                    let at = (matched, asked.request.host(), asked.request.peer());
                    parts.open(openings, &[&ware], at).await
                }
                (minted, _) => minted,
            };
            let minted = minted.map_err(|why| Some(why.into()))?;
            return Ok(Offered {
                minted,
                matched: matched.clone(),
                errand: Errand::of(&asked.request),
                wares: vec![ware],
                preferred: false,
                quote,
                restore: matched.terms.restore.clone(),
                code,
                detail: detail.to_owned(),
            });
        }
        if matched.terms.rule.is_free() || matched.service.mode == Mode::Shadow {
            return Err(None);
        }
        let facts = asked.facts();
        let pricing = Pricing::new(&matched.terms, &facts, parts.exchange.as_ref(), now);
        if pricing.today().is_ok_and(|quote| quote.is_free()) {
            return Err(None);
        }
        let headers = preferring(offer);
        let counter =
            Counter { parts, matched, pricing: &pricing, request: &asked.request, headers: &headers };
        match counter.offer_or_open(openings, (code, detail.to_owned())).await {
            Outcome::Challenge(offered) => Ok(*offered),
            Outcome::Refused(refused) => Err(Some(refused)),
            Outcome::Open(_) | Outcome::Shadowed(_) | Outcome::Admitted(..) | Outcome::Replayed(_) => {
                Err(None)
            }
        }
    }

    /// Verifies the credential in `headers` and holds what the described request costs.
    ///
    /// May be dropped at any point: what was reserved goes back to its buyer.
    ///
    /// # Errors
    /// When nothing is held.
    pub async fn hold(&self, asked: &Described, headers: &HeaderMap) -> Result<Hold, NotHeld> {
        let (matched, now) = (&asked.matched, self.parts.clock.now());
        let exchange = self.parts.exchange.as_ref();
        let facts = asked.facts();
        let by_terms = Pricing::new(&matched.terms, &facts, exchange, now);
        let by_name = asked.price.map(|price| NamedPricing { price, exchange, now });
        let free = matched.terms.rule.is_free() || matched.service.mode == Mode::Shadow;
        let price: &dyn Priced = match &by_name {
            Some(named) => named,
            None if free || by_terms.today().is_ok_and(|quote| quote.is_free()) => {
                return Err(NotHeld::NotCharged);
            }
            None => &by_terms,
        };
        let wanted = Wanted {
            service: &matched.service,
            route: &matched.route,
            terms: &matched.terms,
            method: asked.request.method().as_str(),
            path: asked.request.path(),
            price,
        };
        // A pass opens what the price list has, not what an application asks beside it.
        let beside = |permit: &Permit| asked.price.is_some() && permit.sale().kind == Kind::Pass;
        let permit = match self.gate.decide(&wanted, headers, now) {
            Decision::Admit(permit) if beside(&permit) => {
                let why = Why::OtherScope { scope: permit.sale().route, copy: permit.copy() };
                return Err(NotHeld::Unpaid { code: why.code(), detail: why.to_string() });
            }
            Decision::Admit(permit) => *permit,
            Decision::Malformed(malformed) => return Err(malformed.into()),
            Decision::Unpriced { why, .. } => return Err(why.into()),
            Decision::Challenge(why) => {
                let over = self.over(&why).await;
                let (code, detail) = over.unwrap_or_else(|| (why.code(), why.to_string()));
                return Err(NotHeld::Unpaid { code, detail });
            }
        };
        // What the answer decides the application tells, not a meter of ours.
        let told = |quote: &Quote| match quote.metering {
            Metering::Flowing | Metering::AtEnd => Quote { metering: Metering::Exact, ..quote.clone() },
            Metering::Exact | Metering::AtReserve => quote.clone(),
        };
        let bill = Bill { terms: matched.terms.clone(), request: facts, quote: permit.quote().map(told) };
        let (clock, cut) = (&self.parts.clock, self.parts.cut.clone());
        let held = Hold::reserve(&self.parts.ledger, permit, bill, clock, cut).await;
        held.map_err(|error| match error {
            ReserveError::Refused(ReserveRefused::InFlight) => NotHeld::InFlight,
            ReserveError::Refused(why) => NotHeld::Unpaid { code: why.code(), detail: why.to_string() },
            ReserveError::Store(error) => NotHeld::Ledger(error),
        })
    }

    /// The request that an application describes by `parts`, for `service`. Without a `Host` it is for
    /// the service's own.
    ///
    /// # Errors
    /// When the gateway would not let it in, or would take it for another service's.
    pub fn describe(
        &self,
        service: &Name,
        mut parts: http::request::Parts,
    ) -> Result<(CanonicalRequest, Matched), NotDescribed> {
        let table = self.parts.catalog.current();
        let found = table.services().iter().find(|known| known.name == *service);
        let found = found.filter(|known| known.mode != Mode::Off).ok_or(NotDescribed::UnknownService)?;
        let host = found.host.as_deref().unwrap_or("localhost");
        if let (false, Ok(host)) = (parts.headers.contains_key(header::HOST), HeaderValue::from_str(host)) {
            parts.headers.insert(header::HOST, host);
        }
        let request = admit(&parts, IpAddr::V4(Ipv4Addr::UNSPECIFIED))?;
        match self.find(&request) {
            Some(matched) if matched.service.name == *service => Ok((request, matched)),
            Some(other) => Err(NotDescribed::OtherService(other.service.name.clone())),
            None => Err(NotDescribed::NoRoute),
        }
    }
}

impl Described {
    fn facts(&self) -> RequestFacts {
        facts(&self.request, self.body.clone(), &self.matched.terms.rule.reads())
    }
}

/// A price that the application names.
struct NamedPricing<'a> {
    price: NamedPrice,
    exchange: &'a dyn Exchange,
    now: Timestamp,
}

impl NamedPricing<'_> {
    fn at(&self, exchange: &dyn Exchange) -> Result<Quote, Unpriced> {
        let (amount, metering) = match self.price {
            NamedPrice::Exact(amount) => (amount, Metering::Exact),
            NamedPrice::UpTo(amount) => (amount, Metering::AtEnd),
        };
        let worth = amount.worth(exchange, self.now)?.ok_or(Unpriced::Overflow)?;
        if worth.msat == Msat::ZERO {
            return Err(Unpriced::Zero);
        }
        let rate = worth.changed.map(|(_, rate)| rate);
        let (least, most) = (worth.msat, worth.msat);
        Ok(Quote { least, most, metering, changed: worth.changed, rate, fallback: None })
    }
}

impl Priced for NamedPricing<'_> {
    fn today(&self) -> Result<Quote, Unpriced> {
        self.at(self.exchange)
    }

    fn as_sold(&self, sold: &Sold) -> Option<Result<Quote, Unpriced>> {
        let rate = Unit::of(sold).rate(self.now)?;
        Some(self.at(&LockedRate(rate)))
    }

    /// The application names the price of the request at hand, and no pack was priced for that.
    fn still_sold(&self, _: &Sold, _: &Service) -> Option<Quote> {
        None
    }
}

/// One request of the matched route at a price that the application names.
fn one_at(
    amount: Amount,
    matched: &Matched,
    exchange: &dyn Exchange,
    now: Timestamp,
) -> Result<Ware, Unpriced> {
    let worth = amount.worth(exchange, now)?.ok_or(Unpriced::Overflow)?;
    if worth.msat == Msat::ZERO {
        return Err(Unpriced::Zero);
    }
    Ok(Ware {
        name: word("request"),
        kind: Kind::Request,
        units: 1,
        price: worth.msat,
        covers: worth.msat,
        quote: quoted(worth.changed),
        route: matched.route.clone(),
        invoice_expiry: matched.terms.invoice_expiry,
        life: matched.terms.request_life(),
    })
}

fn word(text: &str) -> Name {
    text.parse().expect("a lower-case word is a name")
}

fn exactly(ware: &Ware) -> Quote {
    let (least, most) = (ware.price, ware.price);
    Quote { least, most, metering: Metering::Exact, changed: None, rate: None, fallback: None }
}

/// Headers that ask for `offer`.
fn preferring(offer: Option<&str>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let text = offer.map(|offer| format!("{}={offer}", super::L402_OFFER));
    if let Some(value) = text.and_then(|text| HeaderValue::try_from(text).ok()) {
        headers.insert(HeaderName::from_static("prefer"), value);
    }
    headers
}
