//! The offers of a spec, and which of them a rule can be sold by.

use std::time::Duration;

use super::fields::join;
use super::words::{self, Wrong};
use super::{OfferSpec, SpecFault};
use crate::catalog::{Offer, Offering};
use crate::pricing::{Amount, Metering, Rule, Volume};
use crate::types::Msat;

/// The longest pass.
const LONGEST_PASS: Duration = Duration::from_secs(10 * 365 * 24 * 3_600);
/// The largest pack.
const LARGEST_PACK: u64 = 1_000_000_000;

/// The offers of the list at `at`, every one with a name of its own.
pub(super) fn offers(list: &[OfferSpec], at: &str, faults: &mut Vec<SpecFault>) -> Option<Vec<Offer>> {
    let before = faults.len();
    let mut offers: Vec<Offer> = Vec::new();
    if list.is_empty() {
        let help = "Leave `offers` out to sell single requests.";
        faults.push(SpecFault::new(join(at, "offers"), Wrong::new("nothing is offered", help)));
    }
    for (index, spec) in list.iter().enumerate() {
        let at = join(at, &format!("offers[{index}]"));
        match offer(spec) {
            Ok(offer) => match offers.iter().find(|earlier| earlier.name == offer.name) {
                None => offers.push(offer),
                Some(_) => {
                    let what = format!("another offer here has the name `{}`", offer.name);
                    let bad = Wrong::new(what, "Give each its own: { pack = 100, name = \"hundred\" }.");
                    faults.push(SpecFault::new(join(&at, "name"), bad));
                }
            },
            Err((key, bad)) => faults.push(SpecFault::new(join(&at, key), bad)),
        }
    }
    (faults.len() == before).then_some(offers)
}

fn offer(spec: &OfferSpec) -> Result<Offer, (&'static str, Wrong)> {
    let one = "Write one of { pack = 100 }, { pass = \"1 day\", price = \"1000 sat\" } and { balance = \"10000 sat\" }.";
    let (name, derived, what) = match spec {
        OfferSpec::Word(word) => (None, word.clone(), Offering::Request),
        OfferSpec::Sold { pack, pass, balance, price, name } => {
            let price = price.as_deref().map(words::amount).transpose().map_err(|bad| ("price", bad))?;
            let (derived, what) = match (pack, pass, balance) {
                (Some(requests), None, None) if (2..=LARGEST_PACK).contains(requests) => {
                    (format!("pack-{requests}"), Offering::Pack { requests: *requests, price })
                }
                (Some(_), None, None) => {
                    return Err((
                        "pack",
                        Wrong::new("a pack has 2 to 1,000,000,000 requests", "Write \"request\" for one."),
                    ));
                }
                (None, Some(text), None) => {
                    let lasts = words::span(text, Duration::from_secs(1), LONGEST_PASS)
                        .map_err(|bad| ("pass", bad))?;
                    let price = price.ok_or_else(|| {
                        (
                            "price",
                            Wrong::new(
                                "it is missing",
                                "A pass costs something: { pass = \"1 day\", price = \"1000 sat\" }.",
                            ),
                        )
                    })?;
                    (format!("pass-{}", slug(text)), Offering::Pass { lasts, price })
                }
                (None, None, Some(text)) => {
                    let value = words::amount(text).map_err(|bad| ("balance", bad))?;
                    (format!("balance-{}", slug(text)), Offering::Balance { value, price })
                }
                (None, None, None) => return Err(("", Wrong::new("it says not what is sold", one))),
                _ => return Err(("", Wrong::new("it is several things at once", one))),
            };
            (name.as_deref(), derived, what)
        }
    };
    let name = match name {
        Some(name) => words::name(name),
        None => words::name(&derived).map_err(|_| {
            Wrong::new(
                "no name can be made of it",
                "Give it one: { pass = \"1 day\", price = \"1000 sat\", name = \"day\" }.",
            )
        }),
    };
    Ok(Offer { name: name.map_err(|bad| ("name", bad))?, what })
}

/// Letters and digits, the rest a dash.
fn slug(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    lower
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("-")
}

/// Why `rule` cannot be sold by `what`, if it cannot.
pub(super) fn misfit(rule: &Rule, what: &Offering) -> Option<Wrong> {
    let metered = matches!(rule.metering(), Metering::Flowing | Metering::AtEnd);
    let reusable = "Offer a balance, such as { balance = \"10000 sat\" }, or a pass.";
    match what {
        Offering::Request | Offering::Pack { .. } if metered => Some(Wrong::new(
            format!("a {} cannot be sold where the price depends on the answer", what.kind()),
            reusable,
        )),
        Offering::Request if rule.metering() == Metering::AtReserve => Some(Wrong::new(
            "a single request cannot be sold where the price depends on earlier use",
            "Offer a pack, such as { pack = 100 }, or a balance, such as { balance = \"10000 sat\" }.",
        )),
        // The buyer picks the request, and would pick the dearest.
        Offering::Pack { price: Some(_), .. } if rule.reads().request() => Some(Wrong::new(
            "a pack cannot have a price of its own where requests cost different amounts",
            "Leave the pack's price out: it costs as many times what the request costs. Or offer a balance.",
        )),
        Offering::Balance { value: Amount::Msat(value), .. } => {
            needs(rule).filter(|needed| needed > value).map(|needed| {
                Wrong::new(
                    format!("a balance of {value} opens no request here: one needs {needed}"),
                    "Offer a larger balance, or lower the price or its ceiling.",
                )
            })
        }
        _ => None,
    }
}

/// What must be there to begin one request, where that is known before all rates and requests.
fn needs(rule: &Rule) -> Option<Msat> {
    match rule {
        Rule::Fixed(Amount::Msat(price)) => Some(*price),
        Rule::Formula(formula) if formula.metering() == Metering::AtEnd => formula.ceiling(),
        Rule::Tiers(tiers) if tiers.volume() == Volume::Requests => {
            let first = tiers.tiers().first()?;
            match first.price {
                Amount::Msat(price) => Some(price),
                Amount::Fiat(_) => None,
            }
        }
        _ => None,
    }
}
