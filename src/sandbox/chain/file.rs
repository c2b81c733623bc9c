//! The chain on disk: one append-only file of blocks in the format of bitcoind's `blk*.dat`.
//!
//! A record is the network's magic, the length (little-endian) and the block. Records are only ever added and are
//! synced before a block is announced, so a crash can only cut the last one short: opening drops such a tail.
//! Damage anywhere else is an error, never repaired by dropping blocks.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use bitcoin::consensus::encode;
use bitcoin::{Block, Network};
use thiserror::Error;

const HEADER_BYTES: usize = 8;

/// Why the chain's file could not be used.
#[derive(Debug, Error)]
pub enum FileError {
    /// The file system refused.
    #[error("cannot use the chain's file {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something other than our blocks stands in it.
    #[error("the chain's file {} is damaged at byte {offset}: {reason}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where the bad record begins.
        offset: u64,
        /// What is wrong.
        reason: &'static str,
    },
}

#[derive(Debug)]
pub(super) struct BlockFile {
    path: PathBuf,
    file: File,
    length: u64,
}

impl BlockFile {
    /// Opens the file, made if absent, and reads its blocks with their offsets.
    pub(super) fn open(path: &Path) -> Result<(BlockFile, Vec<(u64, Block)>), FileError> {
        let io = |source| FileError::Io { path: path.to_owned(), source };
        let mut options = OpenOptions::new();
        let mut file = options.read(true).write(true).create(true).truncate(false).open(path).map_err(io)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(io)?;

        let mut blocks = Vec::new();
        let mut offset = 0;
        while let Some(record) = next_record(&bytes[offset..]).map_err(|reason| FileError::Corrupt {
            path: path.to_owned(),
            offset: wide(offset),
            reason,
        })? {
            blocks.push((wide(offset), record.block));
            offset += record.length;
        }
        let length = wide(offset);
        if offset < bytes.len() {
            file.set_len(length).and_then(|()| file.sync_all()).map_err(io)?;
        }
        Ok((BlockFile { path: path.to_owned(), file, length }, blocks))
    }

    /// Adds a block; durable after [`BlockFile::sync`].
    pub(super) fn append(&mut self, block: &Block) -> Result<(), FileError> {
        let body = encode::serialize(block);
        let length = u32::try_from(body.len()).expect("a block is under 4 MB");
        let mut record = Vec::with_capacity(HEADER_BYTES + body.len());
        record.extend_from_slice(&Network::Regtest.magic().to_bytes());
        record.extend_from_slice(&length.to_le_bytes());
        record.extend_from_slice(&body);
        let written = self.file.seek(SeekFrom::Start(self.length)).and_then(|_| self.file.write_all(&record));
        if let Err(source) = written {
            // Half a record must not stay below the next one. Should this fail too, opening drops the tail.
            let _ = self.file.set_len(self.length);
            return Err(FileError::Io { path: self.path.clone(), source });
        }
        self.length += wide(record.len());
        Ok(())
    }

    /// Waits until what was added is on disk.
    pub(super) fn sync(&mut self) -> Result<(), FileError> {
        self.file.sync_data().map_err(|source| FileError::Io { path: self.path.clone(), source })
    }
}

struct Record {
    block: Block,
    length: usize,
}

/// The record that `rest` begins with; `None` at the end or when only a tail that was cut short is left.
fn next_record(rest: &[u8]) -> Result<Option<Record>, &'static str> {
    // A file system may have grown the file without its data: zeros to the end are a cut tail as well.
    if rest.iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    let Some((header, body)) = rest.split_at_checked(HEADER_BYTES) else {
        return Ok(None);
    };
    let (magic, length) = header.split_at(4);
    if magic != Network::Regtest.magic().to_bytes() {
        return Err("no block of a regtest chain begins there");
    }
    let length = u32::from_le_bytes(length.try_into().expect("four of eight bytes"));
    let length = usize::try_from(length).expect("a usize holds 32 bits on every supported machine");
    let Some(bytes) = body.get(..length) else {
        return Ok(None);
    };
    match encode::deserialize(bytes) {
        Ok(block) => Ok(Some(Record { block, length: HEADER_BYTES + length })),
        Err(_) if body.len() == length => Ok(None),
        Err(_) => Err("the bytes are not a block"),
    }
}

fn wide(bytes: usize) -> u64 {
    u64::try_from(bytes).expect("a u64 holds every usize")
}
