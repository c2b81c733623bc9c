//! Rules: from what is known to what a request costs.

use std::fmt;

use thiserror::Error;

use super::rate::{Exchange, RateFault};
use super::{Amount, Fiat, Rate, RequestFacts};
use crate::types::{Msat, Timestamp};

/// How a request is priced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Nothing: it passes without a token.
    Free,
    /// Always this much; never zero.
    Fixed(Amount),
}

/// What a rule has to be shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    /// The request's body as JSON.
    pub request_json: bool,
    /// The answer's body as JSON.
    pub response_json: bool,
}

/// When the price is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metering {
    /// Before the request.
    Exact,
    /// Once it is reserved: it depends on what the token was used for before.
    AtReserve,
    /// While the answer flows: it can be told after each frame.
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
    /// What was changed at which rate, when the price is in a currency.
    pub changed: Option<(Fiat, Rate)>,
    /// Why the fallback was taken, if it was.
    pub fallback: Option<Unpriced>,
}

/// Why there is no price. Never a reason to serve for nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unpriced {
    /// No rate to sell at.
    #[error(transparent)]
    Rate(#[from] RateFault),
    /// More than there is.
    #[error("the price is more than 21 million bitcoin")]
    Overflow,
}

impl Unpriced {
    /// Stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Unpriced::Rate(RateFault::Unknown(_)) => "rate_unknown",
            Unpriced::Rate(RateFault::Stale(_)) => "rate_stale",
            Unpriced::Overflow => "price_overflow",
        }
    }
}

impl Rule {
    /// What it has to be shown.
    pub const fn reads(&self) -> Reads {
        Reads { request_json: false, response_json: false }
    }

    /// Whether it costs nothing, whatever is asked.
    pub const fn is_free(&self) -> bool {
        matches!(self, Rule::Free)
    }

    /// What a request costs; nothing when the rule is [`Rule::Free`].
    ///
    /// # Errors
    /// When there is neither a price nor a fallback.
    pub fn quote(&self, ask: &Ask<'_>) -> Result<Quote, Unpriced> {
        let exact = |price: Msat, changed, fallback| Quote {
            least: price,
            most: price,
            metering: Metering::Exact,
            changed,
            fallback,
        };
        match self {
            Rule::Free => Ok(exact(Msat::ZERO, None, None)),
            Rule::Fixed(amount) => {
                let worth = amount.worth(ask.exchange, ask.now).map_err(Unpriced::from);
                match worth.and_then(|worth| worth.ok_or(Unpriced::Overflow)) {
                    Ok(worth) => Ok(exact(worth.msat, worth.changed, None)),
                    Err(why) => match ask.fallback {
                        Some(price) => Ok(exact(price, None, Some(why))),
                        None => Err(why),
                    },
                }
            }
        }
    }
}

impl fmt::Display for Rule {
    /// The rule as the services file has it; two rules that read alike price alike.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rule::Free => f.write_str("free"),
            Rule::Fixed(amount) => amount.fmt(f),
        }
    }
}
