//! The treasury against a node that is made up: what is asked once, and what a crash hides.

mod came;
mod told;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use tokio_util::task::TaskTracker;

use super::chronicle::Noted;
use super::{Deed, FeeChoice, Treasury, TreasuryError, TreasuryParts, Verdict};
use crate::clock::FixedClock;
use crate::ports::{
    BoxFuture, ChainTx, ChannelView, Claim, CloseHow, Coins, CoinsView, FeeRate, FeeRates, Much, NodeControl,
    NodeFault, NodeView, NodeWatch, OpenAsk, SendFault, Splice, TxContents, Waits,
};
use crate::store::{ChannelEnd, Ledger, OperationState};
use crate::types::{Msat, Timestamp};

/// A node that says what a test put there, and counts what it was asked.
#[derive(Default)]
pub(super) struct MadeUp {
    pub(super) channels: Mutex<Vec<ChannelView>>,
    pub(super) claims: Mutex<Vec<Claim>>,
    pub(super) transactions: Mutex<Vec<ChainTx>>,
    pub(super) asked: Mutex<u32>,
    /// Transactions that shall not be published any more.
    pub(super) withdrawn: Mutex<Vec<String>>,
    pub(super) fault: Mutex<Option<SendFault>>,
    /// The chain source cannot be reached.
    pub(super) cut_off: Mutex<bool>,
    /// What the wallet learns of its transactions when it asks the chain.
    pub(super) chain: Mutex<Option<Vec<ChainTx>>>,
    /// All coins of the wallet, satoshi.
    pub(super) total: Mutex<u64>,
    /// What the library's sum of the claims is, where it is not their sum.
    pub(super) lightning: Mutex<Option<u64>>,
    /// What of them waits for a block.
    pub(super) waiting: Mutex<u64>,
    /// What the chain source says that a transaction pays.
    pub(super) pays: Mutex<u64>,
    /// The transaction of the next send, where it is not `tx1`.
    pub(super) sends: Mutex<&'static str>,
    /// What the chain source knows and the wallet does not list.
    pub(super) mempool: Mutex<Vec<&'static str>>,
    /// What the chain source says that a transaction spends.
    pub(super) funded_by: Mutex<Vec<&'static str>>,
    /// Outputs, what spends them in a block, and in which.
    pub(super) buried: Mutex<Vec<(&'static str, &'static str, u32)>>,
    /// The height, 100 where it is none.
    pub(super) height: Mutex<u32>,
    /// What a transaction must pay; nobody says so where it is none.
    pub(super) rate: Mutex<Option<FeeRate>>,
    /// Outputs, and what spends them.
    spent: Mutex<Vec<(&'static str, &'static str)>>,
}

impl MadeUp {
    fn ask(&self) -> Result<(), SendFault> {
        *self.asked.lock().unwrap() += 1;
        self.fault.lock().unwrap().clone().map_or(Ok(()), Err)
    }
}

impl NodeWatch for MadeUp {
    fn view(&self) -> BoxFuture<'_, NodeView> {
        let channels = self.channels.lock().unwrap().clone();
        let block_height = match *self.height.lock().unwrap() {
            0 => 100,
            height => height,
        };
        Box::pin(async move { NodeView { running: true, block_height, channels, ..NodeView::default() } })
    }
}

impl NodeControl for MadeUp {
    fn new_address(&self) -> BoxFuture<'_, Result<String, NodeFault>> {
        Box::pin(async { Ok("bcrt1q".to_owned()) })
    }

    fn connect(&self, _peer: &str, _address: &str) -> BoxFuture<'_, Result<(), NodeFault>> {
        Box::pin(async { Ok(()) })
    }

    fn sync(&self) -> BoxFuture<'_, Result<(), NodeFault>> {
        let cut_off = *self.cut_off.lock().unwrap();
        if let (false, Some(learnt)) = (cut_off, self.chain.lock().unwrap().take()) {
            *self.transactions.lock().unwrap() = learnt;
        }
        let away = || NodeFault("the source is away".to_owned());
        Box::pin(async move { if cut_off { Err(away()) } else { Ok(()) } })
    }

    fn open_channel(&self, _ask: OpenAsk) -> BoxFuture<'_, Result<String, SendFault>> {
        let asked = self.ask();
        Box::pin(async move { asked.map(|()| "7".to_owned()) })
    }

    fn close_channel(&self, _channel_id: &str, _how: CloseHow) -> BoxFuture<'_, Result<(), SendFault>> {
        let asked = self.ask();
        Box::pin(async move { asked })
    }
}

impl Coins for MadeUp {
    fn coins(&self) -> BoxFuture<'_, Result<CoinsView, NodeFault>> {
        let claims = self.claims.lock().unwrap().clone();
        let total_sat = *self.total.lock().unwrap();
        let spendable_sat = total_sat.saturating_sub(*self.waiting.lock().unwrap());
        let parts = claims.iter().map(|claim| claim.amount_sat).sum();
        let lightning_sat = self.lightning.lock().unwrap().unwrap_or(parts);
        let coins = CoinsView { claims, total_sat, spendable_sat, lightning_sat, ..CoinsView::default() };
        Box::pin(async move { Ok(coins) })
    }

    fn transactions(&self) -> BoxFuture<'_, Result<Vec<ChainTx>, NodeFault>> {
        let transactions = self.transactions.lock().unwrap().clone();
        Box::pin(async move { Ok(transactions) })
    }

    fn fee_rates(&self) -> BoxFuture<'_, Result<FeeRates, NodeFault>> {
        let rate = *self.rate.lock().unwrap();
        let rates = rate.map(|rate| FeeRates {
            fast_sat_per_kvb: rate,
            normal_sat_per_kvb: rate,
            slow_sat_per_kvb: rate,
            estimated: true,
        });
        Box::pin(async move { rates.ok_or_else(|| NodeFault("the source is away".to_owned())) })
    }

    fn spender(&self, outpoint: &str, _height: u32) -> BoxFuture<'_, Result<Option<String>, NodeFault>> {
        let spent = self.spent.lock().unwrap();
        let by = spent.iter().find(|(output, _)| *output == outpoint).map(|(_, by)| (*by).to_owned());
        Box::pin(async move { Ok(by) })
    }

    fn waits(&self, txid: &str) -> BoxFuture<'_, Result<bool, NodeFault>> {
        let waits = self.mempool.lock().unwrap().contains(&txid);
        Box::pin(async move { Ok(waits) })
    }

    fn withdraw(&self, txid: &str) -> BoxFuture<'_, ()> {
        self.withdrawn.lock().unwrap().push(txid.to_owned());
        Box::pin(async {})
    }

    fn contents(&self, _txid: &str) -> BoxFuture<'_, Result<Option<TxContents>, NodeFault>> {
        let inputs: Vec<String> = self.funded_by.lock().unwrap().iter().map(ToString::to_string).collect();
        let pays_sat = *self.pays.lock().unwrap();
        let known = pays_sat > 0 || !inputs.is_empty();
        Box::pin(async move { Ok(known.then_some(TxContents { inputs, pays_sat })) })
    }

    fn spent_in_block(
        &self,
        outpoint: &str,
        from: u32,
    ) -> BoxFuture<'_, Result<Option<(String, u32)>, NodeFault>> {
        let buried = self.buried.lock().unwrap();
        let spent = buried.iter().find(|(output, _, at)| *output == outpoint && *at >= from);
        let spent = spent.map(|(_, by, at)| ((*by).to_owned(), *at));
        Box::pin(async move { Ok(spent) })
    }

    fn check_address(&self, address: &str) -> Result<(), NodeFault> {
        if address == "nowhere" { Err(NodeFault("not an address".to_owned())) } else { Ok(()) }
    }

    fn check_splice_address(&self, address: &str) -> Result<(), NodeFault> {
        if address == "2Legacy" { Err(NodeFault("not segwit".to_owned())) } else { Ok(()) }
    }

    fn send_coins(&self, _to: &str, _much: Much, _rate: FeeRate) -> BoxFuture<'_, Result<String, SendFault>> {
        let (asked, txid) = (self.ask(), *self.sends.lock().unwrap());
        let txid = if txid.is_empty() { "tx1" } else { txid };
        Box::pin(async move { asked.map(|()| txid.to_owned()) })
    }

    fn splice(&self, _channel_id: &str, _splice: Splice) -> BoxFuture<'_, Result<(), SendFault>> {
        let asked = self.ask();
        Box::pin(async move { asked })
    }
}

pub(super) struct World {
    pub(super) node: Arc<MadeUp>,
    pub(super) ledger: Ledger,
    pub(super) treasury: Treasury,
    pub(super) clock: Arc<FixedClock>,
    _dir: TempDir,
}

pub(super) fn world() -> World {
    let dir = TempDir::new().unwrap();
    let clock = FixedClock::at(Timestamp::from_secs(1_000));
    let (ledger, _) = Ledger::open(&dir.path().join("ledger.db"), clock.clone()).unwrap();
    let node = Arc::new(MadeUp::default());
    let treasury = Treasury::new(TreasuryParts {
        ledger: ledger.clone(),
        node: node.clone(),
        control: node.clone(),
        coins: node.clone(),
        clock: clock.clone(),
        tasks: TaskTracker::new(),
    });
    World { node, ledger, treasury, clock, _dir: dir }
}

impl World {
    /// Lets no deed wait long for the wallet.
    pub(super) fn be_impatient(&mut self) {
        Arc::get_mut(&mut self.treasury.0).expect("nobody shares it yet").patience =
            Duration::from_millis(200);
    }

    /// An operation whose process died before the node's answer was noted.
    pub(super) async fn interrupted(&self, key: &str, deed: &Deed) -> i64 {
        let mark = self.treasury.mark(deed).await.unwrap();
        self.ledger.begin_marked_operation(key, deed.kind(), deed.ask(), mark.value(), None).await.unwrap();
        self.treasury.operations(i64::MAX, 1).await.unwrap()[0].id
    }

    /// The ledger is told that the channel of [`channel`] closed.
    pub(super) async fn closed(&self, local_id: &str, cause: &str) {
        let end = ChannelEnd {
            local_id: local_id.to_owned(),
            channel_id: format!("c{local_id}"),
            peer: "02aa".to_owned(),
            reason: "because".to_owned(),
            cause: cause.to_owned(),
        };
        self.ledger.end_channel(end).await.unwrap();
    }

    pub(super) async fn look(&self, id: i64) -> (OperationState, serde_json::Value) {
        self.treasury.reconcile().await.unwrap();
        let row = self.treasury.operation(id).await.unwrap();
        (row.state, row.outcome)
    }
}

pub(super) fn send(amount_sat: u64) -> Deed {
    let rate = FeeRate::of_sat_per_kvb(3_000).unwrap();
    Deed::Send { address: "bcrt1q".to_owned(), amount_sat, fee: FeeChoice::SatPerKvb(rate) }
}

pub(super) fn tx(txid: &str, amount_sat: u64, confirmed_height: Option<u32>) -> ChainTx {
    ChainTx {
        txid: txid.to_owned(),
        outgoing: true,
        amount_sat,
        fee_sat: Some(200),
        confirmed_height,
        settled: confirmed_height.is_some_and(|height| height < 110),
        at_secs: 0,
    }
}

pub(super) fn channel(local_id: &str, funding: &str) -> ChannelView {
    ChannelView {
        channel_id: format!("c{local_id}"),
        local_id: local_id.to_owned(),
        peer: "02aa".to_owned(),
        funding: Some(format!("{funding}:0")),
        capacity_sat: 50_000,
        outbound: true,
        ..ChannelView::default()
    }
}

pub(super) fn claim(channel_id: &str, amount_sat: u64) -> Claim {
    Claim {
        channel_id: channel_id.to_owned(),
        peer: "02aa".to_owned(),
        amount_sat,
        waits: Waits::Closing,
        until_height: None,
        in_wallet: false,
        open: false,
    }
}

#[tokio::test]
async fn a_key_is_done_once_and_for_one_thing() {
    let world = world();
    let first = world.treasury.run("k", send(5_000)).await.unwrap();
    assert_eq!((first.state, &first.outcome["txid"]), (OperationState::Sent, &json!("tx1")));
    assert_eq!(world.treasury.run("k", send(5_000)).await.unwrap(), first);
    assert_eq!(*world.node.asked.lock().unwrap(), 1, "the node was asked once");
    let other = world.treasury.run("k", send(6_000)).await.unwrap_err();
    assert!(matches!(other, TreasuryError::KeyTaken(row) if *row == first));
    for key in ["", "a b", &"x".repeat(256)] {
        assert!(matches!(world.treasury.run(key, send(5_000)).await, Err(TreasuryError::BadKey)));
    }

    let (state, _) = world.look(first.id).await;
    assert_eq!(state, OperationState::Sent, "in no block yet");
    world.node.transactions.lock().unwrap().push(tx("tx1", 5_000, Some(101)));
    let (state, outcome) = world.look(first.id).await;
    assert_eq!((state, &outcome["confirmed_height"]), (OperationState::Done, &json!(101)));
}

#[tokio::test]
async fn what_makes_no_sense_or_cannot_be_known_leaves_no_record() {
    let world = world();
    let nowhere = Deed::Send { address: "nowhere".to_owned(), amount_sat: 5_000, fee: FeeChoice::Normal };
    let dust = send(545);
    let unpriced = Deed::SendAll { address: "bcrt1q".to_owned(), fee: FeeChoice::Fast, reserve_too: false };
    let missing = Deed::CloseChannel { channel_id: "c9".to_owned() };
    let legacy =
        Deed::SpliceOut { channel_id: "c7".to_owned(), address: "2Legacy".to_owned(), amount_sat: 9_000 };
    world.node.channels.lock().unwrap().push(channel("7", "f1"));
    for deed in [nowhere, dust, unpriced, missing, legacy] {
        assert!(world.treasury.run("k", deed).await.is_err());
    }
    assert!(world.treasury.operations(i64::MAX, 9).await.unwrap().is_empty());
    assert_eq!(*world.node.asked.lock().unwrap(), 0);
}

#[tokio::test]
async fn a_refusal_is_a_failure_and_a_doubt_is_none() {
    let world = world();
    for (key, fault, state) in [
        ("a", SendFault::Away("down".to_owned()), OperationState::Failed),
        ("b", SendFault::Refused("too few".to_owned()), OperationState::Failed),
        ("c", SendFault::Uncertain("the disk".to_owned()), OperationState::Unclear),
    ] {
        *world.node.fault.lock().unwrap() = Some(fault);
        assert_eq!(world.treasury.run(key, send(5_000)).await.unwrap().state, state, "{key}");
    }
    let unclear = world.treasury.run("c", send(5_000)).await.unwrap();
    assert_eq!(*world.node.asked.lock().unwrap(), 3, "the doubtful one is not repeated");
    let settled = world.treasury.settle(unclear.id, Verdict::Failed).await.unwrap();
    assert_eq!((settled.state, &settled.outcome["settled_by"]), (OperationState::Failed, &json!("operator")));
    let again = world.treasury.settle(unclear.id, Verdict::Done).await.unwrap_err();
    assert!(matches!(again, TreasuryError::NotUnclear(_)));
    assert!(matches!(world.treasury.settle(99, Verdict::Done).await, Err(TreasuryError::Unknown(99))));
}

#[tokio::test]
async fn a_send_that_a_crash_hid_is_found_by_what_is_new_in_the_wallet() {
    let world = world();
    *world.node.transactions.lock().unwrap() = vec![tx("old", 5_000, None), tx("older", 5_000, Some(99))];
    let id = world.interrupted("k", &send(5_000)).await;
    let (state, _) = world.look(id).await;
    assert_eq!(state, OperationState::Unclear, "what was there before is not it");
    assert_eq!(world.treasury.run("k", send(5_000)).await.unwrap().state, OperationState::Unclear);
    // Another operation's transaction of the same amount is not it either.
    world.treasury.run("other", send(5_000)).await.unwrap();
    world.node.transactions.lock().unwrap().push(tx("tx1", 5_000, None));
    assert_eq!(world.look(id).await.0, OperationState::Unclear);
    world.node.transactions.lock().unwrap().push(tx("tx2", 5_000, Some(101)));
    let (state, outcome) = world.look(id).await;
    assert_eq!((state, &outcome["txid"]), (OperationState::Done, &json!("tx2")));
    assert_eq!(*world.node.asked.lock().unwrap(), 1, "only the other one was asked for");
}

#[tokio::test]
async fn two_that_fit_are_nobodys() {
    let world = world();
    let id = world.interrupted("k", &send(5_000)).await;
    *world.node.transactions.lock().unwrap() = vec![tx("a", 5_000, None), tx("b", 5_000, None)];
    assert_eq!(world.look(id).await.0, OperationState::Unclear);
}

/// A channel's funding leaves the wallet as a send does, also once the channel is spliced or gone.
#[tokio::test]
async fn what_opened_or_changed_a_channel_is_no_send() {
    let world = world();
    world.node.channels.lock().unwrap().extend([channel("7", "f1"), channel("8", "g1")]);
    let id = world.interrupted("k", &send(5_000)).await;
    world.treasury.note_channels().await.unwrap();
    for (channel, splice) in [("c7", "f2:1"), ("c8", "g2:0")] {
        world.ledger.splice_agreed(channel.to_owned(), splice.to_owned()).await.unwrap();
    }
    *world.node.channels.lock().unwrap() = vec![channel("8", "g2")];
    world.closed("7", "agreed").await;
    for txid in ["f1", "f2", "g1", "g2"] {
        *world.node.transactions.lock().unwrap() = vec![tx(txid, 5_000, Some(101))];
        assert_eq!(world.look(id).await.0, OperationState::Unclear, "{txid}");
    }
    // What another operation says that it made is its own, whatever the records say.
    for (key, fact) in [("l", "funding"), ("m", "spliced_to")] {
        let other = world.interrupted(key, &send(9_000)).await;
        world
            .ledger
            .note_operation(other, OperationState::Done, json!({ fact: format!("{key}1:0") }))
            .await
            .unwrap();
        *world.node.transactions.lock().unwrap() = vec![tx(&format!("{key}1"), 5_000, Some(101))];
        assert_eq!(world.look(id).await.0, OperationState::Unclear, "{fact}");
    }
    *world.node.transactions.lock().unwrap() = vec![tx("mine", 5_000, Some(101))];
    assert_eq!(world.look(id).await.1["txid"], "mine");
}

#[tokio::test]
async fn channels_are_followed_to_what_became_of_them() {
    let world = world();
    let open = Deed::OpenChannel {
        peer: "02aa".to_owned(),
        address: "host:1".to_owned(),
        amount_sat: 50_000,
        push_msat: Msat::ZERO,
        announce: false,
    };
    let opened = world.treasury.run("open", open.clone()).await.unwrap();
    world.node.channels.lock().unwrap().push(channel("7", "f1"));
    assert_eq!(world.look(opened.id).await.0, OperationState::Sent);
    world.node.channels.lock().unwrap()[0].ready = true;
    world.node.transactions.lock().unwrap().push(tx("f1", 50_000, Some(101)));
    let (state, outcome) = world.look(opened.id).await;
    assert_eq!((state, &outcome["channel_id"]), (OperationState::Done, &json!("c7")));
    assert_eq!(outcome["fee_sat"], 200, "what its transaction cost");
    world.node.transactions.lock().unwrap().clear();

    // One that a crash hid, and whose channel is there; another, whose channel is not; a third whose
    // contract has coins in it although no channel is open.
    let hidden = world.interrupted("hidden", &open).await;
    world.node.channels.lock().unwrap().push(channel("8", "f2"));
    assert_eq!(world.look(hidden).await.0, OperationState::Sent);
    let lost = world.interrupted("lost", &open).await;
    assert_eq!(world.look(lost).await.0, OperationState::Failed);
    let stuck = world.interrupted("stuck", &open).await;
    world.node.claims.lock().unwrap().push(claim("c9", 50_000));
    assert_eq!(world.look(stuck).await.0, OperationState::Unclear);

    let out =
        Deed::SpliceOut { channel_id: "c7".to_owned(), address: "bcrt1q".to_owned(), amount_sat: 9_000 };
    let spliced = world.treasury.run("splice", out).await.unwrap();
    assert_eq!(world.look(spliced.id).await.0, OperationState::Sent);
    world.ledger.splice_agreed("c7".to_owned(), "f3:1".to_owned()).await.unwrap();
    let (state, outcome) = world.look(spliced.id).await;
    assert_eq!((state, &outcome["txid"]), (OperationState::Sent, &json!("f3")));
    let refused = world.treasury.settle(spliced.id, Verdict::Failed).await.unwrap_err();
    assert!(matches!(refused, TreasuryError::NotUnclear(_)), "the chain tells its end");
    {
        let mut channels = world.node.channels.lock().unwrap();
        (channels[0].funding, channels[0].capacity_sat) = (Some("f3:1".to_owned()), 40_800);
    }
    let (state, outcome) = world.look(spliced.id).await;
    assert_eq!((state, &outcome["funding"]), (OperationState::Done, &json!("f3:1")));

    let close =
        world.treasury.run("close", Deed::CloseChannel { channel_id: "c7".to_owned() }).await.unwrap();
    assert_eq!(world.look(close.id).await.0, OperationState::Sent);
    world.node.channels.lock().unwrap().remove(0);
    assert_eq!(world.look(close.id).await.0, OperationState::Done);
}

#[tokio::test]
async fn a_splice_ends_as_the_node_tells_or_as_the_operator_says() {
    let world = world();
    world.node.channels.lock().unwrap().push(channel("7", "f1"));
    let grow = |key: &'static str| {
        let deed = Deed::SpliceIn { channel_id: "c7".to_owned(), amount_sat: 10_000 };
        async { world.treasury.run(key, deed).await.unwrap() }
    };
    let refused = grow("refused").await;
    assert_eq!(refused.state, OperationState::Sent);
    world.ledger.splice_given_up("c7".to_owned()).await.unwrap();
    let (state, outcome) = world.look(refused.id).await;
    assert_eq!(state, OperationState::Failed);
    assert!(outcome["reason"].as_str().unwrap().contains("no coins moved"), "{outcome}");

    // The other side never answers, and nothing was signed: the operator need not wait for ever.
    let waits = grow("waits").await;
    let settled = world.treasury.settle(waits.id, Verdict::Failed).await.unwrap();
    assert_eq!((settled.state, &settled.outcome["settled_by"]), (OperationState::Failed, &json!("operator")));

    // The other side splices the same channel meanwhile.
    let ours = grow("ours").await;
    {
        let mut channels = world.node.channels.lock().unwrap();
        (channels[0].funding, channels[0].capacity_sat) = (Some("f2:0".to_owned()), 50_500);
    }
    let (state, outcome) = world.look(ours.id).await;
    assert_eq!(state, OperationState::Unclear, "{outcome}");
}

#[tokio::test]
async fn coins_under_way_are_the_chains_to_tell() {
    let world = world();
    let sent = world.treasury.run("k", send(5_000)).await.unwrap();
    for verdict in [Verdict::Done, Verdict::Failed] {
        let refused = world.treasury.settle(sent.id, verdict).await.unwrap_err();
        assert!(matches!(refused, TreasuryError::NotUnclear(_)));
    }
    // The mempool dropped it: the library lists it all the same, and will for ever.
    world.node.transactions.lock().unwrap().push(tx("tx1", 5_000, None));
    world.clock.advance(Duration::from_secs(15 * 24 * 3_600 - 1));
    assert_eq!(world.look(sent.id).await.0, OperationState::Sent);
    assert!(world.treasury.settle(sent.id, Verdict::Failed).await.is_err());
    world.clock.advance(Duration::from_secs(1));
    let settled = world.treasury.settle(sent.id, Verdict::Failed).await.unwrap();
    assert_eq!((settled.state, &settled.outcome["txid"]), (OperationState::Failed, &json!("tx1")));
    assert_eq!(*world.node.withdrawn.lock().unwrap(), ["tx1"], "it does not go out after all");
    // One in a block is not the operator's to judge, however old.
    let mined = world.treasury.run("k2", send(6_000)).await.unwrap();
    *world.node.transactions.lock().unwrap() = vec![tx("tx1", 6_000, Some(111))];
    world.clock.advance(Duration::from_secs(30 * 24 * 3_600));
    assert_eq!(world.look(mined.id).await.0, OperationState::Sent);
    assert!(world.treasury.settle(mined.id, Verdict::Failed).await.is_err());
}

/// Tollhouse was off for weeks; the transaction came into a block in that time.
#[tokio::test]
async fn the_chain_is_asked_before_a_send_is_called_failed() {
    let world = world();
    let sent = world.treasury.run("k", send(5_000)).await.unwrap();
    world.node.transactions.lock().unwrap().push(tx("tx1", 5_000, None));
    *world.node.fault.lock().unwrap() = Some(SendFault::Uncertain("the disk".to_owned()));
    let unclear = world.treasury.run("l", send(7_000)).await.unwrap();
    world.clock.advance(Duration::from_secs(15 * 24 * 3_600));
    *world.node.cut_off.lock().unwrap() = true;
    for id in [sent.id, unclear.id] {
        let refused = world.treasury.settle(id, Verdict::Failed).await.unwrap_err();
        assert!(matches!(refused, TreasuryError::OutOfStep(_)), "{refused}");
        assert!(!world.treasury.operation(id).await.unwrap().state.is_final());
    }
    *world.node.cut_off.lock().unwrap() = false;
    let learnt = vec![tx("tx1", 5_000, Some(111)), tx("tx2", 7_000, Some(112))];
    for (id, height) in [(sent.id, 111), (unclear.id, 112)] {
        *world.node.chain.lock().unwrap() = Some(learnt.clone());
        let refused = world.treasury.settle(id, Verdict::Failed).await.unwrap_err();
        assert!(matches!(refused, TreasuryError::NotUnclear(_)), "{refused}");
        let row = world.treasury.operation(id).await.unwrap();
        assert_eq!((row.state, &row.outcome["confirmed_height"]), (OperationState::Sent, &json!(height)));
    }
}

#[tokio::test]
async fn a_splice_is_not_taken_for_the_close_of_its_channel() {
    let world = world();
    world.node.channels.lock().unwrap().push(channel("7", "f1"));
    world.treasury.note_channels().await.unwrap();
    // Agreed and closed between two looks.
    world.ledger.splice_agreed("c7".to_owned(), "f2:1".to_owned()).await.unwrap();
    *world.node.spent.lock().unwrap() = vec![("f1:0", "f2")];
    world.node.channels.lock().unwrap().clear();
    world.closed("7", "agreed").await;
    let closing = async || {
        *world.treasury.noted() = Noted::default();
        world.treasury.note_channels().await.unwrap();
        world.ledger.channel_record("7").await.unwrap().unwrap().closing_txid
    };
    assert_eq!(closing().await, None);
    world.node.spent.lock().unwrap().push(("f2:1", "closing"));
    assert_eq!(closing().await.as_deref(), Some("closing"));
}

#[tokio::test]
async fn coins_that_came_home_unseen_are_found_in_the_wallet() {
    let world = world();
    world.node.channels.lock().unwrap().push(channel("7", "f1"));
    let claim = Claim {
        channel_id: "c7".to_owned(),
        peer: "02aa".to_owned(),
        amount_sat: 40_000,
        waits: Waits::Closing,
        until_height: None,
        in_wallet: false,
        open: false,
    };
    world.node.claims.lock().unwrap().push(claim);
    world.treasury.note_channels().await.unwrap();
    // Closed, buried and paid out between two looks.
    world.node.channels.lock().unwrap().clear();
    world.node.claims.lock().unwrap().clear();
    world.closed("7", "agreed_by_us").await;
    let look = async || {
        *world.treasury.noted() = Noted::default();
        world.treasury.note_channels().await.unwrap();
        world.ledger.channel_record("7").await.unwrap().unwrap()
    };
    let row = look().await;
    assert_eq!((row.owed_sat, row.last_sat, row.returned_height), (None, Some(40_000), Some(100)));
    *world.node.spent.lock().unwrap() = vec![("f1:0", "closing")];
    assert_eq!(look().await.owed_sat, None, "the wallet has not seen it yet");
    let came = |outgoing| ChainTx {
        txid: "closing".to_owned(),
        outgoing,
        amount_sat: 39_700,
        fee_sat: None,
        confirmed_height: Some(99),
        settled: true,
        at_secs: 1_000,
    };
    world.node.transactions.lock().unwrap().push(came(true));
    assert_eq!(look().await.owed_sat, None, "what left the wallet did not come home");
    world.node.transactions.lock().unwrap().push(came(false));
    let row = look().await;
    assert_eq!((row.owed_sat, row.came_sat), (Some(39_700), Some(39_700)));
}

#[tokio::test]
async fn a_dry_run_refuses_what_the_move_itself_would_be_refused() {
    let world = world();
    let refused = async |deed: &Deed| match world.treasury.preview(deed).await {
        Err(TreasuryError::Senseless { code, .. }) => code,
        other => panic!("{other:?}"),
    };
    let rate = |sat_per_kvb: u64| serde_json::from_value(json!(sat_per_kvb)).unwrap();
    let to = |address: &str, amount_sat, fee| Deed::Send { address: address.to_owned(), amount_sat, fee };
    for slip in [999, 2_000_001] {
        assert_eq!(refused(&to("bcrt1q", 5_000, FeeChoice::SatPerKvb(rate(slip)))).await, "bad_fee");
        assert_eq!(refused(&to(Deed::VAULT, 5_000, FeeChoice::SatPerKvb(rate(slip)))).await, "bad_fee");
    }
    assert_eq!(refused(&to(Deed::VAULT, 1, FeeChoice::Slow)).await, "bad_amount");
    assert_eq!(refused(&to("nowhere", 5_000, FeeChoice::Slow)).await, "bad_address");
    let open = |amount_sat| Deed::OpenChannel {
        peer: "02".to_owned(),
        address: "host:9735".to_owned(),
        amount_sat,
        push_msat: Msat::ZERO,
        announce: false,
    };
    assert_eq!(refused(&open(19_999)).await, "bad_amount");
    assert!(!world.treasury.preview(&open(20_000)).await.unwrap().enough, "there is nothing");
    *world.node.total.lock().unwrap() = 100_000;
    let dear = world.treasury.preview(&to("bcrt1q", 1_000, FeeChoice::SatPerKvb(rate(1_000)))).await.unwrap();
    assert!(dear.lines.iter().any(|line| line.contains("20 % of what it moves")), "{:?}", dear.lines);
    let fair =
        world.treasury.preview(&to("bcrt1q", 50_000, FeeChoice::SatPerKvb(rate(1_000)))).await.unwrap();
    assert!(!fair.lines.iter().any(|line| line.contains("Careful")), "{:?}", fair.lines);
}

#[tokio::test]
async fn a_close_says_what_can_be_received_without_the_channel() {
    let world = world();
    let force = Deed::ForceCloseChannel { channel_id: "c7".to_owned() };
    world.node.channels.lock().unwrap().push(channel("7", "f1"));
    let empty = world.treasury.preview(&force).await.unwrap();
    assert!(!empty.enough && empty.lines.len() == 1, "nobody pays for it: {empty:?}");
    *world.node.total.lock().unwrap() = 10_000;
    let said = async |receivable_msat| {
        *world.node.channels.lock().unwrap() = vec![ChannelView { receivable_msat, ..channel("7", "f1") }];
        let close = Deed::CloseChannel { channel_id: "c7".to_owned() };
        let force = Deed::ForceCloseChannel { channel_id: "c7".to_owned() };
        let [close, force] =
            [world.treasury.preview(&close).await.unwrap(), world.treasury.preview(&force).await.unwrap()];
        let line = close.lines.into_iter().find(|line| line.contains("receive")).unwrap();
        assert!(force.lines.contains(&line), "{line}: {:?}", force.lines);
        line
    };
    assert_eq!(said(9_000_000).await, "You can receive 9000 sat less.");
    assert_eq!(said(999).await, "Nothing can be received over it now, so no room to receive is lost.");
}
