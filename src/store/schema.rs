//! The ledger's tables, and how an older file becomes a newer one.
//!
//! Migrations are ordered, append-only, one transaction each; `user_version` counts the ones applied.

use std::cmp::Ordering;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rusqlite::{Connection, OpenFlags, params};

use super::reach::OLD_MEMORY;
use super::{StoreError, optional};
use crate::types::Timestamp;

/// Tells our files from other SQLite files: "toll".
const APPLICATION_ID: i32 = 0x746f_6c6c;

const MIGRATIONS: &[&str] = &[
    include_str!("schema/0001_first.sql"),
    include_str!("schema/0002_units.sql"),
    include_str!("schema/0003_services.sql"),
    include_str!("schema/0004_webhooks.sql"),
    include_str!("schema/0005_delegation.sql"),
    include_str!("schema/0006_wallet.sql"),
    include_str!("schema/0007_tokens.sql"),
    include_str!("schema/0008_real_money.sql"),
    include_str!("schema/0009_last_seen.sql"),
    include_str!("schema/0010_fundings.sql"),
    include_str!("schema/0011_covers.sql"),
    include_str!("schema/0012_copies.sql"),
    include_str!("schema/0013_came.sql"),
    include_str!("schema/0014_waiting.sql"),
    include_str!("schema/0015_side.sql"),
];

/// Opens the file for writing, made with mode 0600 when it is not there.
pub(super) fn open(path: &Path) -> Result<Connection, StoreError> {
    let mut options = OpenOptions::new();
    let file = options.create(true).truncate(false).read(true).write(true).mode(0o600).open(path);
    file.map_err(|error| StoreError::Disk(format!("{}: {error}", path.display()).into()))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    prepare(&connection)?;
    Ok(connection)
}

/// Says whose file it is, once, and refuses another's.
pub(super) fn claim(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let (id, version): (i32, u32) = (
        connection.pragma_query_value(None, "application_id", |row| row.get(0))?,
        connection.pragma_query_value(None, "user_version", |row| row.get(0))?,
    );
    let tables: i64 = connection.query_row("SELECT COUNT(*) FROM sqlite_schema", [], |row| row.get(0))?;
    match (id, version, tables) {
        (APPLICATION_ID, _, _) => Ok(()),
        (0, 0, 0) => Ok(connection.pragma_update(None, "application_id", APPLICATION_ID)?),
        _ => Err(StoreError::NotOurs(path.to_owned())),
    }
}

/// Refuses a file that is not ours, and one that another version has written or has yet to migrate.
pub(super) fn is_current(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let id: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let found: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    match found.cmp(&known()) {
        _ if id != APPLICATION_ID => Err(StoreError::NotOurs(path.to_owned())),
        Ordering::Greater => Err(StoreError::TooNew { found, known: known() }),
        Ordering::Less => Err(StoreError::TooOld { found, known: known() }),
        Ordering::Equal => Ok(()),
    }
}

/// The newest schema.
fn known() -> u32 {
    u32::try_from(MIGRATIONS.len()).expect("there are few migrations")
}

/// WAL with synchronous FULL: a commit is on disk when it returns.
fn prepare(connection: &Connection) -> Result<(), StoreError> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // After a burst the log shrinks again.
    connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

/// Applies what is missing.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let found: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > known() {
        return Err(StoreError::TooNew { found, known: known() });
    }
    for (number, migration) in (1u32..).zip(MIGRATIONS).filter(|(number, _)| *number > found) {
        let step = connection.transaction()?;
        step.execute_batch(migration)?;
        step.pragma_update(None, "user_version", number)?;
        step.commit()?;
    }
    Ok(())
}

fn mark(connection: &Connection, name: &str) -> Result<i64, StoreError> {
    let mut query = connection.prepare_cached("SELECT value FROM mark WHERE name = ?1")?;
    Ok(query.query_row([name], |row| row.get(0))?)
}

fn set_mark(connection: &Connection, name: &str, value: i64) -> Result<(), StoreError> {
    connection.prepare_cached("UPDATE mark SET value = ?2 WHERE name = ?1")?.execute(params![name, value])?;
    Ok(())
}

/// Whether the last stop was orderly; from here on it was not, until [`set_clean_mark`].
pub(super) fn take_clean_mark(connection: &Connection) -> Result<bool, StoreError> {
    let clean = mark(connection, "clean")? == 1;
    set_mark(connection, "clean", 0)?;
    Ok(clean)
}

/// Notes an orderly stop, unless a hold is open: then the next start has something to resolve.
pub(super) fn set_clean_mark(connection: &Connection) -> Result<(), StoreError> {
    let clean = !connection.prepare_cached("SELECT 1 FROM holds")?.exists([])?;
    set_mark(connection, "clean", i64::from(clean))
}

/// Counts this start.
pub(super) fn next_run(connection: &Connection) -> Result<i64, StoreError> {
    let run = mark(connection, "run")?.saturating_add(1);
    set_mark(connection, "run", run)?;
    Ok(run)
}

/// Notes which memory the node has; tells whether it is the one that it had. Where none was noted yet, that is only
/// sure of a file that is older than such notes.
pub(super) fn note_node_memory(connection: &Connection, memory: i64) -> Result<bool, StoreError> {
    let mut query = connection.prepare_cached("SELECT value FROM mark WHERE name = 'node_memory'")?;
    let noted: Option<i64> = optional(query.query_row([], |row| row.get(0)))?;
    let same = noted.unwrap_or(OLD_MEMORY) == memory;
    if noted != Some(memory) {
        connection.execute("INSERT OR REPLACE INTO mark VALUES ('node_memory', ?1)", [memory])?;
    }
    Ok(same)
}

/// The latest instant that was written.
pub(super) fn high_water(connection: &Connection) -> Result<Timestamp, StoreError> {
    let version: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version == 0 {
        return Ok(Timestamp::default());
    }
    let ms: i64 = connection.query_row("SELECT high_water_ms FROM totals", [], |row| row.get(0))?;
    Ok(Timestamp::from_millis(u64::try_from(ms).unwrap_or(0)))
}

/// The number of the newest event, 0 when there is none.
pub(super) fn newest_event(connection: &Connection) -> Result<i64, StoreError> {
    let mut query = connection.prepare_cached("SELECT COALESCE(MAX(id), 0) FROM events")?;
    Ok(query.query_row([], |row| row.get(0))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_becomes_a_ledger_and_a_newer_one_is_refused() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection).unwrap();
        migrate(&mut connection).unwrap();
        assert!(take_clean_mark(&connection).unwrap());
        assert!(!take_clean_mark(&connection).unwrap());
        connection.pragma_update(None, "user_version", 99).unwrap();
        assert!(matches!(migrate(&mut connection), Err(StoreError::TooNew { found: 99, .. })));
    }
}
