//! L402, what is emitted.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use libmacaroon::{Format, Macaroon, MacaroonKey};
use lightning_invoice::Bolt11Invoice;

use super::super::head;
use super::{Here, Row, Tests, row};

pub(super) fn rows() -> Vec<Row> {
    vec![
        row(
            "L1",
            "one challenge in one order and spelling, no-store, problem+json",
            Here(|world| {
                Box::pin(async {
                    let reply = world.get("").await;
                    assert_eq!(reply.status, 402);
                    let body = reply.json();
                    let (macaroon, invoice) =
                        (body["macaroon"].as_str().expect("text"), body["invoice"].as_str().expect("text"));
                    let line = format!(
                        "L402 macaroon=\"{macaroon}\", invoice=\"{invoice}\", version=\"0\", token=\"{macaroon}\""
                    );
                    assert_eq!(reply.header("www-authenticate"), Some(&*line), "and it is the first line");
                    assert_eq!(reply.header("cache-control"), Some("no-store"));
                    assert_eq!(reply.header("content-type"), Some("application/problem+json"));
                    assert!(
                        macaroon.len() % 4 == 0 && !macaroon.contains(['-', '_']),
                        "standard base64, padded"
                    );
                })
            }),
        ),
        row(
            "L2",
            "the body says what is sold, in every name that clients look for",
            Here(|world| {
                Box::pin(async {
                    let body = world.gate.get("/dear/ok", "").await.json();
                    for text in
                        ["type", "title", "detail", "invoice", "macaroon", "token", "paymentHash", "code"]
                    {
                        assert!(body[text].as_str().is_some_and(|value| !value.is_empty()), "{text}");
                    }
                    assert_eq!((&body["title"], &body["status"]), (&"Payment Required".into(), &402.into()));
                    assert_eq!(
                        (&body["amountMsat"], &body["amountSats"], &body["priceSats"]),
                        (&50_000.into(), &50.into(), &50.into())
                    );
                    assert_eq!((&body["units"], &body["reusable"]), (&1.into(), &false.into()));
                    let parsed: Bolt11Invoice =
                        body["invoice"].as_str().expect("text").parse().expect("an invoice");
                    let ends = parsed.duration_since_epoch() + parsed.expiry_time();
                    assert_eq!(body["expiresAt"].as_u64(), Some(ends.as_secs()), "unix seconds");
                    assert_eq!(parsed.amount_milli_satoshis(), Some(50_000));
                })
            }),
        ),
        row(
            "L3",
            "the Payment line stands after L402's",
            Here(|world| {
                Box::pin(async {
                    let reply = world.get("").await;
                    let schemes: Vec<&str> =
                        reply.all("www-authenticate").filter_map(|line| line.split(' ').next()).collect();
                    assert_eq!(schemes, ["L402", "Payment"]);
                })
            }),
        ),
        row(
            "L4",
            "an LSAT line first where a service wants it, off by default",
            Here(|world| {
                Box::pin(async {
                    let reply = world.gate.get("/old/ok", "").await;
                    let schemes: Vec<&str> =
                        reply.all("www-authenticate").filter_map(|line| line.split(' ').next()).collect();
                    assert_eq!(schemes, ["LSAT", "L402"]);
                })
            }),
        ),
        row(
            "L5",
            "a browser gets the pay page, with the same challenge",
            Here(|world| {
                Box::pin(async {
                    let reply = world.get("Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n").await;
                    assert_eq!(reply.status, 402);
                    assert!(reply.header("content-type").is_some_and(|kind| kind.starts_with("text/html")));
                    assert!(
                        reply
                            .header("www-authenticate")
                            .is_some_and(|line| line.starts_with("L402 macaroon="))
                    );
                    assert_eq!(reply.header("cache-control"), Some("no-store"));
                })
            }),
        ),
        row(
            "L6",
            "HEAD gets the headers that GET does",
            Here(|world| {
                Box::pin(async {
                    let (get, ask) = (world.get("").await, head("HEAD", "/ok", ""));
                    let asked = world.gate.ask(&ask).await;
                    assert_eq!((asked.status, asked.body.len()), (402, 0));
                    let names = |reply: &super::super::client::Reply| {
                        reply
                            .headers
                            .iter()
                            .map(|(name, _)| name.clone())
                            .filter(|name| name != "date")
                            .collect::<Vec<_>>()
                    };
                    assert_eq!(names(&asked), names(&get));
                })
            }),
        ),
        row(
            "L7",
            "CORS exposes the challenge, and a preflight is answered here",
            Here(|world| {
                Box::pin(async {
                    let exposed = world.get("Origin: https://a.example\r\n").await;
                    assert!(
                        exposed
                            .header("access-control-expose-headers")
                            .is_some_and(|v| v.contains("WWW-Authenticate"))
                    );
                    let hits = world.origin.hits();
                    let lines = "Origin: https://a.example\r\nAccess-Control-Request-Method: GET\r\n";
                    assert_eq!(world.gate.ask(&head("OPTIONS", "/ok", lines)).await.status, 204);
                    assert_eq!(world.origin.hits(), hits);
                })
            }),
        ),
        row(
            "L8",
            "never 401: a dead, forged, expired or spent credential gets a fresh 402 with a code",
            Here(|world| {
                Box::pin(async {
                    let zeros = "00".repeat(32);
                    let spent = world.gate.buy("/ok").await;
                    world.opens(&spent.line()).await;
                    world.gate.settled(&spent).await;
                    world.refused(&spent.line(), "spent").await;
                    let bought = world.gate.buy("/ok").await;
                    let token = bought.header.split([' ', ':']).nth(1).expect("a token").to_owned();
                    world
                        .refused(&format!("Authorization: L402 {token}:{zeros}\r\n"), "preimage_mismatch")
                        .await;
                    world.refused(&format!("Authorization: L402 {token}\r\n"), "preimage_missing").await;
                    world
                        .refused(&format!("Authorization: L402 AgEE:{zeros}\r\n"), "macaroon_undecodable")
                        .await;
                    let foreign = Macaroon::create(None, &MacaroonKey::generate(b"k"), [0u8; 66]);
                    let foreign = foreign.expect("a macaroon").serialize(Format::V2).expect("text");
                    let reply = world.get(&format!("Authorization: L402 {foreign}:{zeros}\r\n")).await;
                    assert_eq!(reply.status, 402, "{}", reply.text());
                })
            }),
        ),
        row(
            "L9",
            "a malformed credential is 400",
            Here(|world| {
                Box::pin(async {
                    let long = "A".repeat(17_000);
                    for (value, code) in [
                        ("L402 ***:00", "macaroon_not_base64"),
                        ("L402 AAAA:xyz", "preimage_not_hex"),
                        ("L402", "credential_malformed"),
                        ("L402 AA\tAA", "credential_malformed"),
                        (&*format!("L402 {long}"), "credential_too_long"),
                    ] {
                        let reply = world.get(&format!("Authorization: {value}\r\n")).await;
                        assert_eq!((reply.status, reply.code().as_str()), (400, code), "{value:.40}");
                    }
                })
            }),
        ),
        row(
            "L10",
            "in gRPC: HTTP 200, Grpc-Status 13 and the same lines; trailers both ways",
            Tests(&[
                "tests/it/gateway/grpc.rs a_call_is_paid_for_and_its_trailers_pass_both_ways",
                "tests/it/gateway/grpc.rs refusals_are_told_in_grpc",
            ]),
        ),
        row(
            "L11",
            "the identifier is 66 bytes: version 0, the invoice's payment hash, the token's id",
            Here(|world| {
                Box::pin(async {
                    let body = world.get("").await.json();
                    let macaroon =
                        Macaroon::deserialize(body["macaroon"].as_str().expect("text")).expect("a macaroon");
                    let bytes = macaroon.identifier();
                    assert_eq!((bytes.len(), &bytes[..2]), (66, [0, 0].as_slice()));
                    assert_eq!(hex::encode(&bytes[2..34]), body["paymentHash"].as_str().expect("a hash"));
                    let parsed: Bolt11Invoice =
                        body["invoice"].as_str().expect("text").parse().expect("an invoice");
                    assert_eq!(
                        parsed.payment_hash().to_string(),
                        body["paymentHash"].as_str().expect("a hash")
                    );
                })
            }),
        ),
        row(
            "L12",
            "macaroons are those of the other libraries",
            Tests(&[
                "tests/it/l402_oracles.rs pymacaroons_and_we_make_the_same_tokens",
                "src/l402/wire.rs other_formats_are_refused",
            ]),
        ),
        row(
            "L13",
            "keys by epoch: old ones verify until they are retired",
            Tests(&[
                "tests/it/epochs.rs a_new_epoch_mints_and_the_old_ones_tokens_stay_good_until_it_is_retired",
            ]),
        ),
        row(
            "L14",
            "a revoked payment opens nothing",
            Tests(&[
                "tests/it/gateway/charges.rs a_revoked_payment_opens_nothing_in_either_dialect",
                "tests/it/gateway/metered/cut.rs a_revoked_token_ends_its_open_answers",
            ]),
        ),
        row(
            "L19",
            "minted: services=<name>:0, <name>_valid_until, and what was sold",
            Here(|world| {
                Box::pin(async {
                    let body = world.get("").await.json();
                    let bytes = STANDARD.decode(body["macaroon"].as_str().expect("text")).expect("base64");
                    let all = String::from_utf8_lossy(&bytes);
                    for said in
                        ["services=api:0", "api_valid_until=", "offer=request", "units=1", "sold_msat=10000"]
                    {
                        assert!(all.contains(said), "{said} is not in {all}");
                    }
                })
            }),
        ),
    ]
}
