//! What a change comes to, setting by setting. Nothing that may be a key is shown.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::{Rise, Stocked, Stop};
use crate::types::Name;

/// What a change comes to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Plan {
    /// The services that differ, by name.
    pub changes: Vec<Change>,
    /// What is served, or earns, no more by it.
    pub stops: Vec<Stop>,
    /// What it makes dearer for customers who have paid already.
    pub rises: Vec<Rise>,
}

/// What becomes of one service.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Change {
    /// Which.
    pub service: Name,
    /// `added`, `changed` or `removed`.
    pub what: &'static str,
    /// What it was.
    pub before: Option<Value>,
    /// What it is then.
    pub after: Option<Value>,
    /// The settings that differ, when it is changed.
    pub differences: Vec<Difference>,
}

/// One setting that differs.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Difference {
    /// Which, such as `route[0].price`.
    pub field: String,
    /// What it was; nothing when it was not said.
    pub before: Option<Value>,
    /// What it is then, likewise.
    pub after: Option<Value>,
}

impl Plan {
    /// The way from one stock to another.
    pub(super) fn between(before: &[Stocked], after: &[Stocked]) -> Plan {
        let of = |stock: &[Stocked]| -> BTreeMap<Name, crate::catalog::spec::Spec> {
            stock.iter().map(|own| (own.name.clone(), own.spec.clone())).collect()
        };
        let (before, after) = (of(before), of(after));
        let mut names: Vec<&Name> = before.keys().chain(after.keys()).collect();
        names.sort_unstable();
        names.dedup();
        let change = |name: &Name| {
            let (was, is) = (before.get(name), after.get(name));
            if was == is {
                return None;
            }
            let what = match (was, is) {
                (None, _) => "added",
                (_, None) => "removed",
                _ => "changed",
            };
            let shown =
                |spec: Option<&crate::catalog::spec::Spec>| spec.map(|spec| spec.redacted().to_json());
            let differences = match (was, is) {
                (Some(was), Some(is)) => {
                    let mut found = Vec::new();
                    differences("", Some(&was.to_json()), Some(&is.to_json()), &mut found);
                    found
                }
                _ => Vec::new(),
            };
            Some(Change { service: name.clone(), what, before: shown(was), after: shown(is), differences })
        };
        Plan { changes: names.into_iter().filter_map(change).collect(), ..Plan::default() }
    }
}

/// Walks two documents side by side; a list whose length differs is told whole.
fn differences(at: &str, before: Option<&Value>, after: Option<&Value>, found: &mut Vec<Difference>) {
    if before == after {
        return;
    }
    match (before, after) {
        (Some(Value::Object(was)), Some(Value::Object(is))) => {
            let mut keys: Vec<&String> = was.keys().chain(is.keys()).collect();
            keys.sort_unstable();
            keys.dedup();
            for key in keys {
                let at = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
                differences(&at, was.get(key), is.get(key), found);
            }
        }
        (Some(Value::Array(was)), Some(Value::Array(is))) if was.len() == is.len() => {
            for (index, (was, is)) in was.iter().zip(is).enumerate() {
                differences(&format!("{at}[{index}]"), Some(was), Some(is), found);
            }
        }
        _ => {
            let shown = |value: Option<&Value>| value.map(|value| redacted(at, value));
            found.push(Difference { field: at.to_owned(), before: shown(before), after: shown(after) });
        }
    }
}

/// A literal among the upstream's headers may be a key.
fn redacted(at: &str, value: &Value) -> Value {
    match value {
        Value::String(_) if at.starts_with("upstream_headers.") && !at.ends_with(".env") => {
            Value::from("(not shown)")
        }
        Value::Object(table) if at == "upstream_headers" => {
            let one =
                |(key, value): (&String, &Value)| (key.clone(), redacted(&format!("{at}.{key}"), value));
            Value::Object(table.iter().map(one).collect())
        }
        other => other.clone(),
    }
}
