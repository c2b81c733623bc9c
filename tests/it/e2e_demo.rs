//! `tollhouse demo` end to end, and the proof that a real bitcoind would have taken each of its blocks.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tollhouse::node::LightningNode;
use tollhouse::ports::{CloseHow, NodeControl, NodeView, NodeWatch, OpenAsk};
use tollhouse::sandbox::buyer::Buyer;
use tollhouse::sandbox::world::{World, WorldAsk};
use tollhouse::types::Msat;

use crate::appliance::{Process, TURN, buy, tollhouse, until};
use crate::bitcoind::{Bitcoind, assert_accepted, client};

fn demo(home: &Path, args: &[&str]) -> Command {
    let mut command = tollhouse(home, &["demo"]);
    command.args(args).env("TOLLHOUSE_DEMO_FILE", home.join("state/demo.json"));
    command
}

/// Runs `demo --once --json` and checks its report, whose shop has earned `revenue_msat` by then.
async fn once(home: &Path, args: &[&str], revenue_msat: u64) -> Value {
    let mut command = demo(home, &["--once", "--json"]);
    command.args(args);
    let done = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic");
    let done = done.expect("the program runs");
    let [out, err] = [done.stdout, done.stderr].map(|text| String::from_utf8(text).expect("UTF-8"));
    assert_eq!(done.status.code(), Some(0), "{out}{err}");
    assert_eq!(err, "", "a machine reads nothing but the object");
    assert_eq!(out.lines().count(), 1, "{out}");
    let report: Value = serde_json::from_str(&out).expect("one JSON object");
    let number = |field: &str| report[field].as_u64().expect("a number");
    let spans = ["ready_ms", "challenge_ms", "payment_ms", "paid_request_ms"];
    let spent: u64 = spans.into_iter().map(number).sum();
    // Each span is rounded down.
    assert!(number("total_ms") + 4 >= spent, "{report}");
    assert!(number("ready_ms") > 0, "{report}");
    let hash = report["payment_hash"].as_str().expect("text");
    assert!(hash.len() == 64 && hash.bytes().all(|digit| digit.is_ascii_hexdigit()), "{hash}");
    let statuses = ["status_unpaid", "status_paid", "status_replay"].map(|status| report[status].clone());
    assert_eq!(statuses, [json!(402), json!(200), json!(402)]);
    assert_eq!((&report["amount_msat"], &report["revenue_msat"]), (&json!(5_000), &json!(revenue_msat)));
    assert_eq!(report.as_object().expect("an object").len(), 11, "{report}");
    assert!(!home.join("state").exists(), "a world of one loop is not announced");
    report
}

#[tokio::test(flavor = "multi_thread")]
async fn one_loop_is_reported_and_leaves_nothing() {
    let _turn = TURN.lock().await;
    let home = tempfile::tempdir().unwrap();
    once(home.path(), &[], 5_000).await;
    let left: Vec<_> = std::fs::read_dir(home.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

/// The first loop makes the world, the second wakes it, and then it stays while the first port is taken.
#[tokio::test(flavor = "multi_thread")]
async fn a_kept_world_wakes_and_takes_the_next_port_and_ends_on_ctrl_c() {
    let _turn = TURN.lock().await;
    let home = tempfile::tempdir().unwrap();
    let world = home.path().join("world").display().to_string();
    let first = once(home.path(), &["--data-dir", &world], 5_000).await;
    let second = once(home.path(), &["--data-dir", &world], 10_000).await;
    assert_ne!(first["payment_hash"], second["payment_hash"]);

    // When somebody else has the port already it is as well taken.
    let _held = TcpListener::bind("127.0.0.1:8402");
    let mut staying = Process::spawn(demo(home.path(), &["--data-dir", &world]));
    let moved = staying.says("port 8402 is taken: the gateway is on ").await;
    let port: u16 = moved.rsplit(' ').next().unwrap().parse().unwrap();
    staying.says("Ctrl-C ends it.").await;
    let file = home.path().join("state/demo.json");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let place: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(place["gateway"], format!("http://127.0.0.1:{port}"));
    assert_eq!(place["pid"], staying.id());
    let text = |field: &str| place[field].as_str().unwrap().to_owned();
    let health = client().get(format!("{}/v1/health", text("gateway"))).send().await.unwrap();
    assert_eq!(health.status(), 200);

    // Beside it there is no configuration: doctor looks at the demo, and finds nothing to fix.
    let mut doctor = tollhouse(home.path(), &["doctor", "--json"]);
    doctor.env("TOLLHOUSE_DEMO_FILE", &file);
    let looked = tokio::task::spawn_blocking(move || doctor.output()).await.unwrap().unwrap();
    let report: Value = serde_json::from_slice(&looked.stdout).unwrap();
    assert_eq!(looked.status.code(), Some(0), "{report}");
    let checks: Vec<&str> =
        report["checks"].as_array().unwrap().iter().filter_map(|check| check["name"].as_str()).collect();
    assert!(checks.contains(&"node") && !checks.contains(&"settings"), "{report}");

    let wallet = client().get(format!("{}/v1/balance/channels", text("payer")));
    let wallet = wallet.header("grpc-metadata-macaroon", text("wallet_macaroon")).send().await.unwrap();
    let balance: Value = wallet.json().await.unwrap();
    assert_eq!(balance["balance"], "100000", "the payer lends a wallet, a new one at each start: {balance}");
    let customer = Buyer::new(&text("payer"), &text("payer_key")).unwrap();
    let (_, rates) =
        buy(&customer, &format!("{}/v1/exchange-rates?base=USD&quote=EUR", text("gateway"))).await;
    assert!(rates["rates"]["EUR"].is_string(), "{rates}");
    let status = client().get(format!("{}/api/v1/status", text("admin"))).bearer_auth(text("admin_key"));
    let status: Value = status.send().await.unwrap().json().await.unwrap();
    assert_eq!(status["revenue"]["total_msat"], 15_000, "{status}");
    assert_eq!(
        status["node"]["channels"].as_array().map(Vec::len),
        Some(1),
        "the channel was woken: {status}"
    );
    assert_eq!(status["ledger"]["ok"], true, "{status}");

    // What was earned can be paid out to the payer.
    let command = async |args: &[&str]| -> Value {
        let mut command = tollhouse(home.path(), args);
        command.arg("--json").env("TOLLHOUSE_DEMO_FILE", &file);
        let done = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        serde_json::from_slice(&done.stdout).unwrap_or_else(|_| panic!("{done:?}"))
    };
    // What was delivered is spendable once both sides have put the payment behind them.
    until("the coins of three sales", async || {
        let status = client().get(format!("{}/api/v1/status", text("admin"))).bearer_auth(text("admin_key"));
        let status: Value = status.send().await.unwrap().json().await.unwrap();
        (status["node"]["spendable_msat"].as_u64() >= Some(15_000)).then_some(())
    })
    .await;
    let made = command(&["demo", "invoice", "--amount-sat", "2"]).await;
    let invoice = made["invoice"].as_str().unwrap_or_else(|| panic!("{made}")).to_owned();
    let paid = command(&["pay-out", &invoice, "--yes"]).await;
    assert_eq!((&paid["state"], &paid["amount_msat"]), (&json!("done"), &json!(2_000)), "{paid}");
    let dear = command(&["demo", "invoice", "--amount-sat", "5000000"]).await;
    assert_eq!(dear["code"], "cannot_receive", "{dear}");

    // A second demo on the same world is refused before it touches the chain.
    let chain = || std::fs::read(home.path().join("world/chain.dat")).unwrap();
    let before = chain();
    let (refused, said) = Process::spawn(demo(home.path(), &["--data-dir", &world])).ended().await;
    assert_eq!(refused.code(), Some(1), "{said}");
    assert!(said.contains("another tollhouse runs on"), "{said}");
    assert!(chain().starts_with(&before), "the first one's blocks are as they were");

    let (ended, said) = staying.end("INT").await;
    assert_eq!(ended.code(), Some(0), "{said}");
    assert!(!file.exists(), "the demo file is gone");

    // Told to stop while it still sets up, it stops in order.
    let mut early = Process::spawn(demo(home.path(), &["--data-dir", &world]));
    early.says("starting two Lightning nodes").await;
    let (ended, said) = early.end("INT").await;
    assert_eq!(ended.code(), Some(1), "{said}");
    assert!(said.contains("stopped before the world was ready"), "{said}");
    std::fs::remove_dir_all(home.path().join("state")).unwrap();
    once(home.path(), &["--data-dir", &world], 20_000).await;
}

/// Waits for the node to see what is wanted, with the newest block read.
async fn sees(node: &LightningNode, what: &str, wanted: impl Fn(&NodeView) -> bool) -> NodeView {
    until(what, async || {
        node.sync().await.expect("the chain is there");
        let view = node.view().await;
        wanted(&view).then_some(view)
    })
    .await
}

async fn sell(world: &World, times: usize) {
    let key = std::fs::read_to_string(world.payer.admin_key_file()).expect("a key");
    let customer = Buyer::new(&world.payer.admin_url(), key.trim()).expect("a client");
    let url = format!("{}/v1/exchange-rates?base=USD&quote=EUR", world.shop.gateway_url());
    for _ in 0..times {
        buy(&customer, &url).await;
    }
}

async fn close(world: &World, how: CloseHow) {
    let (shop, payer) = (world.shop.node(), world.payer.node());
    let view = payer.view().await;
    let [channel] = view.channels.as_slice() else { panic!("not one channel: {view:?}") };
    payer.close_channel(&channel.channel_id, how).await.expect("the close begins");
    for node in [shop, payer] {
        sees(node, "the channel to be gone", |view| view.channels.is_empty()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_bitcoind_takes_every_block_of_a_demo() {
    let _turn = TURN.lock().await;
    let dir = tempfile::tempdir().unwrap();
    let any = async || tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let ask = WorldAsk { dir: dir.path(), gateway: any().await, admin: any().await, progress: &|_| {} };
    let world = World::start(ask).await.unwrap();
    let (shop, payer) = (world.shop.node(), world.payer.node());
    let room = shop.view().await.receivable_msat;
    sell(&world, 2).await;
    // What the ledger says is left is what went over to our side of the channel.
    let left = u64::try_from(world.shop.ledger().account().await.unwrap().balance_msat).unwrap();
    assert_eq!(left, 10_000);
    sees(shop, "the money on our side", |view| view.receivable_msat + left == room).await;

    let coins = payer.view().await.onchain_spendable_sat;
    close(&world, CloseHow::Cooperative).await;
    sees(payer, "the closed channel's coins", |view| view.onchain_spendable_sat > coins + 9_000_000).await;

    let peer = shop.view().await;
    let (address, peer) = (peer.listening[0].clone(), peer.node_id);
    let (amount_sat, push) = (1_000_000, Msat::new(100_000_000).unwrap());
    let ask = OpenAsk { peer, address, amount_sat, push, announce: false };
    payer.open_channel(ask).await.expect("the channel is asked for");
    for node in [payer, shop] {
        sees(node, "the second channel", |view| view.channels.iter().any(|channel| channel.usable)).await;
    }
    until("the gate to sell again", async || {
        let url = format!("{}/v1/exchange-rates?base=USD&quote=EUR", world.shop.gateway_url());
        (client().get(url).send().await.ok()?.status() == 402).then_some(())
    })
    .await;
    sell(&world, 1).await;

    let shop_coins = shop.view().await.onchain_spendable_sat;
    let payer_coins = payer.view().await.onchain_spendable_sat;
    close(&world, CloseHow::Force).await;
    // What the payer's own commitment gives it may be swept after this many blocks.
    world.chain.mine(144).unwrap();
    sees(shop, "the shop's sweep", |view| view.onchain_spendable_sat > shop_coins + 90_000).await;
    sees(payer, "the payer's sweep", |view| view.onchain_spendable_sat > payer_coins + 850_000).await;

    let ledger = world.shop.ledger().audit().await.unwrap();
    assert!(ledger.ok, "{ledger:?}");
    let chain = world.chain.clone();
    world.stop().await;
    let blocks = chain.blocks();
    let spends = blocks.iter().map(|block| block.txdata.len() - 1).sum::<usize>();
    assert!(spends >= 7, "funds, opens, closes and sweeps: {spends}");
    assert_accepted(&Bitcoind::start().await, &blocks).await;
}
