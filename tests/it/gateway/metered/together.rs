//! Many answers at once, drawn from one balance.

use std::sync::Arc;

use futures_util::future::join_all;

use super::*;

const STREAMS: u64 = 64;

async fn at_once(gate: &Arc<TestGate>, credential: &Credential, path: &'static str) -> Vec<Reply> {
    join_all((0..STREAMS).map(|_| {
        let (gate, line) = (Arc::clone(gate), credential.line());
        async move { ask(gate.address, head("GET", path, &line).as_bytes()).await }
    }))
    .await
}

/// What was handed down of `/events`.
fn events(replies: &[Reply]) -> u64 {
    let count = |reply: &Reply| reply.text().matches("data: x").count();
    replies.iter().filter(|r| r.status == 200).map(|r| u64::try_from(count(r)).expect("few")).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_pays_for_itself() {
    let origin = Origin::start().await;
    origin.script("/events/three", chunked(STREAM, &["data: x\n\n", "data: x\n\n", "data: x\n\n"]));
    let balance = STREAMS * 20_000;
    let gate = Arc::new(TestGate::with(vec![service(&origin, balance)], patient()).await);
    let credential = gate.buy("/events/three").await;
    let replies = at_once(&gate, &credential, "/events/three").await;
    assert!(replies.iter().all(|reply| reply.status == 200 && reply.complete));
    assert_eq!(events(&replies), STREAMS * 3);
    let cost = STREAMS * 3_000;
    assert_books(&gate, &credential, (balance - cost, 0, cost), "all").await;
}

/// No two of them are paid for with the same money.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_more_is_handed_down_than_there_was() {
    let origin = Origin::start().await;
    origin.script("/events/three", chunked(STREAM, &["data: x\n\n", "data: x\n\n", "data: x\n\n"]));
    let balance = 50_500;
    let gate = Arc::new(TestGate::with(vec![service(&origin, balance)], patient()).await);
    let credential = gate.buy("/events/three").await;
    let replies = at_once(&gate, &credential, "/events/three").await;
    for reply in replies.iter().filter(|reply| reply.status != 200) {
        // All of it was held by others, or all of it was spent.
        let said = (reply.status, reply.code());
        let known = [(409, "in_flight"), (402, "spent"), (402, "balance_too_small")];
        assert!(known.iter().any(|(status, code)| said == (*status, (*code).to_owned())), "{said:?}");
    }
    let (left, held, spent) = gate.settled(&credential).await;
    // A stream in which no event could be paid for costs the least there is.
    let empty = replies.iter().filter(|r| r.status == 200 && !r.text().contains("data: x")).count();
    assert_eq!((left + spent, held), (balance, 0));
    assert_eq!(spent, events(&replies) * 1_000 + u64::try_from(empty).expect("few"));
    let report = gate.ledger.audit().await.expect("the ledger reads");
    assert!(report.ok || report.mismatches.iter().all(|m| m.starts_with("the hours say")), "{report:?}");
}
