//! Random commands against the ledger and against the pure arithmetic, for every kind of token: they
//! agree after each step. The arithmetic has a naive reference of its own (`ledger`'s tests).

use std::collections::HashMap;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::Config;

use super::{World, books_are_right, hash, price};
use crate::clock::Clock;
use crate::ledger::{
    Budget, Counter, Draw, Ending, Grant, Outcome, ReserveRefused, RestoreReason, Room, Sale, Taken, Weight,
};
use crate::store::{Ledger, NewGrant, Reservation, ReserveError};
use crate::types::{Bound, CounterId, Kind, Limit, Msat, Timestamp};

#[derive(Clone, Debug)]
enum Command {
    Reserve(u8, u64, u64, usize),
    End(usize, Ending),
    Drop(usize, Option<u64>),
    Leave(u8, usize),
    Receive(u8, u64),
    Revoke(u8),
    /// Longer than anything that the sweep puts off.
    Wait(u64),
    Crash,
    Restart,
}

const SEEDS: u8 = 7;

fn commands() -> impl Strategy<Value = Vec<Command>> {
    let ending = prop_oneof![
        2 => Just(Ending::Delivered),
        1 => Just(Ending::Cancelled),
        2 => (0u64..20).prop_map(Ending::Charged),
        1 => Just(Ending::Restored(RestoreReason::UpstreamError)),
        1 => Just(Ending::Restored(RestoreReason::Internal)),
    ];
    let command = prop_oneof![
        12 => (0..SEEDS, 0u64..12, 0u64..20, 0..CHAINS)
            .prop_map(|(seed, least, most, chain)| Command::Reserve(seed, least, most, chain)),
        8 => (any::<usize>(), ending).prop_map(|(at, ending)| Command::End(at, ending)),
        2 => (any::<usize>(), proptest::option::of(0u64..9)).prop_map(|(at, cost)| Command::Drop(at, cost)),
        2 => (0..SEEDS, 0..CHAINS).prop_map(|(seed, chain)| Command::Leave(seed, chain)),
        3 => (0..4u8, 0u64..3).prop_map(|(seed, more)| Command::Receive(seed, more)),
        1 => (0..SEEDS).prop_map(Command::Revoke),
        2 => (601u64..1_500).prop_map(Command::Wait),
        1 => Just(Command::Crash),
        1 => Just(Command::Restart),
    ];
    proptest::collection::vec(command, 1..60)
}

/// What `seed` is: one of each kind, a budget, and a granted token that was never granted.
fn sale(world: &World, seed: u8) -> Sale {
    let whole = world.sale(seed, 1);
    let valid_until = world.clock.now().plus(Duration::from_secs(3_600));
    let of = |kind, units, sold| Sale { kind, units, sold, valid_until, ..whole.clone() };
    match seed {
        0 => of(Kind::Request, 1, price()),
        1 => of(Kind::Pack, 3, price()),
        2 => Sale { lasts: Some(Duration::from_secs(1_000)), ..of(Kind::Pass, 1, price()) },
        3 => of(Kind::Balance, 30, price()),
        _ => of(Kind::Granted, 20, Msat::ZERO),
    }
}

/// Limited copies of a token: none, and some that share limits.
const CHAINS: usize = 5;

fn chain(number: usize) -> Vec<Limit> {
    let limit = |id, bound| Limit { counter: CounterId::from_bytes([id; 32]), bound };
    let spend = |id, most| limit(id, Bound::Spend(Msat::new(most).unwrap()));
    let (two, half) = (limit(1, Bound::Uses(2)), spend(2, 12));
    match number {
        0 => vec![],
        1 => vec![two],
        2 => vec![half, limit(3, Bound::Uses(1))],
        3 => vec![half, spend(4, 7)],
        _ => vec![spend(5, 10_000), limit(6, Bound::Uses(3))],
    }
}

const BUDGET: u8 = 4;
const GRANTED: u8 = 5;

/// What the pure arithmetic says.
#[derive(Default)]
struct Model {
    grants: HashMap<u8, Grant>,
    /// By token, and in the order of [`chain`].
    counters: HashMap<(u8, CounterId), Counter>,
    revoked: Vec<u8>,
    paid: HashMap<u8, u64>,
    earned: u64,
    calls: u64,
}

impl Model {
    fn run_out(&mut self, now: Timestamp) {
        for grant in self.grants.values_mut() {
            if grant.ends_at() < now && grant.valid_until < now {
                grant.expire();
            }
        }
    }

    fn hold(&mut self, sale: &Sale, seed: u8, draw: &Draw, world: &World) -> Result<u64, ReserveRefused> {
        if seed > GRANTED {
            return Err(ReserveRefused::NotGranted);
        }
        let barred = self.revoked.contains(&seed);
        let mut grant =
            self.grants.get(&seed).copied().unwrap_or_else(|| Grant { barred, ..Grant::of(sale) });
        let weight = Weight::of(&grant);
        let own = |limit: &Limit| self.counters.get(&(seed, limit.counter)).copied();
        let mut chain: Vec<Counter> =
            draw.limits.iter().map(|limit| own(limit).unwrap_or(Counter::of(limit.bound))).collect();
        let mut most = draw.most;
        // Whether it was taken back is known once it was redeemed.
        let known = self.grants.contains_key(&seed) && barred;
        if !known && !chain.is_empty() {
            let room = Room::admit(&chain, weight, grant.least(draw))?;
            most = if weight == Weight::Money { most.min(room) } else { most };
        }
        let held = grant.hold(&Draw { most, ..draw.clone() }, world.clock.now());
        self.grants.insert(seed, grant);
        let units = held?;
        for (counter, limit) in chain.iter_mut().zip(&draw.limits) {
            counter.hold(weight, units);
            self.counters.insert((seed, limit.counter), *counter);
        }
        Ok(units)
    }

    fn finish(&mut self, seed: u8, taken: &Taken, limits: &[Limit], end: impl FnOnce(&mut Grant) -> Outcome) {
        let grant = self.grants.get_mut(&seed).expect("a hold has a grant");
        let weight = Weight::of(grant);
        let outcome = end(grant);
        if let Outcome::Spent { earned, .. } = outcome {
            self.earned += earned.msat();
            self.calls += 1;
        }
        for limit in limits {
            let counter = self.counters.get_mut(&(seed, limit.counter)).expect("a hold has its counters");
            let held = Counter::of(limit.bound).hold(weight, taken.units);
            counter.end(weight, held, &outcome).unwrap();
        }
    }

    fn back(&mut self, seed: u8, taken: &Taken, limits: &[Limit]) {
        let ending = Ending::Restored(RestoreReason::NotDispatched);
        self.finish(seed, taken, limits, |grant| grant.end(taken, ending).unwrap());
    }
}

/// One hold: its token, what it took, and the limits that it counts in.
type Open = (u8, Taken, Vec<Limit>, Reservation);

struct Run {
    world: World,
    sales: Vec<Sale>,
    ledger: Ledger,
    model: Model,
    /// In the order in which they were made.
    open: Vec<Open>,
}

impl Run {
    async fn new() -> Run {
        let world = World::new();
        let (ledger, _) = world.open();
        let sales: Vec<Sale> = (0..SEEDS).map(|seed| sale(&world, seed)).collect();
        let mut model = Model::default();
        for (seed, per) in [(BUDGET, Some(Duration::from_secs(1_500))), (GRANTED, None)] {
            let sale = &sales[usize::from(seed)];
            let new = NewGrant {
                payment_hash: sale.payment_hash,
                token_id: sale.token_id,
                service: sale.service.clone(),
                budget_msat: Msat::new(sale.units).unwrap(),
                per,
                label: "partner".into(),
                valid_until: sale.valid_until,
            };
            ledger.grant_token(new).await.unwrap();
            let budget = per.map(|per| Budget::starting(sale.units, per, world.clock.now()));
            model.grants.insert(seed, Grant { budget, ..Grant::of(sale) });
        }
        Run { world, sales, ledger, model, open: Vec::new() }
    }

    async fn step(&mut self, command: Command) {
        match command {
            Command::Reserve(seed, least, most, number) => {
                let (sale, at) = (self.sales[usize::from(seed)].clone(), self.world.clock.now());
                let draw = Draw { least, most, limits: chain(number), ..Draw::one(sale.route.clone()) };
                let got = self.ledger.reserve(sale.clone(), draw.clone()).await;
                match (got, self.model.hold(&sale, seed, &draw, &self.world)) {
                    (Ok(held), Ok(units)) => {
                        assert_eq!(held.held(), units);
                        self.open.push((seed, Taken { units, at }, draw.limits, held));
                    }
                    (Err(ReserveError::Refused(got)), Err(expected)) => assert_eq!(got, expected),
                    (got, expected) => panic!("{got:?}, expected {expected:?}"),
                }
            }
            Command::End(at, ending) => {
                if let Some((seed, taken, limits, mut held)) = self.pick(at) {
                    held.dispatched();
                    held.end(ending);
                    self.model.finish(seed, &taken, &limits, |grant| grant.end(&taken, ending).unwrap());
                }
            }
            Command::Drop(at, cost) => {
                if let Some((seed, taken, limits, mut held)) = self.pick(at) {
                    if let Some(cost) = cost {
                        held.dispatched();
                        held.cost_so_far(cost);
                        let ending = Ending::Charged(cost);
                        self.model.finish(seed, &taken, &limits, |grant| grant.end(&taken, ending).unwrap());
                    } else {
                        self.model.back(seed, &taken, &limits);
                    }
                    drop(held);
                }
            }
            // Asks and goes away after the commit.
            Command::Leave(seed, number) => {
                let (sale, at) = (self.sales[usize::from(seed)].clone(), self.world.clock.now());
                let draw = Draw { most: 5, limits: chain(number), ..Draw::one(sale.route.clone()) };
                let mut waiting = Box::pin(self.ledger.reserve(sale.clone(), draw.clone()));
                let _ = futures_util::poll!(&mut waiting);
                self.ledger.barrier().await;
                drop(waiting);
                if let Ok(units) = self.model.hold(&sale, seed, &draw, &self.world) {
                    self.model.back(seed, &Taken { units, at }, &draw.limits);
                }
            }
            Command::Receive(seed, more) => {
                let amount = price().msat() + more;
                self.ledger.receive(hash(seed), Msat::new(amount).unwrap(), None).await.unwrap();
                self.model.paid.entry(seed).or_insert(amount);
            }
            Command::Revoke(seed) => {
                self.ledger.revoke(hash(seed)).await.unwrap();
                self.model.revoked.push(seed);
                if let Some(grant) = self.model.grants.get_mut(&seed) {
                    grant.revoke();
                }
            }
            Command::Wait(secs) => {
                // What ended is written at the time at which it ended.
                self.ledger.barrier().await;
                self.world.clock.advance(Duration::from_secs(secs));
                self.ledger.barrier().await;
                self.ledger.barrier().await;
                self.model.run_out(self.world.clock.now());
            }
            Command::Crash => self.crash().await,
            Command::Restart => {
                for (seed, taken, limits, held) in self.open.drain(..) {
                    held.end(Ending::Cancelled);
                    let ending = Ending::Cancelled;
                    self.model.finish(seed, &taken, &limits, |grant| grant.end(&taken, ending).unwrap());
                }
                self.ledger.close().await.unwrap();
                let (ledger, opened) = self.world.open();
                assert_eq!((opened.clean, opened.crash_restored, opened.crash_charged), (true, 0, 0));
                self.ledger = ledger;
                self.model.run_out(self.world.clock.now());
            }
        }
    }

    async fn crash(&mut self) {
        self.ledger.barrier().await;
        self.ledger.crash().await;
        let mut counts = (0, 0);
        for (seed, taken, limits, held) in self.open.drain(..) {
            drop(held);
            let before = self.model.grants[&seed].crash_restored;
            self.model.finish(seed, &taken, &limits, |grant| grant.resolve_crash(&taken).unwrap());
            let kept = self.model.grants[&seed].crash_restored > before;
            if kept { counts.0 += 1 } else { counts.1 += 1 }
        }
        let (ledger, opened) = self.world.open();
        assert_eq!((opened.crash_restored, opened.crash_charged), counts);
        assert!(!opened.clean);
        self.ledger = ledger;
        // What came back too late runs out at once: a start looks at what is due.
        self.model.run_out(self.world.clock.now());
    }

    fn pick(&mut self, at: usize) -> Option<Open> {
        let count = self.open.len();
        (count > 0).then(|| self.open.remove(at % count))
    }

    async fn agree(&self) {
        self.ledger.barrier().await;
        let (mut owed, mut lapsed) = (0, 0);
        for (seed, expected) in &self.model.grants {
            let row = self.ledger.grant(hash(*seed)).await.unwrap().expect("the model has it");
            assert_eq!(row.grant, *expected);
            assert!(row.grant.balanced());
            assert_eq!(row.over_at.is_some(), expected.is_over(self.world.clock.now()), "{row:?}");
            owed += expected.owed().msat();
            lapsed += expected.lapsed().msat();
            let rows = self.ledger.counters(hash(*seed)).await.unwrap();
            for row in &rows {
                assert_eq!(self.model.counters.get(&(*seed, row.id)), Some(&row.counter), "{row:?}");
            }
            let own =
                self.model.counters.iter().filter(|((of, _), counter)| of == seed && !counter.is_idle());
            assert!(own.clone().all(|((_, id), _)| rows.iter().any(|row| row.id == *id)), "{rows:?}");
            assert!(rows.len() <= own.count() + 3, "what came to nothing leaves nothing: {rows:?}");
            let spends = self.ledger.spends(hash(*seed), 1_000, None).await.unwrap();
            assert_eq!(spends.iter().map(|spend| spend.units).sum::<u64>(), expected.spent);
            assert!(spends.iter().map(|spend| spend.number).eq((1..=expected.calls).rev()));
        }
        books_are_right(&self.ledger).await;
        let sums = self.ledger.totals().await.unwrap();
        assert!(sums.balanced(), "{sums:?}");
        let model = &self.model;
        let number = |units: u64| i64::try_from(units).unwrap();
        assert_eq!(sums.holds_open, number(u64::try_from(self.open.len()).unwrap()));
        assert_eq!((sums.earned_msat, sums.calls), (number(model.earned), number(model.calls)));
        assert_eq!((sums.owed_msat, sums.lapsed_msat), (number(owed), number(lapsed)));
        assert_eq!(sums.received_msat, number(model.paid.values().sum()));
        // Every payment is what was sold for it, and what was too much.
        let redeemed = |seed: &u8| model.grants.contains_key(seed);
        let over =
            model.paid.iter().filter(|(seed, _)| redeemed(seed)).map(|(_, paid)| paid - price().msat());
        assert_eq!(sums.overpaid_msat, number(over.sum()));
        let waiting = model.paid.iter().filter(|(seed, _)| !redeemed(seed)).map(|(_, paid)| paid);
        assert_eq!(sums.unredeemed_msat, number(waiting.sum()));
    }
}

proptest! {
    #![proptest_config(Config { cases: 40, failure_persistence: None, ..Config::default() })]

    #[test]
    fn the_ledger_is_the_arithmetic(commands in commands()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut run = Run::new().await;
            for command in commands {
                run.step(command).await;
                run.agree().await;
            }
        });
    }
}
