//! The addresses of the on-chain wallet, derived once more to know one of them again.
//!
//! The library cannot be asked whether an address is its own. It derives them of the seed as BIP 84 says. Must not be used
//! to sign anything, nor to give out an address: which one is next the library knows alone.

use bitcoin::bip32::{ChildNumber, DerivationPath, Xpriv, Xpub};
use bitcoin::secp256k1::{All, Secp256k1};
use bitcoin::{Address, Network, NetworkKind, ScriptBuf};

use super::keys::NodeSeed;

/// So many addresses of each branch are looked through: it takes a fraction of a second.
const LOOKED_THROUGH: u32 = 1_000;

/// Whether `address` is among the first of the wallet that this seed makes. Blocks.
pub(super) fn pays(seed: &NodeSeed, network: Network, address: &Address) -> bool {
    let (script, context) = (address.script_pubkey(), Secp256k1::new());
    // The wallet has addresses of this kind alone.
    let branches = branches(seed, network, &context).filter(|_| script.is_p2wpkh());
    branches.into_iter().flatten().any(|branch| {
        let mut first = (0..LOOKED_THROUGH).map(|index| script_of(&branch, index, &context));
        first.any(|own| own.as_ref() == Some(&script))
    })
}

/// The addresses that it gives out, and those of its change.
fn branches(seed: &NodeSeed, network: Network, context: &Secp256k1<All>) -> Option<[Xpub; 2]> {
    let coin = match NetworkKind::from(network) {
        NetworkKind::Main => 0,
        NetworkKind::Test => 1,
    };
    let master = Xpriv::new_master(network, &**seed.0).ok()?;
    let hardened = |index| ChildNumber::from_hardened_idx(index).ok();
    let account: DerivationPath = vec![hardened(84)?, hardened(coin)?, hardened(0)?].into();
    let account = Xpub::from_priv(context, &master.derive_priv(context, &account).ok()?);
    let branch = |index| account.ckd_pub(context, ChildNumber::from_normal_idx(index).ok()?).ok();
    Some([branch(0)?, branch(1)?])
}

fn script_of(branch: &Xpub, index: u32, context: &Secp256k1<All>) -> Option<ScriptBuf> {
    let key = branch.ckd_pub(context, ChildNumber::from_normal_idx(index).ok()?).ok()?;
    Some(ScriptBuf::new_p2wpkh(&key.to_pub().wpubkey_hash()))
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use bip39::Mnemonic;

    use super::*;

    /// The test vectors of BIP 84.
    #[test]
    fn the_wallets_own_addresses_are_known_again() {
        let words =
            "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about";
        let seed = NodeSeed::new(&Mnemonic::from_str(words).unwrap().to_seed(""));
        let own = |address: &str| {
            let address = Address::from_str(address).unwrap().assume_checked();
            pays(&seed, Network::Bitcoin, &address)
        };
        assert!(own("bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu"));
        assert!(own("bc1qnjg0jd8228aq7egyzacy8cys3knf9xvrerkf9g"));
        assert!(own("bc1q8c6fshw2dlwun7ekn9qwf37cu2rn755upcp6el"), "its change");
        assert!(!own("bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq"), "somebody else's");
        assert!(!own("bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr"), "of another kind");
    }
}
