//! Coins that came to the on-chain wallet from outside, told once each.
//!
//! Invariant: what one of our own moves or a closed channel brought is never told as a deposit. Where it is not known
//! yet which transaction closed a channel, all deposits wait for that, a day of blocks at the most.

use rusqlite::{OptionalExtension, params};

use super::page::Page;
use super::{Ledger, StoreError};
use crate::event::Event;

/// From which block on deposits are told: a wallet that was brought back has older ones.
const TOLD_FROM: &str = "coins.told_from";

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
    /// Tells those of `came` that are deposits and were not told yet, at height `tip`; false where they wait for a
    /// closing transaction that is not known yet.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn note_deposits(&self, came: Vec<Deposit>, tip: u32) -> Result<bool, StoreError> {
        let work = move |page: &mut Page<'_>| {
            let from = told_from(page, tip)?;
            let mut fresh = Vec::new();
            for deposit in came.into_iter().filter(|deposit| deposit.height > from) {
                if !is_told(page, &deposit.txid)? && !is_ours(page, &deposit.txid)? {
                    fresh.push(deposit);
                }
            }
            if fresh.is_empty() {
                return Ok(true);
            }
            if a_closing_is_unknown(page, tip)? {
                return Ok(false);
            }
            for Deposit { txid, amount_sat, height } in fresh {
                page.log(&Event::CoinsArrived { txid, amount_sat, height })?;
            }
            Ok(true)
        };
        self.0.writer.call(work).await
    }
}

fn told_from(page: &Page<'_>, tip: u32) -> Result<u32, StoreError> {
    let mut query = page.connection.prepare_cached("SELECT value FROM settings WHERE name = ?1")?;
    let known: Option<String> = query.query_row([TOLD_FROM], |row| row.get(0)).optional()?;
    if let Some(height) = known.and_then(|text| text.parse().ok()) {
        return Ok(height);
    }
    let sql = "INSERT INTO settings (name, value) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = ?2";
    page.connection.prepare_cached(sql)?.execute(params![TOLD_FROM, tip.to_string()])?;
    Ok(tip)
}

fn is_told(page: &Page<'_>, txid: &str) -> Result<bool, StoreError> {
    // The first condition is the index's.
    let sql = "SELECT EXISTS (SELECT 1 FROM events
        WHERE json_extract(body, '$.kind') NOT IN ('payment_received', 'sale_attributed')
            AND json_extract(body, '$.kind') = 'coins_arrived' AND json_extract(body, '$.txid') = ?1)";
    Ok(page.connection.prepare_cached(sql)?.query_row([txid], |row| row.get(0))?)
}

fn is_ours(page: &Page<'_>, txid: &str) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM channels WHERE closing_txid = ?1)
        OR EXISTS (SELECT 1 FROM sweeps WHERE txid = ?1)
        OR EXISTS (SELECT 1 FROM operations WHERE instr(outcome, ?1) > 0)";
    Ok(page.connection.prepare_cached(sql)?.query_row([txid], |row| row.get(0))?)
}

fn a_closing_is_unknown(page: &Page<'_>, tip: u32) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM channels WHERE closed_at IS NOT NULL AND closing_txid IS NULL
        AND COALESCE(cause, '') <> 'never_opened' AND COALESCE(closed_height, ?1) + 144 >= ?1)";
    Ok(page.connection.prepare_cached(sql)?.query_row([tip], |row| row.get(0))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::{World, events};
    use crate::store::{ChannelEnd, ChannelsSeen};

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
        assert!(ledger.note_deposits(vec![deposit("old", 90)], 100).await.unwrap());
        assert_eq!(told(&ledger).await, Vec::<String>::new(), "it was there before this ledger");
        for _ in 0..2 {
            assert!(ledger.note_deposits(vec![deposit("a", 101), deposit("old", 90)], 101).await.unwrap());
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
        let came = || vec![deposit("closing", 103), deposit("b", 103)];
        assert!(
            !ledger.note_deposits(came(), 103).await.unwrap(),
            "one of them may be the closing transaction"
        );
        ledger.note_closing("7", "closing".to_owned()).await.unwrap();
        assert!(ledger.note_deposits(came(), 103).await.unwrap());
        assert_eq!(told(&ledger).await, ["a", "b"]);
    }
}
