//! The library's events in the house's words.

use ldk_node::Event;

use crate::ports::NodeEvent;
use crate::types::{Msat, PaymentHash, Preimage};

/// Translates one event; nothing is lost, what we have no word for becomes [`NodeEvent::Other`].
pub(super) fn translate(event: &Event) -> NodeEvent {
    let msat = |value: u64| Msat::new(value).unwrap_or(Msat::MAX);
    match event {
        Event::PaymentReceived { payment_hash, amount_msat, .. } => NodeEvent::Received {
            payment_hash: PaymentHash::from_bytes(payment_hash.0),
            amount: msat(*amount_msat),
        },
        Event::PaymentSuccessful {
            payment_hash, payment_preimage: Some(preimage), fee_paid_msat, ..
        } => NodeEvent::Sent {
            payment_hash: PaymentHash::from_bytes(payment_hash.0),
            preimage: Preimage::from_bytes(preimage.0),
            fee: msat(fee_paid_msat.unwrap_or(0)),
        },
        Event::PaymentFailed { payment_hash: Some(hash), reason, .. } => NodeEvent::SendFailed {
            payment_hash: PaymentHash::from_bytes(hash.0),
            reason: reason.map_or_else(|| "unknown".to_owned(), |reason| format!("{reason:?}")),
        },
        Event::ChannelPending { channel_id, counterparty_node_id, .. } => NodeEvent::ChannelPending {
            channel_id: channel_id.to_string(),
            peer: counterparty_node_id.to_string(),
        },
        Event::ChannelReady { channel_id, counterparty_node_id, .. } => NodeEvent::ChannelReady {
            channel_id: channel_id.to_string(),
            peer: counterparty_node_id.map(|key| key.to_string()).unwrap_or_default(),
        },
        Event::ChannelClosed { channel_id, counterparty_node_id, reason, .. } => NodeEvent::ChannelClosed {
            channel_id: channel_id.to_string(),
            peer: counterparty_node_id.map(|key| key.to_string()).unwrap_or_default(),
            reason: reason.as_ref().map_or_else(|| "unknown".to_owned(), ToString::to_string),
        },
        Event::PaymentForwarded { .. } => NodeEvent::Other("payment_forwarded".to_owned()),
        Event::PaymentClaimable { .. } => NodeEvent::Other("payment_claimable".to_owned()),
        Event::SplicePending { .. } => NodeEvent::Other("splice_pending".to_owned()),
        Event::SpliceFailed { .. } => NodeEvent::Other("splice_failed".to_owned()),
        Event::PaymentSuccessful { payment_preimage: None, .. }
        | Event::PaymentFailed { payment_hash: None, .. } => {
            NodeEvent::Other("payment_without_hash".to_owned())
        }
    }
}
