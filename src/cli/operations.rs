//! `tollhouse operations`: every move of coins that was asked for, and what became of it.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::amounts::sats;
use super::ground::Yes;
use super::moving::{in_words, row_text};
use super::operator::{Admin, Failure, OperatorArgs, Shown, ask, table};
use super::times::moment;
use super::unsent::Unsent;
use crate::config::Environment;
use crate::types::grouped;

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
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: u32,
    },
    /// One of them
    Show {
        /// Its number, or the key that it was asked for under
        id: String,
    },
    /// Say what became of one that is unclear
    Settle {
        /// Its number
        id: i64,
        /// It was done, or it failed and nothing moved
        #[arg(value_parser = ["done", "failed"])]
        outcome: String,
        #[command(flatten)]
        sure: Yes,
    },
}

pub(super) fn run(args: &OperationsArgs, env: &Environment) -> ExitCode {
    ask(&args.operator, env, async |admin| match &args.command {
        None => listed(admin, 20).await,
        Some(Operations::List { limit }) => listed(admin, *limit).await,
        Some(Operations::Show { id }) => {
            let row = one(admin, id).await?;
            let text = row_text(&row, &Unsent::now(admin).await);
            Ok(Shown::new(row, text))
        }
        Some(Operations::Settle { id, outcome, sure }) => {
            sure.or_ask(match outcome.as_str() {
                "done" => "It counts as done from now on, and is not looked for any more.",
                _ => "It counts as failed from now on: what it moved or paid after all may be moved or paid again.",
            })?;
            let path = format!("/api/v1/operations/{id}/settle");
            let row = admin.post(&path, &json!({ "outcome": outcome })).await?;
            let text = row_text(&row, &Unsent::now(admin).await);
            Ok(Shown::new(row, text))
        }
    })
}

/// The operation of this number, or of this key.
async fn one(admin: &Admin, id: &str) -> Result<Value, Failure> {
    if id.parse::<i64>().is_ok() {
        return admin.get(&format!("/api/v1/operations/{id}")).await;
    }
    let key: String = url::form_urlencoded::byte_serialize(id.as_bytes()).collect();
    let named = admin.get(&format!("/api/v1/operations?key={key}")).await?;
    let found = named["operations"].as_array().and_then(|rows| rows.first().cloned());
    found.ok_or_else(|| Failure::refused("unknown_operation", format!("no operation has the key {id}")))
}

/// What it moves, as far as that is known: a payee may name the amount.
fn sat(row: &Value) -> String {
    if let Some(sat) = row["ask"]["amount_sat"].as_u64() {
        return grouped(sat);
    }
    let known = [&row["outcome"]["amount_msat"], &row["ask"]["amount_msat"]];
    let msat = known.into_iter().find(|msat| msat.is_u64());
    msat.map(|msat| sats(msat).trim_end_matches(" sat").to_owned()).unwrap_or_default()
}

/// How it stands, as its page says it.
fn state(code: &str) -> &str {
    match code {
        "intended" => "being done",
        "sent" => "on its way",
        "failed" => "not done",
        other => other,
    }
}

async fn listed(admin: &Admin, limit: u32) -> Result<Shown, Failure> {
    let rows = admin.get(&format!("/api/v1/operations?limit={limit}")).await?;
    let text = listed_text(&rows, &Unsent::now(admin).await);
    Ok(Shown::new(rows, text))
}

/// What an operation does, how it stands, how many satoshi it moves, and what tells it from others.
fn told(row: &Value, unsent: &Unsent) -> [String; 4] {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let told = ["txid", "closing_txid", "channel_id", "reason", "payment_hash"];
    let told = told.into_iter().find_map(|name| row["outcome"][name].as_str());
    let told = told.or_else(|| row["ask"]["channel_id"].as_str());
    let state = match unsent.of_operation(row) {
        Some(_) => "not taken by a chain source yet".to_owned(),
        None => state(&word(&row["state"])).to_owned(),
    };
    [in_words(&word(&row["kind"])), state, sat(row), told.unwrap_or_default().to_owned()]
}

fn listed_text(rows: &Value, unsent: &Unsent) -> String {
    let lines = rows["operations"].as_array().into_iter().flatten().map(|row| {
        let [what, state, sat, told] = told(row, unsent);
        [row["operation"].to_string(), moment(&row["begun_at"]), what, state, sat, told]
    });
    table(["ID", "BEGUN", "WHAT", "STATE", "SAT", "OUTCOME"], lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_says_how_much_and_what_came_of_it() {
        let row = |ask: Value, outcome: Value| json!({ "operation": 1, "begun_at": 0, "kind": "pay_out", "state": "done", "ask": ask, "outcome": outcome });
        let rows = [
            row(json!({ "amount_sat": 1_070 }), json!({ "txid": "ab" })),
            row(json!({ "amount_msat": 1_500 }), json!({ "payment_hash": "cd" })),
            row(json!({ "amount_msat": null }), json!({ "amount_msat": 9_000, "reason": "no route" })),
            row(json!({ "channel_id": "c7" }), json!({ "channel_id": "c7", "closing_txid": "ef" })),
            row(json!({ "channel_id": "c8" }), json!({})),
        ];
        let listed = json!({ "operations": rows });
        let Ok(shown) = listed_text(&listed, &Unsent::default())
            .lines()
            .skip(1)
            .map(str::to_owned)
            .collect::<Vec<_>>()
            .try_into()
        else {
            panic!("five rows")
        };
        let [send, paid, failed, closed, closes]: [String; 5] = shown;
        assert!(closed.ends_with("ef") && closes.ends_with("c8"), "{closed} {closes}");
        assert!(send.contains("pay out  done   1,070") && send.ends_with("ab"), "{send}");
        assert!(paid.contains("1.5") && paid.ends_with("cd"), "{paid}");
        assert!(failed.contains(" 9 ") && failed.ends_with("no route"), "{failed}");
    }
}
