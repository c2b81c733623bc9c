//! Random commands against the ledger and against the pure arithmetic: they agree after each step.

use std::collections::HashMap;

use proptest::prelude::*;
use proptest::test_runner::Config;

use super::{World, books_are_right, draw, hash, price};
use crate::ledger::{Ending, Grant, Outcome, ReserveRefused, RestoreReason};
use crate::store::{Ledger, Reservation, ReserveError};
use crate::types::Msat;

#[derive(Clone, Debug)]
enum Command {
    Reserve(u8),
    End(usize, Ending),
    Drop(usize),
    Leave(u8),
    Receive(u8),
    Revoke(u8),
    Crash,
    Restart,
}

fn commands() -> impl Strategy<Value = Vec<Command>> {
    let ending = prop_oneof![
        Just(Ending::Delivered),
        Just(Ending::Cancelled),
        Just(Ending::Restored(RestoreReason::UpstreamError)),
        Just(Ending::Restored(RestoreReason::Internal)),
    ];
    let command = prop_oneof![
        12 => (0..4u8).prop_map(Command::Reserve),
        8 => (any::<usize>(), ending).prop_map(|(at, ending)| Command::End(at, ending)),
        2 => any::<usize>().prop_map(Command::Drop),
        2 => (0..4u8).prop_map(Command::Leave),
        3 => (0..4u8).prop_map(Command::Receive),
        1 => (0..4u8).prop_map(Command::Revoke),
        1 => Just(Command::Crash),
        1 => Just(Command::Restart),
    ];
    proptest::collection::vec(command, 1..60)
}

/// What the pure arithmetic says.
#[derive(Default)]
struct Model {
    grants: HashMap<u8, Grant>,
    revoked: Vec<u8>,
    paid: Vec<u8>,
    earned: u64,
}

impl Model {
    fn units(seed: u8) -> u64 {
        u64::from(seed) + 1
    }

    fn hold(&mut self, seed: u8) -> Result<(), ReserveRefused> {
        let grant = self.grants.entry(seed).or_insert_with(|| Grant::sold(Model::units(seed), price()));
        if self.revoked.contains(&seed) {
            grant.revoke();
            return Err(ReserveRefused::Revoked);
        }
        grant.hold(&draw()).map(drop)
    }

    fn finish(&mut self, seed: u8, end: impl FnOnce(&mut Grant) -> Outcome) {
        let grant = self.grants.get_mut(&seed).expect("a hold has a grant");
        match end(grant) {
            Outcome::Spent(msat) => self.earned += msat.msat(),
            Outcome::Restored if self.revoked.contains(&seed) => {
                grant.revoke();
            }
            Outcome::Restored => {}
        }
    }
}

struct Run {
    world: World,
    ledger: Ledger,
    model: Model,
    open: Vec<(u8, Reservation)>,
}

impl Run {
    async fn step(&mut self, command: Command) {
        match command {
            Command::Reserve(seed) => {
                let got = self.ledger.reserve(self.world.sale(seed, Model::units(seed)), draw()).await;
                match (got, self.model.hold(seed)) {
                    (Ok(held), Ok(())) => self.open.push((seed, held)),
                    (Err(ReserveError::Refused(got)), Err(expected)) => assert_eq!(got, expected),
                    (got, expected) => panic!("{got:?}, expected {expected:?}"),
                }
            }
            Command::End(at, ending) => {
                if let Some((seed, mut held)) = self.pick(at) {
                    held.dispatched();
                    held.end(ending);
                    self.model.finish(seed, |grant| grant.end(1, ending).unwrap());
                }
            }
            Command::Drop(at) => {
                if let Some((seed, held)) = self.pick(at) {
                    drop(held);
                    let ending = Ending::Restored(RestoreReason::NotDispatched);
                    self.model.finish(seed, |grant| grant.end(1, ending).unwrap());
                }
            }
            // Asks and goes away after the commit.
            Command::Leave(seed) => {
                let sale = self.world.sale(seed, Model::units(seed));
                let mut waiting = Box::pin(self.ledger.reserve(sale, draw()));
                let _ = futures_util::poll!(&mut waiting);
                self.ledger.barrier().await;
                drop(waiting);
                if self.model.hold(seed).is_ok() {
                    let ending = Ending::Restored(RestoreReason::NotDispatched);
                    self.model.finish(seed, |grant| grant.end(1, ending).unwrap());
                }
            }
            Command::Receive(seed) => {
                self.ledger.receive(hash(seed), price(), None).await.unwrap();
                if !self.model.paid.contains(&seed) {
                    self.model.paid.push(seed);
                }
            }
            Command::Revoke(seed) => {
                self.ledger.revoke(hash(seed)).await.unwrap();
                self.model.revoked.push(seed);
                if let Some(grant) = self.model.grants.get_mut(&seed) {
                    grant.revoke();
                }
            }
            Command::Crash => {
                self.ledger.barrier().await;
                self.ledger.crash().await;
                let mut counts = (0, 0);
                for (seed, held) in self.open.drain(..) {
                    drop(held);
                    let before = self.model.grants[&seed].crash_restored;
                    self.model.finish(seed, |grant| grant.resolve_crash(1).unwrap());
                    let kept = self.model.grants[&seed].crash_restored > before;
                    if kept { counts.0 += 1 } else { counts.1 += 1 }
                }
                let (ledger, opened) = self.world.open();
                assert_eq!((opened.crash_restored, opened.crash_charged), counts);
                assert!(!opened.clean);
                self.ledger = ledger;
            }
            Command::Restart => {
                for (seed, held) in self.open.drain(..) {
                    held.end(Ending::Cancelled);
                    self.model.finish(seed, |grant| grant.end(1, Ending::Cancelled).unwrap());
                }
                self.ledger.close().await.unwrap();
                let (ledger, opened) = self.world.open();
                assert_eq!((opened.clean, opened.crash_restored, opened.crash_charged), (true, 0, 0));
                self.ledger = ledger;
            }
        }
    }

    fn pick(&mut self, at: usize) -> Option<(u8, Reservation)> {
        let count = self.open.len();
        (count > 0).then(|| self.open.swap_remove(at % count))
    }

    async fn agree(&self) {
        self.ledger.barrier().await;
        for (seed, expected) in &self.model.grants {
            let row = self.ledger.grant(hash(*seed)).await.unwrap().expect("the model has it");
            assert_eq!(row.grant, *expected);
            assert!(row.grant.balanced());
        }
        books_are_right(&self.ledger).await;
        let sums = self.ledger.totals().await.unwrap();
        let parts =
            sums.units_left + sums.units_held + sums.units_spent + sums.units_expired + sums.units_revoked;
        assert_eq!(sums.units_sold, parts);
        assert_eq!(sums.units_held, i64::try_from(self.open.len()).unwrap());
        assert_eq!(sums.earned_msat, i64::try_from(self.model.earned).unwrap());
        let received = price().checked_mul(u64::try_from(self.model.paid.len()).unwrap()).unwrap();
        assert_eq!(Msat::new(u64::try_from(sums.received_msat).unwrap()).unwrap(), received);
    }
}

proptest! {
    #![proptest_config(Config { cases: 40, failure_persistence: None, ..Config::default() })]

    #[test]
    fn the_ledger_is_the_arithmetic(commands in commands()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let world = World::new();
            let (ledger, _) = world.open();
            let mut run = Run { world, ledger, model: Model::default(), open: Vec::new() };
            for command in commands {
                run.step(command).await;
                run.agree().await;
            }
        });
    }
}
