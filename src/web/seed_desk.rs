//! Where the operator asks about the seed: one question at a time, and wrong answers cost time.

use std::sync::Arc;

use thiserror::Error;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use zeroize::Zeroizing;

use super::Operator;
use super::backoff::Backoff;
use crate::clock::Clock;
use crate::event::Event;
use crate::secrets::{KeyFiles, Passphrase, Seed, SeedFault};

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum NoAnswer {
    /// Too many wrong ones lately.
    #[error("Too many wrong answers. Wait {secs} s and try again.")]
    Wait {
        /// Seconds until the next one is looked at.
        secs: u64,
    },
    /// Somebody else asks at this moment.
    #[error("Somebody else asks at this moment. Try again in a second.")]
    Busy,
    /// The seed's file refused.
    #[error(transparent)]
    Fault(#[from] SeedFault),
    /// It could not be asked.
    #[error("It could not be done; the log says why.")]
    Broken,
}

/// The desk.
pub struct SeedDesk {
    seed: Arc<Seed>,
    backoff: Backoff,
    turn: Arc<Semaphore>,
    tracker: TaskTracker,
}

impl SeedDesk {
    pub(super) fn new(seed: Arc<Seed>, clock: Arc<dyn Clock>, tracker: TaskTracker) -> SeedDesk {
        SeedDesk { seed, backoff: Backoff::new(clock), turn: Arc::new(Semaphore::new(1)), tracker }
    }

    /// The seed, for what does not block.
    pub fn seed(&self) -> &Seed {
        &self.seed
    }

    /// Does `work`, which may block, and counts what was guessed wrong.
    ///
    /// # Errors
    /// See [`NoAnswer`].
    pub async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Seed) -> Result<T, SeedFault> + Send + 'static,
    ) -> Result<T, NoAnswer> {
        self.backoff.open().map_err(|secs| NoAnswer::Wait { secs })?;
        let turn = Arc::clone(&self.turn).try_acquire_owned().map_err(|_| NoAnswer::Busy)?;
        let seed = Arc::clone(&self.seed);
        let asked = self.tracker.spawn_blocking(move || {
            let answer = work(&seed);
            drop(turn);
            answer
        });
        match asked.await {
            Ok(Ok(answer)) => {
                self.backoff.right();
                Ok(answer)
            }
            Ok(Err(fault)) => {
                if matches!(fault, SeedFault::WrongPassphrase | SeedFault::WrongWords) {
                    self.backoff.wrong("answer about the seed");
                }
                Err(fault.into())
            }
            Err(error) => {
                tracing::error!(%error, "a question about the seed could not be answered");
                Err(NoAnswer::Broken)
            }
        }
    }
}

impl Operator {
    /// The seed's words, once; `again` until they were verified, with the passphrase where there is one.
    ///
    /// # Errors
    /// See [`NoAnswer`].
    pub async fn seed_words(&self, again: Option<Option<Passphrase>>) -> Result<Zeroizing<String>, NoAnswer> {
        let now = self.parts.clock.now();
        let show = move |seed: &Seed| {
            let again = again.as_ref().map(Option::as_ref);
            seed.show(again, now).map(|words| Zeroizing::new(words.to_string()))
        };
        let words = self.seed.ask(show).await?;
        self.noted(Event::SeedWordsShown).await;
        Ok(words)
    }

    /// The words that were asked for, in their order: proves that somebody has them.
    ///
    /// # Errors
    /// See [`NoAnswer`].
    pub async fn verify_seed<W: AsRef<str> + Send + 'static>(&self, words: Vec<W>) -> Result<(), NoAnswer> {
        let now = self.parts.clock.now();
        self.seed.ask(move |seed| seed.verify(&words, now)).await?;
        self.noted(Event::SeedVerified).await;
        self.look_again().await;
        Ok(())
    }

    /// Has `new` open the seed from now on.
    ///
    /// # Errors
    /// See [`NoAnswer`].
    pub async fn set_seed_passphrase(
        &self,
        current: Option<Passphrase>,
        new: Passphrase,
        key_files: KeyFiles,
    ) -> Result<(), NoAnswer> {
        let entropy = Arc::clone(&self.parts.entropy);
        let change =
            move |seed: &Seed| seed.set_passphrase(current.as_ref(), &new, key_files, entropy.as_ref());
        self.seed.ask(change).await?;
        self.noted(Event::PassphraseChanged).await;
        Ok(())
    }

    /// Whether `current` opens the seed, before anybody chooses what is to open it from now on.
    ///
    /// # Errors
    /// See [`NoAnswer`].
    pub async fn check_seed_passphrase(&self, current: Option<Passphrase>) -> Result<(), NoAnswer> {
        self.seed.ask(move |seed: &Seed| seed.check_passphrase(current.as_ref())).await
    }

    /// Notes in the log what was done with a secret; that it was done does not depend on it.
    pub(super) async fn noted(&self, event: Event) {
        if let Err(error) = self.parts.ledger.log(event).await {
            tracing::error!(%error, "what was done with a secret could not be noted");
        }
    }
}
