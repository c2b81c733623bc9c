//! Channels as they were and are: the node forgets one that is closed, this does not.
//!
//! Invariants: a channel's close is written with its event in one transaction; a record is never removed;
//! one whose coins are all in the wallet does not change any more.

use rusqlite::{Connection, Row, params};
use schemars::JsonSchema;
use serde::Serialize;

use super::page::Page;
use super::rows::Stored;
use super::{Ledger, StoreError, optional};
use crate::event::Event;
use crate::types::Timestamp;

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
}

/// A transaction that brings a closed channel's coins to the wallet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
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

/// What the node knows of channels at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChannelsSeen {
    /// The channels that are open, or opening.
    pub open: Vec<ChannelSeen>,
    /// What is still to come of contracts.
    pub claims: Vec<ClaimSeen>,
    /// Sweeps on their way.
    pub sweeps: Vec<SweepRow>,
}

/// The close of a channel, as the node told it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelEnd {
    /// Our own id of it.
    pub local_id: String,
    /// Its id, hexadecimal.
    pub channel_id: String,
    /// The other node's key, hexadecimal.
    pub peer: String,
    /// Why, in the library's words.
    pub reason: String,
    /// Why, a stable word.
    pub cause: String,
}

/// A channel's record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ChannelRow {
    /// Its id, hexadecimal.
    pub channel_id: String,
    /// Our own id of it.
    pub local_id: String,
    /// The other node's key, hexadecimal.
    pub peer: String,
    /// `txid:vout` of its last funding output.
    pub funding: Option<String>,
    /// Its value, satoshi.
    pub capacity_sat: u64,
    /// We opened it.
    pub outbound: bool,
    /// The public network knew it.
    pub announced: bool,
    /// When it was first seen.
    pub seen_at: Timestamp,
    /// The height at which it was first seen ready.
    pub opened_height: Option<u32>,
    /// When it was closed.
    pub closed_at: Option<Timestamp>,
    /// The height at which that was seen.
    pub closed_height: Option<u32>,
    /// Why, a stable word such as `agreed_by_peer` or `restart`.
    pub cause: Option<String>,
    /// Why, in the library's words.
    pub reason: Option<String>,
    /// The transaction that closed it.
    pub closing_txid: Option<String>,
    /// `txid:vout` of the funding output of its last splice, from when the splice was agreed.
    #[serde(skip)]
    pub spliced_to: Option<String>,
    /// What was ours in it when it closed, satoshi.
    pub owed_sat: u64,
    /// What of that its contract has not given out yet, satoshi.
    pub claim_sat: u64,
    /// The height at which it does, at the latest.
    pub claim_height: Option<u32>,
    /// The height at which everything was spendable in the wallet.
    pub returned_height: Option<u32>,
    /// The transactions that brought it there; none after an agreed close, which pays the wallet itself.
    pub sweeps: Vec<SweepRow>,
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
            follow(page.connection, &seen, height)
        };
        self.0.writer.call(work).await
    }

    /// Notes that a channel is closed, and says so in the log.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn end_channel(&self, end: ChannelEnd) -> Result<(), StoreError> {
        let work = move |page: &mut Page<'_>| {
            let mut upsert = page.connection.prepare_cached(
                "INSERT INTO channels (local_id, channel_id, peer, capacity_sat, outbound, announced, seen_at,
                                       closed_at, cause, reason)
                 VALUES (?1, ?2, ?3, 0, 0, 0, ?4, ?4, ?5, ?6)
                 ON CONFLICT (local_id) DO UPDATE SET closed_at = ?4, cause = ?5, reason = ?6
                 WHERE closed_at IS NULL",
            )?;
            let ChannelEnd { local_id, channel_id, peer, reason, cause } = end.clone();
            upsert.execute(params![local_id, channel_id, peer, Stored(page.now), cause, reason])?;
            page.log(&Event::ChannelClosed { channel_id, peer, reason, cause, local_id })?;
            Ok(())
        };
        self.0.writer.call(work).await
    }

    /// Notes which transaction closed a channel.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn note_closing(&self, local_id: &str, txid: String) -> Result<(), StoreError> {
        let local_id = local_id.to_owned();
        let work = move |page: &mut Page<'_>| {
            let sql = "UPDATE channels SET closing_txid = ?2 WHERE local_id = ?1";
            page.connection.prepare_cached(sql)?.execute(params![local_id, txid])?;
            Ok(())
        };
        self.0.writer.call(work).await
    }

    /// The closed channels, the last one first, at most `limit`.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn closed_channels(&self, limit: u32) -> Result<Vec<ChannelRow>, StoreError> {
        let sql =
            "SELECT * FROM channels WHERE closed_at IS NOT NULL ORDER BY closed_at DESC, rowid DESC LIMIT ?1";
        self.0.readers.read(move |connection| many(connection, sql, params![limit])).await
    }

    /// The record of one channel, by our own id of it.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn channel_record(&self, local_id: &str) -> Result<Option<ChannelRow>, StoreError> {
        let local_id = local_id.to_owned();
        let sql = "SELECT * FROM channels WHERE local_id = ?1";
        let read = move |connection: &Connection| many(connection, sql, params![local_id]);
        Ok(self.0.readers.read(read).await?.into_iter().next())
    }

    /// The newest record of a channel, by its id or by our own id of it.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn channel_called(&self, id: &str) -> Result<Option<ChannelRow>, StoreError> {
        let id = id.to_owned();
        let sql =
            "SELECT * FROM channels WHERE local_id = ?1 OR channel_id = ?1 ORDER BY seen_at DESC LIMIT 1";
        let read = move |connection: &Connection| many(connection, sql, params![id]);
        Ok(self.0.readers.read(read).await?.into_iter().next())
    }
}

fn note_open(page: &mut Page<'_>, seen: &ChannelSeen, height: u32) -> Result<(), StoreError> {
    let mut upsert = page.connection.prepare_cached(
        "INSERT INTO channels (local_id, channel_id, peer, funding, capacity_sat, outbound, announced, seen_at,
                               opened_height)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
         ON CONFLICT (local_id) DO UPDATE SET
             channel_id = ?2, funding = COALESCE(?4, funding), capacity_sat = ?5, outbound = ?6, announced = ?7,
             opened_height = COALESCE(opened_height, ?9)
         WHERE closed_at IS NULL",
    )?;
    let capacity = i64::try_from(seen.capacity_sat).unwrap_or(i64::MAX);
    upsert.execute(params![
        seen.local_id,
        seen.channel_id,
        seen.peer,
        seen.funding,
        capacity,
        seen.outbound,
        seen.announced,
        Stored(page.now),
        seen.ready.then_some(height),
    ])?;
    Ok(())
}

fn note_sweep(connection: &Connection, sweep: &SweepRow) -> Result<(), StoreError> {
    let mut local = connection.prepare_cached(
        "SELECT local_id FROM channels WHERE channel_id = ?1 ORDER BY seen_at DESC LIMIT 1",
    )?;
    let local_id: Option<String> = optional(local.query_row([&sweep.channel_id], |row| row.get(0)))?;
    let Some(local_id) = local_id else { return Ok(()) };
    let amount = i64::try_from(sweep.amount_sat).unwrap_or(i64::MAX);
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

/// Follows what closed channels owe until it is in the wallet.
fn follow(connection: &Connection, seen: &ChannelsSeen, height: u32) -> Result<(), StoreError> {
    let sql = "SELECT * FROM channels WHERE closed_at IS NOT NULL AND returned_height IS NULL";
    for row in many(connection, sql, params![])? {
        let claims = seen.claims.iter().filter(|claim| claim.channel_id == row.channel_id);
        let (mut claim_sat, mut claim_height) = (0_u64, row.claim_height);
        for claim in claims {
            claim_sat = claim_sat.saturating_add(claim.amount_sat);
            claim_height = claim_height.max(claim.until_height);
        }
        let owed = row.owed_sat.max(claim_sat);
        // An agreed close pays the wallet itself; after any other the contract is emptied by sweeps.
        let agreed = row.cause.as_deref().is_some_and(|cause| cause.starts_with("agreed"));
        let swept = !row.sweeps.is_empty() && row.sweeps.iter().all(|sweep| sweep.confirmed_height.is_some());
        let returned = claim_sat == 0 && (agreed || owed == 0 || swept);
        let mut update = connection.prepare_cached(
            "UPDATE channels SET closed_height = COALESCE(closed_height, ?2), owed_sat = ?3, claim_sat = ?4,
                                 claim_height = ?5, returned_height = ?6
             WHERE local_id = ?1",
        )?;
        let sat = |sat: u64| i64::try_from(sat).unwrap_or(i64::MAX);
        let last = row.sweeps.iter().filter_map(|sweep| sweep.confirmed_height).max();
        let returned = returned.then(|| last.unwrap_or(height));
        update.execute(params![row.local_id, height, sat(owed), sat(claim_sat), claim_height, returned])?;
    }
    Ok(())
}

fn many(
    connection: &Connection,
    sql: &str,
    of: &[&dyn rusqlite::ToSql],
) -> Result<Vec<ChannelRow>, StoreError> {
    let mut query = connection.prepare_cached(sql)?;
    let mut rows: Vec<ChannelRow> = query.query_map(of, read)?.collect::<Result<_, _>>()?;
    let mut query = connection.prepare_cached("SELECT * FROM sweeps WHERE local_id = ?1 ORDER BY rowid")?;
    for row in &mut rows {
        let channel_id = row.channel_id.clone();
        let sweeps = query.query_map([&row.local_id], |sweep| read_sweep(sweep, &channel_id))?;
        row.sweeps = sweeps.collect::<Result<_, _>>()?;
    }
    Ok(rows)
}

fn sat(row: &Row<'_>, column: &str) -> rusqlite::Result<u64> {
    let value: i64 = row.get(column)?;
    Ok(u64::try_from(value).unwrap_or(0))
}

fn read_sweep(row: &Row<'_>, channel_id: &str) -> rusqlite::Result<SweepRow> {
    Ok(SweepRow {
        channel_id: channel_id.to_owned(),
        txid: row.get("txid")?,
        amount_sat: sat(row, "amount_sat")?,
        sent_height: row.get("sent_height")?,
        confirmed_height: row.get("confirmed_height")?,
    })
}

fn read(row: &Row<'_>) -> rusqlite::Result<ChannelRow> {
    let Stored(seen_at) = row.get("seen_at")?;
    let closed_at: Option<Stored<Timestamp>> = row.get("closed_at")?;
    Ok(ChannelRow {
        channel_id: row.get("channel_id")?,
        local_id: row.get("local_id")?,
        peer: row.get("peer")?,
        funding: row.get("funding")?,
        capacity_sat: sat(row, "capacity_sat")?,
        outbound: row.get("outbound")?,
        announced: row.get("announced")?,
        seen_at,
        opened_height: row.get("opened_height")?,
        closed_at: closed_at.map(|Stored(at)| at),
        closed_height: row.get("closed_height")?,
        cause: row.get("cause")?,
        reason: row.get("reason")?,
        closing_txid: row.get("closing_txid")?,
        spliced_to: row.get("spliced_to")?,
        owed_sat: sat(row, "owed_sat")?,
        claim_sat: sat(row, "claim_sat")?,
        claim_height: row.get("claim_height")?,
        returned_height: row.get("returned_height")?,
        sweeps: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::{World, events};

    fn open(ready: bool) -> ChannelSeen {
        ChannelSeen {
            local_id: "7".to_owned(),
            channel_id: "c7".to_owned(),
            peer: "02aa".to_owned(),
            funding: Some("f:0".to_owned()),
            capacity_sat: 50_000,
            outbound: true,
            announced: false,
            ready,
        }
    }

    fn end(cause: &str) -> ChannelEnd {
        ChannelEnd {
            local_id: "7".to_owned(),
            channel_id: "c7".to_owned(),
            peer: "02aa".to_owned(),
            reason: "because".to_owned(),
            cause: cause.to_owned(),
        }
    }

    fn claim(until_height: Option<u32>) -> ChannelsSeen {
        let claim = ClaimSeen { channel_id: "c7".to_owned(), amount_sat: 49_000, until_height };
        ChannelsSeen { claims: vec![claim], ..ChannelsSeen::default() }
    }

    fn sweep(txid: &str, confirmed_height: Option<u32>) -> ChannelsSeen {
        let sweep = SweepRow {
            channel_id: "c7".to_owned(),
            txid: txid.to_owned(),
            amount_sat: 49_000,
            sent_height: Some(250),
            confirmed_height,
        };
        ChannelsSeen { sweeps: vec![sweep], ..ChannelsSeen::default() }
    }

    #[tokio::test]
    async fn a_forced_close_is_followed_until_its_sweep_is_in_a_block() {
        let world = World::new();
        let (ledger, _) = world.open();
        for (ready, height) in [(false, 100), (true, 106), (true, 107)] {
            let seen = ChannelsSeen { open: vec![open(ready)], ..ChannelsSeen::default() };
            ledger.note_channels(seen, height).await.unwrap();
        }
        ledger.end_channel(end("forced_by_us")).await.unwrap();
        ledger.end_channel(end("restart")).await.unwrap();
        ledger.note_channels(claim(None), 108).await.unwrap();
        ledger.note_channels(claim(Some(252)), 109).await.unwrap();
        ledger.note_closing("7", "closing".to_owned()).await.unwrap();
        // The contract gave it out, and the sweep is not known yet.
        ledger.note_channels(ChannelsSeen::default(), 252).await.unwrap();
        let row = ledger.channel_record("7").await.unwrap().unwrap();
        assert_eq!(
            (row.opened_height, row.closed_height, row.claim_height),
            (Some(106), Some(108), Some(252))
        );
        assert_eq!((row.owed_sat, row.claim_sat, row.returned_height), (49_000, 0, None));
        assert_eq!(row.cause.as_deref(), Some("forced_by_us"), "the first telling stands");
        ledger.note_channels(sweep("cheap", None), 252).await.unwrap();
        ledger.note_channels(sweep("dearer", None), 253).await.unwrap();
        assert_eq!(ledger.channel_record("7").await.unwrap().unwrap().returned_height, None);
        ledger.note_channels(sweep("dearer", Some(254)), 255).await.unwrap();
        ledger.note_channels(ChannelsSeen::default(), 900).await.unwrap();
        let rows = ledger.closed_channels(10).await.unwrap();
        assert_eq!((rows.len(), rows[0].returned_height), (1, Some(254)));
        assert_eq!(rows[0].closing_txid.as_deref(), Some("closing"));
        let txids: Vec<&str> = rows[0].sweeps.iter().map(|sweep| sweep.txid.as_str()).collect();
        assert_eq!(txids, ["dearer"]);
        let told = events(&ledger).await;
        assert!(
            told.iter()
                .any(|event| matches!(event, Event::ChannelClosed { cause, .. } if cause == "forced_by_us"))
        );
    }

    #[tokio::test]
    async fn an_agreed_close_pays_the_wallet_and_an_opening_that_failed_owes_nothing() {
        let world = World::new();
        let (ledger, _) = world.open();
        ledger.end_channel(end("agreed_by_peer")).await.unwrap();
        ledger.note_channels(claim(Some(114)), 108).await.unwrap();
        assert_eq!(ledger.channel_record("7").await.unwrap().unwrap().returned_height, None);
        ledger.note_channels(ChannelsSeen::default(), 114).await.unwrap();
        assert_eq!(ledger.channel_record("7").await.unwrap().unwrap().returned_height, Some(114));
        let unborn =
            ChannelEnd { local_id: "8".to_owned(), channel_id: "c8".to_owned(), ..end("never_opened") };
        ledger.end_channel(unborn).await.unwrap();
        ledger.note_channels(ChannelsSeen::default(), 115).await.unwrap();
        let row = ledger.channel_record("8").await.unwrap().unwrap();
        assert_eq!((row.owed_sat, row.returned_height), (0, Some(115)));
    }
}
