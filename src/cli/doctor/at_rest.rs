//! What can be seen of an appliance from its files: whether it runs, its disk, its seed, and who else can read them.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::Report;
use crate::backup;
use crate::cli::operator::Failure;
use crate::cli::{copies, next};
use crate::config::{Flags, Settings, Source};
use crate::secrets::SeedPlace;
use crate::store::{DirLock, Locked};
use crate::types::Severity::{Critical, Info, Warning};
use crate::watchman::DiskSpace;

/// What can be seen of one that does not answer.
pub(super) async fn look(settings: &Settings, flags: &Flags, failure: &Failure, report: &mut Report) {
    let dir = settings.network_dir();
    let run = format!("`{}`", next::command("run", flags));
    let lost = copies::wait(settings, flags);
    match settings.data_dir.is_dir().then(|| DirLock::take(&settings.data_dir)) {
        // Before anything is started: an empty ledger would take the place of what is to be brought back.
        None | Some(Ok(_)) if lost.is_some() => {
            let (text, fix) = lost.unwrap_or_default();
            report.found("appliance", Warning, "not_brought_back", text, &fix);
        }
        Some(Ok(_)) if backup::refuse_if_moved(&dir).is_err() => {
            let text =
                backup::refuse_if_moved(&dir).err().map(|fault| format!("{fault}.")).unwrap_or_default();
            let fix = format!(
                "Import that file on the other machine ({}), if that is not done. If its copy never ran, and only then: `{}`.",
                "`tollhouse migrate import FILE`",
                next::command("migrate undo --the-copy-never-ran", flags)
            );
            report.found("appliance", Warning, "moved", text, &fix);
        }
        None => report.found(
            "appliance",
            Info,
            "never_started",
            format!("{} is not there: it was never started.", settings.data_dir.display()),
            &format!("{run}."),
        ),
        Some(Err(Locked::Taken(_))) => report.found(
            "appliance",
            Critical,
            "no_answer",
            format!("It runs, and its admin API does not answer: {}.", failure.text),
            "See its log, and that admin.listen is the address it was started with.",
        ),
        Some(Err(error)) => report.found(
            "appliance",
            Critical,
            "lock_unusable",
            error.to_string(),
            "Give the data directory to the user that runs it.",
        ),
        Some(Ok(_)) => report.found(
            "appliance",
            Warning,
            "not_running",
            "It does not run: nothing is sold.".to_owned(),
            &format!("{run}."),
        ),
    }
    if let Some(space) = DiskSpace::of(&settings.data_dir) {
        let (free, limit) = (bytesize::ByteSize(space.free), settings.alarms.disk_free_bytes);
        if space.free < limit {
            let severity = if space.free < limit / 10 { Critical } else { Warning };
            let text = format!("The disk has {free} left.");
            report.found(
                "disk",
                severity,
                "disk_low",
                text,
                "Make room, or move the data directory to a larger disk.",
            );
        } else {
            report.fine("disk", format!("{free} free"));
        }
    }
    match SeedPlace::look(&dir) {
        Ok(SeedPlace::Sealed(_)) => report.fine("seed", "it is there, encrypted"),
        // What brings it back was said.
        Ok(SeedPlace::Empty) if report.findings.iter().any(|(_, code, ..)| code == "not_brought_back") => {}
        Ok(SeedPlace::Empty) => {
            report.found(
                "seed",
                Info,
                "no_seed",
                "There is no seed yet.".to_owned(),
                "`tollhouse seed new` makes one; on a test network the first start does.",
            );
        }
        Ok(SeedPlace::Plain) => report.found(
            "seed",
            Warning,
            "seed_plain",
            "The seed lies there in plain, from an older version.".to_owned(),
            "Start it once: `tollhouse run` encrypts it.",
        ),
        Err(error) => report.found(
            "seed",
            Critical,
            "seed_unusable",
            error.to_string(),
            "Correct what it says. Without the file, the words on paper bring it back: `tollhouse seed restore`.",
        ),
    }
    super::sources::look(settings, report).await;
}

/// What others on this machine could read.
pub(super) fn modes(settings: &Settings, report: &mut Report) {
    let mut open = Vec::new();
    let mut look = |path: &Path| {
        if let Ok(found) = path.symlink_metadata()
            && found.permissions().mode() & 0o077 != 0
            && !found.is_symlink()
        {
            open.push(format!("{} (mode {:o})", path.display(), found.permissions().mode() & 0o777));
        }
    };
    let dir = settings.network_dir();
    [settings.data_dir.as_path(), &dir].into_iter().for_each(&mut look);
    for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
        look(&entry.path());
    }
    let secret = settings
        .shown
        .iter()
        .any(|shown| shown.setting.contains("password") && matches!(shown.source, Source::File(_)));
    if let Some(file) = settings.file.as_deref().filter(|_| secret) {
        look(file);
    }
    if open.is_empty() {
        return report.fine("files", "only their owner can read them");
    }
    let text = format!("Others on this machine can read {}.", open.join(", "));
    report.found("files", Critical, "files_open", text, "chmod 700 the directories and 600 the files.");
}
