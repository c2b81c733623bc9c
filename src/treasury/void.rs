//! Channels that can never come to be: another transaction spent what was to fund them.
//!
//! The library waits for such a channel's transaction for ever, and counts its coins. It is known by the chain: what
//! the funding spends is noted while it waits for a block, and once it waits no more, and another transaction that
//! spends some of it is [`DEEP`] blocks deep, the channel is void. Nothing less counts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use super::{Finding, Mark, Treasury, TreasuryError};
use crate::chain::MOST_BLOCKS;
use crate::ports::{ChannelView, CoinsView, Waits};
use crate::store::{OperationRow, OperationState};

/// A block so deep is not taken back.
const DEEP: u32 = 6;

/// What is known of them.
#[derive(Default)]
pub(super) struct Voids {
    /// The ids of channels that can never come to be, once they were read.
    known: Mutex<Option<BTreeSet<String>>>,
    /// By operation: up to which height it was looked.
    looked: Mutex<BTreeMap<i64, u32>>,
}

impl Treasury {
    /// What the funding of a channel that an operation opens spends, as it is to be noted; `None` when it is known, or
    /// not to be known now.
    pub(super) async fn funded_by(&self, mark: &Mark, channel: &ChannelView) -> Option<Mark> {
        let txid = funding_of(channel).filter(|_| mark.inputs.is_empty() && is_unconfirmed(channel))?;
        match self.0.parts.coins.contents(txid, None).await {
            Ok(contents) => Some(Mark { inputs: contents?.inputs, ..mark.clone() }),
            Err(fault) => {
                tracing::debug!(%fault, txid, "what a channel is funded by is not known yet");
                None
            }
        }
    }

    /// That the channel which `row` opens can never come to be.
    pub(super) async fn voided(
        &self,
        row: &OperationRow,
        mark: &Mark,
        channel: &ChannelView,
        height: u32,
    ) -> Result<Option<Finding>, TreasuryError> {
        let coins = &self.0.parts.coins;
        let Some(funding) = funding_of(channel).filter(|_| is_unconfirmed(channel)) else { return Ok(None) };
        let from = self.looked().get(&row.id).copied().unwrap_or(mark.height);
        if mark.inputs.is_empty() || from >= height || coins.waits(funding).await? {
            return Ok(None);
        }
        for input in &mark.inputs {
            let spent = coins.spent_in_block(input, from).await?;
            let Some((txid, at)) = spent.filter(|(txid, _)| txid != funding) else { continue };
            if at.saturating_add(DEEP) > height.saturating_add(1) {
                return Ok(None);
            }
            let why = format!(
                "another transaction ({txid}, in block {at}) spent the coins that were to fund the channel, so that it can \
                 never open; nothing is in it. Close it by force to have it off the list"
            );
            self.void(&channel.channel_id).await?;
            let facts = json!({ "reason": why, "void_by": txid, "void_height": at });
            return Ok(Some(Finding::new(OperationState::Failed, facts)));
        }
        // A bitcoind was asked for so many blocks; the last ones are looked at again, for they may be taken back.
        let reached = from.saturating_add(MOST_BLOCKS).min(height);
        let again = if reached == height { height.saturating_sub(DEEP).max(from) } else { reached };
        self.looked().insert(row.id, again);
        Ok(None)
    }

    /// Counts nothing in `coins` of channels that can never come to be.
    pub(super) async fn without_voids(
        &self,
        coins: &mut CoinsView,
        channels: &[ChannelView],
    ) -> Result<(), TreasuryError> {
        let voids = self.voids().await?;
        let confirmed =
            |id: &str| channels.iter().any(|channel| channel.channel_id == id && !is_unconfirmed(channel));
        let void = coins
            .claims
            .iter_mut()
            .filter(|claim| voids.contains(&claim.channel_id) && !confirmed(&claim.channel_id));
        for claim in void {
            coins.lightning_sat = coins.lightning_sat.saturating_sub(claim.amount_sat);
            (claim.amount_sat, claim.waits, claim.until_height) = (0, Waits::Never, None);
        }
        Ok(())
    }

    async fn voids(&self) -> Result<BTreeSet<String>, TreasuryError> {
        let known = self.known().clone();
        if let Some(known) = known {
            return Ok(known);
        }
        let read: BTreeSet<String> = self.0.parts.ledger.void_channels().await?.into_iter().collect();
        *self.known() = Some(read.clone());
        Ok(read)
    }

    async fn void(&self, channel_id: &str) -> Result<(), TreasuryError> {
        let mut voids = self.voids().await?;
        voids.insert(channel_id.to_owned());
        *self.known() = Some(voids);
        Ok(())
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Option<BTreeSet<String>>> {
        self.0.voids.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn looked(&self) -> std::sync::MutexGuard<'_, BTreeMap<i64, u32>> {
        self.0.voids.looked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why a channel can never come to be, where that is so.
    pub fn why_void(rows: &[OperationRow]) -> Option<&str> {
        let void = rows.iter().find(|row| row.outcome["void_by"] != Value::Null)?;
        void.outcome["reason"].as_str()
    }
}

fn funding_of(channel: &ChannelView) -> Option<&str> {
    channel.funding.as_deref()?.split(':').next()
}

fn is_unconfirmed(channel: &ChannelView) -> bool {
    !channel.ready && channel.confirmations.unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    use super::super::Deed;
    use super::super::tests::{channel, claim, world};
    use super::*;
    use crate::types::Msat;

    #[tokio::test]
    async fn a_channel_whose_coins_were_spent_elsewhere_is_not_counted() {
        let world = world();
        let open = Deed::OpenChannel {
            peer: "02aa".to_owned(),
            address: "localhost:1".to_owned(),
            amount_sat: 50_000,
            push_msat: Msat::ZERO,
            announce: false,
        };
        let opened = world.treasury.run("open", open).await.unwrap();
        world.node.channels.lock().unwrap().push(channel("7", "f1"));
        world.node.claims.lock().unwrap().push(claim("c7", 49_000));
        world.node.mempool.lock().unwrap().push("f1");
        *world.node.funded_by.lock().unwrap() = vec!["coin:0", "coin:1"];
        assert_eq!(world.look(opened.id).await.0, OperationState::Sent);
        world.node.mempool.lock().unwrap().clear();
        *world.node.funded_by.lock().unwrap() = Vec::new();
        let counted = async || world.treasury.coins().await.unwrap().claims[0].amount_sat;

        // It waits no more, and nothing else spent its coins; then something did, and is not deep enough.
        for (spends, height) in [(None, 101), (Some(("coin:1", "other", 101)), 105)] {
            *world.node.buried.lock().unwrap() = spends.into_iter().collect();
            *world.node.height.lock().unwrap() = height;
            assert_eq!((world.look(opened.id).await.0, counted().await), (OperationState::Sent, 49_000));
        }
        // Its own transaction is no other one, wherever it is.
        *world.node.height.lock().unwrap() = 106;
        *world.node.buried.lock().unwrap() = vec![("coin:0", "f1", 101)];
        assert_eq!(world.look(opened.id).await.0, OperationState::Sent);
        *world.node.buried.lock().unwrap() = vec![("coin:1", "other", 101)];
        *world.node.height.lock().unwrap() = 107;
        let (state, outcome) = world.look(opened.id).await;
        assert_eq!((state, &outcome["void_by"]), (OperationState::Failed, &json!("other")));
        let coins = world.treasury.coins().await.unwrap();
        assert_eq!((coins.claims[0].amount_sat, coins.claims[0].waits), (0, Waits::Never));
        let row = world.treasury.operation(opened.id).await.unwrap();
        assert!(Treasury::why_void(&[row]).is_some_and(|why| why.contains("in block 101")));

        // So it is after a start, and after the channel was closed.
        assert_eq!(world.ledger.void_channels().await.unwrap(), ["c7"]);
        *world.treasury.known() = None;
        world.node.channels.lock().unwrap().clear();
        assert_eq!(counted().await, 0);
        // Should it come to be after all, it is counted.
        world
            .node
            .channels
            .lock()
            .unwrap()
            .push(ChannelView { confirmations: Some(1), ..channel("7", "f1") });
        assert_eq!(counted().await, 49_000);
    }
}
