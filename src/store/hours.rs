//! The sums by hour and by day, service and route: what the reports read, and what stays when single
//! spends are dropped.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};

use super::StoreError;
use crate::types::Timestamp;

/// Seconds of an hour.
pub(super) const SECS_AN_HOUR: u64 = 3_600;

/// Hours of a day.
pub(super) const HOURS_A_DAY: i64 = 24;

/// One row of the sums by hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Hour {
    pub(super) hour: i64,
    pub(super) service: i64,
    pub(super) route: i64,
}

/// What is added to it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums {
    pub(super) calls: i64,
    pub(super) earned_msat: i64,
    pub(super) granted_calls: i64,
    pub(super) granted_msat: i64,
    pub(super) shadow_calls: i64,
    pub(super) shadow_msat: i64,
    pub(super) demands: i64,
    pub(super) sales: i64,
    pub(super) restored: i64,
}

impl Hour {
    /// The row that something of `now` belongs to.
    pub(super) fn at(now: Timestamp, service: i64, route: i64) -> Hour {
        Hour { hour: hour_of(now), service, route }
    }
}

/// Hours since the Unix epoch.
pub(super) fn hour_of(at: Timestamp) -> i64 {
    i64::try_from(at.secs() / SECS_AN_HOUR).unwrap_or(i64::MAX)
}

impl Sums {
    fn plus(self, other: &Sums) -> Sums {
        Sums {
            calls: self.calls.saturating_add(other.calls),
            earned_msat: self.earned_msat.saturating_add(other.earned_msat),
            granted_calls: self.granted_calls.saturating_add(other.granted_calls),
            granted_msat: self.granted_msat.saturating_add(other.granted_msat),
            shadow_calls: self.shadow_calls.saturating_add(other.shadow_calls),
            shadow_msat: self.shadow_msat.saturating_add(other.shadow_msat),
            demands: self.demands.saturating_add(other.demands),
            sales: self.sales.saturating_add(other.sales),
            restored: self.restored.saturating_add(other.restored),
        }
    }
}

/// Adds a page's sums to the stored ones: two statements for each hour and route, however many requests
/// share the commit.
pub(super) fn add(connection: &Connection, hours: &[(Hour, Sums)]) -> Result<(), StoreError> {
    let mut rows = BTreeMap::new();
    for (hour, sums) in hours {
        let row = rows.entry(*hour).or_insert_with(Sums::default);
        *row = row.plus(sums);
    }
    for (at, sums) in rows {
        upsert(connection, HOURLY, at.hour, &at, &sums)?;
        upsert(connection, DAILY, at.hour / HOURS_A_DAY, &at, &sums)?;
    }
    Ok(())
}

macro_rules! upsert_into {
    ($table:literal, $step:literal) => {
        concat!(
            "INSERT INTO ",
            $table,
            " (",
            $step,
            ", service, route, calls, earned_msat, granted_calls, granted_msat, shadow_calls, shadow_msat,
                 demands, sales, restored)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
             ON CONFLICT DO UPDATE SET
                 calls = calls + ?4, earned_msat = earned_msat + ?5, granted_calls = granted_calls + ?6,
                 granted_msat = granted_msat + ?7, shadow_calls = shadow_calls + ?8, shadow_msat = shadow_msat + ?9,
                 demands = demands + ?10, sales = sales + ?11, restored = restored + ?12"
        )
    };
}

const HOURLY: &str = upsert_into!("revenue_hourly", "hour");
const DAILY: &str = upsert_into!("revenue_daily", "day");

fn upsert(connection: &Connection, sql: &str, step: i64, at: &Hour, sums: &Sums) -> Result<(), StoreError> {
    connection.prepare_cached(sql)?.execute(params![
        step,
        at.service,
        at.route,
        sums.calls,
        sums.earned_msat,
        sums.granted_calls,
        sums.granted_msat,
        sums.shadow_calls,
        sums.shadow_msat,
        sums.demands,
        sums.sales,
        sums.restored,
    ])?;
    Ok(())
}
