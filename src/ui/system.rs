//! System: is it healthy? What is the matter, how far the node is, what the machine has left, what Tollhouse was
//! told, and what it said lately.

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytesize::ByteSize;
use http::StatusCode;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use serde::Deserialize;
use tracing::Level;

use super::alarm::AlarmLine;
use super::figures::{Span, grouped, grouped_in, spans, typeset};
use super::lapse::{age, ago};
use super::shell::{Desk, Section, Shell};
use super::steps::StepLine;
use super::{entry, fault, html};
use crate::store::StoreError;
use crate::types::{Severity, Timestamp};
use crate::web::{CheckView, Checklist, LogLine, LogTail, Operator, SettingLine, SystemView};

/// Lines of the log that are shown.
const SHOWN: usize = 100;

/// The levels that can be chosen: what the query says, the name, and the least grave that is shown.
const LEVELS: [(&str, &str, Level); 4] = [
    ("error", "Errors", Level::ERROR),
    ("warn", "Warnings", Level::WARN),
    ("", "What happens", Level::INFO),
    ("all", "Everything", Level::TRACE),
];

/// The addresses of these pages.
pub(super) fn router() -> Router<Arc<Operator>> {
    Router::new()
        .route("/system", get(page))
        .route("/system/log", get(log_part))
        .route("/system/diagnostics", get(diagnostics))
}

/// One figure with its name.
struct Fact {
    name: &'static str,
    value: String,
}

/// One thing that was looked at.
struct CheckLine {
    name: &'static str,
    class: &'static str,
    state: &'static str,
    detail: String,
    age: Option<String>,
}

/// One choice of a row of choices.
struct Choice {
    name: &'static str,
    href: String,
    chosen: bool,
}

#[derive(Template)]
#[template(path = "system/page.html")]
struct Page {
    shell: Shell,
    title: String,
    /// What is left of the first steps, and where to do it.
    left: Vec<(&'static str, &'static str)>,
    /// The password was changed a moment ago.
    changed: bool,
    alarms: Vec<AlarmLine>,
    /// What the title means and no alarm says.
    why: Vec<String>,
    facts: Vec<Fact>,
    libraries: String,
    sources: Vec<(String, &'static str, &'static str)>,
    checks: Vec<CheckLine>,
    file: Option<String>,
    settings: Vec<SettingLine>,
    /// Each in pieces: what is typed, and what is not.
    warnings: Vec<Vec<Span>>,
    level: &'static str,
    levels: Vec<Choice>,
    tail: Tail,
}

/// The end of the log, the newest line first.
#[derive(Template)]
#[template(path = "system/log.html")]
struct Tail {
    lines: Vec<LogLine>,
}

impl Tail {
    fn of(log: &LogTail, level: Level) -> Tail {
        let mut lines = log.lines(level, 0, SHOWN);
        lines.reverse();
        Tail { lines }
    }
}

/// Which lines of the log.
#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    level: String,
    /// What went well a moment ago.
    #[serde(default)]
    said: String,
}

impl Asked {
    fn chosen(&self) -> (&'static str, Level) {
        let found = LEVELS.iter().find(|(word, ..)| *word == self.level);
        found.map_or(("", Level::INFO), |(word, _, level)| (*word, *level))
    }
}

/// `GET /system?level`.
async fn page(desk: Desk, query: Result<Query<Asked>, QueryRejection>) -> Response {
    let Ok(Query(asked)) = query else { return entry::incomplete() };
    match read(&desk, &asked).await {
        Ok(page) => html(StatusCode::OK, &page),
        Err(error) => fault(&error),
    }
}

/// `GET /system/log?level`: the part of the page that moves.
async fn log_part(desk: Desk, query: Result<Query<Asked>, QueryRejection>) -> Response {
    let Ok(Query(asked)) = query else { return entry::incomplete() };
    html(StatusCode::OK, &Tail::of(&desk.op.parts.log, asked.chosen().1))
}

/// `GET /system/diagnostics`: the text as a file.
async fn diagnostics(desk: Desk) -> Response {
    match desk.op.diagnostics().await {
        Ok(text) => {
            let headers = [
                (CONTENT_TYPE, "text/plain; charset=utf-8"),
                (CONTENT_DISPOSITION, "attachment; filename=\"tollhouse-diagnostics.txt\""),
            ];
            (headers, text).into_response()
        }
        Err(error) => fault(&error),
    }
}

async fn read(desk: &Desk, asked: &Asked) -> Result<Page, StoreError> {
    let view = desk.op.system().await?;
    let alarms = desk.op.parts.ledger.alarms().await?;
    let configuration = desk.op.parts.config.configuration.clone();
    let (level, least) = asked.chosen();
    let choice = |(word, name, _): (&'static str, &'static str, Level)| Choice {
        name,
        href: if word.is_empty() { "/system#log".to_owned() } else { format!("/system?level={word}#log") },
        chosen: word == level,
    };
    // What is not fine and alarms nobody.
    let bad = |check: &&CheckView| !check.alarmed && check.status != "ok" && check.status != "info";
    let open: Vec<&CheckView> = view.checks.iter().filter(bad).collect();
    let library = |library: &crate::web::Library| format!("{} {}", library.name, library.version);
    let left = left(&desk.op.checklist().await?);
    let calm = alarms.iter().all(|row| row.alarm.severity == Severity::Info) && open.is_empty();
    Ok(Page {
        title: title(view.ready, calm, left.len()),
        left,
        changed: asked.said == "password",
        why: why(&view, alarms.is_empty(), open),
        alarms: AlarmLine::all(alarms),
        facts: facts(&view),
        libraries: view.libraries.iter().map(library).collect::<Vec<_>>().join(", "),
        sources: view.chain.sources.iter().map(source).collect(),
        checks: view.checks.iter().map(check).collect(),
        file: configuration.file,
        settings: configuration.settings,
        warnings: configuration.warnings.iter().map(|warning| spans(warning)).collect(),
        level,
        levels: LEVELS.into_iter().map(choice).collect(),
        tail: Tail::of(&desk.op.parts.log, least),
        shell: desk.shell(Section::System).await,
    })
}

/// How it is, in one line.
fn title(ready: bool, calm: bool, left: usize) -> String {
    match (ready, calm, left) {
        (true, true, 0) => "All is well".to_owned(),
        (true, true, 1) => "Nothing is wrong. One thing is left to do".to_owned(),
        (true, true, left) => format!("Nothing is wrong. {left} things are left to do"),
        (true, false, _) => "It is selling, and something needs your attention".to_owned(),
        (false, ..) => "Nothing can be sold now".to_owned(),
    }
}

/// What is left to do, whether Home lists it or it was put away, each with where to do it.
fn left(list: &Checklist) -> Vec<(&'static str, &'static str)> {
    let steps = StepLine::all(list).into_iter().filter(|line| list.left.contains(&line.step));
    let beside = list.same_disk.then_some(("A place for backups on another disk than the data’s", "/backup"));
    steps.map(|line| (line.name, line.href)).chain(beside).collect()
}

/// What the title means, where no alarm says it.
fn why(view: &SystemView, calm: bool, open: Vec<&CheckView>) -> Vec<String> {
    let mut lines: Vec<String> = open
        .into_iter()
        .map(|check| format!("{}: {}.", part(check.name), check.detail.trim_end_matches('.')))
        .collect();
    if calm && lines.is_empty() {
        lines.extend(view.not_ready.map(|code| {
            match code {
                "cannot_receive" => {
                    "No channel can receive the smallest price: Lightning has the ways to get one that can."
                }
                "not_synced" => "The node is not in step with the chain yet.",
                _ => "The Lightning node does not run.",
            }
            .to_owned()
        }));
    }
    lines
}

fn source(source: &crate::ports::SourceView) -> (String, &'static str, &'static str) {
    let (class, answer) = match source.answers {
        Some(true) => ("good", "It answers"),
        Some(false) => ("bad", "It does not answer"),
        None => ("", "Not asked lately"),
    };
    let name = if source.in_use { format!("{}, in use", source.name) } else { source.name.clone() };
    (name, class, answer)
}

fn facts(view: &SystemView) -> Vec<Fact> {
    let since =
        |then: Option<Timestamp>| then.map_or_else(|| "not yet".to_owned(), |then| ago(then, view.time));
    let size = |bytes: Option<u64>| bytes.map_or_else(|| "–".to_owned(), |bytes| ByteSize(bytes).to_string());
    let node = match &view.node_detail {
        Some(why) => format!("{}: {why}", view.node),
        None => view.node.to_owned(),
    };
    let mut facts = vec![
        Fact { name: "Version", value: format!("Tollhouse {}", view.version) },
        Fact { name: "Machine", value: view.platform.clone() },
        Fact { name: "Came up", value: since(Some(view.started_at)) },
        Fact { name: "Node", value: node },
        Fact { name: "Block", value: grouped(view.block_height.into()) },
        Fact { name: "Channels in step", value: since(view.synced_at) },
        Fact { name: "Wallet in step", value: since(view.onchain_synced_at) },
        Fact { name: "Fee rates learned", value: since(view.fee_rates_at) },
        Fact { name: "Peers connected", value: view.peers_connected.to_string() },
        Fact { name: "Memory", value: size(view.memory_bytes) },
        Fact {
            name: "Disk left",
            value: format!("{} of {}", size(view.disk_free_bytes), size(view.disk_total_bytes)),
        },
    ];
    for file in &view.files {
        let name = match file.name.as_str() {
            "ledger.db" => "The ledger",
            "channels.db" => "The channels’ state",
            _ => continue,
        };
        facts.push(Fact { name, value: size(Some(file.bytes)) });
    }
    facts
}

fn check(check: &CheckView) -> CheckLine {
    // Not yet an alarm, so soon after the start, and not fine either.
    let none = match check.name {
        "receivable" => check.detail.starts_with("0 sat "),
        "peers" => check.detail.starts_with("0 of ") && !check.detail.starts_with("0 of 0 "),
        _ => false,
    };
    let (class, state) = match check.status {
        "ok" if none => ("", "Not yet"),
        "ok" => ("good", "Fine"),
        "info" => ("", "Good to know"),
        "warning" => ("bad", "Act soon"),
        _ => ("bad", "Act now"),
    };
    CheckLine {
        name: part(check.name),
        class,
        state,
        detail: match (check.name, check.status) {
            ("fees", "ok") => grouped_in(&check.detail),
            ("fees", _) if check.alarmed => "fee rates were learned long ago".to_owned(),
            _ => typeset(&grouped_in(&check.detail)),
        },
        age: check.age_secs.map(age),
    }
}

/// What a check is called here; `doctor` and the API have its short name.
fn part(name: &'static str) -> &'static str {
    match name {
        "node" => "Lightning node",
        "chain" => "Chain source",
        "clock" => "Clock",
        "fees" => "Fee rates",
        "receivable" => "Room to receive",
        "peers" => "Peers of channels",
        "reserve" => "Reserve for closing",
        "closings" => "Closed channels",
        "monitors" => "Stored channel state",
        "unsent" => "Transactions to publish",
        "operations" => "Moves of coins",
        "orders" => "Ordered channels",
        "disk" => "Disk",
        "seed" => "Seed’s words",
        "restore" => "Restored copy",
        "snapshot" => "Channels’ snapshot",
        "backup" => "Backups",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::{Point, Step};

    #[test]
    fn an_unknown_level_is_the_usual_one() {
        let asked = |level: &str| Asked { level: level.to_owned(), said: String::new() }.chosen();
        assert_eq!(asked("warn"), ("warn", Level::WARN));
        assert_eq!(asked("\"><script>"), ("", Level::INFO));
    }

    #[test]
    fn what_is_left_to_do_is_told_where_nothing_is_wrong() {
        let point = |step, done| Point { step, done, needed: false };
        let points = vec![point(Step::Payment, true), point(Step::Backup, false)];
        let list = Checklist {
            points,
            done: true,
            left: vec![Step::Backup],
            same_disk: false,
            hidden: true,
            example: false,
        };
        assert_eq!(left(&list), [("A place for backups", "/backup")], "put away or not");
        assert_eq!(title(true, true, 1), "Nothing is wrong. One thing is left to do");
        assert_eq!(title(true, true, 2), "Nothing is wrong. 2 things are left to do");
        assert_eq!(title(true, true, 0), "All is well");
        let beside = Checklist { left: Vec::new(), same_disk: true, ..list };
        assert_eq!(left(&beside).len(), 1, "a place that dies with the data");
    }

    #[test]
    fn an_age_is_told_roughly() {
        let line = |age_secs| {
            check(&CheckView { name: "chain", status: "ok", detail: String::new(), age_secs, alarmed: false })
                .age
        };
        assert_eq!(line(None), None);
        assert_eq!(line(Some(45)).as_deref(), Some("under a minute"));
        assert_eq!(line(Some(7_265)).as_deref(), Some("2 hours"));
    }
}
