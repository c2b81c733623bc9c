//! What a host tells of itself: for nothing, truly, and only what is its own.

use axum::Json;
use axum::extract::State;
use axum::routing::get;
use serde_json::{Value, json};
use tollhouse::catalog::spec::Spec;
use tollhouse::catalog::{Mode, Service};

use super::*;

/// An upstream whose OpenAPI document is `document`; counts how often it is asked for.
async fn documented(document: Value) -> (SocketAddr, Arc<AtomicU64>) {
    let asked = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&asked);
    let answer = async move |State(document): State<Value>| {
        count.fetch_add(1, Ordering::SeqCst);
        Json(document)
    };
    let router = Router::new().route("/inner/openapi.json", get(answer)).with_state(document);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    TaskTracker::new().spawn(async move { axum::serve(listener, router).await });
    (address, asked)
}

fn written(value: Value) -> Service {
    let (spec, shape) = Spec::read(&value);
    spec.compile_after(shape, &|_| None).expect("it can be sold")
}

fn host(name: &str) -> String {
    format!("Host: {name}\r\n")
}

/// A request with a host of its own.
async fn asked(gate: &TestGate, path: &str, host: &str, lines: &str) -> Reply {
    let request = format!("GET {path} HTTP/1.1\r\n{host}{lines}Connection: close\r\n\r\n");
    gate.ask(&request).await
}

fn llm(upstream: SocketAddr) -> Value {
    json!({
        "name": "llm", "title": "A model", "host": "llm.example", "path": "/v1", "strip_prefix": "/v1",
        "upstream": format!("http://{upstream}/inner"), "openapi": "/openapi.json", "price": "50 sat",
        "offers": ["request", { "pack": 100, "price": "4000 sat" }], "free": { "requests": 5, "per": "day" },
        "route": [
            { "method": "POST", "path": "/v1/users/{id}/posts", "price": "0.002 USD", "description": "Posts" },
            { "path": "/v1/health", "price": "free" },
        ],
    })
}

fn other(upstream: SocketAddr) -> Value {
    json!({ "name": "other", "path": "/other", "upstream": format!("http://{upstream}"), "price": "250 msat" })
}

#[tokio::test]
async fn a_host_tells_what_it_sells_and_nothing_else() {
    let (upstream, _) = documented(json!({})).await;
    let hidden = |mode: &str, name: &str| {
        written(json!({ "name": name, "mode": mode, "path": format!("/{name}"), "price": "1 sat",
            "upstream": format!("http://{upstream}") }))
    };
    let mut services = vec![written(llm(upstream)), written(other(upstream))];
    services.extend([hidden("off", "hidden-off"), hidden("shadow", "hidden-shadow")]);
    let gate = TestGate::with(services, quick()).await;
    for path in ["/.well-known/l402-services", "/.well-known/l402", "/.well-known/l402.json"] {
        let reply = asked(&gate, path, &host("llm.example"), "").await;
        assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/json")), "{path}");
        assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
        let told = reply.json();
        let endpoints: Vec<&str> = told["services"]
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(|s| s["endpoint"].as_str())
            .collect();
        assert_eq!(endpoints, ["/v1/users/{id}/posts", "/v1/health", "/v1/*", "/other/*"]);
        let whole = &told["services"][2];
        assert_eq!(whole["price"]["amount_msat"], 50_000);
        assert_eq!(
            whole["offers"][1],
            json!({ "offer": "pack-100", "kind": "pack", "sells": { "requests": 100 }, "price": "4000 sat" })
        );
        assert_eq!(
            (&whole["free"]["requests"], &whole["url"]),
            (&json!(5), &json!("http://llm.example/v1/*"))
        );
    }
    let elsewhere =
        asked(&gate, "/.well-known/l402-services", &host("another.example:8402"), "").await.json();
    let names: Vec<&Value> =
        elsewhere["services"].as_array().expect("a list").iter().map(|s| &s["service"]).collect();
    assert_eq!(names, ["other"], "only the services of the asked host");
    assert_eq!(elsewhere["url"], "http://another.example:8402");

    let words = asked(&gate, "/llms.txt", &host("llm.example"), "").await;
    assert_eq!(words.header("content-type"), Some("text/plain; charset=utf-8"));
    let words = words.text();
    for said in [
        "A model",
        "POST /v1/users/{id}/posts: 0.002 USD",
        "pack-100 (4000 sat)",
        "curl -i -X",
        "Authorization: L402",
    ] {
        assert!(words.contains(said), "no {said:?} in\n{words}");
    }
    assert!(!words.contains("hidden"), "{words}");
    let post = gate
        .ask("POST /llms.txt HTTP/1.1\r\nHost: llm.example\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        .await;
    assert_eq!(post.status, 404, "only for those who read");
}

/// Whoever asks chooses the host's name: a name that nobody sells under costs no more than another.
#[tokio::test]
async fn hosts_that_nobody_named_share_one_document() {
    let paths: serde_json::Map<String, Value> =
        (0..6_000).map(|n| (format!("/other/p{n}"), json!({ "get": { "summary": "x" } }))).collect();
    let (upstream, asked_for) = documented(json!({ "openapi": "3.1.0", "paths": paths })).await;
    let mut service = other(upstream);
    service["upstream"] = format!("http://{upstream}/inner").into();
    service["openapi"] = "/openapi.json".into();
    let gate = TestGate::with(vec![written(service)], quick()).await;
    for n in 0..6 {
        let reply = asked(&gate, "/openapi.json", &host(&format!("h{n}.example:{}", 80 + n)), "").await;
        let told = reply.json();
        assert_eq!(told["servers"][0]["url"], format!("http://h{n}.example:{}", 80 + n));
        assert_eq!(told["paths"].as_object().map(serde_json::Map::len), Some(6_000));
    }
    assert_eq!(asked_for.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_copy_is_good_until_the_price_list_changes() {
    let (upstream, _) = documented(json!({})).await;
    let gate = TestGate::with(vec![written(other(upstream))], quick()).await;
    let path = "/.well-known/l402-services";
    let first = asked(&gate, path, &host("a"), "").await;
    assert_eq!(first.header("cache-control"), Some("public, max-age=60"));
    let tag = first.header("etag").expect("a tag").to_owned();
    let known = format!("If-None-Match: W/{tag}, \"x\"\r\n");
    let again = asked(&gate, path, &host("a"), &known).await;
    assert_eq!((again.status, again.body.len(), again.header("etag")), (304, 0, Some(tag.as_str())));
    let mut dearer = other(upstream);
    dearer["price"] = json!("251 msat");
    gate.sell(vec![written(dearer)]);
    let changed = asked(&gate, path, &host("a"), &known).await;
    assert_eq!((changed.status, &changed.json()["services"][0]["price"]["amount_msat"]), (200, &json!(251)));
    gate.sell(Vec::new());
    assert_eq!(asked(&gate, path, &host("a"), "").await.status, 404, "nothing is sold, nothing is told");
}

#[tokio::test]
async fn what_the_operator_has_at_the_path_goes_first() {
    let origin = Origin::start().await;
    let route = |path: &str| {
        Route::new("own".parse().expect("a name"), None, PathPattern::Exact(path.to_owned()), Terms::free())
    };
    let mut own = service(&origin);
    own.routes.push(route("/openapi.json"));
    let gate = TestGate::with(vec![own], quick()).await;
    asked(&gate, "/openapi.json", &host("a"), "").await;
    assert_eq!(origin.last().line(), "GET /openapi.json HTTP/1.1");
    let hits = origin.hits();
    assert_eq!(asked(&gate, "/llms.txt", &host("a"), "").await.status, 200);
    assert_eq!(origin.hits(), hits, "a service for every path is not one for this path");
    // It is no way around the price of anything else.
    assert_eq!(asked(&gate, "/llms.txt/", &host("a"), "").await.status, 402);
    assert_eq!(asked(&gate, "/LLMS.txt", &host("a"), "").await.status, 402);
}

fn upstreams_own() -> Value {
    json!({
        "openapi": "3.0.3",
        "info": { "title": "Inner", "version": "7" },
        "servers": [{ "url": "http://inner.example" }],
        "components": { "schemas": { "Post": { "type": "object" } } },
        "paths": {
            "/users/{user}/posts": { "post": { "summary": "Write", "responses": { "200": { "description": "ok",
                "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Post" } } } } } } },
            "/inner/health": { "get": { "responses": {} } },
            "/chat": { "post": { "responses": {} }, "parameters": [] },
        },
    })
}

#[tokio::test]
async fn the_upstreams_own_document_is_merged_with_the_prices() {
    let (upstream, times) = documented(upstreams_own()).await;
    let gate = TestGate::with(vec![written(llm(upstream))], quick()).await;
    let told = asked(&gate, "/openapi.json", &host("llm.example"), "").await.json();
    assert_eq!((&told["openapi"], &told["info"]["title"]), (&json!("3.0.3"), &json!("Inner")));
    assert_eq!(told["servers"], json!([{ "url": "http://llm.example" }]));
    assert_eq!(told["x-service-info"]["services"][0]["name"], "llm");
    let post = &told["paths"]["/v1/users/{user}/posts"]["post"];
    assert_eq!(post["summary"], "Write");
    assert_eq!(
        post["x-payment-info"]["price"],
        json!({ "mode": "fixed", "currency": "USD", "amount": "0.002" })
    );
    assert_eq!(
        post["responses"]["200"]["content"]["application/json"]["schema"]["$ref"],
        "#/components/schemas/Post"
    );
    assert!(post["responses"]["402"].is_object() && told["components"]["schemas"]["Post"].is_object());
    let chat = &told["paths"]["/v1/chat"]["post"]["x-payment-info"];
    assert_eq!((&chat["amount"], &chat["offers"][1]["offer"]), (&json!("50000"), &json!("pack-100")));
    let charge = json!({ "mpp": { "method": "lightning", "intent": "charge", "currency": "sat" } });
    assert_eq!(chat["protocols"], json!([{ "l402": {} }, charge]));
    assert!(told["paths"]["/v1/health"]["get"]["x-payment-info"].is_null(), "what is free has no price");
    asked(&gate, "/openapi.json", &host("llm.example"), "").await;
    assert_eq!(times.load(Ordering::SeqCst), 1, "however many ask, the upstream is asked once");

    // Beside another service, names of components are kept apart.
    gate.sell(vec![written(llm(upstream)), written(other(upstream))]);
    let both = asked(&gate, "/openapi.json", &host("llm.example"), "").await.json();
    let schema = &both["paths"]["/v1/users/{user}/posts"]["post"]["responses"]["200"]["content"]["application/json"]
        ["schema"];
    assert_eq!(schema["$ref"], "#/components/schemas/llm.Post");
    assert!(both["components"]["schemas"]["llm.Post"].is_object());
    let odd = &both["paths"]["/other/{rest}"]["get"]["x-payment-info"];
    assert_eq!((&odd["amount"], &odd["protocols"]), (&json!("250"), &json!([{ "l402": {} }])));
}

#[tokio::test]
async fn an_upstream_without_its_document_costs_no_document() {
    let gone = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = gone.local_addr().expect("an address");
    drop(gone);
    let gate = TestGate::with(vec![written(llm(address))], quick()).await;
    let told = asked(&gate, "/openapi.json", &host("llm.example"), "").await;
    assert_eq!(told.status, 200);
    assert_eq!(told.json()["paths"]["/v1/{rest}"]["get"]["x-payment-info"]["amount"], "50000");
    let template = &told.json()["paths"]["/v1/users/{id}/posts"]["post"];
    assert_eq!((&template["parameters"][0]["name"], &template["summary"]), (&json!("id"), &json!("Posts")));
    // A document far too large is none.
    let huge = json!({ "paths": {}, "x": "a".repeat(3 * 1_024 * 1_024) });
    let (upstream, _) = documented(huge).await;
    gate.sell(vec![written(llm(upstream))]);
    let told = asked(&gate, "/openapi.json", &host("llm.example"), "").await;
    assert!(told.status == 200 && told.body.len() < 100_000);
}

#[tokio::test]
async fn letter_case_is_no_discount_across_services_either() {
    let origin = Origin::start().await;
    let at = |name: &str, path: &str, price: &str| {
        written(
            json!({ "name": name, "path": path, "price": price, "upstream": format!("http://{}", origin.address) }),
        )
    };
    let mut off = at("off", "/off", "5 sat");
    off.mode = Mode::Off;
    let gate = TestGate::with(vec![at("site", "/", "free"), at("api", "/api", "40 sat"), off], quick()).await;
    for (path, status) in
        [("/api/ok", 402), ("/API/ok", 402), ("/Api", 402), ("/ok", 200), ("/off/x", 404), ("/OFF/x", 404)]
    {
        assert_eq!(gate.get(path, "").await.status, status, "{path}");
    }
    let paid = gate.buy("/API/ok").await;
    assert_eq!(gate.get("/API/ok", &paid.line()).await.status, 200);
    gate.audited().await;
}
