//! The secrets at rest: the seed words and the tokens' master keys, both encrypted.
//!
//! The seed's file opens with a passphrase or a key file (`seed_file`); the master keys' file is sealed
//! under a key of the seed, so that the words alone open it, too. Invariants: a file appears whole or not at
//! all, mode 0600 in a directory of mode 0700; what exists is never made anew, and replaced only whole, by
//! who read it; nothing here shows itself in `Debug`; a network with real money gets nothing by itself.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bip39::Mnemonic;
use bitcoin::Network;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::clock::{Clock, Entropy, SystemClock};
use crate::l402::MasterKeyFault;
use crate::types::Timestamp;

mod epochs;
mod files;
mod opener;
pub mod sealed;
mod seed;
mod seed_file;
mod unlocking;

pub use epochs::{Adopted, Adoption, EpochFault, Epochs};
use files::read_private;
pub use files::{aside, private_dir, write_private};
pub use opener::{LONGEST_PASSPHRASE, Opener, Passphrase, SHORTEST_PASSPHRASE, UnfitPassphrase, UnlockKey};
pub use seed::{ASKED_WORDS, KeyFiles, Seed, SeedFault, SeedStatus};
pub use seed_file::OpensWith;
use seed_file::{Closed, SeedFile};
pub use unlocking::{SeedMarks, SeedPlace, Unlock, Unlocked};

const SEED_FILE: &str = "seed";
const KEYS_FILE: &str = "keys";
/// The key that opens the seed of an appliance that starts by itself, where no other place was named.
pub const KEY_FILE: &str = "unlock.key";
/// What cannot be used without them.
const CHANNELS_FILE: &str = "channels.db";
const LEDGER_FILE: &str = "ledger.db";

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
    /// Real money, and no seed: the operator makes it and writes its words down first.
    #[error(
        "there is no seed at {path}: make one with `tollhouse seed new`, or bring yours with `tollhouse seed restore`"
    )]
    NoSeed {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Real money, and nothing was said that shall open the seed.
    #[error(
        "nothing says what shall open the seed: give it a passphrase, or name unlock.passphrase_file or unlock.key_file"
    )]
    NoOpener,
    /// A seed is there already.
    #[error("there is a seed at {path} already: nothing was changed")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The passphrase does not open the seed.
    #[error("that is not the passphrase of {path}")]
    WrongPassphrase {
        /// The seed's file.
        path: PathBuf,
    },
    /// The key file does not open the seed.
    #[error("the key in {key} does not open {path}")]
    WrongKey {
        /// The key's file.
        key: PathBuf,
        /// The seed's file.
        path: PathBuf,
    },
    /// A passphrase that shall be set is too short or too long.
    #[error("the passphrase in {path} cannot be set: {unfit}")]
    Unfit {
        /// Where it was read.
        path: PathBuf,
        /// Why.
        unfit: UnfitPassphrase,
    },
    /// The words are not seed words.
    #[error("these are not 12 or 24 seed words: a word is misspelt, missing, or in another place")]
    NotWords,
    /// The master keys beside the seed belong to other words.
    #[error(
        "{path} belongs to another seed: bring that one's words, or move the file away; nothing was changed"
    )]
    OtherSeed {
        /// The keys' file.
        path: PathBuf,
    },
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

/// How many words a new seed has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WordCount {
    /// 128 bits.
    Twelve,
    /// 256 bits.
    #[default]
    TwentyFour,
}

/// Seed words that are good, as they were typed in or made. `Debug` does not show them.
pub struct Words(Zeroizing<String>);

impl Words {
    /// Makes new ones.
    pub fn make(count: WordCount, entropy: &dyn Entropy) -> Words {
        let bytes = random(entropy);
        let length = if count == WordCount::Twelve { 16 } else { 32 };
        let mnemonic = Mnemonic::from_entropy(&bytes[..length]).expect("16 and 32 bytes make words");
        Words(Zeroizing::new(mnemonic.to_string()))
    }

    /// Reads 12 or 24 words with anything blank between them.
    ///
    /// # Errors
    /// When they are not seed words of BIP 39, or not so many.
    pub fn read(text: &str) -> Result<Words, SecretsError> {
        let lower = Zeroizing::new(text.to_lowercase());
        let words = Zeroizing::new(lower.split_whitespace().collect::<Vec<_>>().join(" "));
        let mnemonic = Mnemonic::parse_normalized(&words).map_err(|_| SecretsError::NotWords)?;
        match mnemonic.word_count() {
            12 | 24 => Ok(Words(words)),
            _ => Err(SecretsError::NotWords),
        }
    }

    /// Reads them from a file, a pipe or a descriptor.
    ///
    /// # Errors
    /// When it cannot be read, others may read it, or it holds something else.
    pub fn from_file(path: &Path) -> Result<Words, SecretsError> {
        Words::read(&opener::small_file(path)?)
    }

    fn seed(&self) -> Option<Zeroizing<[u8; 64]>> {
        Some(Zeroizing::new(Mnemonic::parse_normalized(&self.0).ok()?.to_seed("")))
    }
}

impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Words(redacted)")
    }
}

/// The seed and the master keys of one network, opened.
pub struct Secrets {
    words: Arc<Seed>,
    seed: Zeroizing<[u8; 64]>,
    keys: epochs::KeysFile,
    masters: epochs::Masters,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(redacted)")
    }
}

impl Secrets {
    /// Opens the secrets in `dir` with the key file in there, making on the first start what is not there:
    /// for networks whose coins are worth nothing.
    ///
    /// # Errors
    /// As [`Unlock::attempt`] has them; a seed that only a passphrase opens stays closed.
    pub fn load_or_create(
        dir: &Path,
        network: Network,
        entropy: &dyn Entropy,
    ) -> Result<Secrets, SecretsError> {
        match Unlock::default().attempt(dir, network, entropy)? {
            Unlocked::Open(secrets) => Ok(secrets),
            Unlocked::Locked => Err(SecretsError::WrongPassphrase { path: dir.join(SEED_FILE) }),
        }
    }

    /// Opens the secrets in `dir`, making what is not there. Files in plain of an older version are
    /// replaced by encrypted ones. Blocks for Argon2 and the disk.
    ///
    /// # Errors
    /// When `opener` does not open the seed, or a file cannot be used, is readable by others, is damaged,
    /// or is missing although something depends on it; nothing is replaced then.
    pub fn open_or_create(
        dir: &Path,
        network: Network,
        opener: &Opener,
        entropy: &dyn Entropy,
    ) -> Result<Secrets, SecretsError> {
        let path = dir.join(SEED_FILE);
        let damaged = |what| SecretsError::Damaged { path: path.clone(), what };
        let Some(bytes) = read_private(&path)? else {
            return Secrets::create(
                dir,
                network,
                Words::make(WordCount::default(), entropy),
                opener,
                entropy,
            );
        };
        let text = std::str::from_utf8(&bytes).map_err(|_| damaged("not text"))?;
        if !text.trim_start().starts_with('{') {
            let words = Words::read(text).map_err(|_| damaged("not seed words"))?;
            let (file, seed) = new_file(path.clone(), network, &words, opener, entropy);
            let fault = |error| SecretsError::File { path: path.clone(), error };
            let secrets =
                Secrets::beside(dir, seed, words.seed().ok_or_else(|| damaged("not seed words"))?, entropy)?;
            files::replace_plain(&path, &bytes, file.as_bytes()).map_err(fault)?;
            tracing::info!(path = %path.display(), "the seed was in plain and is encrypted now");
            return Ok(secrets);
        }
        let file = SeedFile::read(text).map_err(damaged)?;
        if file.network() != network.to_string() {
            return Err(damaged("the seed of another network"));
        }
        let (data_key, words) = file.open(opener).map_err(|closed| match (closed, opener) {
            (Closed::Damaged(what), _) => damaged(what),
            (_, Opener::Passphrase(_)) => SecretsError::WrongPassphrase { path: path.clone() },
            (_, Opener::Key(key)) => {
                SecretsError::WrongKey { key: key.path().to_owned(), path: path.clone() }
            }
        })?;
        let seed = Words::read(&words).ok().and_then(|words| words.seed());
        let seed = seed.ok_or_else(|| damaged("not seed words"))?;
        let handle = Seed::new(path.clone(), file, text.to_owned(), data_key, words);
        Secrets::beside(dir, handle, seed, entropy)
    }

    /// Puts a seed with these words where there is none, which `opener` opens from then on. Master keys that
    /// are there already must be of the same words.
    ///
    /// # Errors
    /// When there is a seed, something depends on one that is gone, or a file cannot be used.
    pub fn create(
        dir: &Path,
        network: Network,
        words: Words,
        opener: &Opener,
        entropy: &dyn Entropy,
    ) -> Result<Secrets, SecretsError> {
        let path = dir.join(SEED_FILE);
        private_dir(dir)?;
        // Channels without their seed are lost coins; tokens without their keys are broken promises.
        depended_on(dir, &path, &[CHANNELS_FILE])?;
        Secrets::place(dir, network, words, opener, entropy)
    }

    /// The same for words that the operator typed in, who has them and so verified them. Master keys that
    /// open with them prove that channels which are there are theirs, too.
    ///
    /// # Errors
    /// Likewise.
    pub fn restore(
        dir: &Path,
        network: Network,
        words: Words,
        opener: &Opener,
        entropy: &dyn Entropy,
        at: Timestamp,
    ) -> Result<Secrets, SecretsError> {
        private_dir(dir)?;
        let keys = dir.join(KEYS_FILE);
        let sealing = words.seed().map(|seed| sealed::derive(&*seed, epochs::PURPOSE));
        let sealing = sealing.ok_or(SecretsError::NotWords)?;
        if !matches!(epochs::KeysFile::read(keys, sealing, entropy)?, epochs::Found::Keys(..)) {
            depended_on(dir, &dir.join(SEED_FILE), &[CHANNELS_FILE])?;
        }
        let secrets = Secrets::place(dir, network, words, opener, entropy)?;
        match secrets.words.typed_in(at) {
            Err(SeedFault::File(error)) => Err(error),
            _ => Ok(secrets),
        }
    }

    fn place(
        dir: &Path,
        network: Network,
        words: Words,
        opener: &Opener,
        entropy: &dyn Entropy,
    ) -> Result<Secrets, SecretsError> {
        let path = dir.join(SEED_FILE);
        let (text, seed) = new_file(path.clone(), network, &words, opener, entropy);
        if read_private(&path)?.is_some() {
            return Err(SecretsError::Exists { path });
        }
        // The master keys first, so that a seed is never there without them.
        let bytes = words.seed().ok_or(SecretsError::NotWords)?;
        let secrets = Secrets::beside(dir, seed, bytes, entropy)?;
        write_private(&path, &text).map_err(|error| SecretsError::File { path, error })?;
        Ok(secrets)
    }

    /// The secrets of an opened seed: its master keys are those beside it, or new ones.
    fn beside(
        dir: &Path,
        words: Seed,
        seed: Zeroizing<[u8; 64]>,
        entropy: &dyn Entropy,
    ) -> Result<Secrets, SecretsError> {
        let path = dir.join(KEYS_FILE);
        let sealing = sealed::derive(&*seed, epochs::PURPOSE);
        let (keys, masters) = match epochs::KeysFile::read(path.clone(), sealing, entropy)? {
            epochs::Found::Keys(keys, masters) => (keys, masters),
            // Else they are of a first start that never came to a seed, or their seed and ledger were taken away.
            epochs::Found::OtherSeed(_) if dir.join(SEED_FILE).exists() || dir.join(LEDGER_FILE).exists() => {
                return Err(SecretsError::OtherSeed { path });
            }
            epochs::Found::OtherSeed(sealing) => {
                let fault = |error| SecretsError::File { path: path.clone(), error };
                let kept = aside(&path, SystemClock::new(Timestamp::default()).now()).map_err(fault)?;
                std::fs::rename(&path, &kept).map_err(fault)?;
                tracing::warn!(
                    kept = %kept.display(),
                    "master keys of another seed were there, and no ledger: they are kept under another name"
                );
                epochs::KeysFile::make(path, sealing, entropy)?
            }
            epochs::Found::Nothing(sealing) => {
                depended_on(dir, &path, &[SEED_FILE, LEDGER_FILE])?;
                epochs::KeysFile::make(path, sealing, entropy)?
            }
        };
        Ok(Secrets { words: Arc::new(words), seed, keys, masters })
    }

    /// The seed words, for what derives from them.
    pub fn words(&self) -> &str {
        self.words.words()
    }

    /// The seed's file, and what may be done with it.
    pub fn custody(&self) -> &Arc<Seed> {
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
        Epochs::new(self.keys.clone(), self.masters.clone())
    }
}

fn new_file(
    path: PathBuf,
    network: Network,
    words: &Words,
    opener: &Opener,
    entropy: &dyn Entropy,
) -> (String, Seed) {
    let (mut file, data_key) = SeedFile::seal(&network.to_string(), &words.0, entropy);
    file.wrap(&data_key, opener, seed::COST, entropy);
    let text = file.text();
    (text.clone(), Seed::new(path, file, text, data_key, words.0.clone()))
}

/// Whether something that is there needs what is to be made at `path`.
fn depended_on(dir: &Path, path: &Path, dependants: &[&'static str]) -> Result<(), SecretsError> {
    let fault = |error| SecretsError::File { path: path.to_owned(), error };
    for depends in dependants {
        if dir.join(depends).try_exists().map_err(fault)? {
            return Err(SecretsError::Missing { path: path.to_owned(), depends });
        }
    }
    Ok(())
}

fn random(entropy: &dyn Entropy) -> Zeroizing<[u8; 32]> {
    let mut bytes = Zeroizing::new([0u8; 32]);
    entropy.fill(&mut *bytes);
    bytes
}

#[cfg(test)]
mod tests;
