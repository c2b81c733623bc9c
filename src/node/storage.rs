//! Our key-value store behind LDK's two storage traits.
//!
//! Invariant: a write is on disk, in the order of the calls, before it returns; nothing is buffered
//! or reordered, so a monitor is never behind what the node told its peer.
//!
//! Invariant: one engine writes at a time. A thread of the library can outlive its engine (one that waits for an
//! Electrum server has no time limit), and what it holds is older than what the next engine wrote: [`Fence`] keeps
//! it out.

use std::sync::{Arc, PoisonError, RwLock};

use ldk_node::lightning::io;
use ldk_node::lightning::util::persist::{KVStore, KVStoreSync};

use crate::ports::{BoxFuture, KeyValue, KvKey};

/// LDK's view of a [`KeyValue`].
pub(super) struct LdkStorage {
    store: Arc<dyn KeyValue>,
    shut: Arc<RwLock<bool>>,
}

/// Ends the writing of one [`LdkStorage`], at the latest when it is dropped.
pub(super) struct Fence(Arc<RwLock<bool>>);

impl Fence {
    /// Waits for a write that goes on, and lets none come after it.
    pub(super) fn shut(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = true;
    }
}

impl Drop for Fence {
    fn drop(&mut self) {
        self.shut();
    }
}

impl LdkStorage {
    /// Storage that is written as long as its user lives.
    pub(super) fn new(store: Arc<dyn KeyValue>) -> LdkStorage {
        LdkStorage { store, shut: Arc::default() }
    }

    /// The same for a user that is stopped, and what stops its writing.
    pub(super) fn fenced(store: Arc<dyn KeyValue>) -> (LdkStorage, Fence) {
        let storage = LdkStorage::new(store);
        let fence = Fence(Arc::clone(&storage.shut));
        (storage, fence)
    }

    fn change(&self, work: impl FnOnce(&dyn KeyValue) -> std::io::Result<()>) -> io::Result<()> {
        let shut = self.shut.read().unwrap_or_else(PoisonError::into_inner);
        if *shut {
            tracing::warn!("a thread of a node that was stopped wanted to write its old state: refused");
            let why = "this node was stopped: another one may have written since";
            return Err(io::Error::new(io::ErrorKind::Other, why));
        }
        Ok(work(&*self.store)?)
    }
}

impl KVStoreSync for LdkStorage {
    fn read(&self, primary: &str, secondary: &str, key: &str) -> io::Result<Vec<u8>> {
        let found = self.store.read(&KvKey { primary, secondary, key })?;
        found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("{primary}/{secondary}/{key}")))
    }

    fn write(&self, primary: &str, secondary: &str, key: &str, value: Vec<u8>) -> io::Result<()> {
        self.change(|store| store.write(&KvKey { primary, secondary, key }, &value))
    }

    fn remove(&self, primary: &str, secondary: &str, key: &str, _lazy: bool) -> io::Result<()> {
        self.change(|store| store.remove(&KvKey { primary, secondary, key }))
    }

    fn list(&self, primary: &str, secondary: &str) -> io::Result<Vec<String>> {
        Ok(self.store.list(primary, secondary)?)
    }
}

/// Done at the call, so that the order of writes is the order of calls; the node has a runtime of
/// its own whose workers may wait for the disk.
fn ready<T: Send + 'static>(result: io::Result<T>) -> BoxFuture<'static, io::Result<T>> {
    Box::pin(std::future::ready(result))
}

impl KVStore for LdkStorage {
    fn read(&self, primary: &str, secondary: &str, key: &str) -> BoxFuture<'static, io::Result<Vec<u8>>> {
        ready(KVStoreSync::read(self, primary, secondary, key))
    }

    fn write(
        &self,
        primary: &str,
        secondary: &str,
        key: &str,
        value: Vec<u8>,
    ) -> BoxFuture<'static, io::Result<()>> {
        ready(KVStoreSync::write(self, primary, secondary, key, value))
    }

    fn remove(
        &self,
        primary: &str,
        secondary: &str,
        key: &str,
        lazy: bool,
    ) -> BoxFuture<'static, io::Result<()>> {
        ready(KVStoreSync::remove(self, primary, secondary, key, lazy))
    }

    fn list(&self, primary: &str, secondary: &str) -> BoxFuture<'static, io::Result<Vec<String>>> {
        ready(KVStoreSync::list(self, primary, secondary))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;
    use crate::store::NodeStore;

    /// A store whose writes wait until the test lets them go on.
    struct Slow(NodeStore, std::sync::Mutex<(mpsc::Sender<()>, mpsc::Receiver<()>)>);

    impl KeyValue for Slow {
        fn read(&self, key: &KvKey<'_>) -> std::io::Result<Option<Vec<u8>>> {
            self.0.read(key)
        }

        fn write(&self, key: &KvKey<'_>, value: &[u8]) -> std::io::Result<()> {
            let gate = self.1.lock().unwrap();
            gate.0.send(()).unwrap();
            gate.1.recv().unwrap();
            self.0.write(key, value)
        }

        fn remove(&self, key: &KvKey<'_>) -> std::io::Result<()> {
            self.0.remove(key)
        }

        fn list(&self, primary: &str, secondary: &str) -> std::io::Result<Vec<String>> {
            self.0.list(primary, secondary)
        }

        fn keep_copy(&self) -> std::io::Result<std::path::PathBuf> {
            self.0.keep_copy()
        }
    }

    #[test]
    fn a_stopped_engine_ends_the_write_it_is_in_and_writes_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let ((began, begun), (go, going)) = (mpsc::channel(), mpsc::channel());
        let store = NodeStore::open(&dir.path().join("channels.db")).unwrap();
        let store: Arc<dyn KeyValue> = Arc::new(Slow(store, std::sync::Mutex::new((began, going))));
        let (old, fence) = LdkStorage::fenced(Arc::clone(&store));
        let old = Arc::new(old);
        let own = Arc::clone(&old);
        let left = std::thread::spawn(move || KVStoreSync::write(&*own, "monitors", "", "a", vec![1]));
        begun.recv().unwrap();
        let (shut, is_shut) = mpsc::channel();
        let stop = std::thread::spawn(move || {
            fence.shut();
            shut.send(()).unwrap();
        });
        let early = is_shut.recv_timeout(Duration::from_millis(50));
        assert_eq!(early, Err(mpsc::RecvTimeoutError::Timeout), "the write is waited for");
        go.send(()).unwrap();
        left.join().unwrap().unwrap();
        stop.join().unwrap();

        let next = LdkStorage::new(store);
        go.send(()).unwrap();
        KVStoreSync::write(&next, "monitors", "", "a", vec![2]).unwrap();
        KVStoreSync::write(&*old, "monitors", "", "a", vec![1]).unwrap_err();
        KVStoreSync::remove(&*old, "monitors", "", "a", false).unwrap_err();
        assert_eq!(KVStoreSync::read(&*old, "monitors", "", "a").unwrap(), [2]);
    }
}
