//! Opens the seed for a command: as the settings say, else by asking at the terminal.

use std::fmt::Display;
use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use bitcoin::Network;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use super::operator::Failure;
use super::warn;
use crate::clock::SystemEntropy;
use crate::secrets::{Opener, Passphrase, Secrets, SecretsError, Unlock, Unlocked};

/// Wrong passphrases that are taken at the terminal.
const TRIES: u32 = 3;

/// The same as [`open_now`], where blocking is not allowed.
pub(super) async fn open(unlock: Unlock, dir: PathBuf, network: Network) -> Result<Option<Secrets>> {
    let opening = tokio::task::spawn_blocking(move || open_now(&unlock, &dir, network));
    opening.await.context("the seed could not be opened")?
}

/// The secrets, opened in the order of the README; `None` when only a passphrase opens them and nobody is
/// there to say it. Blocks.
pub(super) fn open_now(unlock: &Unlock, dir: &Path, network: Network) -> Result<Option<Secrets>> {
    let entropy = SystemEntropy::new();
    if let Unlocked::Open(secrets) = unlock.attempt(dir, network, entropy.as_ref())? {
        return Ok(Some(secrets));
    }
    if !attended() {
        return Ok(None);
    }
    let mut tries = TRIES;
    loop {
        let opener = Opener::Passphrase(typed("Passphrase of the seed")?);
        tries -= 1;
        match Secrets::open_or_create(dir, network, &opener, entropy.as_ref()) {
            Err(SecretsError::WrongPassphrase { .. }) if tries > 0 => warn("That is not the passphrase."),
            opened => return Ok(Some(opened?)),
        }
    }
}

/// Whether somebody can be asked.
pub(super) fn attended() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// What somebody types without an echo.
pub(super) fn typed(what: &str) -> Result<Passphrase> {
    // Before the prompt: whoever types at once is not shown either.
    let quiet = Quiet::new().context("the terminal's echo cannot be turned off")?;
    prompt(&format!("{what}: "))?;
    let line = line()?;
    drop(quiet);
    warn("");
    Ok(Passphrase::new(line.as_str()))
}

/// Asks on stderr, where the answer is not mixed with what a command prints.
pub(super) fn prompt(text: &str) -> Result<()> {
    let mut stderr = std::io::stderr().lock();
    write!(stderr, "{text}").and_then(|()| stderr.flush()).context("the terminal cannot be written")
}

/// A line of stdin without its end.
pub(super) fn line() -> Result<Zeroizing<String>> {
    let mut line = Zeroizing::new(String::with_capacity(1_024));
    let read = std::io::stdin().lock().read_line(&mut line).context("stdin cannot be read")?;
    if read == 0 {
        bail!("nobody is there to say it: run this at a terminal, or give it as a line on stdin");
    }
    let length = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(length);
    Ok(line)
}

/// A terminal that does not show what is typed, until this is dropped.
struct Quiet(Termios);

impl Quiet {
    fn new() -> std::io::Result<Quiet> {
        let before = tcgetattr(std::io::stdin())?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        tcsetattr(std::io::stdin(), OptionalActions::Now, &quiet)?;
        Ok(Quiet(before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        if let Err(error) = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.0) {
            warn(format!("warning: the terminal stays without an echo: {error}"));
        }
    }
}

/// The first line of the file, what somebody types, or the first line of stdin.
pub(super) fn said_or_typed(file: Option<&Path>, what: &str) -> Result<Passphrase> {
    if let Some(file) = file {
        return Ok(Passphrase::read(file)?);
    }
    if attended() {
        return typed(what);
    }
    Ok(Passphrase::new(line()?.as_str()))
}

/// An error as a command says it.
pub(super) fn spoken(error: impl Display) -> Failure {
    Failure::refused("seed", format!("{error:#}"))
}
