//! Values on their way into and out of SQLite, and the event log.

use std::time::Duration;

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, Row, params};

use super::lives::Lives;
use super::plan::asked;
use super::{StoreError, optional};
use crate::event::{Event, LoggedEvent};
use crate::types::{CounterId, Kind, Msat, Name, PaymentHash, Timestamp, TokenId};

/// A stored value of one of our types.
pub(super) struct Stored<T>(pub(super) T);

macro_rules! stored_bytes {
    ($type:ty) => {
        impl ToSql for Stored<$type> {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(ToSqlOutput::from(self.0.as_bytes().as_slice()))
            }
        }

        impl FromSql for Stored<$type> {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                let bytes = value.as_blob()?.try_into().map_err(|_| FromSqlError::InvalidType)?;
                Ok(Stored(<$type>::from_bytes(bytes)))
            }
        }
    };
}

stored_bytes!(PaymentHash);
stored_bytes!(TokenId);
stored_bytes!(CounterId);

impl ToSql for Stored<Msat> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        // Every `Msat` fits: the most there is has 19 digits and lies below i64::MAX.
        Ok(ToSqlOutput::from(i64::try_from(self.0.msat()).unwrap_or(i64::MAX)))
    }
}

impl FromSql for Stored<Msat> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let stored = value.as_i64()?;
        let msat = u64::try_from(stored).map_err(|_| FromSqlError::OutOfRange(stored))?;
        Msat::new(msat).map(Stored).map_err(|_| FromSqlError::OutOfRange(stored))
    }
}

impl ToSql for Stored<Timestamp> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(i64::try_from(self.0.millis()).unwrap_or(i64::MAX)))
    }
}

impl FromSql for Stored<Timestamp> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Ok(Stored(Timestamp::from_millis(u64::try_from(value.as_i64()?).unwrap_or(0))))
    }
}

impl ToSql for Stored<Duration> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(i64::try_from(self.0.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl FromSql for Stored<Duration> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Ok(Stored(Duration::from_millis(u64::try_from(value.as_i64()?).unwrap_or(0))))
    }
}

impl ToSql for Stored<Kind> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(self.0.as_str()))
    }
}

impl FromSql for Stored<Kind> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_str()?.parse().map(Stored).map_err(|_| FromSqlError::InvalidType)
    }
}

impl ToSql for Stored<&Name> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(self.0.as_str()))
    }
}

impl FromSql for Stored<Name> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_str()?.parse().map(Stored).map_err(|_| FromSqlError::InvalidType)
    }
}

/// One column as one of our types.
pub(super) fn column<T>(row: &Row<'_>, name: &str) -> rusqlite::Result<T>
where
    Stored<T>: FromSql,
{
    row.get::<_, Stored<T>>(name).map(|stored| stored.0)
}

/// One column that may be empty.
pub(super) fn column_or_none<T>(row: &Row<'_>, name: &str) -> rusqlite::Result<Option<T>>
where
    Stored<T>: FromSql,
{
    Ok(row.get::<_, Option<Stored<T>>>(name)?.map(|stored| stored.0))
}

/// The number of a service's or route's name; a new name gets one.
pub(super) fn name_id(connection: &Connection, name: &Name) -> Result<i64, StoreError> {
    if let Some(id) = known_name(connection, name)? {
        return Ok(id);
    }
    let mut insert = connection.prepare_cached("INSERT INTO names (name) VALUES (?1)")?;
    insert.execute([Stored(name)])?;
    Ok(connection.last_insert_rowid())
}

/// The number of a name, when it has one.
pub(super) fn known_name(connection: &Connection, name: &Name) -> Result<Option<i64>, StoreError> {
    let mut query = connection.prepare_cached("SELECT id FROM names WHERE name = ?1")?;
    optional(query.query_row([Stored(name)], |row| row.get(0)))
}

/// An event as the log keeps it.
pub(super) fn event_body(event: &Event) -> Result<String, StoreError> {
    serde_json::to_string(event).map_err(|_| StoreError::Corrupt("an event without a JSON form"))
}

/// Reads the log.
pub(super) fn events_after(
    connection: &Connection,
    id: i64,
    limit: u32,
) -> Result<Vec<LoggedEvent>, StoreError> {
    let mut query = asked(connection, "SELECT id, at, body FROM events WHERE id > ?1 ORDER BY id LIMIT ?2")?;
    let lives = Lives::read(connection)?;
    let rows = query.query_map(params![id, limit], |row| {
        Ok((row.get::<_, i64>("id")?, column::<Timestamp>(row, "at")?, row.get::<_, String>("body")?))
    })?;
    rows.map(|row| {
        let (id, at, body) = row?;
        let event =
            serde_json::from_str(&body).map_err(|_| StoreError::Corrupt("an event of an unknown kind"))?;
        Ok(LoggedEvent { id, generation: lives.of(id), at, event })
    })
    .collect()
}
