//! Why a copy of the ledger cannot be made, read or brought back: in words, and as a stable code.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::{DestinationFault, FormatFault, OpenFault};
use crate::secrets::EpochFault;
use crate::store::StoreError;

/// Why there is no backup, or no good one.
#[derive(Debug, Error)]
pub enum BackupFault {
    /// No directory was said.
    #[error("there is nowhere to put backups: set backup.dir")]
    NoDir,
    /// There is no such backup.
    #[error("there is no backup `{file}` of this node in {} (backup.dir)", .dir.display())]
    Unknown {
        /// Its name.
        file: String,
        /// Where it would lie.
        dir: PathBuf,
    },
    /// The file is not a good backup.
    #[error(transparent)]
    Format(#[from] FormatFault),
    /// Another node's, or another network's.
    #[error("the backup is of node {theirs} on {their_network}, and this is {ours} on {our_network}")]
    Foreign {
        /// The backup's.
        theirs: String,
        /// The backup's.
        their_network: String,
        /// Ours.
        ours: String,
        /// Ours.
        our_network: String,
    },
    /// The audit of the copy failed.
    #[error("the books in the backup are wrong: {}", .0.join("; "))]
    WrongBooks(Vec<String>),
    /// The ledger cannot be copied or read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The tokens' master keys cannot be put in place.
    #[error("the tokens' master keys: {0}")]
    Keys(#[from] EpochFault),
    /// The note beside the ledger.
    #[error(transparent)]
    Open(#[from] OpenFault),
    /// A file or directory.
    #[error("{path} cannot be used: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The directory is not where it was.
    #[error(transparent)]
    Destination(#[from] DestinationFault),
    /// A restore failed, and so did undoing what it had begun.
    #[error(
        "{fault}; and what was begun could not be undone ({left}). The next start begins a new generation of the ledger: \
         run the restore again before it"
    )]
    NotUndone {
        /// Why it failed.
        fault: Box<BackupFault>,
        /// What could not be put back, and where it lies.
        left: String,
    },
    /// The task that did the work ended.
    #[error("the work on the backup was broken off")]
    BrokenOff,
}

impl BackupFault {
    /// Stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            BackupFault::NoDir => "no_backup_dir",
            BackupFault::Unknown { .. } => "unknown_backup",
            BackupFault::Format(_) => "bad_backup",
            BackupFault::Foreign { .. } => "foreign_backup",
            BackupFault::WrongBooks(_) => "books_wrong",
            BackupFault::Store(_) | BackupFault::Open(_) => "ledger_unavailable",
            BackupFault::Keys(_) => "keys_not_changed",
            BackupFault::File { .. } | BackupFault::Destination(_) => "backup_file",
            BackupFault::NotUndone { .. } => "half_restored",
            BackupFault::BrokenOff => "broken_off",
        }
    }

    pub(super) fn file(path: &Path, error: io::Error) -> BackupFault {
        BackupFault::File { path: path.to_owned(), error }
    }
}
