//! Prices that are higher after a change: of one request, and of packs of them.
//!
//! Pure. What two prices come to is known where both are fixed amounts in one currency; of any other two that differ
//! nobody can say it beforehand.

use schemars::JsonSchema;
use serde::Serialize;

use crate::catalog::{Matched, Offering, is_priced_for};
use crate::pricing::{Amount, Rule};

/// Requests that are priced alike before a change, and after it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Repriced {
    /// Which, such as `GET /v1/rates`.
    pub requests: Vec<String>,
    /// It is about a pack of so many of them; without it, about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pack: Option<u64>,
    /// What it costs before it: `2 sat`, `free`, or the rule in words.
    pub before: String,
    /// What it costs after it; `not sold` of a pack that is on sale no more.
    pub after: String,
    /// That is more; false where it depends on the request, or on the rate of a currency.
    pub certain: bool,
}

/// The packs that are on sale for more then, or not at all. What a pack without a price of its own costs is the
/// rule's matter.
pub(super) fn dearer_packs(was: &Matched, is: &Matched) -> Vec<Repriced> {
    let (before, after) = (&was.terms, &is.terms);
    // A service's pack is not sold on a route with another price than the service's.
    let (sold, sold_then) = (is_priced_for(&was.service, before), is_priced_for(&is.service, after));
    let own = |what: &Offering| match what {
        Offering::Pack { requests, price: Some(price) } if sold => Some((*requests, *price)),
        _ => None,
    };
    let one = |(requests, price): (u64, Amount)| {
        let then: Vec<&Option<Amount>> = after
            .offers
            .iter()
            .filter_map(|offer| match &offer.what {
                Offering::Pack { requests: then, price }
                    if *then >= requests && (sold_then || price.is_none()) =>
                {
                    Some(price)
                }
                _ => None,
            })
            .collect();
        let steps: Vec<Option<Step>> = then
            .iter()
            .map(|then| match then {
                Some(then) => step(&Rule::Fixed(price), &Rule::Fixed(*then)),
                None => Some(Step::Perhaps),
            })
            .collect();
        // One that is no dearer stands in for it.
        if after.rule.is_free() || steps.contains(&None) {
            return None;
        }
        let surely = steps.iter().all(|step| *step == Some(Step::Surely));
        let told = match then.first() {
            Some(Some(then)) => then.to_string(),
            Some(None) => format!("{requests} times the price of one"),
            None => "not sold".to_owned(),
        };
        let step = if surely { Step::Surely } else { Step::Perhaps };
        Some(Repriced { pack: Some(requests), ..repriced(price.to_string(), told, &step) })
    };
    before.offers.iter().filter_map(|offer| own(&offer.what)).filter_map(one).collect()
}

fn repriced(before: String, after: String, step: &Step) -> Repriced {
    Repriced { requests: Vec::new(), pack: None, before, after, certain: *step == Step::Surely }
}

/// Notes that `requests` are repriced so.
pub(super) fn note(prices: &mut Vec<Repriced>, requests: &str, one: Repriced) {
    let requests = requests.to_owned();
    let alike =
        |own: &&mut Repriced| (own.pack, &own.before, &own.after) == (one.pack, &one.before, &one.after);
    match prices.iter_mut().find(alike) {
        Some(own) if own.requests.contains(&requests) => {}
        Some(own) => own.requests.push(requests),
        None => prices.push(Repriced { requests: vec![requests], ..one }),
    }
}

/// The price of a request, where it is more then.
pub(super) fn dearer_rule(before: &Rule, after: &Rule) -> Option<Repriced> {
    let step = step(before, after)?;
    Some(repriced(in_words(before), in_words(after), &step))
}

/// What a request costs by a rule.
fn in_words(rule: &Rule) -> String {
    match rule {
        Rule::Fixed(amount) => amount.to_string(),
        rule => rule.describe(),
    }
}

/// A step up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// For every request.
    Surely,
    /// For some requests, or at some rates.
    Perhaps,
}

/// Whether what `after` asks is more than what `before` does.
fn step(before: &Rule, after: &Rule) -> Option<Step> {
    match (before, after) {
        (_, Rule::Free) => None,
        (before, after) if before == after => None,
        (Rule::Free, Rule::Fixed(_)) => Some(Step::Surely),
        (Rule::Fixed(Amount::Msat(was)), Rule::Fixed(Amount::Msat(is))) => (is > was).then_some(Step::Surely),
        (Rule::Fixed(Amount::Fiat(was)), Rule::Fixed(Amount::Fiat(is))) if was.currency == is.currency => {
            (is.amount > was.amount).then_some(Step::Surely)
        }
        _ => Some(Step::Perhaps),
    }
}
