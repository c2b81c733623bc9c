//! Several chain sources: each kind carries a sale, and when the first one dies in the middle the shop moves to the
//! next, sells on, and comes back.

use bitcoin::hashes::Hash;
use bitcoin::{Address, Amount, OutPoint, Txid};
use reqwest::Method;
use serde_json::{Value, json};
use tollhouse::chain::{Spent, contents, spent, spent_before};
use tollhouse::sandbox::buyer::Wanted;

use crate::appliance::{Appliance, TURN, asked_for, bitcoind_section, until};
use crate::bitcoind::Bitcoind;
use crate::e2e_run::{Upstream, books, buy_here, can_trade, fund, open_channel, sells_nothing};
use crate::electrum::Electrum;
use crate::vault::bitcoind_source;

async fn is_on(shop: &Appliance, kind: &str) -> Value {
    until(&format!("the shop to be on {kind}"), async || {
        let chain = shop.get("/api/v1/chain").await;
        let on = chain["sources"]
            .as_array()?
            .iter()
            .any(|source| source["kind"] == kind && source["in_use"] == true);
        let running = shop.get("/api/v1/status").await["node"]["running"] == true;
        (on && running).then_some(chain)
    })
    .await
}

/// The payer calls until it is through: by itself it does so once a minute, and at first it may not have noticed
/// that the shop was away.
async fn meet(shop: &Appliance, payer: &Appliance) {
    let peer = shop.up().await["node_id"].clone();
    until("the two to meet", async || {
        let status = shop.get("/api/v1/status").await;
        if status["node"]["channels"][0]["usable"] == true {
            return Some(());
        }
        payer.tell("/api/v1/peers", json!({ "peer": peer, "address": shop.peers })).await;
        None
    })
    .await;
    can_trade(shop, payer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shop_sells_behind_electrum_moves_to_bitcoind_when_it_dies_and_comes_back() {
    let _turn = TURN.lock().await;
    let (bitcoind, upstream) = (Bitcoind::start().await, Upstream::start().await);
    bitcoind.mine(101).await;
    let electrum = Electrum::new(&bitcoind).await;
    let port = electrum.port;
    let sources = format!(
        "sources = [\"electrum+tcp://127.0.0.1:{port}\", \"bitcoind://{}:{}@127.0.0.1:{}\"]\n\
         give_up_after = \"2s\"\nreturn_after = \"1s\"",
        Bitcoind::USER,
        Bitcoind::PASSWORD,
        bitcoind.port()
    );
    let mut shop = Appliance::start(&sources, &upstream.service());
    let mut payer = Appliance::start(&bitcoind_section(bitcoind.port()), "");
    shop.up().await;
    payer.up().await;
    let chain = is_on(&shop, "electrum").await;
    assert!(!chain.to_string().contains(&format!("{}@", Bitcoind::PASSWORD)), "{chain}");
    sells_nothing(&shop, &upstream).await;
    fund(&bitcoind, &shop, &payer).await;
    open_channel(&bitcoind, &shop, &payer).await;
    let mut sales = vec![buy_here(&shop, &payer, &upstream).await];

    // In mid-flight: a customer has the invoice, and the first source dies.
    let customer = payer.customer();
    let wanted = Wanted { url: format!("{}/v1/rates?base=USD", shop.gateway), body: None };
    let unpaid = customer.ask(&wanted, None).await.expect("an answer");
    let hash = asked_for(&unpaid);
    drop(electrum);
    is_on(&shop, "bitcoind").await;
    meet(&shop, &payer).await;
    let credential = customer.pay(&unpaid.challenge().expect("a challenge")).await.expect("it is paid");
    let paid = customer.ask(&wanted, Some(&credential)).await.expect("an answer");
    assert_eq!(paid.status, 200, "{}", paid.body);
    sales.push(hash.to_hex());
    bitcoind.mine(1).await;
    let height = bitcoind.height().await;
    shop.node("the new block", |node| node["block_height"] == height).await;
    sales.push(buy_here(&shop, &payer, &upstream).await);

    // It comes back, and after a while it is used again.
    let electrum = Electrum::on(&bitcoind, port).await;
    is_on(&shop, "electrum").await;
    bitcoind.mine(1).await;
    meet(&shop, &payer).await;
    sales.push(buy_here(&shop, &payer, &upstream).await);
    let height = bitcoind.height().await;
    shop.node("the new block", |node| node["block_height"] == height).await;
    books(&shop, &sales).await;
    nothing_is_told_twice(&shop).await;

    // The node tells the payments of a closed channel again whenever it is built anew.
    let channel = shop.get("/api/v1/status").await["node"]["channels"][0]["channel_id"].clone();
    let path = format!("/api/v1/channels/{}?force=true", channel.as_str().expect("an id"));
    let (status, answer) = shop.try_api(Method::DELETE, &path, None).await.expect("an answer");
    assert!(status.is_success(), "{answer}");
    shop.node("the channel to be closed", |node| node["channels"] == json!([])).await;
    drop(electrum);
    is_on(&shop, "bitcoind").await;
    bitcoind.mine(1).await;
    let height = bitcoind.height().await;
    shop.node("the new block", |node| node["block_height"] == height).await;
    let electrum = Electrum::on(&bitcoind, port).await;
    is_on(&shop, "electrum").await;
    bitcoind.mine(1).await;
    let height = bitcoind.height().await;
    shop.node("the new block", |node| node["block_height"] == height).await;
    nothing_is_told_twice(&shop).await;
    payer.stop().await;
    shop.stop().await;
    drop(electrum);
}

async fn nothing_is_told_twice(shop: &Appliance) {
    assert_eq!(shop.get("/api/v1/audit").await["ok"], json!(true));
    let ledger = &shop.get("/api/v1/status").await["revenue"];
    assert_eq!(ledger["surplus_msat"], json!(0), "{ledger}");
}

#[tokio::test]
async fn an_output_that_never_was_is_told_from_one_that_was_spent() {
    for (more, never) in [(&[][..], Spent::Somewhere), (&["-txindex=1"], Spent::Never)] {
        let bitcoind = Bitcoind::with(more).await;
        bitcoind.mine(101).await;
        let first = bitcoind.expect("getblockhash", json!([1])).await;
        let first = bitcoind.expect("getblock", json!([first, 1])).await;
        let to: Address<_> =
            serde_json::from_value(bitcoind.expect("getnewaddress", json!([])).await).expect("an address");
        bitcoind.send(&to.assume_checked(), Amount::from_sat(70_000)).await;
        let source = bitcoind_source(&bitcoind);
        let coin: Txid = first["tx"][0].as_str().expect("an id").parse().expect("an id");
        let waiting = bitcoind.expect("getrawmempool", json!([])).await;
        let waiting = waiting[0].as_str().expect("it waits").parse().expect("an id");
        let (inputs, paid) = contents(&source, waiting, None).await.expect("an answer").expect("it waits");
        assert_eq!(inputs, [OutPoint::new(coin, 0)]);
        assert!((4_999_900_000..5_000_000_000).contains(&paid), "the coin less a fee: {paid}");
        let Ok(Spent::By(spend)) = spent(&source, OutPoint::new(coin, 0), 100).await else {
            panic!("it is seen before its block")
        };
        assert_eq!((spend.txid, spend.height), (waiting, None));
        bitcoind.mine(1).await;
        let mined =
            contents(&source, waiting, Some(102)).await.expect("an answer").expect("it is in that block");
        assert_eq!(mined, (inputs, paid));
        let nowhere = OutPoint::new(Txid::from_byte_array([7; 32]), 0);
        // An index is made in its own time.
        until("the index", async || (spent(&source, nowhere, 100).await == Ok(never)).then_some(())).await;
        let before = spent(&source, OutPoint::new(coin, 0), 103).await;
        assert_eq!(before, Ok(Spent::Somewhere), "it was, and was spent in a block that is not looked at");
        let Ok(Spent::By(spend)) = spent(&source, OutPoint::new(coin, 0), 102).await else {
            panic!("it is in that block")
        };
        assert_eq!((spend.txid, spend.height), (waiting, Some(102)));
        // Longer ago than is read at once.
        bitcoind.mine(700).await;
        let Ok(Spent::By(spend)) = spent_before(&source, OutPoint::new(coin, 0), 790).await else {
            panic!("it is in a block before that")
        };
        assert_eq!((spend.txid, spend.height), (waiting, Some(102)));
        assert_eq!(spent_before(&source, nowhere, 790).await, Ok(never));
    }
}
