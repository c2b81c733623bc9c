//! The arithmetic of what was sold: grants, holds and how they end. Pure; `store` applies it in
//! transactions.
//!
//! Invariant, at every instant and for every grant (MONEY rule 1):
//! sold = left + held + spent + expired + revoked. A release returns a unit to `left` and is counted apart.
//! Limits that holders put into a token are counted below it (MONEY rule 12).

mod counter;
mod ending;
mod grant;
mod recent;
mod sale;

use std::time::Duration;

pub use counter::{Counter, Room, Weight};
pub use ending::{Ending, ReserveRefused, RestoreReason};
pub use grant::{Budget, Grant, NoSuchUnit, Outcome, Taken};
pub use recent::{Bought, RecentChallenges};
pub use sale::{Draw, Sale};

/// How often each sold unit may be given back after the upstream did work for it (it timed out or
/// answered 5xx). Then the token is refused with `restores_exhausted`, so that provoked errors are
/// not free load (MONEY rule 7). What was not delivered stays `left`: it is never charged, and the
/// operator sees that it is owed. A balance counts the money that went back. Passes have
/// [`PASS_RESTORES_AN_HOUR`].
pub const MAX_RESTORES: u64 = 16;

/// How often each sold unit may be given back for any reason, so that a client which hangs up before
/// dispatch cannot make the disk write for ever. High, because an upstream that is down costs its
/// buyers one of these for each try.
pub const MAX_RESTORES_IN_ALL: u64 = 1_000;

/// How often requests under a pass may fail at the upstream's expense, for each begun hour of it. A pass
/// is not counted in requests, so that some failures of a flaky upstream must not end it; and still who
/// provokes them all day does not do so for ever.
pub const PASS_RESTORES_AN_HOUR: u64 = 1_000;

/// How many limits of one token are counted at once. Whoever holds a token can put any number of
/// limits into copies of it, and each that is used is a row.
pub const MAX_COUNTERS: u64 = 1_024;

/// How many of them may lie below one: the holder of a limited copy, who can make copies of it, must
/// not take the places of all others.
pub const MAX_COUNTERS_BELOW: u64 = 128;

/// How long a token lives beyond its invoice: two hours of block time, in which LDK still accepts
/// the payment, and a day to use it (MONEY rule 9).
pub const TOKEN_LIFE_AFTER_INVOICE: Duration = Duration::from_secs(26 * 3_600);

/// How long the single spends of a grant are kept after it is over; the sums stay.
pub const SPENDS_KEPT: Duration = Duration::from_secs(30 * 24 * 3_600);
