//! `tollhouse password`: another password for the operator's pages; and a way back in when it is lost.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;

use super::operator::{Admin, Failure, OperatorArgs, Shown, ask, ask_here};
use super::unlocking::{attended, said_or_typed, typed};
use crate::config::Environment;
use crate::secrets::Passphrase;
use crate::web::claim;

#[derive(Debug, clap::Args)]
pub(super) struct PasswordArgs {
    #[command(flatten)]
    operator: OperatorArgs,
    /// A file or descriptor whose first line is the password that is set [default: asked for]
    #[arg(long, value_name = "FILE")]
    current_password_file: Option<PathBuf>,
    /// A file or descriptor whose first line is the new one [default: asked for]
    #[arg(long, value_name = "FILE")]
    new_password_file: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// It is lost: have the next start forget it, and print a one-time link that sets another
    Forget,
}

/// Changes it, or has it forgotten.
pub(super) fn run(args: &PasswordArgs, env: &Environment) -> ExitCode {
    match args.command {
        None => ask(&args.operator, env, async |admin| change(admin, args).await),
        Some(Command::Forget) => ask_here(&args.operator, || forget(args, env)),
    }
}

async fn change(admin: &Admin, args: &PasswordArgs) -> Result<Shown, Failure> {
    let (current, new) = tokio::task::block_in_place(|| said(args))?;
    let body = json!({ "current": current.text(), "new": new.text() });
    admin.post("/api/v1/password", &body).await?;
    let text = "The new password is set. Whoever was logged in is logged out; keys stay as they are.";
    Ok(Shown::new(json!({ "changed": true }), text))
}

/// The one that is set, and the new one: from files, typed, or as two lines of stdin.
fn said(args: &PasswordArgs) -> Result<(Passphrase, Passphrase), Failure> {
    let spoken = |error: anyhow::Error| Failure::refused("password", format!("{error:#}"));
    let current = said_or_typed(args.current_password_file.as_deref(), "The password now").map_err(spoken)?;
    let file = args.new_password_file.as_deref();
    let new = said_or_typed(file, "New password (at least 12 characters)").map_err(spoken)?;
    if file.is_none() && attended() {
        let again = typed("The same again").map_err(spoken)?;
        if !new.repeats(&again) {
            return Err(Failure::refused("not_the_same", "the two are not the same: nothing was changed"));
        }
    }
    Ok((current, new))
}

fn forget(args: &PasswordArgs, env: &Environment) -> Result<Shown, Failure> {
    let place = args.operator.place(env)?.ok_or_else(|| {
        Failure::arguments("which appliance's? Use --config FILE, or --data-dir DIR and --network NETWORK")
    })?;
    let dir = place.data_dir.join(place.network.to_string());
    if !dir.is_dir() {
        let text = format!(
            "nothing ran in {} yet: the first start prints a link that sets a password",
            dir.display()
        );
        return Err(Failure::refused("nothing_there", text));
    }
    let file = claim::forget_at_start(&dir)
        .map_err(|error| Failure::refused("file", format!("{}: {error}", dir.display())))?;
    let text = format!(
        "The next start forgets the password and prints a one-time link that sets another. Until then the old one is \
         good; to leave it at that, delete\n\n  {}",
        file.display()
    );
    Ok(Shown::new(json!({ "file": file.display().to_string() }), text))
}
