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

/// Drops the head of the library's queue, once. Where the file cannot be written, the library has dropped it all the
/// same: a second try would drop the event behind it, which nobody has handled. The file has it until the next one
/// that is written, so that after a restart before that it comes again, as what was left over does.
pub(super) fn drop_head(node: &ldk_node::Node) {
    if let Err(error) = node.event_handled() {
        tracing::error!(%error, "that an event of the node was handled could not be written: it may come again");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use ldk_node::lightning::ln::channelmanager::PaymentId;
    use ldk_node::lightning::util::ser::Writeable;
    use ldk_node::{Builder, DynStore, Event};

    use super::*;
    use crate::node::storage::LdkStorage;
    use crate::store::NodeStore;

    /// A store on a disk that is full when the test says so.
    struct Full(NodeStore, Arc<AtomicBool>);

    impl KeyValue for Full {
        fn read(&self, key: &KvKey<'_>) -> io::Result<Option<Vec<u8>>> {
            self.0.read(key)
        }

        fn write(&self, key: &KvKey<'_>, value: &[u8]) -> io::Result<()> {
            if self.1.load(Ordering::Acquire) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.0.write(key, value)
        }

        fn remove(&self, key: &KvKey<'_>) -> io::Result<()> {
            self.0.remove(key)
        }

        fn list(&self, primary: &str, secondary: &str) -> io::Result<Vec<String>> {
            self.0.list(primary, secondary)
        }

        fn keep_copy(&self) -> io::Result<std::path::PathBuf> {
            self.0.keep_copy()
        }
    }

    fn received(number: u8) -> Event {
        Event::PaymentReceived {
            payment_id: Some(PaymentId([number; 32])),
            payment_hash: ldk_node::lightning_types::payment::PaymentHash([number; 32]),
            amount_msat: 1_000,
            custom_records: Vec::new(),
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_full_disk_drops_the_event_that_was_handled_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("channels.db");
        let queue = |numbers: &[u8]| {
            let length = u16::try_from(numbers.len()).unwrap().to_be_bytes().to_vec();
            [length, numbers.iter().flat_map(|number| received(*number).encode()).collect()].concat()
        };
        let key = KvKey { primary: "", secondary: "", key: "events" };
        let store = NodeStore::open(&path).unwrap();
        // An invoice that was paid twice is told twice, in the same words.
        store.write(&key, &queue(&[1, 1, 2, 3])).unwrap();
        let full = Arc::new(AtomicBool::new(false));
        let store: Arc<dyn KeyValue> = Arc::new(Full(store, Arc::clone(&full)));
        let kept = Arc::clone(&store);
        let heads = tokio::task::spawn_blocking(move || {
            let mut builder = Builder::new();
            builder.set_network(bitcoin::Network::Regtest);
            builder.set_entropy_seed_bytes([7; 64]);
            builder.set_chain_source_esplora("http://127.0.0.1:1".to_owned(), None);
            let store: Arc<DynStore> = Arc::new(LdkStorage::new(store));
            let node = builder.build_with_store(store).unwrap();
            let mut heads = vec![node.next_event()];
            full.store(true, Ordering::Release);
            drop_head(&node);
            heads.push(node.next_event());
            drop_head(&node);
            heads.push(node.next_event());
            full.store(false, Ordering::Release);
            drop_head(&node);
            heads.push(node.next_event());
            heads
        });
        let heads = heads.await.unwrap();
        assert_eq!(heads, [1, 1, 2, 3].map(|number| Some(received(number))));
        assert_eq!(kept.read(&key).unwrap(), Some(queue(&[3])), "the file is as far as the queue again");
    }

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
