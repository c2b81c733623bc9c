//! Which channels a recovery took up: noted beside the channel state, for the ledger, which may be brought back later.
//!
//! Without a manager the library tells of none of their ends, so the next start writes them into the ledger.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::RescueError;
use super::place::replace;
use crate::store::RecoveredChannel;

fn file(dir: &Path) -> PathBuf {
    dir.join("channels.recovered")
}

/// Notes them in the network's directory, beside those of a recovery that no start followed.
///
/// # Errors
/// When the disk fails.
pub fn note_recovered(dir: &Path, channels: Vec<RecoveredChannel>) -> Result<(), RescueError> {
    let mut all = recovered(dir)?;
    all.retain(|old| channels.iter().all(|new| new.channel_id != old.channel_id));
    all.extend(channels);
    if all.is_empty() {
        return Ok(());
    }
    let text = serde_json::to_string(&all).expect("they are made of text");
    replace(&file(dir), |file| file.write_all(text.as_bytes())).map(drop)
}

/// Those that no start has taken up yet.
///
/// # Errors
/// When the file is there and cannot be read.
pub fn recovered(dir: &Path) -> Result<Vec<RecoveredChannel>, RescueError> {
    let file = file(dir);
    match std::fs::read_to_string(&file) {
        Ok(text) => serde_json::from_str(&text)
            .map_err(|error| RescueError::file(&file)(std::io::Error::new(ErrorKind::InvalidData, error))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(RescueError::file(&file)(error)),
    }
}

/// Says that the ledger has them.
///
/// # Errors
/// When the disk fails.
pub fn forget_recovered(dir: &Path) -> Result<(), RescueError> {
    let file = file(dir);
    match std::fs::remove_file(&file) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(RescueError::file(&file)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_recoveries_before_a_start_are_one_list() {
        let folder = tempfile::tempdir().unwrap();
        let channel = |id: &str, peer: &str| RecoveredChannel {
            channel_id: id.to_owned(),
            peer: peer.to_owned(),
            funding: "f:0".to_owned(),
        };
        assert_eq!(recovered(folder.path()).unwrap(), []);
        note_recovered(folder.path(), vec![channel("a", "02"), channel("b", "02")]).unwrap();
        note_recovered(folder.path(), vec![channel("b", "03")]).unwrap();
        assert_eq!(recovered(folder.path()).unwrap(), [channel("a", "02"), channel("b", "03")]);
        forget_recovered(folder.path()).unwrap();
        forget_recovered(folder.path()).unwrap();
        assert_eq!(recovered(folder.path()).unwrap(), []);
    }
}
