//! The first login: a one-time link lets whoever can read the terminal or the 0600 file set the
//! password. The ledger holds the token's hash; taking it out is what makes the link work once.

use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;
use thiserror::Error;

use super::password::{Denied, Password, Unfit};
use super::{Operator, keys, private_file};
use crate::clock::Entropy;
use crate::event::Event;
use crate::store::StoreError;

/// The setting that holds the hash of the claim's token while nobody has claimed.
const CLAIM: &str = "admin.claim";
/// The setting that holds the password's hash.
const PASSWORD: &str = "admin.password";
/// The file that holds the link while nobody has claimed.
const FILE: &str = "claim";
/// The file that has the next start forget the password: who can write it owns everything here.
const FORGET: &str = "forget-password";

/// The one-time link. `Debug` does not show it; print it only for the operator.
#[derive(Clone, PartialEq, Eq)]
pub struct ClaimLink(String);

impl ClaimLink {
    /// The link, for the operator's eyes.
    pub fn url(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ClaimLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClaimLink(redacted)")
    }
}

/// What a one-time link carries. `Debug` does not show it.
#[derive(Clone)]
pub struct ClaimToken(String);

impl ClaimToken {
    /// A fresh one: 32 random bytes.
    pub(super) fn fresh(entropy: &dyn Entropy) -> ClaimToken {
        ClaimToken(BASE64_URL_SAFE_NO_PAD.encode(entropy.bytes32()))
    }

    /// The link to `path` at `origin` that carries it, for the operator's eyes.
    pub(super) fn link(&self, origin: &str, path: &str) -> String {
        format!("{origin}{path}?token={}", self.0)
    }

    /// Whether `presented` is it.
    pub(super) fn is(&self, presented: &str) -> bool {
        // Both are hashed, so that the time tells nothing of where they differ.
        bool::from(keys::hash(presented).ct_eq(&keys::hash(&self.0)))
    }

    /// The text, for the one page that leads on with it.
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ClaimToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClaimToken(redacted)")
    }
}

/// Where the link lies in `dir` while nobody has claimed.
pub(super) fn file(dir: &Path) -> PathBuf {
    dir.join(FILE)
}

/// Why the claim could not be offered or taken.
#[derive(Debug, Error)]
pub enum ClaimError {
    /// The link was used, or never was one.
    #[error("This link was used already, or is not complete.")]
    NotValid,
    /// The two passwords differ.
    #[error("The two passwords are not the same.")]
    Differ,
    /// The password may not be set.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// It could not be hashed.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The ledger refused.
    #[error("the claim could not be stored")]
    Store(#[from] StoreError),
    /// The file could not be written.
    #[error("the claim file {path} could not be written")]
    File {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
}

/// Offers the claim while nobody has set a password: writes `<dir>/claim` and returns the link to
/// print. A link from an earlier start stops working. `None` once a password is set.
///
/// # Errors
/// When the ledger or the disk refuses.
pub async fn ensure(op: &Operator, dir: &Path) -> Result<Option<ClaimLink>, ClaimError> {
    let token = ClaimToken::fresh(op.parts.entropy.as_ref());
    ensure_with(op, dir, token).await
}

/// The same with the token of a link that somebody followed already.
///
/// # Errors
/// Likewise.
pub async fn ensure_with(
    op: &Operator,
    dir: &Path,
    token: ClaimToken,
) -> Result<Option<ClaimLink>, ClaimError> {
    let (path, forget) = (file(dir), dir.join(FORGET));
    if forget.exists() {
        // First forgotten, then removed: whatever crashes in between, the one who lost it gets in.
        if op.parts.ledger.take_setting(PASSWORD).await?.is_some() {
            tracing::warn!("the admin password was forgotten, as a file in the data directory asked");
        }
        private_file::remove(&forget).map_err(|source| file_error(&forget, source))?;
    }
    if stored_password(op).await?.is_some() {
        private_file::remove(&path).map_err(|source| file_error(&path, source))?;
        return Ok(None);
    }
    let link = ClaimLink(token.link(&op.parts.config.origin, "/claim"));
    op.parts.ledger.set_setting(CLAIM, &hex::encode(keys::hash(token.text()))).await?;
    private_file::replace(&path, &format!("{}\n", link.url())).map_err(|source| file_error(&path, source))?;
    op.set_claim_file(path);
    Ok(Some(link))
}

/// Whether `token` is the one that was offered and not yet taken.
///
/// # Errors
/// [`ClaimError::NotValid`] when it is not, or a failure of the ledger.
pub async fn look(op: &Operator, token: &str) -> Result<(), ClaimError> {
    let stored = op.parts.ledger.setting(CLAIM).await?.ok_or(ClaimError::NotValid)?;
    fits(&stored, token)
}

/// Sets the password and uses the link up.
///
/// # Errors
/// See [`ClaimError`]; the link still works after a password that may not be set.
pub async fn take(
    op: &Operator,
    token: &str,
    password: Password,
    again: &Password,
) -> Result<(), ClaimError> {
    look(op, token).await?;
    if !password.repeats(again) {
        return Err(ClaimError::Differ);
    }
    password.fit()?;
    let hash = op.passwords.hash(password, op.parts.entropy.as_ref()).await?;
    // Of several who come this far at once, one takes the token out.
    let stored = op.parts.ledger.take_setting(CLAIM).await?.ok_or(ClaimError::NotValid)?;
    fits(&stored, token)?;
    op.parts.ledger.set_setting(PASSWORD, &hash).await?;
    if let Some(path) = op.claim_file()
        && let Err(error) = private_file::remove(&path)
    {
        tracing::warn!(%error, path = %path.display(), "the used claim file could not be removed");
    }
    tracing::info!("the admin page was claimed and its password set");
    op.noted(Event::PasswordSet).await;
    Ok(())
}

/// Has the next start on `dir`, the network's directory, forget the password and offer a link; gives the file
/// that says so.
///
/// # Errors
/// When the file cannot be written.
pub fn forget_at_start(dir: &Path) -> std::io::Result<PathBuf> {
    let path = dir.join(FORGET);
    private_file::replace(&path, "The next start forgets the operator's password.\n")?;
    Ok(path)
}

/// Keeps the hash of another password.
pub(super) async fn set_password(op: &Operator, hash: &str) -> Result<(), StoreError> {
    op.parts.ledger.set_setting(PASSWORD, hash).await
}

/// The password's hash, once one is set.
///
/// # Errors
/// When the ledger cannot be read.
pub async fn stored_password(op: &Operator) -> Result<Option<String>, StoreError> {
    op.parts.ledger.setting(PASSWORD).await
}

fn fits(stored: &str, token: &str) -> Result<(), ClaimError> {
    let presented = hex::encode(keys::hash(token));
    let equal = bool::from(presented.as_bytes().ct_eq(stored.as_bytes()));
    if equal { Ok(()) } else { Err(ClaimError::NotValid) }
}

fn file_error(path: &Path, source: std::io::Error) -> ClaimError {
    ClaimError::File { path: path.display().to_string(), source }
}
