//! What a request would cost and why, without anything being sold: the dry run of `tollhouse price`.

use http::HeaderMap;
use serde_json::{Value, json};

use super::Checkout;
use super::offered::{price_words, restore_words};
use super::prefer::preferred;
use super::pricing::{BodySeen, Pricing, facts};
use super::ware::{NotSold, Ware, span};
use crate::catalog::{AllowanceBy, Matched, Mode};
use crate::gate::Priced;
use crate::pricing::{Exchange, Metering, Quote, Unpriced};
use crate::request::CanonicalRequest;
use crate::types::{Name, Timestamp, counted};

/// What a request would cost now, and why.
#[derive(Clone, Debug)]
pub struct PriceTag {
    /// What the request is for.
    pub matched: Matched,
    /// What it costs.
    pub quote: Result<Quote, Unpriced>,
    /// The offers of its terms, in the operator's order, and those that are not sold for it with the
    /// reason.
    pub offers: Vec<(Name, Result<Ware, NotSold>)>,
    /// The offer that its 402 would make, as far as the channels can receive its price.
    pub picked: Option<Name>,
}

impl Checkout {
    /// Prices `request`, which has the headers `headers` and the body `body`, as the gate would at this
    /// moment; `None` when nothing is served there. Nothing is counted, minted or reserved.
    pub fn price(&self, request: &CanonicalRequest, headers: &HeaderMap, body: BodySeen) -> Option<PriceTag> {
        let (exchange, now) = (self.parts.exchange.as_ref(), self.parts.clock.now());
        Some(PriceTag::of(self.find(request)?, (request, headers, body), exchange, now))
    }
}

impl PriceTag {
    /// What a request for `matched`, with its headers as they came and its body, costs at `now`.
    pub fn of(
        matched: Matched,
        (request, headers, body): (&CanonicalRequest, &HeaderMap, BodySeen),
        exchange: &dyn Exchange,
        now: Timestamp,
    ) -> PriceTag {
        let terms = &matched.terms;
        let facts = facts(request, body, &terms.rule.reads());
        let pricing = Pricing::new(terms, &facts, exchange, now);
        let quote = pricing.today();
        let offers: Vec<_> = match &quote {
            Ok(quote) if !quote.is_free() => terms
                .offers
                .iter()
                .map(|offer| (offer.name.clone(), Ware::of(offer, &matched, quote, &pricing.ask())))
                .collect(),
            _ => Vec::new(),
        };
        let sold = |name: &Name| offers.iter().any(|(own, ware)| own == name && ware.is_ok());
        let first = || offers.iter().find(|(_, ware)| ware.is_ok()).map(|(name, _)| name.clone());
        let picked = preferred(headers).filter(sold).or_else(first);
        PriceTag { quote, offers, picked, matched }
    }

    /// The reasons, one a line: the rule, the rate, the fallback, and what the terms say besides.
    pub fn why(&self) -> Vec<String> {
        let Matched { service, terms, .. } = &self.matched;
        let mut lines = match &self.quote {
            Ok(quote) => quote.why(&terms.rule),
            Err(why) => vec![
                terms.rule.describe(),
                format!(
                    "it gives no price for this request ({}: {why}), and there is no fallback: 503",
                    why.code()
                ),
            ],
        };
        if let Some(free) = &terms.free {
            let who = match free.by {
                AllowanceBy::Ip => "for each address",
                AllowanceBy::Everyone => "for all customers together",
            };
            let (requests, are) =
                (counted(free.requests, "request"), if free.requests == 1 { "is" } else { "are" });
            lines.push(format!("{requests} in {} {are} free {who}", span(free.per.as_secs())));
        }
        match service.mode {
            Mode::On => {}
            Mode::Shadow => {
                lines.push(
                    "the service is in shadow mode: the request passes, its price is counted".to_owned(),
                );
            }
            Mode::Off => lines.push("the service is off: nothing is served".to_owned()),
        }
        lines
    }

    /// As the API gives it.
    pub fn json(&self) -> Value {
        let Matched { service, route, terms, .. } = &self.matched;
        let price = match &self.quote {
            Ok(quote) => json!({
                "leastMsat": quote.least,
                "mostMsat": quote.most,
                "known": match quote.metering {
                    Metering::Exact => "before",
                    Metering::AtReserve => "when reserved",
                    Metering::Flowing => "while it flows",
                    Metering::AtEnd => "at its end",
                },
                "words": price_words(quote),
                "rate": quote.rate.map(|rate| format!("{} {}", rate.per_btc, rate.currency)),
                "fallback": quote.fallback.as_ref().map(Unpriced::code),
            }),
            Err(why) => json!({ "code": why.code(), "words": why.to_string() }),
        };
        let offer = |(name, ware): &(Name, Result<Ware, NotSold>)| match ware {
            Ok(ware) => ware.json(),
            Err(why) => json!({ "offer": name, "notSold": why.to_string() }),
        };
        json!({
            "service": service.name,
            "route": route,
            "scope": terms.scope,
            "mode": match service.mode { Mode::On => "on", Mode::Off => "off", Mode::Shadow => "shadow" },
            "rule": terms.rule.to_string(),
            "price": price,
            "why": self.why(),
            "offers": self.offers.iter().map(offer).collect::<Vec<_>>(),
            "offer": self.picked,
            "restore_on": self.quote.as_ref().ok().map(|quote| restore_words(&terms.restore, quote)),
        })
    }
}
