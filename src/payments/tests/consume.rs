//! Each event is in the ledger before it is acknowledged, and counts once.

use super::{World, hash, msat, preimage};
use crate::clock::Clock;
use crate::event::Event;
use crate::ledger::Bought;
use crate::ports::{CloseCause, NodeEvent};
use crate::pricing::Rate;
use crate::types::{Msat, Timestamp};

fn received(seed: u8) -> NodeEvent {
    NodeEvent::Received { payment_hash: hash(seed), amount: msat(5_000), opening_fee: Msat::ZERO }
}

/// Waits until the queue is empty, which is after the commit of its last event.
async fn drained(world: &World) {
    while !world.node.queue.lock().unwrap().is_empty() {
        world.node.acknowledged.notified().await;
    }
}

#[tokio::test]
async fn a_payment_is_credited_once_over_acknowledgements_and_restarts() {
    let world = World::new();
    let bought = Bought::request(
        "rates".parse().unwrap(),
        "latest".parse().unwrap(),
        msat(5_000),
        Timestamp::from_secs(1 << 40),
    );
    world.recent.insert(hash(1), bought.clone());
    // The event is committed, its acknowledgement fails: it is not told to the ledger again.
    *world.node.refused_acknowledgements.lock().unwrap() = 2;
    world.node.tell(received(1));
    world.consume();
    drained(&world).await;
    let log = world.log().await;
    assert!(
        matches!(&log[..], [Event::PaymentReceived { service: Some(service), .. }, Event::SaleAttributed { .. }]
            if *service == bought.service),
        "{log:?}"
    );
    // A restart replays it.
    let world = world.restart().await;
    world.node.tell(received(1));
    world.consume();
    drained(&world).await;
    assert_eq!(world.log().await.len(), 2);
    // Paid a second time.
    world.node.tell(received(1));
    drained(&world).await;
    assert!(matches!(world.log().await[..], [_, _, Event::PossibleSurplus { .. }]));
    let totals = world.ledger.totals().await.unwrap();
    assert_eq!((totals.received_msat, totals.surplus_msat, totals.payments), (5_000, 5_000, 1));
}

#[tokio::test]
async fn a_node_that_is_built_anew_repeats_payments_and_a_second_payment_is_seen_all_the_same() {
    let world = World::new();
    world.consume();
    for event in [NodeEvent::Began, received(1), received(2)] {
        world.node.tell(event);
    }
    // Three moves to another chain source, and each time the library tells both again.
    for _ in 0..3 {
        for event in [NodeEvent::Began, received(1), received(2)] {
            world.node.tell(event);
        }
    }
    drained(&world).await;
    let totals = world.ledger.totals().await.unwrap();
    assert_eq!((totals.received_msat, totals.surplus_msat, totals.payments), (10_000, 0, 2));
    // Paid a second time: the library claims it, after what it repeated.
    world.node.tell(received(2));
    drained(&world).await;
    // That one it may repeat, too.
    for event in [NodeEvent::Began, received(2)] {
        world.node.tell(event);
    }
    drained(&world).await;
    let totals = world.ledger.totals().await.unwrap();
    assert_eq!((totals.received_msat, totals.surplus_msat, totals.payments), (10_000, 5_000, 2));
}

#[tokio::test]
async fn the_rate_of_the_moment_stays_with_a_payment_and_none_is_made_up() {
    let world = World::new();
    world.consume();
    world.node.tell(received(1));
    drained(&world).await;
    let at = Timestamp::default();
    *world.rate.lock().unwrap() = Rate::read("64000 USD", at);
    world.node.tell(received(2));
    drained(&world).await;
    // Later it is another, and of the first it is still unknown.
    *world.rate.lock().unwrap() = Rate::read("70000.5 EUR", at);
    world.node.tell(received(3));
    drained(&world).await;
    let rows = world.ledger.payments(10, None).await.unwrap();
    let rates: Vec<_> = rows.iter().rev().map(|row| row.rate.map(|rate| rate.to_string())).collect();
    assert_eq!(rates, [None, Some("64000 USD".to_owned()), Some("70000.5 EUR".to_owned())]);
    let now = world.clock.now();
    let hour = std::time::Duration::from_secs(3_600);
    let sums = world.ledger.received_between(now.minus(hour), now.plus(hour)).await.unwrap();
    let told: Vec<_> = sums
        .iter()
        .map(|sum| (sum.worth.map(|worth| worth.to_string()), sum.payments, sum.received_msat.msat()))
        .collect();
    let worth = |text: &str| Some(text.to_owned());
    assert_eq!(told, [(None, 1, 5_000), (worth("0.0035 EUR"), 1, 5_000), (worth("0.0032 USD"), 1, 5_000)]);
    assert_eq!(world.ledger.received_between(now.minus(hour * 3), now.minus(hour * 2)).await.unwrap(), []);
}

#[tokio::test]
async fn nothing_is_acknowledged_that_is_not_stored() {
    let world = World::new();
    world.consume();
    world.node.tell(received(1));
    drained(&world).await;
    world.ledger.close().await.unwrap();
    world.node.tell(received(2));
    // It tries and fails for a while.
    tokio::time::sleep(std::time::Duration::from_millis(150)).await;
    assert_eq!(world.node.queue.lock().unwrap().front(), Some(&received(2)));
    let world = world.restart().await;
    world.consume();
    drained(&world).await;
    assert_eq!(world.ledger.payments(10, None).await.unwrap().len(), 2);
}

#[tokio::test]
async fn channels_and_payments_of_ours_are_logged() {
    let world = World::new();
    let (channel_id, peer) = ("aa".to_owned(), "bb".to_owned());
    let (ready, local_id) = ((channel_id.clone(), peer.clone()), "7".to_owned());
    world.node.tell(NodeEvent::ChannelReady { channel_id: ready.0, peer: ready.1, local_id });
    world.node.tell(NodeEvent::Other("payment_forwarded".to_owned()));
    world.node.tell(NodeEvent::Sent { payment_hash: hash(9), preimage: preimage(9), fee: msat(1) });
    let (cause, local_id) = (CloseCause::AgreedByPeer, "7".to_owned());
    let closed = NodeEvent::ChannelClosed { channel_id, peer, reason: "agreed".to_owned(), cause, local_id };
    world.node.tell(closed);
    world.consume();
    drained(&world).await;
    let log = world.log().await;
    let kinds = [
        matches!(log[0], Event::ChannelReady { .. }),
        matches!(log[1], Event::UnknownPaymentSent { .. }),
        matches!(log[2], Event::ChannelClosed { .. }),
    ];
    assert!(kinds.iter().all(|is| *is) && log.len() == 3, "{log:?}");
}
