//! How a copy of the ledger becomes a backup: what it says of itself, and its file, which has its name only after it was
//! opened again.

use std::fs::File;
use std::io;
use std::path::Path;

use super::format::{self, Backup};
use super::shelf::{Shelf, Shelved};
use super::{BackupFault, BackupsParts, Destination, Manifest, Owner, whole};
use crate::store::{AuditReport, Ledger};
use crate::types::Timestamp;

/// How temporary copies begin; what a kill left of them is cleared away at the next start.
const TEMPORARY: &str = ".backup-";

/// Whether the file can be read, and is what its name says: only such a one may make room for a newer one.
pub(super) fn is_own(path: &Path, one: &Shelved, owner: &Owner) -> bool {
    Backup::open(path, &owner.key).is_ok_and(|Backup { manifest, .. }| {
        let whose = (&manifest.node_id, &manifest.network) == (&owner.node_id, &owner.network);
        whose && manifest.created_at == one.created_at
    })
}

/// What the backup of a copy says of itself.
pub(super) fn manifest(
    owner: &Owner,
    copy: &mut File,
    path: &Path,
    report: &AuditReport,
    created_at: Timestamp,
) -> Result<Manifest, BackupFault> {
    let extent = Ledger::extent_of(path)?;
    let (ledger_bytes, ledger_sha256) =
        format::measure(copy).map_err(|error| BackupFault::file(path, error))?;
    Ok(Manifest {
        form: Manifest::form(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        network: owner.network.clone(),
        node_id: owner.node_id.clone(),
        created_at,
        generation: extent.marks.generation,
        steps: extent.marks.steps,
        newest_event: extent.newest_event,
        books_ok: report.ok,
        sums: serde_json::to_value(report.sums).unwrap_or_default(),
        ledger_bytes,
        ledger_sha256,
    })
}

/// Seals the copy under its name, after it was opened again; gives the file's length.
pub(super) fn shelve(
    parts: &BackupsParts,
    shelf: &Shelf,
    file: &str,
    manifest: &Manifest,
    copy: &mut File,
) -> Result<u64, BackupFault> {
    let dir = shelf.dir();
    let fault = |error| BackupFault::file(dir, error);
    Destination::new(dir.to_owned(), parts.data.clone()).ready()?;
    let mut sealed = tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(dir).map_err(fault)?;
    let masters = parts.epochs.written();
    let seal = (&*parts.owner.key, parts.entropy.as_ref());
    format::write(sealed.as_file_mut(), seal, manifest, &masters, copy).map_err(fault)?;
    sealed.as_file().sync_all().map_err(fault)?;
    let again = Backup::open(sealed.path(), &parts.owner.key)?;
    again.extract(&mut io::sink())?;
    let bytes = sealed.as_file().metadata().map_err(fault)?.len();
    sealed.persist_noclobber(dir.join(file)).map_err(|error| fault(error.error))?;
    whole::sync_dir(dir).map_err(fault)?;
    Ok(bytes)
}

/// An empty file of our own in `data`, gone when it is dropped.
pub(super) fn temporary(data: &Path) -> Result<tempfile::NamedTempFile, BackupFault> {
    tempfile::Builder::new()
        .prefix(TEMPORARY)
        .tempfile_in(data)
        .map_err(|error| BackupFault::file(data, error))
}

/// Clears away what a kill left of temporary copies in a directory that nobody else uses.
pub fn clear_leftovers(data: &Path) {
    let entries = std::fs::read_dir(data).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(TEMPORARY)) {
        if let Err(error) = std::fs::remove_file(entry.path()) {
            tracing::warn!(%error, path = %entry.path().display(), "a leftover could not be removed");
        }
    }
}
