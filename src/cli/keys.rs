//! `tollhouse keys`: keys of the admin API for programs, each with its scopes.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::operator::{Failure, OperatorArgs, Shown, ask, table};
use super::times::moment;
use super::warn;
use crate::config::Environment;

#[derive(Debug, clap::Args)]
pub(super) struct KeysArgs {
    #[command(flatten)]
    operator: OperatorArgs,
    #[command(subcommand)]
    command: Keys,
}

#[derive(Debug, Subcommand)]
enum Keys {
    /// Make a key, and show it once
    Add {
        /// What it is for
        #[arg(long)]
        label: String,
        /// read, pay, admin, integrate or forward_auth; may be said several times
        #[arg(long, required = true, value_delimiter = ',')]
        scope: Vec<String>,
    },
    /// All keys, revoked ones too
    List,
    /// Make a key useless
    Revoke {
        /// Its number, as `list` shows it
        id: u64,
    },
}

/// Adds, lists or revokes.
pub(super) fn run(args: &KeysArgs, env: &Environment) -> ExitCode {
    ask(&args.operator, env, async |admin| match &args.command {
        Keys::Add { label, scope } => {
            let made = admin.post("/api/v1/keys", &json!({ "label": label, "scopes": scope })).await?;
            if !args.operator.json() {
                // The key alone is on stdout, so that a script can catch it.
                warn("This is the only time that the key is shown. Send it as: Authorization: Bearer …");
            }
            let key = made["key"].as_str().unwrap_or_default().to_owned();
            Ok(Shown::new(made, key))
        }
        Keys::List => {
            let listed = admin.get("/api/v1/keys").await?;
            let text = shown(&listed);
            Ok(Shown::new(listed, text))
        }
        Keys::Revoke { id } => {
            admin.delete(&format!("/api/v1/keys/{id}")).await?;
            Ok::<_, Failure>(Shown::new(
                json!({ "revoked": id }),
                format!("Key {id} opens nothing any more."),
            ))
        }
    })
}

fn shown(listed: &Value) -> String {
    let rows = listed["keys"].as_array().into_iter().flatten().map(|key| {
        let scopes: Vec<&str> =
            key["scopes"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        [
            key["id"].to_string(),
            key["label"].as_str().unwrap_or_default().to_owned(),
            scopes.join(" "),
            moment(&key["created_at"]),
            if key["revoked_at"].is_null() { "live".to_owned() } else { "revoked".to_owned() },
        ]
    });
    table(["ID", "LABEL", "SCOPES", "MADE", "STATE"], rows)
}
