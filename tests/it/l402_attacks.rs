//! Every way to widen, forge or bend a token that THREATS 3 to 5 name, from the outside: what
//! somebody with a common macaroon library can put into a header, and the code that answers it.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderValue};
use libmacaroon::{Format, Macaroon, MacaroonKey};
use tollhouse::l402::{
    Challenge, Identifier, MasterKeys, Presented, Token, UnknownCaveats, Use, authorization, parse_challenge,
    presented, verify,
};
use tollhouse::types::{Kind, Msat, Name, PaymentHash, Timestamp};

use crate::l402_world::{MASTER, NOW, World, raw, root_key};

#[test]
fn the_whole_loop_from_challenge_to_proof() {
    let world = World::new();
    let token = world.token();
    let challenge = Challenge {
        token: &token,
        bolt11: "lnbcrt210n1p\"\r\nX-Injected: 1",
        payment_hash: world.identifier.payment_hash,
        amount: Msat::new(21_001).unwrap(),
        expires_at: Timestamp::from_secs(1_799_990_600),
        valid_until: world.sold.valid_until,
        kind: Kind::Request,
        units: 1,
    };
    let header = challenge.header_value();
    let macaroon = token.base64();
    assert_eq!(
        header.to_str().unwrap(),
        format!(
            r#"L402 macaroon="{macaroon}", invoice="lnbcrt210n1pXInjected1", version="0", token="{macaroon}""#
        )
    );
    assert_eq!(format!("{header:?}"), "Sensitive");
    assert_eq!(
        challenge.body("expired", "the token has expired"),
        serde_json::json!({
            "type": "about:blank", "title": "Payment Required", "status": 402,
            "detail": "the token has expired", "code": "expired",
            "invoice": "lnbcrt210n1pXInjected1", "macaroon": macaroon, "token": macaroon,
            "paymentHash": world.identifier.payment_hash.to_hex(),
            "amountMsat": 21_001, "amountSats": 22, "priceSats": 22,
            "expiresAt": 1_799_990_600, "validUntil": 1_800_000_000, "reusable": false,
            "kind": "request", "units": 1,
        })
    );
    let received = parse_challenge(header.to_str().unwrap()).unwrap();
    assert_eq!(received.identifier(), Some(world.identifier));
    let credential = authorization(&received.macaroon_b64, &world.preimage);
    assert_eq!(world.used_as(&credential, UnknownCaveats::Refuse), "good");
}

#[test]
fn the_macaroon_headers_carry_the_preimage_as_a_caveat() {
    let world = World::new();
    let paid = world.appended(&[&format!("preimage={}", world.preimage.to_hex())]);
    let other = world.appended(&[&format!("preimage={}", "00".repeat(32))]);
    for name in ["macaroon", "grpc-metadata-macaroon"] {
        for (macaroon, expected) in
            [(&paid, "good"), (&other, "preimage_mismatch"), (&world.held(), "preimage_missing")]
        {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::try_from(hex::encode(raw(macaroon))).unwrap());
            let credentials = presented(&headers).unwrap();
            assert_eq!(world.verdict(&credentials[0], UnknownCaveats::Refuse), expected);
        }
    }
    // Both places at once: they have to agree.
    assert_eq!(world.used(&paid, UnknownCaveats::Refuse), "good");
    assert_eq!(world.used(&other, UnknownCaveats::Refuse), "preimage_mismatch");
}

#[test]
fn a_preimage_or_a_hash_alone_unlocks_nothing() {
    let world = World::new();
    let preimage = world.preimage.to_hex();
    let code = |header: String| world.used_as(&header, UnknownCaveats::Refuse);
    assert_eq!(code(format!("L402 {}", world.token().base64())), "preimage_missing");
    assert_eq!(code(format!("L402 {}:{}", world.token().base64(), "00".repeat(32))), "preimage_mismatch");
    let hash = world.identifier.payment_hash.to_hex();
    assert_eq!(code(format!("L402 {hash}:{preimage}")), "macaroon_undecodable");
    // A routing node knows hash and preimage, and can build any macaroon but ours.
    let mut forged =
        Macaroon::create(None, &MacaroonKey::generate(b"guess"), world.identifier.to_bytes()).unwrap();
    forged.add_first_party_caveat("services=rates:0").unwrap();
    assert_eq!(world.used(&forged, UnknownCaveats::Refuse), "bad_signature");
    // A token of ours for another payment does not go with this one's preimage.
    let other = Identifier { payment_hash: PaymentHash::from_bytes([1; 32]), ..world.identifier };
    let other = Token::mint(&world.keys, "", &other, &world.sold).unwrap();
    assert_eq!(code(format!("L402 {}:{preimage}", other.base64())), "preimage_mismatch");
}

#[test]
fn no_holder_widens_a_token() {
    let world = World::new();
    for unknown in [UnknownCaveats::Refuse, UnknownCaveats::Skip] {
        assert_eq!(world.used(&world.held(), unknown), "good");
        for (caveat, expected) in [
            ("services=rates:0,translate:0", "caveat_widens"),
            ("services=translate:0", "caveat_widens"),
            ("rates_valid_until=1800000001", "caveat_widens"),
            ("expires=2030-01-01T00:00:00Z", "caveat_widens"),
            ("units=2", "caveat_widens"),
            ("sold_msat=1", "caveat_widens"),
            ("route=cheap", "caveat_widens"),
            ("revision=0", "caveat_widens"),
            ("max_uses=ten", "caveat_undecodable"),
            ("max_spend_msat=-10", "caveat_undecodable"),
            ("budget_id=", "caveat_undecodable"),
            ("no equals sign", "caveat_undecodable"),
        ] {
            assert_eq!(world.used(&world.appended(&[caveat]), unknown), expected, "{caveat}");
        }
    }
    let unknown = world.appended(&["foo=1"]);
    assert_eq!(world.used(&unknown, UnknownCaveats::Refuse), "caveat_unknown");
    assert_eq!(world.used(&unknown, UnknownCaveats::Skip), "good");
}

#[test]
fn a_narrowed_token_cannot_be_widened_again() {
    let world = World::new();
    let narrow =
        ["scope=/v1", "method=GET", "expires=2027-01-15T07:00:00Z", "max_uses=3", "max_spend_msat=900"];
    assert_eq!(world.used(&world.appended(&narrow), UnknownCaveats::Refuse), "good");
    for wider in [
        "scope=/",
        "scope=/v2",
        "method=GET,POST",
        "expires=2027-01-15T07:00:01Z",
        "max_uses=4",
        "max_spend_msat=901",
    ] {
        let caveats = [&narrow[..], &[wider]].concat();
        assert_eq!(world.used(&world.appended(&caveats), UnknownCaveats::Skip), "caveat_widens", "{wider}");
    }
}

#[test]
fn taking_caveats_off_or_apart_breaks_the_chain() {
    let world = World::new();
    let narrowed = raw(&world.appended(&["scope=/v2"]));
    let credential = |bytes: &[u8]| Presented::new(bytes.to_vec(), Some(world.preimage));
    let code = |bytes: &[u8]| world.verdict(&credential(bytes), UnknownCaveats::Skip);
    assert_eq!(code(&narrowed), "out_of_scope");
    let (at, field) = (raw(&world.held()).len() - 35, 2 + "scope=/v2".len() + 1);
    let without = [&narrowed[..at], &narrowed[at + field..]].concat();
    assert_eq!(without.len(), raw(&world.held()).len());
    assert_eq!(code(&without), "bad_signature");
    // Another price in the same token.
    let mut cheaper = raw(&world.held());
    let place = cheaper.windows(5).position(|window| window == b"21000").unwrap();
    cheaper[place] = b'0';
    assert_eq!(code(&cheaper), "bad_signature");
}

#[test]
fn third_party_caveats_are_refused() {
    let world = World::new();
    let mut held = world.held();
    held.add_third_party_caveat("https://auth.example", &MacaroonKey::generate(b"k"), b"who").unwrap();
    for unknown in [UnknownCaveats::Refuse, UnknownCaveats::Skip] {
        assert_eq!(world.used(&held, unknown), "third_party_caveat");
    }
}

#[test]
fn size_and_count_are_bounded() {
    let world = World::new();
    let minted = world.held().caveats().len();
    let most = vec!["method=GET"; 32 - minted];
    assert_eq!(world.used(&world.appended(&most), UnknownCaveats::Skip), "good");
    let more = [most.as_slice(), &["method=GET"]].concat();
    assert_eq!(world.used(&world.appended(&more), UnknownCaveats::Skip), "too_many_caveats");

    // A caveat of `len` bytes costs 4 bytes beside its text, once its length takes two bytes.
    let fits = 4_096 - raw(&world.held()).len() - 4 - "foo=".len();
    let largest = world.appended(&[&format!("foo={}", "x".repeat(fits))]);
    assert_eq!(raw(&largest).len(), 4_096);
    assert_eq!(world.used(&largest, UnknownCaveats::Skip), "good");
    let larger = world.appended(&[&format!("foo={}", "x".repeat(fits + 1))]);
    assert_eq!(world.used(&larger, UnknownCaveats::Skip), "macaroon_too_large");
}

#[test]
fn other_formats_and_trailing_bytes_are_refused() {
    let world = World::new();
    let preimage = world.preimage.to_hex();
    let held = world.held();
    let code = |macaroon: &str| world.used_as(&format!("L402 {macaroon}:{preimage}"), UnknownCaveats::Skip);
    assert_eq!(code(&held.serialize(Format::V1).unwrap()), "macaroon_undecodable");
    let json = held.serialize(Format::V2JSON).unwrap();
    assert_eq!(code(&URL_SAFE_NO_PAD.encode(&json)), "macaroon_undecodable");
    assert_eq!(code(&json.replace([':', ','], "")), "macaroon_not_base64");
    for trailing in [&[0u8][..], b"\x06", b"preimage"] {
        let bytes = [raw(&held).as_slice(), trailing].concat();
        assert_eq!(code(&STANDARD.encode(bytes)), "macaroon_undecodable");
    }
    // The same token in every spelling of base64 stays the same token.
    for engine in [&STANDARD, &URL_SAFE, &URL_SAFE_NO_PAD] {
        assert_eq!(code(&engine.encode(raw(&held))), "good");
    }
}

#[test]
fn a_token_is_good_for_its_service_and_its_time_only() {
    let world = World::new();
    let credential = Presented::new(world.token().bytes().to_vec(), Some(world.preimage));
    let other: Name = "translate".parse().unwrap();
    let verdict = |keys: &MasterKeys, service: &Name, now: Timestamp| {
        let how = Use { service, method: "GET", path: "/", now };
        verify(keys, &credential, &how, UnknownCaveats::Refuse)
            .map_or_else(|refusal| refusal.code(), |_| "good")
    };
    let end = world.sold.valid_until;
    assert_eq!(verdict(&world.keys, &other, NOW), "wrong_service");
    assert_eq!(verdict(&world.keys, &world.sold.service, Timestamp::from_millis(end.millis() - 1)), "good");
    assert_eq!(verdict(&world.keys, &world.sold.service, end), "expired");
    // The next epoch mints and this one still verifies, until it is retired.
    let both = MasterKeys::new(4, [(3, MASTER), (4, [9; 32])]).unwrap();
    assert_eq!(verdict(&both, &world.sold.service, NOW), "good");
    let retired = MasterKeys::new(4, [(4, MASTER)]).unwrap();
    assert_eq!(verdict(&retired, &world.sold.service, NOW), "unknown_epoch");
    let stranger = MasterKeys::new(3, [(3, [9; 32])]).unwrap();
    assert_eq!(verdict(&stranger, &world.sold.service, NOW), "bad_signature");
}

#[test]
fn a_chain_under_our_key_that_sells_nothing_is_refused() {
    // Cannot come from outside: only a version of ours with another layout could have signed it.
    let world = World::new();
    let bytes = world.identifier.to_bytes();
    let key = MacaroonKey::generate(&root_key(&MASTER, &bytes));
    let mut bare = Macaroon::create(None, &key, bytes).unwrap();
    assert_eq!(world.used(&bare, UnknownCaveats::Skip), "unknown_terms");
    bare.add_first_party_caveat("services=rates:0").unwrap();
    assert_eq!(world.used(&bare, UnknownCaveats::Skip), "unknown_terms");
    for short in [&bytes[..65], &[&bytes[..], &[0]].concat(), &[&[0, 1], &bytes[2..]].concat()] {
        let other = Macaroon::create(None, &key, short).unwrap();
        assert_eq!(world.used(&other, UnknownCaveats::Skip), "unknown_identifier");
    }
}
