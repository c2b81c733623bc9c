//! Copies of the ledger and what follows a restore, through the admin API and through the program itself.

use std::path::{Path, PathBuf};
use std::process::Output;

use axum::Router;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tollhouse::web::keys::Scope;

use crate::admin_app::{AdminApp, ok, problem};
use crate::appliance::{Appliance, TURN, bitcoind_section, tollhouse};
use crate::bitcoind::{client, free_port};

const BACKUPS: &str = "/api/v1/backups";

#[tokio::test]
async fn the_api_makes_lists_proves_and_hands_out_backups() {
    let app = AdminApp::start().await;
    let (admin, reader) = (app.key(&[Scope::Admin]).await, app.key(&[Scope::Read]).await);
    let listed = ok(app.read(BACKUPS, &reader).await).await;
    assert_eq!((&listed["backups"], &listed["keep"]), (&json!([]), &json!(14)));
    let refused = app.change(BACKUPS, &reader, json!({})).await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN, "who may read makes none");

    let made = app.change(BACKUPS, &admin, json!({})).await;
    assert_eq!(made.status(), StatusCode::CREATED);
    let made: Value = made.json().await.expect("JSON");
    let file = made["file"].as_str().expect("a name");
    assert_eq!(ok(app.read(BACKUPS, &reader).await).await["backups"], json!([made]));
    let verified = ok(app.change(&format!("{BACKUPS}/{file}/verify"), &admin, json!({})).await).await;
    assert_eq!((&verified["audit"]["ok"], &verified["manifest"]["generation"]), (&json!(true), &json!(1)));

    let fetched = app.read(&format!("{BACKUPS}/{file}"), &admin).await;
    assert_eq!(fetched.headers()["content-type"], "application/octet-stream");
    let bytes = fetched.bytes().await.expect("the file");
    assert_eq!(bytes.len(), usize::try_from(made["bytes"].as_u64().expect("a number")).expect("it fits"));
    assert!(bytes.starts_with(b"TOLLSEA1"), "it is sealed");
    let refused = app.read(&format!("{BACKUPS}/{file}"), &reader).await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    for stranger in ["ledger.db", "..%2Fledger.db", "tollhouse-regtest-020202020202-x.backup"] {
        let missing = app.read(&format!("{BACKUPS}/{stranger}"), &admin).await;
        assert_eq!(problem(missing).await, (StatusCode::NOT_FOUND, "unknown_backup".to_owned()));
    }
    let status = ok(app.read("/api/v1/status", &reader).await).await;
    assert_eq!(status["backups"]["newest"], made);
    assert_eq!(status["generation"]["why"], "first");
}

#[tokio::test]
async fn nothing_is_in_doubt_before_a_restore() {
    let app = AdminApp::start().await;
    let admin = app.key(&[Scope::Admin]).await;
    let doubtful = ok(app.read("/api/v1/tokens/doubtful", &admin).await).await;
    assert_eq!((&doubtful["below_epoch"], &doubtful["tokens"]), (&json!(0), &json!([])));
    let honour = "/api/v1/tokens/honour";
    assert_eq!(ok(app.change(honour, &admin, json!({ "all": true })).await).await["honoured"], false);
    for bad in
        [json!({}), json!({ "payment_hash": "ab".repeat(32), "all": true }), json!({ "payment_hash": "x" })]
    {
        assert_eq!(problem(app.change(honour, &admin, bad).await).await.1, "bad_body");
    }
    let released = app.change("/api/v1/payouts/release", &admin, json!({})).await;
    assert_eq!(ok(released).await["released"], false);
    let lives = ok(app.read("/api/v1/generations", &admin).await).await;
    assert_eq!(lives["current"]["generation"], 1);
}

/// An API that says yes.
async fn upstream() -> (String, DropGuard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port is free");
    let address = listener.local_addr().expect("a bound listener has an address");
    let stop = CancellationToken::new();
    let router = Router::new().fallback(async || "yes");
    let served = axum::serve(listener, router).with_graceful_shutdown(stop.clone().cancelled_owned());
    TaskTracker::new().spawn(served.into_future());
    (format!("http://{address}"), stop.drop_guard())
}

/// A shop without a chain: what was given away is used all the same.
struct Shop {
    appliance: Appliance,
    backups: PathBuf,
    _upstream: DropGuard,
}

impl Shop {
    async fn start(backups: &Path) -> Shop {
        let (url, guard) = upstream().await;
        let more = format!(
            "[backup]\ndir = \"{}\"\nevery = \"30d\"\n[[service]]\nname = \"rates\"\npath = \"/v1\"\nupstream = \"{url}\"\n\
             price = \"5 sat\"\n",
            backups.display()
        );
        let mut appliance = Appliance::start(&bitcoind_section(free_port()), &more);
        appliance.process().says("node      ").await;
        Shop { appliance, backups: backups.to_owned(), _upstream: guard }
    }

    fn cli(&self, args: &[&str]) -> Output {
        let home = self.appliance.data_dir().parent().expect("a home").to_owned();
        let config = home.join("tollhouse.toml").display().to_string();
        let args = [args, &["--config", &config, "--json"]].concat();
        tollhouse(&home, &args).output().expect("it runs")
    }

    /// What a command prints that succeeds.
    fn done(&self, args: &[&str]) -> Value {
        let output = self.cli(args);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(0), "{args:?}: {out}{err}");
        serde_json::from_str(&out).expect("JSON")
    }

    /// What a command prints that finds something.
    fn found(&self, args: &[&str]) -> String {
        String::from_utf8_lossy(&self.cli(args).stdout).into_owned()
    }

    /// The code of a refusal.
    fn refused(&self, args: &[&str]) -> String {
        let output = self.cli(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        said["code"].as_str().expect("a code").to_owned()
    }

    async fn give(&self) -> (String, String) {
        let ask = json!({ "service": "rates", "budget": "10 sat", "label": "test" });
        let given = self.appliance.post("/api/v1/tokens/grant", ask).await;
        let text = |name: &str| given[name].as_str().expect("text").to_owned();
        (text("authorization"), text("payment_hash"))
    }

    /// What the gate answers to a request with that token: the status and the problem's code.
    async fn refusal(&self, token: &str) -> (u16, String) {
        let url = format!("{}/v1/x", self.appliance.gateway);
        let answer = client().get(url).header("authorization", token).send().await.expect("the gate answers");
        let status = answer.status().as_u16();
        let said: Value = answer.json().await.expect("JSON");
        (status, said["code"].as_str().expect("a code").to_owned())
    }

    async fn use_once(&self, token: &str) -> u16 {
        let url = format!("{}/v1/x", self.appliance.gateway);
        let answer = client().get(url).header("authorization", token).send().await.expect("the gate answers");
        answer.status().as_u16()
    }

    /// What the gateway says of a token.
    async fn code(&self, token: &str) -> String {
        let url = format!("{}/.well-known/l402/token", self.appliance.gateway);
        let answer = client().get(url).header("authorization", token).send().await.expect("the gate answers");
        let said: Value = answer.json().await.expect("JSON");
        said["code"].as_str().expect("a code").to_owned()
    }

    async fn restart(&mut self) {
        self.appliance.start_again();
        self.appliance.process().says("node      ").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_by_the_program_doubts_what_the_copy_cannot_prove() {
    let _turn = TURN.lock().await;
    let folder = tempfile::tempdir().expect("a folder");
    let mut shop = Shop::start(&folder.path().join("backups")).await;
    let other = Shop::start(&folder.path().join("others")).await;
    // Two uses each: one of the first before the copy, and all of the second.
    let ((first, hash), (second, _)) = (shop.give().await, shop.give().await);
    assert_eq!(shop.use_once(&first).await, 200);
    assert_eq!((shop.use_once(&second).await, shop.use_once(&second).await), (200, 200));
    // The first start made one already: it was due.
    let made = shop.done(&["backup", "now"]);
    let name = made["file"].as_str().expect("a name").to_owned();
    let file = shop.backups.join(&name).display().to_string();
    assert_eq!(shop.done(&["backup", "list"])["backups"][0], made);
    assert_eq!(shop.done(&["backup", "verify", &name])["audit"]["ok"], true);
    assert_eq!(shop.done(&["backup", "verify", &file])["manifest"]["file"], Value::Null);
    assert_eq!(other.refused(&["backup", "verify", &file]), "bad_backup", "another seed opens it not");
    the_order_is_told(folder.path(), &file);
    let (after, late) = shop.give().await;
    assert_eq!((shop.use_once(&first).await, shop.use_once(&after).await), (200, 200));

    assert_eq!(shop.refused(&["backup", "restore", &file, "--yes"]), "running");
    shop.appliance.stop().await;
    assert_eq!(shop.refused(&["backup", "restore", &file]), "not_confirmed", "nobody is there to ask");
    // Stopped, the names that `list` prints are good, too; what is not there is named.
    assert_eq!(shop.done(&["backup", "verify", &name])["audit"]["ok"], true);
    for command in ["verify", "restore"] {
        let missing = |file: &str, places: &[&str]| {
            let said = shop.found(&["backup", command, file]);
            let named = places.iter().all(|place| said.contains(place));
            assert!(said.contains("unknown_backup") && said.contains(file) && named, "{said}");
        };
        missing("nothing.backup", &[&shop.backups.display().to_string()]);
        missing("nowhere/nothing.backup", &[]);
    }
    let output = shop.cli(&["backup", "restore", &name, "--yes"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!said.contains("orderly"), "{said}");
    let restored: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let aside = PathBuf::from(restored["set_aside"].as_str().expect("the old ledger"));
    assert!(aside.exists());
    assert_eq!(restored["keys"], "kept");
    shop.restart().await;

    let lives = shop.done(&["backup", "generations"]);
    assert_eq!((&lives["current"]["generation"], &lives["current"]["why"]), (&json!(2), &json!("restored")));
    assert_eq!(shop.code(&first).await, "restored_ledger");
    // The node is not up: nothing can be sold in its place, and its holder reads why all the same.
    assert_eq!(shop.refusal(&first).await, (503, "restored_ledger".to_owned()));
    assert_ne!(shop.code(&second).await, "restored_ledger", "the copy knows that it is used up");
    assert_eq!(shop.code(&after).await, "not_granted", "given after the copy");
    assert_eq!(shop.refusal(&after).await, (503, "not_granted".to_owned()));
    let doubtful = shop.done(&["tokens", "doubtful"]);
    let rows = doubtful["tokens"].as_array().expect("a list");
    let row = |hash: &str| rows.iter().find(|row| row["payment_hash"] == hash).expect("it came");
    assert_eq!((&row(&hash)["given_after"], &row(&late)["given_after"]), (&json!(false), &json!(true)));
    assert_eq!(rows.len(), 2);
    let doctor = shop.found(&["doctor"]);
    assert!(doctor.contains("payouts_parked") && doctor.contains("tokens_doubtful"), "{doctor}");
    assert_eq!(shop.refused(&["tokens", "honour", &late[..10], "--yes"]), "not_granted");
    let send = [
        "wallet",
        "send",
        "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080",
        "--amount-sat",
        "5000",
        "--dry-run",
    ];
    assert_eq!(shop.refused(&send), "payouts_parked");
    // What is given now is of the new epoch, and good.
    let (new, _) = shop.give().await;
    assert_eq!(shop.use_once(&new).await, 200);
    assert_eq!(shop.done(&["tokens", "honour", &hash[..8], "--yes"])["honoured"], true);
    assert_eq!(shop.use_once(&first).await, 200, "the operator said so");
    assert_eq!(shop.code(&first).await, "balance_too_small");
    assert_eq!(shop.done(&["backup", "release-payouts", "--yes"])["released"], true);
    assert_ne!(shop.refused(&send), "payouts_parked", "the node is not up, and that is all");
    assert_eq!(shop.done(&["audit"])["ok"], true);

    // An older file in its place is found out without a word.
    let said = shop.appliance.stopped().await;
    assert!(!said.contains("orderly"), "the last stop was: {said}");
    let ledger = shop.appliance.data_dir().join("regtest/ledger.db");
    std::fs::copy(&aside, &ledger).expect("copied");
    shop.restart().await;
    let life = shop.done(&["backup", "generations"])["current"].clone();
    assert_eq!(
        (&life["generation"], &life["why"], &life["payouts_parked"]),
        (&json!(3), &json!("old_copy"), &json!(true))
    );
    assert_eq!(shop.code(&new).await, "not_granted");
    shop.appliance.stop().await;
}

/// Who brings things back in another order is told the command that comes next, as it is typed.
fn the_order_is_told(folder: &Path, file: &str) {
    let (home, config) = (folder.join("there"), folder.join("there/t.toml"));
    std::fs::create_dir_all(&home).expect("a folder");
    let chain = bitcoind_section(free_port());
    std::fs::write(&config, format!("network = \"regtest\"\ndata_dir = \"data\"\n[chain]\n{chain}"))
        .expect("written");
    let config = config.display().to_string();
    let says = |args: &[&str]| {
        let output = tollhouse(&home, &[args, &["--config", &config]].concat()).output().expect("it runs");
        let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        (output.status.code(), said.concat())
    };
    let next = |verb: &str| format!("tollhouse {verb} --config {config}");
    for early in [&["backup", "restore", file, "--yes"] as &[&str], &["recover", "--yes"]] {
        let (code, said) = says(early);
        assert!(code == Some(1) && said.contains(&next("seed restore")), "{early:?}: {said}");
    }
    // A seed of a first start is in the way.
    let (code, said) = says(&["seed", "new", "--yes-print"]);
    let order = ["seed verify", "run"].map(|verb| said.find(&next(verb)));
    assert!(code == Some(0) && order.is_sorted() && order[0].is_some(), "{said}");
    let dir = home.join("data/regtest");
    let aside = format!("mv {0} {0}-unused && {1}", dir.display(), next("seed restore"));
    for late in [&["backup", "restore", file, "--yes"] as &[&str], &["seed", "restore"]] {
        let (code, said) = says(late);
        assert!(code == Some(1) && said.contains(&aside), "{late:?}: {said}");
    }
    std::fs::rename(&dir, dir.with_file_name("regtest-unused")).expect("put aside");
    let words = home.join("words");
    let twelve = format!("{}about\n", "abandon ".repeat(11));
    std::fs::write(&words, twelve).expect("written");
    let closed = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&words, closed).expect("closed");
    let (code, said) = says(&["seed", "restore", "--words-file", &words.display().to_string()]);
    let order = ["backup restore FILE", "recover --snapshot FILE", "run"].map(|verb| said.find(&next(verb)));
    assert!(code == Some(0) && order.is_sorted() && order[0].is_some(), "{said}");
}
