//! What the node looked like before an operation: what a crash hid is found again by what differs from it.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Deed, Treasury, TreasuryError, settled};
use crate::ports::{ChannelView, NodeFault};

/// The node before an operation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    /// The height that it knew.
    pub(super) height: u32,
    /// All coins of the wallet, satoshi, for what chooses some of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) total_sat: Option<u64>,
    /// What of them may be spent or is kept back, satoshi: without what others sent and is in no block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) trusted_sat: Option<u64>,
    /// What may be taken of them, for what takes all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) spendable_sat: Option<u64>,
    /// Outgoing transactions that were in no block yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) pending: Vec<String>,
    /// Our own ids of the channels that there were, for an opening.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) channels: Vec<String>,
    /// Our own id of the channel that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) local_id: Option<String>,
    /// The funding output of that channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) funding: Option<String>,
    /// What the funding of a channel spends, `txid:vout` each, once that was seen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) inputs: Vec<String>,
    /// The value of that channel, satoshi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) capacity_sat: Option<u64>,
    /// The address that an exact sum goes to is known as one of the wallet's own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) to_own: bool,
}

impl Mark {
    /// As it stands in an operation's outcome.
    pub(super) fn value(&self) -> Value {
        json!({ "before": self })
    }

    /// Read from an operation's outcome.
    pub(super) fn of(outcome: &Value) -> Mark {
        serde_json::from_value(outcome["before"].clone()).unwrap_or_default()
    }
}

impl Treasury {
    /// Looks at the node before `deed`.
    pub(super) async fn mark(&self, deed: &Deed) -> Result<Mark, TreasuryError> {
        let parts = &self.0.parts;
        let view = parts.node.view().await;
        if !view.running {
            return Err(NodeFault("it is not running".to_owned()).into());
        }
        let mut mark = Mark { height: view.block_height, ..Mark::default() };
        if let Deed::Send { address, .. } | Deed::SpliceOut { address, .. } = deed {
            mark.to_own = parts.coins.is_own(address).await;
        }
        if settled::chooses_coins(deed.kind()) {
            let coins = parts.coins.coins().await?;
            mark.total_sat = Some(coins.total_sat);
            mark.trusted_sat = settled::trusted(&coins);
            mark.spendable_sat = match deed {
                Deed::SendAll { reserve_too: true, .. } => {
                    Some(coins.spendable_sat.saturating_add(coins.reserved_sat))
                }
                Deed::SendAll { .. } => Some(coins.spendable_sat),
                _ => None,
            };
        }
        match deed {
            Deed::Send { .. } | Deed::SendAll { .. } => {
                let transactions = parts.coins.transactions().await?;
                let pending =
                    transactions.into_iter().filter(|tx| tx.outgoing && tx.confirmed_height.is_none());
                mark.pending = pending.map(|tx| tx.txid).collect();
            }
            Deed::OpenChannel { .. } => {
                mark.channels = view.channels.into_iter().map(|channel| channel.local_id).collect();
            }
            Deed::CloseChannel { channel_id }
            | Deed::ForceCloseChannel { channel_id }
            | Deed::SpliceIn { channel_id, .. }
            | Deed::SpliceOut { channel_id, .. } => {
                let channel = find(view.channels, channel_id)?;
                (mark.local_id, mark.funding) = (Some(channel.local_id), channel.funding);
                mark.capacity_sat = Some(channel.capacity_sat);
            }
        }
        Ok(mark)
    }
}

/// The channel with that id.
pub(super) fn find(channels: Vec<ChannelView>, channel_id: &str) -> Result<ChannelView, TreasuryError> {
    let mut fitting = channels.into_iter().filter(|channel| channel.channel_id == channel_id);
    fitting.next().ok_or_else(|| unknown(channel_id))
}

/// There is no such channel.
pub(super) fn unknown(channel_id: &str) -> TreasuryError {
    TreasuryError::Senseless {
        code: "unknown_channel",
        text: format!("there is no open channel `{channel_id}`"),
    }
}
