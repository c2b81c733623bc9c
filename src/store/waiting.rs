//! What was paid for and whose token has not been presented yet: as much as its challenge said of it, so that retiring
//! a key epoch and changing a price can say whom they touch. Of a payment whose challenge nobody remembers, nothing.

use std::collections::HashMap;

use rusqlite::{Connection, params};

use super::StoreError;
use super::outstanding::Sold;
use super::page::Page;
use super::plan::asked;
use super::rows::Stored;
use crate::ledger::Bought;
use crate::types::{PaymentHash, Timestamp};

/// Notes what a payment bought that just came before its token.
pub(super) fn note(page: &Page<'_>, payment_hash: PaymentHash, bought: &Bought) -> Result<(), StoreError> {
    let mut update = page.connection.prepare_cached(
        "UPDATE payments SET waiting_epoch = ?2, waiting_units = ?3, waiting_covers_msat = ?4, waiting_until = ?5
         WHERE payment_hash = ?1",
    )?;
    update.execute(params![
        Stored(payment_hash),
        bought.epoch,
        i64::try_from(bought.units).unwrap_or(i64::MAX),
        Stored(bought.covers),
        Stored(bought.valid_until),
    ])?;
    Ok(())
}

/// Adds to `sold` what waits at `now`, and was not taken back: requests, packs and balances. A pass opens its scope
/// whatever that costs.
pub(super) fn add(
    connection: &Connection,
    sold: &mut HashMap<Sold, super::Left>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut query = asked(
        connection,
        "SELECT service, route, kind, waiting_covers_msat, asked_msat, waiting_units, quote
         FROM payments p INDEXED BY payments_not_come
         WHERE waiting_until > ?1 AND service IS NOT NULL AND asked_msat IS NOT NULL AND kind <> 'pass'
               AND NOT EXISTS (SELECT 1 FROM revocations r WHERE r.payment_hash = p.payment_hash)",
    )?;
    let mut rows = query.query(params![Stored(now)])?;
    while let Some(row) = rows.next()? {
        let (Stored(kind), Stored(covers), Stored(price)) = (row.get(2)?, row.get(3)?, row.get(4)?);
        let units: u64 = row.get(5)?;
        let alike = (row.get(0)?, row.get(1)?, kind, covers, price, units, row.get(6)?);
        sold.entry(alike).or_default().add(1, units);
    }
    Ok(())
}
