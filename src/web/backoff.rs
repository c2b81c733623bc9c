//! A span that doubles with each wrong guess after a few free ones.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Clock;

/// Wrong guesses before it begins.
const FREE_TRIES: u32 = 3;
/// The longest span.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Failures {
    in_a_row: u32,
    closed_until: Duration,
}

/// Counts wrong guesses at one secret.
pub(super) struct Backoff {
    clock: Arc<dyn Clock>,
    failures: Mutex<Failures>,
}

impl Backoff {
    /// With none counted.
    pub(super) fn new(clock: Arc<dyn Clock>) -> Backoff {
        Backoff { clock, failures: Mutex::default() }
    }

    /// Whether a guess is looked at now; else in how many seconds.
    pub(super) fn open(&self) -> Result<(), u64> {
        let left = self.failures().closed_until.saturating_sub(self.clock.steady());
        if left.is_zero() { Ok(()) } else { Err(left.as_secs().max(1)) }
    }

    /// A guess was wrong; `what` says at what, for the log.
    pub(super) fn wrong(&self, what: &'static str) {
        let mut failures = self.failures();
        failures.in_a_row = failures.in_a_row.saturating_add(1);
        let over = failures.in_a_row.saturating_sub(FREE_TRIES);
        if let Some(doublings) = over.checked_sub(1) {
            let span = Duration::from_secs(1 << doublings.min(6)).min(LONGEST_WAIT);
            failures.closed_until = self.clock.steady().saturating_add(span);
            tracing::warn!(wrong_in_a_row = failures.in_a_row, wait_s = span.as_secs(), "wrong {what}");
        }
    }

    /// A guess was right.
    pub(super) fn right(&self) {
        *self.failures() = Failures::default();
    }

    fn failures(&self) -> MutexGuard<'_, Failures> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
