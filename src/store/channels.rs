//! Channels as they were and are: the node forgets one that is closed, this does not.
//!
//! Invariants: a record is never removed; one of a channel that is closed is changed by `closings` alone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rusqlite::{Connection, Row, params};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::page::Page;
use super::rows::Stored;
use super::{FundingRow, Ledger, StoreError, closings, fundings, optional, pool, schema};
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

/// A channel's record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    /// Why, a stable word such as `agreed_by_peer`, `restart` or `recovered`.
    pub cause: Option<String>,
    /// Why, in the library's words.
    pub reason: Option<String>,
    /// The transaction that closed it.
    pub closing_txid: Option<String>,
    /// `txid:vout` of the funding output of its last splice, from when the splice was agreed.
    #[serde(skip)]
    pub spliced_to: Option<String>,
    /// What was ours in it when it closed, satoshi, as its contract said: about what comes back, for closing it has
    /// fees, too. `null` while that is not known.
    pub owed_sat: Option<u64>,
    /// What the wallet got of it, satoshi, after all fees; `null` while its transactions are not known.
    pub came_sat: Option<u64>,
    /// What of it was too little for an output of its own, satoshi, and is lost to the fee; `null` where nothing was,
    /// or nobody saw how much.
    pub lost_sat: Option<u64>,
    /// What was ours in it when it was last seen open, satoshi.
    pub last_sat: Option<u64>,
    /// All that was ours in it before any fee when it was last seen open, millisatoshi; `null` where a payment or a splice
    /// was under way, or nobody saw it.
    pub side_msat: Option<u64>,
    /// What its close took of that, millisatoshi: the closing transaction’s fee as far as it was ours to pay, what was too
    /// little for an output, and the sweep’s fee; `null` while it is open, and until both sums are known.
    pub closing_cost_msat: Option<u64>,
    /// When `last_sat` was seen.
    pub last_at: Option<Timestamp>,
    /// The height at which that was.
    #[serde(skip)]
    pub last_height: Option<u32>,
    /// What of that its contract has not given out yet, satoshi.
    pub claim_sat: u64,
    /// The height at which it does, at the latest.
    pub claim_height: Option<u32>,
    /// The height at which everything was in the wallet: that of the block of the last transaction that brought it, where
    /// the wallet has that.
    pub returned_height: Option<u32>,
    /// Its funding outputs: the first, and one for each splice, in their order.
    pub fundings: Vec<FundingRow>,
    /// The transactions that brought it there; none after an agreed close, which pays the wallet itself.
    pub sweeps: Vec<SweepRow>,
}

impl ChannelRow {
    /// What of a closed channel comes back or came, satoshi, and whether that is known exactly: it is what the wallet
    /// got, and until that is seen about what was owed.
    pub fn back_sat(&self) -> Option<(u64, bool)> {
        let exactly = self.came_sat.or(self.owed_sat.filter(|owed| *owed == 0));
        exactly.map(|sat| (sat, true)).or(self.owed_sat.map(|sat| (sat, false)))
    }
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

    /// The closed channels, the last one first, at most `limit`.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn closed_channels(&self, limit: u32) -> Result<Vec<ChannelRow>, StoreError> {
        let sql =
            "SELECT * FROM channels WHERE closed_at IS NOT NULL ORDER BY closed_at DESC, rowid DESC LIMIT ?1";
        self.0.readers.read(move |connection| many(connection, sql, params![limit])).await
    }

    /// The closed channels of which it is not known yet what they brought, at most `limit`: first those in which something
    /// was ours, the last one first. One that never had a funding brings nothing; another node can make any number of
    /// those, and they crowd out none.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn channels_to_follow(&self, limit: u32) -> Result<Vec<ChannelRow>, StoreError> {
        let sql = "SELECT * FROM channels WHERE closed_at IS NOT NULL AND came_sat IS NULL AND funding IS NOT NULL
                       AND COALESCE(cause, '') <> 'never_opened'
                   ORDER BY owed_sat > 0 OR COALESCE(last_sat, 1) > 0 DESC, closed_at DESC, rowid DESC LIMIT ?1";
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

    /// The records of these channels, by our own ids of them.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn channel_records(&self, local_ids: &[&str]) -> Result<Vec<ChannelRow>, StoreError> {
        let ids = json!(local_ids).to_string();
        let sql = "SELECT * FROM channels WHERE local_id IN (SELECT value FROM json_each(?1))";
        self.0.readers.read(move |connection| many(connection, sql, params![ids])).await
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

/// The records that `sql` gives, in three questions however many they are.
pub(super) fn many(
    connection: &Connection,
    sql: &str,
    of: &[&dyn rusqlite::ToSql],
) -> Result<Vec<ChannelRow>, StoreError> {
    let mut query = connection.prepare_cached(sql)?;
    let mut rows: Vec<ChannelRow> = query.query_map(of, read)?.collect::<Result<_, _>>()?;
    if rows.is_empty() {
        return Ok(rows);
    }
    let ids = json!(rows.iter().map(|row| &row.local_id).collect::<Vec<_>>()).to_string();
    let mut sweeps: BTreeMap<String, Vec<SweepRow>> = BTreeMap::new();
    let mut query = connection.prepare_cached(SWEEPS)?;
    for sweep in query.query_map([&ids], |row| Ok((row.get("local_id")?, read_sweep(row)?)))? {
        let (local_id, sweep) = sweep?;
        sweeps.entry(local_id).or_default().push(sweep);
    }
    let mut fundings = fundings::of(connection, &ids)?;
    for row in &mut rows {
        row.sweeps = sweeps.remove(&row.local_id).unwrap_or_default();
        row.sweeps.iter_mut().for_each(|sweep| sweep.channel_id.clone_from(&row.channel_id));
        row.fundings = fundings.remove(&row.local_id).unwrap_or_default();
    }
    Ok(rows)
}

/// The sweeps of these channels, each channel's in their order.
const SWEEPS: &str =
    "SELECT * FROM sweeps WHERE local_id IN (SELECT value FROM json_each(?1) AS names) ORDER BY rowid";

fn sat(row: &Row<'_>, column: &str) -> rusqlite::Result<u64> {
    let value: i64 = row.get(column)?;
    Ok(u64::try_from(value).unwrap_or(0))
}

/// All but the channel's id, which is the record's.
fn read_sweep(row: &Row<'_>) -> rusqlite::Result<SweepRow> {
    Ok(SweepRow {
        channel_id: String::new(),
        txid: row.get("txid")?,
        amount_sat: sat(row, "amount_sat")?,
        sent_height: row.get("sent_height")?,
        confirmed_height: row.get("confirmed_height")?,
    })
}

fn read(row: &Row<'_>) -> rusqlite::Result<ChannelRow> {
    let Stored(seen_at) = row.get("seen_at")?;
    let at = |column| {
        let at: Option<Stored<Timestamp>> = row.get(column)?;
        Ok::<_, rusqlite::Error>(at.map(|Stored(at)| at))
    };
    let (cause, last_sat): (Option<String>, Option<i64>) = (row.get("cause")?, row.get("last_sat")?);
    let came_sat: Option<i64> = row.get("came_sat")?;
    let last_sat = last_sat.map(|sat| u64::try_from(sat).unwrap_or(0));
    let owed_sat = closings::owed(sat(row, "owed_sat")?, cause.as_deref(), last_sat);
    let came_sat = came_sat.map(|sat| u64::try_from(sat).unwrap_or(0));
    let closed_at = at("closed_at")?;
    let lost_sat =
        closings::lost(came_sat, owed_sat, last_sat, cause.as_deref()).filter(|_| closed_at.is_some());
    let side_msat: Option<i64> = row.get("side_msat")?;
    let side_msat = side_msat.and_then(|msat| u64::try_from(msat).ok());
    let row = ChannelRow {
        channel_id: row.get("channel_id")?,
        local_id: row.get("local_id")?,
        peer: row.get("peer")?,
        funding: row.get("funding")?,
        capacity_sat: sat(row, "capacity_sat")?,
        outbound: row.get("outbound")?,
        announced: row.get("announced")?,
        seen_at,
        opened_height: row.get("opened_height")?,
        closed_at,
        closed_height: row.get("closed_height")?,
        cause,
        reason: row.get("reason")?,
        closing_txid: row.get("closing_txid")?,
        spliced_to: row.get("spliced_to")?,
        owed_sat,
        came_sat,
        lost_sat,
        last_sat,
        side_msat,
        closing_cost_msat: None,
        last_at: at("last_at")?,
        last_height: row.get("last_height")?,
        claim_sat: sat(row, "claim_sat")?,
        claim_height: row.get("claim_height")?,
        returned_height: row.get("returned_height")?,
        fundings: Vec::new(),
        sweeps: Vec::new(),
    };
    let closing_cost_msat = closings::cost(&row);
    Ok(ChannelRow { closing_cost_msat, ..row })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::ChannelEnd;
    use crate::store::tests::World;

    #[tokio::test]
    async fn channels_that_another_node_opens_and_drops_crowd_out_none_with_coins() {
        let world = World::new();
        let (ledger, _) = world.open();
        let seen = |n: u32, funding: Option<String>, ours_sat: u64| ChannelSeen {
            local_id: n.to_string(),
            channel_id: format!("c{n}"),
            peer: "02aa".to_owned(),
            funding,
            capacity_sat: 50_000,
            outbound: n == 0,
            announced: false,
            ready: n == 0,
            ours_sat: Some(ours_sat),
            side_msat: None,
        };
        let mut open = vec![seen(0, Some("f0:0".to_owned()), 49_000)];
        open.extend((1..=5).map(|n| seen(n, None, 0)));
        open.extend((6..=9).map(|n| seen(n, Some(format!("f{n}:0")), 0)));
        ledger.note_channels(ChannelsSeen { open, ..ChannelsSeen::default() }, 100).await.unwrap();
        for n in 0..=9 {
            world.clock.advance(std::time::Duration::from_secs(1));
            let end = ChannelEnd {
                local_id: n.to_string(),
                channel_id: format!("c{n}"),
                peer: "02aa".to_owned(),
                reason: "because".to_owned(),
                cause: "forced_by_peer".to_owned(),
            };
            ledger.end_channel(end).await.unwrap();
        }
        let found = ledger.channels_to_follow(3).await.unwrap();
        let found: Vec<&str> = found.iter().map(|row| row.local_id.as_str()).collect();
        assert_eq!(found, ["0", "9", "8"]);
    }

    #[tokio::test]
    async fn no_stranger_takes_the_id_of_a_channel() {
        let world = World::new();
        let (ledger, _) = world.open();
        let ours = ChannelSeen {
            local_id: "7".to_owned(),
            channel_id: "c7".to_owned(),
            peer: "02aa".to_owned(),
            funding: Some("f7:0".to_owned()),
            capacity_sat: 50_000,
            outbound: true,
            announced: true,
            ready: true,
            ours_sat: Some(9_500),
            side_msat: None,
        };
        let seen = ChannelsSeen { open: vec![ours], ..ChannelsSeen::default() };
        ledger.note_channels(seen, 100).await.unwrap();
        world.clock.advance(std::time::Duration::from_secs(1));
        // Until a channel is funded, its id is what the node that opens it says.
        let end = |local_id: &str, channel_id: &str| ChannelEnd {
            local_id: local_id.to_owned(),
            channel_id: channel_id.to_owned(),
            peer: "02ee".to_owned(),
            reason: "because".to_owned(),
            cause: "never_opened".to_owned(),
        };
        ledger.end_channel(end("8", "c7")).await.unwrap();
        ledger.end_channel(end("9", "c9")).await.unwrap();
        let called = async |id: &str| ledger.channel_called(id).await.unwrap().unwrap().local_id;
        assert_eq!((called("c7").await.as_str(), called("c9").await.as_str()), ("7", "9"));
        assert_eq!(ledger.channel_called("8").await.unwrap().unwrap().channel_id, "8");
    }

    #[tokio::test]
    async fn many_records_are_read_at_once_each_with_what_is_its_own() {
        let world = World::new();
        let (ledger, _) = world.open();
        let seen = |n: u32| ChannelSeen {
            local_id: n.to_string(),
            channel_id: format!("c{n}"),
            peer: "02aa".to_owned(),
            funding: Some(format!("f{n}:0")),
            capacity_sat: 50_000,
            outbound: true,
            announced: false,
            ready: true,
            ours_sat: Some(9_500),
            side_msat: None,
        };
        let open = || (1..=3).map(seen).collect();
        ledger.note_channels(ChannelsSeen { open: open(), ..ChannelsSeen::default() }, 100).await.unwrap();
        ledger.splice_agreed("c2".to_owned(), "g2:0".to_owned()).await.unwrap();
        let sweep = |n: u32, txid: &str| SweepRow {
            channel_id: format!("c{n}"),
            txid: txid.to_owned(),
            amount_sat: u64::from(n) * 1_000 + u64::try_from(txid.len()).unwrap(),
            sent_height: None,
            confirmed_height: Some(120),
        };
        let sweeps = vec![sweep(3, "late"), sweep(1, "s"), sweep(3, "z")];
        let now = ChannelsSeen { open: open(), sweeps, ..ChannelsSeen::default() };
        ledger.note_channels(now, 121).await.unwrap();
        let rows = ledger.channel_records(&["3", "1", "2", "9"]).await.unwrap();
        let mut told: Vec<(String, Vec<String>, Vec<String>)> = rows
            .into_iter()
            .map(|row| {
                assert!(row.sweeps.iter().all(|sweep| sweep.channel_id == row.channel_id));
                let sweeps = row.sweeps.into_iter().map(|sweep| sweep.txid).collect();
                (row.local_id, row.fundings.into_iter().map(|one| one.funding).collect(), sweeps)
            })
            .collect();
        told.sort();
        let row = |id: &str, fundings: &[&str], sweeps: &[&str]| {
            let all = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
            (id.to_owned(), all(fundings), all(sweeps))
        };
        let expected = [
            row("1", &["f1:0"], &["s"]),
            row("2", &["f2:0", "g2:0"], &[]),
            row("3", &["f3:0"], &["late", "z"]),
        ];
        assert_eq!(told, expected);
        // Neither question walks a table.
        let walked = |connection: &Connection| {
            Ok([SWEEPS, fundings::OF].map(|sql| super::super::plan::walks(connection, sql)))
        };
        let walked = ledger.0.readers.read(walked).await.unwrap();
        assert!(
            walked.iter().flatten().all(|step| step.contains("json_each") || step.contains("names")),
            "{walked:?}"
        );
    }
}
