//! `tollhouse channels`: what there is, opening, closing, changing their size, and what became of closed ones.

pub(super) mod named;

use std::process::ExitCode;

use clap::Subcommand;
use http::Method;
use serde_json::{Value, json};

use super::amounts::number;
use super::moving::{Consent, Move, carry_out, in_words};
use super::operator::{Admin, Failure, OperatorArgs, Shown, ask, table};
use super::peers::place;
use super::unsent::{self, Unsent};
use crate::config::Environment;
use crate::types::{Msat, grouped};

/// Stands for a fresh address of this node's own wallet.
const WALLET: &str = "wallet";

#[derive(Debug, clap::Args)]
pub(super) struct ChannelsArgs {
    #[command(flatten)]
    operator: OperatorArgs,
    #[command(subcommand)]
    command: Option<Channels>,
}

#[derive(Debug, Subcommand)]
enum Channels {
    /// The open ones
    List,
    /// One, open or closed
    Show {
        /// Its id, or at least the first 8 characters of it, if no other begins so
        channel: String,
    },
    /// Open one with coins of the on-chain wallet
    Open {
        /// KEY@HOST:PORT
        node: String,
        /// Its value
        #[arg(long, value_name = "SATS")]
        amount_sat: u64,
        /// What the other side gets of it: a gift
        #[arg(long, value_name = "SATS", default_value_t = 0)]
        push_sat: u64,
        /// Tell the public network
        #[arg(long)]
        announce: bool,
        #[command(flatten)]
        consent: Consent,
    },
    /// Close one: its coins return to the on-chain wallet
    Close {
        /// Its id, or at least the first 8 characters of it, if no other begins so
        channel: String,
        /// Without the other side's consent: the coins return after a delay
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        consent: Consent,
    },
    /// Set what forwarding through one costs others
    Fees {
        /// Its id, or at least the first 8 characters of it, if no other begins so
        channel: String,
        /// For each payment, millisatoshi
        #[arg(long, value_name = "MSAT")]
        base_msat: u32,
        /// Of what is forwarded, millionths
        #[arg(long, value_name = "PPM")]
        ppm: u32,
    },
    /// Put coins of the on-chain wallet into one
    SpliceIn {
        /// Its id, or at least the first 8 characters of it, if no other begins so
        channel: String,
        /// How much
        #[arg(long, value_name = "SATS")]
        amount_sat: u64,
        #[command(flatten)]
        consent: Consent,
    },
    /// Send coins of one to an address, or to this node's own wallet
    SpliceOut {
        /// Its id, or at least the first 8 characters of it, if no other begins so
        channel: String,
        /// An address, `vault`, or `wallet`: a fresh address of this node's own
        #[arg(default_value = WALLET)]
        to: String,
        /// How much arrives
        #[arg(long, value_name = "SATS")]
        amount_sat: u64,
        #[command(flatten)]
        consent: Consent,
    },
    /// The closed ones: why, and where their coins are
    Closed,
}

pub(super) fn run(args: &ChannelsArgs, env: &Environment) -> ExitCode {
    ask(&args.operator, env, async |admin| match &args.command {
        None | Some(Channels::List) => {
            let listed = admin.get("/api/v1/channels").await?;
            let text = list_text(&listed, &named::ids(admin).await);
            Ok(Shown::new(listed, text))
        }
        Some(Channels::Show { channel }) => {
            let id = named::any(admin, channel).await?;
            let found = admin.get(&format!("/api/v1/channels/{id}")).await?;
            let unsent = Unsent::now(admin).await;
            let text = match found["open"].is_null() {
                true => closed_text(&json!({ "channels": [found["record"]] }), &unsent, &[]),
                false => [Some(show_text(&found["open"])), unsent_text(&found, &unsent), void_text(&found)]
                    .into_iter()
                    .flatten()
                    .collect::<Vec<_>>()
                    .join("\n"),
            };
            Ok(Shown::new(found, text))
        }
        Some(Channels::Open { node, amount_sat, push_sat, announce, consent }) => {
            let (peer, address) = place(node)?;
            let push = Msat::from_sat(*push_sat).map_err(|error| Failure::arguments(error.to_string()))?;
            let body = json!({
                "peer": peer, "address": address, "amount_sat": amount_sat, "push_msat": push, "announce": announce,
            });
            let path = "/api/v1/channels".to_owned();
            carry_out(admin, consent, Move { method: Method::POST, path, query: "", body }).await
        }
        Some(Channels::Close { channel, force, consent }) => {
            // Asked again under its key, a close that was done is answered with what it did.
            let path = match path(admin, channel, "").await {
                Err(_) if consent.is_keyed() => {
                    format!("/api/v1/channels/{}", named::any(admin, channel).await?)
                }
                found => found?,
            };
            let query = if *force { "force=true" } else { "" };
            carry_out(admin, consent, Move { method: Method::DELETE, path, query, body: Value::Null }).await
        }
        Some(Channels::Fees { channel, base_msat, ppm }) => {
            let path = path(admin, channel, "/fees").await?;
            let set = admin.put(&path, &json!({ "base_msat": base_msat, "ppm": ppm })).await?;
            Ok(Shown::new(set, format!("Forwarding costs {base_msat} msat and {ppm} ppm.")))
        }
        Some(Channels::SpliceIn { channel, amount_sat, consent }) => {
            let path = path(admin, channel, "/splice-in").await?;
            let body = json!({ "amount_sat": amount_sat });
            carry_out(admin, consent, Move { method: Method::POST, path, query: "", body }).await
        }
        Some(Channels::SpliceOut { channel, to, amount_sat, consent }) => {
            let path = path(admin, channel, "/splice-out").await?;
            let body = json!({ "amount_sat": amount_sat, "address": to });
            carry_out(admin, consent, Move { method: Method::POST, path, query: "", body }).await
        }
        Some(Channels::Closed) => {
            let listed = admin.get("/api/v1/channels/closed").await?;
            let text = closed_text(&listed, &Unsent::now(admin).await, &named::ids(admin).await);
            Ok(Shown::new(listed, text))
        }
    })
}

async fn path(admin: &Admin, channel: &str, of: &str) -> Result<String, Failure> {
    Ok(format!("/api/v1/channels/{}{of}", named::open(admin, channel).await?))
}

fn word(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn sat(msat: &Value) -> String {
    grouped(msat.as_u64().unwrap_or_default() / 1_000)
}

fn state(channel: &Value) -> String {
    let state = match (&channel["ready"], &channel["usable"]) {
        _ if channel["being_closed"] == true => "being closed",
        (Value::Bool(true), Value::Bool(true)) => "usable",
        (Value::Bool(true), _) => "peer away",
        _ => "opening",
    };
    if channel["splice"].is_null() { state.to_owned() } else { format!("{state}, splicing") }
}

fn list_text(listed: &Value, ids: &[String]) -> String {
    let rows = listed["channels"].as_array().into_iter().flatten().map(|channel| {
        let held = &channel["held"];
        [
            named::called(channel, ids),
            word(&channel["peer"]).chars().take(16).collect(),
            state(channel),
            number(&channel["capacity_sat"]),
            sat(&channel["spendable_msat"]),
            sat(&channel["receivable_msat"]),
            number(&held["ours_sat"]),
            number(&held["theirs_sat"]),
            grouped(
                ["anchors_sat", "splicing_sat", "under_way_sat", "unsure_sat"]
                    .iter()
                    .filter_map(|part| held[part].as_u64())
                    .sum(),
            ),
        ]
    });
    let mut text = table(
        [
            "CHANNEL",
            "PEER",
            "STATE",
            "CAPACITY",
            "SPENDABLE",
            "RECEIVABLE",
            "RESERVED",
            "PEER RESERVES",
            "REST",
        ],
        rows,
    );
    if listed["channels"].as_array().is_some_and(|channels| !channels.is_empty()) {
        text.push_str(COLUMNS);
    }
    text
}

/// What the columns mean.
const COLUMNS: &str = "\n\nAll in sat. The last five add up to the capacity: RESERVED is what your side of the channel \
                       must keep, PEER RESERVES what the other side must keep, REST what pays for closing, leaves with a \
                       splice or is in payments under way; `tollhouse channels show` tells it apart. What the fee of \
                       closing would take is in these figures; `tollhouse wallet` counts channels without it.";

fn show_text(channel: &Value) -> String {
    let fees = &channel["fees"];
    let held = &channel["held"];
    let mut lines = vec![
        format!(
            "channel     {}",
            word(
                &channel[if channel["funding"].is_null() && channel["ready"] != true {
                    "local_id"
                } else {
                    "channel_id"
                }]
            )
        ),
        format!("peer        {}", word(&channel["peer"])),
        format!("funding     {}", word(&channel["funding"])),
        format!("state       {}", state(channel)),
        format!(
            "announced   {}",
            if channel["announced"] == true { "yes, to the public network" } else { "no" }
        ),
        format!("capacity    {} sat", number(&channel["capacity_sat"])),
        format!("spendable   {} sat", sat(&channel["spendable_msat"])),
        format!("receivable  {} sat", sat(&channel["receivable_msat"])),
        format!(
            "reserved    {} sat, of {} that your side keeps",
            number(&held["ours_sat"]),
            number(&channel["reserved_sat"])
        ),
        format!("held back   {} sat by the other side", number(&held["theirs_sat"])),
        format!("forwarding  {} msat and {} ppm", number(&fees["base_msat"]), number(&fees["ppm"])),
        format!("a forced close returns the coins after {} blocks", number(&channel["force_close_blocks"])),
    ];
    let part = |name: &str| held[name].as_u64().filter(|sat| *sat > 0);
    lines.extend(
        part("anchors_sat")
            .map(|sat| format!("anchors     {sat} sat of who opened it, for its closing transaction")),
    );
    lines.extend(part("under_way_sat").map(|sat| format!("under way   {sat} sat in payments")));
    lines.extend(part("unsure_sat").map(|sat| {
        format!("with it     {sat} sat held back while the splice is under way, for it or in payments")
    }));
    lines.extend(channel["closing_sat"].as_u64().filter(|sat| *sat > 0).map(|sat| {
        format!(
            "closing     {sat} sat of what is yours here would go to the fee and the anchors: `tollhouse wallet` counts \
             the channel without them"
        )
    }));
    lines.extend(splice_lines(channel));
    lines.join("\n")
}

/// What a splice that is under way changes.
fn splice_lines(channel: &Value) -> Vec<String> {
    let splice = &channel["splice"];
    let Some(says) = splice["says"].as_str() else { return Vec::new() };
    let mut lines = vec![format!("splice      {says}")];
    let leaves = channel["held"]["splicing_sat"].as_u64().filter(|sat| *sat > 0);
    lines.extend(leaves.map(|sat| format!("leaves      {sat} sat of the capacity above")));
    let closes = match (splice["before_sat"].as_u64(), splice["after_sat_about"].as_u64()) {
        (Some(before), Some(after)) => {
            Some(format!("about {after} sat once it is confirmed; {before} sat before it"))
        }
        (None, Some(after)) => Some(format!("{after} sat with the splice")),
        _ => None,
    };
    lines.extend(closes.map(|closes| format!("if closed   {closes}")));
    lines
}

/// That an open channel can never come to be, where that is so.
fn void_text(found: &Value) -> Option<String> {
    let rows = found["operations"].as_array().into_iter().flatten();
    let why = rows
        .filter(|row| !row["outcome"]["void_by"].is_null())
        .find_map(|row| row["outcome"]["reason"].as_str());
    why.map(|why| format!("never       {why}: tollhouse channels close --force"))
}

/// Why the transaction that opens or changes an open channel is not on its way, where it is not.
fn unsent_text(found: &Value, unsent: &Unsent) -> Option<String> {
    let funding = found["open"]["funding"].as_str()?;
    let of_it = unsent.spending(&found["open"]["funding"]).or_else(|| funding.split(':').next())?;
    let why = unsent.why(of_it)?;
    Some(format!(
        "not taken   its transaction {of_it} is signed, and no chain source took it yet: {why}. {}",
        unsent::AGAIN
    ))
}

fn closed_text(listed: &Value, unsent: &Unsent, ids: &[String]) -> String {
    let mut untaken = None;
    let rows = listed["channels"].as_array().into_iter().flatten().map(|channel| {
        let owed = channel["owed_sat"].as_u64();
        let waits = unsent.spending(&channel["funding"]);
        let coins = match (channel["returned_height"].as_u64(), channel["claim_height"].as_u64()) {
            (_, _) if back(channel) == "0" => {
                crate::treasury::nothing_back(channel["lost_sat"].as_u64(), channel["cause"].as_str())
            }
            (Some(_), _) if owed.is_none() => match channel["last_sat"].as_u64() {
                Some(sat) => format!("not seen coming back; {sat} sat when last seen open"),
                None => "not seen coming back".to_owned(),
            },
            (Some(height), _) => format!("in the wallet since block {height}"),
            (None, Some(height)) => format!("due from block {height}"),
            (None, None) if waits.is_some() => "waiting for a chain source".to_owned(),
            (None, None) => "waiting for the closing transaction".to_owned(),
        };
        let closed_by = match (channel["closing_txid"].as_str(), waits) {
            (_, Some(txid)) => {
                untaken = untaken.take().or_else(|| unsent.why(txid));
                format!("{txid} (not taken yet)")
            }
            (Some(txid), None) => txid.to_owned(),
            (None, None) => "not seen yet".to_owned(),
        };
        [
            named::shown(&word(&channel["channel_id"]), ids),
            word(&channel["peer"]).chars().take(16).collect(),
            super::times::moment(&channel["closed_at"]),
            cause(&word(&channel["cause"])),
            back(channel),
            coins,
            closed_by,
        ]
    });
    let text = table(["CHANNEL", "PEER", "CLOSED", "WHY", "BACK SAT", "COINS", "CLOSED BY"], rows);
    match untaken {
        Some(why) => {
            format!("{text}\n\nNot taken yet: signed, and no chain source took it: {why}. {}", unsent::AGAIN)
        }
        None => text,
    }
}

/// Why it was closed.
fn cause(code: &str) -> String {
    match code {
        "agreed_by_us" => "agreed, you asked".to_owned(),
        "agreed_by_peer" => "agreed, the peer asked".to_owned(),
        "forced_by_us" => "by force, by you".to_owned(),
        "forced_by_peer" => "by force, by the peer".to_owned(),
        "restart" => "to be safe: this node’s copy was old".to_owned(),
        "fault" => "the peer broke the protocol".to_owned(),
        other => in_words(other),
    }
}

/// What came back or comes, satoshi: what the wallet got, and until that is seen about what was owed.
fn back(channel: &Value) -> String {
    match (channel["came_sat"].as_u64(), channel["owed_sat"].as_u64()) {
        (Some(sat), _) | (None, Some(sat @ 0)) => grouped(sat),
        (None, Some(sat)) => format!("about {}", grouped(sat)),
        (None, None) => "not seen".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_back_is_what_the_wallet_got() {
        let of = |came: Option<u64>, owed: Option<u64>| back(&json!({ "came_sat": came, "owed_sat": owed }));
        let told =
            [of(Some(238_830), Some(239_056)), of(None, Some(239_056)), of(None, Some(0)), of(None, None)];
        assert_eq!(told, ["238,830", "about 239,056", "0", "not seen"]);
        let lost =
            json!({ "cause": "agreed_by_peer", "owed_sat": 0, "lost_sat": 37, "returned_height": 138 });
        let text = closed_text(&json!({ "channels": [lost] }), &Unsent::default(), &[]);
        assert!(text.contains("37 sat too little for an output of its own, lost to the fee"), "{text}");
    }

    #[test]
    fn a_close_that_no_source_took_is_not_called_under_way() {
        let unsent =
            Unsent::of(&json!({ "unsent": [{ "txid": "c105e", "spends": ["f0:1"], "why": "it is away" }] }));
        let row = json!({ "cause": "agreed_by_us", "funding": "f0:1", "owed_sat": 5, "closing_txid": null });
        let text = closed_text(&json!({ "channels": [row] }), &unsent, &[]);
        for said in
            ["c105e (not taken yet)", "waiting for a chain source", "took it: it is away. It is handed over"]
        {
            assert!(text.contains(said), "{said}: {text}");
        }
        let open = json!({ "open": { "funding": "f0:1" } });
        assert!(unsent_text(&open, &unsent).is_some_and(|text| text.contains("c105e is signed")));
        assert_eq!(unsent_text(&json!({ "open": { "funding": "f0:2" } }), &unsent), None);
    }

    #[test]
    fn a_channel_is_told_with_its_parts_and_its_splice() {
        let held = json!({ "ours_sat": 10_000, "theirs_sat": 12_000, "anchors_sat": 660, "splicing_sat": 0,
            "under_way_sat": 40 });
        let row = json!({ "capacity_sat": 1_000_000, "spendable_msat": 78_000_500, "receivable_msat": 899_300_000,
            "reserved_sat": 10_000, "ready": true, "usable": true, "held": held, "splice": null });
        let listed = list_text(&json!({ "channels": [row] }), &[]);
        let row_of = listed.lines().nth(1).expect("a row");
        assert!(row_of.ends_with("10,000    12,000         700"), "{listed}");
        assert!(listed.contains("PEER RESERVES what the other side must keep"), "{listed}");
        let closed = json!({ "channels": [{ "cause": "agreed_by_us" }, { "cause": "never_opened" }] });
        let closed = closed_text(&closed, &Unsent::default(), &[]);
        assert!(closed.contains("not seen yet"), "{closed}");
        assert!(closed.contains("agreed, you asked") && closed.contains("never opened"), "{closed}");
        assert!(!listed.contains("splicing") && show_text(&row).contains("anchors     660 sat"));
        let mut spliced = row.clone();
        spliced["splice"] = json!({ "says": "A splice that takes 60000 sat out of the channel waits.",
            "before_sat": 99_000, "after_sat_about": 37_770 });
        spliced["held"]["splicing_sat"] = json!(61_230);
        assert!(list_text(&json!({ "channels": [spliced] }), &[]).contains("usable, splicing"));
        let shown = show_text(&spliced);
        for said in ["takes 60000 sat out", "leaves      61230 sat", "about 37770 sat once it is confirmed"] {
            assert!(shown.contains(said), "{said}: {shown}");
        }
        let mut cheap = row;
        cheap["closing_sat"] = json!(1_604);
        assert!(show_text(&cheap).contains("closing     1604 sat of what is yours here would go to the fee"));
    }
}
