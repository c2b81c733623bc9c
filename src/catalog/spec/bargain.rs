//! Packs that cost more than as many single requests: who can count does not buy them, and who cannot pays more than
//! need be. That is allowed, and told.

use super::fields::join;
use super::words::{self, Wrong};
use super::{OfferSpec, PriceSpec, Spec, SpecFault, TermsSpec};
use crate::pricing::{Amount, Fiat};
use crate::types::Msat;

/// What is doubtful about the packs of a service and of its routes.
pub(super) fn doubts(spec: &Spec) -> Vec<SpecFault> {
    let own = spec.terms.price.as_ref();
    let routes = spec.route.iter().enumerate().flat_map(|(index, route)| {
        packs(&route.terms, route.terms.price.as_ref().or(own), &format!("route[{index}]"))
    });
    packs(&spec.terms, own, "").into_iter().chain(routes).collect()
}

/// Those of the offers that are said at `at`, where one request costs `price`.
fn packs(terms: &TermsSpec, price: Option<&PriceSpec>, at: &str) -> Vec<SpecFault> {
    let offers = terms.offers.as_deref().unwrap_or_default();
    let singly = offers.iter().any(|offer| matches!(offer, OfferSpec::Word(word) if word == "request"));
    let Some(PriceSpec::Text(price)) = price.filter(|_| singly && terms.tiers.is_none()) else {
        return Vec::new();
    };
    let Ok(one) = words::amount(price) else { return Vec::new() };
    let doubt = |(index, offer): (usize, &OfferSpec)| {
        let OfferSpec::Sold { pack: Some(requests), pass: None, balance: None, price: Some(whole), .. } =
            offer
        else {
            return None;
        };
        let whole = words::amount(whole).ok()?;
        let singly = times(one, *requests)?;
        dearer(whole, singly).then(|| {
            let what = format!(
                "{requests} requests cost {whole} as a pack, and {singly} one by one: nobody gains by the pack"
            );
            let help = format!("Ask less than {singly} for it, or more for one request.");
            SpecFault::new(join(at, &format!("offers[{index}].price")), Wrong::new(what, help))
        })
    };
    offers.iter().enumerate().filter_map(doubt).collect()
}

/// What `requests` cost one by one.
fn times(one: Amount, requests: u64) -> Option<Amount> {
    match one {
        Amount::Msat(msat) => msat.checked_mul(requests).ok().map(Amount::Msat),
        Amount::Fiat(fiat) => {
            let amount = fiat.amount.checked_mul(requests.into())?.normalize();
            Some(Amount::Fiat(Fiat { amount, ..fiat }))
        }
    }
}

/// Whether `one` is surely more than `other`: of two currencies nobody can say it.
fn dearer(one: Amount, other: Amount) -> bool {
    match (one, other) {
        (Amount::Msat(one), Amount::Msat(other)) => one > other && other > Msat::ZERO,
        (Amount::Fiat(one), Amount::Fiat(other)) => {
            one.currency == other.currency && one.amount > other.amount
        }
        _ => false,
    }
}
