//! From nothing to the first sale: a `tollhouse run` without coins and without channels sells through an
//! LSP, which is an LDK node here, to a payer that has a channel to that LSP.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bitcoin::Amount;
use ldk_node::bitcoin::Network;
use ldk_node::lightning::ln::msgs::SocketAddress;
use ldk_node::lightning_invoice::{Bolt11Invoice, Bolt11InvoiceDescription, Description};
use ldk_node::liquidity::LSPS2ServiceConfig;
use ldk_node::{Builder, Event, Node};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tollhouse::clock::SystemClock;
use tollhouse::l402;
use tollhouse::sandbox::chain::Chain;
use tollhouse::sandbox::rpc::{self, Access};
use tollhouse::types::{Preimage, Timestamp};

use crate::appliance::{Appliance, TURN, bitcoind_section, until};
use crate::bitcoind::{client, free_port};
use crate::chromium::{Chromium, Tab};
use crate::e2e_run::Upstream;
use crate::order_desk::{OrderDesk, PRICE_SAT};
use crate::pages::hands::{agree, claim, fill, log_in, says};
use crate::pages::lightning::ASKED;

const PATIENCE: Duration = Duration::from_secs(60);

/// What the LSP keeps of a payment, and the smallest that it opens a channel for.
const FEE_SAT: u64 = 2_000;
const SMALLEST_SAT: u64 = 10_000;

/// What a pack of a thousand requests costs.
const PACK_SAT: u64 = 20_000;

/// A chain in the box, an LSP, and a payer with a channel to it.
pub(crate) struct Town {
    pub(crate) chain: Chain,
    pub(crate) port: u16,
    pub(crate) lsp: Node,
    pub(crate) lsp_address: String,
    pub(crate) payer: Node,
    stop: CancellationToken,
    tasks: TaskTracker,
    _folders: [TempDir; 2],
}

fn node(folder: &TempDir, port: u16, lsp: bool) -> (Node, String) {
    let mut builder = Builder::new();
    builder.set_network(Network::Regtest);
    builder.set_storage_dir_path(folder.path().display().to_string());
    let address = format!("127.0.0.1:{}", free_port());
    let at = SocketAddress::from_str(&address).expect("an address");
    builder.set_listening_addresses(vec![at]).expect("one address");
    let (user, password) = ("user".to_owned(), "password".to_owned());
    builder.set_chain_source_bitcoind_rpc("127.0.0.1".to_owned(), port, user, password);
    if lsp {
        builder.set_liquidity_provider_lsps2(LSPS2ServiceConfig {
            require_token: None,
            advertise_service: false,
            channel_opening_fee_ppm: 10_000,
            channel_over_provisioning_ppm: 2_000_000,
            min_channel_opening_fee_msat: FEE_SAT * 1_000,
            min_channel_lifetime: 144,
            max_client_to_self_delay: 1_024,
            min_payment_size_msat: SMALLEST_SAT * 1_000,
            max_payment_size_msat: 1_000_000_000,
            client_trusts_lsp: false,
        });
    }
    let node = builder.build().expect("the node builds");
    node.start().expect("the node starts");
    (node, address)
}

impl Town {
    pub(crate) async fn start() -> Town {
        let chain = Chain::new(SystemClock::new(Timestamp::default()));
        chain.mine(110).expect("memory does not fail");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port is free");
        let port = listener.local_addr().expect("bound").port();
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        rpc::serve(listener, chain.clone(), Access::new("user", "password"), stop.clone(), &tasks);
        let folders = [TempDir::new().expect("a folder"), TempDir::new().expect("a folder")];
        let (lsp, lsp_address) = node(&folders[0], port, true);
        let (payer, _) = node(&folders[1], port, false);
        let town = Town { chain, port, lsp, lsp_address, payer, stop, tasks, _folders: folders };
        for node in [&town.lsp, &town.payer] {
            let address = node.onchain_payment().new_address().expect("an address");
            town.chain.faucet_send(&address, Amount::from_sat(5_000_000)).expect("the faucet is full");
        }
        town.mine(6);
        for node in [&town.lsp, &town.payer] {
            until("the coins", async || {
                node.sync_wallets().expect("it syncs");
                (node.list_balances().spendable_onchain_balance_sats > 0).then_some(())
            })
            .await;
        }
        let at = SocketAddress::from_str(&town.lsp_address).expect("an address");
        town.payer
            .open_channel(town.lsp.node_id(), at, 2_000_000, None, None)
            .expect("the channel is asked for");
        until("the channel's funding", async || (!town.chain.mempool_txids().is_empty()).then_some(())).await;
        town.mine(6);
        town.event(&town.payer, "the channel", |event| {
            matches!(event, Event::ChannelReady { .. }).then_some(())
        })
        .await;
        town
    }

    pub(crate) fn mine(&self, count: u32) {
        self.chain.mine(count).expect("memory does not fail");
        self.lsp.sync_wallets().expect("the LSP syncs");
        self.payer.sync_wallets().expect("the payer syncs");
    }

    /// The LSP opens a channel to the shop; gives its funding output.
    async fn opens_a_channel_to(&self, shop: &Appliance, sat: u64) -> String {
        let peer = shop.up().await["node_id"].as_str().expect("a key").parse().expect("a key");
        let at = SocketAddress::from_str(&shop.peers).expect("an address");
        let id = self.lsp.open_channel(peer, at, sat, None, None).expect("the channel is asked for");
        until("the channel's funding", async || (!self.chain.mempool_txids().is_empty()).then_some(())).await;
        self.mine(6);
        shop.node("the channel", |node| {
            let mut channels = node["channels"].as_array().into_iter().flatten();
            channels.any(|channel| channel["capacity_sat"] == sat && channel["usable"] == true)
        })
        .await;
        let channels = self.lsp.list_channels();
        let channel = channels.iter().find(|channel| channel.user_channel_id == id).expect("it is open");
        channel.funding_txo.expect("funded").to_string()
    }

    async fn event<T>(&self, node: &Node, what: &str, wanted: impl Fn(&Event) -> Option<T>) -> T {
        loop {
            let next = tokio::time::timeout(PATIENCE, node.next_event_async()).await;
            let event = next.unwrap_or_else(|_| panic!("waited in vain for {what}"));
            node.event_handled().expect("the event is done with");
            if let Some(found) = wanted(&event) {
                return found;
            }
        }
    }

    /// Pays an invoice, and gives the proof.
    async fn pay(&self, bolt11: &str) -> Preimage {
        let invoice: Bolt11Invoice = bolt11.parse().expect("an invoice");
        self.payer.bolt11_payment().send(&invoice, None).expect("the payment is sent");
        self.event(&self.payer, "the payment", |event| match event {
            Event::PaymentSuccessful { payment_preimage: Some(preimage), .. } => {
                Some(Preimage::from_bytes(preimage.0))
            }
            Event::PaymentFailed { reason, .. } => panic!("the payment failed: {reason:?}"),
            _ => None,
        })
        .await
    }

    /// A shop that knows the LSP. `more` are further settings, of `[liquidity.lsps2]` first.
    fn shop(&self, offers: &str, more: &str, upstream: &Upstream) -> Appliance {
        self.shop_of(&self.lsp_address, offers, more, upstream)
    }

    /// The same with the LSP at another address.
    fn shop_of(&self, lsp_address: &str, offers: &str, more: &str, upstream: &Upstream) -> Appliance {
        let services = format!(
            "[liquidity.lsps2]\nnode = \"{}\"\naddress = \"{}\"\n{more}\n\
             [[service]]\nname = \"rates\"\npath = \"/v1\"\nupstream = \"http://{}\"\nprice = \"10 sat\"\n\
             offers = {offers}\n",
            self.lsp.node_id(),
            lsp_address,
            upstream.address
        );
        Appliance::start(&bitcoind_section(self.port), &services)
    }

    pub(crate) async fn end(&self) {
        self.payer.stop().expect("the payer stops");
        self.lsp.stop().expect("the LSP stops");
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

const PACK: &str = "[\"request\", { pack = 1000, price = \"20000 sat\" }]";

/// An answer: status, L402 line, body.
async fn ask(url: &str, credential: Option<&str>) -> (u16, Option<String>, Value) {
    let request = client().get(url);
    let request = match credential {
        Some(credential) => request.header("Authorization", credential),
        None => request,
    };
    let answer = request.send().await.expect("the gate answers");
    let line = answer.headers().get("WWW-Authenticate").and_then(|line| line.to_str().ok());
    let line = line.map(str::to_owned);
    (answer.status().as_u16(), line, answer.json().await.unwrap_or(Value::Null))
}

/// Buys what is offered for `url` and uses it once; gives the 402's body.
async fn buy(town: &Town, url: &str) -> Value {
    let (status, line, body) = ask(url, None).await;
    assert_eq!(status, 402, "{body}");
    let challenge = l402::parse_challenge(&line.expect("a challenge")).expect("L402");
    let preimage = town.pay(&challenge.invoice).await;
    let credential = l402::authorization(&challenge.macaroon_b64, &preimage);
    let (status, _, answer) = ask(url, Some(&credential)).await;
    assert_eq!(status, 200, "{answer}");
    body
}

/// The LSP's terms, once the shop knows them.
async fn terms(shop: &Appliance) -> Value {
    shop.up().await;
    until("the LSP's terms", async || {
        let view = shop.get("/api/v1/inbound").await["just_in_time"].clone();
        (view["known"] == true).then_some(view)
    })
    .await
}

async fn books_are_right(shop: &Appliance) {
    let audit = shop.get("/api/v1/audit").await;
    assert_eq!(audit["ok"], true, "{audit}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_coins_or_channels_sells_its_first_request() {
    let _turn = TURN.lock().await;
    let town = Town::start().await;
    let upstream = Upstream::start().await;
    let mut shop = town.shop(PACK, "", &upstream);
    let url = format!("{}/v1/x", shop.gateway);
    let view = terms(&shop).await;
    assert_eq!(view["least_msat"], SMALLEST_SAT * 1_000, "{view}");
    assert_eq!(view["least_fee_msat"], FEE_SAT * 1_000, "{view}");
    assert_eq!(shop.node("a bare node", |_| true).await["onchain_spendable_sat"], 0);

    // A request alone is below what a channel is opened for; the pack is not.
    let first = buy(&town, &url).await;
    assert_eq!(first["offer"], "pack-1000", "{first}");
    assert_eq!(first["channelOpening"]["feeMsat"], FEE_SAT * 1_000, "{first}");

    let payments = shop.get("/api/v1/payments").await;
    let payment = &payments["payments"][0];
    assert_eq!(payment["amount_msat"], PACK_SAT * 1_000, "{payments}");
    assert_eq!(payment["opening_fee_msat"], FEE_SAT * 1_000, "{payments}");
    assert_eq!(payment["over_msat"], 0, "{payments}");
    books_are_right(&shop).await;
    // The payment is ours before its last signatures are exchanged, and spendable after.
    let both = |node: &Value| {
        let some = |field: &str| node[field].as_u64() > Some(0);
        some("receivable_msat") && some("spendable_msat")
    };
    let node = shop.node("the channel, with what was paid", both).await;
    assert_eq!(node["channels"].as_array().map(Vec::len), Some(1), "{node}");
    let arrived = (PACK_SAT - FEE_SAT) * 1_000;
    assert!(node["spendable_msat"].as_u64() <= Some(arrived), "{node}");

    // The next one is received the normal way.
    let second = buy(&town, &url).await;
    assert_eq!((&second["offer"], &second["channelOpening"]), (&json!("request"), &Value::Null), "{second}");
    assert_eq!(upstream.hits(), 2);
    books_are_right(&shop).await;

    // And what was told of the first one survives a restart.
    shop.stop().await;
    shop.start_again();
    shop.up().await;
    let audit = shop.get("/api/v1/audit").await;
    assert_eq!(
        (&audit["ok"], &audit["opening_fees_msat"]),
        (&json!(true), &json!(FEE_SAT * 1_000)),
        "{audit}"
    );
    assert_eq!(audit["surplus_msat"], 0, "{audit}");
    shop.stop().await;
    town.end().await;
}

/// What a refused buyer is told.
async fn refused(url: &str) -> String {
    let (status, _, body) = ask(url, None).await;
    assert_eq!((status, &body["code"]), (503, &json!("cannot_receive")), "{body}");
    body["detail"].as_str().expect("a reason").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_channel_is_opened_for_is_not_sold() {
    let _turn = TURN.lock().await;
    let town = Town::start().await;
    let upstream = Upstream::start().await;

    // The price is below the least, and the route has nothing larger.
    let mut shop = town.shop("[\"request\"]", "", &upstream);
    let url = format!("{}/v1/x", shop.gateway);
    terms(&shop).await;
    let why = refused(&url).await;
    assert!(why.contains("a payment of 10000 sat or more"), "{why}");
    shop.stop().await;

    // The provider wants more than the operator pays.
    let mut shop = town.shop(PACK, "max_fee_sat = 1999", &upstream);
    let url = format!("{}/v1/x", shop.gateway);
    assert_eq!(terms(&shop).await["least_msat"], Value::Null);
    let why = refused(&url).await;
    assert!(why.contains("costs 2000 sat, and at most 1999 sat are paid"), "{why}");
    shop.stop().await;

    // The provider is away.
    let nowhere = format!("127.0.0.1:{}", free_port());
    let mut shop = town.shop_of(&nowhere, PACK, "", &upstream);
    let url = format!("{}/v1/x", shop.gateway);
    shop.up().await;
    until("the provider to be found away", async || {
        let view = shop.get("/api/v1/inbound").await["just_in_time"].clone();
        view["problem"].as_str().is_some_and(|why| why.contains("does not answer")).then_some(())
    })
    .await;
    let why = refused(&url).await;
    assert!(!why.contains("127.0.0.1"), "nobody is told of whom channels are bought: {why}");
    shop.stop().await;
    assert_eq!(upstream.hits(), 0);
    town.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_unpaid_requests_opens_few_invoices_and_the_shop_still_sells() {
    let _turn = TURN.lock().await;
    let town = Town::start().await;
    let upstream = Upstream::start().await;
    let mut shop = town.shop(PACK, "max_per_hour = 6", &upstream);
    // Customers come from where a proxy in front says.
    shop.up().await;
    shop.stop().await;
    shop.start_as(shop.command(&["--gateway-trusted-proxies", "127.0.0.1"]));
    let url = format!("{}/v1/x", shop.gateway);
    terms(&shop).await;
    let from = async |address: String| {
        let answer = client().get(&url).header("X-Forwarded-For", address).send().await.expect("an answer");
        let status = answer.status().as_u16();
        (status, answer.json::<Value>().await.expect("JSON"))
    };
    // One network gets a third of them.
    let mut made = 0;
    for _ in 0..40 {
        let (status, body) = from("203.0.113.9".to_owned()).await;
        made += u32::from(status == 402);
        assert!(status == 402 || body["code"] == "cannot_receive", "{status} {body}");
    }
    assert_eq!(made, 2);
    for network in 0..60 {
        let (status, _) = from(format!("198.51.{network}.9")).await;
        made += u32::from(status == 402);
    }
    assert_eq!(made, 6);
    let view = shop.get("/api/v1/inbound").await;
    assert_eq!(view["just_in_time"]["made_last_hour"], 6, "{view}");
    // A restart is no new hour.
    shop.stop().await;
    shop.start_as(shop.command(&["--gateway-trusted-proxies", "127.0.0.1"]));
    let view = terms(&shop).await;
    assert_eq!(view["made_last_hour"], 6, "{view}");
    let (status, body) = from("192.0.2.1".to_owned()).await;
    assert_eq!(status, 503, "{body}");
    assert!(body["detail"].as_str().is_some_and(|why| why.contains("no more than 6")), "{body}");
    books_are_right(&shop).await;
    shop.stop().await;
    town.end().await;
}

/// The orders as the CLI tells them.
fn cli(shop: &Appliance, args: &[&str]) -> (bool, Value) {
    let folder = shop.data_dir();
    let mut command = crate::appliance::tollhouse(&folder, args);
    command
        .args(["--admin", &shop.admin, "--json", "--admin-key-file"])
        .arg(folder.join("regtest/admin.key"));
    let output = command.output().expect("the program runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let told = serde_json::from_str(&text)
        .unwrap_or_else(|_| panic!("no JSON: {text} {}", String::from_utf8_lossy(&output.stderr)));
    (output.status.success(), told)
}

async fn order(shop: &Appliance, id: i64, state: &str) -> Value {
    until(&format!("order {id} to be {state}"), async || {
        let order = shop.get(&format!("/api/v1/inbound/orders/{id}")).await;
        (order["state"] == state).then_some(order)
    })
    .await
}

/// The provider says that it gave the money back, and the order stands.
async fn stands_refunded(shop: &Appliance, id: i64) {
    let told = until("the provider's word", async || {
        let order = shop.get(&format!("/api/v1/inbound/orders/{id}")).await;
        (order["refund_said"] == true).then_some(order)
    })
    .await;
    assert!(["paying", "paid"].contains(&told["state"].as_str().expect("a state")), "{told}");
}

/// The operator ends an order whose money came back.
async fn closed_on_the_page(shop: &Appliance, tab: &Tab<'_>, id: i64) {
    let page = format!("/lightning/inbound/orders/{id}");
    let text = says(tab, &format!("{}{page}", shop.admin), "Refunded, says the provider").await;
    assert!(text.contains("Nothing here shows that it came"), "{text}");
    tab.click("form[action$='/close'] button").await;
    tab.until(ASKED).await;
    agree(tab).await;
    tab.until(&format!("location.pathname === '{page}' && document.readyState === 'complete'")).await;
    let text = tab.text("main").await;
    assert!(text.contains("The money is back") && !text.contains("end the order"), "{text}");
    order(shop, id, "refunded").await;
}

/// What the shop orders to be able to receive.
const ORDERED_SAT: u64 = 500_000;

/// The first sale of a shop without a channel, with the limits of such sales before it and what it brought after it.
async fn first_sale_seen(town: &Town, shop: &Appliance, tab: &Tab<'_>) {
    let page = format!("{}/lightning/inbound", shop.admin);
    let text = says(tab, &page, "It does so for 10,000 sat or more, and keeps 2,000 sat").await;
    for words in ["0 of at most", "it may keep", "of 100,000 to 5,000,000 sat"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let lightning = format!("{}/lightning", shop.admin);
    let text = says(tab, &lightning, "You cannot receive yet").await;
    assert!(text.contains("A price of 10,000 sat or more opens a channel when it is paid"), "{text}");
    buy(town, &format!("{}/v1/x", shop.gateway)).await;
    says(tab, &page, "1 of at most").await;
    // The payment is the shop's before its last signatures are exchanged, and spendable after.
    shop.node("what was paid", |node| node["spendable_msat"].as_u64() > Some(0)).await;
    let text = says(tab, &lightning, "Ready").await;
    assert!(text.contains("You can receive") && !text.contains("cannot receive"), "{text}");
}

/// A channel's price is asked for and paid by clicks; gives the provider's name of the order.
async fn bought_on_the_page(shop: &Appliance, tab: &Tab<'_>) -> String {
    tab.open(&format!("{}/lightning/inbound", shop.admin)).await;
    fill(tab, "#receivable_sat", "500 000").await;
    tab.click("form[action='/lightning/inbound'] button").await;
    tab.until("location.pathname === '/lightning/inbound/orders/1' && document.readyState === 'complete'")
        .await;
    let text = tab.text("main").await;
    assert!(text.contains("Waits for payment") && text.contains("1,500 sat over Lightning"), "{text}");
    let quoted = shop.get("/api/v1/inbound/orders/1").await;
    assert_eq!((&quoted["state"], &quoted["lightning"]["total_sat"]), (&json!("quoted"), &json!(PRICE_SAT)));
    tab.click("input[value=lightning] ~ .buttons button").await;
    tab.until(ASKED).await;
    let asked = tab.text("main").await;
    for words in
        ["1,500 sat go to the provider, over Lightning", "receive 500,000 sat", "cannot be taken back"]
    {
        assert!(asked.contains(words), "{words}: {asked}");
    }
    agree(tab).await;
    tab.until("location.pathname === '/lightning/inbound/orders/1' && document.readyState === 'complete'")
        .await;
    let text = tab.text("main").await;
    assert!(text.contains("Being paid") || text.contains("Paid, the channel is to come"), "{text}");
    quoted["order_id"].as_str().expect("a name").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_is_bought_and_followed_to_its_end_across_restarts() {
    let _turn = TURN.lock().await;
    let town = Arc::new(Town::start().await);
    let upstream = Upstream::start().await;
    let till = Arc::clone(&town);
    let desk = OrderDesk::open(Box::new(move |msat| {
        let description = Description::new("a channel".to_owned()).expect("short");
        let description = Bolt11InvoiceDescription::Direct(description);
        let invoice = till.lsp.bolt11_payment().receive(msat, &description, 3_600).expect("an invoice");
        (invoice.to_string(), till.lsp.onchain_payment().new_address().expect("an address").to_string())
    }))
    .await;
    let orders = format!("[liquidity.lsps1]\nnode = \"{}\"\naddress = \"{}\"\n", desk.node, desk.address);
    let mut shop = town.shop(PACK, &orders, &upstream);
    terms(&shop).await;
    let limits = shop.get("/api/v1/inbound/limits").await;
    assert_eq!(limits["largest_receivable_sat"], 5_000_000, "{limits}");
    let browser = Chromium::start();
    let tab = browser.tab().await;
    tab.looks(1440, 900, "light").await;
    claim(&shop, &tab).await;

    first_sale_seen(&town, &shop, &tab).await;
    let name = bought_on_the_page(&shop, &tab).await;
    let (done, other) = cli(&shop, &["inbound", "buy", "1", "--by", "onchain", "--yes"]);
    assert!(!done && other["code"] == "other_way", "{other}");
    let (done, again) = cli(&shop, &["inbound", "buy", "1", "--by", "lightning", "--yes"]);
    assert!(done && ["paying", "paid"].contains(&again["state"].as_str().expect("a state")), "{again}");
    desk.paid(&name, "bolt11", "PAID");
    order(&shop, 1, "paid").await;
    let bought = format!("{}/lightning/inbound/orders/1", shop.admin);
    says(&tab, &bought, "Paid, the channel is to come").await;

    // The provider's word alone opens nothing: there is no such channel, and this one was there before.
    let earlier = shop.up().await["channels"][0]["funding"].as_str().expect("it has one").to_owned();
    let nothing = "0000000000000000000000000000000000000000000000000000000000000001:0";
    for lie in [nothing, &earlier] {
        desk.funded(&name, lie);
        let told = shop.get("/api/v1/inbound/orders/1").await;
        assert_eq!((&told["state"], &told["funding"]), (&json!("paid"), &json!(lie)), "{told}");
    }
    // The provider opens the channel, and says so while the shop is down.
    let outpoint = town.opens_a_channel_to(&shop, ORDERED_SAT + 20_000).await;
    shop.stop().await;
    desk.funded(&name, &outpoint);
    shop.start_again();
    shop.up().await;
    let opened = order(&shop, 1, "opened").await;
    assert_eq!(opened["funding"], outpoint, "{opened}");
    log_in(&shop, &tab).await;
    let text = says(&tab, &bought, "The channel is opened").await;
    assert!(text.contains(&outpoint) && text.contains("listed under Channels"), "{text}");
    says(&tab, &format!("{}/lightning/inbound", shop.admin), "The channel is opened").await;
    let text = says(&tab, &format!("{}/lightning", shop.admin), "520,000 sat").await;
    assert!(text.contains("You can receive"), "{text}");
    assert_eq!(tab.complaints(), Vec::<String>::new());

    // Refunded, says the provider. We paid, so only the operator ends it.
    let (_, quoted) = cli(&shop, &["inbound", "quote", "--receivable-sat", "200000"]);
    let name = quoted["order_id"].as_str().expect("a name").to_owned();
    let (done, refused) = cli(&shop, &["inbound", "buy", "2", "--by", "lightning"]);
    assert!(!done && refused["code"] == "not_confirmed", "{refused}");
    let (done, paying) = cli(&shop, &["inbound", "buy", "2", "--by", "lightning", "--yes"]);
    assert!(done, "{paying}");
    desk.paid(&name, "bolt11", "REFUNDED");
    stands_refunded(&shop, 2).await;
    let (done, refused) = cli(&shop, &["inbound", "close", "2"]);
    assert!(!done && refused["code"] == "not_confirmed", "{refused}");
    let (done, closed) = cli(&shop, &["inbound", "close", "2", "--yes"]);
    assert!(done && closed["state"] == "refunded", "{closed}");

    // Paid with coins, and refunded.
    let address = shop.post("/api/v1/onchain/address", json!({})).await;
    let address: bitcoin::Address<_> = address["address"].as_str().expect("one").parse().expect("an address");
    let amount = Amount::from_sat(100_000);
    town.chain.faucet_send(&address.assume_checked(), amount).expect("the faucet is full");
    town.mine(1);
    shop.node("the coins", |node| node["onchain_spendable_sat"].as_u64() > Some(50_000)).await;
    let (_, quoted) = cli(&shop, &["inbound", "quote", "--receivable-sat", "200000"]);
    let name = quoted["order_id"].as_str().expect("a name").to_owned();
    for _ in 0..2 {
        let (done, paying) = cli(&shop, &["inbound", "buy", "3", "--by", "onchain", "--yes"]);
        assert!(done && paying["state"] == "paying", "{paying}");
    }
    until("the payment", async || (town.chain.mempool_txids().len() == 1).then_some(())).await;
    let operations = shop.get("/api/v1/operations").await;
    let sends = operations["operations"].as_array().expect("a list");
    let sends: Vec<_> = sends.iter().filter(|row| row["key"] == "inbound-order-3").collect();
    assert_eq!(sends.len(), 1, "{operations}");
    desk.paid(&name, "onchain", "PAID");
    order(&shop, 3, "paid").await;
    desk.paid(&name, "onchain", "REFUNDED");
    stands_refunded(&shop, 3).await;
    closed_on_the_page(&shop, &tab, 3).await;

    // Nobody pays: it runs out.
    desk.price_lasts(Duration::ZERO);
    cli(&shop, &["inbound", "quote", "--receivable-sat", "200000"]);
    let (done, late) = cli(&shop, &["inbound", "buy", "4", "--by", "lightning", "--yes"]);
    assert!(!done && late["code"] == "order_expired", "{late}");
    let (done, outside) = cli(&shop, &["inbound", "quote", "--receivable-sat", "99999"]);
    assert!(!done && outside["code"] == "out_of_limits", "{outside}");
    let (_, listed) = cli(&shop, &["inbound", "orders"]);
    assert_eq!(listed["orders"].as_array().map(Vec::len), Some(4), "{listed}");
    books_are_right(&shop).await;
    shop.stop().await;
    drop(desk);
    town.end().await;
}
