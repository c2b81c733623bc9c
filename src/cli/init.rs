//! `tollhouse init`: writes a configuration file that explains itself.

use std::fs::{self, DirBuilder};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bitcoin::Network;
use clap::{Args, ValueEnum};

use super::{say, warn};
use crate::config::{self, Environment, Flags};

/// What `init` is told.
#[derive(Args, Debug)]
pub(super) struct InitArgs {
    /// Where to write; default tollhouse.toml in the data directory
    #[arg(long, value_name = "FILE", env = "TOLLHOUSE_CONFIG")]
    path: Option<PathBuf>,
    /// The network that the file is for
    #[arg(long, default_value = "signet")]
    network: Offered,
    /// Replace a file that is there
    #[arg(long)]
    force: bool,
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
    let flags = Flags { config: args.path.clone(), ..Flags::default() };
    let path = match config::config_file(&flags, env) {
        Ok((path, _)) => path,
        Err(problems) => {
            warn(problems);
            return ExitCode::from(2);
        }
    };
    match write(&path, &config::template(args.network.into()), args.force) {
        Ok(()) => {
            let told = say(format_args!(
                "Wrote {0}.\nSay there what you sell, then: tollhouse check --config {0}",
                path.display()
            ));
            if told.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            warn(format_args!("{} is there already; --force replaces it.", path.display()));
            ExitCode::FAILURE
        }
        Err(e) => {
            warn(format_args!("{} cannot be written: {e}", path.display()));
            ExitCode::FAILURE
        }
    }
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
