//! `tollhouse wallet`: the on-chain wallet: what is in it, an address, sending, history, sweeps.

use std::process::ExitCode;

use clap::Subcommand;
use http::Method;
use serde_json::{Value, json};

use super::amounts::number;
use super::channels::named;
use super::moving::{Consent, Move, carry_out};
use super::operator::{Failure, OperatorArgs, Shown, ask, table};
use super::times::moment;
use super::unsent::{self, Unsent};
use crate::config::Environment;
use crate::ports::FeeRate;
use crate::treasury::{ChannelFees, reserve_missing};

#[derive(Debug, clap::Args)]
pub(super) struct WalletArgs {
    #[command(flatten)]
    operator: OperatorArgs,
    #[command(subcommand)]
    command: Option<Wallet>,
}

#[derive(Debug, Subcommand)]
enum Wallet {
    /// What there is
    Balance,
    /// A fresh address
    Receive,
    /// Send coins
    Send {
        /// An address, or `vault`
        to: String,
        /// How much arrives
        #[arg(long, value_name = "SATS", required_unless_present = "all")]
        amount_sat: Option<u64>,
        /// All that may be sent; what is kept back for channels stays
        #[arg(long, conflicts_with = "amount_sat")]
        all: bool,
        /// With --all: also what is kept back for closing channels by force
        #[arg(long, requires = "all")]
        reserve_too: bool,
        /// fast, normal, slow, or a rate in sat/vB such as 2.5
        #[arg(long, default_value = "normal")]
        fee: String,
        #[command(flatten)]
        consent: Consent,
    },
    /// Its transactions
    History,
    /// What fast, normal and slow cost now
    Fees,
    /// Coins of closed channels on their way to it
    Sweeps,
}

pub(super) fn run(args: &WalletArgs, env: &Environment) -> ExitCode {
    ask(&args.operator, env, async |admin| match &args.command {
        None | Some(Wallet::Balance) => {
            let coins = admin.get("/api/v1/onchain").await?;
            let text = balance_text(&coins);
            Ok(Shown::new(coins, text))
        }
        Some(Wallet::Receive) => {
            let made = admin.post("/api/v1/onchain/address", &json!({})).await?;
            let address = made["address"].as_str().unwrap_or_default().to_owned();
            Ok(Shown::new(made, address))
        }
        Some(Wallet::Send { to, amount_sat, all, reserve_too, fee, consent }) => {
            let fee = choice(fee)?;
            let body = json!({
                "address": to, "amount_sat": amount_sat, "all": all, "reserve_too": reserve_too, "fee": fee,
            });
            let path = "/api/v1/onchain/send".to_owned();
            carry_out(admin, consent, Move { method: Method::POST, path, query: "", body }).await
        }
        Some(Wallet::History) => {
            let listed = admin.get("/api/v1/onchain/transactions").await?;
            let text = history_text(&listed, &Unsent::now(admin).await);
            Ok(Shown::new(listed, text))
        }
        Some(Wallet::Fees) => {
            let rates = admin.get("/api/v1/onchain/fees").await?;
            let text = fees_text(&rates);
            Ok(Shown::new(rates, text))
        }
        Some(Wallet::Sweeps) => {
            let coins = admin.get("/api/v1/onchain").await?;
            let channels = Channels {
                open: admin.get("/api/v1/channels").await?,
                closed: admin.get("/api/v1/channels/closed").await?,
                ids: named::ids(admin).await,
            };
            let text = sweeps_text(&coins, &channels, &Unsent::now(admin).await);
            Ok(Shown::new(coming(&coins), text))
        }
    })
}

/// A choice by name, or a rate in sat/vB with at most three decimals.
fn choice(text: &str) -> Result<Value, Failure> {
    if matches!(text, "fast" | "normal" | "slow") {
        return Ok(text.into());
    }
    match FeeRate::of_sat_per_vbyte(text) {
        Some(rate) => Ok(json!({ "sat_per_kvb": rate })),
        None => Err(Failure::arguments(format!(
            "--fee: `{text}` is not fast, normal, slow or a rate in sat/vB from 1 to 2000"
        ))),
    }
}

fn balance_text(coins: &Value) -> String {
    let sum = |name: &str| -> u64 {
        let rows = coins[name].as_array().into_iter().flatten();
        rows.filter(|row| row["in_wallet"] != true).filter_map(|row| row["amount_sat"].as_u64()).sum()
    };
    let closed: u64 = {
        let rows = coins["claims"].as_array().into_iter().flatten();
        let closed = rows.filter(|row| row["open"] == false && row["in_wallet"] != true);
        closed.filter_map(|row| row["amount_sat"].as_u64()).sum()
    };
    let part = |name: &str| coins[name].as_u64().unwrap_or_default();
    let waits = part("total_sat").saturating_sub(part("spendable_sat")).saturating_sub(part("reserved_sat"));
    let mut lines = vec![
        format!("spendable  {} sat", number(&coins["spendable_sat"])),
        format!("reserved   {} sat, for closing channels by force", number(&coins["reserved_sat"])),
        format!("total      {} sat, unconfirmed coins too", number(&coins["total_sat"])),
        format!(
            "channels   {} sat, as closing them now would give it, {} sat being swept",
            sum("claims").saturating_sub(closed).saturating_sub(part("leaving_sat")),
            sum("sweeps")
        ),
    ];
    lines
        .extend((closed > 0).then(|| format!("closed     {closed} sat of closed channels are to come home")));
    lines.extend((waits > 0).then(|| format!("waiting    {waits} sat of the total, in no block yet")));
    let closing = coins["closing_sat"].as_u64().filter(|sat| *sat > 0);
    lines.extend(closing.map(|sat| {
        format!(
            "closing    {sat} sat more are yours in open channels, and closing them now would take it: `tollhouse \
             channels` counts it as spendable, reserved or for closing"
        )
    }));
    let reserve = |name: &str| coins[name].as_u64().unwrap_or_default();
    let missing = reserve_missing(reserve("reserved_sat"), reserve("reserve_wanted_sat"));
    lines.extend(missing.map(|missing| format!("missing    {missing}")));
    let more = |name: &str| coins[name].as_u64().filter(|sat| *sat > 0);
    lines.extend(more("splicing_sat").map(|sat| {
        format!(
            "splicing   {sat} sat on their way into a channel, whose transaction waits for its first block"
        )
    }));
    lines.extend(more("leaving_sat").map(|sat| {
        format!(
            "leaving    {sat} sat of channels, not counted in them any more: a splice takes them out, whose \
             transaction waits for its first block; what of it goes to this wallet may be in the total already"
        )
    }));
    lines.extend(more("unseen_sat").map(|sat| {
        format!(
            "just sent  {sat} sat, taken from these sums already; the fee is, too, in a few seconds, when the wallet \
             sees the transaction"
        )
    }));
    lines.join("\n")
}

fn fees_text(rates: &Value) -> String {
    let rows = [
        ("fast", "in one of the next two blocks"),
        ("normal", "within an hour or so"),
        ("slow", "within a day"),
    ];
    let rows = rows.map(|(name, when)| {
        let rate = rates[format!("{name}_sat_per_kvb")].as_u64().unwrap_or_default();
        let rate = format!("{}.{:03}", rate / 1_000, rate % 1_000);
        let rate = rate.trim_end_matches('0').trim_end_matches('.').to_owned();
        [name.to_owned(), rate, when.to_owned()]
    });
    let note = match rates["estimated"].as_bool() {
        Some(false) => "\nThe chain source has no estimate: these are guesses.",
        _ => "",
    };
    format!("{}{note}", table(["FEE", "SAT/VB", "CONFIRMED"], rows))
}

fn history_text(listed: &Value, unsent: &Unsent) -> String {
    let mut untaken = None;
    let rows = listed["transactions"].as_array().into_iter().flatten().map(|tx| {
        let at = tx["at_secs"].as_u64().map_or(Value::Null, |secs| secs.saturating_mul(1_000).into());
        let why = unsent.why(tx["txid"].as_str().unwrap_or_default());
        let block = match (tx["confirmed_height"].as_u64(), why) {
            (Some(height), _) => height.to_string(),
            (None, None) => "waiting".to_owned(),
            (None, Some(why)) => {
                untaken.get_or_insert(why);
                "not taken".to_owned()
            }
        };
        [
            block,
            moment(&at),
            if tx["outgoing"] == true { "out" } else { "in" }.to_owned(),
            tx["label"].as_str().unwrap_or_default().to_owned(),
            number(&tx["amount_sat"]),
            number(&tx["fee_sat"]),
            tx["txid"].as_str().unwrap_or_default().to_owned(),
        ]
    });
    let mut text = table(["BLOCK", "WHEN", "", "WHAT", "SAT", "FEE", "TRANSACTION"], rows);
    if let Some(why) = untaken {
        text.push_str(&format!(
            "\nNot taken: signed, and no chain source took it yet: {why}. {}",
            unsent::AGAIN
        ));
    }
    if let Some(sat) = listed["unlisted_sat"].as_u64().filter(|sat| *sat > 0) {
        text.push_str(&format!(
            "\n{sat} sat more are on their way in, in no block yet: what brings them is listed from its first block on."
        ));
    }
    let fees = serde_json::from_value(listed["channel_fees"].clone()).ok();
    if let Some(says) = fees.and_then(ChannelFees::says) {
        text.push('\n');
        text.push_str(&says);
    }
    text
}

/// What a part of a contract waits for.
fn waits_for(code: &str) -> &str {
    match code {
        "confirmations" => "it waits for confirmations, or for the delay of a forced close",
        "proof" => "a payment’s proof is on its way to the chain",
        "timeout" => "a payment under way, yours when the other side gives no proof in time",
        "others_proof" => "a payment under way, yours only if its proof still comes",
        "penalty" => "the other side closed with an old state, so all is yours once that is claimed",
        other => other,
    }
}

/// What closed channels owe and what is swept; what is in open ones is on no way.
fn coming(coins: &Value) -> Value {
    let claims = coins["claims"].as_array().into_iter().flatten();
    let claims: Vec<&Value> = claims.filter(|claim| claim["open"] != true).collect();
    json!({ "claims": claims, "sweeps": coins["sweeps"] })
}

/// The channels that coins can come from.
struct Channels {
    open: Value,
    closed: Value,
    ids: Vec<String>,
}

impl Channels {
    fn find<'a>(listed: &'a Value, id: &Value) -> Option<&'a Value> {
        listed["channels"].as_array()?.iter().find(|row| row["channel_id"] == *id)
    }

    fn is_open(&self, id: &Value) -> bool {
        Channels::find(&self.open, id).is_some()
    }

    fn shown(&self, id: &Value) -> String {
        named::shown(id.as_str().unwrap_or_default(), &self.ids)
    }

    /// What a claim on a closed channel waits for while no block has its closing transaction.
    fn closing(&self, id: &Value, unsent: &Unsent) -> String {
        let record = Channels::find(&self.closed, id);
        let taken = record.is_none_or(|row| unsent.spending(&row["funding"]).is_none());
        match taken {
            true => "in the channel: its closing transaction is in no block yet".to_owned(),
            false => "in the channel: its closing transaction is signed, and no chain source took it yet"
                .to_owned(),
        }
    }
}

fn sweeps_text(coins: &Value, channels: &Channels, unsent: &Unsent) -> String {
    // What is in an open channel is not on its way.
    let claims = coins["claims"].as_array().into_iter().flatten();
    let claims = claims.filter(|claim| !channels.is_open(&claim["channel_id"])).map(|claim| {
        let until = claim["until_height"].as_u64();
        [
            channels.shown(&claim["channel_id"]),
            number(&claim["amount_sat"]),
            match claim["waits"].as_str().unwrap_or_default() {
                "closing" if claim["in_wallet"] == true => {
                    "on its way into the wallet, counted in its total; waits for a block".to_owned()
                }
                _ if claim["in_wallet"] == true => "in the wallet, counted there".to_owned(),
                "closing" => channels.closing(&claim["channel_id"], unsent),
                "never" => "nowhere: another transaction spent what was to fund the channel".to_owned(),
                waits => format!("in the contract: {}", waits_for(waits)),
            },
            until.map(|height| format!("until block {height}")).unwrap_or_default(),
        ]
    });
    let sweeps = coins["sweeps"].as_array().into_iter().flatten().map(|sweep| {
        let txid = sweep["txid"].as_str().unwrap_or_default();
        [
            channels.shown(&sweep["channel_id"]),
            number(&sweep["amount_sat"]),
            match (sweep["confirmed_height"].as_u64(), unsent.why(txid)) {
                (Some(height), _) => format!("swept in block {height}"),
                (None, Some(_)) => "its sweep is signed, and no chain source took it yet".to_owned(),
                (None, None) if sweep["in_wallet"] == true => {
                    "in the wallet, counted there; waits for a block".to_owned()
                }
                (None, None) if txid.is_empty() => "its sweep is sent with the next block".to_owned(),
                (None, None) => "its sweep waits for a block".to_owned(),
            },
            txid.to_owned(),
        ]
    });
    let rows: Vec<_> = claims.chain(sweeps).collect();
    match rows.is_empty() {
        true => "No coins of closed channels are on their way.".to_owned(),
        false => table(["CHANNEL", "SAT", "WHERE", ""], rows),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coins_on_their_way_are_told_while_there_are_some() {
        let coins = json!({ "spendable_sat": 7, "splicing_sat": 0, "unseen_sat": 0 });
        assert_eq!(balance_text(&coins).lines().count(), 4);
        let coins = json!({ "spendable_sat": 7, "splicing_sat": 200_000, "unseen_sat": 500 });
        let text = balance_text(&coins);
        assert!(text.contains("splicing   200000 sat") && text.contains("just sent  500 sat"), "{text}");
        let closing = balance_text(&json!({ "claims": [{ "amount_sat": 98_396 }], "closing_sat": 1_604 }));
        let says = "channels   98396 sat, as closing them now would give it, 0 sat being swept\nclosing    1604 sat more are";
        assert!(closing.contains(says), "{closing}");
        let short = json!({ "spendable_sat": 0, "reserved_sat": 12_000, "reserve_wanted_sat": 25_000 });
        assert!(balance_text(&short).contains("missing    13000 sat are missing of the 25000 sat"));
        let opened =
            json!({ "txid": "f1", "outgoing": true, "amount_sat": 50_000, "label": "Channel opened" });
        assert!(
            history_text(&json!({ "transactions": [opened] }), &Unsent::default())
                .contains("out  Channel opened  50,000")
        );
        let fees = json!({ "fee_sat": 340, "transactions": 2 });
        let history = history_text(
            &json!({ "transactions": [], "unlisted_sat": 5_000, "channel_fees": fees }),
            &Unsent::default(),
        );
        assert!(history.contains("at least 340 sat, over 2 transactions. Where"), "{history}");
        assert!(history.contains("5000 sat more are on their way in"), "{history}");
    }

    #[test]
    fn what_no_source_took_is_not_said_to_wait_for_a_block() {
        let unsent = Unsent::of(&json!({ "unsent": [
            { "txid": "ab", "spends": [], "why": "it is away" }, { "txid": "c1", "spends": ["f0:1"], "why": "it is away" },
        ] }));
        let tx = json!({ "txid": "ab", "outgoing": true, "amount_sat": 5 });
        let text = history_text(&json!({ "transactions": [tx] }), &unsent);
        assert!(text.contains("not taken") && text.contains("yet: it is away. It is handed over"), "{text}");
        let channels = Channels {
            open: json!({ "channels": [{ "channel_id": "0a" }] }),
            closed: json!({ "channels": [{ "channel_id": "0c", "funding": "f0:1" }] }),
            ids: Vec::new(),
        };
        let claim = |id: &str| json!({ "channel_id": id, "amount_sat": 7, "waits": "closing" });
        let coins =
            json!({ "claims": [claim("0a"), claim("0c")], "sweeps": [{ "amount_sat": 9, "txid": "ab" }] });
        let text = sweeps_text(&coins, &channels, &unsent);
        assert!(
            !text.contains("0a ") && text.contains("its closing transaction is signed, and no"),
            "{text}"
        );
        assert!(text.contains("its sweep is signed, and no chain source took it yet"), "{text}");
        let text = sweeps_text(&json!({ "claims": [claim("0a")] }), &channels, &unsent);
        assert_eq!(text, "No coins of closed channels are on their way.");
    }

    #[test]
    fn what_is_in_an_open_channel_is_on_no_way() {
        let claim = |id: &str, open: bool| json!({ "channel_id": id, "amount_sat": 40_000, "open": open });
        let coins = json!({ "claims": [claim("c1", true), claim("c2", false)], "sweeps": [] });
        assert_eq!(coming(&coins), json!({ "claims": [claim("c2", false)], "sweeps": [] }));
    }

    #[test]
    fn a_fee_is_a_word_or_a_rate() {
        assert_eq!(choice("slow").unwrap(), "slow");
        assert_eq!(choice("2").unwrap(), json!({ "sat_per_kvb": 2_000 }));
        assert_eq!(choice("2.25").unwrap(), json!({ "sat_per_kvb": 2_250 }));
        for bad in ["", "cheap", "-1", "1.2345", ".5", "1e3"] {
            assert!(choice(bad).is_err(), "{bad}");
        }
    }
}
