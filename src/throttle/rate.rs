//! So many in a time, as people write it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

/// So many in a time: a bucket that holds them all and fills up evenly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    requests: u32,
    per: Duration,
}

/// A text that says no rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not a rate such as \"600 per minute\"")]
pub struct BadRate;

impl Rate {
    /// `requests` in `per`.
    ///
    /// # Errors
    /// When either is nothing, or there is less than a microsecond for each.
    pub fn new(requests: u32, per: Duration) -> Result<Rate, BadRate> {
        let whole = requests > 0 && per / requests.max(1) >= Duration::from_micros(1);
        if whole { Ok(Rate { requests, per }) } else { Err(BadRate) }
    }

    /// How long one takes to come back.
    pub(super) fn interval(self) -> Duration {
        self.per / self.requests
    }

    /// Takes one out of a bucket that would be full again at `full`: when it would be then, or how long
    /// to wait for one.
    pub(super) fn next(self, full: Duration, now: Duration) -> Result<Duration, Duration> {
        let next = full.max(now).saturating_add(self.interval());
        let wait = next.saturating_sub(now.saturating_add(self.per));
        if wait.is_zero() { Ok(next) } else { Err(wait) }
    }
}

const UNITS: [(&str, u64); 3] = [("second", 1), ("minute", 60), ("hour", 3_600)];

impl FromStr for Rate {
    type Err = BadRate;

    /// `600 per minute`, `600/minute`.
    fn from_str(text: &str) -> Result<Rate, BadRate> {
        let (requests, unit) = text.split_once('/').or_else(|| text.split_once(" per ")).ok_or(BadRate)?;
        let requests = requests.trim().replace('_', "").parse().map_err(|_| BadRate)?;
        let (_, seconds) = UNITS.into_iter().find(|(name, _)| *name == unit.trim()).ok_or(BadRate)?;
        Rate::new(requests, Duration::from_secs(seconds))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS.into_iter().find(|(_, seconds)| Duration::from_secs(*seconds) == self.per) {
            Some((unit, _)) => write!(f, "{} per {unit}", self.requests),
            None => write!(f, "{} per {:?}", self.requests, self.per),
        }
    }
}
