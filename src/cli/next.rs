//! The way onto another machine, in its order, and how each message names the command that comes next: as it is
//! typed, with the flags that lead to the same appliance.
//!
//! The order is: the seed from its words, the ledger from its backup, the coins in channels from their snapshot,
//! then the start.

use std::path::Path;

use crate::config::Flags;
use crate::secrets::{SecretsError, SeedMarks, SeedPlace};

/// `tollhouse` with `rest`, for the appliance that `flags` name.
pub(super) fn command(rest: &str, flags: &Flags) -> String {
    let mut line = format!("tollhouse {rest}");
    let said = [
        ("--config", flags.config.as_ref().map(|file| file.display().to_string())),
        ("--data-dir", flags.data_dir.clone()),
        ("--network", flags.network.clone()),
    ];
    for (flag, value) in said {
        if let Some(value) = value {
            line.push_str(&format!(" {flag} {}", word(&value)));
        }
    }
    line
}

/// A text as one word of a shell's line.
pub(super) fn word(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:@%+,=".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// What comes after the seed is back.
pub(super) fn after_seed(flags: &Flags) -> String {
    format!(
        "The seed is back. Before the first start, in this order:\n  {}   the ledger, where there is a backup of \
         it\n  {}   the coins in channels, where there were any\nThen:\n  {}",
        command("backup restore FILE", flags),
        command("recover --snapshot FILE", flags),
        command("run", flags),
    )
}

/// What comes after a new seed is made, whose words were said back or not.
pub(super) fn after_new_seed(proven: bool, flags: &Flags) -> String {
    let prove = match proven {
        true => String::new(),
        false => format!("\n  {}   asks for three of the words", command("seed verify", flags)),
    };
    format!("Next:{prove}\n  {}", command("run", flags))
}

/// What comes after the ledger is back in `dir`.
pub(super) fn after_restore(dir: &Path, flags: &Flags) -> String {
    let recover = match dir.join("channels.db").exists() {
        true => String::new(),
        false => format!(
            "\n  {}   the coins in channels, where there were any",
            command("recover --snapshot FILE", flags)
        ),
    };
    format!(
        "Next:{recover}\n  {}\n  {}   once you looked at what was sent since the copy",
        command("run", flags),
        command("backup release-payouts", flags),
    )
}

/// What comes after a recovery in `dir`.
pub(super) fn after_recovery(dir: &Path, flags: &Flags) -> String {
    let restore = match dir.join("ledger.db").exists() {
        true => String::new(),
        false => {
            format!(
                "\n  {}   the ledger, where there is a backup of it: before the first start, not after",
                command("backup restore FILE", flags)
            )
        }
    };
    format!(
        "Next:{restore}\n  {}\n  {}   where the ledger is a copy that was brought back, once you looked at what was sent \
         since the copy",
        command("run", flags),
        command("backup release-payouts", flags),
    )
}

/// What a seed that came from its words, and starts in `dir` for the first time, may have been meant to find there.
///
/// # Errors
/// When its file cannot be read.
pub(super) fn before_first_start(dir: &Path, flags: &Flags) -> Result<Option<String>, SecretsError> {
    let begun = ["ledger.db", "channels.db"].iter().any(|file| dir.join(file).exists());
    // Words that were typed in count as shown and verified at that moment.
    let brought = |marks: &SeedMarks| marks.verified_at.is_some() && marks.shown_at == marks.verified_at;
    if begun || !SeedPlace::marks(dir)?.is_some_and(|marks| brought(&marks)) {
        return Ok(None);
    }
    Ok(Some(format!(
        "This seed came from its words and starts here for the first time, with an empty ledger and without channels. \
         Where there is a backup or a snapshot, stop it now (Ctrl-C) and bring them in first:\n  {}\n  {}",
        command("backup restore FILE", flags),
        command("recover --snapshot FILE", flags),
    )))
}

/// That the words come first; then the command that was tried, again.
pub(super) fn no_seed(dir: &Path, flags: &Flags) -> String {
    format!(
        "there is no seed in {}: the words come first. Run `{}`, then this again",
        dir.display(),
        command("seed restore", flags)
    )
}

/// That another seed lies where the words are to go: how it is put aside, if a first start made it.
pub(super) fn another_seed(dir: &Path, flags: &Flags) -> String {
    let (here, aside) = (dir.display().to_string(), format!("{}-unused", dir.display()));
    format!(
        "If a first start made that seed and no coins ever came to it, put it aside and bring yours back: \
         `mv {} {} && {}`",
        word(&here),
        word(&aside),
        command("seed restore", flags)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_named_as_it_is_typed() {
        let flags = Flags {
            config: Some("/srv/my shop/t.toml".into()),
            network: Some("regtest".to_owned()),
            ..Flags::default()
        };
        assert_eq!(command("run", &Flags::default()), "tollhouse run");
        assert_eq!(command("run", &flags), "tollhouse run --config '/srv/my shop/t.toml' --network regtest");
        assert_eq!((word("a'b"), word("")), (r"'a'\''b'".to_owned(), "''".to_owned()));
    }

    #[test]
    fn what_is_there_already_is_not_asked_for() {
        let (folder, flags) = (tempfile::tempdir().unwrap(), Flags::default());
        let dir = folder.path();
        assert!(after_restore(dir, &flags).contains("tollhouse recover --snapshot FILE"));
        let ledger = "tollhouse backup restore FILE   the ledger, where there is a backup of it: before the first start";
        assert!(after_recovery(dir, &flags).contains(ledger));
        std::fs::write(dir.join("channels.db"), "").unwrap();
        std::fs::write(dir.join("ledger.db"), "").unwrap();
        assert!(!after_restore(dir, &flags).contains("recover"));
        let after = after_recovery(dir, &flags);
        assert!(
            after.starts_with("Next:\n  tollhouse run\n  tollhouse backup release-payouts   where"),
            "{after}"
        );
    }
}
