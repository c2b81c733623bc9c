//! The library's events in the house's words.

use ldk_node::Event;
use ldk_node::lightning::events::ClosureReason;
use ldk_node::lightning::ln::channelmanager::PaymentId;

use crate::ports::{CloseCause, NodeEvent};
use crate::types::{Msat, PaymentHash, Preimage};

/// The payment that an event is about, when it was to an offer: an invoice's payment has its hash for a name.
pub(super) fn offer_of(event: &Event) -> Option<PaymentId> {
    let (id, hash) = match event {
        Event::PaymentSuccessful { payment_id: Some(id), payment_hash, .. } => (id, Some(payment_hash)),
        Event::PaymentFailed { payment_id: Some(id), payment_hash, .. } => (id, payment_hash.as_ref()),
        _ => return None,
    };
    hash.is_none_or(|hash| hash.0 != id.0).then_some(*id)
}

/// Translates one event; nothing is lost, what we have no word for becomes [`NodeEvent::Other`]. Of a payment
/// to an offer, `noted` is its note and its amount.
pub(super) fn translate(event: &Event, noted: Option<(Option<String>, Msat)>) -> NodeEvent {
    let msat = |value: u64| Msat::new(value).unwrap_or(Msat::MAX);
    let why = |reason: &Option<_>| match reason {
        None => "unknown".to_owned(),
        Some(reason) => format!("{reason:?}"),
    };
    match (event, noted) {
        (
            Event::PaymentSuccessful {
                payment_hash, payment_preimage: Some(preimage), fee_paid_msat, ..
            },
            Some((note, amount)),
        ) => {
            return NodeEvent::OfferSent {
                note,
                payment_hash: PaymentHash::from_bytes(payment_hash.0),
                preimage: Preimage::from_bytes(preimage.0),
                amount,
                fee: msat(fee_paid_msat.unwrap_or(0)),
            };
        }
        (Event::PaymentFailed { reason, .. }, Some((note, _))) => {
            return NodeEvent::OfferFailed { note, reason: why(reason) };
        }
        _ => {}
    }
    match event {
        Event::PaymentReceived { payment_hash, amount_msat, .. } => NodeEvent::Received {
            payment_hash: PaymentHash::from_bytes(payment_hash.0),
            amount: msat(*amount_msat),
            // The event does not say it; the payment's record does.
            opening_fee: Msat::ZERO,
        },
        Event::PaymentSuccessful {
            payment_hash, payment_preimage: Some(preimage), fee_paid_msat, ..
        } => NodeEvent::Sent {
            payment_hash: PaymentHash::from_bytes(payment_hash.0),
            preimage: Preimage::from_bytes(preimage.0),
            fee: msat(fee_paid_msat.unwrap_or(0)),
        },
        Event::PaymentFailed { payment_hash: Some(hash), reason, .. } => {
            NodeEvent::SendFailed { payment_hash: PaymentHash::from_bytes(hash.0), reason: why(reason) }
        }
        Event::ChannelPending { channel_id, counterparty_node_id, user_channel_id, .. } => {
            NodeEvent::ChannelPending {
                channel_id: channel_id.to_string(),
                peer: counterparty_node_id.to_string(),
                local_id: user_channel_id.0.to_string(),
            }
        }
        Event::ChannelReady { channel_id, counterparty_node_id, user_channel_id, .. } => {
            NodeEvent::ChannelReady {
                channel_id: channel_id.to_string(),
                peer: counterparty_node_id.map(|key| key.to_string()).unwrap_or_default(),
                local_id: user_channel_id.0.to_string(),
            }
        }
        Event::ChannelClosed { channel_id, counterparty_node_id, user_channel_id, reason } => {
            NodeEvent::ChannelClosed {
                channel_id: channel_id.to_string(),
                peer: counterparty_node_id.map(|key| key.to_string()).unwrap_or_default(),
                reason: reason.as_ref().map_or_else(|| "unknown".to_owned(), ToString::to_string),
                cause: reason.as_ref().map_or(CloseCause::Unknown, cause),
                local_id: user_channel_id.0.to_string(),
            }
        }
        Event::SplicePending { channel_id, new_funding_txo, .. } => NodeEvent::SplicePending {
            channel_id: channel_id.to_string(),
            funding: new_funding_txo.to_string(),
        },
        Event::SpliceFailed { channel_id, .. } => {
            NodeEvent::SpliceFailed { channel_id: channel_id.to_string() }
        }
        Event::PaymentForwarded { .. } => NodeEvent::Other("payment_forwarded".to_owned()),
        Event::PaymentClaimable { .. } => NodeEvent::Other("payment_claimable".to_owned()),
        Event::PaymentSuccessful { payment_preimage: None, .. }
        | Event::PaymentFailed { payment_hash: None, .. } => {
            NodeEvent::Other("payment_without_hash".to_owned())
        }
    }
}

/// Who closed a channel, or what did.
fn cause(reason: &ClosureReason) -> CloseCause {
    match reason {
        ClosureReason::CounterpartyForceClosed { .. } => CloseCause::ForcedByPeer,
        ClosureReason::HolderForceClosed { .. } => CloseCause::ForcedByUs,
        ClosureReason::LegacyCooperativeClosure => CloseCause::Agreed,
        ClosureReason::CounterpartyInitiatedCooperativeClosure => CloseCause::AgreedByPeer,
        ClosureReason::LocallyInitiatedCooperativeClosure => CloseCause::AgreedByUs,
        ClosureReason::CommitmentTxConfirmed => CloseCause::SeenOnChain,
        ClosureReason::OutdatedChannelManager => CloseCause::Restart,
        ClosureReason::FundingTimedOut
        | ClosureReason::DisconnectedPeer
        | ClosureReason::CounterpartyCoopClosedUnfundedChannel
        | ClosureReason::LocallyCoopClosedUnfundedChannel
        | ClosureReason::FundingBatchClosure => CloseCause::NeverOpened,
        ClosureReason::HTLCsTimedOut { .. } => CloseCause::PaymentTimedOut,
        // So a node of this library asks for it that does not know the channel any more, as after its own forced close.
        ClosureReason::ProcessingError { err } if err.contains("channel_reestablish to force close") => {
            CloseCause::ForcedByPeer
        }
        ClosureReason::ProcessingError { .. } | ClosureReason::PeerFeerateTooLow { .. } => CloseCause::Fault,
    }
}
