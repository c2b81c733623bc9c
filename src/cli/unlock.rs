//! `tollhouse unlock`: says the seed's passphrase to an appliance that started locked.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use super::operator::{Failure, OperatorArgs, Shown, ask};
use super::unlocking::{said_or_typed, spoken};
use crate::config::Environment;

#[derive(Debug, clap::Args)]
pub(super) struct UnlockArgs {
    #[command(flatten)]
    operator: OperatorArgs,
    /// A file or descriptor whose first line is the passphrase [default: asked for]
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

pub(super) fn run(args: &UnlockArgs, env: &Environment) -> ExitCode {
    ask(&args.operator, env, async |admin| {
        let status = admin.get("/api/v1/status").await;
        if status.as_ref().is_ok_and(|status| status["locked"] != true)
            || status.as_ref().is_err_and(|failure| failure.code == "unauthenticated")
        {
            return Err(Failure::refused("not_locked", "it is not locked"));
        }
        status?;
        let passphrase =
            said_or_typed(args.passphrase_file.as_deref(), "Passphrase of the seed").map_err(spoken)?;
        admin.post("/api/v1/unlock", &json!({ "passphrase": passphrase.text() })).await?;
        Ok(Shown::new(json!({ "locked": false }), "Unlocked: the appliance is starting."))
    })
}
