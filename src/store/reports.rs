//! Sums for the operator, from the hourly rollups and the running sums.

use rusqlite::{Connection, params};

use super::rows::Stored;
use super::totals::{self, Totals};
use super::{Ledger, StoreError, grants};
use crate::types::{Msat, Timestamp};

const HOURS_A_DAY: i64 = 24;

/// What was earned and received. A unit is earned when it is delivered or charged; days begin at
/// midnight UTC, and the week is today and the six days before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Revenue {
    /// Earned today.
    pub today: Msat,
    /// Earned in seven days.
    pub week: Msat,
    /// Earned ever.
    pub total: Msat,
    /// Received ever, each payment once.
    pub received_total: Msat,
    /// Not earned yet: what buyers hold in tokens, presented or not.
    pub unearned: Msat,
    /// What may have been paid twice: the operator decides, it is never revenue.
    pub surplus: Msat,
    /// Units earned today.
    pub calls_today: u64,
    /// Units earned in seven days.
    pub calls_week: u64,
    /// Units earned ever.
    pub calls_total: u64,
}

impl Ledger {
    /// The sums at `now`.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn revenue(&self, now: Timestamp) -> Result<Revenue, StoreError> {
        self.0.readers.read(move |connection| revenue(connection, now)).await
    }

    /// The running sums; [`Ledger::audit`] proves them.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn totals(&self) -> Result<Totals, StoreError> {
        self.0.readers.read(totals::read).await
    }
}

fn revenue(connection: &Connection, now: Timestamp) -> Result<Revenue, StoreError> {
    let today = grants::hour_of(now) / HOURS_A_DAY * HOURS_A_DAY;
    let (week, calls_week) = earned_since(connection, today - 6 * HOURS_A_DAY)?;
    let (today, calls_today) = earned_since(connection, today)?;
    let all = totals::read(connection)?;
    Ok(Revenue {
        today,
        week,
        total: amount(all.earned_msat)?,
        received_total: amount(all.received_msat)?,
        unearned: amount(all.owed_msat.saturating_add(all.unredeemed_msat))?,
        surplus: amount(all.surplus_msat)?,
        calls_today,
        calls_week,
        calls_total: count(all.units_spent)?,
    })
}

fn earned_since(connection: &Connection, hour: i64) -> Result<(Msat, u64), StoreError> {
    let mut query = connection.prepare_cached(
        "SELECT COALESCE(SUM(earned_msat), 0), COALESCE(SUM(calls), 0) FROM revenue_hourly WHERE hour >= ?1",
    )?;
    let (earned, calls) = query
        .query_row(params![hour], |row| Ok((row.get::<_, Stored<Msat>>(0)?.0, row.get::<_, i64>(1)?)))?;
    Ok((earned, count(calls)?))
}

fn count(stored: i64) -> Result<u64, StoreError> {
    u64::try_from(stored).map_err(|_| StoreError::Corrupt("a count below zero"))
}

fn amount(stored: i64) -> Result<Msat, StoreError> {
    Msat::new(count(stored)?).map_err(|_| StoreError::Corrupt("a sum above all the bitcoin there is"))
}
