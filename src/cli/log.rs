//! `tollhouse log`: what the running appliance said lately, or all that somebody who helps needs to know.

use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;

use super::operator::{OperatorArgs, Shown, ask};
use super::say;
use crate::config::Environment;

/// Between two looks with `--follow`.
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub(super) struct LogArgs {
    #[command(flatten)]
    operator: OperatorArgs,
    /// The least grave lines to show: error, warn, info, debug or trace
    #[arg(long, default_value = "info")]
    level: String,
    /// At most so many of the newest
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u32,
    /// Go on with what comes, until Ctrl-C
    #[arg(long, conflicts_with = "json")]
    follow: bool,
    /// Instead, a text for whoever helps you: health, settings and log, with keys, hashes and addresses cut short
    #[arg(long, conflicts_with_all = ["follow", "json"])]
    diagnostics: bool,
}

/// Shows the lines.
pub(super) fn run(args: &LogArgs, env: &Environment) -> ExitCode {
    ask(&args.operator, env, async |admin| {
        if args.diagnostics {
            let text = admin.text("/api/v1/diagnostics").await?;
            return Ok(Shown::exact(Value::Null, text.trim_end()));
        }
        let path = |after: u64| {
            let mut query = url::form_urlencoded::Serializer::new(String::new());
            query.append_pair("level", &args.level).append_pair("limit", &args.limit.to_string());
            format!("/api/v1/log?{}&after={after}", query.finish())
        };
        let mut told = admin.get(&path(0)).await?;
        if !args.follow {
            let text = text(&told);
            return Ok(Shown::exact(told, text));
        }
        loop {
            let some = told["lines"].as_array().is_some_and(|lines| !lines.is_empty());
            if some && say(text(&told)).is_err() {
                return Ok(Shown::new(Value::Null, ""));
            }
            let last = told["last"].as_u64().unwrap_or_default();
            tokio::time::sleep(PAUSE).await;
            told = admin.get(&path(last)).await?;
        }
    })
}

fn text(told: &Value) -> String {
    let lines = told["lines"].as_array().into_iter().flatten();
    lines.filter_map(|line| line["text"].as_str()).collect::<Vec<_>>().join("\n")
}
