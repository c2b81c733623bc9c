//! One thing that is sold, as all documents tell it, and the list of all.

use http::Method;
use serde_json::{Value, json};

use crate::catalog::{AllowanceBy, Offer, Offering, PathPattern, Service, Terms};
use crate::pricing::{Amount, Rule};
use crate::types::Msat;

/// A route of a service, or what its routes leave.
#[derive(Debug)]
pub(super) struct Endpoint<'s> {
    pub(super) service: &'s Service,
    pub(super) route: &'s str,
    pub(super) method: Option<&'s Method>,
    pub(super) path: PathPattern,
    pub(super) terms: &'s Terms,
    pub(super) description: Option<&'s str>,
}

/// Every endpoint of a service, its default last.
pub(super) fn endpoints(service: &Service) -> Vec<Endpoint<'_>> {
    let routes = service.routes.iter().map(|route| Endpoint {
        service,
        route: route.name.as_str(),
        method: route.method.as_ref(),
        path: route.path.clone(),
        terms: &route.terms,
        description: route.description.as_deref(),
    });
    let rest = Endpoint {
        service,
        route: crate::catalog::DEFAULT_ROUTE,
        method: None,
        path: PathPattern::Under(service.path.clone()),
        terms: &service.terms,
        description: None,
    };
    routes.chain([rest]).collect()
}

/// `/.well-known/l402-services`.
pub(super) fn document<S: AsRef<Service>>(sold: &[S], base: &str) -> Value {
    let listed = sold.iter().flat_map(|service| endpoints(service.as_ref()));
    json!({
        "version": "1",
        "protocol": "L402",
        "url": base,
        "openapi": format!("{base}/openapi.json"),
        "payment_methods": [{ "type": "lightning" }],
        "choose_an_offer": "send `Prefer: l402-offer=<offer>` with the request",
        "services": listed.map(|endpoint| endpoint.json(base)).collect::<Vec<_>>(),
    })
}

impl Endpoint<'_> {
    fn json(&self, base: &str) -> Value {
        let Terms { rule, free, restore, invoice_expiry, token_life, .. } = self.terms;
        let free = free.map(|free| {
            let by = match free.by {
                AllowanceBy::Ip => "ip",
                AllowanceBy::Everyone => "everyone",
            };
            json!({ "requests": free.requests, "seconds": free.per.as_secs(), "by": by })
        });
        json!({
            "service": self.service.name,
            "name": self.title(),
            "description": self.description.or(self.service.about.description.as_deref()),
            "route": self.route,
            "endpoint": self.path.to_string(),
            "url": format!("{base}{}", self.path),
            "method": self.method.map_or("ANY", Method::as_str),
            "price": price(rule),
            "offers": self.terms.offers.iter().map(|offer| told(offer, rule)).collect::<Vec<_>>(),
            "dialects": self.service.dialects.words(),
            "free": free,
            "restored_on": if rule.is_free() { None } else { Some(restore.to_string()) },
            "invoice_seconds": if rule.is_free() { None } else { Some(invoice_expiry.as_secs()) },
            "token_seconds": token_life.map(|life| life.as_secs()),
        })
    }

    pub(super) fn title(&self) -> &str {
        self.service.about.title.as_deref().unwrap_or(self.service.name.as_str())
    }
}

/// What a request costs, as far as the price list says it: `amount_msat` where it is a fixed amount of
/// bitcoin.
pub(super) fn price(rule: &Rule) -> Value {
    let kind = match rule {
        Rule::Free => "free",
        Rule::Fixed(_) => "static",
        Rule::Tiers(_) | Rule::Formula(_) => "dynamic",
    };
    json!({ "type": kind, "amount_msat": fixed(rule), "price": rule.to_string(), "words": rule.describe() })
}

/// The price, where it is always the same amount of bitcoin.
pub(super) fn fixed(rule: &Rule) -> Option<Msat> {
    match rule {
        Rule::Fixed(Amount::Msat(price)) => Some(*price),
        _ => None,
    }
}

pub(super) fn told(offer: &Offer, rule: &Rule) -> Value {
    let text = |amount: &Option<Amount>| amount.map(|amount| amount.to_string());
    let (units, price) = match &offer.what {
        Offering::Request => (json!({ "requests": 1 }), fixed(rule).map(|price| price.to_string())),
        Offering::Pack { requests, price } => {
            let whole =
                || fixed(rule).and_then(|price| price.checked_mul(*requests).ok()).map(|m| m.to_string());
            (json!({ "requests": requests }), text(price).or_else(whole))
        }
        Offering::Pass { lasts, price } => (json!({ "seconds": lasts.as_secs() }), Some(price.to_string())),
        Offering::Balance { value, price } => {
            (json!({ "value": value.to_string() }), text(price).or_else(|| Some(value.to_string())))
        }
    };
    // Without a price of its own it is the rule's: the 402 tells it.
    json!({ "offer": offer.name, "kind": offer.what.kind(), "sells": units, "price": price })
}
