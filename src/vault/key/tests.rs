//! Known keys and what they stand for; what is private is refused.

use bip39::Mnemonic;
use bitcoin::bip32::{DerivationPath, Xpriv, Xpub};
use bitcoin::secp256k1::Secp256k1;

use super::*;
use crate::vault::watched::Watched;

const WORDS: &str =
    "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about";

fn account(path: &str, network: Network) -> (Xpriv, Xpub) {
    let secp = Secp256k1::new();
    let seed = Mnemonic::parse(WORDS).unwrap().to_seed("");
    let master = Xpriv::new_master(network, &seed).unwrap();
    let key = master.derive_priv(&secp, &path.parse::<DerivationPath>().unwrap()).unwrap();
    (key, Xpub::from_priv(&secp, &key))
}

/// The key with other version bytes.
fn versioned(key: &str, version: [u8; 4]) -> String {
    let mut bytes = base58::decode_check(key).unwrap();
    bytes[..4].copy_from_slice(&version);
    base58::encode_check(&bytes)
}

fn addresses(text: &str, form: Option<Form>, network: Network) -> (String, String, String) {
    let keys = Keys::read(text, form, network).unwrap();
    let watched = Watched::create(&keys.external, keys.internal.as_deref(), network, 20).unwrap();
    (watched.address_at(0), watched.address_at(1), watched.change_address_at(0).unwrap_or_default())
}

#[test]
fn the_addresses_of_bip_84_and_86_are_the_known_ones() {
    let zpub = "zpub6rFR7y4Q2AijBEqTUquhVz398htDFrtymD9xYYfG1m4wAcvPhXNfE3EfH1r1ADqtfSdVCToUG868RvUUkgDKf31mGDtKsAYz2oz2AGutZYs";
    let known = (
        "bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu".to_owned(),
        "bc1qnjg0jd8228aq7egyzacy8cys3knf9xvrerkf9g".to_owned(),
        "bc1q8c6fshw2dlwun7ekn9qwf37cu2rn755upcp6el".to_owned(),
    );
    assert_eq!(addresses(zpub, None, Network::Bitcoin), known);
    assert_eq!(addresses(zpub, Some(Form::Bip84), Network::Bitcoin), known);
    let (_, xpub) = account("m/84'/0'/0'", Network::Bitcoin);
    assert_eq!(addresses(&xpub.to_string(), Some(Form::Bip84), Network::Bitcoin), known);
    assert_eq!(addresses(&format!("[73c5da0a/84'/0'/0']{xpub}"), Some(Form::Bip84), Network::Bitcoin), known);
    assert_eq!(addresses(&format!("wpkh({xpub}/<0;1>/*)"), None, Network::Bitcoin), known);
    let single = addresses(&format!("wpkh([73c5da0a/84'/0'/0']{xpub}/0/*)"), None, Network::Bitcoin);
    assert_eq!(single, (known.0, known.1, String::new()));

    let xpub = "xpub6BgBgsespWvERF3LHQu6CnqdvfEvtMcQjYrcRzx53QJjSxarj2afYWcLteoGVky7D3UKDP9QyrLprQ3VCECoY49yfdDEHGCtMMj92pReUsQ";
    let known = (
        "bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr".to_owned(),
        "bc1p4qhjn9zdvkux4e44uhx8tc55attvtyu358kutcqkudyccelu0was9fqzwh".to_owned(),
        "bc1p3qkhfews2uk44qtvauqyr2ttdsw7svhkl9nkm9s9c3x4ax5h60wqwruhk7".to_owned(),
    );
    assert_eq!(addresses(xpub, Some(Form::Bip86), Network::Bitcoin), known);
}

#[test]
fn the_addresses_of_bip_44_and_49_are_the_known_ones() {
    let (_, xpub) = account("m/44'/0'/0'", Network::Bitcoin);
    let (first, ..) = addresses(&xpub.to_string(), Some(Form::Bip44), Network::Bitcoin);
    assert_eq!(first, "1LqBGSKuX5yYUonjxT5qGfpUsXKYYWeabA");
    let (_, tpub) = account("m/49'/1'/0'", Network::Testnet);
    let upub = versioned(&tpub.to_string(), [0x04, 0x4a, 0x52, 0x62]);
    assert!(upub.starts_with("upub"));
    for (key, form) in [(upub, None), (tpub.to_string(), Some(Form::Bip49))] {
        let (first, ..) = addresses(&key, form, Network::Testnet);
        assert_eq!(first, "2Mww8dCYPUpKHofjgcXcBCEGmniw9CoaiD2");
    }
}

#[test]
fn a_private_key_is_refused_and_never_said_again() {
    let (xprv, xpub) = account("m/84'/0'/0'", Network::Bitcoin);
    let xprv = xprv.to_string();
    let zprv = versioned(&xprv, [0x04, 0xb2, 0x43, 0x0c]);
    assert!(zprv.starts_with("zprv"));
    let wif = account("m/84'/0'/0'", Network::Bitcoin).0.to_priv().to_wif();
    let descriptor = format!("wpkh({xprv}/<0;1>/*)");
    let mixed = format!("wsh(multi(1,{xpub}/0/*,[00000000/48'/0'/0']{xprv}/0/*))");
    let of_wif = format!("wpkh({wif})");
    for text in [xprv.as_str(), &zprv, &wif, &descriptor, &mixed, &of_wif, WORDS] {
        let fault = Keys::read(text, Some(Form::Bip84), Network::Bitcoin).unwrap_err();
        assert_eq!(fault, KeyFault::Private);
        assert!(!fault.to_string().contains(&text[..12]));
    }
}

#[test]
fn what_does_not_fit_is_refused_with_its_reason() {
    let read = |text: &str, form| Keys::read(text, form, Network::Bitcoin).unwrap_err();
    let (_, xpub) = account("m/84'/0'/0'", Network::Bitcoin);
    let (_, tpub) = account("m/84'/1'/0'", Network::Testnet);
    let xpub = xpub.to_string();
    let wrong = KeyFault::WrongNetwork { theirs: "a test network", ours: Network::Bitcoin };
    assert_eq!(read(&tpub.to_string(), Some(Form::Bip84)), wrong);
    assert_eq!(read(&format!("wpkh({tpub}/<0;1>/*)"), None), wrong);
    let on_regtest = Keys::read(&xpub, Some(Form::Bip84), Network::Regtest);
    assert!(matches!(on_regtest, Err(KeyFault::WrongNetwork { theirs: "mainnet", .. })));
    assert!(Keys::read(&tpub.to_string(), Some(Form::Bip84), Network::Regtest).is_ok());
    assert_eq!(read(&xpub, None), KeyFault::FormNeeded);
    let ypub = versioned(&xpub, [0x04, 0x9d, 0x7c, 0xb2]);
    assert_eq!(read(&ypub, Some(Form::Bip84)), KeyFault::OtherForm { said: Form::Bip49 });
    assert_eq!(read(&versioned(&xpub, [0x02, 0xaa, 0x7e, 0xd3]), None), KeyFault::Multisignature);
    assert_eq!(read(&format!("wpkh({xpub}/0/*)"), Some(Form::Bip84)), KeyFault::FormBesideDescriptor);
    let (_, master) = account("m", Network::Bitcoin);
    assert_eq!(read(&master.to_string(), Some(Form::Bip84)), KeyFault::NotAnAccount);
    for text in ["", "hello", "xpub123", "bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu"] {
        assert_eq!(read(text, Some(Form::Bip84)), KeyFault::Unreadable, "{text}");
    }
    let faulty = [
        format!("wpkh({xpub}/0)"),
        format!("wpkh({xpub}/<0;1;2>/*)"),
        format!("wpkh({xpub}/0'/*)"),
        format!("wpkh({xpub}/0/*)#aaaaaaaa"),
    ];
    for text in faulty {
        assert!(matches!(read(&text, None), KeyFault::Descriptor(_) | KeyFault::Unreadable), "{text}");
    }
    assert_eq!("bip85".parse::<Form>(), Err(KeyFault::UnknownForm));
}
