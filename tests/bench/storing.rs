//! The reference: the same gateway, whose invoices come from the node's `receive()`, which stores them.

use std::sync::Arc;

use ldk_node::io::sqlite_store::SqliteStore;
use ldk_node::lightning::util::persist::KVStoreSync;
use tollhouse::node::LightningNode;
use tollhouse::ports::{CannotReceive, InvoiceAsk, KeyValue, KvKey, MintedInvoice, Minter};
use tollhouse::types::{PaymentHash, Timestamp};

/// Stores each invoice.
pub(crate) struct StoringMinter(pub(crate) Arc<LightningNode>);

impl Minter for StoringMinter {
    fn mint(&self, ask: &InvoiceAsk) -> Result<MintedInvoice, CannotReceive> {
        let failed = |error: String| CannotReceive::Failed(error);
        let made = tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(self.0.stored_invoice(ask.clone()))
        });
        let bolt11 = made.map_err(|error| failed(error.to_string()))?;
        let invoice: lightning_invoice::Bolt11Invoice =
            bolt11.parse().map_err(|error| failed(format!("{error:?}")))?;
        let mut hash = [0; 32];
        hash.copy_from_slice(invoice.payment_hash().as_ref());
        let begun = Timestamp::from_secs(invoice.duration_since_epoch().as_secs());
        Ok(MintedInvoice {
            bolt11,
            payment_hash: PaymentHash::from_bytes(hash),
            expires_at: begun.plus(ask.expiry),
        })
    }
}

/// The node library's own store.
pub(crate) struct DefaultStore(pub(crate) SqliteStore);

impl KeyValue for DefaultStore {
    fn read(&self, key: &KvKey<'_>) -> std::io::Result<Option<Vec<u8>>> {
        match KVStoreSync::read(&self.0, key.primary, key.secondary, key.key) {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.kind() == ldk_node::lightning::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(std::io::Error::other(error.to_string())),
        }
    }

    fn write(&self, key: &KvKey<'_>, value: &[u8]) -> std::io::Result<()> {
        KVStoreSync::write(&self.0, key.primary, key.secondary, key.key, value.to_vec())
            .map_err(|error| std::io::Error::other(error.to_string()))
    }

    fn remove(&self, key: &KvKey<'_>) -> std::io::Result<()> {
        KVStoreSync::remove(&self.0, key.primary, key.secondary, key.key, false)
            .map_err(|error| std::io::Error::other(error.to_string()))
    }

    fn list(&self, primary: &str, secondary: &str) -> std::io::Result<Vec<String>> {
        KVStoreSync::list(&self.0, primary, secondary)
            .map_err(|error| std::io::Error::other(error.to_string()))
    }

    fn keep_copy(&self) -> std::io::Result<std::path::PathBuf> {
        Err(std::io::Error::new(std::io::ErrorKind::Unsupported, "the benchmark's store keeps no copies"))
    }
}
