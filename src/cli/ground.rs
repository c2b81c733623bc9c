//! A configured appliance's directory while it is stopped, for commands that work on its files; and how they ask
//! before they do.

use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;

use bitcoin::Network;
use zeroize::Zeroizing;

use super::operator::{Failure, OperatorArgs};
use super::{next, unlocking, warn};
use crate::app::take_dir;
use crate::backup::{Owner, PURPOSE};
use crate::config::{Environment, Flags};
use crate::node::NodeSeed;
use crate::secrets::{Secrets, Unlock};
use crate::store::DirLock;

/// Where a configured appliance keeps its things.
#[derive(Clone, Debug)]
pub(super) struct Ground {
    /// The data directory.
    pub(super) data_dir: PathBuf,
    /// The network's directory in it.
    pub(super) dir: PathBuf,
    /// The network, which the directory is called after.
    pub(super) network: Network,
    /// The configuration file.
    pub(super) config: Option<PathBuf>,
    /// What was said to find it.
    pub(super) flags: Flags,
    unlock: Unlock,
}

impl Ground {
    /// The configured appliance's.
    ///
    /// # Errors
    /// When another one is meant, or none is configured.
    pub(super) fn find(args: &OperatorArgs, env: &Environment) -> Result<Ground, Failure> {
        let place = args.place(env)?.ok_or_else(|| {
            Failure::arguments(
                "this works on the files of a configured appliance, and none is: say --config FILE, or write one with \
                 `tollhouse init --network NAME`",
            )
        })?;
        let nowhere = || Failure::arguments("the data directory is not a directory");
        let dir = place.key_file.parent().ok_or_else(nowhere)?.to_owned();
        let data_dir = dir.parent().ok_or_else(nowhere)?.to_owned();
        let name = dir.file_name().and_then(|name| name.to_str()).ok_or_else(nowhere)?;
        let network = name.parse().map_err(|_| nowhere())?;
        let flags = args.settings_flags();
        Ok(Ground { data_dir, dir, network, config: place.file, flags, unlock: place.unlock })
    }

    /// The same, whose seed opens with the passphrase in `file`, where one is said.
    #[must_use]
    pub(super) fn opened_with(self, file: Option<PathBuf>) -> Ground {
        let passphrase_file = file.or(self.unlock.passphrase_file);
        Ground { unlock: Unlock { passphrase_file, ..self.unlock }, ..self }
    }

    /// Takes the directory, so that no appliance runs on it meanwhile.
    ///
    /// # Errors
    /// When one runs.
    pub(super) fn take(&self) -> Result<DirLock, Failure> {
        if !self.data_dir.is_dir() {
            return Err(Failure::refused("no_seed", next::no_seed(&self.dir, &self.flags)));
        }
        let taken = |error| Failure::refused("running", format!("{error:#}. Then this again"));
        take_dir(&self.data_dir).map_err(taken)
    }

    /// Opens the secrets that are there, asking for the passphrase where it must; makes none.
    ///
    /// # Errors
    /// When there are none, or they cannot be opened.
    pub(super) fn secrets(&self) -> Result<Secrets, Failure> {
        if !self.dir.join("seed").exists() {
            return Err(Failure::refused("no_seed", next::no_seed(&self.dir, &self.flags)));
        }
        let locked = || {
            Failure::refused(
                "locked",
                "the seed is locked: say --passphrase-file or unlock.passphrase_file, or run this at a terminal",
            )
        };
        unlocking::open_now(&self.unlock, &self.dir, self.network)
            .map_err(|error| Failure::refused("seed", format!("{error:#}")))?
            .ok_or_else(locked)
    }

    /// Whose backups are this appliance's.
    ///
    /// # Errors
    /// When the seed is of no use.
    pub(super) fn owner(&self, secrets: &Secrets) -> Result<Owner, Failure> {
        let node_id = NodeSeed::new(secrets.seed()).node_id(self.network);
        let node_id = node_id.map_err(|error| Failure::refused("seed", error.to_string()))?;
        Ok(Owner { key: secrets.derive(PURPOSE), network: self.network.to_string(), node_id })
    }
}

/// Whether somebody who asks for what cannot be undone is asked back.
#[derive(clap::Args, Clone, Copy, Debug)]
pub(super) struct Yes {
    /// Do it without asking
    #[arg(long)]
    yes: bool,
}

impl Yes {
    /// Asks whether to do `what`, unless that was said beforehand.
    ///
    /// # Errors
    /// When the answer is no, or nobody is there to ask.
    pub(super) fn or_ask(self, what: &str) -> Result<(), Failure> {
        agree(what, self.yes)
    }
}

/// Says what is about to happen and asks whether to do it, unless that was said beforehand.
///
/// # Errors
/// When the answer is no, or nobody is there to ask.
pub(super) fn agree(what: &str, yes: bool) -> Result<(), Failure> {
    warn(crate::types::grouped_in(what));
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::refused("not_confirmed", "nothing was done: say --yes to do it"));
    }
    match ask_line("Do it? (yes or no) ")?.trim() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::refused("not_confirmed", "nothing was done")),
    }
}

/// One line that a person types.
///
/// # Errors
/// When none comes.
pub(super) fn ask_line(question: &str) -> Result<Zeroizing<String>, Failure> {
    let mut err = std::io::stderr().lock();
    let _ = write!(err, "{question}").and_then(|()| err.flush());
    let mut line = Zeroizing::new(String::new());
    match std::io::stdin().lock().read_line(&mut line) {
        Ok(1..) => Ok(line),
        Ok(0) | Err(_) => Err(Failure::refused("not_confirmed", "no answer came: nothing was done")),
    }
}
