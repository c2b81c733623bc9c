//! Earned coins go to the vault by a rule, over a real channel: one splice, within its day, to a fresh address, and
//! receivable stays as it was.

use bitcoin::bip32::{DerivationPath, Xpriv, Xpub};
use bitcoin::secp256k1::Secp256k1;
use bitcoin::{Address, Amount, Network};
use serde_json::{Value, json};

use crate::appliance::{Appliance, TURN, bitcoind_section, until};
use crate::bitcoind::client;
use crate::inbound::Town;

const CHANNEL_SAT: u64 = 500_000;
const KEEP_SAT: u64 = 100_000;
const PER_DAY_SAT: u64 = 250_000;

/// The account of somebody's cold storage.
fn cold() -> String {
    let secp = Secp256k1::new();
    let master = Xpriv::new_master(Network::Regtest, &[5; 32]).expect("a key");
    let path: DerivationPath = "m/84'/1'/0'".parse().expect("a path");
    Xpub::from_priv(&secp, &master.derive_priv(&secp, &path).expect("a key")).to_string()
}

async fn put(shop: &Appliance, path: &str, body: Value) -> Value {
    let request = client().put(format!("{}{path}", shop.admin)).bearer_auth(shop.key().expect("a key"));
    let answer = request.json(&body).send().await.expect("an answer");
    let (status, said) = (answer.status(), answer.json().await.expect("JSON"));
    assert!(status.is_success(), "{path}: {status} {said}");
    said
}

async fn usable(shop: &Appliance) -> Value {
    let node = shop.node("the channel", |node| node["channels"][0]["usable"] == true).await;
    node["channels"][0].clone()
}

async fn rule(shop: &Appliance) -> Value {
    let rules = shop.get("/api/v1/rules").await;
    let rules = rules["rules"].as_array().expect("a list").clone();
    rules.into_iter().find(|rule| rule["name"] == "splice_out").expect("the rule")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_splices_earned_coins_to_the_vault_once_a_day() {
    let _turn = TURN.lock().await;
    let town = Town::start().await;
    let mut shop = Appliance::start(&bitcoind_section(town.port), "");
    shop.up().await;
    let address = shop.post("/api/v1/onchain/address", json!({})).await["address"].clone();
    let address: Address<_> = address.as_str().expect("text").parse().expect("an address");
    town.chain
        .faucet_send(&address.assume_checked(), Amount::from_sat(1_000_000))
        .expect("the faucet is full");
    town.mine(6);
    shop.node("the coins", |node| node["onchain_spendable_sat"].as_u64() > Some(900_000)).await;
    let (peer, at) = (town.lsp.node_id().to_string(), town.lsp_address.clone());
    let ask = json!({ "peer": peer, "address": at, "amount_sat": CHANNEL_SAT, "push_msat": 50_000_000 });
    shop.post("/api/v1/channels", ask).await;
    until("the funding", async || (!town.chain.mempool_txids().is_empty()).then_some(())).await;
    town.mine(6);
    let before = usable(&shop).await;

    // The vault is not set: the rule says so, once, and tries later.
    let terms =
        json!({ "to": "vault", "above_sat": 200_000, "keep_sat": KEEP_SAT, "per_day_sat": PER_DAY_SAT });
    put(&shop, "/api/v1/rules/splice_out", terms.clone()).await;
    let rests = until("the rule to be refused", async || {
        let now = rule(&shop).await["now"].clone();
        (now["code"] == "backing_off").then_some(now)
    })
    .await;
    assert_eq!(rests["why"].as_str().expect("text").matches("no vault is set").count(), 1, "{rests}");

    put(&shop, "/api/v1/vault", json!({ "key": cold(), "form": "bip84", "birthday": "now" })).await;
    until("the vault to be looked up", async || {
        let vault = shop.get("/api/v1/vault").await["vault"].clone();
        vault["synced_at"].is_u64().then_some(())
    })
    .await;
    // Set anew, it has not failed yet.
    put(&shop, "/api/v1/rules/splice_out", terms).await;
    let begun =
        until("the rule to run", async || Some(rule(&shop).await["last"].clone()).filter(Value::is_object))
            .await;
    assert!(begun["why"].is_null() || begun["why"].is_string(), "{begun}");
    until("the splice", async || (!town.chain.mempool_txids().is_empty()).then_some(())).await;
    let path = format!("/api/v1/operations/{}", begun["id"]);
    let done = until("the splice to be done", async || {
        town.mine(1);
        let row = shop.get(&path).await;
        (row["state"] == "done").then_some(row)
    })
    .await;
    assert!(done["key"].as_str().is_some_and(|key| key.starts_with("rule/splice_out/")), "{done}");
    let moved = done["ask"]["amount_sat"].as_u64().expect("an amount");
    assert!(moved < PER_DAY_SAT && moved > PER_DAY_SAT - 50_000, "{moved}");

    // It arrived, the channel is that much smaller, and what can be received is what it was.
    let after = usable(&shop).await;
    let sat = |channel: &Value, name: &str| channel[name].as_u64().expect("a number");
    let shrunk = sat(&before, "capacity_sat") - sat(&after, "capacity_sat");
    assert!(shrunk > moved && shrunk < moved + 20_000, "{shrunk} for {moved}");
    assert!(
        sat(&after, "receivable_msat").abs_diff(sat(&before, "receivable_msat")) < 5_000_000,
        "{before} {after}"
    );
    until("the deposit", async || {
        let vault = shop.get("/api/v1/vault").await["vault"].clone();
        (vault["balance"]["confirmed_sat"] == moved).then_some(())
    })
    .await;

    // The day is used up, whatever happens next; a restart forgets nothing of it.
    let rests = async |shop: &Appliance| {
        until("the rule to rest", async || {
            let now = rule(shop).await["now"]["code"].clone();
            (now == "daily_limit" || now == "not_worth_the_fee" || now == "not_needed").then_some(now)
        })
        .await
    };
    let why = rests(&shop).await;
    shop.stop().await;
    shop.start_again();
    usable(&shop).await;
    assert_eq!(rests(&shop).await, why);
    let operations = shop.get("/api/v1/operations?limit=500").await;
    let rows = operations["operations"].as_array().expect("a list");
    let splices: Vec<&Value> =
        rows.iter().filter(|row| row["kind"] == "splice_out").map(|row| &row["state"]).collect();
    assert_eq!(splices, ["done"], "{operations}");
    assert_eq!(sat(&usable(&shop).await, "capacity_sat"), sat(&after, "capacity_sat"));
    assert_eq!(shop.get("/api/v1/audit").await["ok"], true);
    shop.stop().await;
    town.end().await;
}
