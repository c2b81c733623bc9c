//! A snapshot of before a splice, and the program: what is in the larger channel cannot come home from it, and that is
//! said, not that all coins are home.

use std::time::Duration;

use bitcoin::Network;
use serde_json::{Value, json};
use tempfile::TempDir;
use tollhouse::clock::SystemEntropy;
use tollhouse::ports::{Coins, NodeControl, NodeWatch, Splice};
use tollhouse::rescue::Place;
use tollhouse::secrets::{Secrets, private_dir};

use super::world::{Net, Peer, World};
use crate::appliance::{Appliance, Process, TURN, bitcoind_section, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_of_before_a_splice_says_what_it_cannot_bring_home() {
    let _turn = TURN.lock().await;
    let folder = TempDir::new().expect("a folder");
    let net = Net::start(folder.path()).await;
    let mut program = Appliance::written(&bitcoind_section(net.port), "");
    let dir = program.data_dir().join("regtest");
    private_dir(&dir).expect("a folder");
    let secrets = Secrets::load_or_create(&dir, Network::Regtest, &*SystemEntropy::new()).expect("a seed");
    let mut shop = Peer::new(&dir, 7, &net.source);
    (shop.seed, shop.key) = (*secrets.seed(), *secrets.derive(Place::KEY));
    shop.address = program.peers.clone();
    let mut world = World::of(folder, net, shop).await;
    world.shop.snapshot().await;
    let kept = world.payer.dir.join("kept.snapshot");
    std::fs::copy(world.shop.place().snapshot(), &kept).expect("copied");

    let before = world.payer.node().view().await.channels[0].clone();
    let splice = Splice::In { amount_sat: 500_000 };
    world.payer.node().splice(&before.channel_id, splice).await.expect("it begins");
    let splice =
        until("the splice", async || world.net.chain.mempool_txids().first().map(ToString::to_string)).await;
    world.net.chain.mine(6).expect("mined");
    until("the larger channel", async || {
        let _ = world.payer.node().sync().await;
        let _ = world.shop.node().sync().await;
        let channels = world.shop.node().view().await.channels;
        channels.first().filter(|now| now.usable && now.funding != before.funding).map(drop)
    })
    .await;
    world.pay().await;
    world.shop.stop().await;
    world.shop.lose(&["channels.db", "channels.generation", "channels.snapshot"]);

    let kept = kept.to_str().expect("a name");
    for (more, by) in
        [(&["--snapshot", kept][..], splice.as_str()), (&[], "in a block too long ago to be looked at")]
    {
        let mut recover = Process::spawn(program.tool("recover", &[&["--yes"][..], more].concat()));
        let mining = async {
            loop {
                world.net.chain.mine(1).expect("mined");
                let _ = world.payer.node().sync().await;
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        };
        let (status, said) = tokio::select! {
            ended = recover.ended() => ended,
            () = mining => unreachable!("it goes on"),
        };
        assert_eq!(status.code(), Some(3), "{said}");
        assert!(said.contains(&format!("by no commitment: {by}")), "{said}");
        assert!(said.contains("Not all may be home") && !said.contains("All coins are"), "{said}");
    }
    world.payer.stop().await;

    // The next start has it among the closed channels, and the log tells of it.
    assert_eq!(tollhouse::rescue::recovered(&dir).expect("it reads").len(), 1);
    program.start_again();
    program.process().says("operator").await;
    let closed = program.get("/api/v1/channels/closed").await;
    assert_eq!(
        (&closed["channels"][0]["cause"], &closed["channels"][1]),
        (&json!("recovered"), &Value::Null)
    );
    assert_eq!(closed["channels"][0]["channel_id"], before.channel_id.as_str());
    let told = program.get("/api/v1/activity").await.to_string();
    assert!(told.contains("\"cause\":\"recovered\""), "{told}");
    assert_eq!(tollhouse::rescue::recovered(&dir).expect("it reads"), []);
    program.stop().await;
}
