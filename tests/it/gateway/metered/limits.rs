//! Metered answers to a token that a holder limited: the limit is the smaller balance.

use super::*;

const BALANCE: u64 = 100_000;

#[tokio::test]
async fn a_stream_ends_where_the_limit_of_its_token_does() {
    let origin = Origin::start().await;
    let events: Vec<String> = (1..=40).map(|n| format!("data: {n}\n\n")).collect();
    origin.script("/events/all", chunked(STREAM, &[&events.concat()]));
    let gate = TestGate::with(vec![service(&origin, BALANCE)], patient()).await;
    let whole = gate.buy("/events/all").await;
    let copy = whole.narrowed(&["max_spend_msat=3500", "max_uses=9"]);
    let reply = gate.get("/events/all", &format!("{}TE: trailers\r\n", copy.line())).await;
    let text = reply.text();
    let (sold, told) = text.split_once("event: tollhouse\ndata: ").expect("a reason");
    assert_eq!(sold, events[..3].concat());
    let told: serde_json::Value = serde_json::from_str(told.trim_end()).expect("JSON");
    assert_eq!((&told["code"], &told["costMsat"]), (&"budget_exhausted".into(), &3_000.into()));
    assert_eq!(told["left"], 500, "of the limit, not of the balance");
    assert_eq!(reply.trailer("x-tollhouse-end"), Some("budget_exhausted"));
    assert_books(&gate, &whole, (BALANCE - 3_000, 0, 3_000), "a limited stream").await;
    // What the answer cost is what is counted; the ceiling stays the ceiling.
    let wide = whole.narrowed(&["max_spend_msat=30000"]);
    let reply = gate.get("/events/all", &format!("{}TE: trailers\r\n", wide.line())).await;
    assert_eq!(reply.trailer("x-tollhouse-end"), Some("ceiling_reached"));
    assert_books(&gate, &whole, (BALANCE - 23_000, 0, 23_000), "a wide limit").await;
    let used: Vec<u64> = gate
        .ledger
        .counters(whole.hash)
        .await
        .expect("it reads")
        .iter()
        .map(|row| row.counter.used)
        .collect();
    assert_eq!(used, [3_000, 1, 20_000]);
}

#[tokio::test]
async fn what_announces_more_than_the_limit_is_refused_whole() {
    let origin = Origin::start().await;
    origin.script("/bytes/file", sized("200 OK", &"x".repeat(2_000)));
    let gate = TestGate::with(vec![service(&origin, BALANCE)], patient()).await;
    let whole = gate.buy("/bytes/file").await;
    let copy = whole.narrowed(&["max_spend_msat=19999"]);
    let reply = gate.get("/bytes/file", &copy.line()).await;
    assert_eq!((reply.status, reply.code().as_str()), (402, "budget_exhausted"), "{reply:?}");
    assert_eq!(reply.header("x-tollhouse-unit"), Some("restored"));
    assert_books(&gate, &whole, (BALANCE, 0, 0), "too dear").await;
    assert_eq!(gate.ledger.counters(whole.hash).await.expect("it reads"), []);
    let reply = gate.get("/bytes/file", &whole.narrowed(&["max_spend_msat=20000"]).line()).await;
    assert_eq!((reply.status, reply.body.len()), (200, 2_000));
    assert_books(&gate, &whole, (BALANCE - 20_000, 0, 20_000), "exactly enough").await;
}
