//! A wallet for other people's programs, asked as clients of LND ask, over a node that is made up.

use std::time::Duration;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE};
use futures_util::future::join_all;
use lightning_invoice::Currency;
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tollhouse::store::OutgoingState;
use tollhouse::types::{Msat, PaymentHash, Preimage};
use tollhouse::web::keys::Scope;

use crate::admin_app::{AdminApp, ok, usable_channel};
use crate::admin_pay::invoice;

const SEND: &str = "/v2/router/send";
const SEND_SYNC: &str = "/v1/channels/transactions";

fn preimage(seed: u8) -> Preimage {
    Preimage::from_bytes([seed; 32])
}

fn hash(seed: u8) -> PaymentHash {
    preimage(seed).payment_hash()
}

fn bolt11(seed: u8, msat: u64) -> String {
    invoice(Currency::Regtest, preimage(seed), msat)
}

/// A wallet at the door.
struct Wallet<'a> {
    app: &'a AdminApp,
    macaroon: String,
    id: i64,
}

impl<'a> Wallet<'a> {
    async fn made(app: &'a AdminApp, per_day: u64, per_payment: u64) -> Wallet<'a> {
        let admin = app.key(&[Scope::Admin]).await;
        let ask = json!({ "label": "agent", "scopes": ["wallet"], "per_day_msat": per_day,
                          "per_payment_msat": per_payment });
        let made = app.change("/api/v1/keys", &admin, ask).await;
        assert_eq!(made.status(), StatusCode::CREATED);
        let made: Value = made.json().await.expect("JSON");
        let key = made["key"].as_str().expect("a key");
        assert_eq!(made["macaroon"], hex::encode(key), "the key's bytes, in hexadecimal");
        let macaroon = made["macaroon"].as_str().expect("text").to_owned();
        Wallet { app, macaroon, id: made["id"].as_i64().expect("a number") }
    }

    fn sign(&self, request: RequestBuilder) -> RequestBuilder {
        request.header("Grpc-Metadata-Macaroon", &self.macaroon)
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        answer(self.sign(self.app.get(path))).await
    }

    async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        let request = self.app.client.post(format!("{}{path}", self.app.origin));
        answer(self.sign(request).body(body.to_string())).await
    }

    /// Pays, and has the payment arrive at once.
    async fn pays(&self, seed: u8, msat: u64, fee_msat: u64) -> Value {
        let ask = json!({ "payment_request": bolt11(seed, msat), "timeout_seconds": 30 });
        let arrives = async {
            let mut news = self.app.ledger.watch();
            while self.app.ledger.outgoing(hash(seed)).await.expect("read").is_none() {
                let _ = tokio::time::timeout(Duration::from_millis(20), news.changed()).await;
            }
            arrive(self.app, seed, fee_msat).await;
        };
        let ((status, body), ()) = tokio::join!(self.post(SEND, ask), arrives);
        assert_eq!(status, StatusCode::OK, "{body}");
        body["result"].clone()
    }

    async fn today(&self) -> Value {
        let admin = self.app.key(&[Scope::Admin]).await;
        let listed = ok(self.app.read("/api/v1/keys", &admin).await).await;
        let rows = listed["keys"].as_array().expect("rows");
        rows.iter().find(|row| row["id"] == self.id).expect("it is there")["wallet"].clone()
    }
}

async fn answer(request: RequestBuilder) -> (StatusCode, Value) {
    let answer = request.send().await.expect("an answer");
    assert_eq!(answer.headers()["content-type"], "application/json");
    (answer.status(), answer.json().await.expect("one JSON object"))
}

async fn arrive(app: &AdminApp, seed: u8, fee_msat: u64) {
    let fee = Msat::new(fee_msat).expect("in range");
    let end = OutgoingState::Succeeded { preimage: preimage(seed), fee };
    app.ledger.settle_outgoing(hash(seed), end).await.expect("stored");
}

fn sends(app: &AdminApp) -> usize {
    app.node.sends.lock().expect("not poisoned").len()
}

/// The HTTP status, gRPC's code and the stable word of a refusal.
fn refused((status, body): (StatusCode, Value)) -> (u16, u64, String) {
    let error = if body["error"].is_null() { &body } else { &body["error"] };
    assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{body}");
    let reason = error["details"][0]["reason"].as_str().expect("a word").to_owned();
    (status.as_u16(), error["code"].as_u64().expect("a number"), reason)
}

#[tokio::test]
async fn a_payment_is_told_as_lnd_tells_it() {
    let app = AdminApp::start().await;
    let wallet = Wallet::made(&app, 100_000, 50_000).await;
    let told = wallet.pays(1, 15_000, 1_500).await;
    let expected = json!({
        "payment_hash": hash(1).to_hex(), "payment_preimage": preimage(1).to_hex(),
        "payment_request": bolt11(1, 15_000), "status": "SUCCEEDED", "failure_reason": "FAILURE_REASON_NONE",
        "value": "15", "value_sat": "15", "value_msat": "15000", "fee": "1", "fee_sat": "1", "fee_msat": "1500",
        "creation_date": told["creation_date"], "creation_time_ns": told["creation_time_ns"],
        "payment_index": "1", "htlcs": [],
    });
    assert_eq!(told, expected);
    // Asked again, by whichever call: the same proof, nothing sent.
    let again = wallet.post(SEND, json!({ "paymentRequest": bolt11(1, 15_000) })).await;
    assert_eq!(again, (StatusCode::OK, json!({ "result": told })));
    let (status, sync) = wallet.post(SEND_SYNC, json!({ "payment_request": bolt11(1, 15_000) })).await;
    assert_eq!((status, &sync["payment_error"]), (StatusCode::OK, &json!("")));
    assert_eq!(sync["payment_preimage"], BASE64_STANDARD.encode(preimage(1).as_bytes()));
    assert_eq!(sync["payment_hash"], BASE64_STANDARD.encode(hash(1).as_bytes()));
    assert_eq!(sync["payment_route"]["total_fees_msat"], "1500");
    assert_eq!(sync["payment_route"]["total_amt_msat"], "16500");
    assert_eq!(sends(&app), 1);

    let tracked =
        wallet.get(&format!("/v2/router/track/{}", BASE64_URL_SAFE.encode(hash(1).as_bytes()))).await;
    assert_eq!(tracked, (StatusCode::OK, json!({ "result": told })));
    let listed = wallet.get("/v1/payments?reversed=true&max_payments=1").await.1;
    assert_eq!((&listed["payments"], &listed["last_index_offset"]), (&json!([told]), &json!("1")));
    assert_eq!(wallet.get("/v1/payments?index_offset=1").await.1["payments"], json!([]));

    let today = wallet.today().await;
    assert_eq!((&today["spent_today_msat"], &today["left_today_msat"]), (&json!(16_500), &json!(83_500)));
}

#[tokio::test]
async fn updates_on_the_way_are_told_to_who_asks_for_them_and_no_end_is_made_up() {
    let app = AdminApp::start().await;
    let wallet = Wallet::made(&app, 100_000, 100_000).await;
    let ask =
        json!({ "payment_request": bolt11(1, 15_000), "no_inflight_updates": false, "fee_limit_sat": "7" });
    let url = format!("{}{SEND}", app.origin);
    let mut answer = wallet.sign(app.client.post(url)).body(ask.to_string()).send().await.expect("an answer");
    let line: Value =
        serde_json::from_slice(&answer.chunk().await.expect("it streams").expect("a line")).unwrap();
    assert_eq!(
        (&line["result"]["status"], &line["result"]["payment_preimage"]),
        (&json!("IN_FLIGHT"), &json!(""))
    );
    let failed = OutgoingState::Failed { reason: "RouteNotFound".to_owned() };
    assert_eq!(wallet.today().await["reserved_today_msat"], 22_000, "amount and highest fee");
    app.ledger.settle_outgoing(hash(1), failed).await.expect("stored");
    let line: Value =
        serde_json::from_slice(&answer.chunk().await.expect("it streams").expect("a line")).unwrap();
    let told = |field: &str| line["result"][field].as_str().expect("text").to_owned();
    assert_eq!(
        (told("status"), told("failure_reason")),
        ("FAILED".to_owned(), "FAILURE_REASON_NO_ROUTE".to_owned())
    );
    assert_eq!(answer.chunk().await.expect("it ends"), None);
    assert_eq!(wallet.today().await["left_today_msat"], 100_000, "a failure gives it back");

    // One second, and the payment is still on its way: it is not called failed.
    let ask = json!({ "payment_request": bolt11(2, 15_000), "timeout_seconds": 1 });
    let (status, body) = wallet.post(SEND, ask).await;
    assert_eq!((status, &body["result"]["status"]), (StatusCode::OK, &json!("IN_FLIGHT")));
    let all = wallet.get("/v1/payments?include_incomplete=true").await.1;
    let states: Vec<_> =
        all["payments"].as_array().expect("rows").iter().map(|row| row["status"].clone()).collect();
    assert_eq!(states, ["FAILED", "IN_FLIGHT"]);
    assert_eq!(wallet.get("/v1/payments").await.1["payments"], json!([]));
}

#[tokio::test]
async fn the_limits_hold_however_many_ask_at_once() {
    let app = AdminApp::start().await;
    let wallet = Wallet::made(&app, 60_000, 20_000).await;
    // Each may cost 20 sat; three fit into the day.
    let ask = |seed: u8| json!({ "payment_request": bolt11(seed, 15_000), "fee_limit_sat": 5, "timeout_seconds": 1 });
    let answers = join_all((1..=12).map(|seed| wallet.post(SEND, ask(seed)))).await;
    let (sent, over): (Vec<_>, Vec<_>) =
        answers.into_iter().partition(|(status, _)| *status == StatusCode::OK);
    assert_eq!((sent.len(), sends(&app)), (3, 3));
    for refusal in over {
        assert_eq!(refused(refusal), (429, 8, "over_day_limit".to_owned()));
    }
    let dear = json!({ "payment_request": bolt11(20, 20_001) });
    assert_eq!(refused(wallet.post(SEND, dear.clone()).await), (403, 7, "over_payment_limit".to_owned()));
    let sync = wallet.post(SEND_SYNC, dear).await;
    assert!(sync.1["error"].is_null());
    assert_eq!(refused(sync), (403, 7, "over_payment_limit".to_owned()));
    assert_eq!(sends(&app), 3);
    // A new day, UTC.
    app.clock.advance(Duration::from_secs(24 * 3_600));
    assert_eq!(wallet.today().await["left_today_msat"], 60_000);
}

#[tokio::test]
async fn a_wallet_sees_its_own_money_and_its_own_payments() {
    let app = AdminApp::start().await;
    *app.node.channels.lock().expect("not poisoned") = vec![usable_channel(1_000_000, 2_000_000)];
    let (one, two) =
        (Wallet::made(&app, 100_000, 100_000).await, Wallet::made(&app, 9_000_000_000, 9_000_000_000).await);
    one.pays(1, 15_000, 0).await;
    // The proof was paid for by another.
    let ask = json!({ "payment_request": bolt11(1, 15_000) });
    assert_eq!(refused(two.post(SEND, ask.clone()).await), (409, 6, "already_paid".to_owned()));
    assert_eq!(refused(two.post(SEND_SYNC, ask).await), (409, 6, "already_paid".to_owned()));
    let path = format!("/v2/router/track/{}", hash(1));
    assert_eq!(refused(two.get(&path).await), (404, 5, "unknown_payment".to_owned()));
    assert_eq!(two.get("/v1/payments?include_incomplete=true").await.1["payments"], json!([]));
    let operator = app.key(&[Scope::Pay]).await;
    let paid =
        app.change("/api/v1/payments/send", &operator, json!({ "invoice": bolt11(2, 1_000), "wait_ms": 0 }));
    assert_eq!(paid.await.status(), StatusCode::OK);
    let ask = json!({ "payment_request": bolt11(2, 1_000) });
    assert_eq!(refused(one.post(SEND, ask).await), (409, 6, "already_paid".to_owned()));

    let balance =
        async |wallet: &Wallet<'_>| wallet.get("/v1/balance/channels").await.1["local_balance"].clone();
    assert_eq!(balance(&one).await, json!({ "sat": "85", "msat": "85000" }), "what is left of the day");
    assert_eq!(balance(&two).await["sat"], "1000000", "what the channels carry");
    assert_eq!(two.get("/v1/balance/blockchain").await.1["total_balance"], "0");
    let info = one.get("/v1/getinfo").await.1;
    assert_eq!(info["identity_pubkey"], "02".repeat(33));
    assert_eq!((&info["num_active_channels"], &info["synced_to_chain"]), (&json!(1), &json!(true)));
    let read = one.get(&format!("/v1/payreq/{}", bolt11(7, 15_000))).await.1;
    assert_eq!((&read["payment_hash"], &read["num_satoshis"]), (&json!(hash(7).to_hex()), &json!("15")));
    assert_eq!((&read["description"], &read["expiry"]), (&json!("a call"), &json!("3600")));
}

#[tokio::test]
async fn only_a_wallets_key_opens_the_wallet_and_it_opens_nothing_else() {
    let app = AdminApp::start().await;
    let wallet = Wallet::made(&app, 100_000, 100_000).await;
    let stranger = (401, 16, "unauthenticated".to_owned());
    let ask = json!({ "payment_request": bolt11(1, 15_000) }).to_string();
    let url = format!("{}{SEND}", app.origin);
    let post = || app.client.post(&url).body(ask.clone());
    for scope in [Scope::Read, Scope::Pay, Scope::Admin, Scope::Integrate, Scope::ForwardAuth] {
        let key = app.key(&[scope]).await;
        let asked = answer(post().header("grpc-metadata-macaroon", hex::encode(&key))).await;
        assert_eq!(refused(asked), stranger, "{scope:?}");
        assert_eq!(refused(answer(post().bearer_auth(&key)).await), stranger, "{scope:?}");
    }
    for value in ["", "00", "zz", &"ff".repeat(500), &wallet.macaroon[2..]] {
        assert_eq!(refused(answer(post().header("macaroon", value)).await), stranger, "{value}");
    }
    assert_eq!(refused(answer(app.get("/v1/getinfo")).await), stranger);
    // A foreign page's form is turned away at the wall already.
    let foreign = post().header("origin", "http://evil.example").send().await.expect("an answer");
    assert_eq!(foreign.status(), StatusCode::FORBIDDEN);
    let key = String::from_utf8(hex::decode(&wallet.macaroon).unwrap()).unwrap();
    for path in ["/api/v1/status", "/api/v1/keys", "/api/v1/payments", "/api/v1/payments/sent/00"] {
        assert_eq!(app.read(path, &key).await.status(), StatusCode::FORBIDDEN, "{path}");
    }
    let send = app.change("/api/v1/payments/send", &key, json!({ "invoice": bolt11(1, 15_000) })).await;
    assert_eq!(send.status(), StatusCode::FORBIDDEN);
    assert_eq!(answer(app.get("/v1/getinfo").bearer_auth(&key)).await.0, StatusCode::OK, "the key as it is");
    assert_eq!(refused(wallet.get("/v1/invoices").await), (501, 12, "not_offered".to_owned()));
    for (body, word) in [
        (json!({}), "bad_body"),
        (json!({ "payment_request": "lnbcrt1nonsense" }), "not_an_invoice"),
        (json!({ "payment_request": bolt11(1, 15_000), "amt": "20" }), "bad_body"),
        (json!({ "payment_request": invoice(Currency::Bitcoin, preimage(3), 1_000) }), "wrong_network"),
    ] {
        assert_eq!(refused(wallet.post(SEND, body.clone()).await), (400, 3, word.to_owned()), "{body}");
    }
    app.clock.advance(Duration::from_secs(7_200));
    let late = json!({ "payment_request": bolt11(1, 15_000) });
    assert_eq!(refused(wallet.post(SEND, late).await), (400, 9, "invoice_expired".to_owned()));
    assert_eq!(sends(&app), 0);

    let admin = app.key(&[Scope::Admin]).await;
    assert_eq!(
        app.delete(&format!("/api/v1/keys/{}", wallet.id), &admin).await.status(),
        StatusCode::NO_CONTENT
    );
    assert_eq!(refused(wallet.get("/v1/getinfo").await), stranger, "revoked");
}

#[tokio::test]
async fn a_wallets_key_has_limits_and_no_other_scope() {
    let app = AdminApp::start().await;
    let admin = app.key(&[Scope::Admin]).await;
    for (ask, code) in [
        (json!({ "scopes": ["wallet"] }), "bad_limits"),
        (json!({ "scopes": ["wallet"], "per_payment_msat": 5 }), "bad_limits"),
        (json!({ "scopes": ["wallet"], "per_day_msat": 0 }), "bad_limits"),
        (json!({ "scopes": ["wallet"], "per_day_msat": 5, "per_payment_msat": 6 }), "bad_limits"),
        (json!({ "scopes": ["wallet"], "per_day_msat": -5 }), "bad_body"),
        (json!({ "scopes": ["read"], "per_day_msat": 5 }), "bad_limits"),
        (json!({ "scopes": ["wallet", "pay"], "per_day_msat": 5 }), "bad_scope"),
    ] {
        let mut whole = ask.clone();
        whole["label"] = "x".into();
        let refused = crate::admin_app::problem(app.change("/api/v1/keys", &admin, whole).await).await;
        assert_eq!(refused, (StatusCode::BAD_REQUEST, code.to_owned()), "{ask}");
    }
}
