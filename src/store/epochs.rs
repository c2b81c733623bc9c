//! What the tokens of each key epoch are still good for, so that nobody retires one blindly.

use std::collections::BTreeMap;

use rusqlite::Connection;

use super::totals;
use super::{Ledger, StoreError, grants};
use crate::types::Kind;

/// What the live tokens of one key epoch are good for. Amounts are in millisatoshi.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EpochSums {
    /// Tokens that were used or granted, and of which something is left, held or open.
    pub tokens: u64,
    /// What their buyers may still use, of what they paid.
    pub owed_msat: u64,
    /// What the operator's gifts among them may still draw; nobody paid for it.
    pub granted_msat: u64,
    /// Tokens that were paid for and not presented yet, as far as it is known which epoch minted them.
    pub waiting: u64,
    /// What was paid for those.
    pub waiting_msat: u64,
}

impl EpochSums {
    /// What retiring the epoch takes from those who paid, in millisatoshi.
    pub fn unearned_msat(&self) -> u64 {
        self.owed_msat.saturating_add(self.waiting_msat)
    }
}

/// The sums of every epoch that a live token has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Epochs {
    /// By epoch.
    pub known: BTreeMap<u32, EpochSums>,
    /// Paid for, not presented yet, and nobody remembers which epoch minted it: it may be of any.
    pub unknown_msat: u64,
}

impl Ledger {
    /// What the live tokens of each key epoch are good for. Reads every live grant.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn epochs(&self) -> Result<Epochs, StoreError> {
        self.0.readers.read(sums).await
    }
}

fn sums(connection: &Connection) -> Result<Epochs, StoreError> {
    let mut all = Epochs::default();
    let mut query = connection.prepare_cached("SELECT * FROM grants_named WHERE over_at IS NULL")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let row = grants::read(row)?;
        if row.grant.barred {
            continue;
        }
        let sums = all.known.entry(row.token_id.epoch()).or_default();
        sums.tokens += 1;
        if row.grant.kind == Kind::Granted {
            let left = row.grant.left.saturating_add(row.grant.held);
            sums.granted_msat = sums.granted_msat.saturating_add(left);
        } else {
            sums.owed_msat = sums.owed_msat.saturating_add(row.grant.owed().msat());
        }
    }
    // A token that was taken back before it came is good for nothing either.
    let mut query = connection.prepare_cached(
        "SELECT waiting_epoch, COUNT(*), SUM(min(amount_msat, COALESCE(asked_msat, amount_msat)))
         FROM payments p WHERE waiting_epoch IS NOT NULL
              AND NOT EXISTS (SELECT 1 FROM revocations r WHERE r.payment_hash = p.payment_hash)
         GROUP BY waiting_epoch",
    )?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let sums = all.known.entry(row.get(0)?).or_default();
        sums.waiting = row.get(1)?;
        sums.waiting_msat = row.get(2)?;
    }
    let of_some_epoch: i64 = connection.query_row(
        "SELECT COALESCE(SUM(min(amount_msat, COALESCE(asked_msat, amount_msat))), 0)
         FROM payments WHERE waiting_epoch IS NOT NULL",
        [],
        |row| row.get(0),
    )?;
    let waiting = totals::read(connection)?.unredeemed_msat.saturating_sub(of_some_epoch);
    all.unknown_msat = u64::try_from(waiting).unwrap_or(0);
    Ok(all)
}
