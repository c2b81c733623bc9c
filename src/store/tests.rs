//! The store under load, under crashes and on a failing disk.

mod alarms;
mod crash;
mod disk;
mod hours;
mod limits;
mod load;
mod migration;
mod model;
mod money;
mod plans;
mod units;
mod wallets;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{Ledger, Opened};
use crate::clock::FixedClock;
use crate::event::Event;
use crate::ledger::{Draw, Sale};
use crate::types::{Kind, Msat, PaymentHash, Timestamp, TokenId};

/// A ledger in a folder of its own, at a time that stands still.
pub(super) struct World {
    pub(super) folder: tempfile::TempDir,
    pub(super) clock: Arc<FixedClock>,
}

impl World {
    pub(super) fn new() -> World {
        let clock = FixedClock::at(Timestamp::from_secs(1_800_000_000));
        World { folder: tempfile::tempdir().unwrap(), clock }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.path().join("ledger.db")
    }

    pub(super) fn open(&self) -> (Ledger, Opened) {
        Ledger::open(&self.path(), self.clock.clone()).unwrap()
    }

    /// What a power cut now would leave: the files as they are, in another folder.
    pub(super) fn snapshot(&self) -> World {
        let copy = World { folder: tempfile::tempdir().unwrap(), clock: self.clock.clone() };
        // The write-ahead log last: the database file itself does not change between checkpoints.
        for name in ["ledger.db", "ledger.db-wal"] {
            let from = self.folder.path().join(name);
            if from.exists() {
                std::fs::copy(from, copy.folder.path().join(name)).unwrap();
            }
        }
        copy
    }

    /// What `seed` sold: so many units for a price that does not divide evenly.
    pub(super) fn sale(&self, seed: u8, units: u64) -> Sale {
        use crate::clock::Clock;
        Sale {
            payment_hash: hash(seed),
            token_id: TokenId::from_bytes([seed; 32]),
            service: "rates".parse().unwrap(),
            route: "latest".parse().unwrap(),
            kind: if units == 1 { Kind::Request } else { Kind::Pack },
            units,
            lasts: None,
            sold: price(),
            covers: Msat::new(10_000_u64.div_ceil(units)).unwrap(),
            quote: None,
            valid_until: self.clock.now().plus(Duration::from_secs(3_600)),
        }
    }
}

pub(super) fn draw() -> Draw {
    Draw::one("latest".parse().unwrap())
}

pub(super) fn price() -> Msat {
    Msat::new(10_000).unwrap()
}

pub(super) fn hash(seed: u8) -> PaymentHash {
    PaymentHash::from_bytes([seed; 32])
}

/// Everything in the log.
pub(super) async fn events(ledger: &Ledger) -> Vec<Event> {
    let logged = ledger.events_after(0, 10_000).await.unwrap();
    for (number, event) in (1..).zip(&logged) {
        assert_eq!(event.id, number, "the log has no gaps");
    }
    logged.into_iter().map(|logged| logged.event).collect()
}

/// Left, held, spent.
pub(super) async fn units(ledger: &Ledger, seed: u8) -> (u64, u64, u64) {
    let grant = ledger.grant(hash(seed)).await.unwrap().expect("the grant is there").grant;
    (grant.left, grant.held, grant.spent)
}

pub(super) async fn books_are_right(ledger: &Ledger) {
    // Time that was let pass has done what it does by the second answer, not in between the two readings.
    ledger.barrier().await;
    ledger.barrier().await;
    let audit = ledger.audit().await.unwrap();
    assert!(audit.ok, "{audit:?}");
    assert_eq!(audit.sums, ledger.totals().await.unwrap());
}
