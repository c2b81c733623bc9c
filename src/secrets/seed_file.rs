//! The seed words at rest: one random data key seals them, and what opens them wraps that key.
//!
//! The file is JSON that can be read without any secret: what opens it, with which cost, and whether the
//! words were shown and verified. Invariants: words and data key stand in it sealed only (ChaCha20-Poly1305,
//! `sealed`); a passphrase goes through Argon2id (RFC 9106) with a salt of its own; there is always
//! something that opens it.

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::opener::{Opener, Passphrase, UnlockKey};
use super::sealed;
use crate::clock::Entropy;
use crate::types::Timestamp;

const VERSION: u32 = 1;

/// What one try of a passphrase costs whoever makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl Cost {
    /// 64 MiB and three passes: RFC 9106's second recommendation, with one lane.
    pub(super) const REAL: Cost = Cost { memory_kib: 64 * 1_024, passes: 3, lanes: 1 };
    /// For tests, which try often.
    #[cfg(test)]
    pub(super) const CHEAP: Cost = Cost { memory_kib: 64, passes: 1, lanes: 1 };
    /// A file that asks for more is not ours: it would only keep the machine busy.
    const MOST: Cost = Cost { memory_kib: 4 * 1_024 * 1_024, passes: 64, lanes: 16 };

    fn within_bounds(self) -> bool {
        self.memory_kib <= Cost::MOST.memory_kib
            && self.passes <= Cost::MOST.passes
            && self.lanes <= Cost::MOST.lanes
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct PassphraseWrap {
    kdf: String,
    #[serde(flatten)]
    cost: Cost,
    salt: String,
    data_key: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct KeyWrap {
    kdf: String,
    data_key: String,
}

/// The file's content.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SeedFile {
    tollhouse_seed: u32,
    network: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    passphrase: Option<PassphraseWrap>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key_file: Option<KeyWrap>,
    words: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) shown_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) verified_at: Option<Timestamp>,
}

/// What a seed's file opens with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpensWith {
    /// A passphrase opens it.
    pub passphrase: bool,
    /// The key in a file opens it.
    pub key_file: bool,
}

/// Why it stays closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closed {
    /// It is not what opens it.
    Wrong,
    /// Nothing of that kind opens it.
    NoSuchWay,
    /// What it says is not what was written.
    Damaged(&'static str),
}

pub(super) type DataKey = Zeroizing<[u8; 32]>;

impl SeedFile {
    /// Seals `words` under a new data key, which nothing opens yet: wrap it before it is written.
    pub(super) fn seal(network: &str, words: &str, entropy: &dyn Entropy) -> (SeedFile, DataKey) {
        let data_key = super::random(entropy);
        let file = SeedFile {
            tollhouse_seed: VERSION,
            network: network.to_owned(),
            passphrase: None,
            key_file: None,
            words: BASE64_STANDARD.encode(sealed::seal(&data_key, words.as_bytes(), entropy)),
            shown_at: None,
            verified_at: None,
        };
        (file, data_key)
    }

    /// Reads the file's text; whether it can be opened shows when it is.
    pub(super) fn read(text: &str) -> Result<SeedFile, &'static str> {
        let file: SeedFile = serde_json::from_str(text).map_err(|_| "not a seed's file")?;
        if file.tollhouse_seed != VERSION {
            return Err("written by a newer version");
        }
        let known = file.passphrase.iter().all(|wrap| wrap.kdf == "argon2id" && wrap.cost.within_bounds())
            && file.key_file.iter().all(|wrap| wrap.kdf == "hkdf-sha256");
        if !known || (file.passphrase.is_none() && file.key_file.is_none()) {
            return Err("nothing that is known here opens it");
        }
        Ok(file)
    }

    /// The file's text.
    pub(super) fn text(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("strings and numbers are JSON");
        text.push('\n');
        text
    }

    /// What opens it.
    pub(super) fn opens_with(&self) -> OpensWith {
        OpensWith { passphrase: self.passphrase.is_some(), key_file: self.key_file.is_some() }
    }

    /// The network that it was made for.
    pub(super) fn network(&self) -> &str {
        &self.network
    }

    /// Lets `opener` open it, in place of what did of its kind.
    pub(super) fn wrap(&mut self, data_key: &DataKey, opener: &Opener, cost: Cost, entropy: &dyn Entropy) {
        match opener {
            Opener::Passphrase(passphrase) => {
                let mut salt = [0u8; 16];
                entropy.fill(&mut salt);
                let key = stretched(passphrase, &salt, cost).expect("these costs are in Argon2's range");
                self.passphrase = Some(PassphraseWrap {
                    kdf: "argon2id".to_owned(),
                    cost,
                    salt: hex::encode(salt),
                    data_key: BASE64_STANDARD.encode(sealed::seal(&key, &**data_key, entropy)),
                });
            }
            Opener::Key(key) => {
                let sealed = sealed::seal(&wrapping(key), &**data_key, entropy);
                let data_key = BASE64_STANDARD.encode(sealed);
                self.key_file = Some(KeyWrap { kdf: "hkdf-sha256".to_owned(), data_key });
            }
        }
    }

    /// Lets key files open it no more; only where a passphrase does.
    pub(super) fn forget_key_file(&mut self) {
        if self.passphrase.is_some() {
            self.key_file = None;
        }
    }

    /// The data key and the words.
    pub(super) fn open(&self, opener: &Opener) -> Result<(DataKey, Zeroizing<String>), Closed> {
        let damaged = |_| Closed::Damaged("a key that is not base64");
        let (key, wrapped) = match opener {
            Opener::Passphrase(passphrase) => {
                let wrap = self.passphrase.as_ref().ok_or(Closed::NoSuchWay)?;
                let salt = hex::decode(&wrap.salt).map_err(|_| Closed::Damaged("a salt that is none"))?;
                let key = stretched(passphrase, &salt, wrap.cost);
                (key.ok_or(Closed::Damaged("costs out of range"))?, &wrap.data_key)
            }
            Opener::Key(key) => (wrapping(key), &self.key_file.as_ref().ok_or(Closed::NoSuchWay)?.data_key),
        };
        let wrapped = BASE64_STANDARD.decode(wrapped).map_err(damaged)?;
        let opened = sealed::open(&key, &wrapped).map_err(|_| Closed::Wrong)?;
        let mut data_key = Zeroizing::new([0u8; 32]);
        if opened.len() != data_key.len() {
            return Err(Closed::Damaged("a data key of another length"));
        }
        data_key.copy_from_slice(&opened);
        let words =
            BASE64_STANDARD.decode(&self.words).map_err(|_| Closed::Damaged("words that are not base64"))?;
        let words = sealed::open(&data_key, &words).map_err(|_| Closed::Damaged("words that do not open"))?;
        let words = std::str::from_utf8(&words).map_err(|_| Closed::Damaged("words that are no text"))?;
        Ok((data_key, Zeroizing::new(words.to_owned())))
    }
}

fn wrapping(key: &UnlockKey) -> Zeroizing<[u8; 32]> {
    sealed::derive(key.bytes(), "unlock/v1")
}

fn stretched(passphrase: &Passphrase, salt: &[u8], cost: Cost) -> Option<Zeroizing<[u8; 32]>> {
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32)).ok()?;
    let mut key = Zeroizing::new([0u8; 32]);
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password_into(passphrase.bytes(), salt, &mut *key).ok()?;
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemEntropy;

    const WORDS: &str = "abandon abandon about";

    fn passphrase(text: &str) -> Opener {
        Opener::Passphrase(Passphrase::new(text))
    }

    #[test]
    fn only_what_was_let_in_opens_it() {
        let folder = tempfile::tempdir().unwrap();
        let entropy = SystemEntropy::new();
        let key = |name: &str| {
            Opener::Key(UnlockKey::read_or_make(&folder.path().join(name), entropy.as_ref()).unwrap())
        };
        let (mut file, data_key) = SeedFile::seal("regtest", WORDS, entropy.as_ref());
        assert!(SeedFile::read(&file.text()).is_err(), "nothing opens it yet");
        file.wrap(&data_key, &passphrase("correct horse"), Cost::CHEAP, entropy.as_ref());
        assert_eq!(file.open(&key("one")).err(), Some(Closed::NoSuchWay));
        file.wrap(&data_key, &key("one"), Cost::CHEAP, entropy.as_ref());
        let text = file.text();
        assert!(!text.contains("abandon") && !text.contains(&hex::encode(*data_key)), "{text}");
        let read = SeedFile::read(&text).unwrap();
        for right in [passphrase("correct horse"), key("one")] {
            assert_eq!(*read.open(&right).unwrap().1, WORDS);
        }
        for wrong in [passphrase("correct horse "), key("two")] {
            assert_eq!(read.open(&wrong).err(), Some(Closed::Wrong));
        }
        // A new passphrase takes the old one's place, under the same data key.
        let mut changed = read;
        changed.wrap(&data_key, &passphrase("battery staple"), Cost::CHEAP, entropy.as_ref());
        assert_eq!(changed.open(&passphrase("correct horse")).err(), Some(Closed::Wrong));
        assert_eq!(*changed.open(&passphrase("battery staple")).unwrap().0, *data_key);
        changed.forget_key_file();
        assert_eq!(changed.opens_with(), OpensWith { passphrase: true, key_file: false });
    }

    #[test]
    fn a_try_costs_what_it_should() {
        assert_eq!(Cost::REAL, Cost { memory_kib: 65_536, passes: 3, lanes: 1 });
        assert!(Cost::REAL.within_bounds());
    }

    #[test]
    fn a_file_that_asks_for_too_much_is_not_read() {
        let entropy = SystemEntropy::new();
        let (mut file, data_key) = SeedFile::seal("regtest", WORDS, entropy.as_ref());
        file.wrap(&data_key, &passphrase("correct horse"), Cost::CHEAP, entropy.as_ref());
        let text = file.text();
        for (from, to) in [
            ("\"memory_kib\": 64", "\"memory_kib\": 4294967295"),
            ("\"tollhouse_seed\": 1", "\"tollhouse_seed\": 2"),
            ("argon2id", "scrypt"),
        ] {
            assert!(text.contains(from), "{text}");
            assert!(SeedFile::read(&text.replacen(from, to, 1)).is_err(), "{to}");
        }
        assert!(SeedFile::read("abandon abandon").is_err());
    }
}
