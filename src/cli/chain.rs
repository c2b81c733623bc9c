//! `tollhouse chain`: where blocks come from, and whether that answers; `tollhouse steps`: what is to be seen to first.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::operator::{OperatorArgs, Shown, ask, table};
use crate::config::Environment;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes with --test: 0 a source answers; 1 none does. Without it only an appliance that \
    does not answer is a failure."
)]
pub(super) struct ChainArgs {
    /// Ask every source now
    #[arg(long)]
    test: bool,
    #[command(flatten)]
    appliance: OperatorArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct StepsArgs {
    /// Put the list on Home away
    #[arg(long, conflicts_with = "show")]
    hide: bool,
    /// Bring it back
    #[arg(long)]
    show: bool,
    #[command(flatten)]
    appliance: OperatorArgs,
}

/// Shows the sources, or asks them.
pub(super) fn run(args: &ChainArgs, env: &Environment) -> ExitCode {
    ask(&args.appliance, env, async |admin| {
        let told = match args.test {
            true => admin.post("/api/v1/chain/test", &json!({})).await?,
            false => admin.get("/api/v1/chain").await?,
        };
        let silent = args.test && !told["sources"].as_array().into_iter().flatten().any(answered);
        let text = match silent {
            true => format!("{}\n{}", sources(&told), wrong(&told)).trim_start().to_owned(),
            false => sources(&told),
        };
        Ok(Shown::new(told, text).exiting(u8::from(silent)))
    })
}

/// Whether the source in use did not answer when the node asked it last.
pub(super) fn silent(known: &Value) -> bool {
    let mut sources = known["sources"].as_array().into_iter().flatten();
    sources.any(|source| source["in_use"] == true && source["answers"] == false)
}

/// Whether a source that was asked just now said something.
fn answered(source: &Value) -> bool {
    source["fault"].is_null() && source["took_ms"].is_u64()
}

/// What is wrong when none did.
fn wrong(told: &Value) -> &'static str {
    match told["sources"].as_array().map(Vec::as_slice) {
        None | Some([]) => "No source is known: see chain.source in the settings, and tollhouse doctor.",
        Some(_) => {
            "No source answers: a node cannot start, and one that runs stops selling when it has heard nothing for \
             chain.stale_after. Start what does not answer, or correct chain.source (or chain.sources) in the settings \
             and start Tollhouse again."
        }
    }
}

/// Shows the first steps.
pub(super) fn steps(args: &StepsArgs, env: &Environment) -> ExitCode {
    ask(&args.appliance, env, async |admin| {
        let told = match args.hide || args.show {
            true => admin.put("/api/v1/checklist", &json!({ "hidden": args.hide })).await?,
            false => admin.get("/api/v1/checklist").await?,
        };
        let text = points(&told);
        Ok(Shown::new(told, text))
    })
}

fn sources(told: &Value) -> String {
    let rows = told["sources"].as_array().into_iter().flatten().map(|source| {
        let answer = match (&source["fault"], source["took_ms"].as_u64(), source["answers"].as_bool()) {
            (Value::String(why), ..) => why.clone(),
            (_, Some(ms), _) => format!("answers, in {ms} ms"),
            (_, _, Some(true)) => "answered when it was asked last".to_owned(),
            (_, _, Some(false)) => "did not answer when it was asked last".to_owned(),
            _ => "not asked lately".to_owned(),
        };
        let place = if source["in_use"] == true { "in use" } else { "in reserve" };
        [source["name"].as_str().unwrap_or_default().to_owned(), place.to_owned(), answer]
    });
    table(["SOURCE", "USE", "ANSWER"], rows)
}

fn points(told: &Value) -> String {
    let lines = told["points"].as_array().into_iter().flatten().map(|point| {
        let mark = if point["done"] == true { 'x' } else { ' ' };
        let what = step(told, point["step"].as_str().unwrap_or_default());
        let waits =
            if point["done"] == true || point["needed"] == true { "" } else { " (not needed to start)" };
        format!("[{mark}] {what}{waits}")
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// A step of the list, and how it is done.
fn step<'a>(list: &Value, name: &'a str) -> &'a str {
    match name {
        "password" => "a password for the operator's page: the claim link",
        "words" => "the seed's words on paper: tollhouse seed verify",
        "chain" => "in step with the chain: tollhouse chain --test",
        "receive" => "room to receive: tollhouse inbound, tollhouse channels open",
        "service" if list["example"] == true => {
            "something to sell: nothing answered behind the service `example` yet; put your API's address there"
        }
        "service" => "something to sell: tollhouse services apply",
        "payment" => "a first payment: tollhouse fetch",
        "backup" => "a place for backups: backup.dir",
        other => other,
    }
}

/// That nothing is on sale that could earn, where it is so.
pub(super) fn nothing_sold(list: &Value) -> Option<&'static str> {
    let open = list["left"].as_array().is_some_and(|left| left.iter().any(|step| step == "service"));
    open.then_some(match list["example"] == true {
        true => "nothing of yours is on sale: only the service `example`, and nothing answered behind it yet",
        false => "nothing is on sale",
    })
}

/// What is left of the list, put away or not.
pub(super) fn left(list: &Value) -> Vec<&str> {
    let open = list["left"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let beside = "a place for backups on another disk than the data's: backup.dir";
    open.map(|name| step(list, name)).chain((list["same_disk"] == true).then_some(beside)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_say_whether_they_answer() {
        let asked = sources(&json!({ "sources": [
            { "name": "esplora https://a/", "in_use": true, "took_ms": 41, "fault": null },
            { "name": "bitcoind b:1", "in_use": false, "took_ms": 9, "fault": "it is away" },
        ] }));
        assert!(asked.contains("in use") && asked.contains("answers, in 41 ms"), "{asked}");
        assert!(asked.contains("in reserve") && asked.contains("it is away"), "{asked}");
        assert!(answered(&json!({ "took_ms": 41, "fault": null })));
        assert!(!answered(&json!({ "took_ms": 9, "fault": "it is away" })));
        assert!(wrong(&json!({ "sources": [] })).starts_with("No source is known"));
        let known = sources(&json!({ "sources": [{ "name": "a", "in_use": true, "answers": false }] }));
        assert!(known.contains("did not answer"), "{known}");
    }

    #[test]
    fn open_steps_say_what_to_do() {
        let text = points(&json!({ "points": [
            { "step": "password", "done": true, "needed": true },
            { "step": "words", "done": false, "needed": false },
        ] }));
        assert_eq!(
            text.lines().nth(1),
            Some("[ ] the seed's words on paper: tollhouse seed verify (not needed to start)")
        );
        assert!(text.starts_with("[x] a password"));
        let list = json!({ "left": ["payment", "backup"], "same_disk": false });
        assert_eq!(left(&list), ["a first payment: tollhouse fetch", "a place for backups: backup.dir"]);
        assert_eq!(left(&json!({ "left": [], "same_disk": true })).len(), 1);
        assert_eq!(nothing_sold(&list), None);
        assert_eq!(
            nothing_sold(&json!({ "left": ["service"], "example": false })),
            Some("nothing is on sale")
        );
    }
}
