//! What one request costs: its facts, and the quotes that are made of them.

use serde_json::Value;

use crate::catalog::{Service, Terms, Unit};
use crate::gate::Priced;
use crate::l402::Sold;
use crate::pricing::{Ask, Exchange, LockedRate, Quote, Reads, RequestFacts, Unpriced};
use crate::request::CanonicalRequest;
use crate::types::Timestamp;

/// What was seen of a request's body before it is priced.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BodySeen {
    /// Its size, when it was announced or the body was read; zero when there is none.
    pub size_bytes: Option<u64>,
    /// The body, when the rule reads it, it is JSON without doubt, and within the limit.
    pub json: Option<Value>,
}

impl BodySeen {
    /// There is none.
    pub const NONE: BodySeen = BodySeen { size_bytes: Some(0), json: None };
}

/// What `reads` wants to see of `request`.
pub(super) fn facts(request: &CanonicalRequest, body: BodySeen, reads: &Reads) -> RequestFacts {
    let mut facts = RequestFacts { size_bytes: body.size_bytes, json: body.json, ..RequestFacts::default() };
    if reads.method {
        facts.method = request.method().to_string();
    }
    if reads.path {
        facts.path = request.path().to_owned();
    }
    if reads.query {
        facts.query = request.query().map(str::to_owned);
    }
    if reads.headers {
        facts.headers = request.headers().clone();
    }
    facts
}

/// A request that is being priced. Today's quote is made once.
pub(super) struct Pricing<'a> {
    pub(super) terms: &'a Terms,
    pub(super) facts: &'a RequestFacts,
    pub(super) exchange: &'a dyn Exchange,
    pub(super) now: Timestamp,
    today: Result<Quote, Unpriced>,
}

impl<'a> Pricing<'a> {
    pub(super) fn new(
        terms: &'a Terms,
        facts: &'a RequestFacts,
        exchange: &'a dyn Exchange,
        now: Timestamp,
    ) -> Pricing<'a> {
        let ask = Ask { request: facts, exchange, now, fallback: terms.fallback };
        Pricing { terms, facts, exchange, now, today: terms.rule.quote(&ask) }
    }

    pub(super) fn ask(&self) -> Ask<'a> {
        Ask { request: self.facts, exchange: self.exchange, now: self.now, fallback: self.terms.fallback }
    }
}

impl Priced for Pricing<'_> {
    fn today(&self) -> Result<Quote, Unpriced> {
        self.today.clone()
    }

    fn as_sold(&self, sold: &Sold) -> Option<Result<Quote, Unpriced>> {
        let rate = Unit::of(sold).rate(self.now)?;
        // Without the fallback: it is no price at that rate.
        let ask = Ask { exchange: &LockedRate(rate), fallback: None, ..self.ask() };
        Some(self.terms.rule.quote(&ask))
    }

    fn still_sold(&self, sold: &Sold, service: &Service) -> Option<Quote> {
        let unit = Unit::of(sold);
        if let Ok(quote) = &self.today
            && unit.still_sold(service, self.terms, quote, &self.ask())
        {
            return Some(quote.clone());
        }
        let rate = LockedRate(unit.rate(self.now)?);
        let ask = Ask { exchange: &rate, fallback: None, ..self.ask() };
        let quote = self.terms.rule.quote(&ask).ok()?;
        unit.still_sold(service, self.terms, &quote, &ask).then_some(quote)
    }
}
