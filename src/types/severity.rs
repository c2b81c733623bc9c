//! How bad something is.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// How bad something is, the mildest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Good to know; nothing has to be done.
    Info,
    /// Something should be done, and selling goes on.
    Warning,
    /// Nothing can be sold, or money is at risk.
    Critical,
}

/// Not a severity.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("not a severity")]
pub struct NoSuchSeverity;

impl Severity {
    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Severity {
    type Err = NoSuchSeverity;

    fn from_str(text: &str) -> Result<Severity, NoSuchSeverity> {
        let all = [Severity::Info, Severity::Warning, Severity::Critical];
        all.into_iter().find(|one| one.as_str() == text).ok_or(NoSuchSeverity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_read_back_and_severities_are_ordered() {
        for one in [Severity::Info, Severity::Warning, Severity::Critical] {
            assert_eq!(one.as_str().parse(), Ok(one));
        }
        assert!(Severity::Info < Severity::Warning && Severity::Warning < Severity::Critical);
        assert_eq!("loud".parse::<Severity>(), Err(NoSuchSeverity));
    }
}
