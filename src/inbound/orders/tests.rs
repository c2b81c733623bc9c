//! What ends an order, against a provider that says what a test lets it say.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bitcoin::Network;
use lightning_invoice::Currency;
use serde_json::json;
use tempfile::TempDir;
use tokio_util::task::TaskTracker;

use super::{Agreed, Orders, OrdersParts, key};
use crate::clock::FixedClock;
use crate::node::config::Lsp;
use crate::payments::Outbox;
use crate::payments::tests::{hash, invoice, preimage};
use crate::ports::{
    BoxFuture, ChannelOrders, ChannelView, CoinSender, CoinsNotSent, FeeRate, NodeFault, NodeView, NodeWatch,
    OrderAsk, OrderLimits, OrderPaid, OrderPayment, OrderTold, Outgoing, Payer, SendFault,
};
use crate::store::{
    ChannelSeen, ChannelsSeen, Intent, Ledger, OperationState, OrderRow, OrderState, OrderWay, OutgoingState,
};
use crate::types::{Msat, PaymentHash, Timestamp};

const NOW: u64 = 1_800_000_000;
const FUNDING: &str = "00000000000000000000000000000000000000000000000000000000000000aa:1";

/// A provider, and a node that has the channels which a test gives it.
#[derive(Default)]
struct MadeUp {
    told: Mutex<Option<OrderTold>>,
    channels: Mutex<Vec<ChannelView>>,
    sends: Mutex<u32>,
}

impl ChannelOrders for MadeUp {
    fn order_limits(&self) -> BoxFuture<'_, Result<OrderLimits, NodeFault>> {
        Box::pin(async { Err(NodeFault("nobody asks".to_owned())) })
    }

    fn place_order(&self, _: OrderAsk) -> BoxFuture<'_, Result<OrderTold, NodeFault>> {
        Box::pin(async { Err(NodeFault("nobody asks".to_owned())) })
    }

    fn order(&self, _: String) -> BoxFuture<'_, Result<OrderTold, NodeFault>> {
        let told = self.told.lock().unwrap().clone();
        Box::pin(async { told.ok_or_else(|| NodeFault("it is away".to_owned())) })
    }
}

impl NodeWatch for MadeUp {
    fn view(&self) -> BoxFuture<'_, NodeView> {
        let channels = self.channels.lock().unwrap().clone();
        Box::pin(async { NodeView { running: true, channels, ..NodeView::default() } })
    }
}

impl CoinSender for MadeUp {
    fn send_once(
        &self,
        _: String,
        _: String,
        _: u64,
        _: Option<FeeRate>,
    ) -> BoxFuture<'_, Result<(), CoinsNotSent>> {
        Box::pin(async { Ok(()) })
    }
}

impl Payer for MadeUp {
    fn send(&self, _: &str, _: Msat) -> BoxFuture<'_, Result<(), SendFault>> {
        *self.sends.lock().unwrap() += 1;
        Box::pin(async { Ok(()) })
    }

    fn outgoing(&self, _: PaymentHash) -> BoxFuture<'_, Outgoing> {
        Box::pin(async { Outgoing::Unknown })
    }
}

struct World {
    made_up: Arc<MadeUp>,
    ledger: Ledger,
    clock: Arc<FixedClock>,
    orders: Arc<Orders>,
    _folder: TempDir,
}

fn told(state: OrderPaid, funding: Option<&str>) -> OrderTold {
    let payment = OrderPayment {
        to: "bcrt1q".to_owned(),
        total_sat: 3_000,
        fee_sat: 3_000,
        expires_at: Timestamp::from_secs(NOW + 3_600),
        state,
    };
    let funding = funding.map(str::to_owned);
    OrderTold { order_id: "a".to_owned(), lightning: None, onchain: Some(payment), funding }
}

impl World {
    fn new() -> World {
        let folder = TempDir::new().unwrap();
        let clock = FixedClock::at(Timestamp::from_secs(NOW));
        let (ledger, _) = Ledger::open(&folder.path().join("ledger.db"), clock.clone()).unwrap();
        let made_up = Arc::new(MadeUp::default());
        let tasks = TaskTracker::new();
        let outbox = Outbox::new(ledger.clone(), made_up.clone(), clock.clone(), Network::Regtest, tasks);
        let orders = Orders::new(OrdersParts {
            lsp: Lsp { node: "03aa".to_owned(), address: "lsp.example:9735".to_owned(), token: None },
            desk: made_up.clone(),
            node: made_up.clone(),
            ledger: ledger.clone(),
            outbox: Arc::new(outbox),
            coins: made_up.clone(),
            clock: clock.clone(),
        });
        World { made_up, ledger, clock, orders, _folder: folder }
    }

    /// An order that is being paid with coins.
    async fn order(&self) -> i64 {
        let ask = OrderAsk { receivable_sat: 500_000, blocks: 4_320, announce: false };
        let earlier = self.ledger.orders(u32::MAX).await.unwrap().len();
        let quote = OrderTold { order_id: format!("a{earlier}"), ..told(OrderPaid::Expected, None) };
        let id = self.ledger.note_order("03aa".to_owned(), ask, quote).await.unwrap().id;
        self.orders.pay(id, OrderWay::Onchain, Agreed { most_sat: 3_000, most_rate: None }).await.unwrap();
        id
    }

    /// Its operation stands so.
    async fn operation(&self, order: i64, state: OperationState) {
        self.ledger.begin_operation(&key(order), "send", json!({ "amount_sat": 3_000 })).await.unwrap();
        let row = self.ledger.operation_of_key(&key(order)).await.unwrap().unwrap();
        self.ledger.note_operation(row.id, state, json!({ "txid": "t" })).await.unwrap();
    }

    async fn look(&self, order: i64) -> OrderRow {
        self.orders.look(order).await.unwrap()
    }

    async fn state(&self, order: i64, said: Option<OrderTold>) -> OrderState {
        *self.made_up.told.lock().unwrap() = said;
        self.look(order).await.state
    }

    /// The node has this one channel, and the ledger has seen it.
    async fn channel(&self, channel: ChannelView) {
        let open = vec![ChannelSeen {
            local_id: channel.local_id.clone(),
            channel_id: channel.channel_id.clone(),
            peer: channel.peer.clone(),
            funding: channel.funding.clone(),
            capacity_sat: channel.capacity_sat,
            ours_sat: None,
            side_msat: None,
            outbound: channel.outbound,
            announced: false,
            ready: channel.ready,
        }];
        let seen = ChannelsSeen { open, ..ChannelsSeen::default() };
        self.ledger.note_channels(seen, 100).await.unwrap();
        *self.made_up.channels.lock().unwrap() = vec![channel];
    }
}

fn channel(local_id: &str) -> ChannelView {
    ChannelView {
        channel_id: "c".to_owned(),
        local_id: local_id.to_owned(),
        funding: Some(FUNDING.to_owned()),
        capacity_sat: 500_000,
        ready: true,
        ..ChannelView::default()
    }
}

#[tokio::test]
async fn an_order_is_open_when_the_node_has_the_channel_and_not_before() {
    let world = World::new();
    // It was there before anything was ordered.
    world.channel(channel("old")).await;
    world.clock.advance(Duration::from_secs(60));
    let order = world.order().await;
    let lies = || Some(told(OrderPaid::Paid, Some(FUNDING)));
    assert_eq!(world.state(order, lies()).await, OrderState::Paid);
    world.made_up.channels.lock().unwrap().clear();
    for wrong in [
        ChannelView { ready: false, ..channel("1") },
        ChannelView { capacity_sat: 499_999, ..channel("2") },
        ChannelView { outbound: true, ..channel("3") },
        ChannelView { funding: Some("another:0".to_owned()), ..channel("4") },
    ] {
        world.channel(wrong.clone()).await;
        assert_eq!(world.state(order, lies()).await, OrderState::Paid, "{wrong:?}");
    }
    world.channel(channel("5")).await;
    assert_eq!(world.state(order, lies()).await, OrderState::Opened);
    // One channel is not delivered twice.
    let second = world.order().await;
    assert_eq!(world.state(second, lies()).await, OrderState::Paid);
}

#[tokio::test]
async fn a_channel_that_was_spliced_or_closed_before_anybody_could_ask_was_opened() {
    let world = World::new();
    let order = world.order().await;
    let id = super::follow::first_id(FUNDING).unwrap();
    let spliced = ChannelView { channel_id: id, funding: Some("later:0".to_owned()), ..channel("1") };
    world.channel(spliced).await;
    let says = || Some(told(OrderPaid::Paid, Some(FUNDING)));
    assert_eq!(world.state(order, says()).await, OrderState::Opened);

    let world = World::new();
    let order = world.order().await;
    let id = super::follow::first_id(FUNDING).unwrap();
    world.channel(ChannelView { channel_id: id, ..channel("1") }).await;
    world.made_up.channels.lock().unwrap().clear();
    assert_eq!(world.state(order, says()).await, OrderState::Opened);
}

#[tokio::test]
async fn an_order_that_our_operation_paid_never_runs_out_unpaid() {
    let expected = || Some(told(OrderPaid::Expected, None));
    let months = Duration::from_secs(60 * 24 * 3_600);
    let world = World::new();
    let (silent, away, failed) = (world.order().await, world.order().await, world.order().await);
    world.clock.advance(months);
    // The provider never says that it has the money.
    world.operation(silent, OperationState::Sent).await;
    assert_eq!(world.state(silent, expected()).await, OrderState::Paying);
    world.operation(silent, OperationState::Done).await;
    assert_eq!(world.state(silent, expected()).await, OrderState::Paid);
    // It does not answer at all.
    world.operation(away, OperationState::Done).await;
    assert_eq!(world.state(away, None).await, OrderState::Paid);
    world.operation(failed, OperationState::Failed).await;
    assert_eq!(world.state(failed, None).await, OrderState::Failed);
}

/// Killed in the moment in which the node took the invoice, which its list does not have.
#[tokio::test]
async fn an_order_whose_payment_was_cut_off_is_not_over_before_somebody_tells() {
    let sat = |sat| Msat::from_sat(sat).unwrap();
    for (seed, arrives) in [(1, true), (2, false)] {
        let world = World::new();
        let to = invoice(seed, Currency::Regtest, Some(3_000_000));
        let way = OrderPayment { to: to.clone(), ..told(OrderPaid::Expected, None).onchain.unwrap() };
        let quote = OrderTold { lightning: Some(way), onchain: None, ..told(OrderPaid::Expected, None) };
        let ask = OrderAsk { receivable_sat: 500_000, blocks: 4_320, announce: false };
        let id = world.ledger.note_order("03aa".to_owned(), ask, quote.clone()).await.unwrap().id;
        world.ledger.choose_order_way(id, OrderWay::Lightning).await.unwrap();
        let noted = json!({ "order": id, "payment_hash": hash(seed), "amount_sat": 3_000 });
        world.ledger.begin_operation(&key(id), "buy_inbound", noted).await.unwrap();
        let (payment_hash, amount, max_fee) = (hash(seed), sat(3_000), sat(50));
        let intent = Intent { payment_hash, bolt11: to, amount, max_fee, wallet: None };
        world.ledger.intend(intent).await.unwrap();
        world.orders.parts.outbox.reconcile().await.unwrap();

        let operation = async || world.ledger.operation_of_key(&key(id)).await.unwrap().unwrap();
        assert_eq!(world.state(id, Some(quote.clone())).await, OrderState::Paying);
        assert_eq!(operation().await.state, OperationState::Unclear);
        // Asked for again, also when its invoice has lapsed, nothing is paid and nothing ended.
        for _ in 0..2 {
            let agreed = Agreed { most_sat: 3_000, most_rate: None };
            let row = world.orders.pay(id, OrderWay::Lightning, agreed).await.unwrap();
            assert_eq!((row.state, operation().await.state), (OrderState::Paying, OperationState::Unclear));
            world.clock.advance(Duration::from_secs(2 * 3_600));
        }
        assert_eq!(*world.made_up.sends.lock().unwrap(), 0);
        let (end, stands) = match arrives {
            true => {
                let preimage = preimage(seed);
                (OutgoingState::Succeeded { preimage, fee: sat(1) }, OrderState::Paid)
            }
            false => (OutgoingState::Failed { reason: "no route".to_owned() }, OrderState::Failed),
        };
        world.ledger.settle_outgoing(hash(seed), end).await.unwrap();
        assert_eq!(world.state(id, Some(quote)).await, stands);
        assert!(world.ledger.audit().await.unwrap().ok);
    }
}

#[tokio::test]
async fn the_providers_word_alone_brings_no_money_back() {
    let world = World::new();
    let refunded = || Some(told(OrderPaid::Refunded, None));
    for (ours, stays) in [
        (OperationState::Done, OrderState::Paid),
        (OperationState::Sent, OrderState::Paying),
        (OperationState::Unclear, OrderState::Paying),
        (OperationState::Intended, OrderState::Paying),
    ] {
        let order = world.order().await;
        world.operation(order, ours).await;
        assert_eq!(world.state(order, Some(told(OrderPaid::Expected, None))).await, stays);
        assert_eq!(world.orders.close(order).await.unwrap_err().code(), "not_refunded");
        assert_eq!(world.state(order, refunded()).await, stays);
        assert!(world.look(order).await.refund_is_said(), "{ours:?}");
        // The operator saw it come.
        for _ in 0..2 {
            assert_eq!(world.orders.close(order).await.unwrap().state, OrderState::Refunded);
        }
        assert!(!world.look(order).await.refund_is_said());
    }
    // Our own payment did not arrive, or was never made: there is nothing to come back.
    let (failed, none, quoted) = (world.order().await, world.order().await, world.order().await);
    world.operation(failed, OperationState::Failed).await;
    assert_eq!(world.state(failed, refunded()).await, OrderState::Refunded);
    assert_eq!(world.state(none, refunded()).await, OrderState::Paying, "it may be about to begin");
    world.clock.advance(Duration::from_secs(3_660));
    assert_eq!(world.state(none, refunded()).await, OrderState::Refunded);
    world.operation(quoted, OperationState::Failed).await;
    assert_eq!(world.state(quoted, None).await, OrderState::Failed);
    assert_eq!(world.orders.close(quoted).await.unwrap_err().code(), "order_over");
}

#[tokio::test]
async fn an_order_that_nothing_was_paid_for_runs_out() {
    let world = World::new();
    let (none, noted) = (world.order().await, world.order().await);
    world.operation(noted, OperationState::Intended).await;
    let expected = || Some(told(OrderPaid::Expected, None));
    world.clock.advance(Duration::from_secs(3_599 + 14 * 24 * 3_600));
    for order in [none, noted] {
        assert_eq!(world.state(order, expected()).await, OrderState::Paying);
    }
    world.clock.advance(Duration::from_secs(1));
    for order in [none, noted] {
        assert_eq!(world.state(order, expected()).await, OrderState::Expired);
    }
    let operation = world.ledger.operation_of_key(&key(noted)).await.unwrap().unwrap();
    assert_eq!(operation.state, OperationState::Failed, "nobody will end it otherwise");
}
