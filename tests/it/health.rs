//! Alarms and health as the operator's programs see them: what is wrong is told once, with what to do, and is
//! over when it is over.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;
use tollhouse::catalog::{Service, Terms, Upstream};
use tollhouse::event::Event;
use tollhouse::ports::{BoxFuture, NodeFault, NodePulse, NodeStage, Pulse, SourceTime};
use tollhouse::types::Msat;
use tollhouse::web::keys::Scope;

use crate::admin_app::{AdminApp, MadeUpNode, START, ok, usable_channel};

fn service(sat: u64) -> Service {
    let upstream = Upstream::at("http://127.0.0.1:9".parse().expect("a URL"));
    Service::new(
        "api".parse().expect("a name"),
        "/v1",
        Terms::fixed(Msat::from_sat(sat).expect("small")),
        upstream,
    )
}

async fn health(app: &AdminApp, key: &str) -> Value {
    ok(app.read("/api/v1/health", key).await).await
}

fn codes(health: &Value) -> Vec<&str> {
    let alarms = health["alarms"].as_array().expect("a list");
    alarms.iter().map(|alarm| alarm["code"].as_str().expect("a word")).collect()
}

#[tokio::test]
async fn an_alarm_is_raised_told_once_and_cleared() {
    let app = AdminApp::selling(vec![service(100)]).await;
    let key = app.key(&[Scope::Read]).await;
    app.node.channels.lock().expect("not poisoned").push(usable_channel(500_000, 400_000));
    let well = health(&app, &key).await;
    assert_eq!((&well["status"], &well["ready"]), (&Value::from("ok"), &Value::from(true)), "{well}");
    let receivable = well["checks"].as_array().expect("a list").iter().find(|c| c["name"] == "receivable");
    assert_eq!(receivable.expect("it was looked at")["detail"], "400000 sat can be received");

    app.node.channels.lock().expect("not poisoned")[0] = usable_channel(899_500, 500);
    let low = health(&app, &key).await;
    assert_eq!((codes(&low), &low["status"]), (vec!["receivable_low"], &Value::from("warning")));
    let alarm = &low["alarms"][0];
    assert!(alarm["text"].as_str().expect("words").contains("5 more sales"), "{alarm}");
    assert!(alarm["fix"].as_str().expect("words").contains("tollhouse pay-out"), "{alarm}");
    app.node.channels.lock().expect("not poisoned")[0] = usable_channel(899_600, 400);
    health(&app, &key).await;

    // The chain stands still: a warning, then worse.
    app.clock.advance(Duration::from_secs(700));
    assert_eq!(codes(&health(&app, &key).await), ["chain_stale", "clock_skew", "receivable_low"]);
    app.clock.advance(Duration::from_secs(3_000));
    let worse = health(&app, &key).await;
    assert_eq!((&worse["status"], &worse["ready"]), (&Value::from("critical"), &Value::from(false)));
    assert_eq!(worse["not_ready"], "not_synced");

    let mut told = Vec::new();
    for logged in app.ledger.events_after(0, 100).await.expect("it reads") {
        match logged.event {
            Event::AlarmRaised { code, .. } => told.push(format!("raised {code}")),
            Event::AlarmChanged { code, .. } => told.push(format!("changed {code}")),
            Event::AlarmCleared { code, .. } => told.push(format!("cleared {code}")),
            _ => {}
        }
    }
    assert_eq!(
        told,
        ["raised receivable_low", "raised chain_stale", "raised clock_skew", "changed chain_stale"]
    );
}

#[tokio::test]
async fn a_stranger_learns_whether_it_lives_and_sells_and_nothing_else() {
    let app = AdminApp::selling(vec![service(100)]).await;
    let asked = async |path: &str| {
        let answer = app.get(path).send().await.expect("an answer");
        (answer.status(), answer.json::<Value>().await.expect("JSON"))
    };
    assert_eq!(asked("/livez").await, (StatusCode::OK, serde_json::json!({"live": true})));
    assert_eq!(asked("/readyz").await, (StatusCode::OK, serde_json::json!({"ready": true})));
    assert_eq!(asked("/api/v1/health").await.0, StatusCode::UNAUTHORIZED);
    *app.node.down.lock().expect("not poisoned") = Some("the chain source does not answer".to_owned());
    let (status, body) = asked("/readyz").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(body, serde_json::json!({"ready": false, "code": "node_down"}));
    assert_eq!(asked("/livez").await.0, StatusCode::OK, "a node that is away is no reason to be restarted");
    let key = app.key(&[Scope::Read]).await;
    app.clock.advance(Duration::from_secs(121));
    assert_eq!(codes(&health(&app, &key).await), ["node_down"]);
}

impl Pulse for MadeUpNode {
    fn pulse(&self) -> BoxFuture<'_, NodePulse> {
        let down = self.down.lock().expect("not poisoned").clone();
        let pulse = NodePulse {
            stage: down.map_or(NodeStage::Running, NodeStage::Starting),
            fee_rates_at: Some(START.minus(Duration::from_secs(60))),
            onchain_synced_at: Some(START.minus(Duration::from_secs(4))),
            peers_known: 1,
            reserve_wanted_sat: 25_000,
            onchain_total_sat: 123_214,
            coming_home: Vec::new(),
        };
        Box::pin(async move { pulse })
    }

    fn largest_monitor(&self) -> BoxFuture<'_, Result<u64, NodeFault>> {
        Box::pin(async { Ok(4_096) })
    }

    fn source_time(&self) -> BoxFuture<'_, Result<SourceTime, NodeFault>> {
        Box::pin(async { Ok(SourceTime { date: Some(START), ..SourceTime::default() }) })
    }
}

/// After a long history, such as of a ledger from before looks were noted, the first look does not read the sales:
/// these could not even be read.
#[tokio::test]
async fn a_first_look_reads_none_of_a_long_history_of_sales() {
    let app = AdminApp::start().await;
    let key = app.key(&[Scope::Read]).await;
    let file = rusqlite::Connection::open(app.dir.path().join("ledger.db")).expect("the file");
    let told = r#"{"kind":"books_audited","ok":false,"mismatches":["a sum"]}"#;
    let now = i64::try_from(START.millis()).expect("in range");
    file.execute("INSERT INTO events (at, body) VALUES (?1, ?2)", (now, told)).expect("written");
    file.execute(
        "WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
         INSERT INTO events (at, body) SELECT ?1, json_object('kind', 'payment_received', 'unreadable', i) FROM n",
        [now],
    )
    .expect("written");
    drop(file);
    let seen = health(&app, &key).await;
    assert!(codes(&seen).contains(&"books_wrong"), "{seen}");
    // Nor does it read them later.
    assert!(codes(&health(&app, &key).await).contains(&"books_wrong"));
}
