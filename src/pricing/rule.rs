//! Rules: from what is known to what a request costs.

use std::fmt;

use super::formula::Formula;
use super::quote::{Ask, Metering, ONE_MSAT, Quote, Unpriced};
use super::{Amount, Currency, Fiat, Rate, Reads, Tiers, Volume, Worth};
use crate::types::Msat;

/// How a request is priced. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Nothing: it passes without a token.
    Free,
    /// Always this much; never zero.
    Fixed(Amount),
    /// By what the token was used for before, or by the size of the answer.
    Tiers(Tiers),
    /// What a formula says.
    Formula(Formula),
}

impl Rule {
    /// What it has to be shown.
    pub fn reads(&self) -> Reads {
        match self {
            Rule::Free => Reads::NOTHING,
            Rule::Fixed(Amount::Msat(_)) => Reads::NOTHING,
            Rule::Fixed(Amount::Fiat(fiat)) => Reads { rate: Some(fiat.currency), ..Reads::NOTHING },
            Rule::Tiers(tiers) => Reads {
                used: true,
                bytes: tiers.volume() != Volume::Requests,
                rate: tiers.currency(),
                ..Reads::NOTHING
            },
            Rule::Formula(formula) => formula.reads(),
        }
    }

    /// When its price is known.
    pub fn metering(&self) -> Metering {
        match self {
            Rule::Free | Rule::Fixed(_) => Metering::Exact,
            Rule::Tiers(tiers) => match tiers.volume() {
                Volume::Requests => Metering::AtReserve,
                Volume::Bytes { .. } => Metering::Flowing,
            },
            Rule::Formula(formula) => formula.metering(),
        }
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
        self.quote_alone(ask).or_else(|why| match ask.fallback {
            Some(price) => Ok(Quote { fallback: Some(why), ..Quote::exact(price) }),
            None => Err(why),
        })
    }

    /// The quote without the fallback.
    fn quote_alone(&self, ask: &Ask<'_>) -> Result<Quote, Unpriced> {
        let rate_of = |currency: Option<Currency>| -> Result<Option<Rate>, Unpriced> {
            currency.map(|currency| ask.exchange.rate(currency, ask.now)).transpose().map_err(Unpriced::from)
        };
        match self {
            Rule::Free => Ok(Quote::exact(Msat::ZERO)),
            Rule::Fixed(amount) => {
                let worth = amount.worth(ask.exchange, ask.now)?.ok_or(Unpriced::Overflow)?;
                let rate = worth.changed.map(|(_, rate)| rate);
                Ok(Quote { changed: worth.changed, rate, ..Quote::exact(worth.msat) })
            }
            Rule::Tiers(tiers) => {
                let rate = rate_of(tiers.currency())?;
                let (cheapest, (dearest, fiat)) = tiers.range(rate.as_ref())?;
                Ok(match tiers.volume() {
                    Volume::Requests => Quote {
                        least: cheapest,
                        most: dearest,
                        metering: Metering::AtReserve,
                        changed: fiat.zip(rate),
                        rate,
                        fallback: None,
                    },
                    Volume::Bytes { ceiling, .. } => Quote {
                        least: ONE_MSAT,
                        most: ceiling,
                        metering: Metering::Flowing,
                        changed: None,
                        rate,
                        fallback: None,
                    },
                })
            }
            Rule::Formula(formula) => {
                let rate = rate_of(formula.reads().rate)?;
                formula.quote(ask.request, rate)
            }
        }
    }

    /// What `requests` requests such as `ask`'s cost together, when they are sold at once to a token
    /// that was not used before: by tiers the sum over them, else as many times the price. An amount
    /// in a currency is changed once, as a whole.
    ///
    /// # Errors
    /// When there is neither a price nor a fallback, or it is zero: nothing is sold for nothing.
    pub fn pack_price(&self, requests: u64, ask: &Ask<'_>) -> Result<Worth, Unpriced> {
        let times = |price: Msat| price.checked_mul(requests).map_err(|_| Unpriced::Overflow);
        let worth = match (self, self.quote(ask)?) {
            (Rule::Fixed(Amount::Fiat(fiat)), Quote { rate: Some(rate), .. }) => {
                let amount = fiat.amount.checked_mul(requests.into()).ok_or(Unpriced::Overflow)?;
                let whole = Fiat { amount: amount.normalize(), currency: fiat.currency };
                let msat = rate.worth(whole).ok_or(Unpriced::Overflow)?;
                Worth { msat, changed: Some((whole, rate)) }
            }
            (Rule::Tiers(tiers), Quote { rate, fallback: None, .. })
                if tiers.volume() == Volume::Requests =>
            {
                Worth { msat: tiers.sum(requests, rate.as_ref())?, changed: None }
            }
            (_, quote) => Worth { msat: times(quote.most)?, changed: None },
        };
        if worth.msat == Msat::ZERO { Err(Unpriced::Zero) } else { Ok(worth) }
    }

    /// The rule in words, for people who buy.
    pub fn describe(&self) -> String {
        match self {
            Rule::Free => "free".to_owned(),
            Rule::Fixed(amount) => format!("{amount} for each request"),
            Rule::Tiers(tiers) => tiers.describe(),
            Rule::Formula(formula) => formula.describe(),
        }
    }
}

impl fmt::Display for Rule {
    /// The rule as the services file has it; two rules that read alike price alike.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rule::Free => f.write_str("free"),
            Rule::Fixed(amount) => amount.fmt(f),
            Rule::Tiers(tiers) => tiers.fmt(f),
            Rule::Formula(formula) => formula.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests;
