//! `tollhouse doctor` on an appliance that does not run: it says what is wrong with the settings, the files and the
//! chain source, changes nothing, and ends by severity.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;

use crate::appliance::tollhouse;
use crate::bitcoind::free_port;

fn doctor(home: &Path) -> (i32, Value) {
    let mut command = tollhouse(home, &["doctor", "--json", "--config"]);
    let done = command.arg(home.join("tollhouse.toml")).output().expect("the program runs");
    let text = String::from_utf8(done.stdout).expect("UTF-8");
    let report = serde_json::from_str(&text);
    let report = report.unwrap_or_else(|_| panic!("{text}{}", String::from_utf8_lossy(&done.stderr)));
    (done.status.code().expect("it ended by itself"), report)
}

fn codes(report: &Value) -> Vec<&str> {
    let findings = report["findings"].as_array().expect("a list");
    findings.iter().map(|finding| finding["code"].as_str().expect("a word")).collect()
}

#[test]
fn doctor_says_what_to_fix_of_one_that_does_not_run() {
    let home = tempfile::tempdir().expect("a folder");
    let file = home.path().join("tollhouse.toml");
    let text = format!(
        "network = \"regtest\"\ndata_dir = \"data\"\n[gateway]\nlisten = \"127.0.0.1:{}\"\n\
         [admin]\nlisten = \"127.0.0.1:{}\"\n[alarms]\ndisk_free = \"1 B\"\n\
         [chain]\nsource = \"esplora\"\nurl = \"http://127.0.0.1:{}\"\n",
        free_port(),
        free_port(),
        free_port()
    );
    std::fs::write(&file, &text).expect("written");
    let (exit, report) = doctor(home.path());
    assert_eq!(
        (exit, &report["status"], &report["running"]),
        (3, &"critical".into(), &false.into()),
        "{report}"
    );
    assert_eq!(codes(&report)[0], "chain_unreachable", "the worst comes first: {report}");
    assert!(codes(&report).contains(&"never_started"), "{report}");
    assert!(!home.path().join("data").exists(), "it only looks");

    let secrets = home.path().join("data/regtest");
    std::fs::create_dir_all(&secrets).expect("a folder");
    for dir in [home.path().join("data"), secrets.clone()] {
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700)).expect("set");
    }
    std::fs::write(secrets.join("ledger.db"), "").expect("written");
    std::fs::set_permissions(secrets.join("ledger.db"), std::fs::Permissions::from_mode(0o644)).expect("set");
    let (exit, report) = doctor(home.path());
    assert_eq!(exit, 3);
    assert!(codes(&report).contains(&"files_open") && codes(&report).contains(&"not_running"), "{report}");
    assert!(report["findings"].to_string().contains("ledger.db (mode 644)"), "{report}");
    for finding in report["findings"].as_array().expect("a list") {
        assert!(finding["fix"].as_str().is_some_and(|fix| !fix.is_empty()), "{finding}");
    }

    // Moved away: nobody is told to start it.
    std::fs::write(secrets.join("moved"), "{\"file\":\"all.move\"}").expect("written");
    let (_, report) = doctor(home.path());
    let fixes = report["findings"].to_string();
    assert!(codes(&report).contains(&"moved") && !codes(&report).contains(&"not_running"), "{report}");
    assert!(fixes.contains("tollhouse migrate undo") && !fixes.contains("tollhouse run"), "{fixes}");

    // The disk is new, and copies of the old one lie where the settings say.
    std::fs::remove_dir_all(home.path().join("data")).expect("removed");
    let copies = home.path().join("other");
    std::fs::create_dir_all(&copies).expect("a folder");
    let (backup, snapshot) = (
        "tollhouse-regtest-02ab02ab02ab-20261122T002545.953Z.backup",
        "tollhouse-regtest-02ab02ab02ab02ab.snapshot",
    );
    for copy in [backup, snapshot] {
        std::fs::write(copies.join(copy), "sealed").expect("written");
    }
    let dirs = "[backup]\ndir = \"other\"\n[snapshot]\ndir = \"other\"\n";
    std::fs::write(&file, format!("{text}{dirs}")).expect("written");
    let (exit, report) = doctor(home.path());
    assert_eq!((exit, codes(&report).contains(&"not_brought_back")), (3, true), "{report}");
    assert!(
        !report.to_string().contains("seed new") && !codes(&report).contains(&"never_started"),
        "{report}"
    );
    let findings = report["findings"].as_array().expect("a list");
    let found = findings.iter().find(|finding| finding["code"] == "not_brought_back").expect("it is told");
    let fix = found["fix"].as_str().expect("a sentence");
    let steps = ["seed restore", "backup restore", backup, "recover --snapshot", snapshot, "tollhouse run"];
    assert!(steps.map(|step| fix.find(step).expect("it is named")).is_sorted(), "{fix}");

    std::fs::write(&file, text.replace("regtest", "retgest")).expect("written");
    let (exit, report) = doctor(home.path());
    assert_eq!((exit, codes(&report)), (3, vec!["settings_wrong"]), "{report}");
}
