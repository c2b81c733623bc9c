//! L402, what is accepted.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use libmacaroon::{Format, Macaroon, MacaroonKey};

use super::super::Credential;
use super::{Here, Row, Tests, World, row};

pub(super) fn rows() -> Vec<Row> {
    vec![
        row(
            "L15",
            "either scheme in any case, either base64, padded or not, either hex, a doubled scheme",
            Here(|world| {
                Box::pin(async {
                    let Held { token, preimage } = Held::of(&world.gate.buy("/ok").await);
                    let upper = preimage.to_uppercase();
                    for value in [
                        format!("l402 {}:{preimage}", STANDARD.encode(&token)),
                        format!("LSAT {}:{upper}", STANDARD_NO_PAD.encode(&token)),
                        format!("L402 {}:{preimage}", URL_SAFE.encode(&token)),
                        format!("Lsat {}:{upper}", URL_SAFE_NO_PAD.encode(&token)),
                        format!("L402 L402 {}:{preimage}", STANDARD.encode(&token)),
                    ] {
                        // Each has its own unit: what is refused is told by its code.
                        let reply = world.gate.get("/dear/ok", &format!("Authorization: {value}\r\n")).await;
                        assert_eq!(
                            reply.code(),
                            "price_changed",
                            "read, verified and too cheap: {value:.40}"
                        );
                    }
                    world
                        .opens(&format!("Authorization: lSaT {}:{upper}\r\n", URL_SAFE_NO_PAD.encode(&token)))
                        .await;
                })
            }),
        ),
        row(
            "L16",
            "a macaroon in hex in its own headers, the preimage a caveat",
            Here(|world| {
                Box::pin(async {
                    for name in ["Macaroon", "Grpc-Metadata-Macaroon"] {
                        let held = Held::of(&world.gate.buy("/ok").await);
                        let bytes = held.with(&[&format!("preimage={}", held.preimage)]);
                        world.opens(&format!("{name}: {}\r\n", hex::encode(bytes))).await;
                        assert!(world.origin.last().header(name).is_empty(), "it stays here");
                    }
                })
            }),
        ),
        row(
            "L17",
            "of several the first that verifies decides, and none is charged twice",
            Here(|world| {
                Box::pin(async {
                    let (one, two) = (world.gate.buy("/ok").await, world.gate.buy("/ok").await);
                    let bad = format!("Authorization: L402 AgEE:{}\r\n", "00".repeat(32));
                    world.opens(&format!("{bad}{}{}{}", one.line(), one.line(), two.line())).await;
                    assert_eq!(world.gate.settled(&one).await, (0, 0, 1));
                    world.opens(&two.line()).await;
                })
            }),
        ),
        row(
            "L18",
            "a preimage appended to the macaroon is taken",
            Here(|world| {
                Box::pin(async {
                    let held = Held::of(&world.gate.buy("/ok").await);
                    let appended = held.with(&[&format!("preimage={}", held.preimage)]);
                    world.opens(&format!("Authorization: L402 {}\r\n", STANDARD.encode(appended))).await;
                })
            }),
        ),
        row(
            "L20",
            "scope, method, expires and valid_until narrow and never widen",
            Here(|world| {
                Box::pin(async {
                    for (caveats, code) in [
                        (&["scope=/elsewhere"] as &[&str], "out_of_scope"),
                        (&["scope=/ok", "scope=/"], "caveat_widens"),
                        (&["method=POST"], "wrong_method"),
                        (&["method=POST", "method=GET,POST"], "caveat_widens"),
                        (&["expires=2001-01-01T00:00:00Z"], "expired"),
                        (&["expires=9999-01-01T00:00:00Z"], "caveat_widens"),
                        (&["api_valid_until=1"], "expired"),
                        (&["api_valid_until=99999999999"], "caveat_widens"),
                        (&["services=api:0,other:0"], "caveat_widens"),
                        (&["units=2"], "caveat_widens"),
                        (&["scope"], "caveat_undecodable"),
                    ] {
                        world.with_caveats(caveats).await.refused(code).await;
                    }
                    world.with_caveats(&["scope=/ok", "method=GET, HEAD", "method=GET"]).await.opens().await;
                })
            }),
        ),
        row(
            "L21",
            "uses and spending count by their place in the chain, all of them, below the parent",
            Tests(&[
                "tests/it/gateway/delegation.rs siblings_spend_their_own_and_not_each_others",
                "tests/it/gateway/delegation.rs nested_limits_all_apply_and_a_refusal_is_a_fresh_offer",
                "tests/it/gateway/delegation.rs sixty_four_at_once_on_one_use_are_served_once",
                "src/store/tests/limits.rs siblings_have_a_counter_each_below_the_pack_and_nested_ones_all_count",
            ]),
        ),
        row(
            "L22",
            "an unknown caveat is refused, and skipped where the operator says so",
            Here(|world| {
                Box::pin(async {
                    world.with_caveats(&["foo=1"]).await.refused("caveat_unknown").await;
                })
            }),
        ),
        row(
            "L22b",
            "skipping changes nothing of what is known",
            Tests(&[
                "tests/it/gateway/hostile_tokens.rs what_is_not_known_may_be_skipped_and_nothing_else",
                "src/l402/narrowing.rs every_caveat_narrows_or_kills",
            ]),
        ),
        row(
            "L23",
            "third-party caveats, more than 32, and more than 4 KiB are refused",
            Here(|world| {
                Box::pin(async {
                    let held = Held::of(&world.gate.buy("/ok").await);
                    let mut macaroon = held.macaroon();
                    macaroon
                        .add_third_party_caveat("https://x.example", &MacaroonKey::generate(b"k"), "id")
                        .expect("a caveat");
                    world.refused(&held.line(&macaroon), "third_party_caveat").await;
                    let many = vec!["scope=/"; 33];
                    world.refused(&held.line(&held.narrowed(&many)), "too_many_caveats").await;
                    let long = format!("scope=/{}", "a".repeat(4_100));
                    world.refused(&held.line(&held.narrowed(&[&long])), "macaroon_too_large").await;
                    world
                        .opens(&format!(
                            "Authorization: L402 {}:{}\r\n",
                            STANDARD.encode(&held.token),
                            held.preimage
                        ))
                        .await;
                })
            }),
        ),
        row(
            "L24",
            "a token tells its holder what it is good for, at no cost",
            Tests(&[
                "tests/it/gateway/introspection.rs a_token_is_told_from_its_offer_to_its_end_and_nothing_is_written",
                "tests/it/gateway/introspection.rs a_narrowed_copy_is_told_as_far_as_it_goes",
                "tests/it/gateway/introspection.rs who_has_no_token_of_ours_learns_nothing",
            ]),
        ),
        row(
            "L25",
            "holders narrow offline, ours and others' tokens",
            Tests(&[
                "tests/it/token_cli.rs a_token_is_narrowed_offline_and_the_gate_takes_it",
                "tests/it/token_cli.rs another_servers_token_is_narrowed_as_its_own_library_would",
            ]),
        ),
    ]
}

/// A paid token as its holder has it, with another library.
struct Held {
    token: Vec<u8>,
    preimage: String,
}

impl Held {
    fn of(credential: &Credential) -> Held {
        let pair = credential.header.strip_prefix("L402 ").expect("our scheme");
        let (token, preimage) = pair.split_once(':').expect("a preimage");
        Held { token: STANDARD.decode(token).expect("base64"), preimage: preimage.to_owned() }
    }

    fn macaroon(&self) -> Macaroon {
        Macaroon::deserialize(STANDARD.encode(&self.token)).expect("a macaroon")
    }

    fn narrowed(&self, caveats: &[&str]) -> Macaroon {
        let mut macaroon = self.macaroon();
        for caveat in caveats {
            macaroon.add_first_party_caveat(*caveat).expect("a caveat");
        }
        macaroon
    }

    fn with(&self, caveats: &[&str]) -> Vec<u8> {
        URL_SAFE.decode(self.narrowed(caveats).serialize(Format::V2).expect("text")).expect("base64")
    }

    fn line(&self, macaroon: &Macaroon) -> String {
        format!("Authorization: L402 {}:{}\r\n", macaroon.serialize(Format::V2).expect("text"), self.preimage)
    }
}

/// A paid token with caveats, about to be shown.
struct Shown<'a> {
    world: &'a World,
    line: String,
}

impl World {
    async fn with_caveats(&self, caveats: &[&str]) -> Shown<'_> {
        let held = Held::of(&self.gate.buy("/ok").await);
        Shown { world: self, line: held.line(&held.narrowed(caveats)) }
    }
}

impl Shown<'_> {
    async fn refused(self, code: &str) {
        self.world.refused(&self.line, code).await;
    }

    async fn opens(self) {
        self.world.opens(&self.line).await;
    }
}
