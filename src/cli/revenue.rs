//! `tollhouse revenue`: what was earned, hour by hour or day by day, and by which routes.

use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;

use super::amounts::sats;
use super::operator::{OperatorArgs, Shown, ask, table};
use super::times::moment;
use crate::clock::{Clock, SystemClock};
use crate::config::Environment;
use crate::types::{Name, Timestamp};

#[derive(Debug, clap::Args)]
pub(super) struct RevenueArgs {
    #[command(flatten)]
    operator: OperatorArgs,
    /// The steps
    #[arg(long, value_parser = ["hour", "day"], default_value = "day")]
    by: String,
    /// How far back, such as 7d or 12h [default: 30 steps]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    last: Option<Duration>,
    /// Of this service only
    #[arg(long)]
    service: Option<Name>,
}

/// Shows the series, and the routes' parts of it.
pub(super) fn run(args: &RevenueArgs, env: &Environment) -> ExitCode {
    ask(&args.operator, env, async |admin| {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("by", &args.by);
        if let Some(last) = args.last {
            let from = SystemClock::new(Timestamp::default()).now().minus(last);
            query.append_pair("from", &from.millis().to_string());
        }
        if let Some(service) = &args.service {
            query.append_pair("service", service.as_str());
        }
        let told = admin.get(&format!("/api/v1/revenue?{}", query.finish())).await?;
        let text = text(&told, args.service.as_ref());
        Ok(Shown::new(told, text))
    })
}

fn rows<'v>(told: &'v Value, name: &str) -> impl Iterator<Item = &'v Value> {
    told[name].as_array().into_iter().flatten()
}

fn text(told: &Value, service: Option<&Name>) -> String {
    let points: Vec<[String; 4]> =
        rows(told, "points").map(|point| sums(moment(&point["at"]), point)).collect();
    if points.is_empty() {
        return format!("Nothing was sold since {}.", moment(&told["from"]));
    }
    let own = |row: &&Value| service.is_none_or(|name| row["service"] == name.as_str());
    let word = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    let routes = rows(told, "routes")
        .filter(own)
        .map(|row| sums(format!("{}/{}", word(row, "service"), word(row, "route")), row));
    format!(
        "{}\n\n{}",
        table(["FROM (UTC)", "PAID CALLS", "EARNED", "USED OF GIVEN TOKENS"], points),
        table(["ROUTE", "PAID CALLS", "EARNED", "USED OF GIVEN TOKENS"], routes)
    )
}

fn sums(name: String, row: &Value) -> [String; 4] {
    [name, row["calls"].to_string(), sats(&row["earned_msat"]), sats(&row["granted_msat"])]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn steps_and_routes_are_tables() {
        let sums = |name: &str, value: Value| json!({ name: value, "calls": 3, "earned_msat": 4_500, "granted_msat": 0, "route": "fx" });
        let told = json!({
            "from": 0, "points": [sums("at", 1_760_000_000_000_u64.into())],
            "routes": [sums("service", "rates".into()), sums("service", "llm".into())],
        });
        let all = text(&told, None);
        for said in ["2025-10-09 08:53:20Z", "4.5 sat", "rates/fx", "llm/fx"] {
            assert!(all.contains(said), "{said}: {all}");
        }
        let one = text(&told, Some(&"llm".parse().expect("a name")));
        assert!(!one.contains("rates/fx"), "{one}");
        let nothing = text(&json!({ "from": 1_760_000_000_000_u64, "points": [], "routes": [] }), None);
        assert_eq!(nothing, "Nothing was sold since 2025-10-09 08:53:20Z.");
    }
}
