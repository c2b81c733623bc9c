//! The master keys and the root keys derived from them, so that no challenge needs a row.
//!
//! Invariants: a root key depends on every bit of the identifier and on one epoch's master alone;
//! whoever holds a master can mint free access (MONEY rule 11), so masters are wiped when dropped
//! and never shown. Retiring an epoch, by leaving its master out, kills its tokens.

use std::collections::BTreeMap;
use std::fmt;

use ring::hkdf::{HKDF_SHA256, Salt};
use subtle::ConstantTimeEq;
use thiserror::Error;
use zeroize::Zeroizing;

use super::identifier::Identifier;
use crate::clock::Entropy;
use crate::types::{Name, PaymentHash, Preimage, TokenId};

/// Sets these keys apart from any other use of the same master; part of every token: never change it.
const ROOT_KEY_SALT: &[u8] = b"tollhouse/l402/root-key/v1";

/// The same for the token ids of payments: part of every sale, never change it.
const TOKEN_ID_SALT: &[u8] = b"tollhouse/l402/token-id/v1";

/// The same for the keys of `Payment` challenges.
const CHALLENGE_KEY_SALT: &[u8] = b"tollhouse/payment/challenge-key/v1";

/// For what a browser shows that was given the challenge.
const BROWSER_KEY_SALT: &[u8] = b"tollhouse/l402/browser-key/v1";

/// For what stands in for a preimage.
const SETTLED_WORD_SALT: &[u8] = b"tollhouse/l402/settled-word/v1";

/// The master keys by epoch: the current one mints, all of them verify.
pub struct MasterKeys {
    current: u32,
    masters: BTreeMap<u32, Zeroizing<[u8; 32]>>,
}

/// Why a set of masters is unusable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum MasterKeyFault {
    /// There is no master for the epoch that should mint.
    #[error("there is no master key for the current epoch {0}")]
    NoCurrent(u32),
    /// One epoch has two masters.
    #[error("epoch {0} has two master keys")]
    Twice(u32),
    /// The cryptographic library of the macaroon crate did not start.
    #[error("libsodium did not initialise")]
    Library,
}

impl MasterKeys {
    /// The masters, of which `current_epoch`'s mints.
    ///
    /// # Errors
    /// When the current epoch has no master or an epoch has two.
    pub fn new(
        current_epoch: u32,
        masters: impl IntoIterator<Item = (u32, [u8; 32])>,
    ) -> Result<MasterKeys, MasterKeyFault> {
        // The macaroon crate draws random bytes whenever it parses; that is thread-safe only after this.
        macaroon::initialize().map_err(|_| MasterKeyFault::Library)?;
        let mut by_epoch = BTreeMap::new();
        for (epoch, master) in masters {
            if by_epoch.insert(epoch, Zeroizing::new(master)).is_some() {
                return Err(MasterKeyFault::Twice(epoch));
            }
        }
        if !by_epoch.contains_key(&current_epoch) {
            return Err(MasterKeyFault::NoCurrent(current_epoch));
        }
        Ok(MasterKeys { current: current_epoch, masters: by_epoch })
    }

    /// A fresh token id of the current epoch: the epoch, big-endian, and 28 random bytes.
    pub fn new_token_id(&self, entropy: &dyn Entropy) -> TokenId {
        let mut bytes = [0u8; 32];
        let (epoch, random) = bytes.split_at_mut(4);
        epoch.copy_from_slice(&self.current.to_be_bytes());
        entropy.fill(random);
        TokenId::from_bytes(bytes)
    }

    /// The id of the token that is minted now for this payment: the current epoch, big-endian, and 28
    /// bytes that only the master gives. Whatever proves the same payment in another dialect finds the
    /// same token by it ([`MasterKeys::token_id_of`]), and nothing is stored for that.
    pub fn token_id(&self, payment_hash: &PaymentHash) -> TokenId {
        self.token_id_of(self.current, payment_hash)
            .expect("the current epoch has a master: `new` takes no set without it")
    }

    /// The id of the token that was minted for this payment in `epoch`; `None` when that has no master.
    pub fn token_id_of(&self, epoch: u32, payment_hash: &PaymentHash) -> Option<TokenId> {
        let derived = self.derive(epoch, TOKEN_ID_SALT, payment_hash.as_bytes())?;
        let mut bytes = *derived;
        bytes[..4].copy_from_slice(&epoch.to_be_bytes());
        Some(TokenId::from_bytes(bytes))
    }

    /// The key that binds the `Payment` challenges of a service, by epoch; `None` when that has no master.
    pub fn challenge_key(&self, epoch: u32, service: &Name) -> Option<Zeroizing<[u8; 32]>> {
        self.derive(epoch, CHALLENGE_KEY_SALT, service.as_str().as_bytes())
    }

    /// What the browser keeps that was given the challenge of this token, so that it is known again;
    /// `None` when the token's epoch has no master.
    pub fn browser_key(&self, identifier: &Identifier) -> Option<BrowserKey> {
        let key = self.derive(identifier.token_id.epoch(), BROWSER_KEY_SALT, &identifier.to_bytes())?;
        Some(BrowserKey(*key))
    }

    /// What stands in for the preimage of this token's payment: only the master gives it, and only to
    /// whoever may use a payment that arrived. `None` when the token's epoch has no master.
    pub fn settled_word(&self, identifier: &Identifier) -> Option<Preimage> {
        let word = self.derive(identifier.token_id.epoch(), SETTLED_WORD_SALT, &identifier.to_bytes())?;
        Some(Preimage::from_bytes(*word))
    }

    /// The epoch that mints.
    pub fn current_epoch(&self) -> u32 {
        self.current
    }

    /// Every epoch whose tokens verify, ascending.
    pub fn epochs(&self) -> impl Iterator<Item = u32> + '_ {
        self.masters.keys().copied()
    }

    /// The root key of the token with this identifier; `None` when its epoch has no master.
    pub(super) fn root_key(&self, identifier: &Identifier) -> Option<Zeroizing<[u8; 32]>> {
        self.derive(identifier.token_id.epoch(), ROOT_KEY_SALT, &identifier.to_bytes())
    }

    /// HKDF-SHA256 of an epoch's master, for the purpose that `salt` names and the thing that `info` does.
    fn derive(&self, epoch: u32, salt: &[u8], info: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
        let master = self.masters.get(&epoch)?;
        let mut key = Zeroizing::new([0u8; 32]);
        Salt::new(HKDF_SHA256, salt)
            .extract(master.as_slice())
            .expand(&[info], HKDF_SHA256)
            .and_then(|okm| okm.fill(key.as_mut_slice()))
            .expect("HKDF-SHA256 gives 32 bytes: the length asked for is its own digest's");
        Some(key)
    }
}

/// What one browser keeps of one challenge. It has no equality but one that takes the same time for
/// every other, and shows itself only as a cookie.
#[derive(Clone, Copy)]
pub struct BrowserKey([u8; 32]);

impl BrowserKey {
    /// As the cookie has it: 64 hexadecimal digits.
    pub fn to_hex(self) -> String {
        hex::encode(self.0)
    }

    /// Whether a cookie has it.
    pub fn is(&self, cookie: &str) -> bool {
        let mut shown = [0u8; 32];
        hex::decode_to_slice(cookie, &mut shown).is_ok() && bool::from(self.0.ct_eq(&shown))
    }
}

impl fmt::Debug for BrowserKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BrowserKey(redacted)")
    }
}

impl fmt::Debug for MasterKeys {
    /// Leaves the masters out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let epochs: Vec<u32> = self.epochs().collect();
        f.debug_struct("MasterKeys").field("current", &self.current).field("epochs", &epochs).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::CountingEntropy;
    use proptest::prelude::*;

    fn keys() -> MasterKeys {
        MasterKeys::new(7, [(7, [0x11; 32]), (6, [0x22; 32])]).unwrap()
    }

    fn identifier(keys: &MasterKeys) -> Identifier {
        Identifier {
            payment_hash: PaymentHash::from_bytes([9; 32]),
            token_id: keys.new_token_id(&CountingEntropy::default()),
        }
    }

    #[test]
    fn a_payment_has_one_token_in_each_epoch_and_a_service_one_key() {
        let (keys, hash) = (keys(), PaymentHash::from_bytes([9; 32]));
        let id = keys.token_id(&hash);
        assert_eq!(id.epoch(), 7);
        assert_eq!((Some(id), keys.token_id_of(8, &hash)), (keys.token_id_of(7, &hash), None));
        let others = [keys.token_id_of(6, &hash), Some(keys.token_id(&PaymentHash::from_bytes([8; 32])))];
        assert!(others.iter().flatten().all(|other| other.as_bytes()[4..] != id.as_bytes()[4..]));
        let key = |epoch, service: &str| keys.challenge_key(epoch, &service.parse().unwrap());
        let own = key(7, "rates").unwrap();
        assert_eq!((key(7, "rates").as_ref(), key(8, "rates")), (Some(&own), None));
        assert!([key(6, "rates"), key(7, "rate")].iter().flatten().all(|other| *other != own));
        assert_ne!(own[4..], id.as_bytes()[4..]);
    }

    #[test]
    fn the_root_key_is_hkdf_as_rfc_5869_has_it() {
        // Computed apart, with HMACs by hand: extract with the salt, expand with the identifier.
        let keys = keys();
        let identifier = identifier(&keys);
        let hmac = |key: &[u8], parts: &[&[u8]]| {
            ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key), &parts.concat())
        };
        let prk = hmac(ROOT_KEY_SALT, &[&[0x11; 32]]);
        let okm = hmac(prk.as_ref(), &[&identifier.to_bytes(), &[1]]);
        assert_eq!(keys.root_key(&identifier).unwrap().as_slice(), okm.as_ref());
    }

    #[test]
    fn a_token_id_names_the_current_epoch_and_a_retired_epoch_has_no_root() {
        let keys = keys();
        let identifier = identifier(&keys);
        assert_eq!(identifier.token_id.as_bytes()[..4], [0, 0, 0, 7]);
        assert_eq!(keys.epochs().collect::<Vec<_>>(), [6, 7]);
        let retired = MasterKeys::new(8, [(8, [0x11; 32])]).unwrap();
        assert!(retired.root_key(&identifier).is_none());
    }

    #[test]
    fn a_browsers_key_and_the_settled_word_are_a_tokens_own_and_apart() {
        let keys = keys();
        let one = identifier(&keys);
        let other = Identifier { payment_hash: PaymentHash::from_bytes([8; 32]), ..one };
        let key = keys.browser_key(&one).unwrap();
        let word = keys.settled_word(&one).unwrap();
        assert!(key.is(&key.to_hex()) && !key.is(&keys.browser_key(&other).unwrap().to_hex()));
        assert!(!key.is(&word.to_hex()) && !key.is("") && !key.is(&key.to_hex()[..62]));
        assert_ne!(word, keys.settled_word(&other).unwrap());
        assert_ne!(word.as_bytes(), &*keys.root_key(&one).unwrap());
        assert!(!word.opens(&one.payment_hash));
        let retired = MasterKeys::new(8, [(8, [0x11; 32])]).unwrap();
        assert!(retired.settled_word(&one).is_none() && retired.browser_key(&one).is_none());
        assert_eq!(format!("{key:?}"), "BrowserKey(redacted)");
    }

    #[test]
    fn bad_sets_of_masters_are_refused() {
        assert_eq!(MasterKeys::new(1, []).unwrap_err(), MasterKeyFault::NoCurrent(1));
        assert_eq!(MasterKeys::new(1, [(1, [0; 32]), (1, [1; 32])]).unwrap_err(), MasterKeyFault::Twice(1));
    }

    #[test]
    fn masters_hide_themselves() {
        assert_eq!(format!("{:?}", keys()), "MasterKeys { current: 7, epochs: [6, 7] }");
    }

    proptest! {
        #[test]
        fn another_bit_is_another_root(bit in 16usize..Identifier::LEN * 8) {
            let keys = keys();
            let first = identifier(&keys);
            let mut bytes = first.to_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let second = Identifier::parse(&bytes).unwrap();
            if let Some(root) = keys.root_key(&second) {
                prop_assert_ne!(root, keys.root_key(&first).unwrap());
            }
        }
    }
}
