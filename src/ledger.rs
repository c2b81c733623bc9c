//! The arithmetic of what was sold: grants, holds and how they end. Pure; `store` applies it in
//! transactions.
//!
//! Invariant, at every instant and for every grant (MONEY rule 1):
//! sold = left + held + spent + expired + revoked. A release returns a unit to `left` and is counted apart.

mod ending;
mod recent;
mod sale;

use std::time::Duration;

use thiserror::Error;

use crate::types::Msat;
pub use ending::{Ending, ReserveRefused, RestoreReason};
pub use recent::{Bought, RecentChallenges};
pub use sale::{Draw, Sale};

/// How often each sold unit may be given back after the upstream did work for it (it timed out or
/// answered 5xx). Then the token is refused with `restores_exhausted`, so that provoked errors are
/// not free load (MONEY rule 7). What was not delivered stays `left`: it is never charged, and the
/// operator sees that it is owed.
pub const MAX_RESTORES: u64 = 16;

/// How often each sold unit may be given back for any reason, so that a client which hangs up before
/// dispatch cannot make the disk write for ever. High, because an upstream that is down costs its
/// buyers one of these for each try.
pub const MAX_RESTORES_IN_ALL: u64 = 1_000;

/// How long a token lives beyond its invoice: two hours of block time, in which LDK still accepts
/// the payment, and a day to use it (MONEY rule 9).
pub const TOKEN_LIFE_AFTER_INVOICE: Duration = Duration::from_secs(26 * 3_600);

/// The counters of one grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Units sold.
    pub sold: u64,
    /// Units that may still be held.
    pub left: u64,
    /// Units on their way.
    pub held: u64,
    /// Units delivered or charged.
    pub spent: u64,
    /// Units whose time ran out.
    pub expired: u64,
    /// Units that the operator took back.
    pub revoked: u64,
    /// Times that a unit went back, the ones of [`Grant::crash_restored`] not counted.
    pub restored: u64,
    /// Restores that count against [`MAX_RESTORES`].
    pub loaded: u64,
    /// Units that a crash left unknown and the buyer kept: at most one for each unit sold, because
    /// units are alike and a second crash on the same one is charged (MONEY rule 6).
    pub crash_restored: u64,
    /// The price of all units.
    pub price: Msat,
}

/// What a hold's end did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Charged; this much was earned.
    Spent(Msat),
    /// Returned.
    Restored,
}

/// The counters do not allow the step: the caller's books are wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the grant has no unit in the state that this step needs")]
pub struct NoSuchUnit;

impl Grant {
    /// A new grant, everything left.
    pub const fn sold(units: u64, price: Msat) -> Grant {
        Grant {
            sold: units,
            left: units,
            held: 0,
            spent: 0,
            expired: 0,
            revoked: 0,
            restored: 0,
            loaded: 0,
            crash_restored: 0,
            price,
        }
    }

    /// Whether the identity holds.
    pub fn balanced(&self) -> bool {
        let parts = [self.left, self.held, self.spent, self.expired, self.revoked];
        parts.iter().map(|part| u128::from(*part)).sum::<u128>() == u128::from(self.sold)
    }

    /// Whether the token is still good after one more failure of the upstream.
    pub const fn restorable(&self) -> bool {
        self.loaded.saturating_add(1) < self.sold.saturating_mul(MAX_RESTORES)
            && self.restored.saturating_add(1) < self.sold.saturating_mul(MAX_RESTORES_IN_ALL)
    }

    /// Whether the token was given back too often.
    pub const fn exhausted(&self) -> bool {
        self.loaded >= self.sold.saturating_mul(MAX_RESTORES)
            || self.restored >= self.sold.saturating_mul(MAX_RESTORES_IN_ALL)
    }

    /// Holds what `draw` asks for; gives how many units.
    ///
    /// # Errors
    /// When it cannot be held; the reason says what the buyer should do.
    pub fn hold(&mut self, draw: &Draw) -> Result<u64, ReserveRefused> {
        let least = draw.least.max(1);
        if self.left > 0 && self.exhausted() {
            Err(ReserveRefused::RestoresExhausted)
        } else if self.left >= least {
            let units = self.left.min(draw.most.max(least));
            self.left -= units;
            self.held += units;
            Ok(units)
        } else if self.held > 0 && self.left.saturating_add(self.held) >= least {
            Err(ReserveRefused::InFlight)
        } else if self.left > 0 || self.held > 0 {
            Err(ReserveRefused::TooSmall { left: self.left, needed: least })
        } else if self.revoked > 0 {
            Err(ReserveRefused::Revoked)
        } else if self.expired > 0 {
            Err(ReserveRefused::Expired)
        } else {
            Err(ReserveRefused::Spent)
        }
    }

    /// Ends one hold of `units`.
    ///
    /// # Errors
    /// When so many are not held.
    pub fn end(&mut self, units: u64, ending: Ending) -> Result<Outcome, NoSuchUnit> {
        match ending {
            Ending::Restored(reason) => {
                self.held = self.held.checked_sub(units).ok_or(NoSuchUnit)?;
                self.left += units;
                self.restored = self.restored.saturating_add(units);
                self.loaded = self.loaded.saturating_add(if reason.loads_upstream() { units } else { 0 });
                Ok(Outcome::Restored)
            }
            Ending::Delivered | Ending::Cancelled => self.spend(units),
            Ending::Charged(cost) => {
                let cost = cost.min(units);
                self.held = self.held.checked_sub(units - cost).ok_or(NoSuchUnit)?;
                self.left += units - cost;
                self.spend(cost)
            }
        }
    }

    /// Resolves one hold that a crash left open: back to the buyer once for each unit, charged after.
    ///
    /// # Errors
    /// When none is open.
    pub fn resolve_crash(&mut self, units: u64) -> Result<Outcome, NoSuchUnit> {
        if self.crash_restored.saturating_add(units) > self.sold {
            return self.spend(units);
        }
        self.held = self.held.checked_sub(units).ok_or(NoSuchUnit)?;
        self.left += units;
        self.crash_restored += units;
        Ok(Outcome::Restored)
    }

    /// Takes back what is left; units on their way end as they end. Gives how many.
    pub fn revoke(&mut self) -> u64 {
        let taken = std::mem::take(&mut self.left);
        self.revoked += taken;
        taken
    }

    /// Lets what is left run out. Gives how many.
    pub fn expire(&mut self) -> u64 {
        let taken = std::mem::take(&mut self.left);
        self.expired += taken;
        taken
    }

    fn spend(&mut self, units: u64) -> Result<Outcome, NoSuchUnit> {
        self.held = self.held.checked_sub(units).ok_or(NoSuchUnit)?;
        let before = self.earned();
        self.spent += units;
        let earned = self.earned().checked_sub(before).unwrap_or(Msat::ZERO);
        Ok(Outcome::Spent(earned))
    }

    /// What the spent units earned: their share of the price, rounded down, the whole price at the end.
    pub fn earned(&self) -> Msat {
        self.share(self.spent)
    }

    /// What the buyer may still use: the price less the share of every unit that is gone.
    pub fn owed(&self) -> Msat {
        let gone = self.spent + self.expired + self.revoked;
        self.price.checked_sub(self.share(gone)).unwrap_or(Msat::ZERO)
    }

    fn share(&self, units: u64) -> Msat {
        let product = u128::from(self.price.msat()) * u128::from(units);
        let share = product.checked_div(u128::from(self.sold)).unwrap_or(0);
        u64::try_from(share).ok().and_then(|msat| Msat::new(msat).ok()).unwrap_or(self.price)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one() -> Draw {
        Draw::one("route".parse().unwrap())
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Hold,
        End(Ending),
        Crash,
        Revoke,
        Expire,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => Just(Step::Hold),
            2 => Just(Step::End(Ending::Delivered)),
            1 => Just(Step::End(Ending::Cancelled)),
            2 => Just(Step::End(Ending::Restored(RestoreReason::UpstreamError))),
            1 => Just(Step::End(Ending::Restored(RestoreReason::NotDispatched))),
            1 => Just(Step::Crash),
            1 => Just(Step::Revoke),
            1 => Just(Step::Expire),
        ];
        proptest::collection::vec(step, 0..80)
    }

    proptest! {
        #[test]
        fn nothing_is_created_or_lost(units in 1u64..20, price in 0u64..1_000_000, steps in steps()) {
            let mut grant = Grant::sold(units, Msat::new(price).unwrap());
            let mut earned = Msat::ZERO;
            let mut crashes = 0;
            for step in steps {
                match step {
                    Step::Hold => { let _ = grant.hold(&one()); }
                    Step::End(ending) => {
                        if let Ok(Outcome::Spent(msat)) = grant.end(1, ending) {
                            earned = earned.checked_add(msat).unwrap();
                        }
                    }
                    Step::Crash => match grant.resolve_crash(1) {
                        Ok(Outcome::Spent(msat)) => earned = earned.checked_add(msat).unwrap(),
                        Ok(Outcome::Restored) => crashes += 1,
                        Err(NoSuchUnit) => {}
                    },
                    Step::Revoke => { grant.revoke(); }
                    Step::Expire => { grant.expire(); }
                }
                prop_assert!(grant.balanced(), "{grant:?}");
                prop_assert_eq!(grant.earned(), earned);
                prop_assert!(earned.checked_add(grant.owed()).unwrap().msat() <= price);
                prop_assert!(grant.left + grant.held > 0 || grant.owed() == Msat::ZERO);
            }
            prop_assert!(crashes <= units);
            if grant.spent == units {
                prop_assert_eq!(earned.msat(), price);
            }
        }
    }

    #[test]
    fn a_single_unit_is_held_once() {
        let mut grant = Grant::sold(1, Msat::new(15_000).unwrap());
        assert_eq!(grant.hold(&one()), Ok(1));
        assert_eq!(grant.hold(&one()), Err(ReserveRefused::InFlight));
        assert_eq!(grant.end(1, Ending::Delivered), Ok(Outcome::Spent(Msat::new(15_000).unwrap())));
        assert_eq!(grant.hold(&one()), Err(ReserveRefused::Spent));
        assert_eq!(grant.end(1, Ending::Delivered), Err(NoSuchUnit));
    }

    #[test]
    fn provoked_failures_end_the_token_without_charging_it() {
        let mut grant = Grant::sold(1, Msat::new(1_000).unwrap());
        for n in 1..=MAX_RESTORES {
            grant.hold(&one()).unwrap();
            assert_eq!(grant.restorable(), n < MAX_RESTORES, "try {n}");
            // What never reached the upstream is no load.
            grant.end(1, Ending::Restored(RestoreReason::UpstreamUnreachable)).unwrap();
            grant.hold(&one()).unwrap();
            let back = grant.end(1, Ending::Restored(RestoreReason::UpstreamError));
            assert_eq!(back, Ok(Outcome::Restored));
        }
        assert_eq!(grant.hold(&one()), Err(ReserveRefused::RestoresExhausted));
        assert_eq!((grant.left, grant.spent, grant.earned()), (1, 0, Msat::ZERO));
    }

    #[test]
    fn hanging_up_before_dispatch_ends_too() {
        let mut grant = Grant::sold(1, Msat::new(1_000).unwrap());
        for _ in 0..MAX_RESTORES_IN_ALL {
            grant.hold(&one()).unwrap();
            grant.end(1, Ending::Restored(RestoreReason::NotDispatched)).unwrap();
        }
        assert_eq!(grant.hold(&one()), Err(ReserveRefused::RestoresExhausted));
    }

    #[test]
    fn a_crash_is_forgiven_once() {
        let mut grant = Grant::sold(1, Msat::new(1_000).unwrap());
        grant.hold(&one()).unwrap();
        assert_eq!(grant.resolve_crash(1), Ok(Outcome::Restored));
        grant.hold(&one()).unwrap();
        assert_eq!(grant.resolve_crash(1), Ok(Outcome::Spent(Msat::new(1_000).unwrap())));
    }
}
