//! What came in an hour, and what that was worth in another currency at the rates of its moments.

use rusqlite::{Connection, params};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use super::hours::hour_of;
use super::page::Page;
use super::plan::asked;
use super::rows::column;
use super::totals::msat;
use super::{Ledger, StoreError};
use crate::pricing::{Fiat, Rate};
use crate::types::{Msat, Timestamp};

/// Worth is summed in millionths of a currency's unit.
const MILLION: u32 = 1_000_000;

/// What came in a time and is worth something in one currency, or in none that was known then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedSum {
    /// What it was worth as it came; `None` where no rate was known.
    pub worth: Option<Fiat>,
    /// How many payments.
    pub payments: u64,
    /// What they brought.
    pub received_msat: Msat,
}

impl Ledger {
    /// What came in the whole hours that the time from `from` to just before `to` touches: what nobody knew a rate
    /// of first, then by currency.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn received_between(
        &self,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<ReceivedSum>, StoreError> {
        self.0.readers.read(move |connection| sums(connection, from, to)).await
    }
}

/// Counts a payment in its hour.
pub(super) fn count(page: &Page<'_>, amount: Msat, rate: Option<Rate>) -> Result<(), StoreError> {
    let worth = rate.and_then(|rate| rate.back(amount));
    let millionths = worth.and_then(|worth| worth.amount.checked_mul(MILLION.into())?.round().to_i64());
    let currency = worth.filter(|_| millionths.is_some()).map(|worth| worth.currency.to_string());
    let mut upsert = page.connection.prepare_cached(
        "INSERT INTO received_hourly (hour, currency, payments, received_msat, millionths) VALUES (?1, ?2, 1, ?3, ?4)
         ON CONFLICT DO UPDATE SET payments = payments + 1, received_msat = received_msat + ?3,
             millionths = millionths + ?4",
    )?;
    let (hour, millionths) = (hour_of(page.now), millionths.unwrap_or(0));
    upsert.execute(params![hour, currency.unwrap_or_default(), msat(amount), millionths])?;
    Ok(())
}

fn sums(connection: &Connection, from: Timestamp, to: Timestamp) -> Result<Vec<ReceivedSum>, StoreError> {
    let mut query = asked(
        connection,
        "SELECT currency, SUM(payments) AS payments, SUM(received_msat) AS received_msat,
             SUM(millionths) AS millionths
         FROM received_hourly WHERE hour >= ?1 AND hour <= ?2 GROUP BY currency ORDER BY currency",
    )?;
    let last = hour_of(Timestamp::from_millis(to.millis().saturating_sub(1)));
    let rows = query.query_map(params![hour_of(from), last], |row| {
        let amount = Decimal::new(row.get("millionths")?, 6).normalize();
        let currency = row.get::<_, String>("currency")?.parse().ok();
        Ok(ReceivedSum {
            worth: currency.map(|currency| Fiat { amount, currency }),
            payments: row.get("payments")?,
            received_msat: column(row, "received_msat")?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
