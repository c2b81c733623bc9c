//! How a command talks to a running appliance: where its admin API is, with which key, and how what
//! comes back is shown.
//!
//! A command flattens [`OperatorArgs`] (its flags work before and after a subcommand's name), and calls
//! [`ask`] with what it does; that gives [`Shown`], a JSON value and a text, or a [`Failure`]. With
//! `--json` one object is printed, for failures too. Exit codes: 0 done; 1 refused or failed; 2 bad
//! arguments, or no appliance found to ask; 4 it did not answer.

mod admin;

use std::path::PathBuf;
use std::process::ExitCode;

use comfy_table::{Table, presets};
use serde_json::{Value, json};

pub(super) use admin::Admin;
use admin::{read_key, same};

use super::run::in_runtime;
use super::{logging, say, warn};
use crate::config::{AdminPlace, Environment, Flags};
use crate::types::grouped_in;

/// The code of an answer that did not come.
const UNREACHABLE: &str = "unreachable";
/// Where the request did not go out either.
const NOBODY_THERE: &str = "nothing answers there: is the appliance running?";

/// Which appliance is meant, and how its answer is shown.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(
    next_help_heading = "The appliance to talk to (without any: the configured one, else the running demo)"
)]
pub(super) struct OperatorArgs {
    /// Its configuration file [env: TOLLHOUSE_CONFIG]
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Its data directory [env: TOLLHOUSE_DATA_DIR]
    #[arg(long, value_name = "DIR", global = true)]
    data_dir: Option<String>,
    /// Its network [env: TOLLHOUSE_NETWORK]
    #[arg(long, global = true)]
    network: Option<String>,
    /// The address of its admin API, such as http://127.0.0.1:8403 [env: TOLLHOUSE_ADMIN_URL]
    #[arg(long, value_name = "URL", global = true)]
    admin: Option<String>,
    /// A file with a key for it; or the key itself in the variable TOLLHOUSE_ADMIN_KEY
    #[arg(long, value_name = "FILE", global = true)]
    admin_key_file: Option<PathBuf>,
    /// The running demo
    #[arg(long, global = true, conflicts_with_all = ["config", "data_dir", "network", "admin"])]
    demo: bool,
    /// Print one JSON object, errors too
    #[arg(long, global = true)]
    json: bool,
}

impl OperatorArgs {
    /// The running demo's.
    pub(super) fn of_demo(json: bool) -> OperatorArgs {
        OperatorArgs { demo: true, json, ..OperatorArgs::default() }
    }

    /// Where the ledger of the configured appliance lies, whether it runs or not; `None` when another one
    /// is meant, or none is configured.
    pub(super) fn ledger_file(&self, env: &Environment) -> Result<Option<PathBuf>, Failure> {
        Ok(self.place(env)?.map(|place| place.key_file.with_file_name("ledger.db")))
    }

    /// The configured appliance's place, whether it runs or not; `None` when another one is meant, or none is
    /// configured.
    pub(super) fn place(&self, env: &Environment) -> Result<Option<AdminPlace>, Failure> {
        if self.is_elsewhere(env) {
            return Ok(None);
        }
        AdminPlace::find(&self.flags(), env).map_err(|problems| Failure::arguments(problems.to_string()))
    }

    /// Whether another one is meant than the configured one.
    pub(super) fn is_elsewhere(&self, env: &Environment) -> bool {
        let configured = self.config.is_some() || self.data_dir.is_some() || self.network.is_some();
        let elsewhere = self.admin.is_some() || (!configured && env.get("TOLLHOUSE_ADMIN_URL").is_some());
        self.demo || elsewhere
    }

    /// What was said of the settings.
    pub(super) fn settings_flags(&self) -> Flags {
        self.flags()
    }

    fn flags(&self) -> Flags {
        Flags {
            config: self.config.clone(),
            data_dir: self.data_dir.clone(),
            network: self.network.clone(),
            ..Flags::default()
        }
    }
}

/// What a command found out.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    value: Value,
    text: String,
    /// Not a digit of the text is set apart from another: a table for spreadsheets, or what somebody else wrote.
    exact: bool,
    exit: u8,
}

impl Shown {
    /// `value` for programs, `text` for people; the command succeeded.
    pub(super) fn new(value: Value, text: impl Into<String>) -> Shown {
        Shown { value, text: text.into(), exact: false, exit: 0 }
    }

    /// The same, with the text as it is: programs may read it.
    pub(super) fn exact(value: Value, text: impl Into<String>) -> Shown {
        Shown { exact: true, ..Shown::new(value, text) }
    }

    /// Prints it, and gives what the process ends with.
    pub(super) fn print(&self, as_json: bool) -> ExitCode {
        let said = match (as_json, self.exact) {
            (true, _) => say(&self.value),
            (false, true) => say(&self.text),
            (false, false) => say(grouped_in(&self.text)),
        };
        if said.is_err() { ExitCode::FAILURE } else { ExitCode::from(self.exit) }
    }

    /// The same, ending with `exit`.
    #[must_use]
    pub(super) fn exiting(mut self, exit: u8) -> Shown {
        self.exit = exit;
        self
    }
}

/// Why a command ends without success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// Stable code: the API's own, or one of ours.
    pub(super) code: String,
    /// What the process ends with.
    pub(super) exit: u8,
    /// For a person.
    pub(super) text: String,
    /// The key of a move of which nobody knows whether it was begun: asked under it again, it is made once.
    pub(super) key: Option<String>,
}

impl Failure {
    fn new(code: &str, exit: u8, text: impl Into<String>) -> Failure {
        Failure { code: code.to_owned(), exit, text: text.into(), key: None }
    }

    /// The command does not make sense as it was typed.
    pub(super) fn arguments(text: impl Into<String>) -> Failure {
        Failure::new("bad_arguments", 2, text)
    }

    /// It was understood and is not done.
    pub(super) fn refused(code: &str, text: impl Into<String>) -> Failure {
        Failure::new(code, 1, text)
    }

    fn unreachable(text: String) -> Failure {
        Failure::new(UNREACHABLE, 4, text)
    }

    /// Of a move that was asked for under `key`: where its answer was lost, the way to it is said.
    fn of_move(self, key: &str) -> Failure {
        let lost = self.code == UNREACHABLE && !self.text.ends_with(NOBODY_THERE);
        if !lost && self.code != "internal" && !self.code.starts_with("http_5") {
            return self;
        }
        let text = format!(
            "{}. It may have been done all the same: see `tollhouse operations`, or say the same again with --key {key}, \
             which does it once",
            self.text.trim_end_matches('.')
        );
        Failure { text, key: Some(key.to_owned()), ..self }
    }
}

/// Does `work` with the appliance's files, prints what comes of it, and gives the exit code.
pub(super) fn ask_here(args: &OperatorArgs, work: impl FnOnce() -> Result<Shown, Failure>) -> ExitCode {
    logging::start("warn");
    match work() {
        Ok(shown) => shown.print(args.json),
        Err(failure) => fail(&failure, args.json),
    }
}

/// Finds the appliance, does `work` with it, prints what comes of it, and gives the exit code.
pub(super) fn ask(
    args: &OperatorArgs,
    env: &Environment,
    work: impl AsyncFnOnce(&Admin) -> Result<Shown, Failure>,
) -> ExitCode {
    logging::start("warn");
    let done = in_runtime(async {
        Ok(match Admin::find(args, env) {
            Ok(admin) => work(&admin).await,
            Err(failure) => Err(failure),
        })
    });
    let internal = |error| Failure::new("internal", 1, format!("{error:#}"));
    match done.map_err(internal).and_then(std::convert::identity) {
        Ok(shown) => shown.print(args.json),
        Err(failure) => fail(&failure, args.json),
    }
}

/// Says why nothing came of it.
pub(super) fn fail(failure: &Failure, as_json: bool) -> ExitCode {
    if as_json {
        let mut told = json!({ "error": failure.text, "code": failure.code, "exit": failure.exit });
        if let Some(key) = &failure.key {
            told["key"] = json!(key);
        }
        let _ = say(told);
    } else {
        warn(format!("error: {}", grouped_in(&failure.text)));
    }
    ExitCode::from(failure.exit)
}

/// Rows under a header, without spaces at the lines' ends.
pub(super) fn table<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(header);
    rows.into_iter().for_each(|row| {
        table.add_row(row.map(|cell| grouped_in(&cell)));
    });
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

impl OperatorArgs {
    /// Whether one JSON object is to be printed.
    pub(super) fn json(&self) -> bool {
        self.json
    }

    /// The key that was given for `url`. The one in the environment stands beside the address there, when
    /// there is one, and goes to no other.
    fn key(&self, url: &str, usual: Option<&str>, env: &Environment) -> Result<Option<String>, Failure> {
        if let Some(file) = &self.admin_key_file {
            return read_key(file).map(Some);
        }
        let Some(key) = env.get("TOLLHOUSE_ADMIN_KEY") else { return Ok(None) };
        let usual = usual.or_else(|| env.get("TOLLHOUSE_ADMIN_URL"));
        if usual.is_some_and(|usual| !same(url, usual)) {
            return Err(Failure::arguments(
                "TOLLHOUSE_ADMIN_KEY belongs to TOLLHOUSE_ADMIN_URL, which is another address: say \
                 --admin-key-file, too",
            ));
        }
        Ok(Some(key.to_owned()))
    }
}
