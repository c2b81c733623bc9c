//! Makes channel state without a manager from the newest monitors that can be found.
//!
//! Why without: the library cannot read the manager, or there is none that is as new as the monitors, and
//! an old one would close channels with states that were revoked. The peer, told of an unknown channel, closes
//! it, and the monitors claim what is ours.
//!
//! Monitors alone close channels, too: when a payment in them comes near its end, and at the second start,
//! since the manager then knows none of them. With the newest state that is right. With one that may be older it
//! could cost all of a channel, so there it is made impossible ([`disarmed`]).

use std::path::{Path, PathBuf};

use super::mirror::Mirrored;
use super::place::{Place, replace};
use super::{RescueError, snapshot};
use crate::node::{
    MonitoredChannel, NodeSeed, UnreadableMonitors, disarmed, monitored_channels, survives_recovery,
};
use crate::store::{NodeStore, Reach, StoredBytes};
use crate::types::Timestamp;

/// Where the channels' newest states were found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// In `channels.db`.
    Store,
    /// In a recovery snapshot.
    Snapshot {
        /// The file.
        file: PathBuf,
        /// When it was written.
        written_at: Timestamp,
    },
    /// Nowhere: the seed alone is left.
    Seed,
}

/// What there is to recover from.
#[derive(Clone, Debug)]
pub struct Found {
    /// Where the best of it is.
    pub source: Source,
    /// Its generation; the seed has none.
    pub generation: Option<Reach>,
    /// Whether it has every channel's newest state; `None` when nothing tells.
    pub newest: Option<bool>,
    /// What could not be used, and why.
    pub passed_over: Vec<String>,
}

/// A way back that was looked at and not gone yet.
#[derive(Debug)]
pub struct Recovery {
    place: Place,
    found: Found,
    rows: Vec<StoredBytes>,
    known: Vec<Reach>,
}

struct Candidate {
    source: Source,
    generation: Reach,
    rows: Vec<StoredBytes>,
}

impl Recovery {
    /// Looks at what is there and changes nothing. `given` is a snapshot that lies elsewhere.
    ///
    /// # Errors
    /// When a snapshot that was named cannot be used.
    pub fn look(place: Place, given: Option<&Path>) -> Result<Recovery, RescueError> {
        let mut passed_over = Vec::new();
        let mut candidates = Vec::new();
        match from_store(&place) {
            Ok(Some(candidate)) => candidates.push(candidate),
            Ok(None) => {}
            Err(error) => passed_over.push(error.to_string()),
        }
        if let Some(file) = given {
            candidates.push(from_snapshot(&place, file)?.ok_or_else(|| {
                RescueError::file(file)(std::io::Error::from(std::io::ErrorKind::NotFound))
            })?);
        }
        for file in place.snapshots() {
            match from_snapshot(&place, &file) {
                Ok(Some(candidate)) => candidates.push(candidate),
                Ok(None) => {}
                Err(error) => passed_over.push(error.to_string()),
            }
        }
        let mirrored = Mirrored::read(&place).unwrap_or_else(|error| {
            passed_over.push(error.to_string());
            None
        });
        let told = mirrored.iter().map(|mirrored| &mirrored.generation);
        let known: Vec<Reach> =
            told.chain(candidates.iter().map(|candidate| &candidate.generation)).cloned().collect();
        let Some(best) = best(candidates, mirrored.as_ref()) else {
            let found = Found { source: Source::Seed, generation: None, newest: None, passed_over };
            return Ok(Recovery { place, found, rows: Vec::new(), known });
        };
        let Candidate { source, generation, rows } = best;
        let newest = is_newest(&generation, mirrored.as_ref());
        let found = Found { source, generation: Some(generation), newest, passed_over };
        Ok(Recovery { place, found, rows, known })
    }

    /// What was found.
    pub fn found(&self) -> &Found {
        &self.found
    }

    /// The channels in it.
    ///
    /// # Errors
    /// When a monitor cannot be read.
    pub fn channels(&self, seed: &NodeSeed) -> Result<Vec<MonitoredChannel>, UnreadableMonitors> {
        monitored_channels(&self.rows, seed, self.place.network)
    }

    /// Takes nothing for the newest: all of what is there may have been put back from a backup together.
    pub fn doubt(&mut self) {
        if self.found.newest == Some(true) {
            self.found.newest = None;
        }
    }

    /// Puts a store without a manager in place, with `more` rows in it; what was there is kept under a name
    /// that is given back, and so is the snapshot that is used. A crash at any moment leaves the one or the other. `now`
    /// tells this recovery from another one of the same source.
    ///
    /// # Errors
    /// When the disk fails; when a channel that may have moved on could still be closed by us.
    pub fn rebuild(
        self,
        seed: &NodeSeed,
        more: Vec<StoredBytes>,
        now: Timestamp,
    ) -> Result<Option<PathBuf>, RescueError> {
        let mut rows = self.rows;
        if self.found.newest != Some(true) {
            rows = disarmed(rows, seed, self.place.network)?;
        }
        if let Source::Snapshot { file, .. } = &self.found.source {
            // The next snapshot replaces it, with monitors that may be disarmed.
            replace(&free(&self.place, "snapshot")?, |kept| {
                std::io::copy(&mut std::fs::File::open(file)?, kept).map(drop)
            })?;
        }
        rows.extend(more);
        rebuild(&self.place, rows, &self.known, now)
    }
}

/// How far the count jumps: more than a node ever writes. So what was written after the recovered state, before
/// the recovery, never counts as reached by what is written after it.
pub(super) const JUMP: u64 = 1 << 32;

/// Where a count goes on. At least [`JUMP`] above all that are known, so that it is the newest from then on; and by
/// the time, so that it is also above what another recovery of the same source wrote, of which nothing is left here.
fn ahead(known: &[Reach], now: Timestamp) -> u64 {
    let jumped = known.iter().map(|generation| generation.number).max().unwrap_or(0).saturating_add(JUMP);
    let by_time = (now.millis() / 1_000).saturating_mul(A_SECOND);
    // What the file can hold.
    jumped.max(by_time.min(u64::MAX >> 2))
}

/// More than a node writes in a second.
const A_SECOND: u64 = 1 << 30;

fn rebuild(
    place: &Place,
    rows: Vec<StoredBytes>,
    known: &[Reach],
    now: Timestamp,
) -> Result<Option<PathBuf>, RescueError> {
    let path = place.store();
    let fresh = place.dir.join("channels.db.recovering");
    for end in ENDS {
        remove(&place.dir.join(format!("channels.db.recovering{end}")))?;
    }
    let number = ahead(known, now);
    match known.first() {
        Some(first) => {
            let ahead = Reach { lineage: first.lineage.clone(), number };
            NodeStore::create(&fresh, &ahead, &rows)?;
        }
        None => {
            let ahead = NodeStore::create_first(&fresh, &rows)?;
            tracing::debug!(lineage = ahead.lineage, "a new history of channel state begins");
        }
    }
    let aside = set_aside(place)?;
    for end in ["-wal", "-shm"] {
        // The database would replay it over what was rebuilt.
        let stray = with_end(&path, end);
        if stray.try_exists().map_err(RescueError::file(&stray))? {
            return Err(RescueError::file(&stray)(std::io::ErrorKind::AlreadyExists.into()));
        }
    }
    std::fs::rename(&fresh, &path).map_err(RescueError::file(&path))?;
    sync(&place.dir)?;
    let generation = NodeStore::open(&path)?.generation()?;
    Mirrored { channels_at: generation.number, generation, running: false, doubt: false }.write(place)?;
    Ok(aside)
}

/// A database's file, and those that the database keeps beside it.
const ENDS: [&str; 3] = ["", "-wal", "-shm"];

/// Gives the store a second name, under which it stays. What lies beside it goes there too, also without it.
fn set_aside(place: &Place) -> Result<Option<PathBuf>, RescueError> {
    let path = place.store();
    let Some(first) = ENDS.into_iter().find(|end| with_end(&path, end).exists()) else { return Ok(None) };
    let free = free(place, "db")?;
    if first.is_empty() && NodeStore::open(&path).and_then(NodeStore::fold).is_ok() {
        // All of it is in one file now.
        std::fs::hard_link(&path, &free).map_err(RescueError::file(&free))?;
    } else {
        // Whatever it is, it stays as it is.
        rename(&path, &free)?;
    }
    for end in ["-wal", "-shm"] {
        rename(&with_end(&path, end), &with_end(&free, end))?;
    }
    sync(&place.dir)?;
    Ok(Some(with_end(&free, first)))
}

/// A name under which nothing lies yet.
fn free(place: &Place, kind: &str) -> Result<PathBuf, RescueError> {
    let mut names =
        (1..=u16::MAX).map(|number| place.dir.join(format!("channels-before-recovery-{number}.{kind}")));
    let free = names.find(|name| !ENDS.iter().any(|end| with_end(name, end).exists()));
    free.ok_or_else(|| RescueError::file(&place.dir)(std::io::ErrorKind::AlreadyExists.into()))
}

fn rename(from: &Path, to: &Path) -> Result<(), RescueError> {
    match std::fs::rename(from, to) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(RescueError::file(from)(error)),
        _ => Ok(()),
    }
}

fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

fn remove(path: &Path) -> Result<(), RescueError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(RescueError::file(path)(error)),
        _ => Ok(()),
    }
}

fn sync(dir: &Path) -> Result<(), RescueError> {
    let synced = std::fs::File::open(dir).and_then(|dir| dir.sync_all());
    synced.map_err(RescueError::file(dir))
}

fn from_store(place: &Place) -> Result<Option<Candidate>, RescueError> {
    let path = place.store();
    if !path.try_exists().map_err(RescueError::file(&path))? {
        return Ok(None);
    }
    let (generation, rows) = NodeStore::open(&path)?.view(survives_recovery)?;
    Ok(Some(Candidate { source: Source::Store, generation, rows }))
}

fn from_snapshot(place: &Place, file: &Path) -> Result<Option<Candidate>, RescueError> {
    let contents = snapshot::read(place, file)?;
    Ok(contents.map(|snapshot::Contents { label, rows }| Candidate {
        source: Source::Snapshot { file: file.to_owned(), written_at: label.written_at },
        generation: label.generation,
        rows,
    }))
}

/// The newest of one history: of the mirror's, else of the first candidate's. Of equals the first, which
/// is the store, where there is one.
fn best(candidates: Vec<Candidate>, mirrored: Option<&Mirrored>) -> Option<Candidate> {
    let told = mirrored.map(|mirrored| mirrored.generation.lineage.clone());
    let any = |lineage: &String| candidates.iter().any(|one| one.generation.lineage == *lineage);
    let first = || candidates.first().map(|one| one.generation.lineage.clone());
    let lineage = told.filter(any).or_else(first)?;
    let ours = candidates.into_iter().filter(|one| one.generation.lineage == lineage);
    ours.rev().max_by_key(|one| one.generation.number)
}

/// Whether no channel changed later. Only an orderly stop proves that: what was written between the last look
/// and a crash is told by nothing but the store that has it, and whether this is that store cannot be seen. What
/// goes on beyond the mirror proves that the mirror is not of the last stop.
fn is_newest(generation: &Reach, mirrored: Option<&Mirrored>) -> Option<bool> {
    let mirrored = mirrored?;
    let same = generation.lineage == mirrored.generation.lineage;
    let reached = same && generation.number >= mirrored.channels_at;
    let beyond = same && generation.number > mirrored.generation.number;
    if reached && (mirrored.running || mirrored.doubt || beyond) { None } else { Some(reached) }
}

#[cfg(test)]
mod tests;
