//! The treasury against a node that is made up: what is asked once, and what a crash hides.

mod came;
mod deeds;
mod followed;
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
        let rates = rate.map(rates);
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

    fn contents(
        &self,
        _txid: &str,
        _height: Option<u32>,
    ) -> BoxFuture<'_, Result<Option<TxContents>, NodeFault>> {
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

    fn is_own(&self, address: &str) -> BoxFuture<'_, bool> {
        let own = address == "bcrt1own";
        Box::pin(async move { own })
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
    let node = Arc::new(MadeUp { rate: Mutex::new(Some(FeeRate::FLOOR)), ..MadeUp::default() });
    let treasury = treasury(&ledger, &node, &clock);
    World { node, ledger, treasury, clock, _dir: dir }
}

fn treasury(ledger: &Ledger, node: &Arc<MadeUp>, clock: &Arc<FixedClock>) -> Treasury {
    Treasury::new(TreasuryParts {
        ledger: ledger.clone(),
        node: node.clone(),
        control: node.clone(),
        coins: node.clone(),
        clock: clock.clone(),
        tasks: TaskTracker::new(),
    })
}

impl World {
    /// The same with a treasury that remembers nothing.
    pub(super) fn restarted(self) -> World {
        World { treasury: treasury(&self.ledger, &self.node, &self.clock), ..self }
    }

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

pub(super) const fn rates(rate: FeeRate) -> FeeRates {
    FeeRates { fast_sat_per_kvb: rate, normal_sat_per_kvb: rate, slow_sat_per_kvb: rate, estimated: true }
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
