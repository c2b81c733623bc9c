//! Copies of a token that a holder limited: what each may use, however they are cut.

use std::sync::Arc;

use futures_util::future::join_all;

use super::client::Reply;
use super::offers::shop;
use super::upstream::Origin;
use super::{Credential, TestGate, patient, quick};
use crate::l402_world::narrowed;

impl Credential {
    /// A copy with these caveats, made by another library.
    pub(super) fn narrowed(&self, caveats: &[&str]) -> Credential {
        Credential { header: narrowed(&self.header, caveats), hash: self.hash }
    }
}

/// Status, and the code of a refusal or what is left.
fn came_to(reply: &Reply) -> (u16, String) {
    let left = reply.header("x-tollhouse-left").map(str::to_owned);
    (reply.status, left.filter(|_| reply.status == 200).unwrap_or_else(|| reply.code()))
}

async fn asked(gate: &TestGate, path: &str, credential: &Credential) -> (u16, String) {
    let reply = gate.get(path, &credential.line()).await;
    gate.settled(credential).await;
    came_to(&reply)
}

fn ok(left: u64) -> (u16, String) {
    (200, left.to_string())
}

fn no(code: &str) -> (u16, String) {
    (402, code.to_owned())
}

/// Holders who share one pack: each spends its own, none the other's, and together no more than it holds.
#[tokio::test]
async fn siblings_spend_their_own_and_not_each_others() {
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![shop(&origin)], quick()).await;
    let pack = gate.buy_offer("/ok", "pack-5").await;
    let a = pack.narrowed(&["budget_id=a", "max_uses=1"]);
    let b = pack.narrowed(&["budget_id=b", "max_uses=1"]);
    assert_eq!(asked(&gate, "/ok", &a).await, ok(0), "the smaller of the limit and the pack");
    assert_eq!(asked(&gate, "/ok", &a).await, no("uses_exhausted"));
    // However it is cut from there on, it is the same copy to its counter.
    for more in [
        &["budget_id=b"][..],
        &["budget_id=b", "max_uses=1"],
        &["max_uses=1"],
        &["max_spend_msat=9000"],
        &["budget_id=", "max_uses=1"],
        &["expires=2099-01-01T00:00:00Z"],
    ] {
        let (status, code) = asked(&gate, "/ok", &a.narrowed(more)).await;
        assert_eq!(status, 402, "{more:?} {code}");
    }
    assert_eq!(asked(&gate, "/ok", &b).await, ok(0));
    assert_eq!(gate.units(&pack).await, (3, 0, 2));
    // Another name is another counter, and only whoever holds more than the limited copy can write it.
    assert_eq!(asked(&gate, "/ok", &pack.narrowed(&["budget_id=c", "max_uses=1"])).await, ok(0));
    assert_eq!(asked(&gate, "/ok", &pack.narrowed(&["max_uses=9"])).await, ok(1), "what the pack leaves");
    assert_eq!(asked(&gate, "/ok", &pack).await, ok(0));
    assert_eq!(asked(&gate, "/ok", &pack.narrowed(&["max_uses=9"])).await, no("spent"));
    assert_eq!(origin.hits(), 5);
    gate.audited().await;
}

#[tokio::test]
async fn nested_limits_all_apply_and_a_refusal_is_a_fresh_offer() {
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![shop(&origin)], quick()).await;
    // 35 sat, of which each request takes 10.
    let purse = gate.buy_offer("/ok", "purse").await;
    let team = purse.narrowed(&["budget_id=team", "max_spend_msat=25000"]);
    let (one, two) = (
        team.narrowed(&["budget_id=one", "max_spend_msat=19999"]),
        team.narrowed(&["budget_id=two", "max_spend_msat=20000"]),
    );
    assert_eq!(asked(&gate, "/ok", &one).await, ok(9_999));
    assert_eq!(asked(&gate, "/ok", &one).await, no("budget_exhausted"));
    assert_eq!(asked(&gate, "/ok", &two).await, ok(5_000), "the team's rest is the smaller one");
    let refused = gate.get("/ok", &two.line()).await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (402, "budget_exhausted"),
        "two has 10 sat, the team 5"
    );
    assert_ne!(gate.pay(&refused).hash, purse.hash);
    assert!(
        refused.json()["detail"].as_str().is_some_and(|text| text.contains("5 sat of that are left")),
        "{refused:?}"
    );
    assert_eq!(asked(&gate, "/ok", &purse).await, ok(5_000));
    assert_eq!(asked(&gate, "/ok", &purse).await, no("balance_too_small"));
    let rows = gate.ledger.counters(purse.hash).await.expect("the ledger reads");
    let used: Vec<u64> = rows.iter().map(|row| row.counter.used).collect();
    assert_eq!(used, [20_000, 10_000, 10_000]);
    gate.audited().await;
}

#[tokio::test]
async fn each_kind_is_counted_in_its_own_way() {
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![shop(&origin)], quick()).await;
    // One of five for 40 sat costs 8.
    let pack = gate.buy_offer("/ok", "pack-5").await;
    assert_eq!(asked(&gate, "/ok", &pack.narrowed(&["max_spend_msat=7999"])).await, no("budget_exhausted"));
    assert_eq!(gate.units(&pack).await, (0, 0, 0), "nothing was redeemed for a refusal");
    let two = pack.narrowed(&["max_spend_msat=16000"]);
    assert_eq!(asked(&gate, "/ok", &two).await, ok(1));
    assert_eq!(asked(&gate, "/ok", &two).await, ok(0));
    assert_eq!(asked(&gate, "/ok", &two).await, no("budget_exhausted"));
    // A single request costs its price.
    let single = gate.buy("/ok").await;
    assert_eq!(asked(&gate, "/ok", &single.narrowed(&["max_spend_msat=9999"])).await, no("budget_exhausted"));
    assert_eq!(asked(&gate, "/ok", &single.narrowed(&["max_spend_msat=10000"])).await, ok(0));
    // A pass costs its price, once; its requests can be counted.
    let pass = gate.buy_offer("/ok", "hour").await;
    assert_eq!(asked(&gate, "/ok", &pass.narrowed(&["max_spend_msat=99999"])).await, no("budget_exhausted"));
    let whole = pass.narrowed(&["max_spend_msat=100000", "max_uses=2"]);
    assert_eq!(asked(&gate, "/ok", &whole).await.0, 200);
    assert_eq!(asked(&gate, "/ok", &whole).await, ok(0));
    assert_eq!(asked(&gate, "/ok", &whole).await, no("uses_exhausted"));
    assert_eq!(asked(&gate, "/ok", &pass).await.0, 200);
    gate.audited().await;
}

/// What was not delivered goes back to every counter (MONEY 7, 12).
#[tokio::test]
async fn a_failure_gives_back_to_every_counter() {
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![shop(&origin)], quick()).await;
    let purse = gate.buy_offer("/ok", "purse").await;
    let copy = purse.narrowed(&["max_uses=1", "max_spend_msat=10000", "max_uses=1"]);
    for path in ["/500", "/rst", "/silent", "/truncated"] {
        let reply = gate.get(path, &copy.line()).await;
        assert_eq!(gate.settled(&purse).await, (35_000, 0, 0), "{path}");
        if reply.status == 500 {
            assert_eq!(reply.header("x-tollhouse-left"), Some("10000"), "{path}: {reply:?}");
        }
        assert_eq!(gate.ledger.counters(purse.hash).await.expect("it reads"), [], "{path}");
    }
    assert_eq!(asked(&gate, "/ok", &copy).await, ok(0));
    assert_eq!(asked(&gate, "/ok", &copy).await, no("uses_exhausted"));
    assert_eq!(gate.units(&purse).await, (25_000, 0, 10_000));
    gate.audited().await;
}

/// THREATS 1 below a limit: one use, many at once, each with another name behind it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_four_at_once_on_one_use_are_served_once() {
    let origin = Origin::start().await;
    let gate = Arc::new(TestGate::with(vec![shop(&origin)], patient()).await);
    let pack = gate.buy_offer("/gated", "pack-5").await;
    let copy = pack.narrowed(&["budget_id=agent", "max_uses=1"]);
    let all = join_all((0..64).map(|n| {
        let name = format!("budget_id={n}");
        let own = copy.narrowed(&[&name, "max_uses=1"]);
        let (gate, line) = (Arc::clone(&gate), own.line());
        async move { gate.get("/gated", &line).await }
    }));
    let (replies, ()) = tokio::join!(all, async {
        origin.until(|seen| seen.hits.len() == 1).await;
        let late = gate.get("/gated", &copy.line()).await;
        assert_eq!((late.status, late.code().as_str()), (409, "in_flight"));
        assert_eq!(late.header("www-authenticate"), None, "a client must not be sent to pay again");
        assert_eq!(gate.units(&pack).await, (4, 1, 0), "the others' units were not touched");
        origin.shared.gate.notify_one();
    });
    let count = |status| replies.iter().filter(|reply| reply.status == status).count();
    assert_eq!((count(200), count(409) + count(402)), (1, 63));
    assert!(replies.iter().filter(|reply| reply.status == 402).all(|reply| reply.code() == "uses_exhausted"));
    assert_eq!(gate.settled(&pack).await, (4, 0, 1));
    assert_eq!(origin.hits(), 1);
    assert_eq!(gate.ledger.counters(pack.hash).await.expect("it reads").len(), 2);
    gate.audited().await;
}

/// What a sibling's request brought is not replayed to whoever guesses its name.
#[tokio::test]
async fn a_kept_answer_belongs_to_the_copy_that_paid_for_it() {
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![shop(&origin)], patient()).await;
    let pack = gate.buy_offer("/ok", "pack-5").await;
    let a = pack.narrowed(&["budget_id=a", "max_uses=1"]);
    let b = pack.narrowed(&["budget_id=b", "max_uses=0"]);
    let named = |credential: &Credential| format!("{}Idempotency-Key: run-1\r\n", credential.line());
    assert_eq!(gate.get("/ok", &named(&a)).await.status, 200);
    gate.settled(&pack).await;
    let again = gate.get("/ok", &named(&a)).await;
    assert_eq!((again.status, again.header("x-tollhouse-replayed")), (200, Some("true")));
    let other = gate.get("/ok", &named(&b)).await;
    assert_eq!((other.status, other.code().as_str()), (402, "uses_exhausted"));
    assert_eq!((gate.units(&pack).await, origin.hits()), ((4, 0, 1), 1));
}

/// THREATS 3: a revoked token takes its limited copies with it.
#[tokio::test]
async fn a_revoked_token_takes_its_copies_with_it() {
    let origin = Origin::start().await;
    let gate = TestGate::with(vec![shop(&origin)], quick()).await;
    let pack = gate.buy_offer("/ok", "pack-5").await;
    let copy = pack.narrowed(&["max_uses=3"]);
    assert_eq!(asked(&gate, "/ok", &copy).await, ok(2));
    gate.ledger.revoke(pack.hash).await.expect("it is written");
    assert_eq!(asked(&gate, "/ok", &copy).await, no("revoked"));
    assert_eq!(asked(&gate, "/ok", &pack.narrowed(&["max_uses=0"])).await, no("revoked"));
    gate.audited().await;
}
