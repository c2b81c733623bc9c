//! Payments to offers (BOLT 12), known by the note that they carry.

use ldk_node::bitcoin::Network;
use ldk_node::bitcoin::constants::ChainHash;
use ldk_node::lightning::ln::channelmanager::PaymentId;
use ldk_node::lightning::offers::offer::{Amount, Offer};
use ldk_node::lightning::routing::router::RouteParametersConfig;
use ldk_node::payment::{PaymentDetails, PaymentDirection, PaymentKind, PaymentStatus};
use ldk_node::{Node, NodeError};

use crate::ports::{NodeFault, OfferAsk, OfferPayment, OfferTerms, SendFault};
use crate::types::{Msat, PaymentHash, Preimage, Timestamp};

fn read(text: &str) -> Result<Offer, NodeFault> {
    text.trim().parse().map_err(|error| NodeFault(format!("not a BOLT 12 offer: {error:?}")))
}

/// What an offer says, if it can be paid on `network`.
pub(super) fn terms(network: Network, text: &str) -> Result<OfferTerms, NodeFault> {
    let offer = read(text)?;
    if !offer.supports_chain(ChainHash::using_genesis_block(network)) {
        return Err(NodeFault(format!("the offer is not for {network}")));
    }
    let amount = match offer.amount() {
        None => None,
        Some(Amount::Bitcoin { amount_msats }) => {
            Some(Msat::new(amount_msats).map_err(|error| NodeFault(format!("the offer's amount: {error}")))?)
        }
        Some(_) => return Err(NodeFault("the offer is priced in a currency".to_owned())),
    };
    let expires_at = offer.absolute_expiry().map(|at| Timestamp::from_secs(at.as_secs()));
    let description = offer.description().map(|text| text.to_string());
    Ok(OfferTerms { amount, description, expires_at })
}

/// Asks for an invoice and pays it when it comes.
pub(super) fn send(node: &Node, ask: &OfferAsk) -> Result<(), SendFault> {
    let offer = read(&ask.offer).map_err(|fault| SendFault::Refused(fault.0))?;
    let limits = RouteParametersConfig::default().with_max_total_routing_fee_msat(ask.max_fee.msat());
    let sent = node.bolt12_payment().send_using_amount(
        &offer,
        ask.amount.msat(),
        None,
        Some(ask.note.clone()),
        Some(limits),
    );
    match sent {
        Ok(_) => Ok(()),
        Err(error @ NodeError::NotRunning) => Err(SendFault::Away(error.to_string())),
        // The library sends first and notes it after.
        Err(error @ (NodeError::DuplicatePayment | NodeError::PersistenceFailed)) => {
            Err(SendFault::Uncertain(error.to_string()))
        }
        Err(error) => Err(SendFault::Refused(error.to_string())),
    }
}

/// What became of the payment with this note.
pub(super) fn payment(node: &Node, note: &str) -> OfferPayment {
    let ours = |payment: &&PaymentDetails| {
        payment.direction == PaymentDirection::Outbound && note_in(&payment.kind) == Some(note)
    };
    let Some(payment) = node.list_payments_with_filter(ours).pop() else { return OfferPayment::Unknown };
    match (payment.status, &payment.kind) {
        (
            PaymentStatus::Succeeded,
            PaymentKind::Bolt12Offer { hash: Some(hash), preimage: Some(preimage), .. },
        ) => OfferPayment::Succeeded {
            payment_hash: PaymentHash::from_bytes(hash.0),
            preimage: Preimage::from_bytes(preimage.0),
            amount: msat(payment.amount_msat),
            fee: msat(payment.fee_paid_msat),
        },
        (PaymentStatus::Failed, _) => OfferPayment::Failed,
        (PaymentStatus::Pending | PaymentStatus::Succeeded, _) => OfferPayment::Pending,
    }
}

/// The note and the amount of a payment, as the node's list has them.
pub(super) fn noted(node: &Node, id: PaymentId) -> (Option<String>, Msat) {
    node.payment(&id).map_or((None, Msat::ZERO), |payment| {
        (note_in(&payment.kind).map(str::to_owned), msat(payment.amount_msat))
    })
}

fn note_in(kind: &PaymentKind) -> Option<&str> {
    match kind {
        PaymentKind::Bolt12Offer { payer_note, .. } => payer_note.as_ref().map(|note| note.0.as_str()),
        _ => None,
    }
}

fn msat(amount: Option<u64>) -> Msat {
    amount.and_then(|amount| Msat::new(amount).ok()).unwrap_or(Msat::ZERO)
}
