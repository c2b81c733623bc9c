//! The arithmetic beside a naive reference that keeps every request and adds them up anew.

use proptest::prelude::*;

use super::*;
use crate::ledger::ReserveRefused;
use crate::types::Msat;

/// One request that was admitted.
#[derive(Clone, Copy, Debug)]
struct Asked {
    /// The limits that it counts in.
    chain: usize,
    units: u64,
    /// `None` while it is on its way; then what was charged, and nothing when it went back.
    ended: Option<Option<u64>>,
}

/// Limits as a tree: each with the one that it stands below.
const TREE: [(Option<usize>, Bound); 7] = [
    (None, Bound::Uses(6)),
    (Some(0), Bound::Uses(2)),
    (
        Some(0),
        Bound::Spend(match Msat::new(90) {
            Ok(spend) => spend,
            Err(_) => Msat::MAX,
        }),
    ),
    (
        Some(2),
        Bound::Spend(match Msat::new(40) {
            Ok(spend) => spend,
            Err(_) => Msat::MAX,
        }),
    ),
    (
        None,
        Bound::Spend(match Msat::new(120) {
            Ok(spend) => spend,
            Err(_) => Msat::MAX,
        }),
    ),
    (Some(4), Bound::Uses(3)),
    (
        Some(4),
        Bound::Spend(match Msat::new(0) {
            Ok(spend) => spend,
            Err(_) => Msat::MAX,
        }),
    ),
];

/// The limits of the copy that ends with `last`, the first of the chain first.
fn chain(last: usize) -> Vec<usize> {
    let mut chain: Vec<usize> = std::iter::successors(Some(last), |at| TREE[*at].0).collect();
    chain.reverse();
    chain
}

/// What one request comes to in one limit: what it holds or is charged.
fn share(limit: usize, asked: &Asked, weight: Weight) -> (u64, u64) {
    let money = match (TREE[limit].1, weight) {
        (Bound::Uses(_), _) => None,
        (_, Weight::Money) => Some((asked.units, asked.ended.flatten())),
        (_, Weight::Unit(price)) => Some((price, asked.ended.flatten().map(|units| units * price))),
        (_, Weight::Pass(_)) => Some((0, None)),
    };
    match (asked.ended, money) {
        (None, None) => (1, 0),
        (None, Some((held, _))) => (held, 0),
        (Some(None), _) => (0, 0),
        (Some(Some(_)), None) => (0, 1),
        (Some(Some(_)), Some((_, charged))) => (0, charged.unwrap_or(0)),
    }
}

/// Held and used of one limit.
fn sums(limit: usize, all: &[Asked], weight: Weight) -> (u64, u64) {
    let under = all.iter().filter(|asked| chain(asked.chain).contains(&limit));
    let (mut held, mut used) = under
        .clone()
        .map(|asked| share(limit, asked, weight))
        .fold((0, 0), |(held, used), (more_held, more_used)| (held + more_held, used + more_used));
    if let (Bound::Spend(_), Weight::Pass(price)) = (TREE[limit].1, weight) {
        let paid = under.clone().any(|asked| matches!(asked.ended, Some(Some(_))));
        (held, used) = (0, if paid { price } else { 0 });
    }
    (held, used)
}

fn weights() -> impl Strategy<Value = Weight> {
    prop_oneof![Just(Weight::Money), (0u64..50).prop_map(Weight::Unit), (0u64..130).prop_map(Weight::Pass)]
}

proptest! {
    #[test]
    fn counters_are_the_sum_of_their_requests_and_never_exceed_their_limits(
        weight in weights(),
        steps in proptest::collection::vec((0usize..TREE.len(), 0u64..60, 0u64..60, 0u8..4), 1..60),
    ) {
        let mut counters = TREE.map(|(_, bound)| Counter::of(bound));
        let mut all: Vec<(Asked, Vec<u64>)> = Vec::new();
        for (at, least, more, what) in steps {
            let open: Vec<usize> = (0..all.len()).filter(|n| all[*n].0.ended.is_none()).collect();
            if what == 0 || open.is_empty() {
                let path = chain(at);
                let seen: Vec<Counter> = path.iter().map(|limit| counters[*limit]).collect();
                let asked: Vec<Asked> = all.iter().map(|(asked, _)| *asked).collect();
                // Anew, from the requests.
                let needed = |limit: usize| match (TREE[limit].1, weight) {
                    (Bound::Uses(_), _) => 1,
                    (_, Weight::Money) => least,
                    (_, Weight::Unit(price)) => price,
                    (_, Weight::Pass(price)) => price - sums(limit, &asked, weight).1,
                };
                let exhausted = path.iter().any(|limit| {
                    sums(*limit, &asked, weight).1 + needed(*limit) > TREE[*limit].1.most()
                });
                let busy = path.iter().any(|limit| {
                    let (held, used) = sums(*limit, &asked, weight);
                    held + used + needed(*limit) > TREE[*limit].1.most()
                });
                match Room::admit(&seen, weight, least) {
                    Ok(room) => {
                        prop_assert!(!exhausted && !busy);
                        let units = if weight == Weight::Money { (least + more).min(room) } else { 1 };
                        let taken = path.iter().map(|limit| counters[*limit].hold(weight, units)).collect();
                        all.push((Asked { chain: at, units, ended: None }, taken));
                    }
                    Err(ReserveRefused::InFlight) => prop_assert!(busy && !exhausted),
                    Err(_) => prop_assert!(exhausted),
                }
            } else {
                let number = open[at % open.len()];
                let (asked, taken) = &mut all[number];
                let charged = match what {
                    1 => None,
                    2 => Some(asked.units),
                    _ if weight == Weight::Money => Some(least.min(asked.units)),
                    _ => Some(asked.units),
                };
                let outcome = charged.map_or(Outcome::Restored, |units| Outcome::Spent { units, earned: Msat::ZERO });
                for (limit, taken) in chain(asked.chain).into_iter().zip(taken.iter()) {
                    counters[limit].end(weight, *taken, &outcome).unwrap();
                }
                asked.ended = Some(charged);
            }
            let asked: Vec<Asked> = all.iter().map(|(asked, _)| *asked).collect();
            for (limit, counter) in counters.iter().enumerate() {
                prop_assert_eq!((counter.held, counter.used), sums(limit, &asked, weight), "{}", limit);
                prop_assert!(counter.held + counter.used <= counter.bound.most());
                if let Some(above) = TREE[limit].0.filter(|above| TREE[*above].1.is_like(counter.bound)) {
                    prop_assert!(counter.used <= counters[above].used && counter.held <= counters[above].held);
                }
            }
        }
    }
}

#[test]
fn what_is_told_is_the_smaller_of_both() {
    let room = Room { uses: 3, spend: 100 };
    assert_eq!(room.left(Weight::Money, 500, 40, Some(40)), 100);
    assert_eq!(room.left(Weight::Money, 540, 40, Some(0)), 140);
    assert_eq!(room.left(Weight::Money, 90, 40, None), 90);
    assert_eq!(room.left(Weight::Unit(30), 9, 1, Some(1)), 3);
    assert_eq!(room.left(Weight::Unit(60), 9, 1, Some(1)), 1);
    assert_eq!(room.left(Weight::Unit(60), 9, 1, None), 2);
    assert_eq!(room.left(Weight::Unit(0), 9, 1, None), 4);
    assert_eq!(room.left(Weight::Pass(60), 86_400, 0, Some(0)), 86_400);
    let last = Room { uses: 0, ..room };
    assert_eq!((last.left(Weight::Money, 9, 1, Some(1)), last.left(Weight::Money, 9, 1, None)), (0, 9));
    assert_eq!(last.left(Weight::Pass(60), 86_400, 0, Some(0)), 0);
    assert_eq!(Room::of(&[]).left(Weight::Unit(60), 9, 1, Some(1)), 9);
}

#[test]
fn nothing_ends_that_was_not_held() {
    let mut counter = Counter::of(Bound::Uses(1));
    assert_eq!(counter.end(Weight::Money, 1, &Outcome::Restored), Err(NoSuchUnit));
    assert!(counter.is_idle());
    let taken = counter.hold(Weight::Money, 5);
    assert_eq!((taken, counter.rest(), counter.is_idle()), (1, 0, false));
}
