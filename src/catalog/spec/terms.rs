//! The terms of a spec: what is said, the rest from the service, and what of it fits together.

use std::time::Duration;

use super::fields::join;
use super::offers::{misfit, offers};
use super::price::{Faulty, Priced, priced};
use super::words::{self, Wrong};
use super::{SpecFault, TermsSpec};
use crate::catalog::{Allowance, AllowanceBy, INVOICE_EXPIRY, Offer, Offering, RestorePolicy, Terms};
use crate::pricing::{Metering, Rule};
use crate::types::{Msat, Name};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// Terms, and the offers that routes may have from them even where the rule itself is free.
pub(super) struct Built {
    pub(super) terms: Terms,
    offers: Option<Vec<Offer>>,
}

/// `text` by `parse`; a fault of `field` when it is wrong.
pub(super) fn optional<T>(
    text: Option<&str>,
    field: &str,
    parse: impl FnOnce(&str) -> Result<T, Wrong>,
    faults: &mut Vec<SpecFault>,
) -> Option<T> {
    match parse(text?) {
        Ok(value) => Some(value),
        Err(bad) => {
            faults.push(SpecFault::new(field, bad));
            None
        }
    }
}

/// The terms at `at`: what is said there, and the rest from `parent`.
pub(super) fn terms(
    own: &TermsSpec,
    parent: Option<&Built>,
    at: &str,
    name: &Name,
    faults: &mut Vec<SpecFault>,
) -> Option<Built> {
    let before = faults.len();
    let priced = price(own, parent, at, faults);
    let own_offers = own.offers.as_ref().map(|list| offers(list, at, faults));
    let free = allowance(own, at, faults);
    let restore = own.restore_on.as_ref().map(|list| restored(list, at, faults));
    let span = |text: &Option<String>, key: &str, least, most, faults: &mut Vec<SpecFault>| {
        optional(text.as_deref(), &join(at, key), |text| words::span(text, least, most), faults)
    };
    let expiry = span(&own.invoice_expiry, "invoice_expiry", MINUTE, 7 * DAY, faults);
    // A payment may still arrive two hours after its invoice has run out (MONEY rule 9).
    let life = span(&own.token_life, "token_life", 3 * HOUR, 3_650 * DAY, faults);

    let Priced { rule, fallback } = priced?;
    let said = match own_offers {
        Some(said) => Some(said?),
        None => parent.and_then(|parent| parent.offers.clone()),
    };
    let scope = match (own.offers.is_some(), parent) {
        (false, Some(parent)) => parent.terms.scope.clone(),
        _ => name.clone(),
    };
    let for_sale =
        if rule.is_free() { Vec::new() } else { for_sale(&rule, said.as_deref(), own, parent, at, faults) };
    if faults.len() > before {
        return None;
    }
    let inherited = parent.map(|parent| &parent.terms);
    let terms = Terms {
        rule,
        fallback,
        offers: for_sale,
        free: free.unwrap_or_else(|| inherited.and_then(|terms| terms.free)),
        restore: restore.or_else(|| inherited.map(|terms| terms.restore.clone())).unwrap_or_default(),
        invoice_expiry: expiry.or(inherited.map(|terms| terms.invoice_expiry)).unwrap_or(INVOICE_EXPIRY),
        token_life: life.or_else(|| inherited.and_then(|terms| terms.token_life)),
        scope,
    };
    Some(Built { terms, offers: said })
}

/// The rule and its fallback; together from one place, so that no route is sold at the fallback of
/// another price.
fn price(own: &TermsSpec, parent: Option<&Built>, at: &str, faults: &mut Vec<SpecFault>) -> Option<Priced> {
    let said = match priced(own, at, faults) {
        Ok(said) => said,
        Err(Faulty) => return None,
    };
    match (said, parent) {
        (Some(priced), _) => Some(priced),
        (None, Some(parent)) => {
            let fallback = own.fallback.as_deref().and_then(|text| words::msat(text).ok());
            Some(Priced { rule: parent.terms.rule.clone(), fallback: fallback.or(parent.terms.fallback) })
        }
        (None, None) => {
            let bad = Wrong::new("it is missing", "Add a line such as price = \"50 sat\".");
            faults.push(SpecFault::new(join(at, "price"), bad));
            None
        }
    }
}

/// What is on offer where `rule` prices: what was `said`, or single requests.
fn for_sale(
    rule: &Rule,
    said: Option<&[Offer]>,
    own: &TermsSpec,
    parent: Option<&Built>,
    at: &str,
    faults: &mut Vec<SpecFault>,
) -> Vec<Offer> {
    let Some(said) = said else {
        if rule.metering() != Metering::Exact {
            let why = misfit(rule, &Offering::Request);
            let help = why.map(|bad| bad.help).unwrap_or_default();
            let what = "it is missing: single requests cannot be sold at this price";
            faults.push(SpecFault::new(join(at, "offers"), Wrong::new(what, help)));
        }
        return Terms::fixed(Msat::ZERO).offers;
    };
    // A pack's own price was made for the price that it stands beside.
    let apart = own.offers.is_none() && parent.is_some_and(|parent| parent.terms.rule != *rule);
    let priced = |offer: &Offer| matches!(offer.what, Offering::Pack { price: Some(_), .. });
    let said: Vec<Offer> = said.iter().filter(|offer| !(apart && priced(offer))).cloned().collect();
    if said.is_empty() && apart {
        let what = "the service's packs have prices that were made for its own price";
        faults
            .push(SpecFault::new(join(at, "offers"), Wrong::new(what, "Give the route offers of its own.")));
    }
    for (index, offer) in said.iter().enumerate() {
        let Some(bad) = misfit(rule, &offer.what) else { continue };
        let fault = if own.offers.is_some() {
            SpecFault::new(join(at, &format!("offers[{index}]")), bad)
        } else {
            let what = format!("the service's offer `{}` does not fit this price: {}", offer.name, bad.what);
            SpecFault::new(join(at, "offers"), Wrong::new(what, "Give the route offers of its own."))
        };
        faults.push(fault);
    }
    said
}

/// What is free; the outer `None` when nothing is said of it.
fn allowance(own: &TermsSpec, at: &str, faults: &mut Vec<SpecFault>) -> Option<Option<Allowance>> {
    let free = own.free.as_ref()?;
    let at = |key: &str| join(at, &format!("free.{key}"));
    if free.requests == 0 {
        return Some(None);
    }
    let by = match free.by.as_deref() {
        None | Some("ip") => AllowanceBy::Ip,
        Some("everyone") => AllowanceBy::Everyone,
        Some(other) => {
            let bad = words::one_of(other, "who can share an allowance", &["ip", "everyone"]);
            faults.push(SpecFault::new(at("by"), bad));
            return None;
        }
    };
    let Ok(requests) = u32::try_from(free.requests) else {
        faults.push(SpecFault::new(at("requests"), Wrong::new("it is too many", "Write price = \"free\".")));
        return None;
    };
    let Some(per) = &free.per else {
        let help = "Write free = { requests = 20, per = \"day\" }.";
        faults.push(SpecFault::new(at("per"), Wrong::new("it is missing", help)));
        return None;
    };
    let per =
        optional(Some(per), &at("per"), |text| words::span(text, Duration::from_secs(1), 366 * DAY), faults)?;
    Some(Some(Allowance { requests, per, by }))
}

fn restored(list: &[String], at: &str, faults: &mut Vec<SpecFault>) -> RestorePolicy {
    let mut ranges = Vec::new();
    for (index, text) in list.iter().enumerate() {
        ranges.extend(optional(
            Some(text),
            &join(at, &format!("restore_on[{index}]")),
            words::statuses,
            faults,
        ));
    }
    RestorePolicy::new(ranges)
}
