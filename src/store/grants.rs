//! Grants: what a sale's first redemption makes of it, and every step of its counters.
//!
//! Invariants: the counters move only by `ledger`'s arithmetic, and a step is written only over the
//! counters that it was computed from; a step that a buyer or the operator would ask about writes its
//! event in the same transaction; the running sums follow every step.

use std::time::Duration;

use rusqlite::{Connection, Row, params};

use super::incoming::PaymentState;
use super::page::Page;
use super::plan::asked;
use super::rows::{Stored, column, column_or_none, name_id};
use super::totals::{Totals, count};
use super::{Ledger, StoreError, incoming, optional};
use crate::event::Event;
use crate::ledger::{Budget, Grant, SPENDS_KEPT, Sale};
use crate::pricing::Used;
use crate::types::{Kind, Msat, Name, PaymentHash, Timestamp, TokenId};

/// One grant as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantRow {
    /// Position in the list; rises.
    pub id: i64,
    /// Names it.
    pub payment_hash: PaymentHash,
    /// The token.
    pub token_id: TokenId,
    /// The service.
    pub service: Name,
    /// The route that was asked for; of a pass, its scope.
    pub route: Name,
    /// What the operator calls a token that was granted.
    pub label: Option<String>,
    /// The price in another currency, with its rate.
    pub quote: Option<String>,
    /// The dearest request that a unit of a request or pack opens.
    pub covers: Msat,
    /// What was sold, and the counters.
    pub grant: Grant,
    /// When it was first redeemed, or granted.
    pub redeemed_at: Timestamp,
    /// Since when nothing more can happen to it.
    pub over_at: Option<Timestamp>,
    /// It was told that it is used up.
    pub(super) exhausted: bool,
    pub(super) service_id: i64,
}

impl GrantRow {
    /// What it was used for: requests that were charged, and bytes of their answers.
    pub fn used(&self) -> Used {
        Used { requests: self.grant.calls, bytes: self.grant.bytes }
    }

    /// What became of it; [`super::GrantState`] finds grants by the same.
    pub fn state(&self) -> PaymentState {
        PaymentState::of(&self.grant, self.over_at.is_some())
    }

    /// Whether something is left and was too little for a request that came, which a cheaper one may still draw. A
    /// budget is filled up again.
    pub fn too_little(&self) -> bool {
        self.state() == PaymentState::Left
            && self.exhausted
            && self.grant.left > 0
            && self.grant.budget.is_none()
    }

    /// Whether `sale` says the same as what was redeemed first.
    ///
    /// A single request may be redeemed in either dialect, of which one does not carry the route and the
    /// token's end: what was said first stays. The token's id says that both are of one payment.
    pub(super) fn is_of(&self, sale: &Sale) -> bool {
        let grant = &self.grant;
        let units = grant.budget.map_or(grant.sold, |budget| budget.units);
        let single = sale.kind == Kind::Request;
        // A granted token was given for the service, on no route's terms.
        let route = single || sale.kind == Kind::Granted || self.route == sale.route;
        self.token_id == sale.token_id
            && self.service == sale.service
            && route
            && (grant.kind, grant.lasts) == (sale.kind, sale.lasts)
            && (units, grant.price) == (sale.units, sale.sold)
            && (single || grant.valid_until == sale.valid_until)
    }
}

/// A token that the operator gives away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewGrant {
    /// Names the grant: the hash of a preimage that goes to the holder.
    pub payment_hash: PaymentHash,
    /// The token.
    pub token_id: TokenId,
    /// The service whose every priced route it opens.
    pub service: Name,
    /// What it may spend; more than nothing.
    pub budget_msat: Msat,
    /// The budget is for each period of so long; `None` is for all the time.
    pub per: Option<Duration>,
    /// What the operator calls it.
    pub label: String,
    /// Until when it is good.
    pub valid_until: Timestamp,
}

impl Ledger {
    /// One grant.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn grant(&self, payment_hash: PaymentHash) -> Result<Option<GrantRow>, StoreError> {
        self.0.readers.read(move |connection| find(connection, payment_hash)).await
    }

    /// Makes the grant of a token that nobody pays for. It is on disk when this returns.
    ///
    /// # Errors
    /// When the hash is taken, the budget is nothing, or the disk fails.
    pub async fn grant_token(&self, new: NewGrant) -> Result<(), StoreError> {
        self.0.writer.call(move |page| give(page, &new)).await
    }
}

fn give(page: &mut Page<'_>, new: &NewGrant) -> Result<(), StoreError> {
    let sale = Sale {
        payment_hash: new.payment_hash,
        token_id: new.token_id,
        service: new.service.clone(),
        route: new.service.clone(),
        kind: Kind::Granted,
        units: new.budget_msat.msat(),
        lasts: None,
        sold: Msat::ZERO,
        covers: Msat::ZERO,
        quote: None,
        valid_until: new.valid_until,
    };
    let budget = new.per.map(|per| Budget::starting(sale.units, per, page.now));
    insert(page, &sale, budget, Some(&new.label))?;
    page.log(&Event::TokenGranted {
        payment_hash: new.payment_hash,
        service: new.service.clone(),
        label: new.label.clone(),
        budget_msat: new.budget_msat,
        per_secs: new.per.map(|per| per.as_secs()),
        valid_until: new.valid_until,
    })?;
    Ok(())
}

impl Ledger {
    /// When the operator took a token back, used before or not.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn revoked_at(&self, payment_hash: PaymentHash) -> Result<Option<Timestamp>, StoreError> {
        let read = move |connection: &Connection| {
            let mut query = asked(connection, "SELECT at FROM revocations WHERE payment_hash = ?1")?;
            optional(query.query_row([Stored(payment_hash)], |row| column(row, "at")))
        };
        self.0.readers.read(read).await
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
        Some(row) => {
            let mut grant = row.grant;
            let units = grant.revoke();
            save(page, &row, &grant)?;
            units
        }
        None => 0,
    };
    page.log(&Event::TokenRevoked { payment_hash, units })?;
    Ok(units)
}

/// Makes the grant of a first redemption. What the payment's event could not know about the purchase is
/// filled in (MONEY rule 3).
pub(super) fn redeem(page: &mut Page<'_>, sale: &Sale) -> Result<(), StoreError> {
    insert(page, sale, None, None)?;
    if incoming::attribute(page, sale)? {
        page.log(&Event::SaleAttributed {
            payment_hash: sale.payment_hash,
            service: sale.service.clone(),
            route: sale.route.clone(),
            offer: sale.kind,
            units: sale.lasts.map_or(sale.units, |lasts| lasts.as_secs()),
            amount_msat: sale.sold,
            quote: sale.quote.clone(),
        })?;
    }
    Ok(())
}

fn insert(
    page: &mut Page<'_>,
    sale: &Sale,
    budget: Option<Budget>,
    label: Option<&str>,
) -> Result<(), StoreError> {
    let grant = Grant { budget, ..Grant::of(sale) };
    let mut insert = page.connection.prepare_cached(
        "INSERT INTO grants (payment_hash, token_id, service, route, kind, price_msat, quote, label,
                             sold, left_, held, spent, expired, revoked, calls, open, bytes,
                             restored, crash_restored, returned, loaded, crash_returned,
                             lasts_ms, budget, per_ms, period, redeemed_at, valid_until, due, covers_msat)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                 ?10, ?11, ?12, ?13, ?14, ?15, ?15, ?16)",
    )?;
    insert.execute(params![
        Stored(sale.payment_hash),
        Stored(sale.token_id),
        name_id(page.connection, &sale.service)?,
        name_id(page.connection, &sale.route)?,
        Stored(sale.kind),
        Stored(sale.sold),
        sale.quote,
        label,
        sale.units,
        sale.lasts.map(Stored),
        budget.map(|budget| count(budget.units)),
        budget.map(|budget| Stored(budget.per)),
        budget.map(|budget| count(budget.period)),
        Stored(page.now),
        Stored(sale.valid_until),
        Stored(sale.covers),
    ])?;
    page.totals = page.totals.plus(Totals::of(&grant));
    Ok(())
}

/// Writes the counters that `after` has over those of `row`, from which it was computed; the table's
/// CHECK refuses what does not balance. Notes what is used up, and what is over.
pub(super) fn save(page: &mut Page<'_>, row: &GrantRow, after: &Grant) -> Result<(), StoreError> {
    let before = &row.grant;
    let mut update = page.connection.prepare_cached(
        "UPDATE grants SET sold = ?2, left_ = ?3, held = ?4, spent = ?5, expired = ?6, revoked = ?7, calls = ?8,
                           open = ?9, bytes = ?10, restored = ?11, crash_restored = ?12, returned = ?13,
                           loaded = ?14, crash_returned = ?15, opens_until = ?16, period = ?17
         WHERE id = ?1 AND left_ = ?18 AND held = ?19 AND open = ?20 AND calls = ?21",
    )?;
    let changed = update.execute(params![
        row.id,
        after.sold,
        after.left,
        after.held,
        after.spent,
        after.expired,
        after.revoked,
        after.calls,
        after.open,
        count(after.bytes),
        after.restored,
        after.crash_restored,
        after.returned,
        after.loaded,
        after.crash_returned,
        after.opens_until.map(Stored),
        after.budget.map(|budget| count(budget.period)),
        before.left,
        before.held,
        before.open,
        before.calls,
    ])?;
    if changed != 1 {
        return Err(StoreError::Corrupt("a grant was changed while it was written"));
    }
    page.totals = page.totals.plus(Totals::of(after)).minus(Totals::of(before));
    note_exhausted(page, row, after)?;
    note_over(page, row, after)
}

/// Tells that a token for several requests is used up, once; a new period of a budget forgets it, and so does a
/// request that what was left was enough for after all.
fn note_exhausted(page: &Page<'_>, row: &GrantRow, after: &Grant) -> Result<(), StoreError> {
    let renewed = row.grant.budget != after.budget;
    // A pass is of use after its one unit is spent; what ran out or was revoked is told as that.
    if after.used_up() && after.spent > row.grant.spent && after.kind != Kind::Pass {
        exhaust(page, row, after.left, renewed)
    } else if row.exhausted && (renewed || (after.left > 0 && after.open < row.grant.open)) {
        let mut forget =
            page.connection.prepare_cached("UPDATE grants SET exhausted_at = NULL WHERE id = ?1")?;
        forget.execute([row.id])?;
        Ok(())
    } else {
        Ok(())
    }
}

/// Tells that `left` is of no more use, unless that was told and not forgotten.
pub(super) fn exhaust(page: &Page<'_>, row: &GrantRow, left: u64, anew: bool) -> Result<(), StoreError> {
    if !row.grant.kind.reusable() || (row.exhausted && !anew) {
        return Ok(());
    }
    let mut note = page.connection.prepare_cached("UPDATE grants SET exhausted_at = ?2 WHERE id = ?1")?;
    note.execute(params![row.id, Stored(page.now)])?;
    page.log(&Event::GrantExhausted {
        payment_hash: row.payment_hash,
        service: row.service.clone(),
        offer: row.grant.kind,
        left,
    })?;
    Ok(())
}

/// Notes since when nothing more can happen, and when to look at it next.
fn note_over(page: &Page<'_>, row: &GrantRow, after: &Grant) -> Result<(), StoreError> {
    if row.over_at.is_some() {
        return Ok(());
    }
    let over = after.is_over(page.now);
    // The sweep puts off what a request under way still holds: after the last one it need not wait.
    let late = after.held == 0 && after.open == 0 && after.ends_at() < page.now;
    if over || late || row.grant.ends_at() != after.ends_at() {
        let due = if over { page.now.plus(SPENDS_KEPT) } else { after.ends_at() };
        look_again(page, row.id, over.then_some(page.now), Some(due))?;
    }
    Ok(())
}

/// Sets when the sweep looks at a grant again.
pub(super) fn look_again(
    page: &Page<'_>,
    id: i64,
    over_at: Option<Timestamp>,
    due: Option<Timestamp>,
) -> Result<(), StoreError> {
    let mut update =
        page.connection.prepare_cached("UPDATE grants SET over_at = ?2, due = ?3 WHERE id = ?1")?;
    update.execute(params![id, over_at.map(Stored), due.map(Stored)])?;
    Ok(())
}

/// One grant by its hash.
pub(super) fn find(
    connection: &Connection,
    payment_hash: PaymentHash,
) -> Result<Option<GrantRow>, StoreError> {
    let mut query = asked(connection, "SELECT * FROM grants_named WHERE payment_hash = ?1")?;
    optional(query.query_row([Stored(payment_hash)], read))
}

/// One grant by its number.
pub(super) fn by_id(connection: &Connection, id: i64) -> Result<Option<GrantRow>, StoreError> {
    let mut query = asked(connection, "SELECT * FROM grants_named WHERE id = ?1")?;
    optional(query.query_row([id], read))
}

/// The dearest request that a unit opens, of `sold` ones that cost `price` together. Of what was redeemed before that
/// was noted, the most that it surely opens.
pub(super) fn covers(noted: Option<Msat>, price: Msat, sold: u64) -> Msat {
    noted.unwrap_or_else(|| Msat::new(price.msat().div_ceil(sold.max(1))).unwrap_or(price))
}

pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<GrantRow> {
    let budget = match row.get::<_, Option<u64>>("budget")? {
        Some(units) => Some(Budget { units, per: column(row, "per_ms")?, period: row.get("period")? }),
        None => None,
    };
    let (price, sold) = (column(row, "price_msat")?, row.get("sold")?);
    Ok(GrantRow {
        id: row.get("id")?,
        payment_hash: column(row, "payment_hash")?,
        token_id: column(row, "token_id")?,
        service: column(row, "service_name")?,
        route: column(row, "route_name")?,
        label: row.get("label")?,
        quote: row.get("quote")?,
        covers: covers(column_or_none(row, "covers_msat")?, price, sold),
        grant: Grant {
            kind: column(row, "kind")?,
            price,
            valid_until: column(row, "valid_until")?,
            lasts: column_or_none(row, "lasts_ms")?,
            opens_until: column_or_none(row, "opens_until")?,
            budget,
            sold,
            left: row.get("left_")?,
            held: row.get("held")?,
            spent: row.get("spent")?,
            expired: row.get("expired")?,
            revoked: row.get("revoked")?,
            barred: row.get("barred")?,
            calls: row.get("calls")?,
            open: row.get("open")?,
            bytes: row.get("bytes")?,
            restored: row.get("restored")?,
            crash_restored: row.get("crash_restored")?,
            returned: row.get("returned")?,
            loaded: row.get("loaded")?,
            crash_returned: row.get("crash_returned")?,
        },
        redeemed_at: column(row, "redeemed_at")?,
        over_at: column_or_none(row, "over_at")?,
        exhausted: row.get::<_, Option<i64>>("exhausted_at")?.is_some(),
        service_id: row.get("service")?,
    })
}
