//! Tokens that the operator gives away: what is asked for, in the operator's words.

use std::time::Duration;

use http::StatusCode;

use super::{Operator, Problem, ledger_fault};
use crate::catalog::spec::words::{self, Wrong};
use crate::checkout::{Gift, GiftAsk, NotGiven};
use crate::types::{Msat, Name};

/// How long a token is good when nobody says.
pub const USUAL_LIFE: &str = "365 days";
/// The longest life of a token, and the longest period of a budget.
const LONGEST: Duration = Duration::from_secs(100 * 366 * 86_400);
/// The shortest of both.
const SHORTEST: Duration = Duration::from_secs(60);
/// The longest label of a key or a token, in bytes.
const LONGEST_LABEL: usize = 100;

/// The largest budget: one bitcoin.
const LARGEST_BUDGET: Msat = match Msat::from_sat(100_000_000) {
    Ok(bitcoin) => bitcoin,
    Err(_) => Msat::ZERO,
};

/// A gift in the operator's words.
#[derive(Clone, Debug)]
pub struct GiftWords<'a> {
    /// The service that it opens.
    pub service: Name,
    /// Such as `1000 sat`.
    pub budget: &'a str,
    /// The budget is for each of so long, such as `day`; by default for the token's whole life.
    pub per: Option<&'a str>,
    /// How long it is good, such as `30 days`.
    pub expires: Option<&'a str>,
    /// What the operator calls it.
    pub label: &'a str,
}

impl GiftWords<'_> {
    /// What they say.
    ///
    /// # Errors
    /// With the word that makes no sense.
    pub fn read(self) -> Result<GiftAsk, Problem> {
        let span = |text: &str, field, code| {
            words::span(text, SHORTEST, LONGEST).map_err(|wrong| misspelt(field, code, &wrong))
        };
        Ok(GiftAsk {
            service: self.service,
            budget: budget(self.budget).map_err(|wrong| misspelt("budget", "bad_budget", &wrong))?,
            per: self.per.map(|per| span(per, "per", "bad_per")).transpose()?,
            lasts: span(self.expires.unwrap_or(USUAL_LIFE), "expires", "bad_expires")?,
            label: label(self.label)?.to_owned(),
        })
    }
}

impl Operator {
    /// Gives a token away; its credential is in the answer and nowhere else.
    ///
    /// # Errors
    /// When there is no such service, or the ledger fails; nothing was given then.
    pub async fn give(&self, ask: GiftAsk) -> Result<Gift, Problem> {
        self.parts.checkout.give(ask).await.map_err(|error| match error {
            NotGiven::UnknownService(_) => {
                Problem::new(StatusCode::NOT_FOUND, "unknown_service", format!("Nothing was given: {error}."))
            }
            NotGiven::Ledger(error) => ledger_fault(error),
        })
    }
}

/// An amount that may be given away, each period anew, for longer than anybody lives: the books' sums
/// never come near their end by it.
fn budget(text: &str) -> Result<Msat, Wrong> {
    let budget = words::msat(text).map_err(|wrong| {
        let what = wrong.what.replace("is not a price", "is not an amount of money");
        Wrong::new(what.replace("a price of zero", "nothing could be used"), "Write it in sat: \"1000 sat\".")
    })?;
    if budget > LARGEST_BUDGET {
        return Err(Wrong::new(
            format!("\"{text}\" is more than a token may have"),
            "Give at most 100000000 sat.",
        ));
    }
    Ok(budget)
}

fn misspelt(field: &str, code: &'static str, wrong: &Wrong) -> Problem {
    Problem::bad_request(code, format!("{field}: {}. {}", wrong.what, wrong.help))
}

/// What the operator calls something: one line of text.
///
/// # Errors
/// When it is none.
pub fn label(text: &str) -> Result<&str, Problem> {
    let text = text.trim();
    if (1..=LONGEST_LABEL).contains(&text.len()) && !text.chars().any(char::is_control) {
        Ok(text)
    } else {
        let detail = format!("A label is one line of 1 to {LONGEST_LABEL} bytes.");
        Err(Problem::bad_request("bad_label", detail))
    }
}
