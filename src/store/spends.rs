//! What each request used up, row by row until its grant has long been over.

use rusqlite::{Connection, params};

use super::hours::{Hour, Sums};
use super::page::Page;
use super::plan::asked;
use super::rows::{Stored, column};
use super::totals::{count, msat};
use super::{Ledger, StoreError};
use crate::types::{Msat, Name, PaymentHash, Timestamp};

/// Rows of one grant that one idle moment drops.
const FOLD: usize = 4_096;

/// How a request came to be charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charge {
    /// Its answer was delivered.
    Delivered,
    /// It cost what was told, at most what was held.
    Metered,
    /// Its client left.
    Cancelled,
    /// A crash hid its end, a second time.
    Crashed,
}

impl Charge {
    const ALL: [Charge; 4] = [Charge::Delivered, Charge::Metered, Charge::Cancelled, Charge::Crashed];

    /// Stable code.
    pub const fn code(self) -> &'static str {
        match self {
            Charge::Delivered => "delivered",
            Charge::Metered => "metered",
            Charge::Cancelled => "cancelled",
            Charge::Crashed => "crashed",
        }
    }

    const fn number(self) -> i64 {
        match self {
            Charge::Delivered => 0,
            Charge::Metered => 1,
            Charge::Cancelled => 2,
            Charge::Crashed => 3,
        }
    }
}

/// One request that was charged to a grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpendRow {
    /// Counts the grant's calls from 1.
    pub number: u64,
    /// When it ended.
    pub at: Timestamp,
    /// What was asked for.
    pub route: Name,
    /// What it used: requests or millisatoshi; of a pass, 1 for the request that it was earned by.
    pub units: u64,
    /// What it earned.
    pub earned: Msat,
    /// Bytes of its answer that were handed down.
    pub bytes: u64,
    /// How it came to be charged.
    pub how: Charge,
}

impl Ledger {
    /// The requests that were charged to a grant, the newest first: at most `limit`, and only those
    /// before number `before`. They are dropped [`crate::ledger::SPENDS_KEPT`] after the grant is over.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn spends(
        &self,
        payment_hash: PaymentHash,
        limit: u32,
        before: Option<u64>,
    ) -> Result<Vec<SpendRow>, StoreError> {
        let before = before.map_or(i64::MAX, count);
        self.0.readers.read(move |connection| list(connection, payment_hash, limit, before)).await
    }
}

fn list(
    connection: &Connection,
    payment_hash: PaymentHash,
    limit: u32,
    before: i64,
) -> Result<Vec<SpendRow>, StoreError> {
    let mut query = asked(
        connection,
        "SELECT s.*, n.name FROM spends s JOIN names n ON n.id = s.route
         WHERE s.grant_id = (SELECT id FROM grants WHERE payment_hash = ?1) AND s.number < ?2
         ORDER BY s.number DESC LIMIT ?3",
    )?;
    let rows = query.query_map(params![Stored(payment_hash), before, limit], |row| {
        let how: usize = row.get("how")?;
        Ok(SpendRow {
            number: row.get("number")?,
            at: column(row, "at")?,
            route: column(row, "name")?,
            units: row.get("units")?,
            earned: column(row, "earned_msat")?,
            bytes: row.get("bytes")?,
            how: Charge::ALL.get(how).copied().unwrap_or(Charge::Delivered),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// One request that is charged now.
pub(super) struct Spend {
    pub(super) grant: i64,
    /// Counts the grant's calls.
    pub(super) number: u64,
    pub(super) service: i64,
    pub(super) route: i64,
    pub(super) units: u64,
    pub(super) earned: Msat,
    pub(super) bytes: u64,
    pub(super) how: Charge,
    /// Nobody paid for it.
    pub(super) granted: bool,
}

/// Writes the row, and counts it in its hour.
pub(super) fn write(page: &mut Page<'_>, spend: &Spend) -> Result<(), StoreError> {
    let mut insert = page.connection.prepare_cached(
        "INSERT INTO spends (grant_id, number, at, route, units, earned_msat, bytes, how)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    insert.execute(params![
        spend.grant,
        count(spend.number),
        Stored(page.now),
        spend.route,
        count(spend.units),
        Stored(spend.earned),
        count(spend.bytes),
        spend.how.number(),
    ])?;
    let sums = if spend.granted {
        Sums { granted_calls: 1, granted_msat: count(spend.units), ..Sums::default() }
    } else {
        Sums { calls: 1, earned_msat: msat(spend.earned), ..Sums::default() }
    };
    page.hours.push((Hour::at(page.now, spend.service, spend.route), sums));
    Ok(())
}

/// Drops rows of a grant that has long been over, some at a time; says whether all are gone. What they
/// add up to stays in the hours and in the grant.
pub(super) fn fold(connection: &Connection, grant: i64) -> Result<bool, StoreError> {
    let mut delete = connection.prepare_cached(
        "DELETE FROM spends WHERE grant_id = ?1
         AND number < (SELECT MIN(number) FROM spends WHERE grant_id = ?1) + ?2",
    )?;
    Ok(delete.execute(params![grant, FOLD])? < FOLD)
}
