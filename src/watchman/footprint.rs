//! What the appliance takes of its machine: memory, and room on the disk.

use std::collections::BTreeMap;
use std::path::Path;

use super::disk::{self, DiskSpace};

/// What it takes of the machine, and what is left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    /// The disk that the data directory is on.
    pub disk: Option<DiskSpace>,
    /// Memory that this process has, bytes; `None` when the system does not tell.
    pub resident_bytes: Option<u64>,
    /// The databases with what belongs to each, by name: length in bytes.
    pub files: BTreeMap<String, u64>,
}

impl Footprint {
    /// What is taken now, with the data in `dir`.
    pub(super) fn of(dir: &Path) -> Footprint {
        let told = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        Footprint { disk: disk::space(dir), resident_bytes: resident(&told), files: databases(dir) }
    }
}

/// The kernel's `VmRSS:   12345 kB`.
fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1_024)
}

/// A database's log of writes and its index count as the database's own.
fn databases(dir: &Path) -> BTreeMap<String, u64> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(end) = name.find(".db") else { continue };
        if let Some(own) = name.get(..end + ".db".len())
            && let Ok(about) = entry.metadata()
        {
            *files.entry(own.to_owned()).or_insert(0) += about.len();
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_counted() {
        assert_eq!(resident("Name:\ttollhouse\nVmRSS:\t   12 kB\nThreads:\t4\n"), Some(12_288));
        assert_eq!(resident("Name:\ttollhouse\n"), None);
        let dir = tempfile::tempdir().expect("a folder");
        for (name, bytes) in [("ledger.db", 10), ("ledger.db-wal", 5), ("channels.db", 3), ("seed", 9)] {
            std::fs::write(dir.path().join(name), vec![0; bytes]).expect("a file");
        }
        let files = Footprint::of(dir.path()).files;
        assert_eq!(files, BTreeMap::from([("channels.db".to_owned(), 3), ("ledger.db".to_owned(), 15)]));
    }
}
