//! `tollhouse tokens`: give tokens away, find any, see what one was used for, take one back; and the
//! master keys that they are minted under.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};
use url::form_urlencoded;

use super::amounts::sats;
use super::ground::Yes;
use super::operator::{Admin, Failure, OperatorArgs, Shown, ask, table};
use super::times::moment;
use super::warn;
use super::{doubts, epochs};
use crate::clock::in_words;
use crate::config::Environment;
use crate::store::PaymentState;
use crate::types::counted;

/// A hash as tables show it.
const SHORT: usize = 12;
/// Tokens of a list when nobody says how many.
const USUAL: u32 = 50;

#[derive(Debug, clap::Args)]
pub(super) struct TokensArgs {
    #[command(flatten)]
    operator: OperatorArgs,
    #[command(subcommand)]
    command: Option<Tokens>,
}

#[derive(Debug, Subcommand)]
enum Tokens {
    /// Give a token away, and show it once: for a partner, a department, your own agents
    Grant {
        /// The service whose every priced route it opens
        #[arg(long)]
        service: String,
        /// What may be drawn from it, such as "1000 sat"
        #[arg(long, value_name = "AMOUNT")]
        budget: String,
        /// The budget is for each of so long, such as day or "12 hours" [default: for its whole life]
        #[arg(long, value_name = "TIME")]
        per: Option<String>,
        /// How long it is good, such as 30d [default: a year]
        #[arg(long, value_name = "TIME")]
        expires: Option<String>,
        /// Whom it is for
        #[arg(long)]
        label: String,
    },
    /// Tokens that were used or granted, the newest first
    List {
        /// The beginning of a payment hash, or a part of a label
        search: Option<String>,
        /// Only those of this service
        #[arg(long)]
        service: Option<String>,
        /// Only request, pack, pass, balance or granted
        #[arg(long)]
        kind: Option<String>,
        /// Only live, over, held or revoked
        #[arg(long)]
        state: Option<String>,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = USUAL)]
        limit: u32,
    },
    /// One token: its units, and the requests that were charged to it
    Show {
        /// Its payment hash, a beginning that no other has, or its label
        payment_hash: String,
        /// At most so many requests
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: u32,
    },
    /// Take a token back: it opens nothing any more
    Revoke {
        /// Its payment hash, a beginning that no other has, or its label
        payment_hash: String,
        #[command(flatten)]
        sure: Yes,
    },
    /// After a restore: tokens that came and that the copy cannot prove, and those that you honoured
    Doubtful,
    /// After a restore: take a token to be good as far as the copy knows it, or all of them
    Honour {
        /// Its payment hash, or a beginning that no other has
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        payment_hash: Option<String>,
        /// Every token from before the restore: whatever was used of them since may be used again
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        sure: Yes,
    },
    /// The master keys by epoch, and what the tokens of each are still good for
    Epochs,
    /// Begin a new epoch: a new master key mints; tokens of the old ones stay good
    Rotate,
    /// Destroy the master key of an epoch: none of its tokens opens anything any more
    Retire {
        /// Its number, as `epochs` shows it
        epoch: u32,
        #[command(flatten)]
        sure: Yes,
    },
}

/// Grants, lists, shows or revokes.
pub(super) fn run(args: &TokensArgs, env: &Environment) -> ExitCode {
    ask(&args.operator, env, async |admin| match &args.command {
        Some(Tokens::Grant { service, budget, per, expires, label }) => {
            let ask = json!({
                "service": service, "budget": budget, "per": per, "expires": expires, "label": label,
            });
            let given = admin.post("/api/v1/tokens/grant", &ask).await?;
            if !args.operator.json() {
                // The token alone is on stdout, so that a script can catch it.
                warn(given_text(&given));
            }
            let token = word(&given["authorization"]);
            Ok(Shown::new(given, token))
        }
        None => list(admin, &[], USUAL).await,
        Some(Tokens::List { search, service, kind, state, limit }) => {
            let said = [("search", search), ("service", service), ("kind", kind), ("state", state)];
            list(admin, &said, *limit).await
        }
        Some(Tokens::Show { payment_hash, limit }) => {
            let hash = named(admin, payment_hash).await?;
            let token = admin.get(&format!("/api/v1/tokens/{hash}?limit={limit}")).await?;
            let text = token_text(&token);
            Ok(Shown::new(token, text))
        }
        Some(Tokens::Doubtful) => doubts::list(admin).await,
        Some(Tokens::Honour { payment_hash, all: _, sure }) => {
            doubts::honour(admin, payment_hash.as_deref(), *sure).await
        }
        Some(Tokens::Epochs) => epochs::list(admin).await,
        Some(Tokens::Rotate) => epochs::rotate(admin).await,
        Some(Tokens::Retire { epoch, sure }) => epochs::retire(admin, *epoch, *sure).await,
        Some(Tokens::Revoke { payment_hash, sure }) => {
            let hash = named(admin, payment_hash).await?;
            sure.or_ask(&format!(
                "The token {} opens nothing any more, for good; what is left in it is taken from its holder.",
                hash.get(..SHORT).unwrap_or(&hash)
            ))?;
            let revoked = admin.delete(&format!("/api/v1/tokens/{hash}")).await?;
            let text = match revoked["known"].as_bool() {
                Some(false) => {
                    "No token of that payment was used yet; it opens nothing when it comes.".to_owned()
                }
                _ => {
                    let token = admin.get(&format!("/api/v1/tokens/{hash}?limit=1")).await?;
                    match &token["units"]["revoked"] {
                        // A pass that was begun is spent and yet was open.
                        none if none.as_u64() == Some(0) => "The token opens nothing any more.".to_owned(),
                        taken => format!(
                            "The token opens nothing any more. Taken from its holder: {}.",
                            taken_back(&token, taken)
                        ),
                    }
                }
            };
            Ok::<_, Failure>(Shown::new(revoked, text))
        }
    })
}

async fn list(admin: &Admin, said: &[(&str, &Option<String>)], limit: u32) -> Result<Shown, Failure> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in said {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    query.append_pair("limit", &limit.to_string());
    let listed = admin.get(&format!("/api/v1/tokens?{}", query.finish())).await?;
    let text = list_text(&listed);
    Ok(Shown::new(listed, text))
}

/// A payment hash, or how one begins.
pub(super) fn hash_beginning(text: &str) -> Result<String, Failure> {
    let clean = text.trim().to_ascii_lowercase();
    if clean.is_empty() || !clean.bytes().all(|b| b.is_ascii_hexdigit()) || clean.len() > 64 {
        return Err(Failure::arguments(format!(
            "`{text}` is not the beginning of a payment hash (0-9, a-f): tollhouse tokens list shows them, with their \
             labels"
        )));
    }
    Ok(clean)
}

pub(super) fn several(beginning: &str) -> Failure {
    Failure::arguments(format!("several payment hashes begin with {beginning}: say more of it"))
}

/// The whole hash of the token that is called so, or whose hash begins so.
async fn named(admin: &Admin, text: &str) -> Result<String, Failure> {
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("search", text.trim()).finish();
    let found = admin.get(&format!("/api/v1/tokens?{query}&limit=500")).await?;
    let hashes = labelled(&found, text.trim());
    match hashes.as_slice() {
        [one] => Ok(one.clone()),
        [] => whole(admin, text).await,
        several => Err(Failure::arguments(format!(
            "{} tokens are called {}: say how the payment hash of one begins ({})",
            several.len(),
            text.trim(),
            several.iter().map(|hash| hash.get(..SHORT).unwrap_or(hash)).collect::<Vec<_>>().join(", ")
        ))),
    }
}

/// The hashes of those that have exactly this label.
fn labelled(found: &Value, label: &str) -> Vec<String> {
    let rows = found["tokens"].as_array().into_iter().flatten();
    let own = rows.filter(|row| row["label"].as_str() == Some(label));
    own.filter_map(|row| row["payment_hash"].as_str().map(str::to_owned)).collect()
}

/// The whole hash that begins so.
pub(super) async fn whole(admin: &Admin, beginning: &str) -> Result<String, Failure> {
    let clean = hash_beginning(beginning)?;
    if clean.len() == 64 {
        return Ok(clean);
    }
    let found = admin.get(&format!("/api/v1/tokens?search={clean}&limit=500")).await?;
    let rows = found["tokens"].as_array().into_iter().flatten();
    let hashes = rows.filter_map(|row| row["payment_hash"].as_str());
    let mut fitting = hashes.filter(|hash| hash.starts_with(&clean));
    match (fitting.next(), fitting.next()) {
        (Some(one), None) => Ok(one.to_owned()),
        (None, _) => Err(Failure::arguments(format!("no token's payment hash begins with {clean}"))),
        (Some(_), Some(_)) => Err(several(&clean)),
    }
}

fn given_text(given: &Value) -> String {
    format!(
        "Granted to {}: {}, good until {}.\nPayment hash {}.\nThis is the only time that the token is shown. \
         Its holder sends it as: Authorization: L402 …",
        word(&given["label"]),
        budget(given),
        moment(&given["valid_until"]),
        word(&given["payment_hash"]),
    )
}

/// How a token stands, in the pages' words.
fn state(row: &Value) -> String {
    let code = row["state"].as_str().unwrap_or_default();
    let refused = if row["price_refused"].is_null() { "" } else { ", refused now" };
    format!("{}{refused}", state_in_words(code).to_lowercase())
}

/// The words for a state's code; the code itself where this version knows no words for it.
pub(super) fn state_in_words(code: &str) -> &str {
    let known = PaymentState::ALL.into_iter().find(|state| state.code() == code);
    known.map_or(code, |state| state.words())
}

/// What is left, and whether that was too little for a request that came.
fn left(token: &Value) -> String {
    let left = amount(token, &token["units"]["left"]);
    if token["too_little"] == true { format!("{left}, too little for a request") } else { left }
}

fn list_text(listed: &Value) -> String {
    let rows = listed["tokens"].as_array().into_iter().flatten().map(|token| {
        let units = &token["units"];
        [
            word(&token["payment_hash"]).chars().take(SHORT).collect(),
            word(&token["kind"]),
            word(&token["service"]),
            word(&token["label"]),
            state(token),
            left(token),
            amount(token, &units["spent"]),
            token["calls"].to_string(),
            moment(&token["valid_until"]),
        ]
    });
    let header = ["PAYMENT", "KIND", "SERVICE", "LABEL", "STATE", "LEFT", "USED", "CALLS", "VALID UNTIL"];
    let mut text = table(header, rows);
    if !listed["next_before"].is_null() {
        text.push_str("\n… and more: search, or raise --limit");
    }
    text
}

pub(super) fn token_text(token: &Value) -> String {
    let units = &token["units"];
    let count = |name: &str| amount(token, &units[name]);
    let mut lines = vec![
        format!("payment   {}", word(&token["payment_hash"])),
        format!("kind      {}", word(&token["kind"])),
        format!("state     {}", state(token)),
        format!("service   {} / {}", word(&token["service"]), word(&token["route"])),
    ];
    let dear = &token["price_refused"];
    if dear.is_object() {
        let (price, opens) = (sats(&dear["price_msat"]), sats(&dear["opens_msat"]));
        let pack = dear["pack_requests"].as_u64().map(|requests| {
            format!(
                "; it is good again when {requests} together are sold for {} or less",
                sats(&dear["pack_msat"])
            )
        });
        lines.push(format!(
            "refused   a request costs {price} now, and this token opens what costs {opens} at most{}",
            pack.unwrap_or_default()
        ));
    }
    if token["label"].is_string() {
        lines.push(format!("label     {}", word(&token["label"])));
        lines.push(format!("budget    {}", budget(token)));
    } else {
        lines.push(format!("price     {}", sats(&token["price_msat"])));
    }
    let little = if token["too_little"] == true { " (too little for a request that came)" } else { "" };
    let mut parts = vec![format!("{} left{little}", count("left")), format!("{} used", count("spent"))];
    for (name, what) in [("held", "on its way"), ("expired", "ran out"), ("revoked", "taken back")] {
        if units[name].as_u64() != Some(0) {
            parts.push(format!("{} {what}", count(name)));
        }
    }
    let sold = if token["kind"] == "granted" { "given" } else { "sold" };
    lines.push(format!("units     {}, of {} {sold}", parts.join(", "), count("sold")));
    if !token["opens_until"].is_null() {
        lines.push(format!("open      until {}", moment(&token["opens_until"])));
    }
    lines.push(format!("valid     {} to {}", moment(&token["since"]), moment(&token["valid_until"])));
    lines.push(format!(
        "calls     {}, {} bytes; {} given back",
        token["calls"], token["bytes"], token["restored"]
    ));
    let spends: Vec<[String; 5]> = token["spends"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|spend| {
            [
                spend["number"].to_string(),
                moment(&spend["at"]),
                word(&spend["route"]),
                amount(token, &spend["units"]),
                word(&spend["how"]),
            ]
        })
        .collect();
    let limits: Vec<[String; 5]> = token["limits"].as_array().into_iter().flatten().map(limit).collect();
    if !limits.is_empty() {
        lines.push(String::new());
        lines.push(table(["LIMIT", "OF", "USED", "HELD", "BELOW"], limits));
    }
    if !spends.is_empty() {
        lines.push(String::new());
        lines.push(table(["CALL", "AT", "ROUTE", "UNITS", "HOW"], spends));
    }
    lines.join("\n")
}

/// What a holder allowed others, as a line of a table.
fn limit(limit: &Value) -> [String; 5] {
    let units = |value: &Value| if limit["unit"] == "msat" { sats(value) } else { format!("{value} uses") };
    let name =
        |value: &Value| value.as_str().map_or("-", |name| name.get(..SHORT).unwrap_or(name)).to_owned();
    [
        name(&limit["counter"]),
        units(&limit["most"]),
        units(&limit["used"]),
        units(&limit["held"]),
        name(&limit["below"]),
    ]
}

/// What may be drawn, and in which time.
fn budget(token: &Value) -> String {
    let msat = if token["budget_msat"].is_null() { &token["units"]["sold"] } else { &token["budget_msat"] };
    match token["per_seconds"].as_u64() {
        Some(seconds) => {
            let per = in_words(std::time::Duration::from_secs(seconds));
            format!("{} for each {per}", sats(msat))
        }
        None => sats(msat),
    }
}

/// So many units, in what they are.
/// What was left in a token that was taken back, in its units and in what was paid for them.
fn taken_back(token: &Value, taken: &Value) -> String {
    let sold = &token["units"]["sold"];
    let (Some(left), Some(all)) = (taken.as_u64(), sold.as_u64().filter(|all| *all > 0)) else {
        return "what was left in it".to_owned();
    };
    let of = match token["unit"].as_str() {
        Some("msat") => return format!("{} of {}", sats(taken), sats(sold)),
        Some("request") => format!("{left} of {}", counted(all, "request")),
        _ => "its time".to_owned(),
    };
    let paid = token["price_msat"].as_u64().unwrap_or_default();
    let share = u128::from(paid) * u128::from(left) / u128::from(all);
    match u64::try_from(share) {
        Ok(msat @ 1..) => format!("{of}, {} of the {} that was paid", sats(&msat.into()), sats(&paid.into())),
        _ => of,
    }
}

fn amount(token: &Value, units: &Value) -> String {
    if token["unit"] == "msat" { sats(units) } else { units.to_string() }
}

fn word(value: &Value) -> String {
    value.as_str().unwrap_or("-").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> Value {
        json!({
            "payment_hash": "ab".repeat(32), "kind": "granted", "state": "left", "label": "team blue",
            "service": "rates", "route": "default", "price_msat": 0, "quote": null, "unit": "msat",
            "units": { "sold": 2_000_000, "left": 750_500, "held": 0, "spent": 249_500, "expired": 1_000_000,
                       "revoked": 0 },
            "calls": 3, "bytes": 120, "restored": 1, "budget_msat": 1_000_000, "per_seconds": 86_400,
            "opens_until": null, "since": 1_760_000_000_000_u64, "valid_until": 1_762_592_000_000_u64,
            "limits": [{ "counter": "cd".repeat(32), "below": null, "unit": "msat", "most": 50_000, "used": 1_500,
                         "held": 0, "left": 48_500 }],
            "spends": [{ "number": 3, "at": 1_760_000_001_000_u64, "route": "fx", "units": 500, "how": "metered" }],
        })
    }

    #[test]
    fn what_is_taken_back_has_its_unit() {
        let pack = json!({ "unit": "request", "price_msat": 40_000, "units": { "sold": 10 } });
        assert_eq!(taken_back(&pack, &json!(8)), "8 of 10 requests, 32 sat of the 40 sat that was paid");
        assert_eq!(taken_back(&token(), &json!(750_500)), "750.5 sat of 2,000 sat");
    }

    #[test]
    fn a_token_reads_as_a_person_would_say_it() {
        let text = token_text(&token());
        for line in [
            "kind      granted\n",
            "state     live\n",
            "budget    1,000 sat for each 1 day",
            "units     750.5 sat left, 249.5 sat used, 1,000 sat ran out, of 2,000 sat given",
            "valid     2025-10-09 08:53:20Z to 2025-11-08 08:53:20Z",
            "calls     3, 120 bytes; 1 given back",
            "cdcdcdcdcdcd",
            "50 sat",
            "1.5 sat",
        ] {
            assert!(text.contains(line), "{line}\nin\n{text}");
        }
        assert!(text.lines().last().is_some_and(|line| line.contains("0.5 sat") && line.contains("metered")));
        let mut dear = token();
        dear["price_refused"] =
            json!({ "opens_msat": 10_000, "price_msat": 20_000, "pack_requests": 10, "pack_msat": 90_000 });
        let text = token_text(&dear);
        assert!(text.contains("state     live, refused now\n"), "{text}");
        assert!(
            text.contains(
                "a request costs 20 sat now, and this token opens what costs 10 sat at most; it is good again"
            ),
            "{text}"
        );
        assert!(text.contains("when 10 together are sold for 90 sat or less"), "{text}");
        let mut little = token();
        little["too_little"] = true.into();
        assert!(
            token_text(&little)
                .contains("750.5 sat left (too little for a request that came), 249.5 sat used,")
        );
        let found = json!({ "tokens": [token(), { "label": null, "payment_hash": "00" }] });
        assert_eq!(labelled(&found, "team blue"), ["ab".repeat(32)]);
        assert!(labelled(&found, "team").is_empty(), "a part of a label is no name");
        let listed = list_text(&json!({ "tokens": [token()], "next_before": 7 }));
        assert!(
            listed.lines().nth(1).is_some_and(|line| line.starts_with(" abababababab  granted")),
            "{listed}"
        );
        assert!(listed.ends_with("raise --limit"), "{listed}");
    }
}
