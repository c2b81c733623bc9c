//! How long ago, and how long still: the one way in which pages tell a span of time that nobody counts to the second.
//!
//! What is past is rounded down and what is to come is rounded up, so that nothing is told to be older than it is, or to
//! come sooner than it will. A span that is a term of something, such as a pass of 30 days, is exact:
//! [`crate::clock::in_words`].

use super::figures::counted;
use crate::types::Timestamp;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// The chain's own pace.
const BLOCK: u64 = 10 * MINUTE;

/// How long before `now` something was: `just now`, `10 minutes ago`, `3 days ago`.
pub(super) fn ago(then: Timestamp, now: Timestamp) -> String {
    let secs = now.secs().saturating_sub(then.secs());
    match secs {
        0..MINUTE => "just now".to_owned(),
        _ => format!("{} ago", past(secs)),
    }
}

/// How old something of so many seconds is: `under a minute`, `10 minutes`, `3 days`.
pub(super) fn age(secs: u64) -> String {
    match secs {
        0..MINUTE => "under a minute".to_owned(),
        _ => past(secs),
    }
}

/// About how long so many blocks are waited for, six in an hour: `10 minutes`, `24 hours`, `7 days`.
pub(super) fn wait(blocks: u32) -> String {
    let secs = u64::from(blocks).saturating_mul(BLOCK);
    let (size, unit) = unit(secs);
    counted(secs.div_ceil(size), unit)
}

/// About how long something lasts that is there for so many blocks, and no longer than it is.
pub(super) fn lasting(blocks: u32) -> String {
    past(u64::from(blocks).saturating_mul(BLOCK))
}

/// The same in the largest unit, and no more.
fn past(secs: u64) -> String {
    let (size, unit) = unit(secs);
    counted(secs / size, unit)
}

/// What so many seconds are counted in: always two of a unit at least, but for the smallest.
fn unit(secs: u64) -> (u64, &'static str) {
    const UNITS: [(u64, &str); 3] = [(30 * DAY, "month"), (DAY, "day"), (HOUR, "hour")];
    UNITS.into_iter().find(|(size, _)| secs >= 2 * size).unwrap_or((MINUTE, "minute"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_past_is_never_told_older_than_it_is() {
        let now = Timestamp::from_secs(1_760_000_000);
        let told = |secs: u64| ago(Timestamp::from_secs(1_760_000_000 - secs), now);
        assert_eq!([told(0), told(59), told(60)], ["just now", "just now", "1 minute ago"]);
        assert_eq!([told(599), told(600)], ["9 minutes ago", "10 minutes ago"]);
        assert_eq!([told(2 * HOUR - 1), told(2 * HOUR)], ["119 minutes ago", "2 hours ago"]);
        assert_eq!([told(2 * DAY - 1), told(2 * DAY)], ["47 hours ago", "2 days ago"]);
        assert_eq!([told(60 * DAY - 1), told(60 * DAY)], ["59 days ago", "2 months ago"]);
        // A clock that went back makes nothing of the future.
        assert_eq!(ago(now, Timestamp::from_secs(1)), "just now");
        assert_eq!([age(45), age(60), age(7_265)], ["under a minute", "1 minute", "2 hours"]);
    }

    #[test]
    fn what_is_to_come_is_never_told_sooner_than_it_is() {
        assert_eq!([1, 11, 12, 13].map(wait), ["10 minutes", "110 minutes", "2 hours", "3 hours"]);
        assert_eq!([144, 288, 1_000].map(wait), ["24 hours", "2 days", "7 days"]);
        assert_eq!([144, 1_000, 26_000].map(lasting), ["24 hours", "6 days", "6 months"]);
    }
}
