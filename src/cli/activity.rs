//! `tollhouse activity`: what happened, newest first, in the words of the page; `tollhouse account`: what came and went over Lightning.

use std::collections::BTreeSet;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::operator::{Admin, Failure, OperatorArgs, Shown, ask, table};
use super::times::moment;
use super::unsent::Unsent;
use crate::config::Environment;
use crate::event::Event;
use crate::store::ChannelRow;
use crate::types::grouped;
use crate::ui::{self, Said};

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
        let beside = Beside::of(admin, &rows).await?;
        let shown = usize::try_from(args.limit).unwrap_or(usize::MAX);
        let rows = rows.into_iter().take(shown).map(|row| {
            let [what, amount, more] = beside.told(row);
            [moment(&row["at"]), what, amount, more]
        });
        let text = table(["AT", "WHAT", "SAT", ""], rows);
        Ok(Shown::new(listed, text))
    })
}

/// What stands beside the log: what was asked for is in the operations alone, and what a close cost in the channel's record.
#[derive(Default)]
struct Beside {
    operations: Value,
    unsent: Unsent,
    closed: Vec<ChannelRow>,
}

impl Beside {
    async fn of(admin: &Admin, rows: &[&Value]) -> Result<Beside, Failure> {
        let mut beside = Beside::default();
        if rows.iter().any(|row| is_move(row)) {
            beside.operations = admin.get("/api/v1/operations?limit=500").await?;
            beside.unsent = Unsent::now(admin).await;
        }
        let closes = ["channel_closed", "channel_coins_home"];
        if rows.iter().any(|row| closes.iter().any(|kind| row["kind"] == *kind)) {
            let mut closed = admin.get("/api/v1/channels/closed").await?;
            // Of a later version nothing is told rather than something wrong.
            beside.closed = serde_json::from_value(closed["channels"].take()).unwrap_or_default();
        }
        Ok(beside)
    }

    /// What happened, what came or went, and the rest of it, in the words of the page Activity.
    fn told(&self, row: &Value) -> [String; 3] {
        // Of a kind that this program does not know.
        let Ok(event) = serde_json::from_value::<Event>(row.clone()) else {
            let kind = row["kind"].as_str().unwrap_or_default().replace('_', " ");
            return [kind, String::new(), details(row)];
        };
        let operations = self.operations["operations"].as_array().into_iter().flatten();
        let mut operations = operations.filter(|known| known["operation"] == row["operation"]);
        let operation = operations.next().filter(|_| is_move(row));
        let record = self.closed.iter().find(|known| row["channel_id"] == *known.channel_id);
        let ask = operation.map_or(&Value::Null, |operation| &operation["ask"]);
        let Said { what, more, amount } = ui::said(&event, ask, record);
        let untaken = operation.and_then(|operation| self.unsent.of_operation(operation));
        let more = untaken.map(|_| "not taken by a chain source yet".to_owned()).or(more).unwrap_or_default();
        let number = operation.map(|operation| format!("operation {}", operation["operation"]));
        let more = [more].into_iter().chain(number).filter(|part| !part.is_empty()).collect::<Vec<_>>();
        [plain(&what), amount.unwrap_or_default(), plain(&more.join("; "))]
    }
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

/// What would break the line or the terminal is left out.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

/// Long identifiers by their beginning; what would break the line or the terminal is left out.
fn short(text: &str) -> String {
    let plain = plain(text);
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
        let row = json!({ "kind": "operation_changed", "operation": 6, "what": "splice_out", "state": "done",
                "outcome": { "fee_sat": 183 } });
        let beside = Beside { operations, ..Beside::default() };
        assert_eq!(
            beside.told(&row),
            ["Move 60,000 sat out of a channel", "−60,183", "done; its fee was 183 sat; operation 6"]
        );
        assert_eq!(Beside::default().told(&row)[0], "Move coins out of a channel");
        // What the record has of a close is told with it, and no reason breaks the line.
        let record = json!({ "channel_id": "c7", "local_id": "7", "peer": "02aa", "capacity_sat": 1, "outbound": true,
            "announced": false, "seen_at": 0, "cause": "agreed_by_us", "came_sat": 48_000, "closing_cost_msat": 1_500_000,
            "claim_sat": 0, "fundings": [], "sweeps": [] });
        let closed = vec![serde_json::from_value(record).unwrap()];
        let beside = Beside { closed, ..Beside::default() };
        let row =
            json!({ "kind": "channel_closed", "channel_id": "c7", "peer": "02aa", "reason": "a\u{1b}[2Jb" });
        let [what, amount, more] = beside.told(&row);
        assert_eq!((&*what, &*amount), ("Channel closed", "−1,500"));
        assert!(more.ends_with("48,000 sat of it came back; closing it cost 1,500 sat"), "{more}");
        assert!(!more.contains('\u{1b}'), "{more}");
        let later = json!({ "kind": "never_seen", "amount_sat": 1_070 });
        assert_eq!(beside.told(&later), ["never seen", "", "amount=1,070 sat"]);
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
