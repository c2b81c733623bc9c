//! Payouts against a node that is made of answers, and a payee's server on this machine.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::event::Event;
use crate::ports::{OfferPayment, Outgoing, SendFault};
use crate::store::{OperationState, OutgoingState};
use crate::upkeep::stage::{Server as PayeeServer, Stage, invoice, preimage, sat, to_offer};

const LONG: Duration = Duration::from_secs(30);

async fn audited(stage: &Stage) {
    let report = stage.ledger.audit().await.unwrap();
    assert!(report.ok, "{:?}", report.mismatches);
}

/// The note of the only payment that the node was asked for, once it was.
async fn note(stage: &Stage) -> String {
    stage.until(async || stage.node.asked().pop()).await.note
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_is_paid_once_for_each_key() {
    let stage = Stage::new();
    let plan = stage.payouts.plan(&to_offer(5_000)).await.unwrap();
    assert_eq!((plan.amount, plan.max_fee, plan.spendable), (sat(5_000), sat(10), sat(100_000)));
    let ask = to_offer(5_000);
    let (paid, again, ()) =
        tokio::join!(stage.payouts.pay("k", &ask, LONG), stage.payouts.pay("k", &ask, LONG), async {
            let note = note(&stage).await;
            stage.offer_arrives(&note, 3, sat(5_000), sat(2)).await;
            stage.offer_arrives(&note, 3, sat(5_000), sat(2)).await;
        });
    let (paid, again) = (paid.unwrap(), again.unwrap());
    assert_eq!(paid, again);
    assert_eq!(paid.state, OperationState::Done);
    assert_eq!((&paid.outcome["amount_msat"], &paid.outcome["fee_msat"]), (&json!(5_000_000), &json!(2_000)));
    assert_eq!(stage.node.asked().len(), 1);
    assert_eq!(stage.payouts.pay("k", &ask, LONG).await.unwrap(), paid, "and later too");
    let other = stage.payouts.pay("k", &to_offer(5_001), LONG).await;
    assert!(matches!(other, Err(PayoutError::KeyTaken(id)) if id == paid.id), "{other:?}");
    let sent =
        stage.log().await.into_iter().filter(|event| matches!(event, Event::PaymentSent { .. })).count();
    assert_eq!(sent, 1);
    assert_eq!(drawn(&paid), sat(5_002));
    audited(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_noted_of_what_cannot_be_paid() {
    let stage = Stage::new();
    let bolt11 = invoice(1, sat(100), None);
    for (to, amount, code) in [
        ("lno1any", None, "no_amount"),
        ("lno1any", Some(0), "no_amount"),
        ("lno1five", Some(4_999), "wrong_amount"),
        ("lno1any", Some(100_000), "too_little_spendable"),
        ("lno1bad", Some(1), "bad_offer"),
        ("nobody", Some(1), "bad_destination"),
        (bolt11.as_str(), Some(101), "wrong_amount"),
    ] {
        let ask = PayoutAsk { to: to.to_owned(), amount: amount.map(sat), max_fee: None, why: None };
        let refused = stage.payouts.pay("k", &ask, LONG).await;
        assert_eq!(refused.map(drop).map_err(|error| error.code()), Err(code), "{to}");
    }
    stage.node.view.lock().unwrap().running = false;
    assert_eq!(stage.payouts.plan(&to_offer(1)).await.unwrap_err().code(), "node_not_ready");
    assert!(stage.ledger.operations(i64::MAX, 9).await.unwrap().is_empty());
    assert!(stage.node.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invoice_goes_through_the_outbox() {
    let stage = Stage::new();
    let ask = PayoutAsk { to: invoice(1, sat(100), None), amount: None, max_fee: None, why: None };
    let hash = preimage(1).payment_hash();
    let (paid, ()) = tokio::join!(stage.payouts.pay("k", &ask, LONG), async {
        stage.until(async || stage.ledger.outgoing(hash).await.unwrap()).await;
        stage.invoice_arrives(1, sat(1)).await;
    });
    let paid = paid.unwrap();
    assert_eq!((paid.state, &paid.outcome["payment_hash"]), (OperationState::Done, &json!(hash)));
    assert_eq!(drawn(&paid), sat(101));
    audited(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lightning_address_is_paid_by_the_invoice_that_was_asked_for() {
    let (stage, server) = (Stage::new(), PayeeServer::start().await);
    let ask = PayoutAsk { to: server.address(), amount: Some(sat(2_000)), max_fee: None, why: None };
    let plan = stage.payouts.plan(&ask).await.unwrap();
    assert_eq!((plan.description.as_deref(), plan.max_fee), (Some("me"), sat(20)));
    let (paid, ()) = tokio::join!(stage.payouts.pay("k", &ask, LONG), async {
        let hash = preimage(7).payment_hash();
        stage.until(async || stage.ledger.outgoing(hash).await.unwrap()).await;
        stage.invoice_arrives(7, sat(1)).await;
    });
    assert_eq!(paid.unwrap().state, OperationState::Done);
    assert_eq!(*server.asked.lock().unwrap(), [2_000_000]);
    for amount in [999, 50_001] {
        let ask = PayoutAsk { amount: Some(sat(amount)), ..ask.clone() };
        assert_eq!(stage.payouts.plan(&ask).await.unwrap_err().code(), "wrong_amount");
    }
    audited(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payees_server_that_cheats_gets_nothing() {
    let (stage, server) = (Stage::new(), PayeeServer::start().await);
    let ask = PayoutAsk { to: server.address(), amount: Some(sat(2_000)), max_fee: None, why: None };
    for (key, invoice) in [
        ("a", invoice(8, sat(2_001), Some(crate::upkeep::stage::METADATA))),
        ("b", invoice(8, sat(2_000), Some("[]"))),
        ("c", invoice(8, sat(2_000), None)),
    ] {
        server.spoil("pr", json!(invoice));
        let row = stage.payouts.pay(key, &ask, LONG).await.unwrap();
        assert_eq!(row.state, OperationState::Failed, "{row:?}");
        assert_eq!(drawn(&row), Msat::ZERO);
    }
    for (field, value) in
        [("callback", json!("http://169.254.169.254/pay")), ("callback", json!("file:///etc/passwd"))]
    {
        server.spoil(field, value);
        let row = stage.payouts.pay(field, &ask, LONG).await;
        assert!(row.is_err() || row.unwrap().state == OperationState::Failed);
    }
    assert!(stage.node.invoices.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_node_refuses_has_failed() {
    let stage = Stage::new();
    *stage.node.fault.lock().unwrap() = Some(SendFault::Refused("no path".to_owned()));
    let row = stage.payouts.pay("k", &to_offer(5_000), LONG).await.unwrap();
    assert_eq!((row.state, &row.outcome["reason"]), (OperationState::Failed, &json!("no path")));
}

/// The appliance dies after the intent, after the node took it, and after that was noted.
#[tokio::test(flavor = "multi_thread")]
async fn a_payout_that_a_crash_left_open_is_looked_up_and_never_repeated() {
    // The node was never asked.
    let stage = Stage::new();
    let begun = stage.ledger.begin_operation("k", PAY_OUT, to_offer(5_000).as_json()).await.unwrap();
    let BegunOperation::New(id) = begun else { panic!("it is new") };
    let stage = stage.die_and_start().await;
    stage.payouts.resume().await.unwrap();
    let row = stage.payouts.pay("k", &to_offer(5_000), LONG).await.unwrap();
    assert_eq!(
        (row.id, row.state, &row.outcome["reason"]),
        (id, OperationState::Failed, &json!("never_sent"))
    );
    assert!(stage.node.asked().is_empty());

    // The node took it, and it is on the node's list.
    stage.node.cut.store(true, Ordering::SeqCst);
    let row = stage.payouts.pay("l", &to_offer(6_000), Duration::ZERO).await.unwrap();
    assert_eq!(row.state, OperationState::Intended);
    let note = note(&stage).await;
    let stage = stage.die_and_start().await;
    stage.payouts.resume().await.unwrap();
    let waiting = stage.payouts.pay("l", &to_offer(6_000), Duration::from_millis(50)).await.unwrap();
    assert!(!waiting.state.is_final());
    let ask = to_offer(6_000);
    let (row, ()) =
        tokio::join!(stage.payouts.pay("l", &ask, LONG), stage.offer_arrives(&note, 4, sat(6_000), sat(1)));
    assert_eq!(row.unwrap().state, OperationState::Done);

    // The node took it and died before it noted that: nobody knows, and nobody tries again.
    stage.node.cut.store(true, Ordering::SeqCst);
    stage.node.forgets.store(true, Ordering::SeqCst);
    stage.payouts.pay("m", &to_offer(7_000), Duration::ZERO).await.unwrap();
    stage.until(async || (stage.node.asked().len() == 2).then_some(())).await;
    let stage = stage.die_and_start().await;
    stage.payouts.resume().await.unwrap();
    let open = async || {
        let row = stage.ledger.operation_of_key("m").await.unwrap().unwrap();
        (row.state == OperationState::Unclear).then_some(row)
    };
    let row = stage.until(open).await;
    assert_eq!(drawn(&row), sat(7_010), "it counts until its end is known");
    stage.payouts.resume().await.unwrap();
    assert_eq!(stage.node.asked().len(), 2);
    // It arrives after all.
    let note = stage.node.asked().pop().unwrap().note;
    stage.offer_arrives(&note, 5, sat(7_000), sat(1)).await;
    assert_eq!(stage.ledger.operation(row.id).await.unwrap().unwrap().state, OperationState::Done);
    audited(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_invoice_is_one_payout_whatever_key_asks_for_it() {
    let stage = Stage::new();
    let ask = PayoutAsk { to: invoice(4, sat(2_000), None), amount: None, max_fee: Some(sat(5)), why: None };
    let (first, second) = tokio::join!(
        stage.payouts.pay("one", &ask, Duration::ZERO),
        stage.payouts.pay("two", &ask, Duration::ZERO)
    );
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!(first.id, second.id);
    let hash = preimage(4).payment_hash();
    stage.until(async || stage.node.invoices.lock().unwrap().get(&hash).cloned()).await;
    stage.invoice_arrives(4, sat(1)).await;
    let shouted = PayoutAsk { to: ask.to.to_uppercase(), ..ask.clone() };
    let paid = stage.payouts.pay("three", &shouted, LONG).await.unwrap();
    assert_eq!((paid.id, paid.state), (first.id, OperationState::Done));
    assert_eq!(stage.payouts.twin(&ask.to).await.unwrap().map(|row| row.id), Some(first.id));
    assert_eq!(stage.ledger.operations_of(PAY_OUT, i64::MAX, 10).await.unwrap().len(), 1);
    audited(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invoice_whose_payment_failed_may_be_tried_again() {
    let stage = Stage::new();
    let ask = PayoutAsk { to: invoice(4, sat(2_000), None), amount: None, max_fee: Some(sat(5)), why: None };
    let first = stage.payouts.pay("one", &ask, Duration::ZERO).await.unwrap();
    let hash = preimage(4).payment_hash();
    stage.until(async || stage.node.invoices.lock().unwrap().get(&hash).cloned()).await;
    let failed = OutgoingState::Failed { reason: "no route".to_owned() };
    stage.ledger.settle_outgoing(hash, failed).await.unwrap();
    stage
        .until(async || {
            let row = stage.ledger.operation(first.id).await.unwrap().unwrap();
            (row.state == OperationState::Failed).then_some(())
        })
        .await;
    let second = stage.payouts.pay("two", &ask, Duration::ZERO).await.unwrap();
    assert_ne!(second.id, first.id);
}

/// The node forgets a payment that it took, as after a recovery from a snapshot.
#[tokio::test(flavor = "multi_thread")]
async fn a_payout_that_the_node_lost_is_unclear_until_the_operator_ends_it() {
    let stage = Stage::new();
    let ask = PayoutAsk { to: invoice(4, sat(2_000), None), amount: None, max_fee: Some(sat(5)), why: None };
    let hash = preimage(4).payment_hash();
    let id = stage.payouts.pay("one", &ask, Duration::ZERO).await.unwrap().id;
    let taken =
        async || stage.ledger.outgoing(hash).await.unwrap().filter(|row| row.state == OutgoingState::Sent);
    stage.until(taken).await;
    let stage = stage.die_and_start().await;
    stage.node.invoices.lock().unwrap().clear();
    stage.outbox.reconcile().await.unwrap();
    stage.payouts.resume().await.unwrap();
    let row = stage.ledger.operation(id).await.unwrap().unwrap();
    assert_eq!(row.state, OperationState::Unclear);
    assert_eq!(drawn(&row), Msat::MAX, "its amount is not in its ask: all counts");
    // Following it changes nothing of that; asking again under any key finds it.
    let again = stage.payouts.pay("two", &ask, Duration::from_millis(50)).await.unwrap();
    assert_eq!((again.id, again.state), (id, OperationState::Unclear));
    stage.ledger.settle_operation(id, OperationState::Unclear, OperationState::Failed).await.unwrap();
    stage.until(async || stage.ledger.outgoing(hash).await.unwrap().filter(|row| row.state.is_final())).await;
    let second = stage.payouts.pay("three", &ask, Duration::ZERO).await.unwrap();
    assert_ne!(second.id, id);
    stage.until(async || stage.node.invoices.lock().unwrap().get(&hash).cloned()).await;
    audited(&stage).await;
}

/// The appliance dies in the moment in which the node takes an invoice of a payee that gives another one each time:
/// the payment may have left, though the node's list does not have it.
#[tokio::test(flavor = "multi_thread")]
async fn a_payout_of_an_invoice_that_was_cut_off_is_unclear_until_somebody_tells() {
    let ends = [(4, None), (5, Some(OperationState::Done)), (6, Some(OperationState::Failed)), (7, None)];
    for (seed, told) in ends {
        let stage = Stage::new();
        let to = invoice(seed, sat(2_000), None);
        let ask = PayoutAsk { to, amount: None, max_fee: Some(sat(5)), why: None };
        let hash = preimage(seed).payment_hash();
        stage.node.cut.store(true, Ordering::SeqCst);
        stage.node.forgets.store(true, Ordering::SeqCst);
        let id = stage.payouts.pay("rule/pay_out/1/000001", &ask, Duration::ZERO).await.unwrap().id;
        stage.until(async || (!stage.node.sends.lock().unwrap().is_empty()).then_some(())).await;
        let stage = stage.die_and_start().await;
        stage.payouts.resume().await.unwrap();
        stage.outbox.reconcile().await.unwrap();
        let unclear = async || {
            let row = stage.ledger.operation(id).await.unwrap().unwrap();
            (row.state == OperationState::Unclear).then_some(row)
        };
        let row = stage.until(unclear).await;
        assert!(drawn(&row) > Msat::ZERO, "it counts until its end is known");
        // A later start finds it as it is.
        stage.payouts.resume().await.unwrap();
        assert_eq!(stage.until(unclear).await, row);
        match told {
            // It comes back after all.
            None if seed == 7 => {
                let failed = OutgoingState::Failed { reason: "no route".to_owned() };
                stage.ledger.settle_outgoing(hash, failed).await.unwrap();
            }
            // It arrives.
            None => stage.invoice_arrives(seed, sat(1)).await,
            Some(end) => {
                stage.ledger.settle_operation(id, OperationState::Unclear, end).await.unwrap();
            }
        }
        let end = stage.ledger.operation(id).await.unwrap().unwrap().state;
        let node_says = if seed == 7 { OperationState::Failed } else { OperationState::Done };
        assert_eq!(end, told.unwrap_or(node_says));
        let paid = stage.ledger.outgoing(hash).await.unwrap().unwrap().state;
        match told {
            None if seed != 7 => assert!(matches!(paid, OutgoingState::Succeeded { .. })),
            Some(OperationState::Done) => assert_eq!(paid, OutgoingState::Presumed),
            _ => assert!(matches!(paid, OutgoingState::Failed { .. })),
        }
        assert_eq!(*stage.node.sends.lock().unwrap(), [hash], "once");
        audited(&stage).await;
    }
}

/// The disk refuses to note that a payment was sent, and the process goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_payout_whose_ledger_failed_on_the_way_is_looked_up_again() {
    let stage = Stage::new();
    let ends = async |key: &str| {
        // News, for what waits for some.
        stage.ledger.log(Event::PayoutsReleased).await.unwrap();
        let row = stage.ledger.operation_of_key(key).await.unwrap().unwrap();
        row.state.is_final().then_some(row)
    };
    stage.ledger.fail_where(Some(("outgoing", "new.state = 'sent'"))).await;
    let ask = PayoutAsk { to: invoice(8, sat(2_000), None), amount: None, max_fee: Some(sat(5)), why: None };
    stage.payouts.pay("i", &ask, Duration::ZERO).await.unwrap();
    let hash = preimage(8).payment_hash();
    let arrived = Outgoing::Succeeded { preimage: preimage(8), fee: Some(sat(1)) };
    stage
        .until(async || {
            let mut all = stage.node.invoices.lock().unwrap();
            all.get_mut(&hash).map(|becomes| *becomes = arrived.clone())
        })
        .await;
    let row = stage.until(async || ends("i").await).await;
    assert_eq!((row.state, &row.outcome["fee_msat"]), (OperationState::Done, &json!(1_000)));

    stage.ledger.fail_where(Some(("operations", "new.state = 'sent'"))).await;
    stage.payouts.pay("o", &to_offer(5_000), Duration::ZERO).await.unwrap();
    let note = note(&stage).await;
    stage.node.becomes(&note, OfferPayment::Failed);
    let row = stage.until(async || ends("o").await).await;
    assert_eq!((row.state, stage.node.asked().len()), (OperationState::Failed, 1), "once");
    audited(&stage).await;
}
