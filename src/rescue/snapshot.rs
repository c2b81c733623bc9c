//! The recovery snapshot's file: a sealed stream of a label and the rows that bring coins home.
//!
//! After the label each row is its two namespaces, its key and its value, each with its length before it.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::RescueError;
use super::place::{Place, replace};
use crate::clock::Entropy;
use crate::secrets::sealed::{SealedReader, SealedWriter};
use crate::store::{Reach, StoredBytes};
use crate::types::Timestamp;

/// The format that this program writes.
const FORMAT: u32 = 1;

/// Says what a snapshot holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// The format of what follows.
    pub format: u32,
    /// The program that wrote it.
    pub version: String,
    /// The network.
    pub network: String,
    /// Whose it is, hexadecimal.
    pub node_id: String,
    /// The channel state's generation at that moment.
    pub generation: Reach,
    /// When.
    pub written_at: Timestamp,
    /// The channels: each one's funding output, or its id.
    pub channels: Vec<String>,
    /// Rows that follow.
    pub rows: usize,
}

/// An opened snapshot.
#[derive(Clone, Debug)]
pub struct Contents {
    /// What it says of itself.
    pub label: Label,
    /// The channel state's rows.
    pub rows: Vec<StoredBytes>,
}

/// A label for rows of one moment.
pub(super) fn label_for(place: &Place, generation: Reach, rows: &[StoredBytes], now: Timestamp) -> Label {
    let monitors = rows.iter().filter(|row| crate::node::is_monitor(&row.primary));
    Label {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        network: place.network.to_string(),
        node_id: place.node_id.clone(),
        generation,
        written_at: now,
        channels: monitors.map(|row| row.key.clone()).collect(),
        rows: rows.len(),
    }
}

/// Seals a snapshot into a file; gives its size in bytes.
pub(super) fn write(
    place: &Place,
    path: &Path,
    label: &Label,
    rows: &[StoredBytes],
    entropy: &dyn Entropy,
) -> Result<u64, RescueError> {
    replace(path, |file| {
        let mut sealed = SealedWriter::new(io::BufWriter::new(file), &place.key, entropy)?;
        frame(&mut sealed, &serde_json::to_vec(label).map_err(io::Error::other)?)?;
        for row in rows {
            for part in [row.primary.as_bytes(), row.secondary.as_bytes(), row.key.as_bytes(), &row.value] {
                frame(&mut sealed, part)?;
            }
        }
        sealed.finish()?.flush()
    })
}

/// A snapshot's label; `None` when there is no file.
pub(super) fn label(place: &Place, path: &Path) -> Result<Option<Label>, RescueError> {
    Ok(open(place, path)?.map(|(label, _)| label))
}

/// All of a snapshot; `None` when there is no file.
pub(super) fn read(place: &Place, path: &Path) -> Result<Option<Contents>, RescueError> {
    let Some((label, mut sealed)) = open(place, path)? else { return Ok(None) };
    let damaged = |what| RescueError::Damaged { path: path.to_owned(), what };
    let mut rows = Vec::new();
    for _ in 0..label.rows {
        let mut part = || unframe(&mut sealed).map_err(RescueError::file(path));
        let mut name =
            || part().and_then(|bytes| String::from_utf8(bytes).map_err(|_| damaged("a name is not text")));
        let (primary, secondary, key) = (name()?, name()?, name()?);
        rows.push(StoredBytes { primary, secondary, key, value: part()? });
    }
    let mut rest = [0u8; 1];
    match sealed.read(&mut rest).map_err(RescueError::file(path))? {
        0 => Ok(Some(Contents { label, rows })),
        _ => Err(damaged("there is more than its label says")),
    }
}

type Sealed = SealedReader<BufReader<File>>;

fn open(place: &Place, path: &Path) -> Result<Option<(Label, Sealed)>, RescueError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(RescueError::file(path)(error)),
    };
    let opened = SealedReader::new(BufReader::new(file), &place.key);
    let damaged = |what| RescueError::Damaged { path: path.to_owned(), what };
    let mut sealed = opened
        .map_err(|_| damaged("it does not open: it was sealed under another seed, or it was changed"))?;
    let text = unframe(&mut sealed).map_err(RescueError::file(path))?;
    let label: Label = serde_json::from_slice(&text).map_err(|_| damaged("its label makes no sense"))?;
    if label.format != FORMAT {
        return Err(damaged("a newer Tollhouse wrote it"));
    }
    if (&label.network, &label.node_id) != (&place.network.to_string(), &place.node_id) {
        return Err(RescueError::Foreign {
            path: path.to_owned(),
            theirs: format!("{} on {}", label.node_id, label.network),
            ours: format!("{} on {}", place.node_id, place.network),
        });
    }
    Ok(Some((label, sealed)))
}

fn frame(to: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    let length = u64::try_from(bytes.len()).map_err(io::Error::other)?;
    to.write_all(&length.to_be_bytes())?;
    to.write_all(bytes)
}

fn unframe(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut length = [0u8; 8];
    from.read_exact(&mut length)?;
    let (length, mut bytes) = (u64::from_be_bytes(length), Vec::new());
    from.take(length).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|read| read == length) {
        Ok(bytes)
    } else {
        Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it is cut off"))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use bitcoin::Network;
    use zeroize::Zeroizing;

    use super::*;
    use crate::clock::CountingEntropy;

    fn place(dir: &Path, key: u8) -> Place {
        let (node_id, key) = ("02ab".to_owned(), Zeroizing::new([key; 32]));
        Place { dir: dir.to_owned(), second: None, network: Network::Regtest, node_id, key }
    }

    fn row(primary: &str, key: &str, length: usize) -> StoredBytes {
        let value = vec![0xa5; length];
        StoredBytes { primary: primary.to_owned(), secondary: String::new(), key: key.to_owned(), value }
    }

    #[test]
    fn what_went_in_comes_out_for_the_same_seed_alone() {
        let folder = tempfile::tempdir().unwrap();
        let place = place(folder.path(), 1);
        let rows = [row("monitors", "aa_0", 200_000), row("", "peers", 0), row("bdk_wallet", "indexer", 9)];
        let generation = Reach { lineage: "abc".to_owned(), number: 7 };
        let label = label_for(&place, generation, &rows, Timestamp::default());
        assert_eq!(label.channels, ["aa_0"]);
        let path = place.snapshot();
        let bytes = write(&place, &path, &label, &rows, &CountingEntropy::default()).unwrap();
        assert!(bytes > 200_000);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let read_back = read(&place, &path).unwrap().unwrap();
        assert_eq!((&read_back.label, &read_back.rows[..]), (&label, &rows[..]));

        let other_seed = Place { key: Zeroizing::new([2; 32]), ..place.clone() };
        assert!(matches!(read(&other_seed, &path), Err(RescueError::Damaged { .. })));
        let other_node = Place { node_id: "03cd".to_owned(), ..place.clone() };
        assert!(matches!(read(&other_node, &path), Err(RescueError::Foreign { .. })));
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 9]).unwrap();
        assert!(read(&place, &path).is_err(), "cut off");
        assert!(read(&place, &folder.path().join("none")).unwrap().is_none());
    }
}
