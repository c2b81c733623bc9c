//! Files for their owner alone: whole or not at all, mode 0600, in directories of mode 0700.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::SecretsError;
use crate::types::Timestamp;

/// Makes the directory, or closes the one that is there to others.
///
/// # Errors
/// When that is not possible.
pub fn private_dir(dir: &Path) -> Result<(), SecretsError> {
    let fault = |error| SecretsError::File { path: dir.to_owned(), error };
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(fault)?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).map_err(fault)
}

/// The bytes of a file that others cannot read; `None` when it is not there.
pub(super) fn read_private(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, SecretsError> {
    let fault = |error| SecretsError::File { path: path.to_owned(), error };
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fault(error)),
    };
    let found = file.metadata().map_err(fault)?;
    let mode = found.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(SecretsError::Exposed { path: path.to_owned(), mode });
    }
    let room = usize::try_from(found.len()).unwrap_or_default().saturating_add(1);
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    file.read_to_end(&mut bytes).map_err(fault)?;
    Ok(Some(bytes))
}

/// Writes a new file, mode 0600, that is whole on disk under its name when this returns. What is there
/// already is not replaced.
///
/// # Errors
/// When the disk fails, or the file is there.
pub fn write_private(path: &Path, bytes: impl AsRef<[u8]>) -> io::Result<()> {
    let (file, dir) = written(path, bytes.as_ref())?;
    file.persist_noclobber(path).map_err(|error| error.error)?;
    dir.sync_all()
}

/// Replaces a file that says `before` by one that says `after`, mode 0600, whole on disk when this
/// returns. One that says something else is left as it is.
pub(super) fn replace_private(path: &Path, before: &[u8], after: &[u8]) -> io::Result<()> {
    if Zeroizing::new(fs::read(path)?).as_slice() != before {
        return Err(io::Error::other("it was changed by somebody else since it was read"));
    }
    let (file, dir) = written(path, after)?;
    file.persist(path).map_err(|error| error.error)?;
    dir.sync_all()
}

/// The same, for one that said a secret in plain: what it said is written over where the file system
/// keeps it, which a disk may still do elsewhere.
pub(super) fn replace_plain(path: &Path, before: &[u8], after: &[u8]) -> io::Result<()> {
    let mut old = OpenOptions::new().write(true).open(path)?;
    replace_private(path, before, after)?;
    old.write_all(&vec![0; before.len()])?;
    old.sync_all()
}

/// Where the file at `path` is kept when another takes its place: beside it, as `NAME.before-<ms>` of the first
/// millisecond from `at` on that is free.
///
/// # Errors
/// When the directory cannot be looked at.
pub fn aside(path: &Path, at: Timestamp) -> io::Result<PathBuf> {
    let mut ms = at.millis();
    loop {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".before-{ms}"));
        match fs::symlink_metadata(&name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(PathBuf::from(name)),
            Err(error) => return Err(error),
            Ok(_) => ms = ms.saturating_add(1),
        }
    }
}

/// A temporary file is made with mode 0600 and vanishes when a step fails.
fn written(path: &Path, bytes: &[u8]) -> io::Result<(tempfile::NamedTempFile, File)> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    Ok((file, File::open(dir)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        write_private(&path, "one").unwrap();
        // What a write that was cut off leaves is not taken for the file, and does not stop the next.
        assert!(write_private(&path, "two").is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "one");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(replace_private(&path, b"two", b"three").is_err());
        replace_plain(&path, b"one", b"three").unwrap();
        assert_eq!(read_private(&path).unwrap().unwrap().as_slice(), b"three");
        assert!(write_private(&folder.path().join("gone").join("file"), "x").is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
    }
}
