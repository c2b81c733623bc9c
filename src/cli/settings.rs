//! `tollhouse config`: the settings that the running appliance has in force, each with where it was said. What the
//! files say now, which the next start reads, tells `tollhouse check`.

use std::process::ExitCode;

use serde_json::Value;

use super::operator::{OperatorArgs, Shown, ask, table};
use crate::config::Environment;

#[derive(Debug, clap::Args)]
pub(super) struct ConfigArgs {
    #[command(flatten)]
    operator: OperatorArgs,
}

/// Shows them.
pub(super) fn run(args: &ConfigArgs, env: &Environment) -> ExitCode {
    ask(&args.operator, env, async |admin| {
        let told = admin.get("/api/v1/config").await?;
        let text = text(&told);
        Ok(Shown::new(told, text))
    })
}

fn text(told: &Value) -> String {
    let word = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    let rows = told["settings"].as_array().into_iter().flatten().map(|row| {
        let said = match row["place"].as_str() {
            Some(place) => place.to_owned(),
            None => word(row, "source"),
        };
        [word(row, "setting"), word(row, "value"), said]
    });
    let rows: Vec<[String; 3]> = rows.collect();
    if rows.is_empty() {
        return "This one was started without a configuration, as the demo is: there are no settings to show.".to_owned();
    }
    let mut lines = vec![table(["SETTING", "IN FORCE", "SAID BY"], rows)];
    if let Some(file) = told["file"].as_str() {
        lines.push(format!("\nThe file is {file}."));
    }
    let warnings = told["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str);
    lines.extend(warnings.map(|warning| format!("warning: {warning}")));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_setting_says_where_it_was_said() {
        let told = json!({
            "file": "/etc/tollhouse.toml",
            "settings": [
                { "setting": "gateway.listen", "value": "0.0.0.0:8402", "source": "file", "place": "line 7" },
                { "setting": "network", "value": "signet", "source": "default", "place": null },
            ],
            "warnings": ["the gateway has no TLS"],
        });
        let demo = text(&json!({ "file": null, "settings": [], "warnings": [] }));
        assert!(demo.contains("as the demo is"), "{demo}");
        let text = text(&told);
        for said in ["gateway.listen", "line 7", "default", "/etc/tollhouse.toml", "warning: the gateway"] {
            assert!(text.contains(said), "{said}: {text}");
        }
    }
}
