//! The commands that talk to a running appliance, as a person and as a script type them.

use std::path::Path;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;
use tollhouse::clock::{Clock, SystemClock};
use tollhouse::event::Event;
use tollhouse::store::Ledger;
use tollhouse::types::{Msat, PaymentHash, Timestamp};
use tollhouse::web::keys::Scope;

use crate::admin_app::AdminApp;
use crate::appliance::{tollhouse, until};
use crate::bitcoind::free_port;
use crate::webhooks::Receiver;

mod alike;
mod lost;
mod nouns;

/// One appliance, and a home to call it from.
struct Desk {
    app: AdminApp,
    key: String,
}

struct Said {
    exit: i32,
    out: String,
    err: String,
}

impl Said {
    fn json(&self) -> Value {
        assert_eq!(self.out.lines().count(), 1, "one object: {}", self.out);
        serde_json::from_str(&self.out).unwrap_or_else(|_| panic!("JSON: {}{}", self.out, self.err))
    }
}

async fn run(home: &Path, args: &[&str], env: &[(&str, &str)]) -> Said {
    let mut command = tollhouse(home, args);
    command.envs(env.iter().copied());
    let done = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic");
    let Output { status, stdout, stderr } = done.expect("the program runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Said { exit: status.code().expect("it ended by itself"), out: text(stdout), err: text(stderr) }
}

impl Desk {
    async fn open() -> Desk {
        let app = AdminApp::start().await;
        let key = app.key(&[Scope::Admin]).await;
        Desk { app, key }
    }

    async fn run(&self, args: &[&str]) -> Said {
        let env = [("TOLLHOUSE_ADMIN_URL", self.app.origin.as_str()), ("TOLLHOUSE_ADMIN_KEY", &self.key)];
        run(self.app.dir.path(), args, &env).await
    }
}

#[tokio::test]
async fn endpoints_are_kept_from_the_command_line() {
    let desk = Desk::open().await;
    let receiver = Receiver::start(&[]).await;
    let none = desk.run(&["webhooks", "list"]).await;
    assert!(none.exit == 0 && none.out.starts_with("No endpoint."), "{}{}", none.out, none.err);

    let inside = desk.run(&["webhooks", "add", &receiver.url, "--label", "books"]).await;
    assert_eq!((inside.exit, inside.out.as_str()), (1, ""));
    assert!(inside.err.contains("allow_private"), "{}", inside.err);
    let mut add = vec!["webhooks", "add", &receiver.url, "--label", "books", "--topic", "payment.received"];
    add.extend(["--allow-private", "--json"]);
    let made = desk.run(&add).await;
    let (made, exit) = (made.json(), made.exit);
    assert_eq!((exit, &made["topics"]), (0, &json!(["payment.received"])), "{made}");
    let secret = made["secret"].as_str().expect("a secret");

    let tested = desk.run(&["webhooks", "test", "1"]).await;
    assert!(tested.exit == 0 && tested.out.starts_with("Delivered: it answers 200"), "{}", tested.out);
    receiver.answer(503);
    let event = Event::PaymentReceived {
        payment_hash: PaymentHash::from_bytes([1; 32]),
        amount_msat: Msat::from_sat(5).expect("in range"),
        service: None,
        route: None,
        over_msat: Msat::ZERO,
        opening_fee_msat: Msat::ZERO,
        late: false,
    };
    desk.app.ledger.log(event).await.expect("logged");
    let got = receiver.got(|got| got.len() == 2).await;
    assert!(got.iter().all(|got| got.is_signed_with(secret)));
    let failed = desk.run(&["webhooks", "test", "1", "--json"]).await;
    assert_eq!((failed.exit, &failed.json()["error"]), (1, &json!("it answers 503")));
    let waiting = until("the try to be noted", async || {
        let listed =
            desk.run(&["webhooks", "deliveries", "--state", "waiting", "--webhook", "1", "--json"]).await;
        let row = listed.json()["deliveries"][0].clone();
        (row["attempts"] == 1).then_some(row)
    })
    .await;
    assert_eq!(waiting["last_status"], 503);

    receiver.answer(200);
    let id = waiting["id"].to_string();
    assert_eq!(desk.run(&["webhooks", "redeliver", &id]).await.exit, 0);
    receiver.got(|got| got.len() == 4).await;
    for (command, state) in [("disable", "disabled: by the operator"), ("enable", "enabled")] {
        assert_eq!(desk.run(&["webhooks", command, "1"]).await.exit, 0);
        let listed = desk.run(&["webhooks", "list"]).await;
        assert!(listed.out.contains(state) && !listed.out.contains("whsec_"), "{}", listed.out);
    }
    assert_eq!(desk.run(&["webhooks", "remove", "1", "--yes"]).await.exit, 0);
    let gone = desk.run(&["webhooks", "remove", "1", "--yes", "--json"]).await;
    assert_eq!((gone.exit, &gone.json()["code"]), (1, &json!("unknown_webhook")));
}

#[tokio::test]
async fn rates_are_shown_and_what_stands_in_the_way_is_said() {
    let desk = Desk::open().await;
    let rates = desk.run(&["rates"]).await;
    assert!(rates.exit == 0 && rates.out.contains("USD") && rates.out.contains("fixed"), "{}", rates.out);
    assert_eq!(desk.run(&["--json"]).await.exit, 2, "a flag of no command");
    let rates = desk.run(&["rates", "--refresh", "--json"]).await;
    assert_eq!(rates.json()["currencies"][0]["per_btc"], "64000");

    let home = desk.app.dir.path();
    let lost = run(home, &["rates", "--json"], &[]).await;
    assert_eq!((lost.exit, &lost.json()["code"]), (2, &json!("bad_arguments")));
    assert!(lost.out.contains("no appliance to talk to"), "{}", lost.out);
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let silent = run(home, &["rates", "--admin", &nobody], &[("TOLLHOUSE_ADMIN_KEY", "x")]).await;
    assert!(silent.exit == 4 && silent.err.contains("is the appliance running?"), "{}", silent.err);
    let wrong =
        run(home, &["rates", "--json", "--admin", &desk.app.origin], &[("TOLLHOUSE_ADMIN_KEY", "x")]).await;
    assert_eq!((wrong.exit, &wrong.json()["code"]), (1, &json!("unauthenticated")));
}

/// By its configuration: the file names the address and the directory, and the first start left the key there.
#[tokio::test]
async fn a_configuration_leads_to_the_appliance_whatever_else_is_wrong_with_it() {
    let desk = Desk::open().await;
    let dir = desk.app.dir.path();
    std::fs::create_dir_all(dir.join("data/regtest")).expect("a folder");
    std::fs::write(dir.join("data/regtest/admin.key"), format!("{}\n", desk.key)).expect("written");
    let listen = desk.app.origin.trim_start_matches("http://");
    let text = format!(
        "network = \"regtest\"\ndata_dir = \"data\"\n[admin]\nlisten = \"{listen}\"\n[[service]]\nname = \"a\"\n\
         upstream = \"http://127.0.0.1:1\"\nupstream_headers = {{ Authorization = {{ env = \"NOT_SET\" }} }}\n"
    );
    let file = dir.join("t.toml").display().to_string();
    std::fs::write(&file, text).expect("written");
    let found = run(dir, &["rates", "--config", &file], &[]).await;
    assert_eq!(found.exit, 0, "{}", found.err);
    let found = run(dir, &["rates"], &[("TOLLHOUSE_CONFIG", &file)]).await;
    assert_eq!(found.exit, 0, "{}", found.err);
}

/// The operator's key goes to the address it was meant for: a redirect gets nothing.
#[tokio::test]
async fn the_key_follows_no_redirect() {
    let (hits, tasks) = (Arc::<AtomicUsize>::default(), TaskTracker::new());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let origin = format!("http://{}", listener.local_addr().expect("bound"));
    let counts = Arc::clone(&hits);
    let router = Router::new().fallback(async move || {
        counts.fetch_add(1, Ordering::SeqCst);
        (StatusCode::TEMPORARY_REDIRECT, [("location", "/elsewhere")])
    });
    tasks.spawn(async move { axum::serve(listener, router).await });
    let home = tempfile::tempdir().expect("a folder");
    let said =
        run(home.path(), &["rates", "--json", "--admin", &origin], &[("TOLLHOUSE_ADMIN_KEY", "x")]).await;
    assert_eq!((said.exit, &said.json()["code"]), (1, &json!("http_307")));
    assert_eq!(hits.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn the_books_are_proved_beside_the_appliance_and_without_it() {
    let desk = Desk::open().await;
    let sat = Msat::from_sat(5).expect("in range");
    desk.app.ledger.receive(PaymentHash::from_bytes([1; 32]), sat, None).await.expect("received");
    // Of the one that runs, by its API; its directory is nobody's business.
    let asked = desk.run(&["audit", "--json"]).await;
    assert_eq!((asked.exit, &asked.json()["ok"]), (0, &json!(true)), "{}", asked.err);
    let told = desk.run(&["audit"]).await;
    assert!(told.out.starts_with("The books are right.") && told.out.contains(" 5 sat"), "{}", told.out);
    let revenue = desk.app.read("/api/v1/revenue?by=hour", &desk.key).await;
    assert_eq!(revenue.status(), StatusCode::OK);
    let endless = desk.app.read("/api/v1/revenue?by=hour&from=0", &desk.key).await;
    assert_eq!(endless.status(), StatusCode::BAD_REQUEST);

    // Of a file, while it is open and when it is not.
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("ledger.db");
    let path = file.to_str().expect("plain");
    let missing = run(folder.path(), &["audit", path], &[]).await;
    assert!(missing.exit == 2 && missing.err.contains("nothing was sold yet"), "{}", missing.err);
    let clock: Arc<dyn Clock> = SystemClock::new(Timestamp::default());
    let (ledger, _) = Ledger::open(&file, clock).expect("it opens");
    ledger.receive(PaymentHash::from_bytes([2; 32]), sat, None).await.expect("received");
    let beside = run(folder.path(), &["audit", path, "--json"], &[]).await.json();
    assert_eq!((&beside["payments"], &beside["payments_unknown"]), (&json!(1), &json!(1)));
    ledger.close().await.expect("closed");
    assert_eq!(run(folder.path(), &["audit", path], &[]).await.exit, 0);
    // Another program's file, and one that somebody has been at.
    std::fs::write(folder.path().join("other.db"), "no database, but long enough to be looked at")
        .expect("written");
    let other =
        run(folder.path(), &["audit", folder.path().join("other.db").to_str().expect("plain")], &[]).await;
    assert_eq!(other.exit, 2, "{}", other.err);
    let edit = rusqlite::Connection::open(&file).expect("it opens");
    edit.execute("UPDATE payments SET amount_msat = 1", []).expect("edited");
    drop(edit);
    let wrong = run(folder.path(), &["audit", path], &[]).await;
    assert!(wrong.exit == 1 && wrong.out.starts_with("The books are wrong:"), "{}", wrong.out);
}
