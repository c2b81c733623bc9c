//! Whether the coins that a splice takes are confirmed: the library takes no others, and says so only when it is asked.
//!
//! The wallet counts its own change as spendable from when it is sent. How much of it there is, it does not say: it is
//! what the transactions of our own operations pay out beside what was asked for.

use super::mark::Mark;
use super::most::Most;
use super::{Treasury, TreasuryError, settled};
use crate::ports::CoinsView;
use crate::store::{OperationRow, OperationState};

impl Treasury {
    /// Refuses to put coins into a channel that are there and not confirmed. `needed_sat` is with the fee; `change_sat`
    /// is what [`Treasury::change`] gave.
    pub(super) fn check_confirmed(
        coins: &CoinsView,
        change_sat: u64,
        needed_sat: u64,
        most: &Most,
    ) -> Result<(), TreasuryError> {
        let waiting = waiting(coins);
        let unconfirmed = if needed_sat > coins.spendable_sat {
            // More than there is, is told as that.
            Some(waiting).filter(|waiting| needed_sat <= coins.spendable_sat.saturating_add(*waiting))
        } else {
            let there = coins.spendable_sat.saturating_add(coins.reserved_sat);
            Some(change_sat).filter(|change| needed_sat > there.saturating_sub(*change))
        };
        match unconfirmed.filter(|sat| *sat > 0) {
            Some(sat) => Err(TreasuryError::Senseless {
                code: "coins_unconfirmed",
                text: format!(
                    "{sat} sat of the on-chain wallet are not confirmed yet, and a channel takes only confirmed coins: \
                     they can be used once they are in a block; nothing was done, and {}",
                    most.why
                ),
            }),
            None => Ok(()),
        }
    }

    /// What transactions of ours that are in no block pay back to the wallet, as far as the chain source tells.
    pub(super) async fn change(&self) -> Result<u64, TreasuryError> {
        let parts = &self.0.parts;
        let mut open = parts.ledger.open_operations().await?;
        open.retain(|row| row.state == OperationState::Sent && settled::chooses_coins(&row.kind));
        if open.is_empty() {
            return Ok(0);
        }
        let listed = parts.coins.transactions().await?;
        let mut change = 0_u64;
        for row in open {
            let Some(txid) = self.told(&row).await else { continue };
            let known = listed.iter().find(|tx| tx.txid == txid);
            if known.is_some_and(|tx| tx.confirmed_height.is_some()) {
                continue;
            }
            let Some(away) = away(&row).or(known.map(|tx| tx.amount_sat)) else { continue };
            match parts.coins.contents(&txid, None).await {
                Ok(Some(contents)) => change = change.saturating_add(contents.pays_sat.saturating_sub(away)),
                Ok(None) => {}
                Err(fault) => tracing::debug!(%fault, txid, "what a transaction pays is not known"),
            }
        }
        Ok(change)
    }
}

/// What a transaction of the operation pays to others, or into a channel.
fn away(row: &OperationRow) -> Option<u64> {
    let asked = row.ask["amount_sat"].as_u64()?;
    match row.kind.as_str() {
        // The new funding output has what was in the channel before, too.
        "splice_in" => Mark::of(&row.outcome).capacity_sat?.checked_add(asked),
        _ => Some(asked),
    }
}

/// What is in the wallet and cannot be spent before it is in a block.
pub(super) fn waiting(coins: &CoinsView) -> u64 {
    coins.total_sat.saturating_sub(coins.spendable_sat).saturating_sub(coins.reserved_sat)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{channel, send, tx, world};
    use super::super::{Deed, TreasuryError};

    #[tokio::test]
    async fn a_splice_in_of_coins_that_are_not_confirmed_is_refused_before_it_is_asked_about() {
        let world = world();
        world.node.channels.lock().unwrap().push(channel("6", "f1"));
        *world.node.total.lock().unwrap() = 300_000;
        let splice = |amount_sat| Deed::SpliceIn { channel_id: "c6".to_owned(), amount_sat };
        let refused = async |amount_sat| match world.treasury.preview(&splice(amount_sat)).await {
            Err(TreasuryError::Senseless { code: "coins_unconfirmed", text }) => Some(text),
            Err(other) => panic!("{other}"),
            Ok(_) => None,
        };
        assert_eq!(refused(100_000).await, None);
        // A deposit that waits for a block.
        *world.node.waiting.lock().unwrap() = 250_000;
        let text = refused(100_000).await.expect("it is refused");
        assert!(text.starts_with("250000 sat of the on-chain wallet are not confirmed yet"), "{text}");
        assert!(!world.treasury.preview(&splice(900_000)).await.unwrap().enough, "more than there is");
        *world.node.waiting.lock().unwrap() = 0;

        // The change of a send, which the wallet counts as spendable: one coin of 305,000 sat was there.
        world.treasury.run("rent", send(5_000)).await.unwrap();
        world.node.transactions.lock().unwrap().push(tx("tx1", 5_000, None));
        *world.node.pays.lock().unwrap() = 304_800;
        let text = refused(100_000).await.expect("it is refused");
        assert!(text.starts_with("299800 sat of the on-chain wallet are not confirmed yet"), "{text}");
        // Of two coins one was left.
        *world.node.pays.lock().unwrap() = 104_800;
        assert_eq!(refused(100_000).await, None);
        *world.node.pays.lock().unwrap() = 304_800;
        *world.node.transactions.lock().unwrap() = vec![tx("tx1", 5_000, Some(101))];
        assert_eq!(refused(100_000).await, None, "it is in a block");
    }
}
