//! Tokens that are good for more than one request, kept for the next one.
//!
//! Invariants: a token is here, on disk, before its first use, and until the seller says that nothing is
//! left of it; it goes to the origin that sold it and to no other. Files are private (0600 in a 0700
//! directory) and replaced whole.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use url::Url;

use super::desk::private_file;
use super::fault::Fault;
use super::record::{Record, Ticket};
use crate::l402::Sold;
use crate::secrets::{SecretsError, private_dir};
use crate::types::{Name, PaymentHash, Timestamp};

/// The seller's codes after which a token opens nothing any more, here or anywhere.
const DEAD: [&str; 6] = ["spent", "expired", "revoked", "restores_exhausted", "exhausted", "unknown_epoch"];

/// The tokens of one person.
pub(super) struct Purse {
    dir: PathBuf,
}

/// One token; it holds a proof, so no `Debug`.
#[derive(Serialize, Deserialize)]
struct Kept {
    origin: String,
    service: Name,
    /// Until when it is good at most.
    until: Timestamp,
    ticket: Ticket,
}

impl Purse {
    pub(super) fn open(state_dir: &Path) -> Result<Purse, Fault> {
        let dir = state_dir.join("tokens");
        private_dir(&dir).map_err(|error| match error {
            SecretsError::File { path, error } => Fault::State { path, error },
            other => Fault::State { path: dir.clone(), error: io::Error::other(other) },
        })?;
        Ok(Purse { dir })
    }

    /// Keeps the token of `record`, when it is good for more than this purchase.
    pub(super) fn keep(&self, url: &Url, record: &Record) -> Result<(), Fault> {
        let (Some(reusable), Some(ticket)) = (&record.reusable, record.ticket()) else { return Ok(()) };
        let kept = Kept {
            origin: url.origin().ascii_serialization(),
            service: reusable.service.clone(),
            until: reusable.until,
            ticket,
        };
        let path = self.path(record.payment_hash);
        let write = || {
            let draft = path.with_extension("new");
            let mut file = private_file(&draft)?;
            file.write_all(&serde_json::to_vec(&kept)?)?;
            file.sync_all()?;
            std::fs::rename(&draft, &path)?;
            File::open(&self.dir)?.sync_all()
        };
        write().map_err(|error| Fault::State { path: path.clone(), error })
    }

    /// The tokens that `url`'s origin sold, the one that ends first in front; where `like` says what is for sale, those for
    /// its service alone. A file that cannot be read is left alone and told of: it may be money.
    pub(super) fn find(&self, url: &Url, like: Option<&Sold>, now: Timestamp) -> Result<Vec<Ticket>, Fault> {
        let fault = |error| Fault::State { path: self.dir.clone(), error };
        let origin = url.origin().ascii_serialization();
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.dir).map_err(fault)? {
            let path = entry.map_err(fault)?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let read = std::fs::read(&path).and_then(|text| Ok(serde_json::from_slice::<Kept>(&text)?));
            match read {
                Ok(kept) if kept.until < now => self.remove(kept.ticket.payment_hash)?,
                Ok(kept) if kept.origin == origin && like.is_none_or(|sold| kept.service == sold.service) => {
                    found.push(kept)
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(path = %path.display(), %error, "a kept token cannot be read"),
            }
        }
        found.sort_by_key(|kept| (kept.until, kept.ticket.payment_hash));
        Ok(found.into_iter().map(|kept| kept.ticket).collect())
    }

    /// Hears why the seller refused a token, and throws away what is dead.
    pub(super) fn refused(&self, payment_hash: PaymentHash, code: &str) -> Result<(), Fault> {
        if DEAD.contains(&code) { self.remove(payment_hash) } else { Ok(()) }
    }

    fn remove(&self, payment_hash: PaymentHash) -> Result<(), Fault> {
        let path = self.path(payment_hash);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Fault::State { path, error }),
            _ => Ok(()),
        }
    }

    fn path(&self, payment_hash: PaymentHash) -> PathBuf {
        self.dir.join(format!("{payment_hash}.json"))
    }
}
