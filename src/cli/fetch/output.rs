//! Where the body goes: stdout, a file that appears whole, or a JSON object.

use std::fs::{File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tempfile::NamedTempFile;

use super::super::say;
use super::Failure;
use crate::types::{Msat, PaymentHash};

/// What was paid.
pub(super) struct Paid {
    pub(super) price: Msat,
    pub(super) fee: Option<Msat>,
    pub(super) payment_hash: PaymentHash,
    /// With an earlier request: nothing was paid for this one.
    pub(super) paid_before: bool,
    /// The server says that it gave the unit back.
    pub(super) restored: bool,
}

impl Paid {
    /// What became of the money of a request that failed at the server.
    pub(super) fn lost(&self) -> String {
        if self.restored {
            format!("the server gave the paid unit back (payment {})", self.payment_hash)
        } else {
            format!("it counts as served, and what was paid for it is used (payment {})", self.payment_hash)
        }
    }
}

impl std::fmt::Display for Paid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.paid_before {
            return write!(f, "paid nothing: used the token {} that was bought before", self.payment_hash);
        }
        write!(f, "paid {}", self.price.in_sat())?;
        if let Some(fee) = self.fee {
            write!(f, " and {} for routing", fee.in_sat())?;
        }
        Ok(())
    }
}

/// Where the body goes.
pub(super) struct Output {
    as_json: bool,
    path: Option<PathBuf>,
    into: Into,
    /// As much of the body as is looked into when it is a problem's.
    start: Vec<u8>,
}

/// As much as that is, in bytes.
const START: usize = 65_536;
/// The longest title that is shown, in characters.
const LONGEST_TITLE: usize = 200;

enum Into {
    Nothing,
    Stdout(io::Stdout),
    /// Renamed over its target at the end.
    New(NamedTempFile),
    /// A device or a pipe, which is written to as it is.
    Special(File),
    Memory(Vec<u8>),
}

impl Output {
    /// Looks whether the target can be written, before anything is paid for.
    pub(super) fn new(as_json: bool, path: Option<&Path>) -> Result<Output, Failure> {
        let path = path.filter(|path| *path != Path::new("-")).map(Path::to_owned);
        if let Some(path) = &path {
            let unfit = |error: io::Error| Failure::arguments(format!("-o {}: {error}", path.display()));
            match std::fs::metadata(path) {
                Ok(found) if found.is_dir() => return Err(unfit(io::ErrorKind::IsADirectory.into())),
                Ok(_) => {}
                Err(_) if folder(path).is_dir() => {}
                Err(error) => return Err(unfit(error)),
            }
        }
        Ok(Output { as_json, path, into: Into::Nothing, start: Vec::new() })
    }

    /// Opens it: nothing is touched before there is something to write.
    pub(super) fn begin(&mut self) -> Result<(), Failure> {
        self.into = match &self.path {
            None if self.as_json => Into::Memory(Vec::new()),
            None => Into::Stdout(io::stdout()),
            Some(path) => open(path).map_err(|error| unwritten(path, &error))?,
        };
        Ok(())
    }

    pub(super) fn write(&mut self, chunk: &[u8]) -> Result<(), Failure> {
        let room = START.saturating_sub(self.start.len()).min(chunk.len());
        self.start.extend_from_slice(&chunk[..room]);
        let written = match &mut self.into {
            Into::Nothing => Ok(()),
            // A stream is seen as it comes.
            Into::Stdout(out) => out.write_all(chunk).and_then(|()| out.flush()),
            Into::New(file) => file.write_all(chunk),
            Into::Special(file) => file.write_all(chunk),
            Into::Memory(bytes) => {
                bytes.extend_from_slice(chunk);
                Ok(())
            }
        };
        written.map_err(|error| self.failure(error))
    }

    /// The title of the problem that the body is, where it is one; nothing in it moves a terminal.
    pub(super) fn title(&self) -> Option<String> {
        let problem: serde_json::Value = serde_json::from_slice(&self.start).ok()?;
        let word = |key: &str| problem[key].as_str().filter(|text| !text.trim().is_empty());
        let title = word("title").or_else(|| word("detail"))?;
        let plain = title.trim().chars().map(|one| if one.is_control() { ' ' } else { one });
        Some(plain.take(LONGEST_TITLE).collect())
    }

    pub(super) fn copy(&mut self, from: &mut File) -> Result<(), Failure> {
        let mut buffer = vec![0; 65_536];
        loop {
            let count = from.read(&mut buffer).map_err(unprinted)?;
            if count == 0 {
                return Ok(());
            }
            self.write(&buffer[..count])?;
        }
    }

    /// Sees the whole body where it should be, and tells about it.
    pub(super) fn end(mut self, status: u16, paid: Option<&Paid>) -> Result<(), Failure> {
        let bought_before = paid.is_some_and(|paid| paid.paid_before);
        let mut told = json!({
            "status": status,
            "paid": paid.is_some(),
            "amount_msat": paid.map(|paid| if paid.paid_before { Msat::ZERO } else { paid.price }),
            "fee_msat": paid.and_then(|paid| paid.fee).filter(|_| !bought_before),
            "paid_before": bought_before,
            "payment_hash": paid.map(|paid| paid.payment_hash),
            "restored": paid.is_some_and(|paid| paid.restored),
        });
        match std::mem::replace(&mut self.into, Into::Nothing) {
            Into::Stdout(mut out) => out.flush().map_err(|error| self.failure(error))?,
            Into::New(file) => self.persist(file).map_err(|error| self.failure(error))?,
            Into::Memory(bytes) => match String::from_utf8(bytes) {
                Ok(text) => told["body"] = text.into(),
                Err(bytes) => told["body_base64"] = STANDARD.encode(bytes.as_bytes()).into(),
            },
            Into::Special(_) | Into::Nothing => {}
        }
        if let Some(path) = &self.path {
            told["body_file"] = path.display().to_string().into();
        }
        if self.as_json {
            say(told).map_err(unprinted)?;
        }
        Ok(())
    }

    fn persist(&self, file: NamedTempFile) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        File::open(folder(path))?.sync_all()
    }

    fn failure(&self, error: io::Error) -> Failure {
        match &self.path {
            Some(path) => unwritten(path, &error),
            None => unprinted(error),
        }
    }
}

fn open(path: &Path) -> io::Result<Into> {
    if std::fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return File::options().write(true).open(path).map(Into::Special);
    }
    // As any new file: what the user's mask leaves of rw for all.
    let file = tempfile::Builder::new()
        .prefix(".tollhouse-")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder(path))?;
    Ok(Into::New(file))
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

fn unwritten(path: &Path, error: &io::Error) -> Failure {
    Failure::new("output", 1, format!("-o {}: {error}", path.display()))
}

/// The reader has gone, or the disk is full: the next run hands the body over.
pub(super) fn unprinted(error: io::Error) -> Failure {
    Failure::new("output", 1, format!("the body could not be written: {error}"))
}
