//! `tollhouse fetch` killed with -9 at each moment and run again: one payment, one body.

use std::io::Read;
use std::time::Duration;

use crate::fetch_world::{Point, World, finish, locked};

/// Kills a run at `point`; the next one must end it.
async fn killed_at(point: Point) {
    let mut world = World::start().await;
    let killed = world.kill_at(point, &[]).await;
    assert_eq!(killed.exit, None, "{point:?}");
    assert!(killed.stdout.is_empty(), "{point:?}: nothing is printed before all of it is safe");
    world.payments_arrive();
    let ran = world.run("/paid", &[]).await;
    assert_eq!(ran.exit, Some(0), "{point:?}: {}", ran.stderr);
    assert_eq!(ran.stdout, world.body(), "{point:?}");
    assert_eq!((world.paid(), world.served()), (1, 1), "{point:?}");
    assert_eq!(locked(&world.inside.idempotency_keys).len(), 1, "{point:?}: one key for one purchase");
    assert!(world.left().is_empty(), "{point:?}: {:?}", world.left());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_before_anything_is_owed_costs_nothing() {
    killed_at(Point::BeforeChallenge).await;
    killed_at(Point::BeforePayment).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_while_the_wallet_pays_is_one_payment() {
    killed_at(Point::DuringPayment).await;
    killed_at(Point::AfterPayment).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_while_the_proof_is_redeemed_is_one_body() {
    killed_at(Point::BeforeService).await;
    killed_at(Point::AfterService).await;
    killed_at(Point::MidBody).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_purchase_survives_a_kill_at_every_point_in_turn() {
    let mut world = World::start().await;
    for point in [
        Point::BeforePayment,
        Point::DuringPayment,
        Point::BeforeService,
        Point::AfterService,
        Point::MidBody,
    ] {
        assert_eq!(world.kill_at(point, &[]).await.exit, None);
        world.payments_arrive();
    }
    assert_eq!(world.run("/paid", &[]).await.stdout, world.body());
    assert_eq!((world.paid(), world.served()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_amid_printing_prints_all_of_it_again() {
    let world = World::start().await;
    let mut child = world.fetch("/paid", &[]).spawn().expect("it starts");
    // The pipe is full and the rest waits: the purchase is done, the printing is not.
    let mut start = vec![0; 1_000];
    let mut pipe = child.stdout.take().expect("a pipe");
    let start = tokio::task::spawn_blocking(move || {
        pipe.read_exact(&mut start).expect("the beginning");
        child.kill().expect("it runs");
        child.wait().expect("it ends");
        start
    });
    assert_eq!(start.await.expect("no panic"), world.body()[..1_000]);
    let ran = world.run("/paid", &[]).await;
    assert_eq!((ran.exit, ran.stdout), (Some(0), world.body()));
    assert_eq!((world.paid(), world.served()), (1, 1));
    // And then it is done: the next is another purchase.
    assert_eq!(world.run("/paid", &[]).await.exit, Some(0));
    assert_eq!(world.paid(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_at_any_moment_never_pay_for_nothing() {
    let world = World::start().await;
    // It fits a pipe: some of the clients end before the kill.
    *locked(&world.inside.body) = b"a small answer".to_vec();
    let mut bodies = 0;
    for round in 0..40u64 {
        let mut child = world.fetch("/paid", &[]).spawn().expect("it starts");
        // The moment of the kill is the point of this test.
        tokio::time::sleep(Duration::from_millis(10 + round * 5)).await;
        child.kill().expect("it can be killed, ended or not");
        let killed = finish(child).await;
        bodies += usize::from(killed.stdout == world.body());
        assert!(killed.exit.is_none_or(|exit| exit == 0), "{killed:?}");
        let ran = world.run("/paid", &[]).await;
        assert_eq!((ran.exit, &ran.stdout), (Some(0), &world.body()), "round {round}: {}", ran.stderr);
        bodies += 1;
        assert!(world.paid() <= bodies, "round {round}: {} payments, {bodies} bodies", world.paid());
        assert_eq!(world.paid(), world.served(), "round {round}");
        assert!(world.left().is_empty(), "round {round}: {:?}", world.left());
    }
}
