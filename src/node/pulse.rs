//! What shows whether the node is well: its stage, its ages, coins on their way, the size of its state.

use ldk_node::lightning::chain::channelmonitor::BalanceSource;
use ldk_node::lightning::util::persist::{
    CHANNEL_MONITOR_PERSISTENCE_PRIMARY_NAMESPACE, CHANNEL_MONITOR_PERSISTENCE_SECONDARY_NAMESPACE,
};
use ldk_node::{BalanceDetails, LightningBalance, Node, PendingSweepBalance};

use super::{LightningNode, NodeState};
use crate::chain::source_time;
use crate::ports::{BoxFuture, ComingHome, KvKey, NodeFault, NodePulse, NodeStage, Pulse, SourceTime};
use crate::types::Timestamp;

impl Pulse for LightningNode {
    fn pulse(&self) -> BoxFuture<'_, NodePulse> {
        Box::pin(async move {
            let stage = match &*self.state.borrow() {
                NodeState::Starting(why) => NodeStage::Starting(why.clone()),
                NodeState::Running => NodeStage::Running,
                NodeState::Failed(why) => NodeStage::Failed(why.clone()),
                NodeState::Stopped => NodeStage::Stopped,
            };
            let silent = NodePulse {
                // What runs and cannot be asked is about to be built anew.
                stage: match &stage {
                    NodeStage::Running => NodeStage::Starting("it is built anew".to_owned()),
                    other => other.clone(),
                },
                fee_rates_at: None,
                onchain_synced_at: None,
                peers_known: 0,
                reserve_wanted_sat: 0,
                onchain_total_sat: 0,
                coming_home: Vec::new(),
            };
            self.call(move |node| of(node, stage)).await.unwrap_or(silent)
        })
    }

    fn largest_monitor(&self) -> BoxFuture<'_, Result<u64, NodeFault>> {
        let store = std::sync::Arc::clone(&self.store);
        Box::pin(async move {
            let look = tokio::task::spawn_blocking(move || -> std::io::Result<u64> {
                let primary = CHANNEL_MONITOR_PERSISTENCE_PRIMARY_NAMESPACE;
                let secondary = CHANNEL_MONITOR_PERSISTENCE_SECONDARY_NAMESPACE;
                let mut largest = 0;
                for key in store.list(primary, secondary)? {
                    let bytes = store.read(&KvKey { primary, secondary, key: &key })?;
                    let size = bytes.map_or(0, |bytes| u64::try_from(bytes.len()).unwrap_or(u64::MAX));
                    largest = size.max(largest);
                }
                Ok(largest)
            });
            let looked = look.await.map_err(|error| NodeFault(error.to_string()))?;
            looked.map_err(|error| NodeFault(error.to_string()))
        })
    }

    fn source_time(&self) -> BoxFuture<'_, Result<SourceTime, NodeFault>> {
        Box::pin(async move { source_time(self.sources.current()).await.map_err(NodeFault) })
    }
}

fn of(node: &Node, stage: NodeStage) -> NodePulse {
    let status = node.status();
    let balances = node.list_balances();
    NodePulse {
        stage,
        fee_rates_at: status.latest_fee_rate_cache_update_timestamp.map(Timestamp::from_secs),
        onchain_synced_at: status.latest_onchain_wallet_sync_timestamp.map(Timestamp::from_secs),
        peers_known: node.list_peers().len(),
        reserve_wanted_sat: super::view::reserve_wanted_sat(node, &balances),
        onchain_total_sat: balances.total_onchain_balance_sats,
        coming_home: coming_home(&balances),
    }
}

fn coming_home(balances: &BalanceDetails) -> Vec<ComingHome> {
    let waiting = balances.lightning_balances.iter().filter_map(|balance| {
        let (channel_id, amount_sat, state, claimable_height) = match balance {
            // The channel is open; or it was closed by agreement, and the wallet has the coins already.
            LightningBalance::ClaimableOnChannelClose { .. }
            | LightningBalance::ClaimableAwaitingConfirmations { source: BalanceSource::CoopClose, .. } => {
                return None;
            }
            LightningBalance::ClaimableAwaitingConfirmations {
                channel_id,
                amount_satoshis,
                confirmation_height,
                ..
            } => (channel_id, amount_satoshis, "they wait for their delay", Some(*confirmation_height)),
            LightningBalance::ContentiousClaimable {
                channel_id, amount_satoshis, timeout_height, ..
            } => (
                channel_id,
                amount_satoshis,
                "they are being claimed before the peer may",
                Some(*timeout_height),
            ),
            LightningBalance::CounterpartyRevokedOutputClaimable { channel_id, amount_satoshis, .. } => {
                (channel_id, amount_satoshis, "the peer broke the rules, and all of it is claimed", None)
            }
            // Payments on their way over an open channel have these too: they are told by a close.
            LightningBalance::MaybeTimeoutClaimableHTLC { .. }
            | LightningBalance::MaybePreimageClaimableHTLC { .. } => return None,
        };
        Some(ComingHome {
            channel_id: Some(channel_id.to_string()),
            amount_sat: *amount_sat,
            state,
            claimable_height,
        })
    });
    let swept = balances.pending_balances_from_channel_closures.iter().filter_map(|balance| {
        let (channel_id, amount_sat, state) = match balance {
            PendingSweepBalance::PendingBroadcast { channel_id, amount_satoshis } => {
                (channel_id, amount_satoshis, "their sweep is about to be sent")
            }
            PendingSweepBalance::BroadcastAwaitingConfirmation { channel_id, amount_satoshis, .. } => (
                channel_id,
                amount_satoshis,
                "their sweep waits for a block, and is the wallet’s from when that sees it",
            ),
            // In the wallet already; the library only keeps an eye on it.
            PendingSweepBalance::AwaitingThresholdConfirmations { .. } => return None,
        };
        let channel_id = channel_id.map(|id| id.to_string());
        Some(ComingHome { channel_id, amount_sat: *amount_sat, state, claimable_height: None })
    });
    waiting.chain(swept).collect()
}
