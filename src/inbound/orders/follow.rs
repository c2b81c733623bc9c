//! Follows orders to their end.
//!
//! Invariants: a provider's word ends no order to its own advantage: one is open when our node has the
//! channel, one that our operation paid never runs out unpaid, and its money is back when our payment failed or
//! the operator says so.

use std::sync::Arc;
use std::time::Duration;

use bitcoin::OutPoint;
use bitcoin::hashes::Hash;
use lightning_invoice::Bolt11Invoice;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{OrderError, Orders, key, payment};
use crate::ports::{ChannelView, NodeFault, OrderPaid, OrderTold};
use crate::store::{ChannelRow, OperationState, OrderRow, OrderState, OrderWay, StoreError};
use crate::types::{PaymentHash, Timestamp};

/// Orders that are being paid or opened are asked about this often.
const LOOK: Duration = Duration::from_secs(15);

/// An order that was to be paid and was not is over this long after its price ran out: a transaction may
/// be late.
const LATE: Duration = Duration::from_secs(14 * 24 * 3_600);

/// A payment that was asked for before the price ran out has begun this long after it, or never will.
const HASTE: Duration = Duration::from_secs(60);

impl Orders {
    /// Follows every order until `stop`. Begin when the node runs.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let work = async {
            loop {
                if let Err(error) = self.follow().await {
                    tracing::warn!(%error, "orders of channels could not be followed");
                }
                tokio::select! {
                    () = tokio::time::sleep(LOOK) => {}
                    () = self.news.notified() => {}
                }
            }
        };
        let _ = stop.run_until_cancelled(work).await;
    }

    pub(super) async fn follow(&self) -> Result<(), OrderError> {
        let now = self.parts.clock.now();
        for row in self.parts.ledger.open_orders().await? {
            match row.state {
                OrderState::Quoted => {
                    if now >= last_price(&row.told) {
                        self.parts.ledger.change_order(row.id, OrderState::Expired, None).await?;
                    }
                }
                _ => {
                    self.ask_about(row).await?;
                }
            }
        }
        Ok(())
    }

    /// Asks the provider how an order stands. When that does not answer, what we know ourselves still counts.
    pub(super) async fn ask_about(&self, row: OrderRow) -> Result<OrderRow, OrderError> {
        let lightning =
            payment(&row.told, OrderWay::Lightning).filter(|_| row.way == Some(OrderWay::Lightning));
        if let Some(hash) = lightning.and_then(|way| hash_of(&way.to)) {
            self.settle_payment(row.id, hash).await?;
        }
        // Another provider may be set by now, who knows nothing of it.
        let told = match row.lsp == self.parts.lsp.node {
            true => self.parts.desk.order(row.told.order_id.clone()).await,
            false => Err(NodeFault("it was placed with another provider".to_owned())),
        };
        let told = match told {
            Ok(told) => row.told.followed_by(told),
            Err(fault) => {
                tracing::debug!(order = row.id, %fault, "an order could not be asked about");
                row.told.clone()
            }
        };
        let state = self.state(&row, &told).await?;
        Ok(self.parts.ledger.change_order(row.id, state, Some(told)).await?)
    }

    /// Where an order stands that was told like this.
    async fn state(&self, row: &OrderRow, told: &OrderTold) -> Result<OrderState, StoreError> {
        if let Some(funding) = &told.funding
            && self.has_channel(row, funding).await?
        {
            return Ok(OrderState::Opened);
        }
        let Some(way) = row.way else { return Ok(row.state) };
        let said = payment(told, way).map(|payment| payment.state);
        if said == Some(OrderPaid::Paid) {
            return Ok(OrderState::Paid);
        }
        let operation = self.parts.ledger.operation_of_key(&key(row.id)).await?;
        let over = self.parts.clock.now() >= last_price(told).plus(LATE);
        let unbegun = self.parts.clock.now() >= last_price(told).plus(HASTE);
        Ok(match operation.as_ref().map(|operation| operation.state) {
            // It has nothing of ours, as far as we paid; while the price holds, a payment may be about to begin.
            Some(OperationState::Failed) if said == Some(OrderPaid::Refunded) => OrderState::Refunded,
            None if said == Some(OrderPaid::Refunded) && unbegun => OrderState::Refunded,
            // The provider has the money, whatever it says of that.
            Some(OperationState::Done) => OrderState::Paid,
            _ if row.state == OrderState::Paid => OrderState::Paid,
            Some(OperationState::Failed) => OrderState::Failed,
            // It is on its way, or nobody knows.
            Some(OperationState::Sent | OperationState::Unclear) => OrderState::Paying,
            None | Some(OperationState::Intended) if !over => OrderState::Paying,
            None => OrderState::Expired,
            Some(OperationState::Intended) => {
                self.give_up(row).await?;
                OrderState::Expired
            }
        })
    }

    /// Ends an operation that was noted, and whose payment never was.
    async fn give_up(&self, row: &OrderRow) -> Result<(), StoreError> {
        let _turn = self.turn.lock().await;
        let operation = self.parts.ledger.operation_of_key(&key(row.id)).await?;
        if let Some(operation) = operation.filter(|operation| operation.state == OperationState::Intended) {
            let facts = json!({ "reason": "never_sent" });
            self.parts.ledger.note_operation(operation.id, OperationState::Failed, facts).await?;
        }
        Ok(())
    }

    /// Whether our node has the channel that the provider names, or had it: one that came after the order,
    /// has the size that was ordered, and is not another order's.
    async fn has_channel(&self, row: &OrderRow, funding: &str) -> Result<bool, StoreError> {
        let ledger = &self.parts.ledger;
        let anothers = |other: &OrderRow| {
            let opened = other.id != row.id && other.state == OrderState::Opened;
            opened && other.told.funding.as_deref() == Some(funding)
        };
        if ledger.orders(u32::MAX).await?.iter().any(anothers) {
            return Ok(false);
        }
        let id = first_id(funding);
        let named = |channel: &&ChannelView| {
            channel.funding.as_deref() == Some(funding) || Some(&channel.channel_id) == id.as_ref()
        };
        let view = self.parts.node.view().await;
        if let Some(open) = view.channels.iter().find(named) {
            let record = ledger.channel_record(&open.local_id).await?;
            let new = record.is_none_or(|record| record.seen_at >= row.placed_at);
            return Ok(new && open.ready && !open.outbound && open.capacity_sat >= row.ask.receivable_sat);
        }
        // It may have come and gone while nobody could ask.
        let fits = |record: ChannelRow| {
            let new = record.seen_at >= row.placed_at && record.opened_height.is_some();
            new && !record.outbound && record.capacity_sat >= row.ask.receivable_sat
        };
        Ok(match id {
            Some(id) => ledger.channel_called(&id).await?.is_some_and(fits),
            None => false,
        })
    }
}

/// The id of the channel with this funding output (BOLT 2); it stays when the channel is spliced.
pub(super) fn first_id(funding: &str) -> Option<String> {
    let outpoint: OutPoint = funding.parse().ok()?;
    let mut id = outpoint.txid.to_byte_array();
    for (byte, of_index) in id.iter_mut().rev().zip(outpoint.vout.to_le_bytes()).take(2) {
        *byte ^= of_index;
    }
    Some(hex::encode(id))
}

/// When the last of its prices runs out.
fn last_price(told: &OrderTold) -> Timestamp {
    let ends = [&told.lightning, &told.onchain].into_iter().flatten().map(|payment| payment.expires_at);
    ends.max().unwrap_or_default()
}

fn hash_of(bolt11: &str) -> Option<PaymentHash> {
    let invoice: Bolt11Invoice = bolt11.parse().ok()?;
    Some(PaymentHash::from_bytes(*invoice.payment_hash().as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channels_first_id_is_made_of_its_funding() {
        let txid = format!("{}ff", "00".repeat(31));
        let id = |vout: u32| first_id(&format!("{txid}:{vout}")).unwrap();
        assert_eq!(id(0), format!("ff{}", "00".repeat(31)));
        assert_eq!(id(1), format!("ff{}01", "00".repeat(30)));
        assert_eq!(id(0x0203), format!("ff{}0203", "00".repeat(29)));
        assert_eq!(first_id("nonsense"), None);
    }
}
