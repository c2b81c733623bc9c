//! In which life of the ledger an event was written: its number alone does not say, after a restore.

use rusqlite::Connection;

use super::StoreError;

/// In which life each event was written: (generation, number of its first event), rising.
pub(super) struct Lives(Vec<(u64, i64)>);

impl Lives {
    pub(super) fn read(connection: &Connection) -> Result<Lives, StoreError> {
        let mut query = connection
            .prepare_cached("SELECT generation, first_event FROM generations ORDER BY generation")?;
        let lives = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(Lives(lives.collect::<Result<_, _>>()?))
    }

    /// The life of event number `id`.
    pub(super) fn of(&self, id: i64) -> u64 {
        self.0.iter().rev().find(|(_, first)| *first <= id).map_or(1, |(generation, _)| *generation)
    }
}
