//! The door of a locked appliance: nothing is open but the way to say the seed's passphrase, or where there is no
//! seed yet, to make it ([`FirstSeed`]).
//!
//! Invariants (THREATS 16, 17): one passphrase is tried at a time, after a few wrong ones the next waits for
//! a span that doubles; foreign hosts and foreign pages are refused as ever; nobody else is asked for a
//! proof, because the ledger that knows keys and sessions is not open yet.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use http::StatusCode;
use thiserror::Error;
use tokio::sync::{Semaphore, oneshot};
use tokio_util::task::TaskTracker;

use super::backoff::Backoff;
use super::first_seed::FirstSeed;
use super::{LARGEST_BODY_BYTES, Problem, armour, files, hosts};
use crate::clock::{Clock, Entropy};
use crate::secrets::{Opener, OpensWith, Passphrase, Secrets, SecretsError};

/// What a program that is refused meanwhile should wait, in seconds.
const RETRY_SECS: u64 = 30;

/// What the door is told.
pub struct DoorParts {
    /// Where the admin listener is bound, with the real port.
    pub listen: SocketAddr,
    /// Further host names by which it may be called.
    pub hosts: Vec<String>,
    /// The network's directory, with the seed.
    pub dir: PathBuf,
    /// The network.
    pub network: bitcoin::Network,
    /// What is behind it.
    pub behind: Behind,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Where tasks are counted.
    pub tracker: TaskTracker,
}

/// What a door is in front of.
pub enum Behind {
    /// A seed.
    Seed(OpensWith),
    /// None yet.
    NoSeed(Arc<FirstSeed>),
}

/// Why it stays locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum StillLocked {
    /// Not the passphrase.
    #[error("That is not the passphrase.")]
    Wrong,
    /// Too many wrong ones lately.
    #[error("Too many wrong passphrases. Wait {secs} s and try again.")]
    Wait {
        /// Seconds until the next try is looked at.
        secs: u64,
    },
    /// Another one is being tried.
    #[error("Another passphrase is being tried at this moment. Try again in a second.")]
    Busy,
    /// There is nothing to unlock.
    #[error("There is no seed yet: open the one-time link that Tollhouse printed, which makes it.")]
    NoSeed,
    /// The seed could not be read.
    #[error("The seed could not be opened; the log says why.")]
    Broken,
}

/// The door.
pub struct Door {
    parts: DoorParts,
    hosts: hosts::HostList,
    backoff: Backoff,
    turn: Arc<Semaphore>,
    opened: Mutex<Option<oneshot::Sender<Secrets>>>,
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Door")
    }
}

impl Door {
    /// The door, and where the secrets come out once somebody opened it.
    pub fn new(parts: DoorParts) -> (Arc<Door>, oneshot::Receiver<Secrets>) {
        let (sender, receiver) = oneshot::channel();
        let door = Door {
            hosts: hosts::HostList::new(parts.listen, &parts.hosts),
            backoff: Backoff::new(Arc::clone(&parts.clock)),
            turn: Arc::new(Semaphore::new(1)),
            opened: Mutex::new(Some(sender)),
            parts,
        };
        (Arc::new(door), receiver)
    }

    /// The network that it is the door of.
    pub fn network(&self) -> bitcoin::Network {
        self.parts.network
    }

    /// Tries a passphrase. Once one was right, everything is: the appliance is on its way up.
    ///
    /// # Errors
    /// When it stays locked.
    pub async fn unlock(&self, passphrase: Passphrase) -> Result<(), StillLocked> {
        if self.first_seed().is_some() {
            return Err(StillLocked::NoSeed);
        }
        self.backoff.open().map_err(|secs| StillLocked::Wait { secs })?;
        let turn = Arc::clone(&self.turn).try_acquire_owned().map_err(|_| StillLocked::Busy)?;
        let (dir, network) = (self.parts.dir.clone(), self.parts.network);
        let entropy = Arc::clone(&self.parts.entropy);
        // The permit goes with the work: a client that leaves does not make room for the next one early.
        let trying = self.parts.tracker.spawn_blocking(move || {
            let opened =
                Secrets::open_or_create(&dir, network, &Opener::Passphrase(passphrase), entropy.as_ref());
            drop(turn);
            opened
        });
        match trying.await {
            Ok(Ok(secrets)) => {
                self.backoff.right();
                self.open(secrets);
                Ok(())
            }
            Ok(Err(SecretsError::WrongPassphrase { .. })) => {
                self.backoff.wrong("passphrase of the seed");
                Err(StillLocked::Wrong)
            }
            Ok(Err(error)) => {
                tracing::error!(%error, "the seed could not be opened");
                Err(StillLocked::Broken)
            }
            Err(error) => {
                tracing::error!(%error, "the seed could not be opened");
                Err(StillLocked::Broken)
            }
        }
    }

    /// The appliance goes on with these.
    pub fn open(&self, secrets: Secrets) {
        let waiting = self.opened.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waiting) = waiting
            && waiting.send(secrets).is_err()
        {
            tracing::debug!("unlocked while the appliance was told to stop");
        }
    }

    /// Whether a passphrase opens it at all; else only its key file does, or there is no seed yet.
    pub fn takes_passphrase(&self) -> bool {
        matches!(self.parts.behind, Behind::Seed(OpensWith { passphrase: true, .. }))
    }

    /// Makes the seed, where there is none yet.
    pub fn first_seed(&self) -> Option<&Arc<FirstSeed>> {
        match &self.parts.behind {
            Behind::NoSeed(first) => Some(first),
            Behind::Seed(_) => None,
        }
    }
}

/// Puts the walls around the door's `handlers`; everything else is answered 503 `locked`.
pub fn finish(handlers: Router<Arc<Door>>, door: Arc<Door>) -> Router {
    handlers
        .merge(files::router())
        .fallback(refuse)
        .method_not_allowed_fallback(refuse)
        .layer(DefaultBodyLimit::max(LARGEST_BODY_BYTES))
        .layer(middleware::from_fn_with_state(Arc::clone(&door), guard))
        .with_state(door)
}

async fn guard(State(door): State<Arc<Door>>, request: Request, next: Next) -> Response {
    armour::pass(&door.hosts, door.parts.entropy.as_ref(), request, next).await
}

/// What customers, and proxies that ask, are answered meanwhile.
pub fn closed() -> Router {
    Router::new().fallback(async || {
        let problem =
            problem("Nothing is sold at the moment: its operator has to unlock it. Try again later.");
        ([(http::header::CACHE_CONTROL, "no-store")], problem)
    })
}

async fn refuse() -> Problem {
    problem(
        "The seed is locked. Say its passphrase: `tollhouse unlock`, POST /api/v1/unlock, or this listener's page.",
    )
}

fn problem(detail: &'static str) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "locked", detail).retry_after(RETRY_SECS)
}
