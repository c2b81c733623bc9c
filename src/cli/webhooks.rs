//! `tollhouse webhooks`: endpoints that hear of what happens, and what was delivered to them.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::ground::Yes;
use super::operator::{OperatorArgs, Shown, ask, table};
use super::times::moment;
use super::warn;
use crate::config::Environment;

#[derive(Debug, clap::Args)]
pub(super) struct WebhooksArgs {
    #[command(flatten)]
    operator: OperatorArgs,
    #[command(subcommand)]
    command: Option<Webhooks>,
}

#[derive(Debug, Subcommand)]
enum Webhooks {
    /// All endpoints, and what they can get
    List,
    /// Have events sent to a URL, and show the secret that signs them, once
    Add {
        /// Where to, with https://
        url: String,
        /// What it is for
        #[arg(long)]
        label: String,
        /// What it gets, such as payment.received; may be said several times. Default: all
        #[arg(long, value_name = "NAME", value_delimiter = ',')]
        topic: Vec<String>,
        /// Let it be on this machine or a private network, and plain http
        #[arg(long)]
        allow_private: bool,
    },
    /// Forget an endpoint, its secret and its deliveries
    Remove {
        /// Its number, as `list` shows it
        id: u64,
        #[command(flatten)]
        sure: Yes,
    },
    /// Send an endpoint what happens from now on, and what still waits for it
    Enable {
        /// Its number, as `list` shows it
        id: u64,
    },
    /// Send an endpoint nothing; what happens meanwhile is not kept for it
    Disable {
        /// Its number, as `list` shows it
        id: u64,
    },
    /// Send a test message now, and say how it went
    Test {
        /// Its number, as `list` shows it
        id: u64,
    },
    /// What was delivered, what waits and what was given up, newest first
    Deliveries {
        /// Of this endpoint only
        #[arg(long, value_name = "ID")]
        webhook: Option<u64>,
        /// waiting, delivered or parked
        #[arg(long)]
        state: Option<String>,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: u32,
        /// Older than this one
        #[arg(long, value_name = "ID")]
        before: Option<u64>,
    },
    /// Deliver once more, whatever became of it
    Redeliver {
        /// The delivery's number, as `deliveries` shows it
        id: u64,
    },
}

/// Does what the subcommand says.
pub(super) fn run(args: &WebhooksArgs, env: &Environment) -> ExitCode {
    ask(&args.operator, env, async |admin| match &args.command {
        None | Some(Webhooks::List) => {
            let listed = admin.get("/api/v1/webhooks").await?;
            let text = endpoints(&listed);
            Ok(Shown::new(listed, text))
        }
        Some(Webhooks::Add { url, label, topic, allow_private }) => {
            let ask = json!({ "url": url, "label": label, "topics": topic, "allow_private": allow_private });
            let made = admin.post("/api/v1/webhooks", &ask).await?;
            if !args.operator.json() {
                // The secret alone is on stdout, so that a script can catch it.
                warn(format!(
                    "Endpoint {} is made. This is the only time that the secret is shown which signs its \
                     messages (Standard Webhooks):",
                    made["id"]
                ));
            }
            let secret = made["secret"].as_str().unwrap_or_default().to_owned();
            Ok(Shown::new(made, secret))
        }
        Some(Webhooks::Remove { id, sure }) => {
            sure.or_ask(&format!(
                "Endpoint {id} is forgotten, with its secret and what still waits for it."
            ))?;
            admin.delete(&format!("/api/v1/webhooks/{id}")).await?;
            Ok(Shown::new(json!({ "removed": id }), format!("Endpoint {id} is forgotten.")))
        }
        Some(Webhooks::Enable { id }) => {
            admin.post(&format!("/api/v1/webhooks/{id}/enable"), &json!({})).await?;
            Ok(Shown::new(json!({ "enabled": id }), format!("Endpoint {id} gets what happens from now on.")))
        }
        Some(Webhooks::Disable { id }) => {
            admin.post(&format!("/api/v1/webhooks/{id}/disable"), &json!({})).await?;
            Ok(Shown::new(json!({ "disabled": id }), format!("Endpoint {id} gets nothing any more.")))
        }
        Some(Webhooks::Test { id }) => {
            let tested = admin.post(&format!("/api/v1/webhooks/{id}/test"), &json!({})).await?;
            let (status, took) = (&tested["status"], &tested["took_ms"]);
            let (text, exit) = match tested["error"].as_str() {
                None => (format!("Delivered: it answers {status}, in {took} ms."), 0),
                Some(error) => (format!("Not delivered: {error}."), 1),
            };
            Ok(Shown::new(tested, text).exiting(exit))
        }
        Some(Webhooks::Deliveries { webhook, state, limit, before }) => {
            let mut query = url::form_urlencoded::Serializer::new(String::new());
            query.append_pair("limit", &limit.to_string());
            let numbers = [("webhook", webhook), ("before", before)];
            for (name, number) in numbers.into_iter().filter_map(|(name, number)| Some((name, (*number)?))) {
                query.append_pair(name, &number.to_string());
            }
            if let Some(state) = state {
                query.append_pair("state", state);
            }
            let listed = admin.get(&format!("/api/v1/deliveries?{}", query.finish())).await?;
            let text = deliveries(&listed);
            Ok(Shown::new(listed, text))
        }
        Some(Webhooks::Redeliver { id }) => {
            admin.post(&format!("/api/v1/deliveries/{id}/redeliver"), &json!({})).await?;
            Ok(Shown::new(json!({ "redelivering": id }), format!("Delivery {id} is made once more.")))
        }
    })
}

fn words(value: &Value) -> String {
    let words: Vec<&str> = value.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    words.join(", ")
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn endpoints(listed: &Value) -> String {
    let rows = listed["webhooks"].as_array().cloned().unwrap_or_default();
    let can = format!("An endpoint can get {}.", words(&listed["topics"]));
    if rows.is_empty() {
        return format!("No endpoint. `tollhouse webhooks add URL --label NAME` makes one.\n{can}");
    }
    let shown = rows.iter().map(|row| {
        let state = match row["disabled_why"].as_str() {
            Some(why) => format!("disabled: {why}"),
            None => "enabled".to_owned(),
        };
        let topics = words(&row["topics"]);
        [
            row["id"].to_string(),
            text(&row["label"]),
            text(&row["url"]),
            if topics.is_empty() { "all".to_owned() } else { topics },
            row["waiting"].to_string(),
            row["parked"].to_string(),
            state,
        ]
    });
    format!("{}\n\n{can}", table(["ID", "LABEL", "URL", "GETS", "WAITING", "PARKED", "STATE"], shown))
}

fn deliveries(listed: &Value) -> String {
    let rows = listed["deliveries"].as_array().cloned().unwrap_or_default();
    if rows.is_empty() {
        return "No delivery.".to_owned();
    }
    let shown = rows.iter().map(|row| {
        let next = if row["next_at"].is_null() { String::new() } else { moment(&row["next_at"]) };
        [
            row["id"].to_string(),
            row["webhook"].to_string(),
            text(&row["topic"]),
            row["event"].as_i64().map_or_else(|| "-".to_owned(), |event| event.to_string()),
            text(&row["state"]),
            row["attempts"].to_string(),
            next,
            text(&row["last_error"]),
        ]
    });
    let header = ["ID", "ENDPOINT", "WHAT", "EVENT", "STATE", "TRIES", "NEXT", "LAST ERROR"];
    let table = table(header, shown);
    match listed["next_before"].as_i64() {
        Some(before) => format!("{table}\n\nMore: --before {before}"),
        None => table,
    }
}
