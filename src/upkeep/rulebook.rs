//! What the operator's rules are called, where they are set, and who splices for them.

use serde_json::{Value, json};

use super::rule::{PayOutRule, SpliceOutRule};
use crate::ports::BoxFuture;
use crate::store::{OperationRow, RuleRun, StoreError};
use crate::types::Msat;

/// The names of the rules, as in settings, addresses and events.
pub const PAY_OUT_RULE: &str = "pay_out";
/// Likewise.
pub const SPLICE_OUT_RULE: &str = "splice_out";

/// Why nothing was spliced out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unspliced {
    /// Stable code.
    pub code: &'static str,
    /// In words.
    pub why: String,
}

/// Takes coins out of channels.
pub trait Splicer: Send + Sync {
    /// Whether coins can go there: `vault`, or an address.
    ///
    /// # Errors
    /// When they cannot; the text says why.
    fn check(&self, to: &str) -> Result<(), String>;

    /// About what a splice costs now; `None` when nobody can tell.
    fn fee(&self) -> BoxFuture<'_, Option<Msat>>;

    /// Takes `amount` out, once for each key, as a recorded operation that tells why.
    fn splice_out(
        &self,
        key: String,
        channel_id: String,
        to: String,
        amount: Msat,
        run: RuleRun,
    ) -> BoxFuture<'_, Result<OperationRow, Unspliced>>;
}

/// The rules that a file sets; they win over what the admin API was told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileRules {
    /// Pay out when receivable falls.
    pub pay_out: Option<PayOutRule>,
    /// Splice out when spendable grows.
    pub splice_out: Option<SpliceOutRule>,
}

/// One of the rules, with its terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Pay out when receivable falls.
    PayOut(PayOutRule),
    /// Splice out when spendable grows.
    SpliceOut(SpliceOutRule),
}

impl Rule {
    /// Its name.
    pub const fn name(&self) -> &'static str {
        match self {
            Rule::PayOut(_) => PAY_OUT_RULE,
            Rule::SpliceOut(_) => SPLICE_OUT_RULE,
        }
    }

    /// Its terms as they are stored and shown.
    pub fn terms(&self) -> Value {
        match self {
            Rule::PayOut(rule) => json!(rule),
            Rule::SpliceOut(rule) => json!(rule),
        }
    }

    /// Reads the terms of the rule of that name.
    ///
    /// # Errors
    /// When they are none; the text says why.
    pub fn read(name: &str, terms: Value) -> Result<Rule, String> {
        let rule = match name {
            PAY_OUT_RULE => serde_json::from_value(terms).map(Rule::PayOut),
            SPLICE_OUT_RULE => serde_json::from_value(terms).map(Rule::SpliceOut),
            _ => return Err(format!("there is no rule `{name}`")),
        };
        rule.map_err(|error| error.to_string())
    }
}

/// Why a rule stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum RuleRefused {
    /// A file sets it.
    #[error("the configuration file sets this rule: change it there")]
    InFile,
    /// Its terms make no sense.
    #[error("{0}")]
    Senseless(String),
    /// The ledger failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
