//! Channel state that is lost, old or unreadable, and a seed alone: no node starts on what is not the newest, and
//! each way back ends with the coins spendable on-chain.

mod begun;
mod seed_alone;
mod spliced;
mod stale;
mod world;

use tollhouse::node::NodeState;
use tollhouse::ports::{KeyValue, KvKey, NodeWatch};
use tollhouse::rescue::Source;
use tollhouse::store::NodeStore;
use world::{PAID_SAT, Peer, SHOP_SAT, World};

use crate::appliance::{PATIENCE, TURN};

/// What closing and sweeping may cost at the chain's lowest fees, satoshi.
const FEES_SAT: u64 = 2_000;

/// What the node says when it will not start.
async fn refusal(peer: &mut Peer) -> String {
    let node = peer.start();
    let mut state = node.state();
    let failed = state.wait_for(|state| matches!(state, NodeState::Failed(_) | NodeState::Running));
    let state = tokio::time::timeout(PATIENCE, failed).await.expect("in time").expect("told").clone();
    peer.stop().await;
    match state {
        NodeState::Failed(why) => why,
        other => panic!("the node is {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_disk_and_the_snapshot_elsewhere_bring_the_coins_home() {
    let _turn = TURN.lock().await;
    let mut world = World::start().await;
    world.shop.snapshot().await;
    // The disk is lost while the node runs: the snapshot of a clean stop would be too good.
    let elsewhere = world.shop.place().second_snapshot().expect("a second place");
    let kept = std::fs::read(&elsewhere).expect("the snapshot's copy");
    world.shop.stop().await;
    std::fs::write(&elsewhere, kept).expect("written");
    world.shop.lose(&["channels.db", "channels.generation", "channels.snapshot"]);

    let why = refusal(&mut world.shop).await;
    assert!(why.contains("channels.db is gone") && why.contains("tollhouse recover"), "{why}");
    let (found, channels, aside) = world.shop.recover();
    assert!(matches!(found.source, Source::Snapshot { file, .. } if file == elsewhere));
    assert_eq!(found.newest, None, "nothing is left that tells");
    assert_eq!(aside, None);
    assert_eq!(channels.len(), 1);
    assert_eq!((channels[0].ours_sat, channels[0].closed), (PAID_SAT, false));
    assert_eq!(channels[0].peer, world.payer.node().node_id());
    assert_eq!(channels[0].peer_address.as_ref(), Some(&world.payer.address));
    world.shop.up().await;
    world.comes_home(SHOP_SAT + PAID_SAT - FEES_SAT).await;
    assert!(world.shop.node().view().await.channels.is_empty());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_copy_meets_no_peer_and_the_snapshot_brings_the_coins_home() {
    let _turn = TURN.lock().await;
    let mut world = World::start().await;
    world.shop.stop().await;
    let file = world.shop.place().store();
    let copy = NodeStore::open(&file).expect("it opens").keep_copy().expect("copied");
    world.shop.up().await;
    world.pay().await;
    world.shop.stop().await;
    world.shop.lose(&["channels.db"]);
    std::fs::rename(copy, &file).expect("put back");

    let why = refusal(&mut world.shop).await;
    assert!(why.contains("an old copy") && why.contains("tollhouse recover"), "{why}");
    assert_eq!(world.payer.node().view().await.peers_connected, 0, "the old state met its peer");
    let (found, channels, aside) = world.shop.recover();
    assert!(matches!(found.source, Source::Snapshot { .. }), "{found:?}");
    assert_eq!((found.newest, channels[0].ours_sat), (Some(true), 2 * PAID_SAT));
    assert!(channels[0].closes_alone);
    assert!(aside.expect("the old copy is kept").exists());
    world.shop.up().await;
    world.comes_home(SHOP_SAT + 2 * PAID_SAT - FEES_SAT).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreadable_manager_is_left_behind_and_its_monitors_bring_the_coins_home() {
    let _turn = TURN.lock().await;
    let mut world = World::start().await;
    world.shop.stop().await;
    let file = world.shop.place().store();
    let manager = KvKey { primary: "", secondary: "", key: "manager" };
    {
        let store = NodeStore::open(&file).expect("it opens");
        let bytes = store.read(&manager).expect("it reads").expect("a manager");
        store.write(&manager, &bytes[..bytes.len() / 2]).expect("written");
    }
    let why = refusal(&mut world.shop).await;
    assert!(why.contains("could not be read in 5 tries") && why.contains("tollhouse recover"), "{why}");
    let (found, channels, aside) = world.shop.recover();
    assert_eq!((found.source, found.newest), (Source::Store, Some(true)));
    assert_eq!(channels[0].ours_sat, PAID_SAT);
    let aside = NodeStore::open(&aside.expect("the old one is kept")).expect("it opens");
    assert!(aside.read(&manager).expect("it reads").is_some());
    world.shop.up().await;
    world.comes_home(SHOP_SAT + PAID_SAT - FEES_SAT).await;
    world.end().await;
}
