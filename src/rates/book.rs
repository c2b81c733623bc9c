//! What is believed of one currency, from what its sources said. Pure: time and answers are given to it.
//!
//! Invariants (THREATS 18): a rate is believed only when at least two fresh sources, and more than half of
//! them all, say nearly the same; it is their median. One that jumps is not believed until several polls
//! in a row, spread over time, say the same again; the rate before it is sold at meanwhile, as long as it
//! is fresh. What is older than the limit is not sold at.

use std::collections::BTreeMap;
use std::time::Duration;

use rust_decimal::Decimal;

use crate::pricing::{Currency, Rate, RateFault};
use crate::types::Timestamp;

/// Sources that must agree.
const QUORUM: usize = 2;
/// Polls that must see a jump before it is believed.
pub(super) const CONFIRMATIONS: u32 = 3;

/// What is believed at all.
#[derive(Clone, Copy, Debug)]
pub(super) struct Policy {
    /// How old a rate may be that is sold at.
    pub(super) max_age: Duration,
    /// How far apart sources may be, and two believed rates in a row: a part of the whole, such as 0.05.
    pub(super) max_step: Decimal,
    /// Polls count towards a jump's confirmation only when at least so long lies between them.
    pub(super) spacing: Duration,
}

impl Policy {
    fn near(&self, one: Decimal, other: Decimal) -> bool {
        other.checked_mul(self.max_step).is_some_and(|step| (one - other).abs() <= step)
    }

    fn fresh(&self, at: Timestamp, now: Timestamp) -> bool {
        now <= at.plus(self.max_age)
    }
}

/// What a poll came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The rate is believed.
    Believed,
    /// Fewer than two sources are fresh.
    TooFew,
    /// No two, or no majority of the sources, say nearly the same.
    Disagreement,
    /// They agree on a rate that is far from the one before; so many polls saw it.
    Jump {
        /// What they agree on.
        to: Decimal,
        /// How many polls saw it.
        seen: u32,
    },
}

/// A jump that is not believed yet.
#[derive(Clone, Copy, Debug)]
struct Jump {
    to: Decimal,
    seen: u32,
    counted_at: Timestamp,
}

/// One currency.
#[derive(Clone, Debug)]
pub(super) struct Book {
    currency: Currency,
    /// The newest of each source.
    said: BTreeMap<usize, (Decimal, Timestamp)>,
    believed: Option<Rate>,
    jump: Option<Jump>,
    pub(super) verdict: Option<Verdict>,
}

impl Book {
    pub(super) fn new(currency: Currency) -> Book {
        Book { currency, said: BTreeMap::new(), believed: None, jump: None, verdict: None }
    }

    /// What was believed last, however old.
    pub(super) fn believed(&self) -> Option<Rate> {
        self.believed
    }

    /// What a source said last.
    pub(super) fn said(&self, source: usize) -> Option<(Decimal, Timestamp)> {
        self.said.get(&source).copied()
    }

    /// The rate to sell at.
    pub(super) fn rate(&self, policy: &Policy, now: Timestamp) -> Result<Rate, RateFault> {
        self.believed.filter(|rate| policy.fresh(rate.at, now)).ok_or(RateFault::Stale(self.currency))
    }

    /// Takes in what the sources said in one poll; those that said nothing usable are not in `answers`.
    pub(super) fn poll(&mut self, answers: &[(usize, Decimal)], policy: &Policy, now: Timestamp) -> Verdict {
        self.said.extend(answers.iter().map(|(source, rate)| (*source, (*rate, now))));
        let verdict = self.judge(policy, now);
        if !matches!(verdict, Verdict::Jump { .. }) {
            self.jump = None;
        }
        self.verdict = Some(verdict);
        verdict
    }

    fn judge(&mut self, policy: &Policy, now: Timestamp) -> Verdict {
        let mut fresh: Vec<(Decimal, Timestamp)> =
            self.said.values().copied().filter(|(_, at)| policy.fresh(*at, now)).collect();
        fresh.sort_unstable();
        if fresh.len() < QUORUM {
            return Verdict::TooFew;
        }
        let Some(median) = median(&fresh) else { return Verdict::Disagreement };
        let mut agree: Vec<Timestamp> =
            fresh.iter().filter(|(rate, _)| policy.near(*rate, median)).map(|(_, at)| *at).collect();
        if agree.len() < QUORUM || agree.len() * 2 <= fresh.len() {
            return Verdict::Disagreement;
        }
        // As old as the newest moment at which a quorum said so.
        agree.sort_unstable_by(|a, b| b.cmp(a));
        let at = agree.get(QUORUM - 1).copied().unwrap_or_default();
        if let Some(before) = self.believed
            && !policy.near(median, before.per_btc)
        {
            let seen = self.see_jump(median, at == now, policy, now);
            if seen < CONFIRMATIONS {
                return Verdict::Jump { to: median, seen };
            }
        }
        self.jump = None;
        self.believed = Some(Rate { currency: self.currency, per_btc: median, at });
        Verdict::Believed
    }

    /// Counts a poll that saw a jump `to` there; gives how many did. Only one in which a quorum spoke anew
    /// counts, and not too soon after the last.
    fn see_jump(&mut self, to: Decimal, anew: bool, policy: &Policy, now: Timestamp) -> u32 {
        let jump = match self.jump {
            Some(jump) if policy.near(to, jump.to) => {
                if anew && now >= jump.counted_at.plus(policy.spacing) {
                    Jump { to, seen: jump.seen + 1, counted_at: now }
                } else {
                    jump
                }
            }
            // Somewhere else than before: the count begins again.
            _ => Jump { to, seen: u32::from(anew), counted_at: now },
        };
        self.jump = Some(jump);
        jump.seen
    }
}

/// The middle one, or halfway between the two in the middle. `sorted` is.
fn median(sorted: &[(Decimal, Timestamp)]) -> Option<Decimal> {
    let middle = sorted.len() / 2;
    let upper = sorted.get(middle)?.0;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    let lower = sorted.get(middle.checked_sub(1)?)?.0;
    Some((lower.checked_add(upper)? / Decimal::TWO).normalize())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const START: Timestamp = Timestamp::from_secs(1_760_000_000);

    fn policy() -> Policy {
        Policy { max_age: 15 * MINUTE, max_step: Decimal::new(5, 2), spacing: MINUTE / 2 }
    }

    fn book() -> Book {
        Book::new("USD".parse().expect("a code"))
    }

    fn said(rates: &[i64]) -> Vec<(usize, Decimal)> {
        rates.iter().map(|rate| Decimal::from(*rate)).enumerate().collect()
    }

    fn at(minutes: u32) -> Timestamp {
        START.plus(MINUTE * minutes)
    }

    fn sells(book: &Book, minutes: u32) -> Option<i64> {
        use rust_decimal::prelude::ToPrimitive;
        book.rate(&policy(), at(minutes)).ok().map(|rate| rate.per_btc.to_i64().expect("small"))
    }

    #[test]
    fn the_median_of_those_who_agree_is_sold_at() {
        for (answers, verdict, rate) in [
            (&[100, 101, 102][..], Verdict::Believed, Some(101)),
            (&[100, 102], Verdict::Believed, Some(101)),
            (&[100, 101, 1_000], Verdict::Believed, Some(101)),
            (&[100, 1_000], Verdict::Disagreement, None),
            (&[100, 101, 1_000, 1_010], Verdict::Disagreement, None),
            (&[1, 100, 10_000], Verdict::Disagreement, None),
            (&[100], Verdict::TooFew, None),
            (&[], Verdict::TooFew, None),
        ] {
            let mut book = book();
            assert_eq!(book.poll(&said(answers), &policy(), START), verdict, "{answers:?}");
            assert_eq!(sells(&book, 0), rate, "{answers:?}");
        }
    }

    #[test]
    fn a_rate_grows_stale_and_one_source_does_not_keep_it_alive() {
        let mut book = book();
        book.poll(&said(&[100, 101, 102]), &policy(), at(0));
        // From here on only the first one answers.
        for minute in 1..=15 {
            book.poll(&said(&[100]), &policy(), at(minute));
            assert_eq!(sells(&book, minute), Some(101), "minute {minute}");
        }
        assert_eq!(book.poll(&said(&[100]), &policy(), at(16)), Verdict::TooFew);
        assert_eq!(sells(&book, 16), None);
        book.poll(&said(&[100, 101]), &policy(), at(17));
        assert_eq!(sells(&book, 17), Some(100));
    }

    #[test]
    fn a_jump_is_sold_at_only_when_it_lasts() {
        let mut book = book();
        book.poll(&said(&[100, 100, 100]), &policy(), at(0));
        assert!(matches!(
            book.poll(&said(&[110, 111, 112]), &policy(), at(1)),
            Verdict::Jump { seen: 1, .. }
        ));
        assert_eq!(sells(&book, 1), Some(100), "the old rate is fresh still");
        // Asking again at once proves nothing.
        for _ in 0..5 {
            book.poll(&said(&[110, 111, 112]), &policy(), at(1));
        }
        assert!(matches!(
            book.poll(&said(&[111, 112, 113]), &policy(), at(2)),
            Verdict::Jump { seen: 2, .. }
        ));
        // Back again: it was nothing.
        assert_eq!(book.poll(&said(&[100, 101, 102]), &policy(), at(3)), Verdict::Believed);
        for (minute, seen) in [(4, 1), (5, 2)] {
            let verdict = book.poll(&said(&[1_000, 1_010, 100]), &policy(), at(minute));
            assert_eq!(verdict, Verdict::Jump { to: 1_000.into(), seen });
            assert_eq!(sells(&book, minute), Some(101));
        }
        // Elsewhere: the count begins again.
        assert!(matches!(
            book.poll(&said(&[200, 201, 202]), &policy(), at(6)),
            Verdict::Jump { seen: 1, .. }
        ));
        book.poll(&said(&[200, 201, 202]), &policy(), at(7));
        assert_eq!(book.poll(&said(&[200, 201, 202]), &policy(), at(8)), Verdict::Believed);
        assert_eq!(sells(&book, 8), Some(201));
    }

    #[test]
    fn a_jump_after_a_long_silence_is_confirmed_too_and_silence_confirms_nothing() {
        let mut book = book();
        book.poll(&said(&[100, 100]), &policy(), at(0));
        assert!(matches!(book.poll(&said(&[150, 150]), &policy(), at(60)), Verdict::Jump { seen: 1, .. }));
        // Their last word is still fresh, but nobody says it again.
        for minute in 61..70 {
            let verdict = book.poll(&said(&[150]), &policy(), at(minute));
            assert!(matches!(verdict, Verdict::Jump { seen: 1, .. }), "{verdict:?}");
            assert_eq!(sells(&book, minute), None);
        }
    }

    proptest! {
        /// One liar among three never moves what is sold at beyond what the honest two say, whatever it
        /// says and however often; and what is sold at never jumps without confirmation.
        #[test]
        fn one_liar_of_three_moves_nothing(
            lies in proptest::collection::vec((0_i64..1_000_000_000, any::<bool>()), 1..60),
            drift in proptest::collection::vec(-200_i64..=200, 60),
        ) {
            let mut book = book();
            let mut honest = 64_000_i64;
            for (minute, (lie, speaks)) in (0_u32..).zip(&lies) {
                honest += drift[usize::try_from(minute).unwrap()];
                let mut answers = said(&[honest, honest + 40]);
                if *speaks {
                    answers.push((2, Decimal::from(*lie)));
                }
                book.poll(&answers, &policy(), at(minute));
                if let Some(rate) = sells(&book, minute) {
                    // An older answer of the liar may count too, so the middle lies among the honest.
                    prop_assert!((honest - 5_000..=honest + 5_040).contains(&rate), "{rate} for {honest}");
                    prop_assert!(rate > 0);
                }
            }
        }
    }
}
