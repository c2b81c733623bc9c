//! Tokens as the operator sees them: given away, found, opened, taken back.

use std::time::Duration;

use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use tollhouse::web::keys::Scope;

use crate::admin_app::{AdminApp, ok, problem};
use crate::l402_world::narrowed;

const TOKENS: &str = "/api/v1/tokens";
const GRANT: &str = "/api/v1/tokens/grant";
const VERIFY: &str = "/api/v1/integration/verify";

/// An appliance with a service at 10 sat, and its keys.
struct Shop {
    app: AdminApp,
    admin: String,
    read: String,
    application: String,
}

impl Shop {
    async fn open() -> Shop {
        let app = AdminApp::selling(vec![crate::forward_auth::service()]).await;
        let admin = app.key(&[Scope::Admin]).await;
        let (read, application) = (app.key(&[Scope::Read]).await, app.key(&[Scope::Integrate]).await);
        Shop { app, admin, read, application }
    }

    async fn give(&self, more: Value) -> Value {
        let given = self.app.change(GRANT, &self.admin, ask(more)).await;
        assert_eq!(given.status(), StatusCode::CREATED);
        given.json().await.expect("JSON")
    }

    async fn list(&self, query: &str) -> Vec<Value> {
        let page = ok(self.app.read(&format!("{TOKENS}?{query}"), &self.read).await).await;
        page["tokens"].as_array().expect("rows").clone()
    }

    async fn look(&self, given: &Value) -> Value {
        ok(self.app.read(&path_of(given), &self.read).await).await
    }

    /// Spends `amount` of a token: verified and settled.
    async fn spend(&self, given: &Value, amount: &str) -> Response {
        let ask = json!({ "service": "api", "path": "/a", "amount": amount, "authorization": given["authorization"] });
        let held = self.app.change(VERIFY, &self.application, ask).await;
        if held.status() != StatusCode::OK {
            return held;
        }
        let hold = ok(held).await;
        let settle = format!("/api/v1/integration/holds/{}/settle", hold["hold_id"].as_str().expect("an id"));
        self.app.change(&settle, &self.application, json!({})).await
    }

    async fn books_balance(&self) {
        self.app.ledger.barrier().await;
        let audit = self.app.ledger.audit().await.expect("an audit");
        assert!(audit.ok, "{audit:?}");
    }
}

fn ask(more: Value) -> Value {
    let mut ask = json!({ "service": "api", "budget": "1000 sat", "expires": "30d", "label": "partner" });
    ask.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    ask
}

fn path_of(given: &Value) -> String {
    format!("{TOKENS}/{}", given["payment_hash"].as_str().expect("a hash"))
}

async fn coded(response: Response) -> (u16, String) {
    let (status, code) = problem(response).await;
    (status.as_u16(), code)
}

fn is(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[tokio::test]
async fn a_token_is_given_shown_once_metered_and_taken_back() {
    let shop = Shop::open().await;
    let given = shop.give(json!({})).await;
    assert_eq!((&given["label"], &given["budget_msat"]), (&json!("partner"), &json!(1_000_000)));
    let good_until = shop.app.op.parts.clock.now().plus(Duration::from_secs(30 * 86_400)).millis();
    assert_eq!(given["valid_until"], good_until);
    let (macaroon, preimage) =
        (given["macaroon"].as_str().expect("text"), given["preimage"].as_str().expect("text"));
    assert_eq!(given["authorization"], format!("L402 {macaroon}:{preimage}"));

    // Known at once, before any use; the credential is in no later answer and in no event.
    let token = shop.look(&given).await;
    assert_eq!(
        (&token["kind"], &token["state"], &token["calls"]),
        (&json!("granted"), &json!("left"), &json!(0))
    );
    assert_eq!((&token["units"]["left"], &token["price_msat"]), (&json!(1_000_000), &json!(0)));
    assert_eq!(ok(shop.spend(&given, "400 sat").await).await["charged"], 400_000);
    assert_eq!(ok(shop.spend(&given, "250 msat").await).await["charged"], 250);
    let token = shop.look(&given).await;
    assert_eq!((&token["units"]["spent"], &token["calls"]), (&json!(400_250), &json!(2)));
    let spends = token["spends"].as_array().expect("rows");
    let told: Vec<_> =
        spends.iter().map(|spend| (&spend["number"], &spend["units"], &spend["earned_msat"])).collect();
    assert_eq!(told, [(&json!(2), &json!(250), &json!(0)), (&json!(1), &json!(400_000), &json!(0))]);
    let newest = ok(shop.app.read(&format!("{}?limit=1", path_of(&given)), &shop.read).await).await;
    assert_eq!(newest["spends"].as_array().map(Vec::len), Some(1));
    assert_eq!(coded(shop.spend(&given, "600 sat").await).await, is(402, "balance_too_small"));

    let events = shop.app.ledger.events_after(0, 100).await.expect("events");
    let everything = format!("{events:?}{token}{:?}", shop.list("").await);
    assert!(!everything.contains(preimage) && !everything.contains(macaroon));
    assert!(everything.contains("TokenGranted"), "{everything}");

    let status = ok(shop.app.read("/api/v1/status", &shop.read).await).await;
    assert_eq!(status["revenue"]["total_msat"], 0, "what was given away earns nothing");

    let revoked = ok(shop.app.delete(&path_of(&given), &shop.admin).await).await;
    assert_eq!((&revoked["known"], &revoked["revoked_units"]), (&json!(true), &json!(599_750)));
    assert_eq!(coded(shop.spend(&given, "1 msat").await).await, is(402, "revoked"));
    assert_eq!(shop.look(&given).await["state"], "revoked");
    let again = ok(shop.app.delete(&path_of(&given), &shop.admin).await).await;
    assert_eq!(again["revoked_units"], 0);
    shop.books_balance().await;
}

#[tokio::test]
async fn a_budget_for_each_day_is_filled_up_each_day() {
    let shop = Shop::open().await;
    let given = shop.give(json!({ "budget": "10 sat", "per": "day", "expires": "3 days" })).await;
    assert_eq!(given["per_seconds"], 86_400);
    ok(shop.spend(&given, "8 sat").await).await;
    assert_eq!(coded(shop.spend(&given, "8 sat").await).await, is(402, "balance_too_small"));
    shop.app.clock.advance(Duration::from_secs(86_400));
    ok(shop.spend(&given, "8 sat").await).await;
    let token = shop.look(&given).await;
    assert_eq!((&token["units"]["spent"], &token["units"]["left"]), (&json!(16_000), &json!(2_000)));
    assert_eq!((&token["budget_msat"], &token["units"]["expired"]), (&json!(10_000), &json!(2_000)));
    shop.app.clock.advance(Duration::from_secs(3 * 86_400));
    assert_eq!(coded(shop.spend(&given, "1 msat").await).await.0, 402, "its days are over");
    shop.books_balance().await;
}

#[tokio::test]
async fn tokens_are_found_by_what_is_known_of_them() {
    let shop = Shop::open().await;
    let mut given = Vec::new();
    for label in ["anna", "bert", "anna's robot", "100% real_one"] {
        given.push(shop.give(json!({ "label": label })).await);
    }
    ok(shop.app.delete(&path_of(&given[1]), &shop.admin).await).await;
    let labels = async |query: &str| -> Vec<String> {
        let rows = shop.list(query).await;
        rows.iter().map(|row| row["label"].as_str().expect("a label").to_owned()).collect()
    };
    assert_eq!(labels("").await, ["100% real_one", "anna's robot", "bert", "anna"], "newest first");
    assert_eq!(labels("search=anna").await, ["anna's robot", "anna"]);
    assert_eq!(labels("search=ROBOT").await, ["anna's robot"]);
    let prefix = &given[3]["payment_hash"].as_str().expect("a hash")[..10];
    assert_eq!(labels(&format!("search={prefix}")).await, ["100% real_one"]);
    assert_eq!(labels("state=revoked").await, ["bert"]);
    assert_eq!(labels("state=live&kind=granted&service=api").await.len(), 3);
    assert!(labels("service=other").await.is_empty() && labels("kind=pass").await.is_empty());
    assert!(labels("search=zzz").await.is_empty());

    let first = ok(shop.app.read(&format!("{TOKENS}?limit=3"), &shop.read).await).await;
    assert_eq!(first["tokens"].as_array().map(Vec::len), Some(3));
    let rest = format!("limit=3&before={}", first["next_before"]);
    assert_eq!(labels(&rest).await, ["anna"]);
    for bad in ["limit=0", "limit=501", "kind=gift", "state=new", "service=No", "colour=red"] {
        let answer = shop.app.read(&format!("{TOKENS}?{bad}"), &shop.read).await;
        assert_eq!(coded(answer).await, is(400, "bad_query"), "{bad}");
    }
    let long = format!("{TOKENS}?search={}", "a".repeat(101));
    assert_eq!(coded(shop.app.read(&long, &shop.read).await).await, is(400, "bad_query"));
    let stranger = format!("{TOKENS}/{}", "ab".repeat(32));
    assert_eq!(coded(shop.app.read(&stranger, &shop.read).await).await, is(404, "unknown_token"));
    let odd = format!("{TOKENS}/xyz");
    assert_eq!(coded(shop.app.read(&odd, &shop.read).await).await, is(400, "bad_payment_hash"));
    // One that was not used yet can be taken back, too.
    let unused = ok(shop.app.delete(&stranger, &shop.admin).await).await;
    assert_eq!(unused["known"], false);
}

#[tokio::test]
async fn only_an_admin_gives_and_only_what_makes_sense() {
    let shop = Shop::open().await;
    let denied = is(403, "missing_scope");
    for key in [&shop.read, &shop.application] {
        assert_eq!(coded(shop.app.change(GRANT, key, ask(json!({}))).await).await, denied);
        assert_eq!(coded(shop.app.delete(&format!("{TOKENS}/{}", "ab".repeat(32)), key).await).await, denied);
    }
    assert_eq!(coded(shop.app.read(TOKENS, &shop.application).await).await, denied);
    for (more, answer) in [
        (json!({ "service": "nobody" }), is(404, "unknown_service")),
        (json!({ "service": "" }), is(400, "bad_body")),
        (json!({ "budget": "0 sat" }), is(400, "bad_budget")),
        (json!({ "budget": "1 USD" }), is(400, "bad_budget")),
        (json!({ "budget": "-5 sat" }), is(400, "bad_budget")),
        (json!({ "budget": "100000001 sat" }), is(400, "bad_budget")),
        (json!({ "budget": "99999999999999999999 sat" }), is(400, "bad_budget")),
        (json!({ "per": "fortnight" }), is(400, "bad_per")),
        (json!({ "per": "0s" }), is(400, "bad_per")),
        (json!({ "expires": "yesterday" }), is(400, "bad_expires")),
        (json!({ "expires": "1000 years" }), is(400, "bad_expires")),
        (json!({ "label": "" }), is(400, "bad_label")),
        (json!({ "label": "a\nb" }), is(400, "bad_label")),
        (json!({ "preimage": "mine" }), is(400, "bad_body")),
    ] {
        let refused = shop.app.change(GRANT, &shop.admin, ask(more.clone())).await;
        assert_eq!(coded(refused).await, answer, "{more}");
    }
    assert!(shop.list("").await.is_empty(), "nothing was given");
}

#[tokio::test]
async fn a_given_token_opens_its_service_alone_and_only_with_its_preimage() {
    let shop = Shop::open().await;
    let given = shop.give(json!({})).await;
    let with = |authorization: String| {
        let ask = json!({ "service": "api", "path": "/a", "authorization": authorization });
        async { coded(shop.app.change(VERIFY, &shop.application, ask).await).await }
    };
    let macaroon = given["macaroon"].as_str().expect("text");
    assert_eq!(with(format!("L402 {macaroon}")).await, is(402, "preimage_missing"));
    assert_eq!(with(format!("L402 {macaroon}:{}", "00".repeat(32))).await, is(402, "preimage_mismatch"));
    // Another appliance's tokens are not known here, although it has the same keys.
    let other = Shop::open().await;
    let foreign = other.give(json!({})).await;
    let foreign = foreign["authorization"].as_str().expect("text").to_owned();
    assert_eq!(with(foreign).await, is(402, "not_granted"));
    shop.books_balance().await;
}

/// The operator sees what the holder of a granted token allowed others, and not who can use it.
#[tokio::test]
async fn limits_of_a_granted_tokens_copies_are_counted_and_shown() {
    let shop = Shop::open().await;
    let given = shop.give(json!({})).await;
    let whole = given["authorization"].as_str().expect("text");
    let copy = narrowed(whole, &["budget_id=a", "max_spend_msat=5000"]);
    let child =
        json!({ "authorization": narrowed(&copy, &["max_uses=1"]), "payment_hash": given["payment_hash"] });
    assert_eq!(shop.look(&given).await["limits"], json!([]));
    assert_eq!(ok(shop.spend(&child, "2 sat").await).await["left"], 0, "its one use");
    assert_eq!(coded(shop.spend(&child, "1 sat").await).await, is(402, "uses_exhausted"));
    let copy = json!({ "authorization": copy });
    assert_eq!(coded(shop.spend(&copy, "4 sat").await).await, is(402, "budget_exhausted"));
    let limits = shop.look(&given).await["limits"].clone();
    let told: Vec<_> = limits
        .as_array()
        .expect("rows")
        .iter()
        .map(|limit| {
            (limit["unit"].as_str(), limit["most"].as_u64(), limit["used"].as_u64(), limit["left"].as_u64())
        })
        .collect();
    assert_eq!(
        told,
        [(Some("msat"), Some(5_000), Some(2_000), Some(3_000)), (Some("request"), Some(1), Some(1), Some(0)),]
    );
    assert_eq!((&limits[0]["below"], &limits[1]["below"]), (&Value::Null, &limits[0]["counter"]));
    shop.books_balance().await;
}
