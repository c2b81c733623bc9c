//! The secrets at rest: the seed words and the tokens' master keys.
//!
//! Invariants: a file appears whole or not at all, mode 0600 in a directory of mode 0700; what exists
//! is never replaced, but for the master keys' file by [`Epochs`], whole; nothing here shows itself in
//! `Debug`. The files are not encrypted yet, which is why mainnet is refused.

use std::fmt;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use bip39::Mnemonic;
use bitcoin::Network;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::clock::Entropy;
use crate::l402::MasterKeyFault;

mod epochs;
pub mod sealed;

pub use epochs::{EpochFault, Epochs};

const SEED_FILE: &str = "seed";
const KEYS_FILE: &str = "keys";
/// What cannot be used without them.
const CHANNELS_FILE: &str = "channels.db";
const LEDGER_FILE: &str = "ledger.db";
const WORDS: usize = 24;

/// Why the secrets cannot be had. Never holds a secret.
#[derive(Debug, Error)]
pub enum SecretsError {
    /// A file cannot be read or written.
    #[error("{path} cannot be used: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Others may read a file.
    #[error(
        "{path} can be read by others (mode {mode:o}): move what it guards to a new seed, or run chmod 600 on it"
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A file is gone that cannot be made anew without losing what depends on it.
    #[error("{path} is missing but {depends} is there: restore it from your copy, nothing was changed")]
    Missing {
        /// The file.
        path: PathBuf,
        /// What depends on it.
        depends: &'static str,
    },
    /// Real money, and the files are not encrypted yet.
    #[error("mainnet is refused: the seed is not encrypted on disk yet; use regtest, signet or testnet")]
    Mainnet,
    /// A file is not what it should be.
    #[error(
        "{path} is damaged ({what}): restore it from your copy; do not delete it while there are channels or coins"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
}

/// The seed and the master keys of one network.
pub struct Secrets {
    words: Zeroizing<String>,
    seed: Zeroizing<[u8; 64]>,
    keys_path: PathBuf,
    masters: epochs::Masters,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(redacted)")
    }
}

impl Secrets {
    /// Reads the secrets in `dir`, making on the first start what is not there: the master keys first,
    /// so that a seed is never there without them.
    ///
    /// # Errors
    /// When the network is the real one, or a file cannot be used, is readable by others, is damaged,
    /// or is missing although something depends on it; nothing is replaced then.
    pub fn load_or_create(
        dir: &Path,
        network: Network,
        entropy: &dyn Entropy,
    ) -> Result<Secrets, SecretsError> {
        if network == Network::Bitcoin {
            return Err(SecretsError::Mainnet);
        }
        private_dir(dir)?;
        let (seed_path, keys_path) = (dir.join(SEED_FILE), dir.join(KEYS_FILE));
        // Channels without their seed are lost coins; tokens without their keys are broken promises.
        let keys = load_or_create(&keys_path, dir, &[SEED_FILE, LEDGER_FILE], || epochs::first(entropy))?;
        let words = load_or_create(&seed_path, dir, &[CHANNELS_FILE], || {
            let mnemonic = Mnemonic::from_entropy(&*random(entropy)).expect("32 bytes make 24 words");
            Zeroizing::new(format!("{mnemonic}\n"))
        })?;
        let words = Zeroizing::new(words.trim().to_owned());
        let damaged = |what| SecretsError::Damaged { path: seed_path.clone(), what };
        let mnemonic = Mnemonic::parse_normalized(&words).map_err(|_| damaged("not seed words"))?;
        if mnemonic.word_count() != WORDS {
            return Err(damaged("not 24 words"));
        }
        let seed = Zeroizing::new(mnemonic.to_seed(""));
        let damaged = || SecretsError::Damaged { path: keys_path.clone(), what: "not master keys" };
        let masters = epochs::read(&keys).ok_or_else(damaged)?;
        Ok(Secrets { words, seed, keys_path, masters })
    }

    /// The seed words, to be shown once.
    pub fn words(&self) -> &str {
        &self.words
    }

    /// The BIP 39 seed.
    pub fn seed(&self) -> &[u8; 64] {
        &self.seed
    }

    /// A key of this seed for one purpose, such as `backup/v1`: the words alone give it back.
    pub fn derive(&self, purpose: &str) -> Zeroizing<[u8; 32]> {
        sealed::derive(&*self.seed, purpose)
    }

    /// The tokens' master keys; the newest epoch mints. Ask once: who changes the file has to be one.
    ///
    /// # Errors
    /// When the library beneath cannot start; the epochs themselves were checked when they were read.
    pub fn epochs(&self) -> Result<Epochs, MasterKeyFault> {
        Epochs::new(self.keys_path.clone(), self.masters.clone())
    }
}

fn random(entropy: &dyn Entropy) -> Zeroizing<[u8; 32]> {
    let mut bytes = Zeroizing::new([0u8; 32]);
    entropy.fill(&mut *bytes);
    bytes
}

/// Makes the directory, or closes the one that is there to others.
///
/// # Errors
/// When that is not possible.
pub fn private_dir(dir: &Path) -> Result<(), SecretsError> {
    let fault = |error| SecretsError::File { path: dir.to_owned(), error };
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(fault)?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).map_err(fault)
}

fn load_or_create(
    path: &Path,
    dir: &Path,
    dependants: &[&'static str],
    make: impl FnOnce() -> Zeroizing<String>,
) -> Result<Zeroizing<String>, SecretsError> {
    let fault = |error| SecretsError::File { path: path.to_owned(), error };
    match fs::metadata(path) {
        Ok(found) => {
            let mode = found.permissions().mode() & 0o777;
            if mode & 0o077 != 0 {
                return Err(SecretsError::Exposed { path: path.to_owned(), mode });
            }
            fs::read_to_string(path).map(Zeroizing::new).map_err(fault)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            for depends in dependants {
                if dir.join(depends).try_exists().map_err(fault)? {
                    return Err(SecretsError::Missing { path: path.to_owned(), depends });
                }
            }
            let text = make();
            write_private(path, &text).map_err(fault)?;
            Ok(text)
        }
        Err(error) => Err(fault(error)),
    }
}

/// Writes a new file, mode 0600, that is whole on disk under its name when this returns. What is there
/// already is not replaced.
///
/// # Errors
/// When the disk fails, or the file is there.
pub fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let dir = path.parent().unwrap_or_else(|| Path::new("."));
    // A temporary file is made with mode 0600 and vanishes when a step fails.
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path).map_err(|error| error.error)?;
    File::open(dir)?.sync_all()
}

/// Replaces a file that says `before` by one that says `after`, mode 0600, whole on disk when this
/// returns. One that says something else is left as it is.
fn replace_private(path: &Path, before: &str, after: &str) -> io::Result<()> {
    if *Zeroizing::new(fs::read_to_string(path)?) != before {
        return Err(io::Error::other("it was changed by somebody else since it was read"));
    }
    let dir = path.parent().unwrap_or_else(|| Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(after.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{CountingEntropy, SystemEntropy};

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn load(dir: &Path) -> Result<Secrets, SecretsError> {
        Secrets::load_or_create(dir, Network::Regtest, &*SystemEntropy::new())
    }

    #[test]
    fn secrets_are_made_once_and_kept_private() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("regtest");
        let first = load(&dir).unwrap();
        let again = load(&dir).unwrap();
        assert_eq!(first.words(), again.words());
        assert_eq!(first.words().split(' ').count(), WORDS);
        assert_eq!(first.seed(), again.seed());
        assert_eq!(*first.masters, *again.masters);
        assert_eq!(first.epochs().unwrap().ring().keys().current_epoch(), 1);
        assert_eq!((mode(&dir), mode(&dir.join("seed")), mode(&dir.join("keys"))), (0o700, 0o600, 0o600));
        assert_eq!(format!("{first:?}"), "Secrets(redacted)");
        let other = load(&folder.path().join("signet")).unwrap();
        assert_ne!(first.words(), other.words());
    }

    #[test]
    fn a_loose_directory_is_closed_and_a_loose_file_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        load(folder.path()).unwrap();
        assert_eq!(mode(folder.path()), 0o700);
        fs::set_permissions(folder.path().join("seed"), fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(load(folder.path()), Err(SecretsError::Exposed { mode: 0o640, .. })));
    }

    #[test]
    fn real_money_is_refused_before_anything_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("bitcoin");
        let refused = Secrets::load_or_create(&dir, Network::Bitcoin, &CountingEntropy::default());
        assert!(matches!(refused, Err(SecretsError::Mainnet)));
        assert!(!dir.exists());
    }

    #[test]
    fn what_others_depend_on_is_not_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        load(folder.path()).unwrap();
        fs::remove_file(folder.path().join("keys")).unwrap();
        assert!(matches!(load(folder.path()), Err(SecretsError::Missing { depends: "seed", .. })));
        fs::remove_file(folder.path().join("seed")).unwrap();
        fs::write(folder.path().join("channels.db"), "").unwrap();
        assert!(matches!(load(folder.path()), Err(SecretsError::Missing { depends: "channels.db", .. })));
        assert!(!folder.path().join("seed").exists());
    }

    #[test]
    fn a_damaged_seed_is_reported_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        load(folder.path()).unwrap();
        fs::write(folder.path().join("seed"), "abandon abandon zebra").unwrap();
        let message = load(folder.path()).unwrap_err().to_string();
        assert!(message.contains("damaged") && !message.contains("abandon"), "{message}");
        assert_eq!(fs::read_to_string(folder.path().join("seed")).unwrap(), "abandon abandon zebra");
    }

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        write_private(&path, "one").unwrap();
        // What a write that was cut off leaves is not taken for the file, and does not stop the next.
        assert!(write_private(&path, "two").is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "one");
        assert_eq!(mode(&path), 0o600);
        assert!(write_private(&folder.path().join("gone").join("file"), "x").is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
    }
}
