//! Channels that others open to us: for one payment (bLIP-52, LSPS2), or ordered (bLIP-51, LSPS1).

use std::sync::Arc;

use ldk_node::lightning::ln::channelmanager::PaymentId;
use ldk_node::lightning_liquidity::lsps0::ser::LSPSDateTime;
use ldk_node::lightning_liquidity::lsps1::msgs::{
    LSPS1Options, LSPS1OrderId, LSPS1PaymentInfo, LSPS1PaymentState,
};
use ldk_node::lightning_liquidity::lsps2::msgs::{LSPS2GetInfoResponse, LSPS2OpeningFeeParams};
use ldk_node::liquidity::LSPS1OrderStatus;
use ldk_node::payment::{PaymentDirection, PaymentKind, PaymentStatus};
use ldk_node::{Node, NodeError};
use lightning_invoice::{Bolt11InvoiceDescription, Description};
use serde_json::{Value, json};

use super::config::Lsp;
use super::{LightningNode, enquiry};
use crate::ports::{
    BoxFuture, ChannelOrders, InvoiceAsk, MintedInvoice, NodeFault, OpeningInvoice, OpeningNode,
    OpeningTerms, OrderAsk, OrderLimits, OrderPaid, OrderPayment, OrderTold, UnpaidOpening,
};
use crate::types::{Msat, PaymentHash, Timestamp};

impl LightningNode {
    /// Asks an LSP what it sells.
    async fn enquire(&self, lsp: &Lsp, method: &'static str, params: Value) -> Result<Value, NodeFault> {
        let (lsp, entropy, now) = (lsp.clone(), Arc::clone(&self.entropy), self.clock.now());
        let asked = async move { enquiry::ask(&lsp, method, params, entropy.as_ref(), now).await };
        self.engine()?.run(asked).await?
    }
}

impl OpeningNode for LightningNode {
    fn opening_terms(&self) -> BoxFuture<'_, Result<Vec<OpeningTerms>, NodeFault>> {
        Box::pin(async move {
            let lsp = self.config.liquidity.just_in_time.as_ref().map(|just_in_time| &just_in_time.lsp);
            let lsp = lsp.ok_or_else(|| NodeFault("no LSP is set (liquidity.lsps2)".to_owned()))?;
            let told = self.enquire(lsp, "lsps2.get_info", json!({ "token": lsp.token })).await?;
            let told: LSPS2GetInfoResponse =
                serde_json::from_value(told).map_err(|_| NodeFault("it told no list of fees".to_owned()))?;
            Ok(told.opening_fee_params_menu.iter().take(MOST_TERMS).filter_map(terms).collect())
        })
    }

    fn opening_invoice(
        &self,
        ask: InvoiceAsk,
        most_fee: Msat,
    ) -> BoxFuture<'_, Result<OpeningInvoice, NodeFault>> {
        Box::pin(async move { self.call(move |node| opening_invoice(node, &ask, most_fee)).await? })
    }

    fn sleeps(&self, amount: Msat) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            let found = self.call(move |node| {
                node.list_channels().iter().any(|channel| {
                    let carries = channel.inbound_capacity_msat >= amount.msat();
                    channel.is_channel_ready && !channel.is_usable && carries
                })
            });
            found.await.unwrap_or(false)
        })
    }

    fn unpaid_openings(&self) -> BoxFuture<'_, Result<Vec<UnpaidOpening>, NodeFault>> {
        Box::pin(async move { self.call(unpaid).await })
    }

    fn forget_opening(&self, payment_hash: PaymentHash) -> BoxFuture<'_, Result<(), NodeFault>> {
        Box::pin(async move {
            let id = PaymentId(*payment_hash.as_bytes());
            self.call(move |node| node.remove_payment(&id)).await?.map_err(fault)
        })
    }
}

impl ChannelOrders for LightningNode {
    fn order_limits(&self) -> BoxFuture<'_, Result<OrderLimits, NodeFault>> {
        Box::pin(async move {
            let lsp = self.config.liquidity.orders.as_ref();
            let lsp = lsp.ok_or_else(|| NodeFault("no LSP is set (liquidity.lsps1)".to_owned()))?;
            let mut told = self.enquire(lsp, "lsps1.get_info", json!({})).await?;
            // Some providers put the options one level deeper, as an older draft said.
            if let Some(inner) = told.get_mut("options") {
                told = inner.take();
            }
            let told: LSPS1Options =
                serde_json::from_value(told).map_err(|_| NodeFault("it told no limits".to_owned()))?;
            Ok(OrderLimits {
                smallest_channel_sat: told.min_channel_balance_sat,
                largest_channel_sat: told.max_channel_balance_sat,
                smallest_receivable_sat: told.min_initial_lsp_balance_sat,
                largest_receivable_sat: told.max_initial_lsp_balance_sat,
                most_blocks: told.max_channel_expiry_blocks,
                confirms_within_blocks: told.min_funding_confirms_within_blocks,
            })
        })
    }

    fn place_order(&self, ask: OrderAsk) -> BoxFuture<'_, Result<OrderTold, NodeFault>> {
        Box::pin(async move {
            let placed = self.call(move |node| {
                let OrderAsk { receivable_sat, blocks, announce } = ask;
                node.lsps1_liquidity().request_channel(receivable_sat, 0, blocks, announce)
            });
            placed.await?.map(told).map_err(order_fault)
        })
    }

    fn order(&self, order_id: String) -> BoxFuture<'_, Result<OrderTold, NodeFault>> {
        Box::pin(async move {
            let id = LSPS1OrderId(order_id);
            let found = self.call(move |node| node.lsps1_liquidity().check_order_status(id)).await?;
            found.map(told).map_err(order_fault)
        })
    }
}

/// Lines of an LSP's list that are looked at.
const MOST_TERMS: usize = 16;

fn fault(error: NodeError) -> NodeFault {
    NodeFault(error.to_string())
}

fn order_fault(error: NodeError) -> NodeFault {
    match error {
        NodeError::LiquidityRequestFailed => NodeFault(
            "the LSP does not answer, or refuses: compare what is asked for with its limits".to_owned(),
        ),
        other => fault(other),
    }
}

fn instant(at: &LSPSDateTime) -> Timestamp {
    Timestamp::from_secs(u64::try_from(at.0.timestamp()).unwrap_or(0))
}

/// One line of the list; nothing when its amounts are none.
fn terms(told: &LSPS2OpeningFeeParams) -> Option<OpeningTerms> {
    Some(OpeningTerms {
        min_fee_msat: Msat::new(told.min_fee_msat).ok()?,
        proportional_ppm: told.proportional,
        smallest_msat: Msat::new(told.min_payment_size_msat).ok()?,
        largest_msat: Msat::new(told.max_payment_size_msat).unwrap_or(Msat::MAX),
        valid_until: instant(&told.valid_until),
    })
}

fn opening_invoice(node: &Node, ask: &InvoiceAsk, most_fee: Msat) -> Result<OpeningInvoice, NodeFault> {
    let text = Description::new(ask.description.clone()).map_err(|error| NodeFault(error.to_string()))?;
    let expiry = u32::try_from(ask.expiry.as_secs()).unwrap_or(u32::MAX);
    let invoice = node
        .bolt11_payment()
        .receive_via_jit_channel(
            ask.amount.msat(),
            &Bolt11InvoiceDescription::Direct(text),
            expiry,
            Some(most_fee.msat()),
        )
        .map_err(fault)?;
    let hash = PaymentHash::from_bytes(*invoice.payment_hash().as_ref());
    // What was agreed on stands in the record that the library has just made.
    let agreed = match node.payment(&PaymentId(*hash.as_bytes())).map(|payment| payment.kind) {
        Some(PaymentKind::Bolt11Jit { lsp_fee_limits, .. }) => lsp_fee_limits.max_total_opening_fee_msat,
        _ => None,
    };
    let fee = agreed.and_then(|msat| Msat::new(msat).ok()).unwrap_or(most_fee);
    let made = Timestamp::from_secs(invoice.duration_since_epoch().as_secs());
    let expires_at = made.plus(ask.expiry);
    let invoice = MintedInvoice { bolt11: invoice.to_string(), payment_hash: hash, expires_at };
    Ok(OpeningInvoice { invoice, fee })
}

fn unpaid(node: &Node) -> Vec<UnpaidOpening> {
    let mut found = Vec::new();
    for payment in node.list_payments_with_filter(|payment| {
        payment.direction == PaymentDirection::Inbound
            && payment.status != PaymentStatus::Succeeded
            && matches!(payment.kind, PaymentKind::Bolt11Jit { .. })
    }) {
        found.push(UnpaidOpening {
            payment_hash: PaymentHash::from_bytes(payment.id.0),
            made_at: Timestamp::from_secs(payment.latest_update_timestamp),
        });
    }
    found
}

/// What an LSP kept back of a payment for the channel that it opened for it.
pub(super) fn opening_fee(node: &Node, payment_hash: PaymentHash) -> Msat {
    let kept = match node.payment(&PaymentId(*payment_hash.as_bytes())).map(|payment| payment.kind) {
        Some(PaymentKind::Bolt11Jit { counterparty_skimmed_fee_msat, .. }) => counterparty_skimmed_fee_msat,
        _ => None,
    };
    kept.and_then(|msat| Msat::new(msat).ok()).unwrap_or(Msat::ZERO)
}

fn told(order: LSPS1OrderStatus) -> OrderTold {
    let LSPS1PaymentInfo { bolt11, onchain, .. } = order.payment_options;
    let lightning = bolt11.map(|way| OrderPayment {
        to: way.invoice.to_string(),
        total_sat: way.order_total_sat,
        fee_sat: way.fee_total_sat,
        expires_at: instant(&way.expires_at),
        state: paid(&way.state),
    });
    let onchain = onchain.map(|way| OrderPayment {
        to: way.address.to_string(),
        total_sat: way.order_total_sat,
        fee_sat: way.fee_total_sat,
        expires_at: instant(&way.expires_at),
        state: paid(&way.state),
    });
    let funding = order.channel_state.map(|channel| channel.funding_outpoint.to_string());
    OrderTold { order_id: order.order_id.0, lightning, onchain, funding }
}

fn paid(state: &LSPS1PaymentState) -> OrderPaid {
    match state {
        LSPS1PaymentState::ExpectPayment => OrderPaid::Expected,
        LSPS1PaymentState::Paid => OrderPaid::Paid,
        LSPS1PaymentState::Refunded => OrderPaid::Refunded,
    }
}
