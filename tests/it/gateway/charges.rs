//! The `Payment` scheme at the gate: what its line says, what its credential opens, and that a payment is
//! used up once, in whichever dialect it is shown.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::join_all;
use serde_json::{Map, Value, json};
use tollhouse::catalog::{Dialects, Service, Terms};
use tollhouse::checkout::CheckoutConfig;
use tollhouse::clock::FixedClock;
use tollhouse::l402::MasterKeys;
use tollhouse::pricing::Rule;
use tollhouse::throttle::Limits;
use tollhouse::types::{Msat, Timestamp};

use crate::charge_client::{answer, authorization, parameters, unpacked};

use super::client::Reply;
use super::offers::{amount, shop};
use super::upstream::Origin;
use super::{Credential, TestGate, patient, quick, sat, service};

const PROBLEMS: &str = "https://paymentauth.org/problems/";

fn line(credential: &str) -> String {
    format!("Authorization: Payment {credential}\r\n")
}

/// The header line of whoever shows `credential`.
fn showing(credential: &Value) -> String {
    format!("Authorization: {}\r\n", authorization(credential))
}

/// The parameters of the 402's one line of the scheme.
fn challenge(reply: &Reply) -> Map<String, Value> {
    let mut all = reply.all("www-authenticate").filter_map(parameters);
    let (Some(one), None) = (all.next(), all.next()) else { panic!("one Payment line: {reply:?}") };
    one
}

fn schemes(reply: &Reply) -> Vec<&str> {
    reply.all("www-authenticate").filter_map(|line| line.split(' ').next()).collect()
}

/// Pays a 402 as a client of the scheme does, and gives what it shows then.
fn paid(gate: &TestGate, reply: &Reply) -> Value {
    answer(&challenge(reply), |hash| gate.minter.preimage(hash))
}

/// One payment, as both dialects show it.
struct Both {
    l402: Credential,
    payment: String,
    shown: Value,
}

/// The header lines of the same payment in the `Payment` scheme, for other tests.
pub(super) fn as_charge(gate: &TestGate, reply: &Reply) -> String {
    showing(&paid(gate, reply))
}

impl TestGate {
    async fn buy_both(&self, path: &str) -> Both {
        let reply = self.get(path, "").await;
        assert_eq!(schemes(&reply), ["L402", "Payment"], "{reply:?}");
        let shown = paid(self, &reply);
        Both { l402: self.pay(&reply), payment: showing(&shown), shown }
    }
}

#[tokio::test]
async fn a_charge_is_offered_paid_and_receipted() {
    let origin = Origin::start().await;
    let gate = TestGate::before(&origin).await;
    let reply = gate.get("/ok", "Origin: https://shop.example\r\n").await;
    assert_eq!((reply.status, schemes(&reply)), (402, vec!["L402", "Payment"]));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let exposed = reply.header("access-control-expose-headers").expect("a list");
    assert!(exposed.contains("WWW-Authenticate") && exposed.contains("Payment-Receipt"), "{exposed}");
    let (body, asked) = (reply.json(), challenge(&reply));
    assert_eq!(body["type"], format!("{PROBLEMS}payment-required"));
    assert_eq!((&body["code"], &body["challengeId"]), (&json!("payment_required"), &asked["id"]));
    let keys: Vec<&str> = reply
        .all("www-authenticate")
        .nth(1)
        .expect("two lines")
        .split(' ')
        .skip(1)
        .map(|pair| pair.split('=').next().expect("a key"))
        .collect();
    assert_eq!(keys, ["id", "realm", "method", "intent", "request", "expires"]);
    assert_eq!(
        (&asked["realm"], &asked["method"], &asked["intent"]),
        (&json!("api.example"), &json!("lightning"), &json!("charge"))
    );
    let said = unpacked(asked["request"].as_str().expect("text"));
    let expected = json!({
        "amount": "10", "currency": "sat",
        "methodDetails": { "invoice": body["invoice"], "network": "regtest", "paymentHash": body["paymentHash"] },
    });
    assert_eq!(said, expected, "and the invoice is that of the L402 line");
    let raw = URL_SAFE_NO_PAD.decode(asked["request"].as_str().expect("text")).expect("base64url");
    assert_eq!(String::from_utf8(raw).expect("text"), expected.to_string(), "in canonical form");

    let shown = paid(&gate, &reply);
    let got = gate.get("/ok", &format!("{}Origin: https://shop.example\r\n", showing(&shown))).await;
    assert_eq!((got.status, got.header("cache-control")), (200, Some("private, no-store")), "{got:?}");
    assert!(got.header("access-control-expose-headers").expect("a list").contains("Payment-Receipt"));
    let receipt = unpacked(got.header("payment-receipt").expect("a receipt"));
    let at = receipt["timestamp"].as_str().expect("a time");
    assert!(at.ends_with('Z') && at.len() == 20, "{at}");
    assert_eq!(
        receipt,
        json!({
            "method": "lightning", "challengeId": asked["id"], "reference": body["paymentHash"],
            "status": "success", "timestamp": at,
        })
    );
    assert!(origin.last().header("authorization").is_empty(), "the credential stays here");
    assert_eq!(got.header("x-tollhouse-payment-hash"), body["paymentHash"].as_str());
    assert_eq!(gate.settled(&gate.pay(&reply)).await, (0, 0, 1));
    let head = gate.ask(&super::head("HEAD", "/ok", "")).await;
    assert_eq!((head.status, schemes(&head)), (402, vec!["L402", "Payment"]));
    gate.audited().await;
}

/// Money rule 2: one consumption record for each payment hash.
#[tokio::test]
async fn a_payment_is_used_up_once_whichever_dialect_shows_it() {
    let origin = Origin::start().await;
    let gate = TestGate::before(&origin).await;
    for first in ["l402", "payment"] {
        let Both { l402, payment, .. } = gate.buy_both("/ok").await;
        let lines = if first == "l402" { [l402.line(), payment] } else { [payment, l402.line()] };
        let hits = origin.hits();
        let got = gate.get("/ok", &lines[0]).await;
        assert_eq!((got.status, got.header("payment-receipt").is_some()), (200, first == "payment"));
        for again in lines.iter().rev() {
            let reply = gate.get("/ok", again).await;
            assert_eq!((reply.status, reply.code().as_str()), (402, "spent"), "{first} first");
            assert_eq!(reply.json()["type"], format!("{PROBLEMS}invalid-challenge"));
            assert_eq!((schemes(&reply), reply.header("payment-receipt")), (vec!["L402", "Payment"], None));
        }
        assert_eq!(gate.settled(&l402).await, (0, 0, 1));
        assert_eq!(origin.hits(), hits + 1);
    }
    // Both in one request: one is charged, once.
    let Both { l402, payment, .. } = gate.buy_both("/ok").await;
    assert_eq!(gate.get("/ok", &format!("{}{payment}", l402.line())).await.status, 200);
    assert_eq!(gate.settled(&l402).await, (0, 0, 1));
    gate.audited().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_four_at_once_in_both_dialects_are_served_once() {
    let origin = Origin::start().await;
    let gate = Arc::new(TestGate::with(vec![service(&origin)], patient()).await);
    let Both { l402, payment, .. } = gate.buy_both("/gated").await;
    let all = join_all((0..64).map(|turn| {
        let line = if turn % 2 == 0 { l402.line() } else { payment.clone() };
        let gate = Arc::clone(&gate);
        async move { gate.get("/gated", &line).await }
    }));
    let (replies, ()) = tokio::join!(all, async {
        origin.until(|seen| seen.hits.len() == 1).await;
        for held in [l402.line(), payment.clone()] {
            let late = gate.get("/gated", &held).await;
            assert_eq!((late.status, late.code().as_str()), (409, "in_flight"));
            assert_eq!(late.header("www-authenticate"), None, "a client must not be sent to pay again");
        }
        origin.shared.gate.notify_one();
    });
    let count = |status| replies.iter().filter(|r| r.status == status).count();
    assert_eq!((count(200), count(409) + count(402), origin.hits()), (1, 63, 1));
    assert_eq!(gate.settled(&l402).await, (0, 0, 1));
    for after in [l402.line(), payment] {
        assert_eq!(gate.get("/gated", &after).await.code(), "spent");
    }
    gate.audited().await;
}

#[tokio::test]
async fn what_is_not_good_gets_a_fresh_402_that_says_why() {
    let origin = Origin::start().await;
    let mut other = service(&origin);
    (other.name, other.path) = ("other".parse().expect("a name"), "/other".to_owned());
    other.routes.clear();
    let gate = TestGate::with(vec![service(&origin), other], quick()).await;
    let Both { shown, payment, .. } = gate.buy_both("/ok").await;
    let with = |edit: &dyn Fn(&mut Value)| {
        let mut shown = shown.clone();
        edit(&mut shown);
        showing(&shown)
    };
    let zeros = json!("00".repeat(32));
    for (path, line, code, problem) in [
        ("/ok", line("!!!"), "credential_malformed", "malformed-credential"),
        ("/ok", line(""), "credential_malformed", "malformed-credential"),
        ("/ok", showing(&json!({ "id": "x" })), "credential_malformed", "malformed-credential"),
        ("/ok", line(&"A".repeat(17_000)), "credential_malformed", "malformed-credential"),
        ("/ok", with(&|s| s["payload"] = json!({})), "preimage_not_hex", "invalid-payload"),
        (
            "/ok",
            with(&|s| s["payload"]["preimage"] = zeros.clone()),
            "preimage_mismatch",
            "verification-failed",
        ),
        ("/ok", with(&|s| s["challenge"]["id"] = json!("AAAA")), "unknown_challenge", "invalid-challenge"),
        ("/ok", with(&|s| s["challenge"]["realm"] = json!("x")), "unknown_challenge", "invalid-challenge"),
        (
            "/ok",
            with(&|s| s["challenge"]["method"] = json!("tempo")),
            "unknown_challenge",
            "invalid-challenge",
        ),
        // THREATS 3: bought of one service, shown to another.
        ("/other/ok", payment.clone(), "unknown_challenge", "invalid-challenge"),
        // MONEY 2: bought for less than this route costs.
        ("/dear/ok", payment.clone(), "price_changed", "payment-insufficient"),
    ] {
        let reply = gate.get(path, &line).await;
        assert_eq!((reply.status, reply.code().as_str()), (402, code), "{path} {line:.80}");
        assert_eq!(reply.json()["type"], format!("{PROBLEMS}{problem}"));
        assert_eq!(reply.header("content-type"), Some("application/problem+json"));
        assert_eq!((schemes(&reply), reply.header("payment-receipt")), (vec!["L402", "Payment"], None));
        assert_ne!(challenge(&reply)["id"], shown["challenge"]["id"], "a fresh one");
    }
    assert_eq!(origin.hits(), 0);
    // THREATS 5: hash and preimage alone, as every routing node knows them.
    let reply = gate.get("/ok", &with(&|s| s["challenge"] = json!({ "id": "" }))).await;
    assert_eq!((reply.status, origin.hits()), (402, 0));
    assert_eq!(gate.get("/ok", &payment).await.status, 200, "nothing was debited");
    gate.audited().await;
}

#[tokio::test]
async fn a_bad_credential_before_a_good_one_does_no_harm() {
    let origin = Origin::start().await;
    let gate = TestGate::before(&origin).await;
    let (one, two) = (gate.buy_both("/ok").await, gate.buy_both("/ok").await);
    let value = one.payment.trim().strip_prefix("Authorization: ").expect("a line");
    let joined = format!("Authorization: Payment AAAA, {value}, {}\r\n", value);
    assert_eq!(gate.get("/ok", &joined).await.status, 200);
    // A token that does not verify before a charge that does, joined as a proxy joins them.
    let value = two.payment.trim().strip_prefix("Authorization: ").expect("a line");
    let joined = format!("Authorization: L402 AAAA:{}, {value}\r\n", "00".repeat(32));
    let reply = gate.get("/ok", &joined).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    for both in [one, two] {
        assert_eq!(gate.settled(&both.l402).await, (0, 0, 1));
    }
}

/// The line is left out where the scheme cannot say what is sold; L402 can.
#[tokio::test]
async fn only_single_requests_for_whole_satoshi_are_charged_so() {
    let origin = Origin::start().await;
    let odd = Terms::fixed(Msat::new(10_500).expect("in range"));
    let gate = TestGate::with(vec![Service { terms: Arc::new(odd), ..service(&origin) }], quick()).await;
    let reply = gate.get("/ok", "").await;
    assert_eq!(
        (reply.status, schemes(&reply), reply.json()["challengeId"].as_str()),
        (402, vec!["L402"], None)
    );
    gate.sell(vec![shop(&origin)]);
    for (offer, expected) in [
        ("request", vec!["L402", "Payment"]),
        ("pack-5", vec!["L402"]),
        ("hour", vec!["L402"]),
        ("purse", vec!["L402"]),
    ] {
        let reply = gate.get("/ok", &format!("Prefer: l402-offer={offer}\r\n")).await;
        assert_eq!((reply.status, schemes(&reply)), (402, expected), "{offer}");
    }
}

/// The switch says what is offered. What was sold stays good.
#[tokio::test]
async fn a_service_chooses_its_dialects() {
    let origin = Origin::start().await;
    let gate = TestGate::before(&origin).await;
    let Both { payment, .. } = gate.buy_both("/ok").await;
    let token = gate.buy("/ok").await;
    let speaking =
        |words: &[&str]| Service { dialects: Dialects::of(words.iter().copied()), ..service(&origin) };
    for (words, expected) in [
        (&["l402"] as &[_], vec!["L402"]),
        (&["payment"], vec!["Payment"]),
        (&["payment", "l402", "lsat"], vec!["LSAT", "L402", "Payment"]),
        (&["lsat"], vec!["LSAT"]),
    ] {
        gate.sell(vec![speaking(words)]);
        assert_eq!(schemes(&gate.get("/ok", "").await), expected);
    }
    let old = gate.get("/ok", "").await;
    let line = old.header("www-authenticate").expect("a line");
    let macaroon = old.json()["macaroon"].as_str().expect("text").to_owned();
    let invoice = old.json()["invoice"].as_str().expect("text").to_owned();
    assert_eq!(line, format!(r#"LSAT macaroon="{macaroon}", invoice="{invoice}""#));
    assert_eq!(old.json()["type"], "about:blank");
    let bought = gate.pay(&old).header.replace("L402 ", "LSAT ");
    assert_eq!(gate.get("/ok", &format!("Authorization: {bought}\r\n")).await.status, 200);
    // A pack cannot be said by the only dialect that was wanted.
    gate.sell(vec![Service { dialects: Dialects::of(["payment"]), ..shop(&origin) }]);
    assert_eq!(schemes(&gate.get("/ok", "Prefer: l402-offer=pack-5\r\n").await), ["L402"]);
    assert_eq!(gate.get("/ok", &token.line()).await.status, 200, "an L402 token of before");
    gate.sell(vec![speaking(&["l402"])]);
    assert_eq!(gate.get("/ok", &payment).await.status, 200, "a charge of before");
    gate.audited().await;
}

/// MONEY 9: `expires` is the invoice's end, as the draft wants it; whoever paid in time may come late.
#[tokio::test]
async fn a_late_comer_is_served_and_not_for_ever() {
    let origin = Origin::start().await;
    let clock = FixedClock::at(Timestamp::from_secs(1_800_000_000));
    let services = vec![service(&origin)];
    let gate = TestGate::at(clock.clone(), services, quick(), CheckoutConfig::default()).await;
    let (one, two) = (gate.buy_both("/ok").await, gate.buy_both("/ok").await);
    let expires = one.shown["challenge"]["expires"].as_str().expect("a time");
    assert_eq!(expires, "2027-01-15T08:15:00Z", "the invoice's end");
    clock.advance(Duration::from_secs(15 * 60 + 26 * 3_600));
    assert_eq!(gate.get("/ok", &one.payment).await.status, 200);
    clock.advance(Duration::from_secs(1));
    let reply = gate.get("/ok", &two.payment).await;
    assert_eq!((reply.status, reply.code().as_str()), (402, "expired"));
    assert_eq!(reply.json()["type"], format!("{PROBLEMS}payment-expired"));
    assert_eq!(origin.hits(), 1);
}

/// MONEY 2 and THREATS 18: what was bought in another currency is worth what it was there.
#[tokio::test]
async fn a_charge_in_dollars_stays_a_charge_in_dollars() {
    let origin = Origin::start().await;
    let terms = Terms { rule: Rule::Fixed(amount("0.01 USD")), ..sat(1) };
    let gate = TestGate::with(vec![Service { terms: Arc::new(terms), ..service(&origin) }], quick()).await;
    gate.market.set_usd(Some("50000"));
    let (one, two) = (gate.buy_both("/ok").await, gate.buy_both("/ok").await);
    let request = unpacked(one.shown["challenge"]["request"].as_str().expect("text"));
    assert_eq!((&request["amount"], &request["externalId"]), (&json!("20"), &json!("0.01 USD@50000")));
    gate.market.set_usd(Some("25000"));
    assert_eq!(gate.get("/ok", &one.payment).await.status, 200, "it costs 40 sat by now, and the same cent");
    let row = gate.ledger.grant(one.l402.hash).await.expect("the ledger reads").expect("a grant");
    assert_eq!(row.quote.as_deref(), Some("0.01 USD@50000"));
    gate.market.set_usd(None);
    assert_eq!(gate.get("/ok", &two.payment).await.status, 200);
    gate.audited().await;
}

/// What the upstream did not deliver is given back, to be had in either dialect and on any route that the
/// payment covers, whichever was shown first.
#[tokio::test]
async fn what_comes_back_may_be_used_in_the_other_dialect() {
    let origin = Origin::start().await;
    let gate = TestGate::before(&origin).await;
    let one = gate.buy_both("/dear/ok").await;
    let failed = gate.get("/500", &one.payment).await;
    assert_eq!((failed.status, failed.header("x-tollhouse-unit")), (500, Some("restored")));
    assert_eq!(failed.header("payment-receipt"), None, "only a success has one");
    let got = gate.get("/dear/ok", &one.l402.line()).await;
    assert_eq!((got.status, got.header("payment-receipt")), (200, None), "{}", got.text());
    let two = gate.buy_both("/dear/ok").await;
    assert_eq!(gate.get("/dear/503", &two.l402.line()).await.status, 503);
    assert_eq!(gate.get("/ok", &two.payment).await.status, 200);
    // A 404 is charged, and is no success.
    let three = gate.buy_both("/404").await;
    let lost = gate.get("/404", &three.payment).await;
    assert_eq!((lost.status, lost.header("payment-receipt")), (404, None));
    for both in [one, two, three] {
        assert_eq!(gate.settled(&both.l402).await, (0, 0, 1));
    }
    gate.audited().await;
}

/// THREATS 3.
#[tokio::test]
async fn a_revoked_payment_opens_nothing_in_either_dialect() {
    let origin = Origin::start().await;
    let gate = TestGate::before(&origin).await;
    let both = gate.buy_both("/ok").await;
    gate.ledger.revoke(both.l402.hash).await.expect("the ledger writes");
    for line in [both.payment, both.l402.line()] {
        let reply = gate.get("/ok", &line).await;
        assert_eq!((reply.status, reply.code().as_str()), (402, "revoked"));
    }
    assert_eq!(origin.hits(), 0);
    gate.audited().await;
}

/// A client that names its request may come back for the answer, receipt and all.
#[tokio::test]
async fn an_answer_is_given_again_with_its_receipt() {
    let origin = Origin::start().await;
    let gate = TestGate::before(&origin).await;
    let both = gate.buy_both("/ok").await;
    let lines = format!("{}Idempotency-Key: one\r\n", both.payment);
    let first = gate.get("/ok", &lines).await;
    gate.settled(&both.l402).await;
    let again = gate.get("/ok", &lines).await;
    assert_eq!((first.status, again.status, again.header("x-tollhouse-replayed")), (200, 200, Some("true")));
    assert!(first.header("payment-receipt").is_some());
    assert_eq!(first.header("payment-receipt"), again.header("payment-receipt"));
    assert_eq!(origin.hits(), 1);
}

/// Failures of either dialect are counted alike, and nobody who paid is turned away by them.
#[tokio::test]
async fn who_guesses_is_slowed_and_who_paid_is_not() {
    let origin = Origin::start().await;
    let limits = Limits { failures: Some("2 per hour".parse().expect("a rate")), ..Limits::default() };
    let config = CheckoutConfig { limits, ..CheckoutConfig::default() };
    let clock = FixedClock::at(Timestamp::from_secs(1_800_000_000));
    let gate = TestGate::at(clock, vec![service(&origin)], quick(), config).await;
    let Both { l402, payment, mut shown } = gate.buy_both("/ok").await;
    shown["payload"]["preimage"] = json!("00".repeat(32));
    let guess = showing(&shown);
    for code in ["preimage_mismatch", "preimage_mismatch", "too_many_failures", "too_many_failures"] {
        let reply = gate.get("/ok", &guess).await;
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (if code == "too_many_failures" { 429 } else { 402 }, code)
        );
    }
    assert_eq!(gate.get("/ok", &line("AAAA")).await.code(), "too_many_failures");
    assert_eq!(gate.get("/ok", &payment).await.status, 200);
    assert_eq!(gate.settled(&l402).await, (0, 0, 1));
}

/// A master key of before keeps its charges good, and one that is retired takes them along.
#[tokio::test]
async fn charges_live_as_long_as_their_epoch() {
    let origin = Origin::start().await;
    let gate = TestGate::before(&origin).await;
    let (one, two) = (gate.buy_both("/ok").await, gate.buy_both("/ok").await);
    let keys = |current, epochs: &[u32]| {
        let masters = epochs.iter().map(|epoch| (*epoch, if *epoch == 1 { [5; 32] } else { [6; 32] }));
        MasterKeys::new(current, masters).expect("keys")
    };
    gate.keys.replace(keys(2, &[1, 2]));
    assert_eq!(gate.get("/ok", &one.payment).await.status, 200);
    assert_eq!(gate.get("/ok", &one.l402.line()).await.code(), "spent", "it is the same purchase");
    gate.keys.replace(keys(2, &[2]));
    let reply = gate.get("/ok", &two.payment).await;
    assert_eq!((reply.status, reply.code().as_str()), (402, "unknown_challenge"));
    let new = gate.buy_both("/ok").await;
    assert_eq!(gate.get("/ok", &new.payment).await.status, 200);
    assert_eq!(gate.get("/ok", &new.l402.line()).await.code(), "spent");
    gate.audited().await;
}
