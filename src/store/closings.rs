//! Closed channels: why each is gone, what of it was ours, and when that was in the wallet.
//!
//! Invariants: a channel's close is written with its event in one transaction; what a record says was owed was
//! seen, in the channel's contract, in a sweep or in the wallet, and is `None` otherwise; once everything is in the
//! wallet the record changes only to say what nobody had seen before.

use std::collections::BTreeSet;

use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::channels::{Brought, ChannelRow, ChannelsSeen, many, signed};
use super::page::Page;
use super::rows::Stored;
use super::{Ledger, StoreError, optional};
use crate::event::Event;

/// With this or less a side gets no output of an agreed close, and with less than this none of any other: of a channel
/// in which that is all, nothing comes.
const DUST_SAT: u64 = 354;
/// So deep below the tip, a closing transaction has given out what it ever will, unless it is in a contract.
const BURIED: u32 = 6;

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

/// A channel that a recovery took up: the library tells of it no more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveredChannel {
    /// Its id, hexadecimal.
    pub channel_id: String,
    /// The other node's key, hexadecimal.
    pub peer: String,
    /// `txid:vout` of its funding output, as far as the recovered state knew it.
    pub funding: String,
}

/// The cause of the end of such a channel, and why it came to it.
const RECOVERED: [&str; 2] =
    ["recovered", "its state was recovered (tollhouse recover), and the other side was asked to close it"];

impl Ledger {
    /// Ends the records of channels that a recovery took up, with an event each; those that have ended stay as they
    /// are, and one without a record gets one. What was ours in them may have changed since it was last noted, so that
    /// nobody can say what their closes cost.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn end_recovered(&self, channels: Vec<RecoveredChannel>) -> Result<(), StoreError> {
        let work = move |page: &mut Page<'_>| {
            for RecoveredChannel { channel_id, peer, funding } in channels {
                let sql =
                    "SELECT * FROM channels WHERE channel_id = ?1 ORDER BY closed_at IS NOT NULL, rowid DESC";
                let known = many(page.connection, sql, params![channel_id])?.into_iter().next();
                if known.as_ref().is_some_and(|row| row.closed_at.is_some()) {
                    continue;
                }
                let local_id = known.map_or_else(|| channel_id.clone(), |row| row.local_id);
                let mut upsert = page.connection.prepare_cached(
                    "INSERT INTO channels (local_id, channel_id, peer, funding, capacity_sat, outbound, announced,
                                           seen_at, closed_at, cause, reason)
                     VALUES (?1, ?2, ?3, ?4, 0, 0, 0, ?5, ?5, ?6, ?7)
                     ON CONFLICT (local_id) DO UPDATE SET closed_at = ?5, cause = ?6, reason = ?7, side_msat = NULL",
                )?;
                let [cause, reason] = RECOVERED;
                upsert.execute(params![
                    local_id,
                    channel_id,
                    peer,
                    funding,
                    Stored(page.now),
                    cause,
                    reason
                ])?;
                let (reason, cause) = (reason.to_owned(), cause.to_owned());
                page.log(&Event::ChannelClosed { channel_id, peer, reason, cause, local_id })?;
            }
            Ok(())
        };
        self.0.writer.call(work).await
    }

    /// Notes that a channel is closed, and says so in the log. The id that a channel had before it was funded may be another
    /// channel's, for the other node chose it: it is called by our own id of it then.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn end_channel(&self, end: ChannelEnd) -> Result<(), StoreError> {
        let work = move |page: &mut Page<'_>| {
            let ChannelEnd { local_id, channel_id, peer, reason, cause } = end.clone();
            let others = "SELECT EXISTS (SELECT 1 FROM channels WHERE channel_id = ?1 AND local_id <> ?2)
                          AND NOT EXISTS (SELECT 1 FROM channels WHERE local_id = ?2 AND funding IS NOT NULL)";
            let is_others: bool = page
                .connection
                .prepare_cached(others)?
                .query_row([&channel_id, &local_id], |row| row.get(0))?;
            let channel_id = if is_others { local_id.clone() } else { channel_id };
            let mut upsert = page.connection.prepare_cached(
                "INSERT INTO channels (local_id, channel_id, peer, capacity_sat, outbound, announced, seen_at,
                                       closed_at, cause, reason)
                 VALUES (?1, ?2, ?3, 0, 0, 0, ?4, ?4, ?5, ?6)
                 ON CONFLICT (local_id) DO UPDATE SET channel_id = ?2, closed_at = ?4, cause = ?5, reason = ?6
                 WHERE closed_at IS NULL",
            )?;
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

    /// Notes what the transactions that closed a channel brought to the wallet, once; where nobody saw what was owed, it
    /// is that. It is told as home, if it was not told yet.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn note_came(&self, local_id: &str, came: Brought) -> Result<(), StoreError> {
        let local_id = local_id.to_owned();
        let work = move |page: &mut Page<'_>| {
            let sql = "UPDATE channels SET came_sat = ?2, owed_sat = IIF(owed_sat = 0, ?2, owed_sat),
                                           returned_height = MIN(COALESCE(returned_height, ?3), ?3)
                       WHERE local_id = ?1 AND closed_at IS NOT NULL AND came_sat IS NULL
                       RETURNING channel_id, peer";
            let mut noted = page.connection.prepare_cached(sql)?;
            let of = params![local_id, signed(came.amount_sat), came.height];
            let noted: Option<(String, String)> =
                optional(noted.query_row(of, |row| Ok((row.get(0)?, row.get(1)?))))?;
            match noted {
                Some((channel_id, peer)) if !told_home(page.connection, &channel_id)? => {
                    home(page, channel_id, peer, (came.amount_sat, true))
                }
                _ => Ok(()),
            }
        };
        self.0.writer.call(work).await
    }

    /// Tells that a closed channel's coins are home, about so many as were owed, if that was not told yet: which
    /// transaction brought them, nobody found.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn note_unfound(&self, local_id: &str) -> Result<(), StoreError> {
        let local_id = local_id.to_owned();
        let work = move |page: &mut Page<'_>| {
            let sql = "SELECT * FROM channels WHERE local_id = ?1 AND returned_height IS NOT NULL";
            match many(page.connection, sql, params![local_id])?.into_iter().next() {
                Some(row) if !told_home(page.connection, &row.channel_id)? => {
                    let back = row.back_sat().unwrap_or_default();
                    home(page, row.channel_id, row.peer, back)
                }
                _ => Ok(()),
            }
        };
        self.0.writer.call(work).await
    }
}

/// Says that what was ours in a closed channel is in the wallet: so much, exactly or about.
fn home(
    page: &Page<'_>,
    channel_id: String,
    peer: String,
    (amount_sat, exactly): (u64, bool),
) -> Result<(), StoreError> {
    if amount_sat > 0 {
        page.log(&Event::ChannelCoinsHome { channel_id, peer, amount_sat, exactly })?;
    }
    Ok(())
}

/// Whether that was said. The first condition is the index's.
fn told_home(connection: &Connection, channel_id: &str) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM events
        WHERE json_extract(body, '$.kind') NOT IN ('payment_received', 'sale_attributed')
            AND json_extract(body, '$.kind') = 'channel_coins_home'
            AND json_extract(body, '$.channel_id') = ?1)";
    Ok(connection.prepare_cached(sql)?.query_row([channel_id], |row| row.get(0))?)
}

/// What was owed, as far as it is known: a sum that was seen, or nothing where nothing can have been.
pub(super) fn owed(seen_sat: u64, cause: Option<&str>, last_sat: Option<u64>) -> Option<u64> {
    let nothing = cause == Some(NEVER_OPENED) || last_sat.is_some_and(|sat| sat < DUST_SAT);
    (seen_sat > 0 || nothing).then_some(seen_sat)
}

/// What of a closed channel was too little for an output of its own: what was owed or was last seen in it, where nothing
/// of it came.
pub(super) fn lost(
    came: Option<u64>,
    owed: Option<u64>,
    last: Option<u64>,
    cause: Option<&str>,
) -> Option<u64> {
    let nothing = came == Some(0) || came.is_none() && owed == Some(0) && cause != Some(NEVER_OPENED);
    nothing.then(|| owed.filter(|sat| *sat > 0).or(last)).flatten().filter(|sat| *sat > 0)
}

/// What a close took of what was ours, millisatoshi, once it is known what came back. More may come than was there, as of
/// a payment under way or from a side that broke the rules: then nobody can tell.
pub(super) fn cost(row: &ChannelRow) -> Option<u64> {
    let closed = row.closed_at.is_some() && row.cause.as_deref() != Some(NEVER_OPENED);
    let (came_sat, _) = row.back_sat().filter(|(_, exactly)| closed && *exactly)?;
    row.side_msat?.checked_sub(came_sat.checked_mul(1_000)?)
}

/// The cause of a channel that never came to be.
const NEVER_OPENED: &str = "never_opened";

/// Follows what closed channels owe until it is in the wallet.
pub(super) fn follow(page: &Page<'_>, seen: &ChannelsSeen, height: u32) -> Result<(), StoreError> {
    let connection = page.connection;
    forget_replaced(connection, seen)?;
    let sql = "SELECT * FROM channels WHERE closed_at IS NOT NULL AND returned_height IS NULL";
    for row in many(connection, sql, params![])? {
        // Looked at before it closed: `seen` does not tell what its contract owes.
        if seen.open.iter().any(|open| open.local_id == row.local_id) {
            continue;
        }
        let claims = seen.claims.iter().filter(|claim| claim.channel_id == row.channel_id);
        let (mut claim_sat, mut all_sat, mut claim_height) = (0_u64, 0_u64, row.claim_height);
        for claim in claims {
            all_sat = all_sat.saturating_add(claim.amount_sat);
            if claim.came {
                continue;
            }
            claim_sat = claim_sat.saturating_add(claim.amount_sat);
            claim_height = claim_height.max(claim.until_height);
        }
        let swept_sat = row.sweeps.iter().fold(0_u64, |sum, sweep| sum.saturating_add(sweep.amount_sat));
        // The sweeps do not tell all of it while an output waits for one.
        let unsent = seen.unsent.contains(&row.channel_id);
        let owed = match row.owed_sat.unwrap_or(0).max(all_sat) {
            0 if unsent => 0,
            0 => swept_sat,
            seen => seen,
        };
        // An agreed close pays the wallet itself; after any other the contract is emptied by sweeps.
        let agreed = row.cause.as_deref().is_some_and(|cause| cause.starts_with("agreed"));
        let swept = !row.sweeps.is_empty() && row.sweeps.iter().all(|sweep| sweep.confirmed_height.is_some());
        let little = row.last_sat.is_some_and(|sat| sat < DUST_SAT) || row.owed_sat == Some(0);
        let buried = height >= row.closed_height.unwrap_or(height).saturating_add(BURIED);
        let returned = claim_sat == 0 && !unsent && (agreed || swept || (owed == 0 && (little || buried)));
        let paid = row.closing_txid.as_ref().filter(|_| agreed).and_then(|txid| seen.brought.get(txid));
        let came = match paid {
            Some(paid) => Some(*paid),
            None if returned && swept => swept_home(connection, &row, seen)?,
            None => None,
        };
        let claim_sat = if paid.is_some() { 0 } else { claim_sat };
        let mut update = connection.prepare_cached(
            "UPDATE channels SET closed_height = COALESCE(closed_height, ?2), owed_sat = ?3, claim_sat = ?4,
                                 claim_height = ?5, returned_height = ?6, came_sat = ?7
             WHERE local_id = ?1",
        )?;
        let last = row.sweeps.iter().filter_map(|sweep| sweep.confirmed_height).max();
        let returned = came.map(|came| came.height).or(returned.then(|| last.unwrap_or(height)));
        let (came, owed) = (
            came.map(|came| came.amount_sat),
            if owed == 0 { came.map_or(0, |came| came.amount_sat) } else { owed },
        );
        update.execute(params![
            row.local_id,
            height,
            signed(owed),
            signed(claim_sat),
            claim_height,
            returned,
            came.map(signed)
        ])?;
        // How much an agreed close brought is known as soon as its transaction is: that is waited for.
        if returned.is_some() && (came.is_some() || !agreed) {
            home(page, row.channel_id, row.peer, came.map_or((owed, false), |sat| (sat, true)))?;
        }
    }
    Ok(())
}

/// What the sweeps of a channel brought, where the wallet has them all and none swept another channel, too.
fn swept_home(
    connection: &Connection,
    row: &ChannelRow,
    seen: &ChannelsSeen,
) -> Result<Option<Brought>, StoreError> {
    let mut shared = connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM sweeps WHERE txid = ?1 AND local_id <> ?2)")?;
    let mut all = Brought { amount_sat: 0, height: 0 };
    for sweep in &row.sweeps {
        let shared: bool = shared.query_row(params![sweep.txid, row.local_id], |row| row.get(0))?;
        let Some(one) = seen.brought.get(&sweep.txid).filter(|_| !shared) else { return Ok(None) };
        all.amount_sat = all.amount_sat.saturating_add(one.amount_sat);
        all.height = all.height.max(one.height);
    }
    Ok(Some(all))
}

/// Forgets sweeps in no block that the node names no more: an output that came later is swept in one transaction with
/// the outputs of such a sweep.
fn forget_replaced(connection: &Connection, seen: &ChannelsSeen) -> Result<(), StoreError> {
    let of: BTreeSet<&str> = seen.sweeps.iter().map(|sweep| sweep.channel_id.as_str()).collect();
    for channel_id in of {
        let named = seen.sweeps.iter().filter(|sweep| sweep.channel_id == channel_id);
        let named: Vec<&str> = named.map(|sweep| sweep.txid.as_str()).collect();
        let sql = "DELETE FROM sweeps WHERE confirmed_height IS NULL
            AND local_id IN (SELECT local_id FROM channels WHERE channel_id = ?1 AND returned_height IS NULL)
            AND txid NOT IN (SELECT value FROM json_each(?2))";
        connection.prepare_cached(sql)?.execute(params![channel_id, json!(named).to_string()])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
