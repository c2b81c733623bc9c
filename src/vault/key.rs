//! The operator's public keys, read and checked: a descriptor, or an account's extended key with its form.
//!
//! Invariant: a private key is refused, and neither it nor anything else that was typed is said again.

use std::fmt;
use std::str::FromStr;

use bdk_wallet::descriptor::{DescriptorPublicKey, ExtendedDescriptor};
use bdk_wallet::miniscript::ForEachKey;
use bitcoin::{Network, NetworkKind, base58};
use thiserror::Error;

/// Which addresses an account's extended key stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `1…`: pay to public key hash.
    Bip44,
    /// `3…`: segwit inside script hash.
    Bip49,
    /// `bc1q…`: segwit.
    Bip84,
    /// `bc1p…`: taproot.
    Bip86,
}

impl Form {
    const ALL: [Form; 4] = [Form::Bip44, Form::Bip49, Form::Bip84, Form::Bip86];

    /// As it is written and shown.
    pub const fn word(self) -> &'static str {
        match self {
            Form::Bip44 => "bip44",
            Form::Bip49 => "bip49",
            Form::Bip84 => "bip84",
            Form::Bip86 => "bip86",
        }
    }

    fn descriptor(self, key: &str, chain: u32) -> String {
        match self {
            Form::Bip44 => format!("pkh({key}/{chain}/*)"),
            Form::Bip49 => format!("sh(wpkh({key}/{chain}/*))"),
            Form::Bip84 => format!("wpkh({key}/{chain}/*)"),
            Form::Bip86 => format!("tr({key}/{chain}/*)"),
        }
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Form {
    type Err = KeyFault;

    fn from_str(text: &str) -> Result<Form, KeyFault> {
        Form::ALL.into_iter().find(|form| form.word() == text).ok_or(KeyFault::UnknownForm)
    }
}

/// Why keys are refused. Never holds what was given.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum KeyFault {
    /// A private key, or seed words.
    #[error(
        "that is a private key: it was neither used nor kept, but whoever saw it can spend your coins. Give the public \
         one (xpub, ypub, zpub or a descriptor of public keys)"
    )]
    Private,
    /// Not a key or a descriptor.
    #[error("that is neither a descriptor nor an extended public key")]
    Unreadable,
    /// A descriptor with a fault.
    #[error("the descriptor cannot be used: {0}")]
    Descriptor(&'static str),
    /// A key of another network.
    #[error("the key belongs to {theirs}, and this appliance is on {ours}")]
    WrongNetwork {
        /// Whose it is.
        theirs: &'static str,
        /// Ours.
        ours: Network,
    },
    /// An xpub says nothing of its addresses.
    #[error("an xpub does not say which addresses it is for: choose bip44, bip49, bip84 or bip86")]
    FormNeeded,
    /// A ypub is BIP 49, a zpub BIP 84.
    #[error("the key says that it is {said}, and you say another form")]
    OtherForm {
        /// What the key says.
        said: Form,
    },
    /// A form beside a descriptor.
    #[error("a descriptor says itself which addresses it is for: leave the form away")]
    FormBesideDescriptor,
    /// Not a form.
    #[error("the form is one of bip44, bip49, bip84 and bip86")]
    UnknownForm,
    /// A master key, or one below an account.
    #[error(
        "the key is not an account's: give the one at the account's level (depth 3, such as m/84'/0'/0')"
    )]
    NotAnAccount,
    /// The xpub forms of multisignature wallets.
    #[error("that key is one of several of a multisignature wallet: give the wallet's descriptor")]
    Multisignature,
}

impl KeyFault {
    /// A stable word.
    pub const fn code(&self) -> &'static str {
        match self {
            KeyFault::Private => "private_key",
            KeyFault::WrongNetwork { .. } => "wrong_network",
            KeyFault::FormNeeded => "form_needed",
            _ => "bad_key",
        }
    }
}

/// What is watched: descriptors with public keys, checked against the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// The descriptor of deposits, with its checksum.
    pub external: String,
    /// The descriptor of change, if one is known.
    pub internal: Option<String>,
    /// `bip44`, `bip49`, `bip84`, `bip86` or `descriptor`.
    pub form: &'static str,
}

/// Version bytes of extended keys (SLIP-132).
const PUBLIC: [([u8; 4], NetworkKind, Option<Form>); 6] = [
    ([0x04, 0x88, 0xb2, 0x1e], NetworkKind::Main, None),
    ([0x04, 0x9d, 0x7c, 0xb2], NetworkKind::Main, Some(Form::Bip49)),
    ([0x04, 0xb2, 0x47, 0x46], NetworkKind::Main, Some(Form::Bip84)),
    ([0x04, 0x35, 0x87, 0xcf], NetworkKind::Test, None),
    ([0x04, 0x4a, 0x52, 0x62], NetworkKind::Test, Some(Form::Bip49)),
    ([0x04, 0x5f, 0x1c, 0xf6], NetworkKind::Test, Some(Form::Bip84)),
];
/// `Ypub`, `Zpub`, `Upub` and `Vpub`.
const SHARED: [[u8; 4]; 4] =
    [[0x02, 0x95, 0xb4, 0x3f], [0x02, 0xaa, 0x7e, 0xd3], [0x02, 0x42, 0x89, 0xef], [0x02, 0x57, 0x54, 0x83]];
/// The depth of an account's key.
const ACCOUNT: u8 = 3;
/// Fewer words are not a seed.
const FEWEST_WORDS: usize = 12;

impl Keys {
    /// Reads what the operator gave.
    ///
    /// # Errors
    /// When it is not what it should be, or private.
    pub fn read(text: &str, form: Option<Form>, network: Network) -> Result<Keys, KeyFault> {
        let text = text.trim();
        if looks_private(text) {
            return Err(KeyFault::Private);
        }
        if text.contains('(') {
            if form.is_some() {
                return Err(KeyFault::FormBesideDescriptor);
            }
            return Keys::of_descriptor(text, network);
        }
        Keys::of_extended_key(text, form, network)
    }

    fn of_extended_key(text: &str, form: Option<Form>, network: Network) -> Result<Keys, KeyFault> {
        // With its origin, as wallets write it: `[fingerprint/84'/0'/0']xpub…`.
        let (origin, text) = match text.split_once(']') {
            Some((origin, key)) if origin.starts_with('[') => (format!("{origin}]"), key),
            _ => (String::new(), text),
        };
        let mut bytes = base58::decode_check(text).map_err(|_| KeyFault::Unreadable)?;
        let (Some(version), Some(depth)) = (bytes.first_chunk::<4>().copied(), bytes.get(4).copied()) else {
            return Err(KeyFault::Unreadable);
        };
        if SHARED.contains(&version) {
            return Err(KeyFault::Multisignature);
        }
        let (_, kind, said) =
            PUBLIC.into_iter().find(|(known, _, _)| *known == version).ok_or(KeyFault::Unreadable)?;
        same_network(kind, network)?;
        let form = match (said, form) {
            (Some(said), Some(form)) if said != form => return Err(KeyFault::OtherForm { said }),
            (said, form) => said.or(form).ok_or(KeyFault::FormNeeded)?,
        };
        if depth != ACCOUNT {
            return Err(KeyFault::NotAnAccount);
        }
        let plain = PUBLIC.iter().find(|(_, its, said)| *its == kind && said.is_none());
        if let (Some((version, ..)), Some(head)) = (plain, bytes.first_chunk_mut::<4>()) {
            *head = *version;
        }
        let key = format!("{origin}{}", base58::encode_check(&bytes));
        let [external, internal] = [0, 1].map(|chain| checked(&form.descriptor(&key, chain)));
        Ok(Keys { external: external?.to_string(), internal: Some(internal?.to_string()), form: form.word() })
    }

    fn of_descriptor(text: &str, network: Network) -> Result<Keys, KeyFault> {
        let descriptor = checked(text)?;
        let mut kinds = Vec::new();
        descriptor.for_each_key(|key| {
            match key {
                DescriptorPublicKey::XPub(key) => kinds.push(key.xkey.network),
                DescriptorPublicKey::MultiXPub(key) => kinds.push(key.xkey.network),
                DescriptorPublicKey::Single(_) => {}
            }
            true
        });
        for kind in kinds {
            same_network(kind, network)?;
        }
        if !descriptor.has_wildcard() {
            let why = "it stands for one address, and an address is never used twice; end it with /*";
            return Err(KeyFault::Descriptor(why));
        }
        let mut chains = descriptor
            .into_single_descriptors()
            .map_err(|_| KeyFault::Descriptor("its paths do not fit together"))?
            .into_iter();
        let (external, internal, more) = (chains.next(), chains.next(), chains.next());
        let (Some(external), None) = (external, more) else {
            return Err(KeyFault::Descriptor("it has more than two paths; write <0;1>"));
        };
        let internal = internal.map(|descriptor| descriptor.to_string());
        Ok(Keys { external: external.to_string(), internal, form: "descriptor" })
    }
}

/// The descriptor, with hardened steps refused: they need a private key.
fn checked(text: &str) -> Result<ExtendedDescriptor, KeyFault> {
    let descriptor: ExtendedDescriptor = text.parse().map_err(|error| match error {
        bdk_wallet::miniscript::Error::BadDescriptor(_) => {
            KeyFault::Descriptor("it cannot be read, or its checksum is wrong")
        }
        _ => KeyFault::Unreadable,
    })?;
    descriptor.sanity_check().map_err(|_| KeyFault::Descriptor("it is not safe to use"))?;
    let hardened = descriptor.for_any_key(|key| match key {
        DescriptorPublicKey::XPub(key) => {
            key.derivation_path.into_iter().any(|step| step.is_hardened())
                || key.wildcard == bdk_wallet::miniscript::descriptor::Wildcard::Hardened
        }
        DescriptorPublicKey::MultiXPub(key) => {
            key.derivation_paths.paths().iter().any(|path| path.into_iter().any(|step| step.is_hardened()))
                || key.wildcard == bdk_wallet::miniscript::descriptor::Wildcard::Hardened
        }
        DescriptorPublicKey::Single(_) => false,
    });
    if hardened {
        return Err(KeyFault::Descriptor("it has hardened steps after the key, which need a private key"));
    }
    Ok(descriptor)
}

fn same_network(kind: NetworkKind, network: Network) -> Result<(), KeyFault> {
    if kind == NetworkKind::from(network) {
        return Ok(());
    }
    let theirs = if kind == NetworkKind::Main { "mainnet" } else { "a test network" };
    Err(KeyFault::WrongNetwork { theirs, ours: network })
}

/// Whether something in it is an extended private key, a private key in WIF, or seed words.
pub fn looks_private(text: &str) -> bool {
    let words: Vec<&str> = text.split_whitespace().collect();
    let seed_words =
        words.len() >= FEWEST_WORDS && words.iter().all(|word| word.chars().all(char::is_alphabetic));
    let private = |part: &str| {
        let extended = part.get(1..4) == Some("prv");
        let key = part.parse::<bitcoin::PrivateKey>().is_ok();
        extended || key
    };
    seed_words || text.split(|c: char| !c.is_ascii_alphanumeric()).any(private)
}

#[cfg(test)]
mod tests;
