//! `tollhouse rules` and `tollhouse forecast`: what the appliance keeps up by itself, and when receivable
//! runs out.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::amounts::sats;
use super::ground::Yes;
use super::operator::{Admin, Failure, OperatorArgs, Shown, ask, table};
use super::times;
use crate::config::Environment;

const RULES: &str = "/api/v1/rules";

#[derive(Debug, clap::Args)]
pub(super) struct RulesArgs {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    appliance: OperatorArgs,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show the rules, what they would do now, and what they did last (the default)
    List,
    /// Pay out when receivable falls below a mark
    PayOut {
        /// An offer (lno1…) or a Lightning address (name@host)
        to: String,
        /// Pay when less than this can be received
        #[arg(long, value_name = "SATS")]
        below_sat: u64,
        /// … until this can be received
        #[arg(long, value_name = "SATS")]
        until_sat: u64,
        /// … and at most this on one day (UTC), fees included
        #[arg(long, value_name = "SATS")]
        per_day_sat: u64,
        /// The most that routing may cost, in millionths of a payment
        #[arg(long, value_name = "PPM", default_value_t = 10_000)]
        max_fee_ppm: u64,
        #[command(flatten)]
        sure: Yes,
    },
    /// Splice out when more than a mark is spendable
    SpliceOut {
        /// `vault`, or an address on the chain
        to: String,
        /// Splice when more than this is spendable
        #[arg(long, value_name = "SATS")]
        above_sat: u64,
        /// … and leave this much
        #[arg(long, value_name = "SATS")]
        keep_sat: u64,
        /// … and take out at most this on one day (UTC), fees included
        #[arg(long, value_name = "SATS")]
        per_day_sat: u64,
        #[command(flatten)]
        sure: Yes,
    },
    /// Switch a rule off
    Off {
        /// Which
        rule: Rule,
    },
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Rule {
    PayOut,
    SpliceOut,
}

impl Rule {
    /// As the API calls it.
    const fn name(self) -> &'static str {
        match self {
            Rule::PayOut => "pay_out",
            Rule::SpliceOut => "splice_out",
        }
    }
}

pub(super) fn run(args: &RulesArgs, env: &Environment) -> ExitCode {
    ask(&args.appliance, env, async |admin| work(args.command.as_ref(), admin).await)
}

async fn work(command: Option<&Command>, admin: &Admin) -> Result<Shown, Failure> {
    let changed = match command {
        None | Some(Command::List) => {
            let listed = admin.get(RULES).await?;
            let text = listed["rules"].as_array().into_iter().flatten().map(rule_text);
            let text = text.collect::<Vec<_>>().join("\n");
            return Ok(Shown::new(listed, text));
        }
        Some(Command::PayOut { to, below_sat, until_sat, per_day_sat, max_fee_ppm, sure }) => {
            let terms = json!({ "to": to, "below_sat": below_sat, "until_sat": until_sat,
                                "per_day_sat": per_day_sat, "max_fee_ppm": max_fee_ppm });
            sure.or_ask(&beginning(Rule::PayOut, &terms))?;
            admin.put(&format!("{RULES}/pay_out"), &terms).await?
        }
        Some(Command::SpliceOut { to, above_sat, keep_sat, per_day_sat, sure }) => {
            let terms = json!({ "to": to, "above_sat": above_sat, "keep_sat": keep_sat,
                                "per_day_sat": per_day_sat });
            sure.or_ask(&beginning(Rule::SpliceOut, &terms))?;
            admin.put(&format!("{RULES}/splice_out"), &terms).await?
        }
        Some(Command::Off { rule }) => admin.delete(&format!("{RULES}/{}", rule.name())).await?,
    };
    let mut text = rule_text(&changed);
    if let Some(warning) = changed["warning"].as_str() {
        text.push_str(&format!("\nCareful: {warning}. Look at it once: tollhouse rules."));
    }
    Ok(Shown::new(changed, text))
}

/// What a rule that is set does from then on.
fn beginning(rule: Rule, terms: &Value) -> String {
    format!(
        "From now on, without asking: {}. A payment that arrived cannot be taken back.",
        terms_text(rule.name(), terms)
    )
}

fn rule_text(rule: &Value) -> String {
    let name = rule["name"].as_str().unwrap_or_default();
    let said = name.replace('_', "-");
    if rule["on"] != true {
        return format!("{said}: off");
    }
    let terms = terms_text(name, &rule["terms"]);
    let owner = if rule["in_file"] == true { " (set by the configuration file)" } else { "" };
    let word = |of: &Value, key: &str| of[key].as_str().unwrap_or_default().to_owned();
    let mut lines = vec![
        format!("{said}: {terms}{owner}"),
        format!("  now: {}: {}", word(&rule["now"], "code"), word(&rule["now"], "why")),
        format!("  drawn today: {}", sats(&rule["drawn_today_msat"])),
    ];
    if !rule["last"].is_null() {
        let last = &rule["last"];
        let at = times::moment(&last["begun_at"]);
        let why = [word(last, "reason"), word(last, "why")].into_iter().find(|text| !text.is_empty());
        let why = why.map_or_else(String::new, |why| format!(": {why}"));
        lines.push(format!("  last: operation {} of {at}, {}{why}", last["id"], word(last, "state")));
    }
    lines.join("\n")
}

/// What it does, in words.
fn terms_text(name: &str, terms: &Value) -> String {
    let number = |key: &str| terms[key].as_u64().unwrap_or_default();
    let to = terms["to"].as_str().unwrap_or_default();
    match name {
        "pay_out" => format!(
            "when receivable falls below {} sat, pay out to {to} until it is {} sat, at most {} sat a day and {} \
             millionths for routing",
            number("below_sat"),
            number("until_sat"),
            number("per_day_sat"),
            number("max_fee_ppm")
        ),
        _ => format!(
            "when more than {} sat is spendable, splice out to {to} and keep {} sat, at most {} sat a day",
            number("above_sat"),
            number("keep_sat"),
            number("per_day_sat")
        ),
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct ForecastArgs {
    #[command(flatten)]
    appliance: OperatorArgs,
}

pub(super) fn forecast(args: &ForecastArgs, env: &Environment) -> ExitCode {
    ask(&args.appliance, env, async |admin| {
        let told = admin.get("/api/v1/forecast").await?;
        let text = forecast_text(&told);
        Ok(Shown::new(told, text))
    })
}

fn forecast_text(told: &Value) -> String {
    let mut text = told["detail"].as_str().unwrap_or_default().to_owned();
    if !told["runs_out_at"].is_null() {
        text.push_str(&format!("\nReceivable runs out at {}.", times::moment(&told["runs_out_at"])));
    }
    let rows = told["routes"].as_array().cloned().unwrap_or_default();
    if rows.is_empty() {
        return text;
    }
    let rows = rows.iter().map(|row| {
        let price =
            if row["price_msat"].is_null() { "by request".to_owned() } else { sats(&row["price_msat"]) };
        let until = match row["sellable"].as_bool() {
            Some(false) => "not now".to_owned(),
            _ => times::moment(&row["until"]),
        };
        let word = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
        [word("service"), word("route"), price, until, sats(&row["earned_msat"])]
    });
    format!("{text}\n\n{}", table(["SERVICE", "ROUTE", "PRICE", "SOLD UNTIL", "EARNED LATELY"], rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_and_forecast_are_told_in_words() {
        let rule = json!({
            "name": "pay_out", "on": true, "in_file": true, "drawn_today_msat": 5_000,
            "terms": { "to": "me@example.com", "below_sat": 1, "until_sat": 2, "per_day_sat": 3, "max_fee_ppm": 4 },
            "now": { "code": "not_needed", "why": "receivable is not below 1 sat" },
            "last": { "id": 7, "state": "failed", "reason": "no way", "begun_at": 0 },
        });
        let text = rule_text(&rule);
        for part in [
            "below 1 sat, pay out to me@example.com until it is 2 sat",
            "now: not_needed",
            "5 sat",
            "failed: no way",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert_eq!(rule_text(&json!({ "name": "splice_out", "on": false })), "splice-out: off");
        let told = json!({
            "detail": "at 5 sat a day", "runs_out_at": 1_760_000_000_000_u64,
            "routes": [{ "service": "api", "route": "dear", "price_msat": 2_000, "sellable": false, "until": null, "earned_msat": 0 },
                       { "service": "api", "route": "odd", "price_msat": null, "sellable": null, "until": null, "earned_msat": 0 }],
        });
        let text = forecast_text(&told);
        for part in ["2025-10-09", "not now", "by request"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
