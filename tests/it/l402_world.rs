//! A sold token in the hands of somebody with another library, for the tests of the protocol.

#![allow(clippy::unwrap_used, reason = "a case that cannot be set up is a failed test")]

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use libmacaroon::{Format, Macaroon};
use tollhouse::clock::CountingEntropy;
use tollhouse::l402::{
    Identifier, MasterKeys, Presented, Sold, Token, UnknownCaveats, Use, authorization, presented, verify,
};
use tollhouse::types::{Msat, Preimage, Timestamp};

pub(crate) const MASTER: [u8; 32] = [0x4d; 32];
pub(crate) const NOW: Timestamp = Timestamp::from_secs(1_799_990_000);

/// HKDF-SHA256 by hand (RFC 5869), so that the root key is not taken from the code under test.
pub(crate) fn root_key(master: &[u8; 32], identifier: &[u8]) -> [u8; 32] {
    let hmac = |key: &[u8], message: &[u8]| {
        ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key), message)
    };
    let extracted = hmac(b"tollhouse/l402/root-key/v1", master);
    let expanded = hmac(extracted.as_ref(), &[identifier, &[1]].concat());
    expanded.as_ref().try_into().unwrap()
}

/// One token that was sold, and whoever holds it.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) keys: MasterKeys,
    pub(crate) preimage: Preimage,
    pub(crate) identifier: Identifier,
    pub(crate) sold: Sold,
}

impl World {
    pub(crate) fn new() -> World {
        let keys = MasterKeys::new(3, [(3, MASTER)]).unwrap();
        let preimage = Preimage::from_bytes([0x70; 32]);
        let token_id = keys.new_token_id(&CountingEntropy::default());
        let identifier = Identifier { payment_hash: preimage.payment_hash(), token_id };
        let (service, route) = ("rates".parse().unwrap(), "fx".parse().unwrap());
        let until = Timestamp::from_secs(1_800_000_000);
        let sold = Sold::request(service, route, Msat::from_sat(21).unwrap(), 4, until);
        World { keys, preimage, identifier, sold }
    }

    pub(crate) fn token(&self) -> Token {
        Token::mint(&self.keys, "127.0.0.1:8402", &self.identifier, &self.sold).unwrap()
    }

    /// The token in the hands of somebody with another library.
    pub(crate) fn held(&self) -> Macaroon {
        Macaroon::deserialize(self.token().base64()).unwrap()
    }

    pub(crate) fn appended(&self, caveats: &[&str]) -> Macaroon {
        let mut held = self.held();
        for caveat in caveats {
            held.add_first_party_caveat(caveat).unwrap();
        }
        held
    }

    /// Pays and presents `macaroon` in a header; the code of the answer, or `good`.
    pub(crate) fn used(&self, macaroon: &Macaroon, unknown: UnknownCaveats) -> &'static str {
        self.used_as(&authorization(&macaroon.serialize(Format::V2).unwrap(), &self.preimage), unknown)
    }

    pub(crate) fn used_as(&self, header: &str, unknown: UnknownCaveats) -> &'static str {
        let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::try_from(header).unwrap())]);
        match presented(&headers) {
            Ok(credentials) => self.verdict(&credentials[0], unknown),
            Err(malformed) => malformed.code(),
        }
    }

    pub(crate) fn verdict(&self, credential: &Presented, unknown: UnknownCaveats) -> &'static str {
        let how = Use { service: &self.sold.service, method: "GET", path: "/v1/exchange-rates", now: NOW };
        match verify(&self.keys, credential, &how, unknown) {
            Ok(verified) => {
                assert_eq!(verified.identifier, self.identifier);
                assert_eq!(verified.preimage, self.preimage);
                assert_eq!(verified.sold, self.sold);
                assert!(verified.expires_at <= self.sold.valid_until);
                "good"
            }
            Err(refusal) => refusal.code(),
        }
    }
}

/// A copy of a credential's token with these caveats, made by another library.
pub(crate) fn narrowed(header: &str, caveats: &[&str]) -> String {
    let (macaroon, preimage) = header.trim_start_matches("L402 ").split_once(':').unwrap();
    let mut copy = Macaroon::deserialize(macaroon).unwrap();
    for caveat in caveats {
        copy.add_first_party_caveat(caveat).unwrap();
    }
    format!("L402 {}:{preimage}", copy.serialize(Format::V2).unwrap())
}

/// The binary form.
pub(crate) fn raw(macaroon: &Macaroon) -> Vec<u8> {
    URL_SAFE.decode(macaroon.serialize(Format::V2).unwrap()).unwrap()
}
