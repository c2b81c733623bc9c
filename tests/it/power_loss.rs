//! The power goes, at any moment and on the worst disk: what was acknowledged is there.
//!
//! A process works on a ledger under strace. From the record of its writes and syncs, images of the disk
//! are made as a cut may have left it, and each is opened: whole, balanced, with every credit and every
//! debit that was acknowledged before the cut. That the harness notices is shown by ledgers with a fault
//! put in on purpose.

use std::path::PathBuf;
use std::process::Command;

use tollhouse::store::Flaw;

use crate::chance::{Chance, SaysSeed, count};
use disk::Fate;
use recording::{Deed, Recording};
use workload::Word;

mod check;
mod disk;
mod recording;
mod trace;
mod workload;

/// The test's name, as the harness knows it.
const NAME: &str = "power_loss::a_power_cut_loses_nothing_that_was_acknowledged";
const SEED: &str = "TOLLHOUSE_POWER_SEED";
const IMAGES: &str = "TOLLHOUSE_POWER_IMAGES";

#[test]
fn a_power_cut_loses_nothing_that_was_acknowledged() {
    if let Some(dir) = std::env::var_os(workload::DIR) {
        workload::run(&PathBuf::from(dir));
    }
    let seed = Chance::seed(SEED);
    let _says = SaysSeed(SEED, seed);
    let recorded = Recorded::of(Flaw::None, 240);
    recorded.covers_what_it_should();
    let images = count(IMAGES, 100);
    let unsynced = recorded.images(images, &mut Chance::new(seed)).unwrap_or_else(|fault| panic!("{fault}"));
    eprintln!("{images} images of {} calls, {unsynced} writes not synced in them", recorded.recording.lines);
}

/// A run of the workload, and what it left.
struct Recorded {
    recording: Recording,
    folder: tempfile::TempDir,
}

impl Recorded {
    fn of(flaw: Flaw, customers: u64) -> Recorded {
        let folder = tempfile::tempdir().expect("a folder");
        // The recording has paths as the kernel resolves them.
        let dir = folder.path().canonicalize().expect("it is there").join("ledger");
        std::fs::create_dir(&dir).expect("a folder");
        let mut command = Command::new(std::env::current_exe().expect("this binary"));
        command
            .args(["--exact", NAME, "--nocapture"])
            .env(workload::DIR, &dir)
            .env(workload::FLAW, flaw.code())
            .env(workload::CUSTOMERS, customers.to_string());
        let recording = Recording::of(&command, &dir);
        let recorded = Recorded { recording, folder };
        recorded.missed_nothing();
        recorded
    }

    /// All that was recorded makes the files that are there.
    fn missed_nothing(&self) {
        let dir = self.folder.path().join("ledger");
        let mut left = Vec::new();
        for (name, content) in disk::whole(&self.recording) {
            let there = std::fs::read(dir.join(&name)).expect("a file of the recording is there");
            assert!(there == content, "{name} is not what the recording says");
            left.push(name);
        }
        let expected = ["channels.db", "ledger.db", "ledger.db-wal"];
        assert_eq!(left, expected, "the files that a sudden end leaves");
    }

    /// The workload did what makes a cut interesting.
    fn covers_what_it_should(&self) {
        let steps = &self.recording.steps;
        let syncs = steps.iter().filter(|step| matches!(step.deed, Deed::Synced { .. })).count();
        let (mut acknowledged, mut commits) = (0, None);
        for line in self.recording.said(usize::MAX) {
            match serde_json::from_str(line).expect("the workload's own words") {
                Word::Paid { .. } | Word::Reserved { .. } | Word::Ended { .. } => acknowledged += 1,
                Word::Closed { commits: of_the_first_life } => {
                    commits = Some(of_the_first_life);
                    break;
                }
                _ => {}
            }
        }
        let commits = commits.expect("the first life ended in order");
        assert!(acknowledged > 2 * commits, "{acknowledged} acknowledgements share {commits} commits");
        assert!(syncs > 100, "{syncs} syncs");
        let wal_begins = steps
            .iter()
            .filter(|step| matches!(&step.deed, Deed::Wrote { at: 0, bytes, .. } if bytes.len() == 32));
        assert!(wal_begins.count() > 3, "the log was checkpointed and begun anew under load");
    }

    /// Makes images and checks them; gives how many writes were open in them, or the first fault.
    fn images(&self, images: u64, chance: &mut Chance) -> Result<usize, String> {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let mut unsynced = 0;
        for number in 0..images {
            let cut = self.cut(number, chance);
            let fate = *chance.pick(&Fate::ALL).expect("a fate");
            let folder = in_memory();
            unsynced += disk::image(&self.recording, cut, fate, chance, folder.path());
            let checked = runtime.block_on(check::image(folder.path(), self.recording.said(cut)));
            checked.map_err(|fault| {
                format!(
                    "image {number} ({fate:?}, cut before line {cut} of {}): {fault}",
                    self.recording.lines
                )
            })?;
        }
        Ok(unsynced)
    }

    /// Where the power goes: half the times anywhere, half right before a sync ends, when the most is
    /// open; and once after everything.
    fn cut(&self, number: u64, chance: &mut Chance) -> usize {
        let syncs: Vec<usize> = self
            .recording
            .steps
            .iter()
            .filter(|step| matches!(step.deed, Deed::Synced { .. }))
            .map(|step| step.done)
            .collect();
        let lines = u64::try_from(self.recording.lines).expect("fits");
        match number {
            0 => self.recording.lines + 1,
            _ if number.is_multiple_of(2) => *chance.pick(&syncs).expect("there are syncs"),
            _ => usize::try_from(1 + chance.below(lines)).expect("a line"),
        }
    }
}

/// A folder for an image: in memory where there is some, for an image has no power to lose.
fn in_memory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder")
}

/// Runs the harness on a ledger with a fault; it must find one.
fn found(flaw: Flaw) {
    let seed = Chance::seed(SEED);
    let _says = SaysSeed(SEED, seed);
    let images = Recorded::of(flaw, 36).images(100, &mut Chance::new(seed));
    let fault = images.expect_err("a fault put in on purpose is found");
    eprintln!("{}: {fault}", flaw.code());
}

#[test]
fn the_harness_finds_a_ledger_that_does_not_sync() {
    found(Flaw::NeverSyncs);
}

#[test]
fn the_harness_finds_a_ledger_that_answers_before_it_commits() {
    found(Flaw::AnswersFirst);
}
