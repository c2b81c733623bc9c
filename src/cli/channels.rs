//! `tollhouse channels`: what there is, opening, closing, changing their size, and what became of closed ones.

use std::process::ExitCode;

use clap::Subcommand;
use http::Method;
use serde_json::{Value, json};

use super::moving::{Consent, Move, carry_out};
use super::operator::{Admin, Failure, OperatorArgs, Shown, ask, table};
use super::peers::place;
use crate::config::Environment;
use crate::types::Msat;

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
        /// Its id, or how it begins
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
        /// Its id, or how it begins
        channel: String,
        /// Without the other side's consent: the coins return after a delay
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        consent: Consent,
    },
    /// Set what forwarding through one costs others
    Fees {
        /// Its id, or how it begins
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
        /// Its id, or how it begins
        channel: String,
        /// How much
        #[arg(long, value_name = "SATS")]
        amount_sat: u64,
        #[command(flatten)]
        consent: Consent,
    },
    /// Send coins of one to an address
    SpliceOut {
        /// Its id, or how it begins
        channel: String,
        /// An address, or `vault`
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
            let text = list_text(&listed);
            Ok(Shown::new(listed, text))
        }
        Some(Channels::Show { channel }) => {
            let id = any(admin, channel).await?;
            let found = admin.get(&format!("/api/v1/channels/{id}")).await?;
            let text = match found["open"].is_null() {
                true => closed_text(&json!({ "channels": [found["record"]] })),
                false => [Some(show_text(&found["open"])), void_text(&found)]
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
                Err(_) if consent.is_keyed() => format!("/api/v1/channels/{}", any(admin, channel).await?),
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
            let text = closed_text(&listed);
            Ok(Shown::new(listed, text))
        }
    })
}

async fn path(admin: &Admin, channel: &str, of: &str) -> Result<String, Failure> {
    let found = find(admin, channel).await?;
    Ok(format!("/api/v1/channels/{}{of}", word(&found["channel_id"])))
}

/// The id of the channel, open or closed, that begins so.
async fn any(admin: &Admin, beginning: &str) -> Result<String, Failure> {
    let closed = admin.get("/api/v1/channels/closed").await?;
    // While the node is not up, closed ones can be told all the same.
    let (open, away) = match admin.get("/api/v1/channels").await {
        Ok(open) => (open, None),
        Err(away) => (Value::Null, Some(away)),
    };
    let rows =
        [&open, &closed].into_iter().flat_map(|listed| listed["channels"].as_array().into_iter().flatten());
    let mut fitting = rows.map(|row| word(&row["channel_id"])).filter(|id| id.starts_with(beginning));
    match (fitting.next(), fitting.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => {
            Err(away
                .unwrap_or_else(|| Failure::arguments(format!("no channel's id begins with {beginning}"))))
        }
        (Some(_), Some(_)) => {
            Err(Failure::arguments(format!("several channels' ids begin with {beginning}")))
        }
    }
}

/// The open channel whose id begins so.
async fn find(admin: &Admin, beginning: &str) -> Result<Value, Failure> {
    let listed = admin.get("/api/v1/channels").await?;
    let rows = listed["channels"].as_array().into_iter().flatten();
    let mut fitting = rows.filter(|row| word(&row["channel_id"]).starts_with(beginning));
    match (fitting.next(), fitting.next()) {
        (Some(one), None) => Ok(one.clone()),
        (None, _) => Err(Failure::arguments(format!("no open channel's id begins with {beginning}"))),
        (Some(_), Some(_)) => {
            Err(Failure::arguments(format!("several channels' ids begin with {beginning}")))
        }
    }
}

fn word(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn sat(msat: &Value) -> String {
    (msat.as_u64().unwrap_or_default() / 1_000).to_string()
}

fn number(value: &Value) -> String {
    value.as_u64().map(|number| number.to_string()).unwrap_or_default()
}

fn state(channel: &Value) -> &'static str {
    match (&channel["ready"], &channel["usable"]) {
        (Value::Bool(true), Value::Bool(true)) => "usable",
        (Value::Bool(true), _) => "peer away",
        _ => "opening",
    }
}

/// What neither side can use now, satoshi: ours, as far as our reserve is filled, and the other side's.
fn held_back(channel: &Value) -> (String, String) {
    let sat = |name: &str| channel[name].as_u64().unwrap_or_default();
    let used = sat("spendable_msat") / 1_000 + sat("receivable_msat") / 1_000;
    let rest = if used == 0 { 0 } else { sat("capacity_sat").saturating_sub(used) };
    let theirs = match sat("receivable_msat") / 1_000 {
        0 => rest.saturating_sub(sat("reserved_sat")).min(sat("their_reserved_sat")),
        _ => rest.min(sat("their_reserved_sat")),
    };
    ((rest - theirs).min(sat("reserved_sat")).to_string(), theirs.to_string())
}

fn list_text(listed: &Value) -> String {
    let rows = listed["channels"].as_array().into_iter().flatten().map(|channel| {
        let (reserved, theirs) = held_back(channel);
        [
            word(&channel["channel_id"]).chars().take(16).collect(),
            word(&channel["peer"]).chars().take(16).collect(),
            state(channel).to_owned(),
            number(&channel["capacity_sat"]),
            sat(&channel["spendable_msat"]),
            sat(&channel["receivable_msat"]),
            reserved,
            theirs,
        ]
    });
    // With what is in payments under way, the last four add up to the capacity.
    table(
        ["CHANNEL", "PEER", "STATE", "CAPACITY", "SPENDABLE", "RECEIVABLE", "RESERVED", "HELD BY PEER"],
        rows,
    )
}

fn show_text(channel: &Value) -> String {
    let fees = &channel["fees"];
    let (reserved, theirs) = held_back(channel);
    [
        format!("channel     {}", word(&channel["channel_id"])),
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
        format!("reserved    {reserved} sat, of {} that your side keeps", number(&channel["reserved_sat"])),
        format!("held back   {theirs} sat by the other side"),
        format!("forwarding  {} msat and {} ppm", number(&fees["base_msat"]), number(&fees["ppm"])),
        format!("a forced close returns the coins after {} blocks", number(&channel["force_close_blocks"])),
    ]
    .join("\n")
}

/// That an open channel can never come to be, where that is so.
fn void_text(found: &Value) -> Option<String> {
    let rows = found["operations"].as_array().into_iter().flatten();
    let why = rows
        .filter(|row| !row["outcome"]["void_by"].is_null())
        .find_map(|row| row["outcome"]["reason"].as_str());
    why.map(|why| format!("never       {why}: tollhouse channels close --force"))
}

fn closed_text(listed: &Value) -> String {
    let rows = listed["channels"].as_array().into_iter().flatten().map(|channel| {
        let owed = channel["owed_sat"].as_u64();
        let coins = match (channel["returned_height"].as_u64(), channel["claim_height"].as_u64()) {
            (_, _) if owed == Some(0) => "nothing was owed".to_owned(),
            (Some(_), _) if owed.is_none() => match channel["last_sat"].as_u64() {
                Some(sat) => format!("not seen coming back; {sat} sat when last seen open"),
                None => "not seen coming back".to_owned(),
            },
            (Some(height), _) => format!("in the wallet since block {height}"),
            (None, Some(height)) => format!("due from block {height}"),
            (None, None) => "waiting for the closing transaction".to_owned(),
        };
        [
            word(&channel["channel_id"]).chars().take(16).collect(),
            word(&channel["peer"]).chars().take(16).collect(),
            super::times::moment(&channel["closed_at"]),
            word(&channel["cause"]),
            owed.map_or("not seen".to_owned(), |sat| sat.to_string()),
            coins,
            word(&channel["closing_txid"]),
        ]
    });
    table(["CHANNEL", "PEER", "CLOSED", "WHY", "OWED SAT", "COINS", "CLOSED BY"], rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_channel_add_up_to_it() {
        let row = json!({ "capacity_sat": 1_000_000, "spendable_msat": 78_000_500, "receivable_msat": 900_000_000,
            "reserved_sat": 10_000, "their_reserved_sat": 12_000, "ready": true, "usable": true });
        assert_eq!(held_back(&row), ("10000".to_owned(), "12000".to_owned()));
        let listed = list_text(&json!({ "channels": [row] }));
        assert!(listed.contains("HELD BY PEER") && listed.ends_with("12000"), "{listed}");
        let fresh = json!({ "capacity_sat": 1_000_000, "spendable_msat": 0, "receivable_msat": 988_000_000,
            "reserved_sat": 10_000, "their_reserved_sat": 12_000 });
        assert_eq!(held_back(&fresh), ("0".to_owned(), "12000".to_owned()));
    }
}
