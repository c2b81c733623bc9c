//! API keys: 32 random bytes, shown once, stored as a SHA-256 hash with their scopes.

use std::fmt;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::digest;

use super::key_ask::KeyAsk;
use super::private_file;
pub use super::scope::{NoSuchScope, Scope};
use crate::clock::Entropy;
use crate::store::{Ledger, NewApiKey, RESTORED, StoreError, WalletLimits};
use crate::types::Timestamp;

/// Every key begins so, for people and for scanners of leaked secrets.
const PREFIX: &str = "tollhouse_";
/// The label of the key that the first start makes.
pub const ADMIN_LABEL: &str = "admin.key";

/// A key in plain, only ever held by the one it was made for. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

impl ApiKey {
    /// A fresh one.
    fn new(entropy: &dyn Entropy) -> ApiKey {
        ApiKey(format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(entropy.bytes32())))
    }

    /// The text to send as `Authorization: Bearer …`.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The text's bytes in hexadecimal, to send where a client of LND sends a macaroon.
    pub fn as_macaroon(&self) -> String {
        hex::encode(&self.0)
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(redacted)")
    }
}

/// A key that was just made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewKey {
    /// Its number in the list of keys.
    pub id: i64,
    /// The key itself, which is nowhere else.
    pub key: ApiKey,
}

/// What the store keeps of a key. Keys are looked up by this hash of 256 random bits, so how long a
/// comparison takes tells a guesser nothing about any key.
pub fn hash(key: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, key.as_bytes()).as_ref());
    hash
}

/// Why a key could not be made.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The ledger refused.
    #[error("the key could not be stored")]
    Store(#[from] StoreError),
    /// The file could not be written or read.
    #[error("the key file {path} could not be written or read")]
    File {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
}

/// Makes a key without an end and stores its hash; the text exists only in what is returned.
///
/// # Errors
/// When the ledger cannot store it.
pub async fn create(
    ledger: &Ledger,
    entropy: &dyn Entropy,
    label: &str,
    scopes: &[Scope],
) -> Result<NewKey, StoreError> {
    let key = ApiKey::new(entropy);
    let id = ledger.add_api_key(kept(&key, label, scopes, None)).await?;
    Ok(NewKey { id, key })
}

/// Makes a wallet's key without an end: it pays within `limits` and can do nothing else.
///
/// # Errors
/// When the ledger cannot store it.
pub async fn create_wallet(
    ledger: &Ledger,
    entropy: &dyn Entropy,
    label: &str,
    limits: WalletLimits,
) -> Result<NewKey, StoreError> {
    let key = ApiKey::new(entropy);
    let id = ledger.add_wallet_key(kept(&key, label, &[Scope::Wallet], None), limits).await?;
    Ok(NewKey { id, key })
}

/// Makes the key that `ask` describes.
///
/// # Errors
/// When the ledger cannot store it.
pub async fn make(
    ledger: &Ledger,
    entropy: &dyn Entropy,
    now: Timestamp,
    ask: &KeyAsk,
) -> Result<NewKey, StoreError> {
    let key = ApiKey::new(entropy);
    let kept = kept(&key, &ask.label, &ask.scopes, ask.lasts.map(|lasts| now.plus(lasts)));
    let id = match ask.limits {
        Some(limits) => ledger.add_wallet_key(kept, limits).await?,
        None => ledger.add_api_key(kept).await?,
    };
    Ok(NewKey { id, key })
}

/// What the store keeps of `key`.
fn kept(key: &ApiKey, label: &str, scopes: &[Scope], expires_at: Option<Timestamp>) -> NewApiKey {
    let words: Vec<&str> = scopes.iter().map(|scope| scope.word()).collect();
    NewApiKey { label: label.to_owned(), hash: hash(key.text()), scopes: words.join(" "), expires_at }
}

/// Makes `<dir>/admin.key` (mode 0600, one line, scope admin) at the first start, and at the first one with a
/// ledger that was brought back and knows another key than the file's. Other starts leave it alone: an operator
/// who moved the file away or revoked its key wanted that.
///
/// # Errors
/// When the ledger or the disk refuses.
pub async fn ensure_admin_key(
    ledger: &Ledger,
    entropy: &dyn Entropy,
    now: Timestamp,
    dir: &Path,
) -> Result<(), KeyError> {
    let path = dir.join(ADMIN_LABEL);
    let rows = ledger.list_api_keys().await?;
    if let Some(newest) = rows.iter().rfind(|row| row.label == ADMIN_LABEL) {
        let life = ledger.generation().await?;
        let from_before = life.why == RESTORED && newest.created_at < life.begun_at;
        if !from_before || opens(ledger, now, &path).await? {
            return Ok(());
        }
        // Whoever has the file of then is not the one who has this machine.
        for row in rows.iter().filter(|row| row.label == ADMIN_LABEL && row.revoked_at.is_none()) {
            ledger.revoke_api_key(row.id).await?;
        }
    }
    let key = ApiKey::new(entropy);
    // The file first: a crash between the two leaves a key that opens nothing, and the next start
    // replaces it.
    private_file::replace(&path, &format!("{}\n", key.text()))
        .map_err(|source| KeyError::File { path: path.display().to_string(), source })?;
    ledger.add_api_key(kept(&key, ADMIN_LABEL, &[Scope::Admin], None)).await?;
    Ok(())
}

/// Whether the key in the file at `path` is one that opens something.
async fn opens(ledger: &Ledger, now: Timestamp, path: &Path) -> Result<bool, KeyError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(ledger.api_key(hash(text.trim()), now).await?.is_some()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(KeyError::File { path: path.display().to_string(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_reach_as_far_as_they_say() {
        assert!(Scope::Read.allowed_by("read") && Scope::Read.allowed_by("pay,read"));
        assert!(Scope::Read.allowed_by("admin") && Scope::Pay.allowed_by("admin"));
        assert!(!Scope::Read.allowed_by("pay") && !Scope::Pay.allowed_by("read"));
        assert!(!Scope::Admin.allowed_by("read pay") && !Scope::Read.allowed_by(""));
        assert!(!Scope::Read.allowed_by("reader"));
        for own in Scope::ALL {
            assert_eq!(own.word().parse(), Ok(own));
            let reached = Scope::ALL.iter().filter(|scope| scope.allowed_by(own.word())).count();
            assert_eq!(reached, if own == Scope::Admin { Scope::ALL.len() } else { 1 }, "{own:?}");
        }
        assert!("root".parse::<Scope>().is_err());
    }
}
