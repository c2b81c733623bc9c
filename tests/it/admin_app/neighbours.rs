//! The other nodes of the world that is made up: peers, and a provider that opens and sells channels.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tollhouse::clock::Clock;
use tollhouse::inbound::{Inbound, Openings, Orders, OrdersParts};
use tollhouse::node::config::{JustInTime, Lsp};
use tollhouse::payments::Outbox;
use tollhouse::ports::{
    BoxFuture, ChannelOrders, CoinSender, CoinsNotSent, FeeRate, ForwardingFees, InvoiceAsk, NodeFault,
    OpeningInvoice, OpeningNode, OpeningTerms, OrderAsk, OrderLimits, OrderPaid, OrderPayment, OrderTold,
    PeerView, Peers, UnpaidOpening,
};
use tollhouse::store::Ledger;
use tollhouse::types::{Msat, PaymentHash};

use super::{MadeUpNode, START};

/// What an order costs.
pub(crate) const ORDER_SAT: u64 = 3_200;

impl Peers for MadeUpNode {
    fn peers(&self) -> BoxFuture<'_, Result<Vec<PeerView>, NodeFault>> {
        let peers = self.peers.lock().expect("not poisoned").clone();
        Box::pin(async { Ok(peers) })
    }

    fn forget(&self, peer: &str) -> BoxFuture<'_, Result<(), NodeFault>> {
        self.peers.lock().expect("not poisoned").retain(|known| known.peer != peer);
        Box::pin(async { Ok(()) })
    }

    fn set_fees(&self, channel_id: &str, fees: ForwardingFees) -> BoxFuture<'_, Result<(), NodeFault>> {
        let mut channels = self.channels.lock().expect("not poisoned");
        channels
            .iter_mut()
            .filter(|channel| channel.channel_id == channel_id)
            .for_each(|channel| channel.fees = fees);
        Box::pin(async { Ok(()) })
    }
}

impl OpeningNode for MadeUpNode {
    fn opening_terms(&self) -> BoxFuture<'_, Result<Vec<OpeningTerms>, NodeFault>> {
        let sat = |sat| Msat::from_sat(sat).expect("small");
        let terms = OpeningTerms {
            min_fee_msat: sat(2_000),
            proportional_ppm: 10_000,
            smallest_msat: sat(10_000),
            largest_msat: sat(1_000_000),
            valid_until: START.plus(std::time::Duration::from_secs(400 * 24 * 3_600)),
        };
        Box::pin(async { Ok(vec![terms]) })
    }

    fn opening_invoice(&self, _: InvoiceAsk, _: Msat) -> BoxFuture<'_, Result<OpeningInvoice, NodeFault>> {
        Box::pin(async { Err(NodeFault("it is made up".to_owned())) })
    }

    fn sleeps(&self, _: Msat) -> BoxFuture<'_, bool> {
        Box::pin(async { false })
    }

    fn unpaid_openings(&self) -> BoxFuture<'_, Result<Vec<UnpaidOpening>, NodeFault>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn forget_opening(&self, _: PaymentHash) -> BoxFuture<'_, Result<(), NodeFault>> {
        Box::pin(async { Ok(()) })
    }
}

impl ChannelOrders for MadeUpNode {
    fn order_limits(&self) -> BoxFuture<'_, Result<OrderLimits, NodeFault>> {
        let limits = OrderLimits {
            smallest_channel_sat: 100_000,
            largest_channel_sat: 16_000_000,
            smallest_receivable_sat: 0,
            largest_receivable_sat: 10_000_000,
            most_blocks: 30_000,
            confirms_within_blocks: 6,
        };
        Box::pin(async move { Ok(limits) })
    }

    fn place_order(&self, ask: OrderAsk) -> BoxFuture<'_, Result<OrderTold, NodeFault>> {
        let payment = |to: &str| OrderPayment {
            to: to.to_owned(),
            total_sat: ORDER_SAT,
            fee_sat: 3_000,
            expires_at: START.plus(std::time::Duration::from_secs(400 * 24 * 3_600)),
            state: OrderPaid::Expected,
        };
        let told = OrderTold {
            order_id: format!("{}\"><img src=x onerror=\"throw 1\">", ask.receivable_sat),
            lightning: Some(payment("<script>throw 1</script>")),
            onchain: Some(payment("bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080")),
            funding: None,
        };
        Box::pin(async { Ok(told) })
    }

    fn order(&self, _: String) -> BoxFuture<'_, Result<OrderTold, NodeFault>> {
        Box::pin(async { Err(NodeFault("it is made up".to_owned())) })
    }
}

impl CoinSender for MadeUpNode {
    fn send_once(
        &self,
        key: String,
        _: String,
        amount_sat: u64,
        most: Option<FeeRate>,
    ) -> BoxFuture<'_, Result<(), CoinsNotSent>> {
        if let Some(why) = self.down.lock().expect("not poisoned").clone() {
            return Box::pin(async { Err(CoinsNotSent::Yet(why)) });
        }
        self.ordered.lock().expect("not poisoned").push((key, amount_sat, most));
        Box::pin(async { Ok(()) })
    }
}

/// The provider's two desks.
pub(super) fn inbound(
    node: &Arc<MadeUpNode>,
    (ledger, outbox): (&Ledger, &Arc<Outbox>),
    clock: &Arc<dyn Clock>,
    tracker: &TaskTracker,
    stop: &CancellationToken,
) -> Inbound {
    let lsp =
        Lsp { node: format!("03{}", "5e".repeat(32)), address: "lsp.example:9735".to_owned(), token: None };
    let policy = JustInTime {
        lsp: lsp.clone(),
        max_fee: Msat::from_sat(10_000).expect("small"),
        max_fee_percent: 20,
        max_per_hour: 60,
    };
    let openings = Openings::new(node.clone(), policy, Arc::clone(clock));
    tracker.spawn(Arc::clone(&openings).watch(stop.clone()));
    let orders = Orders::new(OrdersParts {
        lsp,
        desk: node.clone(),
        node: node.clone(),
        ledger: ledger.clone(),
        outbox: Arc::clone(outbox),
        coins: node.clone(),
        clock: Arc::clone(clock),
    });
    Inbound { openings: Some(openings), orders: Some(orders) }
}
