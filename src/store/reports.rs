//! Sums for the operator, from the sums by hour and day and the running sums: no report walks the spends.

use rusqlite::{Connection, Row, params};
use schemars::JsonSchema;
use serde::Serialize;

use super::hours::{HOURS_A_DAY, SECS_AN_HOUR, hour_of};
use super::plan::asked;
use super::rows::{column, known_name};
use super::totals::{self, Totals};
use super::{Ledger, StoreError};
use crate::types::{Msat, Name, Timestamp};

/// What was earned and received. Revenue is earned when it is delivered or charged; days begin at
/// midnight UTC, and the week is today and the six days before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Revenue {
    /// Earned today.
    pub today: Msat,
    /// Earned in seven days.
    pub week: Msat,
    /// Earned in thirty days, today included.
    pub month: Msat,
    /// Earned yesterday, in the seven days before those, and in the thirty days before those.
    pub before: [Msat; 3],
    /// Earned ever.
    pub total: Msat,
    /// Received ever, each payment once.
    pub received_total: Msat,
    /// Not earned yet: what buyers hold in tokens, presented or not.
    pub unearned: Msat,
    /// What was paid for and then ran out or was revoked: neither earned nor owed.
    pub lapsed: Msat,
    /// What may have been paid twice: the operator decides, it is never revenue.
    pub surplus: Msat,
    /// What was paid beyond what the invoices asked for, likewise.
    pub overpaid: Msat,
    /// Paid requests today.
    pub calls_today: u64,
    /// Paid requests in seven days.
    pub calls_week: u64,
    /// Paid requests in thirty days.
    pub calls_month: u64,
    /// Payments that were demanded in thirty days, those that came, and requests whose unit went back.
    pub demands_month: u64,
    /// See [`Revenue::demands_month`].
    pub sales_month: u64,
    /// See [`Revenue::demands_month`].
    pub restored_month: u64,
    /// Paid requests ever.
    pub calls_total: u64,
    /// What granted tokens used today; nobody paid for it.
    pub granted_today: Msat,
    /// In seven days.
    pub granted_week: Msat,
    /// Ever.
    pub granted_total: Msat,
    /// What requests in shadow mode would have been charged today.
    pub shadow_today: Msat,
    /// How many they were.
    pub shadow_calls_today: u64,
}

/// Sums over some hours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct HourSums {
    /// Requests that were paid for.
    pub calls: u64,
    /// What they earned.
    pub earned_msat: Msat,
    /// Requests of granted tokens.
    pub granted_calls: u64,
    /// What they used.
    pub granted_msat: Msat,
    /// Requests that passed in shadow mode.
    pub shadow_calls: u64,
    /// What they would have been charged.
    pub shadow_msat: Msat,
    /// Payments that were demanded: 402s with an invoice. Counted up to a minute late; a crash loses the last.
    pub demands: u64,
    /// Payments that came, each in its hour.
    pub sales: u64,
    /// Requests whose unit went back to the buyer.
    pub restored: u64,
}

impl HourSums {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: &HourSums) -> HourSums {
        let add = |a: Msat, b: Msat| a.checked_add(b).unwrap_or(Msat::MAX);
        HourSums {
            calls: self.calls.saturating_add(other.calls),
            earned_msat: add(self.earned_msat, other.earned_msat),
            granted_calls: self.granted_calls.saturating_add(other.granted_calls),
            granted_msat: add(self.granted_msat, other.granted_msat),
            shadow_calls: self.shadow_calls.saturating_add(other.shadow_calls),
            shadow_msat: add(self.shadow_msat, other.shadow_msat),
            demands: self.demands.saturating_add(other.demands),
            sales: self.sales.saturating_add(other.sales),
            restored: self.restored.saturating_add(other.restored),
        }
    }
}

/// Those of a service and of a route, where one is asked for.
type Numbers = (Option<i64>, Option<i64>);

/// Whose sums: of everything, of a service, of a route of it, or of all routes of one name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SalesFilter {
    /// Only this service.
    pub service: Option<Name>,
    /// Only routes of this name.
    pub route: Option<Name>,
}

impl SalesFilter {
    /// The numbers of the names; `None` when one of them was never seen, so that nothing fits.
    fn numbers(&self, connection: &Connection) -> Result<Option<Numbers>, StoreError> {
        let number = |name: &Option<Name>| match name {
            Some(name) => Ok::<_, StoreError>(known_name(connection, name)?.map(Some)),
            None => Ok(Some(None)),
        };
        Ok(number(&self.service)?.zip(number(&self.route)?))
    }
}

/// One step of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RevenuePoint {
    /// Its beginning.
    pub at: Timestamp,
    /// What happened in it.
    #[serde(flatten)]
    pub sums: HourSums,
}

/// One route's part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RouteRevenue {
    /// The service.
    pub service: Name,
    /// The route.
    pub route: Name,
    /// What happened on it.
    #[serde(flatten)]
    pub sums: HourSums,
}

/// The steps of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Hours.
    Hour,
    /// Days, from midnight UTC.
    Day,
}

impl Step {
    const fn hours(self) -> i64 {
        match self {
            Step::Hour => 1,
            Step::Day => HOURS_A_DAY,
        }
    }

    /// The table with a row for each of these steps, and the column that counts them.
    const fn table(self) -> (&'static str, &'static str) {
        match self {
            Step::Hour => ("revenue_hourly", "hour"),
            Step::Day => ("revenue_daily", "day"),
        }
    }

    /// The numbers of the first step of a time, and of the one after its last: every step that the time
    /// from `from` to just before `to` touches.
    fn range(self, from: Timestamp, to: Timestamp) -> (i64, i64) {
        let last = hour_of(Timestamp::from_millis(to.millis().saturating_sub(1)));
        let end = if from < to { last / self.hours() + 1 } else { 0 };
        (hour_of(from) / self.hours(), end)
    }
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

    /// What happened step by step, oldest first, of what `of` says: in every whole hour or day that
    /// the time from `from` to just before `to` touches. A step in which nothing happened is left out.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn revenue_series(
        &self,
        from: Timestamp,
        to: Timestamp,
        by: Step,
        of: SalesFilter,
    ) -> Result<Vec<RevenuePoint>, StoreError> {
        self.0.readers.read(move |connection| series(connection, by, by.range(from, to), &of)).await
    }

    /// The same steps together, route by route, the one that earned most first.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn revenue_by_route(
        &self,
        from: Timestamp,
        to: Timestamp,
        by: Step,
        of: SalesFilter,
    ) -> Result<Vec<RouteRevenue>, StoreError> {
        self.0.readers.read(move |connection| by_route(connection, by, by.range(from, to), &of)).await
    }
}

const SUMS: &str = "COALESCE(SUM(calls), 0) AS calls, COALESCE(SUM(earned_msat), 0) AS earned_msat,
    COALESCE(SUM(granted_calls), 0) AS granted_calls, COALESCE(SUM(granted_msat), 0) AS granted_msat,
    COALESCE(SUM(shadow_calls), 0) AS shadow_calls, COALESCE(SUM(shadow_msat), 0) AS shadow_msat,
    COALESCE(SUM(demands), 0) AS demands, COALESCE(SUM(sales), 0) AS sales, COALESCE(SUM(restored), 0) AS restored";

fn read(row: &Row<'_>) -> rusqlite::Result<HourSums> {
    Ok(HourSums {
        calls: row.get("calls")?,
        earned_msat: column(row, "earned_msat")?,
        granted_calls: row.get("granted_calls")?,
        granted_msat: column(row, "granted_msat")?,
        shadow_calls: row.get("shadow_calls")?,
        shadow_msat: column(row, "shadow_msat")?,
        demands: row.get("demands")?,
        sales: row.get("sales")?,
        restored: row.get("restored")?,
    })
}

fn revenue(connection: &Connection, now: Timestamp) -> Result<Revenue, StoreError> {
    let day = hour_of(now) / HOURS_A_DAY;
    let last = |days: i64| between(connection, day - days + 1, i64::MAX);
    let before = |days: i64| between(connection, day - 2 * days + 1, day - days + 1);
    let (today, week, month) = (last(1)?, last(7)?, last(30)?);
    let all = totals::read(connection)?;
    // The sums over all grants do not tell them apart; the days do.
    let granted_calls = between(connection, i64::MIN, i64::MAX)?.granted_calls;
    Ok(Revenue {
        today: today.earned_msat,
        week: week.earned_msat,
        month: month.earned_msat,
        before: [before(1)?.earned_msat, before(7)?.earned_msat, before(30)?.earned_msat],
        total: amount(all.earned_msat)?,
        received_total: amount(all.received_msat)?,
        unearned: amount(all.owed_msat.saturating_add(all.unredeemed_msat))?,
        lapsed: amount(all.lapsed_msat)?,
        surplus: amount(all.surplus_msat)?,
        overpaid: amount(all.overpaid_msat)?,
        calls_today: today.calls,
        calls_week: week.calls,
        calls_month: month.calls,
        demands_month: month.demands,
        sales_month: month.sales,
        restored_month: month.restored,
        calls_total: count(all.calls)?.saturating_sub(granted_calls),
        granted_today: today.granted_msat,
        granted_week: week.granted_msat,
        granted_total: amount(all.granted_spent_msat)?,
        shadow_today: today.shadow_msat,
        shadow_calls_today: today.shadow_calls,
    })
}

/// The sums from one day to before another.
fn between(connection: &Connection, first: i64, end: i64) -> Result<HourSums, StoreError> {
    let sql = format!("SELECT {SUMS} FROM revenue_daily WHERE day >= ?1 AND day < ?2");
    Ok(asked(connection, &sql)?.query_row([first, end], read)?)
}

fn series(
    connection: &Connection,
    by: Step,
    (first, end): (i64, i64),
    of: &SalesFilter,
) -> Result<Vec<RevenuePoint>, StoreError> {
    let Some((service, route)) = of.numbers(connection)? else { return Ok(Vec::new()) };
    let (table, step) = by.table();
    let sql = format!(
        "SELECT {step} * ?3 AS first_hour, {SUMS} FROM {table}
         WHERE {step} >= ?1 AND {step} < ?2 AND (?4 IS NULL OR service = ?4)
               AND (?5 IS NULL OR route = ?5)
         GROUP BY {step} ORDER BY {step}"
    );
    let mut query = asked(connection, &sql)?;
    let rows = query.query_map(params![first, end, by.hours(), service, route], |row| {
        let hour: u64 = row.get("first_hour")?;
        let at = Timestamp::from_secs(hour.saturating_mul(SECS_AN_HOUR));
        Ok(RevenuePoint { at, sums: read(row)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn by_route(
    connection: &Connection,
    by: Step,
    (first, end): (i64, i64),
    of: &SalesFilter,
) -> Result<Vec<RouteRevenue>, StoreError> {
    let Some((service, route)) = of.numbers(connection)? else { return Ok(Vec::new()) };
    let (table, step) = by.table();
    let sql = format!(
        "SELECT s.name AS service_name, r.name AS route_name, sums.* FROM
             (SELECT service, route, {SUMS} FROM {table} WHERE {step} >= ?1 AND {step} < ?2
                AND (?3 IS NULL OR service = ?3) AND (?4 IS NULL OR route = ?4)
              GROUP BY service, route) sums
             JOIN names s ON s.id = sums.service JOIN names r ON r.id = sums.route
         ORDER BY earned_msat DESC, service_name, route_name"
    );
    let mut query = asked(connection, &sql)?;
    let rows = query.query_map(params![first, end, service, route], |row| {
        let (service, route) = (column(row, "service_name")?, column(row, "route_name")?);
        Ok(RouteRevenue { service, route, sums: read(row)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn count(stored: i64) -> Result<u64, StoreError> {
    u64::try_from(stored).map_err(|_| StoreError::Corrupt("a count below zero"))
}

fn amount(stored: i64) -> Result<Msat, StoreError> {
    Msat::new(count(stored)?).map_err(|_| StoreError::Corrupt("a sum above all the bitcoin there is"))
}
