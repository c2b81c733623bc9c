//! The channels' recovery snapshot beside a made-up node.

use tollhouse::clock::Clock;
use tollhouse::rescue::{SnapshotCopy, Standing};

use super::AdminApp;

impl AdminApp {
    /// A snapshot of one channel that was written just now, of these bytes.
    pub(crate) fn written_snapshot(&self, bytes: &[u8]) {
        let file = self.dir.path().join("channels.snapshot");
        std::fs::write(&file, bytes).expect("written");
        let copy = SnapshotCopy { file, written_at: Some(self.clock.now()), bytes: 12, error: None };
        self.snapshot.send_replace(Standing { channels: 1, copies: vec![copy], ..Standing::default() });
    }
}
