//! How much room a disk has.

use std::path::Path;

/// The room on the disk that a directory is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskSpace {
    /// What may still be written, bytes.
    pub free: u64,
    /// Its size, bytes.
    pub total: u64,
}

/// The room below `dir`; `None` when the system does not tell.
pub(super) fn space(dir: &Path) -> Option<DiskSpace> {
    let told = rustix::fs::statvfs(dir).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(told.f_frsize);
    Some(DiskSpace { free: bytes(told.f_bavail), total: bytes(told.f_blocks) })
}

impl DiskSpace {
    /// The room on the disk that `dir` is on; `None` when the system does not tell.
    pub fn of(dir: &Path) -> Option<DiskSpace> {
        space(dir)
    }
}
