//! What of a node's coins is still in channels that end, and what is home.

use bitcoin::OutPoint;
use ldk_node::{LightningBalance, Node, PendingSweepBalance};
use serde::Serialize;

use super::LightningNode;
use crate::chain::{Spent, spent};
use crate::ports::NodeFault;

/// The coins on their way to the wallet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Homecoming {
    /// In the on-chain wallet, satoshi.
    pub home_sat: u64,
    /// Height of the best block that the node knows.
    pub height: u32,
    /// Peers that are connected.
    pub peers_connected: usize,
    /// What is not home yet.
    pub on_the_way: Vec<OnTheWay>,
}

/// Coins of one channel that are not in the wallet yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OnTheWay {
    /// The channel, hexadecimal; a sweep may not tell.
    pub channel_id: Option<String>,
    /// The other node's key, hexadecimal, while the channel is known.
    pub peer: Option<String>,
    /// How much, satoshi.
    pub sat: u64,
    /// What it waits for.
    pub waits: Waits,
}

/// What coins wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "for")]
pub enum Waits {
    /// The peer has not closed the channel yet.
    Peer,
    /// The close is on-chain; claimable at this height.
    Height {
        /// The height.
        height: u32,
    },
    /// A payment that was under way is settled on-chain at about this height.
    Payment {
        /// The height.
        height: u32,
    },
    /// The transaction to the wallet is being sent, or waits for a block.
    Sweep,
}

impl LightningNode {
    /// Whether the funding of a channel (`txid:vout`) was spent, and by what: looked for from the block at `height` on.
    ///
    /// # Errors
    /// When the chain source does not answer.
    pub async fn funding_spent(&self, funding: &str, height: u32) -> Result<Spent, NodeFault> {
        let funding: OutPoint = funding.parse().map_err(|_| NodeFault("no transaction output".to_owned()))?;
        spent(self.sources.current(), funding, height).await.map_err(NodeFault)
    }
}

/// Looks at all balances. An open channel in which nothing is ours is told of, too: more may have come to it than
/// an old state knows.
pub(super) fn of(node: &Node) -> Homecoming {
    let balances = node.list_balances();
    let channels = balances.lightning_balances.iter().map(of_channel);
    let sweeps = balances.pending_balances_from_channel_closures.iter().filter_map(of_sweep);
    Homecoming {
        home_sat: balances.total_onchain_balance_sats,
        height: node.status().current_best_block.height,
        peers_connected: node.list_peers().iter().filter(|peer| peer.is_connected).count(),
        on_the_way: channels
            .chain(sweeps)
            .filter(|coins| coins.sat > 0 || coins.waits == Waits::Peer)
            .collect(),
    }
}

fn of_channel(balance: &LightningBalance) -> OnTheWay {
    use LightningBalance as B;
    let (channel_id, peer, sat, waits) = match balance {
        B::ClaimableOnChannelClose { channel_id, counterparty_node_id, amount_satoshis, .. } => {
            (channel_id, counterparty_node_id, amount_satoshis, Waits::Peer)
        }
        B::ClaimableAwaitingConfirmations {
            channel_id,
            counterparty_node_id,
            amount_satoshis,
            confirmation_height,
            ..
        } => (
            channel_id,
            counterparty_node_id,
            amount_satoshis,
            Waits::Height { height: *confirmation_height },
        ),
        B::ContentiousClaimable {
            channel_id,
            counterparty_node_id,
            amount_satoshis,
            timeout_height: height,
            ..
        }
        | B::MaybeTimeoutClaimableHTLC {
            channel_id,
            counterparty_node_id,
            amount_satoshis,
            claimable_height: height,
            ..
        }
        | B::MaybePreimageClaimableHTLC {
            channel_id,
            counterparty_node_id,
            amount_satoshis,
            expiry_height: height,
            ..
        } => (channel_id, counterparty_node_id, amount_satoshis, Waits::Payment { height: *height }),
        B::CounterpartyRevokedOutputClaimable { channel_id, counterparty_node_id, amount_satoshis } => {
            (channel_id, counterparty_node_id, amount_satoshis, Waits::Sweep)
        }
    };
    OnTheWay { channel_id: Some(channel_id.to_string()), peer: Some(peer.to_string()), sat: *sat, waits }
}

fn of_sweep(sweep: &PendingSweepBalance) -> Option<OnTheWay> {
    use PendingSweepBalance as S;
    let (channel_id, sat) = match sweep {
        S::PendingBroadcast { channel_id, amount_satoshis }
        | S::BroadcastAwaitingConfirmation { channel_id, amount_satoshis, .. } => {
            (channel_id, amount_satoshis)
        }
        // It is in the wallet's own figures already.
        S::AwaitingThresholdConfirmations { .. } => return None,
    };
    let channel_id = channel_id.as_ref().map(ToString::to_string);
    Some(OnTheWay { channel_id, peer: None, sat: *sat, waits: Waits::Sweep })
}
