//! `tollhouse fetch`: gets a URL, and pays for it when it must.

mod output;
mod wallet;

use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

use comfy_table::{Table, presets};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::{Value, json};
use url::Url;

use super::run::in_runtime;
use super::{logging, say, warn};
use crate::agent::{Agent, Ask, Bought, Fault, Fetched, Limits, Offer, Quoted};
use crate::clock::{SystemClock, SystemEntropy};
use crate::config::{Environment, state_dir};
use crate::types::{Msat, Name, Timestamp};
use output::{Output, Paid};

#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes:\n  \
    0  the body was handed over\n  \
    1  something else; also an answer that is not 2xx and that nobody gave back: the body is handed over\n  \
    2  too expensive, or bad arguments; nothing was paid\n  \
    3  the payment failed, or is still on its way\n  \
    4  not served: the network or the wallet failed, or the server did (5xx) after it was paid. What was paid is \
    kept, and the next run uses it\n\n\
    After any end, a kill included, the same command goes on where it was and does not pay twice.")]
pub(super) struct FetchArgs {
    /// What to get
    url: String,
    /// Refuse to pay more than this, routing not counted
    #[arg(long, alias = "max-sats", value_name = "SATS", default_value_t = 100)]
    max_sat: u64,
    /// The most that routing may cost; without it the wallet's own limit holds
    #[arg(long, alias = "max-fee-sats", value_name = "SATS")]
    max_fee_sat: Option<u64>,
    /// Which of the seller's offers to buy, such as pack-100; --quote shows them. What is left of a
    /// token bought before is used up first, when it came from such an offer
    #[arg(long, value_name = "NAME")]
    offer: Option<String>,
    /// Only show the price
    #[arg(long)]
    quote: bool,
    /// Print one JSON object, errors too
    #[arg(long)]
    json: bool,
    /// The method; GET, or POST with -d
    #[arg(short = 'X', long = "request", value_name = "METHOD")]
    method: Option<String>,
    /// A header, `Name: value`; repeatable
    #[arg(short = 'H', long = "header", value_name = "K: V")]
    headers: Vec<String>,
    /// The body: text, @file, or @- for stdin. JSON is labelled as such unless -H Content-Type says else
    #[arg(short = 'd', long = "data", value_name = "DATA")]
    data: Option<String>,
    /// Write the body to this file, whole or not at all
    #[arg(short = 'o', long = "output", value_name = "FILE")]
    output: Option<PathBuf>,
    /// The admin address of the Tollhouse that pays [env: TOLLHOUSE_WALLET_URL]; the running demo's payer
    #[arg(long, value_name = "URL")]
    wallet: Option<String>,
    /// A file with a key that may pay there; or the key itself in the variable TOLLHOUSE_WALLET_KEY
    #[arg(long, value_name = "FILE")]
    wallet_key_file: Option<PathBuf>,
    /// When the server does not take a proof that was paid for earlier, or what is left of a pack: pay once more
    #[arg(long)]
    pay_again: bool,
}

/// Why the command ends without success.
struct Failure {
    code: &'static str,
    exit: u8,
    text: String,
    /// What was paid all the same.
    paid: Option<Value>,
}

impl Failure {
    fn new(code: &'static str, exit: u8, text: impl Into<String>) -> Failure {
        Failure { code, exit, text: text.into(), paid: None }
    }

    fn arguments(text: impl Into<String>) -> Failure {
        Failure::new("bad_arguments", 2, text)
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Failure {
        let paid = match &fault {
            Fault::Unserved { restored, paid, .. } => Some(json!({
                "amount_msat": if paid.before { Msat::ZERO } else { paid.price },
                "fee_msat": paid.fee.filter(|_| !paid.before),
                "payment_hash": paid.payment_hash,
                "paid_before": paid.before,
                "restored": restored,
            })),
            _ => None,
        };
        Failure { paid, ..Failure::new(fault.code(), fault.exit(), fault.to_string()) }
    }
}

/// Fetches.
pub(super) fn run(args: &FetchArgs, env: &Environment) -> ExitCode {
    logging::start("warn");
    // What fails inside is a Failure; what fails around it is the runtime.
    let done = in_runtime(async { Ok(fetch(args, env).await) });
    let failure = match done {
        Ok(Ok(exit)) => return ExitCode::from(exit),
        Ok(Err(failure)) => failure,
        Err(error) => Failure::new("internal", 1, format!("{error:#}")),
    };
    if args.json {
        let mut told = json!({ "error": failure.text, "code": failure.code, "exit": failure.exit });
        if let Some(paid) = failure.paid {
            told["paid"] = paid;
        }
        let _ = say(told);
    } else {
        warn(format!("error: {}", failure.text));
    }
    ExitCode::from(failure.exit)
}

async fn fetch(args: &FetchArgs, env: &Environment) -> Result<u8, Failure> {
    let ask = ask(args)?;
    let mut output = Output::new(args.json, args.output.as_deref())?;
    let sats = |count| Msat::from_sat(count).map_err(|error| Failure::arguments(error.to_string()));
    let limits = Limits {
        price: sats(args.max_sat)?,
        fee: args.max_fee_sat.map(sats).transpose()?,
        pay_again: args.pay_again,
    };
    let state_dir = state_dir(env)
        .ok_or_else(|| Failure::arguments("there is no home directory: set TOLLHOUSE_STATE_DIR"))?;
    let wallet = wallet::find(args.wallet.as_deref(), args.wallet_key_file.as_deref(), env)?;
    let agent = Agent {
        state_dir,
        wallet,
        clock: SystemClock::new(Timestamp::default()),
        entropy: SystemEntropy::new(),
    };
    if args.quote {
        return quoted(agent.quote(&ask).await?, args.json);
    }
    let (status, paid, title) = match agent.fetch(&ask, &limits).await? {
        Fetched::Open(mut response) => {
            let status = response.status().as_u16();
            output.begin()?;
            loop {
                match response.chunk().await {
                    Ok(Some(chunk)) => output.write(&chunk)?,
                    Ok(None) => break,
                    Err(error) => return Err(broke_off(&error)),
                }
            }
            let title = output.title();
            output.end(status, None)?;
            (status, None, title)
        }
        Fetched::Bought(bought) => {
            let Bought { price, fee, payment_hash, paid_before, restored, .. } = bought;
            let paid = Paid { price, fee, payment_hash, paid_before, restored };
            let status = bought.status;
            output.begin()?;
            output.copy(&mut bought.body()?)?;
            let title = output.title();
            output.end(status, Some(&paid))?;
            // Only now: whoever is killed before it hands the same answer over again.
            bought.handed_over()?;
            (status, Some(paid), title)
        }
    };
    if !args.json {
        if let Some(paid) = &paid {
            warn(paid);
        }
        if !(200..300).contains(&status) {
            let title = title.map(|title| format!(" ({title})")).unwrap_or_default();
            let money = paid.map_or_else(|| "nothing was paid".to_owned(), |paid| paid.lost());
            warn(format!("the server answers {status}{title}: {money}"));
        }
    }
    Ok(u8::from(!(200..300).contains(&status)))
}

fn broke_off(error: &reqwest::Error) -> Failure {
    let what = if error.is_timeout() { "the answer stalled" } else { "the answer broke off" };
    Failure::new("network", 4, what)
}

fn quoted(quoted: Quoted, as_json: bool) -> Result<u8, Failure> {
    let (text, value, exit) = match quoted {
        Quoted::Price(offer) => (
            priced(&offer),
            json!({
                "status": 402, "paid": false, "amount_msat": offer.price, "fee_msat": null,
                "payment_hash": offer.payment_hash, "network": offer.network,
                "expires_at": offer.expires_at.secs(), "offers": offer.choices,
                "kind": offer.sold.as_ref().map(|sold| sold.kind),
                "units": offer.sold.as_ref().map(|sold| sold.units),
            }),
            0,
        ),
        Quoted::Answered(status) => {
            let free = status.is_success();
            let text =
                if free { "free".to_owned() } else { format!("no price: the server answers {status}") };
            let amount = free.then_some(0);
            let value = json!({
                "status": status.as_u16(), "paid": false, "amount_msat": amount, "fee_msat": null,
                "payment_hash": null,
            });
            (text, value, u8::from(!free))
        }
    };
    let shown = if as_json { say(value) } else { say(text) };
    shown.map_err(output::unprinted)?;
    Ok(exit)
}

/// The price, and where there is something to choose, what.
fn priced(offer: &Offer) -> String {
    let price = offer.price.in_sat().to_string();
    if offer.choices.len() < 2 {
        return price;
    }
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(["OFFER", "PRICE", "WHAT"]);
    for choice in &offer.choices {
        table.add_row([&choice.offer, &choice.amount, &choice.description]);
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    format!("{price}\n\n{}", lines.join("\n"))
}

fn ask(args: &FetchArgs) -> Result<Ask, Failure> {
    let mut url: Url = args.url.parse().map_err(|error| {
        let whole = "write it whole, such as https://api.example.com/v1/rates";
        Failure::arguments(format!("`{}` is not a URL ({error}): {whole}", args.url))
    })?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(Failure::arguments("the URL must begin with http:// or https://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Failure::arguments("a user or password in the URL: leave it out"));
    }
    url.set_fragment(None);
    let body = args.data.as_deref().map(data).transpose()?;
    let method = match args.method.as_deref() {
        Some(name) => Method::from_bytes(name.as_bytes())
            .map_err(|_| Failure::arguments(format!("`{name}` is not a method")))?,
        None if body.is_some() => Method::POST,
        None => Method::GET,
    };
    let mut headers = HeaderMap::new();
    for line in &args.headers {
        let (name, value) = header(line)?;
        headers.append(name, value);
    }
    if let Some(offer) = &args.offer {
        let offer: Name = offer.parse().map_err(|error| Failure::arguments(format!("--offer: {error}")))?;
        let preference = format!("l402-offer={offer}");
        headers.append("prefer", HeaderValue::try_from(preference).expect("a name is header text"));
    }
    if let Some(body) = &body {
        let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok();
        let kind = if is_json { "application/json" } else { "application/x-www-form-urlencoded" };
        headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static(kind));
    }
    Ok(Ask { method, url, headers, body })
}

/// The body as it was given; no line end is touched.
fn data(given: &str) -> Result<Vec<u8>, Failure> {
    let Some(file) = given.strip_prefix('@') else { return Ok(given.as_bytes().to_vec()) };
    let mut body = Vec::new();
    let read = match file {
        "-" => std::io::stdin().lock().read_to_end(&mut body).map(|_| body),
        file => std::fs::read(file),
    };
    read.map_err(|error| Failure::arguments(format!("-d {given}: {error}")))
}

fn header(line: &str) -> Result<(HeaderName, HeaderValue), Failure> {
    // The value may be a secret: it is not repeated.
    let wrong = || Failure::arguments("a -H is not of the form `Name: value`");
    let (name, value) = line.split_once(':').ok_or_else(wrong)?;
    let name = HeaderName::try_from(name.trim()).map_err(|_| wrong())?;
    if name == CONTENT_LENGTH || name == TRANSFER_ENCODING {
        return Err(Failure::arguments(format!("-H {name}: it follows from the body")));
    }
    let mut value = HeaderValue::try_from(value.trim()).map_err(|_| wrong())?;
    value.set_sensitive(true);
    Ok((name, value))
}
