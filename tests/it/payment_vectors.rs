//! The `Payment` scheme beside its reference implementation, mppx, through a file that
//! `scripts/vectors-mppx` wrote: what we say is what it says, and what its client sends is read.

#![allow(clippy::unwrap_used, reason = "a case that cannot be set up is a failed test")]

use std::collections::BTreeMap;
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tollhouse::payment_auth::{
    Bound, Challenge, ChallengeKey, Charge, presented, problem_type, receipt, verify,
};
use tollhouse::types::{Msat, PaymentHash, Preimage, Timestamp};

#[derive(Deserialize)]
struct Vectors {
    problems: BTreeMap<String, Problem>,
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
struct Problem {
    r#type: String,
    status: u16,
}

#[derive(Deserialize)]
struct Vector {
    name: String,
    secret_key: String,
    preimage: String,
    payment_hash: PaymentHash,
    realm: String,
    sats: u64,
    invoice: String,
    expires: String,
    quote: Option<String>,
    id: String,
    header: String,
    request: String,
    digest: String,
    opaque: String,
    credential: String,
    timestamp: String,
    receipt: String,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("mppx_vectors.json")).unwrap()
}

fn instant(text: &str) -> Timestamp {
    let at = OffsetDateTime::parse(text, &Rfc3339).unwrap().unix_timestamp();
    Timestamp::from_secs(u64::try_from(at).unwrap())
}

impl Vector {
    /// Whether it has only what we emit ourselves.
    fn plain(&self) -> bool {
        self.digest.is_empty() && self.opaque.is_empty() && !self.header.contains("description=")
    }

    fn key(&self) -> ChallengeKey {
        ChallengeKey::new(self.secret_key.as_bytes())
    }
}

#[test]
fn ids_are_those_of_mppx() {
    for v in vectors().vectors {
        let bound = Bound {
            realm: &v.realm,
            method: "lightning",
            intent: "charge",
            request: &v.request,
            expires: &v.expires,
            digest: &v.digest,
            opaque: &v.opaque,
        };
        assert_eq!(v.key().id(&bound), v.id, "{}", v.name);
        assert!(v.key().made(&v.id, &bound));
        assert!(!v.key().made(&v.id, &Bound { realm: "other", ..bound }));
    }
}

#[test]
fn challenges_are_said_as_mppx_says_them() {
    let plain: Vec<Vector> = vectors().vectors.into_iter().filter(Vector::plain).collect();
    assert!(plain.len() >= 4);
    for v in plain {
        let charge = Charge {
            realm: &v.realm,
            amount: Msat::from_sat(v.sats).unwrap(),
            bolt11: &v.invoice,
            payment_hash: v.payment_hash,
            expires_at: instant(&v.expires),
            quote: v.quote.as_deref(),
        };
        let challenge = Challenge::of(&v.key(), &charge).unwrap();
        assert_eq!(challenge.header_value().to_str().unwrap(), v.header, "{}", v.name);
        assert_eq!(challenge.id(), v.id);
    }
}

#[test]
fn what_mppx_sends_is_read() {
    for v in vectors().vectors {
        let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_str(&v.credential).unwrap())]);
        let presented = presented(&headers).remove(0).unwrap();
        let end = instant(&v.expires);
        let paid = verify([(3, v.key())], &presented, Duration::ZERO, end).unwrap();
        assert_eq!((paid.epoch, paid.challenge_id.as_str()), (3, v.id.as_str()), "{}", v.name);
        assert_eq!((paid.payment_hash, paid.preimage.to_hex()), (v.payment_hash, v.preimage));
        assert_eq!((paid.amount, paid.quote), (Msat::from_sat(v.sats).unwrap(), v.quote));
        let other = verify([(3, ChallengeKey::new(b"other"))], &presented, Duration::ZERO, end);
        assert_eq!(other.unwrap_err().code(), "unknown_challenge");
    }
}

#[test]
fn receipts_are_those_of_mppx() {
    for v in vectors().vectors {
        let hash = v.preimage.parse::<Preimage>().unwrap().payment_hash();
        assert_eq!(hash, v.payment_hash);
        let ours = receipt(&v.id, hash, instant(&v.timestamp)).unwrap();
        assert_eq!(ours.to_str().unwrap(), v.receipt, "{}", v.name);
    }
}

#[test]
fn problem_types_are_those_of_mppx() {
    let theirs = vectors().problems;
    for (code, name) in [
        ("payment_required", "PaymentRequired"),
        ("price_changed", "PaymentInsufficient"),
        ("expired", "PaymentExpired"),
        ("credential_malformed", "MalformedCredential"),
        ("preimage_not_hex", "InvalidPayload"),
        ("unknown_challenge", "InvalidChallenge"),
        ("spent", "InvalidChallenge"),
        ("preimage_mismatch", "VerificationFailed"),
    ] {
        assert_eq!((problem_type(code), 402), (theirs[name].r#type.as_str(), theirs[name].status), "{code}");
    }
}
