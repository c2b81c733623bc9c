//! The words every other module speaks: amounts, hashes, preimages, ids, instants.
//!
//! Invariants: an [`Msat`] never exceeds 21 million bitcoin and its arithmetic is checked; a
//! [`Preimage`] never shows itself in a log. Nothing here does I/O.

mod count;
mod groups;
pub mod host;
mod kind;
mod limit;
pub mod path;
mod presented;
mod schema;
mod severity;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use ring::digest;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use thiserror::Error;

pub use count::counted;
pub use groups::{grouped, grouped_in};
pub use kind::{Kind, NoSuchKind};
pub use limit::{Bound, Limit, TokenCopy};
pub use severity::{NoSuchSeverity, Severity};

/// An amount of money in millisatoshi, at most 21 million bitcoin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema, Default)]
#[serde(transparent)]
pub struct Msat(u64);

/// An amount that no wallet can hold: over 21 million bitcoin, or below zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the amount is outside 0 to 21 million bitcoin")]
pub struct AmountOutOfRange;

impl Msat {
    /// Nothing.
    pub const ZERO: Msat = Msat(0);
    /// Every bitcoin there will ever be, in millisatoshi.
    pub const MAX: Msat = Msat(2_100_000_000_000_000_000);

    /// An amount in millisatoshi.
    ///
    /// # Errors
    /// When it exceeds [`Msat::MAX`].
    pub const fn new(msat: u64) -> Result<Msat, AmountOutOfRange> {
        if msat > Msat::MAX.0 { Err(AmountOutOfRange) } else { Ok(Msat(msat)) }
    }

    /// An amount in satoshi.
    ///
    /// # Errors
    /// When it exceeds [`Msat::MAX`].
    pub const fn from_sat(sat: u64) -> Result<Msat, AmountOutOfRange> {
        match sat.checked_mul(1_000) {
            Some(msat) => Msat::new(msat),
            None => Err(AmountOutOfRange),
        }
    }

    /// The amount in millisatoshi.
    pub const fn msat(self) -> u64 {
        self.0
    }

    /// The amount in whole satoshi when it is one, as dialects without millisatoshi need.
    pub fn whole_sats(self) -> Option<u64> {
        self.0.is_multiple_of(1_000).then_some(self.0 / 1_000)
    }

    /// The amount in satoshi, rounded up.
    pub const fn sats_ceil(self) -> u64 {
        self.0.div_ceil(1_000)
    }

    /// The amount in satoshi, rounded down.
    pub const fn sats_floor(self) -> u64 {
        self.0 / 1_000
    }

    /// The sum.
    ///
    /// # Errors
    /// When it exceeds [`Msat::MAX`].
    pub fn checked_add(self, other: Msat) -> Result<Msat, AmountOutOfRange> {
        self.0.checked_add(other.0).ok_or(AmountOutOfRange).and_then(Msat::new)
    }

    /// The difference.
    ///
    /// # Errors
    /// When `other` is larger.
    pub fn checked_sub(self, other: Msat) -> Result<Msat, AmountOutOfRange> {
        self.0.checked_sub(other.0).map(Msat).ok_or(AmountOutOfRange)
    }

    /// `quantity` times the amount.
    ///
    /// # Errors
    /// When it exceeds [`Msat::MAX`].
    pub fn checked_mul(self, quantity: u64) -> Result<Msat, AmountOutOfRange> {
        self.0.checked_mul(quantity).ok_or(AmountOutOfRange).and_then(Msat::new)
    }
}

/// An amount as people read it: satoshi, with decimals where it has parts of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InSat(Msat);

impl Msat {
    /// For people, who think in satoshi.
    pub const fn in_sat(self) -> InSat {
        InSat(self)
    }
}

impl fmt::Display for InSat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let msat = self.0.msat();
        let parts = format!("{:03}", msat % 1_000);
        match parts.trim_end_matches('0') {
            "" => write!(f, "{} sat", msat / 1_000),
            parts => write!(f, "{}.{parts} sat", msat / 1_000),
        }
    }
}

impl fmt::Display for Msat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.whole_sats() {
            Some(sat) => write!(f, "{sat} sat"),
            None => write!(f, "{} msat", self.0),
        }
    }
}

/// Why a text is not a price such as `50 sat` or `250 msat`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AmountError {
    /// No number followed by a unit.
    #[error("`{0}` is not an amount: write a whole number and a unit, such as \"50 sat\" or \"250 msat\"")]
    Syntax(String),
    /// More than there is.
    #[error("`{0}` is more than 21 million bitcoin")]
    TooLarge(String),
}

impl FromStr for Msat {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Msat, AmountError> {
        let syntax = || AmountError::Syntax(text.to_owned());
        let trimmed = text.trim();
        let split = trimmed.find(|c: char| !c.is_ascii_digit()).ok_or_else(syntax)?;
        let (digits, unit) = trimmed.split_at(split);
        if digits.is_empty() {
            return Err(syntax());
        }
        let too_large = |_| AmountError::TooLarge(text.to_owned());
        let number: u64 = digits.parse().map_err(|_| AmountError::TooLarge(text.to_owned()))?;
        match unit.trim() {
            "sat" | "sats" => Msat::from_sat(number).map_err(too_large),
            "msat" | "msats" => Msat::new(number).map_err(too_large),
            _ => Err(syntax()),
        }
    }
}

impl<'de> Deserialize<'de> for Msat {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Msat, D::Error> {
        Msat::new(u64::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// A text that is not 32 bytes in hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("expected 64 hexadecimal digits")]
pub struct NotHex32;

macro_rules! bytes32 {
    ($name:ident) => {
        impl $name {
            /// From the raw bytes.
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The raw bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// Lower-case hexadecimal.
            pub fn to_hex(&self) -> String {
                hex::encode(self.0)
            }
        }

        impl FromStr for $name {
            type Err = NotHex32;

            fn from_str(text: &str) -> Result<Self, NotHex32> {
                let mut bytes = [0u8; 32];
                hex::decode_to_slice(text, &mut bytes).map_err(|_| NotHex32)?;
                Ok(Self(bytes))
            }
        }
    };
}

macro_rules! shown_as_hex {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.to_hex())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

/// SHA-256 of a [`Preimage`]; names a payment (BOLT 11).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PaymentHash([u8; 32]);
bytes32!(PaymentHash);
shown_as_hex!(PaymentHash);

/// The proof of a Lightning payment. `Debug` does not show it, it has no `Display`, and the only
/// equality that it has takes the same time for every other.
#[derive(Clone, Copy)]
pub struct Preimage([u8; 32]);
bytes32!(Preimage);

impl PartialEq for Preimage {
    fn eq(&self, other: &Preimage) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Preimage {}

impl Preimage {
    /// Whether this is the preimage of `hash`; takes the same time for every hash.
    pub fn opens(&self, hash: &PaymentHash) -> bool {
        self.payment_hash().0.ct_eq(&hash.0).into()
    }

    /// The payment hash that this preimage opens.
    pub fn payment_hash(&self) -> PaymentHash {
        let mut hash = [0u8; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, &self.0).as_ref());
        PaymentHash(hash)
    }
}

impl fmt::Debug for Preimage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Preimage(redacted)")
    }
}

/// Names one token, that is one macaroon as minted; its first four bytes are the key epoch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId([u8; 32]);
bytes32!(TokenId);
shown_as_hex!(TokenId);

impl TokenId {
    /// The epoch of the master key that the token was minted under.
    pub const fn epoch(&self) -> u32 {
        let [a, b, c, d, ..] = self.0;
        u32::from_be_bytes([a, b, c, d])
    }
}

/// Names the counter of one limit in a token: a digest of the token's chain of signatures up to the
/// limit, so that nobody can make another copy of the token that counts there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CounterId([u8; 32]);
bytes32!(CounterId);
shown_as_hex!(CounterId);

/// Milliseconds since the Unix epoch.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema, Default,
)]
#[serde(transparent)]
pub struct Timestamp(u64);

impl Timestamp {
    /// From milliseconds since the Unix epoch.
    pub const fn from_millis(ms: u64) -> Timestamp {
        Timestamp(ms)
    }

    /// From seconds since the Unix epoch; saturates.
    pub const fn from_secs(secs: u64) -> Timestamp {
        Timestamp(secs.saturating_mul(1_000))
    }

    /// Milliseconds since the Unix epoch.
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since the Unix epoch.
    pub const fn secs(self) -> u64 {
        self.0 / 1_000
    }

    /// Later by `span`; saturates.
    pub fn plus(self, span: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)))
    }

    /// Earlier by `span`; saturates.
    pub fn minus(self, span: Duration) -> Timestamp {
        Timestamp(self.0.saturating_sub(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)))
    }
}

/// A service's or route's name: 1 to 64 of `a-z 0-9 - _`, starting with a letter.
///
/// The alphabet leaves out every separator of the macaroon's caveats (`=`, `:`, `,`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

/// A text that is not a [`Name`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{0}` is not a name: use 1 to 64 of a-z, 0-9, `-` and `_`, starting with a letter")]
pub struct NameError(String);

impl Name {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Name, NameError> {
        let starts = text.starts_with(|c: char| c.is_ascii_lowercase());
        let clean = text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'));
        if starts && clean && text.len() <= 64 {
            Ok(Name(text.into()))
        } else {
            Err(NameError(text.to_owned()))
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Name {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Name, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_and_print_alike() {
        assert_eq!("50 sat".parse(), Msat::from_sat(50).map_err(|_| unreachable!()));
        assert_eq!("250msat".parse::<Msat>().map(Msat::msat), Ok(250));
        assert_eq!("1500 msat".parse::<Msat>().map(|m| m.to_string()), Ok("1500 msat".into()));
        assert_eq!("2000 msat".parse::<Msat>().map(|m| m.to_string()), Ok("2 sat".into()));
        for bad in ["", "sat", "5", "-5 sat", "5.5 sat", "5 btc", "5 sat x"] {
            assert!(matches!(bad.parse::<Msat>(), Err(AmountError::Syntax(_))), "{bad}");
        }
        for big in ["2100000000000001 sat", "18446744073709551616 msat", "99999999999999999999 sat"] {
            assert!(matches!(big.parse::<Msat>(), Err(AmountError::TooLarge(_))), "{big}");
        }
    }

    #[test]
    fn amounts_never_wrap() {
        let one = Msat::new(1).expect("1 msat is in range");
        assert_eq!(Msat::MAX.checked_add(one), Err(AmountOutOfRange));
        assert_eq!(Msat::ZERO.checked_sub(one), Err(AmountOutOfRange));
        assert_eq!(one.checked_mul(u64::MAX), Err(AmountOutOfRange));
        assert_eq!(Msat::new(u64::MAX), Err(AmountOutOfRange));
    }

    #[test]
    fn a_preimage_hides_itself() {
        let preimage = Preimage::from_bytes([7; 32]);
        assert_eq!(format!("{preimage:?}"), "Preimage(redacted)");
        assert!(preimage == Preimage::from_bytes([7; 32]) && preimage != Preimage::from_bytes([8; 32]));
        assert!(preimage.opens(&preimage.payment_hash()));
        assert!(!preimage.opens(&PaymentHash::from_bytes([7; 32])));
        assert_eq!(
            Preimage::from_bytes([0; 32]).payment_hash().to_hex(),
            "66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925"
        );
    }

    #[test]
    fn names_are_narrow() {
        assert!("rates-v1_x".parse::<Name>().is_ok());
        for bad in ["", "Rates", "1rates", "a:b", "a=b", "a b", "é"] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
        assert!("a".repeat(65).parse::<Name>().is_err());
    }
}
