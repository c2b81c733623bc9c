//! A channel's record, as it is read.
//!
//! Invariant: nothing here writes.

use std::collections::BTreeMap;

use rusqlite::{Connection, Row, params};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::SweepRow;
use crate::store::rows::Stored;
use crate::store::{FundingRow, Ledger, StoreError, closings, fundings};
use crate::types::Timestamp;

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

/// The records that `sql` gives, in three questions however many they are.
pub(in crate::store) fn many(
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
pub(super) const SWEEPS: &str =
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
