//! A channel's whole life in the browser, on a real chain and with a real other node: opened on the page, paid
//! over, closed on the page, and its coins seen on the chain.

use std::time::Duration;

use serde_json::json;

use super::lightning::ASKED;
use crate::admin_app::PASSWORD;
use crate::appliance::{Appliance, TURN, bitcoind_section, buy, until};
use crate::bitcoind::Bitcoind;
use crate::chromium::{Chromium, Tab};
use crate::e2e_run::{Upstream, fund};

/// Mines once something waits for a block.
async fn confirm(bitcoind: &Bitcoind) {
    until("a transaction", async || {
        let waiting = bitcoind.expect("getrawmempool", json!([])).await;
        waiting.as_array().filter(|waiting| !waiting.is_empty()).map(|_| ())
    })
    .await;
    bitcoind.mine(6).await;
}

/// Takes the claim link and sets the password.
async fn claim(shop: &Appliance, tab: &Tab<'_>) {
    let file = shop.data_dir().join("regtest/claim");
    let link = until("the claim link", async || std::fs::read_to_string(&file).ok()).await;
    tab.open(link.trim()).await;
    for field in ["#password", "#again"] {
        tab.click(field).await;
        tab.types(PASSWORD).await;
    }
    tab.click("button[type=submit]").await;
    tab.until("location.pathname !== '/claim' && document.querySelector('.rail')").await;
}

async fn fill(tab: &Tab<'_>, selector: &str, text: &str) {
    tab.click(selector).await;
    tab.types(text).await;
}

/// Answers a question with yes and waits for the operation's page; gives its number.
async fn yes(tab: &Tab<'_>) -> String {
    tab.until(ASKED).await;
    if tab.value("!!document.querySelector('#password')").await == json!(true) {
        fill(tab, "#password", PASSWORD).await;
    }
    tab.click(".form .button").await;
    tab.until("location.pathname.startsWith('/operations/')").await;
    let path = tab.value("location.pathname").await;
    path.as_str().expect("a path").rsplit('/').next().expect("a number").to_owned()
}

async fn done(shop: &Appliance, operation: &str) {
    until("the operation's end", async || {
        let row = shop.get(&format!("/api/v1/operations/{operation}")).await;
        assert_ne!(row["state"], "failed", "{row}");
        (row["state"] == "done").then_some(())
    })
    .await;
}

/// Opens a page again and again until it says so.
async fn says(tab: &Tab<'_>, url: &str, words: &str) -> String {
    until(words, async || {
        tab.open(url).await;
        let text = tab.text("main").await;
        text.contains(words).then_some(text)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_is_opened_paid_over_and_closed_on_the_page() {
    let _turn = TURN.lock().await;
    let (bitcoind, upstream) = (Bitcoind::start().await, Upstream::start().await);
    bitcoind.mine(101).await;
    let chain = bitcoind_section(bitcoind.port());
    let (mut shop, mut peer) = (Appliance::start(&chain, &upstream.service()), Appliance::start(&chain, ""));
    shop.up().await;
    let place = format!("{}@{}", peer.up().await["node_id"].as_str().expect("a key"), peer.peers);
    fund(&bitcoind, &shop, &peer).await;
    let browser = Chromium::start();
    let tab = browser.tab().await;
    tab.looks(1440, 900, "light").await;
    claim(&shop, &tab).await;
    let page = format!("{}/lightning", shop.admin);

    // Open.
    tab.open(&page).await;
    assert!(tab.text("main").await.contains("You cannot receive yet"));
    tab.click("a[href='/lightning/open']").await;
    tab.until("document.readyState === 'complete' && document.querySelector('#node')").await;
    fill(&tab, "#node", &place).await;
    fill(&tab, "#amount_sat", "300,000").await;
    fill(&tab, "#push_sat", "100 000").await;
    tab.click(".form .button").await;
    tab.until(ASKED).await;
    let asked = tab.text("main").await;
    assert!(asked.contains("100,000 sat of it are given") && asked.contains("are left"), "{asked}");
    let opening = yes(&tab).await;
    confirm(&bitcoind).await;
    done(&shop, &opening).await;
    for node in [&shop, &peer] {
        node.node("a usable channel", |node| node["channels"][0]["usable"] == true).await;
    }
    says(&tab, &page, "You can receive").await;
    let before = shop.up().await["spendable_msat"].as_u64().expect("a sum");

    // Paid over.
    buy(&peer.customer(), &format!("{}/v1/rates", shop.gateway)).await;
    shop.node("the payment", |node| node["spendable_msat"].as_u64() == Some(before + 5_000)).await;
    says(&tab, &page, &format!("{} sat spendable", grouped((before + 5_000) / 1_000))).await;

    // Closed, and home.
    tab.click(".channels a").await;
    tab.until("location.pathname.startsWith('/lightning/channels/') && document.readyState === 'complete'")
        .await;
    let channel = tab.value("location.href").await.as_str().expect("an address").to_owned();
    let life = tab.text(".timeline").await;
    assert!(life.contains("You asked for it") && life.contains("Ready at height"), "{life}");
    assert!(tab.text("main").await.contains("Open a channel of 300,000 sat"), "what was asked is listed");
    tab.click("form[action$='/close'] button").await;
    tab.until(ASKED).await;
    let asked = tab.text("main").await;
    assert!(asked.contains("go to the on-chain wallet") && asked.contains("You can receive"), "{asked}");
    let had = shop.get("/api/v1/onchain").await["spendable_sat"].as_u64().expect("a sum");
    let closing = yes(&tab).await;
    // Blocks that come before the node has looked at what is owed would leave the record without it.
    until("what is owed", async || {
        let closed = shop.get("/api/v1/channels/closed").await;
        closed["channels"][0]["owed_sat"].as_u64().filter(|owed| *owed > 0)
    })
    .await;
    confirm(&bitcoind).await;
    done(&shop, &closing).await;
    // The record may want one more block than those that bury the closing transaction.
    let home = async || {
        let closed = shop.get("/api/v1/channels/closed").await;
        if closed["channels"][0]["returned_height"].is_u64() {
            return Some(());
        }
        bitcoind.mine(1).await;
        tokio::time::sleep(Duration::from_millis(400)).await;
        None
    };
    until("the coins to be home", home).await;
    let text = says(&tab, &channel, "Everything is in the wallet").await;
    assert!(text.contains("Closed by agreement; you asked"), "{text}");
    let owed = shop.get("/api/v1/channels/closed").await["channels"][0]["owed_sat"].as_u64().expect("a sum");
    assert!(owed > 195_000, "{owed}");
    let has = until("the coins", async || {
        let has = shop.get("/api/v1/onchain").await["spendable_sat"].as_u64().expect("a sum");
        (has >= had + owed).then_some(has)
    })
    .await;
    says(&tab, &format!("{}/coins", shop.admin), &grouped(has)).await;
    assert_eq!(tab.complaints(), Vec::<String>::new());
    peer.stop().await;
    shop.stop().await;
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let parts: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|part| std::str::from_utf8(part).expect("digits")).collect();
    parts.join(",")
}
