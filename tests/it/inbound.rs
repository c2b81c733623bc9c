//! From nothing to the first sale: a `tollhouse run` without coins and without channels sells through an
//! LSP, which is an LDK node here, to a payer that has a channel to that LSP.

use std::time::Duration;

use serde_json::{Value, json};
use tollhouse::l402;

use crate::appliance::{Appliance, TURN, until};
use crate::bitcoind::{client, free_port};
use crate::e2e_run::Upstream;
pub(crate) use town::Town;

mod orders;
mod town;

const PATIENCE: Duration = Duration::from_secs(60);

/// What the LSP keeps of a payment, and the smallest that it opens a channel for.
const FEE_SAT: u64 = 2_000;
const SMALLEST_SAT: u64 = 10_000;

/// What a pack of a thousand requests costs.
const PACK_SAT: u64 = 20_000;

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
