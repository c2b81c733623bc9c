//! A file with a secret that the operator reads once: replaced whole, mode 0600, and removed when used.

use std::io;
use std::path::Path;

use crate::secrets;

/// Writes `text` to `path` in place of what was there.
///
/// # Errors
/// When the disk refuses.
pub(super) fn replace(path: &Path, text: &str) -> io::Result<()> {
    remove(path)?;
    secrets::write_private(path, text)
}

/// Removes the file; that it is not there is fine.
///
/// # Errors
/// When it is there and cannot be removed.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
