//! Channels that are ordered from an LSP and paid for (bLIP-51, LSPS1), followed to their end.
//!
//! Invariants: an order's price is known before it is paid, and no more than what the operator accepted
//! is paid for it; an order is paid once: how is chosen on disk before anything is paid, the operation
//! that pays has a key made of the order's number, and an invoice is paid once by its hash; whatever dies
//! in between, the order is found again and asked about until it is open, over, or its money is back.

mod follow;

use std::sync::Arc;
use std::time::Duration;

use lightning_invoice::Bolt11Invoice;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use thiserror::Error;
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::moment::Moment;
use crate::node::config::Lsp;
use crate::payments::{Outbox, PayAsk, PayError};
use crate::ports::{
    ChannelOrders, CoinSender, CoinsNotSent, FeeRate, NodeFault, NodeWatch, OrderAsk, OrderLimits,
    OrderPayment, OrderTold,
};
use crate::store::{
    BegunOperation, CUT_OFF, Ledger, ORDER_KEYS, OperationRow, OperationState, OrderRow, OrderState,
    OrderWay, OutgoingState, StoreError, UNLISTED,
};
use crate::types::{Msat, PaymentHash};

/// A payment's first news is waited for this long.
const FIRST_NEWS: Duration = Duration::from_secs(3);

/// What routing a payment for an order may cost: a hundredth of it, and at least this.
const LEAST_ROUTING: Msat = match Msat::from_sat(50) {
    Ok(fee) => fee,
    Err(_) => Msat::ZERO,
};

/// What an order is paid with in the record of operations, where that is a Lightning payment.
const KIND: &str = "buy_inbound";

/// What orders are made with.
pub struct OrdersParts {
    /// Who sells.
    pub lsp: Lsp,
    /// The way to it.
    pub desk: Arc<dyn ChannelOrders>,
    /// Tells which channels are there.
    pub node: Arc<dyn NodeWatch>,
    /// Where orders are noted.
    pub ledger: Ledger,
    /// Pays invoices.
    pub outbox: Arc<Outbox>,
    /// Sends coins.
    pub coins: Arc<dyn CoinSender>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// Orders channels, pays for them, and follows them.
pub struct Orders {
    parts: OrdersParts,
    news: Notify,
    /// An operation is not ended while its invoice is being paid, nor paid when it has ended.
    turn: tokio::sync::Mutex<()>,
}

/// Why an order was not placed or not paid. Nothing was paid by the call that gave it, but for what
/// [`OrderError::NotYet`] and [`OrderError::Store`] leave open.
#[derive(Debug, Error)]
pub enum OrderError {
    /// No such order.
    #[error("there is no order {0}")]
    Unknown(i64),
    /// The LSP does not answer, or refuses.
    #[error("the liquidity provider: {0}")]
    Lsp(NodeFault),
    /// What is asked for lies outside its limits.
    #[error("{what} must be {least} to {most}")]
    OutOfLimits {
        /// Which number.
        what: &'static str,
        /// The least.
        least: u64,
        /// The most.
        most: u64,
    },
    /// The order cannot be paid this way.
    #[error("the provider does not take {} for this order", .0.word())]
    WayNotTaken(OrderWay),
    /// It is being paid the other way.
    #[error("this order is being paid by {}", .0.word())]
    OtherWay(OrderWay),
    /// Its price ran out.
    #[error("the order has run out: ask for another price")]
    Expired,
    /// It is over.
    #[error("the order is {} already", .0.word())]
    Over(OrderState),
    /// Its provider does not say that the money went back.
    #[error("the provider does not say that it gave the money back")]
    NotRefunded,
    /// It costs more than was accepted.
    #[error("the order costs {total_sat} sat, and at most {most_sat} sat were accepted")]
    TooDear {
        /// What it costs.
        total_sat: u64,
        /// What was accepted.
        most_sat: u64,
    },
    /// Its invoice is not what the order says.
    #[error("the order's invoice does not ask for what the order costs")]
    BadInvoice,
    /// It could not be paid.
    #[error("it was not paid: {0}")]
    NotPaid(String),
    /// It was not paid as far as is known, and may be asked for again: it is paid once.
    #[error("it is not known to be paid: {0}")]
    NotYet(String),
    /// The ledger failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl OrderError {
    /// Stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            OrderError::Unknown(_) => "unknown_order",
            OrderError::Lsp(_) => "provider_refused",
            OrderError::OutOfLimits { .. } => "out_of_limits",
            OrderError::WayNotTaken(_) => "way_not_taken",
            OrderError::OtherWay(_) => "other_way",
            OrderError::Expired => "order_expired",
            OrderError::Over(_) => "order_over",
            OrderError::NotRefunded => "not_refunded",
            OrderError::TooDear { .. } => "too_expensive",
            OrderError::BadInvoice => "bad_invoice",
            OrderError::NotPaid(_) | OrderError::NotYet(_) => "not_paid",
            OrderError::Store(_) => "ledger_unavailable",
        }
    }
}

/// What whoever pays an order agreed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// The most that goes to the provider, satoshi.
    pub most_sat: u64,
    /// The highest fee rate of a transaction that pays it; without one, what the chain asks for then.
    pub most_rate: Option<FeeRate>,
}

/// Who sells channels, for the operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct OrdersView {
    /// The LSP's public key.
    pub node: String,
    /// Its address.
    pub address: String,
}

impl Orders {
    /// Over `parts`. Nothing is followed before [`Orders::watch`].
    pub fn new(parts: OrdersParts) -> Arc<Orders> {
        Arc::new(Orders { parts, news: Notify::new(), turn: tokio::sync::Mutex::default() })
    }

    /// Who sells.
    pub fn view(&self) -> OrdersView {
        OrdersView { node: self.parts.lsp.node.clone(), address: self.parts.lsp.address.clone() }
    }

    /// What may be ordered.
    ///
    /// # Errors
    /// When the provider does not answer.
    pub async fn limits(&self) -> Result<OrderLimits, OrderError> {
        self.parts.desk.order_limits().await.map_err(OrderError::Lsp)
    }

    /// Asks for a price: an order that binds nobody until it is paid.
    ///
    /// # Errors
    /// When there is none.
    pub async fn quote(&self, ask: OrderAsk) -> Result<OrderRow, OrderError> {
        let limits = self.limits().await?;
        let least = limits.smallest_receivable_sat.max(limits.smallest_channel_sat);
        let most = limits.largest_receivable_sat.min(limits.largest_channel_sat);
        if !(least..=most).contains(&ask.receivable_sat) {
            return Err(OrderError::OutOfLimits { what: "receivable_sat", least, most });
        }
        if !(1..=limits.most_blocks).contains(&ask.blocks) {
            let most = u64::from(limits.most_blocks);
            return Err(OrderError::OutOfLimits { what: "blocks", least: 1, most });
        }
        let told = self.parts.desk.place_order(ask).await.map_err(OrderError::Lsp)?;
        Ok(self.parts.ledger.note_order(self.parts.lsp.node.clone(), ask, told).await?)
    }

    /// The newest orders, newest first.
    ///
    /// # Errors
    /// When the ledger fails.
    pub async fn list(&self, limit: u32) -> Result<Vec<OrderRow>, OrderError> {
        Ok(self.parts.ledger.orders(limit).await?)
    }

    /// One order, asked about at the provider when it is not over.
    ///
    /// # Errors
    /// When there is none, or the ledger fails.
    pub async fn look(&self, order: i64) -> Result<OrderRow, OrderError> {
        let row = self.known(order).await?;
        if row.state.is_final() { Ok(row) } else { self.ask_about(row).await }
    }

    /// The operator saw the money of an order come back, as its provider says: the order is over. Again, it stays so.
    ///
    /// # Errors
    /// When there is none, it is over in another way, or its provider does not say so.
    pub async fn close(&self, order: i64) -> Result<OrderRow, OrderError> {
        let row = self.known(order).await?;
        match row.state {
            OrderState::Refunded => return Ok(row),
            over if over.is_final() => return Err(OrderError::Over(over)),
            _ if !row.refund_is_said() => return Err(OrderError::NotRefunded),
            _ => {}
        }
        let row = self.parts.ledger.change_order(order, OrderState::Refunded, None).await?;
        // Another end may have come first.
        if row.state == OrderState::Refunded { Ok(row) } else { Err(OrderError::Over(row.state)) }
    }

    /// The recorded operation that pays an order. One that is to be paid and has none was refused for now: nothing
    /// moved, and asked again it is tried again.
    ///
    /// # Errors
    /// When the ledger fails.
    pub async fn operation(ledger: &Ledger, row: &OrderRow) -> Result<Option<OperationRow>, StoreError> {
        ledger.operation_of_key(&key(row.id)).await
    }

    /// Pays an order once, however often it is asked, when it costs what was agreed to at most.
    ///
    /// # Errors
    /// When it is not paid.
    pub async fn pay(&self, order: i64, way: OrderWay, agreed: Agreed) -> Result<OrderRow, OrderError> {
        let Agreed { most_sat, most_rate } = agreed;
        let row = self.known(order).await?;
        if let Some(chosen) = row.way.filter(|chosen| *chosen != way) {
            return Err(OrderError::OtherWay(chosen));
        }
        match row.state {
            OrderState::Quoted | OrderState::Paying => {}
            OrderState::Paid | OrderState::Opened => return Ok(row),
            over => return Err(OrderError::Over(over)),
        }
        let payment = payment(&row.told, way).ok_or(OrderError::WayNotTaken(way))?.clone();
        if payment.total_sat > most_sat {
            return Err(OrderError::TooDear { total_sat: payment.total_sat, most_sat });
        }
        // One whose payment was refused for now, and never noted, is as one that was not chosen.
        let begun = self.parts.ledger.operation_of_key(&key(order)).await?.is_some();
        if !begun && self.parts.clock.now() >= payment.expires_at {
            return Err(OrderError::Expired);
        }
        let total = Msat::from_sat(payment.total_sat).map_err(|_| OrderError::BadInvoice)?;
        let invoice = match way {
            OrderWay::Lightning => Some(read(&payment.to, total)?),
            OrderWay::Onchain => None,
        };
        let (row, _) = self.parts.ledger.choose_order_way(order, way).await?;
        match (row.way, row.state) {
            (Some(chosen), _) if chosen != way => return Err(OrderError::OtherWay(chosen)),
            (_, OrderState::Paying) => {}
            _ => return Ok(row),
        }
        let paid = match invoice {
            Some(hash) => self.pay_invoice(&row, &payment, hash, total).await,
            None => self.pay_coins(&row, &payment, most_rate).await,
        };
        self.news.notify_one();
        match paid {
            Ok(()) => self.known(order).await,
            Err(NotPaid::ForGood(why)) => {
                self.parts.ledger.change_order(order, OrderState::Failed, None).await?;
                Err(OrderError::NotPaid(why))
            }
            Err(NotPaid::Yet(why)) => Err(OrderError::NotYet(why)),
        }
    }

    async fn pay_coins(
        &self,
        row: &OrderRow,
        payment: &OrderPayment,
        most_rate: Option<FeeRate>,
    ) -> Result<(), NotPaid> {
        let (key, to) = (key(row.id), payment.to.clone());
        let sent = self.parts.coins.send_once(key, to, payment.total_sat, most_rate);
        sent.await.map_err(|fault| match fault {
            CoinsNotSent::ForGood(why) => NotPaid::ForGood(why),
            CoinsNotSent::Yet(why) => NotPaid::Yet(why),
        })
    }

    async fn pay_invoice(
        &self,
        row: &OrderRow,
        payment: &OrderPayment,
        hash: PaymentHash,
        total: Msat,
    ) -> Result<(), NotPaid> {
        let yet = |error: StoreError| NotPaid::Yet(error.to_string());
        let ledger = &self.parts.ledger;
        let ask = json!({ "order": row.id, "payment_hash": hash, "amount_sat": payment.total_sat });
        let turn = self.turn.lock().await;
        let operation = match ledger.begin_operation(&key(row.id), KIND, ask).await.map_err(yet)? {
            BegunOperation::New(id) => id,
            // The outbox would try a payment anew that failed: of an operation that says so nobody would know it.
            BegunOperation::Known(known) | BegunOperation::Another(known)
                if known.state == OperationState::Failed =>
            {
                let why = known.outcome["reason"].as_str().unwrap_or("the payment failed");
                return Err(NotPaid::ForGood(why.to_owned()));
            }
            // The node tells what became of it, or the operator does: a word that is not theirs would end it.
            BegunOperation::Known(known) if known.state == OperationState::Unclear => return Ok(()),
            BegunOperation::Known(known) => known.id,
            BegunOperation::Another(_) => {
                return Err(NotPaid::Yet(
                    "another invoice of this order was paid before, or is being paid".to_owned(),
                ));
            }
        };
        Moment::Intended.reached();
        let share = Msat::new(total.msat() / 100).unwrap_or(Msat::ZERO);
        let ask = PayAsk {
            bolt11: payment.to.clone(),
            max_amount: total,
            max_fee: share.max(LEAST_ROUTING),
            wallet: None,
        };
        let paid = self.parts.outbox.pay(ask, FIRST_NEWS).await;
        drop(turn);
        match paid {
            Ok(_) => self.settle_payment(row.id, hash).await.map_err(yet).and_then(|failed| match failed {
                Some(why) => Err(NotPaid::ForGood(why)),
                None => Ok(()),
            }),
            // A crash may hide what became of it: what the ledger cannot say is asked again.
            Err(PayError::Store(error)) => Err(NotPaid::Yet(error.to_string())),
            // It was begun before: the refusal says nothing of that.
            Err(_)
                if ledger.outgoing(hash).await.map_err(yet)?.is_some_and(|row| perhaps_sent(&row.state)) =>
            {
                self.settle_payment(row.id, hash).await.map_err(yet).map(drop)
            }
            Err(refused) => {
                let facts = json!({ "reason": refused.to_string() });
                ledger.note_operation(operation, OperationState::Failed, facts).await.map_err(yet)?;
                Err(NotPaid::ForGood(refused.to_string()))
            }
        }
    }

    /// Brings the operation of a Lightning payment to where the payment stands; gives why it failed, if so.
    async fn settle_payment(&self, order: i64, hash: PaymentHash) -> Result<Option<String>, StoreError> {
        let ledger = &self.parts.ledger;
        let _turn = self.turn.lock().await;
        let Some(operation) = ledger.operation_of_key(&key(order)).await? else { return Ok(None) };
        let (state, facts, failed) = match ledger.outgoing(hash).await?.map(|row| row.state) {
            None => return Ok(None),
            Some(OutgoingState::Intended | OutgoingState::Sent) => {
                (OperationState::Sent, json!({ "payment_hash": hash }), None)
            }
            Some(OutgoingState::Succeeded { fee, .. }) => {
                (OperationState::Done, json!({ "payment_hash": hash, "fee_msat": fee }), None)
            }
            Some(OutgoingState::Presumed) => (OperationState::Done, json!({ "payment_hash": hash }), None),
            // The provider may have it: who asked for another price would pay for the channel twice.
            Some(state) if perhaps_sent(&state) => {
                (OperationState::Unclear, json!({ "payment_hash": hash, "reason": UNLISTED }), None)
            }
            Some(OutgoingState::Failed { reason }) => {
                (OperationState::Failed, json!({ "payment_hash": hash, "reason": reason }), Some(reason))
            }
        };
        // Of a payment that the node lost, or does not list, being sent is no news.
        if operation.state != OperationState::Unclear || state.is_final() {
            ledger.note_operation(operation.id, state, facts).await?;
        }
        Ok(failed)
    }

    async fn known(&self, order: i64) -> Result<OrderRow, OrderError> {
        self.parts.ledger.order(order).await?.ok_or(OrderError::Unknown(order))
    }
}

impl std::fmt::Debug for Orders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Orders").field("lsp", &self.parts.lsp).finish_non_exhaustive()
    }
}

/// Why a payment was not made.
enum NotPaid {
    /// It never will be: nothing moved.
    ForGood(String),
    /// It may be tried again: where the ledger failed, nobody knows yet whether it was paid.
    Yet(String),
}

/// Whether a stop cut the payment off: the provider may have it.
fn perhaps_sent(state: &OutgoingState) -> bool {
    matches!(state, OutgoingState::Failed { reason } if reason == CUT_OFF)
}

/// The key of the operation that pays an order: one for each.
fn key(order: i64) -> String {
    format!("{ORDER_KEYS}{order}")
}

fn payment(told: &OrderTold, way: OrderWay) -> Option<&OrderPayment> {
    match way {
        OrderWay::Lightning => told.lightning.as_ref(),
        OrderWay::Onchain => told.onchain.as_ref(),
    }
}

/// The hash of an order's invoice, which must ask for `total`.
fn read(bolt11: &str, total: Msat) -> Result<PaymentHash, OrderError> {
    let invoice: Bolt11Invoice = bolt11.parse().map_err(|_| OrderError::BadInvoice)?;
    if invoice.amount_milli_satoshis() != Some(total.msat()) {
        return Err(OrderError::BadInvoice);
    }
    Ok(PaymentHash::from_bytes(*invoice.payment_hash().as_ref()))
}

#[cfg(test)]
mod tests;
