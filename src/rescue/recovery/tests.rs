//! Which state is taken, and how it is put in place.

use super::*;
use crate::ports::{KeyValue, KvKey};

/// The clock of a machine that does not know the time.
const EARLY: Timestamp = Timestamp::from_secs(0);

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
    rebuild(&place, vec![row(b"one")], &known, EARLY).unwrap();
    let (generation, rows) = NodeStore::open(&place.store()).unwrap().view(|_, _, _| true).unwrap();
    assert_eq!((generation.number, rows), (9 + JUMP, vec![row(b"one")]));
    let mirrored = Mirrored::read(&place).unwrap();
    assert_eq!(is_newest(&generation, mirrored.as_ref()), Some(true));
}

/// Two recoveries of one source, of which the first left nothing here but a snapshot that comes to light later.
#[test]
fn another_recovery_of_the_same_source_counts_above_the_first() {
    let known = [Reach { lineage: "a".to_owned(), number: 7 }];
    let at = |secs: u64| ahead(&known, Timestamp::from_secs(secs));
    let (first, second) = (at(1_800_000_000), at(1_800_000_060));
    // A minute's writes of the first branch never reach the second.
    assert!(second - first > JUMP, "{first} {second}");
    let mirror = mirrored("a", second + 40, second + 30);
    let of_the_first = Reach { lineage: "a".to_owned(), number: first + 35 };
    assert_eq!(is_newest(&of_the_first, Some(&mirror)), Some(false));
    // A clock that is behind, or far ahead, does no harm.
    assert_eq!(ahead(&known, EARLY), 7 + JUMP);
    let late = Reach { number: second, ..known[0].clone() };
    assert_eq!(ahead(&[late], Timestamp::from_secs(1)), second + JUMP);
    assert!(i64::try_from(at(u64::MAX / 1_000)).is_ok());
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

    let aside = rebuild(&place, vec![row(b"new")], &[], EARLY).unwrap().unwrap();
    assert_eq!(std::fs::read(aside).unwrap(), written, "it is kept");
    let rebuilt = NodeStore::open(&place.store()).unwrap();
    assert_eq!(rebuilt.read(&key).unwrap().as_deref(), Some(&b"new"[..]));
    // The store that is there is set aside with all that it has, under another name.
    rebuilt.write(&key, b"newer").unwrap();
    drop(rebuilt);
    let aside = rebuild(&place, vec![row(b"newest")], &[], EARLY).unwrap().unwrap();
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
        let recovery = Recovery { place: place.clone(), found, rows: vec![row(b"one")], known: Vec::new() };
        recovery.rebuild(&NodeSeed::new(&[1; 64]), Vec::new(), EARLY).unwrap();
        let kept = folder.path().join(format!("channels-before-recovery-{number}.snapshot"));
        assert_eq!(std::fs::read(kept).unwrap(), b"sealed");
    }
}
