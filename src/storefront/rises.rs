//! What a change makes dearer for customers who have paid already: a request that costs more than what it was sold
//! for is refused with a fresh offer (MONEY rule 2), and a balance pays for fewer of them.
//!
//! Pure but for the count. Requests are compared by samples, as [`super::stops`] does. What two prices come to is
//! known where both are fixed amounts in one currency; of any other two that differ nobody can say it beforehand.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::stops::samples;
use crate::catalog::{RouteTable, Service};
use crate::pricing::{Amount, Rule};
use crate::store::{Ledger, Outstanding, StoreError};
use crate::types::{Msat, Name};

/// Requests of a service that cost more by a change, and the tokens that it touches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Rise {
    /// Which service.
    pub service: Name,
    /// The requests that it is about, such as `GET /v1/rates`; none are all of the service's.
    pub requests: Vec<String>,
    /// They cost more; false where that depends on the request, or on the rate of a currency.
    pub certain: bool,
    /// Tokens of single requests and of packs that were sold for less: they are refused there.
    pub refused_tokens: u64,
    /// Requests that are left of them.
    pub refused_requests: u64,
    /// Balances, and tokens that were given: they buy fewer requests.
    pub balance_tokens: u64,
    /// What is left of them, in millisatoshi.
    pub balance_left_msat: u64,
}

/// Requests of a service that cost more, whoever may hold tokens for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Dearer {
    service: Name,
    requests: Vec<String>,
    certain: bool,
    /// The routes that they were sold by, and their price then, where it is known.
    routes: BTreeMap<Name, Option<Msat>>,
}

impl Dearer {
    /// What is dearer in the second table.
    pub(super) fn between(before: &RouteTable, after: &RouteTable) -> Vec<Dearer> {
        let one = |service: &Service| {
            let then = after.services().iter().find(|then| then.name == service.name)?;
            of_service(service, then, before, after)
        };
        before.services().iter().filter_map(|service| one(service)).collect()
    }

    /// The tokens that it touches; `None` when there are none.
    pub(super) async fn count(self, ledger: &Ledger) -> Result<Option<Rise>, StoreError> {
        let Dearer { service, requests, certain, routes } = self;
        let Outstanding { requests: refused, money } =
            ledger.outstanding(service.clone(), routes.into_iter().collect()).await?;
        let rise = Rise {
            service,
            requests,
            certain,
            refused_tokens: refused.tokens,
            refused_requests: refused.units,
            balance_tokens: money.tokens,
            balance_left_msat: money.units,
        };
        Ok((refused.tokens > 0 || money.tokens > 0).then_some(rise))
    }
}

fn of_service(service: &Service, then: &Service, before: &RouteTable, after: &RouteTable) -> Option<Dearer> {
    let host = service.host.as_deref().unwrap_or_default();
    let (mut requests, mut certain, mut routes) = (Vec::new(), true, BTreeMap::new());
    let mut all = true;
    for sample in samples(service).chain(samples(then)) {
        let was = before.on_sale_or_off(&sample.method, host, &sample.path);
        let is = after.on_sale_or_off(&sample.method, host, &sample.path);
        let Some((was, is)) = was
            .zip(is)
            .filter(|(was, is)| was.service.name == service.name && is.service.name == service.name)
        else {
            continue;
        };
        let Some(step) = step(&was.terms.rule, &is.terms.rule) else {
            all = false;
            continue;
        };
        certain &= matches!(step, Step::To(_));
        let price = match step {
            Step::To(price) => price,
            Step::Perhaps => None,
        };
        routes
            .entry(was.route)
            .and_modify(|known: &mut Option<Msat>| {
                *known = known.zip(price).map(|(one, other)| one.max(other))
            })
            .or_insert(price);
        if !requests.contains(&sample.requests) {
            requests.push(sample.requests);
        }
    }
    if requests.is_empty() {
        return None;
    }
    if all {
        requests.clear();
    }
    Some(Dearer { service: service.name.clone(), requests, certain, routes })
}

/// A step up.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// To this price, where it is one in bitcoin.
    To(Option<Msat>),
    /// For some requests, or at some rates.
    Perhaps,
}

/// Whether what `after` asks is more than what `before` does.
fn step(before: &Rule, after: &Rule) -> Option<Step> {
    match (before, after) {
        (_, Rule::Free) => None,
        (before, after) if before == after => None,
        (Rule::Free, Rule::Fixed(Amount::Msat(price))) => Some(Step::To(Some(*price))),
        (Rule::Fixed(Amount::Msat(was)), Rule::Fixed(Amount::Msat(is))) => {
            (is > was).then_some(Step::To(Some(*is)))
        }
        (Rule::Fixed(Amount::Fiat(was)), Rule::Fixed(Amount::Fiat(is))) if was.currency == is.currency => {
            (is.amount > was.amount).then_some(Step::To(None))
        }
        _ => Some(Step::Perhaps),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::spec::Spec;

    fn table(lines: &str) -> RouteTable {
        let text = format!("name = \"a\"\npath = \"/v1\"\nupstream = \"http://127.0.0.1:1\"\n{lines}");
        let value = toml::from_str::<serde_json::Value>(&text).unwrap();
        RouteTable::new(vec![Spec::read(&value).0.compile(&|_| None).unwrap()]).unwrap()
    }

    /// The requests that are dearer, whether that is certain, and the routes that they were sold by.
    fn dearer(before: &str, after: &str) -> Option<(String, bool, String)> {
        let found = Dearer::between(&table(before), &table(after)).pop()?;
        let price = |price: Option<Msat>| price.map_or("?".to_owned(), |price| price.sats_ceil().to_string());
        let routes = found.routes.into_iter().map(|(route, to)| format!("{route}:{}", price(to)));
        Some((found.requests.join(" "), found.certain, routes.collect::<Vec<_>>().join(" ")))
    }

    fn told(requests: &str, certain: bool, routes: &str) -> Option<(String, bool, String)> {
        Some((requests.to_owned(), certain, routes.to_owned()))
    }

    #[test]
    fn a_dearer_price_is_found_and_a_cheaper_one_is_none() {
        let (five, six) = ("price = \"5 sat\"", "price = \"6 sat\"");
        assert_eq!(dearer(five, six), told("", true, "default:6"));
        assert_eq!(dearer(six, five), None);
        assert_eq!(dearer(five, five), None);
        assert_eq!(dearer(five, "price = \"free\""), None, "it stops earning, which is asked about as that");
        assert_eq!(dearer("price = \"free\"", five), told("", true, "default:5"));
        let off = |price: &str| format!("{price}\nmode = \"off\"");
        assert_eq!(dearer(&off(five), six), told("", true, "default:6"));
        assert_eq!(dearer(&off(five), &off(six)), told("", true, "default:6"), "it opens again one day");
        assert_eq!(dearer("price = \"0.01 USD\"", "price = \"0.02 USD\""), told("", true, "default:?"));
        assert_eq!(dearer("price = \"0.02 USD\"", "price = \"0.01 USD\""), None);
        assert_eq!(dearer(five, "price = \"0.01 USD\""), told("", false, "default:?"));
    }

    #[test]
    fn the_routes_that_tokens_were_sold_by_are_known() {
        let with = |routes: &str| format!("price = \"5 sat\"\nroute = [{routes}]");
        let one =
            |price: &str| with(&format!("{{ name = \"day\", path = \"/v1/day\", price = \"{price}\" }}"));
        assert_eq!(dearer(&one("2 sat"), &one("3 sat")), told("/v1/day", true, "day:3"));
        assert_eq!(dearer("price = \"5 sat\"", &one("7 sat")), told("/v1/day", true, "default:7"));
        assert_eq!(dearer("price = \"5 sat\"", &one("2 sat")), None);
        let gone = dearer(&one("2 sat"), "price = \"5 sat\"");
        assert_eq!(gone, told("/v1/day", true, "day:5"), "the route is gone");
    }
}
