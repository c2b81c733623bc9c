//! Copies of an appliance that wait to be brought back: what lies in the configured directories when its own directory
//! is empty, after a lost disk.

use std::fs::DirEntry;
use std::path::{Path, PathBuf};

use super::next;
use crate::backup::LEDGER_FILE;
use crate::config::{Flags, Settings};
use crate::secrets::SeedPlace;

/// What lies there, and which commands bring it back; `None` where nothing does, or where there is a ledger already.
pub(super) fn wait(settings: &Settings, flags: &Flags) -> Option<(String, String)> {
    let dir = settings.network_dir();
    if [LEDGER_FILE, "channels.db"].iter().any(|file| dir.join(file).exists()) {
        return None;
    }
    let named = format!("tollhouse-{}-", settings.node.network);
    let newest = |dir: &Option<PathBuf>, ending| newest(dir.as_deref()?, &named, ending);
    let backup = newest(&settings.backup.dir, ".backup");
    let snapshot = newest(&settings.snapshot_dir, ".snapshot");
    if backup.is_none() && snapshot.is_none() {
        return None;
    }
    let seedless = matches!(SeedPlace::look(&dir), Ok(SeedPlace::Empty));
    let lie: Vec<String> = [("a backup of a ledger", &backup), ("a snapshot of channels", &snapshot)]
        .into_iter()
        .filter_map(|(what, file)| Some(format!("{what} ({})", file.as_ref()?.display())))
        .collect();
    let text = format!(
        "There is no {} in {}, but {}.",
        if seedless { "seed" } else { "ledger" },
        dir.display(),
        lie.join(" and ")
    );
    let word = |file: &Path| next::word(&file.display().to_string());
    let commands = [
        seedless.then(|| "seed restore".to_owned()),
        backup.as_deref().map(|file| format!("backup restore {}", word(file))),
        snapshot.as_deref().map(|file| format!("recover --snapshot {}", word(file))),
        Some("run".to_owned()),
    ];
    let commands: Vec<String> =
        commands.into_iter().flatten().map(|rest| next::command(&rest, flags)).collect();
    let fix = format!(
        "If the disk of this shop was lost, bring it back in this order, and start nothing before: {}. If they are \
         another shop's: {}.",
        commands.join("; "),
        next::command("run", flags)
    );
    Some((text, fix))
}

/// The newest file there that is named so.
fn newest(dir: &Path, named: &str, ending: &str) -> Option<PathBuf> {
    let fits = |entry: &DirEntry| {
        let name = entry.file_name();
        name.to_str().is_some_and(|name| name.starts_with(named) && name.ends_with(ending))
    };
    let there = std::fs::read_dir(dir).ok()?.flatten().filter(fits);
    let dated = there.filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())));
    dated.max().map(|(_, path)| path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;

    #[test]
    fn copies_of_a_lost_directory_are_named_with_what_brings_them_back() {
        let folder = tempfile::tempdir().unwrap();
        let (file, other) = (folder.path().join("t.toml"), folder.path().join("other"));
        std::fs::create_dir(&other).unwrap();
        let text = "network = \"regtest\"\ndata_dir = \"data\"\n[backup]\ndir = \"other\"\n[snapshot]\ndir = \"other\"\n\
                    [chain]\nsource = \"esplora\"\nurl = \"http://127.0.0.1:1\"\n";
        std::fs::write(&file, text).unwrap();
        let flags = Flags { config: Some(file), ..Flags::default() };
        let settings = Settings::load(&flags, &Environment::from_iter([("HOME", "/nowhere")])).unwrap();
        assert_eq!(wait(&settings, &flags), None, "a first start");
        std::fs::write(other.join("tollhouse-signet-02ab-1.backup"), "another network's").unwrap();
        assert_eq!(wait(&settings, &flags), None);
        let (backup, snapshot) = ("tollhouse-regtest-02ab-1.backup", "tollhouse-regtest-02ab.snapshot");
        for copy in [backup, snapshot] {
            std::fs::write(other.join(copy), "sealed").unwrap();
        }
        let (text, fix) = wait(&settings, &flags).unwrap();
        assert!(text.contains("no seed") && text.contains(backup) && text.contains(snapshot), "{text}");
        let steps =
            ["seed restore", "backup restore", backup, "recover --snapshot", snapshot, "tollhouse run"];
        assert!(steps.map(|step| fix.find(step).unwrap()).is_sorted(), "{fix}");
        std::fs::create_dir_all(settings.network_dir()).unwrap();
        std::fs::write(settings.network_dir().join(LEDGER_FILE), "").unwrap();
        assert_eq!(wait(&settings, &flags), None, "it began");
    }
}
