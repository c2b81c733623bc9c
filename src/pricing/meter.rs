//! Meters: what a request has cost so far, told from its answer.

use super::formula::Settled;
use super::quote::{Metering, ONE_MSAT, Quote, Unpriced};
use super::{Rate, RequestFacts, ResponseFacts, Rule, Tiers, Used};
use crate::types::Msat;

/// Tells what one request costs while its answer is handed down. Keeps the request and the rate that
/// it was quoted with, and owns them.
#[derive(Clone, Debug)]
pub struct Meter {
    kind: Kind,
    least: Msat,
    most: Msat,
    metering: Metering,
}

#[derive(Clone, Debug)]
enum Kind {
    /// Known before.
    Known(Msat),
    Tiers(Tiers, Used, Option<Rate>),
    Formula(Settled),
}

/// What to charge, and why it is not what the rule says, if it is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    /// How much; at most what was quoted.
    pub msat: Msat,
    /// Why the rule gave no price.
    pub unpriced: Option<Unpriced>,
}

impl Meter {
    /// A meter of one request: it was quoted as `quote` by `rule`, and its token was used for `used`
    /// before. `request` may leave out what the rule does not read.
    pub fn new(rule: &Rule, request: RequestFacts, quote: &Quote, used: Used) -> Meter {
        let kind = match rule {
            _ if quote.metering == Metering::Exact => Kind::Known(quote.most),
            Rule::Free | Rule::Fixed(_) => Kind::Known(quote.most),
            Rule::Tiers(tiers) => Kind::Tiers(tiers.clone(), used, quote.rate),
            Rule::Formula(formula) => Kind::Formula(formula.settle(request, quote.rate)),
        };
        Meter { kind, least: quote.least, most: quote.most, metering: quote.metering }
    }

    /// When the cost is known.
    pub const fn metering(&self) -> Metering {
        self.metering
    }

    /// What was quoted as the least.
    pub const fn least(&self) -> Msat {
        self.least
    }

    /// What was quoted as the most.
    pub const fn most(&self) -> Msat {
        self.most
    }

    /// What the request costs if its answer is `answer`. It may be more than was quoted at most: then
    /// the answer is longer than is sold, and whoever hands it down stops before that. While a
    /// [`Metering::Flowing`] answer grows it never falls, and it is a millisatoshi at least unless the
    /// rule allows zero.
    ///
    /// # Errors
    /// When the rule gives no price for it.
    pub fn cost(&self, answer: &ResponseFacts) -> Result<Msat, Unpriced> {
        match &self.kind {
            Kind::Known(price) => Ok(*price),
            Kind::Tiers(tiers, used, rate) => tiers.cost(*used, answer.bytes, rate.as_ref()),
            Kind::Formula(formula) => {
                match formula.price(answer) {
                    // Nothing was handed down yet, or almost nothing.
                    Err(Unpriced::Zero) if self.metering == Metering::Flowing => Ok(ONE_MSAT),
                    cost => cost,
                }
            }
        }
    }

    /// What to charge for an answer that has ended: the cost, else `fallback`, at most what was
    /// quoted; else, for a price of zero, the least that was quoted, and for no price at all, the
    /// most: the answer is delivered and its price cannot be told any more.
    pub fn charge(&self, answer: &ResponseFacts, fallback: Option<Msat>) -> Charge {
        match self.cost(answer) {
            Ok(msat) => Charge { msat: msat.min(self.most), unpriced: None },
            Err(why) => {
                let least = matches!(why, Unpriced::Zero).then_some(self.least);
                let msat = fallback.or(least).unwrap_or(self.most).min(self.most);
                Charge { msat, unpriced: Some(why) }
            }
        }
    }
}
