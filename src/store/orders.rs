//! Channels that were ordered from an LSP (bLIP-51), from the order until the channel is there or the
//! money is back.
//!
//! Invariants: how an order is paid is chosen once and noted before anything is paid; an order that has
//! ended never changes; nothing here asks the LSP.

use std::collections::BTreeMap;

use rusqlite::{Connection, Row, params};
use schemars::JsonSchema;
use serde::Serialize;

use super::page::Page;
use super::rows::Stored;
use super::{Ledger, ORDER_KEYS, OperationRow, StoreError, operations, optional};
use crate::event::Event;
use crate::ports::{OrderAsk, OrderPaid, OrderTold};
use crate::types::Timestamp;

/// Where an order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OrderState {
    /// It has a price; nothing was paid, and it binds nobody.
    Quoted,
    /// It is being paid.
    Paying,
    /// The LSP has the money, and is to open the channel.
    Paid,
    /// Our node has the channel, and can be paid through it.
    Opened,
    /// The money is back: our payment failed, or the operator saw it come. The LSP's word alone ends nothing.
    Refunded,
    /// Nobody paid it in time.
    Expired,
    /// It could not be paid: nothing moved.
    Failed,
}

impl OrderState {
    const ALL: [OrderState; 7] = [
        OrderState::Quoted,
        OrderState::Paying,
        OrderState::Paid,
        OrderState::Opened,
        OrderState::Refunded,
        OrderState::Expired,
        OrderState::Failed,
    ];

    /// As it is stored and shown.
    pub const fn word(self) -> &'static str {
        match self {
            OrderState::Quoted => "quoted",
            OrderState::Paying => "paying",
            OrderState::Paid => "paid",
            OrderState::Opened => "opened",
            OrderState::Refunded => "refunded",
            OrderState::Expired => "expired",
            OrderState::Failed => "failed",
        }
    }

    /// Whether nothing more will happen to it.
    pub const fn is_final(self) -> bool {
        !matches!(self, OrderState::Quoted | OrderState::Paying | OrderState::Paid)
    }
}

/// How an order is paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OrderWay {
    /// By its invoice.
    Lightning,
    /// By a transaction.
    Onchain,
}

impl OrderWay {
    /// As it is stored and shown.
    pub const fn word(self) -> &'static str {
        match self {
            OrderWay::Lightning => "lightning",
            OrderWay::Onchain => "onchain",
        }
    }
}

/// One order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct OrderRow {
    /// Its number with us: rises, never reused.
    pub id: i64,
    /// Who was asked: the LSP's public key.
    pub lsp: String,
    /// What was ordered.
    pub ask: OrderAsk,
    /// How the LSP told it last.
    pub told: OrderTold,
    /// Where it stands.
    pub state: OrderState,
    /// How it is paid, once that was chosen.
    pub way: Option<OrderWay>,
    /// When it was placed.
    pub placed_at: Timestamp,
    /// When it came to stand like this.
    pub changed_at: Timestamp,
}

impl OrderRow {
    /// The LSP says that it gave the money back, of an order that our payment paid or may have paid. Nothing here
    /// shows that it came: only the operator ends such an order.
    pub fn refund_is_said(&self) -> bool {
        let payment = match self.way {
            Some(OrderWay::Lightning) => self.told.lightning.as_ref(),
            Some(OrderWay::Onchain) => self.told.onchain.as_ref(),
            None => None,
        };
        !self.state.is_final() && payment.is_some_and(|payment| payment.state == OrderPaid::Refunded)
    }
}

impl Ledger {
    /// Notes an order that an LSP took.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn note_order(
        &self,
        lsp: String,
        ask: OrderAsk,
        told: OrderTold,
    ) -> Result<OrderRow, StoreError> {
        let work = move |page: &mut Page<'_>| {
            let mut insert = page.connection.prepare_cached(
                "INSERT INTO channel_orders (lsp, order_id, ask, told, state, placed_at, changed_at)
                 VALUES (?1, ?2, ?3, ?4, 'quoted', ?5, ?5)",
            )?;
            insert.execute(params![lsp, told.order_id, text(&ask)?, text(&told)?, Stored(page.now)])?;
            let id = page.connection.last_insert_rowid();
            let row = by_id(page.connection, id)?.ok_or(MISSING)?;
            log(page, &row)?;
            Ok(row)
        };
        self.0.writer.call(work).await
    }

    /// Chooses how an order is paid, before anything is paid. Gives how it stands, and whether this call
    /// is the one that chose.
    ///
    /// # Errors
    /// When the disk fails, or there is no such order.
    pub async fn choose_order_way(&self, order: i64, way: OrderWay) -> Result<(OrderRow, bool), StoreError> {
        let work = move |page: &mut Page<'_>| {
            let mut update = page.connection.prepare_cached(
                "UPDATE channel_orders SET way = ?2, state = 'paying', changed_at = ?3
                 WHERE id = ?1 AND state = 'quoted' AND way IS NULL",
            )?;
            let chosen = update.execute(params![order, way.word(), Stored(page.now)])? == 1;
            let row = by_id(page.connection, order)?.ok_or(MISSING)?;
            if chosen {
                log(page, &row)?;
            }
            Ok((row, chosen))
        };
        self.0.writer.call(work).await
    }

    /// Notes how an order stands. One that has ended stays as it is; gives how it stands now.
    ///
    /// # Errors
    /// When the disk fails, or there is no such order.
    pub async fn change_order(
        &self,
        order: i64,
        state: OrderState,
        told: Option<OrderTold>,
    ) -> Result<OrderRow, StoreError> {
        let work = move |page: &mut Page<'_>| {
            let before = by_id(page.connection, order)?.ok_or(MISSING)?;
            let told = told.unwrap_or_else(|| before.told.clone());
            if before.state.is_final() || (before.state == state && before.told == told) {
                return Ok(before);
            }
            let changed = before.state != state;
            let changed_at = if changed { page.now } else { before.changed_at };
            let mut update = page.connection.prepare_cached(
                "UPDATE channel_orders SET state = ?2, told = ?3, changed_at = ?4 WHERE id = ?1",
            )?;
            update.execute(params![order, state.word(), text(&told)?, Stored(changed_at)])?;
            let row = OrderRow { state, told, changed_at, ..before };
            if changed {
                log(page, &row)?;
            }
            Ok(row)
        };
        self.0.writer.call(work).await
    }

    /// One order.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn order(&self, order: i64) -> Result<Option<OrderRow>, StoreError> {
        self.0.readers.read(move |connection| by_id(connection, order)).await
    }

    /// The newest orders, newest first, at most `limit`.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn orders(&self, limit: u32) -> Result<Vec<OrderRow>, StoreError> {
        let sql = "SELECT * FROM channel_orders ORDER BY id DESC LIMIT ?1";
        self.0.readers.read(move |connection| many(connection, sql, params![limit])).await
    }

    /// The recorded operations that pay the newest orders, at most `limit` of them, by the orders' numbers.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn operations_of_orders(&self, limit: u32) -> Result<BTreeMap<i64, OperationRow>, StoreError> {
        let sql = "SELECT * FROM operations WHERE key IN
                   (SELECT ?1 || id FROM channel_orders ORDER BY id DESC LIMIT ?2)";
        let read =
            move |connection: &Connection| operations::many(connection, sql, params![ORDER_KEYS, limit]);
        let rows = self.0.readers.read(read).await?;
        let order = |row: &OperationRow| row.key.strip_prefix(ORDER_KEYS)?.parse().ok();
        Ok(rows.into_iter().filter_map(|row| Some((order(&row)?, row))).collect())
    }

    /// The orders without an end, oldest first.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn open_orders(&self) -> Result<Vec<OrderRow>, StoreError> {
        let sql = "SELECT * FROM channel_orders WHERE state IN ('quoted', 'paying', 'paid') ORDER BY id";
        self.0.readers.read(move |connection| many(connection, sql, params![])).await
    }
}

const MISSING: StoreError = StoreError::Corrupt("an order that was placed is missing");
const UNREADABLE: StoreError = StoreError::Corrupt("an order that cannot be read");

fn log(page: &mut Page<'_>, row: &OrderRow) -> Result<(), StoreError> {
    page.log(&Event::ChannelOrderChanged {
        order: row.id,
        lsp: row.lsp.clone(),
        state: row.state.word().to_owned(),
        receivable_sat: row.ask.receivable_sat,
        funding: row.told.funding.clone(),
    })?;
    Ok(())
}

fn text(value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|_| UNREADABLE)
}

fn by_id(connection: &Connection, id: i64) -> Result<Option<OrderRow>, StoreError> {
    let mut query = connection.prepare_cached("SELECT * FROM channel_orders WHERE id = ?1")?;
    optional(query.query_row([id], read))?.transpose()
}

fn many(
    connection: &Connection,
    sql: &str,
    of: &[&dyn rusqlite::ToSql],
) -> Result<Vec<OrderRow>, StoreError> {
    let mut query = connection.prepare_cached(sql)?;
    let rows = query.query_map(of, read)?;
    rows.map(|row| row?).collect()
}

fn read(row: &Row<'_>) -> rusqlite::Result<Result<OrderRow, StoreError>> {
    let (ask, told, state): (String, String, String) = (row.get("ask")?, row.get("told")?, row.get("state")?);
    let way: Option<String> = row.get("way")?;
    let (id, lsp) = (row.get("id")?, row.get("lsp")?);
    let (Stored(placed_at), Stored(changed_at)) = (row.get("placed_at")?, row.get("changed_at")?);
    Ok((|| {
        let way = match way.as_deref() {
            None => None,
            Some("lightning") => Some(OrderWay::Lightning),
            Some("onchain") => Some(OrderWay::Onchain),
            Some(_) => return Err(UNREADABLE),
        };
        let state = OrderState::ALL.into_iter().find(|known| known.word() == state).ok_or(UNREADABLE)?;
        let ask = serde_json::from_str(&ask).map_err(|_| UNREADABLE)?;
        let told = serde_json::from_str(&told).map_err(|_| UNREADABLE)?;
        Ok(OrderRow { id, lsp, ask, told, state, way, placed_at, changed_at })
    })())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::World;

    fn ask() -> OrderAsk {
        OrderAsk { receivable_sat: 500_000, blocks: 4_320, announce: false }
    }

    fn told() -> OrderTold {
        OrderTold { order_id: "a".to_owned(), lightning: None, onchain: None, funding: None }
    }

    #[tokio::test]
    async fn one_way_is_chosen_once_and_an_end_is_an_end() {
        let world = World::new();
        let (ledger, _) = world.open();
        let placed = ledger.note_order("02".to_owned(), ask(), told()).await.unwrap();
        assert_eq!((placed.state, placed.way), (OrderState::Quoted, None));
        let (row, chosen) = ledger.choose_order_way(placed.id, OrderWay::Onchain).await.unwrap();
        assert!(chosen && row.state == OrderState::Paying);
        let (row, again) = ledger.choose_order_way(placed.id, OrderWay::Lightning).await.unwrap();
        assert!(!again);
        assert_eq!(row.way, Some(OrderWay::Onchain));
        // Each order's operation is found with the list, and nothing else is.
        for key in [format!("{ORDER_KEYS}{}", placed.id), format!("{ORDER_KEYS}99"), "rent".to_owned()] {
            ledger.begin_operation(&key, "send", serde_json::json!({})).await.unwrap();
        }
        let paying = ledger.operations_of_orders(5).await.unwrap();
        assert_eq!(paying.keys().copied().collect::<Vec<_>>(), [placed.id]);
        assert!(ledger.operations_of_orders(0).await.unwrap().is_empty());
        let funded = OrderTold { funding: Some("t:0".to_owned()), ..told() };
        let opened = ledger.change_order(placed.id, OrderState::Opened, Some(funded)).await.unwrap();
        assert_eq!(opened.state, OrderState::Opened);
        assert_eq!(ledger.change_order(placed.id, OrderState::Paid, None).await.unwrap(), opened);
        assert!(ledger.open_orders().await.unwrap().is_empty());
        assert_eq!(ledger.orders(5).await.unwrap(), std::slice::from_ref(&opened));
        assert_eq!(ledger.order(placed.id).await.unwrap(), Some(opened));
    }
}
