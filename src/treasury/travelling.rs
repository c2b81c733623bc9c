//! Coins that our own operations took from the wallet: they are counted once, wherever they are.
//!
//! The wallet learns what a transaction of ours spends only when it sees it on the chain source; until then the sums
//! are made less by it here. And a splice's coins have left the wallet before the channel's contract has them, which is
//! with the first block: meanwhile they are told apart.

use std::collections::BTreeSet;

use super::mark::Mark;
use super::standing::{fee_noted, fee_of_one};
use super::{Treasury, TreasuryError};
use crate::ports::{ChannelView, CoinsView, NodeView, Waits};
use crate::store::{OperationRow, OperationState};

impl Treasury {
    /// Takes from `coins` what was just spent, and adds what is on its way into a channel. `listed` are the wallet's
    /// transactions, asked for before the sums.
    pub(super) async fn follow(
        &self,
        coins: &mut CoinsView,
        listed: &BTreeSet<String>,
        channels: &[ChannelView],
    ) -> Result<(), TreasuryError> {
        let mut sent = self.0.parts.ledger.open_operations().await?;
        sent.retain(|row| row.state == OperationState::Sent);
        coins.splicing_sat = splicing(&sent, coins, channels);
        coins.leaving_sat = leaving(&sent, coins, channels);
        for row in self.unlearnt(sent, coins, listed).await {
            // After a start the wallet is told of all that waits, and what it has since may hide that it knows.
            let of_this_run = row.begun_at >= self.0.begun;
            let Some(txid) = self.told(&row).await.filter(|_| of_this_run) else { continue };
            // What the chain source never took spends nothing; one that cannot be asked says no such thing.
            if !self.is_young(&row) && matches!(self.0.parts.coins.waits(&txid).await, Ok(false)) {
                continue;
            }
            let reserve = if row.ask["reserve_too"] == true { coins.reserved_sat } else { 0 };
            let all = coins.spendable_sat.saturating_add(reserve);
            let taken = row.ask["amount_sat"].as_u64().unwrap_or(all);
            coins.total_sat = coins.total_sat.saturating_sub(taken);
            coins.spendable_sat = coins.spendable_sat.saturating_sub(taken);
            coins.unseen_sat = coins.unseen_sat.saturating_add(taken);
        }
        // Of coins that are gone, nothing is kept back.
        coins.reserved_sat = coins.reserved_sat.min(coins.total_sat);
        Ok(())
    }
}

impl Treasury {
    /// The node at this moment, its on-chain sums less what was just sent, as [`Treasury::coins`] has them.
    pub async fn node(&self) -> NodeView {
        let mut view = self.0.parts.node.view().await;
        if view.running
            && let Ok(coins) = self.coins().await
        {
            view.onchain_spendable_sat = view.onchain_spendable_sat.saturating_sub(coins.unseen_sat);
        }
        view
    }
}

/// What splices take out of channels whose contracts have it still, with their fees as far as they are known.
fn leaving(sent: &[OperationRow], coins: &CoinsView, channels: &[ChannelView]) -> u64 {
    let alone = sent.iter().filter(|row| !row.outcome["spliced_to"].is_null()).count() == 1;
    let leaves = |row: &OperationRow| {
        let amount = row.ask["amount_sat"].as_u64().filter(|_| row.kind == "splice_out")?;
        let to = row.outcome["spliced_to"].as_str()?;
        let channel = spliced(row, channels)?;
        let there = channel.funding.as_deref() != Some(to) && has(coins, channel, amount);
        let fee = || if alone { fee_of_one(coins, amount) } else { None };
        there.then(|| amount.saturating_add(fee().or_else(|| fee_noted(row)).unwrap_or(0)))
    };
    sent.iter().filter_map(leaves).fold(0, u64::saturating_add)
}

/// What splices took from the wallet and no contract has yet.
fn splicing(sent: &[OperationRow], coins: &CoinsView, channels: &[ChannelView]) -> u64 {
    let waits = |row: &OperationRow| {
        let amount = row.ask["amount_sat"].as_u64().filter(|_| row.kind == "splice_in")?;
        let to = row.outcome["spliced_to"].as_str()?;
        let channel = spliced(row, channels)?;
        let there = channel.funding.as_deref() == Some(to) || has(coins, channel, amount);
        (!there).then_some(amount)
    };
    sent.iter().filter_map(waits).fold(0, u64::saturating_add)
}

/// The channel that a splice is of.
fn spliced<'a>(row: &OperationRow, channels: &'a [ChannelView]) -> Option<&'a ChannelView> {
    let local_id = Mark::of(&row.outcome).local_id?;
    channels.iter().find(|channel| channel.local_id == local_id)
}

/// Whether the contract has `amount` more than the channel: it counts a splice from its first block on, the channel
/// only when both sides saw it deep enough. They are not exact to the fee, so half is enough to know it by.
fn has(coins: &CoinsView, channel: &ChannelView, amount: u64) -> bool {
    let claims = coins.claims.iter();
    let own = claims.filter(|claim| claim.channel_id == channel.channel_id && claim.waits == Waits::Closing);
    let contract = own.map(|claim| claim.amount_sat).fold(0, u64::saturating_add);
    let ours = (channel.spendable_msat / 1_000).saturating_add(channel.reserved_sat);
    contract >= ours.saturating_add(amount / 2)
}

#[cfg(test)]
mod tests {
    use super::super::Deed;
    use super::super::tests::{channel, claim, send, tx, world};
    use super::*;

    async fn sums(treasury: &Treasury) -> (u64, u64, u64) {
        let coins = treasury.coins().await.unwrap();
        (coins.total_sat, coins.unseen_sat, coins.splicing_sat)
    }

    #[tokio::test]
    async fn what_was_just_sent_is_not_counted_any_more() {
        let world = world();
        *world.node.total.lock().unwrap() = 300_000;
        world.treasury.run("first", send(5_000)).await.unwrap();
        assert_eq!(sums(&world.treasury).await, (295_000, 5_000, 0));
        // The wallet saw it: its own sum counts.
        *world.node.total.lock().unwrap() = 294_800;
        assert_eq!(sums(&world.treasury).await, (294_800, 0, 0));
        *world.node.total.lock().unwrap() = 400_000;
        assert_eq!(sums(&world.treasury).await, (400_000, 0, 0), "a deposit came");
        *world.node.transactions.lock().unwrap() = vec![tx("tx1", 5_000, None)];

        let all = Deed::SendAll {
            address: "bcrt1q".to_owned(),
            fee: super::super::FeeChoice::SatPerKvb(crate::ports::FeeRate::FLOOR),
            reserve_too: false,
        };
        *world.node.sends.lock().unwrap() = "tx2";
        world.treasury.run("all", all).await.unwrap();
        assert_eq!(sums(&world.treasury).await, (0, 400_000, 0));
        world.clock.advance(std::time::Duration::from_secs(601));
        world.node.mempool.lock().unwrap().push("tx2");
        assert_eq!(sums(&world.treasury).await, (0, 400_000, 0), "it waits, and the wallet was not told");
        world.node.mempool.lock().unwrap().clear();
        assert_eq!(sums(&world.treasury).await, (400_000, 0, 0), "the chain never took it");
        let listed = world.treasury.history(BTreeSet::new()).await.unwrap().transactions;
        let mut listed: Vec<_> = listed.iter().map(|one| (one.tx.txid.as_str(), one.tx.amount_sat)).collect();
        listed.sort_unstable();
        assert_eq!(listed, [("tx1", 5_000), ("tx2", 400_000)], "what sends all is listed, too");
    }

    #[tokio::test]
    async fn a_splice_is_counted_in_the_wallet_on_its_way_or_in_the_channel() {
        let world = world();
        let spliced = ChannelView { spendable_msat: 29_000_000, reserved_sat: 1_000, ..channel("6", "f1") };
        world.node.channels.lock().unwrap().push(spliced);
        world.node.claims.lock().unwrap().push(claim("c6", 29_500));
        *world.node.total.lock().unwrap() = 300_000;
        let all = async || {
            let coins = world.treasury.coins().await.unwrap();
            (coins.total_sat + coins.splicing_sat + coins.claims[0].amount_sat, coins.splicing_sat)
        };
        let deed = Deed::SpliceIn { channel_id: "c6".to_owned(), amount_sat: 100_000 };
        world.treasury.run("in", deed).await.unwrap();
        assert_eq!(all().await, (329_500, 0), "the peer was asked");
        world.ledger.splice_agreed("c6".to_owned(), "f2:0".to_owned()).await.unwrap();
        assert_eq!(all().await, (329_500, 100_000), "agreed, and not seen by the wallet");
        *world.node.total.lock().unwrap() = 199_700;
        assert_eq!(all().await, (329_200, 100_000), "it waits for a block");
        world.node.claims.lock().unwrap()[0].amount_sat = 129_500;
        assert_eq!(all().await, (329_200, 0), "in its first block");
        {
            let mut channels = world.node.channels.lock().unwrap();
            channels[0].funding = Some("f2:0".to_owned());
            channels[0].spendable_msat = 128_000_000;
        }
        assert_eq!(all().await, (329_200, 0), "the channel has it");
    }

    #[tokio::test]
    async fn what_leaves_a_channel_is_counted_once_before_its_first_block() {
        let world = world();
        let less = ChannelView { spendable_msat: 198_000_000, reserved_sat: 1_000, ..channel("6", "f1") };
        world.node.channels.lock().unwrap().push(less);
        world.node.claims.lock().unwrap().push(claim("c6", 300_010));
        *world.node.total.lock().unwrap() = 1_000_000;
        let all = async || {
            let coins = world.treasury.coins().await.unwrap();
            (coins.total_sat + coins.claims[0].amount_sat - coins.leaving_sat, coins.leaving_sat)
        };
        world.treasury.note_channels().await.unwrap();
        let address = "bcrt1q".to_owned();
        let deed = Deed::SpliceOut { channel_id: "c6".to_owned(), address, amount_sat: 100_000 };
        world.treasury.run("out", deed).await.unwrap();
        assert_eq!(all().await, (1_300_010, 0), "the peer was asked");
        world.ledger.splice_agreed("c6".to_owned(), "f2:0".to_owned()).await.unwrap();
        // The wallet, whose address it is, counts it at once, and so does the library's sum.
        *world.node.total.lock().unwrap() = 1_100_000;
        *world.node.lightning.lock().unwrap() = Some(199_827);
        assert_eq!(all().await, (1_299_827, 100_183), "it waits for a block");
        // With its fee, also where the library's sum tells that no more, and after a restart.
        world.treasury.reconcile().await.unwrap();
        *world.node.lightning.lock().unwrap() = None;
        let world = world.restarted();
        let all = async || {
            let coins = world.treasury.coins().await.unwrap();
            (coins.total_sat + coins.claims[0].amount_sat - coins.leaving_sat, coins.leaving_sat)
        };
        assert_eq!(all().await, (1_299_827, 100_183), "nothing jumps");
        world.node.claims.lock().unwrap()[0].amount_sat = 199_827;
        assert_eq!(all().await, (1_299_827, 0), "in its first block");
    }
}
