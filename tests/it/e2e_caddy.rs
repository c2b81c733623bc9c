//! The whole of it with a proxy that was there before: the real program with a real node, Debian's Caddy
//! in front of an API, a customer that pays from another node, and a token that the operator gave away.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::appliance::{Appliance, TURN, bitcoind_section, tollhouse};
use crate::bitcoind::{Bitcoind, free_port};
use crate::e2e_run::{fund, open_channel};
use crate::forward_auth::caddy::Caddy;
use crate::forward_auth::proxied::{Behind, site};

const PRICE_MSAT: u64 = 5_000;

fn home(shop: &Appliance) -> std::path::PathBuf {
    shop.data_dir().parent().expect("a home").to_owned()
}

/// A command for this appliance, as its operator types it; what it prints, as JSON.
async fn told(shop: &Appliance, args: &[&str]) -> Value {
    let home = home(shop);
    let mut command = tollhouse(&home, args);
    command.arg("--json").arg("--config").arg(home.join("tollhouse.toml"));
    let done = run(command).await;
    let said = String::from_utf8(done.stdout).expect("text");
    assert!(done.status.success(), "{args:?}: {said}{}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_str(&said).expect("JSON")
}

async fn run(mut command: Command) -> Output {
    let running = tokio::task::spawn_blocking(move || command.output());
    running.await.expect("not cancelled").expect("the program runs")
}

/// Whether any file under `folder` holds one of `secrets`.
fn found_in(folder: &Path, secrets: &[&[u8]]) -> bool {
    let entries = std::fs::read_dir(folder).expect("a folder");
    entries.map(|entry| entry.expect("an entry").path()).any(|path| {
        if path.is_dir() {
            return found_in(&path, secrets);
        }
        let bytes = std::fs::read(&path).unwrap_or_default();
        secrets.iter().any(|secret| bytes.windows(secret.len()).any(|window| window == *secret))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn caddy_asks_and_a_customer_pays() {
    let _turn = TURN.lock().await;
    let (bitcoind, behind) = (Bitcoind::start().await, Behind::start().await);
    bitcoind.mine(101).await;
    let chain = bitcoind_section(bitcoind.port());
    let asked = format!("127.0.0.1:{}", free_port());
    let service = format!(
        "[forward_auth]\nlisten = \"{asked}\"\n[[service]]\nname = \"rates\"\npath = \"/v1\"\n\
         upstream = \"http://{}\"\nprice = \"5 sat\"\n",
        behind.address
    );
    let mut shop = Appliance::start(&chain, &service);
    let mut payer = Appliance::start(&chain, "");
    shop.up().await;
    payer.up().await;
    fund(&bitcoind, &shop, &payer).await;
    open_channel(&bitcoind, &shop, &payer).await;

    let made = told(&shop, &["keys", "add", "--label", "caddy", "--scope", "forward_auth"]).await;
    let caddy = Caddy::start(&site(&asked, &behind.address), made["key"].as_str().expect("a key")).await;
    let url = caddy.url("/v1/rates?base=USD");

    // A customer that pays what the 402 asks.
    let payer_home = home(&payer);
    let mut fetch = tollhouse(&payer_home, &["fetch", &url, "--wallet", &payer.admin, "--wallet-key-file"]);
    fetch.arg(payer.data_dir().join("regtest/admin.key"));
    let done = run(fetch).await;
    let failed = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(
        (done.status.code(), &done.stdout[..]),
        (Some(0), &b"delivered"[..]),
        "{failed}{}",
        caddy.log()
    );
    let seen = behind.seen();
    assert_eq!(seen.len(), 1, "paid once, forwarded once");
    assert_eq!(seen[0].uri, "/v1/rates?base=USD");
    assert_eq!(seen[0].headers["x-tollhouse-unit"], "spent");
    let status = shop.get("/api/v1/status").await;
    assert_eq!(
        (&status["revenue"]["total_msat"], &status["revenue"]["calls_total"]),
        (&json!(PRICE_MSAT), &json!(1))
    );

    // One of the operator's own, with a budget for two calls.
    let grant = ["tokens", "grant", "--service", "rates", "--budget", "10 sat", "--expires", "30d"];
    let given = told(&shop, &[&grant[..], &["--label", "our own agents"]].concat()).await;
    let token = given["authorization"].as_str().expect("a credential").to_owned();
    let ask = async || {
        let asked = crate::bitcoind::client().get(&url).header("authorization", &token).send().await;
        asked.expect("an answer")
    };
    for left in ["5000", "0"] {
        assert_eq!(ask().await.status(), 200);
        let seen = behind.seen();
        assert_eq!(seen.last().expect("it was forwarded").headers["x-tollhouse-left"], left);
    }
    let spent: Value = ask().await.json().await.expect("JSON");
    assert_eq!((&spent["status"], &spent["code"]), (&json!(402), &json!("balance_too_small")), "{spent}");
    let hash = given["payment_hash"].as_str().expect("a hash");
    let shown = told(&shop, &["tokens", "show", &hash[..16]]).await;
    assert_eq!((&shown["label"], &shown["units"]["spent"]), (&json!("our own agents"), &json!(10_000)));
    assert_eq!(shown["spends"].as_array().map(Vec::len), Some(2));
    let revoked = told(&shop, &["tokens", "revoke", &hash[..16], "--yes"]).await;
    assert_eq!(revoked["known"], true);
    assert_eq!(behind.seen().len(), 3);

    let status = shop.get("/api/v1/status").await;
    assert_eq!(status["revenue"]["total_msat"], PRICE_MSAT, "what was given away earns nothing");
    assert_eq!(status["ledger"]["ok"], true, "{}", status["ledger"]);
    let preimage = given["preimage"].as_str().expect("a preimage");
    let raw = hex::decode(preimage).expect("hexadecimal");
    let macaroon = given["macaroon"].as_str().expect("a macaroon");
    payer.stop().await;
    shop.stop().await;
    let secrets = [preimage.as_bytes(), &raw, macaroon.as_bytes()];
    assert!(!found_in(&shop.data_dir(), &secrets), "the credential is kept nowhere");
}
