//! Tokens in many hands: every spelling, other libraries, and whatever a holder may append.

use libmacaroon::{Format, Macaroon as Theirs, MacaroonKey};
use proptest::prelude::*;

use super::*;
use crate::clock::CountingEntropy;
use crate::l402::sold::tests::any_sold;
use crate::l402::{MasterKeys, Presented, Token, UnknownCaveats, Use, verify};
use crate::types::{Kind, Msat, Timestamp};

fn keys() -> MasterKeys {
    MasterKeys::new(1, [(1, [7; 32])]).unwrap()
}

fn preimage() -> Preimage {
    Preimage::from_bytes([9; 32])
}

fn minted(keys: &MasterKeys, sold: &Sold) -> Token {
    let token_id = keys.new_token_id(&CountingEntropy::default());
    Token::mint(keys, "here", &Identifier { payment_hash: preimage().payment_hash(), token_id }, sold)
        .unwrap()
}

fn sold() -> Sold {
    let (service, route) = ("rates".parse().unwrap(), "fx".parse().unwrap());
    Sold::request(service, route, Msat::new(21_000).unwrap(), 0, Timestamp::from_secs(1_800_000_000))
}

/// A macaroon as Aperture mints: by another library, with caveats of its own.
fn of_aperture(caveats: &[&str]) -> Theirs {
    let identifier = Identifier {
        payment_hash: preimage().payment_hash(),
        token_id: crate::types::TokenId::from_bytes([3; 32]),
    };
    let mut macaroon =
        Theirs::create(Some("lsat"), &MacaroonKey::generate(b"k"), identifier.to_bytes()).unwrap();
    for caveat in caveats {
        macaroon.add_first_party_caveat(caveat).unwrap();
    }
    macaroon
}

fn text(macaroon: &Theirs) -> String {
    macaroon.serialize(Format::V2).unwrap()
}

fn strings(caveats: &[&str]) -> Vec<String> {
    caveats.iter().map(|&caveat| caveat.to_owned()).collect()
}

#[test]
fn every_spelling_is_read() {
    let token = minted(&keys(), &sold());
    let (b64, hex) = (token.base64(), preimage().to_hex());
    let url_safe = b64.replace('+', "-").replace('/', "_");
    for spelling in [
        b64.clone(),
        url_safe.trim_end_matches('=').to_owned(),
        format!("{url_safe}:{hex}"),
        hex::encode(token.bytes()),
        hex::encode_upper(token.bytes()),
        format!("L402 {b64}:{hex}"),
        format!("  LSAT L402 {b64}: "),
        format!("Authorization: L402 {b64}:{hex}\n"),
        format!("Grpc-Metadata-Macaroon: {}", hex::encode(token.bytes())),
        format!(
            "WWW-Authenticate: L402 macaroon=\"{b64}\", invoice=\"lnbc1\", version=\"0\", token=\"{b64}\""
        ),
        format!("LSAT macaroon=\"{b64}\", invoice=\"lnbc1\""),
    ] {
        let held = Held::read(&spelling).unwrap_or_else(|error| panic!("{spelling}: {error}"));
        assert_eq!(held.bytes(), token.bytes(), "{spelling}");
        assert_eq!(held.preimage().is_some(), spelling.contains(&hex), "{spelling}");
        assert_eq!(held.sold().map(|(sold, _)| sold), Some(sold()));
    }
    let held = Held::read(&b64).unwrap();
    assert_eq!((held.location(), held.caveats().len()), (Some("here"), 9));
    assert_eq!(format!("{held:?}"), "Held(redacted)");
    for (bad, why) in [
        ("", NotHeld::Spelling),
        ("hello world!", NotHeld::Spelling),
        ("AAAA", NotHeld::Version),
        ("AgEA", NotHeld::Undecodable),
        (&format!("{b64},{b64}"), NotHeld::Several),
        (&format!("{b64}:00"), NotHeld::Preimage),
        ("L402 invoice=\"lnbc1\"", NotHeld::Challenge),
        (&"A".repeat(MAX_TEXT_BYTES + 1), NotHeld::TooLong),
    ] {
        assert_eq!(Held::read(bad).map(|_| ()), Err(why), "{bad:.40}");
    }
}

#[test]
fn a_token_of_another_server_is_read_whole_and_narrowed_as_its_library_would() {
    let caveats =
        ["services=alpha:0,beta:1", "alpha_capabilities=read,write", "alpha_valid_until=1800000000", "odd"];
    let mut theirs = of_aperture(&caveats);
    theirs.add_third_party_caveat("elsewhere", &MacaroonKey::generate(b"k"), b"who").unwrap();
    let held = Held::read(&text(&theirs)).unwrap();
    let shown: Vec<Caveat> = caveats.iter().map(|caveat| Caveat::First(caveat.as_bytes().to_vec())).collect();
    assert_eq!(held.caveats()[..4], shown);
    assert_eq!(held.caveats()[4], Caveat::Third(Some("elsewhere".to_owned())));
    assert!(held.sold().is_none() && held.identifier().is_some());
    assert_eq!(held.conditions().expires_at, Some(Timestamp::from_secs(1_800_000_000)));

    let more = ["scope=/v1", "max_uses=5", "alpha_valid_until=1700000000", "services=alpha:0", "ip=10.0.0.1"];
    for caveat in more {
        theirs.add_first_party_caveat(caveat).unwrap();
    }
    let ours = held.narrowed(&strings(&more)).unwrap();
    assert_eq!(ours.bytes(), base64::decode(&text(&theirs)).unwrap());
    let conditions = ours.conditions();
    assert_eq!((conditions.scope.as_deref(), conditions.max_uses), (Some("/v1"), Some(5)));
    for wider in [
        "services=alpha:1",
        "services=alpha:0,beta:1",
        "alpha_capabilities=admin",
        "alpha_valid_until=1700000001",
        "scope=/v2",
        "max_uses=6",
    ] {
        assert_eq!(ours.narrowed(&strings(&[wider])).map(|_| ()), Err(NotNarrowed::Widens(wider.to_owned())));
    }
    for bad in ["foo", "=1", "expires=tomorrow", "max_uses=-1", "alpha_valid_until=x", "a=b\nc"] {
        assert_eq!(
            ours.narrowed(&strings(&[bad])).map(|_| ()),
            Err(NotNarrowed::Unreadable(bad.to_owned())),
            "{bad}"
        );
    }
}

#[test]
fn a_token_does_not_outgrow_what_the_gate_takes() {
    let held = Held::read(&minted(&keys(), &sold()).base64()).unwrap();
    let many = |count: usize| held.narrowed(&vec!["method=GET".to_owned(); count]).map(|_| ());
    assert_eq!((many(0), many(23), many(24)), (Err(NotNarrowed::Nothing), Ok(()), Err(NotNarrowed::TooMany)));
    let long = format!("budget_id={}", "x".repeat(4_000));
    assert_eq!(held.narrowed(&[long]).map(|_| ()), Err(NotNarrowed::TooLarge));
    assert!(Held::is_known("scope=/v1", None) && !Held::is_known("foo=1", Some(&sold())));
    assert!(
        Held::is_known("rates_valid_until=1", Some(&sold()))
            && !Held::is_known("more_valid_until=1", Some(&sold()))
    );
}

/// Anything that a holder might append.
fn any_caveat() -> impl Strategy<Value = String> {
    prop_oneof![
        "scope=(/[ab]?){1,3}",
        "method=(GET|POST)(,(GET|POST|PUT))?",
        "expires=20(27|30|31)-0[1-3]-15T08:00:00Z",
        "max_uses=[0-9]{1,3}",
        "max_spend_msat=[0-9]{1,5}",
        "budget_id=[a-c]",
        (0u64..1 << 33).prop_map(|secs| format!("SERVICE_valid_until={secs}")),
        "services=(SERVICE|more):[01](,more:0)?",
        "(units|sold_msat|revision|covers_msat)=[0-9]{1,4}",
        "(route|offer|quote)=[a-z-]{1,6}",
        "[a-z]{1,5}=[a-z0-9]{0,4}",
        "\\PC{0,12}",
    ]
}

proptest! {
    /// For every kind that is minted: what a holder appends, by our hand or by another library's, never makes
    /// a token good for what it was not good for, and what `narrowed` writes the gate reads.
    #[test]
    fn no_kind_of_token_is_widened_by_what_is_appended(
        sold in any_sold(),
        kind in proptest::sample::select(&Kind::ALL[..]),
        caveats in proptest::collection::vec(any_caveat(), 0..6),
        path in "(/[ab]?){1,3}",
        method in proptest::sample::select(&["GET", "POST", "PUT"][..]),
        before_end in 1u64..1 << 34,
        skip in any::<bool>(),
    ) {
        let sold = Sold { kind, ..sold };
        let caveats: Vec<String> =
            caveats.iter().map(|caveat| caveat.replace("SERVICE", sold.service.as_str())).collect();
        let keys = keys();
        let token = Held::read(&format!("{}:{}", minted(&keys, &sold).base64(), preimage().to_hex())).unwrap();
        let unknown = if skip { UnknownCaveats::Skip } else { UnknownCaveats::Refuse };
        let now = Timestamp::from_secs(sold.valid_until.secs().saturating_sub(before_end));
        let how = Use { service: &sold.service, method, path: &path, now };
        let open = |bytes: &[u8]| verify(&keys, &Presented::new(bytes.to_vec(), Some(preimage())), &how, unknown);
        let mut theirs = Theirs::deserialize(token.base64()).unwrap();
        let (mut last, mut ours) = (open(token.bytes()), Ok(token));
        for caveat in &caveats {
            theirs.add_first_party_caveat(caveat).unwrap();
            let bytes = base64::decode(&text(&theirs)).unwrap();
            let next = open(&bytes);
            if let Ok(next) = &next {
                let Ok(last) = &last else { return Err(TestCaseError::fail("it was dead and is good again")) };
                prop_assert!(next.expires_at <= last.expires_at && next.sold == last.sold);
                prop_assert!(next.limits.starts_with(&last.limits), "no limit is lost");
                prop_assert!(next.identifier == last.identifier);
            }
            ours = ours.and_then(|held: Held| held.narrowed(std::slice::from_ref(caveat)));
            if let Ok(held) = &ours {
                prop_assert_eq!(held.bytes(), &bytes[..]);
                // What is not written would have been refused, and what is written is not refused as wider.
                prop_assert!(!matches!(&next, Err(refusal) if refusal.code() == "caveat_widens"), "{}", caveat);
            } else {
                prop_assert!(open(&bytes).is_err() || matches!(&ours, Err(NotNarrowed::Unreadable(_))), "{}", caveat);
            }
            last = next;
        }
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,80}", bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Held::read(&text);
        let _ = Held::read(&hex::encode([&[2], bytes.as_slice()].concat()));
        if let Ok(held) = Held::read(&base64::encode(&bytes)) {
            let _ = (held.sold(), held.conditions(), held.identifier());
        }
    }

    #[test]
    fn what_another_library_writes_is_read(
        identifier in proptest::collection::vec(any::<u8>(), 1..80),
        caveats in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..12),
    ) {
        let mut theirs = Theirs::create(None, &MacaroonKey::generate(b"k"), &identifier).unwrap();
        for caveat in &caveats {
            theirs.add_first_party_caveat(caveat).unwrap();
        }
        let held = Held::read(&text(&theirs)).unwrap();
        prop_assert_eq!(held.identifier_bytes(), &identifier[..]);
        prop_assert_eq!(held.caveats(), caveats.into_iter().map(Caveat::First).collect::<Vec<_>>());
    }
}
