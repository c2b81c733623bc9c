//! Looks into a backup, and puts one in the ledger's place.
//!
//! Invariants: only while no appliance runs, which the caller's lock on the directory says; what was there
//! is set aside and not removed; whatever crashes in between, the ledger's file is the old one or the new
//! one, and a new one without its mark is found out by its witness.

use std::io;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Serialize;

use super::format::Backup;
use super::{BackupFault, LEDGER_FILE, Manifest, Owner, Witness, temporary, whole};
use crate::secrets::{Adopted, Epochs};
use crate::store::{AuditReport, Ledger};
use crate::types::Timestamp;

/// A backup that is good.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Verified {
    /// What it says of itself.
    pub manifest: Manifest,
    /// What the audit of its ledger says.
    pub audit: AuditReport,
}

/// What a restore did.
#[derive(Clone, Debug, Serialize)]
pub struct Restored {
    /// What the backup says of itself.
    pub manifest: Manifest,
    /// Where the ledger that was there lies now, when there was one.
    pub set_aside: Option<PathBuf>,
    /// What became of the tokens' master keys.
    pub keys: Adopted,
}

/// Opens the backup at `file`, proves its digest, and audits its ledger; the copy for that lies in `data`
/// meanwhile. Blocks.
///
/// # Errors
/// When it is not a good backup of this node.
pub fn verify(file: &Path, owner: &Owner, data: &Path) -> Result<Verified, BackupFault> {
    let backup = open(file, owner)?;
    let manifest = backup.manifest.clone();
    let (_copy, audit) = unpack(backup, data)?;
    if !audit.ok {
        return Err(BackupFault::WrongBooks(audit.mismatches));
    }
    Ok(Verified { manifest, audit })
}

/// Puts the ledger of the backup at `file` in the place of the one in `dir`; the next start begins a new
/// generation. Blocks.
///
/// # Errors
/// When it is not a good backup of this node, or a file cannot be put in place; the old ledger is in its place
/// then.
pub fn restore(
    file: &Path,
    owner: &Owner,
    dir: &Path,
    epochs: &Epochs,
    now: Timestamp,
) -> Result<Restored, BackupFault> {
    let backup = open(file, owner)?;
    let (manifest, masters) = (backup.manifest.clone(), backup.masters.clone());
    let (copy, audit) = unpack(backup, dir)?;
    if !audit.ok {
        return Err(BackupFault::WrongBooks(audit.mismatches));
    }
    let ledger = dir.join(LEDGER_FILE);
    let fault = |error| BackupFault::file(&ledger, error);
    copy.as_file().sync_all().map_err(fault)?;
    let there = ledger.try_exists().map_err(fault)?;
    let keys = epochs.adopt(&masters)?;
    let set_aside = if there { Some(set_aside(&ledger, now)?) } else { None };
    copy.persist(&ledger).map_err(|error| fault(error.error))?;
    whole::sync_dir(dir).map_err(fault)?;
    Witness::of(dir).restored(manifest.generation, manifest.created_at)?;
    Ok(Restored { manifest, set_aside, keys })
}

fn open(file: &Path, owner: &Owner) -> Result<Backup, BackupFault> {
    let backup = Backup::open(file, &owner.key)?;
    let Manifest { node_id, network, .. } = &backup.manifest;
    if (node_id, network) != (&owner.node_id, &owner.network) {
        return Err(BackupFault::Foreign {
            theirs: node_id.clone(),
            their_network: network.clone(),
            ours: owner.node_id.clone(),
            our_network: owner.network.clone(),
        });
    }
    Ok(backup)
}

/// Takes the ledger out, brings it up to date, and audits it.
fn unpack(backup: Backup, data: &Path) -> Result<(tempfile::NamedTempFile, AuditReport), BackupFault> {
    let mut copy = temporary(data)?;
    let path = copy.path().to_owned();
    backup.extract(copy.as_file_mut())?;
    copy.as_file().sync_all().map_err(|error| BackupFault::file(&path, error))?;
    Ledger::bring_up_to_date(&path)?;
    let audit = Ledger::audit_file(&path)?;
    Ok((copy, audit))
}

/// Gives the ledger that is there a second name, under which it stays whole.
fn set_aside(ledger: &Path, now: Timestamp) -> Result<PathBuf, BackupFault> {
    let aside = ledger.with_file_name(format!("{LEDGER_FILE}.before-{}", now.millis()));
    let fault = |error: io::Error| BackupFault::file(&aside, error);
    let logs = |path: &Path| {
        ["-wal", "-shm"].map(|ending| {
            let mut name = path.as_os_str().to_owned();
            name.push(ending);
            PathBuf::from(name)
        })
    };
    // One that is broken may be what the restore is for: its log goes along as it is.
    if let Err(error) = Ledger::fold_file(ledger) {
        tracing::warn!(%error, "the ledger that was there is set aside as it is");
    }
    std::fs::hard_link(ledger, &aside).map_err(fault)?;
    for (from, to) in logs(ledger).iter().zip(logs(&aside)) {
        match std::fs::rename(from, to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fault(error)),
            _ => {}
        }
    }
    Ok(aside)
}
