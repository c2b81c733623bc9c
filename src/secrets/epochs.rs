//! The tokens' master keys: one for each epoch, kept in one file and in force from it.
//!
//! The file is sealed under a key of the seed. Invariants: a key is on disk before anything is minted under it, and gone from disk before it is
//! retired; the file is replaced whole or not at all, so that a crash leaves the one set or the other;
//! an epoch's number never comes back, because the newest epoch is never retired.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use thiserror::Error;
use zeroize::Zeroizing;

use super::files::{aside, read_private, replace_plain, replace_private, write_private};
use super::{SecretsError, random, sealed};
use crate::clock::{Entropy, SystemEntropy};
use crate::l402::{Keyring, MasterKeyFault, MasterKeys};
use crate::types::Timestamp;

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
    /// A copy of the keys cannot be read.
    #[error("the copy of the master keys is damaged")]
    Damaged,
    /// The keys cannot be used.
    #[error(transparent)]
    Keys(#[from] MasterKeyFault),
}

/// What the key that seals the file is derived for.
pub(super) const PURPOSE: &str = "keys/v1";

/// The file, as it is on disk.
#[derive(Clone)]
pub(super) struct KeysFile {
    path: PathBuf,
    sealing: Zeroizing<[u8; 32]>,
    sealed: Vec<u8>,
}

/// What is in the file's place. The key that seals comes back where it is needed yet.
pub(super) enum Found {
    /// Keys.
    Keys(KeysFile, Masters),
    /// Keys that the seed does not open.
    OtherSeed(Zeroizing<[u8; 32]>),
    /// No file.
    Nothing(Zeroizing<[u8; 32]>),
}

impl KeysFile {
    /// Reads the file; one in plain, of an older version, is replaced by a sealed one.
    pub(super) fn read(
        path: PathBuf,
        sealing: Zeroizing<[u8; 32]>,
        entropy: &dyn Entropy,
    ) -> Result<Found, SecretsError> {
        let Some(bytes) = read_private(&path)? else { return Ok(Found::Nothing(sealing)) };
        let damaged = || SecretsError::Damaged { path: path.clone(), what: "not master keys" };
        let plain = |text: &[u8]| std::str::from_utf8(text).ok().and_then(read);
        if let Some(masters) = plain(&bytes) {
            let sealed = sealed::seal(&sealing, &bytes, entropy);
            let fault = |error| SecretsError::File { path: path.clone(), error };
            replace_plain(&path, &bytes, &sealed).map_err(fault)?;
            return Ok(Found::Keys(KeysFile { path, sealing, sealed }, masters));
        }
        if !sealed::is_sealed(&bytes) {
            return Err(damaged());
        }
        let Ok(text) = sealed::open(&sealing, &bytes) else { return Ok(Found::OtherSeed(sealing)) };
        let masters = plain(&text).ok_or_else(damaged)?;
        Ok(Found::Keys(KeysFile { path, sealing, sealed: bytes.to_vec() }, masters))
    }

    /// Makes the file, with the first epoch.
    pub(super) fn make(
        path: PathBuf,
        sealing: Zeroizing<[u8; 32]>,
        entropy: &dyn Entropy,
    ) -> Result<(KeysFile, Masters), SecretsError> {
        let masters = vec![(1, random(entropy))];
        let sealed = sealed::seal(&sealing, written(&masters).as_bytes(), entropy);
        write_private(&path, &sealed).map_err(|error| SecretsError::File { path: path.clone(), error })?;
        Ok((KeysFile { path, sealing, sealed }, masters))
    }
}

/// What became of the keys in force when a copy of them came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Adopted {
    /// They are of the same line and newer: they stay as they are.
    Kept,
    /// They are of the same line: epochs that only the copy has were added.
    Added,
    /// They are of another line, as a new seed's first ones are: the copy's took their place.
    Replaced,
}

/// That a copy came back, and what undoes it.
pub struct Adoption {
    /// What became of the keys in force.
    pub became: Adopted,
    /// Where the file lies that was there before, when it was replaced.
    pub set_aside: Option<PathBuf>,
    before: Option<Masters>,
}

impl std::fmt::Debug for Adoption {
    /// Leaves the masters out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Adoption").field("became", &self.became).finish_non_exhaustive()
    }
}

/// The master keys' file, and the keys in force.
pub struct Epochs {
    ring: Arc<Keyring>,
    state: Mutex<State>,
}

struct State {
    file: KeysFile,
    masters: Masters,
}

impl std::fmt::Debug for Epochs {
    /// Leaves the masters out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Epochs").field("ring", &self.ring).finish_non_exhaustive()
    }
}

impl Epochs {
    /// The keys of `masters`, which are what the file says.
    pub(super) fn new(file: KeysFile, masters: Masters) -> Result<Epochs, MasterKeyFault> {
        let ring = Keyring::new(in_force(&masters)?);
        Ok(Epochs { ring, state: Mutex::new(State { file, masters }) })
    }

    /// The file's lines in plain, `epoch key` each: for who seals them elsewhere, such as a backup.
    pub fn written(&self) -> Zeroizing<String> {
        written(&self.state().masters)
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
        let mut state = self.state();
        let newest = state.masters.last().map_or(0, |(epoch, _)| *epoch);
        let next = newest.checked_add(1).ok_or(EpochFault::Last)?;
        let mut after = state.masters.clone();
        after.push((next, random(entropy)));
        self.put(&mut state, after)?;
        Ok(next)
    }

    /// Destroys an epoch's key: its tokens open nothing any more (`unknown_epoch`), for good. Blocks for
    /// the disk.
    ///
    /// # Errors
    /// When there is no such epoch, when it is the one that mints, or when the file cannot be replaced;
    /// nothing changed then.
    pub fn retire(&self, epoch: u32) -> Result<(), EpochFault> {
        let mut state = self.state();
        if state.masters.last().is_some_and(|(newest, _)| *newest == epoch) {
            return Err(EpochFault::Mints(epoch));
        }
        let mut after = state.masters.clone();
        after.retain(|(one, _)| *one != epoch);
        if after.len() == state.masters.len() {
            return Err(EpochFault::Unknown(epoch));
        }
        self.put(&mut state, after)
    }

    /// Takes what an exported copy says; a file that changes by it is kept beside it first. An epoch that was
    /// retired since stays retired. Blocks for the disk.
    ///
    /// # Errors
    /// When the copy is damaged, or the file cannot be kept or replaced; nothing changed then.
    pub fn adopt(&self, copy: &str, at: Timestamp) -> Result<Adoption, EpochFault> {
        let theirs = read(copy).ok_or(EpochFault::Damaged)?;
        let mut state = self.state();
        let ours = |epoch| state.masters.iter().find(|(one, _)| *one == epoch).map(|(_, key)| key);
        let foreign = theirs.iter().any(|(epoch, key)| ours(*epoch).is_some_and(|known| known != key));
        let newest = |masters: &Masters| masters.last().map_or(0, |(epoch, _)| *epoch);
        if foreign {
            return self.exchange(&mut state, theirs, (Adopted::Replaced, at));
        }
        if newest(&state.masters) >= newest(&theirs) {
            return Ok(Adoption { became: Adopted::Kept, set_aside: None, before: None });
        }
        let mut after = state.masters.clone();
        let newest = newest(&state.masters);
        after.extend(theirs.into_iter().filter(|(epoch, _)| *epoch > newest));
        self.exchange(&mut state, after, (Adopted::Added, at))
    }

    /// Undoes what [`Epochs::adopt`] did.
    ///
    /// # Errors
    /// When the file cannot be replaced: the copy's keys stay in force then, and those before them where they were
    /// set aside.
    pub fn give_up(&self, adoption: Adoption) -> Result<(), EpochFault> {
        let Some(before) = adoption.before else { return Ok(()) };
        self.put(&mut self.state(), before)?;
        if let Some(kept) = adoption.set_aside {
            forget(&kept);
        }
        Ok(())
    }

    fn exchange(
        &self,
        state: &mut State,
        after: Masters,
        (became, at): (Adopted, Timestamp),
    ) -> Result<Adoption, EpochFault> {
        let fault = |error| SecretsError::File { path: state.file.path.clone(), error };
        let kept = aside(&state.file.path, at).map_err(fault)?;
        write_private(&kept, &state.file.sealed).map_err(fault)?;
        let before = state.masters.clone();
        self.put(state, after).inspect_err(|_| forget(&kept))?;
        Ok(Adoption { became, set_aside: Some(kept), before: Some(before) })
    }

    /// Puts `after` on disk, then in force.
    fn put(&self, state: &mut State, after: Masters) -> Result<(), EpochFault> {
        let keys = in_force(&after)?;
        let file = &mut state.file;
        let sealed = sealed::seal(&file.sealing, written(&after).as_bytes(), &*SystemEntropy::new());
        let fault = |error| SecretsError::File { path: file.path.clone(), error };
        replace_private(&file.path, &file.sealed, &sealed).map_err(fault)?;
        self.ring.replace(keys);
        file.sealed = sealed;
        state.masters = after;
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes a copy of the file that stands as it was.
fn forget(kept: &Path) {
    if let Err(error) = std::fs::remove_file(kept) {
        tracing::warn!(%error, path = %kept.display(), "a copy of the master keys could not be removed");
    }
}

fn in_force(masters: &Masters) -> Result<MasterKeys, MasterKeyFault> {
    let current = masters.last().map_or(0, |(epoch, _)| *epoch);
    MasterKeys::new(current, masters.iter().map(|(epoch, key)| (*epoch, **key)))
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
fn read(text: &str) -> Option<Masters> {
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

    use super::*;
    use crate::clock::SystemEntropy;

    const SEALING: [u8; 32] = [7; 32];

    fn open(dir: &Path) -> Epochs {
        let (path, entropy) = (dir.join("keys"), SystemEntropy::new());
        let sealing = Zeroizing::new(SEALING);
        let (file, masters) = match KeysFile::read(path.clone(), sealing, entropy.as_ref()).unwrap() {
            Found::Keys(file, masters) => (file, masters),
            Found::Nothing(sealing) => KeysFile::make(path, sealing, entropy.as_ref()).unwrap(),
            Found::OtherSeed(_) => panic!("sealed under another key"),
        };
        Epochs::new(file, masters).unwrap()
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
        assert_eq!(again.written(), keys.written());
        assert_eq!(again.rotate(&*entropy).unwrap(), 4);
        let path = folder.path().join("keys");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
        let plain = again.written();
        let key = plain.trim().rsplit(' ').next().unwrap();
        assert!(!format!("{again:?}").contains(key));
        let disk = fs::read(&path).unwrap();
        for form in [key.as_bytes(), &hex::decode(key).unwrap()] {
            assert!(!disk.windows(form.len()).any(|window| window == form), "a key in plain");
        }
    }

    #[test]
    fn a_copy_of_the_keys_comes_back_and_revives_no_retired_one() {
        let entropy = SystemEntropy::new();
        let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let keys = open(folder.path());
        let first = keys.written();
        keys.rotate(&*entropy).unwrap();
        keys.retire(1).unwrap();
        let adopt = |keys: &Epochs, copy: &str| keys.adopt(copy, Timestamp::from_millis(7));
        let became = |keys: &Epochs, copy: &str| adopt(keys, copy).unwrap().became;
        assert_eq!(became(&keys, &first), Adopted::Kept);
        assert_eq!(epochs(&keys), [2], "a retired epoch stays so");
        let second = keys.written();
        keys.rotate(&*entropy).unwrap();
        let third = keys.written();

        let fresh = open(other.path());
        let own = fresh.written();
        let kept = |ms: u64| other.path().join(format!("keys.before-{ms}"));
        fresh.give_up(adopt(&fresh, &first).unwrap()).unwrap();
        assert_eq!((&*fresh.written(), kept(7).exists()), (&*own, false), "as if it had never come");
        assert_eq!(became(&fresh, &first), Adopted::Replaced, "it had an epoch 1 of its own");
        assert_eq!(*fresh.written(), *first);
        assert_eq!(*open(other.path()).written(), *first, "the file says the same");
        let reads = |ms| KeysFile::read(kept(ms), Zeroizing::new(SEALING), &*entropy).unwrap();
        assert!(matches!(reads(7), Found::Keys(_, masters) if *written(&masters) == *own), "they are kept");
        assert_eq!(became(&fresh, &third), Adopted::Added);
        assert!(matches!(reads(8), Found::Keys(_, masters) if *written(&masters) == *first), "a free name");
        assert_eq!((epochs(&fresh), became(&fresh, &second)), (vec![1, 2, 3], Adopted::Kept));
        assert!(!kept(9).exists(), "nothing changed");
        assert_eq!(*open(other.path()).written(), *fresh.written(), "the file says the same");
        assert!(matches!(adopt(&fresh, "1 zz"), Err(EpochFault::Damaged)));
    }

    #[test]
    fn what_cannot_be_written_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let keys = open(folder.path());
        let path = folder.path().join("keys");
        let before = fs::read(&path).unwrap();
        // Somebody put another copy there: it is not overwritten.
        fs::write(&path, [&before[..], b"7"].concat()).unwrap();
        assert!(matches!(keys.rotate(&*SystemEntropy::new()), Err(EpochFault::File(_))));
        assert_eq!(epochs(&keys), [1]);
        fs::remove_file(&path).unwrap();
        assert!(matches!(keys.rotate(&*SystemEntropy::new()), Err(EpochFault::File(_))));
        assert_eq!((epochs(&keys), path.exists()), (vec![1], false));
        fs::write(&path, before).unwrap();
        assert_eq!(keys.rotate(&*SystemEntropy::new()).unwrap(), 2);
    }

    #[test]
    fn keys_in_plain_are_sealed_when_they_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        let text = format!("1 {}\n4 {}\n", "05".repeat(32), "06".repeat(32));
        write_private(&path, &text).unwrap();
        assert_eq!(epochs(&open(folder.path())), [1, 4]);
        assert!(sealed::is_sealed(&fs::read(&path).unwrap()));
        assert_eq!(*open(folder.path()).written(), text);
        let other = KeysFile::read(path.clone(), Zeroizing::new([8; 32]), &*SystemEntropy::new()).unwrap();
        assert!(matches!(other, Found::OtherSeed(_)));
        fs::write(&path, "5 05").unwrap();
        let damaged = KeysFile::read(path, Zeroizing::new([8; 32]), &*SystemEntropy::new());
        assert!(matches!(damaged, Err(SecretsError::Damaged { .. })));
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
