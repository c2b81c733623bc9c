//! The master keys and the root keys derived from them, so that no challenge needs a row.
//!
//! Invariants: a root key depends on every bit of the identifier and on one epoch's master alone;
//! whoever holds a master can mint free access (MONEY rule 11), so masters are wiped when dropped
//! and never shown. Retiring an epoch, by leaving its master out, kills its tokens.

use std::collections::BTreeMap;
use std::fmt;

use ring::hkdf::{HKDF_SHA256, Salt};
use thiserror::Error;
use zeroize::Zeroizing;

use super::identifier::Identifier;
use crate::clock::Entropy;
use crate::types::TokenId;

/// Sets these keys apart from any other use of the same master; part of every token: never change it.
const ROOT_KEY_SALT: &[u8] = b"tollhouse/l402/root-key/v1";

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
        let master = self.masters.get(&epoch(&identifier.token_id))?;
        let mut root = Zeroizing::new([0u8; 32]);
        Salt::new(HKDF_SHA256, ROOT_KEY_SALT)
            .extract(master.as_slice())
            .expand(&[&identifier.to_bytes()], HKDF_SHA256)
            .and_then(|okm| okm.fill(root.as_mut_slice()))
            .expect("HKDF-SHA256 gives 32 bytes: the length asked for is its own digest's");
        Some(root)
    }
}

impl fmt::Debug for MasterKeys {
    /// Leaves the masters out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let epochs: Vec<u32> = self.epochs().collect();
        f.debug_struct("MasterKeys").field("current", &self.current).field("epochs", &epochs).finish()
    }
}

/// The epoch inside a token id.
fn epoch(token_id: &TokenId) -> u32 {
    let [a, b, c, d, ..] = *token_id.as_bytes();
    u32::from_be_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::CountingEntropy;
    use crate::types::PaymentHash;
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
