//! Counters of the limits that holders put into a token: below the grant's own, and never above it.
//!
//! A request is weighed once and counts in every counter of its token, in the same step that holds and
//! ends its unit. `max_uses` counts requests that are charged. `max_spend_msat` counts money:
//!
//! | of | a request counts |
//! |---|---|
//! | a balance, a granted token | what it is charged |
//! | a request, a pack | what one unit cost: its share of the price, rounded up |
//! | a pass | the price of the pass, once; what it opens after that costs nothing more |
//!
//! A counter is never filled up anew: of a token with a budget for each day it limits all days together.

use super::{Grant, NoSuchUnit, Outcome, ReserveRefused};
use crate::types::{Bound, Kind};

/// How much of one limit was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter {
    /// What it counts, and the most that it may come to.
    pub bound: Bound,
    /// Charged: requests or millisatoshi.
    pub used: u64,
    /// Of requests on their way.
    pub held: u64,
}

/// What a request counts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// It draws money: what it is charged.
    Money,
    /// It uses one unit, which cost so much, in millisatoshi.
    Unit(u64),
    /// It is made under a pass, which cost so much, in millisatoshi.
    Pass(u64),
}

impl Weight {
    /// What a request of `grant` counts for.
    pub fn of(grant: &Grant) -> Weight {
        match grant.kind {
            Kind::Balance | Kind::Granted => Weight::Money,
            Kind::Request | Kind::Pack => Weight::Unit(grant.price.msat().div_ceil(grant.sold.max(1))),
            Kind::Pass => Weight::Pass(grant.price.msat()),
        }
    }
}

impl Counter {
    /// A counter that nothing was counted in.
    pub const fn of(bound: Bound) -> Counter {
        Counter { bound, used: 0, held: 0 }
    }

    /// How much it still takes, beside what is on its way.
    pub const fn rest(&self) -> u64 {
        self.bound.most().saturating_sub(self.used).saturating_sub(self.held)
    }

    /// Whether it is as if it had never been used.
    pub const fn is_idle(&self) -> bool {
        self.used == 0 && self.held == 0
    }

    /// What must be left for one more request, which draws `least` units of its grant at least.
    const fn needed(&self, weight: Weight, least: u64) -> u64 {
        match (self.bound, weight) {
            (Bound::Uses(_), _) => 1,
            (Bound::Spend(_), Weight::Money) => least,
            (Bound::Spend(_), Weight::Unit(price)) => price,
            (Bound::Spend(_), Weight::Pass(price)) => price.saturating_sub(self.used),
        }
    }

    /// Counts a request on its way that holds `units` of its grant; gives how much of the counter it
    /// holds.
    pub const fn hold(&mut self, weight: Weight, units: u64) -> u64 {
        let taken = match (self.bound, weight) {
            (Bound::Uses(_), _) => 1,
            (Bound::Spend(_), Weight::Money) => units,
            (Bound::Spend(_), Weight::Unit(price)) => price,
            // It is paid once, whichever of its requests is charged first.
            (Bound::Spend(_), Weight::Pass(_)) => 0,
        };
        self.held = self.held.saturating_add(taken);
        taken
    }

    /// Ends a request that held `taken` of the counter, as it ended for the grant.
    ///
    /// # Errors
    /// When nothing such was held; nothing changed then.
    pub fn end(&mut self, weight: Weight, taken: u64, outcome: &Outcome) -> Result<(), NoSuchUnit> {
        let charged = match (outcome, self.bound, weight) {
            (Outcome::Restored, _, _) => 0,
            (Outcome::Spent { .. }, Bound::Uses(_), _) => 1,
            (Outcome::Spent { units, .. }, Bound::Spend(_), Weight::Money) => *units,
            (Outcome::Spent { units: 0, .. }, Bound::Spend(_), Weight::Unit(_)) => 0,
            (Outcome::Spent { .. }, Bound::Spend(_), Weight::Unit(_)) => taken,
            (Outcome::Spent { .. }, Bound::Spend(_), Weight::Pass(_)) => self.needed(weight, 0),
        };
        self.held = self.held.checked_sub(taken).ok_or(NoSuchUnit)?;
        self.used = self.used.saturating_add(charged);
        Ok(())
    }
}

/// What every counter of a token together still takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Requests.
    pub uses: u64,
    /// Millisatoshi.
    pub spend: u64,
}

impl Room {
    /// The smallest rests; without a limit there is no end.
    pub fn of<'a>(counters: impl IntoIterator<Item = &'a Counter>) -> Room {
        counters.into_iter().fold(Room { uses: u64::MAX, spend: u64::MAX }, |room, counter| {
            match counter.bound {
                Bound::Uses(_) => Room { uses: room.uses.min(counter.rest()), ..room },
                Bound::Spend(_) => Room { spend: room.spend.min(counter.rest()), ..room },
            }
        })
    }

    /// Whether one more request may be made, which draws `least` units of its grant at least, and how
    /// much money it may hold at most.
    ///
    /// # Errors
    /// When a limit is reached; [`ReserveRefused::InFlight`] when it may turn out not to be.
    pub fn admit<'a>(
        counters: impl IntoIterator<Item = &'a Counter> + Clone,
        weight: Weight,
        least: u64,
    ) -> Result<u64, ReserveRefused> {
        let mut in_flight = false;
        for counter in counters.clone() {
            let (needed, rest) = (counter.needed(weight, least), counter.rest());
            if needed <= rest {
                continue;
            }
            if rest.saturating_add(counter.held) < needed {
                return Err(match counter.bound {
                    Bound::Uses(_) => ReserveRefused::UsesExhausted,
                    Bound::Spend(_) => ReserveRefused::BudgetExhausted { left: rest, needed },
                });
            }
            in_flight = true;
        }
        if in_flight { Err(ReserveRefused::InFlight) } else { Ok(Room::of(counters).spend) }
    }

    /// What is left of a token of which the grant has `left`, when this was the room after the request
    /// was held: in the grant's units; of a pass, its seconds. `charged` is how many of the `held` units
    /// are charged, and none when all goes back.
    pub fn left(self, weight: Weight, left: u64, held: u64, charged: Option<u64>) -> u64 {
        let restored = charged.is_none();
        let uses = self.uses.saturating_add(u64::from(restored));
        match weight {
            _ if uses == 0 => 0,
            Weight::Pass(_) => left,
            Weight::Money => left.min(self.spend.saturating_add(held.saturating_sub(charged.unwrap_or(0)))),
            Weight::Unit(price) => {
                let spend = self.spend.saturating_add(if restored { price } else { 0 });
                left.min(uses).min(spend.checked_div(price).unwrap_or(u64::MAX))
            }
        }
    }
}

#[cfg(test)]
mod tests;
