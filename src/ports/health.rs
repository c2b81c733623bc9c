//! What the parts of the appliance tell of how they fare, and what a person should do about it.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use super::BoxFuture;
use crate::types::Severity;

/// Something that a person should know of, or do something about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Alarm {
    /// Stable word, such as `chain_stale`.
    pub code: String,
    /// What it is about, where there may be several: a channel, a peer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// How bad it is.
    pub severity: Severity,
    /// What is the matter, with its figures.
    pub text: String,
    /// What to do: a command, or where to read on.
    pub fix: String,
}

impl Alarm {
    /// An alarm about the appliance as a whole.
    pub fn new(code: &str, severity: Severity, text: impl Into<String>, fix: impl Into<String>) -> Alarm {
        Alarm { code: code.to_owned(), subject: None, severity, text: text.into(), fix: fix.into() }
    }

    /// The same, about one of several things.
    #[must_use]
    pub fn about(mut self, subject: impl Into<String>) -> Alarm {
        self.subject = Some(subject.into());
        self
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Stable word, such as `chain`.
    pub name: &'static str,
    /// What was found, in a few words.
    pub detail: String,
    /// How old what it speaks of is: a sync, a backup.
    pub age: Option<Duration>,
    /// What is wrong; nothing when all is well.
    pub alarms: Vec<Alarm>,
    /// How bad it is although it raises no alarm: what a test network may do without.
    pub caution: Option<Severity>,
}

impl Check {
    /// A check that found nothing wrong.
    pub fn fine(name: &'static str, detail: impl Into<String>) -> Check {
        Check { name, detail: detail.into(), age: None, alarms: Vec::new(), caution: None }
    }

    /// The same, of something this old.
    #[must_use]
    pub fn aged(mut self, age: Option<Duration>) -> Check {
        self.age = age;
        self
    }

    /// The same, with what is wrong, if something is.
    #[must_use]
    pub fn with(mut self, alarms: impl IntoIterator<Item = Alarm>) -> Check {
        self.alarms.extend(alarms);
        self
    }

    /// The same, not fine, although nobody is alarmed.
    #[must_use]
    pub fn cautioned(mut self, severity: Severity) -> Check {
        self.caution = Some(severity);
        self
    }

    /// The worst that was found.
    pub fn worst(&self) -> Option<Severity> {
        self.alarms.iter().map(|alarm| alarm.severity).chain(self.caution).max()
    }
}

/// A part that knows how it fares. It is asked every few seconds, so it answers from what it has at hand.
pub trait Informant: Send + Sync {
    /// What it finds now. An alarm that is not among its checks any more is over.
    fn checks(&self) -> BoxFuture<'_, Vec<Check>>;
}
