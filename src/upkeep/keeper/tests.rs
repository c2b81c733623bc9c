//! The rules over a ledger and a node that is made of answers, through crashes.

use std::sync::atomic::Ordering;

use serde_json::json;

use super::*;
use crate::ports::{BoxFuture, SendFault};
use crate::store::BegunOperation;
use crate::upkeep::rule::{PayOutRule, SpliceOutRule};
use crate::upkeep::rulebook::Unspliced;
use crate::upkeep::stage::{Stage, sat};

/// Notes a splice as the treasury would, and leaves its end open.
struct FakeSplicer {
    ledger: Ledger,
    /// The appliance dies before it hears what became of a splice.
    dies: bool,
}

impl Splicer for FakeSplicer {
    fn check(&self, to: &str) -> Result<(), String> {
        if to == "vault" { Ok(()) } else { Err("not an address".to_owned()) }
    }

    fn fee(&self) -> BoxFuture<'_, Option<Msat>> {
        Box::pin(async { Some(sat(500)) })
    }

    fn splice_out(
        &self,
        key: String,
        channel_id: String,
        to: String,
        amount: Msat,
        run: RuleRun,
    ) -> BoxFuture<'_, Result<OperationRow, Unspliced>> {
        Box::pin(async move {
            let ask = json!({ "channel_id": channel_id, "address": to, "amount_sat": amount.sats_floor() });
            let begun =
                self.ledger.begin_marked_operation(&key, "splice_out", ask, Value::Null, Some(run)).await;
            match begun.unwrap() {
                BegunOperation::New(_) if self.dies => std::future::pending().await,
                BegunOperation::New(id) => Ok(self.ledger.operation(id).await.unwrap().unwrap()),
                BegunOperation::Known(row) | BegunOperation::Another(row) => Ok(row),
            }
        })
    }
}

fn keeper_on(stage: &Stage, rules: FileRules) -> Keeper {
    let splicer = Arc::new(FakeSplicer { ledger: stage.ledger.clone(), dies: false });
    keeper_with(stage, rules, splicer)
}

fn keeper_with(stage: &Stage, rules: FileRules, splicer: Arc<FakeSplicer>) -> Keeper {
    Keeper::new(KeeperParts {
        ledger: stage.ledger.clone(),
        payouts: stage.payouts.clone(),
        splicer,
        node: stage.node.clone(),
        clock: stage.clock.clone(),
        rules,
    })
}

/// Below 10,000 up to 50,000, at most 60,000 a day.
fn rule() -> PayOutRule {
    PayOutRule {
        to: "lno1any".to_owned(),
        below_sat: 10_000,
        until_sat: 50_000,
        per_day_sat: 60_000,
        max_fee_ppm: 10_000,
    }
}

fn paying() -> FileRules {
    FileRules { pay_out: Some(rule()), splice_out: None }
}

async fn asked(stage: &Stage, count: usize) -> Vec<crate::ports::OfferAsk> {
    stage.until(async || Some(stage.node.asked()).filter(|asked| asked.len() >= count)).await
}

/// Waits until the newest operation has an end.
async fn ended(stage: &Stage) -> OperationRow {
    let newest = async || {
        let rows = stage.ledger.operations(i64::MAX, 1).await.unwrap();
        rows.into_iter().next().filter(|row| row.state.is_final())
    };
    stage.until(newest).await
}

async fn reasons(stage: &Stage) -> Vec<String> {
    let rested = |event| match event {
        Event::RuleRested { code, .. } => Some(code),
        Event::RuleRan { .. } => Some("ran".to_owned()),
        _ => None,
    };
    stage.log().await.into_iter().filter_map(rested).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_pays_one_at_a_time_and_no_more_than_its_day_allows() {
    let stage = Stage::new();
    let keeper = keeper_on(&stage, paying());
    for _ in 0..3 {
        keeper.look().await.unwrap();
    }
    let first = asked(&stage, 1).await;
    assert_eq!((first.len(), first[0].amount, first[0].max_fee), (1, sat(49_000), sat(490)));
    stage.offer_arrives(&first[0].note, 1, sat(49_000), sat(90)).await;
    ended(&stage).await;
    // Receivable did not grow, say: the day's rest is 60,000 - 49,090, fee included.
    keeper.look().await.unwrap();
    let second = asked(&stage, 2).await;
    assert_eq!(second[1].amount, sat(10_801));
    assert!(second[1].amount.msat() + second[1].max_fee.msat() <= sat(10_910).msat());
    stage.offer_arrives(&second[1].note, 2, second[1].amount, sat(100)).await;
    ended(&stage).await;
    for _ in 0..3 {
        keeper.look().await.unwrap();
    }
    assert_eq!(stage.node.asked().len(), 2);
    assert_eq!(reasons(&stage).await, ["ran", "one_on_its_way", "ran", "daily_limit"]);
    let view = keeper.view().await.unwrap();
    assert_eq!((view[0].drawn, view[0].in_file), (sat(49_090 + 10_801 + 100), true));
    assert_eq!(view[0].said.as_ref().unwrap().0, "daily_limit");
    // The next day it goes on.
    stage.clock.advance(Duration::from_secs(24 * 3_600));
    keeper.look().await.unwrap();
    asked(&stage, 3).await;
    assert!(stage.ledger.audit().await.unwrap().ok);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_rests_while_nothing_is_needed_and_says_so_once() {
    let stage = Stage::new();
    stage.node.has(sat(100_000), sat(10_000));
    let keeper = keeper_on(&stage, paying());
    for _ in 0..3 {
        keeper.look().await.unwrap();
    }
    assert!(stage.node.asked().is_empty());
    assert_eq!(reasons(&stage).await, ["not_needed"]);
    // An absent peer's channel is no reason to pay: what it could receive still counts.
    stage.node.view.lock().unwrap().receivable_msat = 0;
    keeper.look().await.unwrap();
    assert!(stage.node.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn it_backs_off_after_failures_and_tries_less() {
    let stage = Stage::new();
    let keeper = keeper_on(&stage, paying());
    *stage.node.fault.lock().unwrap() = Some(SendFault::Refused("no way".to_owned()));
    keeper.look().await.unwrap();
    assert_eq!(ended(&stage).await.state, OperationState::Failed);
    keeper.look().await.unwrap();
    assert_eq!(reasons(&stage).await, ["ran", "backing_off"]);
    *stage.node.fault.lock().unwrap() = None;
    stage.clock.advance(Duration::from_secs(60));
    keeper.look().await.unwrap();
    assert_eq!(asked(&stage, 1).await[0].amount, sat(24_500), "half of what found no way");

    // A payee that refuses before there is an operation is not asked all the time either.
    let stage = Stage::new();
    let rules =
        FileRules { pay_out: Some(PayOutRule { to: "lno1gone".to_owned(), ..rule() }), splice_out: None };
    let keeper = keeper_on(&stage, rules);
    for _ in 0..3 {
        keeper.look().await.unwrap();
    }
    assert_eq!(reasons(&stage).await, ["bad_offer", "backing_off"]);
    assert!(stage.ledger.operations(i64::MAX, 1).await.unwrap().is_empty());
}

/// It dies after the operation was noted, after the node took the payment, and when nobody knows.
#[tokio::test(flavor = "multi_thread")]
async fn no_crash_makes_a_rule_pay_twice() {
    let mut stage = Stage::new();
    stage.node.cut.store(true, Ordering::SeqCst);
    keeper_on(&stage, paying()).look().await.unwrap();
    let note = asked(&stage, 1).await[0].note.clone();
    for _ in 0..2 {
        stage = stage.die_and_start().await;
        stage.payouts.resume().await.unwrap();
        let keeper = keeper_on(&stage, paying());
        keeper.look().await.unwrap();
        keeper.look().await.unwrap();
        assert_eq!(stage.node.asked().len(), 1, "the one on its way is waited for");
    }
    stage.offer_arrives(&note, 1, sat(49_000), sat(1)).await;
    ended(&stage).await;

    // Died before the node was asked: it has failed for sure, and the rule tries again after its pause.
    let key = format!("{}{:06}", day_keys(PAY_OUT_RULE, stage.clock.now()), 2);
    let ask = json!({ "to": "lno1any", "amount_msat": 5_000_000, "max_fee_msat": 1_000 });
    stage.ledger.begin_operation(&key, "pay_out", ask).await.unwrap();
    stage = stage.die_and_start().await;
    stage.payouts.resume().await.unwrap();
    assert_eq!(ended(&stage).await.state, OperationState::Failed);
    stage.clock.advance(Duration::from_secs(61));
    stage.node.cut.store(true, Ordering::SeqCst);
    stage.node.forgets.store(true, Ordering::SeqCst);
    keeper_on(&stage, paying()).look().await.unwrap();
    asked(&stage, 2).await;

    // Nobody knows what became of that one: it counts whole, and nothing is paid until it is settled.
    stage = stage.die_and_start().await;
    stage.payouts.resume().await.unwrap();
    let unclear = async || {
        let row = stage.ledger.operations(i64::MAX, 1).await.unwrap().into_iter().next();
        row.filter(|row| row.state == OperationState::Unclear)
    };
    let row = stage.until(unclear).await;
    stage.clock.advance(Duration::from_secs(7 * 3_600));
    let again = keeper_on(&stage, paying());
    again.look().await.unwrap();
    assert_eq!(stage.node.asked().len(), 2);
    assert_eq!(reasons(&stage).await.last().unwrap(), "one_on_its_way");
    assert!(again.view().await.unwrap()[0].drawn >= drawn(&row));
    // The first cost 49,001 with its fee; of the second nobody knows, so all that it may cost counts.
    let second = stage.node.asked().pop().unwrap();
    let sum = sat(49_001).msat() + second.amount.msat() + second.max_fee.msat();
    assert!(sum <= sat(60_000).msat(), "never more than a day allows, whatever died: {sum}");
    assert!(stage.ledger.audit().await.unwrap().ok);
}

#[tokio::test(flavor = "multi_thread")]
async fn spendable_above_the_mark_goes_to_the_vault() {
    let stage = Stage::new();
    let terms =
        SpliceOutRule { to: "vault".to_owned(), above_sat: 90_000, keep_sat: 40_000, per_day_sat: 100_000 };
    let keeper = keeper_on(&stage, FileRules::default());
    keeper.look().await.unwrap();
    assert!(reasons(&stage).await.is_empty(), "rules are off by default");
    let bad = Rule::SpliceOut(SpliceOutRule { to: "elsewhere".to_owned(), ..terms.clone() });
    assert!(matches!(keeper.set(SPLICE_OUT_RULE, Some(bad)).await, Err(RuleRefused::Senseless(_))));
    keeper.set(SPLICE_OUT_RULE, Some(Rule::SpliceOut(terms))).await.unwrap();
    for _ in 0..3 {
        keeper.look().await.unwrap();
    }
    let rows = stage.ledger.operations(i64::MAX, 9).await.unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].ask, json!({ "channel_id": "c1", "address": "vault", "amount_sat": 59_500 }));
    assert_eq!(reasons(&stage).await, ["ran", "one_on_its_way"]);
    // Fees count: what one costs, until it is known what this one did.
    assert_eq!(keeper.view().await.unwrap()[1].drawn, sat(60_000));
    let facts = json!({ "fee_sat": 321 });
    stage.ledger.note_facts(rows[0].id, OperationState::Intended, OperationState::Done, facts).await.unwrap();
    assert_eq!(keeper.view().await.unwrap()[1].drawn, sat(59_821));
    keeper.set(SPLICE_OUT_RULE, None).await.unwrap();
    assert!(keeper.view().await.unwrap()[1].terms.is_none());
}

/// It dies between the move of the coins and anything that it could note after it.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_leaves_no_run_without_its_reason() {
    let stage = Stage::new();
    let terms =
        SpliceOutRule { to: "vault".to_owned(), above_sat: 90_000, keep_sat: 40_000, per_day_sat: 100_000 };
    let rules = FileRules { pay_out: None, splice_out: Some(terms) };
    let dying = Arc::new(FakeSplicer { ledger: stage.ledger.clone(), dies: true });
    let keeper = keeper_with(&stage, rules.clone(), dying);
    let began =
        async { stage.until(async || stage.ledger.operations(i64::MAX, 1).await.unwrap().pop()).await };
    let row = tokio::select! {
        _ = keeper.look() => panic!("it died"),
        row = began => row,
    };
    drop(keeper);
    let stage = stage.die_and_start().await;
    keeper_on(&stage, rules).look().await.unwrap();
    let ran = stage.log().await.into_iter().filter_map(|event| match event {
        Event::RuleRan { rule, operation, why } => Some((rule, operation, why)),
        _ => None,
    });
    let ran: Vec<_> = ran.collect();
    assert_eq!(ran.len(), 1, "{ran:?}");
    assert_eq!((ran[0].0.as_str(), ran[0].1), (SPLICE_OUT_RULE, row.id));
    assert!(ran[0].2.contains("sat"), "{ran:?}");
    assert_eq!(reasons(&stage).await, ["ran", "one_on_its_way"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_of_a_file_is_changed_there() {
    let stage = Stage::new();
    let with_file = keeper_on(&stage, paying());
    assert!(matches!(with_file.set(PAY_OUT_RULE, None).await, Err(RuleRefused::InFile)));
    let keeper = keeper_on(&stage, FileRules::default());
    let invoice = crate::upkeep::stage::invoice(1, sat(5), None);
    for to in [invoice.as_str(), "nobody", "lno1nothing"] {
        let rule = Rule::PayOut(PayOutRule { to: to.to_owned(), ..rule() });
        assert!(matches!(keeper.set(PAY_OUT_RULE, Some(rule)).await, Err(RuleRefused::Senseless(_))), "{to}");
    }
    keeper.set(PAY_OUT_RULE, Some(Rule::PayOut(rule()))).await.unwrap();
    let view = keeper.view().await.unwrap();
    assert_eq!((view[0].terms.clone(), view[0].in_file), (Some(json!(rule())), false));
    assert_eq!(view[0].said.as_ref().unwrap().0, "runs");
}

/// A server that answers each call with `answer`; gives its address.
async fn server(answer: &'static str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio_util::task::TaskTracker::new().spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut asked = [0; 4_096];
            let _ = stream.read(&mut asked).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    format!("me@{at}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lightning_address_is_asked_before_a_rule_pays_it() {
    let stage = Stage::new();
    let keeper = keeper_on(&stage, FileRules::default());
    let to = |to: String| Rule::PayOut(PayOutRule { to, ..rule() });
    for nobody in [
        "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 44\r\nconnection: close\r\n\r\n\
         {\"status\":\"ERROR\",\"reason\":\"no such payee\"} ",
    ] {
        let refused = keeper.ask_payee(&to(server(nobody).await)).await.unwrap_err();
        assert!(matches!(&refused, RuleRefused::Senseless(why) if why.starts_with("to: ")), "{refused}");
    }
    let busy = server("HTTP/1.1 503 Busy\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
    let warning = keeper.ask_payee(&to(busy)).await.unwrap().expect("it is said");
    assert!(warning.contains("is not known") && warning.contains("503"), "{warning}");
    let nowhere = keeper.ask_payee(&to("me@127.0.0.1:1".to_owned())).await.unwrap();
    assert!(nowhere.is_some_and(|warning| warning.contains("cannot be reached")));
    assert_eq!(keeper.ask_payee(&Rule::PayOut(rule())).await.unwrap(), None, "an offer needs nobody");
}
