//! The operator's rules, and what follows from them: pure, so that every bound can be tried.
//!
//! Invariants: a run never takes more than is spendable, nor more than is left of its day, fees included;
//! it rests while one of its own is on its way, and longer after each failure.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::types::{Msat, Timestamp};

/// Less is not worth a payment, unless it is all that is wanted.
const LEAST_PAY_OUT: Msat = match Msat::from_sat(1_000) {
    Ok(least) => least,
    Err(_) => Msat::ZERO,
};
/// A splice pays a transaction's fee: what it moves is at least so many times that.
const FEES_IN_A_SPLICE: u64 = 20;
/// Fees are reckoned in parts of this many.
const MILLION: u64 = 1_000_000;

/// The pause after a failure; it doubles with each, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(6 * 3_600);
/// A payment that found no way is tried with half of it, so many times.
const HALVINGS: u32 = 6;

/// "When receivable falls below X, pay out to my wallet until it is Y, at most N a day, for a fee of at
/// most F."
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PayOutRule {
    /// An offer or a Lightning address: it can be paid more than once.
    pub to: String,
    /// It runs when less than this can be received, satoshi.
    pub below_sat: u64,
    /// It pays until this can be received, satoshi.
    pub until_sat: u64,
    /// The most that it pays on one day (UTC), fees included, satoshi.
    pub per_day_sat: u64,
    /// The most that one payment's routing may cost, in millionths of the payment.
    pub max_fee_ppm: u64,
}

/// "When spendable exceeds X, take what is above Y out to my vault."
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SpliceOutRule {
    /// `vault`, or an address on the chain.
    pub to: String,
    /// It runs when more than this is spendable in channels, satoshi.
    pub above_sat: u64,
    /// It leaves this much spendable, satoshi.
    pub keep_sat: u64,
    /// The most that it takes out on one day (UTC), fees included, satoshi.
    pub per_day_sat: u64,
}

impl PayOutRule {
    /// Whether its numbers make sense together.
    ///
    /// # Errors
    /// When they do not; the text says why.
    pub fn check(&self) -> Result<(), &'static str> {
        let fits = |sat| Msat::from_sat(sat).is_ok();
        if ![self.below_sat, self.until_sat, self.per_day_sat].into_iter().all(fits) {
            return Err("an amount is more than 21 million bitcoin");
        }
        if self.below_sat == 0 || self.until_sat <= self.below_sat {
            return Err("until_sat must be more than below_sat, and that more than 0");
        }
        if self.per_day_sat == 0 {
            return Err("per_day_sat must be more than 0");
        }
        if self.max_fee_ppm > MILLION / 2 {
            return Err("max_fee_ppm must be at most 500000, which is half of the payment");
        }
        Ok(())
    }
}

impl SpliceOutRule {
    /// Whether its numbers make sense together.
    ///
    /// # Errors
    /// When they do not; the text says why.
    pub fn check(&self) -> Result<(), &'static str> {
        let fits = |sat| Msat::from_sat(sat).is_ok();
        if ![self.above_sat, self.keep_sat, self.per_day_sat].into_iter().all(fits) {
            return Err("an amount is more than 21 million bitcoin");
        }
        if self.keep_sat > self.above_sat {
            return Err("keep_sat must not be more than above_sat");
        }
        if self.per_day_sat == 0 {
            return Err("per_day_sat must be more than 0");
        }
        Ok(())
    }
}

/// What a rule did today and lately.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lately {
    /// Drawn from the day's budget: what is not final counts whole.
    pub drawn: Msat,
    /// Its operation that has no end yet.
    pub open: Option<i64>,
    /// How many failed since one succeeded.
    pub failures: u32,
    /// When the last of them ended.
    pub failed_at: Option<Timestamp>,
}

/// What the node has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Situation {
    /// It runs.
    pub running: bool,
    /// What can be sent over channels that can be used now.
    pub spendable: Msat,
    /// What can be received over all channels that are ready, those of absent peers included: their
    /// absence is no reason to pay anybody.
    pub receivable: Msat,
    /// The channel with most to send of those that can be used now, and how much that is.
    pub fullest: Option<(String, Msat)>,
    /// About what a splice costs now.
    pub splice_fee: Msat,
}

/// What a rule does now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It pays this much, for at most this fee.
    PayOut {
        /// What arrives.
        amount: Msat,
        /// The most that routing may cost.
        max_fee: Msat,
        /// Why, in numbers.
        why: String,
    },
    /// It takes this much out of a channel.
    SpliceOut {
        /// Which.
        channel_id: String,
        /// What arrives on the chain.
        amount: Msat,
        /// Why, in numbers.
        why: String,
    },
    /// Nothing.
    Rest {
        /// Stable code of the reason.
        code: &'static str,
        /// The reason, in numbers.
        why: String,
    },
}

fn rest(code: &'static str, why: impl Into<String>) -> Decision {
    Decision::Rest { code, why: why.into() }
}

fn sat(sat: u64) -> Msat {
    Msat::from_sat(sat).unwrap_or(Msat::MAX)
}

fn less(from: Msat, what: Msat) -> Msat {
    from.checked_sub(what).unwrap_or(Msat::ZERO)
}

fn whole(amount: Msat) -> Msat {
    sat(amount.sats_floor())
}

/// What holds for every rule: nothing is on its way, and no failure is too fresh.
fn held_back(situation: &Situation, lately: &Lately, now: Timestamp) -> Option<Decision> {
    if !situation.running {
        return Some(rest("node_not_ready", "the Lightning node is not ready"));
    }
    if let Some(id) = lately.open {
        return Some(rest("one_on_its_way", format!("operation {id} has no end yet")));
    }
    let pause = lately.failures.checked_sub(1).map(|doublings| {
        FIRST_PAUSE.checked_mul(1 << doublings.min(16)).unwrap_or(LONGEST_PAUSE).min(LONGEST_PAUSE)
    });
    let until = lately.failed_at.zip(pause).map(|(at, pause)| at.plus(pause));
    until.is_some_and(|until| now < until).then(|| {
        let pause = pause.unwrap_or_default().as_secs();
        rest(
            "backing_off",
            format!("{} failed in a row: the next try is {pause} s after the last", lately.failures),
        )
    })
}

impl PayOutRule {
    /// What it does now.
    pub fn decide(&self, situation: &Situation, lately: &Lately, now: Timestamp) -> Decision {
        let Situation { receivable, spendable, .. } = *situation;
        let (below, until) = (sat(self.below_sat), sat(self.until_sat));
        if situation.running && receivable >= below {
            return rest("not_needed", format!("receivable is not below {below}"));
        }
        if let Some(held_back) = held_back(situation, lately, now) {
            return held_back;
        }
        let wanted = less(until, receivable);
        let tried = Msat::new(wanted.msat() >> lately.failures.min(HALVINGS)).unwrap_or(Msat::ZERO);
        let today = less(sat(self.per_day_sat), lately.drawn);
        let most = self.without_fee(spendable.min(today));
        let amount = whole(tried.max(LEAST_PAY_OUT).min(wanted).min(most));
        let least = whole(LEAST_PAY_OUT.min(wanted)).max(sat(1));
        if amount < least {
            let (code, what) = match today <= spendable {
                true => {
                    ("daily_limit", format!("{} is left of {} a day", today.in_sat(), sat(self.per_day_sat)))
                }
                false => ("too_little_spendable", format!("{} is spendable", spendable.in_sat())),
            };
            let why = format!("receivable is {} and should be {until}, but {what}", receivable.in_sat());
            return rest(code, why);
        }
        let max_fee = self.fee(amount);
        let why = format!(
            "receivable is {}, below {below}: {amount} goes out, for at most {} of routing; {} is missing to {until}, \
             {} is spendable, and {} may still go today",
            receivable.in_sat(),
            max_fee.in_sat(),
            wanted.in_sat(),
            spendable.in_sat(),
            today.in_sat()
        );
        Decision::PayOut { amount, max_fee, why }
    }

    fn fee(&self, amount: Msat) -> Msat {
        let fee = u128::from(amount.msat()) * u128::from(self.max_fee_ppm) / u128::from(MILLION);
        u64::try_from(fee).ok().and_then(|fee| Msat::new(fee).ok()).unwrap_or(Msat::MAX)
    }

    /// What can be paid of `all` when the fee comes out of it too.
    fn without_fee(&self, all: Msat) -> Msat {
        let amount = u128::from(all.msat()) * u128::from(MILLION) / u128::from(MILLION + self.max_fee_ppm);
        u64::try_from(amount).ok().and_then(|amount| Msat::new(amount).ok()).unwrap_or(Msat::ZERO)
    }
}

impl SpliceOutRule {
    /// What it does now.
    pub fn decide(&self, situation: &Situation, lately: &Lately, now: Timestamp) -> Decision {
        let Situation { spendable, splice_fee: fee, .. } = *situation;
        let (above, keep) = (sat(self.above_sat), sat(self.keep_sat));
        if situation.running && spendable <= above {
            return rest("not_needed", format!("spendable is not above {above}"));
        }
        if let Some(held_back) = held_back(situation, lately, now) {
            return held_back;
        }
        let Some((channel_id, has)) = situation.fullest.clone() else {
            return rest("no_channel", "no channel can be used now");
        };
        let today = less(sat(self.per_day_sat), lately.drawn);
        let wanted = less(spendable, keep);
        let amount = whole(less(wanted.min(has).min(today), fee));
        let least = Msat::new(fee.msat().saturating_mul(FEES_IN_A_SPLICE)).unwrap_or(Msat::MAX);
        if amount < least.max(sat(1)) {
            let why = format!(
                "{amount} could be taken out now ({} is spendable, {} of it in the fullest channel, {} is left of \
                 the day), and a splice costs about {fee}: at least {least} is worth it",
                spendable.in_sat(),
                has.in_sat(),
                today.in_sat()
            );
            return rest(if today < wanted.min(has) { "daily_limit" } else { "not_worth_the_fee" }, why);
        }
        let why = format!(
            "spendable is {}, above {above}: {amount} goes on-chain for a fee of about {fee}, and {keep} or more \
             stays; {} was left of the day",
            spendable.in_sat(),
            today.in_sat()
        );
        Decision::SpliceOut { channel_id, amount, why }
    }
}

#[cfg(test)]
mod tests;
