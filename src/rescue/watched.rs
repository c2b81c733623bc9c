//! The node's store, which tells when a channel changed. It adds nothing to a write but a count.

use std::collections::HashSet;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::node::{is_monitor, is_monitor_update};
use crate::ports::{KeyValue, KvKey};
use crate::store::NodeStore;

/// How often something changed since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// A channel's state, its coming or its going.
    pub(super) any: u64,
    /// The coming or going of a channel.
    pub(super) set: u64,
}

/// A [`NodeStore`] under watch.
pub(super) struct Watched {
    store: Arc<NodeStore>,
    channels: Mutex<HashSet<String>>,
    changes: watch::Sender<Changes>,
}

impl Watched {
    pub(super) fn new(store: Arc<NodeStore>) -> io::Result<Watched> {
        let channels = store.list(crate::node::MONITORS, "")?.into_iter().collect();
        Ok(Watched { store, channels: Mutex::new(channels), changes: watch::Sender::default() })
    }

    pub(super) fn changes(&self) -> watch::Receiver<Changes> {
        self.changes.subscribe()
    }

    fn changed(&self, key: &KvKey<'_>, is_there: bool) {
        let set = is_monitor(key.primary) && {
            let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
            if is_there { channels.insert(key.key.to_owned()) } else { channels.remove(key.key) }
        };
        if is_monitor(key.primary) || is_monitor_update(key.primary) {
            self.changes.send_modify(|changes| {
                changes.any = changes.any.saturating_add(1);
                changes.set = changes.set.saturating_add(u64::from(set));
            });
        }
    }
}

impl KeyValue for Watched {
    fn read(&self, key: &KvKey<'_>) -> io::Result<Option<Vec<u8>>> {
        self.store.read(key)
    }

    fn write(&self, key: &KvKey<'_>, value: &[u8]) -> io::Result<()> {
        self.store.write(key, value)?;
        self.changed(key, true);
        Ok(())
    }

    fn remove(&self, key: &KvKey<'_>) -> io::Result<()> {
        self.store.remove(key)?;
        // Old updates that a monitor took in are only swept up.
        if is_monitor(key.primary) {
            self.changed(key, false);
        }
        Ok(())
    }

    fn list(&self, primary: &str, secondary: &str) -> io::Result<Vec<String>> {
        self.store.list(primary, secondary)
    }

    fn keep_copy(&self) -> io::Result<PathBuf> {
        self.store.keep_copy()
    }
}

/// In place of a store that must not be touched.
pub(super) struct Untouched;

impl KeyValue for Untouched {
    fn read(&self, _: &KvKey<'_>) -> io::Result<Option<Vec<u8>>> {
        Err(barred())
    }

    fn write(&self, _: &KvKey<'_>, _: &[u8]) -> io::Result<()> {
        Err(barred())
    }

    fn remove(&self, _: &KvKey<'_>) -> io::Result<()> {
        Err(barred())
    }

    fn list(&self, _: &str, _: &str) -> io::Result<Vec<String>> {
        Err(barred())
    }

    fn keep_copy(&self) -> io::Result<PathBuf> {
        Err(barred())
    }
}

fn barred() -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, "this channel state is not used")
}
