//! `tollhouse doctor`: looks at everything, running or not, and prints what to fix.
//!
//! Of an appliance that runs it asks `GET /api/v1/health`, and has it ask its chain sources at once; on its own it reads
//! the settings, the directory, the disk and the chain sources. It changes nothing. Exit codes: 0 nothing to fix; 1
//! warnings, such as that nothing is on sale; 2 bad arguments; 3 something critical: what is on sale cannot be sold, or
//! money is at risk.

mod at_rest;
mod sources;

use std::process::ExitCode;

use serde_json::{Value, json};

use super::operator::{Admin, Failure, OperatorArgs, Shown, fail};
use super::run::in_runtime;
use super::{chain as chain_steps, logging, next, status};
use crate::config::{Environment, Flags, Settings};
use crate::types::Severity::{self, Critical, Info, Warning};
use crate::watchman::{AlarmCode, CODES};

/// What `doctor` is told.
#[derive(clap::Args, Debug)]
pub(super) struct DoctorArgs {
    #[command(flatten)]
    appliance: OperatorArgs,
    /// Instead, every alarm that there is: when it is raised, and what to do
    #[arg(long)]
    codes: bool,
}

/// What was looked at, and what is to be fixed.
#[derive(Debug, Default)]
struct Report {
    running: bool,
    checks: Vec<(String, Option<Severity>, String)>,
    findings: Vec<(Severity, String, String, String)>,
}

impl Report {
    fn fine(&mut self, name: &str, detail: impl Into<String>) {
        self.checks.push((name.to_owned(), None, detail.into()));
    }

    fn found(&mut self, name: &str, severity: Severity, code: &str, text: String, fix: &str) {
        self.checks.push((name.to_owned(), Some(severity), text.clone()));
        self.findings.push((severity, code.to_owned(), text, fix.to_owned()));
    }

    fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|(severity, ..)| *severity).max()
    }
}

pub(super) fn run(args: &DoctorArgs, env: &Environment) -> ExitCode {
    if args.codes {
        return codes().print(args.appliance.json());
    }
    logging::start("error");
    match in_runtime(async { Ok(look(&args.appliance, env).await) }) {
        Ok(Ok(report)) => shown(report).print(args.appliance.json()),
        Ok(Err(failure)) => fail(&failure, args.appliance.json()),
        Err(error) => fail(&Failure::refused("internal", format!("{error:#}")), args.appliance.json()),
    }
}

fn codes() -> Shown {
    let text = |one: &AlarmCode| {
        format!(
            "{:<26} {:<9} {}\n{:<26} {:<9} do: {}",
            one.code,
            one.severity.as_str(),
            one.when,
            "",
            "",
            one.fix
        )
    };
    let text = CODES.iter().map(text).collect::<Vec<_>>().join("\n");
    Shown::new(json!({ "codes": CODES }), text)
}

async fn look(args: &OperatorArgs, env: &Environment) -> Result<Report, Failure> {
    let mut report = Report::default();
    let health = match Admin::find(args, env) {
        Ok(admin) => admin.get("/api/v1/health").await,
        Err(failure) => Err(failure),
    };
    // What answers without a configuration is the demo: settings that nobody wrote are not its own.
    let elsewhere = args.is_elsewhere(env) || (health.is_ok() && matches!(args.place(env), Ok(None)));
    let settings = if elsewhere { None } else { Some(Settings::load(&args.settings_flags(), env)) };
    match &settings {
        // What is asked is a demo, or an appliance on another machine.
        None => {}
        Some(Ok(settings)) => {
            let file = settings
                .file
                .as_ref()
                .map_or_else(|| "no file".to_owned(), |file| file.display().to_string());
            report.fine("settings", format!("in order ({file})"));
            for warning in &settings.warnings {
                let text = warning.to_string();
                report.found(
                    "settings",
                    Info,
                    "settings_doubtful",
                    text,
                    "`tollhouse check` says where it stands.",
                );
            }
            at_rest::modes(settings, &mut report);
        }
        Some(Err(problems)) => {
            let text = problems.to_string();
            report.found("settings", Critical, "settings_wrong", text, "Correct them: `tollhouse check`.");
        }
    }
    match (health, &settings) {
        (Ok(health), _) => {
            report.running = true;
            told(&health, &mut report);
            if let Ok(admin) = Admin::find(args, env) {
                sources::ask(&admin, &mut report).await;
                // Who may read its health may read this.
                if let Ok(list) = admin.get("/api/v1/checklist").await {
                    first_steps(&list, &mut report);
                }
            }
        }
        (Err(failure), _) if failure.code == "locked" => {
            report.running = true;
            let door = match Admin::find(args, env) {
                Ok(admin) => admin.get("/api/v1/status").await.unwrap_or_default(),
                Err(_) => Value::Null,
            };
            let (text, fix) = locked(&door, &args.settings_flags());
            report.found("appliance", Critical, "locked", text, &fix);
            // It asks none itself before it has its seed.
            if let Some(Ok(settings)) = &settings {
                sources::look(settings, &mut report).await;
            }
        }
        (Err(failure), _) if failure.exit == 1 || failure.code == "unauthenticated" => {
            report.running = true;
            refused(&failure, &mut report);
        }
        (Err(failure), Some(Ok(settings))) => {
            at_rest::look(settings, &args.settings_flags(), &failure, &mut report).await;
        }
        (Err(_), Some(Err(_))) => {}
        (Err(failure), None) => return Err(failure),
    }
    Ok(report)
}

/// What is the matter where the appliance answers and does not say how it stands.
fn refused(failure: &Failure, report: &mut Report) {
    let text = format!("It runs, and does not tell its health: {}.", failure.text.trim_end_matches('.'));
    let (severity, code, fix) = match failure.code.as_str() {
        "unauthenticated" | "missing_scope" => (
            Warning,
            "key_refused",
            "Make a key that may read, under Integrations, and name its file: --admin-key-file FILE.",
        ),
        _ => (Critical, "no_health", "See its log."),
    };
    report.found("appliance", severity, code, text, fix);
}

/// What is the matter with an appliance that is locked, and what to do, by what it says of itself.
pub(super) fn locked(status: &Value, flags: &Flags) -> (String, String) {
    match status["has_seed"].as_bool() {
        Some(false) => (
            "The appliance runs and has no seed yet: nothing is sold until one is made.".to_owned(),
            "Open the one-time link that it printed at its start.".to_owned(),
        ),
        _ => (
            "The appliance runs and is locked: nothing is sold until its seed is opened.".to_owned(),
            format!("`{}`.", next::command("unlock", flags)),
        ),
    }
}

/// What the appliance says of itself.
fn told(health: &Value, report: &mut Report) {
    let word = |value: &Value, name: &str| value[name].as_str().unwrap_or_default().to_owned();
    let list = |name: &str| health[name].as_array().cloned().unwrap_or_default();
    report.fine("appliance", "it runs");
    for check in list("checks") {
        let severity = word(&check, "status").parse().ok();
        let (name, detail) = (word(&check, "name"), word(&check, "detail"));
        // Neither alarms anybody where coins are worth nothing, and both are still told.
        if name == "backup" && severity == Some(Info) {
            let (code, text, fix) = match detail.contains("on the same disk") {
                true => (
                    "backup_same_disk",
                    "The backups lie on the same disk as the data: a dead disk takes both.",
                    "Name a folder on another disk, or have this one copied to another machine: backup.dir.",
                ),
                false => (
                    "backup_missing",
                    "The ledger is not backed up: a dead disk takes what buyers have paid for.",
                    "Name a folder on another disk: backup.dir.",
                ),
            };
            report.findings.push((Info, code.to_owned(), text.to_owned(), fix.to_owned()));
        }
        let detail = match check["age_secs"].as_u64().filter(|_| matches!(name.as_str(), "chain" | "fees")) {
            Some(age) => format!("{detail}, as of {}", status::ago(age)),
            None => detail,
        };
        report.checks.push((name, severity, detail));
    }
    for alarm in list("alarms") {
        let severity = word(&alarm, "severity").parse().unwrap_or(Warning);
        report.findings.push((severity, word(&alarm, "code"), word(&alarm, "text"), word(&alarm, "fix")));
    }
    // Alarms wait a little before they are raised; that nothing can be sold is so at once.
    if let Some(code) = health["not_ready"].as_str()
        && report.worst() < Some(Critical)
    {
        let details = list("checks").into_iter().filter(|check| check["name"] == "node");
        let why = details.map(|check| format!(" The node: {}.", word(&check, "detail"))).collect::<String>();
        let text = format!("Nothing can be sold now ({code}).{why}");
        let fix = match code {
            "cannot_receive" => {
                "Open or buy a channel, or pay out: `tollhouse inbound`, `tollhouse pay-out`."
            }
            _ => "It may be starting; else see the log and the chain source in the settings.",
        };
        report.findings.push((Critical, code.to_owned(), text, fix.to_owned()));
    }
}

/// What is left of the first steps, as far as nothing else told it.
fn first_steps(list: &Value, report: &mut Report) {
    let told = |code: &str| report.findings.iter().any(|(_, known, ..)| known == code);
    let known: &[(&str, &str)] =
        &[("words", "seed_not_verified"), ("receive", "cannot_receive"), ("backup", "backup_missing")];
    let mut list = list.clone();
    if let Some(left) = list["left"].as_array_mut() {
        left.retain(|step| !known.iter().any(|(name, code)| step == name && told(code)));
    }
    // That the copies lie beside the data was told with its check.
    list["same_disk"] = false.into();
    // The list can be put away, and some of it can wait; without this nothing is earned.
    if let Some(text) = chain_steps::nothing_sold(&list) {
        let fix = "`tollhouse services apply FILE`, or First steps on the page.";
        let text = format!("{}.", upper(text));
        report.findings.push((Warning, "nothing_on_sale".to_owned(), text, fix.to_owned()));
        if let Some(left) = list["left"].as_array_mut() {
            left.retain(|step| step != "service");
        }
    }
    for step in chain_steps::left(&list) {
        let (what, fix) = step.split_once(": ").unwrap_or((step, "see First steps on the page"));
        let text = format!("Left of the first steps: {what}.");
        report.findings.push((Info, "first_steps".to_owned(), text, format!("{fix}.")));
    }
}

/// With a capital letter.
fn upper(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn shown(mut report: Report) -> Shown {
    report.findings.sort_by_key(|(severity, ..)| std::cmp::Reverse(*severity));
    let worst = report.worst();
    let state = |severity: Option<Severity>| severity.map_or("ok", Severity::as_str);
    let value = json!({
        "status": state(worst),
        "running": report.running,
        "checks": report.checks.iter().map(|(name, severity, detail)| json!({
            "name": name, "status": state(*severity), "detail": detail,
        })).collect::<Vec<_>>(),
        "findings": report.findings.iter().map(|(severity, code, text, fix)| json!({
            "severity": severity, "code": code, "text": text, "fix": fix,
        })).collect::<Vec<_>>(),
    });
    let text = text(&report);
    Shown::new(value, text).exiting(match worst {
        None | Some(Info) => 0,
        Some(Warning) => 1,
        Some(Critical) => 3,
    })
}

fn text(report: &Report) -> String {
    let mut lines: Vec<String> = report
        .checks
        .iter()
        .filter(|(_, severity, _)| severity.is_none())
        .map(|(name, _, detail)| format!("  ok        {name:<12} {detail}"))
        .collect();
    for (severity, code, text, fix) in &report.findings {
        lines.push(format!("  {:<9} {code:<12} {text}", severity.as_str()));
        lines.push(format!("            fix: {fix}"));
    }
    lines.push(String::new());
    lines.push(sum(report));
    lines.join("\n")
}

/// How much there is to do, and how much of it hurts nobody yet.
fn sum(report: &Report) -> String {
    let fix = report.findings.iter().filter(|(severity, ..)| *severity > Info).count();
    let things = |count: usize| if count == 1 { "one thing".to_owned() } else { format!("{count} things") };
    match (fix, report.findings.len() - fix) {
        (0, 0) => "Nothing to fix.".to_owned(),
        (0, 1) => "Nothing is wrong. One thing is left to do, see above.".to_owned(),
        (0, known) => format!("Nothing is wrong. {known} things are left to do, see above."),
        (fix, 0) => format!("To fix: {}.", things(fix)),
        (fix, known) => format!("To fix: {}, and {} to see to when you can.", things(fix), things(known)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_to_do_is_told_once_and_breaks_nothing() {
        let mut report = Report::default();
        let backup =
            json!({ "name": "backup", "status": "info", "detail": "a.backup; on the same disk as the data" });
        let words = json!({ "severity": "info", "code": "seed_not_verified", "text": "t", "fix": "f" });
        told(&json!({ "checks": [backup], "alarms": [words] }), &mut report);
        first_steps(&json!({ "left": ["words", "payment"], "same_disk": true }), &mut report);
        let codes: Vec<&str> = report.findings.iter().map(|(_, code, ..)| code.as_str()).collect();
        assert_eq!(codes, ["backup_same_disk", "seed_not_verified", "first_steps"]);
        let told = text(&report);
        assert!(
            told.contains("Left of the first steps: a first payment.")
                && told.contains("fix: tollhouse fetch.")
        );
        assert!(told.ends_with("Nothing is wrong. 3 things are left to do, see above."), "{told}");
    }

    #[test]
    fn the_worst_comes_first_and_decides_the_exit() {
        let mut report = Report::default();
        report.fine("disk", "10 GiB free");
        assert!(text(&report).ends_with("Nothing to fix."));
        report.found("seed", Info, "no_seed", "There is no seed yet.".to_owned(), "Make one.");
        assert!(text(&report).ends_with("Nothing is wrong. One thing is left to do, see above."));
        report.found(
            "chain",
            Critical,
            "chain_unreachable",
            "It does not answer.".to_owned(),
            "Bring it back.",
        );
        report.found("appliance", Warning, "not_running", "It does not run.".to_owned(), "`tollhouse run`.");
        report.findings.sort_by_key(|(severity, ..)| std::cmp::Reverse(*severity));
        let told = text(&report);
        assert!(told.find("chain_unreachable") < told.find("not_running"), "{told}");
        assert!(told.ends_with("To fix: 2 things, and one thing to see to when you can."), "{told}");
        assert_eq!(report.worst(), Some(Critical));
    }
}
