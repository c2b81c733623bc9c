//! A directory for copies that should lie on another disk, which may not be mounted.
//!
//! Where a disk is not mounted, its place is an empty directory of the disk that it should save from, or nothing.
//! So it is noted beside the data where copies went: a directory that was there is never made again, and one that
//! was on another disk takes nothing while it is not.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::whole;

/// Where it is noted, in the network's directory.
const NOTE: &str = "destinations.json";

/// Why no copy goes there. Nothing was written.
#[derive(Debug, Error)]
pub enum DestinationFault {
    /// It was there before.
    #[error("{0} is gone: if it is on another disk, mount that; else make the directory")]
    Gone(PathBuf),
    /// It was on another disk before.
    #[error(
        "{dir} was on another disk and is now on the one that the data is on: is its disk mounted? If it is meant \
         so, remove {note}"
    )]
    Unmounted {
        /// The directory.
        dir: PathBuf,
        /// Where it says so.
        note: PathBuf,
    },
    /// It cannot be used.
    #[error("{path}: {error}")]
    File {
        /// What.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// A directory for copies.
#[derive(Clone, Debug)]
pub struct Destination {
    dir: PathBuf,
    data: PathBuf,
}

impl Destination {
    /// Copies of what is in `data` go to `dir`.
    pub fn new(dir: PathBuf, data: PathBuf) -> Destination {
        Destination { dir, data }
    }

    /// Makes the directory if it never was there, and sees that it is where it was.
    ///
    /// # Errors
    /// When no copy should go there now.
    pub fn ready(&self) -> Result<(), DestinationFault> {
        let mut notes = self.notes()?;
        let name = self.dir.to_string_lossy().into_owned();
        let noted = notes.get(&name).copied();
        if !self.dir.try_exists().map_err(fault(&self.dir))? {
            if noted.is_some() {
                return Err(DestinationFault::Gone(self.dir.clone()));
            }
            whole::make_dir(&self.dir).map_err(fault(&self.dir))?;
        }
        let apart = self.is_apart()?;
        if noted == Some(true) && !apart {
            let note = self.data.join(NOTE);
            return Err(DestinationFault::Unmounted { dir: self.dir.clone(), note });
        }
        if noted != Some(apart) {
            notes.insert(name, apart);
            let path = self.data.join(NOTE);
            let text = serde_json::to_vec(&notes).expect("names and yes or no are JSON");
            whole::put(&path, &text).map_err(fault(&path))?;
        }
        Ok(())
    }

    /// Ready, and a file could be written there just now.
    ///
    /// # Errors
    /// When not.
    pub fn takes(&self) -> Result<(), DestinationFault> {
        self.ready()?;
        let tried = tempfile::tempfile_in(&self.dir);
        tried.and_then(|mut file| io::Write::write_all(&mut file, b"tollhouse")).map_err(fault(&self.dir))
    }

    /// Whether it is on another file system than the data. Another file system may still be the same disk.
    ///
    /// # Errors
    /// When one of them cannot be looked at.
    pub fn is_apart(&self) -> Result<bool, DestinationFault> {
        let device = |path: &Path| std::fs::metadata(path).map(|found| found.dev()).map_err(fault(path));
        Ok(device(&self.dir)? != device(&self.data)?)
    }

    /// The same before either may be there, by the nearest directories that are; `None` where nobody can tell, or where
    /// it was on another file system before and may not be mounted now.
    pub fn would_be_apart(&self) -> Option<bool> {
        let name = self.dir.to_string_lossy().into_owned();
        if self.notes().ok()?.get(&name) == Some(&true) {
            return None;
        }
        let device = |path: &Path| {
            path.ancestors().find_map(|path| std::fs::metadata(path).ok()).map(|found| found.dev())
        };
        Some(device(&self.dir)? != device(&self.data)?)
    }

    /// Whether each directory was on another file system. A note that cannot be read says nothing.
    fn notes(&self) -> Result<BTreeMap<String, bool>, DestinationFault> {
        let path = self.data.join(NOTE);
        match std::fs::read(&path) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
            Err(error) => Err(fault(&path)(error)),
        }
    }
}

fn fault(path: &Path) -> impl Fn(io::Error) -> DestinationFault + use<> {
    let path = path.to_owned();
    move |error| DestinationFault::File { path: path.clone(), error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_is_not_made_again_and_a_disk_that_went_takes_nothing() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("mount/copies");
        let copies = Destination::new(dir.clone(), home.path().to_owned());
        copies.takes().unwrap();
        assert!(!copies.is_apart().unwrap());
        copies.takes().unwrap();
        std::fs::remove_dir(&dir).unwrap();
        assert!(matches!(copies.ready(), Err(DestinationFault::Gone(gone)) if gone == dir));
        assert!(!dir.exists());
        std::fs::create_dir(&dir).unwrap();
        copies.ready().unwrap();

        // As if a disk had been mounted there.
        let note = home.path().join(NOTE);
        std::fs::write(&note, serde_json::json!({ (dir.to_str().unwrap()): true }).to_string()).unwrap();
        let refused = copies.takes().unwrap_err();
        assert!(refused.to_string().contains("is its disk mounted?"), "{refused}");
        std::fs::remove_file(note).unwrap();
        copies.ready().unwrap();
    }

    #[test]
    fn another_file_system_is_told_from_ours() {
        let home = tempfile::tempdir().unwrap();
        let copies = Destination::new("/proc".into(), home.path().to_owned());
        assert!(copies.is_apart().unwrap());
        assert_eq!(copies.would_be_apart(), Some(true));
        let later =
            |dir: &str| Destination::new(dir.into(), home.path().join("data/regtest")).would_be_apart();
        assert_eq!(later("/proc/none/yet"), Some(true), "by what is there already");
        let inside = home.path().join("copies/of/it");
        assert_eq!(later(inside.to_str().unwrap()), Some(false));
        let noted = serde_json::json!({ (inside.to_str().unwrap()): true }).to_string();
        std::fs::write(home.path().join(NOTE), noted).unwrap();
        let mounted = Destination::new(inside, home.path().to_owned());
        assert_eq!(mounted.would_be_apart(), None, "it may be the mount point of a disk that is away");
    }
}
