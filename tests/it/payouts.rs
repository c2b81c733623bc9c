//! Paying out over real Lightning, to the operator's own wallet (an LDK node here): by an offer, by a
//! Lightning address, and by a rule that is killed with -9 while it pays.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::routing::get;
use axum::{Json, Router};
use bitcoin::Amount;
use bitcoin::hashes::{Hash, sha256};
use ldk_node::bitcoin::Network;
use ldk_node::lightning::ln::msgs::SocketAddress;
use ldk_node::lightning_invoice::{Bolt11InvoiceDescription, Sha256};
use ldk_node::payment::{PaymentDirection, PaymentKind, PaymentStatus};
use ldk_node::{Builder, Node};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tollhouse::clock::SystemClock;
use tollhouse::sandbox::chain::Chain;
use tollhouse::sandbox::rpc::{self, Access};
use tollhouse::types::Timestamp;
use tollhouse::web::keys::Scope;

use crate::admin_app::{AdminApp, ok, problem, usable_channel};
use crate::appliance::{Appliance, TURN, bitcoind_section, until};
use crate::bitcoind::{client, free_port};

const METADATA: &str = "[[\"text/plain\",\"my own wallet\"]]";

/// A chain in the box, and the operator's wallet with a channel to the shop, most of it on the shop's side.
struct Town {
    shop: Appliance,
    wallet: Arc<Node>,
    address: String,
    stop: CancellationToken,
    tasks: TaskTracker,
    _folder: TempDir,
}

impl Town {
    async fn start() -> Town {
        let chain = Chain::new(SystemClock::new(Timestamp::default()));
        chain.mine(110).expect("memory does not fail");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port is free");
        let port = listener.local_addr().expect("bound").port();
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        rpc::serve(listener, chain.clone(), Access::new("user", "password"), stop.clone(), &tasks);
        let folder = TempDir::new().expect("a folder");
        let wallet = Arc::new(wallet(&folder, port));
        let address = serve_address(Arc::clone(&wallet), &tasks, &stop).await;
        let more = "[payouts]\nallow_private = true\n";
        let shop = Appliance::start(&bitcoind_section(port), more);
        let node = shop.up().await;
        let own = shop.post("/api/v1/onchain/address", json!({})).await["address"].clone();
        let own: bitcoin::Address<_> = own.as_str().expect("text").parse().expect("an address");
        let theirs = wallet.onchain_payment().new_address().expect("an address");
        // The reserve that an anchor channel wants.
        chain.faucet_send(&own.assume_checked(), Amount::from_sat(100_000)).expect("the faucet is full");
        chain.faucet_send(&theirs, Amount::from_sat(5_000_000)).expect("the faucet is full");
        chain.mine(6).expect("memory does not fail");
        shop.node("the coins", |node| node["onchain_spendable_sat"].as_u64() > Some(0)).await;
        until("the wallet's coins", async || {
            wallet.sync_wallets().expect("it syncs");
            (wallet.list_balances().spendable_onchain_balance_sats > 0).then_some(())
        })
        .await;
        let peer = node["node_id"].as_str().expect("a key").parse().expect("a key");
        let at = SocketAddress::from_str(&shop.peers).expect("an address");
        wallet.open_channel(peer, at, 1_000_000, Some(600_000_000), None).expect("it is asked for");
        until("the funding", async || (!chain.mempool_txids().is_empty()).then_some(())).await;
        chain.mine(6).expect("memory does not fail");
        shop.node("the channel", |node| node["spendable_msat"].as_u64() > Some(500_000_000)).await;
        Town { shop, wallet, address, stop, tasks, _folder: folder }
    }

    /// What arrived in the wallet, satoshi.
    fn arrived(&self) -> u64 {
        let came = |payment: &&ldk_node::payment::PaymentDetails| {
            payment.direction == PaymentDirection::Inbound
                && payment.status == PaymentStatus::Succeeded
                && !matches!(payment.kind, PaymentKind::Onchain { .. })
        };
        self.wallet.list_payments_with_filter(came).iter().filter_map(|one| one.amount_msat).sum::<u64>()
            / 1_000
    }

    async fn pay_out(&self, key: &str, to: &str, amount_sat: u64) -> (StatusCode, Value) {
        let body = json!({ "to": to, "amount_sat": amount_sat });
        let request = client().post(format!("{}/api/v1/payouts", self.shop.admin));
        let admin_key = self.shop.key().expect("a key");
        let answer = request.bearer_auth(admin_key).header("Idempotency-Key", key).json(&body).send().await;
        let answer = answer.expect("an answer");
        (answer.status(), answer.json().await.expect("JSON"))
    }

    async fn receivable(&self) -> u64 {
        self.shop.get("/api/v1/status").await["node"]["receivable_msat"].as_u64().expect("a number") / 1_000
    }

    async fn audited(&self) {
        let report = self.shop.get("/api/v1/audit").await;
        assert_eq!(report["ok"], true, "{report}");
    }
}

fn wallet(folder: &TempDir, port: u16) -> Node {
    let mut builder = Builder::new();
    builder.set_network(Network::Regtest);
    builder.set_storage_dir_path(folder.path().display().to_string());
    let at = SocketAddress::from_str(&format!("127.0.0.1:{}", free_port())).expect("an address");
    builder.set_listening_addresses(vec![at]).expect("one address");
    let (user, password) = ("user".to_owned(), "password".to_owned());
    builder.set_chain_source_bitcoind_rpc("127.0.0.1".to_owned(), port, user, password);
    let node = builder.build().expect("the node builds");
    node.start().expect("the node starts");
    node
}

/// What a Lightning address asks a node for.
#[derive(Clone)]
struct Payee {
    origin: String,
    wallet: Arc<Node>,
}

/// The wallet's Lightning address, on this machine.
async fn serve_address(wallet: Arc<Node>, tasks: &TaskTracker, stop: &CancellationToken) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let origin = listener.local_addr().expect("bound").to_string();
    let payee = Payee { origin: origin.clone(), wallet };
    let terms = async |State(payee): State<Payee>| {
        Json(json!({ "tag": "payRequest", "callback": format!("http://{}/pay", payee.origin),
                     "minSendable": 1_000, "maxSendable": 1_000_000_000, "metadata": METADATA }))
    };
    let pay = async |State(payee): State<Payee>,
                     Query(ask): Query<std::collections::HashMap<String, u64>>| {
        let hash = Bolt11InvoiceDescription::Hash(Sha256(sha256::Hash::hash(METADATA.as_bytes())));
        let invoice = payee.wallet.bolt11_payment().receive(ask["amount"], &hash, 600).expect("an invoice");
        Json(json!({ "pr": invoice.to_string(), "routes": [] }))
    };
    let router =
        Router::new().route("/.well-known/lnurlp/me", get(terms)).route("/pay", get(pay)).with_state(payee);
    let stopped = stop.clone().cancelled_owned();
    tasks.spawn(async move { axum::serve(listener, router).with_graceful_shutdown(stopped).await });
    format!("me@{origin}")
}

#[tokio::test(flavor = "multi_thread")]
async fn sats_are_paid_out_to_an_offer_and_an_address_and_by_a_rule_that_is_killed() {
    let _turn = TURN.lock().await;
    let mut town = Town::start().await;
    let offer =
        town.wallet.bolt12_payment().receive_variable_amount("my own wallet", None).expect("an offer");
    let offer = offer.to_string();
    let before = town.receivable().await;

    // An offer, twice under one key: once.
    for _ in 0..2 {
        let (status, row) = town.pay_out("first", &offer, 50_000).await;
        assert_eq!((status, &row["state"]), (StatusCode::OK, &json!("done")), "{row}");
        assert_eq!(row["amount_msat"], 50_000_000, "{row}");
    }
    assert_eq!(town.arrived(), 50_000);
    let grown = async |by: u64| {
        until("receivable to grow", async || (town.receivable().await >= before + by).then_some(())).await;
    };
    grown(50_000).await;

    // A Lightning address.
    let address = town.address.clone();
    let (status, row) = town.pay_out("second", &address, 20_000).await;
    assert_eq!((status, &row["state"]), (StatusCode::OK, &json!("done")), "{row}");
    assert_eq!(town.arrived(), 70_000);
    let (status, problem) = town.pay_out("third", &offer, 900_000).await;
    assert_eq!(
        (status, &problem["code"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("too_little_spendable"))
    );

    // A rule, killed at once and started again: it pays its day's worth and no more.
    let terms = json!({ "to": offer, "below_sat": 900_000, "until_sat": 950_000, "per_day_sat": 100_000,
                        "max_fee_ppm": 10_000 });
    let url = format!("{}/api/v1/rules/pay_out", town.shop.admin);
    let answer = client().put(url).bearer_auth(town.shop.key().expect("a key")).json(&terms).send().await;
    assert_eq!(answer.expect("an answer").status(), StatusCode::OK);
    until("the rule to begin", async || {
        let rows = town.shop.get("/api/v1/payouts").await;
        let begun = rows["payouts"]
            .as_array()?
            .iter()
            .any(|row| row["key"].as_str().is_some_and(|k| k.starts_with("rule/")));
        begun.then_some(())
    })
    .await;
    town.shop.kill().await;
    town.shop.start_again();
    town.shop.up().await;
    // A kill at a bad instant costs the channel (the log and an alarm say so), and then nothing more can be paid.
    let lost = until("the channel after the start, or its end", async || {
        let node = town.shop.up().await;
        let usable = node["channels"].as_array()?.iter().any(|channel| channel["usable"] == true);
        let closed = town.shop.get("/api/v1/channels/closed").await;
        (usable || !closed["channels"].as_array()?.is_empty()).then_some(!usable)
    })
    .await;
    let (spent, waits) = until("the rule to rest", async || {
        let rules = town.shop.get("/api/v1/rules").await;
        let rule = &rules["rules"][0];
        // When it died while the node asked for the invoice, nobody knows for a while, and it waits.
        let waits = rule["now"]["code"] == "one_on_its_way"
            && ["sent", "unclear"].contains(&rule["last"]["state"].as_str()?);
        let rests = lost || waits || rule["now"]["code"] == "daily_limit";
        rests.then_some((rule["drawn_today_msat"].as_u64()?, waits))
    })
    .await;
    assert!(spent <= 100_000_000, "{spent}");
    let paid = town.arrived() - 70_000;
    assert!(lost || waits || paid > 0, "a rule that was killed pays on");
    assert!(paid <= 100_000 && paid * 1_000 <= spent, "{paid} sat of {spent} msat");
    town.audited().await;
    let forecast = town.shop.get("/api/v1/forecast").await;
    assert!(lost || forecast["outlook"] == "lasts", "nothing was sold yet: {forecast}");

    town.shop.stop().await;
    town.wallet.stop().expect("the wallet stops");
    town.stop.cancel();
    town.tasks.close();
    assert!(tokio::time::timeout(Duration::from_secs(20), town.tasks.wait()).await.is_ok());
}

/// The faces over a node that is made up: keys, dry runs, scopes, rules.
#[tokio::test(flavor = "multi_thread")]
async fn payouts_and_rules_have_faces_that_refuse_what_they_must() {
    let app = AdminApp::start().await;
    let (admin, reader) = (app.key(&[Scope::Admin]).await, app.key(&[Scope::Read]).await);
    app.node.channels.lock().expect("not poisoned").push(usable_channel(50_000, 1_000));
    let ask = json!({ "to": "lno1any", "amount_sat": 10_000 });
    let plan = ok(app.change("/api/v1/payouts?dry_run=true", &admin, ask.clone()).await).await;
    assert_eq!((&plan["by"], &plan["max_fee_msat"]), (&json!("bolt12"), &json!(100_000)));
    assert_eq!(plan["spendable_after_msat"], 39_900_000);
    let no_key = app.change("/api/v1/payouts", &admin, ask.clone()).await;
    assert_eq!(problem(no_key).await, (StatusCode::BAD_REQUEST, "bad_idempotency_key".to_owned()));
    let may_not = app.change("/api/v1/payouts?dry_run=true", &reader, ask).await;
    assert_eq!(problem(may_not).await, (StatusCode::FORBIDDEN, "missing_scope".to_owned()));
    assert!(app.node.offers.lock().expect("not poisoned").is_empty());

    let put = async |name: &str, terms: Value| {
        let request = app.client.put(format!("{}/api/v1/rules/{name}", app.origin)).bearer_auth(&admin);
        request.json(&terms).send().await.expect("an answer")
    };
    let terms = json!({ "to": "lno1any", "below_sat": 2_000, "until_sat": 9_000, "per_day_sat": 20_000,
                        "max_fee_ppm": 10_000 });
    let set = ok(put("pay_out", terms.clone()).await).await;
    assert_eq!((&set["on"], &set["terms"], &set["now"]["code"]), (&json!(true), &terms, &json!("runs")));
    let bad = put(
        "pay_out",
        json!({ "to": "lno1any", "below_sat": 9, "until_sat": 9, "per_day_sat": 1,
                                     "max_fee_ppm": 1 }),
    )
    .await;
    assert_eq!(problem(bad).await, (StatusCode::UNPROCESSABLE_ENTITY, "bad_rule".to_owned()));
    assert_eq!(problem(put("sell_all", json!({})).await).await.1, "unknown_rule");
    app.op.parts.upkeep.keeper().look().await.expect("the ledger answers");
    let rows = ok(app.read("/api/v1/payouts", &reader).await).await;
    let key = rows["payouts"][0]["key"].as_str().expect("a key");
    assert!(key.starts_with("rule/pay_out/"), "{rows}");
    let off = ok(app.delete("/api/v1/rules/pay_out", &admin).await).await;
    assert_eq!(off["on"], false);
    let told = ok(app.read("/api/v1/forecast", &reader).await).await;
    assert_eq!((&told["outlook"], &told["receivable_msat"]), (&json!("lasts"), &json!(1_000_000)));
}
