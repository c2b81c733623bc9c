//! When the node begins to repeat itself.
//!
//! Each time that the library is built on a store it tells the payments of channels that are closed again, once
//! each, behind what its queue held already. What the queue held may have been told, and not acknowledged,
//! before. So there are up to two beginnings: before what was left over, and after it; a payment that is told
//! twice between two beginnings was claimed twice.

use std::io;

use crate::ports::{KeyValue, KvKey};

/// The beginnings that are still to be told of one build of the library.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Beginnings {
    due: bool,
    left_over: u16,
}

impl Beginnings {
    /// Of a library that will be built on `store`.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(super) fn on(store: &dyn KeyValue) -> io::Result<Beginnings> {
        // ldk-node's own name of its queue, which begins with its length.
        let queue = store.read(&KvKey { primary: "", secondary: "", key: "events" })?;
        let length = queue.as_ref().and_then(|queue| queue.first_chunk::<2>());
        Ok(Beginnings { due: true, left_over: length.map_or(0, |length| u16::from_be_bytes(*length)) })
    }

    /// Whether one is to be told now, before the queue's head; true once for each.
    pub(super) fn is_due(&mut self) -> bool {
        std::mem::take(&mut self.due)
    }

    /// The queue's head was dropped.
    pub(super) fn acknowledged(&mut self) {
        if self.left_over > 0 {
            self.left_over -= 1;
            self.due |= self.left_over == 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_over_lies_between_two_beginnings() {
        let mut fresh = Beginnings { due: true, left_over: 0 };
        assert!(fresh.is_due() && !fresh.is_due());
        fresh.acknowledged();
        assert!(!fresh.is_due(), "one, and never again");
        let mut left = Beginnings { due: true, left_over: 2 };
        assert!(left.is_due());
        left.acknowledged();
        assert!(!left.is_due());
        left.acknowledged();
        assert!(left.is_due() && !left.is_due(), "behind the last one that was left over");
        left.acknowledged();
        assert!(!left.is_due());
    }
}
