//! What time does to grants: units run out, passes end, and the spends of what has long been over are
//! folded away.
//!
//! Every grant says when it is due; some at a time, so that no commit is long.

use std::time::Duration;

use rusqlite::params;

use super::grants::{self, GrantRow};
use super::page::Page;
use super::rows::Stored;
use super::{StoreError, counters, spends};
use crate::event::Event;
use crate::types::Kind;

/// Grants that one idle moment looks at.
const SWEEP: u32 = 512;

/// When to look again at one that is over but for a request under way.
const LATER: Duration = Duration::from_secs(600);

/// Looks at the grants that are due; says whether more are.
pub(super) fn sweep(page: &mut Page<'_>) -> Result<bool, StoreError> {
    let connection = page.connection;
    let mut query =
        connection.prepare_cached("SELECT * FROM grants_named WHERE due < ?1 ORDER BY due LIMIT ?2")?;
    let rows: Vec<GrantRow> =
        query.query_map(params![Stored(page.now), SWEEP], grants::read)?.collect::<Result<_, _>>()?;
    let mut more = rows.len() >= usize::try_from(SWEEP).unwrap_or(usize::MAX);
    for row in &rows {
        if row.over_at.is_none() {
            run_out(page, row)?;
        } else if spends::fold(page.connection, row.id)? {
            counters::forget(page.connection, row.id)?;
            grants::look_again(page, row.id, row.over_at, None)?;
        } else {
            more = true;
        }
    }
    Ok(more)
}

/// Lets the time of one grant be over.
fn run_out(page: &mut Page<'_>, row: &GrantRow) -> Result<(), StoreError> {
    let mut grant = row.grant;
    let units = if grant.valid_until < page.now { grant.expire() } else { 0 };
    grants::save(page, row, &grant)?;
    if units > 0 {
        page.log(&Event::UnitsExpired { payment_hash: row.payment_hash, units })?;
    }
    let over = grant.is_over(page.now);
    if over && grant.kind == Kind::Pass && grant.spent > 0 {
        grants::exhaust(page, row, 0, false)?;
    }
    if !over {
        grants::look_again(page, row.id, None, Some(page.now.plus(LATER)))?;
    }
    Ok(())
}
