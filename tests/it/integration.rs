//! The integration API, as an application sees it and as an attacker tries it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tollhouse::catalog::{Offer, Offering, PathPattern, Route, Service, Terms, Upstream};
use tollhouse::l402::{authorization, parse_challenge};
use tollhouse::types::{Msat, PaymentHash};
use tollhouse::web::keys::Scope;

use crate::admin_app::{AdminApp, PATIENCE, ok, problem};
use crate::charge_client;
use crate::l402_world::narrowed;

const CHALLENGES: &str = "/api/v1/integration/challenges";
const VERIFY: &str = "/api/v1/integration/verify";

/// An appliance that an application sells through; its service has a balance on offer, too.
struct Shop {
    app: AdminApp,
    key: String,
}

fn sat(amount: u64) -> Terms {
    Terms::fixed(Msat::from_sat(amount).expect("in range"))
}

fn offer(name: &str, what: Offering) -> Offer {
    Offer { name: name.parse().expect("a name"), what }
}

fn service() -> Service {
    let amount = |text: &str| text.parse().expect("an amount");
    let offers = vec![
        offer("request", Offering::Request),
        offer("pack", Offering::Pack { requests: 3, price: None }),
        offer("credit", Offering::Balance { value: amount("100 sat"), price: None }),
        offer("pass", Offering::Pass { lasts: Duration::from_secs(3_600), price: amount("500 sat") }),
    ];
    let route = |name: &str, path: &str, terms| {
        Route::new(name.parse().expect("a name"), None, PathPattern::Under(path.to_owned()), terms)
    };
    let upstream = Upstream::at("http://127.0.0.1:9/".parse().expect("a URL"));
    Service {
        routes: vec![route("free", "/free", Terms::free()), route("dear", "/dear", sat(50))],
        ..Service::new("app".parse().expect("a name"), "/", Terms { offers, ..sat(10) }, upstream)
    }
}

impl Shop {
    async fn open() -> Shop {
        let app = AdminApp::selling(vec![service()]).await;
        let key = app.key(&[Scope::Integrate]).await;
        Shop { app, key }
    }

    async fn post(&self, path: &str, body: Value) -> Response {
        self.app.change(path, &self.key, body).await
    }

    async fn code(&self, path: &str, body: Value) -> (u16, String) {
        coded(self.post(path, body).await).await
    }

    /// Asks for a challenge and pays it, as a customer would.
    async fn buy(&self, more: Value) -> (String, PaymentHash) {
        let offered = ok(self.post(CHALLENGES, asked(more)).await).await;
        let line = offered["headers"]["WWW-Authenticate"].as_str().expect("a challenge");
        let challenge = parse_challenge(line).expect("readable");
        assert_eq!(offered["invoice"], challenge.invoice.as_str());
        let hash: PaymentHash = offered["payment_hash"].as_str().expect("a hash").parse().expect("a hash");
        (authorization(&challenge.macaroon_b64, &self.app.minter.preimage(&hash)), hash)
    }

    /// Verifies into a hold.
    async fn hold(&self, token: &str, more: Value) -> Value {
        ok(self.post(VERIFY, with(asked(more), json!({ "authorization": token }))).await).await
    }

    async fn refused(&self, token: &str, more: Value) -> (u16, String) {
        self.code(VERIFY, with(asked(more), json!({ "authorization": token }))).await
    }

    async fn end(&self, hold: &Value, how: &str, body: Value) -> Value {
        ok(self.post(&end_of(hold, how), body).await).await
    }

    async fn units(&self, hash: PaymentHash) -> (u64, u64, u64) {
        self.app.ledger.barrier().await;
        let row = self.app.ledger.grant(hash).await.expect("the ledger reads");
        row.map_or((0, 0, 0), |row| (row.grant.left, row.grant.held, row.grant.spent))
    }

    async fn books_balance(&self) {
        self.app.ledger.barrier().await;
        let audit = self.app.ledger.audit().await.expect("an audit");
        assert!(audit.ok, "{audit:?}");
    }
}

async fn coded(response: Response) -> (u16, String) {
    let (status, code) = problem(response).await;
    (status.as_u16(), code)
}

fn is(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

/// A request to `/a`, and what `more` says.
fn asked(more: Value) -> Value {
    with(json!({ "service": "app", "path": "/a?b=c" }), more)
}

fn with(mut one: Value, more: Value) -> Value {
    let (all, more) = (one.as_object_mut().expect("an object"), more);
    all.extend(more.as_object().expect("an object").clone());
    one
}

fn end_of(hold: &Value, how: &str) -> String {
    format!("/api/v1/integration/holds/{}/{how}", hold["hold_id"].as_str().expect("an id"))
}

#[tokio::test]
async fn a_request_is_sold_verified_and_settled_once() {
    let shop = Shop::open().await;
    let offered = ok(shop.post(CHALLENGES, asked(json!({}))).await).await;
    assert_eq!((&offered["status"], &offered["amount_msat"]), (&json!(402), &json!(10_000)));
    assert_eq!(offered["body"]["code"], "payment_required");
    assert_eq!(offered["body"]["invoice"], offered["invoice"]);

    let (token, hash) = shop.buy(json!({})).await;
    let hold = shop.hold(&token, json!({})).await;
    assert_eq!(
        (&hold["kind"], &hold["units"], &hold["state"]),
        (&json!("request"), &json!(1), &json!("open"))
    );
    assert_eq!((&hold["payment_hash"], &hold["service"]), (&json!(hash), &json!("app")));
    assert_eq!(hold["expires_at"], shop.app.op.parts.clock.now().plus(Duration::from_secs(120)).millis());
    assert_eq!(shop.units(hash).await, (0, 1, 0));
    assert_eq!(shop.refused(&token, json!({})).await, is(409, "in_flight"));

    let settled = shop.end(&hold, "settle", json!({})).await;
    assert_eq!((&settled["state"], &settled["charged"]), (&json!("settled"), &json!(1)));
    assert_eq!(shop.units(hash).await, (0, 0, 1), "on disk when it answers");
    assert_eq!(shop.end(&hold, "settle", json!({})).await, settled, "told again it says the same");
    assert_eq!(shop.code(&end_of(&hold, "release"), json!({})).await, is(409, "hold_settled"));
    assert_eq!(shop.units(hash).await, (0, 0, 1));
    assert_eq!(shop.refused(&token, json!({})).await, is(402, "spent"));
    shop.books_balance().await;
}

/// An application's customers may pay by the `Payment` scheme, and have their receipt from it.
#[tokio::test]
async fn a_charge_is_offered_and_verified_for_an_application() {
    let shop = Shop::open().await;
    let offered = ok(shop.post(CHALLENGES, asked(json!({}))).await).await;
    let lines: Vec<&str> =
        offered["challenges"].as_array().expect("lines").iter().filter_map(Value::as_str).collect();
    assert_eq!(lines[0], offered["headers"]["WWW-Authenticate"]);
    let challenge = charge_client::parameters(lines[1]).expect("a charge");
    let shown = charge_client::answer(&challenge, |hash| shop.app.minter.preimage(hash));
    let hash: PaymentHash = offered["payment_hash"].as_str().expect("a hash").parse().expect("a hash");
    let hold = shop.hold(&charge_client::authorization(&shown), json!({})).await;
    let receipt = charge_client::unpacked(hold["payment_receipt"].as_str().expect("a receipt"));
    assert_eq!((&receipt["challengeId"], &receipt["reference"]), (&challenge["id"], &json!(hash)));
    shop.end(&hold, "settle", json!({})).await;
    assert_eq!(shop.units(hash).await, (0, 0, 1));
    assert_eq!(shop.refused(&charge_client::authorization(&shown), json!({})).await, is(402, "spent"));
    let (token, _) = shop.buy(json!({})).await;
    assert_eq!(shop.hold(&token, json!({})).await["payment_receipt"], Value::Null);
    // What cannot be said in the scheme is not.
    let pack = ok(shop.post(CHALLENGES, asked(json!({ "offer": "pack" }))).await).await;
    assert_eq!(pack["challenges"].as_array().map(Vec::len), Some(1));
    shop.books_balance().await;
}

#[tokio::test]
async fn what_is_released_is_the_customers_again() {
    let shop = Shop::open().await;
    let (token, hash) = shop.buy(json!({})).await;
    let hold = shop.hold(&token, json!({})).await;
    let released = shop.end(&hold, "release", json!({})).await;
    assert_eq!(released["state"], "released");
    assert_eq!(shop.units(hash).await, (1, 0, 0));
    assert_eq!(shop.end(&hold, "release", json!({})).await, released);
    assert_eq!(shop.code(&end_of(&hold, "settle"), json!({})).await, is(409, "hold_released"));
    assert_eq!(shop.units(hash).await, (1, 0, 0), "a released hold charges nothing");
    let again = shop.hold(&token, json!({})).await;
    assert_ne!(again["hold_id"], hold["hold_id"]);
    shop.end(&again, "settle", json!({})).await;
    assert_eq!(shop.units(hash).await, (0, 0, 1));
    shop.books_balance().await;
}

#[tokio::test]
async fn a_balance_pays_what_it_actually_cost() {
    let shop = Shop::open().await;
    let (token, hash) = shop.buy(json!({ "offer": "credit" })).await;
    let hold = shop.hold(&token, json!({ "ceiling": "40 sat" })).await;
    assert_eq!((&hold["unit"], &hold["units"]), (&json!("msat"), &json!(40_000)));
    assert_eq!(shop.units(hash).await, (60_000, 40_000, 0));
    // A second one beside it, of what is left.
    let other = shop.hold(&token, json!({ "amount": "250 msat" })).await;
    assert_eq!(other["units"], 250);

    let too_much = shop.code(&end_of(&hold, "settle"), json!({ "actual_msat": 40_001 })).await;
    assert_eq!(too_much, is(422, "more_than_held"));
    assert_eq!(shop.units(hash).await, (59_750, 40_250, 0), "the hold is as it was");
    let settled = shop.end(&hold, "settle", json!({ "actual_msat": 1_234 })).await;
    assert_eq!((&settled["charged"], shop.units(hash).await), (&json!(1_234), (98_516, 250, 1_234)));
    assert_eq!(shop.end(&hold, "settle", json!({ "actual_msat": 1_234 })).await, settled);
    assert_eq!(
        shop.code(&end_of(&hold, "settle"), json!({ "actual_msat": 2_000 })).await,
        is(409, "hold_settled"),
        "another amount is another settlement"
    );
    let whole = shop.end(&other, "settle", json!({})).await;
    assert_eq!((&whole["charged"], shop.units(hash).await), (&json!(250), (98_516, 0, 1_484)));
    // By the route's own terms, and more than is left.
    let by_terms = shop.hold(&token, json!({})).await;
    assert_eq!(by_terms["units"], 10_000);
    let free = shop.end(&by_terms, "settle", json!({ "actual_msat": 0 })).await;
    assert_eq!(free["charged"], 0);
    assert_eq!(shop.refused(&token, json!({ "amount": "99 sat" })).await, is(402, "balance_too_small"));
    assert_eq!(shop.units(hash).await, (98_516, 0, 1_484));
    shop.books_balance().await;
}

#[tokio::test]
async fn a_price_that_the_application_names_is_what_is_sold() {
    let shop = Shop::open().await;
    let (token, _) = shop.buy(json!({ "amount": "7 sat" })).await;
    assert_eq!(shop.refused(&token, json!({ "amount": "8 sat" })).await, is(402, "price_changed"));
    assert_eq!(shop.refused(&token, json!({})).await, is(402, "price_changed"), "the terms ask 10 sat");
    assert_eq!(shop.refused(&token, json!({ "ceiling": "7001 msat" })).await, is(402, "price_changed"));
    let hold = shop.hold(&token, json!({ "amount": "6 sat" })).await;
    assert_eq!(shop.end(&hold, "settle", json!({ "actual_msat": 1 })).await["charged"], 1, "one request");

    let (pack, hash) = shop.buy(json!({ "offer": "pack" })).await;
    for left in [2, 1, 0] {
        let hold = shop.hold(&pack, json!({})).await;
        assert_eq!(hold["left"], left);
        shop.end(&hold, "settle", json!({})).await;
    }
    assert_eq!(shop.units(hash).await, (0, 0, 3));
    assert_eq!(shop.refused(&pack, json!({})).await, is(402, "spent"));
    shop.books_balance().await;
}

/// A pass pays what the price list has, and not whatever an application asks beside it.
#[tokio::test]
async fn a_pass_does_not_pay_an_applications_own_price() {
    let shop = Shop::open().await;
    let (token, _) = shop.buy(json!({ "offer": "pass" })).await;
    for price in [json!({ "amount": "5000 sat" }), json!({ "ceiling": "1 sat" })] {
        assert_eq!(shop.refused(&token, price).await, is(402, "wrong_route"));
    }
    let hold = shop.hold(&token, json!({})).await;
    assert_eq!(hold["kind"], "pass");
}

#[tokio::test]
async fn one_unit_verified_by_many_at_once_is_one_hold() {
    let shop = Shop::open().await;
    let (token, hash) = shop.buy(json!({})).await;
    let ask = with(asked(json!({})), json!({ "authorization": token }));
    let answers = join_all((0..64).map(|_| shop.post(VERIFY, ask.clone()))).await;
    let mut held = Vec::new();
    for answer in answers {
        match answer.status() {
            StatusCode::OK => held.push(ok(answer).await),
            _ => assert_eq!(coded(answer).await, is(409, "in_flight")),
        }
    }
    assert_eq!((held.len(), shop.units(hash).await), (1, (0, 1, 0)));
    let path = end_of(&held[0], "settle");
    let settled = join_all((0..16).map(|_| shop.post(&path, json!({})))).await;
    assert!(settled.iter().all(|answer| answer.status() == StatusCode::OK));
    assert_eq!(shop.units(hash).await, (0, 0, 1), "settled once");
    shop.books_balance().await;
}

#[tokio::test]
async fn a_hold_that_nobody_settles_goes_back_in_time() {
    let shop = Shop::open().await;
    let (token, hash) = shop.buy(json!({})).await;
    let hold = shop.hold(&token, json!({ "hold_seconds": 30 })).await;
    assert_eq!(shop.refused(&token, json!({ "hold_seconds": 3_601 })).await, is(400, "bad_hold_seconds"));
    assert_eq!(shop.refused(&token, json!({ "hold_seconds": 0 })).await, is(400, "bad_hold_seconds"));
    shop.app.clock.advance(Duration::from_secs(29));
    assert_eq!(shop.refused(&token, json!({})).await, is(409, "in_flight"));
    shop.app.clock.advance(Duration::from_secs(1));
    assert_eq!(shop.code(&end_of(&hold, "settle"), json!({})).await, is(409, "hold_expired"), "too late");
    assert_eq!(shop.units(hash).await, (1, 0, 0));
    let look = format!("/api/v1/integration/holds/{}", hold["hold_id"].as_str().expect("an id"));
    assert_eq!(ok(shop.app.read(&look, &shop.key).await).await["state"], "expired");

    // Without anybody asking, too.
    shop.hold(&token, json!({})).await;
    let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
    tracker.spawn(Arc::clone(&shop.app.op.parts.custody).watch(stop.clone()));
    let mut news = shop.app.ledger.watch();
    shop.app.clock.advance(Duration::from_secs(120));
    tokio::time::timeout(PATIENCE, async {
        while shop.units(hash).await != (1, 0, 0) {
            news.changed().await.expect("the ledger is open");
        }
    })
    .await
    .expect("it goes back");

    // At shutdown everything goes back, and nothing more is taken.
    let hold = shop.hold(&token, json!({})).await;
    stop.cancel();
    tracker.close();
    tracker.wait().await;
    assert_eq!(shop.units(hash).await, (1, 0, 0));
    assert_eq!(shop.code(&end_of(&hold, "settle"), json!({})).await, is(409, "hold_expired"));
    assert_eq!(shop.refused(&token, json!({})).await, is(503, "stopping"));
    assert_eq!(shop.units(hash).await, (1, 0, 0));
    shop.books_balance().await;
}

#[tokio::test]
async fn nobody_releases_another_keys_hold() {
    let shop = Shop::open().await;
    let (token, hash) = shop.buy(json!({})).await;
    let hold = shop.hold(&token, json!({})).await;
    let stranger = shop.app.key(&[Scope::Integrate]).await;
    let admin = shop.app.key(&[Scope::Admin]).await;
    let unknown = is(404, "unknown_hold");
    let look = format!("/api/v1/integration/holds/{}", hold["hold_id"].as_str().expect("an id"));
    for other in [&stranger, &admin] {
        for how in ["settle", "release"] {
            let answer = shop.app.change(&end_of(&hold, how), other, json!({})).await;
            assert_eq!(coded(answer).await, unknown, "{how}");
        }
        assert_eq!(coded(shop.app.read(&look, other).await).await, unknown);
    }
    for id in ["0".repeat(32), "x".to_owned(), "0".repeat(31)] {
        let path = format!("/api/v1/integration/holds/{id}/settle");
        assert_eq!(shop.code(&path, json!({})).await, unknown, "{id}");
    }
    assert_eq!(shop.units(hash).await, (0, 1, 0), "it is as it was");
    shop.end(&hold, "settle", json!({})).await;
    let answer = shop.app.change(&end_of(&hold, "settle"), &stranger, json!({})).await;
    assert_eq!(coded(answer).await, unknown, "ended ones are nobody else's either");
    shop.books_balance().await;
}

#[tokio::test]
async fn the_key_of_an_application_opens_nothing_else() {
    let shop = Shop::open().await;
    let denied = is(403, "missing_scope");
    for path in ["/api/v1/status", "/api/v1/payments", "/api/v1/events", "/api/v1/keys"] {
        assert_eq!(coded(shop.app.read(path, &shop.key).await).await, denied, "{path}");
    }
    for path in ["/api/v1/payments/send", "/api/v1/onchain/address", "/api/v1/channels", "/api/v1/keys"] {
        assert_eq!(shop.code(path, json!({})).await, denied, "{path}");
    }
    for scope in [Scope::Read, Scope::Pay, Scope::ForwardAuth] {
        let key = shop.app.key(&[scope]).await;
        for path in [CHALLENGES, VERIFY] {
            assert_eq!(coded(shop.app.change(path, &key, asked(json!({}))).await).await, denied, "{scope:?}");
        }
    }
    let session = shop.app.claimed().await;
    let request = shop.app.post(CHALLENGES).header("cookie", session).json(&asked(json!({})));
    assert_eq!(coded(request.send().await.expect("an answer")).await, is(403, "key_required"));
    let nobody = shop.app.post(VERIFY).json(&asked(json!({}))).send().await.expect("an answer");
    assert_eq!(coded(nobody).await, is(401, "unauthenticated"));
}

#[tokio::test]
async fn a_credential_that_is_not_good_holds_nothing() {
    let shop = Shop::open().await;
    let verify = |more: Value| shop.code(VERIFY, asked(more));
    assert_eq!(verify(json!({})).await, is(402, "payment_required"));
    assert_eq!(verify(json!({ "authorization": "Bearer x" })).await, is(402, "payment_required"));
    assert_eq!(verify(json!({ "authorization": "L402 !" })).await, is(400, "macaroon_not_base64"));
    assert_eq!(verify(json!({ "authorization": "L402 \u{1}" })).await.0, 400);
    let (token, hash) = shop.buy(json!({})).await;
    let (head, preimage) = token.rsplit_once(':').expect("a credential");
    let wrong = format!("{head}:{}", "0".repeat(64));
    assert_eq!(shop.refused(&wrong, json!({})).await, is(402, "preimage_mismatch"));
    assert_eq!(shop.refused(head, json!({})).await, is(402, "preimage_missing"));
    assert_eq!(shop.refused(&token, json!({ "path": "/dear" })).await, is(402, "price_changed"));
    shop.app.ledger.revoke(hash).await.expect("revoked");
    assert_eq!(shop.refused(&token, json!({})).await, is(402, "revoked"));
    assert!(!preimage.is_empty());

    for (more, answer) in [
        (json!({ "service": "nobody" }), is(404, "unknown_service")),
        (json!({ "service": "No Name" }), is(400, "bad_body")),
        (json!({ "path": "/free" }), is(422, "not_charged")),
        (json!({ "path": "a" }), is(400, "bad_path")),
        (json!({ "path": "/free/../a" }), is(400, "bad_path")),
        (json!({ "path": "/a#b" }), is(400, "bad_path")),
        (json!({ "method": "BREW" }), is(405, "method_not_allowed")),
        (json!({ "method": "" }), is(400, "method_not_allowed")),
        (json!({ "host": "a b" }), is(400, "bad_host")),
        (json!({ "headers": { "a b": "c" } }), is(400, "bad_header")),
        (json!({ "amount": "1 sat", "ceiling": "1 sat" }), is(400, "bad_amount")),
        (json!({ "amount": "-1 sat" }), is(400, "bad_amount")),
        (json!({ "amount": "0 sat" }), is(503, "price_zero")),
        (json!({ "amount": "1 USD" }), is(503, "rate_unknown")),
        (json!({ "surprise": 1 }), is(400, "bad_body")),
    ] {
        assert_eq!(shop.code(CHALLENGES, asked(more.clone())).await, answer, "{more}");
        assert_eq!(shop.refused(&token, more.clone()).await, answer, "{more}");
    }
    assert_eq!(shop.code(CHALLENGES, asked(json!({ "offer": "nothing" }))).await, is(422, "no_such_offer"));
    assert_eq!(shop.code(CHALLENGES, asked(json!({ "authorization": "x" }))).await, is(400, "bad_body"));
    shop.app.minter.can_receive.store(false, Ordering::SeqCst);
    assert_eq!(shop.code(CHALLENGES, asked(json!({}))).await, is(503, "cannot_receive"));
    shop.books_balance().await;
}

#[tokio::test]
async fn a_key_has_a_bounded_number_of_open_holds() {
    let shop = Shop::open().await;
    let (token, hash) = shop.buy(json!({ "offer": "credit" })).await;
    let ask = with(asked(json!({ "amount": "1 msat" })), json!({ "authorization": token }));
    let answers = join_all((0..300).map(|_| shop.post(VERIFY, ask.clone()))).await;
    let mut held = Vec::new();
    for answer in answers {
        match answer.status() {
            StatusCode::OK => held.push(ok(answer).await),
            _ => assert_eq!(coded(answer).await, is(429, "too_many_holds")),
        }
    }
    assert_eq!((held.len(), shop.units(hash).await), (256, (99_744, 256, 0)), "no more was debited");
    // Another application has its own, and room comes back.
    let other = shop.app.key(&[Scope::Integrate]).await;
    ok(shop.app.change(VERIFY, &other, ask.clone()).await).await;
    shop.end(&held[0], "release", json!({})).await;
    shop.hold(&token, json!({ "amount": "1 msat" })).await;
    assert_eq!(shop.refused(&token, json!({ "amount": "1 msat" })).await, is(429, "too_many_holds"));
    // What is refused for another reason gives its room back.
    shop.end(&held[1], "settle", json!({})).await;
    for _ in 0..3 {
        assert_eq!(shop.refused(&token, json!({ "amount": "1000 sat" })).await, is(402, "balance_too_small"));
    }
    shop.hold(&token, json!({ "amount": "1 msat" })).await;
    shop.app.clock.advance(Duration::from_secs(121));
    shop.hold(&token, json!({ "amount": "1 msat" })).await;
    assert_eq!(shop.units(hash).await, (99_998, 1, 1), "all others ran out");
    shop.books_balance().await;
}

#[tokio::test]
async fn a_crash_gives_back_what_was_held_once() {
    let shop = Shop::open().await;
    let (token, hash) = shop.buy(json!({})).await;
    let pass = shop.buy(json!({ "offer": "pass" })).await;
    let opened = shop.hold(&pass.0, json!({})).await;
    assert_eq!(shop.end(&opened, "settle", json!({})).await["state"], "settled");
    shop.hold(&token, json!({})).await;
    assert_eq!(shop.units(hash).await, (0, 1, 0));
    // The file as a kill would leave it, opened by the next start.
    let copy = tempfile::TempDir::new().expect("a folder");
    for name in ["ledger.db", "ledger.db-wal"] {
        std::fs::copy(shop.app.dir.path().join(name), copy.path().join(name)).expect("copied");
    }
    let next =
        tollhouse::store::Ledger::open(&copy.path().join("ledger.db"), shop.app.op.parts.clock.clone());
    let (next, found) = next.expect("it opens");
    assert_eq!((found.clean, found.crash_restored, found.crash_charged), (false, 1, 0));
    let row = next.grant(hash).await.expect("the ledger reads").expect("the grant");
    assert_eq!((row.grant.left, row.grant.held), (1, 0));
    assert!(next.audit().await.expect("an audit").ok);
    next.close().await.expect("closed");
}

/// A route may have any name; a pass of its offers is still no payment of what an application asks beside
/// the price list.
#[tokio::test]
async fn no_pass_pays_what_an_application_asks() {
    let mut service = service();
    let own = Terms {
        scope: "application".parse().expect("a name"),
        offers: service.terms.offers.clone(),
        ..sat(10)
    };
    let path = PathPattern::Under("/application".to_owned());
    service.routes.push(Route::new("application".parse().expect("a name"), None, path, own));
    let app = AdminApp::selling(vec![service]).await;
    let key = app.key(&[Scope::Integrate]).await;
    let shop = Shop { app, key };
    let (pass, hash) = shop.buy(json!({ "path": "/application", "offer": "pass" })).await;
    for path in ["/application", "/a"] {
        let refused = shop.refused(&pass, json!({ "path": path, "amount": "9000 sat" })).await;
        assert_eq!(refused, is(402, "wrong_route"), "{path}");
    }
    assert_eq!(shop.units(hash).await, (0, 0, 0));
    shop.hold(&pass, json!({ "path": "/application" })).await;
    shop.books_balance().await;
}

/// MONEY 12 for an application: it charges a limited copy as far as its limits go.
#[tokio::test]
async fn a_limited_copy_is_held_and_charged_within_its_limits() {
    let shop = Shop::open().await;
    let (token, hash) = shop.buy(json!({ "offer": "credit" })).await;
    let copy = narrowed(&token, &["budget_id=a", "max_spend_msat=15000", "max_uses=2"]);
    let most = |amount: &str| json!({ "amount": amount });
    let held = shop.hold(&copy, most("12 sat")).await;
    assert_eq!((&held["units"], &held["left"]), (&json!(12_000), &json!(3_000)));
    assert_eq!(shop.refused(&copy, most("12 sat")).await, is(409, "in_flight"));
    let ended = shop.end(&held, "settle", json!({ "actual_msat": 4_000 })).await;
    assert_eq!((&ended["charged"], &ended["left"]), (&json!(4_000), &json!(11_000)));
    assert_eq!(shop.refused(&copy, most("12 sat")).await, is(402, "budget_exhausted"));
    let held = shop.hold(&copy, most("11 sat")).await;
    shop.end(&held, "release", json!({})).await;
    let held = shop.hold(&copy, most("1 sat")).await;
    assert_eq!(shop.end(&held, "settle", json!({})).await["left"], 0, "no use is left");
    assert_eq!(shop.refused(&copy, most("1 sat")).await, is(402, "uses_exhausted"));
    assert_eq!(shop.units(hash).await, (95_000, 0, 5_000));
    shop.books_balance().await;
}
