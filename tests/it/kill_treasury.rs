//! The program dies at a named moment of a move of coins, over real Lightning nodes and a chain: after the next start
//! there is one recorded operation, and the coins moved once or not at all.
//!
//! What dies is this test binary, started anew as `tollhouse run`, so that it can listen for the moment.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use bitcoin::{Address, Amount, ScriptBuf};
use ldk_node::lightning_invoice::{Bolt11InvoiceDescription, Description};
use ldk_node::payment::{PaymentDirection, PaymentKind, PaymentStatus};
use serde_json::{Value, json};
use tollhouse::moment::Moment;

use crate::appliance::{Appliance, TURN, bitcoind_section, until};
use crate::bitcoind::client;
use crate::inbound::Town;
use crate::kill_ledger::deadline::Deadline;
use crate::order_desk::{OrderDesk, PRICE_SAT};

/// The test's name, as the harness knows it, that is also the child.
const NAME: &str = "kill_treasury::a_kill_moves_no_coins_twice";
/// The child's configuration, and the moment at which it dies.
const FILE: &str = "KILL_TREASURY_FILE";
const MOMENT: &str = "KILL_TREASURY_MOMENT";

/// What the channel for the splices is worth.
const CHANNEL_SAT: u64 = 400_000;
const SPLICE_SAT: u64 = 50_000;

#[test]
fn a_kill_moves_no_coins_twice() {
    if let Some(file) = std::env::var_os(FILE) {
        child(Path::new(&file));
    }
    campaign(async |world| {
        world.dies_over_sends().await;
        world.dies_over_openings().await;
        world.dies_over_splices().await;
    });
}

#[test]
fn a_kill_pays_no_order_twice() {
    campaign(async |world| {
        world.dies_over_orders_paid_with_coins().await;
        world.dies_over_orders_paid_with_an_invoice().await;
    });
}

fn campaign(work: impl AsyncFnOnce(&mut World)) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let _turn = TURN.lock().await;
        let mut world = World::start().await;
        work(&mut world).await;
        world.end().await;
    });
}

/// Runs the appliance until it dies. Never returns into the harness.
#[expect(clippy::disallowed_methods, reason = "the child must not come back to the harness")]
fn child(file: &Path) -> ! {
    Deadline::set(&std::env::var(MOMENT).expect("a moment"));
    let file = file.display().to_string();
    tollhouse::cli::run(["tollhouse", "run", "--config", &file].map(Into::into));
    std::process::exit(0)
}

/// The first, the second time that a moment comes.
fn at(moment: Moment, time: u64) -> Deadline {
    Deadline { moment, time }
}

/// A call that moves coins.
struct Call {
    path: String,
    key: &'static str,
    body: Value,
}

impl Call {
    fn new(path: impl Into<String>, key: &'static str, body: Value) -> Call {
        Call { path: path.into(), key, body }
    }
}

/// A shop with coins, a peer, and a desk that sells channels.
struct World {
    town: Arc<Town>,
    desk: OrderDesk,
    shop: Appliance,
}

impl World {
    async fn start() -> World {
        let town = Arc::new(Town::start().await);
        let till = Arc::clone(&town);
        let desk = OrderDesk::open(Box::new(move |msat| {
            let description = Description::new("a channel".to_owned()).expect("short");
            let description = Bolt11InvoiceDescription::Direct(description);
            let invoice = till.lsp.bolt11_payment().receive(msat, &description, 3_600).expect("an invoice");
            (invoice.to_string(), till.lsp.onchain_payment().new_address().expect("an address").to_string())
        }))
        .await;
        let orders = format!("[liquidity.lsps1]\nnode = \"{}\"\naddress = \"{}\"\n", desk.node, desk.address);
        let shop = Appliance::start(&bitcoind_section(town.port), &orders);
        shop.up().await;
        let address = shop.post("/api/v1/onchain/address", json!({})).await["address"].clone();
        let address: Address<_> = address.as_str().expect("text").parse().expect("an address");
        // Several coins: what an undecided transaction holds is not all there is.
        for _ in 0..4 {
            let coins = Amount::from_sat(500_000);
            town.chain.faucet_send(&address.clone().assume_checked(), coins).expect("the faucet is full");
        }
        town.mine(6);
        shop.node("the coins", |node| node["onchain_spendable_sat"].as_u64() >= Some(2_000_000)).await;
        World { town, desk, shop }
    }

    async fn end(&mut self) {
        let audit = self.shop.get("/api/v1/audit").await;
        assert_eq!(audit["ok"], true, "{audit}");
        self.shop.stop().await;
        self.town.end().await;
    }

    /// The appliance is started anew, and dies at `deadline`, which is when `call` is carried out. Then it runs again.
    async fn dies(&mut self, deadline: Deadline, call: &Call) {
        self.shop.stop().await;
        let mut doomed = Command::new(std::env::current_exe().expect("this binary"));
        doomed.env_clear().env("HOME", self.shop.home()).env("TMPDIR", self.shop.home());
        doomed.env(FILE, self.shop.config_file()).env(MOMENT, deadline.told());
        doomed.stdin(Stdio::null()).args([NAME, "--exact", "--nocapture"]);
        self.shop.start_as(doomed);
        self.ready().await;
        let answer = self.tell(call).await;
        assert!(answer.is_none(), "{deadline:?}: it should have died: {answer:?}");
        let (status, said) = self.shop.process().ended().await;
        assert_eq!(status.code(), None, "{deadline:?}: it was to die, and not to end: {said}");
        self.shop.start_again();
        self.ready().await;
    }

    /// It runs, and every channel can be used.
    async fn ready(&self) {
        let usable = |node: &Value| {
            let mut channels = node["channels"].as_array().into_iter().flatten();
            node["running"] == true && channels.all(|channel| channel["usable"] == true)
        };
        self.shop.node("the node, with its channels", usable).await;
    }

    /// Makes the call; `None` when the answer did not come.
    async fn tell(&self, call: &Call) -> Option<Value> {
        let request = client().post(format!("{}{}", self.shop.admin, call.path));
        let request =
            request.bearer_auth(self.shop.key().expect("a key")).header("idempotency-key", call.key);
        request.json(&call.body).send().await.ok()?.json().await.ok()
    }

    /// The one operation of that key, once the treasury has looked what became of it. Asking again adds none.
    async fn found(&self, call: &Call, key: &str) -> Value {
        for _ in 0..2 {
            self.tell(call).await.expect("an answer");
        }
        until("the operation to be looked up", async || {
            let row = self.operation(key).await;
            (row["state"] != "intended").then_some(row)
        })
        .await
    }

    async fn operation(&self, key: &str) -> Value {
        let page = self.shop.get("/api/v1/operations?limit=500").await;
        let rows = page["operations"].as_array().expect("a list").clone();
        let mut rows = rows.into_iter().filter(|row| row["key"] == key);
        let row = rows.next().unwrap_or_else(|| panic!("no operation {key}: {page}"));
        assert_eq!(rows.next(), None, "two operations of one key");
        row
    }

    async fn settled(&self, row: &Value, outcome: &str) {
        let path = format!("/api/v1/operations/{}/settle", row["operation"]);
        let row = self.shop.post(&path, json!({ "outcome": outcome })).await;
        assert_eq!(row["state"], outcome, "{row}");
    }

    /// A fresh address of the peer's.
    fn address(&self) -> Address {
        self.town.lsp.onchain_payment().new_address().expect("an address")
    }

    /// How many outputs on the chain, and on their way to it, pay to that address.
    fn arrived(&self, to: &Address) -> usize {
        let chain = &self.town.chain;
        let script: ScriptBuf = to.script_pubkey();
        let waiting = chain.mempool_txids().into_iter().filter_map(|txid| chain.mempool_entry(&txid));
        let waiting = waiting.flat_map(|entry| entry.tx.output);
        let blocks = chain.blocks();
        let mined = blocks.iter().flat_map(|block| &block.txdata).flat_map(|tx| tx.output.clone());
        waiting.chain(mined).filter(|output| output.script_pubkey == script).count()
    }

    /// Waits until the operation has an end, over some blocks.
    async fn ended(&self, key: &str) -> Value {
        until("the operation's end", async || {
            let row = self.operation(key).await;
            if row["ended_at"].is_null() {
                self.town.mine(1);
                tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            }
            (!row["ended_at"].is_null()).then_some(row)
        })
        .await
    }

    async fn dies_over_sends(&mut self) {
        for (moment, key) in [(Moment::Intended, "send-intended"), (Moment::Asked, "send-asked")] {
            let to = self.address();
            let body = json!({ "address": to.to_string(), "amount_sat": 60_000 });
            let call = Call::new("/api/v1/onchain/send", key, body);
            self.dies(at(moment, 1), &call).await;
            let row = self.found(&call, key).await;
            let arrived = self.arrived(&to);
            eprintln!("{key}: {} with {arrived} outputs", row["state"]);
            match moment {
                Moment::Intended => assert_eq!((arrived, &row["state"]), (0, &json!("unclear")), "{row}"),
                _ => assert!(arrived <= 1 && row["state"] != "failed", "{row}"),
            }
            // What was sent is found by itself; of the rest only a person can say that nothing was.
            if arrived == 0 {
                self.settled(&row, "failed").await;
                self.town.mine(6);
                assert_eq!(self.arrived(&to), 0, "it was sent, and not found");
            } else {
                assert_eq!(self.ended(key).await["state"], "done");
                assert_eq!(self.arrived(&to), 1);
            }
        }
    }

    /// How many channels both sides see.
    async fn channels(&self) -> (usize, usize) {
        let node = self.shop.up().await;
        let shop: bitcoin::secp256k1::PublicKey =
            node["node_id"].as_str().expect("a key").parse().expect("a key");
        let theirs = self.town.lsp.list_channels();
        let theirs = theirs.iter().filter(|channel| channel.counterparty_node_id == shop).count();
        (node["channels"].as_array().map_or(0, Vec::len), theirs)
    }

    fn opening(&self, key: &'static str) -> Call {
        let (peer, address) = (self.town.lsp.node_id().to_string(), self.town.lsp_address.clone());
        let body = json!({ "peer": peer, "address": address, "amount_sat": CHANNEL_SAT });
        Call::new("/api/v1/channels", key, body)
    }

    async fn dies_over_openings(&mut self) {
        for (moment, key) in [(Moment::Intended, "open-intended"), (Moment::Asked, "open-asked")] {
            let (before, _) = self.channels().await;
            let call = self.opening(key);
            self.dies(at(moment, 1), &call).await;
            let row = self.found(&call, key).await;
            self.town.mine(6);
            let row = match row["state"].as_str() {
                Some("failed") => row,
                _ => self.ended(key).await,
            };
            let (ours, _) = self.channels().await;
            eprintln!("{key}: {}, {ours} channels", row["state"]);
            match moment {
                Moment::Intended => assert_eq!((&row["state"], ours), (&json!("failed"), before), "{row}"),
                _ => assert_eq!(ours, before + usize::from(row["state"] == "done"), "{row}"),
            }
        }
    }

    /// A channel to the peer, ready for use.
    async fn opens(&self) -> String {
        let call = self.opening("open");
        self.tell(&call).await.expect("an answer");
        until("the funding", async || (!self.town.chain.mempool_txids().is_empty()).then_some(())).await;
        self.town.mine(6);
        let row = self.ended("open").await;
        assert_eq!(row["state"], "done", "{row}");
        self.ready().await;
        row["outcome"]["channel_id"].as_str().expect("an id").to_owned()
    }

    async fn capacity(&self, id: &str) -> u64 {
        let node = self.shop.up().await;
        let mut channels = node["channels"].as_array().into_iter().flatten();
        let channel = channels.find(|channel| channel["channel_id"] == id).expect("the channel");
        channel["capacity_sat"].as_u64().expect("a number")
    }

    async fn dies_over_splices(&mut self) {
        let id = self.opens().await;
        for (moment, way, key) in [
            (Moment::Intended, "in", "splice-in-intended"),
            (Moment::Asked, "in", "splice-in-asked"),
            (Moment::Intended, "out", "splice-out-intended"),
            (Moment::Asked, "out", "splice-out-asked"),
        ] {
            let (before, to) = (self.capacity(&id).await, self.address());
            let body = match way {
                "in" => json!({ "amount_sat": SPLICE_SAT }),
                _ => json!({ "amount_sat": SPLICE_SAT, "address": to.to_string() }),
            };
            let call = Call::new(format!("/api/v1/channels/{id}/splice-{way}"), key, body);
            self.dies(at(moment, 1), &call).await;
            self.found(&call, key).await;
            for _ in 0..6 {
                self.town.mine(1);
                self.ready().await;
            }
            // What both sides signed is followed by itself; of the rest only a person can say that nothing moved.
            let row = self.operation(key).await;
            let signed =
                row["state"] != "unclear" || self.arrived(&to) > 0 || self.capacity(&id).await != before;
            let row = match signed && row["ended_at"].is_null() {
                true => self.ended(key).await,
                false => row,
            };
            let (after, arrived) = (self.capacity(&id).await, self.arrived(&to));
            eprintln!("{key}: {}; {before} sat are {after} sat, {arrived} outputs", row["state"]);
            let moved = after != before;
            assert!(!(moved && moment == Moment::Intended), "nobody asked for it: {row}");
            assert_eq!(moved, row["state"] == "done", "{row}");
            match (way, moved) {
                ("in", true) => assert_eq!(after, before + SPLICE_SAT, "{row}"),
                (_, true) => {
                    assert!(after < before - SPLICE_SAT && after > before - 2 * SPLICE_SAT, "{row}");
                    assert_eq!(arrived, 1, "{row}");
                }
                _ => assert_eq!(arrived, 0, "{row}"),
            }
            if row["state"] == "unclear" {
                self.settled(&row, "failed").await;
            }
        }
        self.dies_while_a_splice_waits_for_a_block(&id).await;
    }

    /// Killed from outside, when both sides signed and the transaction is on its way.
    async fn dies_while_a_splice_waits_for_a_block(&mut self, id: &str) {
        let (before, to, key) = (self.capacity(id).await, self.address(), "splice-out-killed");
        let body = json!({ "amount_sat": SPLICE_SAT, "address": to.to_string() });
        let call = Call::new(format!("/api/v1/channels/{id}/splice-out"), key, body);
        self.tell(&call).await.expect("an answer");
        until("the splice", async || (self.arrived(&to) == 1).then_some(())).await;
        self.shop.kill().await;
        self.shop.start_again();
        self.ready().await;
        self.found(&call, key).await;
        assert_eq!(self.ended(key).await["state"], "done");
        let after = self.capacity(id).await;
        assert!(
            after < before - SPLICE_SAT && after > before - 2 * SPLICE_SAT,
            "{before} sat are {after} sat"
        );
        assert_eq!(self.arrived(&to), 1);
    }

    /// An order that was quoted: its number, and the name that the desk gave it.
    async fn order(&self) -> (i64, Value) {
        let order = self.shop.post("/api/v1/inbound/orders", json!({ "receivable_sat": 200_000 })).await;
        assert_eq!(order["state"], "quoted", "{order}");
        (order["id"].as_i64().expect("a number"), order)
    }

    fn paying(order: i64, way: &str) -> Call {
        let body = json!({ "way": way, "max_total_sat": PRICE_SAT });
        Call::new(format!("/api/v1/inbound/orders/{order}/pay"), "unused", body)
    }

    async fn dies_over_orders_paid_with_coins(&mut self) {
        for moment in [Moment::Intended, Moment::Asked] {
            let (id, order) = self.order().await;
            let to: Address<_> = order["onchain"]["to"].as_str().expect("one").parse().expect("an address");
            let (to, key) = (to.assume_checked(), format!("inbound-order-{id}"));
            let call = World::paying(id, "onchain");
            self.dies(at(moment, 1), &call).await;
            let row = self.found(&call, &key).await;
            let arrived = self.arrived(&to);
            eprintln!("order {id} by coins, {moment:?}: {} with {arrived} outputs", row["state"]);
            assert!(arrived <= usize::from(moment == Moment::Asked), "{row}");
            if arrived == 0 {
                self.settled(&row, "failed").await;
                let told = self.shop.get(&format!("/api/v1/inbound/orders/{id}")).await;
                assert_eq!(told["state"], "failed", "{told}");
                self.town.mine(6);
                assert_eq!(self.arrived(&to), 0, "it was paid, and not found");
            } else {
                assert_eq!(self.ended(&key).await["state"], "done");
                self.desk.paid(order["order_id"].as_str().expect("a name"), "onchain", "PAID");
                let told = self.shop.get(&format!("/api/v1/inbound/orders/{id}")).await;
                assert_eq!((&told["state"], self.arrived(&to)), (&json!("paid"), 1), "{told}");
            }
        }
    }

    /// How often the peer was paid over Lightning, and how much, satoshi.
    fn received(&self) -> (usize, u64) {
        let came = |payment: &&ldk_node::payment::PaymentDetails| {
            payment.direction == PaymentDirection::Inbound
                && payment.status == PaymentStatus::Succeeded
                && matches!(payment.kind, PaymentKind::Bolt11 { .. })
        };
        let came = self.town.lsp.list_payments_with_filter(came);
        (came.len(), came.iter().filter_map(|payment| payment.amount_msat).sum::<u64>() / 1_000)
    }

    async fn dies_over_orders_paid_with_an_invoice(&mut self) {
        self.opens().await;
        for (moment, time) in [(Moment::Intended, 1), (Moment::Intended, 2), (Moment::Asked, 1)] {
            let (before, _) = self.received();
            let (id, _) = self.order().await;
            let (call, key) = (World::paying(id, "lightning"), format!("inbound-order-{id}"));
            self.dies(at(moment, time), &call).await;
            let row = self.found(&call, &key).await;
            let row = match row["state"].as_str() {
                // The node's list does not have it: whoever asked the provider says so.
                Some("unclear") => {
                    assert_eq!(self.received().0, before, "{row}");
                    self.settled(&row, "failed").await;
                    self.operation(&key).await
                }
                _ if row["ended_at"].is_null() => self.ended(&key).await,
                _ => row,
            };
            let (came, sat) = self.received();
            eprintln!(
                "order {id} by invoice, {moment:?} {time}: {}, paid {} times",
                row["state"],
                came - before
            );
            assert!(came <= before + 1, "{row}");
            assert_eq!(row["state"], if came > before { "done" } else { "failed" }, "{row}");
            assert_eq!(sat, u64::try_from(came).expect("few") * PRICE_SAT, "an order costs its price");
        }
    }
}
