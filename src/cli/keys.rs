//! `tollhouse keys`: keys of the admin API for programs, each with its scopes.

use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;
use serde_json::{Value, json};

use super::ground::Yes;
use super::operator::{Failure, OperatorArgs, Shown, ask, table};
use super::times::moment;
use super::warn;
use crate::config::Environment;
use crate::types::Msat;

#[derive(Debug, clap::Args)]
pub(super) struct KeysArgs {
    #[command(flatten)]
    operator: OperatorArgs,
    #[command(subcommand)]
    command: Option<Keys>,
}

#[derive(Debug, Subcommand)]
enum Keys {
    /// Make a key, and show it once
    Add {
        /// What it is for
        #[arg(long)]
        label: String,
        /// read, pay, admin, integrate, metrics, forward_auth or wallet; may be said several times
        #[arg(long, required = true, value_delimiter = ',')]
        scope: Vec<String>,
        /// Of a wallet: what it may pay in a day (UTC), fees included, such as "5000 sat"
        #[arg(long, value_name = "AMOUNT", required_if_eq("scope", "wallet"))]
        per_day: Option<Msat>,
        /// Of a wallet: what one payment may cost, fee included [default: what it may pay in a day]
        #[arg(long, value_name = "AMOUNT", requires = "per_day")]
        per_payment: Option<Msat>,
        /// After how long it ends by itself, such as 30d; without it, never
        #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
        expires: Option<Duration>,
    },
    /// All keys, revoked ones too
    List,
    /// Make a key useless
    Revoke {
        /// Its number, as `list` shows it
        id: u64,
        #[command(flatten)]
        sure: Yes,
    },
}

/// Adds, lists or revokes.
pub(super) fn run(args: &KeysArgs, env: &Environment) -> ExitCode {
    ask(&args.operator, env, async |admin| match &args.command {
        Some(Keys::Add { label, scope, per_day, per_payment, expires }) => {
            let mut wanted = json!({ "label": label, "scopes": scope });
            for (name, limit) in [("per_day_msat", per_day), ("per_payment_msat", per_payment)] {
                if let Some(limit) = limit {
                    wanted[name] = limit.msat().into();
                }
            }
            if let Some(expires) = expires {
                wanted["expires_in_secs"] = expires.as_secs().into();
            }
            let made = admin.post("/api/v1/keys", &wanted).await?;
            let macaroon = made["macaroon"].as_str();
            if !args.operator.json() {
                // The key alone is on stdout, so that a script can catch it.
                warn(match macaroon {
                    Some(_) => {
                        "This is the only time that the key is shown. Give it to a client of LND's REST interface \
                         as its macaroon in hexadecimal, with the operator's address as LND's."
                    }
                    None => {
                        "This is the only time that the key is shown. Send it as: Authorization: Bearer …"
                    }
                });
            }
            let key = macaroon.or(made["key"].as_str()).unwrap_or_default().to_owned();
            Ok(Shown::new(made, key))
        }
        None | Some(Keys::List) => {
            let listed = admin.get("/api/v1/keys").await?;
            let text = shown(&listed);
            Ok(Shown::new(listed, text))
        }
        Some(Keys::Revoke { id, sure }) => {
            sure.or_ask(&format!("Key {id} opens nothing any more, for good: whatever uses it is refused."))?;
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
            if key["expires_at"].is_null() { "never".to_owned() } else { moment(&key["expires_at"]) },
            today(&key["wallet"]),
        ]
    });
    table(["ID", "LABEL", "SCOPES", "MADE", "STATE", "ENDS", "TODAY"], rows)
}

/// What a wallet has spent of its day, and what its payments under way may cost; nothing for other keys.
fn today(wallet: &Value) -> String {
    let amount = |name: &str| wallet[name].as_u64().and_then(|msat| Msat::new(msat).ok());
    let (Some(spent), Some(limit)) = (amount("spent_today_msat"), amount("per_day_msat")) else {
        return String::new();
    };
    match amount("reserved_today_msat").filter(|reserved| *reserved > Msat::ZERO) {
        Some(reserved) => format!("{spent} of {limit} ({reserved} on their way)"),
        None => format!("{spent} of {limit}"),
    }
}
