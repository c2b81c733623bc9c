//! Where the way back is kept, whose it is, and how a file of it appears: whole or not at all, mode 0600.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use bitcoin::Network;
use zeroize::Zeroizing;

use super::RescueError;
use crate::backup::Destination;

/// One node's files.
#[derive(Clone)]
pub struct Place {
    /// The network's directory.
    pub dir: PathBuf,
    /// A second directory for the snapshot, on another disk if the operator is wise.
    pub second: Option<PathBuf>,
    /// The network.
    pub network: Network,
    /// The node's public key, hexadecimal.
    pub node_id: String,
    /// Seals the snapshot.
    pub key: Zeroizing<[u8; 32]>,
}

impl Place {
    /// What a [`Place::key`] is derived from the seed for.
    pub const KEY: &'static str = "channels/v1";

    /// The channel state.
    pub fn store(&self) -> PathBuf {
        self.dir.join("channels.db")
    }

    /// The recovery snapshot beside it.
    pub fn snapshot(&self) -> PathBuf {
        self.dir.join("channels.snapshot")
    }

    /// Its copy in the second directory, with a name that tells whose it is: many nodes may share one.
    pub fn second_snapshot(&self) -> Option<PathBuf> {
        let whose: String = self.node_id.chars().take(16).collect();
        Some(self.second.as_ref()?.join(format!("tollhouse-{}-{whose}.snapshot", self.network)))
    }

    /// How far the channel state got, as was last seen.
    pub(super) fn mirror(&self) -> PathBuf {
        self.dir.join("channels.generation")
    }

    /// Sees that a snapshot can go there: the second directory may be a disk that is not mounted.
    pub(super) fn ready_for(&self, snapshot: &Path) -> Result<(), RescueError> {
        match &self.second {
            Some(second) if snapshot.parent() == Some(second) => {
                Ok(Destination::new(second.clone(), self.dir.clone()).ready()?)
            }
            _ => Ok(()),
        }
    }

    /// Every place where a snapshot may lie.
    pub(super) fn snapshots(&self) -> impl Iterator<Item = PathBuf> {
        std::iter::once(self.snapshot()).chain(self.second_snapshot())
    }
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Place({} of {})", self.dir.display(), self.node_id)
    }
}

/// Replaces the file by one that `fill` writes; whole on disk under its name when this returns.
pub(super) fn replace(
    path: &Path,
    fill: impl FnOnce(&mut File) -> std::io::Result<()>,
) -> Result<u64, RescueError> {
    let replaced = || -> std::io::Result<u64> {
        let dir = path.parent().unwrap_or_else(|| Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        fill(file.as_file_mut())?;
        file.as_file_mut().flush()?;
        file.as_file().sync_all()?;
        let bytes = file.as_file().metadata()?.len();
        file.persist(path).map_err(|error| error.error)?;
        File::open(dir)?.sync_all()?;
        Ok(bytes)
    };
    replaced().map_err(RescueError::file(path))
}
