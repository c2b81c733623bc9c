//! Amounts as an operator writes them: `50 sat`, `250 msat`, `0.002 USD`.

use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;
use thiserror::Error;

use crate::types::{AmountError, Msat};

/// The most digits after the point that a fiat amount may have.
const MAX_SCALE: u32 = 12;

/// A currency by its ISO 4217 code, such as `USD`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

impl Currency {
    /// The code.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("three capital letters are text")
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Currency {
    type Err = NotAnAmount;

    fn from_str(text: &str) -> Result<Currency, NotAnAmount> {
        let code: [u8; 3] = text.as_bytes().try_into().map_err(|_| NotAnAmount::Unit(text.to_owned()))?;
        // ISO 4217 has XBT for bitcoin itself: it needs no rate, and BTC is read as an amount of ours.
        if code.iter().all(u8::is_ascii_uppercase) && !matches!(text, "BTC" | "XBT" | "SAT") {
            Ok(Currency(code))
        } else {
            Err(NotAnAmount::Unit(text.to_owned()))
        }
    }
}

/// An amount of a currency, exact; never negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fiat {
    /// How much.
    pub amount: Decimal,
    /// Of what.
    pub currency: Currency,
}

impl fmt::Display for Fiat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.amount, self.currency)
    }
}

impl FromStr for Fiat {
    type Err = NotAnAmount;

    fn from_str(text: &str) -> Result<Fiat, NotAnAmount> {
        let syntax = || NotAnAmount::Syntax(text.to_owned());
        let (number, unit) = split(text).ok_or_else(syntax)?;
        let currency = unit.parse()?;
        let digits = number.bytes().filter(u8::is_ascii_digit).count();
        let clean = number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        if !clean || digits == 0 || digits > 20 || number.starts_with('.') || number.ends_with('.') {
            return Err(syntax());
        }
        let amount: Decimal = number.parse().map_err(|_| syntax())?;
        if amount.scale() > MAX_SCALE {
            return Err(syntax());
        }
        Ok(Fiat { amount: amount.normalize(), currency })
    }
}

/// An amount in bitcoin or in a currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// Bitcoin.
    Msat(Msat),
    /// A currency, to be changed at the rate of the moment.
    Fiat(Fiat),
}

impl Amount {
    /// Whether it is nothing.
    pub fn is_zero(&self) -> bool {
        match self {
            Amount::Msat(amount) => *amount == Msat::ZERO,
            Amount::Fiat(fiat) => fiat.amount.is_zero(),
        }
    }
}

impl From<Msat> for Amount {
    fn from(amount: Msat) -> Amount {
        Amount::Msat(amount)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Amount::Msat(amount) => amount.fmt(f),
            Amount::Fiat(fiat) => fiat.fmt(f),
        }
    }
}

/// Why a text is not an amount.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NotAnAmount {
    /// No number followed by a unit.
    #[error(
        "`{0}` is not an amount: write a number and a unit, such as \"50 sat\", \"250 msat\" or \"0.002 USD\""
    )]
    Syntax(String),
    /// Not a unit of money.
    #[error("`{0}` is not a unit of money: use sat, msat or a currency's three capital letters, such as USD")]
    Unit(String),
    /// More than there is.
    #[error("`{0}` is more than 21 million bitcoin")]
    TooLarge(String),
}

impl FromStr for Amount {
    type Err = NotAnAmount;

    fn from_str(text: &str) -> Result<Amount, NotAnAmount> {
        match text.parse::<Msat>() {
            Ok(amount) => Ok(Amount::Msat(amount)),
            Err(AmountError::TooLarge(text)) => Err(NotAnAmount::TooLarge(text)),
            Err(AmountError::Syntax(text)) => text.parse().map(Amount::Fiat),
        }
    }
}

/// The number and the unit after it.
fn split(text: &str) -> Option<(&str, &str)> {
    let text = text.trim();
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(at);
    Some((number, unit.trim())).filter(|(number, unit)| !number.is_empty() && !unit.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_and_print_alike() {
        for (text, shown) in [
            ("50 sat", "50 sat"),
            ("250msat", "250 msat"),
            ("0.002 USD", "0.002 USD"),
            ("1.50 EUR", "1.5 EUR"),
            ("3 JPY", "3 JPY"),
        ] {
            assert_eq!(text.parse::<Amount>().map(|a| a.to_string()), Ok(shown.to_owned()), "{text}");
        }
        for bad in
            ["", "5", "USD", "-1 USD", "1e3 USD", "0.5 sat", "5 usd", "5 BTC", ". USD", ".5 USD", "1. USD"]
        {
            assert!(bad.parse::<Amount>().is_err(), "{bad}");
        }
        assert!(matches!("2100000000000001 sat".parse::<Amount>(), Err(NotAnAmount::TooLarge(_))));
        assert!("0.0000000000001 USD".parse::<Amount>().is_err());
    }
}
