//! The directory that backups lie in. Several appliances may share it: names say whose they are, and sort by
//! time. So may several ledgers of one seed, one after the other: what none but another of them can have made is
//! never removed.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use time::format_description::FormatItem;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

use crate::types::Timestamp;

const MOMENT: &[FormatItem<'_>] =
    format_description!("[year][month][day]T[hour][minute][second].[subsecond digits:3]Z");
/// So many names are tried for one that is free.
const MOMENTS: u64 = 100_000;
const ENDING: &str = ".backup";
/// As much of the node's public key as tells nodes apart.
const NODE: usize = 12;

/// A backup that lies there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Shelved {
    /// Its name.
    pub file: String,
    /// Its length.
    pub bytes: u64,
    /// When it was made, by its name.
    pub created_at: Timestamp,
    /// This ledger made it, by its own log. One of another ledger of the same seed, such as the one that a dead disk
    /// took, is never removed.
    pub of_this_ledger: bool,
    /// This ledger was brought back from it. Its log, which ends with the copy, does not tell of it; it is never removed
    /// either.
    pub came_from: bool,
}

/// The directory, as one node uses it.
#[derive(Clone, Debug)]
pub(super) struct Shelf {
    dir: PathBuf,
    /// How names of this node's backups begin.
    prefix: String,
}

impl Shelf {
    pub(super) fn new(dir: PathBuf, network: &str, node_id: &str) -> Shelf {
        let node = node_id.get(..NODE).unwrap_or(node_id);
        Shelf { dir, prefix: format!("tollhouse-{network}-{node}-") }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The name of a backup that is made at `at`.
    pub(super) fn name(&self, at: Timestamp) -> String {
        let ms = i128::from(at.millis());
        let moment =
            OffsetDateTime::from_unix_timestamp_nanos(ms * 1_000_000).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        format!("{}{}{ENDING}", self.prefix, moment.format(MOMENT).unwrap_or_default())
    }

    /// The name of one that is made at `at`, or in the first millisecond after it whose name is free: the time that is told
    /// may stand still.
    pub(super) fn free_name(&self, at: Timestamp) -> io::Result<(String, Timestamp)> {
        for ms in 0..MOMENTS {
            let at = at.plus(Duration::from_millis(ms));
            let file = self.name(at);
            match std::fs::symlink_metadata(self.dir.join(&file)) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((file, at)),
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// The path of a backup of this node; `None` for any other name.
    pub(super) fn path(&self, file: &str) -> Option<PathBuf> {
        self.moment(file).map(|_| self.dir.join(file))
    }

    /// This node's backups, the newest first; `own` are those that this ledger made. None when the directory is not
    /// there yet.
    pub(super) fn list(&self, own: &HashSet<String>) -> io::Result<Vec<Shelved>> {
        let entries = match std::fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut all = Vec::new();
        for entry in entries {
            let entry = entry?;
            let Ok(file) = entry.file_name().into_string() else { continue };
            let Some(created_at) = self.moment(&file) else { continue };
            let of_this_ledger = own.contains(&file);
            all.push(Shelved {
                file,
                bytes: entry.metadata()?.len(),
                created_at,
                of_this_ledger,
                came_from: false,
            });
        }
        all.sort_by(|one, other| other.file.cmp(&one.file));
        Ok(all)
    }

    /// Removes all but the newest `keep` of `own` that are `whole`, and nothing else; gives how many went.
    pub(super) fn keep(
        &self,
        keep: usize,
        own: &HashSet<String>,
        whole: impl Fn(&Path, &Shelved) -> bool,
    ) -> io::Result<usize> {
        let all = self.list(own)?.into_iter().map(|one| (self.dir.join(&one.file), one));
        let ours = all.filter(|(path, one)| one.of_this_ledger && whole(path, one));
        let mut gone = 0;
        for (path, _) in ours.skip(keep.max(1)) {
            std::fs::remove_file(path)?;
            gone += 1;
        }
        Ok(gone)
    }

    fn moment(&self, file: &str) -> Option<Timestamp> {
        let text = file.strip_prefix(&self.prefix)?.strip_suffix(ENDING)?;
        let moment = PrimitiveDateTime::parse(text, MOMENT).ok()?.assume_utc();
        let ms = moment.unix_timestamp_nanos() / 1_000_000;
        u64::try_from(ms).ok().map(Timestamp::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_whose_and_when_and_the_oldest_go_first() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("backups");
        let shelf = |node: &str| Shelf::new(dir.clone(), "regtest", node);
        let (ours, other) = (shelf("02aabbccddeeff"), shelf("03aabbccddeeff"));
        assert_eq!(ours.list(&HashSet::new()).unwrap(), []);
        std::fs::create_dir(&dir).unwrap();
        let at = |n: u64| Timestamp::from_millis(1_760_000_000_123 + n * 1_000);
        assert_eq!(ours.name(at(0)), "tollhouse-regtest-02aabbccddee-20251009T085320.123Z.backup");
        for n in [3, 1, 2] {
            std::fs::write(dir.join(ours.name(at(n))), "x").unwrap();
        }
        std::fs::write(dir.join(other.name(at(9))), "x").unwrap();
        std::fs::write(dir.join("notes.txt"), "x").unwrap();
        let times = |shelf: &Shelf| {
            shelf.list(&HashSet::new()).unwrap().iter().map(|one| one.created_at).collect::<Vec<_>>()
        };
        let own: HashSet<String> = [1, 2, 3].map(|n| ours.name(at(n))).into();
        let any = |_: &Path, _: &Shelved| true;
        assert_eq!(times(&ours), [at(3), at(2), at(1)]);
        assert_eq!(ours.keep(1, &HashSet::new(), any).unwrap(), 0, "another ledger's stay");
        assert_eq!(ours.keep(1, &own, |_, _| false).unwrap(), 0, "what cannot be read stays");
        assert_eq!(ours.keep(2, &own, any).unwrap(), 1);
        assert_eq!(times(&ours), [at(3), at(2)]);
        assert_eq!(ours.keep(0, &own, any).unwrap(), 1, "the newest stays whatever is asked for");
        assert_eq!(times(&other), [at(9)]);
        for foreign in ["../ledger.db", "notes.txt", &other.name(at(9)), &ours.name(at(1)).to_lowercase()] {
            assert_eq!(ours.path(foreign), None, "{foreign}");
        }
        assert_eq!(ours.path(&ours.name(at(3))), Some(dir.join(ours.name(at(3)))));
    }
}
