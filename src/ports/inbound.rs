//! What is asked of a node and of liquidity providers (LSPs) so that others can pay us: channels that
//! are opened for one payment (bLIP-52, LSPS2), and channels that are ordered (bLIP-51, LSPS1).

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{BoxFuture, FeeRate, InvoiceAsk, MintedInvoice, NodeFault};
use crate::types::{Msat, PaymentHash, Timestamp};

/// One line of an LSP's list of fees for opening a channel (bLIP-52, `opening_fee_params_menu`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct OpeningTerms {
    /// The least that an opening costs, millisatoshi.
    pub min_fee_msat: Msat,
    /// The fee in millionths of the payment, where that is more.
    pub proportional_ppm: u32,
    /// The smallest payment that a channel is opened for, millisatoshi.
    pub smallest_msat: Msat,
    /// The largest.
    pub largest_msat: Msat,
    /// Until when this holds.
    pub valid_until: Timestamp,
}

impl OpeningTerms {
    /// What is kept back of a payment of `amount`, rounded up (bLIP-52, computing the `opening_fee`);
    /// nothing when it cannot be expressed.
    pub fn fee(&self, amount: Msat) -> Option<Msat> {
        let parts = u128::from(amount.msat()) * u128::from(self.proportional_ppm);
        let share = u64::try_from(parts.div_ceil(1_000_000)).ok()?;
        Msat::new(share.max(self.min_fee_msat.msat())).ok()
    }
}

/// An invoice whose payment opens a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpeningInvoice {
    /// The invoice.
    pub invoice: MintedInvoice,
    /// What the LSP may keep back of the payment, at most.
    pub fee: Msat,
}

/// Why no channel is opened for a payment that no channel can carry.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NotOpened {
    /// The LSP does not answer, or not well; the text is for the log.
    #[error("the liquidity provider cannot be asked: {0}")]
    Away(String),
    /// The price is less than any channel is opened for.
    #[error("a channel is opened for a payment of {least} or more")]
    TooSmall {
        /// The least price that would do, what we accept as a fee taken into account.
        least: Msat,
    },
    /// The price is more than a channel is opened for.
    #[error("a channel is opened for a payment of {most} at most")]
    TooLarge {
        /// The most.
        most: Msat,
    },
    /// The LSP wants more than the operator pays.
    #[error("opening a channel costs {fee}, and at most {most} are paid for it")]
    TooDear {
        /// What it costs.
        fee: Msat,
        /// What the operator pays for this payment.
        most: Msat,
    },
    /// As many invoices of this kind were made as may be in an hour.
    #[error("no more than {in_an_hour} such invoices are made in an hour")]
    LimitReached {
        /// The limit.
        in_an_hour: u32,
    },
    /// Whoever asks has unpaid invoices of this kind.
    #[error("whoever asks has such an invoice and has not paid it")]
    Unpaid,
    /// Another is being made.
    #[error("another such invoice is being made: ask again in a moment")]
    Busy,
    /// A channel that could carry it waits for its peer, which was here a moment ago.
    #[error("the channel that can carry it waits for its peer")]
    PeerExpected,
}

/// The node's side of channels that are opened for one payment.
pub trait OpeningNode: Send + Sync {
    /// Asks the LSP for its list of fees. Under a key of its own, which buys nothing.
    fn opening_terms(&self) -> BoxFuture<'_, Result<Vec<OpeningTerms>, NodeFault>>;

    /// Makes an invoice through the LSP, which keeps back `most_fee` at most. The node stores it.
    fn opening_invoice(
        &self,
        ask: InvoiceAsk,
        most_fee: Msat,
    ) -> BoxFuture<'_, Result<OpeningInvoice, NodeFault>>;

    /// Whether a channel is ready that could carry `amount` if its peer were connected.
    fn sleeps(&self, amount: Msat) -> BoxFuture<'_, bool>;

    /// When each such invoice was made that was not paid.
    fn unpaid_openings(&self) -> BoxFuture<'_, Result<Vec<UnpaidOpening>, NodeFault>>;

    /// Forgets one that nobody will pay any more.
    fn forget_opening(&self, payment_hash: PaymentHash) -> BoxFuture<'_, Result<(), NodeFault>>;
}

/// An invoice of this kind that was not paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnpaidOpening {
    /// Its hash.
    pub payment_hash: PaymentHash,
    /// When it was made.
    pub made_at: Timestamp,
}

/// What an LSP's channels may look like (bLIP-51, `lsps1.get_info`). Amounts in satoshi.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct OrderLimits {
    /// The smallest channel.
    pub smallest_channel_sat: u64,
    /// The largest channel.
    pub largest_channel_sat: u64,
    /// The least on the LSP's side, which is what we can receive.
    pub smallest_receivable_sat: u64,
    /// The most.
    pub largest_receivable_sat: u64,
    /// For how many blocks it may be kept open at most.
    pub most_blocks: u32,
    /// How soon it is confirmed, in blocks, at best.
    pub confirms_within_blocks: u16,
}

/// What is ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OrderAsk {
    /// What we can receive over it, satoshi.
    pub receivable_sat: u64,
    /// For how many blocks the LSP is to keep it open.
    pub blocks: u32,
    /// Whether the public network is told of it.
    pub announce: bool,
}

/// One way to pay for an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OrderPayment {
    /// An invoice or an on-chain address.
    pub to: String,
    /// What is to be paid in all, satoshi.
    pub total_sat: u64,
    /// The part of it that is the LSP's fee.
    pub fee_sat: u64,
    /// Until when.
    pub expires_at: Timestamp,
    /// How it stands.
    pub state: OrderPaid,
}

/// How one way of paying stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OrderPaid {
    /// Nothing came yet.
    Expected,
    /// It came.
    Paid,
    /// It was given back, or the invoice was cancelled.
    Refunded,
}

/// An order as the LSP tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OrderTold {
    /// The LSP's name for it.
    pub order_id: String,
    /// By a Lightning payment.
    pub lightning: Option<OrderPayment>,
    /// By a transaction.
    pub onchain: Option<OrderPayment>,
    /// `txid:vout` of the channel's funding, once the LSP says that it was published.
    pub funding: Option<String>,
}

impl OrderTold {
    /// This order as `later` tells it: whether it was paid, and its channel. Where to, how much and until when stay as
    /// they were first told: what was agreed to is what is paid, once.
    #[must_use]
    pub fn followed_by(&self, later: OrderTold) -> OrderTold {
        let way = |own: &Option<OrderPayment>, later: Option<OrderPayment>| {
            own.clone().map(|own| OrderPayment { state: later.map_or(own.state, |later| later.state), ..own })
        };
        OrderTold {
            order_id: self.order_id.clone(),
            lightning: way(&self.lightning, later.lightning),
            onchain: way(&self.onchain, later.onchain),
            funding: later.funding.or_else(|| self.funding.clone()),
        }
    }
}

/// Orders channels.
pub trait ChannelOrders: Send + Sync {
    /// What may be ordered. Under a key of its own, which orders nothing.
    fn order_limits(&self) -> BoxFuture<'_, Result<OrderLimits, NodeFault>>;

    /// Places an order. It binds nobody until it is paid.
    fn place_order(&self, ask: OrderAsk) -> BoxFuture<'_, Result<OrderTold, NodeFault>>;

    /// How an order stands.
    fn order(&self, order_id: String) -> BoxFuture<'_, Result<OrderTold, NodeFault>>;
}

/// Sends coins of the wallet.
pub trait CoinSender: Send + Sync {
    /// Sends `amount_sat` to `address`, as one recorded operation however often it is asked under `key`. Where a fee
    /// rate was agreed to, nothing is sent while the chain asks for more: what comes late may be worth nothing.
    fn send_once(
        &self,
        key: String,
        address: String,
        amount_sat: u64,
        most: Option<FeeRate>,
    ) -> BoxFuture<'_, Result<(), CoinsNotSent>>;
}

/// Why coins were not sent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CoinsNotSent {
    /// They never will be under this key: nothing moved.
    #[error("{0}")]
    ForGood(String),
    /// It may be asked again.
    #[error("{0}")]
    Yet(String),
}

/// Invoices whose payment opens a channel are payable for this long at most, whatever their route says:
/// each is kept until then.
pub const OPENING_EXPIRY: Duration = Duration::from_secs(3_600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_larger_of_the_two_fees_is_kept_rounded_up() {
        let terms = OpeningTerms {
            min_fee_msat: Msat::from_sat(100).unwrap(),
            proportional_ppm: 10_000,
            smallest_msat: Msat::new(1).unwrap(),
            largest_msat: Msat::MAX,
            valid_until: Timestamp::from_secs(1),
        };
        let fee = |msat| terms.fee(Msat::new(msat).unwrap()).unwrap().msat();
        assert_eq!(fee(1_000), 100_000);
        assert_eq!(fee(10_000_000), 100_000);
        assert_eq!(fee(10_000_001), 100_001);
        assert_eq!(fee(Msat::MAX.msat()), Msat::MAX.msat() / 100);
    }

    #[test]
    fn what_an_order_asks_for_stays_what_was_agreed_to() {
        let payment = |to: &str, total_sat, state| OrderPayment {
            to: to.to_owned(),
            total_sat,
            fee_sat: 1,
            expires_at: Timestamp::from_secs(9),
            state,
        };
        let told = |lightning, onchain, funding: Option<&str>| OrderTold {
            order_id: "a".to_owned(),
            lightning,
            onchain,
            funding: funding.map(str::to_owned),
        };
        let first = told(Some(payment("lnbc1", 20, OrderPaid::Expected)), None, None);
        let changed = told(
            Some(payment("lnbc2", 30, OrderPaid::Paid)),
            Some(payment("bc1q", 30, OrderPaid::Expected)),
            Some("t:0"),
        );
        let followed = first.followed_by(changed);
        assert_eq!(followed, told(Some(payment("lnbc1", 20, OrderPaid::Paid)), None, Some("t:0")));
        assert_eq!(followed.followed_by(told(None, None, None)), followed, "what it leaves out stays");
    }
}
