//! Quotes: what a request costs, as far as it is known, and why.

use thiserror::Error;

use super::failure::Failure;
use super::rate::{Exchange, RateFault};
use super::{Fiat, Rate, RequestFacts, Rule};
use crate::types::{Msat, Timestamp};

/// When the price is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metering {
    /// Before the request.
    Exact,
    /// Once it is reserved: it depends on what the token was used for before.
    AtReserve,
    /// While the answer flows: it can be told after each frame, and never falls.
    Flowing,
    /// When the answer has ended.
    AtEnd,
}

/// What to price with.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    /// The request.
    pub request: &'a RequestFacts,
    /// The rates.
    pub exchange: &'a dyn Exchange,
    /// Now.
    pub now: Timestamp,
    /// What to sell at when the rule gives no price.
    pub fallback: Option<Msat>,
}

/// What a request costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// At least; what must be there to begin.
    pub least: Msat,
    /// At most: the price itself when it is exact, else the ceiling.
    pub most: Msat,
    /// When it is known.
    pub metering: Metering,
    /// What was changed at which rate, when the price is in a currency; of a rule with several
    /// amounts, what `most` is in that currency.
    pub changed: Option<(Fiat, Rate)>,
    /// The rate that everything in it was and will be changed at.
    pub rate: Option<Rate>,
    /// Why the fallback was taken, if it was.
    pub fallback: Option<Unpriced>,
}

impl Quote {
    /// An exact price.
    pub(super) const fn exact(price: Msat) -> Quote {
        Quote {
            least: price,
            most: price,
            metering: Metering::Exact,
            changed: None,
            rate: None,
            fallback: None,
        }
    }

    /// Whether a unit of a request or pack has one price, known before the request.
    pub const fn is_one_price(&self) -> bool {
        matches!(self.metering, Metering::Exact | Metering::AtReserve)
    }

    /// Whether this request costs nothing: a free rule, or a formula that may and does give zero.
    pub fn is_free(&self) -> bool {
        self.metering == Metering::Exact && self.most == Msat::ZERO
    }

    /// Why it costs that, in words: one fact a line. `rule` is what it was quoted by.
    pub fn why(&self, rule: &Rule) -> Vec<String> {
        let mut lines = vec![rule.describe()];
        if let Some((fiat, rate)) = &self.changed {
            lines.push(format!(
                "{fiat} is {} at {} {} for a bitcoin, rounded up",
                self.most, rate.per_btc, rate.currency
            ));
        } else if let Some(rate) = &self.rate {
            lines.push(format!("changed at {} {} for a bitcoin", rate.per_btc, rate.currency));
        }
        if let Some(why) = &self.fallback {
            lines
                .push(format!("the rule gave no price ({}: {why}), so the fallback price holds", why.code()));
        }
        lines.push(match self.metering {
            Metering::Exact => format!("this request costs {}", self.most),
            Metering::AtReserve => format!(
                "this request costs {} to {}: how much, the token's use before it says",
                self.least, self.most
            ),
            Metering::Flowing => format!(
                "this request costs {} to {}: it is metered while the answer flows",
                self.least, self.most
            ),
            Metering::AtEnd => {
                format!("this request costs at most {}: how much, its answer says", self.most)
            }
        });
        lines
    }
}

/// The least that anything that is sold costs.
pub(super) const ONE_MSAT: Msat = match Msat::new(1) {
    Ok(one) => one,
    Err(_) => Msat::MAX,
};

/// Why there is no price. Never a reason to serve for nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unpriced {
    /// No rate to sell at.
    #[error(transparent)]
    Rate(#[from] RateFault),
    /// More than there is.
    #[error("the price is more than 21 million bitcoin")]
    Overflow,
    /// Less than nothing.
    #[error("the price is below zero")]
    Negative,
    /// Nothing, and the rule gives no leave for it.
    #[error("the price is zero, and the rule does not say that it may be")]
    Zero,
    /// The formula gives no number for this request.
    #[error("the price formula fails: {0}")]
    Formula(#[from] Failure),
}

impl Unpriced {
    /// Stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Unpriced::Rate(RateFault::Unknown(_)) => "rate_unknown",
            Unpriced::Rate(RateFault::Stale(_)) => "rate_stale",
            Unpriced::Overflow => "price_overflow",
            Unpriced::Negative => "price_negative",
            Unpriced::Zero => "price_zero",
            Unpriced::Formula(_) => "formula_failed",
        }
    }
}
