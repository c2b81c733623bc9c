//! Copies of the ledger's file: taken while it is written to, looked into, brought up to date.

use std::collections::HashSet;
use std::path::Path;

use super::{Ledger, Marks, StoreError, generations, pool, schema};

/// What a copy says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// How far it is.
    pub marks: Marks,
    /// The number of its newest event.
    pub newest_event: i64,
}

impl Ledger {
    /// Writes what is committed now to `path`, which is not there or empty, in one view of the ledger:
    /// sales go on meanwhile. Blocks elsewhere.
    ///
    /// # Errors
    /// When a disk fails.
    pub async fn copy_to(&self, path: &Path) -> Result<(), StoreError> {
        let (from, to) = (self.0.readers.path().to_owned(), path.to_owned());
        let copying = tokio::task::spawn_blocking(move || {
            // A connection of its own: the others are barred from writing, to whatever file.
            let connection = pool::open(&from)?;
            connection.pragma_update(None, "query_only", false)?;
            let to = to.to_str().ok_or(StoreError::Corrupt("a path for a copy that is not text"))?;
            connection.execute("VACUUM INTO ?1", [to])?;
            Ok(())
        });
        copying.await.map_err(|_| StoreError::Closed)?
    }

    /// Which of these files its log tells as backups that it made.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn backups_among(&self, files: HashSet<String>) -> Result<HashSet<String>, StoreError> {
        let work = move |connection: &rusqlite::Connection| {
            // Both conditions: the index leaves out what every sale writes.
            let mut query = connection.prepare_cached(
                "SELECT json_extract(body, '$.file') FROM events
                 WHERE json_extract(body, '$.kind') NOT IN ('payment_received', 'sale_attributed')
                   AND json_extract(body, '$.kind') = 'backup_made'",
            )?;
            let told = query.query_map([], |row| row.get::<_, String>(0))?;
            let kept = told.filter(|file| file.as_ref().map_or(true, |file| files.contains(file)));
            Ok(kept.collect::<Result<_, _>>()?)
        };
        self.0.readers.read(work).await
    }

    /// What the copy at `path` says of itself. Blocks.
    ///
    /// # Errors
    /// When it cannot be read, or is not of this version's schema.
    pub fn extent_of(path: &Path) -> Result<Extent, StoreError> {
        let connection = pool::open(path)?;
        schema::is_current(&connection, path)?;
        Ok(Extent {
            marks: generations::marks(&connection)?,
            newest_event: schema::newest_event(&connection)?,
        })
    }

    /// Brings the copy at `path` to this version's schema, and leaves it in one file. Blocks.
    ///
    /// # Errors
    /// When it cannot be used, is another program's, or a newer version wrote it.
    pub fn bring_up_to_date(path: &Path) -> Result<(), StoreError> {
        let mut connection = schema::open(path)?;
        schema::claim(&connection, path)?;
        schema::migrate(&mut connection)?;
        fold(connection)
    }

    /// Leaves the ledger at `path`, which nobody has open, in one file. Blocks.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn fold_file(path: &Path) -> Result<(), StoreError> {
        fold(schema::open(path)?)
    }
}

/// Puts what lies in the write-ahead log into the file, and does away with the log.
fn fold(connection: rusqlite::Connection) -> Result<(), StoreError> {
    connection.pragma_update(None, "journal_mode", "DELETE")?;
    let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
    if mode != "delete" {
        return Err(StoreError::Disk("the write-ahead log is in use".into()));
    }
    connection.close().map_err(|(_, error)| error.into())
}
