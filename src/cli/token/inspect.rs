//! What a token says, for people and for programs. Neither its signature nor its preimage is shown.

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::super::operator::Shown;
use crate::l402::{Caveat, Conditions, Held, Sold};
use crate::types::{Kind, Msat, Timestamp, counted};

/// All of it.
pub(super) fn shown(held: &Held) -> Shown {
    let value = value(held);
    let text = text(held, &value);
    Shown::new(value, text)
}

/// As RFC 3339 has it, to the second; `None` beyond the year 9999.
pub(super) fn instant(at: Timestamp) -> Option<String> {
    let secs = i64::try_from(at.secs()).ok()?;
    OffsetDateTime::from_unix_timestamp(secs).ok()?.format(&Rfc3339).ok()
}

fn value(held: &Held) -> Value {
    let sold = held.sold();
    let minted = sold.as_ref().map_or(0, |(_, minted)| *minted);
    let sold = sold.map(|(sold, _)| sold);
    let caveats: Vec<Value> = held
        .caveats()
        .iter()
        .enumerate()
        .map(|(place, caveat)| match caveat {
            Caveat::First(bytes) => {
                let text = String::from_utf8_lossy(bytes);
                json!({
                    "caveat": hidden(&text),
                    "by": if place < minted { "seller" } else if sold.is_some() { "holder" } else { "unknown" },
                    "known": place < minted || Held::is_known(&text, sold.as_ref()),
                })
            }
            Caveat::Third(location) => json!({ "third_party": location, "known": false }),
        })
        .collect();
    let identifier = held.identifier();
    let Conditions { expires_at, scope, methods, max_uses, max_spend_msat } = held.conditions();
    json!({
        "location": held.location(),
        "identifier": hex::encode(held.identifier_bytes()),
        "payment_hash": identifier.map(|identifier| identifier.payment_hash),
        "token_id": identifier.map(|identifier| identifier.token_id),
        "tollhouse": sold.as_ref().map(|sold| json!({
            "epoch": identifier.map(|identifier| identifier.token_id.epoch()),
            "service": sold.service,
            "route": sold.route,
            "kind": sold.kind,
            "units": sold.units,
            "sold_msat": sold.sold,
            "quote": sold.quote.as_ref().map(ToString::to_string),
            "valid_until": sold.valid_until.secs(),
        })),
        "caveats": caveats,
        "expires_at": expires_at.map(Timestamp::secs),
        "scope": scope,
        "methods": methods,
        "max_uses": max_uses,
        "max_spend_msat": max_spend_msat,
        "bytes": held.bytes().len(),
        "preimage": preimage(held),
    })
}

/// Whether it came with the proof of its payment.
fn preimage(held: &Held) -> &'static str {
    match (held.preimage(), held.identifier()) {
        (None, _) => "none",
        (Some(preimage), Some(identifier)) if preimage.opens(&identifier.payment_hash) => "fits",
        (Some(_), Some(_)) => "differs",
        (Some(_), None) => "unknown",
    }
}

/// A caveat without the preimage that some clients put there.
fn hidden(caveat: &str) -> String {
    match caveat.split_once('=') {
        Some((key, _)) if key.trim() == "preimage" => "preimage=…".to_owned(),
        _ => caveat
            .chars()
            .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
            .collect(),
    }
}

fn text(held: &Held, value: &Value) -> String {
    let word = |name: &str| value[name].as_str().unwrap_or("-").to_owned();
    let mut lines = Vec::new();
    match held.sold() {
        Some((sold, _)) => lines.push(format!("sells     {}", sells(&sold))),
        None if held.identifier().is_some() => {
            lines.push("sells     what its seller knows: it is not minted as a Tollhouse mints".to_owned());
        }
        None => lines.push("warning   its identifier is not one of L402".to_owned()),
    }
    if let Some(location) = held.location() {
        lines.push(format!("from      {} (nobody signed that)", hidden(location)));
    }
    lines.push(format!("payment   {}", word("payment_hash")));
    if let Some(epoch) = value["tollhouse"]["epoch"].as_u64() {
        lines.push(format!("token     {}, of key epoch {epoch}", word("token_id")));
    }
    let told = match preimage(held) {
        "fits" => "is here, and it is the payment's",
        "differs" => "is here, and it is NOT the payment's: the token opens nothing",
        "none" => "is not here: without it the token opens nothing",
        _ => "is here; whether it is the payment's cannot be told",
    };
    lines.push(format!("preimage  {told}"));
    lines.extend(conditions(&held.conditions()));
    lines.push(format!("caveats   {} in {} bytes", held.caveats().len(), value["bytes"]));
    for caveat in value["caveats"].as_array().into_iter().flatten() {
        let (by, known) = (caveat["by"].as_str().unwrap_or("-"), caveat["known"] == true);
        let line = match caveat["caveat"].as_str() {
            Some(text) => {
                format!("  {by:<8}{text}{}", if known { "" } else { "   (not known to a Tollhouse)" })
            }
            None => {
                let whose = caveat["third_party"].as_str().unwrap_or("nobody named");
                format!("  third party: {}   (a Tollhouse refuses it)", hidden(whose))
            }
        };
        lines.push(line);
    }
    lines.join("\n")
}

fn conditions(conditions: &Conditions) -> Vec<String> {
    let Conditions { expires_at, scope, methods, max_uses, max_spend_msat } = conditions;
    let at = expires_at.map(|at| instant(at).unwrap_or_else(|| "the end of time".to_owned()));
    let money =
        |msat: u64| Msat::new(msat).map_or_else(|_| format!("{msat} msat"), |amount| amount.to_string());
    [
        at.map(|at| format!("until     {at}")),
        scope.as_ref().map(|scope| format!("only      paths under {}", hidden(scope))),
        methods.as_ref().map(|methods| format!("only      {}", methods.join(", "))),
        max_uses.map(|uses| format!("at most   {}", counted(uses, "request"))),
        max_spend_msat.map(|msat| format!("at most   {}", money(msat))),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn sells(sold: &Sold) -> String {
    let what = match sold.kind {
        Kind::Request => "one request".to_owned(),
        Kind::Pack => format!("{} requests", sold.units),
        Kind::Pass => {
            format!("a pass for {}", crate::clock::in_words(std::time::Duration::from_secs(sold.units)))
        }
        Kind::Balance => format!("a balance of {}", amount(sold.units)),
        Kind::Granted => format!("a granted balance of {}", amount(sold.units)),
    };
    format!("{what} to {} / {}, for {}", sold.service, sold.route, sold.sold.in_sat())
}

fn amount(msat: u64) -> String {
    Msat::new(msat).map_or_else(|_| format!("{msat} msat"), |amount| amount.to_string())
}
