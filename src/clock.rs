//! Time and randomness, the only door to either.
//!
//! `SystemTime::now`, `Instant::now` and the operating system's generator are banned elsewhere
//! (`.clippy.toml`), so that a test can fix both.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ring::rand::{SecureRandom, SystemRandom};

use crate::types::Timestamp;

/// Tells the time.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Now, never earlier than any instant that was told before (MONEY rule 9).
    fn now(&self) -> Timestamp;

    /// A steady count since some fixed moment, for measuring spans.
    fn steady(&self) -> Duration;
}

/// An instant that has passed, and how long ago that is. The time that is told stands still after the machine's clock
/// went ahead and came back; so what is measured is the steady count since it was noted, too, and the longer counts.
#[derive(Clone, Copy, Debug)]
pub struct Past {
    then: Timestamp,
    /// How long ago it was when it was noted.
    age: Duration,
    /// The steady count then.
    steady: Duration,
}

impl Past {
    /// Notes `then` now.
    pub fn new(then: Timestamp, clock: &dyn Clock) -> Past {
        Past { then, age: since(then, clock), steady: clock.steady() }
    }

    /// The instant.
    pub fn then(&self) -> Timestamp {
        self.then
    }

    /// How long ago it is.
    pub fn age(&self, clock: &dyn Clock) -> Duration {
        let counted = self.age.saturating_add(clock.steady().saturating_sub(self.steady));
        counted.max(since(self.then, clock))
    }
}

fn since(then: Timestamp, clock: &dyn Clock) -> Duration {
    Duration::from_millis(clock.now().millis().saturating_sub(then.millis()))
}

/// The machine's clock, held from going backwards.
#[derive(Debug)]
pub struct SystemClock {
    high_water_ms: AtomicU64,
    started: Instant,
}

impl SystemClock {
    /// A clock that tells no instant before `high_water`, the latest that was told before a restart.
    #[allow(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    pub fn new(high_water: Timestamp) -> Arc<SystemClock> {
        Arc::new(SystemClock { high_water_ms: AtomicU64::new(high_water.millis()), started: Instant::now() })
    }
}

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let told = u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX);
        let before = self.high_water_ms.fetch_max(told, Ordering::AcqRel);
        Timestamp::from_millis(told.max(before))
    }

    fn steady(&self) -> Duration {
        self.started.elapsed()
    }
}

/// A clock that stands where a test put it.
#[derive(Debug)]
pub struct FixedClock(AtomicU64);

impl FixedClock {
    /// Stands at `at`.
    pub fn at(at: Timestamp) -> Arc<FixedClock> {
        Arc::new(FixedClock(AtomicU64::new(at.millis())))
    }

    /// Moves on by `span`.
    pub fn advance(&self, span: Duration) {
        let ms = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        self.0.fetch_add(ms, Ordering::AcqRel);
    }
}

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::Acquire))
    }

    fn steady(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Acquire))
    }
}

/// Gives random bytes.
pub trait Entropy: Send + Sync + fmt::Debug {
    /// Fills `buffer` with bytes that nobody can predict.
    fn fill(&self, buffer: &mut [u8]);
}

impl dyn Entropy + '_ {
    /// 32 random bytes.
    pub fn bytes32(&self) -> [u8; 32] {
        let mut bytes = [0u8; 32];
        self.fill(&mut bytes);
        bytes
    }
}

/// The operating system's generator.
#[derive(Debug)]
pub struct SystemEntropy(SystemRandom);

impl SystemEntropy {
    /// The operating system's generator.
    pub fn new() -> Arc<SystemEntropy> {
        Arc::new(SystemEntropy(SystemRandom::new()))
    }
}

impl Entropy for SystemEntropy {
    fn fill(&self, buffer: &mut [u8]) {
        self.0.fill(buffer).expect("the operating system's generator works: keys cannot be made without it");
    }
}

/// A generator that counts, for tests that want the same bytes each time.
#[derive(Debug, Default)]
pub struct CountingEntropy(AtomicU64);

impl Entropy for CountingEntropy {
    fn fill(&self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            let count = self.0.fetch_add(1, Ordering::AcqRel).to_be_bytes();
            chunk.copy_from_slice(&count[..chunk.len()]);
        }
    }
}

/// A span of whole seconds in the largest unit that it is a multiple of, such as `90 seconds` or `26 hours`;
/// one of many days in days and hours.
pub fn in_words(span: Duration) -> String {
    const DAY: u64 = 86_400;
    const HOUR: u64 = 3_600;
    let counted = |count: u64, unit: &str| format!("{count} {unit}{}", if count == 1 { "" } else { "s" });
    let seconds = span.as_secs();
    let (days, over) = (seconds / DAY, seconds % DAY);
    if days > 1 && over > 0 && over.is_multiple_of(HOUR) {
        return format!("{} and {}", counted(days, "day"), counted(over / HOUR, "hour"));
    }
    let units = [(DAY, "day"), (HOUR, "hour"), (60, "minute")];
    let fits = |size: &u64| seconds > 0 && seconds.is_multiple_of(*size);
    let (size, unit) = units.into_iter().find(|(size, _)| fits(size)).unwrap_or((1, "second"));
    counted(seconds / size, unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_told_in_units_that_people_use() {
        let told = [0, 1, 90, 120, 3_600, 93_600, 86_400, 31_543_200, 315_360_000]
            .map(|seconds| in_words(Duration::from_secs(seconds)));
        let words = ["0 seconds", "1 second", "90 seconds", "2 minutes", "1 hour", "26 hours", "1 day"];
        assert_eq!(told[..7], words);
        assert_eq!(told[7..], ["365 days and 2 hours", "3650 days"]);
    }

    #[test]
    fn a_clock_never_goes_back() {
        let far = Timestamp::from_secs(40_000_000_000);
        assert_eq!(SystemClock::new(far).now(), far);
        let clock = SystemClock::new(Timestamp::default());
        let first = clock.now();
        assert!(clock.now() >= first);
    }
}
