//! What is sold, as it is kept: one row for each service, changed together with the event that tells it.

use rusqlite::{Connection, Row, params};
use serde_json::Value;

use super::page::Page;
use super::rows::{Stored, column};
use super::{Ledger, StoreError};
use crate::event::Event;
use crate::types::{Name, Timestamp};

/// One service as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceRow {
    /// Its name.
    pub name: Name,
    /// What it is.
    pub stored: StoredService,
    /// When it was changed last.
    pub changed_at: Timestamp,
}

/// What is kept of a service.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredService {
    /// Its spec in JSON, with what may be a key.
    pub spec: Value,
    /// The file that owns it, if one does.
    pub owner: Option<String>,
}

/// What becomes of one service.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceChange {
    /// Which.
    pub name: Name,
    /// What it is from now on; `None` takes it away.
    pub after: Option<StoredService>,
    /// What to log; nothing for a change of owner alone.
    pub event: Option<Event>,
}

impl Ledger {
    /// Every service, in the order in which they came.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn services(&self) -> Result<Vec<ServiceRow>, StoreError> {
        let work = |connection: &Connection| {
            let mut query = connection.prepare_cached("SELECT * FROM services ORDER BY position, name")?;
            let rows = query.query_map([], |row| Ok(read(row)))?;
            rows.map(|row| row?).collect()
        };
        self.0.readers.read(work).await
    }

    /// Makes all of these changes and logs them, or none.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn change_services(&self, changes: Vec<ServiceChange>) -> Result<(), StoreError> {
        let work = move |page: &mut Page<'_>| {
            for change in &changes {
                write(page, change)?;
            }
            Ok(())
        };
        self.0.writer.call(work).await
    }
}

fn write(page: &mut Page<'_>, change: &ServiceChange) -> Result<(), StoreError> {
    let name = change.name.as_str();
    match &change.after {
        None => {
            page.connection.prepare_cached("DELETE FROM services WHERE name = ?1")?.execute([name])?;
        }
        Some(StoredService { spec, owner }) => {
            let mut upsert = page.connection.prepare_cached(
                "INSERT INTO services (name, spec, owner, position, changed_at)
                 VALUES (?1, ?2, ?3, (SELECT COALESCE(MAX(position), 0) + 1 FROM services), ?4)
                 ON CONFLICT (name) DO UPDATE SET spec = ?2, owner = ?3, changed_at = ?4",
            )?;
            upsert.execute(params![name, spec.to_string(), owner, Stored(page.now)])?;
        }
    }
    if let Some(event) = &change.event {
        page.log(event)?;
    }
    Ok(())
}

fn read(row: &Row<'_>) -> Result<ServiceRow, StoreError> {
    let (name, spec): (String, String) = (row.get("name")?, row.get("spec")?);
    Ok(ServiceRow {
        name: name.parse().map_err(|_| StoreError::Corrupt("a service's name"))?,
        stored: StoredService {
            spec: serde_json::from_str(&spec).map_err(|_| StoreError::Corrupt("a service's spec"))?,
            owner: row.get("owner")?,
        },
        changed_at: column(row, "changed_at")?,
    })
}
