//! How far the node's bytes got, counted in the same transaction as each write, and a view of some of
//! them at one moment.
//!
//! Why: channel state that is put back from an old copy loses money (THREATS 20). A count that is kept
//! inside the file and mirrored outside tells an old copy from the newest state. The count only grows, and a
//! file that is made anew from a recovery snapshot goes on with the lineage at a higher count.

use std::path::Path;

use rusqlite::{Connection, params};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{NodeStore, StoreError, pool, schema};

/// Which history of writes a file belongs to, and how far it got in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reach {
    /// The history's name, made by chance with its first file.
    pub lineage: String,
    /// Writes so far.
    pub number: u64,
}

/// A value of a [`NodeStore`] with its name.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredBytes {
    /// First namespace.
    pub primary: String,
    /// Second namespace.
    pub secondary: String,
    /// Key.
    pub key: String,
    /// Value.
    pub value: Vec<u8>,
}

impl std::fmt::Debug for StoredBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let StoredBytes { primary, secondary, key, value } = self;
        write!(f, "{primary}/{secondary}/{key} ({} bytes)", value.len())
    }
}

/// Triggers, so that no write can be forgotten: they are part of the statement's own transaction.
const COUNT: &str = "
    CREATE TABLE IF NOT EXISTS generation (
        one INTEGER PRIMARY KEY CHECK (one = 1), lineage TEXT NOT NULL, number INTEGER NOT NULL
    ) STRICT;
    INSERT OR IGNORE INTO generation VALUES (1, lower(hex(randomblob(16))), 0);
    CREATE TRIGGER IF NOT EXISTS count_insert AFTER INSERT ON bytes
        BEGIN UPDATE generation SET number = number + 1; END;
    CREATE TRIGGER IF NOT EXISTS count_update AFTER UPDATE ON bytes
        BEGIN UPDATE generation SET number = number + 1; END;
    CREATE TRIGGER IF NOT EXISTS count_delete AFTER DELETE ON bytes
        BEGIN UPDATE generation SET number = number + 1; END;
    CREATE TABLE IF NOT EXISTS memory (one INTEGER PRIMARY KEY CHECK (one = 1), id INTEGER NOT NULL) STRICT;
    INSERT OR IGNORE INTO memory SELECT 1, CASE WHEN EXISTS (SELECT 1 FROM bytes) THEN 0 ELSE random() END;";

/// The memory of a file that was begun before such numbers were: the one that the node had all along.
pub(super) const OLD_MEMORY: i64 = 0;

pub(super) fn prepare(connection: &Connection) -> Result<(), StoreError> {
    Ok(connection.execute_batch(COUNT)?)
}

fn of(connection: &Connection) -> Result<Reach, StoreError> {
    let read = "SELECT lineage, number FROM generation";
    let found = connection.query_row(read, [], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?)))?;
    let number = u64::try_from(found.1).map_err(|_| StoreError::Corrupt("generation.number"))?;
    Ok(Reach { lineage: found.0, number })
}

impl NodeStore {
    /// How far it got.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn generation(&self) -> Result<Reach, StoreError> {
        of(&self.connection())
    }

    /// Which memory it is: a number made by chance with the file; 0 of one from before there were such numbers. One that a recovery made anew has another,
    /// though its history goes on: what the node knew of payments is not in it, or not all of it.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn memory(&self) -> Result<i64, StoreError> {
        Ok(self.connection().query_row("SELECT id FROM memory", [], |row| row.get(0))?)
    }

    /// The generation and what `wanted` picks by namespaces and key, both of one moment. Uses a
    /// connection of its own that only reads: writers do not wait.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn view(
        &self,
        wanted: impl Fn(&str, &str, &str) -> bool,
    ) -> Result<(Reach, Vec<StoredBytes>), StoreError> {
        let connection = pool::open(self.path())?;
        let moment = connection.unchecked_transaction()?;
        let generation = of(&moment)?;
        let mut names =
            moment.prepare("SELECT rowid, first, second, key FROM bytes ORDER BY first, second, key")?;
        let mut value = moment.prepare("SELECT value FROM bytes WHERE rowid = ?1")?;
        let mut picked = Vec::new();
        let mut rows = names.query([])?;
        while let Some(row) = rows.next()? {
            let (primary, secondary, key): (String, String, String) = (row.get(1)?, row.get(2)?, row.get(3)?);
            if wanted(&primary, &secondary, &key) {
                let value = value.query_row([row.get::<_, i64>(0)?], |row| row.get(0))?;
                picked.push(StoredBytes { primary, secondary, key, value });
            }
        }
        Ok((generation, picked))
    }

    /// Makes a new file that holds `rows` and stands at `generation`, whole on disk when this returns.
    ///
    /// # Errors
    /// When the disk fails, or the file holds something already.
    pub fn create(path: &Path, generation: &Reach, rows: &[StoredBytes]) -> Result<(), StoreError> {
        fill(path, Some(generation), rows).map(drop)
    }

    /// Like [`NodeStore::create`], with a history of its own, which is given.
    ///
    /// # Errors
    /// As [`NodeStore::create`].
    pub fn create_first(path: &Path, rows: &[StoredBytes]) -> Result<Reach, StoreError> {
        fill(path, None, rows)
    }

    /// Closes it with all that was written in the one file, for a copy or a rename.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn fold(self) -> Result<(), StoreError> {
        fold(self.into_connection())
    }
}

fn fold(connection: Connection) -> Result<(), StoreError> {
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    connection.close().map_err(|(_, error)| error.into())
}

fn fill(path: &Path, generation: Option<&Reach>, rows: &[StoredBytes]) -> Result<Reach, StoreError> {
    let mut connection = schema::open(path)?;
    super::bytes::prepare(&connection)?;
    let writing = connection.transaction()?;
    for row in rows {
        let StoredBytes { primary, secondary, key, value } = row;
        writing
            .execute("INSERT INTO bytes VALUES (?1, ?2, ?3, ?4)", params![primary, secondary, key, value])?;
    }
    if let Some(Reach { lineage, number }) = generation {
        let number = i64::try_from(*number).map_err(|_| StoreError::Corrupt("generation.number"))?;
        writing.execute("UPDATE generation SET lineage = ?1, number = ?2", params![lineage, number])?;
    }
    let generation = of(&writing)?;
    writing.commit()?;
    fold(connection)?;
    Ok(generation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::{KeyValue, KvKey};

    #[test]
    fn each_write_counts_and_a_new_file_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let store = NodeStore::open(&folder.path().join("channels.db")).unwrap();
        let first = store.generation().unwrap();
        assert_eq!((first.number, first.lineage.len()), (0, 32));
        let memory = store.memory().unwrap();
        let key = KvKey { primary: "monitors", secondary: "", key: "a" };
        store.write(&key, b"1").unwrap();
        store.write(&key, b"2").unwrap();
        store.write(&KvKey { primary: "", ..key }, b"3").unwrap();
        store.remove(&KvKey { primary: "", ..key }).unwrap();
        store.remove(&KvKey { primary: "", ..key }).unwrap();
        assert_eq!(store.generation().unwrap(), Reach { number: 4, ..first.clone() });
        let (at, rows) = store.view(|primary, _, _| primary == "monitors").unwrap();
        assert_eq!((at.number, rows.len(), &rows[0].value[..]), (4, 1, &b"2"[..]));

        let ahead = Reach { number: 9, ..first };
        let fresh = folder.path().join("fresh.db");
        NodeStore::create(&fresh, &ahead, &rows).unwrap();
        assert!(!folder.path().join("fresh.db-wal").exists());
        let fresh = NodeStore::open(&fresh).unwrap();
        assert_eq!(fresh.generation().unwrap(), ahead);
        assert!(![memory, OLD_MEMORY].contains(&fresh.memory().unwrap()), "it forgot");
        let path = store.path().to_owned();
        drop(store);
        let store = NodeStore::open(&path).unwrap();
        assert_eq!(store.memory().unwrap(), memory);
        store.connection().execute_batch("DROP TABLE memory").unwrap();
        drop(store);
        for _ in 0..2 {
            let old = NodeStore::open(&path).unwrap();
            assert_eq!(old.memory().unwrap(), OLD_MEMORY, "the file of a version that had no such numbers");
        }
        assert_eq!(fresh.read(&key).unwrap().as_deref(), Some(&b"2"[..]));
    }
}
