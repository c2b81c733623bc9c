//! The keys that the node derives from its seed, derived once more for minting.
//!
//! LDK's seed is the private key of the BIP 32 master of the BIP 39 seed; from it come the node's
//! identity and the keys of LDK's stateless inbound payments. Must not be used to sign anything but
//! invoices.

use std::fmt;

use bitcoin::Network;
use bitcoin::bip32::Xpriv;
use bitcoin::secp256k1::{PublicKey, Secp256k1, SecretKey};
use ldk_node::lightning::ln::inbound_payment::ExpandedKey;
use ldk_node::lightning::sign::{KeysManager, NodeSigner};
use thiserror::Error;
use zeroize::{ZeroizeOnDrop, Zeroizing};

/// The BIP 39 seed, 64 bytes, of which everything else is derived. It stays in one place on the heap, and is
/// wiped when it is dropped.
#[derive(Clone)]
pub struct NodeSeed(pub(super) Box<Zeroizing<[u8; 64]>>);

impl ZeroizeOnDrop for NodeSeed {}

impl NodeSeed {
    /// Takes the 64 bytes that BIP 39 makes of the words.
    pub fn new(bytes: &[u8; 64]) -> NodeSeed {
        let mut seed = Box::new(Zeroizing::new([0; 64]));
        seed.copy_from_slice(bytes);
        NodeSeed(seed)
    }

    /// The public key of the node that has this seed.
    ///
    /// # Errors
    /// When the seed has no master key.
    pub fn node_id(&self, network: Network) -> Result<String, UnusableSeed> {
        Ok(MintingKeys::derive(self, network)?.node_id.to_string())
    }
}

impl fmt::Debug for NodeSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeSeed(redacted)")
    }
}

/// The seed has no valid BIP 32 master key; the chance of it is nil.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the seed has no valid BIP 32 master key: make another seed")]
pub struct UnusableSeed;

/// What minting needs of the node's keys.
pub(super) struct MintingKeys {
    pub(super) identity: SecretKey,
    pub(super) node_id: PublicKey,
    pub(super) inbound: ExpandedKey,
}

/// The public key, hexadecimal, of the node that this seed makes.
///
/// # Errors
/// When the seed is unusable.
pub fn node_id(seed: &NodeSeed, network: Network) -> Result<String, UnusableSeed> {
    Ok(MintingKeys::derive(seed, network)?.node_id.to_string())
}

/// LDK's seed: the private key of the BIP 32 master.
///
/// # Errors
/// When the seed has none.
pub(super) fn master_key(seed: &NodeSeed, network: Network) -> Result<Zeroizing<[u8; 32]>, UnusableSeed> {
    let master = Xpriv::new_master(network, &**seed.0).map_err(|_| UnusableSeed)?;
    Ok(Zeroizing::new(master.private_key.secret_bytes()))
}

impl fmt::Debug for MintingKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MintingKeys(of {}, redacted)", self.node_id)
    }
}

impl MintingKeys {
    /// Derives the keys as the node does.
    ///
    /// # Errors
    /// When the seed has no master key.
    pub(super) fn derive(seed: &NodeSeed, network: Network) -> Result<MintingKeys, UnusableSeed> {
        let master = master_key(seed, network)?;
        // The starting time only salts channel keys, which this second manager never makes.
        let manager = KeysManager::new(&master, 0, 0, true);
        let identity = manager.get_node_secret_key();
        Ok(MintingKeys {
            identity,
            node_id: PublicKey::from_secret_key(&Secp256k1::signing_only(), &identity),
            inbound: manager.get_expanded_key(),
        })
    }

    /// The node's public key.
    pub(super) fn node_id(&self) -> PublicKey {
        self.node_id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It takes only what wipes itself when it is dropped: the seed is seen no more after that.
    fn wipes_itself(_: &impl ZeroizeOnDrop) {}

    #[test]
    fn a_seed_is_wiped_when_it_is_dropped_and_says_nothing_of_itself() {
        let seed = NodeSeed::new(&[7; 64]);
        let copy = seed.clone();
        wipes_itself(&*seed.0);
        wipes_itself(&*copy.0);
        assert_eq!(seed.node_id(Network::Regtest), copy.node_id(Network::Regtest));
        assert_eq!(format!("{seed:?}"), "NodeSeed(redacted)");
    }
}
