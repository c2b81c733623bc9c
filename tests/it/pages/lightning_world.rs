//! A channel's whole life in the browser, on a real chain and with a real other node: opened on the page, paid over,
//! made larger and smaller, spliced in vain, looked at while the node is away and after a restore of the ledger,
//! closed on the page, and its coins seen on the chain.

use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tollhouse::sandbox::buyer::Wanted;
use tollhouse::types::grouped;

use super::hands::{agree, claim, fill, log_in, says};
use super::lightning::ASKED;
use super::relay::Relay;
use crate::appliance::{Appliance, TURN, bitcoind_section, buy, challenged, until};
use crate::bitcoind::{Bitcoind, free_port};
use crate::chromium::{Chromium, Tab};
use crate::e2e_run::{Upstream, fund};

/// A shop and another node behind a wire, and the operator's browser.
pub(super) struct World<'b> {
    pub(super) bitcoind: Bitcoind,
    pub(super) shop: Appliance,
    pub(super) peer: Appliance,
    pub(super) wire: Relay,
    /// `KEY@HOST:PORT` of the other node.
    pub(super) place: String,
    /// Where copies of the shop's ledger go.
    pub(super) copies: TempDir,
    pub(super) tab: Tab<'b>,
}

/// Answers a question with yes and waits for the operation's page; gives its number.
pub(super) async fn yes(tab: &Tab<'_>) -> String {
    agree(tab).await;
    tab.until("location.pathname.startsWith('/operations/') && document.readyState === 'complete'").await;
    let path = tab.value("location.pathname").await;
    path.as_str().expect("a path").rsplit('/').next().expect("a number").to_owned()
}

impl World<'_> {
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.shop.admin)
    }

    /// Mines once something waits for a block.
    pub(super) async fn confirm(&self) {
        until("a transaction", async || {
            let waiting = self.bitcoind.expect("getrawmempool", json!([])).await;
            waiting.as_array().filter(|waiting| !waiting.is_empty()).map(|_| ())
        })
        .await;
        self.bitcoind.mine(6).await;
    }

    pub(super) async fn done(&self, operation: &str) {
        until("the operation's end", async || {
            let row = self.shop.get(&format!("/api/v1/operations/{operation}")).await;
            assert_ne!(row["state"], "failed", "{row}");
            (row["state"] == "done").then_some(())
        })
        .await;
    }

    /// Both sides can use the channel; the shop's view of it.
    pub(super) async fn usable(&self) -> Value {
        for node in [&self.peer, &self.shop] {
            node.node("a usable channel", |node| node["channels"][0]["usable"] == true).await;
        }
        self.shop.up().await["channels"][0].clone()
    }

    pub(super) async fn on_chain(&self) -> u64 {
        self.shop.get("/api/v1/onchain").await["spendable_sat"].as_u64().expect("a sum")
    }

    async fn opened(&self) {
        let tab = &self.tab;
        tab.open(&self.url("/lightning")).await;
        assert!(tab.text("main").await.contains("You cannot receive yet"));
        tab.click("a[href='/lightning/open']").await;
        tab.until("document.readyState === 'complete' && document.querySelector('#node')").await;
        fill(tab, "#node", &self.place).await;
        fill(tab, "#amount_sat", "300,000").await;
        fill(tab, "#push_sat", "100 000").await;
        tab.click(".form .button").await;
        tab.until(ASKED).await;
        let asked = tab.text("main").await;
        assert!(asked.contains("100,000 sat of it are given") && asked.contains("are left"), "{asked}");
        let opening = yes(tab).await;
        self.confirm().await;
        self.done(&opening).await;
        self.usable().await;
        says(tab, &self.url("/lightning"), "You can receive").await;
    }

    /// A sale over the channel, seen on the page.
    pub(super) async fn paid_over(&self) {
        let before = self.usable().await["spendable_msat"].as_u64().expect("a sum");
        buy(&self.peer.customer(), &format!("{}/v1/rates", self.shop.gateway)).await;
        self.shop.node("the payment", |node| node["spendable_msat"].as_u64() == Some(before + 5_000)).await;
        let spendable = grouped((before + 5_000) / 1_000);
        says(&self.tab, &self.url("/lightning"), &format!("{spendable} sat spendable")).await;
    }

    /// A copy of the ledger takes its place; meanwhile the node is away, and the pages make up no figures.
    async fn restored(&mut self, channel: &str) {
        let made = self.shop.post("/api/v1/backups", json!({})).await;
        let name = made["file"].as_str().expect("a name").to_owned();
        self.shop.stop().await;
        let file = self.copies.path().join(name).display().to_string();
        let mut restore = self.shop.tool("backup", &["restore", &file, "--yes"]);
        let done = tokio::task::spawn_blocking(move || restore.output()).await.expect("no panic");
        let done = done.expect("it runs");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let nowhere = free_port().to_string();
        self.shop.start_as(self.shop.command(&["--chain-port", &nowhere]));
        self.shop.process().says("node      ").await;
        log_in(&self.shop, &self.tab).await;
        let tab = &self.tab;
        for (path, words) in [
            ("/lightning", "not known"),
            (channel.strip_prefix(&self.shop.admin).expect("ours"), "not known"),
            ("/lightning/payouts", "What is spendable is not known"),
            ("/lightning/open", "A channel can be opened when it runs"),
            ("/lightning/inbound", "Room to receive"),
            ("/lightning/peers", "The node cannot be asked now"),
        ] {
            tab.open(&self.url(path)).await;
            let text = tab.text("main").await;
            assert!(text.contains(words), "{path}: {text}");
            let zeros = text.split(|c: char| c.is_whitespace()).filter(|word| *word == "0").count();
            assert_eq!(zeros, 0, "{path} makes up a figure: {text}");
            assert!(!text.contains("Closed"), "{path}: nothing is closed: {text}");
        }
        self.shop.stop().await;
        self.shop.start_again();
        self.shop.up().await;
        log_in(&self.shop, &self.tab).await;
        self.usable().await;
    }

    /// Payouts wait for the operator's word, which is given on the page.
    async fn released(&self) {
        let tab = &self.tab;
        let wanted = Wanted { url: format!("{}/v1/rates", self.peer.gateway), body: None };
        let asked = challenged(&self.shop.customer(), &wanted, None).await;
        let invoice = asked.challenge().expect("a challenge").invoice;
        let pay = async || {
            tab.open(&self.url("/lightning/payouts")).await;
            fill(tab, "#to", &invoice).await;
            tab.click(".form .button").await;
        };
        pay().await;
        tab.until("document.readyState === 'complete' && document.querySelector('.refusal')").await;
        assert_eq!(tab.text(".refusal").await, "Nothing was paid.");
        assert!(tab.text(".alarm").await.contains("restored from a copy"));
        tab.click(".alarm a").await;
        tab.until("location.pathname === '/backup' && document.readyState === 'complete'").await;
        tab.click("form[action='/backup/release'] button").await;
        agree(tab).await;
        tab.until("document.querySelector('.said')?.textContent.includes('Coins may be sent again')").await;
        assert_eq!(tab.value("document.querySelectorAll('form[action$=release]').length").await, 0);
        pay().await;
        tab.until(ASKED).await;
        let asked = tab.text("main").await;
        assert!(asked.contains("Pay out 5 sat?"), "{asked}");
        let paying = yes(tab).await;
        self.done(&paying).await;
        let text = says(tab, &self.url("/lightning/payouts"), "Done").await;
        assert!(text.contains("5 sat"), "{text}");
    }

    async fn closed(&self, channel: &str) {
        let tab = &self.tab;
        tab.open(channel).await;
        let life = tab.text(".timeline").await;
        let text = tab.text("main").await;
        assert!(
            text.contains("sat for its closing transaction"),
            "what the close would cost is named: {text}"
        );
        assert!(life.contains("Opening asked for by you") && life.contains("Ready since block"), "{life}");
        assert!(tab.text("main").await.contains("Open a channel of 300,000 sat"), "what was asked is listed");
        tab.click("form[action$='/close'] button").await;
        tab.until(ASKED).await;
        let asked = tab.text("main").await;
        assert!(asked.contains("go to the on-chain wallet") && asked.contains("You can receive"), "{asked}");
        let had = self.on_chain().await;
        let closing = yes(tab).await;
        // The node may look at what is owed before these blocks come, or only after: the record has it either way.
        self.confirm().await;
        self.done(&closing).await;
        let came = until("the coins to be home, and how much", async || {
            let closed = self.shop.get("/api/v1/channels/closed").await["channels"][0].clone();
            if let (Some(_), Some(came)) = (closed["returned_height"].as_u64(), closed["came_sat"].as_u64()) {
                return Some(came);
            }
            // The record may want one more block than those that bury the closing transaction.
            self.bitcoind.mine(1).await;
            tokio::time::sleep(Duration::from_millis(400)).await;
            None
        })
        .await;
        let text = says(tab, channel, "Everything is in the wallet since block").await;
        assert!(
            text.contains("Closed by agreement; you asked")
                && text.contains(&format!("Came back\n{} sat", grouped(came))),
            "{text}"
        );
        assert!((225_000..240_000).contains(&came), "{came}");
        // The same number wherever it is told: it is what the wallet got.
        let listed = self.shop.get("/api/v1/onchain/transactions").await;
        let mut listed = listed["transactions"].as_array().into_iter().flatten();
        let closing = listed.find(|tx| tx["purpose"] == "channel_closed").expect("the closing transaction");
        assert_eq!(
            (&closing["amount_sat"], &closing["outgoing"]),
            (&json!(came), &json!(false)),
            "{closing}"
        );
        says(tab, &self.url("/lightning"), &format!("{} sat are back", grouped(came))).await;
        says(tab, &self.url("/activity"), &format!("{} sat of it came back", grouped(came))).await;
        let has = until("the coins", async || {
            let has = self.on_chain().await;
            (has >= had + came).then_some(has)
        })
        .await;
        let text = says(tab, &self.url("/coins"), &grouped(has)).await;
        for label in ["Channel opened", "Put into a channel", "Back from a closed channel", "Received"] {
            assert!(text.contains(label), "{label}: {text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_is_opened_paid_over_spliced_and_closed_on_the_page() {
    let _turn = TURN.lock().await;
    let (bitcoind, upstream) = (Bitcoind::start().await, Upstream::start().await);
    bitcoind.mine(101).await;
    let (chain, service) = (bitcoind_section(bitcoind.port()), upstream.service());
    let copies = tempfile::tempdir().expect("a folder");
    let with_copies = format!("[backup]\ndir = \"{}\"\n{service}", copies.path().display());
    let (shop, peer) = (Appliance::start(&chain, &with_copies), Appliance::start(&chain, &service));
    shop.up().await;
    let wire = Relay::to(&peer.peers).await;
    let place = format!("{}@{}", peer.up().await["node_id"].as_str().expect("a key"), wire.address);
    fund(&bitcoind, &shop, &peer).await;
    let browser = Chromium::start();
    let tab = browser.tab().await;
    tab.looks(1440, 900, "light").await;
    claim(&shop, &tab).await;
    let mut world = World { bitcoind, shop, peer, wire, place, copies, tab };

    world.opened().await;
    world.paid_over().await;
    world.tab.click(".channels a").await;
    let there = "location.pathname.startsWith('/lightning/channels/') && document.readyState === 'complete'";
    world.tab.until(there).await;
    let channel = world.tab.value("location.href").await.as_str().expect("an address").to_owned();
    world.made_larger(&channel).await;
    world.spliced_in_vain(&channel).await;
    world.made_smaller(&channel).await;
    world.restored(&channel).await;
    world.released().await;
    world.closed(&channel).await;
    assert_eq!(world.shop.get("/api/v1/audit").await["ok"], true);
    assert_eq!(world.tab.complaints(), Vec::<String>::new());
    world.peer.stop().await;
    world.shop.stop().await;
}
