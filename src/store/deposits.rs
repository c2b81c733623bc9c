//! Coins that came to the on-chain wallet from outside, told once each.
//!
//! Invariant: what one of our own moves or a closed channel brought is never told as a deposit. Where it is not known
//! yet which transaction closed a channel, all deposits wait for that, a day of blocks at the most.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension, params};

use super::page::Page;
use super::{Ledger, StoreError};
use crate::event::Event;

/// From which block on deposits are told: a wallet that was brought back has older ones. What came just before the first
/// look is told, too.
const TOLD_FROM: &str = "coins.told_from";

/// So many blocks before it.
const YOUNG: u32 = 6;

/// A transaction that brought coins, in a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deposit {
    /// Its id, hexadecimal.
    pub txid: String,
    /// How much it brought.
    pub amount_sat: u64,
    /// The height of its block.
    pub height: u32,
}

impl Ledger {
    /// Tells those of `came` that are deposits and were not told yet, at height `tip`, and gives the ids of all of
    /// them that need no other look: the others wait for a closing transaction that is not known yet.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn note_deposits(&self, came: Vec<Deposit>, tip: u32) -> Result<Vec<String>, StoreError> {
        let work = move |page: &mut Page<'_>| {
            let from = told_from(page, tip)?;
            let wait = a_closing_is_unknown(page.connection, tip)?;
            let (young, old): (Vec<Deposit>, Vec<Deposit>) =
                came.into_iter().partition(|deposit| deposit.height > from);
            let mut settled: Vec<String> = old.into_iter().map(|deposit| deposit.txid).collect();
            if young.is_empty() {
                return Ok(settled);
            }
            let (told, ours) = (ids(page.connection, TOLD)?, ids(page.connection, OURS)?);
            for Deposit { txid, amount_sat, height } in young {
                if !told.contains(&txid) && !ours.contains(&txid) {
                    if wait {
                        continue;
                    }
                    page.log(&Event::CoinsArrived { txid: txid.clone(), amount_sat, height })?;
                }
                settled.push(txid);
            }
            Ok(settled)
        };
        self.0.writer.call(work).await
    }

    /// Whether deposits wait at height `tip`: it is not known yet which transaction closed a channel.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn deposits_wait(&self, tip: u32) -> Result<bool, StoreError> {
        self.0.readers.read(move |connection| a_closing_is_unknown(connection, tip)).await
    }
}

/// The deposits that were told. The first condition is the index's.
const TOLD: &str = "SELECT json_extract(body, '$.txid') FROM events
    WHERE json_extract(body, '$.kind') NOT IN ('payment_received', 'sale_attributed')
        AND json_extract(body, '$.kind') = 'coins_arrived'";

/// What closed channels brought and what our own moves made: of an outpoint, the transaction. What a move spent is not
/// among it, though its outcome names that, too: a deposit stays one.
const OURS: &str = "SELECT closing_txid FROM channels WHERE closing_txid IS NOT NULL
    UNION SELECT txid FROM sweeps
    UNION SELECT substr(value, 1, 64) FROM (
        SELECT json_extract(outcome, '$.txid') AS value FROM operations
        UNION SELECT json_extract(outcome, '$.funding') FROM operations
        UNION SELECT json_extract(outcome, '$.spliced_to') FROM operations
    ) WHERE value IS NOT NULL";

fn ids(connection: &Connection, sql: &str) -> Result<BTreeSet<String>, StoreError> {
    let mut query = connection.prepare_cached(sql)?;
    Ok(query.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
}

/// From now on deposits are told from another height on: what came since an older ledger was written was told by the
/// one in whose place it was put, or was none.
pub(super) fn tell_anew(connection: &Connection) -> Result<(), StoreError> {
    connection.execute("DELETE FROM settings WHERE name = ?1", [TOLD_FROM])?;
    Ok(())
}

fn told_from(page: &Page<'_>, tip: u32) -> Result<u32, StoreError> {
    let mut query = page.connection.prepare_cached("SELECT value FROM settings WHERE name = ?1")?;
    let known: Option<String> = query.query_row([TOLD_FROM], |row| row.get(0)).optional()?;
    if let Some(height) = known.and_then(|text| text.parse().ok()) {
        return Ok(height);
    }
    let sql = "INSERT INTO settings (name, value) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = ?2";
    let from = tip.saturating_sub(YOUNG);
    page.connection.prepare_cached(sql)?.execute(params![TOLD_FROM, from.to_string()])?;
    Ok(from)
}

fn a_closing_is_unknown(connection: &Connection, tip: u32) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM channels WHERE closed_at IS NOT NULL AND closing_txid IS NULL
        AND COALESCE(cause, '') <> 'never_opened' AND COALESCE(closed_height, ?1) + 144 >= ?1
        AND (owed_sat > 0 OR COALESCE(last_sat, 1) > 0))";
    Ok(connection.prepare_cached(sql)?.query_row([tip], |row| row.get(0))?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::store::tests::{World, events};
    use crate::store::{ChannelEnd, ChannelsSeen, NewGeneration};

    fn deposit(txid: &str, height: u32) -> Deposit {
        Deposit { txid: txid.to_owned(), amount_sat: 50_000, height }
    }

    async fn told(ledger: &Ledger) -> Vec<String> {
        let txid = |event: Event| match event {
            Event::CoinsArrived { txid, .. } => Some(txid),
            _ => None,
        };
        events(ledger).await.into_iter().filter_map(txid).collect()
    }

    #[tokio::test]
    async fn a_deposit_is_told_once_and_no_closed_channel_s_coins_are_one() {
        let world = World::new();
        let (ledger, _) = world.open();
        assert_eq!(ledger.note_deposits(vec![deposit("old", 90)], 100).await.unwrap(), ["old"]);
        assert_eq!(told(&ledger).await, Vec::<String>::new(), "it was there before this ledger");
        for _ in 0..2 {
            let settled =
                ledger.note_deposits(vec![deposit("a", 101), deposit("old", 90)], 101).await.unwrap();
            assert_eq!(settled, ["old", "a"]);
        }
        assert_eq!(told(&ledger).await, ["a"]);

        let end = ChannelEnd {
            local_id: "7".to_owned(),
            channel_id: "c7".to_owned(),
            peer: "02aa".to_owned(),
            reason: "because".to_owned(),
            cause: "agreed_by_peer".to_owned(),
        };
        ledger.end_channel(end).await.unwrap();
        ledger.note_channels(ChannelsSeen::default(), 102).await.unwrap();
        let came = || vec![deposit("a", 101), deposit("closing", 103), deposit("b", 103)];
        assert!(ledger.deposits_wait(103).await.unwrap());
        assert_eq!(
            ledger.note_deposits(came(), 103).await.unwrap(),
            ["a"],
            "one of the others may be the closing transaction"
        );
        assert_eq!(told(&ledger).await, ["a"]);
        ledger.note_closing("7", "closing".to_owned()).await.unwrap();
        assert!(!ledger.deposits_wait(103).await.unwrap());
        assert_eq!(ledger.note_deposits(came(), 103).await.unwrap(), ["a", "closing", "b"]);
        assert_eq!(told(&ledger).await, ["a", "b"]);
    }

    #[tokio::test]
    async fn a_deposit_that_a_move_spent_before_it_was_told_is_one_still() {
        let world = World::new();
        let (ledger, _) = world.open();
        ledger.note_deposits(Vec::new(), 100).await.unwrap();
        let [spent, funding, splice] = ["1a", "2b", "3c"].map(|byte| byte.repeat(32));
        for (key, outcome) in [
            ("send", json!({ "txid": "own", "before": { "inputs": [format!("{spent}:0")] } })),
            ("open", json!({ "funding": format!("{funding}:1") })),
            ("splice", json!({ "spliced_to": format!("{splice}:0") })),
        ] {
            ledger.begin_marked_operation(key, key, json!({}), outcome, None).await.unwrap();
        }
        let came = [&*spent, "own", &*funding, &*splice].map(|txid| deposit(txid, 101));
        assert_eq!(ledger.note_deposits(came.to_vec(), 101).await.unwrap().len(), 4);
        assert_eq!(told(&ledger).await, [spent]);
    }

    #[tokio::test]
    async fn an_older_ledger_tells_deposits_from_the_height_on_at_which_it_was_put_back() {
        let world = World::new();
        let (ledger, _) = world.open();
        ledger.note_deposits(Vec::new(), 100).await.unwrap();
        drop(ledger);
        let anew =
            NewGeneration { number: 2, doubtful_below: 0, why: crate::store::RESTORED, copy_made_at: None };
        let (ledger, _) = Ledger::open_anew(&world.path(), world.clock.clone(), anew).unwrap();
        let came = |txid, height| vec![deposit(txid, height)];
        ledger.note_deposits(came("closing since the copy", 150), 200).await.unwrap();
        assert_eq!(told(&ledger).await, Vec::<String>::new());
        ledger.note_deposits(came("fresh", 201), 201).await.unwrap();
        assert_eq!(told(&ledger).await, ["fresh"]);
    }
}
