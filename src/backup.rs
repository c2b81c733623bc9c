//! The ledger's safety: copies of it that can be proved, and what must not follow from bringing one back.
//!
//! Invariants: a copy is whole and was opened again before it takes its name, and only then does the oldest
//! one of the same ledger go; it can be read with the seed alone; channel state is never in it. A restored ledger never un-spends
//! (MONEY rule 10): beside the ledger lies a witness that says how far it was, and where it is behind
//! that, a new generation begins. A whole directory that was rolled back cannot be told from an honest one.

mod destination;
mod fault;
mod format;
mod moving;
mod restore;
mod sealing;
mod shelf;
mod whole;
mod witness;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::clock::{Clock, Entropy, Past};
use crate::event::Event;
use crate::secrets::Epochs;
use crate::store::Ledger;

pub use destination::{Destination, DestinationFault};
pub use fault::BackupFault;
pub use format::{FormatFault, Manifest, PURPOSE};
pub use moving::{MoveCode, MoveFault, Moved, Moving, Piece, import, refuse_if_moved};
pub use restore::{Restored, Verified, restore, verify};
pub use sealing::clear_leftovers;
pub use shelf::Shelved;
pub use witness::{OpenFault, Witness, open_ledger};

use sealing::{is_own, manifest, shelve, temporary};
use shelf::Shelf;

/// The ledger's file in a network's directory.
pub const LEDGER_FILE: &str = "ledger.db";
/// After a failure the next try comes so soon, if not sooner by the schedule.
const RETRY: Duration = Duration::from_secs(3_600);
/// The schedule is looked at this often.
const LOOK: Duration = Duration::from_secs(30);

/// When backups are made, and where they go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupConfig {
    /// Where they go; without it none are made.
    pub dir: Option<PathBuf>,
    /// How often.
    pub every: Duration,
    /// How many are kept.
    pub keep: usize,
}

impl Default for BackupConfig {
    /// Nowhere; daily; two weeks of them.
    fn default() -> BackupConfig {
        BackupConfig { dir: None, every: Duration::from_secs(86_400), keep: 14 }
    }
}

/// Whose backups they are, and what opens them.
#[derive(Clone)]
pub struct Owner {
    /// The key that the seed gives for [`PURPOSE`].
    pub key: Zeroizing<[u8; 32]>,
    /// The node's network, as its directory is called.
    pub network: String,
    /// The node's public key.
    pub node_id: String,
}

impl std::fmt::Debug for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Owner").field("node_id", &self.node_id).finish_non_exhaustive()
    }
}

/// What backups are made of.
#[derive(Clone)]
pub struct BackupsParts {
    /// What is copied.
    pub ledger: Ledger,
    /// The tokens' master keys, which go along.
    pub epochs: Arc<Epochs>,
    /// Whose they are.
    pub owner: Owner,
    /// The network's directory, where a copy lies until it is sealed.
    pub data: PathBuf,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness for sealing.
    pub entropy: Arc<dyn Entropy>,
}

/// How backups stand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Standing {
    /// Where they go.
    pub dir: Option<PathBuf>,
    /// Whether that is on another file system than the data; nothing where nobody can tell, as before the first one.
    pub apart: Option<bool>,
    /// How often, in seconds.
    pub every_seconds: u64,
    /// How many are kept.
    pub keep: usize,
    /// The newest that this ledger made.
    pub newest: Option<Shelved>,
    /// Copies of other lives of the ledger, beside those that this one was brought back from; never removed.
    pub others: u64,
    /// Why the last try failed, when it did.
    pub failed: Option<String>,
}

/// Makes backups, and knows those that there are.
pub struct Backups {
    parts: BackupsParts,
    config: BackupConfig,
    shelf: Option<Shelf>,
    /// One at a time.
    turn: tokio::sync::Mutex<()>,
    /// Whether this ledger made a file, as far as that was asked: neither answer changes while it is open.
    made_here: Mutex<HashMap<String, bool>>,
    failed: Mutex<Option<String>>,
    /// When the one was made that was last asked for.
    newest: Mutex<Option<Past>>,
}

impl std::fmt::Debug for Backups {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backups").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Backups {
    /// Backups of one ledger.
    pub fn new(parts: BackupsParts, config: BackupConfig) -> Arc<Backups> {
        let shelf = config.dir.clone().map(|dir| Shelf::new(dir, &parts.owner.network, &parts.owner.node_id));
        Arc::new(Backups {
            parts,
            config,
            shelf,
            turn: tokio::sync::Mutex::default(),
            made_here: Mutex::default(),
            failed: Mutex::default(),
            newest: Mutex::default(),
        })
    }

    /// Makes one now, opens it again, and removes the oldest of more than are kept. Either way it is told in
    /// the log.
    ///
    /// # Errors
    /// When there is nowhere to put it, or a step fails; nothing was removed then.
    pub async fn make(&self) -> Result<Shelved, BackupFault> {
        let _mine = self.turn.lock().await;
        let made = self.make_one().await;
        let event = match &made {
            Ok(made) => Event::BackupMade { file: made.file.clone(), bytes: made.bytes },
            Err(fault) => Event::BackupFailed { reason: fault.to_string() },
        };
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) =
            made.as_ref().err().map(ToString::to_string);
        if let Err(error) = self.parts.ledger.log(event).await {
            tracing::warn!(%error, "a backup could not be noted in the log");
        }
        made
    }

    async fn make_one(&self) -> Result<Shelved, BackupFault> {
        let shelf = self.shelf.clone().ok_or(BackupFault::NoDir)?;
        let data = self.parts.data.clone();
        let temporary = temporary(&data)?;
        self.parts.ledger.barrier().await;
        self.parts.ledger.copy_to(temporary.path()).await?;
        // Those before it are known before it goes among them.
        let mut own = self.own(&shelf).await?;
        let (there, now) = (shelf.clone(), self.parts.clock.now());
        let named = move || there.free_name(now).map_err(|error| BackupFault::file(there.dir(), error));
        let (file, created_at) = blocking(named).await?;
        self.made_here().insert(file.clone(), true);
        own.insert(file.clone());
        let (parts, keep) = (self.parts.clone(), self.config.keep);
        let made = blocking(move || {
            let report = Ledger::audit_file(temporary.path())?;
            let mut copy =
                File::open(temporary.path()).map_err(|error| BackupFault::file(temporary.path(), error))?;
            let manifest = manifest(&parts.owner, &mut copy, temporary.path(), &report, created_at)?;
            let bytes = shelve(&parts, &shelf, &file, &manifest, &mut copy)?;
            // One with wrong books is better than none, and worse than the ones before it.
            if report.ok {
                let whole = |path: &Path, one: &Shelved| is_own(path, one, &parts.owner);
                shelf.keep(keep, &own, whole).map_err(|error| BackupFault::file(shelf.dir(), error))?;
            } else {
                tracing::error!(file, "the books in the new backup are wrong: no older one was removed");
            }
            Ok(Shelved { file, bytes, created_at, of_this_ledger: true, came_from: false })
        })
        .await;
        if made.is_err() {
            // Whatever lies there under its name was not made: it is asked for again, and stays in doubt.
            self.made_here().retain(|_, own| !*own);
        }
        made
    }

    /// Those on the shelf that this ledger made: its log says so of each. A copy that was restored knows those
    /// from before it, and nothing of those that were made after it.
    async fn own(&self, shelf: &Shelf) -> Result<HashSet<String>, BackupFault> {
        let there = shelf.clone();
        let none = HashSet::new();
        let there =
            blocking(move || there.list(&none).map_err(|error| BackupFault::file(there.dir(), error)))
                .await?;
        let unknown: HashSet<String> = {
            let known = self.made_here();
            there.iter().map(|one| &one.file).filter(|file| !known.contains_key(*file)).cloned().collect()
        };
        if !unknown.is_empty() {
            let logged = self.parts.ledger.backups_among(unknown.clone()).await?;
            self.made_here().extend(unknown.into_iter().map(|file| {
                let own = logged.contains(&file);
                (file, own)
            }));
        }
        let known = self.made_here();
        Ok(there.into_iter().map(|one| one.file).filter(|file| known.get(file) == Some(&true)).collect())
    }

    fn made_here(&self) -> MutexGuard<'_, HashMap<String, bool>> {
        self.made_here.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those that there are, the newest first.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub async fn list(&self) -> Result<Vec<Shelved>, BackupFault> {
        let Some(shelf) = self.shelf.clone() else { return Ok(Vec::new()) };
        let own = self.own(&shelf).await?;
        let lives = self.parts.ledger.generations().await?;
        let mut all =
            blocking(move || shelf.list(&own).map_err(|error| BackupFault::file(shelf.dir(), error))).await?;
        for one in all.iter_mut().filter(|one| !one.of_this_ledger) {
            one.came_from = lives.iter().any(|life| life.copy_made_at == Some(one.created_at));
        }
        Ok(all)
    }

    /// How they stand. A directory that cannot be read has none.
    pub async fn standing(&self) -> Standing {
        let all = self.list().await.unwrap_or_default();
        let (own, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|one| one.of_this_ledger);
        Standing {
            dir: self.config.dir.clone(),
            apart: self.are_apart().await,
            every_seconds: self.config.every.as_secs(),
            keep: self.config.keep,
            newest: own.into_iter().next(),
            others: u64::try_from(others.iter().filter(|one| !one.came_from).count()).unwrap_or(u64::MAX),
            failed: self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    async fn are_apart(&self) -> Option<bool> {
        let place = Destination::new(self.config.dir.clone()?, self.parts.data.clone());
        // A disk on the network may be slow to say so.
        tokio::task::spawn_blocking(move || place.is_apart().ok()).await.ok().flatten()
    }

    /// Opens one of them, and audits the ledger in it.
    ///
    /// # Errors
    /// When there is no such backup, or it is not good.
    pub async fn verify(&self, file: &str) -> Result<Verified, BackupFault> {
        let (path, owner, data) = (self.path(file)?, self.parts.owner.clone(), self.parts.data.clone());
        blocking(move || verify(&path, &owner, &data)).await
    }

    /// Where one of them lies.
    ///
    /// # Errors
    /// When there is no such backup.
    pub fn path(&self, file: &str) -> Result<PathBuf, BackupFault> {
        let shelf = self.shelf.as_ref().ok_or(BackupFault::NoDir)?;
        let found = shelf.path(file).filter(|path| path.is_file());
        found.ok_or_else(|| BackupFault::Unknown { file: file.to_owned(), dir: shelf.dir().to_owned() })
    }

    /// How long ago `one` was made, by the time that is told or by the steady count, whichever is longer.
    pub fn age_of(&self, one: &Shelved) -> Duration {
        let clock = &*self.parts.clock;
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let known = newest.filter(|past| past.then() == one.created_at);
        newest.insert(known.unwrap_or_else(|| Past::new(one.created_at, clock))).age(clock)
    }

    async fn is_due(&self) -> bool {
        match self.list().await {
            Ok(all) => {
                let newest = all.iter().find(|one| one.of_this_ledger);
                newest.is_none_or(|one| self.age_of(one) >= self.config.every)
            }
            // It fails in the making, too, and is told there.
            Err(_) => true,
        }
    }

    /// Makes them when they are due, until `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        if self.shelf.is_none() {
            return;
        }
        let mut not_before = Duration::ZERO;
        loop {
            let now = self.parts.clock.steady();
            if now >= not_before
                && self.is_due().await
                && let Err(fault) = self.make().await
            {
                tracing::error!(%fault, "no backup could be made");
                not_before = now.saturating_add(RETRY.min(self.config.every));
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BackupFault> + Send + 'static,
) -> Result<T, BackupFault> {
    tokio::task::spawn_blocking(work).await.map_err(|_| BackupFault::BrokenOff)?
}

#[cfg(test)]
mod tests;
