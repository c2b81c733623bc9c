//! Heads both ways: HEAD, CORS, caches, and what an upstream may not say.

use http::{HeaderName, HeaderValue};

use super::upstream::Origin;
use super::{TestGate, head, quick, service};

#[tokio::test]
async fn the_402_says_what_clients_look_for() {
    let origin = Origin::start().await;
    let gate = TestGate::before(&origin).await;
    let reply = gate.get("/dear/ok", "").await;
    assert_eq!(reply.status, 402);
    assert_eq!(reply.all("www-authenticate").count(), 2, "in both dialects, this one first");
    let body = reply.json();
    let (macaroon, invoice) =
        (body["macaroon"].as_str().expect("text"), body["invoice"].as_str().expect("text"));
    let expected =
        format!("L402 macaroon=\"{macaroon}\", invoice=\"{invoice}\", version=\"0\", token=\"{macaroon}\"");
    assert_eq!(reply.header("www-authenticate"), Some(&*expected));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(reply.header("content-type"), Some("application/problem+json"));
    assert!(reply.header("access-control-expose-headers").is_some_and(|v| v.contains("WWW-Authenticate")));
    assert_eq!(body["amountMsat"], 50_000);
    // A payment may be two hours late and its buyer then has a day (MONEY 9).
    let [expires, valid] = ["expiresAt", "validUntil"].map(|f| body[f].as_u64().expect("seconds"));
    assert_eq!(valid - expires, 26 * 3_600);
    let parsed: lightning_invoice::Bolt11Invoice = invoice.parse().expect("an invoice");
    assert_eq!(parsed.amount_milli_satoshis(), Some(50_000));
    assert_eq!(parsed.expiry_time().as_secs(), 15 * 60);
}

#[tokio::test]
async fn head_costs_and_says_what_get_does_without_a_body() {
    let origin = Origin::start().await;
    let gate = TestGate::before(&origin).await;
    let reply = gate.ask(&head("HEAD", "/ok", "")).await;
    assert_eq!((reply.status, reply.body.len()), (402, 0));
    assert!(reply.header("www-authenticate").is_some());
    assert!(reply.header("content-length").is_some_and(|l| l != "0"));
    let credential = gate.buy("/ok").await;
    let reply = gate.ask(&head("HEAD", "/ok", &credential.line())).await;
    assert_eq!((reply.status, reply.body.len()), (200, 0));
    assert_eq!(reply.header("content-length"), Some("2"), "as GET would have");
    assert_eq!(reply.header("x-tollhouse-unit"), Some("spent"));
    assert_eq!(gate.settled(&credential).await, (0, 0, 1));
    assert_eq!(origin.last().line(), "HEAD /ok HTTP/1.1");
}

#[tokio::test]
async fn preflights_are_answered_here_and_cost_nothing() {
    let origin = Origin::start().await;
    let mut narrow = service(&origin);
    narrow.path = "/dear".to_owned();
    narrow.routes.retain(|r| r.name.as_str() == "dear");
    let gate = TestGate::with(vec![narrow], quick()).await;
    let lines = "Origin: https://shop.example\r\nAccess-Control-Request-Method: POST\r\n\
                 Access-Control-Request-Headers: authorization, content-type\r\n";
    let reply = gate.ask(&head("OPTIONS", "/dear/ok", lines)).await;
    assert_eq!(reply.status, 204);
    assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
    assert_eq!(reply.header("access-control-allow-headers"), Some("authorization, content-type"));
    assert!(reply.header("access-control-allow-methods").is_some_and(|m| m.contains("POST")));
    assert_eq!(reply.header("access-control-allow-credentials"), None);
    assert_eq!(gate.ask(&head("OPTIONS", "/elsewhere", lines)).await.status, 404);
    assert_eq!((gate.minter.minted(), origin.hits()), (0, 0));
    assert_eq!(gate.ask(&head("OPTIONS", "/dear/ok", "")).await.status, 402, "no preflight, no free ride");

    // And the page may read what it paid for.
    let credential = gate.buy("/dear/ok").await;
    let lines = format!("Origin: https://shop.example\r\n{}", credential.line());
    let reply = gate.get("/dear/ok", &lines).await;
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (200, Some("*")));
}

/// THREATS 13 and 14.
#[tokio::test]
async fn an_upstream_cannot_publish_or_steer_what_was_paid_for() {
    let origin = Origin::start().await;
    let gate = TestGate::before(&origin).await;
    let credential = gate.buy("/ok").await;
    let reply = gate.get("/steering", &credential.line()).await;
    assert_eq!((reply.status, reply.text().as_str()), (200, "ok"));
    assert_eq!(reply.all("cache-control").collect::<Vec<_>>(), ["private, no-store"]);
    assert_eq!(reply.all("vary").collect::<Vec<_>>(), ["Authorization"]);
    assert_eq!(reply.all("x-tollhouse-unit").collect::<Vec<_>>(), ["held"]);
    for name in ["expires", "alt-svc", "clear-site-data", "www-authenticate", "x-hop"] {
        assert_eq!(reply.header(name), None, "{name}");
    }
    assert_eq!(reply.header("x-kept"), Some("1"));
    let free = gate.get("/free/steering", "").await;
    assert_eq!(free.header("cache-control"), Some("public, max-age=99"), "free things may be kept");
    assert_eq!((free.header("alt-svc"), free.header("x-tollhouse-unit")), (None, None));
}

#[tokio::test]
async fn a_services_own_headers_replace_the_clients() {
    let origin = Origin::start().await;
    let mut keyed = service(&origin);
    keyed.upstream.headers = vec![
        (HeaderName::from_static("authorization"), HeaderValue::from_static("Bearer upstream-key")),
        (HeaderName::from_static("x-api-key"), HeaderValue::from_static("upstream-key")),
    ];
    keyed.upstream.host = Some(HeaderValue::from_static("inner.example"));
    keyed.upstream.strip_prefix = Some("/free".to_owned());
    let gate = TestGate::with(vec![keyed], quick()).await;
    let lines = "Authorization: Bearer client\r\nX-Api-Key: one\r\nX-Api-Key: two\r\n";
    assert_eq!(gate.get("/free/ok?a=b", lines).await.status, 200);
    let hit = origin.last();
    assert_eq!(hit.line(), "GET /ok?a=b HTTP/1.1");
    assert_eq!(hit.header("authorization"), ["Bearer upstream-key"]);
    assert_eq!(hit.header("x-api-key"), ["upstream-key"]);
    assert_eq!(hit.header("host"), ["inner.example"]);
}

#[tokio::test]
async fn a_foreign_credential_passes_to_the_upstream_that_it_is_for() {
    let origin = Origin::start().await;
    let gate = TestGate::before(&origin).await;
    let credential = gate.buy("/ok").await;
    let lines = format!("Authorization: Bearer client\r\n{}", credential.line());
    assert_eq!(gate.get("/ok", &lines).await.status, 200);
    assert_eq!(origin.last().header("authorization"), ["Bearer client"]);
    assert!(!origin.last().head.to_lowercase().contains("l402"));
}

#[tokio::test]
async fn a_body_whose_length_is_told_twice_is_told_once() {
    let origin = Origin::start().await;
    let gate = TestGate::before(&origin).await;
    let credential = gate.buy("/ok").await;
    let reply = gate.get("/both", &credential.line()).await;
    assert!(reply.complete);
    assert_eq!((reply.text().as_str(), reply.header("content-length")), ("one", None));
}
