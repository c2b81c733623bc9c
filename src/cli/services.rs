//! `tollhouse services`: what is sold, and how it is changed.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::amounts::sats;
use super::ground::Yes;
use super::operator::{Admin, Failure, OperatorArgs, Shown, ask, table};
use super::{tell, warn};
use crate::catalog::spec::{Spec, SpecFault};
use crate::config::{Environment, FileServices, Problems};
use crate::types::counted;

/// What `services` is told.
#[derive(Args, Debug)]
pub(super) struct ServicesArgs {
    #[command(flatten)]
    operator: OperatorArgs,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Every service, one a line
    List,
    /// One service, as a services file has it
    Show {
        /// Its name
        name: String,
    },
    /// Add or change the services that a file names
    Apply {
        /// A TOML file of [[service]] blocks, or JSON
        file: PathBuf,
        /// Only say what would change
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        sure: Yes,
    },
    /// Everything that is sold, as a services file
    Export,
    /// Take a service off sale
    Remove {
        /// Its name
        name: String,
        #[command(flatten)]
        sure: Yes,
    },
}

pub(super) fn run(args: &ServicesArgs, env: &Environment) -> ExitCode {
    let json = args.operator.json();
    ask(&args.operator, env, async |admin| match &args.what {
        None | Some(What::List) => list(admin).await,
        Some(What::Show { name }) => show(admin, name).await,
        Some(What::Apply { file, dry_run, sure }) => {
            let sure = if *dry_run { None } else { Some(*sure) };
            apply(admin, file, sure, json).await
        }
        Some(What::Export) => export(admin).await,
        Some(What::Remove { name, sure }) => {
            sure.or_ask(&format!(
                "{name} is off sale, and tokens that were sold for it open nothing meanwhile."
            ))?;
            let done = admin.delete(&format!("/api/v1/services/{}", segment(name)?)).await?;
            Ok(Shown::new(done, format!("{name} is off sale")))
        }
    })
}

/// A name as a path's segment: what is no name is no service either.
fn segment(name: &str) -> Result<&str, Failure> {
    let parsed = name.parse::<crate::types::Name>();
    parsed.map(|_| name).map_err(|error| Failure::arguments(error.to_string()))
}

async fn list(admin: &Admin) -> Result<Shown, Failure> {
    let answer = admin.get("/api/v1/services").await?;
    let rows: Vec<[String; 6]> = items(&answer["services"]).iter().map(row).collect();
    let text = if rows.is_empty() {
        "nothing is sold: `tollhouse services apply FILE` puts something there".to_owned()
    } else {
        table(["SERVICE", "MODE", "REQUESTS", "PRICE", "ROUTES", "EDITED IN"], rows)
    };
    Ok(Shown::new(answer, text))
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn row(service: &Value) -> [String; 6] {
    let spec = &service["spec"];
    let text = |key: &str, default: &str| spec[key].as_str().unwrap_or(default).to_owned();
    let closed = !items(&service["faults"]).is_empty();
    let price = match &spec["price"] {
        Value::String(price) => price.clone(),
        Value::Null => "tiers".to_owned(),
        _ => "formula".to_owned(),
    };
    [
        text("name", ""),
        if closed { "closed: see show".to_owned() } else { text("mode", "on") },
        format!("{}{}", text("host", "*"), text("path", "/")),
        price,
        items(&spec["route"]).len().to_string(),
        service["owner"].as_str().unwrap_or("here").to_owned(),
    ]
}

async fn show(admin: &Admin, name: &str) -> Result<Shown, Failure> {
    let answer = admin.get(&format!("/api/v1/services/{}", segment(name)?)).await?;
    let mut text = String::new();
    if let Some(owner) = answer["owner"].as_str() {
        text.push_str(&format!("# edited in {owner}\n"));
    }
    for fault in items(&answer["faults"]) {
        let word = |key: &str| fault[key].as_str().unwrap_or_default();
        text.push_str(&format!("# closed: {}: {}\n", word("field"), word("what")));
    }
    text.push_str(toml_of(&answer["spec"])?.trim_end());
    Ok(Shown::new(answer, text))
}

fn toml_of(spec: &Value) -> Result<String, Failure> {
    let foreign = |_| {
        let text = "the appliance has settings that this command does not know: use the same version";
        Failure::refused("foreign_answer", text)
    };
    serde_json::from_value::<Spec>(spec.clone()).map(|spec| spec.to_toml()).map_err(foreign)
}

async fn export(admin: &Admin) -> Result<Shown, Failure> {
    let answer = admin.get("/api/v1/services").await?;
    let mut text =
        "# What is sold. Values of upstream_headers are left out: who applies this keeps the stored ones.\n"
            .to_owned();
    let mut specs = Vec::new();
    for service in items(&answer["services"]) {
        text.push('\n');
        text.push_str(&toml_of(&service["spec"])?);
        specs.push(service["spec"].clone());
    }
    Ok(Shown::new(json!({ "services": specs }), text.trim_end()))
}

/// Services to apply, and the lines that they stand on when the file is TOML.
struct Given {
    services: Vec<Value>,
    lines: Option<FileServices>,
}

fn read(file: &Path) -> Result<Given, Failure> {
    let wrong = |text: String| Failure::refused("bad_file", text);
    let problems = |problems: Problems| wrong(problems.to_string());
    if file.extension().is_some_and(|extension| extension == "json") {
        let text = std::fs::read_to_string(file).map_err(|e| wrong(format!("{}: {e}", file.display())))?;
        let value: Value = serde_json::from_str(&text)
            .map_err(|e| wrong(format!("{}: this is not JSON: {e}", file.display())))?;
        let services = match value {
            Value::Array(list) => list,
            Value::Object(mut table) => match ["services", "service"].into_iter().find(|key| {
                table.get(*key).is_some_and(Value::is_array) // as `export --json` writes it; as in TOML
            }) {
                Some(key) => items(&table[key].take()).to_vec(),
                None => vec![Value::Object(table)],
            },
            one => vec![one],
        };
        return Ok(Given { services, lines: None });
    }
    let read = FileServices::load(file).map_err(problems)?;
    let services = read.specs.iter().map(Spec::to_json).collect();
    Ok(Given { services, lines: Some(read) })
}

/// Shows what a file changes, and makes it so where somebody is `sure`, or says so; in a dry run nobody is.
async fn apply(admin: &Admin, file: &Path, sure: Option<Yes>, json: bool) -> Result<Shown, Failure> {
    let given = read(file)?;
    if given.services.is_empty() {
        let text = format!("{}: there is no [[service]] in it", file.display());
        return Err(Failure::refused("bad_file", text));
    }
    let body = |dry_run: bool| json!({ "services": given.services, "dry_run": dry_run });
    let named = |failure: Failure| match given.lines {
        Some(_) => failure,
        None => Failure { text: format!("{}: {}", file.display(), failure.text), ..failure },
    };
    let planned = send(admin, &given, &body(true)).await.map_err(named)?;
    let (difference, grave) = (difference(&planned), grave(&planned));
    let changes = items(&planned["changes"]).len();
    if changes > 0 {
        warn_of(&given);
    }
    let Some(sure) = sure.filter(|_| changes > 0) else {
        let end = if changes == 0 { "no difference" } else { "dry run: nothing was changed" };
        let told = if changes == 0 { Vec::new() } else { [vec![difference], grave].concat() };
        let text = [told, vec![end.to_owned()]].concat().join("\n");
        return Ok(Shown::new(planned, text));
    };
    if !json {
        tell(&difference);
    }
    if !grave.is_empty() {
        sure.or_ask(&grave.join("\n"))?;
    }
    let done = send(admin, &given, &body(false)).await?;
    for name in items(&done["silent"]).iter().filter_map(Value::as_str) {
        warn(format_args!(
            "Warning: {name}.upstream: it did not answer. Until it does, whoever pays gets no answer."
        ));
    }
    Ok(Shown::new(done, "applied"))
}

/// On stderr, so that it does not spoil what `--json` prints.
fn warn_of(given: &Given) {
    for service in &given.services {
        let (spec, _) = Spec::read(service);
        for doubt in spec.doubts() {
            warn(format_args!("Warning: {}.{doubt}", spec.name));
        }
    }
}

async fn send(admin: &Admin, given: &Given, body: &Value) -> Result<Value, Failure> {
    let (failure, problem) = match admin.post_or_problem("/api/v1/services/apply", body).await {
        Ok(answer) => return Ok(answer),
        Err(refused) => *refused,
    };
    let errors = items(&problem["errors"]);
    let Some(lines) = given.lines.as_ref().filter(|_| !errors.is_empty()) else { return Err(failure) };
    let placed = errors.iter().map(|error| {
        let word = |key: &str| error[key].as_str().unwrap_or_default().to_owned();
        let index =
            error["index"].as_u64().and_then(|index| usize::try_from(index).ok()).unwrap_or(usize::MAX);
        let fault = SpecFault { field: word("field"), what: word("what"), help: word("help") };
        lines.problem(index, &fault)
    });
    Err(Failure { text: Problems(placed.collect()).to_string(), ..failure })
}

/// What changes, a service a line, and below it each setting that differs.
fn difference(plan: &Value) -> String {
    let mut lines = Vec::new();
    for change in items(&plan["changes"]) {
        let word = |key: &str| change[key].as_str().unwrap_or_default();
        let sign = match word("what") {
            "added" => '+',
            "removed" => '-',
            _ => '~',
        };
        lines.push(format!("{sign} {}", word("service")));
        for one in items(&change["differences"]) {
            let side = |key: &str| match &one[key] {
                Value::Null => "(nothing)".to_owned(),
                value => value.to_string(),
            };
            let field = one["field"].as_str().unwrap_or_default();
            lines.push(format!("    {field}: {} -> {}", side("before"), side("after")));
        }
    }
    lines.join("\n")
}

/// What stops earning or serving, and whom a dearer price touches: what is asked about first.
fn grave(plan: &Value) -> Vec<String> {
    let stops = items(&plan["stops"]).iter().map(stop);
    stops.chain(items(&plan["rises"]).iter().flat_map(rise)).collect()
}

/// Whom a dearer price touches.
fn rise(rise: &Value) -> Vec<String> {
    let number = |key: &str| rise[key].as_u64().unwrap_or_default();
    let service = rise["service"].as_str().unwrap_or_default();
    let certain = rise["certain"].as_bool().unwrap_or_default();
    let mut lines: Vec<String> = items(&rise["prices"]).iter().map(|one| repriced(service, one)).collect();
    let refused = if certain {
        "sold for less, refused there from then on with a new offer"
    } else {
        "refused with a new offer where a request costs more than it was sold for"
    };
    let (tokens, left) = (number("refused_tokens"), number("refused_requests"));
    if tokens > 0 {
        let (tokens, left) = (counted(tokens, "sold token"), counted(left, "paid request"));
        lines.push(format!("! {service}: {tokens} with {left} left: {refused}"));
    }
    let money = [("balance", "sold balance", ""), ("given", "given token", ", which nobody paid for")];
    for (key, noun, but) in money {
        let (tokens, left) = (number(&format!("{key}_tokens")), number(&format!("{key}_left_msat")));
        if tokens > 0 {
            let (tokens, left) = (counted(tokens, noun), sats(&left.into()));
            lines.push(format!("! {service}: {tokens} with {left} left{but}: for fewer requests"));
        }
    }
    lines
}

/// What some requests cost, before and after.
fn repriced(service: &str, one: &Value) -> String {
    let requests: Vec<&str> = items(&one["requests"]).iter().filter_map(Value::as_str).collect();
    let price = |key: &str| one[key].as_str().unwrap_or_default();
    let may = if one["certain"].as_bool().unwrap_or_default() {
        ""
    } else {
        " (perhaps more, by the request or the rate)"
    };
    let pack = one["pack"].as_u64().map(|requests| format!("pack of {requests} of ")).unwrap_or_default();
    format!("! {service}: {pack}{}: {} -> {}{may}", requests.join(", "), price("before"), price("after"))
}

/// What is served or earns no more.
fn stop(stop: &Value) -> String {
    let service = stop["service"].as_str().unwrap_or_default();
    let how = match stop["how"].as_str().unwrap_or_default() {
        "free" => "costs nothing any more",
        "shadow" => "goes into shadow: everything passes, and nothing is charged",
        "off" => "goes off: customers are refused, also those who have paid",
        _ => "is taken away",
    };
    let some: Vec<&str> = items(&stop["requests"]).iter().filter_map(Value::as_str).collect();
    if some.is_empty() {
        format!("! {service} {how}")
    } else {
        format!("! {service} {how}: {}", some.join(", "))
    }
}
