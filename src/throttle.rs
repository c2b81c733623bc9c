//! How often one part of the internet may ask for what costs us work (THREATS 6).
//!
//! Two things cost work that nobody pays: making an invoice, and looking into a credential that is not
//! good. Each has a bucket for every network (IPv4 /24, IPv6 /48, the smallest that one customer may
//! hold whole) and one for all together.
//!
//! Invariants: memory does not grow with the number of networks: at most [`NETWORKS`] are remembered,
//! and the one that asked longest ago makes room (who has more networks than that is held by the bucket
//! of all). What one bucket refuses takes nothing from another. A paid request is never refused here.
//!
//! The buckets are the generic cell rate algorithm: one instant for each, of which a crate would bring
//! ten more with it, and a map that grows.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hashlink::LruCache;
use thiserror::Error;

use crate::clock::Clock;

mod network;
mod pace;
mod rate;

pub use network::Network;
pub use pace::Pace;
pub use rate::{BadRate, Rate};

/// Networks that are remembered for each kind of asking; about 5 MB when full.
pub const NETWORKS: usize = 65_536;

/// What is limited. Where nothing is said nothing is limited; an appliance begins with
/// [`Limits::usual`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Challenges, which are invoices, for each network.
    pub challenges: Option<Rate>,
    /// Challenges for all together.
    pub all_challenges: Option<Rate>,
    /// Credentials that are not good, for each network.
    pub failures: Option<Rate>,
    /// Credentials that are not good, for all together.
    pub all_failures: Option<Rate>,
}

impl Limits {
    /// What an appliance begins with. A buyer of single requests gets each challenge that it pays back
    /// ([`Throttle::paid`]), so that these bound those who do not pay.
    pub fn usual() -> Limits {
        let minute = |requests| Rate::new(requests, Duration::from_secs(60)).ok();
        Limits {
            challenges: minute(600),
            all_challenges: minute(60_000),
            failures: minute(120),
            all_failures: minute(12_000),
        }
    }
}

/// What was asked for too often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asking {
    /// Challenges.
    Challenges,
    /// Requests with credentials that are not good.
    Failures,
}

/// Asked too often: 429.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{} from here; ask again in {} s", self.asking.words(), self.retry_after())]
pub struct TooMany {
    /// Of what.
    pub asking: Asking,
    /// How long it takes until one more is let in.
    pub wait: Duration,
}

impl Asking {
    const fn words(self) -> &'static str {
        match self {
            Asking::Challenges => "too many requests that are not paid",
            Asking::Failures => "too many credentials that are not good",
        }
    }
}

impl TooMany {
    /// The stable code for programs.
    pub const fn code(&self) -> &'static str {
        match self.asking {
            Asking::Challenges => "too_many_challenges",
            Asking::Failures => "too_many_failures",
        }
    }

    /// Whole seconds until it is worth asking again; at least one.
    pub fn retry_after(&self) -> u16 {
        let seconds = self.wait.as_secs() + u64::from(self.wait.subsec_nanos() > 0);
        u16::try_from(seconds.max(1)).unwrap_or(u16::MAX)
    }
}

/// Counts who asks how often.
pub struct Throttle {
    challenges: Buckets,
    failures: Buckets,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Throttle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Throttle")
    }
}

impl Throttle {
    /// Full buckets.
    pub fn new(limits: &Limits, clock: Arc<dyn Clock>) -> Throttle {
        let of = |asking, each, all| Buckets {
            asking,
            each,
            all,
            state: Mutex::new(State { networks: LruCache::new(NETWORKS), all: Duration::ZERO }),
        };
        Throttle {
            challenges: of(Asking::Challenges, limits.challenges, limits.all_challenges),
            failures: of(Asking::Failures, limits.failures, limits.all_failures),
            clock,
        }
    }

    /// Takes one challenge for `peer`; to be asked before it is made.
    ///
    /// # Errors
    /// When there were too many.
    pub fn challenge(&self, peer: IpAddr) -> Result<(), TooMany> {
        self.challenges.take(peer, self.clock.steady())
    }

    /// Takes one failed credential for `peer`.
    ///
    /// # Errors
    /// When there were too many.
    pub fn failure(&self, peer: IpAddr) -> Result<(), TooMany> {
        self.failures.take(peer, self.clock.steady())
    }

    /// Whether one more failed credential of `peer` would be too many; takes nothing. To be asked before
    /// a credential is looked into that has no look of being paid.
    ///
    /// # Errors
    /// When it would be.
    pub fn failing(&self, peer: IpAddr) -> Result<(), TooMany> {
        self.failures.look(peer, self.clock.steady())
    }

    /// Gives the challenge back that a request of `peer` was paid by.
    pub fn paid(&self, peer: IpAddr) {
        self.challenges.give_back(peer);
    }
}

/// The buckets of one kind of asking.
struct Buckets {
    asking: Asking,
    each: Option<Rate>,
    all: Option<Rate>,
    state: Mutex<State>,
}

/// For each bucket the instant at which it would be full again.
struct State {
    networks: LruCache<Network, Duration>,
    all: Duration,
}

impl Buckets {
    fn take(&self, peer: IpAddr, now: Duration) -> Result<(), TooMany> {
        if self.each.is_none() && self.all.is_none() {
            return Ok(());
        }
        let network = Network::of(peer);
        let mut state = self.lock();
        let known = state.networks.get(&network).copied().unwrap_or_default();
        // Both are asked before either is taken from.
        let (one, all) = (self.next(self.each, known, now)?, self.next(self.all, state.all, now)?);
        if let Some(one) = one {
            state.networks.insert(network, one);
        }
        state.all = all.unwrap_or_default();
        Ok(())
    }

    fn look(&self, peer: IpAddr, now: Duration) -> Result<(), TooMany> {
        let state = self.lock();
        let known = state.networks.peek(&Network::of(peer)).copied().unwrap_or_default();
        self.next(self.each, known, now)?;
        self.next(self.all, state.all, now)?;
        Ok(())
    }

    fn give_back(&self, peer: IpAddr) {
        let mut state = self.lock();
        if let (Some(rate), Some(full)) = (self.each, state.networks.get_mut(&Network::of(peer))) {
            *full = full.saturating_sub(rate.interval());
        }
        if let Some(rate) = self.all {
            state.all = state.all.saturating_sub(rate.interval());
        }
    }

    fn next(&self, rate: Option<Rate>, full: Duration, now: Duration) -> Result<Option<Duration>, TooMany> {
        let next = rate.map(|rate| rate.next(full, now)).transpose();
        next.map_err(|wait| TooMany { asking: self.asking, wait })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
