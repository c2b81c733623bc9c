//! One send for each hash, whatever is cut off, repeated or told first.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use lightning_invoice::Currency;

use super::{World, ask, hash, invoice, msat, preimage};
use crate::event::Event;
use crate::payments::{PayAsk, PayError};
use crate::ports::{NodeEvent, Outgoing, SendFault};
use crate::store::{Intent, OutgoingState};
use crate::types::Msat;

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(20);

fn sent(seed: u8) -> NodeEvent {
    NodeEvent::Sent { payment_hash: hash(seed), preimage: preimage(seed), fee: msat(3) }
}

fn failed(seed: u8) -> NodeEvent {
    NodeEvent::SendFailed { payment_hash: hash(seed), reason: "no route".to_owned() }
}

fn success(seed: u8) -> OutgoingState {
    OutgoingState::Succeeded { preimage: preimage(seed), fee: msat(3) }
}

fn intent(seed: u8) -> Intent {
    Intent {
        payment_hash: hash(seed),
        bolt11: ask(seed).bolt11,
        amount: msat(5_000),
        max_fee: Msat::ZERO,
        wallet: None,
    }
}

#[tokio::test]
async fn an_invoice_is_paid_and_its_proof_comes_back() {
    let world = World::new();
    world.consume();
    *world.node.at_send.lock().unwrap() = Some(sent(1));
    let row = world.outbox.pay(ask(1), LONG).await.unwrap();
    assert_eq!((row.state, row.amount), (success(1), msat(5_000)));
    // Asked again, even long after: the same answer, no second payment.
    world.clock.advance(Duration::from_secs(100_000));
    assert_eq!(world.outbox.pay(ask(1), LONG).await.unwrap().state, success(1));
    assert_eq!(world.node.sends(), 1);
    let log = world.log().await;
    assert!(matches!(log[..], [Event::PaymentSent { .. }]), "{log:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_calls_at_once_one_sends() {
    let world = World::new();
    world.consume();
    world.node.stalls.store(true, Ordering::Release);
    let mut calls = Vec::new();
    for _ in 0..16 {
        let outbox = Arc::clone(&world.outbox);
        calls.push(world.tasks.spawn(async move { outbox.pay(ask(1), LONG).await }));
    }
    world.node.stalled.notified().await;
    world.node.go_on.notify_one();
    world.node.tell(sent(1));
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap().state, success(1));
    }
    assert_eq!(world.node.sends(), 1);
}

#[tokio::test]
async fn the_end_may_be_told_before_the_send_returns() {
    let world = World::new();
    world.consume();
    world.node.stalls.store(true, Ordering::Release);
    *world.node.at_send.lock().unwrap() = Some(sent(1));
    let paying = world.outbox.pay(ask(1), LONG);
    let meanwhile = async {
        world.node.stalled.notified().await;
        world.node.acknowledged.notified().await;
        world.node.go_on.notify_one();
    };
    let (row, ()) = tokio::join!(paying, meanwhile);
    assert_eq!(row.unwrap().state, success(1), "`sent` does not overwrite the proof");
}

#[tokio::test]
async fn a_failed_payment_is_tried_anew_only_when_asked() {
    let world = World::new();
    world.consume();
    *world.node.at_send.lock().unwrap() = Some(failed(1));
    let row = world.outbox.pay(ask(1), LONG).await.unwrap();
    assert_eq!(row.state, OutgoingState::Failed { reason: "no route".to_owned() });
    assert_eq!(world.looked().await, (0, 0));
    assert_eq!(world.node.sends(), 1);
    *world.node.at_send.lock().unwrap() = Some(sent(1));
    assert_eq!(world.outbox.pay(ask(1), LONG).await.unwrap().state, success(1));
    assert_eq!(world.node.sends(), 2);
}

/// The node tells a failure again after a restart, when the same invoice is on its way anew.
#[tokio::test]
async fn an_earlier_failure_does_not_end_a_newer_try() {
    let world = World::new();
    world.consume();
    assert_eq!(world.outbox.pay(ask(1), SHORT).await.unwrap().state, OutgoingState::Sent);
    world.node.knows(1, Outgoing::Pending);
    world.node.tell(failed(1));
    world.node.acknowledged.notified().await;
    assert_eq!(world.outbox.pay(ask(1), SHORT).await.unwrap().state, OutgoingState::Sent);
    world.node.tell(sent(1));
    assert_eq!(world.outbox.pay(ask(1), LONG).await.unwrap().state, success(1));
}

#[tokio::test]
async fn what_takes_long_is_pending_and_stays_one_payment() {
    let world = World::new();
    world.consume();
    assert_eq!(world.outbox.pay(ask(1), SHORT).await.unwrap().state, OutgoingState::Sent);
    assert_eq!(world.outbox.pay(ask(1), SHORT).await.unwrap().state, OutgoingState::Sent);
    world.node.tell(sent(1));
    assert_eq!(world.outbox.pay(ask(1), LONG).await.unwrap().state, success(1));
    assert_eq!(world.node.sends(), 1);
}

#[tokio::test]
async fn killed_between_intent_and_send_nothing_is_sent_until_asked() {
    let world = World::new();
    world.ledger.intend(intent(1)).await.unwrap();
    let world = world.restart().await;
    assert_eq!(world.looked().await, (1, 0));
    let row = world.ledger.outgoing(hash(1)).await.unwrap().unwrap();
    assert_eq!(row.state, OutgoingState::Failed { reason: "cut_off".to_owned() });
    assert_eq!(world.node.sends(), 0);
    // A fresh call pays it, also without the reconciliation before.
    world.consume();
    world.ledger.intend(intent(2)).await.unwrap();
    for seed in [1, 2] {
        *world.node.at_send.lock().unwrap() = Some(sent(seed));
        assert_eq!(world.outbox.pay(ask(seed), LONG).await.unwrap().state, success(seed));
    }
    assert_eq!(world.node.sends(), 2);
}

#[tokio::test]
async fn killed_after_the_send_the_node_is_believed() {
    let world = World::new();
    for seed in 1..=3 {
        world.ledger.intend(intent(seed)).await.unwrap();
    }
    let world = world.restart().await;
    world.node.knows(1, Outgoing::Pending);
    world.node.knows(2, Outgoing::Succeeded { preimage: preimage(2), fee: Some(msat(3)) });
    world.node.knows(3, Outgoing::Failed);
    assert_eq!(world.looked().await, (2, 0));
    assert_eq!(world.outbox.pay(ask(1), SHORT).await.unwrap().state, OutgoingState::Sent);
    assert_eq!(world.outbox.pay(ask(2), LONG).await.unwrap().state, success(2));
    assert_eq!(world.node.sends(), 0, "a pending and an arrived payment are not sent again");
    // What the node took and then denies is for a person to look at, not to pay twice.
    world.node.knows(1, Outgoing::Unknown);
    assert_eq!(world.looked().await, (0, 0));
    assert_eq!(world.outbox.pay(ask(1), SHORT).await.unwrap().state, OutgoingState::Sent);
    assert_eq!(world.node.sends(), 0);
}

#[tokio::test]
async fn a_caller_that_leaves_does_not_cut_the_send_off() {
    let world = World::new();
    world.node.stalls.store(true, Ordering::Release);
    {
        let paying = world.outbox.pay(ask(1), LONG);
        tokio::select! {
            _ = paying => panic!("the send waits"),
            () = world.node.stalled.notified() => {}
        }
    }
    world.node.go_on.notify_one();
    assert_eq!(world.outbox.pay(ask(1), SHORT).await.unwrap().state, OutgoingState::Sent);
    assert_eq!(world.node.sends(), 1);
}

#[tokio::test]
async fn a_refused_send_is_what_the_node_says_it_is() {
    let world = World::new();
    *world.node.fault.lock().unwrap() = Some(SendFault::Refused("no channel".to_owned()));
    let row = world.outbox.pay(ask(1), LONG).await.unwrap();
    assert_eq!(row.state, OutgoingState::Failed { reason: "no channel".to_owned() });
    // Refused because it is on its way already.
    world.node.knows(2, Outgoing::Pending);
    assert_eq!(world.outbox.pay(ask(2), SHORT).await.unwrap().state, OutgoingState::Sent);
}

/// The admin API is up before the node is.
#[tokio::test]
async fn a_node_that_is_away_leaves_nothing_pending_for_ever() {
    let world = World::new();
    world.node.knows(1, Outgoing::Away);
    *world.node.fault.lock().unwrap() = Some(SendFault::Away("it is starting".to_owned()));
    let row = world.outbox.pay(ask(1), LONG).await.unwrap();
    assert_eq!(row.state, OutgoingState::Failed { reason: "never_sent".to_owned() });
    // Noted before a kill, asked about before the node is up: it stays as it is until the node speaks.
    world.ledger.intend(intent(2)).await.unwrap();
    world.node.knows(2, Outgoing::Away);
    assert_eq!(world.looked().await, (0, 1));
    assert_eq!(world.outbox.pay(ask(2), SHORT).await.unwrap().state, OutgoingState::Intended);
    *world.node.fault.lock().unwrap() = None;
    world.node.knows(2, Outgoing::Unknown);
    assert_eq!(world.outbox.pay(ask(2), SHORT).await.unwrap().state, OutgoingState::Sent);
    assert_eq!(world.node.sends(), 2, "the first was refused, the second is under way");
}

/// A second try of an invoice that a stop cut off is refused, as for want of the coins that the first one holds.
#[tokio::test]
async fn a_refused_second_try_says_nothing_of_one_that_was_cut_off() {
    let world = World::new();
    world.ledger.intend(intent(1)).await.unwrap();
    let world = world.restart().await;
    assert_eq!(world.looked().await, (1, 0));
    let cut_off = || OutgoingState::Failed { reason: "cut_off".to_owned() };
    *world.node.fault.lock().unwrap() = Some(SendFault::Refused("RouteNotFound".to_owned()));
    assert_eq!(world.outbox.pay(ask(1), LONG).await.unwrap().state, cut_off());
    world.node.knows(1, Outgoing::Failed);
    assert_eq!(world.outbox.pay(ask(1), LONG).await.unwrap().state, cut_off());
    // A stop of the second try: the list tells the end of another one.
    world.clock.advance(Duration::from_secs(1));
    world.ledger.intend(intent(1)).await.unwrap();
    let world = world.restart().await;
    assert_eq!(world.looked().await, (1, 0));
    assert_eq!(world.state(1).await, cut_off());
    // The node's late word counts.
    world.consume();
    world.node.tell(failed(1));
    world.node.acknowledged.notified().await;
    assert_eq!(world.state(1).await, OutgoingState::Failed { reason: "no route".to_owned() });
}

/// The node is replaced, as by a change of its chain source, in the moment in which an earlier run's payments are
/// looked up.
#[tokio::test]
async fn a_node_that_cannot_be_asked_is_asked_again_until_it_can() {
    let world = World::new();
    world.ledger.intend(intent(1)).await.unwrap();
    world.ledger.intend(intent(2)).await.unwrap();
    let world = world.restart().await;
    world.node.knows(1, Outgoing::Away);
    world.node.knows(2, Outgoing::Failed);
    let mut news = world.ledger.watch();
    let looking = world.tasks.spawn({
        let (outbox, stop) = (Arc::clone(&world.outbox), world.stop.clone());
        async move { outbox.look_up(stop).await }
    });
    // The first of them that can be asked about is told of at once.
    while !world.state(2).await.is_final() {
        news.changed().await.unwrap();
    }
    assert_eq!(world.state(1).await, OutgoingState::Intended);
    world.node.knows(1, Outgoing::Succeeded { preimage: preimage(1), fee: None });
    while !world.state(1).await.is_final() {
        news.changed().await.unwrap();
    }
    world.stop.cancel();
    looking.await.unwrap();
    assert_eq!(world.state(1).await, OutgoingState::Succeeded { preimage: preimage(1), fee: Msat::ZERO });
    assert_eq!(world.node.sends(), 0);
}

/// LDK sends before its list of payments is written: after a kill between the two it refuses the hash
/// and yet pays it.
#[tokio::test]
async fn a_send_of_unknown_end_waits_for_its_event() {
    let world = World::new();
    world.consume();
    *world.node.fault.lock().unwrap() = Some(SendFault::Uncertain("duplicate payment".to_owned()));
    assert_eq!(world.outbox.pay(ask(1), SHORT).await.unwrap().state, OutgoingState::Sent);
    world.node.tell(sent(1));
    assert_eq!(world.outbox.pay(ask(1), LONG).await.unwrap().state, success(1));
    assert_eq!(world.node.sends(), 1, "it was not sent again");
}

#[tokio::test]
async fn what_should_not_be_paid_is_refused_before_anything_is_stored() {
    let world = World::new();
    let pay = async |ask: PayAsk| world.outbox.pay(ask, LONG).await.unwrap_err().code();
    let with = |bolt11: String| PayAsk { bolt11, ..ask(1) };
    assert_eq!(pay(with("lnbcrt1nonsense".to_owned())).await, "not_an_invoice");
    let damaged = ask(1).bolt11.replace("lnbcrt50n", "lnbcrt60n");
    assert_eq!(pay(with(damaged)).await, "not_an_invoice");
    assert_eq!(pay(with(invoice(1, Currency::Bitcoin, Some(5_000)))).await, "wrong_network");
    assert_eq!(pay(with(invoice(1, Currency::Regtest, None))).await, "no_amount");
    assert_eq!(pay(PayAsk { max_amount: msat(4_999), ..ask(1) }).await, "too_expensive");
    world.clock.advance(Duration::from_secs(3_600));
    let expired = world.outbox.pay(ask(1), LONG).await.unwrap_err();
    assert!(matches!(expired, PayError::Expired), "{expired}");
    assert!(world.ledger.outgoing(hash(1)).await.unwrap().is_none());
    assert_eq!(world.node.sends(), 0);
    world.ledger.close().await.unwrap();
    assert_eq!(pay(ask(2)).await, "ledger_unavailable");
    assert_eq!(world.node.sends(), 0);
}
