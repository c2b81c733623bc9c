//! Closed channels: why each is gone, what of it was ours, and when that was in the wallet.
//!
//! Invariants: a channel's close is written with its event in one transaction; what a record says was owed was
//! seen, in the channel's contract, in a sweep or in the wallet, and is `None` otherwise; once everything is in the
//! wallet the record changes only to say what nobody had seen before.

use std::collections::BTreeSet;

use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::channels::{ChannelsSeen, many, signed};
use super::page::Page;
use super::rows::Stored;
use super::{Ledger, StoreError, optional};
use crate::event::Event;

/// Less than this is no output of a transaction: of a channel with less in it, nothing comes.
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
    /// are, and one without a record gets one.
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
                     ON CONFLICT (local_id) DO UPDATE SET closed_at = ?5, cause = ?6, reason = ?7",
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

    /// Notes what the transactions that closed a channel brought to the wallet, once; where nobody saw what was owed, it
    /// is that.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn note_came(&self, local_id: &str, amount_sat: u64) -> Result<(), StoreError> {
        let local_id = local_id.to_owned();
        let work = move |page: &mut Page<'_>| {
            // What was owed and seen was told when it was home.
            let sql = "SELECT channel_id, peer FROM channels
                       WHERE local_id = ?1 AND closed_at IS NOT NULL AND came_sat IS NULL AND owed_sat = 0";
            let mut unseen = page.connection.prepare_cached(sql)?;
            let unseen = unseen
                .query_row(params![local_id], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)));
            let sql = "UPDATE channels SET came_sat = ?2, owed_sat = IIF(owed_sat = 0, ?2, owed_sat)
                       WHERE local_id = ?1 AND closed_at IS NOT NULL AND came_sat IS NULL";
            page.connection.prepare_cached(sql)?.execute(params![local_id, signed(amount_sat)])?;
            match optional(unseen)? {
                Some((channel_id, peer)) if amount_sat > 0 => home(page, channel_id, peer, amount_sat),
                _ => Ok(()),
            }
        };
        self.0.writer.call(work).await
    }
}

/// Says that what was ours in a closed channel is in the wallet.
fn home(page: &Page<'_>, channel_id: String, peer: String, amount_sat: u64) -> Result<(), StoreError> {
    page.log(&Event::ChannelCoinsHome { channel_id, peer, amount_sat })?;
    Ok(())
}

/// What was owed, as far as it is known: a sum that was seen, or nothing where nothing can have been.
pub(super) fn owed(seen_sat: u64, cause: Option<&str>, last_sat: Option<u64>) -> Option<u64> {
    let nothing = cause == Some(NEVER_OPENED) || last_sat == Some(0);
    (seen_sat > 0 || nothing).then_some(seen_sat)
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
        let mut update = connection.prepare_cached(
            "UPDATE channels SET closed_height = COALESCE(closed_height, ?2), owed_sat = ?3, claim_sat = ?4,
                                 claim_height = ?5, returned_height = ?6
             WHERE local_id = ?1",
        )?;
        let last = row.sweeps.iter().filter_map(|sweep| sweep.confirmed_height).max();
        let returned = returned.then(|| last.unwrap_or(height));
        update.execute(params![
            row.local_id,
            height,
            signed(owed),
            signed(claim_sat),
            claim_height,
            returned
        ])?;
        if returned.is_some() && owed > 0 {
            home(page, row.channel_id, row.peer, owed)?;
        }
    }
    Ok(())
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
mod tests {
    use super::*;
    use crate::store::tests::{World, events};
    use crate::store::{ChannelSeen, ClaimSeen, SweepRow};

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
            ours_sat: Some(49_000),
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
        let claim = ClaimSeen { channel_id: "c7".to_owned(), amount_sat: 49_000, until_height, came: false };
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
    async fn what_was_recovered_is_on_record_once() {
        let world = World::new();
        let (ledger, _) = world.open();
        let seen = ChannelsSeen { open: vec![open(true)], ..ChannelsSeen::default() };
        ledger.note_channels(seen, 106).await.unwrap();
        let recovered = |channel_id: &str| RecoveredChannel {
            channel_id: channel_id.to_owned(),
            peer: "02aa".to_owned(),
            funding: "f:0".to_owned(),
        };
        for _ in 0..2 {
            ledger.end_recovered(vec![recovered("c7"), recovered("c8")]).await.unwrap();
        }
        let rows = ledger.closed_channels(9).await.unwrap();
        let told: Vec<_> =
            rows.iter().map(|row| (&*row.local_id, row.cause.as_deref(), row.last_sat)).collect();
        assert_eq!(told, [("c8", Some("recovered"), None), ("7", Some("recovered"), Some(49_000))]);
        let closed =
            |event: &Event| matches!(event, Event::ChannelClosed { cause, .. } if cause == "recovered");
        assert_eq!(events(&ledger).await.iter().filter(|event| closed(event)).count(), 2);
        // What is still to come of it is followed as of any other.
        ledger.note_channels(claim(Some(250)), 110).await.unwrap();
        assert_eq!(ledger.channel_record("7").await.unwrap().unwrap().owed_sat, Some(49_000));
        ledger.note_channels(sweep("s", Some(251)), 251).await.unwrap();
        assert_eq!(ledger.channel_record("7").await.unwrap().unwrap().returned_height, Some(251));
    }

    #[tokio::test]
    async fn a_forced_close_is_followed_until_its_sweep_is_in_a_block() {
        let world = World::new();
        let (ledger, _) = world.open();
        for (ready, height) in [(false, 100), (true, 106), (true, 107)] {
            let seen = ChannelsSeen { open: vec![open(ready)], ..ChannelsSeen::default() };
            ledger.note_channels(seen, height).await.unwrap();
        }
        assert_eq!(Ledger::has_open_channel(&world.path()).unwrap(), Some(true));
        ledger.end_channel(end("forced_by_us")).await.unwrap();
        ledger.end_channel(end("restart")).await.unwrap();
        assert_eq!(Ledger::has_open_channel(&world.path()).unwrap(), Some(false));
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
        assert_eq!((row.owed_sat, row.claim_sat, row.returned_height), (Some(49_000), 0, None));
        assert_eq!(row.cause.as_deref(), Some("forced_by_us"), "the first telling stands");
        ledger.note_channels(sweep("cheap", None), 252).await.unwrap();
        ledger.note_channels(sweep("dearer", None), 253).await.unwrap();
        assert_eq!(ledger.channel_record("7").await.unwrap().unwrap().returned_height, None);
        ledger.note_channels(sweep("dearer", Some(254)), 255).await.unwrap();
        ledger.note_channels(ChannelsSeen::default(), 900).await.unwrap();
        let rows = ledger.closed_channels(10).await.unwrap();
        assert_eq!((rows.len(), rows[0].returned_height), (1, Some(254)));
        assert_eq!(rows[0].closing_txid.as_deref(), Some("closing"));
        let home = |event: &Event| matches!(event, Event::ChannelCoinsHome { amount_sat: 49_000, .. });
        assert_eq!(
            events(&ledger).await.iter().filter(|event| home(event)).count(),
            1,
            "told once, when it was in"
        );
        let txids: Vec<&str> = rows[0].sweeps.iter().map(|sweep| sweep.txid.as_str()).collect();
        assert_eq!(txids, ["dearer"]);
        let told = events(&ledger).await;
        assert!(
            told.iter()
                .any(|event| matches!(event, Event::ChannelClosed { cause, .. } if cause == "forced_by_us"))
        );
    }

    #[tokio::test]
    async fn a_channel_is_not_back_while_an_output_of_it_waits_for_its_sweep() {
        let world = World::new();
        let (ledger, _) = world.open();
        let swept = |sweeps: &[(&str, u64, Option<u32>)], unsent: bool| {
            let sweep = |&(txid, amount_sat, confirmed_height): &(&str, u64, Option<u32>)| SweepRow {
                amount_sat,
                ..sweep(txid, confirmed_height).sweeps.remove(0)
            };
            let unsent = unsent.then(|| "c7".to_owned()).into_iter().collect();
            ChannelsSeen { sweeps: sweeps.iter().map(sweep).collect(), unsent, ..ChannelsSeen::default() }
        };
        let home = async || {
            let told = events(&ledger).await.into_iter().filter_map(|event| match event {
                Event::ChannelCoinsHome { amount_sat, .. } => Some(amount_sat),
                _ => None,
            });
            told.collect::<Vec<u64>>()
        };
        ledger.end_channel(end("forced_by_us")).await.unwrap();
        let first = ("first", 20_000, Some(253));
        ledger.note_channels(swept(&[first], true), 253).await.unwrap();
        let row = ledger.channel_record("7").await.unwrap().unwrap();
        assert_eq!((row.owed_sat, row.returned_height), (None, None));
        assert_eq!(home().await, Vec::<u64>::new());
        ledger.note_channels(swept(&[first, ("second", 29_000, None)], false), 254).await.unwrap();
        // One more output goes with the second in one transaction, which takes the place of its own.
        ledger.note_channels(swept(&[first, ("both", 30_000, None)], false), 255).await.unwrap();
        ledger.note_channels(swept(&[first, ("both", 30_000, Some(256))], false), 256).await.unwrap();
        let row = ledger.channel_record("7").await.unwrap().unwrap();
        assert_eq!(row.returned_height, Some(256));
        let txids: Vec<&str> = row.sweeps.iter().map(|sweep| sweep.txid.as_str()).collect();
        assert_eq!(txids, ["first", "both"]);
        assert_eq!(home().await.len(), 1);
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
        // What the wallet has is not due, however long the library goes on naming it.
        ledger
            .end_channel(ChannelEnd {
                local_id: "6".to_owned(),
                channel_id: "c6".to_owned(),
                ..end("agreed_by_us")
            })
            .await
            .unwrap();
        let mut came = claim(Some(119));
        came.claims[0].channel_id = "c6".to_owned();
        ledger.note_channels(came.clone(), 114).await.unwrap();
        assert_eq!(ledger.channel_record("6").await.unwrap().unwrap().claim_sat, 49_000);
        came.claims[0].came = true;
        ledger.note_channels(came, 115).await.unwrap();
        let row = ledger.channel_record("6").await.unwrap().unwrap();
        assert_eq!((row.claim_sat, row.owed_sat, row.returned_height), (0, Some(49_000), Some(115)));
        let unborn =
            ChannelEnd { local_id: "8".to_owned(), channel_id: "c8".to_owned(), ..end("never_opened") };
        ledger.end_channel(unborn).await.unwrap();
        ledger.note_channels(ChannelsSeen::default(), 115).await.unwrap();
        let row = ledger.channel_record("8").await.unwrap().unwrap();
        assert_eq!((row.owed_sat, row.returned_height), (Some(0), Some(115)));
    }

    #[tokio::test]
    async fn what_nobody_saw_come_home_is_not_called_nothing() {
        let world = World::new();
        let (ledger, _) = world.open();
        let seen = ChannelsSeen { open: vec![open(true)], ..ChannelsSeen::default() };
        ledger.note_channels(seen.clone(), 100).await.unwrap();
        ledger.end_channel(end("agreed_by_us")).await.unwrap();
        // A look that began before the close says nothing of what is owed.
        ledger.note_channels(seen, 101).await.unwrap();
        let row = ledger.channel_record("7").await.unwrap().unwrap();
        assert_eq!((row.owed_sat, row.returned_height), (None, None));
        ledger.note_channels(ChannelsSeen::default(), 120).await.unwrap();
        let row = ledger.channel_record("7").await.unwrap().unwrap();
        assert_eq!((row.owed_sat, row.returned_height), (None, Some(120)));
        assert_eq!((row.last_sat, row.last_height), (Some(49_000), Some(100)));
        // The wallet has the transaction.
        ledger.note_came("7", 48_500).await.unwrap();
        ledger.note_came("7", 1).await.unwrap();
        let row = ledger.channel_record("7").await.unwrap().unwrap();
        assert_eq!(
            (row.owed_sat, row.came_sat, row.back_sat()),
            (Some(48_500), Some(48_500), Some((48_500, true)))
        );

        // By force, with the contract gone before anybody looked: the sweep tells.
        world.clock.advance(std::time::Duration::from_secs(1));
        let again = || ChannelSeen { local_id: "8".to_owned(), ..open(true) };
        let seen = ChannelsSeen { open: vec![again()], ..ChannelsSeen::default() };
        ledger.note_channels(seen, 200).await.unwrap();
        ledger.end_channel(ChannelEnd { local_id: "8".to_owned(), ..end("forced_by_peer") }).await.unwrap();
        ledger.note_channels(ChannelsSeen::default(), 201).await.unwrap();
        let row = ledger.channel_record("8").await.unwrap().unwrap();
        assert_eq!((row.owed_sat, row.returned_height), (None, None), "the sweep may be to come");
        ledger.note_channels(sweep("late", Some(203)), 204).await.unwrap();
        ledger.note_channels(ChannelsSeen::default(), 205).await.unwrap();
        let row = ledger.channel_record("8").await.unwrap().unwrap();
        assert_eq!((row.owed_sat, row.returned_height), (Some(49_000), Some(203)));
        assert_eq!(row.back_sat(), Some((49_000, false)), "the sweep has a fee");
        ledger.note_came("8", 48_600).await.unwrap();
        let row = ledger.channel_record("8").await.unwrap().unwrap();
        assert_eq!((row.owed_sat, row.back_sat()), (Some(49_000), Some((48_600, true))));

        // Nothing was ever in it.
        let empty = ChannelSeen { local_id: "9".to_owned(), ours_sat: Some(0), ..open(true) };
        let seen = ChannelsSeen { open: vec![empty], ..ChannelsSeen::default() };
        ledger.note_channels(seen, 300).await.unwrap();
        ledger.end_channel(ChannelEnd { local_id: "9".to_owned(), ..end("forced_by_peer") }).await.unwrap();
        ledger.note_channels(ChannelsSeen::default(), 301).await.unwrap();
        let row = ledger.channel_record("9").await.unwrap().unwrap();
        assert_eq!((row.owed_sat, row.returned_height), (Some(0), Some(301)));
    }
}
