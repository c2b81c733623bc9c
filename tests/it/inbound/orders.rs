//! Channels that are ordered and paid for, on the page and by the program, and followed to their end.

use std::sync::Arc;
use std::time::Duration;

use bitcoin::Amount;
use ldk_node::lightning_invoice::{Bolt11InvoiceDescription, Description};
use serde_json::{Value, json};

use super::{PACK, Town, books_are_right, buy, terms};
use crate::appliance::{Appliance, TURN, until};
use crate::chromium::{Chromium, Tab};
use crate::e2e_run::Upstream;
use crate::order_desk::{OrderDesk, PRICE_SAT};
use crate::pages::hands::{agree, claim, fill, log_in, says};
use crate::pages::lightning::ASKED;

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
    let text = says(tab, &lightning, "The first payment of 10,000 sat or more opens a channel").await;
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
    let (done, refused) = cli(&shop, &["inbound", "buy", "3", "--by", "onchain"]);
    assert!(!done && refused["code"] == "not_confirmed", "{refused}");
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
