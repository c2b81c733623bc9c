//! The counters of one grant, and every step that they may take.
//!
//! A request or a pack counts requests and a balance millisatoshi. A pass has one unit: it is held
//! from the first use until some use of it ends, and its holds hold none. A granted token with a
//! budget is filled up anew in each period; what was left of the old one runs out then.

use std::time::Duration;

use thiserror::Error;

use super::{
    Draw, Ending, MAX_RESTORES, MAX_RESTORES_IN_ALL, PASS_RESTORES_AN_HOUR, ReserveRefused, RestoreReason,
    Sale,
};
use crate::types::{Kind, Msat, Timestamp};

/// The most units that a grant can ever have: what a database counts in 64 bits with a sign.
const MAX_UNITS: u64 = i64::MAX.unsigned_abs();

/// What a granted token may spend, anew in each period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// So much, in millisatoshi.
    pub units: u64,
    /// In each period of so long; periods begin at whole multiples of it since the Unix epoch.
    pub per: Duration,
    /// The number of the period that `left` belongs to.
    pub period: u64,
}

impl Budget {
    /// A budget whose first period holds `now`.
    pub fn starting(units: u64, per: Duration, now: Timestamp) -> Budget {
        let mut budget = Budget { units, per, period: 0 };
        budget.period = budget.period_of(now);
        budget
    }

    fn period_of(&self, at: Timestamp) -> u64 {
        let per = u64::try_from(self.per.as_millis()).unwrap_or(u64::MAX);
        at.millis().checked_div(per).unwrap_or(0)
    }
}

/// The counters of one grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// What was sold.
    pub kind: Kind,
    /// The price of all units.
    pub price: Msat,
    /// Until when they may be held, that instant included.
    pub valid_until: Timestamp,
    /// How long a pass is open.
    pub lasts: Option<Duration>,
    /// Until when a pass is open, that instant included, once it was used.
    pub opens_until: Option<Timestamp>,
    /// The budget of a granted token that has one.
    pub budget: Option<Budget>,
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
    /// The operator took the token back: whatever returns to it is taken too.
    pub barred: bool,
    /// Requests that were charged.
    pub calls: u64,
    /// Requests on their way.
    pub open: u64,
    /// Bytes of answers that were handed down for them.
    pub bytes: u64,
    /// Requests whose units went back, the ones of [`Grant::crash_restored`] not counted.
    pub restored: u64,
    /// Requests that a crash left unknown and whose units the buyer kept.
    pub crash_restored: u64,
    /// Units that went back with [`Grant::restored`]; of a pass, the requests.
    pub returned: u64,
    /// The part of them that counts against [`MAX_RESTORES`]; of an answer that was too dear, its price.
    pub loaded: u64,
    /// Units that went back with [`Grant::crash_restored`]: at most as many as were sold, because units
    /// are alike and a second crash on the same one is charged (MONEY rule 6).
    pub crash_returned: u64,
}

/// What one hold took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Units.
    pub units: u64,
    /// When.
    pub at: Timestamp,
}

/// What a hold's end did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Charged.
    Spent {
        /// Units; the first charged request of a pass has its one, the others none.
        units: u64,
        /// What they earned.
        earned: Msat,
    },
    /// Returned.
    Restored,
}

/// The counters do not allow the step: the caller's books are wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the grant has no unit in the state that this step needs")]
pub struct NoSuchUnit;

impl Grant {
    /// A new grant of what was sold, everything left.
    pub const fn of(sale: &Sale) -> Grant {
        Grant {
            kind: sale.kind,
            price: sale.sold,
            valid_until: sale.valid_until,
            lasts: sale.lasts,
            opens_until: None,
            budget: None,
            sold: sale.units,
            left: sale.units,
            held: 0,
            spent: 0,
            expired: 0,
            revoked: 0,
            barred: false,
            calls: 0,
            open: 0,
            bytes: 0,
            restored: 0,
            crash_restored: 0,
            returned: 0,
            loaded: 0,
            crash_returned: 0,
        }
    }

    /// Whether the identity holds.
    pub fn balanced(&self) -> bool {
        let parts = [self.left, self.held, self.spent, self.expired, self.revoked];
        parts.iter().map(|part| u128::from(*part)).sum::<u128>() == u128::from(self.sold)
    }

    /// Whether the token is still good after one more request of `units` failed at the upstream's
    /// expense, when that request is held already.
    pub fn restorable(&self, units: u64) -> bool {
        let back = self.load_of(units);
        self.loaded.saturating_add(back) < self.cap(MAX_RESTORES)
            && self.returned.saturating_add(back) < self.cap(MAX_RESTORES_IN_ALL)
    }

    /// Whether the token was given back too often.
    pub fn worn_out(&self) -> bool {
        self.loaded >= self.cap(MAX_RESTORES) || self.returned >= self.cap(MAX_RESTORES_IN_ALL)
    }

    /// What counts against the caps when `units` go back.
    const fn load_of(&self, units: u64) -> u64 {
        match self.kind {
            Kind::Pass => 1,
            _ => units,
        }
    }

    fn cap(&self, times: u64) -> u64 {
        let units = match self.lasts {
            Some(lasts) if self.kind == Kind::Pass => {
                let hours = lasts.as_secs().div_ceil(3_600).max(1);
                hours.saturating_mul(PASS_RESTORES_AN_HOUR / MAX_RESTORES)
            }
            _ => self.sold,
        };
        units.saturating_mul(times).min(MAX_UNITS)
    }

    /// Whether nothing is left and nothing on its way, so that the token is of no more use, or of none
    /// in this period of its budget.
    pub fn used_up(&self) -> bool {
        self.left == 0 && self.held == 0 && self.spent > 0
    }

    /// Whether nothing will happen to it any more.
    pub fn is_over(&self, now: Timestamp) -> bool {
        let ended = match (self.kind, self.budget) {
            _ if self.barred => true,
            (Kind::Pass, _) => self.opens_until.is_none_or(|until| until < now),
            (_, Some(_)) => self.valid_until < now,
            (_, None) => true,
        };
        self.left == 0 && self.held == 0 && self.open == 0 && ended
    }

    /// The instant after which there is something to do about it, while it is not over.
    pub fn ends_at(&self) -> Timestamp {
        self.opens_until.unwrap_or(self.valid_until)
    }

    /// Holds what `draw` asks for; gives how many units. A refusal may change the counters too: what
    /// ran out is expired, and a budget is filled up.
    ///
    /// # Errors
    /// When it cannot be held; the reason says what the buyer should do.
    pub fn hold(&mut self, draw: &Draw, now: Timestamp) -> Result<u64, ReserveRefused> {
        if self.barred {
            self.revoke();
            return Err(ReserveRefused::Revoked);
        }
        self.renew(now);
        if self.opens_until.is_some() {
            return self.hold_open(now);
        }
        if self.left > 0 && self.valid_until < now {
            self.expire();
            return Err(ReserveRefused::Expired);
        }
        if self.left > 0 && self.worn_out() {
            return Err(ReserveRefused::RestoresExhausted);
        }
        let least = self.least(draw);
        if self.left < least || self.left == 0 {
            return Err(self.refusal(least, now));
        }
        self.open += 1;
        let units = self.left.min(draw.most.max(least));
        self.left -= units;
        self.held += units;
        if self.kind != Kind::Pass {
            return Ok(units);
        }
        self.opens_until = Some(now.plus(self.lasts.unwrap_or_default()));
        Ok(0)
    }

    /// Units that must be there for `draw`.
    pub fn least(&self, draw: &Draw) -> u64 {
        match self.kind {
            // A price of nothing is one that says so twice, and even that needs a token that is good.
            kind if kind.draws_money() && draw.most == 0 => draw.least,
            Kind::Pass => 1,
            _ => draw.least.max(1),
        }
    }

    /// One more request under an open pass.
    fn hold_open(&mut self, now: Timestamp) -> Result<u64, ReserveRefused> {
        if self.opens_until.is_some_and(|until| until < now) {
            return Err(ReserveRefused::Expired);
        }
        if self.worn_out() {
            return Err(ReserveRefused::RestoresExhausted);
        }
        self.open += 1;
        Ok(0)
    }

    fn refusal(&self, needed: u64, now: Timestamp) -> ReserveRefused {
        let too_small = ReserveRefused::TooSmall { left: self.left, needed };
        match () {
            () if self.held > 0 && self.left.saturating_add(self.held) >= needed => ReserveRefused::InFlight,
            () if self.left > 0 || self.held > 0 => too_small,
            () if self.revoked > 0 => ReserveRefused::Revoked,
            // Spent in this period; there may be another.
            () if self.kind == Kind::Granted && now <= self.valid_until => too_small,
            () if self.expired > 0 => ReserveRefused::Expired,
            () => ReserveRefused::Spent,
        }
    }

    /// Fills a budget up when a new period has begun.
    fn renew(&mut self, now: Timestamp) {
        let Some(budget) = &mut self.budget else { return };
        let period = budget.period_of(now);
        if period <= budget.period || self.valid_until < now {
            return;
        }
        budget.period = period;
        let fresh = budget.units.min(MAX_UNITS.saturating_sub(self.sold));
        self.expired += self.left;
        self.left = fresh;
        self.sold += fresh;
    }

    /// Ends one hold.
    ///
    /// # Errors
    /// When there is none such; nothing changed then.
    pub fn end(&mut self, taken: &Taken, ending: Ending) -> Result<Outcome, NoSuchUnit> {
        match ending {
            Ending::Restored(reason) => {
                let (_, back) = self.settle(taken, None)?;
                let back = self.load_of(back);
                self.restored = self.restored.saturating_add(1);
                self.returned = self.returned.saturating_add(back).min(MAX_UNITS);
                let load = match reason {
                    // The upstream did the work of an answer at this price, however little was held: else
                    // the last millisatoshi of a balance would be a licence to provoke it. Yet one answer
                    // weighs no more than the whole of what was sold.
                    RestoreReason::TooDear(cost) => back.max(cost.msat().min(self.sold)),
                    reason if reason.loads_upstream() => back,
                    _ => 0,
                };
                self.loaded = self.loaded.saturating_add(load).min(MAX_UNITS);
                Ok(Outcome::Restored)
            }
            Ending::Charged(cost) => self.charge(taken, cost),
            Ending::Delivered | Ending::Cancelled => self.charge(taken, taken.units),
        }
    }

    /// Resolves one hold that a crash left open: back to the buyer once for each unit, charged after.
    ///
    /// # Errors
    /// When there is none such; nothing changed then.
    pub fn resolve_crash(&mut self, taken: &Taken) -> Result<Outcome, NoSuchUnit> {
        let mut after = *self;
        let (_, back) = after.settle(taken, None)?;
        after.crash_returned = after.crash_returned.saturating_add(back);
        if after.crash_returned > self.sold {
            return self.charge(taken, taken.units);
        }
        after.crash_restored = after.crash_restored.saturating_add(1);
        *self = after;
        Ok(Outcome::Restored)
    }

    fn charge(&mut self, taken: &Taken, cost: u64) -> Result<Outcome, NoSuchUnit> {
        let before = self.earned();
        let (units, _) = self.settle(taken, Some(cost))?;
        self.calls = self.calls.saturating_add(1);
        let earned = self.earned().checked_sub(before).unwrap_or(Msat::ZERO);
        Ok(Outcome::Spent { units, earned })
    }

    /// Closes one hold: `cost` of it is charged and the rest goes back, or all of it when there is no
    /// cost. Gives how many units were charged and how many went back.
    fn settle(&mut self, taken: &Taken, cost: Option<u64>) -> Result<(u64, u64), NoSuchUnit> {
        let (units, charged) = match (self.kind, cost) {
            // Its open requests share a pass's unit: the first that is charged spends it, and the last
            // gives it back when none was.
            (Kind::Pass, Some(_)) => (self.held, self.held),
            (Kind::Pass, None) => (if self.open == 1 { self.held } else { 0 }, 0),
            (_, cost) => (taken.units, cost.unwrap_or(0).min(taken.units)),
        };
        let back = units - charged;
        let (open, held) = (self.open.checked_sub(1), self.held.checked_sub(units));
        (self.open, self.held) = (open.ok_or(NoSuchUnit)?, held.ok_or(NoSuchUnit)?);
        self.spent += charged;
        match self.budget {
            _ if self.barred => self.revoked += back,
            // Its period is over: it would be spent beside the new one's budget.
            Some(budget) if budget.period_of(taken.at) != budget.period => self.expired += back,
            _ => self.left += back,
        }
        if self.kind == Kind::Pass && back > 0 {
            self.opens_until = None;
        }
        Ok((charged, back))
    }

    /// Takes back what is left, and for good; units on their way end as they end. Gives how many.
    pub fn revoke(&mut self) -> u64 {
        self.barred = true;
        let taken = std::mem::take(&mut self.left);
        self.revoked += taken;
        taken
    }

    /// As a request at `now` would find it: a budget that is due is filled up, what ran out is gone.
    #[must_use]
    pub fn seen_at(mut self, now: Timestamp) -> Grant {
        self.renew(now);
        if self.opens_until.is_none() && self.valid_until < now {
            self.expire();
        }
        self
    }

    /// Lets what is left run out. Gives how many.
    pub fn expire(&mut self) -> u64 {
        let taken = std::mem::take(&mut self.left);
        self.expired += taken;
        taken
    }

    /// What the spent units earned: their share of the price, rounded down, the whole price at the end.
    pub fn earned(&self) -> Msat {
        self.share(self.spent)
    }

    /// What ran out or was taken back, of the price: never earned, and not owed any more.
    pub fn lapsed(&self) -> Msat {
        self.share(self.gone()).checked_sub(self.earned()).unwrap_or(Msat::ZERO)
    }

    /// What the buyer may still use: the price less the share of every unit that is gone.
    pub fn owed(&self) -> Msat {
        self.price.checked_sub(self.share(self.gone())).unwrap_or(Msat::ZERO)
    }

    fn gone(&self) -> u64 {
        self.spent.saturating_add(self.expired).saturating_add(self.revoked)
    }

    fn share(&self, units: u64) -> Msat {
        let product = u128::from(self.price.msat()) * u128::from(units);
        let share = product.checked_div(u128::from(self.sold)).unwrap_or(0);
        u64::try_from(share).ok().and_then(|msat| Msat::new(msat).ok()).unwrap_or(self.price)
    }
}

#[cfg(test)]
mod tests;
