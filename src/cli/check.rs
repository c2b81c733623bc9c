//! `tollhouse check`: the settings in force with their sources, or everything that is wrong with them.

use std::process::ExitCode;

use clap::Args;
use comfy_table::{Table, presets};
use serde_json::{Value, json};

use super::{say, sources, warn};
use crate::backup::{Destination, LEDGER_FILE};
use crate::catalog::{PathPattern, Service};
use crate::config::{Environment, Flags, Problem, Settings, Source};

/// What `check` is told.
#[derive(Args, Debug)]
pub(super) struct CheckArgs {
    /// Print one JSON object, errors too
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flags: Flags,
}

pub(super) fn run(args: &CheckArgs, env: &Environment) -> ExitCode {
    let mut loaded = Settings::load(&args.flags, env);
    if let Ok(settings) = &mut loaded {
        let doubts = sources::doubts(settings);
        settings.warnings.extend(doubts);
        settings.warnings.extend(beside(settings));
        // What is made on the pages or by `services` is in the ledger, which nobody but the appliance reads.
        if !settings.network_dir().join(LEDGER_FILE).exists() {
            settings.warnings.extend(settings.none_named.take());
        }
    }
    let told = match (&loaded, args.json) {
        (Ok(settings), true) => say(as_json(settings)),
        (Ok(settings), false) => {
            for warning in &settings.warnings {
                warn(format_args!("Warning: {warning}"));
            }
            say(as_text(settings))
        }
        (Err(problems), true) => say(json!({
            "ok": false,
            "errors": problems.0.iter().map(problem).collect::<Vec<_>>(),
        })),
        (Err(problems), false) => {
            warn(problems);
            Ok(())
        }
    };
    match (loaded, told) {
        (Err(_), _) => ExitCode::from(2),
        (Ok(_), Err(_)) => ExitCode::FAILURE,
        (Ok(_), Ok(())) => ExitCode::SUCCESS,
    }
}

/// That copies would go to the disk that the data is on, as far as the places tell it.
fn beside(settings: &Settings) -> Option<Problem> {
    let dir = settings.backup.dir.clone()?;
    let what = format!("{} is on the same disk as the data: a dead disk takes both", dir.display());
    let beside = Destination::new(dir, settings.network_dir()).would_be_apart() == Some(false);
    let setting = "backup.dir".to_owned();
    let said = settings.shown.iter().find(|shown| shown.setting == setting);
    beside.then(|| Problem {
        file: settings.file.clone(),
        source: said.map_or(Source::Default, |shown| shown.source.clone()),
        setting,
        what,
        help: "Name a folder on another disk, or have this one copied to another machine.".to_owned(),
    })
}

fn as_text(settings: &Settings) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(["SETTING", "VALUE", "FROM"]);
    for shown in &settings.shown {
        table.add_row([&shown.setting, &shown.value, &shown.source.to_string()]);
    }
    let mut text = match &settings.file {
        Some(file) => format!("{}: in order.\n\n{}", file.display(), trimmed(&table)),
        None => format!("No configuration file; in order without one.\n\n{}", trimmed(&table)),
    };
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(["SERVICE", "ROUTE", "REQUESTS", "PRICE", "UPSTREAM"]);
    for service in &settings.services {
        let host = service.host.as_deref().unwrap_or("*");
        for route in &service.routes {
            let method = route.method.as_ref().map_or("any", |m| m.as_str());
            let requests = format!("{method} {host}{}", route.path);
            table.add_row([
                service.name.as_str(),
                route.name.as_str(),
                &requests,
                &route.terms.rule.to_string(),
                "",
            ]);
        }
        let rest = format!("any {host}{}", PathPattern::Under(service.path.clone()));
        let upstream = service.upstream.base.as_str();
        table.add_row([
            service.name.as_str(),
            "(the rest)",
            &rest,
            &service.terms.rule.to_string(),
            upstream,
        ]);
    }
    if !settings.services.is_empty() {
        text.push_str("\n\n");
        text.push_str(&trimmed(&table));
    }
    text
}

/// The table without the spaces at its lines' ends.
fn trimmed(table: &Table) -> String {
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

fn as_json(settings: &Settings) -> Value {
    json!({
        "ok": true,
        "file": settings.file,
        "settings": settings.shown.iter().map(|shown| {
            let mut object = source(&shown.source);
            object["setting"] = json!(shown.setting);
            object["value"] = json!(shown.value);
            object
        }).collect::<Vec<_>>(),
        "services": settings.services.iter().map(service).collect::<Vec<_>>(),
        "warnings": settings.warnings.iter().map(problem).collect::<Vec<_>>(),
    })
}

fn service(service: &Service) -> Value {
    json!({
        "name": service.name,
        "host": service.host,
        "path": service.path,
        "price": service.terms.rule.to_string(),
        "upstream": service.upstream.base.as_str(),
        "routes": service.routes.iter().map(|route| json!({
            "name": route.name,
            "method": route.method.as_ref().map(|m| m.as_str()),
            "path": route.path.to_string(),
            "price": route.terms.rule.to_string(),
        })).collect::<Vec<_>>(),
    })
}

fn problem(problem: &Problem) -> Value {
    let mut object = source(&problem.source);
    object["file"] = json!(problem.file);
    object["setting"] = json!(problem.setting);
    object["what"] = json!(problem.what);
    object["help"] = json!(problem.help);
    object
}

fn source(source: &Source) -> Value {
    match source {
        Source::Flag(name) => json!({"source": "flag", "name": name}),
        Source::Env(name) => json!({"source": "env", "name": name}),
        Source::File(line) => json!({"source": "file", "line": line}),
        Source::Default => json!({"source": "default"}),
    }
}
