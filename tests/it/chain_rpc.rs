//! The in-box chain's RPC answers what bitcoind answers over the same blocks, and LDK Node lives on it.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bitcoin::consensus::encode::serialize_hex;
use bitcoin::{Address, Amount, Network, OutPoint, ScriptBuf, Txid};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tollhouse::clock::SystemClock;
use tollhouse::sandbox::chain::Chain;
use tollhouse::sandbox::rpc::{self, Access};
use tollhouse::types::Timestamp;

use crate::bitcoind::{Bitcoind, assert_accepted, client};

struct Face {
    chain: Chain,
    port: u16,
    stop: CancellationToken,
    tasks: TaskTracker,
    http: reqwest::Client,
}

impl Face {
    async fn start() -> Face {
        let chain = Chain::new(SystemClock::new(Timestamp::default()));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port is free");
        let port = listener.local_addr().expect("a bound listener has an address").port();
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        rpc::serve(listener, chain.clone(), Access::new("user", "password"), stop.clone(), &tasks);
        Face { chain, port, stop, tasks, http: client() }
    }

    async fn post(&self, body: &Value) -> (StatusCode, Value) {
        let url = format!("http://127.0.0.1:{}/", self.port);
        let response = self
            .http
            .post(url)
            .basic_auth("user", Some("password"))
            .json(body)
            .send()
            .await
            .expect("an answer");
        (response.status(), response.json().await.expect("JSON"))
    }

    async fn call(&self, method: &str, params: &Value) -> Result<Value, Value> {
        let (_, answer) = self.post(&json!({ "method": method, "params": params, "id": "7" })).await;
        assert_eq!(answer["id"], "7");
        if answer["error"].is_null() { Ok(answer["result"].clone()) } else { Err(answer["error"].clone()) }
    }

    async fn end(self) {
        drop(self.http);
        self.stop.cancel();
        self.tasks.close();
        tokio::time::timeout(Duration::from_secs(5), self.tasks.wait())
            .await
            .expect("the listener ends at shutdown");
    }
}

fn someone() -> Address {
    Address::p2wsh(&ScriptBuf::new_op_return([7]), Network::Regtest)
}

/// Each field that we answer must be what bitcoind answers; it may answer more.
fn assert_within(ours: &Value, theirs: &Value, at: &str) {
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => {
            for (key, value) in ours {
                let place = format!("{at}.{key}");
                let theirs = theirs.get(key).unwrap_or_else(|| panic!("{place}: bitcoind has no such field"));
                assert_within(value, theirs, &place);
            }
        }
        _ if at.ends_with(".time")
            || at.ends_with("verificationprogress")
            || at.ends_with("initialblockdownload") => {}
        _ => assert_eq!(ours, theirs, "{at}"),
    }
}

#[tokio::test]
async fn the_answers_are_bitcoinds() {
    let face = Face::start().await;
    face.chain.mine(160).unwrap();
    let paid = face.chain.faucet_send(&someone(), Amount::from_sat(70_001)).unwrap();
    face.chain.mine(1).unwrap();
    let bitcoind = Bitcoind::start().await;
    assert_accepted(&bitcoind, &face.chain.blocks()).await;
    let mut waiting = Vec::new();
    for sat in [10_000, 20_000] {
        let txid = face.chain.faucet_send(&someone(), Amount::from_sat(sat)).unwrap();
        let tx = serialize_hex(&face.chain.mempool_entry(&txid).unwrap().tx);
        bitcoind.expect("sendrawtransaction", json!([tx])).await;
        assert_eq!(
            face.call("sendrawtransaction", &json!([tx])).await,
            Ok(json!(txid)),
            "known already is fine"
        );
        waiting.push(txid);
    }
    let spent = face.chain.mempool_entry(&waiting[0]).unwrap().tx.input[0].previous_output;
    let tip = face.chain.tip();
    let genesis = face.chain.block_hash(0).unwrap();
    let unknown = "00".repeat(32);
    let OutPoint { txid: spent, vout: spent_vout } = spent;
    let calls = [
        ("getblockchaininfo", json!([])),
        ("getblockhash", json!([161])),
        ("getblockhash", json!([162])),
        ("getblockhash", json!([-1])),
        ("getblockheader", json!([tip.hash])),
        ("getblockheader", json!([tip.hash, false])),
        ("getblockheader", json!([genesis, true])),
        ("getblockheader", json!([unknown])),
        ("getblockheader", json!(["xyz"])),
        ("getblockheader", json!(["zz".repeat(32)])),
        ("getblock", json!([tip.hash, 0])),
        ("getblock", json!([tip.hash, false])),
        ("getblock", json!([face.chain.block_hash(150).unwrap(), 1])),
        ("getblock", json!([unknown, 0])),
        ("getblock", json!(["00", 0])),
        ("gettxout", json!(["00", 0])),
        ("getrawtransaction", json!(["00"])),
        ("getmempoolentry", json!(["00"])),
        ("gettxout", json!([paid, 0, false])),
        ("gettxout", json!([paid, 0])),
        ("gettxout", json!([paid, 9, false])),
        ("gettxout", json!([spent, spent_vout, false])),
        ("gettxout", json!([spent, spent_vout, true])),
        ("gettxout", json!([waiting[1], 0, true])),
        ("gettxout", json!([waiting[1], 0, false])),
        ("getrawtransaction", json!([waiting[0]])),
        ("getrawtransaction", json!([waiting[0], false])),
        ("getrawmempool", json!([])),
        ("getrawmempool", json!([true])),
        ("getmempoolinfo", json!([])),
        ("getmempoolentry", json!([waiting[0]])),
        ("getmempoolentry", json!([waiting[1]])),
        ("getmempoolentry", json!([paid])),
        ("sendrawtransaction", json!(["00"])),
        ("sendrawtransaction", json!([serialize_hex(&face.chain.blocks()[161].txdata[1])])),
        ("stopworld", json!([])),
    ];
    for (method, params) in calls {
        let at = format!("{method} {params}");
        match (face.call(method, &params).await, bitcoind.call(method, params).await) {
            (Ok(ours), Ok(theirs)) if method == "getrawmempool" && ours.is_array() => {
                let sorted = |answer| {
                    let mut txids: Vec<Txid> = serde_json::from_value(answer).unwrap();
                    txids.sort_unstable();
                    txids
                };
                assert_eq!(sorted(ours), sorted(theirs));
            }
            (Ok(ours), Ok(theirs)) => assert_within(&ours, &theirs, &at),
            (Err(ours), Err(theirs)) => {
                assert_eq!(ours["code"], theirs.code, "{at}: {ours} {theirs:?}");
                assert_eq!(ours["message"], theirs.message, "{at}");
            }
            (ours, theirs) => panic!("{at}: we answer {ours:?}, bitcoind {theirs:?}"),
        }
    }
    // Where the answers differ on purpose: there is an estimate, and no index of confirmed transactions to name.
    let estimate = face.call("estimatesmartfee", &json!([6, "ECONOMICAL"])).await.unwrap();
    assert_eq!(estimate["feerate"].to_string(), "0.00001");
    assert_eq!(face.call("getrawtransaction", &json!([paid])).await.unwrap_err()["code"], -5);
    face.end().await;
}

#[tokio::test]
async fn calls_are_framed_as_bitcoind_frames_them() {
    let face = Face::start().await;
    let (status, answer) = face.post(&json!({ "method": "nope", "id": 1 })).await;
    assert_eq!((status, &answer["error"]["code"]), (StatusCode::NOT_FOUND, &json!(-32601)));
    let (status, answer) = face.post(&json!({ "method": 5, "id": 1 })).await;
    assert_eq!((status, &answer["error"]["code"]), (StatusCode::BAD_REQUEST, &json!(-32600)));
    let batch = json!([
        { "method": "getblockhash", "params": [0], "id": "a" },
        { "method": "getblockhash", "params": [9], "id": "b" },
        { "jsonrpc": "2.0", "method": "getblockhash", "params": [0], "id": "c" },
    ]);
    let (status, answers) = face.post(&batch).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(answers[0], json!({ "result": face.chain.tip().hash, "error": null, "id": "a" }));
    assert_eq!((&answers[1]["error"]["code"], &answers[1]["id"]), (&json!(-8), &json!("b")));
    assert_eq!(answers[2], json!({ "jsonrpc": "2.0", "result": face.chain.tip().hash, "id": "c" }));

    let url = format!("http://127.0.0.1:{}/", face.port);
    let broken = face.http.post(&url).basic_auth("user", Some("password")).body("{").send().await.unwrap();
    assert_eq!(broken.json::<Value>().await.unwrap()["error"]["code"], -32700);
    assert_eq!(face.http.get(&url).send().await.unwrap().status(), StatusCode::METHOD_NOT_ALLOWED);
    for shown in
        ["Basic !".to_owned(), format!("Basic {}", STANDARD.encode("user:Password")), "Bearer x".to_owned()]
    {
        let refused = face.http.post(&url).header("Authorization", shown).body("{}").send().await.unwrap();
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
        assert!(refused.headers().contains_key("WWW-Authenticate"));
        assert!(refused.text().await.unwrap().is_empty());
    }
    face.end().await;
}
