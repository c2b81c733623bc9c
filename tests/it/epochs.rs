//! The tokens' master keys, as the operator begins and ends them while tokens are sold and used.

use std::path::Path;

use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use tollhouse::clock::SystemEntropy;
use tollhouse::l402::{authorization, parse_challenge};
use tollhouse::secrets::Secrets;
use tollhouse::types::{Msat, PaymentHash};
use tollhouse::web::keys::Scope;

use crate::admin_app::{AdminApp, ok, problem};
use crate::appliance::tollhouse;

const EPOCHS: &str = "/api/v1/epochs";
const CHALLENGES: &str = "/api/v1/integration/challenges";
const VERIFY: &str = "/api/v1/integration/verify";

/// An appliance with a service at 10 sat, and its keys.
struct Shop {
    app: AdminApp,
    admin: String,
    application: String,
}

impl Shop {
    async fn open() -> Shop {
        let app = AdminApp::selling(vec![crate::forward_auth::service()]).await;
        let (admin, application) = (app.key(&[Scope::Admin]).await, app.key(&[Scope::Integrate]).await);
        Shop { app, admin, application }
    }

    /// A token that was paid for, and the news of its payment arrived.
    async fn buy(&self) -> (String, PaymentHash) {
        let ask = json!({ "service": "api", "path": "/a" });
        let offered = ok(self.app.change(CHALLENGES, &self.application, ask).await).await;
        let line = offered["headers"]["WWW-Authenticate"].as_str().expect("a challenge");
        let challenge = parse_challenge(line).expect("readable");
        let hash: PaymentHash = offered["payment_hash"].as_str().expect("a hash").parse().expect("a hash");
        let amount = Msat::from_sat(10).expect("in range");
        let bought = self.app.recent.get(&hash);
        assert!(bought.is_some());
        self.app.ledger.receive(hash, amount, bought).await.expect("credited");
        (authorization(&challenge.macaroon_b64, &self.app.minter.preimage(&hash)), hash)
    }

    async fn present(&self, authorization: &str) -> Response {
        let ask = json!({ "service": "api", "path": "/a", "authorization": authorization });
        self.app.change(VERIFY, &self.application, ask).await
    }

    /// Presented, and given back.
    async fn opens(&self, authorization: &str) -> bool {
        let held = self.present(authorization).await;
        if held.status() != StatusCode::OK {
            let (status, code) = problem(held).await;
            assert_eq!((status, code.as_str()), (StatusCode::PAYMENT_REQUIRED, "unknown_epoch"));
            return false;
        }
        let id = ok(held).await["hold_id"].as_str().expect("an id").to_owned();
        let release = format!("/api/v1/integration/holds/{id}/release");
        ok(self.app.change(&release, &self.application, json!({})).await).await;
        true
    }

    /// Epoch, state, tokens, waiting, unearned.
    async fn epochs(&self) -> Vec<(u64, String, u64, u64, u64)> {
        let listed = ok(self.app.read(EPOCHS, &self.admin).await).await;
        let number = |row: &Value, name: &str| row[name].as_u64().expect("a number");
        let rows = listed["epochs"].as_array().expect("rows").iter().map(|row| {
            let state = row["state"].as_str().expect("a word").to_owned();
            let (tokens, waiting) = (number(row, "tokens"), number(row, "waiting"));
            (number(row, "epoch"), state, tokens, waiting, number(row, "unearned_msat"))
        });
        rows.collect()
    }

    async fn rotate(&self) -> u64 {
        let begun = self.app.change(EPOCHS, &self.admin, json!({})).await;
        assert_eq!(begun.status(), StatusCode::CREATED);
        begun.json::<Value>().await.expect("JSON")["epoch"].as_u64().expect("a number")
    }

    /// The epochs that a restart would find.
    fn on_disk(&self) -> Vec<u32> {
        let dir = self.app.dir.path().join("secrets");
        let secrets = Secrets::load_or_create(&dir, bitcoin::Network::Regtest, &*SystemEntropy::new());
        let epochs = secrets.expect("secrets").epochs().expect("epochs");
        epochs.ring().keys().epochs().collect()
    }
}

fn row(epoch: u64, state: &str, tokens: u64, waiting: u64, unearned: u64) -> (u64, String, u64, u64, u64) {
    (epoch, state.to_owned(), tokens, waiting, unearned)
}

#[tokio::test]
async fn a_new_epoch_mints_and_the_old_ones_tokens_stay_good_until_it_is_retired() {
    let shop = Shop::open().await;
    assert_eq!(shop.epochs().await, [row(1, "mints", 0, 0, 0)]);
    let (presented, hash) = shop.buy().await;
    let (waiting, _) = shop.buy().await;
    let (revoked, taken) = shop.buy().await;
    shop.app.ledger.revoke(taken).await.expect("revoked");
    assert!(shop.opens(&presented).await);
    assert_eq!(shop.epochs().await, [row(1, "mints", 1, 1, 20_000)]);

    assert_eq!(shop.rotate().await, 2);
    assert_eq!(shop.on_disk(), [1, 2]);
    let (fresh, _) = shop.buy().await;
    assert!(shop.opens(&fresh).await && shop.opens(&presented).await);
    assert_eq!(
        shop.epochs().await,
        [row(2, "mints", 1, 0, 10_000), row(1, "verifies", 1, 1, 20_000)],
        "the newest first"
    );

    // Nobody retires blindly, and nobody the epoch that mints.
    let old = format!("{EPOCHS}/1");
    let blind = shop.app.delete(&old, &shop.admin).await;
    let told: Value = blind.json().await.expect("JSON");
    assert_eq!(told["code"], "confirm_unearned");
    assert!(told["detail"].as_str().is_some_and(|text| text.contains("20 sat")), "{told}");
    for (path, status, code) in [
        (format!("{old}?unearned_msat=19999"), StatusCode::CONFLICT, "confirm_unearned"),
        (format!("{EPOCHS}/2?unearned_msat=10000"), StatusCode::CONFLICT, "epoch_mints"),
        (format!("{EPOCHS}/3?unearned_msat=0"), StatusCode::NOT_FOUND, "unknown_epoch"),
    ] {
        assert_eq!(problem(shop.app.delete(&path, &shop.admin).await).await, (status, code.to_owned()));
    }
    assert_eq!(shop.on_disk(), [1, 2]);
    assert!(shop.opens(&presented).await);

    ok(shop.app.delete(&format!("{old}?unearned_msat=20000"), &shop.admin).await).await;
    assert_eq!(shop.on_disk(), [2]);
    for dead in [&presented, &waiting, &revoked] {
        assert!(!shop.opens(dead).await);
    }
    assert!(shop.opens(&fresh).await);
    let units = shop.app.ledger.grant(hash).await.expect("read").expect("a grant").grant;
    assert_eq!((units.left, units.held, units.spent), (1, 0, 0), "nothing was debited");
    assert_eq!(shop.epochs().await, [row(2, "mints", 1, 0, 10_000), row(1, "retired", 1, 1, 20_000)]);
    assert_eq!(shop.rotate().await, 3, "a number never comes back");
    shop.app.ledger.barrier().await;
    assert!(shop.app.ledger.audit().await.expect("an audit").ok);

    // Begun and ended, with what it took.
    let events = format!("{:?}", shop.app.ledger.events_after(0, 100).await.expect("events"));
    assert!(events.contains("EpochRetired { epoch: 1, tokens: 2, unearned_msat: 20000 }"), "{events}");
    assert!(events.contains("EpochBegun { epoch: 2 }"));
}

#[tokio::test]
async fn only_an_admin_changes_keys_and_a_file_that_somebody_changed_is_left_alone() {
    let shop = Shop::open().await;
    let read = shop.app.key(&[Scope::Read]).await;
    ok(shop.app.read(EPOCHS, &read).await).await;
    let denied = (StatusCode::FORBIDDEN, "missing_scope".to_owned());
    assert_eq!(problem(shop.app.change(EPOCHS, &read, json!({})).await).await, denied);
    assert_eq!(problem(shop.app.delete(&format!("{EPOCHS}/1"), &read).await).await, denied);

    let file = shop.app.dir.path().join("secrets").join("keys");
    let mine = std::fs::read(&file).expect("keys");
    let other = format!("1 {}\n", "77".repeat(32));
    std::fs::write(&file, &other).expect("written");
    let refused = problem(shop.app.change(EPOCHS, &shop.admin, json!({})).await).await;
    assert_eq!(refused, (StatusCode::INTERNAL_SERVER_ERROR, "keys_not_changed".to_owned()));
    assert_eq!(std::fs::read_to_string(&file).expect("keys"), other);
    std::fs::write(&file, mine).expect("written");
    assert_eq!(shop.rotate().await, 2);
}

#[tokio::test]
async fn the_command_line_shows_what_retiring_takes_before_it_does() {
    let shop = Shop::open().await;
    let (paid, _) = shop.buy().await;
    assert!(shop.opens(&paid).await);
    let said = async |args: &[&str]| -> (i32, String, String) {
        let home: &Path = shop.app.dir.path();
        let mut command = tollhouse(home, args);
        command.env("TOLLHOUSE_ADMIN_URL", &shop.app.origin).env("TOLLHOUSE_ADMIN_KEY", &shop.admin);
        let done = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic");
        let done = done.expect("the program runs");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        (done.status.code().expect("it ended"), text(done.stdout), text(done.stderr))
    };
    let (exit, out, err) = said(&["tokens", "rotate"]).await;
    assert!(exit == 0 && out.starts_with("Epoch 2 mints from now on"), "{out}{err}");
    let (_, out, _) = said(&["tokens", "epochs"]).await;
    assert!(out.lines().any(|line| line.contains("verifies") && line.contains("10 sat")), "{out}");
    let (exit, out, err) = said(&["tokens", "retire", "1"]).await;
    assert_eq!((exit, out.as_str()), (1, ""));
    assert!(err.contains("10 sat of what was paid is not used up") && err.contains("--yes"), "{err}");
    assert!(shop.opens(&paid).await);
    let (exit, out, err) = said(&["tokens", "retire", "1", "--yes"]).await;
    assert!(exit == 0 && out.contains("Epoch 1 is retired"), "{out}{err}");
    assert!(!shop.opens(&paid).await);
    let (exit, out, _) = said(&["tokens", "retire", "1", "--yes", "--json"]).await;
    assert!(exit == 1 && out.contains("\"unknown_epoch\""), "{out}");
    assert_eq!(said(&["tokens", "retire", "2", "--yes"]).await.0, 1, "it mints");
}
