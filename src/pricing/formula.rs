//! Price formulas in CEL: compiled when saved, evaluated over a request and its answer.
//!
//! The `cel` crate reads the text; what it read is put through an allow-list (`compiler`) into a small
//! tree of our own, and that is evaluated (`evaluation`) over the facts where they stand. The crate's own
//! interpreter is not used: it copies what it is shown, and has bounds for neither time nor memory.
//!
//! Invariants: a formula is at most 1 KiB of text and 200 nodes, without any repetition; whatever it is
//! shown, its evaluation ends soon. Where CEL has floating point, a formula has exact decimals, and its
//! result is a whole number of millisatoshi. A failure is never a price of zero.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use super::quote::{Metering, ONE_MSAT, Quote, Unpriced};
use super::{Failure, Rate, Reads, RequestFacts, ResponseFacts};
use crate::types::Msat;

mod compiler;
mod datum;
mod evaluation;
mod guide;
mod number;
mod query;
mod settled;
mod source;
#[cfg(test)]
mod tests;
mod tree;
mod trend;

pub use guide::FORMULA_GUIDE;
pub(super) use settled::Settled;

use evaluation::{Facts, evaluate};
use number::NoNumber;
use tree::{Fact, Node};
use trend::{Trend, trend};

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
    root: Node,
    reads: Reads,
    metering: Metering,
}

impl PartialEq for Formula {
    fn eq(&self, other: &Formula) -> bool {
        self.0.text == other.0.text && self.0.ceiling == other.0.ceiling && self.0.zero == other.0.zero
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
    /// Where, in characters of the trimmed text from 1, when one place is to blame.
    pub column: Option<usize>,
}

impl Formula {
    /// Compiles `text`. A formula that reads the answer needs a `ceiling`: what is reserved before.
    ///
    /// # Errors
    /// With what is wrong and what to do about it.
    pub fn compile(text: &str, ceiling: Option<Msat>, zero: Zero) -> Result<Formula, FormulaFault> {
        let text = text.trim();
        let (syntax, info) = source::parse(text)?;
        let root = compiler::compile(&syntax, &info)?;
        let reads = reads(&root);
        let metering = match trend(&root).0 {
            _ if !reads.response() => Metering::Exact,
            _ if reads.response_json => Metering::AtEnd,
            Trend::Steady | Trend::Rising => Metering::Flowing,
            Trend::Falling | Trend::Wild => Metering::AtEnd,
        };
        let fault =
            |message: String, help: &str| FormulaFault { message, help: help.to_owned(), column: None };
        if ceiling.is_none() && reads.response() {
            let help =
                "add ceiling = \"100 sat\": so much is held before the request, and never more is charged";
            return Err(fault("the formula reads the answer and has no ceiling".to_owned(), help));
        }
        if ceiling == Some(Msat::ZERO) {
            return Err(fault("the ceiling is zero".to_owned(), "use `price = \"free\"` for what is free"));
        }
        let formula =
            Formula(Arc::new(Inner { text: text.to_owned(), ceiling, zero, root, reads, metering }));
        if reads == Reads::NOTHING
            && let Err(why) = formula.price(&RequestFacts::default(), None, None)
        {
            return Err(fault(format!("the formula never gives a price: {why}"), "correct it"));
        }
        Ok(formula)
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
        self.0.reads
    }

    /// When its price is known.
    pub fn metering(&self) -> Metering {
        self.0.metering
    }

    /// What a request costs by it, at `rate`.
    pub(super) fn quote(&self, request: &RequestFacts, rate: Option<Rate>) -> Result<Quote, Unpriced> {
        let (metering, ceiling) = (self.0.metering, self.0.ceiling);
        let (least, most) = match (metering, ceiling) {
            (Metering::Exact | Metering::AtReserve, _) | (_, None) => {
                let price = self.price(request, None, rate.as_ref())?;
                let price = ceiling.map_or(price, |ceiling| price.min(ceiling));
                (price, price)
            }
            (Metering::AtEnd, Some(ceiling)) => (ceiling, ceiling),
            (Metering::Flowing, Some(ceiling)) => {
                // What cannot be told before the answer's head is there may be as dear as anything.
                let nothing_yet = ResponseFacts { status: 200, ..ResponseFacts::default() };
                let least = match self.price(request, Some(&nothing_yet), rate.as_ref()) {
                    Ok(least) => least.max(ONE_MSAT).min(ceiling),
                    Err(Unpriced::Zero) => ONE_MSAT,
                    Err(_) => ceiling,
                };
                (least, ceiling)
            }
        };
        let changed = rate.and_then(|rate| Some((rate.back(most)?, rate)));
        Ok(Quote { least, most, metering, changed, rate, fallback: None })
    }

    /// Its value for a request and, when it is known, the answer. It may be above the ceiling, so that
    /// whoever hands an answer down knows when to stop.
    pub(super) fn price(
        &self,
        request: &RequestFacts,
        answer: Option<&ResponseFacts>,
        rate: Option<&Rate>,
    ) -> Result<Msat, Unpriced> {
        let unknown = ResponseFacts::default();
        let facts = Facts { request, answer: answer.unwrap_or(&unknown), rate };
        price(&self.0.root, facts, self.0.zero)
    }

    /// The formula with all that `request` and `rate` decide worked out.
    pub(super) fn settle(&self, request: RequestFacts, rate: Option<Rate>) -> Settled {
        Settled::new(&self.0.root, self.0.zero, request, rate)
    }

    /// In words.
    pub(super) fn describe(&self) -> String {
        match self.0.ceiling {
            Some(ceiling) => format!("by a formula in millisatoshi, at most {ceiling}: {}", self.0.text),
            None => format!("by a formula in millisatoshi: {}", self.0.text),
        }
    }
}

/// The price that `root` says.
fn price(root: &Node, facts: Facts<'_>, zero: Zero) -> Result<Msat, Unpriced> {
    let (result, _) = evaluate(root, facts);
    let number = result?;
    if number.is_negative() {
        return Err(Unpriced::Negative);
    }
    let msat = match number.whole() {
        None => return Err(Failure::NotWhole.into()),
        Some(Err(NoNumber::Overflow | NoNumber::ByZero)) => return Err(Unpriced::Overflow),
        Some(Ok(whole)) => u64::try_from(whole).map_err(|_| Unpriced::Negative)?,
    };
    if msat == 0 && zero == Zero::Refuse {
        return Err(Unpriced::Zero);
    }
    Msat::new(msat).map_err(|_| Unpriced::Overflow)
}

/// What `root` has to be shown.
fn reads(root: &Node) -> Reads {
    let mut reads = Reads::NOTHING;
    root.visit(&mut |node| match node {
        Node::Fact(fact) => {
            *(match fact {
                Fact::Method => &mut reads.method,
                Fact::Path => &mut reads.path,
                Fact::Query => &mut reads.query,
                Fact::Headers => &mut reads.headers,
                Fact::SizeBytes => &mut reads.size_bytes,
                Fact::RequestJson => &mut reads.request_json,
                Fact::Status => &mut reads.status,
                Fact::ResponseHeaders => &mut reads.response_headers,
                Fact::Bytes => &mut reads.bytes,
                Fact::Ms => &mut reads.ms,
                Fact::Chunks => &mut reads.chunks,
                Fact::ResponseJson => &mut reads.response_json,
            }) = true;
        }
        Node::Fiat(fiat) => reads.rate = Some(fiat.currency),
        _ => {}
    });
    reads
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
