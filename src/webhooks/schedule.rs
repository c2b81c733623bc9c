//! When a delivery that failed is tried again: soon at first, then seldom, for about a day.

use std::time::Duration;

use http::HeaderMap;
use http::header::RETRY_AFTER;

/// After the first try that failed, after the second, …: together 23 hours and 42 minutes.
const USUAL_SECS: [u64; 10] = [5, 30, 120, 600, 1_800, 3_600, 7_200, 14_400, 21_600, 36_000];
/// An endpoint may ask for more time, but not for more than this.
const LONGEST_ASKED: Duration = Duration::from_secs(12 * 3_600);

/// The pauses between tries; when they are used up, the delivery is parked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule(Vec<Duration>);

impl Default for Schedule {
    /// Eleven tries within a day.
    fn default() -> Schedule {
        Schedule(USUAL_SECS.map(Duration::from_secs).into())
    }
}

impl Schedule {
    /// These pauses.
    pub fn new(pauses: Vec<Duration>) -> Schedule {
        Schedule(pauses)
    }

    /// The pause after `failed` tries (at least one), a tenth longer at most so that many deliveries do not
    /// come back at one moment; `chance` says how much. `None` when it was the last one.
    pub(super) fn pause(&self, failed: u32, chance: u8, asked: Option<Duration>) -> Option<Duration> {
        let index = usize::try_from(failed.checked_sub(1)?).ok()?;
        let pause = *self.0.get(index)?;
        let longer = pause.checked_mul(u32::from(chance)).map_or(Duration::ZERO, |more| more / 2_550);
        Some((pause + longer).max(asked.unwrap_or_default().min(LONGEST_ASKED)))
    }
}

/// What an endpoint asked for with `Retry-After` in seconds.
pub(super) fn asked(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_are_spread_over_a_day_and_end() {
        let schedule = Schedule::default();
        let day = Duration::from_secs(24 * 3_600);
        for chance in [0, 255] {
            let pauses: Vec<Duration> =
                (1..).map_while(|failed| schedule.pause(failed, chance, None)).collect();
            assert_eq!(pauses.len(), USUAL_SECS.len());
            assert!(pauses.is_sorted());
            let all: Duration = pauses.iter().sum();
            assert!(all > day * 9 / 10 && all < day * 12 / 10, "{all:?}");
        }
        assert_eq!(schedule.pause(0, 0, None), None);
        let hour = Duration::from_secs(3_600);
        assert_eq!(schedule.pause(1, 0, Some(hour)), Some(hour));
        assert_eq!(schedule.pause(1, 0, Some(hour * 1_000)), Some(LONGEST_ASKED));
        assert_eq!(schedule.pause(10, 0, Some(hour)), Some(10 * hour));
    }
}
