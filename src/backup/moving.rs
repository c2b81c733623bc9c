//! Moves a whole network's directory, channels and all, to another machine.
//!
//! Invariants: the source is marked as moved before the first byte of the file is written, and refuses to
//! start from then on: two machines with the same channels lose coins. The file is sealed under a code of its
//! own, for it holds what opens the seed; a directory is filled whole or not at all. That one file is
//! imported twice cannot be prevented; after an import it is renamed.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};

use bip39::Mnemonic;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::Zeroizing;

use super::whole;
use crate::clock::Entropy;
use crate::secrets::sealed::{self, SealedReader, SealedWriter};
use crate::types::Timestamp;

const MARK_FILE: &str = "moved";
const PURPOSE: &str = "move/v1";
const FORM: u32 = 1;
const LONGEST_HEAD: u32 = 16 << 20;
/// Bytes of the code: twelve words.
const CODE: usize = 16;
/// Folders that stay behind.
const LEFT_BEHIND: [&str; 1] = ["logs"];

/// Why nothing was moved.
#[derive(Debug, Error)]
pub enum MoveFault {
    /// The directory went to another machine.
    #[error(
        "{dir} was moved away to {file}: to start it beside its copy loses coins. If that copy was never started and \
         never will be, run `tollhouse migrate undo`"
    )]
    Moved {
        /// The directory.
        dir: PathBuf,
        /// Where to.
        file: String,
    },
    /// There is nothing to move, or nothing to undo.
    #[error("{0}")]
    Nothing(String),
    /// There is something where the directory should go.
    #[error("{0} is there already: nothing was imported, for it would be overwritten")]
    Occupied(PathBuf),
    /// Not a code.
    #[error("that is not the code of twelve words that `tollhouse migrate export` showed")]
    NotACode,
    /// Not a file of ours, or damaged, or another code's.
    #[error("{path}: {error}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It says what makes no sense.
    #[error("{0} holds what makes no sense: it was not imported")]
    Nonsense(PathBuf),
    /// A newer Tollhouse wrote it.
    #[error("the file has form {0}, this Tollhouse knows form {FORM}: use the newer version")]
    TooNew(u32),
    /// A file or directory.
    #[error("{path} cannot be used: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// The code that opens one file: shown once, never stored.
pub struct MoveCode(Zeroizing<String>);

impl std::fmt::Debug for MoveCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MoveCode(redacted)")
    }
}

impl MoveCode {
    /// A new one.
    pub fn new(entropy: &dyn Entropy) -> MoveCode {
        let mut bytes = Zeroizing::new([0u8; CODE]);
        entropy.fill(&mut *bytes);
        let words = Mnemonic::from_entropy(&*bytes).expect("16 bytes make 12 words");
        MoveCode(Zeroizing::new(words.to_string()))
    }

    /// Reads what a person typed.
    ///
    /// # Errors
    /// When it is not such a code.
    pub fn read(text: &str) -> Result<MoveCode, MoveFault> {
        let clean = Zeroizing::new(text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase());
        let words = Mnemonic::parse_normalized(&clean).map_err(|_| MoveFault::NotACode)?;
        if words.word_count() != 12 {
            return Err(MoveFault::NotACode);
        }
        Ok(MoveCode(clean))
    }

    /// The twelve words.
    pub fn words(&self) -> &str {
        &self.0
    }

    fn key(&self) -> Zeroizing<[u8; 32]> {
        sealed::derive(self.0.as_bytes(), PURPOSE)
    }
}

/// One file that goes along.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// Where it goes below the data directory: `regtest/channels.db`, `tollhouse.toml`.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
}

/// What the file says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    form: u32,
    /// The Tollhouse that wrote it.
    pub version: String,
    /// The network's directory.
    pub network: String,
    /// When.
    pub created_at: Timestamp,
    /// The files, in their order.
    pub pieces: Vec<Piece>,
}

impl Moved {
    /// The files that lie beside the network's directory: the configuration, and files that it names.
    pub fn beside(&self) -> impl Iterator<Item = &Path> {
        let paths = self.pieces.iter().map(|piece| piece.path.as_path());
        paths.filter(|path| path.components().count() == 1)
    }

    /// Bytes of all files together.
    pub fn bytes(&self) -> u64 {
        self.pieces.iter().fold(0, |sum, piece| sum.saturating_add(piece.bytes))
    }
}

/// What a directory says that was moved away.
#[derive(Debug, Serialize, Deserialize)]
struct Mark {
    file: String,
    at: Timestamp,
}

/// A data directory that nobody uses: the caller holds its lock.
#[derive(Clone, Copy, Debug)]
pub struct Moving<'a> {
    /// The data directory.
    pub data_dir: &'a Path,
    /// The network's name, and its directory's.
    pub network: &'a str,
}

/// Refuses a network's directory that was moved away.
///
/// # Errors
/// When it was, or that cannot be told.
pub fn refuse_if_moved(dir: &Path) -> Result<(), MoveFault> {
    let path = dir.join(MARK_FILE);
    match std::fs::read(&path) {
        Ok(bytes) => {
            let file = serde_json::from_slice(&bytes)
                .map_or_else(|_| "another machine".to_owned(), |mark: Mark| mark.file);
            Err(MoveFault::Moved { dir: dir.to_owned(), file })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(MoveFault::File { path, error }),
    }
}

impl Moving<'_> {
    fn dir(&self) -> PathBuf {
        self.data_dir.join(self.network)
    }

    /// Writes everything to `file`, which is not there yet, with `beside` (the configuration) beside it, and
    /// marks the directory as moved. `told` hears of every byte. Blocks.
    ///
    /// # Errors
    /// When there is nothing to move, it was moved before, or a file cannot be read or written. The mark is
    /// taken back then, unless a file lies there that could be imported.
    pub fn export(
        &self,
        file: &Path,
        beside: &[PathBuf],
        (code, entropy): (&MoveCode, &dyn Entropy),
        now: Timestamp,
        told: &dyn Fn(u64, u64),
    ) -> Result<Moved, MoveFault> {
        let dir = self.dir();
        refuse_if_moved(&dir)?;
        if !dir.join("seed").exists() {
            return Err(MoveFault::Nothing(format!("there is no node in {}", dir.display())));
        }
        if file.exists() {
            return Err(MoveFault::Occupied(file.to_owned()));
        }
        let mut sources = Vec::new();
        walk(&dir, Path::new(self.network), &mut sources)?;
        for path in beside {
            let name = path.file_name().map(PathBuf::from).unwrap_or_default();
            sources.push((path.clone(), name));
        }
        sources.sort_by(|one, other| one.1.cmp(&other.1));
        let mut pieces = Vec::new();
        for (from, path) in &sources {
            let bytes = std::fs::metadata(from).map_err(|error| fault(from, error))?.len();
            pieces.push(Piece { path: path.clone(), bytes });
        }
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let moved = Moved { form: FORM, version, network: self.network.to_owned(), created_at: now, pieces };
        let mark = Mark { file: file.display().to_string(), at: now };
        let mark_path = dir.join(MARK_FILE);
        let text = serde_json::to_vec(&mark).map_err(|error| fault(&mark_path, error.into()))?;
        whole::put(&mark_path, &text).map_err(|error| fault(&mark_path, error))?;
        let written = write(file, &moved, &sources, (&code.key(), entropy), told);
        if written.is_err() && !file.exists() {
            // Nothing that could be imported is there.
            self.undo()?;
        }
        written.map(|()| moved)
    }

    /// Takes the mark back: the directory may start again.
    ///
    /// # Errors
    /// When it is not marked, or the mark cannot be removed.
    pub fn undo(&self) -> Result<(), MoveFault> {
        let (dir, path) = (self.dir(), self.dir().join(MARK_FILE));
        match std::fs::remove_file(&path) {
            Ok(()) => whole::sync_dir(&dir).map_err(|error| fault(&dir, error)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(MoveFault::Nothing(format!("{} was not moved away", dir.display())))
            }
            Err(error) => Err(fault(&path, error)),
        }
    }
}

/// Fills `data_dir`, whose lock the caller holds, with what `file` has, and renames the file so that it is not
/// imported again; gives what was in it and the files beside the network's directory that were not put in place,
/// because others are there. Blocks.
///
/// # Errors
/// When the code or the file is not good, or the network's directory is there already; nothing is changed
/// then.
pub fn import(
    file: &Path,
    data_dir: &Path,
    code: &MoveCode,
    told: &dyn Fn(u64, u64),
) -> Result<(Moved, Vec<PathBuf>), MoveFault> {
    let unreadable = |error| MoveFault::Unreadable { path: file.to_owned(), error };
    let mut sealed =
        SealedReader::new(File::open(file).map_err(unreadable)?, &code.key()).map_err(unreadable)?;
    let moved = read_head(file, &mut sealed)?;
    let dir = data_dir.join(&moved.network);
    if dir.exists() {
        return Err(MoveFault::Occupied(dir));
    }
    let in_data = |error| fault(data_dir, error);
    let stage = tempfile::Builder::new().prefix(".import-").tempdir_in(data_dir).map_err(in_data)?;
    let total = moved.bytes();
    let mut done = 0;
    for piece in &moved.pieces {
        let path = stage.path().join(&piece.path);
        whole::make_dir(whole::dir_of(&path)).map_err(in_data)?;
        let mut out = tempfile::NamedTempFile::new_in(whole::dir_of(&path)).map_err(in_data)?;
        let mut rest = (&mut sealed).take(piece.bytes);
        let copied = pass(&mut rest, out.as_file_mut(), (&mut done, total), told).map_err(unreadable)?;
        if copied != piece.bytes {
            return Err(unreadable(io::Error::other("it is cut off")));
        }
        out.as_file().sync_all().map_err(in_data)?;
        out.persist_noclobber(&path).map_err(|error| in_data(error.error))?;
        whole::sync_dir(whole::dir_of(&path)).map_err(in_data)?;
    }
    // What is left has to be nothing, and only then is its end proved.
    if io::copy(&mut sealed, &mut io::sink()).map_err(unreadable)? != 0 {
        return Err(MoveFault::Nonsense(file.to_owned()));
    }
    let mut left_out = Vec::new();
    for path in moved.beside() {
        let to = data_dir.join(path);
        match std::fs::hard_link(stage.path().join(path), &to) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => left_out.push(to),
            done => done.map_err(in_data)?,
        }
    }
    std::fs::rename(stage.path().join(&moved.network), &dir).map_err(in_data)?;
    whole::sync_dir(data_dir).map_err(in_data)?;
    let mut used = file.as_os_str().to_owned();
    used.push(".imported");
    if let Err(error) = std::fs::rename(file, &used) {
        tracing::warn!(%error, "the file could not be renamed: never import it again");
    }
    Ok((moved, left_out))
}

fn read_head(file: &Path, from: &mut impl Read) -> Result<Moved, MoveFault> {
    let unreadable = |error| MoveFault::Unreadable { path: file.to_owned(), error };
    let nonsense = || MoveFault::Nonsense(file.to_owned());
    let mut length = [0u8; 4];
    from.read_exact(&mut length).map_err(unreadable)?;
    let length = u32::from_be_bytes(length);
    if length > LONGEST_HEAD {
        return Err(nonsense());
    }
    let mut head = Vec::new();
    from.take(u64::from(length)).read_to_end(&mut head).map_err(unreadable)?;
    let said: serde_json::Value = serde_json::from_slice(&head).map_err(|_| nonsense())?;
    match said["form"].as_u64().and_then(|form| u32::try_from(form).ok()) {
        Some(FORM) => {}
        Some(newer) if newer > FORM => return Err(MoveFault::TooNew(newer)),
        _ => return Err(nonsense()),
    }
    let moved: Moved = serde_json::from_value(said).map_err(|_| nonsense())?;
    // It comes from whoever has the code, and yet writes nowhere else.
    let plain = |path: &Path| path.components().all(|part| matches!(part, Component::Normal(_)));
    let under = |path: &Path| path.starts_with(&moved.network) || path.components().count() == 1;
    let network = Path::new(&moved.network);
    let sound = plain(network)
        && network.components().count() == 1
        && moved.pieces.iter().all(|piece| plain(&piece.path) && under(&piece.path));
    if sound { Ok(moved) } else { Err(nonsense()) }
}

fn write(
    file: &Path,
    moved: &Moved,
    sources: &[(PathBuf, PathBuf)],
    (key, entropy): (&[u8; 32], &dyn Entropy),
    told: &dyn Fn(u64, u64),
) -> Result<(), MoveFault> {
    let into = |error| fault(file, error);
    let dir = whole::dir_of(file);
    let mut out = tempfile::Builder::new().prefix(".export-").tempfile_in(dir).map_err(into)?;
    let mut sealed = SealedWriter::new(out.as_file_mut(), key, entropy).map_err(into)?;
    let head = serde_json::to_vec(moved).map_err(|error| into(error.into()))?;
    let length = u32::try_from(head.len()).map_err(|_| into(io::Error::other("too many files")))?;
    sealed.write_all(&length.to_be_bytes()).and_then(|()| sealed.write_all(&head)).map_err(into)?;
    let (total, mut done) = (moved.bytes(), 0);
    for ((from, _), piece) in sources.iter().zip(&moved.pieces) {
        let mut source = File::open(from).map_err(|error| fault(from, error))?;
        let copied = pass(&mut source, &mut sealed, (&mut done, total), told).map_err(into)?;
        if copied != piece.bytes {
            return Err(fault(from, io::Error::other("it changed while it was read")));
        }
    }
    sealed.finish().map_err(into)?;
    out.as_file().sync_all().map_err(into)?;
    // What was written is read once more: every chunk proves itself.
    let again = File::open(out.path()).map_err(into)?;
    let mut again = SealedReader::new(again, key).map_err(into)?;
    io::copy(&mut again, &mut io::sink()).map_err(into)?;
    out.persist_noclobber(file).map_err(|error| into(error.error))?;
    let synced = whole::sync_dir(dir);
    if synced.is_err() {
        // It may be whole, and yet be taken for failed: then two could run. If it stays, so does the mark.
        let _ = std::fs::remove_file(file);
    }
    synced.map_err(into)
}

/// Copies, and tells how much of all is done; gives how much of this.
fn pass(
    from: &mut impl Read,
    to: &mut impl Write,
    (done, total): (&mut u64, u64),
    told: &dyn Fn(u64, u64),
) -> io::Result<u64> {
    let mut buffer = Zeroizing::new(vec![0u8; 256 * 1024]);
    let mut copied = 0u64;
    loop {
        let count = from.read(&mut buffer)?;
        if count == 0 {
            return Ok(copied);
        }
        to.write_all(&buffer[..count])?;
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        copied = copied.saturating_add(count);
        *done = done.saturating_add(count);
        told(*done, total);
    }
}

/// Every file below `dir` that goes along, with its path below the data directory. SQLite's shared memory is
/// made anew; its write-ahead log is a part of the database.
fn walk(dir: &Path, below: &Path, into: &mut Vec<(PathBuf, PathBuf)>) -> Result<(), MoveFault> {
    let failed = |error| fault(dir, error);
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let (path, name) = (entry.path(), entry.file_name());
        let text = name.to_string_lossy();
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_dir() && !LEFT_BEHIND.contains(&text.as_ref()) {
            walk(&path, &below.join(&name), into)?;
        }
        let passing = text.starts_with('.') || text.ends_with("-shm") || text == MARK_FILE;
        if kind.is_file() && !passing {
            into.push((path, below.join(&name)));
        }
    }
    Ok(())
}

fn fault(path: &Path, error: io::Error) -> MoveFault {
    MoveFault::File { path: path.to_owned(), error }
}
