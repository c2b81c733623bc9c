//! The master keys in force, which the operator may change while requests are decided.
//!
//! Invariant: whoever mints or verifies takes one set and works with it to the end, so that a key is
//! never retired between the id that names it and the token that it signs.

use std::sync::{Arc, PoisonError, RwLock};

use super::keys::MasterKeys;

/// The master keys in force.
#[derive(Debug)]
pub struct Keyring(RwLock<Arc<MasterKeys>>);

impl Keyring {
    /// A ring of `keys`.
    pub fn new(keys: MasterKeys) -> Arc<Keyring> {
        Arc::new(Keyring(RwLock::new(Arc::new(keys))))
    }

    /// The set in force now.
    pub fn keys(&self) -> Arc<MasterKeys> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts `keys` in the place of all before. What is under way ends with the set that it took.
    pub fn replace(&self, keys: MasterKeys) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
    }
}
