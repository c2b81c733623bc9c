//! One spend of the wallet's coins after the other: the library does not mark what a transaction spends before
//! it sees that transaction on the chain source, so two in a row could choose the same coins, and the second
//! would take the place of the first.
//!
//! With a bitcoind it may see one only in its block: what entered the mempool in the second of a look, after it,
//! is not among what is new at the next. Then the second spend is refused until that block.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::SemaphorePermit;

use super::{Deed, Mark, Treasury, TreasuryError};
use crate::ports::CoinsView;
use crate::store::{OperationRow, OperationState};

/// Between two looks at whether the wallet knows a transaction.
const PAUSE: Duration = Duration::from_millis(500);

/// How long a deed waits for it.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// A transaction that neither the wallet nor the chain source knows after this long was never taken: its coins
/// are free, and whoever spends them ends it.
const YOUNG: Duration = Duration::from_secs(10 * 60);

/// So many of the newest operations may have begun since.
pub(super) const RECENT: u32 = 256;

/// The most that a transaction is thought to pay as its fee, satoshi.
const DEAREST_FEE_SAT: u64 = 100_000;

/// Operations whose spend the wallet was seen to know.
pub(super) type Learnt = Mutex<BTreeSet<i64>>;

impl Treasury {
    /// The turn to do `deed`: when it chooses coins, only once the wallet knows what those before it spend.
    ///
    /// # Errors
    /// When one of them is not known after a while.
    pub(super) async fn turn_to(&self, deed: &Deed) -> Result<SemaphorePermit<'_>, TreasuryError> {
        let mut waits_for = None;
        let looking = async {
            let mut synced = false;
            loop {
                let turn = self.0.turn.acquire().await.map_err(|_| TreasuryError::Stopping)?;
                match self.unknown(deed, synced).await? {
                    None => return Ok(turn),
                    Some(row) => waits_for = Some(row),
                }
                // Whoever looks up what became of it needs the turn, too.
                drop(turn);
                synced |= self.0.parts.control.sync().await.is_ok();
                tokio::time::sleep(PAUSE.min(self.0.patience / 4)).await;
            }
        };
        match tokio::time::timeout(self.0.patience, looking).await {
            Ok(turn) => turn,
            Err(_) => match waits_for {
                Some(row) => Err(TreasuryError::CoinsBusy(Box::new(row))),
                // Another deed had the turn all the while.
                None => {
                    let turn = self.0.turn.acquire().await.map_err(|_| TreasuryError::Stopping)?;
                    match self.unknown(deed, false).await? {
                        None => Ok(turn),
                        Some(row) => Err(TreasuryError::CoinsBusy(Box::new(row))),
                    }
                }
            },
        }
    }

    /// An operation whose spend the wallet does not know, when `deed` would choose coins beside it.
    async fn unknown(&self, deed: &Deed, synced: bool) -> Result<Option<OperationRow>, TreasuryError> {
        if !chooses_coins(deed.kind()) {
            return Ok(None);
        }
        let parts = &self.0.parts;
        let mut rows = parts.ledger.open_operations().await?;
        // A channel may be ready, and its opening done, before its transaction is in a block.
        let recent = parts.ledger.operations(i64::MAX, RECENT).await?;
        rows.extend(recent.into_iter().filter(|row| row.state == OperationState::Done && self.is_young(row)));
        for row in self.learn(rows).await? {
            let young = self.is_young(&row);
            let unknown = match self.told(&row).await {
                // What its coins are spent by may be in no block for days.
                Some(txid) => young || parts.coins.waits(&txid).await?,
                // The node took it and has not said its transaction; or a crash hid whether there is one, which
                // one look at the chain tells.
                None => young && (row.state == OperationState::Sent || !synced),
            };
            if unknown {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }

    /// Whether its transaction may still be on its way to the chain source.
    pub(super) fn is_young(&self, row: &OperationRow) -> bool {
        self.0.parts.clock.now() <= row.begun_at.plus(YOUNG)
    }

    /// Notes which of these spends the wallet knows, and gives the others. The wallet lists a transaction of its
    /// own, some chain sources only once it is in a block; before that its coins are seen to be gone.
    pub(super) async fn learn(
        &self,
        mut open: Vec<OperationRow>,
    ) -> Result<Vec<OperationRow>, TreasuryError> {
        open.retain(|row| chooses_coins(&row.kind));
        if open.is_empty() {
            return Ok(open);
        }
        let coins = &self.0.parts.coins;
        let listed: BTreeSet<String> = coins.transactions().await?.into_iter().map(|tx| tx.txid).collect();
        let sums = coins.coins().await?;
        Ok(self.unlearnt(open, &sums, &listed).await)
    }

    /// The same, where these are the wallet's sums and it listed these transactions before that.
    pub(super) async fn unlearnt(
        &self,
        mut open: Vec<OperationRow>,
        sums: &CoinsView,
        listed: &BTreeSet<String>,
    ) -> Vec<OperationRow> {
        let learnt = |row: &OperationRow| self.0.learnt.lock().is_ok_and(|learnt| learnt.contains(&row.id));
        open.retain(|row| chooses_coins(&row.kind) && !learnt(row));
        let mut others = Vec::new();
        for row in open {
            let known = match self.told(&row).await {
                Some(txid) => listed.contains(&txid) || are_gone(&row, sums),
                None => false,
            };
            if known && let Ok(mut learnt) = self.0.learnt.lock() {
                learnt.insert(row.id);
            } else {
                others.push(row);
            }
        }
        others
    }

    /// The transaction of an operation, as far as the node said it.
    pub(super) async fn told(&self, row: &OperationRow) -> Option<String> {
        if let Some(txid) = row.outcome["txid"].as_str() {
            return Some(txid.to_owned());
        }
        let local_id = row.outcome["local_id"].as_str()?;
        let view = self.0.parts.node.view().await;
        let channel = view.channels.into_iter().find(|channel| channel.local_id == local_id)?;
        channel.funding?.split(':').next().map(str::to_owned)
    }
}

/// Whether the wallet chooses coins for it.
pub(super) fn chooses_coins(kind: &str) -> bool {
    matches!(kind, "send" | "send_all" | "open_channel" | "splice_in")
}

/// What of the wallet may be spent or is kept back: its own change is among it, what others sent is with its first block.
/// `None` where nothing may be spent, for then what is kept back may be coins of others.
pub(super) fn trusted(coins: &CoinsView) -> Option<u64> {
    (coins.spendable_sat > 0).then(|| coins.spendable_sat.saturating_add(coins.reserved_sat))
}

/// Whether the wallet has just so much less than before that it must know of the spend: in all, or without what others
/// sent meanwhile.
fn are_gone(row: &OperationRow, coins: &CoinsView) -> bool {
    let mark = Mark::of(&row.outcome);
    let Some(before) = mark.total_sat else { return false };
    match row.ask["amount_sat"].as_u64() {
        Some(amount) => {
            let gone = |before: u64, now: u64| {
                let less = before.saturating_sub(now);
                (amount..=amount.saturating_add(DEAREST_FEE_SAT)).contains(&less)
            };
            let of_trusted = mark.trusted_sat.zip(trusted(coins));
            gone(before, coins.total_sat) || of_trusted.is_some_and(|(before, now)| gone(before, now))
        }
        // All but what is kept back.
        None => before.saturating_sub(coins.total_sat) > before / 2,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::{World, channel, send, tx, world};
    use super::*;
    use crate::types::Msat;

    /// Whose spend is waited for in vain; nothing is recorded, and the node is not asked.
    async fn waits_for(world: &World, deed: Deed) -> i64 {
        let asked = *world.node.asked.lock().unwrap();
        let refused = world.treasury.run("refused", deed).await.unwrap_err();
        let TreasuryError::CoinsBusy(row) = refused else { panic!("{refused}") };
        assert!(world.ledger.operation_of_key("refused").await.unwrap().is_none());
        assert_eq!(*world.node.asked.lock().unwrap(), asked);
        row.id
    }

    #[tokio::test]
    async fn no_coins_are_chosen_beside_a_spend_that_the_wallet_does_not_know() {
        let mut world = world();
        world.be_impatient();
        world.node.channels.lock().unwrap().push(channel("6", "f1"));
        let first = world.treasury.run("first", send(5_000)).await.unwrap();
        assert_eq!(first.outcome["txid"], "tx1");
        let open = Deed::OpenChannel {
            peer: "02aa".to_owned(),
            address: "localhost:1".to_owned(),
            amount_sat: 50_000,
            push_msat: Msat::ZERO,
            announce: false,
        };
        let splice = |amount_sat| Deed::SpliceIn { channel_id: "c6".to_owned(), amount_sat };
        for deed in [send(6_000), open.clone(), splice(9_000)] {
            assert_eq!(waits_for(&world, deed).await, first.id);
        }
        // A key that is known and what takes no coins of the wallet wait for nothing.
        assert_eq!(world.treasury.run("first", send(5_000)).await.unwrap(), first);
        let out =
            Deed::SpliceOut { channel_id: "c6".to_owned(), address: "bcrt1q".to_owned(), amount_sat: 9_000 };
        world.treasury.run("out", out).await.unwrap();

        // The wallet learns of it from the chain.
        *world.node.chain.lock().unwrap() = Some(vec![tx("tx1", 5_000, None)]);
        let opened = world.treasury.run("open", open).await.unwrap();
        assert_eq!(opened.outcome["local_id"], "7");
        // The peer has not accepted, so that its coins are still to be chosen; then they are, and not seen.
        assert_eq!(waits_for(&world, send(6_000)).await, opened.id);
        world.node.channels.lock().unwrap().push(channel("7", "f2"));
        assert_eq!(waits_for(&world, send(6_000)).await, opened.id);
        // Ready, and the operation done, while nothing is in a block.
        world.node.channels.lock().unwrap().iter_mut().for_each(|channel| channel.ready = true);
        assert_eq!(world.look(opened.id).await.0, OperationState::Done);
        assert_eq!(waits_for(&world, send(6_000)).await, opened.id);
        world.node.transactions.lock().unwrap().push(tx("f2", 50_000, None));
        world.treasury.run("second", send(6_000)).await.unwrap();
    }

    #[tokio::test]
    async fn what_the_chain_never_took_holds_up_nothing_for_ever() {
        let mut world = world();
        world.be_impatient();
        let first = world.treasury.run("first", send(5_000)).await.unwrap();
        world.clock.advance(YOUNG);
        assert_eq!(waits_for(&world, send(6_000)).await, first.id);
        world.clock.advance(Duration::from_secs(1));
        // It waits for a block, and the wallet was not told of it.
        world.node.mempool.lock().unwrap().push("tx1");
        assert_eq!(waits_for(&world, send(6_000)).await, first.id);
        world.node.mempool.lock().unwrap().clear();
        world.treasury.run("second", send(6_000)).await.unwrap();
    }

    #[tokio::test]
    async fn coins_that_are_gone_tell_that_the_wallet_knows() {
        let mut world = world();
        world.be_impatient();
        *world.node.total.lock().unwrap() = 300_000;
        let first = world.treasury.run("first", send(5_000)).await.unwrap();
        // Less by something else that went, such as a deposit that was taken back.
        for other in [295_001, 300_000 - 5_000 - DEAREST_FEE_SAT - 1] {
            *world.node.total.lock().unwrap() = other;
            assert_eq!(waits_for(&world, send(6_000)).await, first.id, "{other}");
        }
        *world.node.total.lock().unwrap() = 294_800;
        world.treasury.reconcile().await.unwrap();
        // What came in since hides that again.
        *world.node.total.lock().unwrap() = 300_000;
        let second = world.treasury.run("second", send(6_000)).await.unwrap();
        // A deposit comes before the wallet was seen with less: what it may spend tells.
        *world.node.total.lock().unwrap() = 1_300_000;
        *world.node.waiting.lock().unwrap() = 1_000_000;
        assert_eq!(waits_for(&world, send(7_000)).await, second.id);
        *world.node.total.lock().unwrap() = 1_293_800;
        world.treasury.run("third", send(7_000)).await.unwrap();
    }

    #[tokio::test]
    async fn who_waited_for_the_turn_alone_looks_all_the_same() {
        let mut world = world();
        world.be_impatient();
        let first = world.treasury.run("first", send(5_000)).await.unwrap();
        let held = world.treasury.0.turn.acquire().await.unwrap();
        let second = world.treasury.run("second", send(6_000));
        let let_go = async {
            tokio::time::sleep(world.treasury.0.patience * 2).await;
            drop(held);
        };
        let (second, ()) = tokio::join!(second, let_go);
        assert!(matches!(second, Err(TreasuryError::CoinsBusy(row)) if row.id == first.id));
    }

    #[tokio::test]
    async fn what_a_crash_hid_is_looked_for_on_the_chain_first() {
        let mut world = world();
        world.be_impatient();
        *world.node.cut_off.lock().unwrap() = true;
        let hidden = world.interrupted("hidden", &send(5_000)).await;
        assert_eq!(waits_for(&world, send(6_000)).await, hidden);
        *world.node.cut_off.lock().unwrap() = false;
        let sent = world.treasury.run("second", send(6_000)).await.unwrap();
        assert_eq!(sent.outcome["txid"], json!("tx1"));
    }
}
