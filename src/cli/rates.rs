//! `tollhouse rates`: what bitcoin costs in other currencies, and who says so.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::operator::{OperatorArgs, Shown, ask, table};
use crate::config::Environment;

#[derive(Debug, clap::Args)]
pub(super) struct RatesArgs {
    /// Ask every source now, also those whose rate nothing needs
    #[arg(long)]
    refresh: bool,
    #[command(flatten)]
    appliance: OperatorArgs,
}

pub(super) fn run(args: &RatesArgs, env: &Environment) -> ExitCode {
    ask(&args.appliance, env, async |admin| {
        let rates = match args.refresh {
            true => admin.post("/api/v1/rates/refresh", &json!({})).await?,
            false => admin.get("/api/v1/rates").await?,
        };
        let text = as_text(&rates);
        Ok(Shown::new(rates, text))
    })
}

fn as_text(rates: &Value) -> String {
    let rows = |name: &str| rates[name].as_array().cloned().unwrap_or_default();
    let word = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    let currencies = rows("currencies");
    if currencies.is_empty() {
        return "No currency has a source or a fixed rate: prices are in sats. See [rates].".to_owned();
    }
    let mut text = table(
        ["CURRENCY", "1 BTC", "STATE", "NOTE"],
        currencies.iter().map(|row| ["currency", "per_btc", "state", "note"].map(|name| word(row, name))),
    );
    let sources = rows("sources");
    if !sources.is_empty() {
        let rows = sources.iter().map(|row| {
            let said = row["fault"].is_null().then(|| word(row, "per_btc"));
            let asked = if row["asked_at"].is_null() { "not asked" } else { "" };
            let note = if asked.is_empty() { word(row, "detail") } else { asked.to_owned() };
            [word(row, "name"), word(row, "currency"), said.unwrap_or_default(), note, word(row, "url")]
        });
        text = format!("{text}\n\n{}", table(["SOURCE", "CURRENCY", "1 BTC", "NOTE", "ADDRESS"], rows));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_shown_with_who_says_so() {
        let rates = json!({
            "currencies": [{ "currency": "USD", "per_btc": "64000", "state": "fresh", "note": null }],
            "sources": [
                { "name": "a", "currency": "USD", "url": "https://a/", "per_btc": "64000", "asked_at": 1, "fault": null },
                { "name": "b", "currency": "USD", "url": "https://b/", "per_btc": "63000", "asked_at": 1,
                  "fault": "not_json", "detail": "its answer is not JSON" },
            ],
        });
        let text = as_text(&rates);
        let line =
            |start: &str| text.lines().find(|line| line.trim_start().starts_with(start)).unwrap_or_default();
        assert!(line("USD").contains("64000") && line("USD").ends_with("fresh"), "{text}");
        assert!(line("a ").contains("64000"), "{text}");
        let broken: Vec<&str> = line("b ").split_whitespace().collect();
        assert_eq!(
            broken.join(" "),
            "b USD its answer is not JSON https://b/",
            "what it said before is not shown"
        );
        assert!(as_text(&json!({})).contains("No currency"));
    }
}
