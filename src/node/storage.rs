//! Our key-value store behind LDK's two storage traits.
//!
//! Invariant: a write is on disk, in the order of the calls, before it returns; nothing is buffered
//! or reordered, so a monitor is never behind what the node told its peer.

use std::sync::Arc;

use ldk_node::lightning::io;
use ldk_node::lightning::util::persist::{KVStore, KVStoreSync};

use crate::ports::{BoxFuture, KeyValue, KvKey};

/// LDK's view of a [`KeyValue`].
pub(super) struct LdkStorage(pub(super) Arc<dyn KeyValue>);

impl KVStoreSync for LdkStorage {
    fn read(&self, primary: &str, secondary: &str, key: &str) -> io::Result<Vec<u8>> {
        let found = self.0.read(&KvKey { primary, secondary, key })?;
        found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("{primary}/{secondary}/{key}")))
    }

    fn write(&self, primary: &str, secondary: &str, key: &str, value: Vec<u8>) -> io::Result<()> {
        Ok(self.0.write(&KvKey { primary, secondary, key }, &value)?)
    }

    fn remove(&self, primary: &str, secondary: &str, key: &str, _lazy: bool) -> io::Result<()> {
        Ok(self.0.remove(&KvKey { primary, secondary, key })?)
    }

    fn list(&self, primary: &str, secondary: &str) -> io::Result<Vec<String>> {
        Ok(self.0.list(primary, secondary)?)
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
