//! The way back to the coins when channel state is lost, old or unreadable.
//!
//! While the appliance runs, a [`Keeper`] writes a recovery snapshot (peers, channels' monitors, the wallet's own
//! notes; sealed under a key of the seed) and mirrors how far the channel state got. At each start [`open`]
//! compares: a store that is behind its mirror is an old copy, and the node does not start on it, because
//! a peer could take every coin of a channel whose old state we show (THREATS 20). [`Recovery`] makes a store
//! without a channel manager from the newest monitors: peers hear of unknown channels, close them, and the
//! monitors claim what is ours. Monitors that may not be the newest are made unable to close a channel.
//!
//! Invariants: nothing here removes channel state, it is only moved aside; a node's write never waits for a
//! snapshot; the mirror never says more than is on disk.

mod keeper;
mod mirror;
mod opening;
mod place;
mod recovered;
mod recovery;
mod snapshot;
mod watched;

use std::path::PathBuf;

use thiserror::Error;

use crate::backup::DestinationFault;
use crate::node::UnreadableMonitors;
use crate::store::StoreError;

pub use keeper::{Keeper, SnapshotCopy, Standing};
pub use mirror::Mirrored;
pub use opening::{Opened, open};
pub use place::Place;
pub use recovered::{forget_recovered, note_recovered, recovered};
pub use recovery::{Found, Recovery, Source};
pub use snapshot::{Contents, Label};

/// Why the way back cannot be kept or gone.
#[derive(Debug, Error)]
pub enum RescueError {
    /// A file cannot be read or written.
    #[error("{path}: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{path} is damaged: {what}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A snapshot of another node or network.
    #[error("{path} is the snapshot of {theirs}, not of {ours}: it belongs to another seed or network")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        theirs: String,
        /// Who we are.
        ours: String,
    },
    /// The channel state cannot be used as a database.
    #[error("channels.db: {0}")]
    Store(#[from] StoreError),
    /// The second directory is not where it was.
    #[error(transparent)]
    Destination(#[from] DestinationFault),
    /// The channels' monitors cannot be used.
    #[error(transparent)]
    Monitors(#[from] UnreadableMonitors),
}

impl RescueError {
    fn file(path: &std::path::Path) -> impl Fn(std::io::Error) -> RescueError {
        let path = path.to_owned();
        move |error| RescueError::File { path: path.clone(), error }
    }
}
