//! The tokens' master keys: one for each epoch, kept in one file and in force from it.
//!
//! Invariants: a key is on disk before anything is minted under it, and gone from disk before it is
//! retired; the file is replaced whole or not at all, so that a crash leaves the one set or the other;
//! an epoch's number never comes back, because the newest epoch is never retired.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use thiserror::Error;
use zeroize::Zeroizing;

use super::{SecretsError, random, replace_private};
use crate::clock::Entropy;
use crate::l402::{Keyring, MasterKeyFault, MasterKeys};

/// Each epoch with its key, epochs rising; the last one mints.
pub(super) type Masters = Vec<(u32, Zeroizing<[u8; 32]>)>;

/// Why the epochs stay as they are.
#[derive(Debug, Error)]
pub enum EpochFault {
    /// There is no key of that epoch.
    #[error("there is no epoch {0}: it was retired before, or never was")]
    Unknown(u32),
    /// New tokens are minted under it.
    #[error("epoch {0} mints: begin a new one first")]
    Mints(u32),
    /// There is no number left.
    #[error("there is no higher epoch")]
    Last,
    /// The file cannot be used.
    #[error(transparent)]
    File(#[from] SecretsError),
    /// The keys cannot be used.
    #[error(transparent)]
    Keys(#[from] MasterKeyFault),
}

/// The master keys' file, and the keys in force.
pub struct Epochs {
    path: PathBuf,
    ring: Arc<Keyring>,
    masters: Mutex<Masters>,
}

impl std::fmt::Debug for Epochs {
    /// Leaves the masters out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Epochs").field("path", &self.path).field("ring", &self.ring).finish_non_exhaustive()
    }
}

impl Epochs {
    /// The keys of `masters`, which are what the file at `path` says.
    pub(super) fn new(path: PathBuf, masters: Masters) -> Result<Epochs, MasterKeyFault> {
        let ring = Keyring::new(in_force(&masters)?);
        Ok(Epochs { path, ring, masters: Mutex::new(masters) })
    }

    /// The keys in force, now and as they change.
    pub fn ring(&self) -> &Arc<Keyring> {
        &self.ring
    }

    /// Begins a new epoch, which mints from now on; tokens of the others stay good. Gives its number.
    /// Blocks for the disk.
    ///
    /// # Errors
    /// When the file cannot be replaced; nothing changed then.
    pub fn rotate(&self, entropy: &dyn Entropy) -> Result<u32, EpochFault> {
        let mut masters = self.masters();
        let newest = masters.last().map_or(0, |(epoch, _)| *epoch);
        let next = newest.checked_add(1).ok_or(EpochFault::Last)?;
        let mut after = masters.clone();
        after.push((next, random(entropy)));
        self.put(&mut masters, after)?;
        Ok(next)
    }

    /// Destroys an epoch's key: its tokens open nothing any more (`unknown_epoch`), for good. Blocks for
    /// the disk.
    ///
    /// # Errors
    /// When there is no such epoch, when it is the one that mints, or when the file cannot be replaced;
    /// nothing changed then.
    pub fn retire(&self, epoch: u32) -> Result<(), EpochFault> {
        let mut masters = self.masters();
        if masters.last().is_some_and(|(newest, _)| *newest == epoch) {
            return Err(EpochFault::Mints(epoch));
        }
        let mut after = masters.clone();
        after.retain(|(one, _)| *one != epoch);
        if after.len() == masters.len() {
            return Err(EpochFault::Unknown(epoch));
        }
        self.put(&mut masters, after)
    }

    /// Puts `after` on disk, then in force.
    fn put(&self, masters: &mut Masters, after: Masters) -> Result<(), EpochFault> {
        let keys = in_force(&after)?;
        let fault = |error| SecretsError::File { path: self.path.clone(), error };
        replace_private(&self.path, &written(masters), &written(&after)).map_err(fault)?;
        self.ring.replace(keys);
        *masters = after;
        Ok(())
    }

    fn masters(&self) -> MutexGuard<'_, Masters> {
        self.masters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn in_force(masters: &Masters) -> Result<MasterKeys, MasterKeyFault> {
    let current = masters.last().map_or(0, |(epoch, _)| *epoch);
    MasterKeys::new(current, masters.iter().map(|(epoch, key)| (*epoch, **key)))
}

/// The first epoch, as the file says it.
pub(super) fn first(entropy: &dyn Entropy) -> Zeroizing<String> {
    written(&vec![(1, random(entropy))])
}

/// Lines of `epoch key`.
fn written(masters: &Masters) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(masters.len().saturating_mul(80)));
    for (epoch, key) in masters {
        text.push_str(&epoch.to_string());
        text.push(' ');
        text.push_str(&Zeroizing::new(hex::encode(**key)));
        text.push('\n');
    }
    text
}

/// Lines of `epoch key`, epochs rising.
pub(super) fn read(text: &str) -> Option<Masters> {
    let mut masters = Masters::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let (epoch, key) = line.trim().split_once(' ')?;
        let epoch = epoch.parse().ok()?;
        let mut bytes = Zeroizing::new([0u8; 32]);
        hex::decode_to_slice(key.trim(), &mut *bytes).ok()?;
        if masters.last().is_some_and(|(before, _)| *before >= epoch) {
            return None;
        }
        masters.push((epoch, bytes));
    }
    (!masters.is_empty()).then_some(masters)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::*;
    use crate::clock::SystemEntropy;

    fn open(dir: &Path) -> Epochs {
        let path = dir.join("keys");
        if !path.exists() {
            super::super::write_private(&path, &first(&*SystemEntropy::new())).unwrap();
        }
        let masters = read(&fs::read_to_string(&path).unwrap()).unwrap();
        Epochs::new(path, masters).unwrap()
    }

    fn epochs(of: &Epochs) -> Vec<u32> {
        of.ring().keys().epochs().collect()
    }

    #[test]
    fn epochs_begin_and_end_on_disk_and_in_force() {
        let folder = tempfile::tempdir().unwrap();
        let keys = open(folder.path());
        let entropy = SystemEntropy::new();
        let old = keys.ring().keys();
        assert_eq!(epochs(&keys), [1]);
        assert!(matches!(keys.retire(1), Err(EpochFault::Mints(1))));
        assert_eq!((keys.rotate(&*entropy).unwrap(), keys.rotate(&*entropy).unwrap()), (2, 3));
        assert_eq!((epochs(&keys), keys.ring().keys().current_epoch()), (vec![1, 2, 3], 3));
        assert_eq!(old.current_epoch(), 1, "whoever took a set keeps it");
        keys.retire(1).unwrap();
        keys.retire(2).unwrap();
        assert!(matches!(keys.retire(2), Err(EpochFault::Unknown(2))));
        assert!(matches!(keys.retire(9), Err(EpochFault::Unknown(9))));
        assert_eq!(epochs(&keys), [3]);
        // The file says the same, and numbers do not come back.
        let again = open(folder.path());
        assert_eq!(*again.masters(), *keys.masters());
        assert_eq!(again.rotate(&*entropy).unwrap(), 4);
        let path = folder.path().join("keys");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
        assert!(!format!("{again:?}").contains(&hex::encode(*again.masters()[0].1)));
    }

    #[test]
    fn what_cannot_be_written_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let keys = open(folder.path());
        let path = folder.path().join("keys");
        let before = fs::read_to_string(&path).unwrap();
        // Somebody put another copy there: it is not overwritten.
        fs::write(&path, format!("{before}7 {}\n", "00".repeat(32))).unwrap();
        assert!(matches!(keys.rotate(&*SystemEntropy::new()), Err(EpochFault::File(_))));
        assert_eq!(epochs(&keys), [1]);
        fs::remove_file(&path).unwrap();
        assert!(matches!(keys.rotate(&*SystemEntropy::new()), Err(EpochFault::File(_))));
        assert_eq!((epochs(&keys), path.exists()), (vec![1], false));
        fs::write(&path, before).unwrap();
        assert_eq!(keys.rotate(&*SystemEntropy::new()).unwrap(), 2);
    }

    #[test]
    fn epochs_rise() {
        let key = "00".repeat(32);
        assert_eq!(read(&format!("1 {key}\n2 {key}\n")).unwrap().len(), 2);
        for bad in ["", "1 abc", "x 00", &format!("2 {key}\n1 {key}"), &format!("1 {key}\n1 {key}")] {
            assert!(read(bad).is_none(), "{bad}");
        }
    }
}
