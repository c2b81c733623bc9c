//! What one unit of a token of requests opens: the arithmetic that the gate decides by.
//!
//! Pure, and in one place: what is told before a price is changed is what the gate does after it.

use rust_decimal::Decimal;

use super::{Service, Terms};
use crate::l402::Sold;
use crate::pricing::{Fiat, Metering, Quote, Rate};
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

    /// The rate that it was sold at, when its quote names one.
    pub fn rate(&self, now: Timestamp) -> Option<Rate> {
        rate_of(self.quote?, now)
    }
}

/// The rate that a token's quote names.
pub fn rate_of(quote: &str, now: Timestamp) -> Option<Rate> {
    let (fiat, per_btc) = quote.split_once('@')?;
    let fiat: Fiat = fiat.parse().ok()?;
    let per_btc: Decimal = per_btc.parse().ok().filter(|rate| *rate > Decimal::ZERO)?;
    Some(Rate { currency: fiat.currency, per_btc, at: now })
}
