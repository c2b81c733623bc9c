//! How far the ledger was, noted outside of it, so that an older copy in its place is found out.
//!
//! Invariants: what is noted was on disk in the ledger before, so an honest ledger is never behind it, whatever
//! crashes; a doubt leads to a new generation, never to a sale. It is noted at the start, at the stop and
//! every few seconds in between: an older copy that is put in place by hand after a crash may be those
//! few seconds behind unnoticed. `tollhouse backup restore` leaves no such gap.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use super::{LEDGER_FILE, whole};
use crate::clock::{Clock, Entropy};
use crate::secrets::{EpochFault, Epochs};
use crate::store::{Found, Ledger, Marks, NewGeneration, Opened, RESTORED, StoreError};
use crate::types::Timestamp;

const WITNESS_FILE: &str = "generation";
/// Between two notes at least.
const PAUSE: Duration = Duration::from_secs(2);

/// Why the ledger does not open.
#[derive(Debug, Error)]
pub enum OpenFault {
    /// The ledger itself.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A new key epoch could not begin.
    #[error("a new generation of the ledger needs a new key epoch: {0}")]
    Epoch(#[from] EpochFault),
    /// The note of how far it was.
    #[error("{path} cannot be used: {error}")]
    Witness {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// What is noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
struct Note {
    generation: u64,
    steps: u64,
    /// A copy was put in the ledger's place on purpose.
    #[serde(default)]
    restored: bool,
    /// When that copy was made.
    #[serde(default)]
    copy_made_at: Option<Timestamp>,
}

impl Note {
    const fn of(generation: u64, steps: u64) -> Note {
        Note { generation, steps, restored: false, copy_made_at: None }
    }
}

/// That the mark of a restore was written, and what was noted before it.
#[derive(Debug)]
pub struct Marked(Option<Note>);

const FIRST: Note = Note::of(1, 0);

/// The note beside one ledger.
#[derive(Clone, Debug)]
pub struct Witness {
    path: PathBuf,
}

impl Witness {
    /// The note in `dir`.
    pub fn of(dir: &Path) -> Witness {
        Witness { path: dir.join(WITNESS_FILE) }
    }

    /// Notes how far `ledger` is. Blocks for the disk elsewhere.
    ///
    /// # Errors
    /// When the ledger or the disk fails.
    pub async fn note(&self, ledger: &Ledger) -> Result<(), OpenFault> {
        let Marks { generation, steps } = ledger.marks().await?;
        let this = self.clone();
        let note = Note::of(generation, steps);
        let noted = tokio::task::spawn_blocking(move || this.put(note)).await;
        noted.unwrap_or_else(|_| Err(self.fault(io::Error::other("the task that writes it ended"))))
    }

    /// Notes it again and again while the ledger moves, until `stop`.
    pub async fn keep(self, ledger: Ledger, stop: CancellationToken) {
        let mut news = ledger.watch();
        let mut told = false;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                changed = news.changed() => if changed.is_err() { return },
            }
            match self.note(&ledger).await {
                Ok(()) => told = false,
                Err(OpenFault::Store(StoreError::Closed)) => return,
                // It only falls behind, which is safe; yet an old copy would be found out later.
                Err(error) if !told => {
                    told = true;
                    tracing::warn!(%error, "how far the ledger is could not be noted beside it");
                }
                Err(_) => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    /// Notes that a copy is about to take the ledger's place: the next start begins a new generation, above the one
    /// that is noted and above `generation`, whichever of the two ledgers it finds then.
    /// The copy was made at `copy_made_at`.
    ///
    /// # Errors
    /// When the disk fails; what was noted stands then.
    pub fn restored(&self, generation: u64, copy_made_at: Timestamp) -> Result<Marked, OpenFault> {
        let noted = self.read()?;
        let before = noted.unwrap_or(FIRST);
        let generation = before.generation.max(generation);
        let noted_now = Note::of(generation, before.steps);
        self.put(Note { restored: true, copy_made_at: Some(copy_made_at), ..noted_now })?;
        Ok(Marked(noted))
    }

    /// Takes that back: the ledger that was there is in its place, and none came.
    ///
    /// # Errors
    /// When the disk fails: the next start may begin a new generation then, which is safe.
    pub fn take_back(&self, marked: Marked) -> Result<(), OpenFault> {
        let removed = match marked.0 {
            Some(note) => return self.put(note),
            None => std::fs::remove_file(&self.path),
        };
        removed.and_then(|()| whole::sync_dir(whole::dir_of(&self.path))).map_err(|error| self.fault(error))
    }

    /// What is noted; `None` when nothing is, or nothing that can be read.
    fn read(&self) -> Result<Option<Note>, OpenFault> {
        match std::fs::read(&self.path) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes)
                .inspect_err(|error| {
                    tracing::error!(path = %self.path.display(), %error, "the note beside the ledger is damaged");
                })
                .ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.fault(error)),
        }
    }

    fn put(&self, note: Note) -> Result<(), OpenFault> {
        let text = serde_json::to_vec(&note).map_err(|error| self.fault(error.into()))?;
        whole::put(&self.path, &text).map_err(|error| self.fault(error))
    }

    fn fault(&self, error: io::Error) -> OpenFault {
        OpenFault::Witness { path: self.path.clone(), error }
    }
}

/// Opens the ledger in `dir`. Where it is behind what was noted of it, a new key epoch and a new generation
/// begin: tokens of the epochs before are refused until they are honoured, and nothing is sent until
/// the operator says so. Blocks.
///
/// # Errors
/// When the ledger, the keys or the note cannot be used.
pub fn open_ledger(
    dir: &Path,
    epochs: &Epochs,
    clock: Arc<dyn Clock>,
    entropy: &dyn Entropy,
) -> Result<(Ledger, Opened), OpenFault> {
    let (path, witness) = (dir.join(LEDGER_FILE), Witness::of(dir));
    let (found, noted) = (Ledger::marks_of(&path)?, witness.read()?);
    let Some((before, why)) = doubt(found, noted) else {
        if noted.is_none() {
            // Before the ledger is: else a crash in between would look like a note that was lost.
            witness.put(FIRST)?;
        }
        return Ok(Ledger::open(&path, clock)?);
    };
    let doubtful_below = epochs.rotate(entropy)?;
    let number = before.saturating_add(1);
    let copy_made_at = noted.filter(|note| note.restored).and_then(|note| note.copy_made_at);
    let opened =
        Ledger::open_anew(&path, clock, NewGeneration { number, doubtful_below, why, copy_made_at })?;
    tracing::error!(
        generation = number,
        why,
        "another copy of the ledger took its place: tokens from before are refused (`restored_ledger`) until you \
         honour them with `tollhouse tokens honour`, and nothing is sent until you run `tollhouse backup \
         release-payouts`"
    );
    witness.put(Note::of(number, 0))?;
    Ok(opened)
}

/// The highest generation known and the reason, when what was found cannot be what was there last.
fn doubt(found: Found, noted: Option<Note>) -> Option<(u64, &'static str)> {
    let marked = match found {
        Found::Marked(marks) => marks,
        Found::Missing | Found::Unmarked => Marks { generation: 0, steps: 0 },
    };
    let highest = marked.generation.max(noted.map_or(0, |note| note.generation));
    let why = match (found, noted) {
        (_, Some(Note { restored: true, .. })) => RESTORED,
        (Found::Missing | Found::Unmarked, None | Some(FIRST)) => return None,
        (Found::Missing, Some(_)) => "new_ledger",
        (Found::Unmarked, Some(_)) => "old_copy",
        (Found::Marked(_), None) => "unwitnessed",
        (Found::Marked(marks), Some(note))
            if marks.generation == note.generation && marks.steps >= note.steps =>
        {
            return None;
        }
        (Found::Marked(_), Some(_)) => "old_copy",
    };
    Some((highest, why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_behind_its_note_is_doubted_and_an_honest_one_is_not() {
        let at = |generation, steps| Found::Marked(Marks { generation, steps });
        let note = |generation, steps| Some(Note::of(generation, steps));
        for honest in [
            (Found::Missing, None),
            (Found::Missing, note(1, 0)),
            (Found::Unmarked, None),
            (Found::Unmarked, note(1, 0)),
            (at(1, 1), note(1, 0)),
            (at(1, 7), note(1, 7)),
            (at(3, 9), note(3, 7)),
        ] {
            assert_eq!(doubt(honest.0, honest.1), None, "{honest:?}");
        }
        for (found, noted, before, why) in [
            (Found::Missing, note(1, 1), 1, "new_ledger"),
            (Found::Missing, note(2, 0), 2, "new_ledger"),
            (Found::Unmarked, note(1, 5), 1, "old_copy"),
            (at(1, 6), note(1, 7), 1, "old_copy"),
            (at(1, 90), note(2, 7), 2, "old_copy"),
            (at(3, 9), note(2, 7), 3, "old_copy"),
            (at(2, 9), None, 2, "unwitnessed"),
            (at(2, 9), Some(Note { restored: true, ..Note::of(2, 9) }), 2, "restored"),
            (at(1, 9), Some(Note { restored: true, ..Note::of(4, 9) }), 4, "restored"),
        ] {
            assert_eq!(doubt(found, noted), Some((before, why)));
        }
    }
}
