//! Why nothing was paid out.

use bitcoin::Network;
use thiserror::Error;

use crate::ports::NodeFault;
use crate::store::StoreError;
use crate::types::{AmountOutOfRange, Msat};
use crate::upkeep::destination::DestinationFault;
use crate::upkeep::lnurl::LnurlFault;

/// Why nothing was paid.
#[derive(Debug, Error)]
pub enum PayoutError {
    /// Nobody can be paid there.
    #[error(transparent)]
    Destination(#[from] DestinationFault),
    /// The payee's server gives no invoice.
    #[error(transparent)]
    Server(#[from] LnurlFault),
    /// The offer cannot be paid.
    #[error("{0}")]
    Offer(NodeFault),
    /// Not an invoice.
    #[error("this is not a valid BOLT 11 invoice")]
    NotAnInvoice,
    /// An invoice that leaves the amount open.
    #[error("the invoice has no amount: ask for one with an amount, or for an offer")]
    OpenInvoice,
    /// Of another network.
    #[error("the invoice is for {theirs}, this node is on {ours}")]
    WrongNetwork {
        /// The invoice's.
        theirs: Network,
        /// Ours.
        ours: Network,
    },
    /// Too late.
    #[error("it has expired")]
    Expired,
    /// Nobody says how much.
    #[error("the amount is missing: say how much")]
    NoAmount,
    /// The payee asks for another amount.
    #[error("it asks for {}, not for {}", .named.in_sat(), .asked.in_sat())]
    OtherAmount {
        /// What was to be paid.
        asked: Msat,
        /// What the payee asks for, at least.
        named: Msat,
    },
    /// More than there is in the world.
    #[error("the amount: {0}")]
    Amount(AmountOutOfRange),
    /// Not enough to spend.
    #[error(
        "with the most that routing may cost it takes {}, and {} is spendable",
        .needed.in_sat(), .spendable.in_sat()
    )]
    TooLittle {
        /// Amount and fee.
        needed: Msat,
        /// What can be spent.
        spendable: Msat,
    },
    /// The node is not running.
    #[error("the Lightning node is not ready")]
    NodeAway,
    /// The key names another operation.
    #[error("the key names operation {0}, which asked for something else")]
    KeyTaken(i64),
    /// The ledger failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl PayoutError {
    /// Stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            PayoutError::Destination(_) => "bad_destination",
            PayoutError::Server(LnurlFault::Amount { .. }) | PayoutError::OtherAmount { .. } => {
                "wrong_amount"
            }
            PayoutError::Server(_) => "payee_refused",
            PayoutError::Offer(_) => "bad_offer",
            PayoutError::NotAnInvoice => "bad_invoice",
            PayoutError::OpenInvoice | PayoutError::NoAmount => "no_amount",
            PayoutError::WrongNetwork { .. } => "wrong_network",
            PayoutError::Expired => "expired",
            PayoutError::Amount(_) => "bad_amount",
            PayoutError::TooLittle { .. } => "too_little_spendable",
            PayoutError::NodeAway => "node_not_ready",
            PayoutError::KeyTaken(_) => "idempotency_key_reused",
            PayoutError::Store(StoreError::Parked) => "payouts_parked",
            PayoutError::Store(_) => "internal",
        }
    }
}
