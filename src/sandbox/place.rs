//! Where the sandbox tells other commands how to reach it: the demo file.
//!
//! It holds keys, so it is readable by its owner only and removed at the end.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What `fetch` and `demo traffic` need to know of a running demo.
#[derive(Clone, Serialize, Deserialize)]
pub struct DemoPlace {
    /// The gateway's root.
    pub gateway: String,
    /// The operator's page and API.
    pub admin: String,
    /// A key for `admin`.
    pub admin_key: String,
    /// The payer's admin API.
    pub payer: String,
    /// A key for `payer`.
    pub payer_key: String,
    /// The key of a wallet of the payer's, for clients of LND's REST interface, as they send it.
    #[serde(default)]
    pub wallet_macaroon: String,
    /// The demo's process.
    pub pid: u32,
}

impl DemoPlace {
    /// Reads the file.
    ///
    /// # Errors
    /// When there is none, or it is not one of ours.
    pub fn read(path: &Path) -> std::io::Result<DemoPlace> {
        let text = std::fs::read_to_string(path)?;
        serde_json::from_str(&text)
            .map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidData, error))
    }
}

/// The demo file while the demo runs; dropping it removes the file if it is still this demo's.
pub struct Announced {
    path: PathBuf,
    pid: u32,
}

impl Announced {
    /// Writes the file, mode 0600, whole or not at all.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(path: &Path, place: &DemoPlace) -> std::io::Result<Announced> {
        let folder = path.parent().unwrap_or_else(|| Path::new("."));
        std::fs::create_dir_all(folder)?;
        // A temporary file is made with mode 0600.
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        serde_json::to_writer_pretty(&mut file, place)?;
        file.flush()?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(Announced { path: path.to_owned(), pid: place.pid })
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        if DemoPlace::read(&self.path).is_ok_and(|place| place.pid == self.pid)
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "the demo file could not be removed");
        }
    }
}
