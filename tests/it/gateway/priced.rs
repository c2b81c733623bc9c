//! Prices that move: by the rate of a currency, and by what a request says of itself.

use std::sync::Arc;

use tollhouse::catalog::{Offer, Offering, Service, Terms};
use tollhouse::checkout::BodySeen;
use tollhouse::pricing::{Formula, Rule, Zero};

use super::client::Reply;
use super::offers::{amount, shop};
use super::upstream::Origin;
use super::{Credential, TestGate, quick, sat};

/// One service at `terms`, nothing else.
fn only(origin: &Origin, terms: Terms) -> Service {
    let mut service = shop(origin);
    service.routes.clear();
    service.terms = Arc::new(terms);
    service
}

fn dollars(price: &str) -> Terms {
    Terms { rule: Rule::Fixed(amount(price)), ..sat(1) }
}

fn formula(text: &str) -> Terms {
    let formula =
        Formula::compile(text, None, Zero::Refuse).unwrap_or_else(|fault| panic!("{text}: {fault}"));
    Terms { rule: Rule::Formula(formula), ..sat(1) }
}

fn post(path: &str, lines: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\ncontent-length: {length}\r\n{lines}\r\n{body}"
    )
}

/// MONEY 2 and THREATS 18: the price is locked in its own currency when it is sold.
#[tokio::test]
async fn a_sale_in_dollars_stays_a_sale_in_dollars() {
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![only(&origin, dollars("0.01 USD"))], quick()).await;
    let unknown = gate.get("/ok", "").await;
    assert_eq!((unknown.status, unknown.code().as_str()), (503, "rate_stale"));
    assert_eq!(unknown.header("www-authenticate"), None);
    assert_eq!(gate.minter.minted(), 0);

    gate.market.set_usd(Some("50000"));
    let reply = gate.get("/ok", "").await;
    assert_eq!(
        (reply.json()["amountMsat"].as_u64(), reply.json()["quote"].as_str()),
        (Some(20_000), Some("0.01 USD@50000"))
    );
    let (one, two, three) = (gate.pay(&reply), gate.buy("/ok").await, gate.buy("/ok").await);
    // Bitcoin halves: the request is twice as many satoshi, and the same cent.
    gate.market.set_usd(Some("25000"));
    assert_eq!(gate.get("/ok", "").await.json()["amountMsat"], 40_000);
    assert_eq!(gate.get("/ok", &one.line()).await.status, 200);
    // Nobody knows the rate any more: what was sold is delivered, nothing is sold.
    gate.market.set_usd(None);
    assert_eq!(gate.get("/ok", &two.line()).await.status, 200);
    assert_eq!(gate.get("/ok", "").await.status, 503);
    // The price itself rises: that is another price.
    gate.market.set_usd(Some("50000"));
    gate.sell(vec![only(&origin, dollars("0.011 USD"))]);
    let reply = gate.get("/ok", &three.line()).await;
    assert_eq!((reply.status, reply.code().as_str()), (402, "price_changed"));
    gate.market.set_usd(Some("100000"));
    assert_eq!(gate.get("/ok", &three.line()).await.status, 200, "as many satoshi as were paid");
    assert_eq!(origin.hits(), 3);
    for credential in [one, two, three] {
        assert_eq!(gate.settled(&credential).await, (0, 0, 1));
    }
    gate.audited().await;
}

/// The payment knows at what rate it was asked for.
#[tokio::test]
async fn the_quote_is_stored_with_the_payment() {
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![only(&origin, dollars("0.01 USD"))], quick()).await;
    gate.market.set_usd(Some("64000.12"));
    let credential = gate.buy("/ok").await;
    let bought = gate.recent.get(&credential.hash).expect("it was offered lately");
    assert_eq!(bought.quote.as_deref(), Some("0.01 USD@64000.12"));
}

#[tokio::test]
async fn a_fallback_is_sold_at_while_nobody_knows_the_rate() {
    let origin = Origin::start().await;
    let terms = Terms { fallback: Some(amount("60 sat")), ..dollars("0.01 USD") };
    let gate = TestGate::with(vec![only(&origin, terms)], quick()).await;
    let reply = gate.get("/ok", "").await;
    assert_eq!((reply.status, reply.json()["amountMsat"].as_u64()), (402, Some(60_000)));
    assert_eq!(gate.get("/ok", &gate.pay(&reply).line()).await.status, 200);
}

/// Buys what `body` costs.
async fn buy(gate: &TestGate, body: &str) -> (u64, Credential) {
    let reply = gate.ask(&post("/ok", "", body)).await;
    assert_eq!(reply.status, 402, "{reply:?}");
    (reply.json()["amountMsat"].as_u64().expect("an amount"), gate.pay(&reply))
}

async fn redeem(gate: &TestGate, credential: &Credential, body: &str) -> Reply {
    gate.ask(&post("/ok", &credential.line(), body)).await
}

/// What was priced is what is sent: a body that became dearer is not served.
#[tokio::test]
async fn a_body_is_priced_as_it_is_sent() {
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![only(&origin, formula("sat(request.json.n)"))], quick()).await;
    let (price, credential) = buy(&gate, r#"{"n":3}"#).await;
    assert_eq!(price, 3_000);
    for dearer in [r#"{"n":4}"#, r#"{"n":1000}"#] {
        let reply = redeem(&gate, &credential, dearer).await;
        assert_eq!((reply.status, reply.code().as_str()), (402, "price_changed"), "{dearer}");
    }
    // Read in two ways, not read at all, negative, nothing, or no number: never served for it.
    let huge = format!("{{\"n\":1,\"pad\":\"{}\"}}", "x".repeat(70_000));
    for odd in [
        r#"{"n":3,"n":1000}"#,
        r#"{"n":1,"\u006e":1000}"#,
        r#"{"n":"3"}"#,
        r#"{"n":-3}"#,
        r#"{"n":0}"#,
        r#"{"n":null}"#,
        r#"{"n":99999999999999999999}"#,
        r#"{}"#,
        "n=3",
        "",
        &huge,
    ] {
        let reply = redeem(&gate, &credential, odd).await;
        assert_eq!(reply.status, 503, "{}: {}", &odd[..odd.len().min(60)], reply.text());
        assert_eq!(gate.ask(&post("/ok", "", odd)).await.status, 503);
    }
    assert_eq!(origin.hits(), 0);
    let sent = "{ \"n\" : 3,\n\"other\": [1.0, \"\\u00e9\"] }";
    assert_eq!(redeem(&gate, &credential, sent).await.status, 200);
    assert_eq!(origin.seen(|seen| seen.bodies.clone()), [sent.as_bytes()]);
    assert_eq!(origin.last().header("content-length"), [sent.len().to_string()]);
    assert_eq!(gate.settled(&credential).await, (0, 0, 1));
    gate.audited().await;
}

/// With a fallback, what cannot be read costs that, and arrives whole.
#[tokio::test]
async fn a_long_body_costs_the_fallback_and_arrives_whole() {
    let origin = Origin::start().await;
    let terms = Terms { fallback: Some(amount("90 sat")), ..formula("sat(request.json.n)") };
    let gate = TestGate::with(vec![only(&origin, terms)], quick()).await;
    let long = format!("{{\"n\":1,\"pad\":\"{}\"}}", "x".repeat(300_000));
    let (price, credential) = buy(&gate, &long).await;
    assert_eq!(price, 90_000);
    assert_eq!(redeem(&gate, &credential, &long).await.status, 200);
    assert_eq!(origin.seen(|seen| seen.bodies.clone()), [long.as_bytes()]);

    // Chunked: looked at as far as it fits, and sent on as chunks.
    for (n, pad, price) in [(3, 10, 3_000), (3, 65_400, 3_000), (3, 65_600, 90_000)] {
        let body = format!("{{\"n\":{n},\"pad\":\"{}\"}}", "x".repeat(pad));
        let chunks: String = body
            .as_bytes()
            .chunks(9_000)
            .map(|c| format!("{:x}\r\n{}\r\n", c.len(), String::from_utf8_lossy(c)))
            .collect();
        let request = |lines: &str| {
            format!(
                "POST /ok HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\ntransfer-encoding: chunked\r\n{lines}\r\n{chunks}0\r\n\r\n"
            )
        };
        let reply = gate.ask(&request("")).await;
        assert_eq!((reply.status, reply.json()["amountMsat"].as_u64()), (402, Some(price)), "{pad}");
        let credential = gate.pay(&reply);
        assert_eq!(gate.ask(&request(&credential.line())).await.status, 200, "{pad}");
        assert_eq!(origin.seen(|seen| seen.bodies.last().cloned()), Some(body.into_bytes()));
    }
    gate.audited().await;
}

#[tokio::test]
async fn a_body_that_never_ends_holds_nothing() {
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![only(&origin, formula("sat(request.json.n)"))], quick()).await;
    let request = post("/ok", "", r#"{"n":3}"#);
    let stalled = gate.ask(&request[..request.len() - 2]).await;
    assert_eq!((stalled.status, stalled.code().as_str()), (408, "body_stalled"));
    assert_eq!((gate.minter.minted(), origin.hits()), (0, 0));
}

/// A pack at a price of its own is not sold by a formula: who buys picks the request.
#[tokio::test]
async fn a_pack_of_formulas_is_sold_by_the_formula() {
    let origin = Origin::start().await;
    let pack = |name: &str, price: Option<&str>| Offer {
        name: name.parse().expect("a name"),
        what: Offering::Pack { requests: 10, price: price.map(amount) },
    };
    let terms = Terms {
        offers: vec![pack("flat", Some("10 sat")), pack("sum", None)],
        ..formula("sat(request.json.n)")
    };
    let gate = TestGate::with(vec![only(&origin, terms)], quick()).await;
    let reply = gate.ask(&post("/ok", "Prefer: l402-offer=flat\r\n", r#"{"n":7}"#)).await;
    assert_eq!(
        (reply.json()["offer"].as_str(), reply.json()["amountMsat"].as_u64()),
        (Some("sum"), Some(70_000))
    );
    assert_eq!(reply.json()["offers"].as_array().map(Vec::len), Some(1));
    let pack = gate.pay(&reply);
    assert_eq!(redeem(&gate, &pack, r#"{"n":8}"#).await.code(), "price_changed");
    assert_eq!(redeem(&gate, &pack, r#"{"n":7}"#).await.status, 200);
    assert_eq!(redeem(&gate, &pack, r#"{"n":1}"#).await.status, 200);
    assert_eq!(gate.settled(&pack).await, (8, 0, 2));
    gate.audited().await;
}

/// What the dry run says is what the gate does.
#[tokio::test]
async fn a_price_tag_says_what_the_402_says() {
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![shop(&origin)], quick()).await;
    for (path, prefer) in
        [("/ok", None), ("/ok", Some("pack-5")), ("/dear/ok", Some("pack-5")), ("/own/x", Some("hour"))]
    {
        let line = prefer.map_or(String::new(), |offer| format!("Prefer: l402-offer={offer}\r\n"));
        let reply = gate.get(path, &line).await.json();
        let mut asked = http::Request::get(path).header("host", "api.example");
        if let Some(offer) = prefer {
            asked = asked.header("prefer", format!("l402-offer={offer}"));
        }
        let (parts, ()) = asked.body(()).expect("a request").into_parts();
        let request = tollhouse::request::admit(&parts, gate.address.ip()).expect("let in");
        let tag = gate.checkout.price(&request, &parts.headers, BodySeen::NONE).expect("it is sold").json();
        assert_eq!(tag["offer"], reply["offer"], "{path}");
        assert_eq!(tag["price"]["mostMsat"], reply["request"]["mostMsat"], "{path}");
        assert_eq!(tag["restore_on"], reply["restore_on"]);
        let sold: Vec<_> =
            tag["offers"].as_array().expect("offers").iter().filter(|o| o["notSold"].is_null()).collect();
        assert_eq!(sold, reply["offers"].as_array().expect("offers").iter().collect::<Vec<_>>(), "{path}");
    }
    assert_eq!(gate.minter.minted(), 4, "a dry run mints nothing");
}
