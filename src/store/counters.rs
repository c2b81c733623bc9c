//! The counters of the limits that holders put into their tokens (MONEY rule 12).
//!
//! Invariants: what a request counts in every counter of its chain is written with its hold and ended
//! with it, in the same transaction; a row is written only for a limit that is in use or was used; the
//! limits of one grant that are counted are bounded, and so are those below one of them.

use rusqlite::{Connection, Row, params};

use super::plan::asked;
use super::rows::{Stored, column};
use super::totals::{count, msat};
use super::{Ledger, StoreError, optional};
use crate::ledger::{Counter, MAX_COUNTERS, MAX_COUNTERS_BELOW, Outcome, ReserveRefused, Room, Weight};
use crate::types::{Bound, CounterId, Limit, Msat, PaymentHash};

/// One limit of a token that is in use or was used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CounterRow {
    /// Names it: [`Limit::counter`] of every copy of the token that has it.
    pub id: CounterId,
    /// How it stands.
    pub counter: Counter,
    /// The first limit of its chain, when it is not that itself.
    pub below: Option<CounterId>,
}

impl Ledger {
    /// Every limit of a token that is in use or was used, the first used first.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn counters(&self, payment_hash: PaymentHash) -> Result<Vec<CounterRow>, StoreError> {
        self.0.readers.read(move |connection| list(connection, payment_hash)).await
    }
}

pub(super) fn list(
    connection: &Connection,
    payment_hash: PaymentHash,
) -> Result<Vec<CounterRow>, StoreError> {
    let mut query = asked(
        connection,
        "SELECT c.*, b.name AS first FROM counters c LEFT JOIN counters b ON b.id = c.below
         WHERE c.grant_id = (SELECT id FROM grants WHERE payment_hash = ?1) ORDER BY c.id",
    )?;
    let rows = query.query_map([Stored(payment_hash)], |row| {
        let first: Option<Stored<CounterId>> = row.get("first")?;
        Ok(CounterRow {
            id: column(row, "name")?,
            counter: counter(row)?,
            below: first.map(|Stored(name)| name),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn counter(row: &Row<'_>) -> rusqlite::Result<Counter> {
    let most: u64 = row.get("most")?;
    let bound = match row.get_ref("counts")?.as_str()? {
        "uses" => Bound::Uses(most),
        _ => Bound::Spend(Msat::new(most).unwrap_or(Msat::MAX)),
    };
    Ok(Counter { bound, used: row.get("used")?, held: row.get("held")? })
}

/// The counters of one chain of limits, as they stand.
pub(super) struct Chain(Vec<Link>);

struct Link {
    /// `None` when nothing was counted in it.
    row: Option<i64>,
    name: CounterId,
    counter: Counter,
}

impl Chain {
    /// Those of `limits` of a grant, when it is there.
    pub(super) fn read(
        connection: &Connection,
        grant: Option<i64>,
        limits: &[Limit],
    ) -> Result<Chain, StoreError> {
        let link = |limit: &Limit| {
            let Limit { counter: name, bound } = *limit;
            let Some(grant) = grant else { return Ok(Link { row: None, name, counter: Counter::of(bound) }) };
            let mut query = connection
                .prepare_cached("SELECT id, used, held FROM counters WHERE grant_id = ?1 AND name = ?2")?;
            let found = optional(query.query_row(params![grant, Stored(name)], |row| {
                Ok((row.get(0)?, Counter { bound, used: row.get(1)?, held: row.get(2)? }))
            }))?;
            let (row, counter) = found.map_or((None, Counter::of(bound)), |(row, at)| (Some(row), at));
            Ok(Link { row, name, counter })
        };
        Ok(Chain(limits.iter().map(link).collect::<Result<_, StoreError>>()?))
    }

    /// As [`Room::admit`].
    pub(super) fn admit(&self, weight: Weight, least: u64) -> Result<u64, ReserveRefused> {
        Room::admit(self.0.iter().map(|link| &link.counter), weight, least)
    }

    /// Whether as many new counters as it needs may be made.
    pub(super) fn fits(&self, connection: &Connection, grant: Option<i64>) -> Result<bool, StoreError> {
        let new = self.0.iter().filter(|link| link.row.is_none()).count();
        let (Some(grant), true) = (grant, new > 0) else { return Ok(true) };
        let ask = |sql: &str, of: i64| -> Result<u64, StoreError> {
            Ok(connection.prepare_cached(sql)?.query_row([of], |row| row.get(0))?)
        };
        let new = u64::try_from(new).unwrap_or(u64::MAX);
        if ask("SELECT COUNT(*) FROM counters WHERE grant_id = ?1", grant)?.saturating_add(new) > MAX_COUNTERS
        {
            return Ok(false);
        }
        let Some(first) = self.0.first().and_then(|link| link.row) else { return Ok(true) };
        let below = ask("SELECT COUNT(*) FROM counters WHERE below = ?1", first)?;
        Ok(below.saturating_add(new) <= MAX_COUNTERS_BELOW)
    }

    /// Counts a hold of `units` of the grant; gives what every counter still takes then.
    pub(super) fn hold(
        mut self,
        connection: &Connection,
        (grant, hold): (i64, i64),
        weight: Weight,
        units: u64,
    ) -> Result<Room, StoreError> {
        let mut first = None;
        for link in &mut self.0 {
            let taken = link.counter.hold(weight, units);
            let row = link.save(connection, grant, first)?;
            first = first.or(Some(row));
            let mut insert = connection
                .prepare_cached("INSERT INTO counted (hold, counter, units) VALUES (?1, ?2, ?3)")?;
            insert.execute(params![hold, row, count(taken)])?;
        }
        Ok(Room::of(self.0.iter().map(|link| &link.counter)))
    }
}

impl Link {
    /// Writes what is held; makes the row when there is none, below `first`.
    fn save(&self, connection: &Connection, grant: i64, first: Option<i64>) -> Result<i64, StoreError> {
        if let Some(row) = self.row {
            let mut update = connection.prepare_cached("UPDATE counters SET held = ?2 WHERE id = ?1")?;
            update.execute(params![row, count(self.counter.held)])?;
            return Ok(row);
        }
        let (counts, most) = match self.counter.bound {
            Bound::Uses(uses) => ("uses", count(uses)),
            Bound::Spend(spend) => ("msat", msat(spend)),
        };
        let mut insert = connection.prepare_cached(
            "INSERT INTO counters (grant_id, name, below, counts, most, used, held)
             VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6)",
        )?;
        insert.execute(params![grant, Stored(self.name), first, counts, most, count(self.counter.held)])?;
        Ok(connection.last_insert_rowid())
    }
}

/// Ends what `hold` counts in, as it ended for the grant.
pub(super) fn end(
    connection: &Connection,
    hold: i64,
    weight: Weight,
    outcome: &Outcome,
) -> Result<(), StoreError> {
    let mut query = connection.prepare_cached(
        "SELECT c.id, c.counts, c.most, c.used, c.held, h.units
         FROM counted h JOIN counters c ON c.id = h.counter WHERE h.hold = ?1 ORDER BY c.id DESC",
    )?;
    let counted = query.query_map([hold], |row| {
        Ok((row.get::<_, i64>("id")?, counter(row)?, row.get::<_, u64>("units")?))
    })?;
    let counted: Vec<(i64, Counter, u64)> = counted.collect::<Result<_, _>>()?;
    connection.prepare_cached("DELETE FROM counted WHERE hold = ?1")?.execute([hold])?;
    for (row, mut counter, taken) in counted {
        let ended = counter.end(weight, taken, outcome);
        ended.map_err(|_| StoreError::Corrupt("a counter had nothing held"))?;
        let mut update =
            connection.prepare_cached("UPDATE counters SET used = ?2, held = ?3 WHERE id = ?1")?;
        update.execute(params![row, count(counter.used), count(counter.held)])?;
        if counter.is_idle() {
            // What came to nothing takes no place: those below go first, for they were made later.
            let mut delete = connection.prepare_cached(
                "DELETE FROM counters WHERE id = ?1
                 AND NOT EXISTS (SELECT 1 FROM counters b WHERE b.below = ?1)
                 AND NOT EXISTS (SELECT 1 FROM counted h WHERE h.counter = ?1)",
            )?;
            delete.execute([row])?;
        }
    }
    Ok(())
}

/// Forgets the counters of a grant that has long been over: it refuses everything by itself.
pub(super) fn forget(connection: &Connection, grant: i64) -> Result<(), StoreError> {
    let mut below =
        connection.prepare_cached("DELETE FROM counters WHERE grant_id = ?1 AND below IS NOT NULL")?;
    below.execute([grant])?;
    connection.prepare_cached("DELETE FROM counters WHERE grant_id = ?1")?.execute([grant])?;
    Ok(())
}
