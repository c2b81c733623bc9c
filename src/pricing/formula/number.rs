//! Numbers in formulas: whole ones, and exact decimals where CEL has floating point.
//!
//! Invariant: nothing wraps and nothing is silently lost but digits beyond the 28th.

use std::cmp::Ordering;

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

/// What is done with two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sum {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// A number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    Int(i64),
    Decimal(Decimal),
}

/// Why there is no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoNumber {
    /// It is too large.
    Overflow,
    /// Something was divided by nothing.
    ByZero,
}

impl Number {
    fn decimal(self) -> Decimal {
        match self {
            Number::Int(int) => Decimal::from(int),
            Number::Decimal(decimal) => decimal,
        }
    }

    /// As CEL reckons: two whole numbers give a whole one, and division is towards zero.
    pub(super) fn sum(self, sum: Sum, other: Number) -> Result<Number, NoNumber> {
        let by_zero = matches!(sum, Sum::Divide | Sum::Remainder) && other.is_zero();
        if by_zero {
            return Err(NoNumber::ByZero);
        }
        let result = if let (Number::Int(one), Number::Int(two)) = (self, other) {
            match sum {
                Sum::Add => one.checked_add(two),
                Sum::Subtract => one.checked_sub(two),
                Sum::Multiply => one.checked_mul(two),
                Sum::Divide => one.checked_div(two),
                Sum::Remainder => one.checked_rem(two),
            }
            .map(Number::Int)
        } else {
            let (one, two) = (self.decimal(), other.decimal());
            match sum {
                Sum::Add => one.checked_add(two),
                Sum::Subtract => one.checked_sub(two),
                Sum::Multiply => one.checked_mul(two),
                Sum::Divide => one.checked_div(two),
                Sum::Remainder => one.checked_rem(two),
            }
            .map(Number::Decimal)
        };
        result.ok_or(NoNumber::Overflow)
    }

    pub(super) fn negative(self) -> Result<Number, NoNumber> {
        match self {
            Number::Int(int) => int.checked_neg().map(Number::Int).ok_or(NoNumber::Overflow),
            Number::Decimal(decimal) => Ok(Number::Decimal(-decimal)),
        }
    }

    pub(super) fn order(self, other: Number) -> Ordering {
        match (self, other) {
            (Number::Int(one), Number::Int(two)) => one.cmp(&two),
            _ => self.decimal().cmp(&other.decimal()),
        }
    }

    pub(super) fn is_zero(self) -> bool {
        match self {
            Number::Int(int) => int == 0,
            Number::Decimal(decimal) => decimal.is_zero(),
        }
    }

    pub(super) fn is_negative(self) -> bool {
        match self {
            Number::Int(int) => int < 0,
            Number::Decimal(decimal) => decimal.is_sign_negative() && !decimal.is_zero(),
        }
    }

    /// The whole number that it is, if it is one.
    pub(super) fn whole(self) -> Option<Result<i64, NoNumber>> {
        match self {
            Number::Int(int) => Some(Ok(int)),
            Number::Decimal(decimal) => {
                decimal.is_integer().then(|| decimal.to_i64().ok_or(NoNumber::Overflow))
            }
        }
    }

    /// The whole number that `round` makes of it.
    pub(super) fn rounded(self, round: impl Fn(&Decimal) -> Decimal) -> Result<Number, NoNumber> {
        match self {
            Number::Int(_) => Ok(self),
            Number::Decimal(decimal) => round(&decimal).to_i64().map(Number::Int).ok_or(NoNumber::Overflow),
        }
    }

    /// With a fraction, from here on.
    pub(super) fn fractional(self) -> Number {
        Number::Decimal(self.decimal())
    }
}

/// Reads what `float` prints as: its shortest decimal spelling, exactly.
pub(super) fn of_float(float: f64) -> Option<Number> {
    let text = float.to_string();
    if text.len() > 40 {
        return None;
    }
    decimal(&text)
}

/// Reads JSON's number.
pub(super) fn of_json(number: &serde_json::Number) -> Option<Number> {
    match (number.as_i64(), number.as_u64(), number.as_f64()) {
        (Some(int), _, _) => Some(Number::Int(int)),
        (None, Some(large), _) => Some(Number::Decimal(Decimal::from(large))),
        (None, None, Some(float)) => of_float(float),
        (None, None, None) => None,
    }
}

/// Reads digits, with a sign or not; nothing else.
pub(super) fn whole(text: &str) -> Option<Number> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let clean = !digits.is_empty() && digits.len() <= 20 && digits.bytes().all(|b| b.is_ascii_digit());
    if clean { text.parse().ok().map(Number::Int) } else { None }
}

/// Reads digits with a point or without, with a sign or not; nothing else.
pub(super) fn decimal(text: &str) -> Option<Number> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let clean = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    // 28 digits fit whatever they are; more would be rounded.
    if !clean(whole) || !clean(fraction) || whole.len() + fraction.len() > 28 {
        return None;
    }
    text.parse().ok().map(Number::Decimal)
}
