//! How long somebody who is slow is waited for.
//!
//! Why: a byte now and then would keep a request alive for ever, with its unit, its place among the
//! connections and the upstream's. So waiting uses patience up, and bytes give it back: who moves
//! [`BYTES_PER_SECOND`] is waited for without end, who moves nothing as long as the patience lasts, and
//! who drips not much longer than that.

use std::time::Duration;

/// What must move, on average, while somebody is waited for.
pub(super) const BYTES_PER_SECOND: u64 = 512;

/// Patience with one who is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    whole: Duration,
    left: Duration,
}

impl Pace {
    /// All of it.
    pub fn new(patience: Duration) -> Pace {
        Pace { whole: patience, left: patience }
    }

    /// How long may still be waited.
    pub fn left(&self) -> Duration {
        self.left
    }

    /// So long was waited.
    pub fn waited(&mut self, span: Duration) {
        self.left = self.left.saturating_sub(span);
    }

    /// So many bytes moved.
    pub fn moved(&mut self, bytes: u64) {
        let earned = Duration::from_millis(bytes.saturating_mul(1_000) / BYTES_PER_SECOND);
        self.left = self.left.saturating_add(earned).min(self.whole);
    }
}
