//! What the operator's side keeps: named settings, and API keys by their hashes.

use rusqlite::{Connection, Row, params};

use super::page::Page;
use super::rows::{Stored, column, column_or_none};
use super::{Ledger, StoreError, optional};
use crate::event::Event;
use crate::types::Timestamp;

/// One API key; the key itself is nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKeyRow {
    /// Its number.
    pub id: i64,
    /// What the operator calls it.
    pub label: String,
    /// What it may do, space-separated.
    pub scopes: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was revoked, if it was.
    pub revoked_at: Option<Timestamp>,
    /// When it ends by itself, if it does.
    pub expires_at: Option<Timestamp>,
}

/// A key to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewApiKey {
    /// What the operator calls it.
    pub label: String,
    /// Its hash.
    pub hash: [u8; 32],
    /// What it may do, space-separated.
    pub scopes: String,
    /// When it ends by itself, if it does.
    pub expires_at: Option<Timestamp>,
}

impl Ledger {
    /// A setting.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn setting(&self, name: &'static str) -> Result<Option<String>, StoreError> {
        let work = move |connection: &Connection| {
            let mut query = connection.prepare_cached("SELECT value FROM settings WHERE name = ?1")?;
            optional(query.query_row([name], |row| row.get(0)))
        };
        self.0.readers.read(work).await
    }

    /// Stores a setting.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn set_setting(&self, name: &'static str, value: &str) -> Result<(), StoreError> {
        let value = value.to_owned();
        let work = move |page: &mut Page<'_>| {
            let mut upsert = page.connection.prepare_cached(
                "INSERT INTO settings (name, value) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = ?2",
            )?;
            upsert.execute(params![name, value])?;
            Ok(())
        };
        self.0.writer.call(work).await
    }

    /// Removes a setting and gives what it was: of two callers one gets it.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn take_setting(&self, name: &'static str) -> Result<Option<String>, StoreError> {
        let work = move |page: &mut Page<'_>| {
            let mut delete =
                page.connection.prepare_cached("DELETE FROM settings WHERE name = ?1 RETURNING value")?;
            optional(delete.query_row([name], |row| row.get(0)))
        };
        self.0.writer.call(work).await
    }

    /// Stores a key's hash; gives its number.
    ///
    /// # Errors
    /// When the disk fails, or the key is there already.
    pub async fn add_api_key(&self, key: NewApiKey) -> Result<i64, StoreError> {
        self.0.writer.call(move |page| add_key(page, &key)).await
    }

    /// The key with this hash that is neither revoked nor over at `now`.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn api_key(&self, hash: [u8; 32], now: Timestamp) -> Result<Option<ApiKeyRow>, StoreError> {
        let work = move |connection: &Connection| {
            let mut query = connection.prepare_cached(
                "SELECT * FROM api_keys WHERE hash = ?1 AND revoked_at IS NULL
                    AND (expires_at IS NULL OR expires_at > ?2)",
            )?;
            optional(query.query_row(params![hash.as_slice(), Stored(now)], read))
        };
        self.0.readers.read(work).await
    }

    /// All keys, revoked ones too, oldest first.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn list_api_keys(&self) -> Result<Vec<ApiKeyRow>, StoreError> {
        let work = |connection: &Connection| {
            let mut query = connection.prepare_cached("SELECT * FROM api_keys ORDER BY id")?;
            Ok(query.query_map([], read)?.collect::<Result<_, _>>()?)
        };
        self.0.readers.read(work).await
    }

    /// Revokes a key; false when there is no such live key.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn revoke_api_key(&self, id: i64) -> Result<bool, StoreError> {
        let work = move |page: &mut Page<'_>| {
            let sql =
                "UPDATE api_keys SET revoked_at = ?2 WHERE id = ?1 AND revoked_at IS NULL RETURNING label";
            let mut update = page.connection.prepare_cached(sql)?;
            let Some(label) = optional(update.query_row(params![id, Stored(page.now)], |row| row.get(0)))?
            else {
                return Ok(false);
            };
            page.log(&Event::KeyRevoked { key: id, label })?;
            Ok(true)
        };
        self.0.writer.call(work).await
    }
}

pub(super) fn add_key(page: &Page<'_>, key: &NewApiKey) -> Result<i64, StoreError> {
    let mut insert = page.connection.prepare_cached(
        "INSERT INTO api_keys (label, hash, scopes, created_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    let ends = key.expires_at.map(Stored);
    insert.execute(params![key.label, key.hash.as_slice(), key.scopes, Stored(page.now), ends])?;
    let id = page.connection.last_insert_rowid();
    let (label, scopes) = (key.label.clone(), key.scopes.clone());
    page.log(&Event::KeyMade { key: id, label, scopes, expires_at: key.expires_at })?;
    Ok(id)
}

fn read(row: &Row<'_>) -> rusqlite::Result<ApiKeyRow> {
    Ok(ApiKeyRow {
        id: row.get("id")?,
        label: row.get("label")?,
        scopes: row.get("scopes")?,
        created_at: column(row, "created_at")?,
        revoked_at: column_or_none(row, "revoked_at")?,
        expires_at: column_or_none(row, "expires_at")?,
    })
}
