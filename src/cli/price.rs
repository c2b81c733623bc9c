//! `tollhouse price GET URL`: what a request would cost, and why.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Map, Value, json};

use super::operator::{Admin, Failure, OperatorArgs, Shown, ask, table};
use crate::config::Environment;
use crate::pricing::FORMULA_GUIDE;

/// What `price` is told.
#[derive(Args, Debug)]
#[command(after_long_help = FORMULA_GUIDE)]
pub(super) struct PriceArgs {
    /// The method, such as GET
    method: String,
    /// The URL as a customer asks for it, or a path
    url: String,
    /// A header of the request
    #[arg(short = 'H', long = "header", value_name = "K: V")]
    headers: Vec<String>,
    /// The request's body, or @FILE
    #[arg(short = 'd', long = "data", value_name = "DATA")]
    data: Option<String>,
    /// Every route, those for other requests too
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    operator: OperatorArgs,
}

pub(super) fn run(args: &PriceArgs, env: &Environment) -> ExitCode {
    ask(&args.operator, env, async |admin| price(admin, args).await)
}

async fn price(admin: &Admin, args: &PriceArgs) -> Result<Shown, Failure> {
    let (headers, body) = (headers(&args.headers)?, body(args.data.as_deref())?);
    let asked = json!({ "method": args.method.to_ascii_uppercase(), "url": args.url, "headers": headers, "body": body });
    let answer = admin.post("/api/v1/price", &asked).await?;
    let text = words(&answer, args.all);
    Ok(Shown::new(answer, text))
}

/// Headers as `-H` says them.
pub(super) fn headers(lines: &[String]) -> Result<Map<String, Value>, Failure> {
    let mut headers = Map::new();
    for line in lines {
        let (name, value) = line
            .split_once(':')
            .ok_or_else(|| Failure::arguments(format!("-H {line:?}: write a name, a colon and a value")))?;
        headers.insert(name.trim().to_owned(), json!(value.trim()));
    }
    Ok(headers)
}

/// A body as `-d` says it: text, or what is in @FILE.
pub(super) fn body(data: Option<&str>) -> Result<Option<String>, Failure> {
    match data.map(|data| data.strip_prefix('@').ok_or(data)) {
        None => Ok(None),
        Some(Err(text)) => Ok(Some(text.to_owned())),
        Some(Ok(file)) => {
            let unread = |error| Failure::arguments(format!("-d @{file}: {error}"));
            std::fs::read_to_string(file).map(Some).map_err(unread)
        }
    }
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn words(answer: &Value, all: bool) -> String {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut lines =
        vec![format!("{} {}{}", word(&answer["method"]), word(&answer["host"]), word(&answer["path"]))];
    if !answer["service"].is_null() {
        lines.push(format!("service {}, route {}", word(&answer["service"]), word(&answer["route"])));
    }
    lines.extend(items(&answer["why"]).iter().map(|why| format!("  {}", word(why))));
    let offers: Vec<[String; 3]> = items(&answer["offers"]).iter().map(offer).collect();
    if !offers.is_empty() {
        lines.push(String::new());
        lines.push(table(["OFFER", "PRICE", "WHAT"], offers));
    }
    let for_it = |candidate: &&Value| all || !word(&candidate["why"]).starts_with("it is for ");
    let rows = items(&answer["candidates"]).iter().filter(for_it).map(|candidate| {
        let sign = if candidate["won"] == true { "*" } else { "" };
        [
            sign.to_owned(),
            format!("{}/{}", word(&candidate["service"]), word(&candidate["route"])),
            word(&candidate["requests"]),
            word(&candidate["why"]),
        ]
    });
    let rows: Vec<[String; 4]> = rows.collect();
    if !rows.is_empty() {
        lines.push(String::new());
        lines.push(table(["", "ROUTE", "REQUESTS", "WHY"], rows));
    }
    lines.join("\n")
}

fn offer(offer: &Value) -> [String; 3] {
    let word = |key: &str| offer[key].as_str().unwrap_or_default().to_owned();
    let what = if offer["notSold"].is_null() {
        word("description")
    } else {
        format!("not sold: {}", word("notSold"))
    };
    [word("offer"), word("amount"), what]
}
