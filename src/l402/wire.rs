//! The macaroon itself: version 2, binary, first-party caveats only; its chain of signatures, how it
//! is written, and how one from outside is read and checked.
//!
//! Invariants: whatever this reads, writing it again gives the same bytes, so there are no two
//! spellings of one token, no trailing bytes and no other format. The location is not signed and is
//! not looked at. The `macaroon` crate only parses: to build or to verify a chain with it would put
//! signatures into the log (`.clippy.toml` bans those calls), the bare one of a fresh macaroon
//! included, which is good for any caveats.

use macaroon::{Caveat, Macaroon};

use super::refusal::Refusal;
use super::seal::Seal;

/// A macaroon larger than this is refused, in bytes (PROTOCOLS §1).
pub const MAX_MACAROON_BYTES: usize = 4_096;

/// A macaroon with more caveats than this is refused, the minted ones counted (PROTOCOLS §1).
pub const MAX_CAVEATS: usize = 32;

/// The first byte of a binary macaroon of version 2.
const VERSION_2: u8 = 2;

/// Field tags, as libmacaroons and go-macaroon have them.
const END: u8 = 0;
const LOCATION: u8 = 1;
const IDENTIFIER: u8 = 2;
const SIGNATURE: u8 = 6;

/// Writes a macaroon signed under `root_key`.
pub(super) fn mint(
    root_key: &[u8; 32],
    location: Option<&str>,
    identifier: &[u8],
    caveats: &[Vec<u8>],
) -> Vec<u8> {
    let first = Seal::first(root_key, identifier);
    let last = caveats.iter().fold(first, |seal, caveat| seal.next(caveat));
    write(location, identifier, caveats, &last)
}

/// A macaroon's parts, not yet believed.
pub(super) struct Unverified {
    pub(super) identifier: Vec<u8>,
    pub(super) caveats: Vec<Vec<u8>>,
    signature: Seal,
}

impl Unverified {
    /// Reads a macaroon.
    pub(super) fn read(bytes: &[u8]) -> Result<Unverified, Refusal> {
        if bytes.len() > MAX_MACAROON_BYTES {
            return Err(Refusal::MacaroonTooLarge);
        }
        // The crate's reader guesses the format: version 1 would be taken as well.
        if bytes.first() != Some(&VERSION_2) {
            return Err(Refusal::MacaroonUndecodable);
        }
        let macaroon = Macaroon::deserialize_binary(bytes).map_err(|_| Refusal::MacaroonUndecodable)?;
        let caveats = macaroon.caveats();
        if caveats.len() > MAX_CAVEATS {
            return Err(Refusal::TooManyCaveats);
        }
        let caveats = caveats.into_iter().map(predicate).collect::<Result<Vec<_>, _>>()?;
        let identifier = macaroon.identifier().0;
        let signature = Seal::from_bytes(*AsRef::<[u8; 32]>::as_ref(&macaroon.signature()));
        // The crate's reader takes trailing bytes and padded lengths.
        if write(macaroon.location().as_deref(), &identifier, &caveats, &signature) != bytes {
            return Err(Refusal::MacaroonUndecodable);
        }
        Ok(Unverified { identifier, caveats, signature })
    }

    /// Rebuilds the chain from `root_key`: one HMAC for the root key, one for the identifier, one for
    /// each caveat. Gives the signature after each caveat when the last one is the macaroon's.
    pub(super) fn check(&self, root_key: &[u8; 32]) -> Result<Vec<Seal>, Refusal> {
        let first = Seal::first(root_key, &self.identifier);
        let mut seals = Vec::with_capacity(self.caveats.len());
        let mut last = first;
        for caveat in &self.caveats {
            last = last.next(caveat);
            seals.push(last);
        }
        if last == self.signature { Ok(seals) } else { Err(Refusal::BadSignature) }
    }
}

fn predicate(caveat: Caveat) -> Result<Vec<u8>, Refusal> {
    match caveat {
        Caveat::FirstParty(caveat) => Ok(caveat.predicate().0),
        Caveat::ThirdParty(_) => Err(Refusal::ThirdPartyCaveat),
    }
}

fn write(location: Option<&str>, identifier: &[u8], caveats: &[Vec<u8>], signature: &Seal) -> Vec<u8> {
    let mut bytes = vec![VERSION_2];
    if let Some(location) = location {
        write_field(LOCATION, location.as_bytes(), &mut bytes);
    }
    write_field(IDENTIFIER, identifier, &mut bytes);
    bytes.push(END);
    for caveat in caveats {
        write_field(IDENTIFIER, caveat, &mut bytes);
        bytes.push(END);
    }
    bytes.push(END);
    write_field(SIGNATURE, signature.as_bytes(), &mut bytes);
    bytes
}

/// A tag, the length seven bits at a time with the lowest first, and the value.
pub(super) fn write_field(tag: u8, value: &[u8], bytes: &mut Vec<u8>) {
    bytes.push(tag);
    let mut len = value.len();
    while len >= 0x80 {
        bytes.push(len.to_le_bytes()[0] | 0x80);
        len >>= 7;
    }
    bytes.push(len.to_le_bytes()[0]);
    bytes.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::l402::base64;
    use libmacaroon::{Format, Macaroon as Theirs, MacaroonKey};
    use proptest::prelude::*;

    fn code(bytes: &[u8]) -> &'static str {
        Unverified::read(bytes).map_or_else(|refusal| refusal.code(), |_| "read")
    }

    /// A macaroon by other hands.
    fn macaroon(identifier: &[u8], caveats: &[Vec<u8>]) -> Theirs {
        let mut macaroon =
            Theirs::create(Some("here"), &MacaroonKey::generate(&[5; 32]), identifier).unwrap();
        for caveat in caveats {
            macaroon.add_first_party_caveat(caveat).unwrap();
        }
        macaroon
    }

    fn written(macaroon: &Theirs) -> Vec<u8> {
        base64::decode(&macaroon.serialize(Format::V2).unwrap()).unwrap()
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_its_chain_holds(
            identifier in proptest::collection::vec(any::<u8>(), 1..80),
            caveats in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 0..MAX_CAVEATS),
            other in any::<[u8; 32]>(),
        ) {
            let bytes = mint(&[5; 32], Some("here"), &identifier, &caveats);
            prop_assert_eq!(&bytes, &written(&macaroon(&identifier, &caveats)));
            let read = Unverified::read(&bytes).unwrap();
            prop_assert_eq!(&read.identifier, &identifier);
            prop_assert_eq!(&read.caveats, &caveats);
            prop_assert_eq!(read.check(&[5; 32]).map(|seals| seals.len()), Ok(caveats.len()));
            if other != [5; 32] {
                prop_assert_eq!(read.check(&other), Err(Refusal::BadSignature));
            }
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = Unverified::read(&bytes);
            let _ = Unverified::read(&[&[VERSION_2], bytes.as_slice()].concat());
        }

        #[test]
        fn a_damaged_macaroon_is_refused_or_fails_its_chain(at in any::<prop::sample::Index>(), xor in 1u8..) {
            let mut bytes = written(&macaroon(b"identifier", &[b"a=1".to_vec(), b"b=2".to_vec()]));
            let place = at.index(bytes.len());
            bytes[place] ^= xor;
            if let Ok(read) = Unverified::read(&bytes) {
                // Bytes 3 to 6 are the location, which no macaroon signs.
                prop_assert!((3..7).contains(&place) || read.check(&[5; 32]).is_err());
            }
        }

        #[test]
        fn a_cut_macaroon_is_refused(at in any::<prop::sample::Index>()) {
            let bytes = written(&macaroon(b"identifier", &[b"a=1".to_vec()]));
            prop_assert_eq!(code(&bytes[..at.index(bytes.len())]), "macaroon_undecodable");
        }
    }

    #[test]
    fn one_token_has_one_spelling() {
        let bytes = written(&macaroon(b"identifier", &[]));
        assert_eq!(code(&bytes), "read");
        assert_eq!(code(&[bytes.as_slice(), &[0]].concat()), "macaroon_undecodable");
        // The location's length as a varint of two bytes.
        assert_eq!(bytes[..3], [2, 1, 4]);
        let padded = [&[2, 1, 0x84, 0], &bytes[3..]].concat();
        assert!(Macaroon::deserialize_binary(&padded).is_ok());
        assert_eq!(code(&padded), "macaroon_undecodable");
    }

    #[test]
    fn other_formats_are_refused() {
        let macaroon = macaroon(b"identifier", &[]);
        let version_1 = base64::decode(&macaroon.serialize(Format::V1).unwrap()).unwrap();
        assert!(Macaroon::deserialize_binary(&version_1).is_ok());
        assert_eq!(code(&version_1), "macaroon_undecodable");
        assert_eq!(code(macaroon.serialize(Format::V2JSON).unwrap().as_bytes()), "macaroon_undecodable");
        assert_eq!(code(b""), "macaroon_undecodable");
    }

    #[test]
    fn limits_hold_at_their_edge() {
        let with = |count: usize| written(&macaroon(b"i", &vec![b"a=1".to_vec(); count]));
        assert_eq!(code(&with(MAX_CAVEATS)), "read");
        assert_eq!(code(&with(MAX_CAVEATS + 1)), "too_many_caveats");
        let empty = written(&macaroon(b"i", &[vec![b'a'; 2_000], vec![]])).len();
        let sized = |len: usize| written(&macaroon(b"i", &[vec![b'a'; 2_000], vec![b'b'; len]]));
        let fits = MAX_MACAROON_BYTES - empty - 1;
        assert_eq!((sized(fits).len(), code(&sized(fits))), (MAX_MACAROON_BYTES, "read"));
        assert_eq!(code(&sized(fits + 1)), "macaroon_too_large");
    }

    #[test]
    fn a_third_party_caveat_is_refused() {
        let mut macaroon = macaroon(b"identifier", &[]);
        macaroon.add_third_party_caveat("there", &MacaroonKey::generate(b"k"), b"who").unwrap();
        assert_eq!(code(&written(&macaroon)), "third_party_caveat");
    }
}
