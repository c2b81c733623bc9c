//! A spec as the services file has it: `[[service]]`, its settings in one order, its routes below.

use std::fmt::Write;

use serde_json::{Map, Value};

use super::Spec;

/// The order of settings, for every table; what is not named comes last.
const ORDER: [&str; 46] = [
    "name",
    "title",
    "description",
    "mode",
    "host",
    "method",
    "path",
    "upstream",
    "strip_prefix",
    "upstream_host",
    "upstream_headers",
    "timeouts",
    "connect",
    "header",
    "idle",
    "openapi",
    "dialects",
    "browser_unlock",
    "formula",
    "pack",
    "pass",
    "balance",
    "up_to",
    "price",
    "tiers",
    "requests",
    "per",
    "by",
    "ceiling",
    "fallback",
    "zero",
    "offers",
    "free",
    "restore_on",
    "invoice_expiry",
    "token_life",
    "headers",
    "body",
    "status",
    "answer_headers",
    "answer",
    "ms",
    "env",
    "prefix",
    "samples",
    "route",
];

impl Spec {
    /// The lines of a services file that say this.
    pub fn to_toml(&self) -> String {
        let mut text = String::from("[[service]]\n");
        let Value::Object(mut settings) = self.to_json() else { return text };
        let routes = settings.remove("route");
        lines(&mut text, &settings);
        for route in routes.as_ref().and_then(Value::as_array).into_iter().flatten() {
            text.push_str("\n[[service.route]]\n");
            route.as_object().into_iter().for_each(|route| lines(&mut text, route));
        }
        text
    }
}

fn ordered(table: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| ORDER.iter().position(|known| known == key).unwrap_or(ORDER.len()));
    entries
}

fn lines(text: &mut String, table: &Map<String, Value>) {
    for (key, value) in ordered(table) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{} = {}", bare(key), inline(value));
    }
}

fn bare(key: &str) -> String {
    let plain = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if plain { key.to_owned() } else { toml::Value::from(key).to_string() }
}

fn inline(value: &Value) -> String {
    match value {
        Value::String(text) => toml::Value::from(text.as_str()).to_string(),
        Value::Array(items) => format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Value::Object(table) => {
            let entries =
                ordered(table).into_iter().map(|(key, value)| format!("{} = {}", bare(key), inline(value)));
            format!("{{ {} }}", entries.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}
