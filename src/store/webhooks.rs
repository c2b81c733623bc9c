//! Webhook endpoints, and how the log's events become what each of them is owed.
//!
//! Invariant: an event that an endpoint chose becomes one delivery, in the transaction that moves the
//! endpoint's cursor past it, so a kill at any moment loses none and doubles none.

use std::fmt;

use rusqlite::{Connection, Row, params};
use url::Url;

use super::page::Page;
use super::rows::{Stored, column, column_or_none};
use super::{Ledger, StoreError, optional};
use crate::event::Event;
use crate::types::Timestamp;

/// A cursor is moved without a delivery only when it lags so far behind: reading again is cheaper than
/// writing each time.
const LAZY: i64 = 256;

/// An endpoint; its secret is not in here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookRow {
    /// Its number.
    pub id: i64,
    /// Where it is.
    pub url: String,
    /// What the operator calls it.
    pub label: String,
    /// What it gets, by public names with spaces between; empty is all.
    pub topics: String,
    /// Whether it may be on this machine or a private network.
    pub allow_private: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was disabled, and why.
    pub disabled: Option<(Timestamp, String)>,
    /// Deliveries that wait.
    pub waiting: u64,
    /// Those of them that did not arrive when they were tried last.
    pub failing: u64,
    /// Deliveries whose tries are used up.
    pub parked: u64,
}

/// An endpoint to be made.
#[derive(Clone, PartialEq, Eq)]
pub struct NewWebhook {
    /// Where it is.
    pub url: String,
    /// What signs its messages.
    pub secret: Vec<u8>,
    /// What the operator calls it.
    pub label: String,
    /// What it gets, by public names with spaces between; empty is all.
    pub topics: String,
    /// Whether it may be on this machine or a private network.
    pub allow_private: bool,
}

impl fmt::Debug for NewWebhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewWebhook").field("url", &self.url).finish_non_exhaustive()
    }
}

/// Tells under which public name an endpoint that chose `topics` gets an event of a kind, if it does.
pub type Choose = fn(topics: &str, kind: &str) -> Option<&'static str>;

impl Ledger {
    /// Makes an endpoint, unless there are `most` already; it gets what happens from now on.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn add_webhook(&self, new: NewWebhook, most: u32) -> Result<Option<i64>, StoreError> {
        let work = move |page: &mut Page<'_>| {
            let mut count = page.connection.prepare_cached("SELECT COUNT(*) FROM webhooks")?;
            if count.query_row([], |row| row.get::<_, u32>(0))? >= most {
                return Ok(None);
            }
            let mut insert = page.connection.prepare_cached(
                "INSERT INTO webhooks (url, secret, topics, label, allow_private, created_at, cursor)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, (SELECT COALESCE(MAX(id), 0) FROM events))",
            )?;
            insert.execute(params![
                new.url,
                new.secret,
                new.topics,
                new.label,
                new.allow_private,
                Stored(page.now)
            ])?;
            let id = page.connection.last_insert_rowid();
            // Its own beginning is told to the others.
            let told =
                page.log(&Event::WebhookAdded { webhook: id, label: new.label, host: host(&new.url) })?;
            let sql = "UPDATE webhooks SET cursor = ?2 WHERE id = ?1";
            page.connection.prepare_cached(sql)?.execute([id, told])?;
            Ok(Some(id))
        };
        self.0.writer.call(work).await
    }

    /// All endpoints, oldest first.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn webhooks(&self) -> Result<Vec<WebhookRow>, StoreError> {
        let work = |connection: &Connection| {
            let mut query = connection.prepare_cached(
                "SELECT w.*,
                    (SELECT COUNT(*) FROM deliveries d WHERE d.webhook = w.id AND d.state = 'waiting') AS waiting,
                    (SELECT COUNT(*) FROM deliveries d
                        WHERE d.webhook = w.id AND d.state = 'waiting' AND d.attempts > 0) AS failing,
                    (SELECT COUNT(*) FROM deliveries d
                        WHERE d.webhook = w.id AND d.state = 'parked' AND d.event > 0) AS parked
                 FROM webhooks w ORDER BY w.id",
            )?;
            Ok(query.query_map([], read_webhook)?.collect::<Result<_, _>>()?)
        };
        self.0.readers.read(work).await
    }

    /// The numbers of the endpoints that are not disabled.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn enabled_webhooks(&self) -> Result<Vec<i64>, StoreError> {
        let work = |connection: &Connection| {
            let mut query =
                connection.prepare_cached("SELECT id FROM webhooks WHERE disabled_at IS NULL ORDER BY id")?;
            Ok(query.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
        };
        self.0.readers.read(work).await
    }

    /// What signs an endpoint's messages; `None` when there is no such endpoint.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn webhook_secret(&self, id: i64) -> Result<Option<Vec<u8>>, StoreError> {
        let work = move |connection: &Connection| {
            let mut query = connection.prepare_cached("SELECT secret FROM webhooks WHERE id = ?1")?;
            optional(query.query_row([id], |row| row.get(0)))
        };
        self.0.readers.read(work).await
    }

    /// Enables an endpoint, which then gets what happens from now on and what still waits for it, or
    /// disables it, saying why. False when there is no such endpoint.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn switch_webhook(&self, id: i64, off: Option<&str>) -> Result<bool, StoreError> {
        let off = off.map(str::to_owned);
        let work = move |page: &mut Page<'_>| match off {
            Some(why) => disable(page, id, &why),
            None => {
                let mut enable = page.connection.prepare_cached(
                    "UPDATE webhooks SET disabled_at = NULL, disabled_why = NULL,
                        cursor = CASE WHEN disabled_at IS NULL THEN cursor
                                 ELSE (SELECT COALESCE(MAX(id), 0) FROM events) END
                     WHERE id = ?1",
                )?;
                Ok(enable.execute([id])? == 1)
            }
        };
        self.0.writer.call(work).await
    }

    /// Removes an endpoint with its deliveries. False when there is no such endpoint.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn remove_webhook(&self, id: i64) -> Result<bool, StoreError> {
        let work = move |page: &mut Page<'_>| {
            page.connection.prepare_cached("DELETE FROM deliveries WHERE webhook = ?1")?.execute([id])?;
            let sql = "DELETE FROM webhooks WHERE id = ?1 RETURNING label, url";
            let mut delete = page.connection.prepare_cached(sql)?;
            let gone = delete.query_row([id], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)));
            let Some((label, url)) = optional(gone)? else { return Ok(false) };
            page.log(&Event::WebhookRemoved { webhook: id, label, host: host(&url) })?;
            Ok(true)
        };
        self.0.writer.call(work).await
    }

    /// Makes deliveries of the events that are new to the enabled endpoints, at most `limit` events for
    /// each. True when there is more to be read at once.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn queue_deliveries(&self, choose: Choose, limit: u32) -> Result<bool, StoreError> {
        self.0.writer.call(move |page| queue(page, choose, limit)).await
    }
}

/// The host of an endpoint: what follows it in its address may be a key.
fn host(url: &str) -> String {
    Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default()
}

pub(super) fn disable(page: &Page<'_>, id: i64, why: &str) -> Result<bool, StoreError> {
    let mut update = page.connection.prepare_cached(
        "UPDATE webhooks SET disabled_at = COALESCE(disabled_at, ?2), disabled_why = ?3 WHERE id = ?1",
    )?;
    Ok(update.execute(params![id, Stored(page.now), why])? == 1)
}

fn queue(page: &Page<'_>, choose: Choose, limit: u32) -> Result<bool, StoreError> {
    let connection = page.connection;
    let mut endpoints =
        connection.prepare_cached("SELECT id, cursor, topics FROM webhooks WHERE disabled_at IS NULL")?;
    let endpoints: Vec<(i64, i64, String)> = endpoints
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<_, _>>()?;
    let mut news = connection.prepare_cached(
        "SELECT id, json_extract(body, '$.kind') FROM events WHERE id > ?1 ORDER BY id LIMIT ?2",
    )?;
    let mut insert = connection.prepare_cached(
        "INSERT INTO deliveries (webhook, event, topic, state, next_at, created_at, updated_at)
         VALUES (?1, ?2, ?3, 'waiting', ?4, ?4, ?4) ON CONFLICT DO NOTHING",
    )?;
    let mut advance = connection.prepare_cached("UPDATE webhooks SET cursor = ?2 WHERE id = ?1")?;
    let mut more = false;
    for (webhook, cursor, topics) in endpoints {
        let (mut read, mut queued, mut last) = (0, 0, cursor);
        let mut rows = news.query(params![cursor, limit])?;
        while let Some(row) = rows.next()? {
            last = row.get(0)?;
            read += 1;
            if let Some(topic) = choose(&topics, &row.get::<_, String>(1)?) {
                queued += insert.execute(params![webhook, last, topic, Stored(page.now)])?;
            }
        }
        let full = read == limit;
        if queued > 0 || full || last.saturating_sub(cursor) >= LAZY {
            advance.execute(params![webhook, last])?;
        }
        more |= full;
    }
    Ok(more)
}

fn read_webhook(row: &Row<'_>) -> rusqlite::Result<WebhookRow> {
    let why: Option<String> = row.get("disabled_why")?;
    Ok(WebhookRow {
        id: row.get("id")?,
        url: row.get("url")?,
        label: row.get("label")?,
        topics: row.get("topics")?,
        allow_private: row.get("allow_private")?,
        created_at: column(row, "created_at")?,
        disabled: column_or_none(row, "disabled_at")?.map(|at| (at, why.unwrap_or_default())),
        waiting: row.get("waiting")?,
        failing: row.get("failing")?,
        parked: row.get("parked")?,
    })
}
