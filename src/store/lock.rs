//! One process for one data directory: two nodes on one channel state lose money.

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// As every file of ours: for its owner alone.
const MODE: u32 = 0o600;

/// The directory is not ours.
#[derive(Debug, Error)]
pub enum Locked {
    /// Another process has it.
    #[error("another tollhouse runs on {0}: stop it, or use another data_dir")]
    Taken(PathBuf),
    /// The lock file cannot be used.
    #[error("the lock file {path} cannot be used: {error}")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
}

/// Holds the directory until it is dropped, or the process ends in whatever way.
#[derive(Debug)]
pub struct DirLock {
    _file: File,
}

impl DirLock {
    /// Takes the directory.
    ///
    /// # Errors
    /// When another process has it, or the lock file cannot be made.
    pub fn take(dir: &Path) -> Result<DirLock, Locked> {
        let path = dir.join("lock");
        let unusable = |error| Locked::Unusable { path: path.clone(), error };
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true).mode(MODE);
        let file = options.open(&path).map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => {
                // Older versions left it open to others.
                let closed = file.metadata().and_then(|known| match known.permissions().mode() & 0o777 {
                    MODE => Ok(()),
                    _ => file.set_permissions(Permissions::from_mode(MODE)),
                });
                // There is nothing in it: what keeps its mode keeps nobody from starting.
                if let Err(error) = closed {
                    tracing::warn!(%error, path = %path.display(), "the lock's mode could not be set");
                }
                Ok(DirLock { _file: file })
            }
            Err(TryLockError::WouldBlock) => Err(Locked::Taken(dir.to_owned())),
            Err(TryLockError::Error(error)) => Err(unusable(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_one_is_told_who_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let first = DirLock::take(folder.path()).unwrap();
        let message = DirLock::take(folder.path()).unwrap_err().to_string();
        assert!(message.contains("another tollhouse runs on"), "{message}");
        assert!(message.contains(&folder.path().display().to_string()), "{message}");
        drop(first);
        let path = folder.path().join("lock");
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let _third = DirLock::take(folder.path()).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
