//! What one unit of a token of requests opens: the arithmetic that the gate decides by.
//!
//! Pure, and in one place: what is told before a price is changed, and of a token that is looked at, is what the gate
//! does.
//!
//! Invariant: nothing dearer is served than what was sold (MONEY rule 2). What was sold with a pack is so many
//! requests together for one price. So a unit of it opens what costs no more than when it was sold, and also what is
//! dearer one by one, while that many requests of it are on sale together for no more than was paid: whoever holds the
//! pack could buy it anew for the same, and is not made to.

use rust_decimal::Decimal;

use super::{Offering, Service, Terms, pack_price};
use crate::l402::Sold;
use crate::pricing::{Ask, Exchange, Fiat, LockedRate, Metering, Quote, Rate, RequestFacts, Rule, Unpriced};
use crate::types::{Kind, Msat, Name, Timestamp};

/// A unit of a single request or of a pack, as it was sold.
#[derive(Clone, Copy, Debug)]
pub struct Unit<'a> {
    /// Its kind.
    pub kind: Kind,
    /// The route that was asked for.
    pub route: &'a Name,
    /// The dearest request that it opened.
    pub covers: Msat,
    /// The price of all units together.
    pub sold: Msat,
    /// How many those are.
    pub units: u64,
    /// The price in another currency, with its rate.
    pub quote: Option<&'a str>,
}

impl<'a> Unit<'a> {
    /// One of what a token says.
    pub fn of(sold: &'a Sold) -> Unit<'a> {
        Unit {
            kind: sold.kind,
            route: &sold.route,
            covers: sold.covers,
            sold: sold.sold,
            units: sold.units,
            quote: sold.quote.as_ref().map(crate::l402::Quoted::as_str),
        }
    }

    /// The dearest request of `terms` that it opens, where `quote` is asked. A pack that was sold by tiers cost
    /// their sum, which is less than as many of the dearest requests that it opens under them: where other
    /// prices hold, a unit of it is worth what was paid for it.
    pub fn covers(&self, service: &Service, terms: &Terms, quote: &Quote) -> Msat {
        let own = service.routes.iter().find(|route| route.name == *self.route);
        let rule = &own.map_or(&service.terms, |route| &route.terms).rule;
        let by_tiers = self.kind == Kind::Pack && rule.metering() == Metering::AtReserve;
        if !by_tiers || (quote.metering == Metering::AtReserve && terms.rule == *rule) {
            return self.covers;
        }
        let paid = self.sold.msat().div_ceil(self.units.max(1));
        Msat::new(paid).map_or(self.covers, |paid| self.covers.min(paid))
    }

    /// Whether it opens the request that `ask` shows, which costs `quote` by `terms`.
    pub fn opens(&self, service: &Service, terms: &Terms, quote: &Quote, ask: &Ask<'_>) -> bool {
        quote.most <= self.covers(service, terms, quote) || self.still_sold(service, terms, quote, ask)
    }

    /// Whether it is of a pack, and at least as many such requests are sold together there for what was paid for it,
    /// or for less.
    pub fn still_sold(&self, service: &Service, terms: &Terms, quote: &Quote, ask: &Ask<'_>) -> bool {
        let no_dearer = |what: &Offering| match what {
            Offering::Pack { requests, price } if *requests >= self.units => {
                pack_price(service, terms, (*requests, *price), quote, ask)
                    .is_ok_and(|whole| whole.msat <= self.sold)
            }
            _ => false,
        };
        self.kind == Kind::Pack && terms.offers.iter().any(|offer| no_dearer(&offer.what))
    }

    /// The rate that it was sold at, when its quote names one.
    pub fn rate(&self, now: Timestamp) -> Option<Rate> {
        rate_of(self.quote?, now)
    }
}

/// Terms, and what a request of which nothing more is known costs by them today.
pub struct Today<'a> {
    service: &'a Service,
    terms: &'a Terms,
    exchange: &'a dyn Exchange,
    now: Timestamp,
    /// `None` where the request itself says that.
    quote: Option<Result<Quote, Unpriced>>,
}

impl<'a> Today<'a> {
    /// What a request by `terms` of `service` costs at `now`, by the rates of `exchange`.
    pub fn of(
        service: &'a Service,
        terms: &'a Terms,
        exchange: &'a dyn Exchange,
        now: Timestamp,
    ) -> Today<'a> {
        let mut today = Today { service, terms, exchange, now, quote: None };
        if !matches!(terms.rule, Rule::Formula(_)) {
            today.quote = Some(today.asked(exchange, terms.fallback, |ask| terms.rule.quote(ask)));
        }
        today
    }

    /// What it costs; `None` where that depends on the request, or nobody can say.
    pub fn quote(&self) -> Option<&Quote> {
        self.quote.as_ref()?.as_ref().ok()
    }

    /// Whether the gate lets a request in for `unit`, at today's rates or at the one that it was sold at; `None` where
    /// that depends on the request, or on a rate that nobody knows.
    pub fn opened_by(&self, unit: &Unit<'_>) -> Option<bool> {
        if self.terms.rule.is_free() {
            return Some(true);
        }
        let Today { service, terms, .. } = self;
        let opened = |quote: &Quote, exchange: &dyn Exchange, fallback| {
            self.asked(exchange, fallback, |ask| unit.opens(service, terms, quote, ask))
        };
        let today = self.quote.as_ref()?;
        if today.as_ref().is_ok_and(|quote| opened(quote, self.exchange, terms.fallback)) {
            return Some(true);
        }
        // Without the fallback: it is no price at that rate.
        let as_sold = unit.rate(self.now).map(LockedRate).is_some_and(|rate| {
            let quote = self.asked(&rate, None, |ask| terms.rule.quote(ask));
            quote.is_ok_and(|quote| opened(&quote, &rate, None))
        });
        if as_sold { Some(true) } else { today.is_ok().then_some(false) }
    }

    fn asked<T>(
        &self,
        exchange: &dyn Exchange,
        fallback: Option<Msat>,
        what: impl FnOnce(&Ask<'_>) -> T,
    ) -> T {
        what(&Ask { request: &RequestFacts::default(), exchange, now: self.now, fallback })
    }
}

/// The rate that a token's quote names.
pub fn rate_of(quote: &str, now: Timestamp) -> Option<Rate> {
    let (fiat, per_btc) = quote.split_once('@')?;
    let fiat: Fiat = fiat.parse().ok()?;
    let per_btc: Decimal = per_btc.parse().ok().filter(|rate| *rate > Decimal::ZERO)?;
    Some(Rate { currency: fiat.currency, per_btc, at: now })
}
