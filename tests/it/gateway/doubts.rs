//! Requests that mean one thing to the gate and another to a server behind it are not sold by what the gate
//! reads.

use std::time::Duration;

use tollhouse::catalog::{Allowance, AllowanceBy, PathPattern, Route, Service, Terms};
use tollhouse::pricing::{Formula, Rule, Zero};

use super::upstream::Origin;
use super::{TestGate, quick, sat, service};

fn priced(origin: &Origin, text: &str) -> Service {
    let formula = Formula::compile(text, None, Zero::Refuse).expect("a formula");
    let terms = Terms { rule: Rule::Formula(formula), ..sat(1) };
    Service { terms: terms.into(), routes: Vec::new(), ..service(origin) }
}

fn post(path: &str, lines: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\ncontent-length: {length}\r\n{lines}\r\n{body}"
    )
}

/// A form, or text in another charset, may look like JSON that asks for less.
#[tokio::test]
async fn a_body_that_says_that_it_is_no_json_is_not_priced_as_json() {
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![priced(&origin, "sat(request.json.n)")], quick()).await;
    for (lines, body, asked) in [
        ("", "{\"n\":3}", 402),
        ("Content-Type: application/json\r\n", "{\"n\":3}", 402),
        ("Content-Type: application/json; charset=UTF-8\r\n", "{\"n\":3}", 402),
        ("Content-Type: application/x-www-form-urlencoded\r\n", "{\"n\":1,\"x\":\"&n=1000&\"}", 503),
        ("Content-Type: application/json; charset=utf-7\r\n", "{\"n\":1,\"+AG4-\":1000}", 503),
        ("Content-Type: application/json\r\nContent-Type: text/plain\r\n", "{\"n\":1}", 503),
        ("Content-Encoding: gzip\r\n", "{\"n\":1}", 503),
        ("Content-Type: application/json\r\nContent-Encoding: br\r\n", "{\"n\":1}", 503),
    ] {
        let reply = gate.ask(&post("/ok", lines, body)).await;
        assert_eq!(reply.status, asked, "{lines}{body}: {}", reply.text());
    }
    assert_eq!(origin.hits(), 0);
}

/// Go's `encoding/json` takes the Kelvin sign for a k; PHP takes `max.n` and `max_n[]` for `max_n`.
#[tokio::test]
async fn a_default_is_not_asked_for_by_another_spelling() {
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![priced(&origin, "sat(get(request.json.tokens, 1))")], quick()).await;
    for (body, asked) in [
        ("{\"tokens\":5}", 402),
        ("{\"other\":5}", 402),
        ("{\"TOKENS\":5}", 503),
        ("{\"to\u{212a}ens\":5}", 503),
        ("{\"token\u{17f}\":5}", 503),
        ("{\"tokens\":1,\"to\\u212aens\":1000}", 503),
    ] {
        let reply = gate.ask(&post("/ok", "", body)).await;
        assert_eq!(reply.status, asked, "{body}: {}", reply.text());
    }
    gate.sell(vec![priced(&origin, "sat(int(get(request.query.max_n, '1')))")]);
    for (query, asked) in [
        ("max_n=5", 402),
        ("n=5", 402),
        ("max_n=1&max.n=1000", 503),
        ("Max_n=5", 503),
        ("+max_n=5", 503),
        ("max%5fn%5b%5d=5", 503),
        ("max_n=1&max_n=1000", 503),
    ] {
        let reply = gate.get(&format!("/ok?{query}"), "").await;
        assert_eq!(reply.status, asked, "{query}: {}", reply.text());
    }
    assert_eq!(origin.hits(), 0);
}

/// An upstream that answers in any letter case would give a sold thing away by the allowance beside it.
#[tokio::test]
async fn an_allowance_does_not_reach_another_route_by_its_spelling() {
    let origin = Origin::start().await;
    let free = Some(Allowance { requests: 9, per: Duration::from_secs(86_400), by: AllowanceBy::Ip });
    let route = |name: &str, path, terms| Route::new(name.parse().expect("a name"), None, path, terms);
    let shop = Service {
        routes: vec![
            route("given", PathPattern::Under("/v1".to_owned()), Terms { free, ..sat(10) }),
            route("sold", PathPattern::Exact("/v1/sold".to_owned()), sat(10)),
        ],
        ..service(&origin)
    };
    let gate = TestGate::with(vec![shop], quick()).await;
    for path in ["/v1/sold", "/v1/SOLD", "/v1/sold/", "/V1/Sold"] {
        assert_eq!(gate.get(path, "").await.status, 402, "{path}");
    }
    assert_eq!(origin.hits(), 0);
    gate.get("/v1/other", "").await;
    assert_eq!(origin.hits(), 1);
}

/// What is kept for a client that lost its answer is nobody else's, and nothing else's.
#[tokio::test]
async fn a_kept_answer_is_only_for_its_own_request_and_token() {
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![service(&origin)], quick()).await;
    let (mine, other) = (gate.buy("/ok").await, gate.buy("/ok").await);
    let key = "Idempotency-Key: one\r\n";
    assert_eq!(gate.get("/ok", &format!("{}{key}", mine.line())).await.status, 200);
    assert_eq!(gate.settled(&mine).await, (0, 0, 1));
    let replayed = gate.get("/ok", &format!("{}{key}", mine.line())).await;
    assert_eq!((replayed.status, replayed.header("x-tollhouse-replayed")), (200, Some("true")));
    for (path, lines) in [
        ("/ok", key.to_owned()),
        ("/ok?x", format!("{}{key}", mine.line())),
        ("/OK", format!("{}{key}", mine.line())),
        ("/ok", format!("{}Idempotency-Key: two\r\n", mine.line())),
        ("/ok", format!("{}{key}{key}", mine.line())),
        ("/ok", format!("{}x{key}", mine.line())),
    ] {
        let reply = gate.get(path, &lines).await;
        assert_eq!((reply.status, reply.header("x-tollhouse-replayed")), (402, None), "{path} {lines}");
    }
    let theirs = gate.get("/ok", &format!("{}{key}", other.line())).await;
    assert_eq!((theirs.status, theirs.header("x-tollhouse-replayed")), (200, None), "an answer of its own");
    assert_eq!(origin.hits(), 2);
    gate.ledger.revoke(mine.hash).await.expect("it is taken back");
    let revoked = gate.get("/ok", &format!("{}{key}", mine.line())).await;
    assert_eq!((revoked.status, revoked.code().as_str()), (402, "revoked"));
    gate.audited().await;
}
