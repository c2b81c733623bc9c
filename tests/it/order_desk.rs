//! A provider's desk that sells channels (bLIP-51, LSPS1): it speaks the protocol as a peer of its own, and
//! a test decides what becomes of its orders. The library has no such service to test against.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use ldk_node::lightning::ln::msgs::{DecodeError, Init, LightningError};
use ldk_node::lightning::ln::peer_handler::{
    CustomMessageHandler, ErroringMessageHandler, IgnoringMessageHandler, MessageHandler, PeerManager,
};
use ldk_node::lightning::ln::wire::CustomMessageReader;
use ldk_node::lightning::sign::{KeysManager, NodeSigner, Recipient};
use ldk_node::lightning::types::features::{InitFeatures, NodeFeatures};
use ldk_node::lightning::util::logger::{Logger, Record};
use ldk_node::lightning::util::ser::{LengthLimitedRead, LengthReadable};
use ldk_node::lightning_liquidity::lsps0::ser::{LSPS_MESSAGE_TYPE_ID, RawLSPSMessage};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What an order costs.
pub(crate) const PRICE_SAT: u64 = 1_500;

/// The desk. It closes when it is dropped.
pub(crate) struct OrderDesk {
    pub(crate) node: String,
    pub(crate) address: String,
    shop: Arc<Counter>,
    stop: CancellationToken,
}

impl Drop for OrderDesk {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Gives an invoice over so many millisatoshi, and an address, for the next order.
pub(crate) type Till = Box<dyn Fn(u64) -> (String, String) + Send + Sync>;

impl OrderDesk {
    pub(crate) async fn open(till: Till) -> OrderDesk {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port is free");
        let address = listener.local_addr().expect("bound").to_string();
        let keys = Arc::new(KeysManager::new(&[77; 32], 1, 1, true));
        let node = keys.get_node_id(Recipient::Node).expect("a key").to_string();
        let shop = Arc::new(Counter { till, state: Mutex::default() });
        let ignoring = Arc::new(IgnoringMessageHandler {});
        let handlers = MessageHandler {
            chan_handler: Arc::new(ErroringMessageHandler::new()),
            route_handler: Arc::clone(&ignoring),
            onion_message_handler: Arc::clone(&ignoring),
            custom_message_handler: Arc::clone(&shop),
            send_only_message_handler: ignoring,
        };
        let peers = Arc::new(PeerManager::new(handlers, 1, &[78; 32], Arc::new(Silent), keys));
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let ending = stop.clone();
        tasks.spawn(async move {
            let serve = async {
                while let Ok((stream, _)) = listener.accept().await {
                    let stream = stream.into_std().expect("a socket");
                    // It runs by itself.
                    drop(lightning_net_tokio::setup_inbound(Arc::clone(&peers), stream));
                }
            };
            let _ = ending.run_until_cancelled(serve).await;
            peers.disconnect_all_peers();
        });
        OrderDesk { node, address, shop, stop }
    }

    /// From now on, orders may be paid for so long.
    pub(crate) fn price_lasts(&self, span: Duration) {
        self.shop.state().lasts = span;
    }

    /// Says that an order's payment `way` (`bolt11` or `onchain`) stands like this.
    pub(crate) fn paid(&self, order: &str, way: &str, state: &str) {
        self.shop.state().orders.get_mut(order).expect("an order")["payment"][way]["state"] = json!(state);
    }

    /// Says that an order's channel was funded.
    pub(crate) fn funded(&self, order: &str, outpoint: &str) {
        let mut state = self.shop.state();
        let order = state.orders.get_mut(order).expect("an order");
        order["order_state"] = json!("COMPLETED");
        order["channel"] = json!({
            "funded_at": "2026-01-01T00:00:00Z",
            "funding_outpoint": outpoint,
            "expires_at": "2027-01-01T00:00:00Z",
        });
    }
}

struct Counter {
    till: Till,
    state: Mutex<State>,
}

struct State {
    orders: HashMap<String, Value>,
    answers: Vec<(PublicKey, RawLSPSMessage)>,
    lasts: Duration,
}

impl Default for State {
    fn default() -> State {
        State { orders: HashMap::new(), answers: Vec::new(), lasts: Duration::from_secs(3_600) }
    }
}

impl Counter {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panicked with it")
    }

    fn answer(&self, method: &str, params: &Value) -> Result<Value, Value> {
        match method {
            "lsps1.get_info" => Ok(json!({
                "min_required_channel_confirmations": 0,
                "min_funding_confirms_within_blocks": 6,
                "supports_zero_channel_reserve": false,
                "max_channel_expiry_blocks": 52_000,
                "min_initial_client_balance_sat": "0",
                "max_initial_client_balance_sat": "0",
                "min_initial_lsp_balance_sat": "100000",
                "max_initial_lsp_balance_sat": "5000000",
                "min_channel_balance_sat": "100000",
                "max_channel_balance_sat": "5000000",
            })),
            "lsps1.create_order" => {
                let (invoice, address) = (self.till)(PRICE_SAT * 1_000);
                let mut state = self.state();
                let ends = time::OffsetDateTime::now_utc() + state.lasts;
                let ends = ends.format(&time::format_description::well_known::Rfc3339).expect("a time");
                let id = format!("order-{}", state.orders.len() + 1);
                let mut order = params.clone();
                let way = json!({
                    "state": "EXPECT_PAYMENT",
                    "expires_at": ends,
                    "fee_total_sat": PRICE_SAT.to_string(),
                    "order_total_sat": PRICE_SAT.to_string(),
                });
                let (mut bolt11, mut onchain) = (way.clone(), way);
                bolt11["invoice"] = json!(invoice);
                onchain["address"] = json!(address);
                onchain["min_onchain_payment_confirmations"] = json!(1);
                onchain["min_fee_for_0conf"] = json!(253);
                order["order_id"] = json!(id);
                order["created_at"] = json!("2026-01-01T00:00:00Z");
                order["order_state"] = json!("CREATED");
                order["payment"] = json!({ "bolt11": bolt11, "onchain": onchain });
                order["channel"] = Value::Null;
                state.orders.insert(id, order.clone());
                Ok(order)
            }
            "lsps1.get_order" => {
                let id = params["order_id"].as_str().unwrap_or_default();
                let found = self.state().orders.get(id).cloned();
                found.ok_or_else(|| json!({ "code": 101, "message": "Not found" }))
            }
            _ => Err(json!({ "code": -32_601, "message": "Method not found" })),
        }
    }
}

impl CustomMessageReader for Counter {
    type CustomMessage = RawLSPSMessage;

    fn read<R: LengthLimitedRead>(
        &self,
        message_type: u16,
        buffer: &mut R,
    ) -> Result<Option<RawLSPSMessage>, DecodeError> {
        if message_type != LSPS_MESSAGE_TYPE_ID {
            return Ok(None);
        }
        RawLSPSMessage::read_from_fixed_length_buffer(buffer).map(Some)
    }
}

impl CustomMessageHandler for Counter {
    fn handle_custom_message(&self, message: RawLSPSMessage, from: PublicKey) -> Result<(), LightningError> {
        let asked: Value = serde_json::from_str(&message.payload).expect("a question in JSON");
        let method = asked["method"].as_str().expect("a method");
        let mut answer = json!({ "jsonrpc": "2.0", "id": asked["id"] });
        match self.answer(method, &asked["params"]) {
            Ok(result) => answer["result"] = result,
            Err(error) => answer["error"] = error,
        }
        self.state().answers.push((from, RawLSPSMessage { payload: answer.to_string() }));
        Ok(())
    }

    fn get_and_clear_pending_msg(&self) -> Vec<(PublicKey, RawLSPSMessage)> {
        std::mem::take(&mut self.state().answers)
    }

    fn peer_disconnected(&self, _peer: PublicKey) {}

    fn peer_connected(&self, _peer: PublicKey, _init: &Init, _inbound: bool) -> Result<(), ()> {
        Ok(())
    }

    fn provided_node_features(&self) -> NodeFeatures {
        NodeFeatures::empty()
    }

    fn provided_init_features(&self, _peer: PublicKey) -> InitFeatures {
        InitFeatures::empty()
    }
}

struct Silent;

impl Logger for Silent {
    fn log(&self, _record: Record<'_>) {}
}
