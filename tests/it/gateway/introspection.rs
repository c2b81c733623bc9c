//! What a credential is good for, as its holder asks.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};
use tollhouse::checkout::{CheckoutConfig, GiftAsk};
use tollhouse::clock::FixedClock;
use tollhouse::l402::Held;
use tollhouse::throttle::Limits;
use tollhouse::types::{Msat, Timestamp};

use super::charges::as_charge;
use super::client::Reply;
use super::metered::open;
use super::offers::shop;
use super::upstream::Origin;
use super::{Credential, TestGate, head, patient, quick};

const PATH: &str = "/.well-known/l402/token";

async fn told(gate: &TestGate, line: &str) -> Value {
    let reply = gate.get(PATH, line).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(
        (reply.header("cache-control"), reply.header("vary")),
        (Some("no-store"), Some("Authorization"))
    );
    assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
    reply.json()
}

/// The state, and what this copy of the token still opens.
async fn stands(gate: &TestGate, credential: &Credential) -> (String, Option<u64>) {
    let told = told(gate, &credential.line()).await;
    (told["state"].as_str().expect("a state").to_owned(), told["left"].as_u64())
}

fn is(state: &str, left: u64) -> (String, Option<u64>) {
    (state.to_owned(), Some(left))
}

/// The same with more caveats, as its holder hands it on.
fn narrowed(credential: &Credential, caveats: &[&str]) -> Credential {
    let caveats: Vec<String> = caveats.iter().map(|&caveat| caveat.to_owned()).collect();
    let held = Held::read(&credential.header).map(|held| held.narrowed(&caveats).expect("narrower"));
    let header = held.expect("a token").authorization().expect("with its preimage");
    Credential { header, hash: credential.hash }
}

#[tokio::test]
async fn a_token_is_told_from_its_offer_to_its_end_and_nothing_is_written() {
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![shop(&origin)], patient()).await;
    let offer = gate.get("/gated", "").await;
    let request = gate.pay(&offer);
    let unpaid = format!("Authorization: L402 {}\r\n", offer.json()["macaroon"].as_str().expect("one"));
    let before = (gate.rows().await, gate.minter.minted());

    let seen = told(&gate, &unpaid).await;
    assert_eq!((&seen["state"], &seen["code"]), (&json!("unpaid"), &json!("preimage_missing")));
    assert_eq!(
        (&seen["kind"], &seen["units"], &seen["unit"]),
        (&json!("request"), &json!(1), &json!("request"))
    );
    assert_eq!((&seen["service"], &seen["route"]), (&json!("api"), &json!("default")));
    assert_eq!((&seen["amountMsat"], &seen["reusable"]), (&json!(10_000), &json!(false)));
    assert_eq!((&seen["paymentHash"], &seen["settled"]), (&json!(request.hash), &json!(false)));
    assert_eq!(seen["validUntil"], offer.json()["validUntil"]);
    assert!(seen.get("left").is_none(), "how it was used is for who paid: {seen}");
    assert_eq!(stands(&gate, &request).await, is("open", 1));
    assert_eq!((gate.rows().await, gate.minter.minted()), before, "it costs nothing");
    assert_eq!(origin.hits(), 0);

    let bought = gate.recent.get(&request.hash);
    gate.ledger.receive(request.hash, Msat::from_sat(10).expect("in range"), bought).await.expect("credited");
    assert_eq!(told(&gate, &unpaid).await["settled"], true);
    let stream = open(&gate, &head("GET", "/gated", &request.line())).await;
    origin.until(|seen| seen.hits.len() == 1).await;
    let seen = told(&gate, &request.line()).await;
    assert_eq!(
        (&seen["state"], &seen["code"], &seen["held"]),
        (&json!("in_use"), &json!("in_flight"), &json!(1))
    );
    origin.shared.gate.notify_one();
    gate.settled(&request).await;
    drop(stream);
    assert_eq!(stands(&gate, &request).await, is("spent", 0));
    assert!(told(&gate, &unpaid).await.get("calls").is_none());
    gate.audited().await;
}

#[tokio::test]
async fn every_kind_is_told_in_its_own_units_until_its_time_is_over() {
    let origin = Origin::start().await;
    let clock = FixedClock::at(Timestamp::from_secs(1_760_000_000));
    let (services, config) = (vec![shop(&origin)], CheckoutConfig::default());
    let gate = TestGate::at(clock.clone(), services, quick(), config).await;
    let pack = gate.buy_offer("/ok", "pack-5").await;
    let pass = gate.buy_offer("/ok", "hour").await;
    let purse = gate.buy_offer("/ok", "purse").await;
    for (credential, whole, unit) in
        [(&pack, 5, "request"), (&pass, 3_600, "second"), (&purse, 35_000, "msat")]
    {
        assert_eq!(stands(&gate, credential).await, is("open", whole));
        assert_eq!(told(&gate, &credential.line()).await["unit"], unit);
        assert_eq!(gate.get("/ok", &credential.line()).await.status, 200);
        gate.settled(credential).await;
    }
    clock.advance(Duration::from_secs(100));
    assert_eq!(stands(&gate, &pack).await, is("open", 4));
    assert_eq!(stands(&gate, &pass).await, is("open", 3_500));
    assert_eq!(stands(&gate, &purse).await, is("open", 25_000));
    let opens = |told: Value| -> Vec<String> {
        let routes = told["opens"].as_array().expect("routes").iter();
        routes.map(|route| route["path"].as_str().expect("a path").to_owned()).collect()
    };
    assert_eq!(opens(told(&gate, &pack.line()).await), ["/own/*", "/*"], "not the dear ones");
    assert_eq!(opens(told(&gate, &pass.line()).await), ["/dear/*", "/*"], "its scope");
    assert_eq!(opens(told(&gate, &purse.line()).await), ["/dear/*", "/own/*", "/*"]);

    clock.advance(Duration::from_secs(3_501));
    assert_eq!(stands(&gate, &pass).await, is("expired", 0));
    clock.advance(Duration::from_secs(366 * 86_400));
    for credential in [&pack, &purse] {
        assert_eq!(stands(&gate, credential).await, is("expired", 0));
    }
    // The ledger was not told by asking; it says the same when the token comes.
    assert_eq!(gate.get("/ok", &pack.line()).await.code(), "expired");
    gate.audited().await;
}

#[tokio::test]
async fn a_narrowed_copy_is_told_as_far_as_it_goes() {
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![shop(&origin)], quick()).await;
    let pack = gate.buy_offer("/ok", "pack-5").await;
    let end = told(&gate, &pack.line()).await["validUntil"].as_u64().expect("a time");
    let child = narrowed(&pack, &["scope=/ok", "method=GET,HEAD", "max_uses=2"]);
    let seen = told(&gate, &child.line()).await;
    assert_eq!((&seen["scope"], &seen["methods"]), (&json!("/ok"), &json!(["GET", "HEAD"])));
    assert_eq!((&seen["left"], &seen["leftInAll"]), (&json!(2), &json!(5)));
    assert_eq!(seen["expiresAt"], end);
    assert_eq!(gate.get("/ok", &child.line()).await.status, 200);
    gate.settled(&pack).await;
    let seen = told(&gate, &child.line()).await;
    assert_eq!(seen["limits"], json!([{ "limit": "max_uses", "most": 2, "used": 1, "held": 0, "left": 1 }]));
    assert_eq!((&seen["left"], &seen["leftInAll"]), (&json!(1), &json!(4)));
    assert_eq!(gate.get("/ok", &child.line()).await.status, 200);
    gate.settled(&pack).await;
    let seen = told(&gate, &child.line()).await;
    assert_eq!((&seen["state"], &seen["code"]), (&json!("spent"), &json!("uses_exhausted")));
    assert_eq!(stands(&gate, &pack).await, is("open", 3), "the parent has the rest");
    let brief = narrowed(&pack, &["expires=2026-01-01T00:00:00Z"]);
    assert_eq!(stands(&gate, &brief).await, is("expired", 3));
    // Asking never depends on the request that the copy is good for.
    assert_eq!(told(&gate, &narrowed(&pack, &["scope=/elsewhere"]).line()).await["state"], "open");
}

#[tokio::test]
async fn a_gift_and_a_token_that_was_taken_back_are_told() {
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![shop(&origin)], quick()).await;
    let gift = gate.checkout.give(GiftAsk {
        service: "api".parse().expect("a name"),
        budget: Msat::from_sat(100).expect("in range"),
        per: Some(Duration::from_secs(86_400)),
        lasts: Duration::from_secs(30 * 86_400),
        label: "team".to_owned(),
    });
    let gift = gift.await.expect("given");
    let given = Credential { header: gift.authorization(), hash: gift.payment_hash };
    let seen = told(&gate, &given.line()).await;
    assert_eq!(
        (&seen["state"], &seen["kind"], &seen["settled"]),
        (&json!("open"), &json!("granted"), &json!(true))
    );
    assert_eq!(seen["budget"], json!({ "units": 100_000, "perSeconds": 86_400 }));
    assert!(!seen.to_string().contains("team"), "what the operator calls it is the operator's: {seen}");

    let (used, unused) = (gate.buy_offer("/ok", "pack-5").await, gate.buy("/ok").await);
    assert_eq!(gate.get("/ok", &used.line()).await.status, 200);
    gate.settled(&used).await;
    for credential in [&given, &used, &unused] {
        gate.ledger.revoke(credential.hash).await.expect("revoked");
        assert_eq!(stands(&gate, credential).await, is("revoked", 0));
    }
    gate.audited().await;
}

#[tokio::test]
async fn who_has_no_token_of_ours_learns_nothing() {
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![shop(&origin)], quick()).await;
    let credential = gate.buy("/ok").await;
    let (macaroon, preimage) = credential.header.split_once(':').expect("both");
    let mut forged = macaroon.to_owned();
    forged.replace_range(forged.len() - 12..forged.len() - 8, "AAAA");
    let minted = gate.minter.minted();
    for (header, code) in [
        (format!("{forged}:{preimage}"), "bad_signature"),
        (format!("{macaroon}:{}", "00".repeat(32)), "preimage_mismatch"),
        (format!("L402 AAAA:{preimage}"), "macaroon_undecodable"),
    ] {
        let seen = told(&gate, &format!("Authorization: {header}\r\n")).await;
        assert_eq!((&seen["state"], &seen["code"]), (&json!("refused"), &json!(code)));
        assert_eq!(seen.as_object().map(serde_json::Map::len), Some(3), "no more than that: {seen}");
    }
    // Of several the first that is ours.
    let several = format!("Authorization: {forged}:{preimage}\r\n{}", credential.line());
    assert_eq!(told(&gate, &several).await["state"], "open");
    for (lines, code) in [
        ("", "no_credential"),
        ("Authorization: Bearer abc\r\n", "no_credential"),
        ("Authorization: L402 !!!\r\n", "macaroon_not_base64"),
        ("Macaroon: zz\r\n", "macaroon_not_hex"),
    ] {
        let reply = gate.get(PATH, lines).await;
        assert_eq!((reply.status, reply.code().as_str()), (400, code));
        assert_eq!(reply.header("www-authenticate"), None);
    }
    assert_eq!((gate.minter.minted(), origin.hits()), (minted, 0));
}

#[tokio::test]
async fn it_is_asked_as_pages_ask_at_any_host() {
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![shop(&origin)], quick()).await;
    let credential = gate.buy("/ok").await;
    let elsewhere = head("GET", PATH, &credential.line()).replace("api.example", "other.example");
    assert_eq!(gate.ask(&elsewhere).await.json()["state"], "open");
    let only_head = gate.ask(&head("HEAD", PATH, &credential.line())).await;
    assert!(only_head.status == 200 && only_head.body.is_empty());
    let asks = "Origin: https://page.example\r\nAccess-Control-Request-Method: GET\r\n\
                Access-Control-Request-Headers: authorization\r\n";
    let allowed: Reply = gate.ask(&head("OPTIONS", PATH, asks)).await;
    assert_eq!(
        (allowed.status, allowed.header("access-control-allow-headers")),
        (204, Some("authorization"))
    );
    let posted = gate.ask(&head("POST", PATH, &format!("Content-Length: 0\r\n{}", credential.line()))).await;
    assert_eq!((posted.status, posted.code().as_str()), (405, "method_not_allowed"));
    assert_eq!(gate.units(&credential).await, (0, 0, 0), "nothing was redeemed");
    // What can be asked when nothing can be sold is still asked.
    gate.minter.can_receive.store(false, Ordering::SeqCst);
    assert_eq!(stands(&gate, &credential).await, is("open", 1));
    gate.sell(Vec::new());
    let gone = told(&gate, &credential.line()).await;
    assert_eq!((&gone["state"], &gone["opens"]), (&json!("open"), &json!([])));
    assert!(gate.ledger.grant(credential.hash).await.expect("read").is_none());
}

/// One payment is one purchase, whichever dialect asks for it.
#[tokio::test]
async fn a_credential_of_the_payment_scheme_is_told_likewise() {
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![shop(&origin)], quick()).await;
    let offer = gate.get("/ok", "").await;
    let (token, charge) = (gate.pay(&offer), as_charge(&gate, &offer));
    let seen = told(&gate, &charge).await;
    assert_eq!(
        (&seen["state"], &seen["left"], &seen["kind"]),
        (&json!("open"), &json!(1), &json!("request"))
    );
    assert_eq!((&seen["paymentHash"], &seen["amountMsat"]), (&json!(token.hash), &json!(10_000)));
    assert_eq!(gate.get("/ok", &token.line()).await.status, 200);
    gate.settled(&token).await;
    assert_eq!(told(&gate, &charge).await["state"], "spent");
    let other = gate.get("/ok", "").await;
    let (unused, charge) = (gate.pay(&other), as_charge(&gate, &other));
    gate.ledger.revoke(unused.hash).await.expect("revoked");
    assert_eq!(told(&gate, &charge).await["state"], "revoked");
    let foreign = charge.replacen("Payment ey", "Payment eY", 1);
    assert_eq!(told(&gate, &foreign).await["state"], "refused");
}

#[tokio::test]
async fn who_asks_too_often_waits() {
    let origin = Origin::start().await;
    let rate = |text: &str| Some(text.parse().expect("a rate"));
    let limits =
        Limits { challenges: rate("9 per minute"), failures: rate("2 per minute"), ..Limits::default() };
    let config = CheckoutConfig { limits, ..CheckoutConfig::default() };
    let clock = FixedClock::at(Timestamp::from_secs(1_800_000_000));
    let gate = TestGate::at(clock, vec![shop(&origin)], quick(), config).await;
    let credential = gate.buy("/ok").await;
    let forged = "Authorization: L402 AAAA\r\n";
    for code in [200, 200, 429] {
        assert_eq!(gate.get(PATH, forged).await.status, code);
    }
    for _ in 0..5 {
        assert_eq!(stands(&gate, &credential).await, is("open", 1));
    }
    let reply = gate.get(PATH, &credential.line()).await;
    assert_eq!((reply.status, reply.code().as_str()), (429, "too_many_challenges"));
    assert!(reply.header("retry-after").is_some());
    assert_eq!(gate.get("/ok", &credential.line()).await.status, 200, "who pays is served");
}
