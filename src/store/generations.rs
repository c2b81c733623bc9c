//! The lives of the ledger (MONEY rule 10): a restored copy never un-spends what was spent after it.
//!
//! Invariants: a generation begins in the transaction that opens the file, before anything else is written;
//! its number never comes again on this ledger. While tokens of older key epochs are in doubt, one of them
//! that the copy takes to be good is refused until the operator honours it; one that is used up, ran out
//! or was taken back in the copy is refused as ever.

use std::path::Path;

use rusqlite::{Connection, Row, params};
use schemars::JsonSchema;
use serde::Serialize;

use super::page::Page;
use super::rows::{Stored, column, column_or_none, name_id};
use super::{Ledger, StoreError, deposits, pool, schema};
use crate::event::Event;
use crate::ledger::Sale;
use crate::types::{Kind, Msat, Name, PaymentHash, Timestamp};

/// The reason of a life that began with a backup that was put in the ledger's place.
pub const RESTORED: &str = "restored";
/// Marks came with this schema.
const MARKED_SINCE: u32 = 8;

/// How far a ledger is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks {
    /// Which of its lives.
    pub generation: u64,
    /// Transactions that changed something, over all of them.
    pub steps: u64,
}

/// What lies where a ledger should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Missing,
    /// One of a version that had no marks.
    Unmarked,
    /// One that says how far it is.
    Marked(Marks),
}

/// A life that begins when the ledger is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewGeneration {
    /// Its number, above every one before.
    pub number: u64,
    /// Tokens of key epochs below this one are in doubt.
    pub doubtful_below: u32,
    /// Stable word for why, such as `restored`.
    pub why: &'static str,
    /// When the copy was made that was put in the ledger's place, where that is known.
    pub copy_made_at: Option<Timestamp>,
}

/// One life of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Generation {
    /// Its number.
    pub generation: u64,
    /// The number of its first event.
    pub first_event: i64,
    /// When it began.
    pub begun_at: Timestamp,
    /// Why: `first`, `restored`, `old_copy`, `new_ledger` or `unwitnessed`.
    pub why: String,
    /// When the copy was made that it began with, where a backup was brought back.
    pub copy_made_at: Option<Timestamp>,
    /// Tokens of key epochs below this one are refused until honoured; 0 when none is.
    pub doubtful_below_epoch: u32,
    /// Nothing is sent until the operator says so.
    pub payouts_parked: bool,
}

/// A token whose use the restored copy cannot prove.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Doubt {
    /// Its payment.
    pub payment_hash: PaymentHash,
    /// Whose, as far as it was presented; likewise the next four.
    pub service: Option<Name>,
    /// The route that it was sold for.
    pub route: Option<Name>,
    /// What was sold.
    pub kind: Option<Kind>,
    /// Units as the token says them.
    pub units: Option<u64>,
    /// What was paid.
    pub price_msat: Option<Msat>,
    /// When it came first and was refused.
    pub presented_at: Option<Timestamp>,
    /// When the operator said that it is good all the same.
    pub honoured_at: Option<Timestamp>,
    /// It was given away after the copy was made, which does not know what may be drawn from it: honouring it
    /// does not help, another one has to be given.
    pub given_after: bool,
}

impl Ledger {
    /// How far the ledger at `path` is, whether or not an appliance has it open. Blocks.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn marks_of(path: &Path) -> Result<Found, StoreError> {
        // An empty file is what a start leaves that was cut off before its first commit.
        if std::fs::metadata(path).map_or(true, |found| found.len() == 0) {
            return Ok(Found::Missing);
        }
        let connection = pool::open(path)?;
        let version: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if version < MARKED_SINCE {
            return Ok(if version == 0 { Found::Missing } else { Found::Unmarked });
        }
        Ok(Found::Marked(marks(&connection)?))
    }

    /// How far it is.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn marks(&self) -> Result<Marks, StoreError> {
        self.0.readers.read(marks).await
    }

    /// Its lives, the first one first; there is always one.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn generations(&self) -> Result<Vec<Generation>, StoreError> {
        self.0.readers.read(all).await
    }

    /// The life that it is in.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn generation(&self) -> Result<Generation, StoreError> {
        self.0.readers.read(current).await
    }

    /// Tokens in doubt that were presented or honoured, at most `limit`, those that wait for the operator
    /// first.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn doubts(&self, limit: u32) -> Result<Vec<Doubt>, StoreError> {
        let work = move |connection: &Connection| {
            let mut query = connection.prepare_cached(
                "SELECT d.*, s.name AS service_name, r.name AS route_name,
                     EXISTS (SELECT 1 FROM grants g WHERE g.payment_hash = d.payment_hash) AS known FROM doubts d
                 LEFT JOIN names s ON s.id = d.service LEFT JOIN names r ON r.id = d.route
                 ORDER BY d.honoured_at IS NOT NULL, d.presented_at DESC LIMIT ?1",
            )?;
            Ok(query.query_map([limit], read_doubt)?.collect::<Result<_, _>>()?)
        };
        self.0.readers.read(work).await
    }

    /// Whether this payment's token came and was given away after the copy was made: honouring it would not help, for
    /// nobody knows what may be drawn from it.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn is_given_after(&self, payment_hash: PaymentHash) -> Result<bool, StoreError> {
        let work = move |connection: &Connection| {
            let mut query = connection.prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM doubts d WHERE d.payment_hash = ?1 AND d.kind = ?2
                     AND NOT EXISTS (SELECT 1 FROM grants g WHERE g.payment_hash = d.payment_hash))",
            )?;
            let key = params![Stored(payment_hash), Stored(Kind::Granted)];
            Ok(query.query_row(key, |row| row.get(0))?)
        };
        self.0.readers.read(work).await
    }

    /// The operator takes the token of this payment to be good, as far as the copy knows it; false when it
    /// was honoured before, or no token is in doubt.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn honour(&self, payment_hash: PaymentHash) -> Result<bool, StoreError> {
        let work = move |page: &mut Page<'_>| {
            if current(page.connection)?.doubtful_below_epoch == 0 {
                return Ok(false);
            }
            let mut upsert = page.connection.prepare_cached(
                "INSERT INTO doubts (payment_hash, honoured_at) VALUES (?1, ?2)
                 ON CONFLICT DO UPDATE SET honoured_at = ?2 WHERE honoured_at IS NULL",
            )?;
            let new = upsert.execute(params![Stored(payment_hash), Stored(page.now)])? == 1;
            if new {
                page.log(&Event::TokenHonoured { payment_hash })?;
            }
            Ok(new)
        };
        self.0.writer.call(work).await
    }

    /// The operator takes every token that is in doubt to be good; false when none is.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn honour_all(&self) -> Result<bool, StoreError> {
        let work = |page: &mut Page<'_>| {
            let Generation { generation, doubtful_below_epoch, .. } = current(page.connection)?;
            if doubtful_below_epoch == 0 {
                return Ok(false);
            }
            let sql = "UPDATE generations SET doubtful_below = 0 WHERE generation = ?1";
            page.connection.execute(sql, [generation])?;
            page.connection.execute("DELETE FROM doubts", [])?;
            page.log(&Event::AllTokensHonoured { below_epoch: doubtful_below_epoch })?;
            Ok(true)
        };
        self.0.writer.call(work).await
    }

    /// Lets coins be sent again after a restore; false when that was so already.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn release_payouts(&self) -> Result<bool, StoreError> {
        let work = |page: &mut Page<'_>| {
            let Generation { generation, payouts_parked, .. } = current(page.connection)?;
            if payouts_parked {
                let sql = "UPDATE generations SET parked = 0 WHERE generation = ?1";
                page.connection.execute(sql, [generation])?;
                page.log(&Event::PayoutsReleased)?;
            }
            Ok(payouts_parked)
        };
        self.0.writer.call(work).await
    }
}

/// Begins a life: the first thing that is written when the ledger opens.
pub(super) fn begin(page: &Page<'_>, new: &NewGeneration) -> Result<(), StoreError> {
    let NewGeneration { number, doubtful_below, why, copy_made_at } = *new;
    let first = schema::newest_event(page.connection)?.saturating_add(1);
    page.connection.execute("DELETE FROM doubts", [])?;
    deposits::tell_anew(page.connection)?;
    page.connection.execute(
        "INSERT INTO generations VALUES (?1, ?2, ?3, ?4, ?5, 1, ?6)",
        params![number, first, Stored(page.now), why, doubtful_below, copy_made_at.map(Stored)],
    )?;
    page.log(&Event::GenerationBegun { why: why.to_owned(), doubtful_below_epoch: doubtful_below })?;
    Ok(())
}

/// Whether the token of `sale` is refused though the copy may take it to be good.
pub(super) fn is_doubtful(connection: &Connection, sale: &Sale) -> Result<bool, StoreError> {
    let mut query = connection
        .prepare_cached("SELECT doubtful_below FROM generations ORDER BY generation DESC LIMIT 1")?;
    let below: u32 = query.query_row([], |row| row.get(0))?;
    if sale.token_id.epoch() >= below {
        return Ok(false);
    }
    let mut query = connection
        .prepare_cached("SELECT 1 FROM doubts WHERE payment_hash = ?1 AND honoured_at IS NOT NULL")?;
    Ok(!query.exists([Stored(sale.payment_hash)])?)
}

/// Notes that a token came and was refused for that, the first time.
pub(super) fn note(page: &Page<'_>, sale: &Sale) -> Result<(), StoreError> {
    let mut query = page.connection.prepare_cached("SELECT 1 FROM doubts WHERE payment_hash = ?1")?;
    if query.exists([Stored(sale.payment_hash)])? {
        return Ok(());
    }
    let mut insert = page.connection.prepare_cached(
        "INSERT INTO doubts (payment_hash, service, route, kind, units, price_msat, presented_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    insert.execute(params![
        Stored(sale.payment_hash),
        name_id(page.connection, &sale.service)?,
        name_id(page.connection, &sale.route)?,
        Stored(sale.kind),
        sale.units,
        Stored(sale.sold),
        Stored(page.now),
    ])?;
    page.log(&Event::TokenDoubted { payment_hash: sale.payment_hash, service: sale.service.clone() })?;
    Ok(())
}

/// Refuses what would send coins while that is parked.
pub(super) fn may_send(page: &Page<'_>) -> Result<(), StoreError> {
    let mut query =
        page.connection.prepare_cached("SELECT parked FROM generations ORDER BY generation DESC LIMIT 1")?;
    if query.query_row([], |row| row.get(0))? { Err(StoreError::Parked) } else { Ok(()) }
}

pub(super) fn marks(connection: &Connection) -> Result<Marks, StoreError> {
    let sql = "SELECT (SELECT MAX(generation) FROM generations), (SELECT steps FROM totals)";
    Ok(connection
        .prepare_cached(sql)?
        .query_row([], |row| Ok(Marks { generation: row.get(0)?, steps: row.get(1)? }))?)
}

fn current(connection: &Connection) -> Result<Generation, StoreError> {
    let sql = "SELECT * FROM generations ORDER BY generation DESC LIMIT 1";
    Ok(connection.prepare_cached(sql)?.query_row([], read)?)
}

fn all(connection: &Connection) -> Result<Vec<Generation>, StoreError> {
    let mut query = connection.prepare_cached("SELECT * FROM generations ORDER BY generation")?;
    Ok(query.query_map([], read)?.collect::<Result<_, _>>()?)
}

fn read(row: &Row<'_>) -> rusqlite::Result<Generation> {
    Ok(Generation {
        generation: row.get("generation")?,
        first_event: row.get("first_event")?,
        begun_at: column(row, "begun_at")?,
        why: row.get("why")?,
        copy_made_at: column_or_none(row, "copy_made_at")?,
        doubtful_below_epoch: row.get("doubtful_below")?,
        payouts_parked: row.get("parked")?,
    })
}

fn read_doubt(row: &Row<'_>) -> rusqlite::Result<Doubt> {
    let kind: Option<Kind> = column_or_none(row, "kind")?;
    Ok(Doubt {
        payment_hash: column(row, "payment_hash")?,
        service: column_or_none(row, "service_name")?,
        route: column_or_none(row, "route_name")?,
        given_after: kind == Some(Kind::Granted) && !row.get::<_, bool>("known")?,
        kind,
        units: row.get("units")?,
        price_msat: column_or_none(row, "price_msat")?,
        presented_at: column_or_none(row, "presented_at")?,
        honoured_at: column_or_none(row, "honoured_at")?,
    })
}
