//! Two LDK nodes live a channel's whole life (open, pay, close together, open again, force close, sweep) on the in-box
//! chain, whose blocks a real bitcoind must then take; on a real bitcoind; and on that behind the tests' Esplora.

use std::str::FromStr;
use std::time::Duration;

use bitcoin::{Address, Amount};
use ldk_node::bitcoin::Network;
use ldk_node::lightning::ln::msgs::SocketAddress;
use ldk_node::lightning_invoice::{Bolt11InvoiceDescription, Description};
use ldk_node::{Builder, Event, Node, PendingSweepBalance, UserChannelId};
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tollhouse::clock::SystemClock;
use tollhouse::sandbox::chain::Chain;
use tollhouse::sandbox::rpc::{self, Access};
use tollhouse::types::Timestamp;

use crate::bitcoind::{Bitcoind, assert_accepted, free_port};
use crate::esplora::Esplora;

const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);
const FUNDS_SAT: u64 = 1_000_000;
const CHANNEL_SAT: u64 = 300_000;
const PUSH_MSAT: u64 = 100_000_000;
/// The nodes never call each other's outputs theirs before this many blocks.
const FORCE_CLOSE_DELAY: u32 = 144;

/// A chain that a node can be put on.
trait Ground {
    fn attach(&self, builder: &mut Builder);
    fn fund(&self, address: &Address);
    fn mine(&self, count: u32);
    fn waiting(&self) -> usize;
}

struct InBox {
    chain: Chain,
    port: u16,
}

impl Ground for InBox {
    fn attach(&self, builder: &mut Builder) {
        let (user, password) = ("user".to_owned(), "password".to_owned());
        builder.set_chain_source_bitcoind_rpc("127.0.0.1".to_owned(), self.port, user, password);
    }

    fn fund(&self, address: &Address) {
        self.chain.faucet_send(address, Amount::from_sat(FUNDS_SAT)).expect("the faucet is full");
    }

    fn mine(&self, count: u32) {
        self.chain.mine(count).expect("memory does not fail");
    }

    fn waiting(&self) -> usize {
        self.chain.mempool_txids().len()
    }
}

struct Real<'a> {
    runtime: &'a Runtime,
    bitcoind: Bitcoind,
    /// The node's way to it; its RPC when there is none.
    esplora: Option<Esplora>,
}

impl Ground for Real<'_> {
    fn attach(&self, builder: &mut Builder) {
        match &self.esplora {
            Some(esplora) => builder.set_chain_source_esplora(esplora.url.clone(), None),
            None => builder.set_chain_source_bitcoind_rpc(
                "127.0.0.1".to_owned(),
                self.bitcoind.port(),
                Bitcoind::USER.to_owned(),
                Bitcoind::PASSWORD.to_owned(),
            ),
        };
    }

    fn fund(&self, address: &Address) {
        self.runtime.block_on(self.bitcoind.send(address, Amount::from_sat(FUNDS_SAT)));
    }

    fn mine(&self, count: u32) {
        self.runtime.block_on(self.bitcoind.mine(count));
    }

    fn waiting(&self) -> usize {
        let waiting = self.runtime.block_on(self.bitcoind.expect("getrawmempool", json!([])));
        waiting.as_array().expect("a list").len()
    }
}

struct Pair<'a> {
    ground: &'a dyn Ground,
    runtime: &'a Runtime,
    alice: Node,
    bob: Node,
    _folders: [TempDir; 2],
}

impl<'a> Pair<'a> {
    fn start(ground: &'a dyn Ground, runtime: &'a Runtime) -> Pair<'a> {
        let folders = [TempDir::new().expect("a folder"), TempDir::new().expect("a folder")];
        let [alice, bob] = folders.each_ref().map(|folder| {
            let mut builder = Builder::new();
            builder.set_network(Network::Regtest);
            builder.set_storage_dir_path(folder.path().display().to_string());
            let address = SocketAddress::from_str(&format!("127.0.0.1:{}", free_port())).expect("an address");
            builder.set_listening_addresses(vec![address]).expect("one address");
            ground.attach(&mut builder);
            let node = builder.build().expect("the node builds");
            node.start().expect("the node starts");
            ground.fund(&node.onchain_payment().new_address().expect("an address"));
            node
        });
        let pair = Pair { ground, runtime, alice, bob, _folders: folders };
        pair.mine(6);
        for node in [&pair.alice, &pair.bob] {
            assert_eq!(node.list_balances().spendable_onchain_balance_sats, FUNDS_SAT);
        }
        pair
    }

    fn mine(&self, count: u32) {
        self.ground.mine(count);
        // A call while the node syncs by itself waits for that one, which may have begun before the blocks: the
        // second has seen them.
        for node in [&self.alice, &self.bob, &self.alice, &self.bob] {
            node.sync_wallets().expect("it syncs");
        }
    }

    /// Mines what the nodes broadcast, as soon as it arrives.
    fn confirm(&self, count: u32) {
        self.until("a transaction to be broadcast", || self.ground.waiting() > 0);
        self.mine(count);
    }

    fn until(&self, what: &str, done: impl Fn() -> bool) {
        let polls = PATIENCE.as_millis() / POLL.as_millis();
        for _ in 0..polls {
            if done() {
                return;
            }
            std::thread::sleep(POLL);
        }
        panic!("waited in vain for {what}");
    }

    /// Handles a node's events until one answers.
    fn event<T>(&self, node: &Node, what: &str, wanted: impl Fn(&Event) -> Option<T>) -> T {
        loop {
            let next = self
                .runtime
                .block_on(async { tokio::time::timeout(PATIENCE, node.next_event_async()).await });
            let event = next.unwrap_or_else(|_| panic!("waited in vain for {what}"));
            node.event_handled().expect("the event is done with");
            if let Some(found) = wanted(&event) {
                return found;
            }
        }
    }

    fn open(&self) -> UserChannelId {
        let address = self.bob.listening_addresses().expect("bob listens")[0].clone();
        let channel = self
            .alice
            .open_channel(self.bob.node_id(), address, CHANNEL_SAT, Some(PUSH_MSAT), None)
            .expect("the channel is asked for");
        self.confirm(6);
        for node in [&self.alice, &self.bob] {
            self.event(node, "the channel", |event| {
                matches!(event, Event::ChannelReady { .. }).then_some(())
            });
        }
        channel
    }

    fn pay(&self) {
        let description = Description::new("bread".to_owned()).expect("short");
        let invoice = self
            .bob
            .bolt11_payment()
            .receive(25_000, &Bolt11InvoiceDescription::Direct(description), 3_600)
            .expect("an invoice");
        self.alice.bolt11_payment().send(&invoice, None).expect("the payment is sent");
        self.event(&self.alice, "the payment", |event| match event {
            Event::PaymentSuccessful { .. } => Some(()),
            Event::PaymentFailed { reason, .. } => panic!("the payment failed: {reason:?}"),
            _ => None,
        });
        let received = self.event(&self.bob, "the payment", |event| match event {
            Event::PaymentReceived { amount_msat, .. } => Some(*amount_msat),
            _ => None,
        });
        assert_eq!(received, 25_000);
    }

    fn closed(&self) {
        for node in [&self.alice, &self.bob] {
            self.event(node, "the close", |event| matches!(event, Event::ChannelClosed { .. }).then_some(()));
        }
    }

    /// All money is back on chain and buried.
    fn is_settled(&self) -> bool {
        [&self.alice, &self.bob].into_iter().all(|node| {
            let balances = node.list_balances();
            let buried = |sweep: &PendingSweepBalance| {
                matches!(sweep, PendingSweepBalance::AwaitingThresholdConfirmations { .. })
            };
            balances.lightning_balances.is_empty()
                && balances.pending_balances_from_channel_closures.iter().all(buried)
        })
    }
}

fn live_through(ground: &dyn Ground, runtime: &Runtime) {
    let pair = Pair::start(ground, runtime);
    let channel = pair.open();
    pair.pay();
    pair.alice.close_channel(&channel, pair.bob.node_id()).expect("the close is asked for");
    pair.closed();
    pair.confirm(6);

    let channel = pair.open();
    pair.pay();
    pair.alice.force_close_channel(&channel, pair.bob.node_id(), None).expect("the channel is force-closed");
    pair.closed();
    pair.confirm(6);
    pair.mine(FORCE_CLOSE_DELAY);
    for _ in 0..10 {
        if pair.is_settled() {
            break;
        }
        pair.confirm(6);
    }
    assert!(pair.is_settled(), "the sweeps confirm: {:?}", pair.alice.list_balances());
    pair.mine(6);

    let left: Vec<u64> =
        [&pair.alice, &pair.bob].map(|node| node.list_balances().spendable_onchain_balance_sats).into();
    assert!(left.iter().sum::<u64>() > 2 * FUNDS_SAT - 50_000, "only fees are gone: {left:?}");
    assert!(left[1] > FUNDS_SAT + PUSH_MSAT / 1_000, "bob keeps what he was given and paid: {left:?}");
    pair.alice.stop().expect("alice stops");
    pair.bob.stop().expect("bob stops");
}

#[test]
fn a_channels_life_on_the_in_box_chain_convinces_bitcoind() {
    let runtime = Runtime::new().unwrap();
    let chain = Chain::new(SystemClock::new(Timestamp::default()));
    chain.mine(110).unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    {
        let _inside = runtime.enter();
        rpc::serve(listener, chain.clone(), Access::new("user", "password"), stop.clone(), &tasks);
    }
    live_through(&InBox { chain: chain.clone(), port }, &runtime);

    runtime.block_on(async {
        stop.cancel();
        tasks.close();
        tasks.wait().await;
        assert_accepted(&Bitcoind::start().await, &chain.blocks()).await;
    });
}

async fn funded_bitcoind() -> Bitcoind {
    let bitcoind = Bitcoind::start().await;
    bitcoind.mine(110).await;
    bitcoind
}

#[test]
fn a_channels_life_on_bitcoind() {
    let runtime = Runtime::new().unwrap();
    let bitcoind = runtime.block_on(funded_bitcoind());
    live_through(&Real { runtime: &runtime, bitcoind, esplora: None }, &runtime);
}

#[test]
fn a_channels_life_behind_esplora() {
    let runtime = Runtime::new().unwrap();
    let bitcoind = runtime.block_on(funded_bitcoind());
    let esplora = Some(runtime.block_on(Esplora::new(&bitcoind)));
    live_through(&Real { runtime: &runtime, bitcoind, esplora }, &runtime);
}
