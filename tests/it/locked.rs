//! A seed under a passphrase, from outside: made, locked, unlocked, changed, lost and brought back. The real
//! program, its sockets and a terminal.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::appliance::{Appliance, Process, bitcoind_section, tollhouse, until};
use crate::bitcoind::{client, free_port};

const FIRST: &str = "correct horse battery staple";
const SECOND: &str = "twelve or more letters";

/// A file with a passphrase, for its owner alone.
pub(crate) fn passphrase_file(dir: &Path, name: &str, passphrase: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, format!("{passphrase}\n")).expect("written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("closed");
    path
}

/// Runs a command on the appliance's configuration; exit code, stdout, stderr.
pub(crate) async fn run(shop: &Appliance, args: &[&str]) -> (i32, String, String) {
    let mut command = tollhouse(shop.home(), args);
    command.arg("--config").arg(shop.config_file());
    let done = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic");
    let done = done.expect("the program runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (done.status.code().unwrap_or(-1), text(done.stdout), text(done.stderr))
}

/// What a terminal shows of a command, where each question gets its answer.
async fn at_a_terminal(shop: &Appliance, args: &str, talk: &[(&'static str, &str)]) -> (i32, String) {
    let program = env!("CARGO_BIN_EXE_tollhouse");
    let line = format!("{program} {args} --config {}", shop.config_file().display());
    let mut command = Command::new("script");
    command.args(["-qec", &line, "/dev/null"]).env_clear();
    command.env("HOME", shop.home()).env("PATH", "/usr/bin:/bin").env("TERM", "dumb");
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let talk: Vec<(&str, String)> = talk.iter().map(|(asks, says)| (*asks, format!("{says}\n"))).collect();
    let done = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().expect("util-linux has it");
        let (mut typing, mut screen) =
            (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        let (mut seen, mut read) = (Vec::new(), 0);
        for (asks, says) in talk {
            while !String::from_utf8_lossy(&seen[read..]).contains(asks) {
                let mut bytes = [0; 4_096];
                let more = screen.read(&mut bytes).expect("readable");
                assert!(more > 0, "it never asked {asks:?}: {}", String::from_utf8_lossy(&seen));
                seen.extend_from_slice(&bytes[..more]);
            }
            read = seen.len();
            typing.write_all(says.as_bytes()).expect("typed");
        }
        screen.read_to_end(&mut seen).expect("readable");
        (child.wait().expect("it ends"), String::from_utf8_lossy(&seen).into_owned())
    });
    let (status, seen) = done.await.expect("no panic");
    (status.code().unwrap_or(-1), seen)
}

async fn problem(answer: reqwest::Response) -> (u16, String) {
    let status = answer.status().as_u16();
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let body: Value = answer.json().await.expect("JSON");
    (status, body["code"].as_str().unwrap_or_default().to_owned())
}

fn shop() -> Appliance {
    let services = "[[service]]\nname = \"a\"\nprice = \"free\"\nupstream = \"http://127.0.0.1:1\"\n";
    Appliance::written(&bitcoind_section(free_port()), services)
}

/// Everything there is its owner's alone.
fn closed_to_others(path: &Path) {
    let found = path.symlink_metadata().expect("it is there");
    let mode = found.permissions().mode() & 0o777;
    let wanted = if found.is_dir() { 0o700 } else { 0o600 };
    assert_eq!(mode, wanted, "{}: {mode:o}", path.display());
    if found.is_dir() {
        for entry in std::fs::read_dir(path).expect("readable") {
            closed_to_others(&entry.expect("readable").path());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_appliance_sells_nothing_and_opens_with_its_passphrase_alone() {
    let mut shop = shop();
    let (right, wrong) = (
        passphrase_file(shop.home(), "right", FIRST),
        passphrase_file(shop.home(), "wrong", "wrong horse bat"),
    );
    let (right, wrong) = (right.display().to_string(), wrong.display().to_string());
    let (code, _, said) = run(&shop, &["seed", "new", "--passphrase-file", &right]).await;
    assert_eq!((code, shop.data_dir().join("regtest/seed").exists()), (1, false), "{said}");
    assert!(said.contains("stdout is no terminal"), "{said}");
    let (code, words, said) =
        run(&shop, &["seed", "new", "--passphrase-file", &right, "--yes-print", "--json"]).await;
    assert_eq!(code, 0, "{said}");
    let words: Value = serde_json::from_str(&words).expect("JSON");
    assert_eq!(words["words"].as_array().map(Vec::len), Some(24));

    shop.start_again();
    shop.process().says("locked").await;
    let http = client();
    let sold = http.get(format!("{}/anything", shop.gateway)).send().await.expect("an answer");
    assert_eq!(sold.headers()["retry-after"], "30");
    assert_eq!(problem(sold).await, (503, "locked".to_owned()));
    let get = async |path: &str| http.get(format!("{}{path}", shop.admin)).send().await.expect("an answer");
    let alive: Value = get("/livez").await.json().await.expect("JSON");
    assert_eq!(alive, json!({ "live": true }), "as of one that is open");
    let status: Value = get("/api/v1/status").await.json().await.expect("JSON");
    assert_eq!((&status["locked"], &status["network"]), (&json!(true), &json!("regtest")));
    assert_eq!(problem(get("/api/v1/payments").await).await, (503, "locked".to_owned()));
    assert_eq!(problem(get("/readyz").await).await, (503, "locked".to_owned()));
    let page = get("/").await;
    assert!(
        page.headers()["content-security-policy"].to_str().is_ok_and(|it| it.contains("default-src 'none'"))
    );
    assert!(page.text().await.expect("a page").contains("name=\"passphrase\""));

    let unlock = format!("{}/api/v1/unlock", shop.admin);
    let body = json!({ "passphrase": FIRST }).to_string();
    let post = || http.post(&unlock).header("content-type", "application/json").body(body.clone());
    // The first start: there is no key yet, and what the operator asks is answered all the same.
    assert!(!shop.data_dir().join("regtest/admin.key").exists());
    let (code, told, said) = run(&shop, &["status"]).await;
    assert_eq!(code, 1, "nothing can be sold: {told}{said}");
    assert!(told.contains("locked") && told.contains("tollhouse unlock"), "{told}");
    let (code, told, said) = run(&shop, &["doctor"]).await;
    assert_eq!(code, 3, "{told}{said}");
    assert!(told.contains("is locked") && !told.contains("no_answer"), "{told}");
    // The appliance asks no source before it has its seed, so doctor does.
    assert!(told.contains("chain_unreachable"), "{told}");
    let blind = http.post(&unlock).header("content-type", "application/json").body("{\"passphrase\":1}");
    let blind = blind.send().await.expect("an answer");
    assert_eq!(problem(blind).await, (400, "bad_body".to_owned()), "a plain program is heard");
    let cookie = post().header("cookie", "a=b").send().await.expect("an answer");
    assert_eq!(problem(cookie).await, (403, "cross_site".to_owned()), "a browser has to say who it is");
    let foreign = post().header("host", "evil.example").send().await.expect("an answer");
    assert_eq!(problem(foreign).await.0, 421);
    let foreign = post().header("origin", "http://evil.example").send().await.expect("an answer");
    assert_eq!(problem(foreign).await, (403, "cross_site".to_owned()));
    for _ in 0..4 {
        let (code, _, said) = run(&shop, &["unlock", "--passphrase-file", &wrong]).await;
        assert_eq!(code, 1, "{said}");
        assert!(said.contains("not the passphrase"), "{said}");
    }
    let early = post().header("origin", &shop.admin).send().await.expect("an answer");
    let wait = early.headers()["retry-after"].to_str().map(str::to_owned).expect("seconds");
    assert_eq!((problem(early).await, wait.as_str()), ((429, "too_many_tries".to_owned()), "1"));
    until("the door to listen again", async || {
        let (code, ..) = run(&shop, &["unlock", "--passphrase-file", &right]).await;
        (code == 0).then_some(())
    })
    .await;
    shop.process().says("operator").await;
    let sold = http.get(format!("{}/anything", shop.gateway)).send().await.expect("an answer");
    assert_eq!(sold.status(), StatusCode::BAD_GATEWAY, "it is free, and its upstream is nowhere");
    assert_eq!(shop.get("/api/v1/status").await["locked"], false);
    closed_to_others(&shop.data_dir());
    let (code, _, said) = run(&shop, &["unlock", "--passphrase-file", &right]).await;
    assert!(code == 1 && said.contains("not locked"), "{said}");
    shop.stop().await;

    // From a descriptor; and a configured one that is wrong is an error, not a reason to wait.
    let line = format!(
        "exec {} run --config {} --passphrase-file /dev/fd/3 3<{right}",
        env!("CARGO_BIN_EXE_tollhouse"),
        shop.config_file().display()
    );
    let mut command = Command::new("sh");
    command.args(["-c", &line]).env_clear().env("HOME", shop.home());
    shop.start_as(command);
    shop.process().says("operator").await;
    shop.stop().await;
    let (status, said) = Process::spawn(shop.command(&["--passphrase-file", &wrong])).ended().await;
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("not the passphrase of"), "{said}");

    // So is a configured key file that is not there, on a stick that is not in.
    let key = shop.home().join("key").display().to_string();
    let (code, _, said) = run(&shop, &["seed", "key-file", &key, "--passphrase-file", &right]).await;
    assert_eq!(code, 0, "{said}");
    let stick = shop.home().join("stick/none").display().to_string();
    let (status, said) = Process::spawn(shop.command(&["--unlock-key-file", &stick])).ended().await;
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains(&stick), "{said}");

    // Told to stop while it waits.
    shop.start_again();
    shop.process().says("locked").await;
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seed_is_made_at_a_terminal_proved_and_guarded_anew() {
    let mut shop = shop();
    let mut talk = vec![("New passphrase", FIRST), ("The same again", FIRST), ("Press Enter", "")];
    talk.extend([("Word ", "zoo"); 9]);
    let (code, seen) = at_a_terminal(&shop, "seed new --words 12", &talk).await;
    assert_eq!(code, 0, "{seen}");
    assert!(seen.contains(" 1 ") && seen.contains("12 ") && !seen.contains("13 "), "{seen}");
    assert!(seen.contains("those are not the words"), "{seen}");
    assert!(!seen.contains(FIRST), "a passphrase has no echo");
    let words: Vec<String> = seen
        .lines()
        .flat_map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .skip_while(|word| word != "1")
        .filter(|word| word.bytes().all(|byte| byte.is_ascii_lowercase()))
        .take(12)
        .collect();
    let first = passphrase_file(shop.home(), "first", FIRST).display().to_string();
    let (_, status, _) = run(&shop, &["seed", "show", "--json"]).await;
    let status: Value = serde_json::from_str(&status).expect("JSON");
    assert_eq!((&status["opens_with"], &status["verified_at"]), (&json!(["passphrase"]), &Value::Null));

    // The running appliance asks through its API; what it asks for is known there only.
    shop.start_as(shop.command(&["--passphrase-file", &first]));
    shop.process().says("operator").await;
    let asked = shop.post("/api/v1/seed/questions", json!({})).await;
    let numbers: Vec<usize> = serde_json::from_value(asked["numbers"].clone()).expect("numbers");
    let answer: Vec<&str> = numbers.iter().map(|number| words[number - 1].as_str()).collect();
    let proved = shop.post("/api/v1/seed/verify", json!({ "words": answer })).await;
    assert!(proved["verified_at"].is_u64(), "{proved}");
    let again = shop.refused("/api/v1/seed/words", json!({ "again": true, "passphrase": FIRST })).await;
    assert_eq!(again, (409, "words_verified".to_owned()));
    let second = passphrase_file(shop.home(), "second", SECOND).display().to_string();
    let change = ["seed", "passphrase", "--new-passphrase-file", &second, "--passphrase-file"];
    // What is wrong is said before anything is asked for.
    let (code, seen) = at_a_terminal(&shop, "seed passphrase", &[("Passphrase now", SECOND)]).await;
    assert!(code == 1 && seen.contains("not the passphrase") && !seen.contains("New passphrase"), "{seen}");
    let (code, _, said) = run(&shop, &[&change[..], &[&first]].concat()).await;
    assert_eq!(code, 0, "{said}");
    shop.stop().await;
    let key = shop.home().join("elsewhere.key").display().to_string();
    let (code, _, said) = run(&shop, &["seed", "key-file", &key, "--passphrase-file", &second]).await;
    assert_eq!(code, 0, "{said}");
    shop.start_as(shop.command(&["--unlock-key-file", &key]));
    shop.process().says("operator").await;
    shop.stop().await;

    // The disk is gone; the words are not.
    let dir = shop.data_dir().join("regtest");
    std::fs::rename(&dir, shop.home().join("lost")).expect("moved");
    let paper = passphrase_file(shop.home(), "paper", &words.join(" ")).display().to_string();
    let restore = ["seed", "restore", "--words-file", &paper, "--passphrase-file", &first];
    let (code, _, said) = run(&shop, &restore).await;
    assert_eq!(code, 0, "{said}");
    let (code, _, said) = run(&shop, &restore).await;
    assert!(code == 1 && said.contains("already"), "{said}");
    shop.start_as(shop.command(&["--passphrase-file", &first]));
    let node = shop.process().says("node  ").await;
    shop.stop().await;
    assert!(node.contains("starting"), "{node}");
}

#[tokio::test(flavor = "multi_thread")]
async fn mainnet_starts_after_its_checklist_alone() {
    let shop = shop();
    let mainnet = |more: &[&str]| {
        let mut command = shop.command(&["--network", "mainnet"]);
        command.args(more);
        command
    };
    let refused = async |more: &[&str]| {
        let (status, said) = Process::spawn(mainnet(more)).ended().await;
        assert_eq!(status.code(), Some(1), "{said}");
        said
    };
    let said = refused(&[]).await;
    assert!(said.contains("[ ] encrypted seed") && said.contains("tollhouse seed new"), "{said}");
    assert!(!shop.data_dir().join("bitcoin/seed").exists(), "nothing is made by itself");
    let first = passphrase_file(shop.home(), "first", FIRST).display().to_string();
    let seed = ["--network", "mainnet", "--passphrase-file", &first];
    let (code, words, said) =
        run(&shop, &[&["seed", "new", "--yes-print", "--json"], &seed[..]].concat()).await;
    assert_eq!(code, 0, "{said}");
    let with_seed = ["--i-know", "--passphrase-file", &first];
    let said = refused(&with_seed).await;
    assert!(said.contains("[x] encrypted seed") && said.contains("[ ] words verified"), "{said}");

    // Whoever types all of them in has them.
    let words: Value = serde_json::from_str(&words).expect("JSON");
    let words: Vec<&str> =
        words["words"].as_array().expect("words").iter().filter_map(Value::as_str).collect();
    std::fs::remove_dir_all(shop.data_dir().join("bitcoin")).expect("removed");
    let paper = passphrase_file(shop.home(), "paper", &words.join(" ")).display().to_string();
    let (code, _, said) =
        run(&shop, &[&["seed", "restore", "--words-file", &paper], &seed[..]].concat()).await;
    assert_eq!(code, 0, "{said}");
    let said = refused(&["--passphrase-file", &first]).await;
    assert!(said.contains("[x] words verified") && said.contains("[ ] backup destination"), "{said}");
    let mut running = Process::spawn(mainnet(&with_seed));
    running.says("[ ] backup destination").await;
    running.says("operator").await;
    let (status, said) = running.end("TERM").await;
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(shop.data_dir().join("bitcoin/ledger.db").exists());
}
