//! Ways to a paid path without paying, tried byte for byte (THREATS 8 to 12).

use super::client::{Reply, ask, exchange};
use super::upstream::Origin;
use super::{TestGate, head, quick, sat, service};
use tollhouse::catalog::{PathPattern, Route, Terms};

/// A gate whose upstream is free but for `/paid`: every confusion would be a free ride.
async fn mostly_free(origin: &Origin) -> TestGate {
    let mut open = service(origin);
    open.terms = Terms::free().into();
    let paid = PathPattern::Under("/paid".to_owned());
    open.routes = vec![Route::new("paid".parse().expect("a name"), None, paid, sat(10))];
    TestGate::with(vec![open], quick()).await
}

#[tokio::test]
async fn no_spelling_of_a_paid_path_is_free() {
    let origin = Origin::start().await;
    let gate = mostly_free(&origin).await;
    for (path, status) in [
        ("/paid", 402),
        ("/%70aid", 402),
        ("/p%61%69d", 402),
        ("/PAID", 402),
        ("/paid/", 402),
        ("/paid/x", 402),
        ("/paid?x=1", 402),
        ("/paid?/../free", 402),
        ("http://api.example/paid", 402),
        ("/free/../paid", 400),
        ("/free/%2e%2e/paid", 400),
        ("/free/.%2E/paid", 400),
        ("/free/..%2fpaid", 400),
        ("/free/%252e%252e/paid", 400),
        ("/free/%25%32%65%25%32%65/paid", 400),
        ("/./paid", 400),
        ("//paid", 400),
        ("///paid", 400),
        ("/free//paid", 400),
        ("/%2fpaid", 400),
        ("/free%5c..%5cpaid", 400),
        ("/free\\..\\paid", 400),
        ("/paid;x", 400),
        ("/;/paid", 400),
        ("/free/..;/paid", 400),
        ("/paid%00", 400),
        ("/paid%0a", 400),
        ("/paid%09", 400),
        ("/%c0%ae%c0%ae/paid", 400),
        ("/paid%", 400),
        ("/paid%zz", 400),
        ("*", 400),
        ("paid", 400),
    ] {
        let reply = gate.get(path, "").await;
        assert_eq!(reply.status, status, "{path}: {reply:?}");
    }
    assert_eq!(origin.hits(), 0, "{:?}", origin.seen(|seen| seen.hits.clone()));
    // And what is free arrives as it was priced.
    assert_eq!(gate.get("/fr%65e/a%20b?q=%2F", "").await.status, 200);
    assert_eq!(origin.last().line(), "GET /free/a%20b?q=%2F HTTP/1.1");
}

#[tokio::test]
async fn methods_do_not_change_what_is_paid_for() {
    let origin = Origin::start().await;
    let gate = mostly_free(&origin).await;
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        assert_eq!(gate.ask(&head(method, "/paid", "")).await.status, 402, "{method}");
    }
    for method in ["get", "TRACE", "CONNECT", "PROPFIND", "X"] {
        let reply = gate.ask(&head(method, "/paid", "")).await;
        assert!(matches!(reply.status, 400 | 405), "{method}: {reply:?}");
    }
    assert_eq!(origin.hits(), 0);
}

#[tokio::test]
async fn one_host_is_served_by_its_one_name() {
    let origin = Origin::start().await;
    let mut paid = service(&origin);
    paid.host = Some("paid.example".to_owned());
    paid.routes.clear();
    let mut free = service(&origin);
    free.name = "free".parse().expect("a name");
    free.host = Some("free.example".to_owned());
    free.routes.clear();
    free.terms = Terms::free().into();
    let gate = TestGate::with(vec![paid, free], quick()).await;
    for (lines, target, status) in [
        ("Host: paid.example\r\n", "/x", 402),
        ("Host: PAID.example.:8402\r\n", "/x", 402),
        ("Host: paid.example\r\n", "http://paid.example/x", 402),
        ("Host: free.example\r\n", "http://paid.example/x", 400),
        ("Host: paid.example\r\n", "http://free.example/x", 400),
        ("Host: free.example\r\nHost: paid.example\r\n", "/x", 400),
        ("Host: free.example\r\nHost: free.example\r\n", "/x", 400),
        ("", "/x", 400),
        ("Host: \r\n", "/x", 400),
        ("Host: free.example@paid.example\r\n", "/x", 400),
        ("Host: free.example, paid.example\r\n", "/x", 400),
        ("Host: free.example/paid.example\r\n", "/x", 400),
        ("Host: other.example\r\nX-Forwarded-Host: free.example\r\n", "/x", 404),
        ("Host: paid.example\r\nX-Forwarded-Host: free.example\r\n", "/x", 402),
    ] {
        let reply = gate.ask(&format!("GET {target} HTTP/1.1\r\nConnection: close\r\n{lines}\r\n")).await;
        assert_eq!(reply.status, status, "{target} {lines:?}: {reply:?}");
    }
    assert_eq!(origin.hits(), 0);
}

#[tokio::test]
async fn the_upstream_sees_only_our_claims() {
    let origin = Origin::start().await;
    let gate = TestGate::before(&origin).await;
    let credential = gate.buy("/ok").await;
    let lines = "X-Original-URL: /free\r\nX-Rewrite-URL: /free\r\nX-HTTP-Method-Override: DELETE\r\n\
                 Forwarded: for=6.6.6.6\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Host: evil\r\n\
                 X-Forwarded-Proto: https\r\nX-Forwarded-Prefix: /x\r\nX-Real-IP: 6.6.6.6\r\n\
                 X_Real_IP: 6.6.6.6\r\nTE: trailers\r\nKeep-Alive: timeout=9\r\nUpgrade: websocket\r\n\
                 Proxy-Authorization: Basic x\r\nConnection: x-hop\r\nX-Hop: 1\r\nX-Tollhouse-Unit: spent\r\n\
                 Grpc-Metadata-Macaroon: 00\r\nCookie: mine=1\r\nAccept: text/plain\r\n";
    let bad = gate.get("/ok", &format!("{}{lines}", credential.line())).await;
    assert_eq!(bad.status, 200, "{}", bad.text());
    let hit = origin.last();
    let mut names: Vec<&str> = hit.head.split("\r\n").skip(1).filter_map(|l| l.split(':').next()).collect();
    names.sort_unstable();
    let ours = [
        "accept",
        "connection",
        "cookie",
        "host",
        "te",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-real-ip",
        "x-tollhouse-amount-msat",
        "x-tollhouse-left",
        "x-tollhouse-payment-hash",
        "x-tollhouse-route",
        "x-tollhouse-service",
    ];
    assert_eq!(names, ours);
    for (name, value) in [
        ("x-tollhouse-payment-hash", credential.hash.to_hex().as_str()),
        ("x-tollhouse-amount-msat", "10000"),
        ("x-tollhouse-left", "0"),
        ("x-tollhouse-service", "api"),
        ("x-tollhouse-route", "default"),
    ] {
        assert_eq!(hit.header(name), [value], "{name}");
    }
    // We read trailers for the client that does, and say so of our own hop.
    assert_eq!((hit.header("connection"), hit.header("te")), (vec!["te".into()], vec!["trailers".into()]));
    assert_eq!(hit.header("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(hit.header("x-forwarded-host"), ["api.example"]);
    assert_eq!(hit.header("x-forwarded-proto"), ["http"]);
    assert_eq!(hit.header("x-real-ip"), ["127.0.0.1"]);
    assert_eq!(hit.header("host"), [origin.address.to_string()]);
    for name in ["Host", "Authorization", "Cookie", "Content-Length"] {
        let reply = gate.get("/ok", &format!("Connection: {name}\r\n")).await;
        assert_eq!(reply.status, 400, "Connection: {name}");
    }
}

/// THREATS 11: the upstream gets as many requests as were paid for, whatever the body pretends.
#[tokio::test]
async fn no_request_is_smuggled_in_anothers_body() {
    let origin = Origin::start().await;
    let gate = TestGate::before(&origin).await;
    let smuggled = "GET /dear/smuggled HTTP/1.1\r\nHost: api.example\r\n\r\n";
    let chunked = format!("0\r\n\r\n{smuggled}");
    for (lines, body, served) in [
        (
            format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n", chunked.len()),
            chunked.clone(),
            false,
        ),
        (
            format!("Transfer-Encoding: chunked\r\nContent-Length: {}\r\n", chunked.len()),
            chunked.clone(),
            false,
        ),
        (format!("Content-Length: 4\r\nContent-Length: {}\r\n", chunked.len()), chunked.clone(), false),
        (format!("Content-Length: {0}\r\nContent-Length: {0}\r\n", chunked.len()), chunked.clone(), false),
        ("X: y\nTransfer-Encoding: chunked\r\n".to_owned(), chunked.clone(), false),
        ("Content-Length: 4, 4\r\n".to_owned(), "abcd".to_owned(), false),
        ("Content-Length: +4\r\n".to_owned(), "abcd".to_owned(), false),
        ("Transfer-Encoding: gzip, chunked\r\n".to_owned(), chunked.clone(), false),
        ("Transfer-Encoding: xchunked\r\n".to_owned(), chunked.clone(), false),
        ("Transfer-Encoding: chunked, identity\r\n".to_owned(), chunked.clone(), false),
        ("Transfer-Encoding : chunked\r\n".to_owned(), chunked.clone(), false),
        (format!("Content-Length: {}\r\n", smuggled.len()), smuggled.to_owned(), true),
    ] {
        let credential = gate.buy("/ok").await;
        let before = origin.hits();
        let request =
            format!("POST /ok HTTP/1.1\r\nHost: api.example\r\n{}{lines}\r\n{body}", credential.line());
        // Kept alive, so that a smuggled request would be answered; it is a request of its own then.
        let closing = head("GET", "/ok", "");
        let bytes = exchange(gate.address, format!("{request}{closing}").as_bytes()).await;
        let first = Reply::read(&bytes, false).status;
        if served {
            assert_eq!(first, 200, "{lines}");
        } else {
            assert!((400..=501).contains(&first), "{lines}: {first}");
            let answers = String::from_utf8_lossy(&bytes).matches("HTTP/1.1 ").count();
            assert_eq!(answers, 1, "{lines}: nothing behind a refused head is answered");
        }
        assert_eq!(origin.hits() - before, usize::from(served), "{lines}");
        assert!(!origin.seen(|seen| seen.hits.iter().any(|h| h.line().contains("smuggled"))), "{lines}");
    }
}

/// A chunked body's framing is the client's to get right, and its unit's risk.
#[tokio::test]
async fn a_broken_body_is_not_forwarded_as_a_whole_one() {
    let origin = Origin::start().await;
    let gate = TestGate::before(&origin).await;
    let credential = gate.buy("/ok").await;
    let request = head("POST", "/ok", &format!("{}Transfer-Encoding: chunked\r\n", credential.line()))
        + "5\r\nhello\r\nXX\r\n";
    let reply = ask(gate.address, request.as_bytes()).await;
    assert_eq!((reply.status, reply.code().as_str()), (400, "body_incomplete"));
    assert_eq!(origin.seen(|seen| seen.bodies.len()), 0, "the upstream never saw the end of it");
    assert_eq!(gate.settled(&credential).await, (0, 0, 1), "the client used its unit");
}
