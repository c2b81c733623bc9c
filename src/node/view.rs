//! The node at one moment, as the operator sees it.

use ldk_node::{ChannelDetails, Node};

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
        onchain_reserve_wanted_sat: reserve_wanted_sat(node),
        channels: channels.iter().map(channel).collect(),
        peers_connected: node.list_peers().iter().filter(|peer| peer.is_connected).count(),
        listening,
    }
}

/// What is to be kept back of the wallet for closing channels, whether there are coins for it or not.
pub(super) fn reserve_wanted_sat(node: &Node) -> u64 {
    node.config().anchor_channels_config.as_ref().map_or(0, |anchors| {
        let trusted = |peer| anchors.trusted_peers_no_reserve.contains(peer);
        let count =
            node.list_channels().iter().filter(|channel| !trusted(&channel.counterparty_node_id)).count();
        u64::try_from(count).unwrap_or(u64::MAX).saturating_mul(anchors.per_channel_reserve_sats)
    })
}

fn channel(channel: &ChannelDetails) -> ChannelView {
    ChannelView {
        channel_id: channel.channel_id.to_string(),
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
        fees: ForwardingFees {
            base_msat: channel.config.forwarding_fee_base_msat,
            ppm: channel.config.forwarding_fee_proportional_millionths,
        },
        force_close_blocks: channel.force_close_spend_delay,
    }
}
