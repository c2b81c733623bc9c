//! THREATS 4: what a holder may write into a token, tried on the gate with tokens of every kind. Each that
//! is refused gets a fresh 402 with its code, and the token that it was made of is as good as before.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use libmacaroon::{Format, Macaroon, MacaroonKey};
use tollhouse::checkout::CheckoutConfig;
use tollhouse::l402::UnknownCaveats;

use super::offers::shop;
use super::upstream::Origin;
use super::{Credential, TestGate, quick};

/// The token in the hands of somebody with another library.
fn held(credential: &Credential) -> (Macaroon, String) {
    let header = credential.header.strip_prefix("L402 ").expect("its scheme");
    let (macaroon, preimage) = header.split_once(':').expect("both");
    (Macaroon::deserialize(macaroon).expect("a macaroon"), preimage.to_owned())
}

fn line(macaroon: &Macaroon, preimage: &str) -> String {
    let bytes = URL_SAFE.decode(macaroon.serialize(Format::V2).expect("written")).expect("base64");
    format!("Authorization: L402 {}:{preimage}\r\n", STANDARD.encode(bytes))
}

fn with(credential: &Credential, caveats: &[Vec<u8>]) -> String {
    let (mut macaroon, preimage) = held(credential);
    for caveat in caveats {
        macaroon.add_first_party_caveat(caveat).expect("added");
    }
    line(&macaroon, &preimage)
}

fn caveats(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// What must be refused, and by which code; `foo=1` apart.
fn hostile(credential: &Credential, kind: &str) -> Vec<(String, &'static str)> {
    let one = |text: &str| with(credential, &caveats(&[text]));
    let (mut third, preimage) = held(credential);
    third
        .add_third_party_caveat("https://auth.example", &MacaroonKey::generate(b"k"), b"who")
        .expect("added");
    let other_kind = if kind == "request" { "offer=balance" } else { "offer=request" };
    vec![
        (one("services=api:0,other:0"), "caveat_widens"),
        (one("services=other:0"), "caveat_widens"),
        (one("api_valid_until=9999999999"), "caveat_widens"),
        (one("expires=9999-12-31T23:59:59Z"), "caveat_widens"),
        (one("units=1000000"), "caveat_widens"),
        (one("sold_msat=1"), "caveat_widens"),
        (one("covers_msat=99999999"), "caveat_widens"),
        (one("route=other"), "caveat_widens"),
        (one(other_kind), "caveat_widens"),
        (with(credential, &caveats(&["scope=/ok", "scope=/"])), "caveat_widens"),
        (with(credential, &caveats(&["method=GET", "method=GET,POST"])), "caveat_widens"),
        (with(credential, &caveats(&["max_uses=1", "max_uses=2"])), "caveat_widens"),
        (one("scope=/elsewhere"), "out_of_scope"),
        (one("method=POST"), "wrong_method"),
        (one("expires=2001-01-01T00:00:00Z"), "expired"),
        (one("no equals sign"), "caveat_undecodable"),
        (one("max_uses=-1"), "caveat_undecodable"),
        (with(credential, &[vec![b'a', b'=', 0xff, 0xfe]]), "caveat_undecodable"),
        (with(credential, &caveats(&vec!["method=GET"; 24])), "too_many_caveats"),
        (one(&format!("budget_id={}", "x".repeat(4_096))), "macaroon_too_large"),
        (line(&third, &preimage), "third_party_caveat"),
        (one(&format!("preimage={}", "00".repeat(32))), "preimage_mismatch"),
    ]
}

#[tokio::test]
async fn no_kind_of_token_is_widened_and_each_refusal_is_a_fresh_402() {
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![shop(&origin)], quick()).await;
    for (offer, kind) in [("request", "request"), ("pack-5", "pack"), ("hour", "pass"), ("purse", "balance")]
    {
        let credential = gate.buy_offer("/ok", offer).await;
        let hits = origin.hits();
        let mut tries = hostile(&credential, kind);
        tries.push((with(&credential, &caveats(&["foo=1"])), "caveat_unknown"));
        for (line, code) in tries {
            let minted = gate.minter.minted();
            let reply = gate.get("/ok", &line).await;
            assert_eq!((reply.status, reply.code().as_str()), (402, code), "{kind}");
            assert!(
                reply.header("www-authenticate").is_some_and(|line| line.starts_with("L402 ")),
                "{kind} {code}"
            );
            assert_eq!(gate.minter.minted(), minted + 1, "a fresh invoice: {kind} {code}");
        }
        assert_eq!(origin.hits(), hits, "{kind}");
        assert_eq!(gate.units(&credential).await, (0, 0, 0), "nothing was even redeemed: {kind}");
        // Everything that narrows is taken, and opens what it is still good for.
        let narrow =
            ["services=api:0", "scope=/", "scope=/ok", "method=GET,HEAD", "method=GET", "max_uses=7"];
        let reply = gate.get("/ok", &with(&credential, &caveats(&narrow))).await;
        assert_eq!(reply.status, 200, "{kind}: {}", reply.text());
        gate.settled(&credential).await;
    }
    gate.audited().await;
}

/// `unknown_caveats = "skip"`: as the specification has it, and for nothing else.
#[tokio::test]
async fn what_is_not_known_may_be_skipped_and_nothing_else() {
    let origin = Origin::start().await;
    let terms = CheckoutConfig { unknown_caveats: UnknownCaveats::Skip, ..CheckoutConfig::default() };
    let gate = TestGate::selling(vec![shop(&origin)], quick(), terms).await;
    let pack = gate.buy_offer("/ok", "pack-5").await;
    for (line, code) in hostile(&pack, "pack") {
        let reply = gate.get("/ok", &line).await;
        assert_eq!((reply.status, reply.code().as_str()), (402, code));
    }
    assert_eq!((origin.hits(), gate.units(&pack).await), (0, (0, 0, 0)));
    assert_eq!(gate.get("/ok", &with(&pack, &caveats(&["foo=1", "ip=10.0.0.1"]))).await.status, 200);
    assert_eq!(gate.settled(&pack).await, (4, 0, 1));
    gate.audited().await;
}
