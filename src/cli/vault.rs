//! `tollhouse vault`: the cold storage that is watched, with public keys only.

use std::io::Read;
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::ground::Yes;
use super::operator::{Failure, OperatorArgs, Shown, ask, table};
use super::times::moment;
use crate::config::Environment;
use crate::vault::{KeyFault, looks_private};

/// A key that is read from stdin has at most so many bytes.
const LONGEST_KEY: u64 = 16 * 1_024;

#[derive(Debug, clap::Args)]
pub(super) struct VaultArgs {
    #[command(flatten)]
    operator: OperatorArgs,
    #[command(subcommand)]
    command: Option<Vault>,
}

#[derive(Debug, Subcommand)]
enum Vault {
    /// Watch cold storage: a descriptor of public keys, or an account's xpub, ypub or zpub
    Set {
        /// The descriptor or key; left out, it is read from stdin. Never a private key
        key: Option<String>,
        /// What an xpub's addresses are: bip44 (legacy), bip49 (segwit within P2SH), bip84 (segwit) or bip86 (taproot)
        #[arg(long, value_name = "FORM")]
        form: Option<String>,
        /// How many unpaid addresses in a row your own wallet looks past
        #[arg(long, value_name = "N")]
        gap: Option<u32>,
        /// With bitcoind: the block to look from, or "now" if the keys were never used
        #[arg(long, value_name = "HEIGHT")]
        birthday: Option<String>,
        #[command(flatten)]
        sure: Yes,
    },
    /// What is watched, and what it holds
    Show,
    /// A fresh address, to be used once
    Address {
        /// What it is for; the same name gives the same address again
        #[arg(long, value_name = "NAME")]
        deposit: Option<String>,
    },
    /// The addresses that were handed out, newest first
    Addresses,
    /// What came in and went out, newest first
    History,
    /// Look at the chain now instead of at the next turn
    Look,
    /// Watch it no more; its coins are where they are
    Remove {
        #[command(flatten)]
        sure: Yes,
    },
}

pub(super) fn run(args: &VaultArgs, env: &Environment) -> ExitCode {
    ask(&args.operator, env, async |admin| match &args.command {
        Some(Vault::Set { key, form, gap, birthday, sure }) => {
            let key = match key {
                Some(key) => key.clone(),
                None => from_stdin()?,
            };
            // It does not even leave this program.
            if looks_private(&key) {
                return Err(Failure::refused(KeyFault::Private.code(), format!("{}.", KeyFault::Private)));
            }
            let birthday = birthday
                .as_ref()
                .map(|text| text.parse::<u32>().map_or_else(|_| Value::from(text.as_str()), Value::from));
            let body = json!({ "key": key, "form": form, "gap": gap, "birthday": birthday });
            let before = admin.get("/api/v1/vault").await?;
            if !before["vault"].is_null() {
                sure.or_ask(&replaced_text(&before["vault"]))?;
            }
            let set = admin.put("/api/v1/vault", &body).await?;
            let first = set["vault"]["first_address"].as_str().unwrap_or_default();
            let text = format!(
                "Watched. Its first address is\n\n  {first}\n\nCompare it with the first address of your own wallet. \
                 If it differs, the form is wrong: set it again."
            );
            Ok(Shown::new(set, text))
        }
        None | Some(Vault::Show) => {
            let shown = admin.get("/api/v1/vault").await?;
            let text = view(&shown["vault"]);
            Ok(Shown::new(shown, text))
        }
        Some(Vault::Address { deposit }) => {
            let given = admin.post("/api/v1/vault/address", &json!({ "deposit": deposit })).await?;
            let text = format!(
                "{}\n\nIt is number {} of the vault: compare it with your own wallet before you send much.",
                word(&given["address"]),
                given["index"]
            );
            Ok(Shown::new(given, text))
        }
        Some(Vault::Addresses) => {
            let listed = admin.get("/api/v1/vault/addresses").await?;
            let text = addresses(&listed);
            Ok(Shown::new(listed, text))
        }
        Some(Vault::Look) => {
            let shown = admin.get("/api/v1/vault").await?;
            if shown["vault"].is_null() {
                return Err(Failure::refused("no_vault", view(&Value::Null)));
            }
            admin.post("/api/v1/vault/look", &json!({})).await?;
            let text = "It is looked at now: `tollhouse vault show` says in a moment what it holds.";
            Ok(Shown::new(json!({ "looking": true }), text))
        }
        Some(Vault::History) => {
            let listed = admin.get("/api/v1/vault/history").await?;
            let text = history(&listed);
            Ok(Shown::new(listed, text))
        }
        Some(Vault::Remove { sure }) => {
            sure.or_ask("The vault is not watched any more, and nothing is sent to it. Its coins stay where they are.")?;
            let removed = admin.delete("/api/v1/vault").await?;
            let text = match removed["removed"].as_bool() {
                Some(true) => "It is not watched any more.",
                _ => "No vault was set.",
            };
            Ok(Shown::new(removed, text))
        }
    })
}

fn replaced_text(vault: &Value) -> String {
    format!(
        "A vault is watched already: its first address is {}, and it holds {} sat. It is watched no more when another \
         takes its place, and rules that send to `vault` send to the new one. Its coins stay where they are.",
        word(&vault["first_address"]),
        vault["balance"]["confirmed_sat"],
    )
}

fn from_stdin() -> Result<String, Failure> {
    let mut text = String::new();
    let read = std::io::stdin().lock().take(LONGEST_KEY).read_to_string(&mut text);
    read.map_err(|error| Failure::arguments(format!("stdin cannot be read: {error}")))?;
    Ok(text.trim().to_owned())
}

fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn view(vault: &Value) -> String {
    if vault.is_null() {
        return "No vault. `tollhouse vault set` watches one: an xpub, ypub, zpub or descriptor.".to_owned();
    }
    let mut rows =
        vec![["form".to_owned(), word(&vault["form"])], ["deposits".to_owned(), word(&vault["external"])]];
    if let Some(internal) = vault["internal"].as_str() {
        rows.push(["change".to_owned(), internal.to_owned()]);
    }
    rows.push(["first address".to_owned(), word(&vault["first_address"])]);
    rows.push(["confirmed".to_owned(), format!("{} sat", vault["balance"]["confirmed_sat"])]);
    rows.push(["pending".to_owned(), format!("{} sat", vault["balance"]["pending_sat"])]);
    let handed = format!("{} (gap limit {})", vault["unpaid"], vault["gap"]);
    rows.push(["handed out, unpaid".to_owned(), handed]);
    let looked = match (&vault["synced_at"], vault["searching"].as_array()) {
        (_, Some(at)) => format!("searching: block {} of {}", at[0], at[1]),
        (Value::Null, None) => "not yet in this run".to_owned(),
        (at, None) => format!("{}, block {}", moment(at), vault["height"]),
    };
    rows.push(["looked at".to_owned(), looked]);
    if let Some(birthday) = vault["birthday"].as_u64() {
        rows.push(["from block".to_owned(), birthday.to_string()]);
    }
    if let Some(trouble) = vault["trouble"].as_str() {
        rows.push(["trouble".to_owned(), trouble.to_owned()]);
    }
    table(["VAULT", ""], rows)
}

fn addresses(listed: &Value) -> String {
    let rows = listed["addresses"].as_array().into_iter().flatten().map(|row| {
        [row["index"].to_string(), word(&row["address"]), moment(&row["given_at"]), word(&row["deposit"])]
    });
    let rows: Vec<[String; 4]> = rows.collect();
    if rows.is_empty() {
        return "None was handed out yet: `tollhouse vault address` gives one.".to_owned();
    }
    table(["NUMBER", "ADDRESS", "HANDED OUT", "FOR"], rows)
}

fn history(listed: &Value) -> String {
    let entries = listed["transactions"].as_array().cloned().unwrap_or_default();
    if entries.is_empty() {
        return "Nothing came in yet.".to_owned();
    }
    let rows = entries.iter().map(|entry| {
        [
            word(&entry["txid"]),
            entry["received_sat"].to_string(),
            entry["sent_sat"].to_string(),
            entry["height"].as_u64().map_or_else(|| "waiting".to_owned(), |height| height.to_string()),
        ]
    });
    table(["TRANSACTION", "IN SAT", "OUT SAT", "BLOCK"], rows)
}
