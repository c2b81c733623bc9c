//! What a change makes dearer for customers who have paid already: a request that costs more than what it was sold
//! for is refused with a fresh offer (MONEY rule 2), and a balance pays for fewer of them.
//!
//! Pure but for the count. Requests are compared by samples, as [`super::stops`] does. What two prices come to is
//! known where both are fixed amounts in one currency; of any other two that differ nobody can say it beforehand.
//! Whether a token is refused is asked as the gate decides it, at today's rates: whatever route it was bought on, and
//! only what is refused after the change and was not before it. Packs are good while they are on sale for what was paid,
//! whatever one request costs: so a dearer pack is a rise, too.

use schemars::JsonSchema;
use serde::Serialize;

use super::Market;
use super::repriced::{Repriced, dearer_packs, dearer_rule, note};
use super::stops::samples;
use crate::catalog::{Matched, RouteTable, Service, Today, Unit};
use crate::pricing::Exchange;
use crate::store::{Alike, Ledger, Left, Outstanding, StoreError};
use crate::types::{Name, Timestamp};

/// Requests of a service that cost more by a change, and the tokens that it touches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Rise {
    /// Which service.
    pub service: Name,
    /// The requests that it is about, such as `GET /v1/rates`; none are all of the service's.
    pub requests: Vec<String>,
    /// They cost more; false where that depends on the request, or on the rate of a currency.
    pub certain: bool,
    /// Their prices before and after, requests that are priced alike together.
    pub prices: Vec<Repriced>,
    /// Tokens of single requests and of packs that open them now and are refused there then.
    pub refused_tokens: u64,
    /// Requests that are left of them.
    pub refused_requests: u64,
    /// Balances that were sold: they buy fewer requests.
    pub balance_tokens: u64,
    /// What is left of them, in millisatoshi.
    pub balance_left_msat: u64,
    /// Tokens that were given away, for which nobody paid: they buy fewer requests.
    pub given_tokens: u64,
    /// What is left of them, in millisatoshi; of a budget what its period still has.
    pub given_left_msat: u64,
}

/// Requests of a service that cost more, whoever may hold tokens for it.
#[derive(Clone, Debug)]
pub(super) struct Dearer {
    service: Name,
    requests: Vec<String>,
    certain: bool,
    prices: Vec<Repriced>,
    /// Not one request is dearer, and only packs of them are: what is drawn from a balance is not.
    packs_only: bool,
    /// On which terms they are sold before and after it, one of those that are sold alike.
    steps: Vec<(Matched, Matched)>,
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

    /// Which tokens all of them touch; those that touch none are left out.
    pub(super) async fn count(
        all: Vec<Dearer>,
        ledger: &Ledger,
        market: &Market,
    ) -> Result<Vec<Rise>, StoreError> {
        if all.is_empty() {
            return Ok(Vec::new());
        }
        let now = market.clock.now();
        let services = all.iter().map(|dearer| dearer.service.clone()).collect();
        let mut held = ledger.outstanding(services, now).await?;
        let rise = |dearer: Dearer| {
            let Outstanding { requests: held, mut balances, mut given } = held.remove(&dearer.service)?;
            let refused = dearer.refused(&held, market.exchange.as_ref(), now);
            let Dearer { service, mut requests, certain, mut prices, packs_only, .. } = dearer;
            if packs_only {
                (balances, given) = (Left::default(), Left::default());
            }
            if refused.tokens == 0 {
                prices.retain(|one| one.pack.is_none());
                requests.retain(|request| prices.iter().any(|one| one.requests.contains(request)));
            }
            (refused.tokens > 0 || balances.tokens > 0 || given.tokens > 0).then_some(Rise {
                service,
                requests,
                certain,
                prices,
                refused_tokens: refused.tokens,
                refused_requests: refused.units,
                balance_tokens: balances.tokens,
                balance_left_msat: balances.units,
                given_tokens: given.tokens,
                given_left_msat: given.units,
            })
        };
        Ok(all.into_iter().filter_map(rise).collect())
    }

    /// What is left of the tokens that open one of these requests now, and not any more then. Where nobody can say
    /// it of a request, they are counted.
    fn refused(&self, held: &[Alike], exchange: &dyn Exchange, now: Timestamp) -> Left {
        let steps: Vec<(Today<'_>, Today<'_>)> = self
            .steps
            .iter()
            .map(|(was, is)| (today(was, exchange, now), today(is, exchange, now)))
            .collect();
        let mut sum = Left::default();
        for alike in held {
            let unit = unit(alike);
            let newly = |(was, is): &(Today<'_>, Today<'_>)| {
                was.opened_by(&unit) != Some(false) && is.opened_by(&unit) != Some(true)
            };
            if steps.iter().any(newly) {
                sum.tokens = sum.tokens.saturating_add(alike.left.tokens);
                sum.units = sum.units.saturating_add(alike.left.units);
            }
        }
        sum
    }
}

fn today<'a>(at: &'a Matched, exchange: &'a dyn Exchange, now: Timestamp) -> Today<'a> {
    Today::of(&at.service, &at.terms, exchange, now)
}

fn unit(alike: &Alike) -> Unit<'_> {
    Unit {
        kind: alike.kind,
        route: &alike.route,
        covers: alike.covers,
        sold: alike.sold,
        units: alike.units,
        quote: alike.quote.as_deref(),
    }
}

fn of_service(service: &Service, then: &Service, before: &RouteTable, after: &RouteTable) -> Option<Dearer> {
    let host = service.host.as_deref().unwrap_or_default();
    let (mut requests, mut certain) = (Vec::new(), true);
    let mut prices: Vec<Repriced> = Vec::new();
    let mut steps: Vec<(Matched, Matched)> = Vec::new();
    let (mut all, mut packs_only) = (true, true);
    for sample in samples(service).chain(samples(then)) {
        let was = before.on_sale_or_off(&sample.method, host, &sample.path);
        let is = after.on_sale_or_off(&sample.method, host, &sample.path);
        let Some((was, is)) = was
            .zip(is)
            .filter(|(was, is)| was.service.name == service.name && is.service.name == service.name)
        else {
            continue;
        };
        let one = dearer_rule(&was.terms.rule, &is.terms.rule);
        let packs = dearer_packs(&was, &is);
        if one.is_none() && packs.is_empty() {
            all = false;
            continue;
        }
        packs_only &= one.is_none();
        for price in one.into_iter().chain(packs) {
            certain &= price.certain;
            note(&mut prices, &sample.requests, price);
        }
        let same =
            |(before, after): &(Matched, Matched)| before.terms == was.terms && after.terms == is.terms;
        if !steps.iter().any(same) {
            steps.push((was, is));
        }
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
    Some(Dearer { service: service.name.clone(), requests, certain, prices, packs_only, steps })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::spec::Spec;
    use crate::pricing::{LockedRate, Rate};
    use crate::types::{Kind, Msat};

    fn table(lines: &str) -> RouteTable {
        let text = format!("name = \"a\"\npath = \"/v1\"\nupstream = \"http://127.0.0.1:1\"\n{lines}");
        let value = toml::from_str::<serde_json::Value>(&text).unwrap();
        RouteTable::new(vec![Spec::read(&value).0.compile(&|_| None).unwrap()]).unwrap()
    }

    /// The requests that are dearer, and whether that is certain.
    fn dearer(before: &str, after: &str) -> Option<(String, bool)> {
        let found = Dearer::between(&table(before), &table(after)).pop()?;
        Some((found.requests.join(" "), found.certain))
    }

    fn told(requests: &str, certain: bool) -> Option<(String, bool)> {
        Some((requests.to_owned(), certain))
    }

    #[test]
    fn a_dearer_price_is_found_and_a_cheaper_one_is_none() {
        let (five, six) = ("price = \"5 sat\"", "price = \"6 sat\"");
        assert_eq!(dearer(five, six), told("", true));
        assert_eq!(dearer(six, five), None);
        assert_eq!(dearer(five, five), None);
        assert_eq!(dearer(five, "price = \"free\""), None, "it stops earning, which is asked about as that");
        assert_eq!(dearer("price = \"free\"", five), told("", true));
        let off = |price: &str| format!("{price}\nmode = \"off\"");
        assert_eq!(dearer(&off(five), six), told("", true));
        assert_eq!(dearer(&off(five), &off(six)), told("", true), "it opens again one day");
        assert_eq!(dearer("price = \"0.01 USD\"", "price = \"0.02 USD\""), told("", true));
        assert_eq!(dearer("price = \"0.02 USD\"", "price = \"0.01 USD\""), None);
        assert_eq!(dearer(five, "price = \"0.01 USD\""), told("", false));
    }

    const DAY: &str =
        "price = \"5 sat\"\nroute = [{ name = \"day\", path = \"/v1/day\", price = \"2 sat\" }]";

    #[test]
    fn the_requests_that_are_dearer_are_named() {
        assert_eq!(dearer(DAY, &DAY.replace("2 sat", "3 sat")), told("/v1/day", true));
        assert_eq!(dearer("price = \"5 sat\"", &DAY.replace("2 sat", "7 sat")), told("/v1/day", true));
        assert_eq!(dearer("price = \"5 sat\"", DAY), None);
        assert_eq!(dearer(DAY, "price = \"5 sat\""), told("/v1/day", true), "the route is gone");
    }

    #[test]
    fn the_prices_before_and_after_are_told() {
        let told = |before: &str, after: &str| {
            let found = Dearer::between(&table(before), &table(after)).pop().expect("it is dearer");
            let one = |own: &Repriced| format!("{}: {} -> {}", own.requests.join(" "), own.before, own.after);
            found.prices.iter().map(one).collect::<Vec<_>>()
        };
        assert_eq!(told("price = \"5 sat\"", "price = \"6 sat\""), ["/v1/*: 5 sat -> 6 sat"]);
        assert_eq!(told("price = \"free\"", "price = \"6 sat\""), ["/v1/*: free -> 6 sat"]);
        let both = DAY.replace("2 sat", "7 sat").replace("5 sat", "7 sat");
        assert_eq!(told(DAY, &both), ["/v1/day: 2 sat -> 7 sat", "/v1/*: 5 sat -> 7 sat"]);
        assert_eq!(told("price = \"5 sat\"", &both), ["/v1/* /v1/day: 5 sat -> 7 sat"]);
        let formula = told("price = \"5 sat\"", "price = { formula = \"request.size_bytes + 1\" }");
        assert_eq!(
            formula,
            ["/v1/*: 5 sat -> by a formula in millisatoshi: request.size_bytes + 1"],
            "as a 402 says it"
        );
    }

    /// Packs of ten that cover so many sat a request, bought on `route`; nine requests are left.
    fn pack(route: &str, covers: u64, quote: Option<&str>) -> Alike {
        let covers = Msat::from_sat(covers).unwrap();
        Alike {
            kind: Kind::Pack,
            route: route.parse().unwrap(),
            covers,
            // A tenth less than one by one.
            sold: covers.checked_mul(9).unwrap(),
            units: 10,
            quote: quote.map(str::to_owned),
            left: Left { tokens: 1, units: 9 },
        }
    }

    /// Which of `held` are refused by the change, at so many USD for a bitcoin.
    fn refused(before: &str, after: &str, held: &[Alike], usd: i64) -> Vec<bool> {
        let dearer = Dearer::between(&table(before), &table(after));
        let rate = Rate { currency: "USD".parse().unwrap(), per_btc: usd.into(), at: Timestamp::default() };
        let one = |pack: &Alike| {
            dearer.iter().any(|dearer| {
                dearer.refused(std::slice::from_ref(pack), &LockedRate(rate), Timestamp::default()).tokens > 0
            })
        };
        held.iter().map(one).collect()
    }

    #[test]
    fn what_the_gate_will_newly_refuse_is_counted_and_nothing_else() {
        let held = [pack("day", 2, None), pack("default", 5, None), pack("hour", 3, None)];
        let day = |price: &str| refused(DAY, &DAY.replace("2 sat", price), &held, 64_000);
        assert_eq!(
            day("3 sat"),
            [true, false, false],
            "sold for less elsewhere is good up to what it covers"
        );
        assert_eq!(day("5 sat"), [true, false, true]);
        assert_eq!(day("6 sat"), [true, true, true], "those of other routes opened it too");
        let rest = |price: &str| refused(DAY, &DAY.replace("5 sat", price), &held, 64_000);
        assert_eq!(rest("6 sat"), [false, true, false], "the others were refused there before");
        assert_eq!(rest("5001 msat"), [false, true, false]);
        let opens = refused("price = \"free\"", "price = \"3 sat\"", &held, 64_000);
        assert_eq!(opens, [true, false, false], "a token was good for what costs nothing");
    }

    #[test]
    fn a_pack_that_is_still_on_sale_for_what_was_paid_stays_good() {
        // Ten for 18 sat, where one is 2 sat; nine are left.
        let held = [pack("default", 2, None)];
        let sells = |price: &str, pack: &str| format!("price = \"{price}\"\noffers = [\"request\"{pack}]");
        let ten = |price: &str| format!(", {{ pack = 10, price = \"{price}\" }}");
        let before = sells("2 sat", &ten("18 sat"));
        let after = |price: &str, pack: &str| refused(&before, &sells(price, pack), &held, 64_000)[0];
        assert!(!after("20 sat", &ten("18 sat")), "it is sold as before");
        assert!(!after("20 sat", &ten("17 sat")), "and for less");
        assert!(!after("20 sat", ", { pack = 12, price = \"18 sat\" }"), "and more for as much");
        assert!(after("20 sat", &ten("19 sat")), "it is dearer, too");
        assert!(after("20 sat", ", { pack = 9, price = \"9 sat\" }"), "nobody sells ten for 18 sat");
        assert!(after("20 sat", ", { pack = 10 }") && after("20 sat", ""), "it is gone");
        assert!(!after("2 sat", "") && !after("2 sat", &ten("19 sat")), "what one costs is covered anyway");
        // What kept it good is taken away afterwards.
        let then = sells("20 sat", &ten("18 sat"));
        let dearer = |pack: &str| Dearer::between(&table(&then), &table(&sells("20 sat", pack))).pop();
        assert_eq!(refused(&then, &sells("20 sat", &ten("190 sat")), &held, 64_000), [true]);
        let told = dearer(&ten("190 sat")).expect("the pack is dearer");
        assert!(told.packs_only && told.certain);
        let one = &told.prices[0];
        assert_eq!((one.pack, one.before.as_str(), one.after.as_str()), (Some(10), "18 sat", "190 sat"));
        assert_eq!(dearer("").expect("it is gone").prices[0].after, "not sold");
        assert!(dearer(&ten("17 sat")).is_none());

        // A route has the service's packs for as long as it has its price, too.
        let with_route = |price: &str| {
            let route = "route = [{ name = \"day\", path = \"/v1/day\", price = \"20 sat\" }]";
            format!("{}\n{route}", sells(price, &ten("18 sat")))
        };
        let held = [pack("day", 2, None)];
        assert_eq!(refused(&with_route("20 sat"), &with_route("30 sat"), &held, 64_000), [true]);
        assert_eq!(refused(&with_route("20 sat"), &with_route("20 sat"), &held, 64_000), [false]);
    }

    #[test]
    fn a_price_in_a_currency_is_asked_at_todays_rate_and_at_that_of_the_sale() {
        // A cent is 16 sat at 62,500 USD, and was when they were sold.
        let held = [pack("default", 16, Some("0.01 USD@62500")), pack("default", 16, None)];
        let to = |price: &str, usd: i64| {
            refused("price = \"0.01 USD\"", &format!("price = \"{price} USD\""), &held, usd)
        };
        assert_eq!(to("0.02", 62_500), [true, true]);
        assert_eq!(to("0.02", 125_000), [false, false], "it costs as many sat as before");
        assert_eq!(to("0.02", 100_000), [true, true]);
        assert_eq!(to("0.02", 50_000), [true, false], "what has no rate was refused before");
    }

    #[test]
    fn what_a_formula_asks_nobody_can_say() {
        let formula = "price = { formula = \"request.size_bytes + 1\" }";
        assert_eq!(refused("price = \"5 sat\"", formula, &[pack("default", 5, None)], 64_000), [true]);
        assert_eq!(dearer("price = \"5 sat\"", formula), told("", false));
    }
}
