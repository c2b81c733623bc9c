//! Nothing secret where it does not belong (THREATS 17, 22): known secrets go through every flow, and then the
//! disk, the log at its loudest, the command line and the environment are searched for them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tollhouse::clock::SystemEntropy;
use tollhouse::sandbox::buyer::Wanted;
use tollhouse::secrets::{Opener, Passphrase, Secrets};

use crate::appliance::{Appliance, TURN, bitcoind_section};
use crate::bitcoind::{Bitcoind, client};
use crate::e2e_run::{Upstream, fund, open_channel};
use crate::locked::{passphrase_file, run};

const WORDS: &str = "legal winner thank year wave sausage worth useful legal winner thank yellow";
const ENTROPY: [u8; 16] = [0x7f; 16];
const FIRST: &str = "canary passphrase the first";
const SECOND: &str = "canary passphrase the second";
const WRONG: &str = "canary passphrase that is wrong";
const PASSWORD: &str = "canary password of the page";

/// Secrets by their names.
#[derive(Default)]
struct Canaries(BTreeMap<String, Vec<Vec<u8>>>);

impl Canaries {
    /// Text, as it is and encoded.
    fn text(&mut self, name: &str, text: &str) {
        self.bytes(name, text.as_bytes());
    }

    /// Bytes, as they are, in hexadecimal and in base64.
    fn bytes(&mut self, name: &str, bytes: &[u8]) {
        let hex = hex::encode(bytes);
        let forms = [
            bytes.to_vec(),
            hex.to_uppercase().into_bytes(),
            hex.into_bytes(),
            BASE64_STANDARD_NO_PAD.encode(bytes).into_bytes(),
            BASE64_URL_SAFE_NO_PAD.encode(bytes).into_bytes(),
        ];
        self.0.entry(name.to_owned()).or_default().extend(forms);
    }

    /// The names of those that `text` says.
    fn said_in(&self, text: &[u8]) -> Vec<&str> {
        let said = |form: &Vec<u8>| memchr(text, form);
        self.0.iter().filter(|(_, forms)| forms.iter().any(said)).map(|(name, _)| name.as_str()).collect()
    }
}

/// Whether `text` holds `part`.
fn memchr(text: &[u8], part: &[u8]) -> bool {
    let (first, length) = (part[0], part.len());
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| *byte == first) {
        if rest[at..].len() >= length && &rest[at..at + length] == part {
            return true;
        }
        rest = &rest[at + 1..];
    }
    false
}

/// Every file below `dir`.
fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

/// What the kernel shows of a process to others.
fn shown(process: u32) -> Vec<u8> {
    let read = |name: &str| fs::read(format!("/proc/{process}/{name}")).unwrap_or_default();
    [read("cmdline"), read("environ")].concat()
}

fn loud(shop: &Appliance, more: &[&str]) -> std::process::Command {
    let mut command = shop.command(more);
    command.env("TOLLHOUSE_LOG", "trace").env("RUST_BACKTRACE", "full");
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_secret_is_on_disk_in_plain_or_in_any_log() {
    let _turn = TURN.lock().await;
    let (bitcoind, upstream) = (Bitcoind::start().await, Upstream::start().await);
    bitcoind.mine(101).await;
    let chain = bitcoind_section(bitcoind.port());
    let mut shop = Appliance::written(&chain, &upstream.service());
    let mut payer = Appliance::written(&chain, "");
    payer.start_as(loud(&payer, &[]));
    let file = |name: &str, text: &str| passphrase_file(shop.home(), name, text).display().to_string();
    let (first, second, wrong) = (file("first", FIRST), file("second", SECOND), file("wrong", WRONG));
    let paper = file("paper", WORDS);
    let mut said = String::new();
    let mut command = async |shop: &Appliance, args: &[&str], wanted: i32| {
        let (code, out, err) = run(shop, args).await;
        assert_eq!(code, wanted, "{args:?}: {out}{err}");
        said.push_str(&format!("{out}{err}\n"));
    };
    command(&shop, &["seed", "restore", "--words-file", &paper, "--passphrase-file", &first], 0).await;

    // Locked, and unlocked on the second try.
    shop.start_as(loud(&shop, &[]));
    shop.process().says("locked").await;
    command(&shop, &["unlock", "--passphrase-file", &wrong], 1).await;
    let body = format!("{{\"passphrase\": \"{FIRST}\", \"nonsense\": \"{WRONG}\"}}");
    let unlock = format!("{}/api/v1/unlock", shop.admin);
    let garbled =
        client().post(&unlock).header("origin", &shop.admin).header("content-type", "application/json");
    assert_eq!(garbled.body(body).send().await.expect("an answer").status().as_u16(), 400);
    command(&shop, &["unlock", "--passphrase-file", &first], 0).await;

    // The operator claims the page, fails to log in, logs in, and makes keys and a webhook.
    let claim = shop.process().says("claim it").await;
    let link = claim.split_whitespace().find(|word| word.starts_with("http")).expect("a link").to_owned();
    let token = link.rsplit('=').next().expect("a token").to_owned();
    let stays =
        reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().expect("a client");
    let form = async |path: &str, fields: &[(&str, &str)]| {
        let request = stays.post(format!("{}{path}", shop.admin)).header("origin", &shop.admin);
        request.form(fields).send().await.expect("an answer")
    };
    let claimed = form("/claim", &[("token", &token), ("password", PASSWORD), ("again", PASSWORD)]).await;
    let cookie = |answer: &reqwest::Response| {
        let line = answer.headers()["set-cookie"].to_str().expect("text");
        line.split(['=', ';']).nth(1).expect("a value").to_owned()
    };
    let mut canaries = Canaries::default();
    canaries.text("session", &cookie(&claimed));
    form("/login", &[("password", WRONG)]).await;
    canaries.text("session", &cookie(&form("/login", &[("password", PASSWORD)]).await));
    let key = shop.post("/api/v1/keys", json!({ "label": "canary", "scopes": ["read"] })).await;
    canaries.text("API key", key["key"].as_str().expect("a key"));
    let wallet = json!({ "label": "wallet", "scopes": ["wallet"], "per_day_msat": 1_000_000 });
    let wallet = shop.post("/api/v1/keys", wallet).await["key"].as_str().expect("a key").to_owned();
    canaries.text("wallet key", &wallet);
    let balance = client().get(format!("{}/v1/balance/channels", shop.admin));
    balance.header("grpc-metadata-macaroon", hex::encode(&wallet)).send().await.expect("an answer");
    let hook = json!({ "url": shop.gateway, "label": "canary", "allow_private": true });
    canaries.text(
        "webhook secret",
        shop.post("/api/v1/webhooks", hook).await["secret"].as_str().expect("a secret"),
    );
    canaries.text("admin key", &shop.key().expect("a key"));

    // A customer buys, and comes back with a token that is spent and one that is broken.
    shop.up().await;
    payer.up().await;
    fund(&bitcoind, &shop, &payer).await;
    open_channel(&bitcoind, &shop, &payer).await;
    let customer = payer.customer();
    let wanted = Wanted { url: format!("{}/v1/rates", shop.gateway), body: None };
    let unpaid = customer.ask(&wanted, None).await.expect("an answer");
    let credential = customer.pay(&unpaid.challenge().expect("a challenge")).await.expect("it is paid");
    let (macaroon, preimage) =
        credential.trim_start_matches("L402 ").split_once(':').expect("macaroon and preimage");
    canaries.0.entry("macaroon".to_owned()).or_default().push(macaroon.trim_end_matches('=').into());
    canaries.bytes("preimage", &hex::decode(preimage).expect("hexadecimal"));
    for status in [200, 402] {
        assert_eq!(customer.ask(&wanted, Some(&credential)).await.expect("an answer").status, status);
    }
    let broken = format!("{credential}00");
    customer.ask(&wanted, Some(&broken)).await.expect("an answer");

    // What opens the seed changes, and the process dies.
    let again = shop.refused("/api/v1/seed/words", json!({ "again": true, "passphrase": FIRST })).await;
    assert_eq!(again, (409, "words_verified".to_owned()), "they were typed in");
    let asked = shop.post("/api/v1/seed/questions", json!({})).await;
    assert_eq!(asked["numbers"].as_array().map(Vec::len), Some(3));
    assert_eq!(shop.refused("/api/v1/seed/verify", json!({ "words": ["zoo", "zoo", "zoo"] })).await.0, 403);
    let change = ["seed", "passphrase", "--new-passphrase-file", &second, "--passphrase-file", &first];
    command(&shop, &change, 0).await;
    command(&shop, &["tokens", "rotate"], 0).await;
    canaries.text("seed words", WORDS);
    canaries.text("seed words", "legal winner thank");
    canaries.text("seed words", "\"legal\",\"winner\"");
    canaries.bytes("entropy", &ENTROPY);
    for passphrase in [FIRST, SECOND, WRONG] {
        canaries.text("passphrase", passphrase);
    }
    canaries.text("password", PASSWORD);
    assert_eq!(canaries.said_in(&shown(shop.process().id())), [""; 0], "in the open of the kernel");
    let mut logs = shop.kill().await;
    shop.start_as(loud(&shop, &["--passphrase-file", &second]));
    shop.up().await;
    assert_eq!(canaries.said_in(&shown(shop.process().id())), [""; 0], "in the open of the kernel");
    let audit: Value = shop.get("/api/v1/audit").await;
    assert_eq!(audit["ok"], true, "{audit}");
    logs.push_str(&shop.stopped().await);
    logs.push_str(&payer.stopped().await);

    // What only the opened files say.
    let dir = shop.data_dir().join("regtest");
    let opener = Opener::Passphrase(Passphrase::new(SECOND));
    let opened = Secrets::open_or_create(&dir, bitcoin::Network::Regtest, &opener, &*SystemEntropy::new());
    let secrets = opened.expect("the new passphrase opens it");
    assert_eq!(secrets.words(), WORDS);
    canaries.bytes("seed", secrets.seed());
    let masters = secrets.epochs().expect("epochs").written();
    for line in masters.lines() {
        let key = line.split(' ').nth(1).expect("a key");
        canaries.bytes("master key", &hex::decode(key).expect("hexadecimal"));
    }
    assert_eq!(masters.lines().count(), 2);

    // The claim's link is printed for the operator; everything else was loud, and told nothing.
    assert!(logs.contains("TRACE") && logs.len() > 20_000, "the log is loud: {} bytes", logs.len());
    assert_eq!(canaries.said_in(logs.as_bytes()), [""; 0], "in a log");
    assert_eq!(canaries.said_in(said.as_bytes()), [""; 0], "in what commands print");
    let kept = ["seed words", "entropy", "seed", "master key", "passphrase", "password"];
    canaries.0.retain(|name, _| kept.contains(&name.as_str()));
    let mut found = Vec::new();
    files(&shop.data_dir(), &mut found);
    assert!(found.len() >= 6, "{found:?}");
    for path in found {
        let bytes = fs::read(&path).expect("a file");
        assert_eq!(canaries.said_in(&bytes), [""; 0], "in {}", path.display());
    }
    assert_eq!(canaries.said_in(fs::read(&paper).expect("the paper").as_slice()), ["seed words"], "it finds");
}
