//! The seed of a running appliance: its words, and the file that keeps them.
//!
//! Invariants: the words leave only through [`Seed::words`] and [`Seed::show`]; once they were verified
//! they are not shown again; a change of the passphrase is on disk whole, or not made.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use subtle::ConstantTimeEq;
use thiserror::Error;
use zeroize::Zeroizing;

use super::files::replace_private;
use super::opener::{Opener, Passphrase, UnfitPassphrase, UnlockKey};
use super::seed_file::{Closed, Cost, DataKey, OpensWith, SeedFile};
use super::{SecretsError, random};
use crate::clock::Entropy;
use crate::types::Timestamp;

/// How many words the check asks for.
pub const ASKED_WORDS: usize = 3;

/// Why something about the seed was not done. Nothing changed then.
#[derive(Debug, Error)]
pub enum SeedFault {
    /// The words were verified: they are on paper, and stay there.
    #[error("the words were verified, so they are not shown any more: what you wrote down is what counts")]
    Verified,
    /// They were shown once.
    #[error(
        "the words were shown already: showing them again takes the passphrase, or the wish to, said expressly"
    )]
    Shown,
    /// The passphrase is needed and not there, or another one.
    #[error("that is not the passphrase")]
    WrongPassphrase,
    /// The words are not those that were asked for.
    #[error("those are not the words: look at the numbers, and at what you wrote down")]
    WrongWords,
    /// No words were asked for.
    #[error("no words were asked for, or they were answered already: ask anew")]
    NotAsked,
    /// The passphrase may not be set.
    #[error(transparent)]
    Unfit(#[from] UnfitPassphrase),
    /// The file could not be changed.
    #[error(transparent)]
    File(#[from] SecretsError),
}

/// What may be told of the seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeedStatus {
    /// What opens it.
    pub opens_with: OpensWith,
    /// When its words were first shown.
    pub shown_at: Option<Timestamp>,
    /// When somebody last proved to have them.
    pub verified_at: Option<Timestamp>,
}

/// An opened seed.
pub struct Seed {
    path: PathBuf,
    words: Zeroizing<String>,
    data_key: DataKey,
    state: Mutex<State>,
}

struct State {
    file: SeedFile,
    text: String,
    asked: Option<[usize; ASKED_WORDS]>,
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(redacted)")
    }
}

impl Seed {
    /// What was opened from the file at `path`, which says `text`.
    pub(super) fn new(
        path: PathBuf,
        file: SeedFile,
        text: String,
        data_key: DataKey,
        words: Zeroizing<String>,
    ) -> Seed {
        Seed { path, words, data_key, state: Mutex::new(State { file, text, asked: None }) }
    }

    /// What may be told of it.
    pub fn status(&self) -> SeedStatus {
        let state = self.state();
        SeedStatus {
            opens_with: state.file.opens_with(),
            shown_at: state.file.shown_at,
            verified_at: state.file.verified_at,
        }
    }

    /// The words, for what derives from them.
    pub fn words(&self) -> &str {
        &self.words
    }

    /// How many there are.
    pub fn word_count(&self) -> usize {
        self.words.split(' ').count()
    }

    /// The words, to be shown to the operator: freely the first time, `again` until they were verified,
    /// and then only to who has the passphrase, where there is one. Blocks for the disk, and for Argon2.
    ///
    /// # Errors
    /// When they are not to be shown, or it cannot be noted that they were.
    pub fn show(
        &self,
        again: Option<Option<&Passphrase>>,
        at: Timestamp,
    ) -> Result<&Zeroizing<String>, SeedFault> {
        let mut state = self.state();
        if state.file.verified_at.is_some() {
            return Err(SeedFault::Verified);
        }
        if state.file.shown_at.is_some() {
            let passphrase = again.ok_or(SeedFault::Shown)?;
            state.prove(passphrase)?;
        }
        let mut file = state.file.clone();
        file.shown_at.get_or_insert(at);
        self.put(&mut state, file)?;
        Ok(&self.words)
    }

    /// Asks for three words by their numbers, from 1, rising. What was asked before counts no more.
    pub fn ask(&self, entropy: &dyn Entropy) -> [usize; ASKED_WORDS] {
        let mut numbers: Vec<usize> = (1..=self.word_count()).collect();
        let drawn = random(entropy);
        // The bias of a byte's remainder is nothing that a guess could live on.
        let mut asked = std::array::from_fn(|turn| {
            let at = usize::from(drawn[turn]) % numbers.len();
            numbers.swap_remove(at)
        });
        asked.sort_unstable();
        self.state().asked = Some(asked);
        asked
    }

    /// Whether `words` are those that were asked for, in that order; notes it. Each question takes one
    /// answer. Blocks for the disk.
    ///
    /// # Errors
    /// When they are not, or nothing was asked, or it cannot be noted.
    pub fn verify(&self, words: &[impl AsRef<str>], at: Timestamp) -> Result<(), SeedFault> {
        let mut state = self.state();
        let asked = state.asked.take().ok_or(SeedFault::NotAsked)?;
        let ours: Vec<&str> = self.words.split(' ').collect();
        let right = asked.iter().filter_map(|number| ours.get(number.checked_sub(1)?));
        let right = Zeroizing::new(right.copied().collect::<Vec<_>>().join(" "));
        let given: Vec<String> = words.iter().map(|word| word.as_ref().trim().to_lowercase()).collect();
        let given = Zeroizing::new(given.join(" "));
        if !bool::from(right.as_bytes().ct_eq(given.as_bytes())) {
            return Err(SeedFault::WrongWords);
        }
        self.note_verified(&mut state, at)
    }

    /// Notes that somebody has the words: typed them all in, as to restore them.
    ///
    /// # Errors
    /// When it cannot be noted.
    pub(super) fn typed_in(&self, at: Timestamp) -> Result<(), SeedFault> {
        self.note_verified(&mut self.state(), at)
    }

    /// Sets the passphrase that opens the seed; key files open it no more unless `keep_key_file`. Blocks for
    /// Argon2 and the disk.
    ///
    /// # Errors
    /// When `current` is not the passphrase that opens it now, or the new one may not be set.
    pub fn set_passphrase(
        &self,
        current: Option<&Passphrase>,
        new: &Passphrase,
        key_files: KeyFiles,
        entropy: &dyn Entropy,
    ) -> Result<(), SeedFault> {
        new.fit()?;
        let mut state = self.state();
        state.prove(current)?;
        let mut file = state.file.clone();
        file.wrap(&self.data_key, &Opener::Passphrase(new.clone()), COST, entropy);
        if key_files == KeyFiles::Forget {
            file.forget_key_file();
        }
        self.put(&mut state, file)
    }

    /// Whether `current` is the passphrase that opens it now, where one does. Argon2.
    ///
    /// # Errors
    /// When it is not.
    pub fn check_passphrase(&self, current: Option<&Passphrase>) -> Result<(), SeedFault> {
        self.state().prove(current)
    }

    /// Lets `key` open the seed, in place of another key file, beside the passphrase.
    ///
    /// # Errors
    /// When `current` is not the passphrase that opens it now, or the file cannot be changed.
    pub fn set_key_file(
        &self,
        current: Option<&Passphrase>,
        key: &UnlockKey,
        entropy: &dyn Entropy,
    ) -> Result<(), SeedFault> {
        let mut state = self.state();
        state.prove(current)?;
        let mut file = state.file.clone();
        file.wrap(&self.data_key, &Opener::Key(key.clone()), COST, entropy);
        self.put(&mut state, file)
    }

    fn note_verified(&self, state: &mut State, at: Timestamp) -> Result<(), SeedFault> {
        let mut file = state.file.clone();
        file.shown_at.get_or_insert(at);
        file.verified_at = Some(at);
        self.put(state, file)
    }

    /// Puts `file` on disk, then in force.
    fn put(&self, state: &mut State, file: SeedFile) -> Result<(), SeedFault> {
        let text = file.text();
        if text != state.text {
            let fault = |error| SecretsError::File { path: self.path.clone(), error };
            replace_private(&self.path, state.text.as_bytes(), text.as_bytes()).map_err(fault)?;
        }
        (state.file, state.text) = (file, text);
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What becomes of the key file when a passphrase is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFiles {
    /// It opens nothing any more.
    Forget,
    /// It opens the seed still, so that the appliance starts by itself.
    Keep,
}

impl State {
    /// Whether `passphrase` opens the seed, where one does.
    fn prove(&self, passphrase: Option<&Passphrase>) -> Result<(), SeedFault> {
        if !self.file.opens_with().passphrase {
            return Ok(());
        }
        let given = passphrase.ok_or(SeedFault::WrongPassphrase)?;
        match self.file.open(&Opener::Passphrase(given.clone())) {
            Ok(_) => Ok(()),
            Err(Closed::Wrong | Closed::NoSuchWay | Closed::Damaged(_)) => Err(SeedFault::WrongPassphrase),
        }
    }
}

#[cfg(not(test))]
pub(super) const COST: Cost = Cost::REAL;
#[cfg(test)]
pub(super) const COST: Cost = Cost::CHEAP;
