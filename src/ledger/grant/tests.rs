//! The arithmetic beside a naive reference, in which every unit is a coin that lies somewhere.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::ledger::RestoreReason;
use crate::types::{PaymentHash, TokenId};

const START: u64 = 1_800_000_000_000;

fn sale(kind: Kind, units: u64, price: u64) -> Sale {
    Sale {
        payment_hash: PaymentHash::from_bytes([1; 32]),
        token_id: TokenId::from_bytes([1; 32]),
        service: "rates".parse().unwrap(),
        route: "latest".parse().unwrap(),
        kind,
        units: if kind == Kind::Pass { 1 } else { units },
        lasts: (kind == Kind::Pass).then_some(Duration::from_millis(40)),
        sold: Msat::new(if kind == Kind::Granted { 0 } else { price }).unwrap(),
        covers: Msat::ZERO,
        quote: None,
        valid_until: Timestamp::from_millis(START + 200),
    }
}

fn draw(least: u64, most: u64) -> Draw {
    Draw { least, most, ..Draw::one("latest".parse().unwrap()) }
}

/// Where one unit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coin {
    Left,
    Held(usize),
    Spent,
    Expired,
    Revoked,
}

/// Says slowly what the rules say.
struct Naive {
    kind: Kind,
    coins: Vec<Coin>,
    /// Open holds: number, and when each was made.
    holds: BTreeMap<usize, u64>,
    made: usize,
    window_ends: Option<u64>,
    /// Units and milliseconds of a budget, and its period.
    budget: Option<(usize, u64, u64)>,
    barred: bool,
    gave_back: usize,
    gave_back_loaded: usize,
    gave_back_after_crash: usize,
    calls: u64,
}

/// Whose coin the one of a pass is while it is open.
const EVERYONE: usize = usize::MAX;

impl Naive {
    fn count(&self, coin: impl Fn(&Coin) -> bool) -> u64 {
        u64::try_from(self.coins.iter().filter(|at| coin(at)).count()).unwrap()
    }

    fn held(&self) -> u64 {
        self.count(|coin| matches!(coin, Coin::Held(_)))
    }

    fn left(&self) -> u64 {
        self.count(|coin| *coin == Coin::Left)
    }

    fn turn(&mut self, from: Coin, to: Coin, most: u64) {
        let most = usize::try_from(most).unwrap();
        self.coins.iter_mut().filter(|coin| **coin == from).take(most).for_each(|coin| *coin = to);
    }

    fn hold(&mut self, least: u64, most: u64, now: u64) -> Result<usize, ReserveRefused> {
        if self.barred {
            return Err(ReserveRefused::Revoked);
        }
        let over = now > START + 200;
        if let Some((units, per, period)) = self.budget
            && now / per > period
            && !over
        {
            self.budget = Some((units, per, now / per));
            self.turn(Coin::Left, Coin::Expired, u64::MAX);
            self.coins.extend(std::iter::repeat_n(Coin::Left, units));
        }
        let number = self.made;
        if let Some(ends) = self.window_ends {
            if now > ends {
                return Err(ReserveRefused::Expired);
            }
        } else {
            let left = self.left();
            if left > 0 && over {
                self.turn(Coin::Left, Coin::Expired, u64::MAX);
                return Err(ReserveRefused::Expired);
            }
            // No run of steps is so long that it could wear out a pass.
            if left > 0
                && self.kind != Kind::Pass
                && (self.gave_back_loaded >= self.coins.len() * 16
                    || self.gave_back >= self.coins.len() * 1_000)
            {
                return Err(ReserveRefused::RestoresExhausted);
            }
            let (least, most) = match self.kind {
                Kind::Pass => (1, 1),
                Kind::Balance | Kind::Granted if most == 0 => (least, least),
                _ => (least.max(1), most.max(least).max(1)),
            };
            if left < least || left == 0 {
                return Err(match self.kind {
                    _ if self.held() > 0 && left + self.held() >= least => ReserveRefused::InFlight,
                    _ if left + self.held() > 0 => ReserveRefused::TooSmall { left, needed: least },
                    Kind::Granted if !over => ReserveRefused::TooSmall { left, needed: least },
                    _ if self.coins.contains(&Coin::Expired) => ReserveRefused::Expired,
                    _ => ReserveRefused::Spent,
                });
            }
            let owner = if self.kind == Kind::Pass { EVERYONE } else { number };
            self.turn(Coin::Left, Coin::Held(owner), most);
            if self.kind == Kind::Pass {
                self.window_ends = Some(now + 40);
            }
        }
        self.made += 1;
        self.holds.insert(number, now);
        Ok(number)
    }

    /// Ends a hold: so much of it is charged, or none and all of it goes back.
    fn end(&mut self, number: usize, cost: Option<u64>) -> usize {
        let at = self.holds.remove(&number).unwrap();
        let mine = Coin::Held(if self.kind == Kind::Pass { EVERYONE } else { number });
        if let Some(cost) = cost {
            self.calls += 1;
            self.turn(mine, Coin::Spent, if self.kind == Kind::Pass { 1 } else { cost });
        }
        let rest = match self.kind {
            Kind::Pass if !self.holds.is_empty() => 0,
            _ => self.count(|coin| *coin == mine),
        };
        let stale = self.budget.is_some_and(|(_, per, period)| at / per != period);
        let to = match () {
            () if self.barred => Coin::Revoked,
            () if stale => Coin::Expired,
            () => Coin::Left,
        };
        self.turn(mine, to, rest);
        if self.kind == Kind::Pass && rest > 0 {
            self.window_ends = None;
        }
        usize::try_from(rest).unwrap()
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Hold(u64, u64),
    End(usize, Ending),
    Crash,
    Revoke,
    Expire,
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let ending = prop_oneof![
        3 => Just(Ending::Delivered),
        2 => (0u64..12).prop_map(Ending::Charged),
        1 => Just(Ending::Cancelled),
        2 => Just(Ending::Restored(RestoreReason::UpstreamError)),
        1 => Just(Ending::Restored(RestoreReason::NotDispatched)),
    ];
    let step = prop_oneof![
        20 => (0u64..8, 0u64..12).prop_map(|(least, most)| Step::Hold(least, most)),
        16 => (any::<usize>(), ending).prop_map(|(at, ending)| Step::End(at, ending)),
        2 => Just(Step::Crash),
        1 => Just(Step::Revoke),
        1 => Just(Step::Expire),
        4 => (0u64..60).prop_map(Step::Pass),
    ];
    proptest::collection::vec(step, 0..120)
}

/// A grant and its reference, with what is open of both.
struct Pair {
    grant: Grant,
    naive: Naive,
    now: u64,
    open: Vec<(usize, Taken)>,
    earned: u64,
}

impl Pair {
    fn of(kind: Kind, units: u64, price: u64, per: Option<u64>) -> Pair {
        let mut grant = Grant::of(&sale(kind, units, price));
        let budget = per.filter(|_| kind == Kind::Granted);
        let start = Timestamp::from_millis(START);
        grant.budget = budget.map(|per| Budget::starting(units, Duration::from_millis(per), start));
        let count = usize::try_from(grant.sold).unwrap();
        let naive = Naive {
            kind,
            coins: vec![Coin::Left; count],
            holds: BTreeMap::new(),
            made: 0,
            window_ends: None,
            budget: budget.map(|per| (count, per, START / per)),
            barred: false,
            gave_back: 0,
            gave_back_loaded: 0,
            gave_back_after_crash: 0,
            calls: 0,
        };
        Pair { grant, naive, now: START, open: Vec::new(), earned: 0 }
    }

    fn spent(&mut self, outcome: Outcome) {
        if let Outcome::Spent { earned, .. } = outcome {
            self.earned += earned.msat();
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Hold(least, most) => {
                let at = Timestamp::from_millis(self.now);
                let got = self.grant.hold(&draw(least, most), at);
                match (got, self.naive.hold(least, most, self.now)) {
                    (Ok(units), Ok(number)) => {
                        let mine = self.naive.count(|coin| *coin == Coin::Held(number));
                        assert_eq!(units, mine);
                        self.open.push((number, Taken { units, at }));
                    }
                    (Err(got), Err(expected)) => assert_eq!(got, expected),
                    (got, expected) => panic!("{got:?}, expected {expected:?}"),
                }
            }
            Step::End(at, ending) => {
                if self.open.is_empty() {
                    let taken = Taken { units: 0, at: Timestamp::from_millis(self.now) };
                    assert_eq!(self.grant.end(&taken, ending), Err(NoSuchUnit));
                    return;
                }
                let (number, taken) = self.open.swap_remove(at % self.open.len());
                let alone = self.grant;
                let outcome = self.grant.end(&taken, ending).unwrap();
                self.spent(outcome);
                match ending {
                    Ending::Restored(reason) => {
                        let units = self.naive.end(number, None);
                        let back = if self.naive.kind == Kind::Pass { 1 } else { units };
                        self.naive.gave_back += back;
                        if reason.loads_upstream() {
                            self.naive.gave_back_loaded += back;
                            assert_eq!(alone.restorable(taken.units), !self.grant.worn_out(), "{alone:?}");
                        }
                    }
                    Ending::Charged(cost) => drop(self.naive.end(number, Some(cost))),
                    Ending::Delivered | Ending::Cancelled => {
                        self.naive.end(number, Some(u64::MAX));
                    }
                }
            }
            Step::Crash => {
                for (number, taken) in std::mem::take(&mut self.open) {
                    let outcome = self.grant.resolve_crash(&taken).unwrap();
                    self.spent(outcome);
                    let alone = self.naive.holds.len() == 1;
                    let goes_back = match self.naive.kind {
                        Kind::Pass if alone => self.naive.held(),
                        Kind::Pass => 0,
                        _ => taken.units,
                    };
                    let goes_back = usize::try_from(goes_back).unwrap();
                    if self.naive.gave_back_after_crash + goes_back > self.naive.coins.len() {
                        self.naive.end(number, Some(u64::MAX));
                    } else {
                        self.naive.gave_back_after_crash += self.naive.end(number, None);
                    }
                }
            }
            Step::Revoke => {
                self.grant.revoke();
                self.naive.barred = true;
                self.naive.turn(Coin::Left, Coin::Revoked, u64::MAX);
            }
            Step::Expire => {
                self.grant.expire();
                self.naive.turn(Coin::Left, Coin::Expired, u64::MAX);
            }
            Step::Pass(ms) => self.now += ms,
        }
    }

    fn agree(&self) {
        let (grant, naive) = (&self.grant, &self.naive);
        assert!(grant.balanced(), "{grant:?}");
        let counted = [grant.sold, grant.left, grant.held, grant.spent, grant.expired, grant.revoked];
        let coins = [
            u64::try_from(naive.coins.len()).unwrap(),
            naive.left(),
            naive.held(),
            naive.count(|coin| *coin == Coin::Spent),
            naive.count(|coin| *coin == Coin::Expired),
            naive.count(|coin| *coin == Coin::Revoked),
        ];
        assert_eq!(counted, coins, "{grant:?}");
        assert_eq!((grant.calls, grant.open), (naive.calls, u64::try_from(naive.holds.len()).unwrap()));
        assert_eq!(grant.opens_until.map(Timestamp::millis), naive.window_ends);
        assert_eq!(grant.earned().msat(), self.earned);
        let parts = [grant.earned(), grant.lapsed(), grant.owed()].map(Msat::msat);
        assert_eq!(parts.iter().sum::<u64>(), grant.price.msat(), "{grant:?}");
        assert!(grant.left + grant.held > 0 || grant.owed() == Msat::ZERO, "{grant:?}");
        if grant.spent == grant.sold {
            assert_eq!(grant.earned(), grant.price);
        }
        let now = Timestamp::from_millis(self.now);
        assert!(!grant.is_over(now) || grant.hold_fails(now), "{grant:?}");
    }
}

impl Grant {
    /// Whether no request at all can be held.
    fn hold_fails(&self, now: Timestamp) -> bool {
        let mut copy = *self;
        copy.hold(&draw(1, 1), now).is_err()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_unit_is_somewhere(
        kind in proptest::sample::select(&Kind::ALL[..]),
        units in 1u64..40,
        price in 0u64..1_000_000,
        per in proptest::option::of(1u64..80),
        steps in steps(),
    ) {
        let units = if kind == Kind::Request { 1 } else { units };
        let mut pair = Pair::of(kind, units, price, per);
        for step in steps {
            pair.step(step);
            pair.agree();
        }
    }

    #[test]
    fn the_largest_numbers_do_not_wrap(units in any::<u64>(), price in 0..=Msat::MAX.msat(), cost in any::<u64>()) {
        let units = units.clamp(1, MAX_UNITS);
        let mut grant = Grant::of(&sale(Kind::Balance, units, price));
        let now = Timestamp::from_millis(START);
        let held = grant.hold(&draw(1, u64::MAX), now).unwrap();
        prop_assert_eq!(held, units);
        grant.end(&Taken { units: held, at: now }, Ending::Charged(cost)).unwrap();
        prop_assert!(grant.balanced());
        prop_assert_eq!(grant.spent, cost.min(units));
        let parts = [grant.earned(), grant.lapsed(), grant.owed()].map(Msat::msat);
        prop_assert_eq!(parts.iter().sum::<u64>(), price);
    }
}

fn single() -> (Grant, Timestamp, Taken) {
    let now = Timestamp::from_millis(START);
    (Grant::of(&sale(Kind::Request, 1, 1_000)), now, Taken { units: 1, at: now })
}

#[test]
fn a_single_unit_is_held_once() {
    let (mut grant, now, taken) = single();
    assert_eq!(grant.hold(&draw(1, 1), now), Ok(1));
    assert_eq!(grant.hold(&draw(1, 1), now), Err(ReserveRefused::InFlight));
    let earned = Msat::new(1_000).unwrap();
    assert_eq!(grant.end(&taken, Ending::Delivered), Ok(Outcome::Spent { units: 1, earned }));
    assert_eq!(grant.hold(&draw(1, 1), now), Err(ReserveRefused::Spent));
    assert_eq!(grant.end(&taken, Ending::Delivered), Err(NoSuchUnit));
}

#[test]
fn a_draw_of_nothing_takes_a_whole_request() {
    let (mut grant, now, _) = single();
    assert_eq!(grant.hold(&draw(0, 0), now), Ok(1), "whoever forgets the units gives nothing away");
}

#[test]
fn provoked_failures_end_the_token_without_charging_it() {
    let (mut grant, now, taken) = single();
    for n in 1..=MAX_RESTORES {
        grant.hold(&draw(1, 1), now).unwrap();
        assert_eq!(grant.restorable(1), n < MAX_RESTORES, "try {n}");
        // What never reached the upstream is no load.
        grant.end(&taken, Ending::Restored(RestoreReason::UpstreamUnreachable)).unwrap();
        grant.hold(&draw(1, 1), now).unwrap();
        let back = grant.end(&taken, Ending::Restored(RestoreReason::UpstreamError));
        assert_eq!(back, Ok(Outcome::Restored));
    }
    assert_eq!(grant.hold(&draw(1, 1), now), Err(ReserveRefused::RestoresExhausted));
    assert_eq!((grant.left, grant.spent, grant.earned()), (1, 0, Msat::ZERO));
}

#[test]
fn hanging_up_before_dispatch_ends_too() {
    let (mut grant, now, taken) = single();
    for _ in 0..MAX_RESTORES_IN_ALL {
        grant.hold(&draw(1, 1), now).unwrap();
        grant.end(&taken, Ending::Restored(RestoreReason::NotDispatched)).unwrap();
    }
    assert_eq!(grant.hold(&draw(1, 1), now), Err(ReserveRefused::RestoresExhausted));
}

#[test]
fn a_crash_is_forgiven_once() {
    let (mut grant, now, taken) = single();
    grant.hold(&draw(1, 1), now).unwrap();
    assert_eq!(grant.resolve_crash(&taken), Ok(Outcome::Restored));
    grant.hold(&draw(1, 1), now).unwrap();
    let earned = Msat::new(1_000).unwrap();
    assert_eq!(grant.resolve_crash(&taken), Ok(Outcome::Spent { units: 1, earned }));
}

#[test]
fn a_pass_is_earned_by_its_first_answer_and_open_until_its_time() {
    let now = Timestamp::from_millis(START);
    let mut grant = Grant::of(&sale(Kind::Pass, 1, 500));
    let none = Taken { units: 0, at: now };
    grant.hold(&draw(0, 0), now).unwrap();
    grant.hold(&draw(0, 0), now).unwrap();
    // The first fails while the second is under way: the pass stays open.
    grant.end(&none, Ending::Restored(RestoreReason::UpstreamError)).unwrap();
    assert_eq!((grant.left, grant.held, grant.opens_until), (0, 1, Some(Timestamp::from_millis(START + 40))));
    // The second fails too: it was never used.
    grant.end(&none, Ending::Restored(RestoreReason::UpstreamError)).unwrap();
    assert_eq!((grant.left, grant.opens_until), (1, None));
    let later = Timestamp::from_millis(START + 200);
    grant.hold(&draw(0, 0), later).unwrap();
    let earned = Msat::new(500).unwrap();
    assert_eq!(grant.end(&none, Ending::Delivered), Ok(Outcome::Spent { units: 1, earned }));
    let last = Timestamp::from_millis(START + 240);
    grant.hold(&draw(0, 0), last).expect("its last instant is in time, though the token's is over");
    let earned = Msat::ZERO;
    assert_eq!(grant.end(&none, Ending::Delivered), Ok(Outcome::Spent { units: 0, earned }));
    assert_eq!(grant.hold(&draw(0, 0), last.plus(Duration::from_millis(1))), Err(ReserveRefused::Expired));
    assert!(!grant.is_over(last) && grant.is_over(last.plus(Duration::from_millis(1))));
}

#[test]
fn a_flaky_upstream_does_not_end_a_pass_and_a_provoked_one_does() {
    let now = Timestamp::from_millis(START);
    let mut grant = Grant::of(&sale(Kind::Pass, 1, 500));
    let none = Taken { units: 0, at: now };
    grant.hold(&draw(0, 0), now).unwrap();
    grant.end(&none, Ending::Delivered).unwrap();
    let mut failures = 0;
    while grant.hold(&draw(0, 0), now).is_ok() {
        grant.end(&none, Ending::Restored(RestoreReason::UpstreamError)).unwrap();
        failures += 1;
    }
    assert_eq!(grant.hold(&draw(0, 0), now), Err(ReserveRefused::RestoresExhausted));
    assert_eq!(failures, PASS_RESTORES_AN_HOUR / MAX_RESTORES * MAX_RESTORES);
    assert!(grant.spent == 1 && grant.balanced());
}

#[test]
fn a_budget_is_filled_up_and_never_beyond() {
    let now = Timestamp::from_millis(START);
    let mut grant = Grant::of(&sale(Kind::Granted, 100, 0));
    grant.budget = Some(Budget::starting(100, Duration::from_millis(50), now));
    let taken = Taken { units: grant.hold(&draw(60, 60), now).unwrap(), at: now };
    let refused = grant.hold(&draw(60, 60), now);
    assert_eq!(refused, Err(ReserveRefused::InFlight));
    assert_eq!(grant.hold(&draw(101, 101), now), Err(ReserveRefused::TooSmall { left: 40, needed: 101 }));
    let next = Timestamp::from_millis(START + 50);
    assert_eq!(grant.hold(&draw(100, 100), next), Ok(100));
    // What the old period lent comes back too late to be spent in the new one.
    grant.end(&taken, Ending::Charged(10)).unwrap();
    assert_eq!((grant.sold, grant.left, grant.held, grant.spent, grant.expired), (200, 0, 100, 10, 90));
    assert!(grant.balanced() && grant.earned() == Msat::ZERO);
}
