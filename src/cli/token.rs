//! `tollhouse token`: what a token says, and tokens that are good for less. It asks nobody: any L402 token
//! will do, of a Tollhouse or of another server.
//!
//! A token is a secret where it was paid for, and other users can read a command line: `-`, or nothing,
//! reads it from stdin. Exit codes: 0 done; 1 it would be wider; 2 bad arguments, or no token.

use std::io::{self, Read};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::operator::{Failure, Shown, fail};
use super::warn;
use crate::catalog::spec::words;
use crate::clock::{Clock, SystemClock};
use crate::l402::{Held, NotNarrowed, Sold};
use crate::types::{Msat, Timestamp};

mod inspect;

/// The longest time that `--expires` takes.
const LONGEST: Duration = Duration::from_secs(100 * 366 * 86_400);

#[derive(Debug, Args)]
pub(super) struct TokenArgs {
    /// Print one JSON object, errors too
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Token,
}

#[derive(Debug, Subcommand)]
enum Token {
    /// What a token says: what it sells, to whom its holders narrowed it, and whether its preimage fits
    Inspect {
        /// The token in any spelling (base64, hexadecimal, a whole header); `-` or nothing reads stdin, which
        /// keeps it out of the list of processes
        token: Option<String>,
    },
    /// Make a token that is good for less, and print it: for an agent that shall not have all of it
    Attenuate(Box<Attenuate>),
}

#[derive(Debug, Args)]
struct Attenuate {
    /// The token, as `inspect` takes it
    token: Option<String>,
    /// Only paths under this one, such as /v1/quotes
    #[arg(long, value_name = "PATH")]
    scope: Option<String>,
    /// Only these methods, such as GET; may be said several times
    #[arg(long, value_delimiter = ',')]
    method: Vec<String>,
    /// Only until then: an instant such as 2027-01-31T12:00:00Z, or a time from now such as 1h
    #[arg(long, value_name = "TIME")]
    expires: Option<String>,
    /// Only so many requests
    #[arg(long, value_name = "COUNT")]
    max_uses: Option<u64>,
    /// Only so much money, such as "10 sat"
    #[arg(long, value_name = "AMOUNT")]
    max_spend: Option<String>,
    /// Sets two copies with the same limits apart: each counts its own
    #[arg(long, value_name = "NAME")]
    budget_id: Option<String>,
    /// A condition that the server knows and this program does not
    #[arg(long, value_name = "NAME=VALUE")]
    caveat: Vec<String>,
}

/// Inspects or narrows.
pub(super) fn run(args: &TokenArgs) -> ExitCode {
    let done = match &args.command {
        Token::Inspect { token } => read(token.as_deref()).map(|held| inspect::shown(&held)),
        Token::Attenuate(ask) => attenuate(ask, args.json),
    };
    match done {
        Ok(shown) => shown.print(args.json),
        Err(failure) => fail(&failure, args.json),
    }
}

/// The token that was given, or that stdin holds.
fn read(token: Option<&str>) -> Result<Held, Failure> {
    let text = match token {
        Some(text) if text != "-" => text.to_owned(),
        _ => {
            let mut text = String::new();
            let read = io::stdin().lock().take(1 << 20).read_to_string(&mut text);
            read.map_err(|error| Failure::arguments(format!("stdin cannot be read: {error}")))?;
            text
        }
    };
    Held::read(&text).map_err(|error| Failure::arguments(format!("this is no token: {error}")))
}

fn attenuate(ask: &Attenuate, as_json: bool) -> Result<Shown, Failure> {
    let held = read(ask.token.as_deref())?;
    let caveats = caveats(ask, SystemClock::new(Timestamp::default()).now())?;
    let narrowed = held.narrowed(&caveats).map_err(|error| match error {
        NotNarrowed::Widens(_) => Failure::refused("caveat_widens", error.to_string()),
        _ => Failure::arguments(error.to_string()),
    })?;
    if !as_json {
        for note in notes(&held, &caveats) {
            warn(note);
        }
    }
    let authorization = narrowed.authorization();
    let text = authorization.clone().unwrap_or_else(|| narrowed.base64());
    let value = json!({
        "macaroon": narrowed.base64(),
        "macaroon_hex": hex::encode(narrowed.bytes()),
        "preimage": narrowed.preimage().map(crate::types::Preimage::to_hex),
        "authorization": authorization,
        "added": caveats,
        "notes": notes(&held, &caveats),
    });
    Ok(Shown::new(value, text))
}

/// What is to be added, in its order: a `budget_id` stands before the limits that it sets apart.
fn caveats(ask: &Attenuate, now: Timestamp) -> Result<Vec<String>, Failure> {
    let mut caveats = Vec::new();
    if let Some(scope) = &ask.scope {
        caveats.push(format!("scope={scope}"));
    }
    if !ask.method.is_empty() {
        caveats.push(format!("method={}", ask.method.join(",").to_ascii_uppercase()));
    }
    if let Some(expires) = &ask.expires {
        caveats.push(format!("expires={}", end(expires, now)?));
    }
    if let Some(budget_id) = &ask.budget_id {
        if ask.max_uses.is_none() && ask.max_spend.is_none() {
            let text = "--budget-id sets limits apart: give --max-uses or --max-spend with it";
            return Err(Failure::arguments(text));
        }
        caveats.push(format!("budget_id={budget_id}"));
    }
    if let Some(uses) = ask.max_uses {
        caveats.push(format!("max_uses={uses}"));
    }
    if let Some(spend) = &ask.max_spend {
        let spend: Msat =
            spend.parse().map_err(|error| Failure::arguments(format!("--max-spend: {error}")))?;
        caveats.push(format!("max_spend_msat={}", spend.msat()));
    }
    caveats.extend(ask.caveat.iter().cloned());
    if caveats.is_empty() {
        let text = "say what it shall be good for: --scope, --method, --expires, --max-uses, --max-spend or --caveat";
        return Err(Failure::arguments(text));
    }
    Ok(caveats)
}

/// An instant, or so long from `now`, as the caveat has it.
fn end(text: &str, now: Timestamp) -> Result<String, Failure> {
    let bad = |what: String| Failure::arguments(format!("--expires: {what}"));
    if let Ok(instant) = OffsetDateTime::parse(text, &Rfc3339) {
        return instant.format(&Rfc3339).map_err(|error| bad(error.to_string()));
    }
    let span = words::span(text, Duration::from_secs(1), LONGEST).map_err(|wrong| {
        bad(format!("{}. {} An instant is such as 2027-01-31T12:00:00Z", wrong.what, wrong.help))
    })?;
    inspect::instant(now.plus(span)).ok_or_else(|| bad(format!("`{text}` is too far away")))
}

/// What whoever hands the token on should know.
fn notes(held: &Held, caveats: &[String]) -> Vec<String> {
    let sold: Option<Sold> = held.sold().map(|(sold, _)| sold);
    let mut notes = Vec::new();
    let strange = caveats.iter().filter(|caveat| !Held::is_known(caveat, sold.as_ref()));
    for caveat in strange.filter(|_| sold.is_some()) {
        notes.push(format!(
            "note: a Tollhouse refuses tokens with conditions that it does not know, such as `{caveat}`, unless it \
             is told to skip them"
        ));
    }
    if sold.is_none() {
        notes.push(
            "note: this token is another server's. One that does not know a condition may ignore it: ask whether it \
             enforces these"
                .to_owned(),
        );
    }
    if held.preimage().is_none() {
        notes.push("note: it came without its preimage: whoever gets the token needs that, too".to_owned());
    }
    notes
}
