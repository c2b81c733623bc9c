//! What is wrong with the settings: where, which one, what, and what to do about it.
//!
//! Problems are gathered, never thrown at the first: a reader mends them all at once.

use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

/// Where a setting was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A command-line flag, such as `--network`.
    Flag(String),
    /// An environment variable, such as `TOLLHOUSE_NETWORK`.
    Env(String),
    /// A line of the configuration file, counted from 1.
    File(usize),
    /// Nowhere: the built-in value.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Flag(name) | Source::Env(name) => f.write_str(name),
            Source::File(line) => write!(f, "line {line}"),
            Source::Default => f.write_str("default"),
        }
    }
}

/// One thing that is wrong, or doubtful.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The configuration file, when the problem is in it.
    pub file: Option<PathBuf>,
    /// Where it was said.
    pub source: Source,
    /// The setting's full name, such as `gateway.listen`; empty when it is the file as a whole.
    pub setting: String,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub help: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.source, &self.file) {
            (Source::File(line), Some(file)) => write!(f, "{}:{line}: ", file.display())?,
            (Source::Default, Some(file)) => write!(f, "{}: ", file.display())?,
            (Source::Flag(name) | Source::Env(name), _) => write!(f, "{name}: ")?,
            _ => {}
        }
        if !self.setting.is_empty() {
            write!(f, "{}: ", self.setting)?;
        }
        f.write_str(&self.what)?;
        if !self.help.is_empty() {
            write!(f, "\n    {}", self.help)?;
        }
        Ok(())
    }
}

/// Everything that is wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

pub(crate) use crate::catalog::spec::{Wrong as Bad, nearest};
