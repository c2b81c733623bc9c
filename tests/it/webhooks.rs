//! Webhooks as a receiver, an operator and an attacker see them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderMap, Method, StatusCode};
use ring::hmac;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tollhouse::clock::SystemEntropy;
use tollhouse::egress::{Egress, Reach};
use tollhouse::event::Event;
use tollhouse::store::{DeliveryFilter, Ledger};
use tollhouse::types::{Msat, PaymentHash};
use tollhouse::web::keys::Scope;
use tollhouse::webhooks::{WebhookAsk, WebhookError, Webhooks, WebhooksConfig, WebhooksParts};

use crate::admin_app::AdminApp;
use crate::appliance::PATIENCE;
use crate::egress::Names;

/// What a receiver got.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    pub(crate) id: String,
    pub(crate) at: u64,
    signature: String,
    body: Bytes,
    /// The status it was answered with; 0 is none.
    pub(crate) answered: u16,
}

impl Got {
    pub(crate) fn told(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    /// Checks as a receiver's library would, from the words of the standard.
    pub(crate) fn is_signed_with(&self, secret: &str) -> bool {
        let key = secret.strip_prefix("whsec_").expect("a secret's prefix");
        let key = hmac::Key::new(hmac::HMAC_SHA256, &BASE64_STANDARD.decode(key).expect("base64"));
        let said = [format!("{}.{}.", self.id, self.at).as_bytes(), &self.body].concat();
        let mut signatures = self.signature.split(' ').filter_map(|one| one.strip_prefix("v1,"));
        signatures.any(|one| {
            let one = BASE64_STANDARD.decode(one).expect("base64");
            hmac::verify(&key, &said, &one).is_ok()
        })
    }
}

/// An endpoint on the loopback. It answers 200 unless it is told otherwise.
pub(crate) struct Receiver {
    pub(crate) url: String,
    got: watch::Receiver<Vec<Got>>,
    answers: Arc<Mutex<VecDeque<u16>>>,
    _tasks: TaskTracker,
}

type Shared = (Arc<watch::Sender<Vec<Got>>>, Arc<Mutex<VecDeque<u16>>>);

async fn take(State((told, answers)): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    let text = |name: &str| headers[name].to_str().expect("readable").to_owned();
    assert_eq!(text("content-type"), "application/json");
    let answer = {
        let mut answers = answers.lock().expect("no test panics here");
        // The last word stays.
        if answers.len() > 1 { answers.pop_front() } else { answers.front().copied() }
    };
    let got = Got {
        answered: answer.unwrap_or(200),
        id: text("webhook-id"),
        at: text("webhook-timestamp").parse().expect("seconds"),
        signature: text("webhook-signature"),
        body,
    };
    told.send_modify(|all| all.push(got));
    match answer {
        Some(0) => std::future::pending().await,
        Some(302) => (StatusCode::FOUND, [("location", "/")]).into_response(),
        answer => StatusCode::from_u16(answer.unwrap_or(200)).expect("a status").into_response(),
    }
}

impl Receiver {
    pub(crate) async fn start(answers: &[u16]) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("bound"));
        let (told, got) = watch::channel(Vec::new());
        let answers = Arc::new(Mutex::new(answers.iter().copied().collect()));
        let shared = (Arc::new(told), Arc::clone(&answers));
        let router = Router::new().route("/", post(take)).with_state(shared);
        let tasks = TaskTracker::new();
        tasks.spawn(async move { axum::serve(listener, router).await });
        Receiver { url, got, answers, _tasks: tasks }
    }

    /// From now on it answers this.
    pub(crate) fn answer(&self, status: u16) {
        *self.answers.lock().expect("no test panics here") = VecDeque::from([status]);
    }

    /// Everything it got, once that is enough.
    pub(crate) async fn got(&self, enough: impl FnMut(&Vec<Got>) -> bool) -> Vec<Got> {
        let mut got = self.got.clone();
        let waited = tokio::time::timeout(PATIENCE, got.wait_for(enough)).await;
        waited.expect("it arrives in time").expect("the receiver runs").clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.got.borrow().len()
    }
}

fn paid(n: u8) -> Event {
    Event::PaymentReceived {
        payment_hash: PaymentHash::from_bytes([n; 32]),
        amount_msat: Msat::from_sat(5).expect("in range"),
        service: None,
        route: None,
        over_msat: Msat::ZERO,
        opening_fee_msat: Msat::ZERO,
        late: false,
    }
}

fn revoked(n: u8) -> Event {
    Event::TokenRevoked { payment_hash: PaymentHash::from_bytes([n; 32]), units: 1 }
}

/// The operator's side of the API.
struct Desk {
    app: AdminApp,
    key: String,
}

impl Desk {
    async fn open() -> Desk {
        let app = AdminApp::start().await;
        let key = app.key(&[Scope::Admin]).await;
        Desk { app, key }
    }

    async fn ask(&self, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
        let url = format!("{}{path}", self.app.origin);
        let request = self.app.client.request(method, url).bearer_auth(&self.key).json(&body);
        let answer = request.send().await.expect("an answer");
        let status = answer.status();
        let body = answer.bytes().await.expect("a body");
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    async fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask(Method::GET, path, json!({})).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        body
    }

    /// The endpoint's number and secret.
    async fn add(&self, url: &str, topics: &[&str]) -> (i64, String) {
        let ask = json!({ "url": url, "label": "a receiver", "topics": topics, "allow_private": true });
        let (status, made) = self.ask(Method::POST, "/api/v1/webhooks", ask).await;
        assert_eq!(status, StatusCode::CREATED, "{made}");
        (made["id"].as_i64().expect("a number"), made["secret"].as_str().expect("a secret").to_owned())
    }

    async fn happens(&self, event: Event) {
        self.app.ledger.log(event).await.expect("logged");
    }

    /// The delivery log, once it is as wanted.
    async fn deliveries(&self, query: &str, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        crate::appliance::until("the delivery log to be as wanted", async || {
            let listed = self.get(&format!("/api/v1/deliveries{query}")).await;
            let rows = listed["deliveries"].as_array().expect("rows").clone();
            wanted(&rows).then_some(rows)
        })
        .await
    }

    /// Time passes, and the courier hears of it by something that no endpoint chose.
    async fn later(&self, span: Duration) {
        self.app.clock.advance(span);
        self.happens(Event::UnitsExpired { payment_hash: PaymentHash::from_bytes([0; 32]), units: 1 }).await;
    }
}

#[tokio::test]
async fn what_was_chosen_arrives_signed_and_nothing_else() {
    let desk = Desk::open().await;
    desk.happens(paid(1)).await;
    let (some, all) = (Receiver::start(&[]).await, Receiver::start(&[]).await);
    let (_, secret) = desk.add(&some.url, &["payment.received", "unit.restored"]).await;
    let (_, other) = desk.add(&all.url, &[]).await;
    assert_ne!(secret, other);
    for n in 2..=4 {
        desk.happens(paid(n)).await;
        desk.happens(revoked(n)).await;
    }
    let got = all.got(|got| got.len() == 6).await;
    assert!(got.iter().all(|got| got.is_signed_with(&other) && !got.is_signed_with(&secret)));
    let got = some.got(|got| got.len() == 3).await;
    for got in &got {
        assert!(got.is_signed_with(&secret));
        let told = got.told();
        assert_eq!(told["type"], "payment.received", "{told}");
        assert_eq!(told["timestamp"], "2025-10-09T08:53:20Z", "{told}");
        assert_eq!((&told["data"]["amount_msat"], &told["data"]["service"]), (&json!(5_000), &Value::Null));
        let forged = Got { body: Bytes::from(got.told().to_string().replace("5000", "9000")), ..got.clone() };
        assert!(!forged.is_signed_with(&secret));
    }
    let hashes: Vec<Value> = got.iter().map(|got| got.told()["data"]["payment_hash"].clone()).collect();
    for n in 2..=4_u8 {
        assert!(
            hashes.contains(&json!(PaymentHash::from_bytes([n; 32]))),
            "what was before is not sent: {hashes:?}"
        );
    }
    desk.deliveries("?state=delivered", |rows| rows.len() == 9).await;
    let listed = desk.get("/api/v1/webhooks").await;
    assert!(!listed.to_string().contains("whsec_"), "a secret is shown once: {listed}");
    assert_eq!(listed["webhooks"][0]["waiting"], 0);
}

#[tokio::test]
async fn a_failing_endpoint_is_tried_for_a_day_then_parked_and_can_have_it_again() {
    let desk = Desk::open().await;
    let receiver = Receiver::start(&[500, 301, 404, 503]).await;
    let (id, secret) = desk.add(&receiver.url, &["payment.received"]).await;
    desk.happens(paid(1)).await;
    let mut tries = 1;
    loop {
        let rows = desk.deliveries("", |rows| rows.len() == 1 && rows[0]["attempts"] == tries).await;
        if rows[0]["state"] == "parked" {
            break;
        }
        assert_eq!(rows[0]["state"], "waiting", "{rows:?}");
        let next = rows[0]["next_at"].as_u64().expect("a moment");
        assert!(next > rows[0]["updated_at"].as_u64().expect("a moment"), "{rows:?}");
        let pause = next - rows[0]["updated_at"].as_u64().expect("a moment");
        desk.later(Duration::from_millis(pause - 1)).await;
        assert_eq!(receiver.count(), tries, "not before its time");
        desk.later(Duration::from_millis(1)).await;
        tries += 1;
    }
    assert_eq!((tries, receiver.count()), (11, 11));
    let [parked] = &desk.deliveries("?state=parked", |rows| !rows.is_empty()).await[..] else {
        panic!("one")
    };
    assert_eq!((&parked["last_status"], &parked["last_error"]), (&json!(503), &json!("it answers 503")));
    let spent =
        parked["updated_at"].as_u64().expect("a moment") - parked["created_at"].as_u64().expect("a moment");
    assert!((23..=27).contains(&(spent / 3_600_000)), "{spent} ms");

    receiver.answer(204);
    let redeliver = format!("/api/v1/deliveries/{}/redeliver", parked["id"]);
    assert_eq!(desk.ask(Method::POST, &redeliver, json!({})).await.0, StatusCode::ACCEPTED);
    let got = receiver.got(|got| got.len() == 12).await;
    assert!(
        got.iter().all(|each| each.id == got[0].id && each.is_signed_with(&secret)),
        "one message, signed anew"
    );
    assert!(got[11].at > got[0].at + 20 * 3_600, "the signature's moment is that of the try");
    desk.deliveries("?state=delivered", |rows| rows.len() == 1).await;
    assert_eq!(desk.get("/api/v1/webhooks").await["webhooks"][0]["parked"], 0);
    let unknown = desk.ask(Method::POST, "/api/v1/deliveries/99/redeliver", json!({})).await;
    assert_eq!((unknown.0, &unknown.1["code"]), (StatusCode::NOT_FOUND, &json!("unknown_delivery")));
    let other = desk.get(&format!("/api/v1/deliveries?webhook={}", id + 1)).await;
    assert_eq!(other["deliveries"], json!([]));
}

#[tokio::test]
async fn one_endpoint_s_silence_delays_no_other_and_410_ends_it() {
    let desk = Desk::open().await;
    let (silent, gone, well) =
        (Receiver::start(&[0]).await, Receiver::start(&[410]).await, Receiver::start(&[]).await);
    for receiver in [&silent, &gone] {
        desk.add(&receiver.url, &["payment.received"]).await;
    }
    desk.add(&well.url, &["payment.received"]).await;
    for n in 0..20 {
        desk.happens(paid(n)).await;
    }
    well.got(|got| got.len() == 20).await;
    assert!(silent.count() <= 4, "only so many are on their way to one endpoint");
    desk.deliveries("?state=parked", |rows| !rows.is_empty()).await;
    let listed = desk.get("/api/v1/webhooks").await;
    assert_eq!(listed["webhooks"][1]["disabled_why"], "the endpoint answered 410 Gone", "{listed}");
    assert!(listed["webhooks"][2]["disabled_at"].is_null());
    let told = gone.count();
    desk.happens(paid(21)).await;
    well.got(|got| got.len() == 21).await;
    assert_eq!(gone.count(), told);
}

#[tokio::test]
async fn an_endpoint_is_switched_off_and_on_tested_and_removed() {
    let desk = Desk::open().await;
    let receiver = Receiver::start(&[]).await;
    let (id, secret) = desk.add(&receiver.url, &["payment.received"]).await;
    let post =
        async |path: &str| desk.ask(Method::POST, &format!("/api/v1/webhooks/{id}/{path}"), json!({})).await;
    let (status, tested) = post("test").await;
    assert_eq!(
        (status, &tested["delivered"], &tested["status"]),
        (StatusCode::OK, &json!(true), &json!(200))
    );
    let got = receiver.got(|got| got.len() == 1).await;
    assert!(got[0].is_signed_with(&secret) && got[0].told()["type"] == "webhook.test");

    assert_eq!(post("disable").await.0, StatusCode::NO_CONTENT);
    desk.happens(paid(1)).await;
    assert_eq!(post("enable").await.0, StatusCode::NO_CONTENT);
    desk.happens(paid(2)).await;
    let got = receiver.got(|got| got.len() == 2).await;
    assert_eq!(got[1].told()["data"]["payment_hash"], json!(PaymentHash::from_bytes([2; 32])));

    receiver.answer(500);
    let (_, tested) = post("test").await;
    assert_eq!((&tested["delivered"], &tested["error"]), (&json!(false), &json!("it answers 500")));
    // Tests stand among the deliveries, are of no event, and are not made again by themselves.
    let listed = desk.get("/api/v1/deliveries").await["deliveries"].clone();
    let tests: Vec<_> =
        listed.as_array().expect("a list").iter().filter(|row| row["event"].is_null()).collect();
    let told = |row: &Value| (row["topic"].clone(), row["state"].clone(), row["last_status"].clone());
    assert_eq!(tests.len(), 2, "{listed}");
    assert_eq!(told(tests[0]), (json!("webhook.test"), json!("parked"), json!(500)));
    assert_eq!(told(tests[1]), (json!("webhook.test"), json!("delivered"), json!(200)));
    let again = format!("/api/v1/deliveries/{}/redeliver", tests[0]["id"]);
    assert_eq!(desk.ask(Method::POST, &again, json!({})).await.1["code"], "unknown_delivery");
    desk.happens(paid(3)).await;
    receiver.got(|got| got.len() == 4).await;
    let path = format!("/api/v1/webhooks/{id}");
    assert_eq!(desk.ask(Method::DELETE, &path, json!({})).await.0, StatusCode::NO_CONTENT);
    assert_eq!(desk.get("/api/v1/deliveries").await["deliveries"], json!([]));
    for (method, path) in [(Method::DELETE, path.clone()), (Method::POST, format!("{path}/test"))] {
        let (status, told) = desk.ask(method, &path, json!({})).await;
        assert_eq!((status, &told["code"]), (StatusCode::NOT_FOUND, &json!("unknown_webhook")));
    }
}

#[tokio::test]
async fn what_makes_no_sense_or_leads_inside_is_not_made() {
    let desk = Desk::open().await;
    let receiver = Receiver::start(&[]).await;
    let port = receiver.url.rsplit(':').next().expect("a port").trim_end_matches('/').to_owned();
    let add = async |url: &str, more: Value| {
        let mut ask = json!({ "url": url, "label": "x" });
        ask.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        let (status, told) = desk.ask(Method::POST, "/api/v1/webhooks", ask).await;
        (status.as_u16(), told["code"].as_str().unwrap_or_default().to_owned())
    };
    let refused = |status: u16, code: &str| (status, code.to_owned());
    // Of those that are made, none is to hear of the next one.
    let private = json!({ "allow_private": true, "topics": ["payment.received"] });
    for inside in
        ["127.0.0.1", "[::ffff:127.0.0.1]", "[::1]", "2130706433", "localhost", "10.0.0.1", "[fd00::1]"]
    {
        let url = format!("https://{inside}:{port}/");
        assert_eq!(add(&url, json!({})).await, refused(422, "forbidden_address"), "{url}");
    }
    for never in [
        "http://169.254.169.254/latest",
        "http://[::ffff:169.254.169.254]/",
        "http://0.0.0.0/",
        "http://[fe80::1]/",
    ] {
        assert_eq!(add(never, private.clone()).await, refused(422, "forbidden_address"), "{never}");
    }
    assert_eq!(add("http://example.com/", json!({})).await, refused(422, "bad_url"));
    assert_eq!(add("ftp://example.com/", private.clone()).await, refused(422, "bad_url"));
    assert_eq!(add("hello", json!({})).await, refused(400, "bad_url"));
    let unknown = json!({ "allow_private": true, "topics": ["payment.recieved"] });
    assert_eq!(add(&receiver.url, unknown).await, refused(400, "bad_topic"));
    assert_eq!(
        add(&receiver.url, json!({ "label": "", "allow_private": true })).await,
        refused(400, "bad_label")
    );
    assert_eq!(add(&receiver.url, json!({ "secret": "mine" })).await, refused(400, "bad_body"));
    for _ in 0..50 {
        assert_eq!(add(&receiver.url, private.clone()).await, (201, String::new()));
    }
    assert_eq!(add(&receiver.url, private).await, refused(422, "too_many_webhooks"));

    let read = desk.app.key(&[Scope::Read]).await;
    let reader = Desk { key: read, app: desk.app };
    assert_eq!(reader.ask(Method::GET, "/api/v1/webhooks", json!({})).await.0, StatusCode::OK);
    for (method, path) in [
        (Method::POST, "/api/v1/webhooks"),
        (Method::DELETE, "/api/v1/webhooks/1"),
        (Method::POST, "/api/v1/webhooks/1/enable"),
        (Method::POST, "/api/v1/webhooks/1/disable"),
        (Method::POST, "/api/v1/webhooks/1/test"),
        (Method::POST, "/api/v1/deliveries/1/redeliver"),
    ] {
        assert_eq!(reader.ask(method, path, json!({})).await.0, StatusCode::FORBIDDEN, "{path}");
    }
    assert_eq!(receiver.count(), 0);
}

#[tokio::test]
async fn a_name_that_turns_inside_after_it_was_saved_gets_nothing() {
    let desk = Desk::open().await;
    let receiver = Receiver::start(&[302]).await;
    let port = receiver.url.rsplit(':').next().expect("a port").trim_end_matches('/').to_owned();
    let rebinding = Names::of(&[&["93.184.216.34"], &["127.0.0.1"]]);
    // On a ledger of its own, where no other courier is at work.
    let path = desk.app.dir.path().join("other.db");
    let (ledger, _) = Ledger::open(&path, desk.app.clock.clone()).expect("a ledger");
    let parts = WebhooksParts {
        ledger: ledger.clone(),
        egress: Arc::new(Egress::new(rebinding).expect("a client")),
        clock: desk.app.clock.clone(),
        entropy: SystemEntropy::new(),
    };
    let webhooks = Arc::new(Webhooks::new(parts, WebhooksConfig::default()));
    let ask = |url: String, reach| WebhookAsk { url, topics: Vec::new(), label: "x".to_owned(), reach };
    let url = format!("https://rebinding.example:{port}/");
    let (id, _) = webhooks.add(ask(url.clone(), Reach::Public)).await.expect("public when it was saved");
    let again = webhooks.add(ask(url, Reach::Public)).await;
    assert!(matches!(again, Err(WebhookError::Egress(_))), "{again:?}");
    let tested = webhooks.test(id).await.expect("it is there");
    let error = tested.error.expect("it was refused");
    assert!(error.contains("127.0.0.1 may not be called: it is loopback"), "{error}");

    // The courier meets the same wall, and a redirect is no way around it either.
    let stop = CancellationToken::new();
    let runner = TaskTracker::new();
    runner.spawn(Arc::clone(&webhooks).run(stop.clone()));
    ledger.log(paid(1)).await.expect("logged");
    let row = crate::appliance::until("the first try", async || {
        let rows = ledger.deliveries(DeliveryFilter::default(), 10).await.expect("read");
        rows.into_iter().find(|row| row.attempts == 1)
    })
    .await;
    assert!(row.last_error.as_deref().expect("why").contains("loopback"), "{row:?}");
    assert_eq!(receiver.count(), 0, "nothing reached the inside");
    stop.cancel();
    runner.close();
    runner.wait().await;

    let (other, _) = desk.add(&receiver.url, &["payment.received"]).await;
    desk.happens(paid(2)).await;
    let rows = desk
        .deliveries(&format!("?webhook={other}"), |rows| rows.iter().any(|row| row["attempts"] == 1))
        .await;
    assert_eq!(rows[0]["last_status"], 302, "{rows:?}");
    assert!(rows[0]["last_error"].as_str().expect("why").contains("redirect"), "{rows:?}");
    assert_eq!(receiver.count(), 1);
}
