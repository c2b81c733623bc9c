//! What is known outside of `channels.db` of how far it got.

use std::io::Write;

use serde::{Deserialize, Serialize};

use super::place::{Place, replace};
use super::{RescueError, snapshot};
use crate::store::Reach;

/// How far the channel state got, as was last seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mirrored {
    /// All writes. A store behind this is an old copy.
    #[serde(flatten)]
    pub generation: Reach,
    /// The count when a channel had changed last. A snapshot that is not behind this has every channel's
    /// newest state, however many writes of other kinds came after.
    pub channels_at: u64,
    /// It was not stopped in order since: writes may have come that nothing here tells of. A file of an older
    /// version does not say.
    #[serde(default = "unsaid")]
    pub running: bool,
    /// It was found after no orderly stop, and the node did not come up with it since.
    #[serde(default)]
    pub doubt: bool,
}

fn unsaid() -> bool {
    true
}

impl Mirrored {
    /// What the file says; `None` when there is none.
    pub(super) fn read(place: &Place) -> Result<Option<Mirrored>, RescueError> {
        let path = place.mirror();
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(RescueError::file(&path)(error)),
        };
        let read = serde_json::from_str(&text);
        read.map(Some).map_err(|_| RescueError::Damaged { path, what: "it does not say a generation" })
    }

    pub(super) fn write(&self, place: &Place) -> Result<(), RescueError> {
        let text = serde_json::to_string(self).expect("names, numbers and yes or no are JSON");
        replace(&place.mirror(), |file| writeln!(file, "{text}"))?;
        Ok(())
    }
}

/// The newest that anything outside of the store says, and what says so.
pub(super) fn newest(place: &Place) -> Result<Option<(Reach, std::path::PathBuf)>, RescueError> {
    let mut known = Vec::new();
    if let Some(mirrored) = Mirrored::read(place)? {
        known.push((mirrored.generation, place.mirror()));
    }
    for path in place.snapshots() {
        // A snapshot that cannot be read says nothing; the next one replaces it.
        if let Ok(Some(label)) = snapshot::label(place, &path) {
            known.push((label.generation, path));
        }
    }
    // The mirror's own history first: a snapshot of another one may lie in a shared directory.
    let lineage = known.first().map(|(generation, _)| generation.lineage.clone());
    let ours = known.into_iter().filter(|(generation, _)| Some(&generation.lineage) == lineage.as_ref());
    // Of equals the first is named: the mirror itself.
    Ok(ours.rev().max_by_key(|(generation, _)| generation.number))
}
