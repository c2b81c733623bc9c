//! What opens the seed: a passphrase, or the key in a file. Neither shows itself in `Debug`.

use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use thiserror::Error;
use zeroize::Zeroizing;

use super::{SecretsError, random, write_private};
use crate::clock::Entropy;

/// A shorter passphrase is refused when it is set.
pub const SHORTEST_PASSPHRASE: usize = 12;
/// A longer one too: nobody types it.
pub const LONGEST_PASSPHRASE: usize = 1_024;
/// No file with a passphrase is larger, in bytes.
const LARGEST_FILE: u64 = 8 * 1_024;

/// A passphrase as it was typed.
#[derive(Clone)]
pub struct Passphrase(Zeroizing<String>);

impl JsonSchema for Passphrase {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Passphrase".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "writeOnly": true })
    }
}

impl Passphrase {
    /// From text.
    pub fn new(text: impl Into<String>) -> Passphrase {
        Passphrase(Zeroizing::new(text.into()))
    }

    /// The first line of a file, a pipe or a descriptor (`/dev/fd/3`).
    ///
    /// # Errors
    /// When it cannot be read, others may read it, or it is empty.
    pub fn read(path: &Path) -> Result<Passphrase, SecretsError> {
        let text = small_file(path)?;
        let line = text.lines().next().unwrap_or_default();
        if line.is_empty() {
            return Err(SecretsError::Damaged { path: path.to_owned(), what: "no passphrase in it" });
        }
        Ok(Passphrase::new(line))
    }

    /// Whether the two are the same text (both came from the person who sets it).
    pub fn repeats(&self, other: &Passphrase) -> bool {
        *self.0 == *other.0
    }

    /// Whether it may be set.
    ///
    /// # Errors
    /// When it is too short or too long.
    pub fn fit(&self) -> Result<(), UnfitPassphrase> {
        match self.0.chars().count() {
            short if short < SHORTEST_PASSPHRASE => Err(UnfitPassphrase::Short),
            long if long > LONGEST_PASSPHRASE => Err(UnfitPassphrase::Long),
            _ => Ok(()),
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The text, for the one place that sends it to the appliance that asks for it.
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl<'de> serde::Deserialize<'de> for Passphrase {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Passphrase, D::Error> {
        String::deserialize(deserializer).map(Passphrase::new)
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(redacted)")
    }
}

/// Why a passphrase may not be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum UnfitPassphrase {
    /// Fewer than [`SHORTEST_PASSPHRASE`] characters.
    #[error("use at least {SHORTEST_PASSPHRASE} characters")]
    Short,
    /// More than [`LONGEST_PASSPHRASE`].
    #[error("use at most {LONGEST_PASSPHRASE} characters")]
    Long,
}

/// The key in a file, for an appliance that starts with nobody there. Whoever has it and the seed's file
/// has the coins.
#[derive(Clone)]
pub struct UnlockKey {
    bytes: Zeroizing<[u8; 32]>,
    path: PathBuf,
}

impl UnlockKey {
    /// Reads the file.
    ///
    /// # Errors
    /// When it cannot be read, others may read it, or it holds something else.
    pub fn read(path: &Path) -> Result<UnlockKey, SecretsError> {
        let text = small_file(path)?;
        let mut bytes = Zeroizing::new([0u8; 32]);
        let damaged = |_| SecretsError::Damaged { path: path.to_owned(), what: "not an unlock key" };
        hex::decode_to_slice(text.trim(), &mut *bytes).map_err(damaged)?;
        Ok(UnlockKey { bytes, path: path.to_owned() })
    }

    /// Reads the file, or makes it.
    ///
    /// # Errors
    /// When neither can be done.
    pub fn read_or_make(path: &Path, entropy: &dyn Entropy) -> Result<UnlockKey, SecretsError> {
        let fault = |error| SecretsError::File { path: path.to_owned(), error };
        if !path.try_exists().map_err(fault)? {
            let text = Zeroizing::new(format!("{}\n", &*Zeroizing::new(hex::encode(*random(entropy)))));
            write_private(path, text.as_bytes()).map_err(fault)?;
        }
        UnlockKey::read(path)
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.bytes
    }

    /// Where it was read.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl fmt::Debug for UnlockKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UnlockKey({}, redacted)", self.path.display())
    }
}

/// What is tried on the seed.
#[derive(Clone, Debug)]
pub enum Opener {
    /// A passphrase.
    Passphrase(Passphrase),
    /// A key from a file.
    Key(UnlockKey),
}

/// systemd hands credentials over in a directory of its own, whose files have the modes that it likes.
fn systemd_gave(path: &Path) -> bool {
    path.starts_with("/run/credentials")
}

/// The text of a small file with a secret, as the operator names it.
pub(super) fn small_file(path: &Path) -> Result<Zeroizing<String>, SecretsError> {
    read_private(path, !systemd_gave(path))
}

/// The text of a small file that only its owner can read; a pipe has no mode to speak of.
fn read_private(path: &Path, strict: bool) -> Result<Zeroizing<String>, SecretsError> {
    let fault = |error| SecretsError::File { path: path.to_owned(), error };
    let file = File::open(path).map_err(fault)?;
    let found = file.metadata().map_err(fault)?;
    let mode = found.permissions().mode() & 0o777;
    if strict && found.is_file() && mode & 0o077 != 0 {
        return Err(SecretsError::Exposed { path: path.to_owned(), mode });
    }
    // One allocation: a vector that grows would leave copies behind.
    let room = usize::try_from(LARGEST_FILE).unwrap_or_default().saturating_add(1);
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    file.take(LARGEST_FILE).read_to_end(&mut bytes).map_err(fault)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| fault(io::Error::other("it is not UTF-8 text")))?;
    Ok(Zeroizing::new(text.to_owned()))
}
