//! Our tokens beside those of two implementations that share no code with ours: `libmacaroon`, at
//! run time and both ways, and pymacaroons, through a file that `scripts/vectors-pymacaroons` wrote.
//! And bytes at random, from the outside: nothing panics and nothing damaged is good.

#![allow(clippy::unwrap_used, reason = "a case that cannot be set up is a failed test")]

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use libmacaroon::{Macaroon, MacaroonKey, Verifier};
use proptest::prelude::*;
use serde::Deserialize;
use tollhouse::clock::SystemEntropy;
use tollhouse::l402::{Identifier, MasterKeys, Presented, Quoted, Sold, Token, UnknownCaveats};
use tollhouse::types::{Kind, Msat, Name, PaymentHash, Preimage, Timestamp, TokenId};

use crate::l402_world::{World, raw, root_key};

#[derive(Deserialize)]
struct Vectors {
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    name: String,
    epoch: u32,
    master: String,
    preimage: String,
    payment_hash: PaymentHash,
    token_id: TokenId,
    location: String,
    sold: VectorSold,
    root_key: String,
    minted: String,
    minted_signature: String,
    appended: Vec<String>,
    presented: String,
    expected: String,
    version_1: String,
    json: String,
}

#[derive(Deserialize)]
struct VectorSold {
    service: Name,
    route: Name,
    kind: Kind,
    units: u64,
    sold_msat: Msat,
    revision: u32,
    covers_msat: Msat,
    quote: Option<String>,
    valid_until: u64,
}

#[test]
fn pymacaroons_and_we_make_the_same_tokens() {
    let file: Vectors = serde_json::from_str(include_str!("pymacaroons_vectors.json")).unwrap();
    assert_eq!(file.vectors.len(), 8);
    for vector in file.vectors {
        let name = &vector.name;
        let master: [u8; 32] = hex::decode(&vector.master).unwrap().try_into().unwrap();
        let world = World {
            keys: MasterKeys::new(vector.epoch, [(vector.epoch, master)]).unwrap(),
            preimage: vector.preimage.parse().unwrap(),
            identifier: Identifier { payment_hash: vector.payment_hash, token_id: vector.token_id },
            sold: Sold {
                service: vector.sold.service,
                route: vector.sold.route,
                kind: vector.sold.kind,
                units: vector.sold.units,
                sold: vector.sold.sold_msat,
                revision: vector.sold.revision,
                covers: vector.sold.covers_msat,
                quote: vector.sold.quote.map(|text| text.parse().unwrap()),
                valid_until: Timestamp::from_secs(vector.sold.valid_until),
            },
        };
        let root = root_key(&master, &world.identifier.to_bytes());
        assert_eq!(hex::encode(root), vector.root_key, "{name}");

        // What we mint is what they mint, byte for byte, signature included.
        let token = Token::mint(&world.keys, &vector.location, &world.identifier, &world.sold).unwrap();
        assert_eq!(token.base64(), vector.minted, "{name}");
        assert_eq!(
            hex::encode(&token.bytes()[token.bytes().len() - 32..]),
            vector.minted_signature,
            "{name}"
        );

        // What they narrow is what another holder of ours would have got, and we judge it.
        let mut held = Macaroon::deserialize(token.base64()).unwrap();
        for caveat in &vector.appended {
            held.add_first_party_caveat(caveat).unwrap();
        }
        assert_eq!(raw(&held), STANDARD.decode(&vector.presented).unwrap(), "{name}");
        let code = |macaroon: &str| {
            let header = format!("L402 {macaroon}:{}", vector.preimage);
            world.used_as(&header, UnknownCaveats::Refuse)
        };
        assert_eq!(code(&vector.presented), vector.expected, "{name}");
        assert_eq!(code(&vector.version_1), "macaroon_undecodable", "{name}");
        assert_eq!(code(&STANDARD.encode(&vector.json)), "macaroon_undecodable", "{name}");
    }
}

fn any_sold() -> impl Strategy<Value = Sold> {
    let name = || "[a-z][a-z0-9_-]{0,63}".prop_map(|text| text.parse::<Name>().unwrap());
    let numbers = (any::<u64>(), 0..=Msat::MAX.msat(), any::<u32>(), 1_800_000_000u64..4_000_000_000);
    let kind = proptest::sample::select(&Kind::ALL[..]);
    let quote = proptest::option::of("[0-9A-Z.@ ]{1,64}".prop_map(|text| text.parse::<Quoted>().unwrap()));
    (name(), name(), kind, numbers, quote).prop_map(
        |(service, route, kind, (units, msat, revision, until), quote)| Sold {
            service,
            route,
            kind,
            units,
            sold: Msat::new(msat).unwrap(),
            revision,
            covers: Msat::new(msat / 2).unwrap(),
            quote,
            valid_until: Timestamp::from_secs(until),
        },
    )
}

fn any_world() -> impl Strategy<Value = (World, [u8; 32])> {
    (any::<[u8; 32]>(), any::<u32>(), any::<[u8; 32]>(), any_sold()).prop_map(
        |(master, epoch, preimage, sold)| {
            let keys = MasterKeys::new(epoch, [(epoch, master)]).unwrap();
            let preimage = Preimage::from_bytes(preimage);
            let token_id = keys.new_token_id(&*SystemEntropy::new());
            let identifier = Identifier { payment_hash: preimage.payment_hash(), token_id };
            (World { keys, preimage, identifier, sold }, master)
        },
    )
}

proptest! {
    #[test]
    fn libmacaroon_verifies_and_rebuilds_what_we_mint((world, master) in any_world(), location in "[ -~]{0,60}") {
        let token = Token::mint(&world.keys, &location, &world.identifier, &world.sold).unwrap();
        let theirs = Macaroon::deserialize_binary(token.bytes()).unwrap();
        prop_assert_eq!(theirs.location(), Some(location.as_str()));
        prop_assert_eq!(theirs.identifier().to_vec(), world.identifier.to_bytes().to_vec());

        // They verify it, caveat by caveat, under a root key that was derived apart.
        let key = MacaroonKey::generate(&root_key(&master, theirs.identifier()));
        let mut verifier = Verifier::default();
        let mut rebuilt = Macaroon::create(Some(&location), &key, theirs.identifier()).unwrap();
        for caveat in theirs.caveats() {
            let predicate = caveat.as_first_party().unwrap().predicate();
            verifier.satisfy_exact(predicate);
            rebuilt.add_first_party_caveat(predicate).unwrap();
        }
        prop_assert!(verifier.verify(&theirs, &key, &[]).is_ok());
        prop_assert_eq!(raw(&rebuilt), token.bytes().to_vec());
        prop_assert_eq!(STANDARD.decode(token.base64()).unwrap(), token.bytes().to_vec());
    }

    #[test]
    fn we_verify_what_libmacaroon_mints((world, master) in any_world(), other in any::<[u8; 32]>()) {
        let ours = Macaroon::deserialize(world.token().base64()).unwrap();
        let mint = |root: &[u8]| {
            let mut minted = Macaroon::create(None, &MacaroonKey::generate(root), ours.identifier()).unwrap();
            for caveat in ours.caveats() {
                minted.add_first_party_caveat(caveat.as_first_party().unwrap().predicate()).unwrap();
            }
            minted
        };
        let theirs = mint(&root_key(&master, ours.identifier()));
        prop_assert_eq!(world.used(&theirs, UnknownCaveats::Refuse), "good");
        prop_assert_eq!(world.used(&mint(&other), UnknownCaveats::Refuse), "bad_signature");
    }

    #[test]
    fn no_damaged_credential_is_good((world, _) in any_world(), at in any::<prop::sample::Index>(), bit in 0u32..8) {
        let mut bytes = world.token().bytes().to_vec();
        // From behind the location, which no macaroon signs: version, tag, length, 14 bytes.
        let place = 17 + at.index(bytes.len() - 17);
        bytes[place] ^= 1 << bit;
        let credential = Presented::new(bytes, Some(world.preimage));
        prop_assert_ne!(world.verdict(&credential, UnknownCaveats::Skip), "good");
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..5_000), preimage in any::<Option<[u8; 32]>>()) {
        let world = World::new();
        let preimage = preimage.map(Preimage::from_bytes);
        for bytes in [bytes.clone(), [&[2u8], bytes.as_slice()].concat()] {
            let credential = Presented::new(bytes, preimage);
            prop_assert_ne!(world.verdict(&credential, UnknownCaveats::Skip), "good");
        }
    }

    #[test]
    fn no_appended_bytes_panic(caveats in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..30)) {
        let world = World::new();
        let mut held = world.held();
        for caveat in &caveats {
            held.add_first_party_caveat(caveat).unwrap();
        }
        prop_assert_eq!(world.used(&held, UnknownCaveats::Refuse) == "good", caveats.is_empty());
    }
}
