//! Where one request's state lies: a record, the answer's body, and a lock.
//!
//! Invariants: files are private (0600 in a 0700 directory), replaced whole, and on disk when a call
//! returns; whoever has a [`Desk`] has it alone; a desk without a record leaves no file behind.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::fault::Fault;
use super::record::{Record, State};
use crate::secrets::{SecretsError, private_dir};
use crate::types::{Msat, PaymentHash};

/// The state of one request, held alone.
pub(super) struct Desk {
    name: String,
    dir: PathBuf,
    record: PathBuf,
    draft: PathBuf,
    body: PathBuf,
    lock_path: PathBuf,
    _lock: File,
}

impl Desk {
    /// Takes the state of the request called `name`, and waits for another process that has it.
    pub(super) fn open(state_dir: &Path, name: String) -> Result<Desk, Fault> {
        let dir = state_dir.join("fetch");
        private_dir(&dir).map_err(|error| match error {
            SecretsError::File { path, error } => Fault::State { path, error },
            other => Fault::State { path: dir.clone(), error: io::Error::other(other) },
        })?;
        let file = |end: &str| dir.join(format!("{name}.{end}"));
        let lock_path = file("lock");
        let lock = lock(&lock_path).map_err(|error| Fault::State { path: lock_path.clone(), error })?;
        Ok(Desk {
            record: file("json"),
            draft: file("new"),
            body: file("body"),
            name,
            dir,
            lock_path,
            _lock: lock,
        })
    }

    /// The request's fingerprint.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The record, if an earlier run left one.
    pub(super) fn load(&self) -> Result<Option<Record>, Fault> {
        let text = match std::fs::read(&self.record) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(|error| self.fault(&self.record, error))?,
        };
        // A damaged record is no licence to pay again: a person has to look.
        let record = serde_json::from_slice(&text).map_err(|error| self.fault(&self.record, error.into()))?;
        Ok(Some(record))
    }

    /// Replaces the record.
    pub(super) fn save(&self, record: &Record) -> Result<(), Fault> {
        let write = || {
            // Always the same name: what a kill leaves is overwritten or removed by the next run.
            let mut file = private_file(&self.draft)?;
            file.write_all(&serde_json::to_vec(record)?)?;
            file.sync_all()?;
            std::fs::rename(&self.draft, &self.record)?;
            self.sync()
        };
        write().map_err(|error| self.fault(&self.record, error))
    }

    /// Takes the record one step on.
    pub(super) fn advance(&self, record: &mut Record, state: State) -> Result<(), Fault> {
        record.state = state;
        self.save(record)
    }

    /// Forgets the record, if there is one.
    pub(super) fn clear(&self) -> Result<(), Fault> {
        match std::fs::remove_file(&self.record).and_then(|()| self.sync()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.fault(&self.record, error)),
            _ => Ok(()),
        }
    }

    /// An empty file for the answer's body.
    pub(super) fn new_body(&self) -> Result<Spool<'_>, Fault> {
        let file = private_file(&self.body).map_err(|error| self.fault(&self.body, error))?;
        Ok(Spool { desk: self, file, length: 0 })
    }

    /// The answer that `record` says is here.
    pub(super) fn bought(self, record: Record) -> Result<Bought, Fault> {
        let (State::Complete { status, length, restored, .. }, Some(proof)) = (&record.state, record.proof())
        else {
            return Err(self.fault(&self.record, io::Error::other("the answer is not complete")));
        };
        let found = std::fs::metadata(&self.body).map_err(|error| self.fault(&self.body, error))?.len();
        if found != *length {
            return Err(self.fault(&self.body, io::Error::other("the body is damaged")));
        }
        let fee = proof.fee_msat.and_then(|fee| Msat::new(fee).ok());
        let price = record.price()?;
        let paid_before = record.paid_before;
        let (status, restored, payment_hash) = (*status, *restored, record.payment_hash);
        Ok(Bought { status, price, fee, payment_hash, paid_before, restored, desk: self })
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.dir)?.sync_all()
    }

    fn fault(&self, path: &Path, error: io::Error) -> Fault {
        Fault::State { path: path.to_owned(), error }
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        if matches!(self.record.try_exists(), Ok(false)) {
            // Still locked: whoever waits for this file sees that it is gone and makes a new one.
            for path in [&self.draft, &self.body, &self.lock_path] {
                let _ = std::fs::remove_file(path);
            }
        }
    }
}

/// An empty file that only its owner can read.
pub(super) fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// Locks the file at `path`, which whoever had it before may have removed meanwhile.
fn lock(path: &Path) -> io::Result<File> {
    loop {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                tracing::warn!("another fetch of the same request is at work: waiting for it");
                file.lock()?;
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        match std::fs::metadata(path) {
            Ok(found) if found.ino() == file.metadata()?.ino() => return Ok(file),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
}

/// An answer's body on its way to the disk.
pub(super) struct Spool<'a> {
    desk: &'a Desk,
    file: File,
    length: u64,
}

impl Spool<'_> {
    pub(super) fn write(&mut self, chunk: &[u8]) -> Result<(), Fault> {
        self.file.write_all(chunk).map_err(|error| self.desk.fault(&self.desk.body, error))?;
        self.length = self.length.saturating_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
        Ok(())
    }

    /// Sees it on disk; gives its length in bytes.
    pub(super) fn end(self) -> Result<u64, Fault> {
        let synced = self.file.sync_all().and_then(|()| self.desk.sync());
        synced.map_err(|error| self.desk.fault(&self.desk.body, error))?;
        Ok(self.length)
    }
}

/// An answer that was paid for, whole and on disk until [`Bought::handed_over`].
pub struct Bought {
    /// The answer's status.
    pub status: u16,
    /// What was paid for its token.
    pub price: Msat,
    /// The token was paid for with an earlier request, and nothing was paid for this one.
    pub paid_before: bool,
    /// What routing cost, where the wallet tells.
    pub fee: Option<Msat>,
    /// The payment.
    pub payment_hash: PaymentHash,
    /// The server says that it gave the unit back.
    pub restored: bool,
    desk: Desk,
}

impl Bought {
    /// The body, from its beginning.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn body(&self) -> Result<File, Fault> {
        File::open(&self.desk.body).map_err(|error| self.desk.fault(&self.desk.body, error))
    }

    /// Forgets the purchase: the whole body has reached whoever wanted it. The next fetch buys anew.
    ///
    /// # Errors
    /// When the record cannot be removed; the next fetch hands over the same answer.
    pub fn handed_over(self) -> Result<(), Fault> {
        let desk = &self.desk;
        let removed = std::fs::remove_file(&desk.record).and_then(|()| desk.sync());
        removed.map_err(|error| desk.fault(&desk.record, error))
    }
}
