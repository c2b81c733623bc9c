//! The first seed of an appliance that has none: made, or brought back from its words, by who has the one-time link.
//!
//! Invariants (THREATS 17): nothing is made, shown or taken without the link's token; a seed that was made opens the
//! appliance only when somebody proved to have its words; the words are in answers to that person alone, never in
//! the log or a file.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bitcoin::Network;
use thiserror::Error;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use zeroize::Zeroizing;

use super::claim::ClaimToken;
use super::private_file;
use crate::clock::{Clock, Entropy};
use crate::secrets::{
    ASKED_WORDS, Opener, Passphrase, Secrets, SecretsError, SeedFault, UnfitPassphrase, Unlock, WordCount,
    Words, private_dir,
};

/// What it is told.
pub struct FirstSeedParts {
    /// The network's directory, where the seed goes.
    pub dir: PathBuf,
    /// The network.
    pub network: Network,
    /// What the settings say shall open the seed.
    pub unlock: Unlock,
    /// How the operator reaches the listener, without a slash at the end.
    pub origin: String,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Where tasks are counted.
    pub tracker: TaskTracker,
}

/// Why there is no seed yet.
#[derive(Debug, Error)]
pub enum NotMade {
    /// Not the link that was printed.
    #[error(
        "This link is not complete, or not the newest: the newest is in the terminal, and in the file {0}."
    )]
    NotValid(String),
    /// The two passphrases differ.
    #[error("The two passphrases are not the same. Nothing was made.")]
    Differ,
    /// The passphrase may not be set.
    #[error("The passphrase cannot be set: {0}. Nothing was made.")]
    Unfit(#[from] UnfitPassphrase),
    /// They are no seed words.
    #[error(
        "These are not 12 or 24 seed words: one is misspelt, missing, or in another place. Nothing was made."
    )]
    NotWords,
    /// There is one already.
    #[error("There is a seed already. Nothing was changed.")]
    Exists,
    /// Nothing was made yet that could be shown or proved.
    #[error("Nothing was made yet.")]
    Nothing,
    /// Not the words that were asked for.
    #[error("Those are not the words. Look at the numbers, and at what you wrote down.")]
    WrongWords,
    /// Another one is being made.
    #[error("One is being made at this moment. Try again in a second.")]
    Busy,
    /// The disk refused; the cause is in the log.
    #[error("It could not be done; the log says why.")]
    Broken,
}

/// Makes it.
pub struct FirstSeed {
    parts: FirstSeedParts,
    token: ClaimToken,
    turn: Semaphore,
    /// Made, and not proved yet.
    made: Mutex<Option<Secrets>>,
}

impl FirstSeed {
    /// Offers the one-time link, in the file as well.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn offer(parts: FirstSeedParts) -> std::io::Result<Arc<FirstSeed>> {
        let token = ClaimToken::fresh(parts.entropy.as_ref());
        let first = FirstSeed { parts, token, turn: Semaphore::new(1), made: Mutex::default() };
        private_dir(&first.parts.dir).map_err(std::io::Error::other)?;
        private_file::replace(&first.file(), &format!("{}\n", first.link()))?;
        Ok(Arc::new(first))
    }

    /// The one-time link, for the operator's eyes.
    pub fn link(&self) -> String {
        self.token.link(&self.parts.origin, "/seed")
    }

    /// What the link carries: the same claims the appliance afterwards.
    pub fn token(&self) -> &ClaimToken {
        &self.token
    }

    /// Whether a passphrase has to be chosen; else the settings say what opens the seed.
    pub fn asks_passphrase(&self) -> bool {
        let Unlock { passphrase_file, key_file } = &self.parts.unlock;
        passphrase_file.is_none() && key_file.is_none()
    }

    /// Whether a seed was made whose words nobody has proved to have yet.
    pub fn is_made(&self) -> bool {
        self.made().is_some()
    }

    /// Whether `token` is the link's.
    ///
    /// # Errors
    /// When it is not.
    pub fn admit(&self, token: &str) -> Result<(), NotMade> {
        let refused = || NotMade::NotValid(self.file().display().to_string());
        if self.token.is(token) { Ok(()) } else { Err(refused()) }
    }

    /// Makes a seed with new words.
    ///
    /// # Errors
    /// See [`NotMade`].
    pub async fn make(
        self: &Arc<Self>,
        count: WordCount,
        passphrase: Option<(Passphrase, Passphrase)>,
    ) -> Result<(), NotMade> {
        let chosen = chosen(passphrase)?;
        self.blocking(move |first| {
            let FirstSeedParts { dir, network, entropy, clock, .. } = &first.parts;
            let opener = first.opener(chosen)?;
            let words = Words::make(count, entropy.as_ref());
            let secrets = Secrets::create(dir, *network, words, &opener, entropy.as_ref())?;
            // They are shown at once.
            secrets.custody().show(None, clock.now()).map_err(|fault| first.fault(&fault))?;
            *first.made() = Some(secrets);
            Ok(())
        })
        .await
    }

    /// Brings a seed back from its words, which proves that somebody has them.
    ///
    /// # Errors
    /// See [`NotMade`].
    pub async fn restore(
        self: &Arc<Self>,
        words: &str,
        passphrase: Option<(Passphrase, Passphrase)>,
    ) -> Result<Secrets, NotMade> {
        let words = Words::read(words).map_err(|_| NotMade::NotWords)?;
        let chosen = chosen(passphrase)?;
        self.blocking(move |first| {
            let FirstSeedParts { dir, network, entropy, clock, .. } = &first.parts;
            let opener = first.opener(chosen)?;
            Ok(Secrets::restore(dir, *network, words, &opener, entropy.as_ref(), clock.now())?)
        })
        .await
    }

    /// The words of the seed that was made.
    ///
    /// # Errors
    /// When none was.
    pub fn words(&self) -> Result<Zeroizing<String>, NotMade> {
        let made = self.made();
        made.as_ref().map(|secrets| Zeroizing::new(secrets.words().to_owned())).ok_or(NotMade::Nothing)
    }

    /// Asks for three of them, by their numbers.
    ///
    /// # Errors
    /// When nothing was made.
    pub fn ask(&self) -> Result<[usize; ASKED_WORDS], NotMade> {
        let made = self.made();
        let secrets = made.as_ref().ok_or(NotMade::Nothing)?;
        Ok(secrets.custody().ask(self.parts.entropy.as_ref()))
    }

    /// Whether `words` are those that were asked for; then the secrets come out, once.
    ///
    /// # Errors
    /// See [`NotMade`].
    pub async fn prove(self: &Arc<Self>, words: Vec<Zeroizing<String>>) -> Result<Secrets, NotMade> {
        self.blocking(move |first| {
            let mut made = first.made();
            let secrets = made.as_ref().ok_or(NotMade::Nothing)?;
            let words: Vec<&str> = words.iter().map(|word| word.as_str()).collect();
            let now = first.parts.clock.now();
            secrets.custody().verify(&words, now).map_err(|fault| first.fault(&fault))?;
            made.take().ok_or(NotMade::Nothing)
        })
        .await
    }

    /// Does `work`, which may block, one at a time.
    async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&FirstSeed) -> Result<T, NotMade> + Send + 'static,
    ) -> Result<T, NotMade> {
        let first = Arc::clone(self);
        let done = self.parts.tracker.spawn_blocking(move || {
            // It goes with the work: a client that leaves does not make room for the next one early.
            let _turn = first.turn.try_acquire().map_err(|_| NotMade::Busy)?;
            work(&first)
        });
        done.await.unwrap_or_else(|error| {
            tracing::error!(%error, "the seed could not be made");
            Err(NotMade::Broken)
        })
    }

    fn opener(&self, chosen: Option<Passphrase>) -> Result<Opener, NotMade> {
        let FirstSeedParts { dir, network, unlock, entropy, .. } = &self.parts;
        match chosen {
            Some(passphrase) if self.asks_passphrase() => Ok(Opener::Passphrase(passphrase)),
            None if self.asks_passphrase() => Err(NotMade::Unfit(UnfitPassphrase::Short)),
            _ => Ok(unlock.first_opener(dir, *network, entropy.as_ref())?),
        }
    }

    fn fault(&self, fault: &SeedFault) -> NotMade {
        match fault {
            SeedFault::WrongWords => NotMade::WrongWords,
            SeedFault::NotAsked => NotMade::Nothing,
            other => {
                tracing::error!(error = %other, "the seed could not be made");
                NotMade::Broken
            }
        }
    }

    fn file(&self) -> PathBuf {
        super::claim::file(Path::new(&self.parts.dir))
    }

    fn made(&self) -> MutexGuard<'_, Option<Secrets>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn chosen(typed: Option<(Passphrase, Passphrase)>) -> Result<Option<Passphrase>, NotMade> {
    let Some((passphrase, again)) = typed else { return Ok(None) };
    if !passphrase.repeats(&again) {
        return Err(NotMade::Differ);
    }
    passphrase.fit()?;
    Ok(Some(passphrase))
}

impl From<SecretsError> for NotMade {
    fn from(error: SecretsError) -> NotMade {
        match error {
            SecretsError::NotWords => NotMade::NotWords,
            SecretsError::Exists { .. } => NotMade::Exists,
            other => {
                tracing::error!(error = %other, "the seed could not be made");
                NotMade::Broken
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{FixedClock, SystemEntropy};
    use crate::types::Timestamp;

    const PASSPHRASE: &str = "correct horse battery";

    fn typed(text: &str, again: &str) -> Option<(Passphrase, Passphrase)> {
        Some((Passphrase::new(text), Passphrase::new(again)))
    }

    fn offered(dir: &Path) -> Arc<FirstSeed> {
        let parts = FirstSeedParts {
            dir: dir.join("bitcoin"),
            network: Network::Bitcoin,
            unlock: Unlock::default(),
            origin: "http://127.0.0.1:8403".to_owned(),
            clock: FixedClock::at(Timestamp::from_secs(1_000)),
            entropy: SystemEntropy::new(),
            tracker: TaskTracker::new(),
        };
        FirstSeed::offer(parts).expect("the disk is there")
    }

    #[tokio::test]
    async fn a_seed_comes_out_when_its_words_are_proved() {
        let dir = tempfile::tempdir().expect("a folder");
        let first = offered(dir.path());
        let file = std::fs::read_to_string(dir.path().join("bitcoin/claim")).expect("the link's file");
        assert_eq!(file.trim(), first.link());
        let token = file.trim().split_once("/seed?token=").expect("a link").1.to_owned();
        assert!(first.admit(&token).is_ok() && matches!(first.admit("other"), Err(NotMade::NotValid(_))));
        assert!(matches!(first.words(), Err(NotMade::Nothing)) && first.ask().is_err());
        let made = first.make(WordCount::Twelve, typed(PASSPHRASE, "another horse")).await;
        assert!(matches!(made, Err(NotMade::Differ)));
        let made = first.make(WordCount::Twelve, typed("short", "short")).await;
        assert!(matches!(made, Err(NotMade::Unfit(UnfitPassphrase::Short))));
        let made = first.make(WordCount::Twelve, None).await;
        assert!(matches!(made, Err(NotMade::Unfit(_))), "nothing opens a seed without anybody's choice");
        first.make(WordCount::Twelve, typed(PASSPHRASE, PASSPHRASE)).await.expect("made");
        assert!(matches!(
            first.make(WordCount::Twelve, typed(PASSPHRASE, PASSPHRASE)).await,
            Err(NotMade::Exists)
        ));
        let words = first.words().expect("made");
        let wrong = vec![Zeroizing::new("zebra".to_owned()); 3];
        first.ask().expect("made");
        assert!(matches!(first.prove(wrong).await, Err(NotMade::WrongWords)));
        let asked = first.ask().expect("made");
        let all: Vec<&str> = words.split(' ').collect();
        let right = asked.iter().map(|number| Zeroizing::new(all[number - 1].to_owned())).collect();
        let secrets = first.prove(right).await.expect("the words are right");
        assert!(secrets.custody().status().verified_at.is_some() && !first.is_made());
    }

    #[tokio::test]
    async fn words_that_are_typed_in_bring_a_seed_back() {
        let dir = tempfile::tempdir().expect("a folder");
        let first = offered(dir.path());
        let words = format!("{} about", "abandon ".repeat(11).trim());
        let bad = first.restore("abandon about", typed(PASSPHRASE, PASSPHRASE)).await;
        assert!(matches!(bad, Err(NotMade::NotWords)));
        let secrets = first.restore(&words, typed(PASSPHRASE, PASSPHRASE)).await.expect("restored");
        assert!(secrets.custody().status().verified_at.is_some());
        assert_eq!(secrets.words(), words);
    }
}
