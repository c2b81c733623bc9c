//! Nothing secret where it does not belong (THREATS 17, 22): known secrets go through every flow, and then the
//! disk, the log at its loudest, the command line and the environment are searched for them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use serde_json::Value;
use tempfile::TempDir;
use tollhouse::clock::SystemEntropy;
use tollhouse::secrets::{Opener, Passphrase, Secrets};

use crate::appliance::{Appliance, TURN, bitcoind_section};
use crate::bitcoind::Bitcoind;
use crate::e2e_run::Upstream;
use crate::locked::{passphrase_file, run};

mod flows;
mod house;

const WORDS: &str = "legal winner thank year wave sausage worth useful legal winner thank yellow";
const ENTROPY: [u8; 16] = [0x7f; 16];
const FIRST: &str = "canary passphrase the first";
const SECOND: &str = "canary passphrase the second";
const WRONG: &str = "canary passphrase that is wrong";
const PASSWORD: &str = "canary password of the page";

/// Secrets by their names.
#[derive(Default)]
struct Canaries(BTreeMap<String, Vec<String>>);

impl Canaries {
    /// Text, as it is and encoded.
    fn text(&mut self, name: &str, text: &str) {
        self.bytes(name, text.as_bytes());
    }

    /// Bytes, as they are, in hexadecimal and in base64.
    fn bytes(&mut self, name: &str, bytes: &[u8]) {
        let hex = hex::encode(bytes);
        let forms = [
            letters(bytes),
            hex.to_uppercase(),
            hex,
            BASE64_STANDARD_NO_PAD.encode(bytes),
            BASE64_URL_SAFE_NO_PAD.encode(bytes),
        ];
        self.0.entry(name.to_owned()).or_default().extend(forms);
    }

    /// What a buyer shows, `L402 macaroon:preimage`, and whether it was sold or given.
    fn credential(&mut self, how: &str, credential: &str) {
        let parts = credential.trim_start_matches("L402 ").split_once(':');
        let (macaroon, preimage) = parts.expect("macaroon and preimage");
        let macaroon = macaroon.trim_end_matches('=').to_owned();
        self.0.entry(format!("{how} macaroon")).or_default().push(macaroon);
        self.bytes(&format!("{how} preimage"), &hex::decode(preimage).expect("hexadecimal"));
    }

    /// The names of those that `text` says.
    fn said_in(&self, text: &[u8]) -> Vec<&str> {
        let text = letters(text);
        let said = |form: &String| text.contains(form.as_str());
        self.0.iter().filter(|(_, forms)| forms.iter().any(said)).map(|(name, _)| name.as_str()).collect()
    }
}

/// A letter for each byte: the standard library looks for text fast, also in a test that is not optimised.
fn letters(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
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

/// `command` with the log at its loudest.
fn loud(mut command: Command) -> Command {
    command.env("TOLLHOUSE_LOG", "trace").env("RUST_BACKTRACE", "full");
    command
}

/// Two appliances whose logs are loud, and the secrets that went into them.
struct Stage {
    bitcoind: Bitcoind,
    upstream: Upstream,
    shop: Appliance,
    payer: Appliance,
    canaries: Canaries,
    /// What commands printed.
    said: String,
    backups: TempDir,
    away: TempDir,
}

impl Stage {
    async fn start() -> Stage {
        let (bitcoind, upstream) = (Bitcoind::start().await, Upstream::start().await);
        bitcoind.mine(101).await;
        let folder = || TempDir::new().expect("a folder");
        let (backups, away) = (folder(), folder());
        let chain = bitcoind_section(bitcoind.port());
        let more = format!(
            "[backup]\ndir = \"{}\"\nevery = \"30d\"\n{}",
            backups.path().display(),
            upstream.service()
        );
        let (shop, mut payer) = (Appliance::written(&chain, &more), Appliance::written(&chain, ""));
        payer.start_as(loud(payer.command(&[])));
        let (canaries, said) = (Canaries::default(), String::new());
        Stage { bitcoind, upstream, shop, payer, canaries, said, backups, away }
    }

    /// A file that holds a secret.
    fn file(&self, name: &str, text: &str) -> String {
        passphrase_file(self.shop.home(), name, text).display().to_string()
    }

    /// Runs a command on the shop's configuration; gives its stdout.
    async fn command(&mut self, args: &[&str], wanted: i32) -> String {
        let (code, out, err) = run(&self.shop, args).await;
        assert_eq!(code, wanted, "{args:?}: {out}{err}");
        self.said.push_str(&format!("{out}{err}\n"));
        out
    }

    fn shop_is_closed(&mut self) {
        let shown = shown(self.shop.process().id());
        assert_eq!(self.canaries.said_in(&shown), [""; 0], "in the open of the kernel");
        // What it has in memory is not written down when it dies.
        let limits = fs::read_to_string(format!("/proc/{}/limits", self.shop.process().id()));
        let limits = limits.expect("the kernel tells them");
        let core = limits.lines().find_map(|line| line.strip_prefix("Max core file size"));
        let core: Vec<&str> = core.expect("a limit").split_whitespace().take(2).collect();
        assert_eq!(core, ["0", "0"], "{limits}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_secret_is_on_disk_in_plain_or_in_any_log() {
    let _turn = TURN.lock().await;
    let mut stage = Stage::start().await;
    let [first, second] = [("first", FIRST), ("second", SECOND)].map(|(name, text)| stage.file(name, text));
    let paper = stage.file("paper", WORDS);
    stage.canaries.text("seed words", WORDS);
    stage.canaries.text("seed words", "legal winner thank");
    stage.canaries.text("seed words", "\"legal\",\"winner\"");
    stage.canaries.bytes("entropy", &ENTROPY);
    for passphrase in [FIRST, SECOND, WRONG] {
        stage.canaries.text("passphrase", passphrase);
    }
    stage.canaries.text("password", PASSWORD);

    stage.command(&["seed", "restore", "--words-file", &paper, "--passphrase-file", &first], 0).await;
    stage.unlocks(&first).await;
    let session = stage.operates().await;
    stage.sells().await;
    stage.moves_coins().await;
    stage.delivers().await;
    stage.fills_forms(&session).await;
    stage.turns_every_page(&session).await;
    let backup = stage.backs_up().await;

    // What opens the seed changes, and the process dies. What LDK makes of its channels then is not looked at here.
    stage.proves_the_words().await;
    let change = ["seed", "passphrase", "--new-passphrase-file", &second, "--passphrase-file", &first];
    stage.command(&change, 0).await;
    stage.command(&["tokens", "rotate"], 0).await;
    stage.shop_is_closed();
    let mut logs = stage.shop.kill().await;
    stage.shop.start_as(loud(stage.shop.command(&["--passphrase-file", &second])));
    stage.shop.process().says("node      ").await;
    stage.shop.process().says("node      ").await;
    stage.shop_is_closed();
    let audit: Value = stage.shop.get("/api/v1/audit").await;
    assert_eq!(audit["ok"], true, "{audit}");
    logs.push_str(&stage.shop.stopped().await);

    // Yesterday's ledger is brought back, and then the coins, from the recovery snapshot.
    stage.restores(&backup, &second).await;
    logs.push_str(&stage.recovers(&second).await);
    logs.push_str(&stage.payer.stopped().await);

    // What only the opened files say.
    let dir = stage.shop.data_dir().join("regtest");
    let opener = Opener::Passphrase(Passphrase::new(SECOND));
    let opened = Secrets::open_or_create(&dir, bitcoin::Network::Regtest, &opener, &*SystemEntropy::new());
    let secrets = opened.expect("the new passphrase opens it");
    assert_eq!(secrets.words(), WORDS);
    stage.canaries.bytes("seed", secrets.seed());
    let masters = secrets.epochs().expect("epochs").written();
    for line in masters.lines() {
        let key = line.split(' ').nth(1).expect("a key");
        stage.canaries.bytes("master key", &hex::decode(key).expect("hexadecimal"));
    }
    assert!(masters.lines().count() >= 2);

    // The claim's link is printed for the operator; everything else was loud, and told nothing.
    let Stage { mut canaries, said, shop, payer, backups, away, .. } = stage;
    assert!(logs.contains("TRACE") && logs.len() > 20_000, "the log is loud: {} bytes", logs.len());
    assert_eq!(canaries.said_in(logs.as_bytes()), [""; 0], "in a log");
    assert_eq!(canaries.said_in(said.as_bytes()), [""; 0], "in what commands print");
    // Keys and sessions are kept as hashes alone; the program's own key has a file.
    let kept = [
        "seed words",
        "entropy",
        "seed",
        "master key",
        "passphrase",
        "password",
        "API key",
        "wallet key",
        "session",
        "page key",
        "given macaroon",
        "given preimage",
        "page webhook secret",
    ];
    canaries.0.retain(|name, _| kept.contains(&name.as_str()));
    assert_eq!(canaries.0.len(), kept.len(), "each was seen: {:?}", canaries.0.keys());
    let mut found = Vec::new();
    files(&shop.data_dir(), &mut found);
    let kinds = found.len();
    // What a purchase left of itself is gone when it is done; whatever else were there is looked at.
    assert!(away.path().join(".local/state/tollhouse").is_dir(), "fetch kept its purchase there");
    files(away.path(), &mut found);
    for beside in [backups.path(), &payer.data_dir()] {
        let before = found.len();
        files(beside, &mut found);
        assert!(found.len() > before, "nothing in {}", beside.display());
    }
    assert!(kinds >= 6, "{found:?}");
    assert!(found.iter().any(|path| path.ends_with("channels.snapshot")), "{found:?}");
    for path in found {
        let bytes = fs::read(&path).expect("a file");
        let mut said = canaries.said_in(&bytes);
        // Messages are signed with it, so the ledger has it, and nothing else.
        let ledger = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("ledger.db"));
        said.retain(|name| !(ledger && *name == "page webhook secret"));
        assert_eq!(said, [""; 0], "in {}", path.display());
    }
    assert_eq!(canaries.said_in(fs::read(&paper).expect("the paper").as_slice()), ["seed words"], "it finds");
}
