//! `tollhouse operations`: every move of coins that was asked for, and what became of it.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::moving::row_text;
use super::operator::{OperatorArgs, Shown, ask, table};
use super::times::moment;
use crate::config::Environment;

#[derive(Debug, clap::Args)]
pub(super) struct OperationsArgs {
    #[command(flatten)]
    operator: OperatorArgs,
    #[command(subcommand)]
    command: Option<Operations>,
}

#[derive(Debug, Subcommand)]
enum Operations {
    /// The newest ones
    List {
        /// How many
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
    /// One of them
    Show {
        /// Its number
        id: i64,
    },
    /// Say what became of one that is unclear
    Settle {
        /// Its number
        id: i64,
        /// It was done, or it failed and nothing moved
        #[arg(value_parser = ["done", "failed"])]
        outcome: String,
    },
}

pub(super) fn run(args: &OperationsArgs, env: &Environment) -> ExitCode {
    ask(&args.operator, env, async |admin| match &args.command {
        None => listed(admin.get("/api/v1/operations?limit=20").await?),
        Some(Operations::List { limit }) => {
            listed(admin.get(&format!("/api/v1/operations?limit={limit}")).await?)
        }
        Some(Operations::Show { id }) => {
            let row = admin.get(&format!("/api/v1/operations/{id}")).await?;
            let text = row_text(&row);
            Ok(Shown::new(row, text))
        }
        Some(Operations::Settle { id, outcome }) => {
            let path = format!("/api/v1/operations/{id}/settle");
            let row = admin.post(&path, &json!({ "outcome": outcome })).await?;
            let text = row_text(&row);
            Ok(Shown::new(row, text))
        }
    })
}

fn listed(rows: Value) -> Result<Shown, super::operator::Failure> {
    let lines = rows["operations"].as_array().into_iter().flatten().map(|row| {
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let told =
            ["txid", "channel_id", "reason"].into_iter().find_map(|name| row["outcome"][name].as_str());
        [
            row["operation"].to_string(),
            moment(&row["begun_at"]),
            word(&row["kind"]),
            word(&row["state"]),
            row["ask"]["amount_sat"].as_u64().map(|sat| sat.to_string()).unwrap_or_default(),
            told.unwrap_or_default().to_owned(),
        ]
    });
    let text = table(["ID", "BEGUN", "WHAT", "STATE", "SAT", "OUTCOME"], lines);
    Ok(Shown::new(rows, text))
}
