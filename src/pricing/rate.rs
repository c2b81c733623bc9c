//! Exchange rates, and what a currency's amount is worth in millisatoshi.

use std::fmt;

use rust_decimal::prelude::ToPrimitive;
use rust_decimal::{Decimal, RoundingStrategy};
use thiserror::Error;

use super::{Amount, Currency, Fiat};
use crate::types::{Msat, Timestamp};

/// Millisatoshi in a bitcoin.
const MSAT_PER_BTC: u64 = 100_000_000_000;

/// What one bitcoin costs in a currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// The currency.
    pub currency: Currency,
    /// Units of the currency for one bitcoin; above zero.
    pub per_btc: Decimal,
    /// When it was true.
    pub at: Timestamp,
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.per_btc, self.currency)
    }
}

impl Rate {
    /// A rate as it is displayed, such as `64000 USD`, that was true at `at`; `None` when it is none.
    pub fn read(text: &str, at: Timestamp) -> Option<Rate> {
        let (per_btc, currency) = text.split_once(' ')?;
        let rate = Rate { currency: currency.parse().ok()?, per_btc: per_btc.parse().ok()?, at };
        (rate.per_btc > Decimal::ZERO).then_some(rate)
    }
}

/// Why there is no rate to sell at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RateFault {
    /// No source gives this currency.
    #[error("no source has a rate for {0}")]
    Unknown(Currency),
    /// Every source is silent, wrong or too old.
    #[error("the rate for {0} is too old to sell at")]
    Stale(Currency),
}

/// Knows exchange rates. Asking costs nothing and never waits.
pub trait Exchange: Send + Sync {
    /// The rate at `now`.
    ///
    /// # Errors
    /// When there is none that may be sold at.
    fn rate(&self, currency: Currency, now: Timestamp) -> Result<Rate, RateFault>;

    /// The rate to note beside money that arrives now, for whoever reads the books in another currency; `None`
    /// when none is known.
    fn noted(&self) -> Option<Rate> {
        None
    }
}

/// Knows no rate at all.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoExchange;

impl Exchange for NoExchange {
    fn rate(&self, currency: Currency, _: Timestamp) -> Result<Rate, RateFault> {
        Err(RateFault::Unknown(currency))
    }
}

/// Knows one rate, whenever: what was quoted at it once is quoted the same again.
#[derive(Clone, Copy, Debug)]
pub struct LockedRate(pub Rate);

impl Exchange for LockedRate {
    fn rate(&self, currency: Currency, _: Timestamp) -> Result<Rate, RateFault> {
        if self.0.currency == currency { Ok(self.0) } else { Err(RateFault::Unknown(currency)) }
    }
}

/// An amount in millisatoshi, and how it came about when it was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Worth {
    /// In millisatoshi, rounded up.
    pub msat: Msat,
    /// What was changed, at which rate.
    pub changed: Option<(Fiat, Rate)>,
}

impl Rate {
    /// What `fiat` is worth, rounded up to the millisatoshi, so that only nothing is worth nothing; `None` when it is more than there is, or
    /// another currency.
    pub fn worth(&self, fiat: Fiat) -> Option<Msat> {
        if fiat.currency != self.currency || self.per_btc <= Decimal::ZERO {
            return None;
        }
        let btc_msat = fiat.amount.checked_mul(Decimal::from(MSAT_PER_BTC))?;
        let exact = btc_msat.checked_div(self.per_btc)?;
        let up = exact.round_dp_with_strategy(0, RoundingStrategy::AwayFromZero);
        let something = u64::from(!fiat.amount.is_zero());
        up.to_u64().and_then(|msat| Msat::new(msat.max(something)).ok())
    }

    /// What `amount` is in the currency, to 8 digits after the point, rounded up; `None` when it is
    /// more than can be said. To be read by people: changed back, it may be a little more.
    pub fn back(&self, amount: Msat) -> Option<Fiat> {
        let whole = Decimal::from(amount.msat()).checked_mul(self.per_btc)?;
        let exact = whole.checked_div(Decimal::from(MSAT_PER_BTC))?;
        let amount = exact.round_dp_with_strategy(8, RoundingStrategy::AwayFromZero).normalize();
        Some(Fiat { amount, currency: self.currency })
    }
}

impl Amount {
    /// What it is worth at `now`; `Ok(None)` when that is more than there is.
    ///
    /// # Errors
    /// When no rate may be sold at.
    pub fn worth(self, exchange: &dyn Exchange, now: Timestamp) -> Result<Option<Worth>, RateFault> {
        match self {
            Amount::Msat(msat) => Ok(Some(Worth { msat, changed: None })),
            Amount::Fiat(fiat) => {
                let rate = exchange.rate(fiat.currency, now)?;
                Ok(rate.worth(fiat).map(|msat| Worth { msat, changed: Some((fiat, rate)) }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_read_as_it_is_written() {
        let at = Timestamp::from_secs(7);
        let rate = Rate { currency: "EUR".parse().unwrap(), per_btc: "59123.45".parse().unwrap(), at };
        assert_eq!(rate.to_string(), "59123.45 EUR");
        assert_eq!(Rate::read(&rate.to_string(), at), Some(rate));
        for wrong in ["", "EUR", "0 EUR", "-5 EUR", "x EUR", "1 euro", "1  EUR"] {
            assert_eq!(Rate::read(wrong, at), None, "{wrong}");
        }
    }

    #[test]
    fn worth_is_rounded_up() {
        let rate = |per_btc: &str| Rate {
            currency: "USD".parse().unwrap(),
            per_btc: per_btc.parse().unwrap(),
            at: Timestamp::default(),
        };
        let usd = |amount: &str| format!("{amount} USD").parse::<Fiat>().unwrap();
        assert_eq!(rate("100000").worth(usd("0.002")).map(Msat::msat), Some(2_000));
        assert_eq!(rate("30000").worth(usd("0.01")).map(Msat::msat), Some(33_334));
        assert_eq!(rate("100000").worth(usd("0.0000000001")).map(Msat::msat), Some(1));
        assert_eq!(rate("0.0001").worth(usd("9999999999999")), None);
        assert_eq!(
            rate("79228162514264337593543950335").worth(usd("0.000000000001")).map(Msat::msat),
            Some(1)
        );
        assert_eq!(rate("100000").worth("1 EUR".parse().unwrap()), None);
    }
}
