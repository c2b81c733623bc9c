//! One spend of the wallet's coins after the other: the library does not mark what a transaction spends before
//! it sees that transaction on the chain source, so two in a row could choose the same coins, and the second
//! would take the place of the first.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::SemaphorePermit;

use super::{Deed, Treasury, TreasuryError};
use crate::store::{OperationRow, OperationState};

/// Between two looks at whether the wallet knows a transaction.
const PAUSE: Duration = Duration::from_millis(500);

/// How long a deed waits for it.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// A transaction that the wallet does not know after this long was not taken by the chain source: its coins are
/// free, and whoever spends them ends it.
const YOUNG: Duration = Duration::from_secs(10 * 60);

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
                None => self.0.turn.acquire().await.map_err(|_| TreasuryError::Stopping),
            },
        }
    }

    /// An operation whose spend the wallet does not know, when `deed` would choose coins beside it.
    async fn unknown(&self, deed: &Deed, synced: bool) -> Result<Option<OperationRow>, TreasuryError> {
        if !chooses_coins(deed.kind()) {
            return Ok(None);
        }
        let parts = &self.0.parts;
        let now = parts.clock.now();
        let mut open = parts.ledger.open_operations().await?;
        open.retain(|row| chooses_coins(&row.kind) && now <= row.begun_at.plus(YOUNG));
        if open.is_empty() {
            return Ok(None);
        }
        let channels = parts.node.view().await.channels;
        let known: BTreeSet<String> =
            parts.coins.transactions().await?.into_iter().map(|tx| tx.txid).collect();
        let told = |row: &OperationRow| {
            let its_own = |local_id: &str| row.outcome["local_id"] == local_id;
            let channel = channels.iter().find(|channel| its_own(&channel.local_id));
            let funding = channel.and_then(|channel| channel.funding.as_deref()?.split(':').next());
            row.outcome["txid"].as_str().or(funding).map(str::to_owned)
        };
        let is_unknown = |row: &OperationRow| match told(row) {
            Some(txid) => !known.contains(&txid),
            // The node took it and has not said its transaction; or a crash hid whether there is one, which one
            // look at the chain tells.
            None => row.state == OperationState::Sent || !synced,
        };
        Ok(open.into_iter().find(is_unknown))
    }
}

/// Whether the wallet chooses coins for it.
fn chooses_coins(kind: &str) -> bool {
    matches!(kind, "send" | "send_all" | "open_channel" | "splice_in")
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
        world.treasury.run("second", send(6_000)).await.unwrap();
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
