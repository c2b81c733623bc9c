//! A chain in the box, a provider of channels, and a payer.

use std::str::FromStr;

use bitcoin::Amount;
use ldk_node::bitcoin::Network;
use ldk_node::lightning::ln::msgs::SocketAddress;
use ldk_node::lightning_invoice::Bolt11Invoice;
use ldk_node::liquidity::LSPS2ServiceConfig;
use ldk_node::{Builder, Event, Node};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tollhouse::clock::SystemClock;
use tollhouse::sandbox::chain::Chain;
use tollhouse::sandbox::rpc::{self, Access};
use tollhouse::types::{Preimage, Timestamp};

use super::{FEE_SAT, PATIENCE, SMALLEST_SAT};
use crate::appliance::{Appliance, bitcoind_section, until};
use crate::bitcoind::free_port;
use crate::e2e_run::Upstream;

/// A chain in the box, an LSP, and a payer with a channel to it.
pub(crate) struct Town {
    pub(crate) chain: Chain,
    pub(crate) port: u16,
    pub(crate) lsp: Node,
    pub(crate) lsp_address: String,
    pub(crate) payer: Node,
    stop: CancellationToken,
    tasks: TaskTracker,
    _folders: [TempDir; 2],
}

fn node(folder: &TempDir, port: u16, lsp: bool) -> (Node, String) {
    let mut builder = Builder::new();
    builder.set_network(Network::Regtest);
    builder.set_storage_dir_path(folder.path().display().to_string());
    let address = format!("127.0.0.1:{}", free_port());
    let at = SocketAddress::from_str(&address).expect("an address");
    builder.set_listening_addresses(vec![at]).expect("one address");
    let (user, password) = ("user".to_owned(), "password".to_owned());
    builder.set_chain_source_bitcoind_rpc("127.0.0.1".to_owned(), port, user, password);
    if lsp {
        builder.set_liquidity_provider_lsps2(LSPS2ServiceConfig {
            require_token: None,
            advertise_service: false,
            channel_opening_fee_ppm: 10_000,
            channel_over_provisioning_ppm: 2_000_000,
            min_channel_opening_fee_msat: FEE_SAT * 1_000,
            min_channel_lifetime: 144,
            max_client_to_self_delay: 1_024,
            min_payment_size_msat: SMALLEST_SAT * 1_000,
            max_payment_size_msat: 1_000_000_000,
            client_trusts_lsp: false,
        });
    }
    let node = builder.build().expect("the node builds");
    node.start().expect("the node starts");
    (node, address)
}

impl Town {
    pub(crate) async fn start() -> Town {
        let chain = Chain::new(SystemClock::new(Timestamp::default()));
        chain.mine(110).expect("memory does not fail");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port is free");
        let port = listener.local_addr().expect("bound").port();
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        rpc::serve(listener, chain.clone(), Access::new("user", "password"), stop.clone(), &tasks);
        let folders = [TempDir::new().expect("a folder"), TempDir::new().expect("a folder")];
        let (lsp, lsp_address) = node(&folders[0], port, true);
        let (payer, _) = node(&folders[1], port, false);
        let town = Town { chain, port, lsp, lsp_address, payer, stop, tasks, _folders: folders };
        for node in [&town.lsp, &town.payer] {
            let address = node.onchain_payment().new_address().expect("an address");
            town.chain.faucet_send(&address, Amount::from_sat(5_000_000)).expect("the faucet is full");
        }
        town.mine(6);
        for node in [&town.lsp, &town.payer] {
            until("the coins", async || {
                node.sync_wallets().expect("it syncs");
                (node.list_balances().spendable_onchain_balance_sats > 0).then_some(())
            })
            .await;
        }
        let at = SocketAddress::from_str(&town.lsp_address).expect("an address");
        town.payer
            .open_channel(town.lsp.node_id(), at, 2_000_000, None, None)
            .expect("the channel is asked for");
        until("the channel's funding", async || (!town.chain.mempool_txids().is_empty()).then_some(())).await;
        town.mine(6);
        town.event(&town.payer, "the channel", |event| {
            matches!(event, Event::ChannelReady { .. }).then_some(())
        })
        .await;
        town
    }

    pub(crate) fn mine(&self, count: u32) {
        self.chain.mine(count).expect("memory does not fail");
        self.lsp.sync_wallets().expect("the LSP syncs");
        self.payer.sync_wallets().expect("the payer syncs");
    }

    /// The LSP opens a channel to the shop; gives its funding output.
    pub(super) async fn opens_a_channel_to(&self, shop: &Appliance, sat: u64) -> String {
        let peer = shop.up().await["node_id"].as_str().expect("a key").parse().expect("a key");
        let at = SocketAddress::from_str(&shop.peers).expect("an address");
        let id = self.lsp.open_channel(peer, at, sat, None, None).expect("the channel is asked for");
        until("the channel's funding", async || (!self.chain.mempool_txids().is_empty()).then_some(())).await;
        self.mine(6);
        shop.node("the channel", |node| {
            let mut channels = node["channels"].as_array().into_iter().flatten();
            channels.any(|channel| channel["capacity_sat"] == sat && channel["usable"] == true)
        })
        .await;
        let channels = self.lsp.list_channels();
        let channel = channels.iter().find(|channel| channel.user_channel_id == id).expect("it is open");
        channel.funding_txo.expect("funded").to_string()
    }

    pub(super) async fn event<T>(&self, node: &Node, what: &str, wanted: impl Fn(&Event) -> Option<T>) -> T {
        loop {
            let next = tokio::time::timeout(PATIENCE, node.next_event_async()).await;
            let event = next.unwrap_or_else(|_| panic!("waited in vain for {what}"));
            node.event_handled().expect("the event is done with");
            if let Some(found) = wanted(&event) {
                return found;
            }
        }
    }

    /// Pays an invoice, and gives the proof.
    pub(super) async fn pay(&self, bolt11: &str) -> Preimage {
        let invoice: Bolt11Invoice = bolt11.parse().expect("an invoice");
        self.payer.bolt11_payment().send(&invoice, None).expect("the payment is sent");
        self.event(&self.payer, "the payment", |event| match event {
            Event::PaymentSuccessful { payment_preimage: Some(preimage), .. } => {
                Some(Preimage::from_bytes(preimage.0))
            }
            Event::PaymentFailed { reason, .. } => panic!("the payment failed: {reason:?}"),
            _ => None,
        })
        .await
    }

    /// A shop that knows the LSP. `more` are further settings, of `[liquidity.lsps2]` first.
    pub(super) fn shop(&self, offers: &str, more: &str, upstream: &Upstream) -> Appliance {
        self.shop_of(&self.lsp_address, offers, more, upstream)
    }

    /// The same with the LSP at another address.
    pub(super) fn shop_of(
        &self,
        lsp_address: &str,
        offers: &str,
        more: &str,
        upstream: &Upstream,
    ) -> Appliance {
        let services = format!(
            "[liquidity.lsps2]\nnode = \"{}\"\naddress = \"{}\"\n{more}\n\
             [[service]]\nname = \"rates\"\npath = \"/v1\"\nupstream = \"http://{}\"\nprice = \"10 sat\"\n\
             offers = {offers}\n",
            self.lsp.node_id(),
            lsp_address,
            upstream.address
        );
        Appliance::start(&bitcoind_section(self.port), &services)
    }

    pub(crate) async fn end(&self) {
        self.payer.stop().expect("the payer stops");
        self.lsp.stop().expect("the LSP stops");
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}
