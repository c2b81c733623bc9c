//! Looks into a backup, and puts one in the ledger's place.
//!
//! Invariants: only while no appliance runs, which the caller's lock on the directory says; what was there
//! is set aside and not removed, the master keys as well; the mark of a restore is written before the copy takes the
//! ledger's place, so that whatever crashes in between, the next start doubts the ledger that it finds.

use std::io;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Serialize;
use tempfile::NamedTempFile;

use super::format::Backup;
use super::sealing::temporary;
use super::{BackupFault, LEDGER_FILE, Manifest, Owner, Witness, whole};
use crate::secrets::{self, Adopted, Adoption, Epochs};
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
    /// Where the file of those that were there lies now, when it changed.
    pub keys_set_aside: Option<PathBuf>,
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
/// When it is not a good backup of this node, or a file cannot be put in place; ledger, keys and note are as they
/// were then, unless [`BackupFault::NotUndone`] says otherwise.
pub fn restore(
    file: &Path,
    owner: &Owner,
    dir: &Path,
    epochs: &Epochs,
    now: Timestamp,
) -> Result<Restored, BackupFault> {
    restore_by(file, owner, dir, epochs, now, |copy, ledger| {
        copy.persist(ledger).map_err(|error| error.error)?;
        whole::sync_dir(whole::dir_of(ledger))
    })
}

/// The same; `place` gives the copy the ledger's name.
pub(super) fn restore_by(
    file: &Path,
    owner: &Owner,
    dir: &Path,
    epochs: &Epochs,
    now: Timestamp,
    place: impl FnOnce(NamedTempFile, &Path) -> io::Result<()>,
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
    let aside = Aside::of(&ledger, now)?;
    let witness = Witness::of(dir);
    // From here on whichever ledger a crash leaves is doubted: were the mark the last thing, a copy in place without it
    // would pass for an honest ledger that went on.
    let marked = match witness.restored(manifest.generation, manifest.created_at) {
        Ok(marked) => marked,
        Err(fault) => return Err(undone(fault.into(), aside.put_back())),
    };
    let adopted = epochs.adopt(&masters, now);
    let placed = match &adopted {
        Ok(_) => aside.clear_logs().and_then(|()| place(copy, &ledger)).map_err(fault),
        Err(_) => Ok(()),
    };
    let (keys, why) = match (adopted, placed) {
        (Ok(keys), Ok(())) => {
            let Adoption { became, set_aside: keys_set_aside, .. } = keys;
            return Ok(Restored { manifest, set_aside: aside.ledger(), keys: became, keys_set_aside });
        }
        (Ok(keys), Err(fault)) => (Some(keys), fault),
        (Err(fault), _) => (None, fault.into()),
    };
    // The mark last: until the rest is as it was, the doubt stands.
    let put_back = aside.put_back().and_then(|()| {
        let keys_were = keys.as_ref().and_then(|keys| keys.set_aside.clone());
        keys.map_or(Ok(()), |keys| epochs.give_up(keys))
            .map_err(|fault| format!("{fault}; the keys are in {}", shown(keys_were.as_deref())))?;
        witness.take_back(marked).map_err(|fault| fault.to_string())
    });
    Err(undone(why, put_back))
}

fn undone(fault: BackupFault, put_back: Result<(), String>) -> BackupFault {
    match put_back {
        Ok(()) => fault,
        Err(left) => BackupFault::NotUndone { fault: Box::new(fault), left },
    }
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
fn unpack(backup: Backup, data: &Path) -> Result<(NamedTempFile, AuditReport), BackupFault> {
    let mut copy = temporary(data)?;
    let path = copy.path().to_owned();
    backup.extract(copy.as_file_mut())?;
    copy.as_file().sync_all().map_err(|error| BackupFault::file(&path, error))?;
    Ledger::bring_up_to_date(&path)?;
    let audit = Ledger::audit_file(&path)?;
    Ok((copy, audit))
}

/// The ledger that is there and its logs, under second names as well, under which they stay whole.
struct Aside {
    ledger: PathBuf,
    /// What was there, and its second name.
    kept: Vec<(PathBuf, PathBuf)>,
}

impl Aside {
    /// Gives them second names; nothing changed where that fails.
    fn of(ledger: &Path, now: Timestamp) -> Result<Aside, BackupFault> {
        let fault = |error| BackupFault::file(ledger, error);
        let aside = secrets::aside(ledger, now).map_err(fault)?;
        // One that is broken may be what the restore is for: its log goes along as it is.
        if ledger.try_exists().map_err(fault)?
            && let Err(error) = Ledger::fold_file(ledger)
        {
            tracing::warn!(%error, "the ledger that was there is set aside as it is");
        }
        let mut made = Aside { ledger: ledger.to_owned(), kept: Vec::new() };
        for ending in ["", "-wal", "-shm"] {
            let (from, to) = (with_ending(ledger, ending), with_ending(&aside, ending));
            match std::fs::hard_link(&from, &to) {
                Ok(()) => made.kept.push((from, to)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    // The first names were not touched yet.
                    let put_back = made.kept.iter().try_for_each(|(_, to)| gone(to));
                    let left = put_back.map_err(|error| format!("{}: {error}", aside.display()));
                    return Err(undone(BackupFault::file(&to, error), left));
                }
            }
        }
        Ok(made)
    }

    /// The second name of the ledger, where there was one.
    fn ledger(&self) -> Option<PathBuf> {
        self.kept.iter().find(|(from, _)| *from == self.ledger).map(|(_, to)| to.clone())
    }

    /// Takes the logs' first names: a log beside another ledger would be read into it.
    fn clear_logs(&self) -> io::Result<()> {
        self.kept.iter().filter(|(from, _)| *from != self.ledger).try_for_each(|(from, _)| gone(from))
    }

    /// Undoes all of it: what was there has its first name alone, and nothing else has it.
    fn put_back(&self) -> Result<(), String> {
        let back = |(from, to): &(PathBuf, PathBuf)| {
            // Of two names of one file, a rename leaves both.
            std::fs::rename(to, from)
                .and_then(|()| gone(to))
                .map_err(|error| format!("{} lies at {}: {error}", from.display(), to.display()))
        };
        let told = |error: io::Error| format!("{}: {error}", self.ledger.display());
        if self.ledger().is_none() {
            gone(&self.ledger).map_err(told)?;
        }
        self.kept.iter().try_for_each(back)?;
        whole::sync_dir(whole::dir_of(&self.ledger)).map_err(told)
    }
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Removes a file that may be there.
fn gone(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn shown(path: Option<&Path>) -> String {
    path.map_or_else(|| "their file".to_owned(), |path| path.display().to_string())
}
