//! Volume tiers: the more a token was used for, the less (or more) the next request costs.
//!
//! Invariants: tiers ascend, the last is open, none is free, all amounts in a currency are in the
//! same one. What several requests cost by bytes adds up to what one of their whole size costs, as
//! long as each costs a millisatoshi at least.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use super::quote::Unpriced;
use super::{Amount, Currency, Fiat, Rate, Size, Used};
use crate::types::Msat;

/// Most tiers of a rule.
const MOST_TIERS: usize = 32;

/// What a tier counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Volume {
    /// Requests; a tier's price is for each.
    Requests,
    /// Bytes handed down; a tier's price is for each `per`, in proportion.
    Bytes {
        /// What the price is for; above zero.
        per: Size,
        /// The most that one request costs.
        ceiling: Msat,
    },
}

/// One tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tier {
    /// The last request, or byte, that it covers, counted from the token's first; `None` has no end.
    pub up_to: Option<u64>,
    /// What it costs in it.
    pub price: Amount,
}

/// Tiers over one volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tiers {
    volume: Volume,
    tiers: Arc<[Tier]>,
}

/// Why tiers make no rule.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TiersFault {
    /// None, or more than 32.
    #[error("tiers are 1 to 32")]
    Count,
    /// An `up_to` that is not above the one before, or zero.
    #[error("tier {0} ends where the one before it ends, or earlier: each `up_to` is above the last")]
    Order(usize),
    /// The last has an end, or one before it has none.
    #[error(
        "every tier but the last has an `up_to`, and the last has none: something must be the price beyond"
    )]
    Open,
    /// A price of nothing.
    #[error("tier {0} costs nothing: use `free = {{ requests = … }}` for an allowance")]
    Zero(usize),
    /// Amounts in two currencies.
    #[error("the tiers' prices are in {0} and {1}: use one currency")]
    Currencies(Currency, Currency),
    /// `per` is zero.
    #[error("`per` is zero")]
    Per,
    /// The ceiling is zero.
    #[error("the ceiling is zero")]
    Ceiling,
}

impl Tiers {
    /// Tiers over `volume`.
    ///
    /// # Errors
    /// When they make no rule.
    pub fn new(volume: Volume, tiers: Vec<Tier>) -> Result<Tiers, TiersFault> {
        if let Volume::Bytes { per, ceiling } = volume {
            if per.bytes() == 0 {
                return Err(TiersFault::Per);
            }
            if ceiling == Msat::ZERO {
                return Err(TiersFault::Ceiling);
            }
        }
        let Some((last, before)) = tiers.split_last().filter(|_| tiers.len() <= MOST_TIERS) else {
            return Err(TiersFault::Count);
        };
        if last.up_to.is_some() || before.iter().any(|tier| tier.up_to.is_none()) {
            return Err(TiersFault::Open);
        }
        let mut below = 0;
        for (index, up_to) in before.iter().filter_map(|tier| tier.up_to).enumerate() {
            if up_to <= below {
                return Err(TiersFault::Order(index + 1));
            }
            below = up_to;
        }
        if let Some(index) = tiers.iter().position(|tier| tier.price.is_zero()) {
            return Err(TiersFault::Zero(index + 1));
        }
        let mut currencies = tiers.iter().filter_map(|tier| currency(tier.price));
        if let Some(first) = currencies.next()
            && let Some(other) = currencies.find(|other| *other != first)
        {
            return Err(TiersFault::Currencies(first, other));
        }
        Ok(Tiers { volume, tiers: tiers.into() })
    }

    /// What they count.
    pub const fn volume(&self) -> Volume {
        self.volume
    }

    /// The tiers, in order.
    pub fn tiers(&self) -> &[Tier] {
        &self.tiers
    }

    /// The currency of their amounts, if any is in one.
    pub fn currency(&self) -> Option<Currency> {
        self.tiers.iter().find_map(|tier| currency(tier.price))
    }

    /// The cheapest and the dearest price of a tier, at `rate`.
    pub(super) fn range(&self, rate: Option<&Rate>) -> Result<(Msat, (Msat, Option<Fiat>)), Unpriced> {
        let mut prices = Vec::with_capacity(self.tiers.len());
        for tier in self.tiers.iter() {
            prices.push((msat(tier.price, rate)?, fiat(tier.price)));
        }
        let least = prices.iter().map(|(price, _)| *price).min();
        let dearest = prices.into_iter().max_by_key(|(price, _)| *price);
        least.zip(dearest).ok_or(Unpriced::Overflow)
    }

    /// What the next request costs after `used`, of whose answer `bytes` are handed down; by
    /// requests, `bytes` count for nothing. May be more than the ceiling.
    pub(super) fn cost(&self, used: Used, bytes: u64, rate: Option<&Rate>) -> Result<Msat, Unpriced> {
        match self.volume {
            Volume::Requests => {
                let number = used.requests.saturating_add(1);
                msat(self.tier_of(number).price, rate)
            }
            Volume::Bytes { per, .. } => {
                let until = used.bytes.saturating_add(bytes);
                let cost = self.total(until, rate)?.div_ceil(u128::from(per.bytes()))
                    - self.total(used.bytes, rate)?.div_ceil(u128::from(per.bytes()));
                // Rounding was paid for by an earlier request, or there was no byte: still not free.
                price(cost.max(1))
            }
        }
    }

    /// What the first `requests` of a token cost together.
    pub(super) fn sum(&self, requests: u64, rate: Option<&Rate>) -> Result<Msat, Unpriced> {
        price(self.total(requests, rate)?)
    }

    /// The tier of the `number`th request or byte, from 1.
    pub fn tier_of(&self, number: u64) -> &Tier {
        let covers = |tier: &&Tier| tier.up_to.is_none_or(|up_to| number <= up_to);
        self.tiers.iter().find(covers).expect("the last tier has no end")
    }

    /// In words, such as `2 sat for each of the first 100 requests, then 1 sat`.
    pub(super) fn describe(&self) -> String {
        let mut words = String::new();
        for (index, tier) in self.tiers.iter().enumerate() {
            let start = if index == 0 { "" } else { ", then " };
            let per = match (index, self.volume) {
                (0, Volume::Requests) => " for each request".to_owned(),
                (0, Volume::Bytes { per, .. }) => format!(" for each {per} of answer"),
                _ => String::new(),
            };
            let end = match (tier.up_to, self.volume) {
                (Some(up_to), Volume::Requests) => format!(" up to the token's request {up_to}"),
                (Some(up_to), Volume::Bytes { .. }) => {
                    format!(" up to the token's first {}", Size::new(up_to))
                }
                (None, _) => String::new(),
            };
            words.push_str(&format!("{start}{}{per}{end}", tier.price));
        }
        if let Volume::Bytes { ceiling, .. } = self.volume {
            words.push_str(&format!("; at most {ceiling} for one request"));
        }
        words
    }

    /// The sum over the first `volume` of the price of each: below 2^64 prices of below 2^61.
    fn total(&self, volume: u64, rate: Option<&Rate>) -> Result<u128, Unpriced> {
        let (mut sum, mut below) = (0u128, 0u64);
        for tier in self.tiers.iter() {
            let until = tier.up_to.map_or(volume, |up_to| up_to.min(volume));
            if until <= below {
                break;
            }
            sum += u128::from(until - below) * u128::from(msat(tier.price, rate)?.msat());
            below = until;
        }
        Ok(sum)
    }
}

fn price(msat: u128) -> Result<Msat, Unpriced> {
    u64::try_from(msat).ok().and_then(|msat| Msat::new(msat).ok()).ok_or(Unpriced::Overflow)
}

fn fiat(amount: Amount) -> Option<Fiat> {
    match amount {
        Amount::Fiat(fiat) => Some(fiat),
        Amount::Msat(_) => None,
    }
}

fn currency(amount: Amount) -> Option<Currency> {
    fiat(amount).map(|fiat| fiat.currency)
}

/// What `amount` is at `rate`; at no rate, an amount in a currency has no price.
fn msat(amount: Amount, rate: Option<&Rate>) -> Result<Msat, Unpriced> {
    match amount {
        Amount::Msat(msat) => Ok(msat),
        Amount::Fiat(fiat) => rate.and_then(|rate| rate.worth(fiat)).ok_or(Unpriced::Overflow),
    }
}

impl fmt::Display for Tiers {
    /// As the services file has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{ tiers = [")?;
        for (index, tier) in self.tiers.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            match (tier.up_to, self.volume) {
                (None, _) => write!(f, "{comma}{{ price = \"{}\" }}", tier.price)?,
                (Some(up_to), Volume::Requests) => {
                    write!(f, "{comma}{{ up_to = {up_to}, price = \"{}\" }}", tier.price)?;
                }
                (Some(up_to), Volume::Bytes { .. }) => {
                    let up_to = Size::new(up_to);
                    write!(f, "{comma}{{ up_to = \"{up_to}\", price = \"{}\" }}", tier.price)?;
                }
            }
        }
        match self.volume {
            Volume::Requests => f.write_str("] }"),
            Volume::Bytes { per, ceiling } => write!(f, "], per = \"{per}\", ceiling = \"{ceiling}\" }}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::types::Timestamp;

    fn tiers(volume: Volume, tiers: &[(Option<u64>, &str)]) -> Result<Tiers, TiersFault> {
        let tier =
            |(up_to, price): &(Option<u64>, &str)| Tier { up_to: *up_to, price: price.parse().unwrap() };
        Tiers::new(volume, tiers.iter().map(tier).collect())
    }

    fn bytes(per: u64) -> Volume {
        Volume::Bytes { per: Size::new(per), ceiling: Msat::MAX }
    }

    fn used(requests: u64, bytes: u64) -> Used {
        Used { requests, bytes }
    }

    #[test]
    fn each_request_has_its_tiers_price() {
        let tiers =
            tiers(Volume::Requests, &[(Some(100), "2 sat"), (Some(101), "1500 msat"), (None, "1 sat")]);
        let tiers = tiers.unwrap();
        for (before, price) in [(0, 2_000), (99, 2_000), (100, 1_500), (101, 1_000), (u64::MAX, 1_000)] {
            assert_eq!(tiers.cost(used(before, 0), 77, None).map(Msat::msat), Ok(price), "{before}");
        }
        assert_eq!(tiers.sum(102, None).map(Msat::msat), Ok(202_500));
        assert_eq!(tiers.sum(u64::MAX, None), Err(Unpriced::Overflow));
    }

    #[test]
    fn bytes_are_paid_in_proportion() {
        let tiers = tiers(bytes(1_000_000), &[(Some(10_000_000), "5 sat"), (None, "1 sat")]).unwrap();
        for (before, size, price) in [
            (0, 0, 1),
            (0, 1, 1),
            (0, 1_000_000, 5_000),
            (0, 1_000_001, 5_001),
            (0, 11_000_000, 51_000),
            (9_000_000, 2_000_000, 6_000),
            (10_000_000, 500_000, 500),
            (u64::MAX, 1_000_000, 1),
        ] {
            assert_eq!(tiers.cost(used(0, before), size, None).map(Msat::msat), Ok(price), "{before} {size}");
        }
        assert!(tiers.cost(used(0, 0), u64::MAX, None).is_ok());
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        let requests = |list: &[(Option<u64>, &str)]| tiers(Volume::Requests, list).unwrap_err();
        assert_eq!(requests(&[]), TiersFault::Count);
        assert_eq!(requests(&[(None, "1 sat"); 33]), TiersFault::Count);
        assert_eq!(requests(&[(Some(1), "1 sat")]), TiersFault::Open);
        assert_eq!(requests(&[(None, "2 sat"), (None, "1 sat")]), TiersFault::Open);
        assert_eq!(requests(&[(Some(0), "2 sat"), (None, "1 sat")]), TiersFault::Order(1));
        assert_eq!(
            requests(&[(Some(5), "2 sat"), (Some(5), "2 sat"), (None, "1 sat")]),
            TiersFault::Order(2)
        );
        assert_eq!(requests(&[(Some(5), "0 sat"), (None, "1 sat")]), TiersFault::Zero(1));
        assert_eq!(requests(&[(Some(5), "1 sat"), (None, "0 USD")]), TiersFault::Zero(2));
        let two = requests(&[(Some(5), "1 USD"), (Some(6), "1 sat"), (None, "1 EUR")]);
        assert_eq!(two, TiersFault::Currencies("USD".parse().unwrap(), "EUR".parse().unwrap()));
        assert_eq!(tiers(bytes(0), &[(None, "1 sat")]), Err(TiersFault::Per));
        let nothing = Volume::Bytes { per: Size::new(1), ceiling: Msat::ZERO };
        assert_eq!(tiers(nothing, &[(None, "1 sat")]), Err(TiersFault::Ceiling));
    }

    #[test]
    fn tiers_in_words() {
        let by =
            |volume| tiers(volume, &[(Some(1_000_000), "0.01 USD"), (None, "1 sat")]).unwrap().describe();
        assert_eq!(
            by(Volume::Requests),
            "0.01 USD for each request up to the token's request 1000000, then 1 sat"
        );
        let ceiling = Msat::from_sat(500).unwrap();
        assert_eq!(
            by(Volume::Bytes { per: Size::new(1_000), ceiling }),
            "0.01 USD for each 1 kB of answer up to the token's first 1 MB, then 1 sat; at most 500 sat for one request"
        );
    }

    /// Any tiers over `volume` whose sums fit.
    fn any_tiers(volume: impl Strategy<Value = Volume>) -> impl Strategy<Value = Tiers> {
        let steps = proptest::collection::vec((1u64..10_000, 1u64..1_000_000_000), 0..6);
        (volume, steps, 1u64..1_000_000_000).prop_map(|(volume, steps, last)| {
            let mut below = 0;
            let mut tiers: Vec<Tier> = steps
                .into_iter()
                .map(|(more, price)| {
                    below += more;
                    Tier { up_to: Some(below), price: Msat::new(price).unwrap().into() }
                })
                .collect();
            tiers.push(Tier { up_to: None, price: Msat::new(last).unwrap().into() });
            Tiers::new(volume, tiers).unwrap()
        })
    }

    proptest! {
        #[test]
        fn a_pack_costs_what_its_requests_cost(tiers in any_tiers(Just(Volume::Requests)), requests in 0u64..300) {
            let each = |before| tiers.cost(used(before, 0), 0, None).unwrap().msat();
            let sum: u64 = (0..requests).map(each).sum();
            prop_assert_eq!(tiers.sum(requests, None).unwrap().msat(), sum);
            let (least, (most, _)) = tiers.range(None).unwrap();
            for before in 0..requests {
                prop_assert!((least.msat()..=most.msat()).contains(&each(before)));
            }
        }

        #[test]
        fn parts_cost_what_the_whole_costs(
            tiers in any_tiers((1u64..2_000).prop_map(bytes)),
            start in 0u64..50_000,
            parts in proptest::collection::vec(0u64..5_000, 1..12),
        ) {
            let whole = tiers.cost(used(0, start), parts.iter().sum(), None).unwrap().msat();
            let mut before = start;
            let (mut sum, mut lifted) = (0, 0);
            for part in parts {
                let cost = tiers.cost(used(0, before), part, None).unwrap().msat();
                // A part that adds nothing costs a millisatoshi all the same.
                lifted += u64::from(cost == 1);
                sum += cost;
                before += part;
            }
            prop_assert!(whole <= sum && sum <= whole + lifted, "{whole} {sum} {lifted}");
        }

        #[test]
        fn more_bytes_never_cost_less(
            tiers in any_tiers((1u64..2_000).prop_map(bytes)),
            before in 0u64..1 << 32,
            size in 0u64..1 << 32,
            more in 0u64..1 << 20,
        ) {
            let cost = |size| tiers.cost(used(0, before), size, None).unwrap();
            prop_assert!(cost(size) <= cost(size + more));
            prop_assert!(cost(size) > Msat::ZERO);
        }

        #[test]
        fn more_requests_never_cost_less_together(tiers in any_tiers(Just(Volume::Requests)), n in 0u64..1 << 30) {
            prop_assert!(tiers.sum(n, None).unwrap() < tiers.sum(n + 1, None).unwrap());
        }

        #[test]
        fn fiat_tiers_are_rounded_up(cents in 1u64..100_000, per_btc in 1u64..10_000_000) {
            let price = format!("{}.{:02} USD", cents / 100, cents % 100);
            let tiers = tiers(Volume::Requests, &[(None, price.as_str())]).unwrap();
            let rate = Rate {
                currency: "USD".parse().unwrap(),
                per_btc: per_btc.into(),
                at: Timestamp::default(),
            };
            let exact = u128::from(cents) * 1_000_000_000;
            let msat = u128::from(tiers.cost(used(0, 0), 0, Some(&rate)).unwrap().msat());
            prop_assert_eq!(msat, exact.div_ceil(u128::from(per_btc)));
            prop_assert!(tiers.cost(used(0, 0), 0, None).is_err());
        }
    }
}
