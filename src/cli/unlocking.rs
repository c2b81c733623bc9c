//! Opens the seed for a command: as the settings say, else by asking at the terminal.

use std::io::IsTerminal;
use std::path::PathBuf;

use anyhow::{Context, Result};
use bitcoin::Network;
use console::Term;

use super::warn;
use crate::clock::SystemEntropy;
use crate::secrets::{Opener, Passphrase, Secrets, SecretsError, Unlock, Unlocked};

/// Wrong passphrases that are taken at the terminal.
const TRIES: u32 = 3;

/// The secrets, opened in the order of the README; `None` when only a passphrase opens them and nobody is
/// there to say it.
pub(super) async fn open(unlock: Unlock, dir: PathBuf, network: Network) -> Result<Option<Secrets>> {
    let opening = tokio::task::spawn_blocking(move || open_now(&unlock, &dir, network));
    opening.await.context("the seed could not be opened")?
}

/// The same, where blocking is allowed.
pub(super) fn open_now(unlock: &Unlock, dir: &std::path::Path, network: Network) -> Result<Option<Secrets>> {
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
    let term = Term::stderr();
    term.write_str(&format!("{what}: ")).context("the terminal cannot be written")?;
    Ok(Passphrase::new(term.read_secure_line().context("the terminal cannot be read")?))
}
