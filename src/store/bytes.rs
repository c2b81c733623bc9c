//! The node's bytes: a key-value table in a file of its own, never part of an ordinary backup.
//!
//! Invariant: a write is on disk when it returns. SQLite in WAL mode with synchronous FULL; the default
//! store's rollback journal is slower, and NORMAL is not safe for channel monitors (LDK.md).

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OptionalExtension, params};

use super::{StoreError, reach, schema};
use crate::ports::{KeyValue, KvKey};

/// The file `channels.db`.
pub struct NodeStore {
    path: PathBuf,
    connection: Mutex<Connection>,
}

impl NodeStore {
    /// Opens or makes the file.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn open(path: &Path) -> Result<NodeStore, StoreError> {
        let connection = schema::open(path)?;
        prepare(&connection)?;
        Ok(NodeStore { path: path.to_owned(), connection: Mutex::new(connection) })
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn into_connection(self) -> Connection {
        self.connection.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn prepare(connection: &Connection) -> Result<(), StoreError> {
    connection.execute_batch(
        "CREATE TABLE IF NOT EXISTS bytes (
            first TEXT NOT NULL, second TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL,
            PRIMARY KEY (first, second, key)
         ) STRICT",
    )?;
    reach::prepare(connection)
}

impl KeyValue for NodeStore {
    fn read(&self, key: &KvKey<'_>) -> io::Result<Option<Vec<u8>>> {
        let connection = self.connection();
        let mut query = connection
            .prepare_cached("SELECT value FROM bytes WHERE first = ?1 AND second = ?2 AND key = ?3")
            .map_err(io::Error::other)?;
        let found = query.query_row([key.primary, key.secondary, key.key], |row| row.get(0)).optional();
        found.map_err(io::Error::other)
    }

    fn write(&self, key: &KvKey<'_>, value: &[u8]) -> io::Result<()> {
        let connection = self.connection();
        let mut upsert = connection
            .prepare_cached(
                "INSERT INTO bytes VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET value = excluded.value",
            )
            .map_err(io::Error::other)?;
        upsert.execute(params![key.primary, key.secondary, key.key, value]).map_err(io::Error::other)?;
        Ok(())
    }

    fn remove(&self, key: &KvKey<'_>) -> io::Result<()> {
        let connection = self.connection();
        let mut delete = connection
            .prepare_cached("DELETE FROM bytes WHERE first = ?1 AND second = ?2 AND key = ?3")
            .map_err(io::Error::other)?;
        delete.execute([key.primary, key.secondary, key.key]).map_err(io::Error::other)?;
        Ok(())
    }

    fn list(&self, primary: &str, secondary: &str) -> io::Result<Vec<String>> {
        let connection = self.connection();
        let mut query = connection
            .prepare_cached("SELECT key FROM bytes WHERE first = ?1 AND second = ?2")
            .map_err(io::Error::other)?;
        let keys = query.query_map([primary, secondary], |row| row.get(0)).map_err(io::Error::other)?;
        keys.collect::<Result<_, _>>().map_err(io::Error::other)
    }

    /// `channels-copy-1.db` beside the file, or the next number that is free.
    fn keep_copy(&self) -> io::Result<PathBuf> {
        let name = |number: u32| self.path.with_file_name(format!("channels-copy-{number}.db"));
        let copy = (1..=COPIES)
            .map(name)
            .find(|path| !path.exists())
            .ok_or_else(|| io::Error::other(format!("there are {COPIES} copies already")))?;
        let target = copy.to_str().ok_or_else(|| io::Error::other("the path is not UTF-8"))?;
        // The empty file is made first, so that the copy is never readable by others; SQLite fills it.
        OpenOptions::new().create_new(true).write(true).mode(0o600).open(&copy)?;
        self.connection().execute("VACUUM INTO ?1", [target]).map_err(io::Error::other)?;
        Ok(copy)
    }
}

/// How many copies of an unreadable state are kept at most.
const COPIES: u32 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_as_they_went_in() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("channels.db");
        let key = KvKey { primary: "monitors", secondary: "", key: "a" };
        {
            let store = NodeStore::open(&path).unwrap();
            assert_eq!(store.read(&key).unwrap(), None);
            store.write(&key, b"one").unwrap();
            store.write(&key, b"two").unwrap();
            store.write(&KvKey { key: "b", ..key }, b"").unwrap();
        }
        let store = NodeStore::open(&path).unwrap();
        assert_eq!(store.read(&key).unwrap().as_deref(), Some(&b"two"[..]));
        assert_eq!(store.list("monitors", "").unwrap(), ["a", "b"]);
        assert!(store.list("monitors", "x").unwrap().is_empty());
        store.remove(&key).unwrap();
        store.remove(&key).unwrap();
        assert_eq!(store.read(&key).unwrap(), None);
        let copies = [store.keep_copy().unwrap(), store.keep_copy().unwrap()];
        assert_ne!(copies[0], copies[1]);
        assert_eq!(NodeStore::open(&copies[1]).unwrap().list("monitors", "").unwrap(), ["b"]);
    }
}
