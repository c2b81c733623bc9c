//! The node at one moment, as the operator sees it.

use ldk_node::bitcoin::secp256k1::PublicKey;
use ldk_node::{BalanceDetails, ChannelDetails, LightningBalance, Node};

use crate::ports::{ChannelView, ForwardingFees, NodeView};

/// Reads everything in one go.
pub(super) fn of(node: &Node, listening: Vec<String>) -> NodeView {
    let status = node.status();
    let balances = node.list_balances();
    let channels = node.list_channels();
    let usable = || channels.iter().filter(|channel| channel.is_usable);
    NodeView {
        node_id: node.node_id().to_string(),
        network: node.config().network.to_string(),
        running: status.is_running,
        block_height: status.current_best_block.height,
        synced_at: status.latest_lightning_wallet_sync_timestamp,
        spendable_msat: usable().map(|channel| channel.outbound_capacity_msat).sum(),
        receivable_msat: usable().map(|channel| channel.inbound_capacity_msat).sum(),
        largest_receivable_msat: usable().map(super::mint::largest).max().unwrap_or(0),
        onchain_spendable_sat: balances.spendable_onchain_balance_sats,
        onchain_reserved_sat: balances.total_anchor_channels_reserve_sats,
        onchain_reserve_wanted_sat: reserve_wanted_sat(node, &balances),
        channels: channels.iter().map(|one| channel(one, &balances)).collect(),
        peers_connected: node.list_peers().iter().filter(|peer| peer.is_connected).count(),
        listening,
    }
}

/// What is to be kept back of the wallet for closing channels, whether there are coins for it or not. The library tells
/// it where the wallet has more than that; else it is what channels with anchors want.
pub(super) fn reserve_wanted_sat(node: &Node, balances: &BalanceDetails) -> u64 {
    let kept = balances.total_anchor_channels_reserve_sats;
    if kept < balances.total_onchain_balance_sats {
        return kept;
    }
    node.config().anchor_channels_config.as_ref().map_or(kept, |anchors| {
        let trusted = |peer: &PublicKey| anchors.trusted_peers_no_reserve.contains(peer);
        let wants = |one: &&ChannelDetails| {
            !trusted(&one.counterparty_node_id) && !channel(one, balances).without_anchors
        };
        let count = node.list_channels().iter().filter(wants).count();
        let wanted =
            u64::try_from(count).unwrap_or(u64::MAX).saturating_mul(anchors.per_channel_reserve_sats);
        wanted.max(kept)
    })
}

/// Two outputs of a closing transaction, of who opened the channel (BOLT 3), satoshi.
const ANCHORS_SAT: u64 = 660;

/// Whether the channel has surely no anchors, which the library does not say: beside both sides and their reserves, as
/// far as these are filled, there is no room for them. Another node opens such a channel to one without coins. `ours_sat`
/// is ours by its contract.
fn without_anchors(view: &ChannelView, ours_sat: u64) -> bool {
    let (spendable, receivable) = (view.spendable_msat / 1_000, view.receivable_msat / 1_000);
    // Our reserve may not be filled: what there is of it, the contract says.
    let ours = if view.outbound || spendable > 0 { view.reserved_sat } else { ours_sat };
    let theirs = if !view.outbound || receivable > 0 { view.their_reserved_sat } else { 0 };
    let used = [spendable, receivable, ours, theirs].into_iter().fold(0, u64::saturating_add);
    let negotiated = spendable > 0 || receivable > 0;
    negotiated && view.capacity_sat.saturating_sub(used) < ANCHORS_SAT
}

fn channel(channel: &ChannelDetails, balances: &BalanceDetails) -> ChannelView {
    let own = balances.lightning_balances.iter().filter_map(|balance| match balance {
        LightningBalance::ClaimableOnChannelClose { channel_id, amount_satoshis, .. } => {
            (channel_id.to_string() == id(channel)).then_some(*amount_satoshis)
        }
        _ => None,
    });
    let view = of_channel(channel);
    ChannelView { without_anchors: without_anchors(&view, own.fold(0, u64::saturating_add)), ..view }
}

/// By which id a channel is called: its own, which is of its funding. The one that it has before it is funded is the
/// other node's choice where that opens it, and may be another channel's: it is called by our own id of it then.
pub(super) fn id(channel: &ChannelDetails) -> String {
    match channel.funding_txo {
        Some(_) => channel.channel_id.to_string(),
        None => channel.user_channel_id.0.to_string(),
    }
}

fn of_channel(channel: &ChannelDetails) -> ChannelView {
    ChannelView {
        channel_id: id(channel),
        local_id: channel.user_channel_id.0.to_string(),
        peer: channel.counterparty_node_id.to_string(),
        funding: channel.funding_txo.map(|outpoint| outpoint.to_string()),
        capacity_sat: channel.channel_value_sats,
        spendable_msat: channel.outbound_capacity_msat,
        receivable_msat: channel.inbound_capacity_msat,
        largest_receivable_msat: super::mint::largest(channel),
        reserved_sat: channel.unspendable_punishment_reserve.unwrap_or(0),
        their_reserved_sat: channel.counterparty_unspendable_punishment_reserve,
        confirmations: channel.confirmations,
        confirmations_required: channel.confirmations_required,
        ready: channel.is_channel_ready,
        usable: channel.is_usable,
        announced: channel.is_announced,
        outbound: channel.is_outbound,
        without_anchors: false,
        fees: ForwardingFees {
            base_msat: channel.config.forwarding_fee_base_msat,
            ppm: channel.config.forwarding_fee_proportional_millionths,
        },
        force_close_blocks: channel.force_close_spend_delay,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_without_room_for_anchors_has_none() {
        let view = |outbound, spendable_sat: u64, receivable_sat: u64| ChannelView {
            capacity_sat: 1_000_000,
            spendable_msat: spendable_sat * 1_000 + 400,
            receivable_msat: receivable_sat * 1_000 + 600,
            reserved_sat: 10_000,
            their_reserved_sat: 10_000,
            outbound,
            ..ChannelView::default()
        };
        let none = |outbound, spendable_sat, receivable_sat, ours_sat| {
            without_anchors(&view(outbound, spendable_sat, receivable_sat), ours_sat)
        };
        // Opened to us: at first, after some earnings that fill a part of our reserve, and after more.
        assert!(none(false, 0, 989_999, 0) && !none(false, 0, 989_339, 0));
        assert!(none(false, 0, 989_699, 300) && !none(false, 0, 989_039, 300));
        assert!(none(false, 0, 984_999, 5_000) && !none(false, 0, 984_339, 5_000));
        assert!(none(false, 50_000, 929_998, 60_000) && !none(false, 50_000, 929_338, 60_000));
        // By us; and one that is not negotiated.
        assert!(none(true, 989_999, 0, 989_000) && !none(true, 989_339, 0, 989_000));
        assert!(!without_anchors(
            &ChannelView { spendable_msat: 0, receivable_msat: 0, ..view(true, 0, 0) },
            0
        ));
    }
}
