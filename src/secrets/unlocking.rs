//! How a seed is opened when the appliance starts: by what the settings name, by a key file beside it, by
//! who sits at the terminal, or later by whoever unlocks it.
//!
//! Invariants: what was configured and does not open the seed is an error, never a reason to try something
//! weaker; a network with real money gets no seed and no key file by itself.

use std::path::{Path, PathBuf};

use bitcoin::Network;

use super::opener::{Opener, Passphrase, UnlockKey};
use super::seed_file::{OpensWith, SeedFile};
use super::{KEY_FILE, SEED_FILE, Secrets, SecretsError, files};
use crate::clock::Entropy;
use crate::types::Timestamp;

/// What the settings say about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unlock {
    /// A file, or a descriptor, whose first line is the passphrase.
    pub passphrase_file: Option<PathBuf>,
    /// A file with a key, for an appliance that starts with nobody there.
    pub key_file: Option<PathBuf>,
}

/// What is in the place of a seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeedPlace {
    /// Nothing.
    Empty,
    /// Words in plain, from before they were encrypted.
    Plain,
    /// An encrypted seed.
    Sealed(OpensWith),
}

/// What is noted of a seed's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SeedMarks {
    /// When they were first shown.
    pub shown_at: Option<Timestamp>,
    /// When somebody proved to have them.
    pub verified_at: Option<Timestamp>,
}

impl SeedPlace {
    /// What is noted of the encrypted seed in this network's directory; `None` when there is none.
    ///
    /// # Errors
    /// As [`SeedPlace::look`].
    pub fn marks(dir: &Path) -> Result<Option<SeedMarks>, SecretsError> {
        Ok(SeedPlace::file(dir)?
            .map(|file| SeedMarks { shown_at: file.shown_at, verified_at: file.verified_at }))
    }

    /// What is in this network's directory.
    ///
    /// # Errors
    /// When the file cannot be read, others may read it, or it is damaged.
    pub fn look(dir: &Path) -> Result<SeedPlace, SecretsError> {
        match SeedPlace::file(dir)? {
            Some(file) => Ok(SeedPlace::Sealed(file.opens_with())),
            None if files::read_private(&dir.join(SEED_FILE))?.is_some() => Ok(SeedPlace::Plain),
            None => Ok(SeedPlace::Empty),
        }
    }

    fn file(dir: &Path) -> Result<Option<SeedFile>, SecretsError> {
        let path = dir.join(SEED_FILE);
        let Some(bytes) = files::read_private(&path)? else { return Ok(None) };
        if !bytes.trim_ascii_start().starts_with(b"{") {
            return Ok(None);
        }
        let damaged = |what| SecretsError::Damaged { path: path.clone(), what };
        let text = std::str::from_utf8(&bytes).map_err(|_| damaged("not a seed's file"))?;
        SeedFile::read(text).map(Some).map_err(damaged)
    }
}

/// How far an attempt came.
#[derive(Debug)]
pub enum Unlocked {
    /// It is open.
    Open(Secrets),
    /// Only its passphrase opens it, and nobody gave that.
    Locked,
}

impl Unlock {
    /// Opens the secrets in `dir` without asking anybody, making on the first start what is not there,
    /// where no real money is at stake. Blocks for Argon2 and the disk.
    ///
    /// # Errors
    /// When what should open the seed does not, a file cannot be used, or there is no seed on a network
    /// where the operator makes it.
    pub fn attempt(
        &self,
        dir: &Path,
        network: Network,
        entropy: &dyn Entropy,
    ) -> Result<Unlocked, SecretsError> {
        let opener = match SeedPlace::look(dir)? {
            SeedPlace::Sealed(opens_with) => match self.opener(dir, opens_with)? {
                Some(opener) => opener,
                None => return Ok(Unlocked::Locked),
            },
            SeedPlace::Empty if network == Network::Bitcoin => {
                return Err(SecretsError::NoSeed { path: dir.join(SEED_FILE) });
            }
            SeedPlace::Empty | SeedPlace::Plain => {
                files::private_dir(dir)?;
                self.first_opener(dir, network, entropy)?
            }
        };
        Secrets::open_or_create(dir, network, &opener, entropy).map(Unlocked::Open)
    }

    /// What opens a seed that is there; `None` when somebody has to say its passphrase.
    fn opener(&self, dir: &Path, opens_with: OpensWith) -> Result<Option<Opener>, SecretsError> {
        if let Some(path) = self.passphrase_file.as_ref().filter(|_| opens_with.passphrase) {
            return Passphrase::read(path).map(|passphrase| Some(Opener::Passphrase(passphrase)));
        }
        if opens_with.key_file {
            let beside = dir.join(KEY_FILE);
            let path = self.key_file.as_ref().unwrap_or(&beside);
            let there =
                path.try_exists().map_err(|error| SecretsError::File { path: path.clone(), error })?;
            // One that was configured and is away is said: nothing weaker is tried.
            if there || self.key_file.is_some() || !opens_with.passphrase {
                return UnlockKey::read(path).map(|key| Some(Opener::Key(key)));
            }
        }
        Ok(None)
    }

    /// What shall open a seed that is not there yet.
    ///
    /// # Errors
    /// When a file cannot be read, or on a network with real money nothing was said.
    pub fn first_opener(
        &self,
        dir: &Path,
        network: Network,
        entropy: &dyn Entropy,
    ) -> Result<Opener, SecretsError> {
        if let Some(path) = &self.passphrase_file {
            let passphrase = Passphrase::read(path)?;
            passphrase.fit().map_err(|unfit| SecretsError::Unfit { path: path.clone(), unfit })?;
            return Ok(Opener::Passphrase(passphrase));
        }
        if let Some(path) = &self.key_file {
            return UnlockKey::read_or_make(path, entropy).map(Opener::Key);
        }
        if network == Network::Bitcoin {
            return Err(SecretsError::NoOpener);
        }
        UnlockKey::read_or_make(&dir.join(KEY_FILE), entropy).map(Opener::Key)
    }
}
