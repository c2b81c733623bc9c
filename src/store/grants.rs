//! Grants: what a sale's first redemption makes of it, and every step of its counters.
//!
//! Invariants: the counters move only by `ledger`'s arithmetic; a step that a buyer or the operator
//! would ask about writes its event in the same transaction; the running sums follow every step.

use rusqlite::{Connection, Row, params};

use super::page::Page;
use super::rows::{Stored, column};
use super::totals::{Totals, msat};
use super::{Ledger, StoreError, optional};
use crate::event::Event;
use crate::ledger::{Grant, Outcome, Sale};
use crate::types::{Msat, Name, PaymentHash, Timestamp, TokenId};

/// Grants that one idle moment sweeps.
const SWEEP: u32 = 512;

/// One grant as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantRow {
    /// Names it.
    pub payment_hash: PaymentHash,
    /// The token.
    pub token_id: TokenId,
    /// The service.
    pub service: Name,
    /// The route.
    pub route: Name,
    /// The counters.
    pub grant: Grant,
    /// When it was first redeemed.
    pub redeemed_at: Timestamp,
    /// Until when it is good, that instant included.
    pub valid_until: Timestamp,
}

impl GrantRow {
    /// Whether `sale` says the same as what was redeemed first.
    pub(super) fn is_of(&self, sale: &Sale) -> bool {
        self.token_id == sale.token_id
            && self.service == sale.service
            && self.route == sale.route
            && (self.grant.sold, self.grant.price) == (sale.units, sale.sold)
            && self.valid_until == sale.valid_until
    }
}

impl Ledger {
    /// One grant.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn grant(&self, payment_hash: PaymentHash) -> Result<Option<GrantRow>, StoreError> {
        self.0.readers.read(move |connection| find(connection, payment_hash)).await
    }
}

/// Takes a token back; gives how many units were left.
pub(super) fn revoke(page: &mut Page<'_>, payment_hash: PaymentHash) -> Result<u64, StoreError> {
    let mut insert = page.connection.prepare_cached(
        "INSERT INTO revocations (payment_hash, at) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
    )?;
    if insert.execute(params![Stored(payment_hash), Stored(page.now)])? == 0 {
        return Ok(0);
    }
    let units = match find(page.connection, payment_hash)? {
        Some(before) => {
            let mut grant = before.grant;
            let units = grant.revoke();
            save(page, &before, &grant)?;
            units
        }
        None => 0,
    };
    page.log(&Event::TokenRevoked { payment_hash, units })?;
    Ok(units)
}

/// Whether the operator took the token back.
pub(super) fn is_revoked(connection: &Connection, payment_hash: PaymentHash) -> Result<bool, StoreError> {
    let mut query = connection.prepare_cached("SELECT 1 FROM revocations WHERE payment_hash = ?1")?;
    Ok(query.exists([Stored(payment_hash)])?)
}

/// Makes the grant of a first redemption; nothing when it is there. What the payment's event could not
/// know about the purchase is filled in (MONEY rule 3).
pub(super) fn redeem(page: &mut Page<'_>, sale: &Sale) -> Result<(), StoreError> {
    let mut insert = page.connection.prepare_cached(
        "INSERT INTO grants (payment_hash, token_id, service, route, price_msat, sold, left_, held, spent, expired,
                             revoked, restored, loaded, crash_restored, redeemed_at, valid_until)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, 0, 0, 0, 0, 0, 0, 0, ?7, ?8) ON CONFLICT DO NOTHING",
    )?;
    let made = insert.execute(params![
        Stored(sale.payment_hash),
        Stored(sale.token_id),
        Stored(&sale.service),
        Stored(&sale.route),
        Stored(sale.sold),
        sale.units,
        Stored(page.now),
        Stored(sale.valid_until),
    ])?;
    if made == 0 {
        return Ok(());
    }
    page.totals = page.totals.plus(Totals::of(&Grant::sold(sale.units, sale.sold)));
    let mut told = page.connection.prepare_cached(
        "UPDATE payments SET service = ?2, route = ?3 WHERE payment_hash = ?1 RETURNING amount_msat",
    )?;
    let values = params![Stored(sale.payment_hash), Stored(&sale.service), Stored(&sale.route)];
    let paid: Option<Msat> = optional(told.query_row(values, |row| column(row, "amount_msat")))?;
    page.totals.unredeemed_msat -= paid.map_or(0, msat);
    Ok(())
}

/// Writes the counters of a grant that was `before`; the table's CHECK refuses what does not balance.
pub(super) fn save(page: &mut Page<'_>, before: &GrantRow, after: &Grant) -> Result<(), StoreError> {
    let mut update = page.connection.prepare_cached(
        "UPDATE grants SET left_ = ?2, held = ?3, spent = ?4, expired = ?5, revoked = ?6, restored = ?7, loaded = ?8,
                           crash_restored = ?9
         WHERE payment_hash = ?1",
    )?;
    let changed = update.execute(params![
        Stored(before.payment_hash),
        after.left,
        after.held,
        after.spent,
        after.expired,
        after.revoked,
        after.restored,
        after.loaded,
        after.crash_restored,
    ])?;
    if changed != 1 {
        return Err(StoreError::Corrupt("a grant vanished while it was written"));
    }
    page.totals = page.totals.plus(Totals::of(after)).minus(Totals::of(&before.grant));
    Ok(())
}

/// Counts what one unit earned, in the transaction that spends it.
pub(super) fn earn(page: &Page<'_>, row: &GrantRow, outcome: Outcome) -> Result<(), StoreError> {
    let Outcome::Spent(earned) = outcome else { return Ok(()) };
    let mut update = page.connection.prepare_cached(
        "INSERT INTO revenue_hourly (hour, service, route, calls, earned_msat) VALUES (?1, ?2, ?3, 1, ?4)
         ON CONFLICT DO UPDATE SET calls = calls + 1, earned_msat = earned_msat + ?4",
    )?;
    update.execute(params![hour_of(page.now), Stored(&row.service), Stored(&row.route), Stored(earned)])?;
    page.log(&Event::UnitSpent {
        payment_hash: row.payment_hash,
        service: row.service.clone(),
        route: row.route.clone(),
        amount_msat: earned,
    })?;
    Ok(())
}

/// Lets what is left of one grant run out.
pub(super) fn expire(page: &mut Page<'_>, row: &GrantRow) -> Result<(), StoreError> {
    let mut grant = row.grant;
    let units = grant.expire();
    if units > 0 {
        save(page, row, &grant)?;
        page.log(&Event::UnitsExpired { payment_hash: row.payment_hash, units })?;
    }
    Ok(())
}

/// Lets grants run out whose time is over; some at a time, so that no commit is long.
pub(super) fn sweep(page: &mut Page<'_>) -> Result<(), StoreError> {
    let connection = page.connection;
    let mut query =
        connection.prepare_cached("SELECT * FROM grants WHERE left_ > 0 AND valid_until < ?1 LIMIT ?2")?;
    let rows: Vec<GrantRow> =
        query.query_map(params![Stored(page.now), SWEEP], read)?.collect::<Result<_, _>>()?;
    rows.iter().try_for_each(|row| expire(page, row))
}

/// Hours since the Unix epoch.
pub(super) fn hour_of(at: Timestamp) -> i64 {
    i64::try_from(at.secs() / 3_600).unwrap_or(i64::MAX)
}

/// One grant by its hash.
pub(super) fn find(
    connection: &Connection,
    payment_hash: PaymentHash,
) -> Result<Option<GrantRow>, StoreError> {
    let mut query = connection.prepare_cached("SELECT * FROM grants WHERE payment_hash = ?1")?;
    optional(query.query_row([Stored(payment_hash)], read))
}

pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<GrantRow> {
    Ok(GrantRow {
        payment_hash: column(row, "payment_hash")?,
        token_id: column(row, "token_id")?,
        service: column(row, "service")?,
        route: column(row, "route")?,
        grant: Grant {
            sold: row.get("sold")?,
            left: row.get("left_")?,
            held: row.get("held")?,
            spent: row.get("spent")?,
            expired: row.get("expired")?,
            revoked: row.get("revoked")?,
            restored: row.get("restored")?,
            loaded: row.get("loaded")?,
            crash_restored: row.get("crash_restored")?,
            price: column::<Msat>(row, "price_msat")?,
        },
        redeemed_at: column(row, "redeemed_at")?,
        valid_until: column(row, "valid_until")?,
    })
}
