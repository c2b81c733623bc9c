//! Calls that move coins, over the admin API: said first, done once for a key, recorded.

use reqwest::StatusCode;
use serde_json::{Value, json};
use tollhouse::ports::Much;
use tollhouse::web::keys::Scope;

use crate::admin_app::{AdminApp, ok, problem, usable_channel};

async fn keyed(app: &AdminApp, path: &str, key: &str, name: &str, body: &Value) -> reqwest::Response {
    let request = app.client.post(format!("{}{path}", app.origin)).bearer_auth(key);
    let request = request.header("content-type", "application/json").header("idempotency-key", name);
    request.body(body.to_string()).send().await.expect("an answer")
}

#[tokio::test]
async fn coins_are_sent_once_for_a_key_and_said_first() {
    let app = AdminApp::start().await;
    let key = app.key(&[Scope::Admin, Scope::Read]).await;
    let send = json!({ "address": "bcrt1qaway", "amount_sat": 50_000, "fee": "fast" });

    let plan = ok(app.change("/api/v1/onchain/send?dry_run=true", &key, send.clone()).await).await;
    assert_eq!(
        (&plan["kind"], &plan["enough"], &plan["undoable"]),
        (&json!("send"), &json!(true), &json!(false))
    );
    assert_eq!(plan["figures"]["fee_rate_sat_per_kvb"], 9_000);
    assert_eq!(plan["figures"]["fee_sat_about"], 1_881);
    assert_eq!(plan["figures"]["left_sat_about"], 98_214 - 50_000 - 1_881);
    assert_eq!(plan["figures"]["reserved_sat"], 25_000);
    assert!(app.node.sent.lock().expect("not poisoned").is_empty(), "it was only said");

    for _ in 0..2 {
        let sent = keyed(&app, "/api/v1/onchain/send", &key, "rent", &send).await;
        assert_eq!(sent.status(), StatusCode::ACCEPTED);
        let sent: Value = sent.json().await.expect("JSON");
        assert_eq!((&sent["key"], &sent["state"]), (&json!("rent"), &json!("sent")));
        assert_eq!(sent["outcome"]["txid"], format!("{:064x}", 1));
        assert!(sent["outcome"]["before"].is_null(), "the treasury's own note stays inside");
    }
    // No block has it yet, and it is told all the same; so is the operation, by its key.
    let history = ok(app.read("/api/v1/onchain/transactions", &key).await).await;
    let pending = &history["transactions"][0];
    assert_eq!((&pending["txid"], &pending["amount_sat"]), (&json!(format!("{:064x}", 1)), &json!(50_000)));
    assert_eq!((&pending["confirmed_height"], &pending["outgoing"]), (&Value::Null, &json!(true)));
    assert_eq!((&pending["purpose"], &pending["label"]), (&json!("sent"), &json!("Sent")));
    assert_eq!(pending["operation"], 1);
    let named = ok(app.read("/api/v1/operations?key=rent", &key).await).await;
    assert_eq!(named["operations"][0]["operation"], 1);
    assert_eq!(ok(app.read("/api/v1/operations?key=other", &key).await).await["operations"], json!([]));
    let other = json!({ "address": "bcrt1qaway", "amount_sat": 60_000 });
    let reused = problem(keyed(&app, "/api/v1/onchain/send", &key, "rent", &other).await).await;
    assert_eq!(reused, (StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused".to_owned()));
    let all = json!({ "address": "bcrt1qaway", "all": true });
    assert_eq!(keyed(&app, "/api/v1/onchain/send", &key, "empty", &all).await.status(), StatusCode::ACCEPTED);
    let much: Vec<Much> =
        app.node.sent.lock().expect("not poisoned").iter().map(|(_, much, _)| *much).collect();
    assert_eq!(much, [Much::Exactly(50_000), Much::AllButReserve]);

    let listed = ok(app.read("/api/v1/operations", &key).await).await;
    let kinds: Vec<&str> = listed["operations"]
        .as_array()
        .expect("rows")
        .iter()
        .filter_map(|row| row["kind"].as_str())
        .collect();
    assert_eq!(kinds, ["send_all", "send"]);
    let settled = app.change("/api/v1/operations/1/settle", &key, json!({ "outcome": "failed" })).await;
    assert_eq!(problem(settled).await, (StatusCode::CONFLICT, "not_unclear".to_owned()));
}

#[tokio::test]
async fn what_cannot_be_is_refused_with_a_word() {
    let app = AdminApp::start().await;
    let key = app.key(&[Scope::Admin]).await;
    for (body, code) in [
        (json!({ "address": "nowhere", "amount_sat": 5_000 }), "bad_address"),
        (json!({ "address": "bcrt1qx", "amount_sat": 1 }), "bad_amount"),
        (json!({ "address": "bcrt1qx", "amount_sat": 5_000, "all": true }), "bad_amount"),
        (json!({ "address": "bcrt1qx", "amount_sat": 5_000, "fee": { "sat_per_kvb": 1 } }), "bad_fee"),
        (json!({ "address": "vault", "amount_sat": 5_000 }), "no_vault"),
    ] {
        assert_eq!(problem(app.change("/api/v1/onchain/send", &key, body).await).await.1, code);
    }
    app.node.channels.lock().expect("not poisoned").push(usable_channel(10_000, 20_000));
    let id = "11".repeat(32);
    let splice = json!({ "amount_sat": 5_000 });
    let refused = app.change(&format!("/api/v1/channels/{id}/splice-in"), &key, splice).await;
    assert_eq!(problem(refused).await, (StatusCode::UNPROCESSABLE_ENTITY, "node_refused".to_owned()));
    let url = format!("{}/api/v1/channels/{id}?force=true&dry_run=true", app.origin);
    let plan = ok(app.client.delete(url).bearer_auth(&key).send().await.expect("an answer")).await;
    assert_eq!(plan["figures"]["delay_blocks"], 144);
    assert_eq!(plan["figures"]["receivable_lost_msat"], 20_000_000);
    assert!(app.node.closed.lock().expect("not poisoned").is_empty());
    let peer = "03".repeat(33);
    let kept = problem(app.delete(&format!("/api/v1/peers/{peer}"), &key).await).await;
    assert_eq!(kept, (StatusCode::CONFLICT, "peer_has_channel".to_owned()));
}
