//! `tollhouse run` end to end: two processes, real sockets, a real bitcoind or the Esplora over it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use bitcoin::{Address, Amount};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tollhouse::sandbox::buyer::Wanted;

use crate::appliance::{Appliance, Process, TURN, bitcoind_section, buy, until};
use crate::bitcoind::{Bitcoind, client, free_port};
use crate::esplora::Esplora;

const PRICE_MSAT: u64 = 5_000;

/// An API that counts the requests that reach it.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    hits: Arc<AtomicUsize>,
    _stop: DropGuard,
}

impl Upstream {
    pub(crate) async fn start() -> Upstream {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port is free");
        let address = listener.local_addr().expect("a bound listener has an address");
        let (hits, stop) = (Arc::new(AtomicUsize::new(0)), CancellationToken::new());
        let counted = Arc::clone(&hits);
        let router = Router::new().fallback(move |uri: http::Uri| {
            let hit = counted.fetch_add(1, Ordering::SeqCst) + 1;
            async move { axum::Json(json!({ "hit": hit, "path": uri.path() })) }
        });
        let served = axum::serve(listener, router).with_graceful_shutdown(stop.clone().cancelled_owned());
        TaskTracker::new().spawn(served.into_future());
        Upstream { address, hits, _stop: stop.drop_guard() }
    }

    pub(crate) fn hits(&self) -> usize {
        self.hits.load(Ordering::SeqCst)
    }

    pub(crate) fn service(&self) -> String {
        format!(
            "[[service]]\nname = \"rates\"\npath = \"/v1\"\nupstream = \"http://{}\"\nprice = \"5 sat\"\n\
             [[service.route]]\npath = \"/v1/health\"\nprice = \"free\"\n",
            self.address
        )
    }
}

async fn ask(url: &str) -> (u16, Value) {
    let answer = client().get(url).send().await.expect("the gate answers");
    (answer.status().as_u16(), answer.json().await.expect("JSON"))
}

/// The gate cannot sell: it says so and asks for no payment; what is free flows.
pub(crate) async fn sells_nothing(shop: &Appliance, upstream: &Upstream) {
    let before = upstream.hits();
    let (status, body) = ask(&format!("{}/v1/rates", shop.gateway)).await;
    assert_eq!((status, &body["code"]), (503, &json!("cannot_receive")), "{body}");
    assert_eq!(upstream.hits(), before, "nothing unpaid reaches the upstream");
    assert_eq!(ask(&format!("{}/v1/health", shop.gateway)).await.0, 200);
    assert_eq!(upstream.hits(), before + 1);
}

/// Coins for both, from bitcoind's wallet.
pub(crate) async fn fund(bitcoind: &Bitcoind, shop: &Appliance, payer: &Appliance) {
    for node in [shop, payer] {
        let address = node.post("/api/v1/onchain/address", json!({})).await["address"].clone();
        let address: Address<_> = serde_json::from_value(address).expect("an address");
        bitcoind.send(&address.assume_checked(), Amount::from_sat(1_000_000)).await;
    }
    bitcoind.mine(6).await;
    for node in [shop, payer] {
        node.node("the coins", |node| node["onchain_spendable_sat"].as_u64() > Some(0)).await;
    }
}

pub(crate) async fn open_channel(bitcoind: &Bitcoind, shop: &Appliance, payer: &Appliance) {
    let peer = shop.up().await["node_id"].clone();
    let ask = json!({ "peer": peer, "address": shop.peers, "amount_sat": 500_000 });
    payer.post("/api/v1/channels", ask).await;
    until("the funding transaction", async || {
        let waiting = bitcoind.expect("getrawmempool", json!([])).await;
        waiting.as_array().filter(|waiting| !waiting.is_empty()).map(|_| ())
    })
    .await;
    bitcoind.mine(6).await;
    can_trade(shop, payer).await;
}

pub(crate) async fn can_trade(shop: &Appliance, payer: &Appliance) {
    for node in [payer, shop] {
        node.node("a usable channel", |node| node["channels"][0]["usable"] == true).await;
    }
    let url = format!("{}/v1/rates", shop.gateway);
    until("the gate to sell", async || (ask(&url).await.0 == 402).then_some(())).await;
}

/// Buys once, and the upstream saw exactly that.
pub(crate) async fn buy_here(shop: &Appliance, payer: &Appliance, upstream: &Upstream) -> String {
    let before = upstream.hits();
    let (hash, body) = buy(&payer.customer(), &format!("{}/v1/rates?base=USD", shop.gateway)).await;
    assert_eq!(body, json!({ "hit": before + 1, "path": "/v1/rates" }));
    assert_eq!(upstream.hits(), before + 1, "neither the unpaid request nor the replay got through");
    hash.to_hex()
}

/// What the shop's books say of the sales so far, which it gives for a comparison.
pub(crate) async fn books(shop: &Appliance, sales: &[String]) -> [Value; 2] {
    // The event that a payment arrived comes from the node when it will: the data may be sold before.
    let page = until("the payments to be in the books", async || {
        let page = shop.get("/api/v1/payments").await;
        (page["payments"].as_array().map(Vec::len) == Some(sales.len())).then_some(page)
    })
    .await;
    let rows = page["payments"].as_array().expect("a list");
    for (row, hash) in rows.iter().rev().zip(sales) {
        assert_eq!(row["payment_hash"], hash.as_str());
        assert_eq!((&row["amount_msat"], &row["service"]), (&json!(PRICE_MSAT), &json!("rates")));
    }
    let status = shop.get("/api/v1/status").await;
    let total = PRICE_MSAT * u64::try_from(sales.len()).expect("few");
    let revenue = &status["revenue"];
    assert_eq!(revenue["total_msat"], total, "{revenue}");
    assert_eq!(revenue["received_msat"], total, "{revenue}");
    assert_eq!((&revenue["unearned_msat"], &revenue["calls_total"]), (&json!(0), &json!(sales.len())));
    assert_eq!(status["ledger"]["ok"], true, "{}", status["ledger"]);
    assert_eq!(status["ledger"]["holds_open"], 0);
    [page, status["ledger"].clone()]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shop_sells_over_a_channel_and_goes_on_after_a_restart() {
    let _turn = TURN.lock().await;
    let (bitcoind, upstream) = (Bitcoind::start().await, Upstream::start().await);
    bitcoind.mine(101).await;
    let chain = bitcoind_section(bitcoind.port());
    let mut shop = Appliance::start(&chain, &upstream.service());
    let mut payer = Appliance::start(&chain, "");
    shop.up().await;
    payer.up().await;
    sells_nothing(&shop, &upstream).await;

    fund(&bitcoind, &shop, &payer).await;
    open_channel(&bitcoind, &shop, &payer).await;
    let mut sales = vec![buy_here(&shop, &payer, &upstream).await];
    sales.push(buy_here(&shop, &payer, &upstream).await);
    let before = books(&shop, &sales).await;
    let channel = shop.up().await["channels"][0]["channel_id"].clone();

    let free = || format!("127.0.0.1:{}", free_port());
    let second = shop.command(&["--gateway-listen", &free(), "--admin-listen", &free()]);
    let (status, said) = Process::spawn(second).ended().await;
    assert_eq!(status.code(), Some(1), "{said}");
    let taken = format!("another tollhouse runs on {}", shop.data_dir().display());
    assert!(said.contains(&taken), "{said}");

    payer.stop().await;
    shop.stop().await;
    // The payer second: it is the one that calls.
    shop.start_again();
    shop.up().await;
    payer.start_again();
    can_trade(&shop, &payer).await;
    assert_eq!(books(&shop, &sales).await, before, "the books are as they were");
    assert_eq!(shop.up().await["channels"][0]["channel_id"], channel, "it is the same channel");
    sales.push(buy_here(&shop, &payer, &upstream).await);
    books(&shop, &sales).await;
    payer.stop().await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shop_sells_with_its_chain_from_esplora() {
    let _turn = TURN.lock().await;
    let (bitcoind, upstream) = (Bitcoind::start().await, Upstream::start().await);
    bitcoind.mine(101).await;
    let esplora = Esplora::new(&bitcoind).await;
    let chain = format!("source = \"esplora\"\nurl = \"{}\"", esplora.url);
    let mut shop = Appliance::start(&chain, &upstream.service());
    let mut payer = Appliance::start(&chain, "");
    shop.up().await;
    payer.up().await;
    sells_nothing(&shop, &upstream).await;
    fund(&bitcoind, &shop, &payer).await;
    open_channel(&bitcoind, &shop, &payer).await;
    let sale = buy_here(&shop, &payer, &upstream).await;
    books(&shop, &[sale]).await;
    payer.stop().await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shop_whose_chain_source_is_down_answers_and_comes_up_with_it() {
    let _turn = TURN.lock().await;
    let upstream = Upstream::start().await;
    let port = free_port();
    let mut shop = Appliance::start(&bitcoind_section(port), &upstream.service());
    let logged = shop.process().says("the node is not up yet").await;
    assert!(!logged.contains('\u{1b}'), "no colours where no terminal is: {logged:?}");
    let waits = shop.process().says("the node is not up yet").await;
    assert!(waits.contains(&port.to_string()), "it does not say what it waits for: {waits}");
    sells_nothing(&shop, &upstream).await;
    assert_eq!(shop.get("/api/v1/status").await["node"]["running"], false);
    let wanted = Wanted { url: format!("{}/api/v1/onchain/address", shop.admin), body: Some(json!({})) };
    let authorization = format!("Bearer {}", shop.key().expect("a key"));
    let refused = shop.customer().ask(&wanted, Some(&authorization)).await.expect("an answer");
    assert_eq!((refused.status, &refused.body["code"]), (422, &json!("node_refused")), "{}", refused.body);

    shop.stop().await;
    shop.start_again();
    shop.process().says("the node is not up yet").await;

    let bitcoind = Bitcoind::start_on(port).await;
    bitcoind.mine(3).await;
    shop.process().says("node      up").await;
    shop.node("the tip", |node| node["running"] == true && node["block_height"] == 3).await;
    sells_nothing(&shop, &upstream).await;
    drop(bitcoind);
    shop.stop().await;
}
