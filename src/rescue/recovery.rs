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
    /// that is given back, and so is the snapshot that is used. A crash at any moment leaves the one or the other.
    ///
    /// # Errors
    /// When the disk fails; when a channel that may have moved on could still be closed by us.
    pub fn rebuild(self, seed: &NodeSeed, more: Vec<StoredBytes>) -> Result<Option<PathBuf>, RescueError> {
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
        rebuild(&self.place, rows, &self.known)
    }
}

/// How far the count jumps: more than a node ever writes. So what was written after the recovered state, before
/// the recovery, never counts as reached by what is written after it.
pub(super) const JUMP: u64 = 1 << 32;

/// The new store's count goes on far above all that are known, so that it is the newest from then on.
fn rebuild(place: &Place, rows: Vec<StoredBytes>, known: &[Reach]) -> Result<Option<PathBuf>, RescueError> {
    let path = place.store();
    let fresh = place.dir.join("channels.db.recovering");
    for end in ENDS {
        remove(&place.dir.join(format!("channels.db.recovering{end}")))?;
    }
    let number = known.iter().map(|generation| generation.number).max().unwrap_or(0).saturating_add(JUMP);
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
mod tests {
    use super::*;
    use crate::ports::{KeyValue, KvKey};

    fn candidate(source: Source, lineage: &str, number: u64) -> Candidate {
        let generation = Reach { lineage: lineage.to_owned(), number };
        Candidate { source, generation, rows: Vec::new() }
    }

    fn snapshot(name: &str) -> Source {
        Source::Snapshot { file: name.into(), written_at: Timestamp::default() }
    }

    fn mirrored(lineage: &str, number: u64, channels_at: u64) -> Mirrored {
        let generation = Reach { lineage: lineage.to_owned(), number };
        Mirrored { generation, channels_at, running: false, doubt: false }
    }

    #[test]
    fn the_newest_of_the_right_history_is_taken() {
        let table = [
            // Store, snapshot, its copy elsewhere; what the mirror says; what is taken, and whether it is newest.
            (Some(("a", 9)), Some(("a", 7)), None, Some(("a", 9, 8)), Source::Store, Some(true)),
            (Some(("a", 5)), Some(("a", 7)), None, Some(("a", 9, 7)), snapshot("s"), Some(true)),
            (Some(("a", 5)), Some(("a", 7)), Some(("a", 8)), Some(("a", 9, 9)), snapshot("t"), Some(false)),
            (Some(("b", 99)), Some(("a", 7)), None, Some(("a", 9, 7)), snapshot("s"), Some(true)),
            (Some(("b", 99)), None, None, Some(("a", 9, 7)), Source::Store, Some(false)),
            (None, Some(("a", 7)), Some(("a", 7)), None, snapshot("s"), None),
            (Some(("a", 7)), Some(("a", 7)), None, None, Source::Store, None),
            // The node ran on after the image that the mirror came back with.
            (Some(("a", 9)), None, Some(("a", 12)), Some(("a", 9, 8)), snapshot("t"), None),
            (None, None, Some(("a", 12)), Some(("a", 9, 8)), snapshot("t"), None),
            // From before a recovery from 9, after which the node ran on to its 30th write.
            (None, None, Some(("a", 50)), Some(("a", 9 + JUMP + 30, 9 + JUMP)), snapshot("t"), Some(false)),
        ];
        for (number, (store, first, second, mirror, taken, newest)) in table.into_iter().enumerate() {
            let sources = [(Source::Store, store), (snapshot("s"), first), (snapshot("t"), second)];
            let candidates = sources.into_iter().filter_map(|(source, found)| {
                let (lineage, number) = found?;
                Some(candidate(source, lineage, number))
            });
            let mirror = mirror.map(|(lineage, number, at)| mirrored(lineage, number, at));
            let best = best(candidates.collect(), mirror.as_ref()).unwrap();
            assert_eq!(best.source, taken, "row {number}");
            assert_eq!(is_newest(&best.generation, mirror.as_ref()), newest, "row {number}");
            // After a crash nothing is proved, but what is known to be old stays so.
            let known = newest.filter(|newest| !newest);
            for (running, doubt) in [(true, false), (false, true)] {
                let crashed = mirror.clone().map(|mirror| Mirrored { running, doubt, ..mirror });
                assert_eq!(is_newest(&best.generation, crashed.as_ref()), known, "row {number}");
            }
        }
        assert!(best(Vec::new(), None).is_none());
    }

    fn place(dir: &Path) -> Place {
        let (node_id, key) = ("02ab".to_owned(), zeroize::Zeroizing::new([1; 32]));
        Place { dir: dir.to_owned(), second: None, network: bitcoin::Network::Regtest, node_id, key }
    }

    fn row(value: &[u8]) -> StoredBytes {
        let (primary, key) = ("monitors".to_owned(), "aa_0".to_owned());
        StoredBytes { primary, secondary: String::new(), key, value: value.to_owned() }
    }

    #[test]
    fn a_rebuilt_store_counts_far_above_what_was_known() {
        let folder = tempfile::tempdir().unwrap();
        let place = place(folder.path());
        let known = [9, 7].map(|number| Reach { lineage: "a".to_owned(), number });
        rebuild(&place, vec![row(b"one")], &known).unwrap();
        let (generation, rows) = NodeStore::open(&place.store()).unwrap().view(|_, _, _| true).unwrap();
        assert_eq!((generation.number, rows), (9 + JUMP, vec![row(b"one")]));
        let mirrored = Mirrored::read(&place).unwrap();
        assert_eq!(is_newest(&generation, mirrored.as_ref()), Some(true));
    }

    #[test]
    fn a_log_without_its_file_is_moved_out_of_the_way() {
        let folder = tempfile::tempdir().unwrap();
        let place = place(folder.path());
        let old = NodeStore::open(&place.store()).unwrap();
        let key = KvKey { primary: "monitors", secondary: "", key: "aa_0" };
        old.write(&key, b"old").unwrap();
        let log = with_end(&place.store(), "-wal");
        let written = std::fs::read(&log).unwrap();
        assert!(!written.is_empty());
        drop(old);
        std::fs::remove_file(place.store()).unwrap();
        std::fs::write(&log, &written).unwrap();

        let aside = rebuild(&place, vec![row(b"new")], &[]).unwrap().unwrap();
        assert_eq!(std::fs::read(aside).unwrap(), written, "it is kept");
        let rebuilt = NodeStore::open(&place.store()).unwrap();
        assert_eq!(rebuilt.read(&key).unwrap().as_deref(), Some(&b"new"[..]));
        // The store that is there is set aside with all that it has, under another name.
        rebuilt.write(&key, b"newer").unwrap();
        drop(rebuilt);
        let aside = rebuild(&place, vec![row(b"newest")], &[]).unwrap().unwrap();
        let aside = NodeStore::open(&aside).unwrap();
        assert_eq!(aside.read(&key).unwrap().as_deref(), Some(&b"newer"[..]));
    }

    #[test]
    fn the_snapshot_that_is_used_is_kept_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let place = place(folder.path());
        std::fs::write(place.snapshot(), b"sealed").unwrap();
        for number in 1..3 {
            let source = Source::Snapshot { file: place.snapshot(), written_at: Timestamp::default() };
            let found = Found { source, generation: None, newest: Some(true), passed_over: Vec::new() };
            let recovery =
                Recovery { place: place.clone(), found, rows: vec![row(b"one")], known: Vec::new() };
            recovery.rebuild(&NodeSeed::new(&[1; 64]), Vec::new()).unwrap();
            let kept = folder.path().join(format!("channels-before-recovery-{number}.snapshot"));
            assert_eq!(std::fs::read(kept).unwrap(), b"sealed");
        }
    }
}
