//! What can go wrong in the store, by what the caller can do about it.

use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::ErrorCode;
use thiserror::Error;

/// The store could not do what was asked. Cloneable, because one failed commit fails many calls.
#[derive(Clone, Debug, Error)]
pub enum StoreError {
    /// The disk is full. Nothing was changed; it works again when there is room.
    #[error("the disk is full: nothing was written")]
    Full,
    /// The disk failed. Nothing was changed; the text is for the log.
    #[error("the disk failed: {0}")]
    Disk(Arc<str>),
    /// SQLite refused; the text is for the log.
    #[error("the database refused: {0}")]
    Database(Arc<str>),
    /// The file was written by a newer Tollhouse.
    #[error(
        "the database has schema {found}, this Tollhouse knows up to {known}: run the newer version again"
    )]
    TooNew {
        /// The file's schema.
        found: u32,
        /// The newest that this program knows.
        known: u32,
    },
    /// The file was written by an older Tollhouse, and no newer one has run on it.
    #[error("the database has schema {found}, this Tollhouse reads {known}: run this version once")]
    TooOld {
        /// The file's schema.
        found: u32,
        /// The newest that this program knows.
        known: u32,
    },
    /// The file is a database of something else.
    #[error("{0} is not a Tollhouse ledger")]
    NotOurs(PathBuf),
    /// More requests are in flight than the ledger keeps places for.
    #[error("too many requests are in flight")]
    Busy,
    /// The ledger was restored from a copy, and the operator has not said yet that coins may be sent.
    #[error(
        "the ledger was restored from a copy, and what it sent since is not known: nothing is sent until you let it, \
         under Backup & recovery or with `tollhouse backup release-payouts`"
    )]
    Parked,
    /// The ledger is being closed.
    #[error("the ledger is closed")]
    Closed,
    /// A stored value makes no sense; the text says which.
    #[error("the ledger holds a value that makes no sense: {0}")]
    Corrupt(&'static str),
}

impl StoreError {
    /// Whether the same call may succeed later, when the disk has recovered.
    pub const fn may_pass(&self) -> bool {
        matches!(self, StoreError::Full | StoreError::Disk(_) | StoreError::Busy)
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> StoreError {
        let text = || Arc::from(error.to_string());
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => StoreError::Full,
            Some(
                ErrorCode::SystemIoFailure
                | ErrorCode::CannotOpen
                | ErrorCode::ReadOnly
                | ErrorCode::OutOfMemory
                | ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked,
            ) => StoreError::Disk(text()),
            _ => StoreError::Database(text()),
        }
    }
}
