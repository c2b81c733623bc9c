//! `tollhouse migrate`: moves an appliance with its channels to another machine, in one sealed file.

use std::io::{ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use zeroize::Zeroizing;

use super::ground::{Ground, Yes, ask_line};
use super::operator::{Failure, OperatorArgs, Shown, fail};
use super::{logging, next, warn};
use crate::app::take_dir;
use crate::backup::{self, MoveCode, MoveFault, Moved, Moving};
use crate::clock::{Clock, SystemClock, SystemEntropy};
use crate::config::{Environment, Flags, Settings, config_file, data_dir_of};
use crate::secrets;
use crate::types::Timestamp;

#[derive(Debug, clap::Args)]
pub(super) struct MigrateArgs {
    #[command(flatten)]
    operator: OperatorArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write everything to one sealed file, while the appliance is stopped; it will not start here again
    Export {
        /// The file to write
        file: PathBuf,
        /// Where the code goes that opens it; else it is shown on the terminal
        #[arg(long, value_name = "FILE")]
        code_file: Option<PathBuf>,
        #[command(flatten)]
        sure: Yes,
    },
    /// Fill an empty data directory from such a file
    Import {
        /// The file
        file: PathBuf,
        /// A file with its code; else it is asked for
        #[arg(long, value_name = "FILE")]
        code_file: Option<PathBuf>,
        #[command(flatten)]
        sure: Yes,
    },
    /// Let this directory start again after an export, because the copy was never started and never will be
    Undo {
        /// Say that it is so: two machines with the same channels lose coins
        #[arg(long)]
        the_copy_never_ran: bool,
    },
}

/// Does one of them.
pub(super) fn run(args: &MigrateArgs, env: &Environment) -> ExitCode {
    logging::start("warn");
    let done = match &args.command {
        Command::Export { file, code_file, sure } => export(args, env, file, code_file.as_deref(), *sure),
        Command::Import { file, code_file, sure } => import(args, env, file, code_file.as_deref(), *sure),
        Command::Undo { the_copy_never_ran } => undo(args, env, *the_copy_never_ran),
    };
    match done {
        Ok(shown) => shown.print(args.operator.json()),
        Err(failure) => fail(&failure, args.operator.json()),
    }
}

fn export(
    args: &MigrateArgs,
    env: &Environment,
    file: &Path,
    code_file: Option<&Path>,
    sure: Yes,
) -> Result<Shown, Failure> {
    let show = !args.operator.json() && std::io::stdout().is_terminal();
    if code_file.is_none() && !show {
        return Err(Failure::arguments("nobody sees the code here: say where it goes with --code-file FILE"));
    }
    let ground = Ground::find(&args.operator, env)?;
    let _lock = ground.take()?;
    let network = ground.network.to_string();
    let moving = Moving { data_dir: &ground.data_dir, network: &network };
    backup::refuse_if_moved(&ground.dir).map_err(refused)?;
    sure.or_ask(
        &format!(
            "Everything in {} goes to {}: the seed as it lies there, the channels, the ledger, the keys.\n\
             From then on this directory refuses to start: two machines with the same channels lose coins.\n\
             Import the file once, on one machine, and delete it. A passphrase or key file for the seed that lies\n\
             elsewhere does not go along.",
            ground.dir.display(),
            file.display()
        ),
    )?;
    let entropy = SystemEntropy::new();
    let code = MoveCode::new(entropy.as_ref());
    if let Some(path) = code_file {
        let text = Zeroizing::new(format!("{}\n", code.words()));
        secrets::write_private(path, &text).map_err(|error| unwritten(path, &error))?;
    }
    let beside = beside(&ground, args, env);
    let now = SystemClock::new(Timestamp::default()).now();
    let bar = bar();
    let moved = moving
        .export(file, &beside, (&code, entropy.as_ref()), now, &|done, total| {
            show_progress(&bar, done, total)
        })
        .map_err(refused);
    bar.finish_and_clear();
    let moved = moved?;
    let code_text = match code_file {
        Some(path) => format!("The code that opens it is in {}.", path.display()),
        None => format!("The code that opens it, shown only now:\n\n  {}\n", code.words()),
    };
    let text = format!(
        "{} files, {} bytes are in {}.\n{code_text}\nOn the other machine: tollhouse migrate import {}",
        moved.pieces.len(),
        moved.bytes(),
        file.display(),
        file.file_name().unwrap_or_default().to_string_lossy(),
    );
    Ok(Shown::new(json!({ "file": file, "moved": moved }), text))
}

fn import(
    args: &MigrateArgs,
    env: &Environment,
    file: &Path,
    code_file: Option<&Path>,
    sure: Yes,
) -> Result<Shown, Failure> {
    let data_dir = new_home(args, env)?;
    let code = match code_file {
        Some(path) => Zeroizing::new(
            std::fs::read_to_string(path)
                .map_err(|error| Failure::arguments(format!("{}: {error}", path.display())))?,
        ),
        None => ask_line("The code of twelve words: ")?,
    };
    let code = MoveCode::read(&code).map_err(refused)?;
    let _lock = take_dir(&data_dir).map_err(|error| Failure::refused("running", format!("{error:#}")))?;
    sure.or_ask(
        &format!(
            "Everything in {} goes to {}, its channels too. Import it once, on one machine: two machines with the\n\
             same channels lose coins. The one that it comes from must not start again.",
            file.display(),
            data_dir.display(),
        ),
    )?;
    let bar = bar();
    let imported = backup::import(file, &data_dir, &code, &|done, total| show_progress(&bar, done, total));
    bar.finish_and_clear();
    let (moved, left_out) = imported.map_err(refused)?;
    let mut text = format!(
        "{} files, {} bytes are in {}. The file is renamed, never to be imported again: delete it.",
        moved.pieces.len(),
        moved.bytes(),
        data_dir.display(),
    );
    for path in &left_out {
        text.push_str(&format!("\n{} was there already and stays as it is.", path.display()));
    }
    text.push_str(&after_import(&args.operator.settings_flags(), env, &moved, &data_dir));
    Ok(Shown::new(json!({ "data_dir": data_dir, "moved": moved, "left_out": left_out }), text))
}

/// The data directory that is filled: the one that is said, else the configuration's, else the usual one.
fn new_home(args: &MigrateArgs, env: &Environment) -> Result<PathBuf, Failure> {
    let said = data_dir_of(&args.operator.settings_flags(), env)
        .map_err(|problems| Failure::arguments(problems.to_string()))?;
    said.ok_or_else(|| Failure::arguments("there is no home directory: say --data-dir DIR"))
}

/// What comes next, for what `flags` say: which configuration counts here, and what in it may be another machine's.
fn after_import(flags: &Flags, env: &Environment, moved: &Moved, data_dir: &Path) -> String {
    let carried = moved.beside().filter(|path| path.extension().is_some_and(|end| end == "toml"));
    let carried: Vec<PathBuf> = carried.map(|path| data_dir.join(path)).collect();
    let usual = config_file(flags, env).ok().filter(|(path, _)| path.is_file());
    let (config, flags) = match (usual, carried.as_slice()) {
        (Some((path, _)), _) => (path.display().to_string(), flags.clone()),
        (None, []) => {
            return "\nNo configuration came along: write one with `tollhouse init`, whose data_dir names this \
                    directory. Then: tollhouse run"
                .to_owned();
        }
        // Of several, one is the configuration and the others are files of services that it names.
        (None, [one]) => (one.display().to_string(), said_with(one)),
        (None, _) => {
            (data_dir.join("FILE.toml").display().to_string(), said_with(&data_dir.join("FILE.toml")))
        }
    };
    let which = match carried.len() {
        0 | 1 => String::new(),
        _ => {
            let names: Vec<String> = carried.iter().map(|path| path.display().to_string()).collect();
            format!("\nThe configuration and the files that it names came along: {}.", names.join(", "))
        }
    };
    format!(
        "{which}\nThe configuration is {config}. Before the first start, look over its paths and addresses, which may be \
         others on this machine; where it says data_dir, that must be {}. Then:\n  {}\n  {}",
        data_dir.display(),
        next::command("check", &flags),
        next::command("run", &flags),
    )
}

fn said_with(config: &Path) -> Flags {
    Flags { config: Some(config.to_owned()), ..Flags::default() }
}

fn undo(args: &MigrateArgs, env: &Environment, sure: bool) -> Result<Shown, Failure> {
    let ground = Ground::find(&args.operator, env)?;
    let _lock = ground.take()?;
    if !sure {
        let text = "if the copy was started even once, this directory's channels are old, and to start it loses coins. \
                    Say --the-copy-never-ran when it never was and never will be";
        return Err(Failure::refused("not_confirmed", text));
    }
    let network = ground.network.to_string();
    Moving { data_dir: &ground.data_dir, network: &network }.undo().map_err(refused)?;
    warn("Destroy the file that was exported: it must never be imported now.");
    let text = format!("{} may start again.", ground.dir.display());
    Ok(Shown::new(json!({ "undone": ground.dir }), text))
}

/// Why the code was not written.
fn unwritten(path: &Path, error: &std::io::Error) -> Failure {
    let path = path.display();
    Failure::arguments(match error.kind() {
        ErrorKind::AlreadyExists => format!(
            "{path} is there already, and may be the code of another file: name one that is not there with --code-file. \
             Nothing was exported"
        ),
        _ => format!("{path}: {error}"),
    })
}

/// The files of settings, which go along beside the network's directory.
fn beside(ground: &Ground, args: &MigrateArgs, env: &Environment) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = ground.config.clone().into_iter().collect();
    // Settings that are not in order are moved as they are.
    if let Ok(settings) = Settings::load(&args.operator.settings_flags(), env) {
        let named = settings.service_files.into_iter().map(|file| file.file);
        files.extend(named.filter(|file| file.is_file()));
    }
    files.sort();
    files.dedup();
    files
}

fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{bytes} of {total_bytes} [{wide_bar}] {percent} %");
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn show_progress(bar: &ProgressBar, done: u64, total: u64) {
    bar.set_length(total);
    bar.set_position(done);
}

fn refused(fault: MoveFault) -> Failure {
    let code = match &fault {
        MoveFault::Moved { .. } => "moved",
        MoveFault::Nothing(_) => "nothing_to_move",
        MoveFault::Occupied(_) => "occupied",
        MoveFault::NotACode => "bad_code",
        MoveFault::Unreadable { .. } | MoveFault::Nonsense(_) | MoveFault::TooNew(_) => "bad_file",
        MoveFault::File { .. } => "file",
    };
    // Whatever the terminal has not been told yet comes before the refusal.
    let _ = std::io::stderr().flush();
    Failure::refused(code, fault.to_string())
}
