//! Documents as they were written last, so that asking often costs little. Few are kept, and none for a
//! name that only whoever asks gives the host.

use std::sync::{Arc, Mutex, PoisonError};

use hashlink::LruCache;
use serde_json::Value;

use super::Kind;
use crate::catalog::RouteTable;

/// Documents that are kept.
const MOST: usize = 16;

/// Which document, of which of the price list's hosts; the empty one is any other.
type Key = (Kind, String);

/// The upstreams' own documents that one was made with.
type Parts = Vec<Option<Arc<Value>>>;

/// What a document was made of; it is good as long as that is in force.
#[derive(Debug)]
struct Written {
    table: Arc<RouteTable>,
    parts: Parts,
    text: Arc<str>,
}

/// The documents that are kept.
#[derive(Clone)]
pub(crate) struct Rendered(Arc<Mutex<LruCache<Key, Written>>>);

impl Default for Rendered {
    fn default() -> Rendered {
        Rendered(Arc::new(Mutex::new(LruCache::new(MOST))))
    }
}

impl std::fmt::Debug for Rendered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rendered")
    }
}

impl Rendered {
    /// The document as it was written of just these parts, or as `write` writes it now.
    pub(super) fn get(
        &self,
        key: Key,
        table: Arc<RouteTable>,
        parts: Parts,
        write: impl FnOnce(&RouteTable, &Parts) -> String,
    ) -> Arc<str> {
        let same = |written: &&mut Written| {
            let one = |(a, b): (&Option<Arc<Value>>, &Option<Arc<Value>>)| match (a, b) {
                (None, None) => true,
                (Some(a), Some(b)) => Arc::ptr_eq(a, b),
                _ => false,
            };
            Arc::ptr_eq(&written.table, &table)
                && written.parts.len() == parts.len()
                && written.parts.iter().zip(&parts).all(one)
        };
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(written) = lock().get_mut(&key).filter(same) {
            return Arc::clone(&written.text);
        }
        let text = Arc::<str>::from(write(&table, &parts));
        lock().insert(key, Written { table, parts, text: Arc::clone(&text) });
        text
    }
}
