//! `tollhouse backup`: copies of the ledger, made and listed through the admin API, opened and put back from
//! their files.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::amounts::sats;
use super::ground::{Ground, Yes};
use super::operator::{Failure, OperatorArgs, Shown, ask, fail, table};
use super::times::moment;
use super::{download, logging, next, warn};
use crate::backup::{self, BackupFault, FormatFault, Restored};
use crate::clock::{Clock, SystemClock};
use crate::config::{Environment, Settings};
use crate::store::{DirLock, Locked};
use crate::types::{Timestamp, counted};

#[derive(Debug, clap::Args)]
pub(super) struct BackupArgs {
    #[command(flatten)]
    operator: OperatorArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make one now, in backup.dir
    Now,
    /// Those that there are, the newest first
    List,
    /// Take a copy of one, to be kept elsewhere
    Download {
        /// Its name, as `list` shows it
        file: String,
        /// Where to [default: its name, in this directory]
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
    },
    /// Take a copy of the channels' recovery snapshot, to be kept elsewhere
    Snapshot {
        /// Where to
        #[arg(long, value_name = "FILE", default_value = "channels.snapshot")]
        to: PathBuf,
    },
    /// Open one, prove it whole, and audit the ledger in it; nothing else is touched
    Verify {
        /// The file, or the name of one in backup.dir
        file: PathBuf,
        #[command(flatten)]
        said: Said,
    },
    /// Put one in the ledger's place, while the appliance is stopped; the old ledger is set aside
    Restore {
        /// The file, or the name of one in backup.dir
        file: PathBuf,
        #[command(flatten)]
        sure: Yes,
        #[command(flatten)]
        said: Said,
    },
    /// After a restore: let coins be sent again
    ReleasePayouts {
        #[command(flatten)]
        sure: Yes,
    },
    /// The ledger's lives: a new one begins with each restore
    Generations,
}

/// How the seed that sealed a backup is opened, where the settings do not say.
#[derive(Debug, clap::Args)]
struct Said {
    /// A file or descriptor whose first line is the seed's passphrase
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

/// Does one of them.
pub(super) fn run(args: &BackupArgs, env: &Environment) -> ExitCode {
    match args.command.as_ref().unwrap_or(&Command::List) {
        Command::Verify { file, said } if file.exists() || stopped(args, env) => {
            done(args, lies(&args.operator, env, file).and_then(|file| verify(args, env, &file, said)))
        }
        Command::Restore { file, sure, said } => done(
            args,
            lies(&args.operator, env, file).and_then(|file| restore(args, env, (&file, said), *sure)),
        ),
        command => ask(&args.operator, env, async |admin| match command {
            Command::Now => {
                let made = admin.post("/api/v1/backups", &json!({})).await?;
                let text = format!("{}, {} bytes", word(&made["file"]), made["bytes"]);
                Ok(Shown::new(made, text))
            }
            Command::List => {
                let listed = admin.get("/api/v1/backups").await?;
                let text = list_text(&listed);
                Ok(Shown::new(listed, text))
            }
            Command::Download { file, to } => {
                let name = in_dir(Path::new(file))?;
                let to = to.clone().unwrap_or_else(|| PathBuf::from(name));
                download::keep(admin, &format!("/api/v1/backups/{name}"), &to).await
            }
            Command::Snapshot { to } => download::keep(admin, "/api/v1/snapshot", to).await,
            Command::Verify { file, .. } => {
                let name = in_dir(file)?;
                let verified = admin.post(&format!("/api/v1/backups/{name}/verify"), &json!({})).await;
                // A file here was looked for first.
                let verified = verified.map_err(|failure| match failure.code.as_str() {
                    "unknown_backup" | "no_backup_dir" => {
                        let text = format!("there is no file {name} in {}; {}", here(), failure.text);
                        Failure { text, ..failure }
                    }
                    _ => failure,
                })?;
                let text = verified_text(&verified);
                Ok(Shown::new(verified, text))
            }
            Command::ReleasePayouts { sure } => {
                sure.or_ask(
                    "Coins may be sent again, by rules too. What was sent since the copy was made is not in the books: \
                     look at the wallet's history first, or it may be sent twice.",
                )?;
                let released = admin.post("/api/v1/payouts/release", &json!({})).await?;
                let text = match released["released"].as_bool() {
                    Some(true) => "Coins may be sent again.",
                    _ => "Nothing was parked: coins may be sent.",
                };
                Ok(Shown::new(released, text))
            }
            Command::Generations => {
                let lives = admin.get("/api/v1/generations").await?;
                let text = lives_text(&lives);
                Ok(Shown::new(lives, text))
            }
            Command::Restore { .. } => Err(Failure::arguments("a restore asks nobody")),
        }),
    }
}

/// Whether the configured appliance is meant, and does not run: what it would say has to be found without it.
fn stopped(args: &BackupArgs, env: &Environment) -> bool {
    let place = args.operator.place(env).ok().flatten();
    place.is_some_and(|place| is_free(&DirLock::take(&place.data_dir)))
}

/// Whether nobody has the directory. Who may not look cannot know: the appliance is asked then, should it run.
fn is_free(taken: &Result<DirLock, Locked>) -> bool {
    match taken {
        Ok(_) => true,
        Err(Locked::Taken(_)) => false,
        Err(Locked::Unusable { error, .. }) => error.kind() != std::io::ErrorKind::PermissionDenied,
    }
}

/// Where a backup lies that is named by its path, or as `list` does: by its name in backup.dir.
fn lies(args: &OperatorArgs, env: &Environment, file: &Path) -> Result<PathBuf, Failure> {
    let there = |path: &Path| {
        let unread = |error| Failure::refused("backup_file", format!("{}: {error}", path.display()));
        path.try_exists().map_err(unread)
    };
    if there(file)? {
        return Ok(file.to_owned());
    }
    let absent = |more: &str| {
        let text = format!("there is no file {} in {}{more}", file.display(), here());
        Err(Failure::refused("unknown_backup", text))
    };
    if file.is_absolute() {
        return Err(Failure::refused("unknown_backup", format!("there is no file {}", file.display())));
    }
    if file.file_name() != Some(file.as_os_str()) {
        return absent("");
    }
    let settings = Settings::load(&args.settings_flags(), env)
        .map_err(|problems| Failure::arguments(problems.to_string()))?;
    let Some(dir) = settings.backup.dir else {
        return absent(", and backup.dir, where it could lie, is not set");
    };
    let shelved = dir.join(file);
    match there(&shelved)? {
        true => Ok(shelved),
        false => absent(&format!(", nor in {} (backup.dir)", dir.display())),
    }
}

/// The directory that a name without one means.
fn here() -> String {
    std::env::current_dir().map_or_else(|_| "this directory".to_owned(), |dir| dir.display().to_string())
}

/// The name of a file in backup.dir.
fn in_dir(file: &Path) -> Result<&str, Failure> {
    let name = file.to_str().filter(|name| !name.contains(['/', '?', '#', '%']));
    name.ok_or_else(|| Failure::arguments(format!("{} is not there", file.display())))
}

fn done(args: &BackupArgs, done: Result<Shown, Failure>) -> ExitCode {
    match done {
        Ok(shown) => shown.print(args.operator.json()),
        Err(failure) => fail(&failure, args.operator.json()),
    }
}

fn verify(args: &BackupArgs, env: &Environment, file: &Path, said: &Said) -> Result<Shown, Failure> {
    logging::start("warn");
    let ground = Ground::find(&args.operator, env)?.opened_with(said.passphrase_file.clone());
    let owner = ground.owner(&ground.secrets()?)?;
    // The copy that is audited lies in the network's directory meanwhile: it is closed to others.
    let verified = backup::verify(file, &owner, &ground.dir).map_err(|fault| unfit(fault, file, &ground))?;
    let value = serde_json::to_value(verified).expect("plain strings and numbers");
    let text = verified_text(&value);
    Ok(Shown::new(value, text))
}

fn restore(
    args: &BackupArgs,
    env: &Environment,
    (file, said): (&Path, &Said),
    sure: Yes,
) -> Result<Shown, Failure> {
    logging::start("warn");
    let ground = Ground::find(&args.operator, env)?.opened_with(said.passphrase_file.clone());
    let _lock = ground.take()?;
    backup::refuse_if_moved(&ground.dir).map_err(|fault| Failure::refused("moved", fault.to_string()))?;
    let secrets = ground.secrets()?;
    let owner = ground.owner(&secrets)?;
    warn("Opening the backup, and auditing the ledger in it …");
    let verified = backup::verify(file, &owner, &ground.dir).map_err(|fault| unfit(fault, file, &ground))?;
    let made = moment(&json!(verified.manifest.created_at));
    sure.or_ask(
        &format!(
            "The backup of {made} is whole and its books are right. To put it in the ledger's place means:\n\
             - Sales, payments and changes after {made} are not in the books any more.\n\
             - A token from before the restore that the backup takes to be good is refused (`restored_ledger`)\n\
             \x20 until you honour it: tollhouse tokens doubtful, tollhouse tokens honour.\n\
             - Nothing is sent until you run: tollhouse backup release-payouts. Look first at what was sent since.\n\
             - Keys of the admin API that were revoked since, the password and the services are as they were then.\n\
             Channels and coins are not touched. The ledger that is there now is set aside."
        ),
    )?;
    let now = SystemClock::new(Timestamp::default()).now();
    let epochs = secrets.epochs().map_err(|error| Failure::refused("seed", error.to_string()))?;
    let restored = backup::restore(file, &owner, &ground.dir, &epochs, now).map_err(refused)?;
    let text = restored_text(&restored, &ground);
    Ok(Shown::new(serde_json::to_value(restored).expect("plain strings and numbers"), text))
}

fn refused(fault: BackupFault) -> Failure {
    Failure::refused(fault.code(), fault.to_string())
}

/// Why a file is of no use here, and what would make it so.
fn unfit(fault: BackupFault, file: &Path, ground: &Ground) -> Failure {
    let sealed = |error: &std::io::Error| error.kind() == std::io::ErrorKind::InvalidData;
    let text = match &fault {
        BackupFault::Format(FormatFault::Sealed(error)) if sealed(error) => format!(
            "the seed in {} does not open {}: another seed sealed it, or it was changed or cut off. {}; then this again",
            ground.dir.display(),
            file.display(),
            next::another_seed(&ground.dir, &ground.flags)
        ),
        BackupFault::Format(FormatFault::Sealed(error)) => format!("{}: {error}", file.display()),
        _ => return refused(fault),
    };
    Failure::refused(fault.code(), text)
}

fn restored_text(restored: &Restored, ground: &Ground) -> String {
    let lies = |what: &str, path: &Option<PathBuf>| match path {
        Some(path) => format!("\nThe {what} at {}.", path.display()),
        None => String::new(),
    };
    let aside = lies("ledger that was there lies", &restored.set_aside);
    let keys = lies("master keys that were there lie", &restored.keys_set_aside);
    format!(
        "Restored: the ledger of {}, up to event {}.{aside}{keys}\n{}",
        moment(&json!(restored.manifest.created_at)),
        restored.manifest.newest_event,
        next::after_restore(&ground.dir, &ground.flags),
    )
}

fn verified_text(verified: &Value) -> String {
    let (manifest, audit) = (&verified["manifest"], &verified["audit"]);
    [
        "The backup is whole, and its books are right.".to_owned(),
        String::new(),
        format!(
            "made        {} by Tollhouse {}",
            moment(&manifest["created_at"]),
            word(&manifest["version"])
        ),
        format!("node        {} on {}", word(&manifest["node_id"]), word(&manifest["network"])),
        format!("generation  {}, up to event {}", manifest["generation"], manifest["newest_event"]),
        format!("earned      {}", sats(&audit["earned_msat"])),
        format!(
            "received    {} in {}",
            sats(&audit["received_msat"]),
            counted(audit["payments"].as_u64().unwrap_or_default(), "payment")
        ),
    ]
    .join("\n")
}

fn list_text(listed: &Value) -> String {
    let Some(dir) = listed["dir"].as_str() else {
        return "None are made: set backup.dir.".to_owned();
    };
    let rows = listed["backups"].as_array().into_iter().flatten().map(|backup| {
        let whose = match (&backup["of_this_ledger"], &backup["came_from"]) {
            (Value::Bool(false), Value::Bool(true)) => "came from it",
            (Value::Bool(false), _) => "another",
            _ => "this",
        };
        let whose = whose.to_owned();
        [moment(&backup["created_at"]), backup["bytes"].to_string(), whose, word(&backup["file"])]
    });
    let mut text = format!("In {dir}:\n{}", table(["MADE", "BYTES", "LEDGER", "FILE"], rows));
    if listed["apart"] == false {
        text.push_str(
            "\nThey lie on the same disk as the data: a dead disk takes both. Name a folder on another disk in backup.dir, \
             or have this one copied to another machine.",
        );
    }
    let came_from = |backup: &Value| backup["came_from"] == true;
    let theirs = |backup: &&Value| backup["of_this_ledger"] == false && !came_from(backup);
    match listed["backups"].as_array().map_or(0, |all| all.iter().filter(theirs).count()) {
        0 => {}
        others => text.push_str(&format!(
            "\n{others} of them: of another life of the ledger (a lost disk, a restore), and never removed by Tollhouse."
        )),
    }
    if listed["backups"].as_array().is_some_and(|all| all.iter().any(came_from)) {
        text.push_str(
            "\n“came from it”: this ledger was brought back from that copy. It is never removed either.",
        );
    }
    if let Some(why) = listed["failed"].as_str() {
        text.push_str(&format!("\nThe last try failed: {why}"));
    }
    text
}

fn lives_text(lives: &Value) -> String {
    let rows = lives["generations"].as_array().into_iter().flatten().map(|life| {
        let flag = |name: &str, word: &str| if life[name] == true { word.to_owned() } else { "-".to_owned() };
        let doubt = match life["doubtful_below_epoch"].as_u64() {
            None | Some(0) => "-".to_owned(),
            Some(epoch) => format!("below epoch {epoch}"),
        };
        [
            life["generation"].to_string(),
            moment(&life["begun_at"]),
            word(&life["why"]),
            life["first_event"].to_string(),
            doubt,
            flag("payouts_parked", "parked"),
        ]
    });
    table(["GENERATION", "BEGUN", "WHY", "FIRST EVENT", "TOKENS IN DOUBT", "PAYOUTS"], rows)
}

fn word(value: &Value) -> String {
    value.as_str().unwrap_or("-").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_not_look_whether_it_runs_asks_it() {
        let folder = tempfile::tempdir().unwrap();
        let taken = DirLock::take(folder.path());
        assert!(is_free(&taken));
        assert!(!is_free(&DirLock::take(folder.path())));
        let unusable =
            |kind: std::io::ErrorKind| Locked::Unusable { path: "lock".into(), error: kind.into() };
        assert!(!is_free(&Err(unusable(std::io::ErrorKind::PermissionDenied))));
        assert!(is_free(&Err(unusable(std::io::ErrorKind::NotFound))), "there is nothing that could run");
    }

    #[test]
    fn a_backup_is_found_by_its_path_and_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let (config, other) = (folder.path().join("t.toml"), folder.path().join("other"));
        std::fs::create_dir(&other).unwrap();
        let shelved = other.join("one.backup");
        std::fs::write(&shelved, "").unwrap();
        let text = "network = \"regtest\"\ndata_dir = \"data\"\n[chain]\nsource = \"esplora\"\n\
                    url = \"http://127.0.0.1:1\"\n";
        let config_name = config.display().to_string();
        let env = Environment::from_iter([("HOME", "/nowhere"), ("TOLLHOUSE_CONFIG", &config_name)]);
        let find = |file: &str| lies(&OperatorArgs::default(), &env, Path::new(file));
        std::fs::write(&config, text).unwrap();
        assert!(find("one.backup").unwrap_err().text.contains("backup.dir"), "none is set");
        std::fs::write(&config, format!("{text}[backup]\ndir = \"other\"\n")).unwrap();
        assert_eq!(find("one.backup").unwrap(), shelved);
        assert_eq!(find(&shelved.display().to_string()).unwrap(), shelved);
        let missing = find("two.backup").unwrap_err();
        assert_eq!(missing.code, "unknown_backup");
        let named = |place: &str| missing.text.contains(place);
        let places = [here(), other.display().to_string()];
        assert!(named("two.backup") && places.iter().all(|place| named(place)), "{}", missing.text);
        let absolute = find("/nowhere/two.backup").unwrap_err().text;
        assert!(absolute.ends_with("there is no file /nowhere/two.backup"), "{absolute}");
        assert!(find("wrong/one.backup").unwrap_err().text.contains("wrong/one.backup"));
    }
}
