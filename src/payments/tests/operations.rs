//! Payments as recorded operations: those that are asked for under a key, and those that the node lost.

use std::time::Duration;

use super::{World, ask, hash, msat, preimage};
use crate::payments::{PayAsk, PayError};
use crate::ports::{NodeEvent, Outgoing};
use crate::store::{Intent, OperationRow, OperationState, OutgoingState};
use crate::types::Msat;

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(20);

fn sent(seed: u8) -> NodeEvent {
    NodeEvent::Sent { payment_hash: hash(seed), preimage: preimage(seed), fee: msat(3) }
}

fn failed(seed: u8) -> NodeEvent {
    NodeEvent::SendFailed { payment_hash: hash(seed), reason: "no route".to_owned() }
}

impl World {
    async fn newest(&self) -> OperationRow {
        self.ledger.operations(i64::MAX, 1).await.unwrap().pop().expect("one was begun")
    }

    /// The node took a payment of no operation, and does not know it any more.
    async fn lost(&self, seed: u8) -> OperationRow {
        let (bolt11, amount) = (ask(seed).bolt11, msat(5_000));
        let intent = Intent { payment_hash: hash(seed), bolt11, amount, max_fee: Msat::ZERO, wallet: None };
        self.ledger.intend(intent).await.unwrap();
        self.ledger.settle_outgoing(hash(seed), OutgoingState::Sent).await.unwrap();
        self.outbox.reconcile().await.unwrap();
        self.newest().await
    }

    pub(super) async fn state(&self, seed: u8) -> OutgoingState {
        self.ledger.outgoing(hash(seed)).await.unwrap().unwrap().state
    }
}

#[tokio::test]
async fn a_key_names_one_payment_whatever_becomes_of_it() {
    let world = World::new();
    world.consume();
    *world.node.at_send.lock().unwrap() = Some(failed(1));
    let paid = async |key: &str, seed: u8| world.outbox.pay_under(key, ask(seed), LONG).await;
    let no_route = OutgoingState::Failed { reason: "no route".to_owned() };
    assert_eq!(paid("a", 1).await.unwrap().state, no_route);
    let row = world.newest().await;
    assert_eq!((row.kind.as_str(), row.state), ("pay_invoice", OperationState::Failed));
    assert_eq!((&row.outcome["reason"], &row.ask["amount_msat"]), (&"no route".into(), &5_000.into()));
    // Asked again under its key it is not tried anew; under another it is.
    assert_eq!(paid("a", 1).await.unwrap().state, no_route);
    assert_eq!(world.node.sends(), 1);
    let other = paid("a", 2).await.unwrap_err();
    assert!(matches!(other, PayError::KeyTaken(id) if id == row.id), "{other}");
    *world.node.at_send.lock().unwrap() = Some(sent(1));
    assert!(matches!(paid("b", 1).await.unwrap().state, OutgoingState::Succeeded { .. }));
    let row = world.newest().await;
    assert_eq!((row.key.as_str(), row.state), ("b", OperationState::Done));
    assert_eq!(row.outcome["fee_msat"], 3);
    // Who joins makes no operation, and what is refused leaves none.
    assert!(matches!(paid("c", 1).await.unwrap().state, OutgoingState::Succeeded { .. }));
    let dear = PayAsk { max_amount: msat(1), ..ask(3) };
    assert_eq!(world.outbox.pay_under("d", dear, LONG).await.unwrap_err().code(), "too_expensive");
    assert_eq!(world.newest().await.key, "b");
    assert_eq!(world.node.sends(), 2);
}

#[tokio::test]
async fn an_operation_goes_with_its_payment_through_a_crash() {
    let world = World::new();
    let row = world.outbox.pay_under("a", ask(1), SHORT).await.unwrap();
    assert_eq!((row.state, world.newest().await.state), (OutgoingState::Sent, OperationState::Sent));
    let world = world.restart().await;
    world.node.knows(1, Outgoing::Succeeded { preimage: preimage(1), fee: Some(msat(3)) });
    world.outbox.reconcile().await.unwrap();
    assert_eq!(world.newest().await.state, OperationState::Done);
}

/// Cut off between the intent and its end, and the node that may have sent it is lost with its disk: the one that
/// came from a snapshot does not know it, which proves nothing.
#[tokio::test]
async fn a_payment_of_before_a_recovery_is_never_called_unsent() {
    let world = World::new();
    assert_eq!(world.ledger.note_node_memory(1).await.unwrap(), 0);
    let intend = async |seed: u8, key: Option<&str>| {
        let (bolt11, amount) = (ask(seed).bolt11, msat(5_000));
        let intent = Intent { payment_hash: hash(seed), bolt11, amount, max_fee: Msat::ZERO, wallet: None };
        match key {
            Some(key) => world.ledger.intend_under(key.to_owned(), intent).await.unwrap(),
            None => world.ledger.intend(intent).await.unwrap(),
        };
    };
    intend(1, Some("a")).await;
    intend(2, None).await;
    let world = world.restart().await;
    assert_eq!(world.ledger.note_node_memory(1).await.unwrap(), 0, "the same node");
    assert_eq!(world.state(1).await, OutgoingState::Intended);
    let world = world.restart().await;
    assert_eq!(world.ledger.note_node_memory(-7).await.unwrap(), 2);
    assert_eq!(world.ledger.note_node_memory(-7).await.unwrap(), 0, "once");
    let unclear = world.ledger.operations(i64::MAX, 9).await.unwrap();
    assert_eq!(unclear.len(), 2);
    assert!(
        unclear.iter().all(|row| (row.kind.as_str(), row.state) == ("pay_invoice", OperationState::Unclear))
    );
    // The node knows neither; asked for again, nothing is sent, under whatever key.
    assert_eq!(world.looked().await, (0, 0));
    for key in ["a", "b"] {
        assert_eq!(world.outbox.pay_under(key, ask(1), SHORT).await.unwrap().state, OutgoingState::Sent);
    }
    assert_eq!(world.outbox.pay(ask(2), SHORT).await.unwrap().state, OutgoingState::Sent);
    assert_eq!(world.node.sends(), 0);
    for row in unclear {
        let settled =
            world.ledger.settle_operation(row.id, OperationState::Unclear, OperationState::Failed).await;
        assert_eq!(settled.unwrap().state, OperationState::Failed);
    }
    // The operator said that it was not paid: now it may be. An intent of the new node's is its own.
    assert_eq!(world.outbox.pay(ask(2), SHORT).await.unwrap().state, OutgoingState::Sent);
    assert_eq!(world.node.sends(), 1);
    assert!(world.ledger.audit().await.unwrap().ok);
}

/// The first start of a version that tells nodes apart, on the files of one that did not: it is the node that there
/// was, and it is asked.
#[tokio::test]
async fn a_payment_of_before_an_update_is_looked_up_in_the_node() {
    for memory in [0, 7] {
        let world = World::new();
        for seed in [1, 2] {
            let (bolt11, amount) = (ask(seed).bolt11, msat(5_000));
            let intent =
                Intent { payment_hash: hash(seed), bolt11, amount, max_fee: Msat::ZERO, wallet: None };
            world.ledger.intend_under(seed.to_string(), intent).await.unwrap();
        }
        let world = world.restart().await;
        world.node.knows(1, Outgoing::Pending);
        // A file that was made anew since says nothing of what was sent before.
        let lost = if memory == 0 { 0 } else { 2 };
        assert_eq!(world.ledger.note_node_memory(memory).await.unwrap(), lost);
        world.outbox.reconcile().await.unwrap();
        let states = [world.state(1).await, world.state(2).await];
        let unknown = match memory {
            0 => OutgoingState::Failed { reason: "cut_off".to_owned() },
            _ => OutgoingState::Sent,
        };
        assert_eq!(states, [OutgoingState::Sent, unknown]);
        let known = world.ledger.operations(i64::MAX, 9).await.unwrap();
        let unclear = known.iter().filter(|row| row.state == OperationState::Unclear).count();
        // Of the one that the same node does not list, nobody knows.
        assert_eq!(unclear, lost.max(1));
    }
}

/// Cut off between the intent and the send, and the engine is away when the payments are looked up.
#[tokio::test]
async fn a_payment_that_was_cut_off_is_not_sent_again_under_its_key() {
    let world = World::new();
    let (bolt11, amount) = (ask(1).bolt11, msat(5_000));
    let intent = Intent { payment_hash: hash(1), bolt11, amount, max_fee: Msat::ZERO, wallet: None };
    world.ledger.intend_under("a".to_owned(), intent).await.unwrap();
    let world = world.restart().await;
    world.node.knows(1, Outgoing::Away);
    world.outbox.reconcile().await.unwrap();
    let paid = async || world.outbox.pay_under("a", ask(1), SHORT).await.unwrap().state;
    assert_eq!(paid().await, OutgoingState::Intended, "nobody knows");
    world.node.known.lock().unwrap().clear();
    assert!(matches!(paid().await, OutgoingState::Failed { .. }));
    assert_eq!((world.newest().await.state, world.node.sends()), (OperationState::Unclear, 0));
    // Paid under another key, it is done under both.
    world.consume();
    *world.node.at_send.lock().unwrap() = Some(sent(1));
    world.outbox.pay_under("b", ask(1), LONG).await.unwrap();
    let all = world.ledger.operations(i64::MAX, 9).await.unwrap();
    assert!(all.len() == 2 && all.iter().all(|row| row.state == OperationState::Done), "{all:?}");
}

/// A recovery from a snapshot brings the channels' coins home, and no list of payments.
#[tokio::test]
async fn a_payment_that_the_node_lost_is_for_the_operator_to_end() {
    let world = World::new();
    for (seed, end) in [(1, OperationState::Failed), (2, OperationState::Done)] {
        let row = world.lost(seed).await;
        assert_eq!((row.kind.as_str(), row.state), ("pay_invoice", OperationState::Unclear));
        // Looked up again, it is the same one.
        world.outbox.reconcile().await.unwrap();
        assert_eq!(world.newest().await, row);
        let settled = world.ledger.settle_operation(row.id, OperationState::Unclear, end).await.unwrap();
        assert_eq!((settled.state, &settled.outcome["settled_by"]), (end, &"operator".into()));
    }
    assert_eq!(world.state(1).await, OutgoingState::Failed { reason: "settled_by_operator".to_owned() });
    assert_eq!(world.state(2).await, OutgoingState::Presumed);
    assert!(world.ledger.unresolved_outgoing().await.unwrap().is_empty());
    // What arrived is not paid again; what did not may be.
    assert_eq!(world.outbox.pay(ask(2), LONG).await.unwrap().state, OutgoingState::Presumed);
    assert_eq!(world.node.sends(), 0);
    assert_eq!(world.outbox.pay(ask(1), SHORT).await.unwrap().state, OutgoingState::Sent);
    assert!(world.ledger.audit().await.unwrap().ok);
    // Its proof comes after all, and is told once.
    world.consume();
    world.node.tell(sent(2));
    world.node.acknowledged.notified().await;
    assert!(matches!(world.state(2).await, OutgoingState::Succeeded { .. }));
    let told = world.log().await;
    let of_it = |event: &&crate::event::Event| matches!(event, crate::event::Event::PaymentSent { payment_hash, .. } if *payment_hash == hash(2));
    assert_eq!(told.iter().filter(of_it).count(), 1);
}

#[tokio::test]
async fn a_late_word_of_the_node_ends_what_was_unclear() {
    let world = World::new();
    let (arrives, fails) = (world.lost(1).await, world.lost(2).await);
    world.consume();
    for event in [sent(1), failed(2)] {
        world.node.tell(event);
        world.node.acknowledged.notified().await;
    }
    let state = async |id| world.ledger.operation(id).await.unwrap().unwrap().state;
    assert_eq!(state(arrives.id).await, OperationState::Done);
    assert_eq!(state(fails.id).await, OperationState::Failed);
    // Under a key, it is that operation which is unclear.
    let world = World::new();
    world.outbox.pay_under("a", ask(3), SHORT).await.unwrap();
    let world = world.restart().await;
    world.outbox.reconcile().await.unwrap();
    let row = world.newest().await;
    assert_eq!((row.key.as_str(), row.state), ("a", OperationState::Unclear));
}
