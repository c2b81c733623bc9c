//! Channels as they were and are: the node forgets one that is closed, this does not.
//!
//! Invariants: a record is never removed; one of a channel that is closed is changed by `closings` alone.

mod record;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rusqlite::{Connection, params};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use record::ChannelRow;
pub(super) use record::many;

use super::page::Page;
use super::rows::Stored;
use super::{Ledger, StoreError, closings, fundings, optional, pool, schema};

/// An open channel as it was just seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelSeen {
    /// Our own id of it.
    pub local_id: String,
    /// Its id, hexadecimal.
    pub channel_id: String,
    /// The other node's key, hexadecimal.
    pub peer: String,
    /// `txid:vout` of its funding output.
    pub funding: Option<String>,
    /// Its value, satoshi.
    pub capacity_sat: u64,
    /// We opened it.
    pub outbound: bool,
    /// The public network knows it.
    pub announced: bool,
    /// It can carry payments.
    pub ready: bool,
    /// What of it would be ours if it were closed now, satoshi, where the node says so.
    pub ours_sat: Option<u64>,
    /// All that is ours in it before any fee, millisatoshi, where nothing is under way.
    pub side_msat: Option<u64>,
}

/// What of a channel's contract is still to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimSeen {
    /// The channel's id, hexadecimal.
    pub channel_id: String,
    /// How much, satoshi.
    pub amount_sat: u64,
    /// When at the latest.
    pub until_height: Option<u32>,
    /// The wallet has it, in a block.
    pub came: bool,
}

/// A transaction that brings a closed channel's coins to the wallet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SweepRow {
    /// The channel's id, hexadecimal.
    #[serde(skip)]
    pub channel_id: String,
    /// Its id, hexadecimal.
    pub txid: String,
    /// What it sweeps, satoshi, before its fee.
    pub amount_sat: u64,
    /// The height at which it was sent first.
    pub sent_height: Option<u32>,
    /// The height of its block.
    pub confirmed_height: Option<u32>,
}

/// What a transaction in a block brought to the wallet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Brought {
    /// How much, satoshi.
    pub amount_sat: u64,
    /// The height of its block.
    pub height: u32,
}

/// What the node knows of channels at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChannelsSeen {
    /// The channels that are open, or opening.
    pub open: Vec<ChannelSeen>,
    /// What is still to come of contracts.
    pub claims: Vec<ClaimSeen>,
    /// Sweeps on their way.
    pub sweeps: Vec<SweepRow>,
    /// The ids of channels with an output that is to be swept and has no transaction yet.
    pub unsent: BTreeSet<String>,
    /// Transactions in blocks that closed channels or swept them, by their ids, as far as the wallet has them.
    pub brought: BTreeMap<String, Brought>,
}

impl Ledger {
    /// Notes what the node knows of channels at `height`.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn note_channels(&self, seen: ChannelsSeen, height: u32) -> Result<(), StoreError> {
        let work = move |page: &mut Page<'_>| {
            for channel in &seen.open {
                note_open(page, channel, height)?;
            }
            for sweep in &seen.sweeps {
                note_sweep(page.connection, sweep)?;
            }
            closings::follow(page, &seen, height)
        };
        self.0.writer.call(work).await
    }

    /// Whether the ledger at `path`, which nobody has open, tells of an open channel; `None` when it tells of no
    /// channel at all. Blocks.
    ///
    /// # Errors
    /// When it cannot be read, or is of another version.
    pub fn has_open_channel(path: &Path) -> Result<Option<bool>, StoreError> {
        let connection = pool::open(path)?;
        schema::is_current(&connection, path)?;
        let sql = "SELECT max(closed_at IS NULL) FROM channels";
        Ok(connection.query_row(sql, [], |row| row.get(0))?)
    }
}

fn note_open(page: &mut Page<'_>, seen: &ChannelSeen, height: u32) -> Result<(), StoreError> {
    let mut upsert = page.connection.prepare_cached(
        "INSERT INTO channels (local_id, channel_id, peer, funding, capacity_sat, outbound, announced, seen_at,
                               opened_height, last_sat, last_at, last_height, side_msat)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, IIF(?10 IS NULL, NULL, ?8), IIF(?10 IS NULL, NULL, ?11), ?12)
         ON CONFLICT (local_id) DO UPDATE SET
             channel_id = ?2, funding = COALESCE(?4, funding), capacity_sat = ?5, outbound = ?6, announced = ?7,
             opened_height = COALESCE(opened_height, ?9), last_sat = COALESCE(?10, last_sat),
             last_at = IIF(?10 IS NULL, last_at, ?8), last_height = IIF(?10 IS NULL, last_height, ?11),
             side_msat = IIF(spliced_to IS NOT NULL AND spliced_to <> COALESCE(?4, funding, ''), NULL, ?12)
         WHERE closed_at IS NULL",
    )?;
    upsert.execute(params![
        seen.local_id,
        seen.channel_id,
        seen.peer,
        seen.funding,
        signed(seen.capacity_sat),
        seen.outbound,
        seen.announced,
        Stored(page.now),
        seen.ready.then_some(height),
        seen.ours_sat.map(signed),
        height,
        seen.side_msat.map(signed),
    ])?;
    if let Some(funding) = &seen.funding {
        let (ready_at, of) = (seen.ready.then_some(height), (seen.local_id.as_str(), funding.as_str()));
        fundings::note_open(page.connection, of, seen.capacity_sat, ready_at, page.now)?;
    }
    Ok(())
}

fn note_sweep(connection: &Connection, sweep: &SweepRow) -> Result<(), StoreError> {
    let mut local = connection.prepare_cached(
        "SELECT local_id FROM channels WHERE channel_id = ?1 ORDER BY seen_at DESC LIMIT 1",
    )?;
    let local_id: Option<String> = optional(local.query_row([&sweep.channel_id], |row| row.get(0)))?;
    let Some(local_id) = local_id else { return Ok(()) };
    let amount = signed(sweep.amount_sat);
    // One that was not confirmed and is paid more for takes the older one's place.
    let mut replace = connection.prepare_cached(
        "DELETE FROM sweeps WHERE local_id = ?1 AND txid <> ?2 AND amount_sat = ?3 AND confirmed_height IS NULL",
    )?;
    replace.execute(params![local_id, sweep.txid, amount])?;
    let mut upsert = connection.prepare_cached(
        "INSERT INTO sweeps (local_id, txid, amount_sat, sent_height, confirmed_height) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (local_id, txid) DO UPDATE SET
             amount_sat = MAX(amount_sat, ?3), sent_height = COALESCE(sent_height, ?4), confirmed_height = ?5",
    )?;
    upsert.execute(params![local_id, sweep.txid, amount, sweep.sent_height, sweep.confirmed_height])?;
    Ok(())
}

/// Satoshi as the database keeps them.
pub(super) fn signed(sat: u64) -> i64 {
    i64::try_from(sat).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
