//! Payments that arrived: one credit a hash, whatever is told twice.

use rusqlite::{Connection, params};

use super::page::Page;
use super::rows::{Stored, column, column_or_none};
use super::totals::msat;
use super::{Ledger, StoreError, grants, optional, schema};
use crate::event::Event;
use crate::ledger::Bought;
use crate::types::{Msat, Name, PaymentHash, Timestamp};

/// What the telling of a payment did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credit {
    /// It was new and is credited.
    First,
    /// It was told before the last restart: nothing changed (MONEY rule 4).
    Replayed,
    /// It was told twice in one run: perhaps it was paid twice. Shown, never revenue.
    PossibleSurplus,
}

/// What became of a payment's units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PaymentState {
    /// The token has not been presented yet.
    Unredeemed,
    /// A request is on its way.
    Held,
    /// Units are left.
    Left,
    /// Everything is used up.
    Spent,
    /// What was not used in time ran out.
    Expired,
    /// The operator took it back.
    Revoked,
}

impl PaymentState {
    /// Stable code.
    pub const fn code(self) -> &'static str {
        match self {
            PaymentState::Unredeemed => "unredeemed",
            PaymentState::Held => "held",
            PaymentState::Left => "left",
            PaymentState::Spent => "spent",
            PaymentState::Expired => "expired",
            PaymentState::Revoked => "revoked",
        }
    }
}

/// One payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentRow {
    /// Position in the list; rises.
    pub id: i64,
    /// Its hash.
    pub payment_hash: PaymentHash,
    /// What arrived.
    pub amount: Msat,
    /// When it was credited.
    pub received_at: Timestamp,
    /// What it was for, once known.
    pub service: Option<Name>,
    /// The route, likewise.
    pub route: Option<Name>,
    /// What may have arrived beyond it.
    pub surplus: Msat,
    /// What became of it.
    pub state: PaymentState,
}

impl Ledger {
    /// Credits a payment, once for each hash.
    ///
    /// # Errors
    /// When the disk fails; nothing is credited then, and the telling may be repeated.
    pub async fn receive(
        &self,
        payment_hash: PaymentHash,
        amount: Msat,
        bought: Option<Bought>,
    ) -> Result<Credit, StoreError> {
        self.0.writer.call(move |page| credit(page, payment_hash, amount, bought)).await
    }

    /// A node begins to tell its events, perhaps some that it told before: what it repeats from here on
    /// is a replay the first time and a possible surplus the second.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn begin_run(&self) -> Result<(), StoreError> {
        let work = |page: &mut Page<'_>| {
            page.run = schema::next_run(page.connection)?;
            Ok(())
        };
        self.0.writer.call(work).await
    }

    /// The newest payments before number `before`, newest first, at most `limit`.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn payments(&self, limit: u32, before: Option<i64>) -> Result<Vec<PaymentRow>, StoreError> {
        let before = before.unwrap_or(i64::MAX);
        self.0.readers.read(move |connection| list(connection, limit, before)).await
    }
}

fn credit(
    page: &mut Page<'_>,
    payment_hash: PaymentHash,
    amount: Msat,
    bought: Option<Bought>,
) -> Result<Credit, StoreError> {
    let connection = page.connection;
    let mut known = connection.prepare_cached("SELECT run FROM payments WHERE payment_hash = ?1")?;
    let seen: Option<i64> = optional(known.query_row([Stored(payment_hash)], |row| row.get(0)))?;
    match seen {
        Some(run) if run == page.run => surplus(page, payment_hash, amount),
        Some(_) => {
            let mut update =
                connection.prepare_cached("UPDATE payments SET run = ?2 WHERE payment_hash = ?1")?;
            update.execute(params![Stored(payment_hash), page.run])?;
            Ok(Credit::Replayed)
        }
        None => first(page, payment_hash, amount, bought),
    }
}

fn surplus(page: &mut Page<'_>, payment_hash: PaymentHash, amount: Msat) -> Result<Credit, StoreError> {
    let mut update = page
        .connection
        .prepare_cached("UPDATE payments SET surplus_msat = surplus_msat + ?2 WHERE payment_hash = ?1")?;
    update.execute(params![Stored(payment_hash), Stored(amount)])?;
    page.totals.surplus_msat += msat(amount);
    page.log(&Event::PossibleSurplus { payment_hash, amount_msat: amount })?;
    Ok(Credit::PossibleSurplus)
}

fn first(
    page: &mut Page<'_>,
    payment_hash: PaymentHash,
    amount: Msat,
    bought: Option<Bought>,
) -> Result<Credit, StoreError> {
    // A token may be redeemed before its event is told; then the grant knows what was bought.
    let grant = grants::find(page.connection, payment_hash)?;
    let redeemed = grant.is_some();
    let (service, route) = match (grant, bought) {
        (Some(grant), _) => (Some(grant.service), Some(grant.route)),
        (None, Some(bought)) => (Some(bought.service), Some(bought.route)),
        (None, None) => (None, None),
    };
    let mut insert = page.connection.prepare_cached(
        "INSERT INTO payments (payment_hash, amount_msat, received_at, service, route, run)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    insert.execute(params![
        Stored(payment_hash),
        Stored(amount),
        Stored(page.now),
        service.as_ref().map(Stored),
        route.as_ref().map(Stored),
        page.run,
    ])?;
    page.totals.payments += 1;
    page.totals.received_msat += msat(amount);
    page.totals.unredeemed_msat += if redeemed { 0 } else { msat(amount) };
    page.log(&Event::PaymentReceived { payment_hash, amount_msat: amount, service, route })?;
    Ok(Credit::First)
}

fn list(connection: &Connection, limit: u32, before: i64) -> Result<Vec<PaymentRow>, StoreError> {
    let mut query = connection.prepare_cached(
        "SELECT p.*, g.held, g.left_, g.expired, g.revoked
         FROM payments p LEFT JOIN grants g ON g.payment_hash = p.payment_hash
         WHERE p.id < ?1 ORDER BY p.id DESC LIMIT ?2",
    )?;
    let rows = query.query_map(params![before, limit], |row| {
        let units = |column: &str| row.get::<_, Option<u64>>(column);
        let has = |column: &str| Ok::<bool, rusqlite::Error>(units(column)?.is_some_and(|count| count > 0));
        let state = if units("held")?.is_none() {
            PaymentState::Unredeemed
        } else if has("held")? {
            PaymentState::Held
        } else if has("left_")? {
            PaymentState::Left
        } else if has("revoked")? {
            PaymentState::Revoked
        } else if has("expired")? {
            PaymentState::Expired
        } else {
            PaymentState::Spent
        };
        Ok(PaymentRow {
            id: row.get("id")?,
            payment_hash: column(row, "payment_hash")?,
            amount: column(row, "amount_msat")?,
            received_at: column(row, "received_at")?,
            service: column_or_none(row, "service")?,
            route: column_or_none(row, "route")?,
            surplus: column(row, "surplus_msat")?,
            state,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
