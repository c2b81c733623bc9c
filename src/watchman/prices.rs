//! The cheapest and the dearest thing that is sold.

use crate::catalog::{Mode, Offering, RouteTable, Terms};
use crate::pricing::{Amount, Ask, Exchange, RequestFacts, Rule};
use crate::types::{Msat, Timestamp};

/// The ends of the price list. A price that depends on the request counts with its ceiling, or as it is for
/// an empty request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prices {
    /// The cheapest thing that costs something.
    pub smallest: Option<Msat>,
    /// The dearest, and where it is sold.
    pub highest: Option<(Msat, String)>,
}

impl Prices {
    /// The ends of what `table` sells at the rates of `now`; what has no price now is left out.
    pub fn of(table: &RouteTable, exchange: &dyn Exchange, now: Timestamp) -> Prices {
        let mut prices = Prices::default();
        for service in table.services().iter().filter(|service| service.mode == Mode::On) {
            let routes = service.routes.iter().map(|route| (route.name.as_str(), route.terms.as_ref()));
            for (name, terms) in routes.chain([("default", service.terms.as_ref())]) {
                for price in of_terms(terms, exchange, now) {
                    prices.take(price, || format!("{}/{name}", service.name));
                }
            }
        }
        prices
    }

    fn take(&mut self, price: Msat, place: impl FnOnce() -> String) {
        if price == Msat::ZERO {
            return;
        }
        if self.smallest.is_none_or(|smallest| price < smallest) {
            self.smallest = Some(price);
        }
        if self.highest.as_ref().is_none_or(|(highest, _)| price > *highest) {
            self.highest = Some((price, place()));
        }
    }
}

fn of_terms(terms: &Terms, exchange: &dyn Exchange, now: Timestamp) -> Vec<Msat> {
    let request = RequestFacts::default();
    let ask = Ask { request: &request, exchange, now, fallback: terms.fallback };
    let worth = |amount: &Amount| amount.worth(exchange, now).ok().flatten().map(|worth| worth.msat);
    let prices = terms.offers.iter().filter_map(|offer| match &offer.what {
        Offering::Request => ceiling(&terms.rule).or_else(|| Some(terms.rule.quote(&ask).ok()?.most)),
        Offering::Pack { price: Some(price), .. } | Offering::Pass { price, .. } => worth(price),
        Offering::Pack { requests, price: None } => Some(terms.rule.pack_price(*requests, &ask).ok()?.msat),
        Offering::Balance { value, price } => worth(price.as_ref().unwrap_or(value)),
    });
    prices.collect()
}

fn ceiling(rule: &Rule) -> Option<Msat> {
    match rule {
        Rule::Formula(formula) => formula.ceiling(),
        _ => None,
    }
}
