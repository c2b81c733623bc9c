//! Holders who hand on copies of one token, at random and with whatever they like to append, against a
//! naive reference: who appended what, in which order, and who used it.

#![allow(clippy::unwrap_used, reason = "a case that cannot be set up is a failed test")]

use proptest::prelude::*;
use proptest::test_runner::Config;
use tollhouse::clock::FixedClock;
use tollhouse::l402::{Presented, Sold, UnknownCaveats, Use, Verified, verify};
use tollhouse::ledger::{Draw, Ending, Sale};
use tollhouse::store::{Ledger, ReserveError};
use tollhouse::types::{Kind, Msat};

use crate::l402_world::{NOW, World, raw};

/// Units of the pack, and what each cost.
const UNITS: u64 = 12;
const UNIT_MSAT: u64 = 1_000;

/// What holders append.
#[derive(Clone, Debug)]
enum Caveat {
    /// One of few names, so that siblings and children take each other's.
    Name(u8),
    Uses(u64),
    Spend(u64),
}

impl Caveat {
    fn text(&self) -> String {
        match self {
            Caveat::Name(name) => format!("budget_id={name}"),
            Caveat::Uses(most) => format!("max_uses={most}"),
            Caveat::Spend(most) => format!("max_spend_msat={most}"),
        }
    }

    /// How often the copy may be used by it.
    fn most(&self) -> Option<u64> {
        match self {
            Caveat::Name(_) => None,
            Caveat::Uses(most) => Some(*most),
            Caveat::Spend(most) => Some(*most / UNIT_MSAT),
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// The holder of a copy makes another of it.
    HandOn(usize, Vec<Caveat>),
    /// The holder of a copy uses it; whether that is charged or given back.
    Use(usize, bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let caveat = prop_oneof![
        (0u8..3).prop_map(Caveat::Name),
        (0u64..5).prop_map(Caveat::Uses),
        (0u64..6_000).prop_map(Caveat::Spend),
    ];
    let step = prop_oneof![
        2 => (any::<usize>(), proptest::collection::vec(caveat, 1..4)).prop_map(|(at, more)| Step::HandOn(at, more)),
        5 => (any::<usize>(), proptest::bool::weighted(0.8)).prop_map(|(at, charged)| Step::Use(at, charged)),
    ];
    proptest::collection::vec(step, 1..60)
}

/// All that the holders did.
#[derive(Default)]
struct Naive {
    /// The caveats of each copy that was charged, once for each time.
    charged: Vec<Vec<Caveat>>,
}

impl Naive {
    /// What using a copy with these caveats comes to.
    fn verdict(&self, caveats: &[Caveat]) -> &'static str {
        let texts = |caveats: &[Caveat]| caveats.iter().map(Caveat::text).collect::<Vec<_>>();
        for (at, caveat) in caveats.iter().enumerate() {
            let widens = |before: &Caveat| match (before, caveat) {
                (Caveat::Uses(had), Caveat::Uses(more)) | (Caveat::Spend(had), Caveat::Spend(more)) => {
                    more > had
                }
                _ => false,
            };
            if caveats[..at].iter().any(widens) {
                return "caveat_widens";
            }
        }
        for (at, caveat) in caveats.iter().enumerate() {
            let Some(most) = caveat.most() else { continue };
            // Whatever was made from this copy begins as it does.
            let own = texts(&caveats[..=at]);
            let used = self.charged.iter().filter(|other| texts(other).starts_with(&own)).count();
            if u64::try_from(used).unwrap() >= most {
                return if matches!(caveat, Caveat::Uses(_)) { "uses_exhausted" } else { "budget_exhausted" };
            }
        }
        if u64::try_from(self.charged.len()).unwrap() >= UNITS { "spent" } else { "good" }
    }
}

fn sold(world: &World) -> Sold {
    let sold = Msat::new(UNITS * UNIT_MSAT).unwrap();
    Sold { kind: Kind::Pack, units: UNITS, sold, ..world.sold.clone() }
}

/// As a request at the gate.
fn verified(world: &World, caveats: &[Caveat]) -> Result<Verified, &'static str> {
    let texts: Vec<String> = caveats.iter().map(Caveat::text).collect();
    let copy = world.appended(&texts.iter().map(String::as_str).collect::<Vec<_>>());
    let presented = Presented::new(raw(&copy), Some(world.preimage));
    let how = Use { service: &world.sold.service, method: "GET", path: "/v1/a", now: NOW };
    verify(&world.keys, &presented, &how, UnknownCaveats::Refuse).map_err(|refusal| refusal.code())
}

async fn used(world: &World, ledger: &Ledger, caveats: &[Caveat], charged: bool) -> &'static str {
    let verified = match verified(world, caveats) {
        Ok(verified) => verified,
        Err(code) => return code,
    };
    let Sold { service, route, kind, units, sold, valid_until, .. } = verified.sold;
    let sale = Sale {
        payment_hash: verified.identifier.payment_hash,
        token_id: verified.identifier.token_id,
        service,
        route: route.clone(),
        kind,
        units,
        lasts: None,
        sold,
        covers: sold,
        quote: None,
        valid_until,
    };
    let code = match ledger.reserve(sale, Draw::one(route).within(verified.limits)).await {
        Ok(mut held) => {
            if charged {
                held.dispatched();
                held.end(Ending::Delivered);
            }
            "good"
        }
        Err(ReserveError::Refused(refused)) => refused.code(),
        Err(ReserveError::Store(error)) => panic!("{error}"),
    };
    ledger.barrier().await;
    code
}

async fn agree(steps: Vec<Step>) {
    let mut world = World::new();
    world.sold = sold(&world);
    let folder = tempfile::tempdir().unwrap();
    let (ledger, _) = Ledger::open(&folder.path().join("ledger.db"), FixedClock::at(NOW)).unwrap();
    let (mut copies, mut naive) = (vec![Vec::new()], Naive::default());
    for step in steps {
        match step {
            Step::HandOn(at, more) => {
                let copy: Vec<Caveat> = [&copies[at % copies.len()][..], &more].concat();
                if copy.len() <= 20 {
                    copies.push(copy);
                }
            }
            Step::Use(at, charged) => {
                let copy = &copies[at % copies.len()];
                let expected = naive.verdict(copy);
                assert_eq!(used(&world, &ledger, copy, charged).await, expected, "{copy:?}");
                if expected == "good" && charged {
                    naive.charged.push(copy.clone());
                }
            }
        }
    }
    let spent = ledger.grant(world.identifier.payment_hash).await.unwrap().map_or(0, |row| row.grant.spent);
    assert_eq!(spent, u64::try_from(naive.charged.len()).unwrap());
    let audit = ledger.audit().await.unwrap();
    assert!(audit.ok, "{audit:?}");
}

proptest! {
    #![proptest_config(Config { cases: 48, failure_persistence: None, ..Config::default() })]

    #[test]
    fn a_copy_is_good_for_what_its_makers_allowed_and_no_more(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(agree(steps));
    }
}
