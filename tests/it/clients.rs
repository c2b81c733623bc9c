//! Clients that nobody here wrote, as their registries have them, each buying from a shop on regtest with
//! a payment over real Lightning: unpaid, paid through the payer's wallet, served; and once more.
//!
//! What is known of each: `l402-requests` reads the preimage that LND's REST interface has in hexadecimal
//! as base64, so that it sends 96 digits (`Preimage::presented` reads them back); `bolthub` takes the stream
//! of `/v2/router/send` for one JSON object; `l402sdk` keeps a token for its address, and pays anew when it
//! is spent; `@getalby/lightning-tools` and `mppx` take a wallet as an object, which tests/clients/wallet.mjs
//! is; the former's `fetchWithMpp` wants the `Payment` scheme's line to be the first; `mppx` has no Lightning
//! method of its own, and its client does not load without `viem`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use serde_json::{Value, json};
use tollhouse::clock::SystemEntropy;
use tollhouse::sandbox::world::{World, WorldAsk};
use tollhouse::store::WalletLimits;
use tollhouse::types::Msat;
use tollhouse::web::keys;

use crate::appliance::TURN;
use crate::bitcoind::client;

/// What one purchase costs.
const PRICE_MSAT: u64 = 5_000;

/// The folder that scripts/clients fills; it does nothing when that was done.
pub(crate) fn installed() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/clients");
        let done = Command::new(script).stderr(Stdio::inherit()).output().expect("scripts/clients runs");
        assert!(done.status.success(), "scripts/clients could not install what this test needs");
        PathBuf::from(String::from_utf8(done.stdout).expect("a path").trim())
    })
}

/// The Python that `python3` means here: what stands on the PATH may be a script that chooses one.
pub(crate) fn python() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let asked = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output();
        let asked = asked.expect("this test needs a Python 3");
        PathBuf::from(String::from_utf8(asked.stdout).expect("a path").trim())
    })
}

/// The Node.js that scripts/node found, else the one on the PATH.
fn node() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| std::env::var_os("NODE_EXE").map_or_else(|| "node".into(), PathBuf::from))
}

/// A world with a shop and a payer, and a home for the clients.
struct Market {
    world: World,
    home: tempfile::TempDir,
}

impl Market {
    async fn open() -> Market {
        let home = tempfile::tempdir().expect("a folder");
        let any = async || tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let dir = home.path().join("world");
        let ask = WorldAsk { dir: &dir, gateway: any().await, admin: any().await, progress: &|_| {} };
        let world = World::start(ask).await.expect("a world");
        // Node looks for packages beside the script.
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
        for entry in std::fs::read_dir(scripts).expect("the scripts").map(|entry| entry.expect("an entry")) {
            std::fs::copy(entry.path(), home.path().join(entry.file_name())).expect("copied");
        }
        let packages = installed().join("node_modules");
        std::os::unix::fs::symlink(packages, home.path().join("node_modules")).expect("linked");
        Market { world, home }
    }

    fn url(&self) -> String {
        format!("{}/v1/exchange-rates?base=USD&quote=EUR", self.world.shop.gateway_url())
    }

    /// Runs a client's script with the wallet of this key, and nothing else of this machine's environment.
    async fn run(&self, script: &str, macaroon: &str, dialect: &str) -> Output {
        let program = if script.ends_with(".py") { python() } else { node() };
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").expect("a PATH"))
            .env("HOME", self.home.path());
        command
            .env("PYTHONPATH", installed().join("python"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("URL", self.url())
            .env("DIALECT", dialect)
            .env("LND_REST_HOST", self.world.payer.admin_url())
            .env("LND_MACAROON_HEX", macaroon)
            .arg(self.home.path().join(script))
            .current_dir(self.home.path())
            .stdin(Stdio::null());
        let running = tokio::task::spawn_blocking(move || command.output());
        running.await.expect("not cancelled").unwrap_or_else(|error| panic!("{}: {error}", program.display()))
    }

    /// Has the shop speak these dialects alone.
    async fn speaks(&self, dialects: &[&str]) {
        let shop = &self.world.shop;
        let key = std::fs::read_to_string(shop.admin_key_file()).expect("a key");
        let url = format!("{}/api/v1/services/sample", shop.admin_url());
        let asked = client().get(&url).bearer_auth(key.trim()).send().await.expect("an answer");
        let mut spec = asked.json::<Value>().await.expect("JSON")["spec"].take();
        spec["dialects"] = json!(dialects);
        let put = client().put(&url).bearer_auth(key.trim()).header("content-type", "application/json");
        let put = put.body(spec.to_string()).send().await.expect("an answer");
        assert_eq!(put.status(), 200, "{:?}", put.text().await);
    }

    /// What the shop earned, and what the payer's lent wallet has spent today.
    async fn sums(&self) -> (u64, u64) {
        let ledger = self.world.shop.ledger();
        ledger.barrier().await;
        let audit = ledger.audit().await.expect("the books can be read");
        assert!(audit.ok, "{audit:?}");
        let key = std::fs::read_to_string(self.world.payer.admin_key_file()).expect("a key");
        let keys =
            client().get(format!("{}/api/v1/keys", self.world.payer.admin_url())).bearer_auth(key.trim());
        let keys: Value = keys.send().await.expect("an answer").json().await.expect("JSON");
        let rows = keys["keys"].as_array().expect("rows");
        let lent = rows.iter().find(|row| row["label"] == "demo wallet").expect("the world has a wallet");
        let earned = ledger.totals().await.expect("read").earned_msat;
        (
            u64::try_from(earned).expect("not below zero"),
            lent["wallet"]["spent_today_msat"].as_u64().expect("a number"),
        )
    }

    /// Has a client buy twice, and gives what it says.
    async fn buys(&self, script: &str, dialect: &str) -> Value {
        let (earned, spent) = self.sums().await;
        let done = self.run(script, &self.world.wallet_macaroon, dialect).await;
        let [out, err] = [&done.stdout, &done.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
        assert!(done.status.success(), "{script} {dialect}: {out}{err}");
        let said: Value =
            serde_json::from_str(out.trim()).unwrap_or_else(|error| panic!("{error}: {out}{err}"));
        for run in 0..2 {
            let run = &said["runs"][run];
            assert_eq!(run["status"], 200, "{script} {dialect}: {said}");
            assert!(run["body"]["rates"]["EUR"].is_string(), "{script} {dialect}: {said}");
        }
        let after = self.sums().await;
        let two = 2 * PRICE_MSAT;
        assert_eq!(
            after,
            (earned + two, spent + two),
            "{script} {dialect}: two purchases, two payments: {said}"
        );
        said
    }

    async fn mppx_buys(&self) {
        let said = self.buys("mppx_pays.mjs", "").await;
        let receipts = [0, 1].map(|run| said["runs"][run]["receipt"].clone());
        for receipt in &receipts {
            let told = (&receipt["method"], &receipt["status"]);
            assert_eq!(told, (&json!("lightning"), &json!("success")), "{said}");
        }
        assert_ne!(receipts[0]["reference"], receipts[1]["reference"], "each names its own payment: {said}");
    }
}

/// Of lightning-tools' second purchase: whether it was paid, for how many satoshi, and whether the shop
/// gave a receipt.
fn bought(said: &Value) -> (bool, u64, bool) {
    let run = &said["runs"][1];
    (run["paid"] == true, run["amountSat"].as_u64().unwrap_or(0), run["receipt"].is_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_client_pays_and_is_served() {
    let _turn = TURN.lock().await;
    let market = Market::open().await;

    let said = market.buys("l402_requests_pays.py", "").await;
    assert_eq!((&said["version"], &said["paid"]), (&json!("0.9.0"), &json!([5, 5])), "{said}");

    let said = market.buys("bolthub_pays.py", "").await;
    assert_eq!((&said["version"], &said["spent"]), (&json!("0.7.0"), &json!(10)), "{said}");

    let said = market.buys("l402sdk_pays.py", "").await;
    assert_eq!((&said["version"], &said["spent"]), (&json!("0.1.0"), &json!(10)), "{said}");
    assert_eq!(said["receipts"], json!([[5, 0], [5, 0]]), "{said}");
    // A day's 100,000 sat, less what the three spent.
    assert_eq!(said["balance"], 99_970, "{said}");
    assert_eq!(said["info"][0], market.world.payer.node().node_id(), "{said}");

    for dialect in ["l402", "any"] {
        let said = market.buys("lightning_tools_pays.mjs", dialect).await;
        assert_eq!(bought(&said), (true, 5, false), "{said}");
    }
    market.mppx_buys().await;

    market.speaks(&["payment"]).await;
    market.mppx_buys().await;
    for dialect in ["mpp", "any"] {
        let said = market.buys("lightning_tools_pays.mjs", dialect).await;
        assert_eq!(bought(&said), (true, 5, true), "{said}");
    }
    let said = market.buys("l402_requests_pays.py", "").await;
    assert_eq!(said["paid"], json!([5, 5]), "{said}");

    market.speaks(&["lsat"]).await;
    for script in ["l402_requests_pays.py", "bolthub_pays.py", "l402sdk_pays.py", "lightning_tools_pays.mjs"]
    {
        market.buys(script, "l402").await;
    }
    market.speaks(&["l402", "payment"]).await;

    // A wallet that may not pay so much keeps its client from paying, and the shop sells nothing.
    let ledger = market.world.payer.ledger();
    let limits =
        WalletLimits { per_day: Msat::from_sat(100).unwrap(), per_payment: Msat::from_sat(4).unwrap() };
    let small =
        keys::create_wallet(ledger, SystemEntropy::new().as_ref(), "small", limits).await.expect("stored");
    let before = market.sums().await;
    for (script, told) in [
        ("l402_requests_pays.py", "over_payment_limit"),
        ("bolthub_pays.py", "403"),
        ("l402sdk_pays.py", "over_payment_limit"),
        ("lightning_tools_pays.mjs", "may cost 4 sat at most"),
        ("mppx_pays.mjs", "may cost 4 sat at most"),
    ] {
        let done = market.run(script, &small.key.as_macaroon(), "l402").await;
        let err = String::from_utf8_lossy(&done.stderr);
        assert!(!done.status.success() && err.contains(told), "{script}: {err}");
    }
    assert_eq!(market.sums().await, before);
    market.world.stop().await;
}
