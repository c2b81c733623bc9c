//! `tollhouse activity`: what happened, newest first; `tollhouse account`: what came and went over Lightning.

use std::collections::BTreeSet;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::operations;
use super::operator::{Admin, Failure, OperatorArgs, Shown, ask, table};
use super::times::moment;
use super::unsent::Unsent;
use crate::config::Environment;
use crate::types::grouped;

/// Pages that are read at most to fill the lines that were asked for.
const MOST_PAGES: usize = 50;

#[derive(Debug, clap::Args)]
pub(super) struct ActivityArgs {
    #[command(flatten)]
    operator: OperatorArgs,
    /// About one thing alone
    #[arg(long, value_parser = ["payments", "tokens", "payouts", "coins", "channels", "services", "system"])]
    about: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 30)]
    limit: u32,
    /// All of it as a table for spreadsheets
    #[arg(long, conflicts_with_all = ["limit", "json"])]
    csv: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct AccountArgs {
    #[command(flatten)]
    operator: OperatorArgs,
    /// Every payment with its sign, as a table for spreadsheets: amount_msat sums to what is left
    #[arg(long, conflicts_with = "json")]
    csv: bool,
}

/// What happened.
pub(super) fn run(args: &ActivityArgs, env: &Environment) -> ExitCode {
    ask(&args.operator, env, async |admin| {
        let about = args.about.as_deref().map(|about| format!("about={about}")).unwrap_or_default();
        if args.csv {
            return csv(admin.text(&format!("/api/v1/activity.csv?{about}")).await?);
        }
        let listed = listed(admin, &about, args).await?;
        let rows = newest_steps(&listed);
        // What was asked for stands in the operations alone.
        let (operations, unsent) = match rows.iter().any(|row| is_move(row)) {
            true => (admin.get("/api/v1/operations?limit=500").await?, Unsent::now(admin).await),
            false => (Value::Null, Unsent::default()),
        };
        let shown = usize::try_from(args.limit).unwrap_or(usize::MAX);
        let rows = rows.into_iter().take(shown).map(|row| {
            let [kind, details] = told(row, &operations, &unsent);
            [moment(&row["at"]), kind, details]
        });
        let text = table(["AT", "WHAT", ""], rows);
        Ok(Shown::new(listed, text))
    })
}

/// A page of what happened; for people as many more as it takes to fill their lines.
async fn listed(admin: &Admin, about: &str, args: &ActivityArgs) -> Result<Value, Failure> {
    let page = async |before: &str| {
        admin.get(&format!("/api/v1/activity?limit={}{before}&{about}", args.limit)).await
    };
    let mut listed = page("").await?;
    let wanted = usize::try_from(args.limit).unwrap_or(usize::MAX);
    for _ in 0..MOST_PAGES {
        let Some(before) = listed["next_before"].as_i64() else { break };
        if args.operator.json() || newest_steps(&listed).len() >= wanted {
            break;
        }
        let mut more = page(&format!("&before={before}")).await?;
        let rows = more["activity"].as_array_mut().map(std::mem::take).unwrap_or_default();
        listed["next_before"] = more["next_before"].take();
        if let Some(all) = listed["activity"].as_array_mut() {
            all.extend(rows);
        }
    }
    Ok(listed)
}

/// The rows, of each move of coins and of each transaction of the vault the newest alone: that says how it stands.
fn newest_steps(listed: &Value) -> Vec<&Value> {
    let mut told = BTreeSet::new();
    let rows = listed["activity"].as_array().into_iter().flatten();
    rows.filter(|row| match row["kind"].as_str().unwrap_or_default() {
        "operation_begun" | "operation_changed" => told.insert(row["operation"].to_string()),
        "vault_moved" => told.insert(row["txid"].to_string()),
        _ => true,
    })
    .collect()
}

fn is_move(row: &Value) -> bool {
    matches!(row["kind"].as_str(), Some("operation_begun" | "operation_changed"))
}

/// What happened, and the rest of it; a move of coins as `tollhouse operations` has it.
fn told(row: &Value, operations: &Value, unsent: &Unsent) -> [String; 2] {
    let known = operations["operations"].as_array().into_iter().flatten();
    let mut known = known.filter(|known| known["operation"] == row["operation"]);
    match known.next().filter(|_| is_move(row)) {
        Some(operation) => operations::line(operation, unsent),
        None => [row["kind"].as_str().unwrap_or_default().replace('_', " "), details(row)],
    }
}

/// What came and went.
pub(super) fn account(args: &AccountArgs, env: &Environment) -> ExitCode {
    ask(&args.operator, env, async |admin| {
        if args.csv {
            return csv(admin.text("/api/v1/revenue.csv").await?);
        }
        let account = admin.get("/api/v1/account").await?;
        let line = |name: &str, field: &str| [name.to_owned(), sat(&account[field])];
        let rows = [
            line("received", "received_msat"),
            line("perhaps paid twice", "surplus_msat"),
            line("kept for opening channels", "opening_fees_msat"),
            line("paid", "paid_msat"),
            line("routing fees", "routing_fees_msat"),
            line("came less went", "balance_msat"),
        ];
        let text = format!("{}\n\n{}", table(["LIGHTNING", "SAT"], rows), counts(&account));
        Ok(Shown::new(account, text))
    })
}

/// What the account counts: it is no balance of the wallet or of the channels.
fn counts(account: &Value) -> String {
    let negative = account["balance_msat"].as_i64().is_some_and(|msat| msat < 0);
    let more = match negative {
        true => " More went than came: the rest was paid with coins that were put into the channels.",
        false => "",
    };
    format!(
        "Payments over Lightning alone, since the beginning; what channels were opened with and moves on the chain are \
         not in it.{more} What there is now: `tollhouse status`."
    )
}

fn csv(text: String) -> Result<Shown, Failure> {
    Ok(Shown::exact(json!({ "csv": text }), text.trim_end().to_owned()))
}

/// Millisatoshi as satoshi, exact.
fn sat(msat: &Value) -> String {
    let msat = msat.as_i64().unwrap_or_default();
    let sign = if msat < 0 { "-" } else { "" };
    let (whole, rest) = (grouped(msat.unsigned_abs() / 1_000), msat.unsigned_abs() % 1_000);
    let rest = format!("{rest:03}");
    match rest.trim_end_matches('0') {
        "" => format!("{sign}{whole}"),
        rest => format!("{sign}{whole}.{rest}"),
    }
}

/// Its plain fields, in one line.
fn details(row: &Value) -> String {
    let known = ["id", "generation", "at", "kind"];
    let fields = row.as_object().into_iter().flatten().filter(|(name, _)| !known.contains(&name.as_str()));
    let told = fields.filter_map(|(name, value)| match value {
        Value::String(text) if text.is_empty() => None,
        Value::String(text) => Some(format!("{name}={}", short(text))),
        Value::Number(msat) if name.ends_with("_msat") => {
            Some(format!("{}={} sat", name.trim_end_matches("_msat"), sat(&Value::Number(msat.clone()))))
        }
        Value::Number(number) => Some(match name.strip_suffix("_sat").zip(number.as_u64()) {
            Some((name, sat)) => format!("{name}={} sat", grouped(sat)),
            None => format!("{name}={number}"),
        }),
        Value::Bool(true) => Some(name.clone()),
        _ => None,
    });
    told.collect::<Vec<_>>().join(", ")
}

/// Long identifiers by their beginning; what would break the line or the terminal is left out.
fn short(text: &str) -> String {
    let plain: String = text.chars().filter(|c| !c.is_control()).collect();
    match plain.get(..12) {
        Some(head) if plain.len() >= 64 && plain.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            format!("{head}…")
        }
        _ => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_move_and_a_deposit_to_the_vault_are_one_line_each() {
        let listed = json!({ "activity": [
            { "id": 9, "kind": "vault_moved", "txid": "ab", "height": 7 },
            { "id": 8, "kind": "operation_changed", "operation": 1, "state": "done" },
            { "id": 7, "kind": "vault_moved", "txid": "ab", "height": null },
            { "id": 6, "kind": "operation_changed", "operation": 1, "state": "sent" },
            { "id": 5, "kind": "operation_begun", "operation": 2 },
            { "id": 4, "kind": "seed_verified" },
            { "id": 3, "kind": "operation_begun", "operation": 1 },
            { "id": 2, "kind": "seed_verified" },
        ] });
        let ids: Vec<u64> = newest_steps(&listed).iter().filter_map(|row| row["id"].as_u64()).collect();
        assert_eq!(ids, [9, 8, 5, 4, 2]);
    }

    #[test]
    fn a_move_says_how_much_and_how_it_stands() {
        let operations = json!({ "operations": [{ "operation": 6, "kind": "splice_out", "state": "done", "begun_at": 0,
            "ask": { "amount_sat": 60_000, "channel_id": "c7" }, "outcome": { "txid": "ab" } }] });
        let row =
            json!({ "kind": "operation_changed", "operation": 6, "what": "splice_out", "state": "done" });
        let says = ["splice out".to_owned(), "60,000 sat, done, ab".to_owned()];
        assert_eq!(told(&row, &operations, &Unsent::default()), says);
        let [kind, rest] = told(&row, &Value::Null, &Unsent::default());
        assert!(kind == "operation changed" && rest.contains("splice_out"), "{rest}");
    }

    #[test]
    fn an_event_is_one_line() {
        let row = json!({
            "id": 7, "generation": 1, "at": 0, "kind": "payment_received", "amount_msat": 1_500,
            "payment_hash": "ab".repeat(32), "service": null, "late": true, "reason": "a\u{1b}[2Jb", "receivable_sat": 20_000,
        });
        let told = details(&row);
        for part in
            ["amount=1.5 sat", "receivable=20,000 sat", "payment_hash=abababababab…", "late", "reason=a[2Jb"]
        {
            assert!(told.contains(part), "{part}: {told}");
        }
        assert!(!told.contains('\u{1b}') && !told.contains("service"));
        assert_eq!([-2_500, 1_234_000].map(|msat| sat(&json!(msat))), ["-2.5", "1,234"]);
    }
}
