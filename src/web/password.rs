//! The operator's password: Argon2id, one hash at a time, one more waiting, and a back-off.
//!
//! A hash takes 19 MiB and tens of milliseconds by design. Two things keep that from being a lever:
//! a third request at once is turned away before it hashes, and after a few wrong passwords the next
//! try is refused, unhashed, for a span that doubles. Sessions and API keys are not held up by the wrong ones
//! of others: a session that says the password again has a span of its own.

use std::fmt;
use std::sync::Arc;

use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;

use super::backoff::Backoff;
use super::session::Visit;
use crate::clock::{Clock, Entropy};

/// A shorter password is refused.
pub const SHORTEST: usize = 12;
/// A longer one too: nobody types it, and hashing it is work.
pub const LONGEST: usize = 1_024;

/// A password as it was typed. `Debug` does not show it.
#[derive(Clone, serde::Deserialize)]
#[serde(transparent)]
pub struct Password(String);

impl Password {
    /// From text.
    pub fn new(text: impl Into<String>) -> Password {
        Password(text.into())
    }

    /// Whether the two are the same text (both came from the person who sets it).
    pub fn repeats(&self, other: &Password) -> bool {
        self.0 == other.0
    }

    /// Whether it may be set.
    ///
    /// # Errors
    /// When it is too short or too long.
    pub fn fit(&self) -> Result<(), Unfit> {
        match self.0.chars().count() {
            short if short < SHORTEST => Err(Unfit::Short),
            long if long > LONGEST => Err(Unfit::Long),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(redacted)")
    }
}

/// Why a password may not be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Unfit {
    /// Fewer than [`SHORTEST`] characters.
    #[error("Use at least {SHORTEST} characters.")]
    Short,
    /// More than [`LONGEST`].
    #[error("Use at most {LONGEST} characters.")]
    Long,
}

/// Why no answer was given, or why it was no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Denied {
    /// Not the password.
    #[error("That is not the password.")]
    Wrong,
    /// Too many wrong ones lately.
    #[error("Too many wrong passwords. Wait {secs} s and try again.")]
    Wait {
        /// Seconds until the next try is looked at.
        secs: u64,
    },
    /// Two others are being checked.
    #[error("Others are logging in at this moment. Try again in a second.")]
    Busy,
    /// The hash could not be computed or read.
    #[error("The password could not be checked; the log says why.")]
    Broken,
}

/// Checks and hashes passwords.
pub struct Passwords {
    backoff: Backoff,
    tracker: TaskTracker,
    room: Arc<Semaphore>,
    turn: Arc<Semaphore>,
}

impl Passwords {
    /// With nobody waiting.
    pub fn new(clock: Arc<dyn Clock>, tracker: TaskTracker) -> Passwords {
        Passwords {
            backoff: Backoff::new(clock),
            tracker,
            room: Arc::new(Semaphore::new(2)),
            turn: Arc::new(Semaphore::new(1)),
        }
    }

    /// The text to store for a password that is about to be set.
    ///
    /// # Errors
    /// [`Denied::Busy`] or [`Denied::Broken`].
    pub async fn hash(&self, password: Password, entropy: &dyn Entropy) -> Result<String, Denied> {
        let salt = SaltString::encode_b64(&entropy.bytes32()[..16]).map_err(broken)?;
        self.in_turn(None, move || {
            let hash = argon2id().hash_password(password.0.as_bytes(), &salt).map_err(broken)?;
            Ok(hash.to_string())
        })
        .await
    }

    /// Whether `password` is the one behind `stored`, for somebody who logs in.
    ///
    /// # Errors
    /// Always when it is not: see [`Denied`].
    pub async fn check(&self, password: Password, stored: String) -> Result<(), Denied> {
        self.guess(&self.backoff, password, stored).await
    }

    /// The same for somebody who is logged in and says it again.
    ///
    /// # Errors
    /// Always when it is not: see [`Denied`].
    pub async fn check_again(&self, visit: &Visit, password: Password, stored: String) -> Result<(), Denied> {
        self.guess(&visit.guesses, password, stored).await
    }

    async fn guess(&self, guesses: &Backoff, password: Password, stored: String) -> Result<(), Denied> {
        let answer = self
            .in_turn(Some(guesses), move || {
                let hash = PasswordHash::new(&stored).map_err(broken)?;
                argon2id().verify_password(password.0.as_bytes(), &hash).map_err(|error| match error {
                    argon2::password_hash::Error::Password => Denied::Wrong,
                    other => broken(other),
                })
            })
            .await;
        match answer {
            Ok(()) => guesses.right(),
            Err(Denied::Wrong) => guesses.wrong("admin password"),
            Err(_) => {}
        }
        answer
    }

    /// Runs `work` on a blocking thread when it is its turn. The permits go with the work, not with
    /// the request: a client that leaves does not make room for the next one early.
    async fn in_turn<T: Send + 'static>(
        &self,
        guesses: Option<&Backoff>,
        work: impl FnOnce() -> Result<T, Denied> + Send + 'static,
    ) -> Result<T, Denied> {
        let not_closed = || match guesses {
            Some(guesses) => guesses.open().map_err(|secs| Denied::Wait { secs }),
            None => Ok(()),
        };
        not_closed()?;
        let room: OwnedSemaphorePermit = self.room.clone().try_acquire_owned().map_err(|_| Denied::Busy)?;
        let turn = self.turn.clone().acquire_owned().await.map_err(broken)?;
        // Those who waited while others failed are refused like those who came after.
        not_closed()?;
        let task = self.tracker.spawn_blocking(move || {
            let result = work();
            drop((turn, room));
            result
        });
        task.await.map_err(broken)?
    }
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passwords").finish_non_exhaustive()
    }
}

/// Argon2id with 19 MiB, two passes, one lane.
fn argon2id() -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::default())
}

fn broken(error: impl fmt::Display) -> Denied {
    tracing::error!(%error, "the admin password could not be hashed or checked");
    Denied::Broken
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::{CountingEntropy, FixedClock};
    use crate::types::Timestamp;

    #[tokio::test]
    async fn wrong_passwords_close_the_door_for_longer_each_time() {
        let clock = FixedClock::at(Timestamp::from_secs(1));
        let passwords = Passwords::new(clock.clone(), TaskTracker::new());
        let right = Password::new("correct horse battery");
        let stored = passwords.hash(right.clone(), &CountingEntropy::default()).await.expect("hashed");
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        let wrong = || passwords.check(Password::new("wrong"), stored.clone());
        for _ in 0..4 {
            assert_eq!(wrong().await, Err(Denied::Wrong));
        }
        let right_one = || passwords.check(right.clone(), stored.clone());
        assert_eq!(right_one().await, Err(Denied::Wait { secs: 1 }), "even the right one waits");
        clock.advance(Duration::from_secs(1));
        assert_eq!(wrong().await, Err(Denied::Wrong));
        assert_eq!(wrong().await, Err(Denied::Wait { secs: 2 }));
        clock.advance(Duration::from_secs(2));
        assert_eq!(right_one().await, Ok(()));
        assert_eq!(wrong().await, Err(Denied::Wrong), "the count began anew");
        assert_eq!(right_one().await, Ok(()));
    }

    #[tokio::test]
    async fn a_third_at_once_is_turned_away() {
        let passwords = Passwords::new(FixedClock::at(Timestamp::default()), TaskTracker::new());
        let stored =
            passwords.hash(Password::new("right"), &CountingEntropy::default()).await.expect("hashed");
        let ask = || passwords.check(Password::new("right"), stored.clone());
        let (a, b, c) = tokio::join!(ask(), ask(), ask());
        assert_eq!([a, b, c], [Ok(()), Ok(()), Err(Denied::Busy)]);
    }
}
