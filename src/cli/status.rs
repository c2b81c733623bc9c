//! `tollhouse status` and `tollhouse payments`: is it earning, can it go on, and what arrived.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::amounts::sats;
use super::operator::{OperatorArgs, Shown, ask, table};
use super::times::moment;
use super::{chain, doctor, payment};
use crate::clock::in_words;
use crate::config::Environment;
use crate::treasury::reserve_missing;

#[derive(Debug, clap::Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    operator: OperatorArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct PaymentsArgs {
    #[command(flatten)]
    operator: OperatorArgs,
    /// One in full, by its payment hash or how that begins
    payment_hash: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: u32,
    /// Older than this one: the number that the end of the list before said
    #[arg(long, value_name = "ID")]
    before: Option<u64>,
}

/// How it stands; exits with 1 when nothing can be sold or nothing is on sale, 4 when nobody answers.
pub(super) fn run(args: &StatusArgs, env: &Environment) -> ExitCode {
    ask(&args.operator, env, async |admin| {
        let mut status = admin.get("/api/v1/status").await?;
        if status["locked"] == true {
            let (text, fix) = doctor::locked(&status, &args.operator.settings_flags());
            let text = format!(
                "Tollhouse   {} on {}: NOTHING CAN BE SOLD (locked)\n            {text}\n            fix: {fix}",
                word(&status["version"]),
                word(&status["network"])
            );
            return Ok(Shown::new(status, text).exiting(1));
        }
        let system = admin.get("/api/v1/system").await?;
        let list = admin.get("/api/v1/checklist").await?;
        let text = told(&status, &system, &list);
        let exit = u8::from(system["ready"] != true || chain::nothing_sold(&list).is_some());
        status["system"] = system;
        Ok(Shown::new(status, text).exiting(exit))
    })
}

/// What arrived, newest first; or one of it in full.
pub(super) fn payments(args: &PaymentsArgs, env: &Environment) -> ExitCode {
    ask(&args.operator, env, async |admin| {
        if let Some(beginning) = &args.payment_hash {
            return payment::opened(admin, beginning).await;
        }
        let before = args.before.map(|id| format!("&before={id}")).unwrap_or_default();
        let listed = admin.get(&format!("/api/v1/payments?limit={}{before}", args.limit)).await?;
        let text = listing(&listed);
        Ok(Shown::new(listed, text))
    })
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The time between two instants of the API, in words; `never` when there was none.
fn since(now: &Value, then: &Value) -> String {
    let (Some(now), Some(then)) = (now.as_u64(), then.as_u64()) else { return "never".to_owned() };
    ago(now.saturating_sub(then) / 1_000)
}

/// So many seconds ago, roughly.
pub(super) fn ago(secs: u64) -> String {
    let rounded = match secs {
        0..=119 => secs,
        120..=7_199 => secs / 60 * 60,
        7_200..=172_799 => secs / 3_600 * 3_600,
        _ => secs / 86_400 * 86_400,
    };
    format!("{} ago", in_words(std::time::Duration::from_secs(rounded)))
}

fn told(status: &Value, system: &Value, list: &Value) -> String {
    let (node, revenue, now) = (&status["node"], &status["revenue"], &status["time"]);
    let sells = match system["not_ready"].as_str() {
        None => chain::nothing_sold(list)
            .map_or_else(|| "it sells".to_owned(), |nothing| format!("it is up, and {nothing}")),
        Some(code) => format!("NOTHING CAN BE SOLD ({code})"),
    };
    let came = since(now, &system["started_at"]);
    let waits = system["node_detail"].as_str().map(|why| format!(": {why}")).unwrap_or_default();
    let calls = |name: &str| match revenue[name].as_u64().unwrap_or_default() {
        1 => "1 paid call".to_owned(),
        calls => format!("{calls} paid calls"),
    };
    let newest = status["snapshot"]["copies"].as_array().into_iter().flatten();
    let newest = newest.filter_map(|copy| copy["written_at"].as_u64()).max();
    let silent = match chain::silent(&system["chain"]) {
        true => " (the chain source did not answer when it was asked last)",
        false => "",
    };
    let known = |told: String| match word(&system["node"]) {
        "running" => told,
        _ => "not known while the node is not up".to_owned(),
    };
    let mut rows = vec![
        (
            "Tollhouse",
            format!("{} on {}, came up {came}: {sells}", word(&status["version"]), word(&status["network"])),
        ),
        ("selling at", word(&status["gateway"]).to_owned()),
        (
            "node",
            format!(
                "{}{waits}; block {}, the chain was last heard of {}{silent}, {} connected",
                word(&system["node"]),
                system["block_height"],
                since(now, &system["synced_at"]),
                match system["peers_connected"].as_u64() {
                    Some(1) => "1 peer".to_owned(),
                    peers => format!("{} peers", peers.unwrap_or_default()),
                },
            ),
        ),
        (
            "lightning",
            known(format!(
                "{} receivable, {} spendable",
                sats(&node["receivable_msat"]),
                sats(&node["spendable_msat"])
            )),
        ),
        (
            "on-chain",
            known(format!(
                "{} sat spendable, {} sat reserved{}",
                node["onchain_spendable_sat"],
                node["onchain_reserved_sat"],
                missing(node)
            )),
        ),
        (
            "earned",
            format!(
                "{} today ({}), {} in 7 days ({}), {} in all ({})",
                sats(&revenue["today_msat"]),
                calls("calls_today"),
                sats(&revenue["week_msat"]),
                calls("calls_week"),
                sats(&revenue["total_msat"]),
                calls("calls_total"),
            ),
        ),
        ("unearned", format!("{} paid and not yet delivered", sats(&revenue["unearned_msat"]))),
        (
            "books",
            if status["ledger"]["ok"] == true {
                "they add up"
            } else {
                "THEY DO NOT ADD UP: tollhouse audit"
            }
            .to_owned(),
        ),
        (
            "backup",
            format!(
                "ledger {}, channels {}",
                since(now, &status["backups"]["newest"]["created_at"]),
                since(now, &json!(newest)),
            ),
        ),
    ];
    let alarms = system["alarms"].as_array().cloned().unwrap_or_default();
    if alarms.is_empty() {
        rows.push(("alarms", "none".to_owned()));
    }
    for (place, alarm) in alarms.iter().enumerate() {
        let name = if place == 0 { "alarms" } else { "" };
        rows.push((
            name,
            format!("{}: {} {}", word(&alarm["severity"]), word(&alarm["text"]), word(&alarm["fix"])),
        ));
    }
    let left = chain::left(list).into_iter().enumerate();
    rows.extend(left.map(|(place, what)| (if place == 0 { "left to do" } else { "" }, what.to_owned())));
    rows.into_iter().map(|(name, text)| format!("{name:<12}{text}")).collect::<Vec<_>>().join("\n")
}

/// That coins are missing for what is to be kept back, where it is so.
fn missing(node: &Value) -> String {
    let sat = |name: &str| node[name].as_u64().unwrap_or_default();
    let missing = reserve_missing(sat("onchain_reserved_sat"), sat("onchain_reserve_wanted_sat"));
    missing.map(|missing| format!("; {missing}")).unwrap_or_default()
}

fn listing(listed: &Value) -> String {
    let rows = listed["payments"].as_array().cloned().unwrap_or_default();
    if rows.is_empty() {
        return "Nothing was paid yet.".to_owned();
    }
    let shown = rows.iter().map(|row| {
        [
            moment(&row["received_at"]),
            sats(&row["amount_msat"]),
            payment::bought(row),
            word(&row["state"]).to_owned(),
            word(&row["payment_hash"]).to_owned(),
        ]
    });
    let table = table(["WHEN", "AMOUNT", "FOR", "STATE", "PAYMENT"], shown);
    match listed["next_before"].as_i64() {
        Some(before) => format!("{table}\n\nMore: --before {before}"),
        None => table,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payments_are_a_table_in_satoshi() {
        let row = json!({ "received_at": 1_760_000_000_000_u64, "amount_msat": 21_500, "service": "rates",
            "route": "history", "state": "spent", "payment_hash": "ab" });
        let text = listing(&json!({ "payments": [row], "next_before": 7 }));
        for said in ["2025-10-09 08:53:20Z", "21.5 sat", "rates/history", "spent", "--before 7"] {
            assert!(text.contains(said), "{said}: {text}");
        }
        assert_eq!(listing(&json!({ "payments": [] })), "Nothing was paid yet.");
    }

    #[test]
    fn ages_are_told_roughly() {
        assert_eq!(since(&json!(1_000_000), &json!(940_000)), "1 minute ago");
        assert_eq!(since(&json!(900_000_000), &json!(0)), "10 days ago");
        assert_eq!(since(&json!(1), &Value::Null), "never");
    }
}
