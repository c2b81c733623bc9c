//! Prices and offers in words, and how things sold of late.

use std::time::Duration;

use crate::catalog::{AllowanceBy, Offering, Terms};
use crate::clock::in_words;
use crate::pricing::{Amount, Fiat, Rule};
use crate::store::{HourSums, RouteRevenue, SalesFilter, Step, StoreError};
use crate::types::{Msat, Name};
use crate::ui::figures::{grouped, sats_exact, typeset};
use crate::ui::shell::Desk;

const DAY: Duration = Duration::from_secs(24 * 3_600);
/// The days that are summed.
const LATELY: u32 = 30;

/// An amount: sats, or as it was written.
pub(super) fn amount(amount: &Amount) -> String {
    match amount {
        Amount::Msat(msat) => sats(*msat),
        Amount::Fiat(fiat) => money(fiat),
    }
}

/// An amount of another currency, exact, with two decimals at least: half a dollar is `0.50 USD` everywhere.
fn money(fiat: &Fiat) -> String {
    let mut amount = fiat.amount.normalize();
    if amount.scale() < 2 {
        amount.rescale(2);
    }
    format!("{amount} {}", fiat.currency)
}

/// An amount in satoshi, exact.
pub(super) fn sats(msat: Msat) -> String {
    format!("{} sat", sats_exact(msat.msat()))
}

/// What a request costs.
pub(super) fn price(terms: &Terms) -> String {
    let rule = match &terms.rule {
        Rule::Free => "Free".to_owned(),
        Rule::Fixed(price) => format!("{} a request", amount(price)),
        Rule::Formula(formula) => match formula.ceiling() {
            Some(most) => format!("By a formula, at most {}", sats(most)),
            None => "By a formula".to_owned(),
        },
        rule @ Rule::Tiers(_) => rule.describe(),
    };
    match &terms.free {
        None => typeset(&rule),
        Some(free) => {
            let whom = match free.by {
                AllowanceBy::Ip => "each address",
                AllowanceBy::Everyone => "everyone together",
            };
            let per = in_words(free.per);
            // `1 day` is said as `a day`.
            let per = per.strip_prefix("1 ").map_or_else(
                || format!("in {per}"),
                |unit| match unit {
                    "hour" => "an hour".to_owned(),
                    unit => format!("a {unit}"),
                },
            );
            typeset(&format!("{rule}; {} free {per} for {whom}", grouped(free.requests.into())))
        }
    }
}

/// What else a buyer can choose; empty where there are single requests alone.
pub(super) fn sold_as(terms: &Terms) -> String {
    offers(terms).join(", ")
}

/// The same, one by one.
pub(super) fn offers(terms: &Terms) -> Vec<String> {
    let for_price = |price: &Option<Amount>| {
        price.as_ref().map(|price| format!(" for {}", amount(price))).unwrap_or_default()
    };
    let offer = |what: &Offering| match what {
        Offering::Request => None,
        Offering::Pack { requests, price } => {
            Some(format!("{} requests{}", grouped(*requests), for_price(price)))
        }
        Offering::Pass { lasts, price } => {
            Some(format!("a pass of {} for {}", in_words(*lasts), amount(price)))
        }
        Offering::Balance { value, price } => {
            Some(format!("a balance of {}{}", amount(value), for_price(price)))
        }
    };
    terms.offers.iter().filter_map(|own| offer(&own.what)).collect()
}

/// How everything sold in the last days, route by route.
pub(super) struct Sales(Vec<RouteRevenue>);

impl Sales {
    /// The last thirty days, today included.
    pub(super) async fn lately(desk: &Desk) -> Result<Sales, StoreError> {
        let parts = &desk.op.parts;
        parts.ledger.barrier().await;
        let to = parts.clock.now().plus(DAY);
        let all = SalesFilter::default();
        Ok(Sales(parts.ledger.revenue_by_route(to.minus(DAY * LATELY), to, Step::Day, all).await?))
    }

    /// The sums of a service, or of one of its routes.
    pub(super) fn of(&self, service: &Name, route: Option<&Name>) -> HourSums {
        let own = self.0.iter().filter(|line| line.service == *service);
        let own = own.filter(|line| route.is_none_or(|route| line.route == *route));
        own.fold(HourSums::default(), |sum, line| sum.plus(&line.sums))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::spec::Spec;

    #[test]
    fn prices_read_as_a_person_says_them() {
        let terms = |lines: &str| {
            let text = format!("name = \"a\"\nupstream = \"http://127.0.0.1:1\"\n{lines}");
            let (spec, faults) = Spec::read(&toml::from_str(&text).expect("TOML"));
            assert_eq!(faults, []);
            spec.compile(&|_| None).expect("it can be sold").terms
        };
        let plain = terms("price = \"1500 msat\"");
        assert_eq!((price(&plain).as_str(), sold_as(&plain).as_str()), ("1.5 sat a request", ""));
        let many = terms(
            "price = \"5 sat\"\noffers = [\"request\", { pack = 1000, price = \"400 sat\" }, { pass = \"1 day\", price = \"1.50 USD\" }]\n\
             free = { requests = 20, per = \"day\" }",
        );
        assert_eq!(price(&many), "5 sat a request; 20 free a day for each address");
        assert_eq!(sold_as(&many), "1,000 requests for 400 sat, a pass of 1 day for 1.50 USD");
        let formula = terms("price = { formula = \"sat(1) + request.size_bytes\", ceiling = \"20 sat\" }");
        assert_eq!(price(&formula), "By a formula, at most 20 sat");
    }
}
