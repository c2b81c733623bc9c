//! What is taken for a paid challenge, and what is not.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::payment_auth::{Challenge, Charge, presented};

const LATE: Duration = Duration::from_secs(3_600);

fn keys() -> [(u32, ChallengeKey); 2] {
    [(1, ChallengeKey::new(b"one")), (2, ChallengeKey::new(b"two"))]
}

fn preimage() -> Preimage {
    Preimage::from_bytes([7; 32])
}

fn expires_at() -> Timestamp {
    Timestamp::from_secs(1_773_576_300)
}

fn offered(key: &ChallengeKey) -> Challenge {
    let charge = Charge {
        realm: "api.example",
        amount: Msat::from_sat(10).unwrap(),
        bolt11: "lnbcrt100n1pexample",
        payment_hash: preimage().payment_hash(),
        expires_at: expires_at(),
        quote: Some("0.002 USD@20000"),
    };
    Challenge::of(key, &charge).unwrap()
}

/// The credential as JSON, made of the challenge's header by other means than ours.
fn answer(challenge: &Challenge) -> Value {
    let header = challenge.header_value();
    let text = header.to_str().unwrap().strip_prefix("Payment ").unwrap();
    let echo: serde_json::Map<String, Value> = text
        .split(", ")
        .map(|pair| pair.split_once('=').unwrap())
        .map(|(key, value)| (key.to_owned(), json!(value.trim_matches('"'))))
        .collect();
    json!({ "challenge": echo, "payload": { "preimage": preimage().to_hex() } })
}

fn read(credential: &Value) -> Result<Presented, Refusal> {
    let text = format!("Payment {}", base64url::encode(credential.to_string().as_bytes()));
    let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_str(&text).unwrap())]);
    presented(&headers).remove(0)
}

fn verified(credential: &Value, now: Timestamp) -> Result<Paid, Refusal> {
    verify(keys(), &read(credential)?, LATE, now)
}

#[test]
fn a_paid_challenge_says_what_was_bought() {
    let challenge = offered(&keys()[1].1);
    let paid = verified(&answer(&challenge), expires_at()).unwrap();
    let expected = Paid {
        epoch: 2,
        challenge_id: challenge.id().to_owned(),
        payment_hash: preimage().payment_hash(),
        preimage: preimage(),
        amount: Msat::from_sat(10).unwrap(),
        quote: Some("0.002 USD@20000".to_owned()),
        valid_until: expires_at().plus(LATE),
    };
    assert_eq!(paid, expected);
}

#[test]
fn whoever_paid_in_time_may_come_late_and_not_for_ever() {
    let answer = answer(&offered(&keys()[0].1));
    assert!(verified(&answer, expires_at().plus(LATE)).is_ok());
    assert_eq!(
        verified(&answer, Timestamp::from_millis(expires_at().plus(LATE).millis() + 1)),
        Err(Refusal::Expired)
    );
}

#[test]
fn nothing_of_a_challenge_can_be_changed() {
    let good = answer(&offered(&keys()[0].1));
    let request = |edit: &dyn Fn(&mut Value)| {
        let encoded = good["challenge"]["request"].as_str().unwrap();
        let mut request = serde_json::from_slice(&base64url::decode(encoded).unwrap()).unwrap();
        edit(&mut request);
        json!(base64url::encode(request.to_string().as_bytes()))
    };
    for (key, value) in [
        ("id", json!("")),
        ("id", json!("AAAA")),
        ("id", json!("!")),
        ("realm", json!("other.example")),
        ("realm", json!("api.example|lightning")),
        ("method", json!("tempo")),
        ("intent", json!("session")),
        ("expires", json!("2099-03-15T12:05:00Z")),
        ("expires", json!(null)),
        ("digest", json!("sha-256=:x:")),
        ("opaque", json!({ "a": "b" })),
        ("request", json!("")),
        ("request", request(&|request| request["amount"] = json!("1"))),
        ("request", request(&|request| request["externalId"] = json!("9 USD@1"))),
        ("request", request(&|request| request["methodDetails"]["paymentHash"] = json!("00".repeat(32)))),
        ("request", request(&|request| request["more"] = json!(1))),
    ] {
        let mut bad = good.clone();
        bad["challenge"][key] = value.clone();
        assert_eq!(verified(&bad, expires_at()), Err(Refusal::UnknownChallenge), "{key}: {value}");
    }
    let theirs = answer(&offered(&ChallengeKey::new(b"another service's")));
    assert_eq!(verified(&theirs, expires_at()), Err(Refusal::UnknownChallenge));
}

#[test]
fn only_the_preimage_proves() {
    let good = answer(&offered(&keys()[0].1));
    for (payload, refusal) in [
        (json!({ "preimage": "00".repeat(32) }), Refusal::PreimageMismatch),
        (json!({ "preimage": preimage().payment_hash().to_hex() }), Refusal::PreimageMismatch),
        (json!({ "preimage": "07" }), Refusal::NotPreimage),
        (json!({ "preimage": 7 }), Refusal::NotPreimage),
        (json!({ "proof": preimage().to_hex() }), Refusal::NotPreimage),
        (json!([]), Refusal::NotPreimage),
        (json!(null), Refusal::NotPreimage),
    ] {
        let mut bad = good.clone();
        bad["payload"] = payload.clone();
        assert_eq!(verified(&bad, expires_at()), Err(refusal), "{payload}");
    }
    let mut upper = good.clone();
    upper["payload"]["preimage"] = json!(preimage().to_hex().to_uppercase());
    assert!(verified(&upper, expires_at()).is_ok(), "hexadecimal is read in either case");
    for gone in ["challenge", "payload"] {
        let mut bad = good.clone();
        bad.as_object_mut().unwrap().remove(gone);
        assert_eq!(verified(&bad, expires_at()), Err(Refusal::Malformed), "without {gone}");
    }
    for gone in ["id", "realm", "method", "intent", "request"] {
        let mut bad = good.clone();
        bad["challenge"].as_object_mut().unwrap().remove(gone);
        assert_eq!(verified(&bad, expires_at()), Err(Refusal::Malformed), "without {gone}");
    }
}

#[test]
fn what_clients_drop_or_add_is_forgiven() {
    let mut answer = answer(&offered(&keys()[0].1));
    answer["source"] = json!("did:key:x");
    answer["challenge"]["description"] = json!("words");
    answer["challenge"]["digest"] = json!(null);
    answer["challenge"]["opaque"] = json!("");
    assert!(verified(&answer, expires_at()).is_ok());
}

proptest! {
    #[test]
    fn a_damaged_credential_is_never_good(at in any::<prop::sample::Index>(), xor in 1u8..) {
        let good = answer(&offered(&keys()[0].1));
        let mut bytes = good.to_string().into_bytes();
        let place = at.index(bytes.len());
        bytes[place] ^= xor;
        let damaged: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        // What is left whole, or only spelled in the other case or the other alphabet, is not damaged.
        let same = |a: &Value, b: &Value| a.to_string().eq_ignore_ascii_case(&b.to_string());
        let spelled_as_ours = |credential: &Value| {
            let mut challenge = credential["challenge"].clone();
            let id = challenge["id"].as_str().and_then(base64url::decode);
            if let Some(id) = id {
                challenge["id"] = base64url::encode(&id).into();
            }
            challenge
        };
        let whole = spelled_as_ours(&damaged) == good["challenge"];
        if whole && same(&damaged["payload"], &good["payload"]) {
            if let Ok(paid) = verified(&damaged, expires_at()) {
                prop_assert_eq!(paid.challenge_id, good["challenge"]["id"].as_str().unwrap());
            }
        } else {
            prop_assert!(verified(&damaged, expires_at()).is_err());
        }
    }
}
