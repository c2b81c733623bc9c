//! How a hold ends: as its holder says, or as a crash left it.
//!
//! Invariant: the row of a hold is the permission to end it, and is gone with the first end.

use rusqlite::Connection;

use crate::event::Event;
use crate::ledger::{Ending, Grant, NoSuchUnit, Outcome, Taken, Weight};
use crate::store::grants::GrantRow;
use crate::store::hours::{Hour, Sums};
use crate::store::job::Owed;
use crate::store::page::Page;
use crate::store::rows::column;
use crate::store::spends::{Charge, Spend};
use crate::store::{StoreError, counters, grants, optional, spends};
use crate::types::Kind;

/// How one hold shall end.
pub(super) struct HoldEnd {
    pub(super) hold: i64,
    pub(super) ending: Ending,
    /// Handed down.
    pub(super) bytes: u64,
}

impl Owed for HoldEnd {
    fn write(&self, page: &mut Page<'_>) -> Result<(), StoreError> {
        let Some(hold) = close(page.connection, self.hold)? else {
            return Err(StoreError::Corrupt("a hold was to end twice"));
        };
        let ending = self.ending;
        let how = match ending {
            Ending::Delivered => Charge::Delivered,
            Ending::Charged(_) => Charge::Metered,
            Ending::Cancelled | Ending::Restored(_) => Charge::Cancelled,
        };
        let (row, outcome) = finish(page, &hold, self.bytes, how, |grant| grant.end(&hold.taken, ending))?;
        if let (Outcome::Restored, Ending::Restored(reason)) = (outcome, ending) {
            page.log(&Event::UnitRestored {
                payment_hash: row.payment_hash,
                service: row.service,
                reason: reason.code().to_owned(),
            })?;
        }
        Ok(())
    }
}

/// A hold whose row was removed: it ends now.
struct Closed {
    hold: i64,
    /// It counts in counters.
    limited: bool,
    grant: i64,
    route: i64,
    taken: Taken,
}

/// Removes the hold's row; `None` when it has ended before.
fn close(connection: &Connection, hold: i64) -> Result<Option<Closed>, StoreError> {
    let mut delete = connection.prepare_cached(
        "DELETE FROM holds WHERE id = ?1 RETURNING grant_id, route, units, opened_at, limits",
    )?;
    optional(delete.query_row([hold], |row| {
        Ok(Closed {
            hold,
            limited: row.get::<_, i64>("limits")? > 0,
            grant: row.get("grant_id")?,
            route: row.get("route")?,
            taken: Taken { units: row.get("units")?, at: column(row, "opened_at")? },
        })
    }))
}

fn finish(
    page: &mut Page<'_>,
    hold: &Closed,
    bytes: u64,
    how: Charge,
    end: impl FnOnce(&mut Grant) -> Result<Outcome, NoSuchUnit>,
) -> Result<(GrantRow, Outcome), StoreError> {
    let row = grants::by_id(page.connection, hold.grant)?;
    let row = row.ok_or(StoreError::Corrupt("a hold without a grant"))?;
    let mut grant = row.grant;
    let outcome =
        end(&mut grant).map_err(|NoSuchUnit| StoreError::Corrupt("a hold had no unit behind it"))?;
    if let Outcome::Spent { units, earned } = outcome {
        grant.bytes = grant.bytes.saturating_add(bytes);
        spends::write(
            page,
            &Spend {
                grant: row.id,
                number: grant.calls,
                service: row.service_id,
                route: hold.route,
                units,
                earned,
                bytes,
                how,
                granted: grant.kind == Kind::Granted,
            },
        )?;
    }
    if outcome == Outcome::Restored {
        let hour = Hour::at(page.now, row.service_id, hold.route);
        page.hours.push((hour, Sums { restored: 1, ..Sums::default() }));
    }
    if hold.limited {
        counters::end(page.connection, hold.hold, Weight::of(&grant), &outcome)?;
    }
    grants::save(page, &row, &grant)?;
    Ok((row, outcome))
}

/// Resolves what a crash left open: the buyer keeps the unit the first time, is charged the second
/// (MONEY rule 6). Gives how many were restored and charged.
pub(in crate::store) fn resolve_crashed(page: &mut Page<'_>) -> Result<(u64, u64), StoreError> {
    let connection = page.connection;
    let mut query = connection.prepare("SELECT id FROM holds ORDER BY id")?;
    let holds: Vec<i64> = query.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let (mut restored, mut charged) = (0, 0);
    for hold in holds {
        let Some(hold) = close(connection, hold)? else { continue };
        let crashed = Charge::Crashed;
        let (row, outcome) = finish(page, &hold, 0, crashed, |grant| grant.resolve_crash(&hold.taken))?;
        let kept = outcome == Outcome::Restored;
        if kept {
            restored += 1;
        } else {
            charged += 1;
        }
        page.log(&Event::CrashRestored { payment_hash: row.payment_hash, restored: kept })?;
    }
    Ok((restored, charged))
}
