//! The signatures in a macaroon's chain.
//!
//! Invariants: whoever knows one can go on with the chain from there, so none shows itself; two are
//! compared in constant time, for there is no other way to compare them.

use std::fmt;

use ring::{digest, hmac};
use subtle::ConstantTimeEq;

use crate::types::CounterId;

/// libmacaroons' fixed key, with which a root key of any length becomes the key of the first HMAC.
const KEY_GENERATOR: Seal = Seal(*b"macaroons-key-generator\0\0\0\0\0\0\0\0\0");

/// Sets the names of counters apart from any other digest of a signature; part of the ledger: never
/// change it.
const COUNTER_DOMAIN: &[u8] = b"tollhouse/l402/counter/v1";

/// The signature of a chain so far: the key of what comes next.
#[derive(Clone, Copy)]
pub(super) struct Seal([u8; 32]);

impl Seal {
    /// A signature as a macaroon has it at its end.
    pub(super) const fn from_bytes(bytes: [u8; 32]) -> Seal {
        Seal(bytes)
    }

    /// As it is written at the end of a macaroon, and nowhere else.
    pub(super) const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The signature of a chain without caveats.
    pub(super) fn first(root_key: &[u8], identifier: &[u8]) -> Seal {
        KEY_GENERATOR.next(root_key).next(identifier)
    }

    /// The signature with one more caveat.
    pub(super) fn next(&self, caveat: &[u8]) -> Seal {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &self.0), caveat);
        Seal(tag.as_ref().try_into().expect("a tag of HMAC-SHA256 has 32 bytes"))
    }

    /// Names the counter of the caveat that this is the signature of. It does not give the signature
    /// away, and nobody without the token can tell it beforehand.
    pub(super) fn counter(&self) -> CounterId {
        let mut digest = digest::Context::new(&digest::SHA256);
        digest.update(COUNTER_DOMAIN);
        digest.update(&self.0);
        let digest = digest.finish();
        CounterId::from_bytes(digest.as_ref().try_into().expect("SHA-256 gives 32 bytes"))
    }
}

impl PartialEq for Seal {
    fn eq(&self, other: &Seal) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Seal {}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_hides_itself_and_its_counter_names_its_place() {
        let first = Seal::first(&[5; 32], b"identifier");
        assert_eq!(format!("{first:?}"), "Seal(redacted)");
        let (one, other) = (first.next(b"budget_id=a"), first.next(b"budget_id=b"));
        assert!(one != other && one == first.next(b"budget_id=a"));
        assert_ne!(one.counter(), other.counter());
        assert_ne!(one.next(b"max_uses=1").counter(), other.next(b"max_uses=1").counter());
        assert_ne!(one.counter().as_bytes(), one.as_bytes(), "the ledger must not hold the signature");
    }
}
