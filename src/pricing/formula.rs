//! Price formulas in CEL: compiled when saved, evaluated over a request and its answer.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use super::quote::{Metering, Quote, Unpriced};
use super::{Rate, Reads, RequestFacts, ResponseFacts};
use crate::types::Msat;

/// Most bytes of a formula's text.
const MOST_BYTES: usize = 1_024;

/// Whether a formula may give zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Zero {
    /// A zero is taken for a mistake: the fallback price, or no price.
    #[default]
    Refuse,
    /// A zero is meant: such a request is free.
    Allow,
}

/// A compiled formula. Cheap to clone; two with the same text, ceiling and leave for zero are equal.
#[derive(Clone, Debug)]
pub struct Formula(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    text: String,
    ceiling: Option<Msat>,
    zero: Zero,
    value: i64,
}

impl PartialEq for Formula {
    fn eq(&self, other: &Formula) -> bool {
        let key = |f: &Formula| (f.0.text.clone(), f.0.ceiling, f.0.zero);
        key(self) == key(other)
    }
}

impl Eq for Formula {}

/// Why a text is not a formula that prices can be made with.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct FormulaFault {
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: String,
    /// Where, in characters from 1, when one place is to blame.
    pub column: Option<usize>,
}

/// Why a formula gives no number for a request.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Failure(pub(super) String);

impl Formula {
    /// Compiles `text`. A formula that reads the answer needs a `ceiling`: what is reserved before.
    ///
    /// # Errors
    /// With what is wrong and what to do about it.
    pub fn compile(text: &str, ceiling: Option<Msat>, zero: Zero) -> Result<Formula, FormulaFault> {
        let text = text.trim();
        if text.len() > MOST_BYTES {
            return Err(FormulaFault {
                message: format!("the formula has {} bytes", text.len()),
                help: format!("use at most {MOST_BYTES}"),
                column: None,
            });
        }
        let value = text.parse().map_err(|_| FormulaFault {
            message: format!("`{text}` is not a formula"),
            help: "write a whole number of millisatoshi".to_owned(),
            column: None,
        })?;
        Ok(Formula(Arc::new(Inner { text: text.to_owned(), ceiling, zero, value })))
    }

    /// Its text, as it was written.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// The most that it charges.
    pub fn ceiling(&self) -> Option<Msat> {
        self.0.ceiling
    }

    /// Whether it may give zero.
    pub fn zero(&self) -> Zero {
        self.0.zero
    }

    /// What it has to be shown.
    pub fn reads(&self) -> Reads {
        Reads::NOTHING
    }

    /// When its price is known.
    pub fn metering(&self) -> Metering {
        Metering::Exact
    }

    /// What a request costs by it, at `rate`.
    pub(super) fn quote(&self, request: &RequestFacts, rate: Option<Rate>) -> Result<Quote, Unpriced> {
        Ok(Quote { rate, ..Quote::exact(self.price(request, None, rate.as_ref())?) })
    }

    /// Its value for a request and, when it is known, the answer. Of a request at most the ceiling; of
    /// an answer what it is, so that whoever hands it down knows when to stop.
    pub(super) fn price(
        &self,
        _request: &RequestFacts,
        answer: Option<&ResponseFacts>,
        _rate: Option<&Rate>,
    ) -> Result<Msat, Unpriced> {
        let value = u64::try_from(self.0.value).map_err(|_| Unpriced::Negative)?;
        let price = Msat::new(value).map_err(|_| Unpriced::Overflow)?;
        if price == Msat::ZERO && self.0.zero == Zero::Refuse {
            return Err(Unpriced::Zero);
        }
        Ok(self.0.ceiling.filter(|_| answer.is_none()).map_or(price, |ceiling| price.min(ceiling)))
    }

    /// In words.
    pub(super) fn describe(&self) -> String {
        match self.0.ceiling {
            Some(ceiling) => format!("by a formula in millisatoshi, at most {ceiling}: {}", self.0.text),
            None => format!("by a formula in millisatoshi: {}", self.0.text),
        }
    }
}

impl fmt::Display for Formula {
    /// As the services file has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{ formula = {}", toml::Value::from(self.0.text.as_str()))?;
        if let Some(ceiling) = self.0.ceiling {
            write!(f, ", ceiling = \"{ceiling}\"")?;
        }
        if self.0.zero == Zero::Allow {
            f.write_str(", zero = \"allow\"")?;
        }
        f.write_str(" }")
    }
}
