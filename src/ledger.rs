//! The arithmetic of what was sold: grants, holds and how they end. Pure; `store` applies it in
//! transactions.
//!
//! Invariant, at every instant and for every grant (MONEY rule 1):
//! sold = left + held + spent + expired + revoked. A release returns a unit to `left` and is counted apart.

mod recent;

use std::time::Duration;

use thiserror::Error;

use crate::types::{Msat, Name, PaymentHash, Timestamp, TokenId};
pub use recent::{Bought, RecentChallenges};

/// How often each sold unit may be given back after the upstream did work for it (it timed out or
/// answered 5xx). Then the token is refused with `restores_exhausted`, so that provoked errors are
/// not free load (MONEY rule 7). What was not delivered stays `left`: it is never charged, and the
/// operator sees that it is owed.
pub const MAX_RESTORES: u32 = 16;

/// How often each sold unit may be given back for any reason, so that a client which hangs up before
/// dispatch cannot make the disk write for ever. High, because an upstream that is down costs its
/// buyers one of these for each try.
pub const MAX_RESTORES_IN_ALL: u32 = 1_000;

/// How long a token lives beyond its invoice: two hours of block time, in which LDK still accepts
/// the payment, and a day to use it (MONEY rule 9).
pub const TOKEN_LIFE_AFTER_INVOICE: Duration = Duration::from_secs(26 * 3_600);

/// What a token says was sold, as its first redemption presents it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sale {
    /// Names the grant.
    pub payment_hash: PaymentHash,
    /// The token.
    pub token_id: TokenId,
    /// The service.
    pub service: Name,
    /// The route.
    pub route: Name,
    /// How many requests; at least one.
    pub units: u32,
    /// The price of all units together.
    pub sold: Msat,
    /// Until when they may be used.
    pub valid_until: Timestamp,
}

/// How a hold ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The whole answer was handed over: charged.
    Delivered,
    /// The client left after the upstream had been asked: charged.
    Cancelled,
    /// The buyer gets the unit back.
    Restored(RestoreReason),
}

/// Why a unit goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestoreReason {
    /// No connection to the upstream.
    UpstreamUnreachable,
    /// The upstream did not answer in time.
    UpstreamTimeout,
    /// The upstream answered 5xx, or broke off before its body.
    UpstreamError,
    /// The request never left.
    NotDispatched,
    /// A fault of our own.
    Internal,
}

impl RestoreReason {
    /// Stable code.
    pub const fn code(self) -> &'static str {
        match self {
            RestoreReason::UpstreamUnreachable => "upstream_unreachable",
            RestoreReason::UpstreamTimeout => "upstream_timeout",
            RestoreReason::UpstreamError => "upstream_error",
            RestoreReason::NotDispatched => "not_dispatched",
            RestoreReason::Internal => "internal",
        }
    }

    /// Whether the upstream did work for it, so that it counts against [`MAX_RESTORES`].
    pub const fn loads_upstream(self) -> bool {
        matches!(self, RestoreReason::UpstreamTimeout | RestoreReason::UpstreamError)
    }
}

/// Why no unit can be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ReserveRefused {
    /// Every unit left is on its way: ask again soon (MONEY rule 5).
    #[error("the token's request is on its way")]
    InFlight,
    /// Every unit is spent.
    #[error("the token is spent")]
    Spent,
    /// The operator took it back.
    #[error("the token was revoked")]
    Revoked,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// Its requests failed too often at the upstream's expense ([`MAX_RESTORES`]).
    #[error("the token's requests failed too often")]
    RestoresExhausted,
    /// Another token with this payment hash, sold on other terms, was here before.
    #[error("another token was redeemed for this payment")]
    TermsDiffer,
}

impl ReserveRefused {
    /// Stable code.
    pub const fn code(self) -> &'static str {
        match self {
            ReserveRefused::InFlight => "in_flight",
            ReserveRefused::Spent => "spent",
            ReserveRefused::Revoked => "revoked",
            ReserveRefused::Expired => "expired",
            ReserveRefused::RestoresExhausted => "restores_exhausted",
            ReserveRefused::TermsDiffer => "terms_differ",
        }
    }
}

/// The counters of one grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Units sold.
    pub sold: u32,
    /// Units that may still be held.
    pub left: u32,
    /// Units on their way.
    pub held: u32,
    /// Units delivered or charged.
    pub spent: u32,
    /// Units whose time ran out.
    pub expired: u32,
    /// Units that the operator took back.
    pub revoked: u32,
    /// Times that a unit went back, the ones of [`Grant::crash_restored`] not counted.
    pub restored: u32,
    /// Restores that count against [`MAX_RESTORES`].
    pub loaded: u32,
    /// Units that a crash left unknown and the buyer kept: at most one for each unit sold, because
    /// units are alike and a second crash on the same one is charged (MONEY rule 6).
    pub crash_restored: u32,
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
    pub const fn sold(units: u32, price: Msat) -> Grant {
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
        parts.iter().map(|part| u64::from(*part)).sum::<u64>() == u64::from(self.sold)
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

    /// Holds one unit.
    ///
    /// # Errors
    /// When none can be held; the reason says what the buyer should do.
    pub fn hold(&mut self) -> Result<(), ReserveRefused> {
        if self.left > 0 && self.exhausted() {
            Err(ReserveRefused::RestoresExhausted)
        } else if let Some(left) = self.left.checked_sub(1) {
            self.left = left;
            self.held += 1;
            Ok(())
        } else if self.held > 0 {
            Err(ReserveRefused::InFlight)
        } else if self.revoked > 0 {
            Err(ReserveRefused::Revoked)
        } else if self.expired > 0 {
            Err(ReserveRefused::Expired)
        } else {
            Err(ReserveRefused::Spent)
        }
    }

    /// Ends one hold.
    ///
    /// # Errors
    /// When none is open.
    pub fn end(&mut self, ending: Ending) -> Result<Outcome, NoSuchUnit> {
        match ending {
            Ending::Restored(reason) => {
                self.held = self.held.checked_sub(1).ok_or(NoSuchUnit)?;
                self.left += 1;
                self.restored = self.restored.saturating_add(1);
                self.loaded = self.loaded.saturating_add(u32::from(reason.loads_upstream()));
                Ok(Outcome::Restored)
            }
            Ending::Delivered | Ending::Cancelled => self.spend(),
        }
    }

    /// Resolves one hold that a crash left open: back to the buyer once for each unit, charged after.
    ///
    /// # Errors
    /// When none is open.
    pub fn resolve_crash(&mut self) -> Result<Outcome, NoSuchUnit> {
        if self.crash_restored >= self.sold {
            return self.spend();
        }
        self.held = self.held.checked_sub(1).ok_or(NoSuchUnit)?;
        self.left += 1;
        self.crash_restored += 1;
        Ok(Outcome::Restored)
    }

    /// Takes back what is left; units on their way end as they end. Gives how many.
    pub fn revoke(&mut self) -> u32 {
        let taken = std::mem::take(&mut self.left);
        self.revoked += taken;
        taken
    }

    /// Lets what is left run out. Gives how many.
    pub fn expire(&mut self) -> u32 {
        let taken = std::mem::take(&mut self.left);
        self.expired += taken;
        taken
    }

    fn spend(&mut self) -> Result<Outcome, NoSuchUnit> {
        self.held = self.held.checked_sub(1).ok_or(NoSuchUnit)?;
        let before = self.earned();
        self.spent += 1;
        let earned = self.earned().checked_sub(before).unwrap_or(Msat::ZERO);
        Ok(Outcome::Spent(earned))
    }

    /// What the spent units earned: their share of the price, rounded down, the whole price at the end.
    pub fn earned(&self) -> Msat {
        self.share(u64::from(self.spent))
    }

    /// What the buyer may still use: the price less the share of every unit that is gone.
    pub fn owed(&self) -> Msat {
        let gone = u64::from(self.spent) + u64::from(self.expired) + u64::from(self.revoked);
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
        fn nothing_is_created_or_lost(units in 1u32..20, price in 0u64..1_000_000, steps in steps()) {
            let mut grant = Grant::sold(units, Msat::new(price).unwrap());
            let mut earned = Msat::ZERO;
            let mut crashes = 0;
            for step in steps {
                match step {
                    Step::Hold => { let _ = grant.hold(); }
                    Step::End(ending) => {
                        if let Ok(Outcome::Spent(msat)) = grant.end(ending) {
                            earned = earned.checked_add(msat).unwrap();
                        }
                    }
                    Step::Crash => match grant.resolve_crash() {
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
        assert_eq!(grant.hold(), Ok(()));
        assert_eq!(grant.hold(), Err(ReserveRefused::InFlight));
        assert_eq!(grant.end(Ending::Delivered), Ok(Outcome::Spent(Msat::new(15_000).unwrap())));
        assert_eq!(grant.hold(), Err(ReserveRefused::Spent));
        assert_eq!(grant.end(Ending::Delivered), Err(NoSuchUnit));
    }

    #[test]
    fn provoked_failures_end_the_token_without_charging_it() {
        let mut grant = Grant::sold(1, Msat::new(1_000).unwrap());
        for n in 1..=MAX_RESTORES {
            grant.hold().unwrap();
            assert_eq!(grant.restorable(), n < MAX_RESTORES, "try {n}");
            // What never reached the upstream is no load.
            grant.end(Ending::Restored(RestoreReason::UpstreamUnreachable)).unwrap();
            grant.hold().unwrap();
            let back = grant.end(Ending::Restored(RestoreReason::UpstreamError));
            assert_eq!(back, Ok(Outcome::Restored));
        }
        assert_eq!(grant.hold(), Err(ReserveRefused::RestoresExhausted));
        assert_eq!((grant.left, grant.spent, grant.earned()), (1, 0, Msat::ZERO));
    }

    #[test]
    fn hanging_up_before_dispatch_ends_too() {
        let mut grant = Grant::sold(1, Msat::new(1_000).unwrap());
        for _ in 0..MAX_RESTORES_IN_ALL {
            grant.hold().unwrap();
            grant.end(Ending::Restored(RestoreReason::NotDispatched)).unwrap();
        }
        assert_eq!(grant.hold(), Err(ReserveRefused::RestoresExhausted));
    }

    #[test]
    fn a_crash_is_forgiven_once() {
        let mut grant = Grant::sold(1, Msat::new(1_000).unwrap());
        grant.hold().unwrap();
        assert_eq!(grant.resolve_crash(), Ok(Outcome::Restored));
        grant.hold().unwrap();
        assert_eq!(grant.resolve_crash(), Ok(Outcome::Spent(Msat::new(1_000).unwrap())));
    }
}
