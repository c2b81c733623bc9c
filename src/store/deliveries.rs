//! Deliveries: one row for each event that an endpoint is owed, and the log of how they went.
//!
//! Invariant: a delivery is `waiting` until the endpoint took it or its tries are used up. Rows name the
//! log's events by number; the log itself is the truth.

use std::fmt;

use rusqlite::{Connection, Row, params};

use super::lives::Lives;
use super::page::Page;
use super::rows::{Stored, column};
use super::webhooks::disable;
use super::{Ledger, StoreError, optional};
use crate::types::Timestamp;

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryState {
    /// It will be tried, or tried again.
    Waiting,
    /// The endpoint took it.
    Delivered,
    /// The tries are used up: it is kept until the operator has it delivered again.
    Parked,
}

impl DeliveryState {
    /// Stable word.
    pub const fn as_str(self) -> &'static str {
        match self {
            DeliveryState::Waiting => "waiting",
            DeliveryState::Delivered => "delivered",
            DeliveryState::Parked => "parked",
        }
    }

    /// The state that `word` means.
    pub fn of(word: &str) -> Option<DeliveryState> {
        [DeliveryState::Waiting, DeliveryState::Delivered, DeliveryState::Parked]
            .into_iter()
            .find(|state| state.as_str() == word)
    }
}

/// One event for one endpoint, as the delivery log shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryRow {
    /// Its number.
    pub id: i64,
    /// Whose.
    pub webhook: i64,
    /// The event's number; none of a test message.
    pub event: Option<i64>,
    /// What happened, by its public name.
    pub topic: String,
    /// Where it stands.
    pub state: DeliveryState,
    /// Tries so far, since it was queued or was asked for again.
    pub attempts: u32,
    /// When it is tried next, while it waits.
    pub next_at: Timestamp,
    /// What the endpoint answered last.
    pub last_status: Option<u16>,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// When it was queued.
    pub created_at: Timestamp,
    /// When it changed last.
    pub updated_at: Timestamp,
}

/// A delivery with all that it takes to make it.
#[derive(Clone, PartialEq, Eq)]
pub struct WaitingDelivery {
    /// Its number.
    pub id: i64,
    /// Tries so far.
    pub attempts: u32,
    /// Not to be tried before.
    pub next_at: Timestamp,
    /// What happened, by its public name.
    pub topic: String,
    /// The event's number.
    pub event: i64,
    /// The ledger's life in which it happened: numbers come again in the next.
    pub generation: u64,
    /// When it happened.
    pub at: Timestamp,
    /// The event in JSON, as the log has it.
    pub body: String,
    /// Where to.
    pub url: String,
    /// What signs it.
    pub secret: Vec<u8>,
    /// Whether that may be on this machine or a private network.
    pub allow_private: bool,
}

impl fmt::Debug for WaitingDelivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitingDelivery").field("id", &self.id).finish_non_exhaustive()
    }
}

/// How a try ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// Where the delivery stands now.
    pub state: DeliveryState,
    /// When it is tried next, if it waits.
    pub next_at: Timestamp,
    /// What the endpoint answered, if it did.
    pub status: Option<u16>,
    /// What went wrong.
    pub error: Option<String>,
    /// The endpoint is disabled from now on, because of this.
    pub disable: Option<&'static str>,
}

/// How a test message fared, which is sent once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestSent {
    /// The endpoint.
    pub webhook: i64,
    /// What it was called.
    pub topic: &'static str,
    /// What the endpoint answered, if it did.
    pub status: Option<u16>,
    /// What went wrong.
    pub error: Option<String>,
}

/// Which deliveries to list; newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct DeliveryFilter {
    /// Of this endpoint only.
    pub webhook: Option<i64>,
    /// In this state only.
    pub state: Option<DeliveryState>,
    /// Before this one.
    pub before: Option<i64>,
}

impl Ledger {
    /// What waits for one endpoint, what is to be tried first at the front.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn waiting_deliveries(
        &self,
        webhook: i64,
        limit: usize,
    ) -> Result<Vec<WaitingDelivery>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let work = move |connection: &Connection| {
            let mut query = connection.prepare_cached(
                "SELECT d.id, d.attempts, d.next_at, d.topic, d.event, e.at, e.body, w.url, w.secret,
                        w.allow_private
                 FROM deliveries d JOIN webhooks w ON w.id = d.webhook JOIN events e ON e.id = d.event
                 WHERE d.webhook = ?1 AND d.state = 'waiting' ORDER BY d.next_at, d.id LIMIT ?2",
            )?;
            let lives = Lives::read(connection)?;
            let rows = query.query_map(params![webhook, limit], |row| read_waiting(row, &lives))?;
            Ok(rows.collect::<Result<_, _>>()?)
        };
        self.0.readers.read(work).await
    }

    /// Notes how a try ended. What was removed meanwhile stays so.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn note_delivery(&self, id: i64, tried: Tried) -> Result<(), StoreError> {
        let work = move |page: &mut Page<'_>| {
            let mut update = page.connection.prepare_cached(
                "UPDATE deliveries SET state = ?2, attempts = attempts + 1, next_at = ?3, last_status = ?4,
                    last_error = ?5, updated_at = ?6
                 WHERE id = ?1 RETURNING webhook",
            )?;
            let (now, next_at) = (Stored(page.now), Stored(tried.next_at));
            let state = tried.state.as_str();
            let row = params![id, state, next_at, tried.status, tried.error, now];
            let webhook: Option<i64> = optional(update.query_row(row, |row| row.get(0)))?;
            if let (Some(webhook), Some(why)) = (webhook, tried.disable) {
                disable(page, webhook, why)?;
            }
            Ok(())
        };
        self.0.writer.call(work).await
    }

    /// Puts a test message into the delivery log. It is of no event: it counts down from zero instead.
    ///
    /// # Errors
    /// When the disk fails, or the endpoint was removed meanwhile.
    pub async fn note_test(&self, sent: TestSent) -> Result<(), StoreError> {
        let work = move |page: &mut Page<'_>| {
            let mut insert = page.connection.prepare_cached(
                "INSERT INTO deliveries (webhook, event, topic, state, attempts, next_at, last_status, last_error,
                    created_at, updated_at)
                 SELECT ?1, MIN(0, COALESCE((SELECT MIN(event) FROM deliveries WHERE webhook = ?1), 0)) - 1,
                    ?2, ?3, 1, ?4, ?5, ?6, ?4, ?4",
            )?;
            let state = if sent.error.is_none() { DeliveryState::Delivered } else { DeliveryState::Parked };
            let now = Stored(page.now);
            insert.execute(params![
                sent.webhook,
                sent.topic,
                state.as_str(),
                now,
                sent.status,
                sent.error
            ])?;
            Ok(())
        };
        self.0.writer.call(work).await
    }

    /// The delivery log, newest first.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn deliveries(
        &self,
        filter: DeliveryFilter,
        limit: u32,
    ) -> Result<Vec<DeliveryRow>, StoreError> {
        let work = move |connection: &Connection| {
            // The state's word stands in the text, so that SQLite sees which index fits.
            let mut sql = "SELECT * FROM deliveries WHERE id < ?1".to_owned();
            if filter.webhook.is_some() {
                sql.push_str(" AND webhook = ?2");
            }
            if let Some(state) = filter.state {
                sql.push_str(&format!(" AND state = '{}'", state.as_str()));
            }
            sql.push_str(" ORDER BY id DESC LIMIT ?3");
            let mut query = connection.prepare_cached(&sql)?;
            let before = filter.before.unwrap_or(i64::MAX);
            let rows = query.query_map(params![before, filter.webhook, limit], read_delivery)?;
            Ok(rows.collect::<Result<_, _>>()?)
        };
        self.0.readers.read(work).await
    }

    /// Has a delivery of an event made again at once, as if it had never been tried. False when there is none.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn redeliver(&self, id: i64) -> Result<bool, StoreError> {
        let work = move |page: &mut Page<'_>| {
            let mut update = page.connection.prepare_cached(
                "UPDATE deliveries SET state = 'waiting', attempts = 0, next_at = ?2, updated_at = ?2
                 WHERE id = ?1 AND event > 0",
            )?;
            Ok(update.execute(params![id, Stored(page.now)])? == 1)
        };
        self.0.writer.call(work).await
    }

    /// Forgets what was delivered or parked before `before`, some at a time. True when there is more.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn prune_deliveries(&self, before: Timestamp) -> Result<bool, StoreError> {
        const SOME: usize = 1_000;
        let work = move |page: &mut Page<'_>| {
            let mut delete = page.connection.prepare_cached(
                "DELETE FROM deliveries WHERE id IN
                    (SELECT id FROM deliveries WHERE state <> 'waiting' AND updated_at < ?1 LIMIT 1000)",
            )?;
            Ok(delete.execute([Stored(before)])? == SOME)
        };
        self.0.writer.call(work).await
    }
}

fn read_delivery(row: &Row<'_>) -> rusqlite::Result<DeliveryRow> {
    Ok(DeliveryRow {
        id: row.get("id")?,
        webhook: row.get("webhook")?,
        event: Some(row.get("event")?).filter(|event| *event > 0),
        topic: row.get("topic")?,
        // The schema knows no other word.
        state: DeliveryState::of(&row.get::<_, String>("state")?).unwrap_or(DeliveryState::Parked),
        attempts: row.get("attempts")?,
        next_at: column(row, "next_at")?,
        last_status: row.get("last_status")?,
        last_error: row.get("last_error")?,
        created_at: column(row, "created_at")?,
        updated_at: column(row, "updated_at")?,
    })
}

fn read_waiting(row: &Row<'_>, lives: &Lives) -> rusqlite::Result<WaitingDelivery> {
    let event = row.get("event")?;
    Ok(WaitingDelivery {
        id: row.get("id")?,
        attempts: row.get("attempts")?,
        next_at: column(row, "next_at")?,
        topic: row.get("topic")?,
        event,
        generation: lives.of(event),
        at: column(row, "at")?,
        body: row.get("body")?,
        url: row.get("url")?,
        secret: row.get("secret")?,
        allow_private: row.get("allow_private")?,
    })
}
