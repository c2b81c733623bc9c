//! What a disk may hold after the power went.
//!
//! The model: what a sync covered that ended before the cut is there. Of the writes after it, any subset
//! is there, in any order, each torn at the borders of 512 bytes; a file may have grown without its
//! content (then it reads as zeros). Names (files made and removed) come back in order, but only up to
//! some point after the last sync of the folder.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use super::recording::{Deed, FileId, Recording, SAID, Step};
use crate::chance::Chance;

const SECTOR: u64 = 512;

/// Which of the unsynced writes a cut leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// None.
    Lost,
    /// All.
    Kept,
    /// The first ones; the last of them torn.
    First,
    /// The last ones: the disk wrote them first.
    Last,
    /// Some whole writes.
    SomeWrites,
    /// Some sectors of some writes.
    SomeSectors,
    /// None, but the files have grown.
    Grown,
}

impl Fate {
    pub(super) const ALL: [Fate; 7] =
        [Fate::Lost, Fate::Kept, Fate::First, Fate::Last, Fate::SomeWrites, Fate::SomeSectors, Fate::Grown];
}

/// Puts files into `folder` as a cut before line `cut` may have left them; gives how many writes were
/// not synced then.
pub(super) fn image(
    recording: &Recording,
    cut: usize,
    fate: Fate,
    chance: &mut Chance,
    folder: &Path,
) -> usize {
    let begun: Vec<&Step> = recording.steps.iter().filter(|step| step.begun < cut).collect();
    let synced = synced(&begun, cut);
    let mut files: HashMap<FileId, Vec<u8>> = HashMap::new();
    let mut open: HashMap<FileId, Vec<&Step>> = HashMap::new();
    for &step in &begun {
        let (Deed::Wrote { file, .. } | Deed::Cut { file, .. }) = &step.deed else { continue };
        if synced.get(file).is_some_and(|sync| step.done < *sync) {
            apply(files.entry(*file).or_default(), step);
        } else {
            open.entry(*file).or_default().push(step);
        }
    }
    let unsynced = open.values().map(Vec::len).sum();
    // Sorted, so that a seed draws the same again.
    for (file, steps) in open.into_iter().collect::<BTreeMap<_, _>>() {
        befall(fate, files.entry(file).or_default(), &steps, chance);
    }
    let changes = changes(&begun);
    let sure = sure(&begun, &changes, cut);
    let more = chance.below(count(changes.len() - sure) + 1);
    for (name, file) in names(&changes[..sure + length(more)]) {
        let content = files.get(&file).map_or(&[][..], Vec::as_slice);
        std::fs::write(folder.join(name), content).expect("the image is written");
    }
    unsynced
}

/// For each file, the first line of its last sync that ended before the cut.
fn synced(begun: &[&Step], cut: usize) -> HashMap<FileId, usize> {
    let syncs = begun.iter().filter(|step| step.done < cut);
    let syncs = syncs.filter_map(|step| match step.deed {
        Deed::Synced { file } => Some((file, step.begun)),
        _ => None,
    });
    // Later ones replace earlier ones.
    syncs.collect()
}

/// The files as they are when everything happened: what the recorded process left.
pub(super) fn whole(recording: &Recording) -> BTreeMap<String, Vec<u8>> {
    let all: Vec<&Step> = recording.steps.iter().collect();
    let mut files: HashMap<FileId, Vec<u8>> = HashMap::new();
    for &step in &all {
        if let Deed::Wrote { file, .. } | Deed::Cut { file, .. } = &step.deed {
            apply(files.entry(*file).or_default(), step);
        }
    }
    names(&changes(&all))
        .into_iter()
        .map(|(name, file)| (name, files.remove(&file).unwrap_or_default()))
        .collect()
}

fn changes<'a>(begun: &[&'a Step]) -> Vec<&'a Step> {
    let all = begun.iter().copied();
    all.filter(|step| matches!(step.deed, Deed::Made { .. } | Deed::Removed { .. })).collect()
}

/// How many changes of names are there for sure.
fn sure(begun: &[&Step], changes: &[&Step], cut: usize) -> usize {
    let sync = begun.iter().rfind(|step| matches!(step.deed, Deed::FolderSynced) && step.done < cut);
    sync.map_or(0, |sync| changes.iter().filter(|step| step.done < sync.begun).count())
}

/// The names that the folder has after these changes, and whose they are.
fn names(changes: &[&Step]) -> BTreeMap<String, FileId> {
    let mut names = BTreeMap::new();
    for step in changes {
        match &step.deed {
            Deed::Made { file, name } => drop(names.insert(name.clone(), *file)),
            Deed::Removed { name } => drop(names.remove(name)),
            _ => {}
        }
    }
    names.remove(SAID);
    names
}

/// Applies some of the unsynced steps.
fn befall(fate: Fate, content: &mut Vec<u8>, steps: &[&Step], chance: &mut Chance) {
    let some = usize::try_from(chance.below(count(steps.len()))).expect("an index");
    match fate {
        Fate::Lost => {}
        Fate::Kept => steps.iter().for_each(|step| apply(content, step)),
        Fate::First => {
            steps[..some].iter().for_each(|step| apply(content, step));
            tear(content, steps[some], chance, |sector, chance| chance.below(8) > sector);
        }
        Fate::Last => {
            steps[some + 1..].iter().for_each(|step| apply(content, step));
            tear(content, steps[some], chance, |sector, chance| chance.below(8) < sector);
        }
        Fate::SomeWrites => {
            for step in shuffled(steps, chance) {
                if chance.below(2) == 0 {
                    apply(content, step);
                }
            }
        }
        Fate::SomeSectors => {
            let odds = 2 + chance.below(6);
            for step in shuffled(steps, chance) {
                tear(content, step, chance, |_, chance| chance.below(odds) > 0);
            }
        }
        Fate::Grown => {
            let ends = steps.iter().filter_map(|step| match &step.deed {
                Deed::Wrote { at, bytes, .. } => Some(at + count(bytes.len())),
                _ => None,
            });
            let end = length(ends.max().unwrap_or(0));
            content.resize(end.max(content.len()), 0);
        }
    }
}

fn shuffled<'a>(steps: &[&'a Step], chance: &mut Chance) -> Vec<&'a Step> {
    let mut steps = steps.to_vec();
    for last in (1..steps.len()).rev() {
        steps.swap(last, usize::try_from(chance.below(count(last) + 1)).expect("an index"));
    }
    steps
}

/// Applies those sectors of a write that `keeps` says; a change of length happens or not.
fn tear(content: &mut Vec<u8>, step: &Step, chance: &mut Chance, keeps: impl Fn(u64, &mut Chance) -> bool) {
    let Deed::Wrote { at, bytes, .. } = &step.deed else {
        if keeps(0, chance) {
            apply(content, step);
        }
        return;
    };
    let (mut from, end) = (*at, at + count(bytes.len()));
    let mut sector = 0;
    while from < end {
        let border = (from / SECTOR + 1) * SECTOR;
        let to = border.min(end);
        if keeps(sector, chance) {
            put(content, from, &bytes[length(from - at)..length(to - at)]);
        }
        from = to;
        sector += 1;
    }
}

fn apply(content: &mut Vec<u8>, step: &Step) {
    match &step.deed {
        Deed::Wrote { at, bytes, .. } => put(content, *at, bytes),
        Deed::Cut { length: to, .. } => content.resize(length(*to), 0),
        _ => unreachable!("only writes and cuts change a file"),
    }
}

fn put(content: &mut Vec<u8>, at: u64, bytes: &[u8]) {
    let from = length(at);
    let to = from + bytes.len();
    if content.len() < to {
        content.resize(to, 0);
    }
    content[from..to].copy_from_slice(bytes);
}

fn length(bytes: u64) -> usize {
    usize::try_from(bytes).expect("the test's files are small")
}

fn count(length: usize) -> u64 {
    u64::try_from(length).expect("it fits")
}
