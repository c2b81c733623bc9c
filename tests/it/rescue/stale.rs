//! A snapshot from the middle of a payment, the program, and a real bitcoind, which judges signatures: whatever
//! happens before the peer is back, our node publishes no commitment, and then the coins come home.

use std::path::Path;
use std::time::Duration;

use bitcoin::{Address, Amount, Network};
use serde_json::json;
use tempfile::TempDir;
use tollhouse::clock::SystemEntropy;
use tollhouse::node::config::{ChainSource, RpcAuth};
use tollhouse::node::{LightningNode, NodeSeed, disarmed, monitored_channels};
use tollhouse::ports::{NodeControl, NodeWatch, OpenAsk};
use tollhouse::rescue::{self, Place};
use tollhouse::secrets::{Secrets, private_dir};
use tollhouse::store::{Intent, Ledger, NodeStore, StoredBytes};
use tollhouse::types::{Msat, PaymentHash};

use super::begun::{Begun, any_is_taken, begun, keys, sent};
use super::world::{CHANNEL_SAT, PAID_SAT, Peer, SHOP_SAT, States, clock, pay};
use crate::appliance::{Appliance, Process, TURN, bitcoind_section, until};
use crate::bitcoind::Bitcoind;

/// What closing and sweeping may cost, satoshi.
const FEES_SAT: u64 = 3_000;

/// Blocks after which the library closes the channel for the payment: 42 as minted, and up to 432 that its sender
/// adds.
const TO_THE_END: u32 = 480;

async fn fund(bitcoind: &Bitcoind, node: &LightningNode, sat: u64) {
    let address: Address<_> = node.new_address().await.expect("an address").parse().expect("an address");
    let address = address.require_network(Network::Regtest).expect("of regtest");
    bitcoind.send(&address, Amount::from_sat(sat)).await;
    bitcoind.mine(1).await;
    until("coins", async || {
        node.sync().await.ok()?;
        (node.view().await.onchain_spendable_sat >= sat).then_some(())
    })
    .await;
}

async fn open(bitcoind: &Bitcoind, shop: &Peer, payer: &Peer) {
    shop.node().connect(&payer.node().node_id(), &payer.address).await.expect("connected");
    let ask = OpenAsk {
        peer: shop.node().node_id(),
        address: shop.address.clone(),
        amount_sat: CHANNEL_SAT,
        push: Msat::ZERO,
        announce: false,
    };
    payer.node().open_channel(ask).await.expect("it opens");
    until("the funding", async || {
        let waiting = bitcoind.expect("getrawmempool", json!([])).await;
        (!waiting.as_array()?.is_empty()).then_some(())
    })
    .await;
    bitcoind.mine(6).await;
}

/// Seals rows as the snapshot of `place`, as the node's own keeper does.
async fn sealed(rows: &[StoredBytes], place: Place, dir: &Path) -> String {
    std::fs::create_dir(dir).expect("a folder");
    let scratch = Place { dir: dir.to_owned(), second: None, ..place };
    NodeStore::create_first(&scratch.store(), rows).expect("a store");
    let opened = rescue::open(scratch.clone(), clock(), SystemEntropy::new()).expect("it opens");
    assert_eq!(opened.barred, None);
    opened.keeper.last().await;
    scratch.snapshot().to_str().expect("a name").to_owned()
}

/// The funding output is there, and nothing that waits spends it.
async fn is_unspent(bitcoind: &Bitcoind, funding: &str) {
    let (txid, vout) = funding.split_once(':').expect("txid:vout");
    let vout: u32 = vout.parse().expect("a number");
    let output = bitcoind.expect("gettxout", json!([txid, vout, true])).await;
    assert!(!output.is_null(), "somebody closed the channel");
    assert_eq!(bitcoind.expect("getrawmempool", json!([])).await, json!([]));
}

/// Notes a payment as the appliance does just before it sends it.
async fn note_payment(ledger: &Path) {
    let (ledger, _) = Ledger::open(ledger, clock()).expect("it opens");
    let amount = Msat::from_sat(1_000).expect("an amount");
    let payment_hash = PaymentHash::from_bytes([7; 32]);
    let bolt11 = "lnbcrt1".to_owned();
    let intent = Intent { payment_hash, bolt11, amount, max_fee: Msat::ZERO, wallet: None };
    ledger.intend(intent).await.expect("noted");
    ledger.close().await.expect("closed");
}

/// The state in which a payment's preimage is known and its commitment not given up yet: the first that has it.
fn in_the_middle(states: &States, preimage: &[u8]) -> Vec<StoredBytes> {
    let states = states.lock().expect("one at a time");
    let has = |row: &StoredBytes| row.value.windows(preimage.len()).any(|bytes| bytes == preimage);
    states.iter().find(|rows| rows.iter().any(has)).expect("the payment was claimed").clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_snapshot_closes_nothing_and_the_peer_brings_the_coins_home() {
    let _turn = TURN.lock().await;
    let bitcoind = Bitcoind::start().await;
    bitcoind.mine(101).await;
    let port = bitcoind.port();
    let mut program = Appliance::written(&bitcoind_section(port), "");
    let dir = program.data_dir().join("regtest");
    private_dir(&dir).expect("a folder");
    let secrets = Secrets::load_or_create(&dir, Network::Regtest, &*SystemEntropy::new()).expect("a seed");
    let (user, password) = (Bitcoind::USER.to_owned(), Bitcoind::PASSWORD.to_owned());
    let auth = RpcAuth::Password { user, password };
    let source = ChainSource::Bitcoind { host: "127.0.0.1".to_owned(), port, auth };
    let elsewhere = TempDir::new().expect("a folder");

    // The program's own node, watched from within.
    let mut shop = Peer::new(&dir, 7, &source);
    (shop.seed, shop.key) = (*secrets.seed(), *secrets.derive(Place::KEY));
    shop.address = program.peers.clone();
    shop.states = Some(States::default());
    let mut payer = Peer::new(&elsewhere.path().join("payer"), 8, &source);
    shop.up().await;
    payer.up().await;
    fund(&bitcoind, shop.node(), SHOP_SAT).await;
    fund(&bitcoind, payer.node(), 2 * CHANNEL_SAT).await;
    open(&bitcoind, &shop, &payer).await;
    pay(shop.node(), payer.node()).await;
    let preimage = pay(shop.node(), payer.node()).await;
    pay(shop.node(), payer.node()).await;
    shop.stop().await;
    payer.stop().await;
    shop.lose(&["channels.db", "channels.generation", "channels.snapshot"]);
    let states = shop.states.take().expect("they were kept");
    let rows = in_the_middle(&states, preimage.as_bytes());
    let seed = NodeSeed::new(&shop.seed);
    // Every state that there ever was can be made harmless, also when a close had begun with it, and again.
    let known = std::mem::take(&mut *states.lock().expect("one at a time"));
    let keys = keys(&shop.seed);
    for state in &known {
        for how in Begun::ALL {
            let state = begun(state, &keys, how);
            let before = monitored_channels(&state, &seed, Network::Regtest).expect("they can be read");
            let armed = any_is_taken(&bitcoind, sent(&state, &keys)).await;
            assert_eq!(armed, !before.is_empty(), "{how:?}: it shows nothing");
            let once = disarmed(state, &seed, Network::Regtest).expect("disarmed");
            let twice = disarmed(once.clone(), &seed, Network::Regtest).expect("disarmed again");
            for state in [once, twice] {
                assert!(!any_is_taken(&bitcoind, sent(&state, &keys)).await, "{how:?}: it is published");
                let after = monitored_channels(&state, &seed, Network::Regtest).expect("they can be read");
                assert_eq!(before.len(), after.len());
                for (before, after) in before.iter().zip(after) {
                    assert!(before.closes_alone && !after.closes_alone, "{how:?}");
                    assert_eq!((before.closed, before.ours_sat), (after.closed, after.ours_sat), "{how:?}");
                }
            }
        }
    }
    let channels = monitored_channels(&rows, &seed, Network::Regtest).expect("they can be read");
    let funding = channels[0].funding.clone();
    let snapshot = sealed(&rows, shop.place(), &elsewhere.path().join("open")).await;
    let closing = begun(&rows, &keys, Begun::Told);
    let closing = sealed(&closing, shop.place(), &elsewhere.path().join("closing")).await;

    // The payment's end passes while the peer is away, at the first start and at the second.
    bitcoind.mine(TO_THE_END).await;
    let mut recover = Process::spawn(program.tool("recover", &["--yes", "--snapshot", &snapshot]));
    recover.says("only the peers can close the channels").await;
    recover.says(&format!("block {}, 0 peers", bitcoind.height().await)).await;
    bitcoind.mine(1).await;
    recover.says(&format!("block {}, 0 peers", bitcoind.height().await)).await;
    is_unspent(&bitcoind, &funding).await;
    let (status, said) = recover.end("INT").await;
    assert_eq!(status.code(), Some(3), "{said}");
    assert!(said.contains("Stopped with coins on their way"), "{said}");

    program.start_again();
    program.up().await;
    bitcoind.mine(1).await;
    let height = bitcoind.height().await;
    program.node("the next block", |node| node["block_height"] == height).await;
    is_unspent(&bitcoind, &funding).await;
    program.stop().await;
    // An orderly stop makes it the newest that there is, and still nothing with which this node closes.
    let (status, said) = Process::spawn(program.tool("recover", &["--dry-run"])).ended().await;
    assert!(status.success() && said.contains("as the last recovery left it"), "{said}");
    assert!(said.contains("open, only its peer can close it"), "{said}");

    // A payment was noted when that disk was lost, and perhaps sent.
    note_payment(&dir.join("ledger.db")).await;

    // The same state after our own close had begun: it is sent again with each start, and no node takes it.
    shop.lose(&["channels.db", "channels.generation", "channels.snapshot"]);
    let mut recover = Process::spawn(program.tool("recover", &["--yes", "--snapshot", &closing]));
    for _ in 0..2 {
        recover.says(&format!("block {}, 0 peers", bitcoind.height().await)).await;
        is_unspent(&bitcoind, &funding).await;
        bitcoind.mine(1).await;
    }
    let (status, said) = recover.end("INT").await;
    assert_eq!(status.code(), Some(3), "{said}");
    is_unspent(&bitcoind, &funding).await;

    payer.up().await;
    let mut recover = Process::spawn(program.tool("recover", &["--yes"]));
    recover.says("This node closes no channel by itself").await;
    let mining = async {
        loop {
            bitcoind.mine(1).await;
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    let (status, said) = tokio::select! {
        ended = recover.ended() => ended,
        () = mining => unreachable!("it goes on"),
    };
    assert_eq!(status.code(), Some(0), "{said}");
    let home = said.lines().find_map(|line| line.strip_prefix("All coins are in the on-chain wallet: "));
    let home = home.and_then(|rest| rest.strip_suffix(" sat.")).unwrap_or_else(|| panic!("{said}"));
    let home: u64 = home.replace(',', "").parse().expect("a number");
    assert!(home >= SHOP_SAT + 3 * PAID_SAT - FEES_SAT, "{said}");

    // The node that came from the snapshot knows nothing of that payment, which proves nothing.
    program.start_again();
    program.up().await;
    let told = program.get("/api/v1/operations").await;
    let told = &told["operations"][0];
    assert_eq!((&told["kind"], &told["state"]), (&json!("pay_invoice"), &json!("unclear")), "{told}");
    program.stop().await;
    payer.stop().await;
}
