//! `tollhouse init` and `tollhouse check`, as a person runs them.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

fn tollhouse(home: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tollhouse"))
        .env_clear()
        .env("HOME", home)
        .args(args)
        .output()
        .expect("the program runs")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

#[test]
fn init_writes_a_file_that_check_accepts() {
    let home = tempfile::tempdir().expect("a directory");
    let file = home.path().join(".local/share/tollhouse/tollhouse.toml");
    let done = tollhouse(home.path(), &["init", "--network", "regtest"]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let mode = std::fs::metadata(&file).expect("written").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mode = std::fs::metadata(file.parent().expect("a parent")).expect("made").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);

    let done = tollhouse(home.path(), &["check"]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let shown = text(&done.stdout);
    assert!(shown.lines().any(|l| l.split_whitespace().eq(["network", "regtest", "line", "8"])), "{shown}");
    assert!(!shown.contains("SERVICE"), "nobody said yet what to sell: {shown}");
    // No bitcoind ran here yet.
    let warned = text(&done.stderr);
    assert!(warned.starts_with("Warning: ") && warned.contains("chain.cookie_file: the cookie "), "{warned}");
    assert!(warned.contains("bitcoind writes it when it starts"), "{warned}");
    // The example is used by removing the # before its lines.
    let written = std::fs::read_to_string(&file).expect("written");
    let used = written.lines().map(|line| match line.strip_prefix('#') {
        Some(example) if !example.is_empty() && !example.starts_with(' ') => example,
        _ => line,
    });
    let used = used.collect::<Vec<&str>>().join("\n");
    let own = home.path().join("used.toml");
    std::fs::write(&own, used).expect("written");
    let done = tollhouse(home.path(), &["check", "--config", own.to_str().expect("UTF-8")]);
    let shown = text(&done.stdout);
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert!(shown.lines().any(|l| l.contains("example") && l.contains("50 sat")), "{shown}");

    let done = tollhouse(home.path(), &["check", "--json", "--network", "signet"]);
    let object: serde_json::Value = serde_json::from_slice(&done.stdout).expect("one JSON object");
    assert_eq!(object["ok"], true);
    let network = object["settings"].as_array().expect("a list").iter().find(|s| s["setting"] == "network");
    assert_eq!(network.expect("listed")["name"], "--network");
}

#[test]
fn init_overwrites_only_when_told_to() {
    let home = tempfile::tempdir().expect("a directory");
    let file = home.path().join("t.toml");
    std::fs::write(&file, "mine").expect("written");
    let path = file.to_str().expect("UTF-8");
    let done = tollhouse(home.path(), &["init", "--config", path]);
    assert_eq!(done.status.code(), Some(1));
    assert!(text(&done.stderr).contains("--force"), "{}", text(&done.stderr));
    assert_eq!(std::fs::read_to_string(&file).expect("there"), "mine");
    let done = tollhouse(home.path(), &["init", "--config", path, "--force"]);
    assert!(done.status.success());
    assert!(std::fs::read_to_string(&file).expect("there").contains("[[service]]"));
    assert_eq!(std::fs::read_dir(home.path()).expect("a directory").count(), 1, "nothing is left beside it");
}

#[test]
fn check_warns_of_a_browser_that_is_let_in_by_a_payment_and_of_a_pack_that_costs_more() {
    let home = tempfile::tempdir().expect("a directory");
    let file = home.path().join("t.toml");
    let service = "[[service]]\nname = \"a\"\nupstream = \"http://127.0.0.1:9\"\nprice = \"5 sat\"\nbrowser_unlock = true\n\
                   offers = [\"request\", { pack = 10, price = \"60 sat\" }]\n";
    let node = "network = \"regtest\"\n[chain]\nsource = \"esplora\"\nurl = \"http://127.0.0.1:1\"\n";
    std::fs::write(&file, format!("{node}{service}")).expect("written");
    let done = tollhouse(home.path(), &["check", "--config", file.to_str().expect("UTF-8")]);
    let said = text(&done.stderr);
    assert!(done.status.success(), "{said}");
    assert!(said.contains("t.toml:9: service.a.browser_unlock:") && said.contains("tricked into"), "{said}");
    let pack = "10 requests cost 60 sat as a pack, and 50 sat one by one: nobody gains by the pack";
    assert!(said.contains("t.toml:10: service.a.offers[1].price:") && said.contains(pack), "{said}");
}

/// What is made on the pages is in the ledger, and no file has to name it.
#[test]
fn check_says_that_nothing_is_sold_only_where_nothing_can_be() {
    let home = tempfile::tempdir().expect("a directory");
    let (file, data) = (home.path().join("t.toml"), home.path().join("data"));
    let chain = "[chain]\nsource = \"esplora\"\nurl = \"http://127.0.0.1:1\"\n";
    std::fs::write(&file, format!("network = \"regtest\"\ndata_dir = \"{}\"\n{chain}", data.display()))
        .expect("written");
    let check = || {
        let done = tollhouse(home.path(), &["check", "--config", file.to_str().expect("UTF-8")]);
        assert!(done.status.success(), "{}", text(&done.stderr));
        text(&done.stderr).to_owned()
    };
    assert!(check().contains("no file names a service, and none was made yet"), "{}", check());
    std::fs::create_dir_all(data.join("regtest")).expect("made");
    std::fs::write(data.join("regtest/ledger.db"), "").expect("written");
    assert_eq!(check(), "", "what is in the ledger nobody but the appliance knows");
}

#[test]
fn check_warns_of_backups_beside_the_data() {
    let home = tempfile::tempdir().expect("a directory");
    let file = home.path().join("t.toml");
    let check = |dir: &str| {
        let service = "[[service]]\nname = \"a\"\nupstream = \"http://127.0.0.1:9\"\nprice = \"5 sat\"\n";
        let node = "network = \"regtest\"\n[chain]\nsource = \"esplora\"\nurl = \"http://127.0.0.1:1\"\n";
        std::fs::write(&file, format!("{node}[backup]\ndir = \"{dir}\"\n{service}")).expect("written");
        let done = tollhouse(home.path(), &["check", "--config", file.to_str().expect("UTF-8")]);
        assert!(done.status.success(), "{}", text(&done.stderr));
        text(&done.stderr).to_owned()
    };
    let beside = check(&home.path().join("copies").display().to_string());
    assert!(
        beside.contains("t.toml:6: backup.dir: ") && beside.contains("on the same disk as the data"),
        "{beside}"
    );
    assert_eq!(check("/proc/copies"), "", "another file system may be another disk");
}

#[test]
fn check_warns_of_a_bitcoind_that_does_not_answer() {
    let home = tempfile::tempdir().expect("a directory");
    let (file, cookie) = (home.path().join("t.toml"), home.path().join("cookie"));
    std::fs::write(&cookie, "__cookie__:secret").expect("written");
    // Nobody listens where somebody did a moment ago.
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port();
    let node = format!(
        "network = \"regtest\"\n[chain]\nsource = \"bitcoind\"\nport = {port}\ncookie_file = \"{}\"\n",
        cookie.display()
    );
    std::fs::write(&file, node).expect("written");
    let path = file.to_str().expect("UTF-8");
    let done = tollhouse(home.path(), &["check", "--config", path]);
    let said = text(&done.stderr);
    assert!(done.status.success(), "it warns, and fails nothing: {said}");
    assert!(
        said.contains("t.toml:4: chain.port: bitcoind 127.0.0.1:") && said.contains("does not answer"),
        "{said}"
    );
    assert!(said.contains("correct chain.host and chain.port") && !said.contains("secret"), "{said}");
    let done = tollhouse(home.path(), &["check", "--config", path, "--json"]);
    let object: serde_json::Value = serde_json::from_slice(&done.stdout).expect("one JSON object");
    let mut warned = object["warnings"].as_array().expect("a list").iter().map(|one| &one["setting"]);
    assert!(object["ok"] == true && warned.any(|setting| setting == "chain.port"), "{object}");
}

#[test]
fn check_ends_with_2_and_lists_everything_that_is_wrong() {
    let home = tempfile::tempdir().expect("a directory");
    let file = home.path().join("t.toml");
    std::fs::write(&file, "network = \"moon\"\nlog = \"loud\"\n").expect("written");
    let path = file.to_str().expect("UTF-8");
    let done = tollhouse(home.path(), &["check", "--config", path]);
    assert_eq!(done.status.code(), Some(2));
    let said = text(&done.stderr);
    for wanted in ["t.toml:1: network:", "t.toml:2: log:", "chain.source: it is missing"] {
        assert!(said.contains(wanted), "{said}");
    }
    let done = tollhouse(home.path(), &["check", "--config", path, "--json"]);
    assert_eq!(done.status.code(), Some(2));
    let object: serde_json::Value = serde_json::from_slice(&done.stdout).expect("one JSON object");
    assert_eq!(object["errors"].as_array().map(Vec::len), Some(3));

    let done = tollhouse(home.path(), &["check"]);
    assert_eq!(done.status.code(), Some(2));
    assert!(text(&done.stderr).contains("`tollhouse init` writes one"), "{}", text(&done.stderr));
    let done = tollhouse(home.path(), &["check", "--config", "/nowhere.toml"]);
    assert_eq!(done.status.code(), Some(2));
    assert!(text(&done.stderr).contains("cannot be read"), "{}", text(&done.stderr));
}
