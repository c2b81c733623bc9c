//! The rule of a spec: from `price` or `tiers` to what prices a request.

use super::fields::join;
use super::words::{self, Wrong};
use super::{PriceSpec, SpecFault, TermsSpec, TierSpec, UpTo};
use crate::pricing::{Formula, Rule, Tier, Tiers, Volume, Zero};
use crate::types::Msat;

/// A rule, and the price when it gives none.
#[derive(Clone, Debug)]
pub(super) struct Priced {
    pub(super) rule: Rule,
    pub(super) fallback: Option<Msat>,
}

/// A fault was noted.
pub(super) struct Faulty;

/// What the terms at `at` say of the price; `None` when they say nothing.
pub(super) fn priced(
    terms: &TermsSpec,
    at: &str,
    faults: &mut Vec<SpecFault>,
) -> Result<Option<Priced>, Faulty> {
    let mut wrong = |field: &str, wrong: Wrong| {
        faults.push(SpecFault::new(join(at, field), wrong));
        Faulty
    };
    let outer =
        terms.fallback.as_deref().map(words::msat).transpose().map_err(|bad| wrong("fallback", bad))?;
    if terms.tiers.is_none() && (terms.per.is_some() || terms.ceiling.is_some()) {
        let field = if terms.per.is_some() { "per" } else { "ceiling" };
        let help = "A formula has its ceiling inside: price = { formula = \"…\", ceiling = \"100 sat\" }.";
        return Err(wrong(field, Wrong::new("it belongs to tiers of bytes, and there are none here", help)));
    }
    match (&terms.price, &terms.tiers) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => {
            Err(wrong("tiers", Wrong::new("there is a price too", "Write either price or tiers.")))
        }
        (Some(PriceSpec::Text(text)), None) if text == "free" => {
            Ok(Some(Priced { rule: Rule::Free, fallback: None }))
        }
        (Some(PriceSpec::Text(text)), None) => {
            let amount = words::amount(text).map_err(|bad| wrong("price", bad))?;
            Ok(Some(Priced { rule: Rule::Fixed(amount), fallback: outer }))
        }
        (Some(PriceSpec::Formula { formula, ceiling, fallback, zero }), None) => {
            let amount = |text: &Option<String>| text.as_deref().map(words::msat).transpose();
            let ceiling = amount(ceiling).map_err(|bad| wrong("price.ceiling", bad))?;
            let inner = amount(fallback).map_err(|bad| wrong("price.fallback", bad))?;
            if inner.is_some() && outer.is_some() {
                let bad = Wrong::new("the price has a fallback already", "Leave one of them out.");
                return Err(wrong("fallback", bad));
            }
            let zero = match zero.as_deref() {
                None | Some("refuse") => Zero::Refuse,
                Some("allow") => Zero::Allow,
                Some(other) => {
                    let bad = words::one_of(other, "what can be done with a zero", &["refuse", "allow"]);
                    return Err(wrong("price.zero", bad));
                }
            };
            let rule = Formula::compile(formula, ceiling, zero).map_err(|fault| {
                let place =
                    fault.column.map(|column| format!(" (at character {column})")).unwrap_or_default();
                wrong("price.formula", Wrong::new(format!("{}{place}", fault.message), sentence(&fault.help)))
            })?;
            Ok(Some(Priced { rule: Rule::Formula(rule), fallback: inner.or(outer) }))
        }
        (None, Some(list)) => {
            let rule = tiers(terms, list).map_err(|(field, bad)| wrong(&field, bad))?;
            Ok(Some(Priced { rule: Rule::Tiers(rule), fallback: outer }))
        }
    }
}

fn tiers(terms: &TermsSpec, list: &[TierSpec]) -> Result<Tiers, (String, Wrong)> {
    let by_bytes = terms.per.is_some() || list.iter().any(|tier| matches!(tier.up_to, Some(UpTo::Bytes(_))));
    let volume = if by_bytes {
        let help = "Write per = \"1 MB\" and ceiling = \"500 sat\" beside tiers of bytes.";
        let missing = |key: &str| (key.to_owned(), Wrong::new("it is missing", help));
        let per = terms.per.as_deref().ok_or_else(|| missing("per"))?;
        let ceiling = terms.ceiling.as_deref().ok_or_else(|| missing("ceiling"))?;
        Volume::Bytes {
            per: words::size(per).map_err(|bad| ("per".to_owned(), bad))?,
            ceiling: words::msat(ceiling).map_err(|bad| ("ceiling".to_owned(), bad))?,
        }
    } else if terms.ceiling.is_some() {
        let bad = Wrong::new("it belongs to tiers of bytes, and these are of requests", "Leave it out.");
        return Err(("ceiling".to_owned(), bad));
    } else {
        Volume::Requests
    };
    let mut tiers = Vec::new();
    for (index, tier) in list.iter().enumerate() {
        let at = |key: &str| format!("tiers[{index}].{key}");
        let up_to = match (&tier.up_to, by_bytes) {
            (None, _) => None,
            (Some(UpTo::Requests(requests)), false) => Some(*requests),
            (Some(UpTo::Bytes(text)), _) => {
                Some(words::size(text).map_err(|bad| (at("up_to"), bad))?.bytes())
            }
            (Some(UpTo::Requests(_)), true) => {
                let bad =
                    Wrong::new("other tiers are of bytes", "Write it with its unit, such as \"10 MB\".");
                return Err((at("up_to"), bad));
            }
        };
        let price = words::amount(&tier.price).map_err(|bad| (at("price"), bad))?;
        tiers.push(Tier { up_to, price });
    }
    Tiers::new(volume, tiers).map_err(|fault| ("tiers".to_owned(), Wrong::new(fault.to_string(), "")))
}

/// The help of another room, as a sentence.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    let end = if text.is_empty() || text.ends_with(['.', '?', '!']) { "" } else { "." };
    format!("{first}{}{end}", letters.as_str())
}
