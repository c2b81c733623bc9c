//! One backup as a file: a sealed stream of the manifest, the tokens' master keys and the ledger.
//!
//! Invariants: everything in it is sealed under a key that the seed words alone give; the ledger's digest is in
//! the manifest; nothing of channels is in it.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::Path;

use ring::digest::{Context, SHA256};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::clock::Entropy;
use crate::secrets::sealed::{SealedReader, SealedWriter};
use crate::types::Timestamp;

/// The purpose of the key that seals backups.
pub const PURPOSE: &str = "backup/v1";

/// The form that is written.
const FORM: u32 = 1;
/// Neither manifest nor keys are ever so long.
const LONGEST_HEAD: u32 = 1 << 20;

/// Why a file is not a good backup.
#[derive(Debug, Error)]
pub enum FormatFault {
    /// It cannot be read, or was changed, or is sealed under another seed's key.
    #[error("{0}")]
    Sealed(io::Error),
    /// It was opened, and does not say what it should.
    #[error("it holds something that makes no sense: {0}")]
    Nonsense(&'static str),
    /// A newer Tollhouse wrote it.
    #[error("it has form {0}, this Tollhouse knows form {FORM}: use the newer version")]
    TooNew(u32),
}

impl From<io::Error> for FormatFault {
    fn from(error: io::Error) -> FormatFault {
        FormatFault::Sealed(error)
    }
}

/// What a backup says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Manifest {
    /// The form of the file.
    pub form: u32,
    /// The Tollhouse that wrote it.
    pub version: String,
    /// The node's network.
    pub network: String,
    /// The node's public key.
    pub node_id: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// The ledger's life.
    pub generation: u64,
    /// Transactions up to then.
    pub steps: u64,
    /// The number of the newest event in it.
    pub newest_event: i64,
    /// Whether the audit of the copy found the books right.
    pub books_ok: bool,
    /// The ledger's sums, for a person.
    pub sums: Value,
    /// Length of the ledger's file.
    pub ledger_bytes: u64,
    /// Its SHA-256, in hex.
    pub ledger_sha256: String,
}

impl Manifest {
    /// The form that is written now.
    pub const fn form() -> u32 {
        FORM
    }
}

/// Length and digest of a file, read from its beginning.
pub(super) fn measure(file: &mut File) -> io::Result<(u64, String)> {
    file.rewind()?;
    let mut digest = Digest { context: Context::new(&SHA256), bytes: 0 };
    io::copy(file, &mut digest)?;
    Ok(digest.finish())
}

/// Writes a backup of `ledger` to `out`.
pub(super) fn write(
    out: &mut File,
    (key, entropy): (&[u8; 32], &dyn Entropy),
    manifest: &Manifest,
    masters: &str,
    ledger: &mut File,
) -> io::Result<()> {
    let mut sealed = SealedWriter::new(out, key, entropy)?;
    write_block(&mut sealed, &serde_json::to_vec(manifest)?)?;
    write_block(&mut sealed, masters.as_bytes())?;
    ledger.rewind()?;
    io::copy(ledger, &mut sealed)?;
    sealed.finish()?.flush()
}

/// A backup that was opened.
pub(super) struct Backup {
    pub(super) manifest: Manifest,
    pub(super) masters: Zeroizing<String>,
    rest: SealedReader<File>,
}

impl Backup {
    /// Opens the file and reads what it says of itself.
    pub(super) fn open(path: &Path, key: &[u8; 32]) -> Result<Backup, FormatFault> {
        let mut rest = SealedReader::new(File::open(path)?, key)?;
        let head = read_block(&mut rest)?;
        let said: Value = serde_json::from_slice(&head).map_err(|_| FormatFault::Nonsense("no manifest"))?;
        match said["form"].as_u64().and_then(|form| u32::try_from(form).ok()) {
            Some(FORM) => {}
            Some(newer) if newer > FORM => return Err(FormatFault::TooNew(newer)),
            _ => return Err(FormatFault::Nonsense("no form")),
        }
        let manifest = serde_json::from_value(said).map_err(|_| FormatFault::Nonsense("half a manifest"))?;
        let masters = Zeroizing::new(
            std::str::from_utf8(&read_block(&mut rest)?)
                .map_err(|_| FormatFault::Nonsense("no master keys"))?
                .to_owned(),
        );
        Ok(Backup { manifest, masters, rest })
    }

    /// Writes the ledger to `into`, and proves it by its digest.
    pub(super) fn extract(mut self, into: &mut impl Write) -> Result<(), FormatFault> {
        let mut digest = Digest { context: Context::new(&SHA256), bytes: 0 };
        let mut buffer = vec![0u8; 64 * 1024];
        loop {
            let count = self.rest.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            digest.write_all(&buffer[..count])?;
            into.write_all(&buffer[..count])?;
        }
        if digest.finish() != (self.manifest.ledger_bytes, self.manifest.ledger_sha256) {
            return Err(FormatFault::Nonsense("another ledger than its manifest says"));
        }
        Ok(())
    }
}

fn write_block(out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(|_| io::Error::other("too long for a backup's head"))?;
    out.write_all(&length.to_be_bytes())?;
    out.write_all(bytes)
}

fn read_block(from: &mut impl Read) -> Result<Zeroizing<Vec<u8>>, FormatFault> {
    let mut length = [0u8; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length);
    if length > LONGEST_HEAD {
        return Err(FormatFault::Nonsense("a head that is too long"));
    }
    let mut bytes = Zeroizing::new(Vec::new());
    from.take(u64::from(length)).read_to_end(&mut bytes)?;
    if u32::try_from(bytes.len()) != Ok(length) {
        return Err(FormatFault::Nonsense("a head that is cut off"));
    }
    Ok(bytes)
}

/// Counts and digests what is written to it.
struct Digest {
    context: Context,
    bytes: u64,
}

impl Digest {
    fn finish(self) -> (u64, String) {
        (self.bytes, hex::encode(self.context.finish()))
    }
}

impl Write for Digest {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.context.update(bytes);
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
