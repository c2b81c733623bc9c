//! Random commands against the ledger and against the pure arithmetic, for every kind of token: they
//! agree after each step. The arithmetic has a naive reference of its own (`ledger`'s tests).

use std::collections::HashMap;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::Config;

use super::{World, books_are_right, hash, price};
use crate::clock::Clock;
use crate::ledger::{Budget, Draw, Ending, Grant, Outcome, ReserveRefused, RestoreReason, Sale, Taken};
use crate::store::{Ledger, NewGrant, Reservation, ReserveError};
use crate::types::{Kind, Msat};

#[derive(Clone, Debug)]
enum Command {
    Reserve(u8, u64, u64),
    End(usize, Ending),
    Drop(usize, Option<u64>),
    Leave(u8),
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
        12 => (0..SEEDS, 0u64..12, 0u64..20).prop_map(|(seed, least, most)| Command::Reserve(seed, least, most)),
        8 => (any::<usize>(), ending).prop_map(|(at, ending)| Command::End(at, ending)),
        2 => (any::<usize>(), proptest::option::of(0u64..9)).prop_map(|(at, cost)| Command::Drop(at, cost)),
        2 => (0..SEEDS).prop_map(Command::Leave),
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

const BUDGET: u8 = 4;
const GRANTED: u8 = 5;

/// What the pure arithmetic says.
#[derive(Default)]
struct Model {
    grants: HashMap<u8, Grant>,
    revoked: Vec<u8>,
    paid: HashMap<u8, u64>,
    earned: u64,
    calls: u64,
}

impl Model {
    fn hold(&mut self, sale: &Sale, seed: u8, draw: &Draw, world: &World) -> Result<u64, ReserveRefused> {
        if seed > GRANTED {
            return Err(ReserveRefused::NotGranted);
        }
        let barred = self.revoked.contains(&seed);
        let grant = self.grants.entry(seed).or_insert_with(|| Grant { barred, ..Grant::of(sale) });
        grant.hold(draw, world.clock.now())
    }

    fn finish(&mut self, seed: u8, end: impl FnOnce(&mut Grant) -> Outcome) {
        let grant = self.grants.get_mut(&seed).expect("a hold has a grant");
        if let Outcome::Spent { earned, .. } = end(grant) {
            self.earned += earned.msat();
            self.calls += 1;
        }
    }

    fn back(&mut self, seed: u8, taken: &Taken) {
        let ending = Ending::Restored(RestoreReason::NotDispatched);
        self.finish(seed, |grant| grant.end(taken, ending).unwrap());
    }
}

struct Run {
    world: World,
    sales: Vec<Sale>,
    ledger: Ledger,
    model: Model,
    /// In the order in which they were made.
    open: Vec<(u8, Taken, Reservation)>,
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
            Command::Reserve(seed, least, most) => {
                let (sale, at) = (self.sales[usize::from(seed)].clone(), self.world.clock.now());
                let draw = Draw { least, most, ..Draw::one(sale.route.clone()) };
                let got = self.ledger.reserve(sale.clone(), draw.clone()).await;
                match (got, self.model.hold(&sale, seed, &draw, &self.world)) {
                    (Ok(held), Ok(units)) => {
                        assert_eq!(held.held(), units);
                        self.open.push((seed, Taken { units, at }, held));
                    }
                    (Err(ReserveError::Refused(got)), Err(expected)) => assert_eq!(got, expected),
                    (got, expected) => panic!("{got:?}, expected {expected:?}"),
                }
            }
            Command::End(at, ending) => {
                if let Some((seed, taken, mut held)) = self.pick(at) {
                    held.dispatched();
                    held.end(ending);
                    self.model.finish(seed, |grant| grant.end(&taken, ending).unwrap());
                }
            }
            Command::Drop(at, cost) => {
                if let Some((seed, taken, mut held)) = self.pick(at) {
                    if let Some(cost) = cost {
                        held.dispatched();
                        held.cost_so_far(cost);
                        let ending = Ending::Charged(cost);
                        self.model.finish(seed, |grant| grant.end(&taken, ending).unwrap());
                    } else {
                        self.model.back(seed, &taken);
                    }
                    drop(held);
                }
            }
            // Asks and goes away after the commit.
            Command::Leave(seed) => {
                let (sale, at) = (self.sales[usize::from(seed)].clone(), self.world.clock.now());
                let draw = Draw { most: 5, ..Draw::one(sale.route.clone()) };
                let mut waiting = Box::pin(self.ledger.reserve(sale.clone(), draw.clone()));
                let _ = futures_util::poll!(&mut waiting);
                self.ledger.barrier().await;
                drop(waiting);
                if let Ok(units) = self.model.hold(&sale, seed, &draw, &self.world) {
                    self.model.back(seed, &Taken { units, at });
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
                let now = self.world.clock.now();
                for grant in self.model.grants.values_mut() {
                    if grant.ends_at() < now && grant.valid_until < now {
                        grant.expire();
                    }
                }
            }
            Command::Crash => self.crash().await,
            Command::Restart => {
                for (seed, taken, held) in self.open.drain(..) {
                    held.end(Ending::Cancelled);
                    self.model.finish(seed, |grant| grant.end(&taken, Ending::Cancelled).unwrap());
                }
                self.ledger.close().await.unwrap();
                let (ledger, opened) = self.world.open();
                assert_eq!((opened.clean, opened.crash_restored, opened.crash_charged), (true, 0, 0));
                self.ledger = ledger;
            }
        }
    }

    async fn crash(&mut self) {
        self.ledger.barrier().await;
        self.ledger.crash().await;
        let mut counts = (0, 0);
        for (seed, taken, held) in self.open.drain(..) {
            drop(held);
            let before = self.model.grants[&seed].crash_restored;
            self.model.finish(seed, |grant| grant.resolve_crash(&taken).unwrap());
            let kept = self.model.grants[&seed].crash_restored > before;
            if kept { counts.0 += 1 } else { counts.1 += 1 }
        }
        let (ledger, opened) = self.world.open();
        assert_eq!((opened.crash_restored, opened.crash_charged), counts);
        assert!(!opened.clean);
        self.ledger = ledger;
    }

    fn pick(&mut self, at: usize) -> Option<(u8, Taken, Reservation)> {
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
