//! The seed alone, with the program itself: the wallet's coins are found again with a real bitcoind, which a new
//! wallet asks only for new blocks, and through servers, which are asked for addresses.

use bitcoin::{Amount, Network};
use serde_json::json;
use tollhouse::types::grouped;

use crate::appliance::{Appliance, Process, TURN, bitcoind_section};
use crate::bitcoind::Bitcoind;
use crate::electrum::Electrum;
use crate::esplora::Esplora;

const COINS_SAT: u64 = 70_000;

async fn fund(shop: &Appliance, bitcoind: &Bitcoind) {
    let told = shop.post("/api/v1/onchain/address", json!({})).await;
    let address: bitcoin::Address<_> = told["address"].as_str().expect("an address").parse().expect("one");
    let address = address.require_network(Network::Regtest).expect("of regtest");
    bitcoind.send(&address, Amount::from_sat(COINS_SAT)).await;
    bitcoind.mine(1).await;
}

async fn recovers(shop: &Appliance, more: &[&str]) -> String {
    let network = shop.data_dir().join("regtest");
    for name in ["channels.db", "channels.generation", "channels.snapshot"] {
        for end in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(network.join(format!("{name}{end}")));
        }
    }
    let (status, said) = Process::spawn(shop.tool("recover", more)).ended().await;
    assert_eq!(status.code(), Some(0), "{said}");
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_seed_alone_finds_the_coins() {
    let _turn = TURN.lock().await;
    let bitcoind = Bitcoind::start().await;
    bitcoind.mine(101).await;
    let mut shop = Appliance::start(&bitcoind_section(bitcoind.port()), "");
    shop.up().await;
    // More addresses than a new wallet looks ahead, unused in between.
    fund(&shop, &bitcoind).await;
    for _ in 0..30 {
        shop.post("/api/v1/onchain/address", json!({})).await;
    }
    fund(&shop, &bitcoind).await;
    bitcoind.mine(20).await;
    shop.node("the coins", |node| node["onchain_spendable_sat"] == 2 * COINS_SAT).await;
    shop.stop().await;

    let refused = Process::spawn(shop.tool("recover", &[])).ended().await;
    assert_eq!(refused.0.code(), Some(2), "it must ask: {}", refused.1);
    assert!(refused.1.contains("Nothing was changed."), "{}", refused.1);
    let said = recovers(&shop, &["--yes"]).await;
    assert!(said.contains("from      the seed alone") && said.contains("2 coins"), "{said}");
    assert!(
        said.contains(&format!("All coins are in the on-chain wallet: {} sat.", grouped(2 * COINS_SAT))),
        "{said}"
    );
    shop.start_again();
    shop.node("the coins of the recovered wallet", |node| node["onchain_spendable_sat"] == 2 * COINS_SAT)
        .await;
    shop.stop().await;

    // Servers are asked for as many addresses, though the library would stop after 20 unused ones; and blocks
    // alone tell of both coins, too.
    let esplora = Esplora::new(&bitcoind).await;
    let electrum = Electrum::new(&bitcoind).await;
    let electrum = format!("tcp://127.0.0.1:{}", electrum.port);
    for (more, says) in [
        (
            &["--chain-source", "esplora", "--chain-url", &esplora.url, "--gap", "40"][..],
            "2 addresses were paid",
        ),
        (&["--chain-source", "electrum", "--chain-url", &electrum][..], "After 200 unused ones in a row"),
        (&["--since", "1"][..], "for the first 200 addresses"),
    ] {
        let said = recovers(&shop, &[&["--yes"][..], more].concat()).await;
        assert!(said.contains(says), "{said}");
        assert!(
            said.contains(&format!("All coins are in the on-chain wallet: {} sat.", grouped(2 * COINS_SAT))),
            "{more:?}: {said}"
        );
    }
}
