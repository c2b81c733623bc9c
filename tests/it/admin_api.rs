//! The admin API and Home, as the operator's programs and browser see them.

use futures_util::StreamExt;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use tollhouse::catalog::spec::Spec;
use tollhouse::ledger::{Bought, Draw, Ending, Sale};
use tollhouse::ports::CloseHow;
use tollhouse::storefront::Run;
use tollhouse::types::{Kind, Msat, PaymentHash, TokenId};
use tollhouse::web::keys::{self, Scope};

use crate::admin_app::{AdminApp, PATIENCE, START, ok, problem, usable_channel};
use crate::appliance::until;

fn sats(sat: u64) -> Msat {
    Msat::from_sat(sat).expect("in range")
}

fn bought(sat: u64) -> Option<Bought> {
    let name = |text: &str| text.parse().expect("a name");
    Some(Bought::request(name("rates"), name("exchange-rates"), sats(sat), START.plus(PATIENCE)))
}

async fn received(app: &AdminApp, n: u8, sat: u64) -> PaymentHash {
    let hash = PaymentHash::from_bytes([n; 32]);
    app.ledger.receive(hash, sats(sat), bought(sat)).await.expect("recorded");
    hash
}

#[tokio::test]
async fn a_key_reaches_as_far_as_its_scopes() {
    let app = AdminApp::start().await;
    let (read, pay) = (app.key(&[Scope::Read]).await, app.key(&[Scope::Pay]).await);
    let denied = (StatusCode::FORBIDDEN, "missing_scope".to_owned());
    let unknown = (StatusCode::UNAUTHORIZED, "unauthenticated".to_owned());
    let sent = format!("/api/v1/payments/sent/{}", "ab".repeat(32));

    assert_eq!(problem(app.get("/api/v1/status").send().await.expect("an answer")).await, unknown);
    assert_eq!(problem(app.read("/api/v1/status", "tollhouse_guess").await).await, unknown);
    let basic = app.get("/api/v1/status").basic_auth("operator", Some(&read)).send().await;
    assert_eq!(problem(basic.expect("an answer")).await, unknown);

    ok(app.read("/api/v1/status", &read).await).await;
    assert_eq!(problem(app.read(&sent, &read).await).await, denied);
    assert_eq!(problem(app.change("/api/v1/onchain/address", &read, json!({})).await).await, denied);

    assert_eq!(problem(app.read("/api/v1/status", &pay).await).await, denied);
    assert_eq!(problem(app.read("/api/v1/events", &pay).await).await, denied);
    assert_eq!(
        problem(app.read(&sent, &pay).await).await,
        (StatusCode::NOT_FOUND, "unknown_payment".to_owned())
    );

    // A key that does not reach is not helped by the cookie of an open session beside it.
    let session = app.claimed().await;
    let both = app.get("/api/v1/status").header("cookie", &session).bearer_auth(&pay).send().await;
    assert_eq!(problem(both.expect("an answer")).await, denied);
    ok(app.get("/api/v1/status").header("cookie", &session).send().await.expect("an answer")).await;
}

#[tokio::test]
async fn the_first_start_makes_an_admin_key_and_later_ones_leave_it() {
    use std::os::unix::fs::PermissionsExt;
    let app = AdminApp::start().await;
    let file = app.dir.path().join("admin.key");
    let entropy = app.op.parts.entropy.as_ref();
    keys::ensure_admin_key(&app.ledger, entropy, app.op.parts.clock.now(), app.dir.path())
        .await
        .expect("made");
    let text = std::fs::read_to_string(&file).expect("readable");
    assert_eq!(file.metadata().expect("there").permissions().mode() & 0o777, 0o600);
    let key = text.strip_suffix('\n').expect("one line");
    assert_eq!(
        ok(app.change("/api/v1/onchain/address", key, json!({})).await).await["address"],
        "bcrt1qmadeup"
    );
    keys::ensure_admin_key(&app.ledger, entropy, app.op.parts.clock.now(), app.dir.path())
        .await
        .expect("left");
    assert_eq!(std::fs::read_to_string(&file).expect("readable"), text);
    std::fs::remove_file(&file).expect("removed");
    keys::ensure_admin_key(&app.ledger, entropy, app.op.parts.clock.now(), app.dir.path())
        .await
        .expect("left");
    assert!(!file.exists(), "who moved the key away wanted that");
}

#[tokio::test]
async fn a_ledger_that_was_brought_back_gets_an_admin_key_for_the_place_where_it_is() {
    let app = AdminApp::start().await;
    let file = app.dir.path().join("admin.key");
    let entropy = app.op.parts.entropy.as_ref();
    let start = async || {
        keys::ensure_admin_key(&app.ledger, entropy, app.op.parts.clock.now(), app.dir.path())
            .await
            .expect("a start");
        std::fs::read_to_string(&file).ok().map(|text| text.trim().to_owned())
    };
    let old = start().await.expect("made");
    let brought_back = |number: u64| {
        app.clock.advance(std::time::Duration::from_secs(1));
        let books = rusqlite::Connection::open(app.dir.path().join("ledger.db")).expect("the file");
        books.busy_timeout(std::time::Duration::from_secs(10)).expect("set");
        let began = (number, app.op.parts.clock.now().millis());
        books
            .execute("INSERT INTO generations VALUES (?1, 1, ?2, 'restored', 0, 0, NULL)", began)
            .expect("begun");
    };
    brought_back(2);
    assert_eq!(start().await.as_ref(), Some(&old), "a file that opens it stays");
    std::fs::remove_file(&file).expect("another machine");
    let new = start().await.expect("made for it");
    assert_ne!(new, old);
    assert_eq!(app.read("/api/v1/status", &new).await.status(), StatusCode::OK);
    assert_eq!(app.read("/api/v1/status", &old).await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(start().await, Some(new));
    std::fs::remove_file(&file).expect("moved away");
    assert_eq!(start().await, None, "who moved it away after that wanted that");
}

#[tokio::test]
async fn status_and_payments_tell_what_arrived() {
    let app = AdminApp::start().await;
    app.node.channels.lock().expect("not poisoned").push(usable_channel(10, 700_000));
    let key = app.key(&[Scope::Read]).await;
    for n in 1..=5 {
        received(&app, n, u64::from(n)).await;
    }
    let status = ok(app.read("/api/v1/status", &key).await).await;
    assert_eq!(status["network"], "regtest");
    assert_eq!(status["gateway"], app.gateway.as_str());
    assert_eq!(status["node"]["receivable_msat"], 700_000_000);
    assert_eq!(status["revenue"]["received_msat"], 15_000);
    assert_eq!(status["revenue"]["total_msat"], 0, "paid is not yet earned");
    assert_eq!(status["ledger"]["ok"], true);
    assert_eq!(status["time"], START.millis());

    let first = ok(app.read("/api/v1/payments?limit=3", &key).await).await;
    let hashes = |page: &Value| -> Vec<String> {
        let rows = page["payments"].as_array().expect("rows");
        rows.iter().map(|row| row["payment_hash"].as_str().expect("a hash")[..2].to_owned()).collect()
    };
    assert_eq!(hashes(&first), ["05", "04", "03"]);
    assert_eq!(first["payments"][0]["amount_msat"], 5_000);
    assert_eq!(first["payments"][0]["service"], "rates");
    assert_eq!(first["payments"][0]["received_at"], START.millis());
    let rest = format!("/api/v1/payments?limit=3&before={}", first["next_before"]);
    let rest = ok(app.read(&rest, &key).await).await;
    assert_eq!(hashes(&rest), ["02", "01"]);
    assert_eq!(rest["next_before"], Value::Null);
    for bad in ["limit=0", "limit=501", "limit=x", "before=x"] {
        let answer = problem(app.read(&format!("/api/v1/payments?{bad}"), &key).await).await;
        assert_eq!(answer, (StatusCode::BAD_REQUEST, "bad_query".to_owned()), "{bad}");
    }
}

/// The frames of an event stream, as `(id, data)`.
struct Frames {
    response: futures_util::stream::BoxStream<'static, String>,
    text: String,
}

impl Frames {
    fn of(response: Response) -> Frames {
        assert_eq!(response.headers()[CONTENT_TYPE], "text/event-stream");
        let chunks = response.bytes_stream();
        let texts = chunks.map(|chunk| String::from_utf8(chunk.expect("bytes").to_vec()).expect("UTF-8"));
        Frames { response: texts.boxed(), text: String::new() }
    }

    /// The next frame; `None` when the stream ended.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some((frame, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| frame.lines().find_map(|line| line.strip_prefix(name));
                let found = field("id: ")
                    .zip(field("data: "))
                    .map(|(id, data)| (id.to_owned(), serde_json::from_str(data).expect("JSON")));
                self.text = rest.to_owned();
                match found {
                    Some(found) => return Some(found),
                    None => continue,
                }
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.next()).await.expect("in time")?;
            self.text.push_str(&chunk);
        }
    }
}

#[tokio::test]
async fn the_event_stream_tells_of_a_payment_and_resumes_where_it_was_left() {
    let app = AdminApp::start().await;
    let key = app.key(&[Scope::Read]).await;
    received(&app, 1, 1).await;
    let mut live = Frames::of(app.read("/api/v1/events", &key).await);
    let second = received(&app, 2, 15).await;
    let (id, data) = live.next().await.expect("an event");
    assert_eq!(data["kind"], "payment_received", "the stream began at the end of the log");
    assert_eq!(data["payment_hash"], second.to_hex());
    assert_eq!(data["amount_msat"], 15_000);
    assert_eq!(format!("{}.{}", data["generation"], data["id"]), id);
    drop(live);

    received(&app, 3, 1).await;
    received(&app, 4, 1).await;
    let resumed = app.get("/api/v1/events").bearer_auth(&key).header("last-event-id", id);
    let mut resumed = Frames::of(resumed.send().await.expect("an answer"));
    let seen =
        [(2u8, "sale_attributed"), (3, "payment_received"), (3, "sale_attributed"), (4, "payment_received")];
    for (n, kind) in seen {
        let (_, data) = resumed.next().await.expect("an event");
        let expected = (Value::from(hex::encode([n; 32])), Value::from(kind));
        let got = (data["payment_hash"].clone(), data["kind"].clone());
        assert_eq!(got, expected, "nothing was missed, nothing came twice");
    }
    let bad = app.get("/api/v1/events").bearer_auth(&key).header("last-event-id", "x").send().await;
    assert_eq!(problem(bad.expect("an answer")).await.1, "bad_event_id");
    for bad in ["-1", "1.-1", "x", ""] {
        let answer = app.read(&format!("/api/v1/events?after={bad}"), &key).await;
        assert_eq!(problem(answer).await.1, "bad_event_id", "{bad}");
    }
    // Who says that it saw what was never told hears what comes next, and does not wait for the log to pass that.
    let beyond = app.get("/api/v1/events").bearer_auth(&key).header("last-event-id", "1.999999");
    let mut beyond = Frames::of(beyond.send().await.expect("an answer"));
    let mut same = Frames::of(app.read("/api/v1/events?after=7.999999", &key).await);
    let fifth = received(&app, 5, 1).await;
    for stream in [&mut beyond, &mut same] {
        let (_, data) = stream.next().await.expect("an event");
        assert_eq!(data["payment_hash"], fifth.to_hex());
    }
}

#[tokio::test]
async fn a_charged_request_is_told_though_it_is_no_event() {
    let app = AdminApp::start().await;
    let key = app.key(&[Scope::Read]).await;
    let sale = Sale {
        payment_hash: received(&app, 1, 15).await,
        token_id: TokenId::from_bytes([1; 32]),
        service: "rates".parse().expect("a name"),
        route: "exchange-rates".parse().expect("a name"),
        kind: Kind::Pack,
        units: 3,
        lasts: None,
        sold: sats(15),
        covers: Msat::ZERO,
        quote: None,
        valid_until: START.plus(PATIENCE),
    };
    let draw = Draw::one(sale.route.clone());
    let held = app.ledger.reserve(sale, draw).await.expect("held");
    let mut stream = app.read("/api/v1/events", &key).await;
    held.end(Ending::Delivered);
    let mut text = String::new();
    while !text.contains("event: sums") {
        let chunk = tokio::time::timeout(PATIENCE, stream.chunk()).await.expect("in time");
        text.push_str(std::str::from_utf8(&chunk.expect("readable").expect("more")).expect("text"));
    }
    assert!(!text.contains("id:"), "{text}");
    let status = ok(app.read("/api/v1/status", &key).await).await;
    assert_eq!(status["revenue"]["total_msat"], 5_000);
    assert_eq!((&status["ledger"]["units_spent"], &status["ledger"]["ok"]), (&json!(1), &json!(true)));
    assert!(app.ledger.audit().await.expect("it reads").ok);
}

#[tokio::test]
async fn an_event_stream_ends_with_its_session() {
    let app = AdminApp::start().await;
    let session = app.claimed().await;
    let stream = app.get("/api/v1/events").header("cookie", &session).send().await.expect("an answer");
    let mut stream = Frames::of(stream);
    app.post("/logout").header("cookie", &session).send().await.expect("an answer");
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn home_shows_the_way_out_and_then_the_money() {
    let app = AdminApp::start().await;
    let session = app.claimed().await;
    let page = |path: &'static str| {
        let request = app.get(path).header("cookie", &session);
        async { request.send().await.expect("an answer").text().await.expect("a page") }
    };
    // The provider's terms are asked for at the start.
    let empty = until("the way to a channel", async || {
        let empty = page("/").await;
        empty.contains("The first payment of 10,000 sat or more opens a channel").then_some(empty)
    })
    .await;
    assert!(empty.contains("Have someone open a channel to you"));
    // No line earns where nothing is on sale.
    assert!(!empty.contains("curl -i"), "{empty}");
    assert!(empty.contains("nothing is on sale: <a href=\"/start/service\">add your first service</a>"));
    assert!(page("/revenue").await.contains(">add your first service</a>"));
    let sells = async |mode: &str| {
        let service = json!({ "name": "rates", "path": "/v1", "upstream": "http://127.0.0.1:9", "price": "5 sat",
            "mode": mode });
        let put = app.op.parts.storefront.put(vec![Spec::read(&service)], Run::Real).await;
        put.expect("it can be sold");
    };
    sells("on").await;
    for path in ["/", "/revenue"] {
        assert!(page(path).await.contains("/v1") && page(path).await.contains("curl -i"), "{path}");
    }
    sells("shadow").await;
    let free = page("/").await;
    assert!(!free.contains("curl -i") && free.contains("nothing is on sale for money now"), "{free}");

    app.node.channels.lock().expect("not poisoned").push(usable_channel(10, 667_600));
    let hash = received(&app, 9, 15).await;
    for path in ["/", "/live"] {
        let full = page(path).await;
        assert!(full.contains("You can receive 667,600 sat"), "{path}");
        assert!(full.contains("Nothing is on sale for money now"), "{path}: also once something was paid");
        assert!(full.contains(&hash.to_hex()) && full.contains("rates / exchange-rates"), "{path}");
    }
    let stranger = app.get("/live").send().await.expect("an answer");
    assert_eq!(stranger.status(), StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn channels_open_and_close_on_the_word_of_an_admin_key() {
    let app = AdminApp::start().await;
    let key = app.key(&[Scope::Admin]).await;
    // While the node is away nobody can tell which there are.
    *app.node.down.lock().expect("not poisoned") = Some("the chain source does not answer".to_owned());
    let (status, code) = problem(app.read("/api/v1/channels", &key).await).await;
    assert_eq!((status, code.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "node_not_ready"));
    *app.node.down.lock().expect("not poisoned") = None;
    let peer = "03".repeat(33);
    let ask = json!({ "peer": peer, "address": "127.0.0.1:9735", "amount_sat": 100_000, "push_msat": 5_000 });
    let opened = app.change("/api/v1/channels", &key, ask).await;
    assert_eq!(opened.status(), StatusCode::ACCEPTED);
    let ask = app.node.opened.lock().expect("not poisoned").remove(0);
    assert_eq!((ask.amount_sat, ask.push, ask.announce), (100_000, sats(5), false));

    let greedy = json!({ "peer": peer, "address": "x:1", "amount_sat": 1, "push_msat": 1_000 });
    assert_eq!(problem(app.change("/api/v1/channels", &key, greedy).await).await.1, "bad_amount");
    let misspelt = json!({ "peer": peer, "address": "x:1", "amount_sat": 1, "anounce": true });
    assert_eq!(problem(app.change("/api/v1/channels", &key, misspelt).await).await.1, "bad_body");
    assert!(app.node.opened.lock().expect("not poisoned").is_empty());

    let url = |id: &str| format!("{}/api/v1/channels/{id}?force=true", app.origin);
    let closed = app.client.delete(url("abcd")).bearer_auth(&key).send().await.expect("an answer");
    assert_eq!(problem(closed).await, (StatusCode::BAD_REQUEST, "unknown_channel".to_owned()));
    app.node.channels.lock().expect("not poisoned").push(usable_channel(10, 10));
    let url = url(&"11".repeat(32));
    let closed = app.client.delete(url).bearer_auth(&key).send().await.expect("an answer");
    assert_eq!(closed.status(), StatusCode::ACCEPTED);
    assert_eq!(*app.node.closed.lock().expect("not poisoned"), [("11".repeat(32), CloseHow::Force)]);
}

/// Sums of one service, of one route; what was demanded and restored; the money of a time.
#[tokio::test]
async fn revenue_is_narrowed_to_a_service_and_a_route_and_money_to_a_time() {
    let app = AdminApp::start().await;
    let key = app.key(&[Scope::Read]).await;
    let name = |text: &str| text.parse::<tollhouse::types::Name>().expect("a name");
    for (n, service, route) in [(1, "rates", "latest"), (2, "rates", "history"), (3, "llm", "latest")] {
        for _ in 0..4 {
            app.ledger.demands().count(&name(service), &name(route));
        }
        let hash = PaymentHash::from_bytes([n; 32]);
        let until = app.op.parts.clock.now().plus(PATIENCE);
        let bought = Bought::request(name(service), name(route), sats(u64::from(n) * 10), until);
        app.ledger.receive(hash, bought.amount, Some(bought)).await.expect("recorded");
        app.clock.advance(PATIENCE.max(std::time::Duration::from_secs(3_600)));
    }
    let of = async |query: &str| {
        let told = ok(app.read(&format!("/api/v1/revenue?by=hour{query}"), &key).await).await;
        let sum = |list: &Value, field: &str| {
            list.as_array()
                .expect("a list")
                .iter()
                .map(|one| one[field].as_u64().expect("a number"))
                .sum::<u64>()
        };
        for field in ["demands", "sales"] {
            assert_eq!(sum(&told["points"], field), sum(&told["routes"], field), "{query}: {field}");
        }
        (
            told["routes"].as_array().expect("a list").len(),
            sum(&told["points"], "demands"),
            sum(&told["points"], "sales"),
        )
    };
    assert_eq!(of("").await, (3, 12, 3));
    assert_eq!(of("&service=rates").await, (2, 8, 2));
    assert_eq!(of("&service=rates&route=history").await, (1, 4, 1));
    assert_eq!(of("&route=latest").await, (2, 8, 2));
    assert_eq!(of("&service=nobody").await, (0, 0, 0));
    assert_eq!(app.read("/api/v1/revenue?route=A%20b", &key).await.status(), 400);
    let status = ok(app.read("/api/v1/status", &key).await).await;
    assert_eq!(
        (&status["revenue"]["demands_month"], &status["revenue"]["sales_month"]),
        (&json!(12), &json!(3))
    );

    let rows = async |query: &str| {
        let text = app.read(&format!("/api/v1/revenue.csv{query}"), &key).await.text().await.expect("a file");
        text.lines().count() - 1
    };
    let second = START.plus(PATIENCE.max(std::time::Duration::from_secs(3_600))).millis();
    assert_eq!(rows("").await, 3);
    assert_eq!(rows(&format!("?to={second}")).await, 1);
    assert_eq!(rows(&format!("?from={second}")).await, 2);
    assert_eq!(rows(&format!("?from={second}&to={}", second + 1)).await, 1);
    assert_eq!(app.read("/api/v1/revenue.csv?from=-1", &key).await.status(), 400);
}
