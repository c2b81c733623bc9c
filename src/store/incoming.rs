//! Payments that arrived: one credit a hash, whatever is told twice.

use rusqlite::{Connection, Row, params};

use super::hours::{Hour, Sums};
use super::page::Page;
use super::plan::asked;
use super::rows::{Stored, column, column_or_none, name_id};
use super::totals::msat;
use super::{Ledger, StoreError, grants, optional, schema, waiting, worth};
use crate::event::Event;
use crate::ledger::{Bought, Grant, Sale};
use crate::pricing::Rate;
use crate::types::{Kind, Msat, Name, PaymentHash, Timestamp};

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
    /// The state of a grant's units; `over` says that nothing more can happen to it.
    pub(super) fn of(grant: &Grant, over: bool) -> PaymentState {
        match () {
            () if grant.open > 0 => PaymentState::Held,
            () if grant.barred => PaymentState::Revoked,
            () if grant.left > 0 => PaymentState::Left,
            // An open pass, or a budget that is filled up again.
            () if !over && matches!(grant.kind, Kind::Pass | Kind::Granted) => PaymentState::Left,
            // A budget's periods run out one by one, and the last of them ends it.
            () if grant.expired > 0 || grant.budget.is_some() => PaymentState::Expired,
            () => PaymentState::Spent,
        }
    }

    /// Every state.
    pub const ALL: [PaymentState; 6] = [
        PaymentState::Unredeemed,
        PaymentState::Held,
        PaymentState::Left,
        PaymentState::Spent,
        PaymentState::Expired,
        PaymentState::Revoked,
    ];

    /// What a person is told, on every page and by every command.
    pub const fn words(self) -> &'static str {
        match self {
            PaymentState::Unredeemed => "Paid",
            PaymentState::Held => "In use now",
            PaymentState::Left => "Live",
            PaymentState::Spent => "Used up",
            PaymentState::Expired => "Ran out",
            PaymentState::Revoked => "Revoked",
        }
    }

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

/// How a payment came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// What arrived.
    pub amount: Msat,
    /// What stayed with the LSP that opened a channel for it: the buyer paid both.
    pub kept: Msat,
    /// The rate of that moment, when one is known.
    pub rate: Option<Rate>,
}

/// One payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentRow {
    /// Position in the list; rises.
    pub id: i64,
    /// Its hash.
    pub payment_hash: PaymentHash,
    /// What was paid.
    pub amount: Msat,
    /// The part of it that an LSP kept back for the channel that it opened for it: a cost.
    pub opening_fee: Msat,
    /// When it was credited.
    pub received_at: Timestamp,
    /// What it was for, once known.
    pub service: Option<Name>,
    /// The route, likewise.
    pub route: Option<Name>,
    /// What was sold for it, once known.
    pub kind: Option<Kind>,
    /// The price in another currency that the invoice was made at, with its rate.
    pub quote: Option<String>,
    /// The rate that was known when it arrived.
    pub rate: Option<Rate>,
    /// What arrived beyond what the invoice asked for: an overpayment, and nobody's revenue.
    pub over: Msat,
    /// It came after its invoice had expired.
    pub late: bool,
    /// What may have been paid again.
    pub surplus: Msat,
    /// What became of it.
    pub state: PaymentState,
    /// It was told since the ledger was brought back from a copy, for nobody knows what: it may be of the time that the
    /// copy lacks, and delivered then. So it stands until the tokens of that time are honoured.
    pub perhaps_delivered: bool,
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
        self.receive_less(payment_hash, amount, Msat::ZERO, bought).await
    }

    /// Credits a payment of which `arrived` came, and `kept` stayed with the LSP that opened a channel for
    /// it: the buyer paid both.
    ///
    /// # Errors
    /// When the disk fails; nothing is credited then, and the telling may be repeated.
    pub async fn receive_less(
        &self,
        payment_hash: PaymentHash,
        arrived: Msat,
        kept: Msat,
        bought: Option<Bought>,
    ) -> Result<Credit, StoreError> {
        let amount = arrived;
        self.receive_as(payment_hash, Arrival { amount, kept, rate: None }, bought).await
    }

    /// Credits a payment; see [`Arrival`].
    ///
    /// # Errors
    /// When the disk fails; nothing is credited then, and the telling may be repeated.
    pub async fn receive_as(
        &self,
        payment_hash: PaymentHash,
        arrival: Arrival,
        bought: Option<Bought>,
    ) -> Result<Credit, StoreError> {
        let Arrival { amount, kept, rate } = arrival;
        let amount = amount.checked_add(kept).unwrap_or(Msat::MAX);
        let paid = Paid { amount, kept, rate };
        self.0.writer.call(move |page| credit(page, payment_hash, paid, bought)).await
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

    /// What arrived for this hash, once it is credited.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn received(&self, payment_hash: PaymentHash) -> Result<Option<Msat>, StoreError> {
        self.0.readers.read(move |connection| amount_of(connection, payment_hash)).await
    }

    /// The newest payments before number `before`, newest first, at most `limit`.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn payments(&self, limit: u32, before: Option<i64>) -> Result<Vec<PaymentRow>, StoreError> {
        let before = before.unwrap_or(i64::MAX);
        self.0.readers.read(move |connection| list(connection, limit, before)).await
    }

    /// One payment, once it is credited.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn payment(&self, payment_hash: PaymentHash) -> Result<Option<PaymentRow>, StoreError> {
        let work = move |connection: &Connection| {
            let mut query = connection.prepare_cached(&format!("{NAMED} WHERE p.payment_hash = ?1"))?;
            optional(query.query_row([Stored(payment_hash)], |row| read(connection, row)))?.transpose()
        };
        self.0.readers.read(work).await
    }
}

fn amount_of(connection: &Connection, payment_hash: PaymentHash) -> Result<Option<Msat>, StoreError> {
    let mut query = connection.prepare_cached("SELECT amount_msat FROM payments WHERE payment_hash = ?1")?;
    optional(query.query_row([Stored(payment_hash)], |row| column(row, "amount_msat")))
}

/// What was paid, and the part of it that did not arrive.
#[derive(Clone, Copy)]
struct Paid {
    amount: Msat,
    kept: Msat,
    rate: Option<Rate>,
}

fn credit(
    page: &mut Page<'_>,
    payment_hash: PaymentHash,
    paid: Paid,
    bought: Option<Bought>,
) -> Result<Credit, StoreError> {
    let connection = page.connection;
    let mut known = connection.prepare_cached("SELECT run FROM payments WHERE payment_hash = ?1")?;
    let seen: Option<i64> = optional(known.query_row([Stored(payment_hash)], |row| row.get(0)))?;
    match seen {
        Some(run) if run == page.run => surplus(page, payment_hash, paid.amount),
        Some(_) => {
            let mut update =
                connection.prepare_cached("UPDATE payments SET run = ?2 WHERE payment_hash = ?1")?;
            update.execute(params![Stored(payment_hash), page.run])?;
            Ok(Credit::Replayed)
        }
        None => first(page, payment_hash, paid, bought),
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
    Paid { amount, kept, rate }: Paid,
    bought: Option<Bought>,
) -> Result<Credit, StoreError> {
    // A token may be redeemed before its event is told; then the grant knows what was bought.
    let grant = grants::find(page.connection, payment_hash)?;
    let redeemed = grant.is_some();
    let late = bought.as_ref().is_some_and(|bought| page.now > bought.expires_at)
        || grant.as_ref().is_some_and(|row| page.now > row.grant.valid_until);
    let told_at_once = bought.clone().filter(|_| !redeemed);
    let (service, route, kind, asked, quote) = match (grant, bought) {
        (Some(row), _) => {
            (Some(row.service), Some(row.route), Some(row.grant.kind), Some(row.grant.price), row.quote)
        }
        (None, Some(bought)) => {
            let Bought { service, route, kind, amount, quote, .. } = bought;
            (Some(service), Some(route), Some(kind), Some(amount), quote)
        }
        (None, None) => (None, None, None, None, None),
    };
    let id = |name: &Option<Name>| name.as_ref().map(|name| name_id(page.connection, name)).transpose();
    let mut insert = page.connection.prepare_cached(
        "INSERT INTO payments (payment_hash, amount_msat, received_at, service, route, kind, asked_msat, quote, late, run,
                               opening_fee_msat, rate)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    )?;
    insert.execute(params![
        Stored(payment_hash),
        Stored(amount),
        Stored(page.now),
        id(&service)?,
        id(&route)?,
        kind.map(Stored),
        asked.map(Stored),
        quote,
        late,
        page.run,
        Stored(kept),
        rate.map(|rate| rate.to_string()),
    ])?;
    worth::count(page, amount, rate)?;
    if let (Some(service), Some(route)) = (id(&service)?, id(&route)?) {
        sold(page, Hour::at(page.now, service, route));
    }
    if let Some(bought) = &told_at_once {
        waiting::note(page, payment_hash, bought)?;
    }
    let over = beyond(amount, asked);
    let totals = &mut page.totals;
    totals.payments += 1;
    totals.received_msat += msat(amount);
    totals.opening_fees_msat += msat(kept);
    totals.overpaid_msat += msat(over);
    totals.payments_late += i64::from(late);
    totals.payments_unknown += i64::from(service.is_none());
    totals.unredeemed_msat += if redeemed { 0 } else { msat(amount) - msat(over) };
    page.log(&Event::PaymentReceived {
        payment_hash,
        amount_msat: amount,
        service,
        route,
        over_msat: over,
        opening_fee_msat: kept,
        late,
    })?;
    if let Some(Bought { service, route, kind, units, amount, quote, .. }) = told_at_once {
        let (offer, amount_msat) = (kind, amount);
        page.log(&Event::SaleAttributed { payment_hash, service, route, offer, units, amount_msat, quote })?;
    }
    Ok(Credit::First)
}

/// Counts a payment where it was for, and with it what was demanded before it.
fn sold(page: &mut Page<'_>, hour: Hour) {
    page.hours.push((hour, Sums { sales: 1, ..Sums::default() }));
    page.counts_demands = true;
}

/// What was paid beyond what was asked for.
fn beyond(amount: Msat, asked: Option<Msat>) -> Msat {
    asked.and_then(|asked| amount.checked_sub(asked).ok()).unwrap_or(Msat::ZERO)
}

/// Tells the payment of a sale, when it was received, what it was for. Gives whether that is news: false
/// when its challenge was still remembered as it came.
pub(super) fn attribute(page: &mut Page<'_>, sale: &Sale) -> Result<bool, StoreError> {
    let mut query = page.connection.prepare_cached(
        "SELECT amount_msat, asked_msat, received_at, late, service FROM payments WHERE payment_hash = ?1",
    )?;
    let found = query.query_row([Stored(sale.payment_hash)], |row| {
        Ok((
            column::<Msat>(row, "amount_msat")?,
            column_or_none::<Msat>(row, "asked_msat")?,
            column::<Timestamp>(row, "received_at")?,
            row.get::<_, bool>("late")?,
            row.get::<_, Option<i64>>("service")?.is_some(),
        ))
    });
    let Some((amount, asked, received_at, late, known)) = optional(found)? else { return Ok(true) };
    let (before, over) = (beyond(amount, asked), beyond(amount, Some(sale.sold)));
    let late_now = late || received_at > sale.valid_until;
    let (service, route) = (name_id(page.connection, &sale.service)?, name_id(page.connection, &sale.route)?);
    if !known {
        sold(page, Hour::at(received_at, service, route));
    }
    let mut update = page.connection.prepare_cached(
        "UPDATE payments SET service = ?2, route = ?3, kind = ?4, asked_msat = ?5, quote = ?6, late = ?7,
                             waiting_epoch = NULL, waiting_units = NULL, waiting_covers_msat = NULL,
                             waiting_until = NULL
         WHERE payment_hash = ?1",
    )?;
    update.execute(params![
        Stored(sale.payment_hash),
        service,
        route,
        Stored(sale.kind),
        Stored(sale.sold),
        sale.quote,
        late_now,
    ])?;
    let totals = &mut page.totals;
    totals.unredeemed_msat -= msat(amount) - msat(before);
    totals.overpaid_msat += msat(over) - msat(before);
    totals.payments_late += i64::from(late_now) - i64::from(late);
    totals.payments_unknown -= i64::from(!known);
    Ok(!known)
}

/// Payments with their names and the number of their grant.
const NAMED: &str = "SELECT p.*, s.name AS service_name, r.name AS route_name, g.id AS grant_id,
        (p.service IS NULL AND g.id IS NULL
         AND EXISTS (SELECT 1 FROM generations n WHERE n.generation = (SELECT MAX(generation) FROM generations)
                     AND n.doubtful_below > 0 AND n.begun_at <= p.received_at)
         AND NOT EXISTS (SELECT 1 FROM doubts d WHERE d.payment_hash = p.payment_hash
                         AND d.honoured_at IS NOT NULL)) AS perhaps_delivered
    FROM payments p LEFT JOIN grants g ON g.payment_hash = p.payment_hash
         LEFT JOIN names s ON s.id = p.service LEFT JOIN names r ON r.id = p.route";

fn list(connection: &Connection, limit: u32, before: i64) -> Result<Vec<PaymentRow>, StoreError> {
    let mut query = asked(connection, &format!("{NAMED} WHERE p.id < ?1 ORDER BY p.id DESC LIMIT ?2"))?;
    let rows = query.query_map(params![before, limit], |row| read(connection, row))?;
    rows.map(|row| row?).collect()
}

fn read(connection: &Connection, row: &Row<'_>) -> rusqlite::Result<Result<PaymentRow, StoreError>> {
    let grant = match row.get::<_, Option<i64>>("grant_id")? {
        Some(id) => match grants::by_id(connection, id) {
            Ok(grant) => grant,
            Err(error) => return Ok(Err(error)),
        },
        None => None,
    };
    let amount = column(row, "amount_msat")?;
    let received_at = column(row, "received_at")?;
    let rate: Option<String> = row.get("rate")?;
    Ok(Ok(PaymentRow {
        id: row.get("id")?,
        payment_hash: column(row, "payment_hash")?,
        amount,
        opening_fee: column(row, "opening_fee_msat")?,
        received_at,
        service: column_or_none(row, "service_name")?,
        route: column_or_none(row, "route_name")?,
        kind: column_or_none(row, "kind")?,
        quote: row.get("quote")?,
        rate: rate.and_then(|rate| Rate::read(&rate, received_at)),
        over: beyond(amount, column_or_none(row, "asked_msat")?),
        late: row.get("late")?,
        surplus: column(row, "surplus_msat")?,
        state: grant.map_or(PaymentState::Unredeemed, |row| row.state()),
        perhaps_delivered: row.get("perhaps_delivered")?,
    }))
}
