//! `tollhouse init`: writes a configuration file that explains itself.

use std::fs::{self, DirBuilder};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bitcoin::Network;
use clap::{Args, ValueEnum};
use serde_json::json;

use super::next;
use super::operator::{Failure, Shown, fail};
use crate::config::{self, Environment, Flags};

/// What `init` is told.
#[derive(Args, Debug)]
pub(super) struct InitArgs {
    /// Where to write; default tollhouse.toml in the data directory
    #[arg(long, value_name = "FILE", env = "TOLLHOUSE_CONFIG")]
    config: Option<PathBuf>,
    /// The data directory that it goes into, where nothing else is said [env: TOLLHOUSE_DATA_DIR]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// The network that the file is for
    #[arg(long, default_value = "signet")]
    network: Offered,
    /// Replace a file that is there
    #[arg(long)]
    force: bool,
    /// Print one JSON object, errors too
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Offered {
    Regtest,
    Signet,
    Testnet,
    Mainnet,
}

impl From<Offered> for Network {
    fn from(offered: Offered) -> Network {
        match offered {
            Offered::Regtest => Network::Regtest,
            Offered::Signet => Network::Signet,
            Offered::Testnet => Network::Testnet,
            Offered::Mainnet => Network::Bitcoin,
        }
    }
}

pub(super) fn run(args: &InitArgs, env: &Environment) -> ExitCode {
    match written(args, env) {
        Ok(shown) => shown.print(args.json),
        Err(failure) => fail(&failure, args.json),
    }
}

fn written(args: &InitArgs, env: &Environment) -> Result<Shown, Failure> {
    let flags = Flags { config: args.config.clone(), data_dir: args.data_dir.clone(), ..Flags::default() };
    let (path, _) =
        config::config_file(&flags, env).map_err(|problems| Failure::arguments(problems.to_string()))?;
    let file = path.display().to_string();
    write(&path, &config::template(args.network.into()), args.force).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            Failure::refused("file_exists", format!("{file} is there already; --force replaces it."))
        }
        _ => Failure::refused("file", format!("{file} cannot be written: {error}")),
    })?;
    let check = next::command("check", &flags);
    Ok(Shown::new(
        json!({ "file": file }),
        format!(
            "Wrote {file}.\nSay there where blocks come from and what you sell (or sell it later, on the page), then: {check}"
        ),
    ))
}

/// Writes the whole file or none of it, for its owner alone: it may come to hold keys.
fn write(path: &Path, text: &str, replace: bool) -> io::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !dir.exists() {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    // A named temporary file is made with mode 0600.
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    if replace {
        file.persist(path).map_err(|e| e.error)?;
    } else {
        // Fails when the file is there, even if it appeared this very moment.
        file.persist_noclobber(path).map_err(|e| e.error)?;
    }
    fs::File::open(dir)?.sync_all()
}
