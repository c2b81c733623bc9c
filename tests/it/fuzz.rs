//! The fuzz targets' subjects on the toolchain that everybody has: their corpora again, then a seeded run at
//! random around them. `scripts/fuzz` goes further, by coverage.

use std::path::{Path, PathBuf};

use crate::chance::{Chance, SaysSeed, count};

#[allow(unreachable_pub, reason = "the targets are crates of their own")]
#[path = "../fuzz/subjects.rs"]
mod subjects;

use subjects::{SUBJECTS, Subject};

/// Draws the same again.
const SEED: &str = "TOLLHOUSE_FUZZ_SEED";

/// Executions of each subject.
const RUNS: &str = "TOLLHOUSE_FUZZ_RUNS";
const USUAL_RUNS: u64 = 20_000;

/// The longest input that is drawn, in bytes.
const LONGEST: usize = 6_000;

/// What formats are made of.
const WORDS: &[&str] = &[
    "\r\n",
    "\n",
    "\r",
    " ",
    "\t",
    ":",
    ",",
    "=",
    "/",
    "//",
    "..",
    "%2e",
    "%2F",
    "%00",
    "%",
    ";",
    "\\",
    "#",
    "?",
    "@",
    "0",
    "1",
    "18446744073709551615",
    "-1",
    "L402 ",
    "LSAT ",
    "Payment ",
    "Bearer ",
    "scope=",
    "method=",
    "expires=",
    "max_uses=",
    "max_spend_msat=",
    "budget_id=",
    "preimage=",
    "services=",
    "rates_valid_until=",
    "Content-Length: ",
    "Transfer-Encoding: chunked",
    "host: ",
    "connection: ",
    "GET ",
    "POST ",
    " 2",
    "\"",
    "[",
    "]",
    "[[service]]",
    "{",
    "}",
    "\u{e9}",
    "\u{0}",
    "price = ",
    "\"1 sat\"",
    "name = ",
];

#[test]
fn the_corpora_hold_what_has_to_hold() {
    for (name, subject) in SUBJECTS {
        let corpus = corpus(name);
        assert!(corpus.len() >= 4, "{name} has a corpus");
        for (file, data) in corpus {
            run(name, subject, &data, &file.display().to_string());
        }
    }
}

#[test]
fn around_the_corpora_it_holds_at_random() {
    let seed = Chance::seed(SEED);
    let _says = SaysSeed(SEED, seed);
    let mut chance = Chance::new(seed);
    for (name, subject) in SUBJECTS {
        let corpus: Vec<Vec<u8>> = corpus(name).into_iter().map(|(_, data)| data).collect();
        for _ in 0..count(RUNS, USUAL_RUNS) {
            run(name, subject, &mutated(&mut chance, &corpus), "drawn");
        }
    }
}

/// Says what broke it.
fn run(name: &str, subject: Subject, data: &[u8], which: &str) {
    if std::panic::catch_unwind(|| subject(data)).is_err() {
        panic!("{name} breaks on {which}: {}", data.escape_ascii());
    }
}

fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpora").join(name);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    files.into_iter().map(|file| (file.clone(), std::fs::read(&file).expect("a file"))).collect()
}

/// One of the corpus, changed in a few places.
fn mutated(chance: &mut Chance, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut data = chance.pick(corpus).expect("a corpus").clone();
    for _ in 0..=chance.below(4) {
        let at = chance.index(data.len() + 1);
        let end = at + chance.index((data.len() - at).min(24) + 1);
        match chance.below(6) {
            0 if at < data.len() => data[at] ^= 1 << chance.below(8),
            0 | 1 => data.insert(at, chance.byte()),
            2 => drop(data.drain(at..end)),
            3 => {
                let piece = data[at..end].to_vec();
                let to = chance.index(data.len() + 1);
                data.splice(to..to, piece);
            }
            4 => {
                let other = chance.pick(corpus).expect("a corpus").clone();
                let from = chance.index(other.len() + 1);
                data.splice(at..end, other[from..].iter().copied());
            }
            _ => {
                let word = chance.pick(WORDS).expect("words");
                data.splice(at..end, word.bytes());
            }
        }
        data.truncate(LONGEST);
    }
    data
}
