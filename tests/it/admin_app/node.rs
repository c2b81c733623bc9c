//! A node that is made up: it says what a test put there and notes what it was asked.

use std::sync::Mutex;

use tollhouse::ports::{
    BoxFuture, ChainView, ChainWatch, ChannelView, CloseHow, FeeRate, ForwardingFees, Much, NodeControl,
    NodeFault, NodeView, NodeWatch, OfferAsk, OfferPayer, OfferPayment, OfferTerms, OpenAsk, Outgoing, Payer,
    PeerView, SendFault, SourceAnswer, UnsentView,
};
use tollhouse::store::OperationRow;
use tollhouse::types::{Msat, PaymentHash};
use tollhouse::upkeep::{Splicer, Unspliced};

use super::{START, wallet};

/// A node that says what a test put there and notes what it was asked.
#[derive(Default)]
pub(crate) struct MadeUpNode {
    pub(crate) channels: Mutex<Vec<ChannelView>>,
    pub(crate) chain_answers: Mutex<Vec<SourceAnswer>>,
    pub(crate) unsent: Mutex<Vec<UnsentView>>,
    pub(crate) sends: Mutex<Vec<String>>,
    pub(crate) offers: Mutex<Vec<OfferAsk>>,
    pub(crate) peers: Mutex<Vec<PeerView>>,
    /// Orders of channels that were paid with coins: by which key, and how much.
    pub(crate) ordered: Mutex<Vec<(String, u64, Option<FeeRate>)>>,
    pub(crate) opened: Mutex<Vec<OpenAsk>>,
    pub(crate) closed: Mutex<Vec<(String, CloseHow)>>,
    /// What it waits for, when it is not up.
    pub(crate) down: Mutex<Option<String>>,
    pub(crate) sent: Mutex<Vec<(String, Much, FeeRate)>>,
    pub(crate) wallet: Mutex<wallet::MadeUpWallet>,
}

impl ChainWatch for MadeUpNode {
    fn chain(&self) -> ChainView {
        ChainView { unsent: self.unsent.lock().expect("not poisoned").clone(), ..ChainView::default() }
    }

    fn ask(&self) -> BoxFuture<'_, Vec<SourceAnswer>> {
        let answers = self.chain_answers.lock().expect("not poisoned").clone();
        Box::pin(async move { answers })
    }
}

impl NodeWatch for MadeUpNode {
    fn view(&self) -> BoxFuture<'_, NodeView> {
        let channels = self.channels.lock().expect("not poisoned").clone();
        let usable = || channels.iter().filter(|channel| channel.usable);
        if self.down.lock().expect("not poisoned").is_some() {
            // As much as a node tells that does not run.
            let view = NodeView {
                node_id: "02".repeat(33),
                network: "regtest".to_owned(),
                listening: vec!["127.0.0.1:9735".to_owned()],
                ..NodeView::default()
            };
            return Box::pin(async move { view });
        }
        let view = NodeView {
            node_id: "02".repeat(33),
            network: "regtest".to_owned(),
            running: true,
            block_height: 231,
            synced_at: Some(START.secs() - 4),
            spendable_msat: usable().map(|channel| channel.spendable_msat).sum(),
            receivable_msat: usable().map(|channel| channel.receivable_msat).sum(),
            largest_receivable_msat: usable()
                .map(|channel| channel.largest_receivable_msat)
                .max()
                .unwrap_or(0),
            onchain_spendable_sat: 98_214,
            onchain_reserved_sat: 25_000,
            onchain_reserve_wanted_sat: 25_000,
            peers_connected: channels.len(),
            listening: vec!["127.0.0.1:9735".to_owned()],
            channels,
        };
        Box::pin(async move { view })
    }
}

impl NodeControl for MadeUpNode {
    fn new_address(&self) -> BoxFuture<'_, Result<String, NodeFault>> {
        Box::pin(async { Ok("bcrt1qmadeup".to_owned()) })
    }

    fn open_channel(&self, ask: OpenAsk) -> BoxFuture<'_, Result<String, SendFault>> {
        self.opened.lock().expect("not poisoned").push(ask);
        Box::pin(async { Ok("2".to_owned()) })
    }

    fn close_channel(&self, channel_id: &str, how: CloseHow) -> BoxFuture<'_, Result<(), SendFault>> {
        self.closed.lock().expect("not poisoned").push((channel_id.to_owned(), how));
        Box::pin(async { Ok(()) })
    }

    fn connect(&self, peer: &str, address: &str) -> BoxFuture<'_, Result<(), NodeFault>> {
        let (peer, address) = (peer.to_owned(), address.to_owned());
        let met = PeerView { peer, address, connected: true, kept: true };
        self.peers.lock().expect("not poisoned").push(met);
        Box::pin(async { Ok(()) })
    }

    fn sync(&self) -> BoxFuture<'_, Result<(), NodeFault>> {
        Box::pin(async { Ok(()) })
    }
}

impl Payer for MadeUpNode {
    fn send(&self, bolt11: &str, _max_fee: Msat) -> BoxFuture<'_, Result<(), SendFault>> {
        self.sends.lock().expect("not poisoned").push(bolt11.to_owned());
        Box::pin(async { Ok(()) })
    }

    fn outgoing(&self, _payment_hash: PaymentHash) -> BoxFuture<'_, Outgoing> {
        Box::pin(async { Outgoing::Pending })
    }
}

/// What the made-up payee says that its offer is for.
pub(crate) const MEMO: &str = "\"><script>throw 1</script><img src=x onerror=\"throw 1\">";

impl OfferPayer for MadeUpNode {
    fn offer_terms(&self, offer: &str) -> Result<OfferTerms, NodeFault> {
        match offer {
            "lno1any" => Ok(OfferTerms { description: Some(MEMO.to_owned()), ..OfferTerms::default() }),
            _ => Err(NodeFault("not a BOLT 12 offer".to_owned())),
        }
    }

    fn send_offer(&self, ask: OfferAsk) -> BoxFuture<'_, Result<(), SendFault>> {
        self.offers.lock().expect("not poisoned").push(ask);
        Box::pin(async { Ok(()) })
    }

    fn offer_payment(&self, _note: &str) -> BoxFuture<'_, OfferPayment> {
        Box::pin(async { OfferPayment::Pending })
    }
}

impl Splicer for MadeUpNode {
    fn check(&self, to: &str) -> Result<(), String> {
        if to == "vault" { Ok(()) } else { Err("not an address".to_owned()) }
    }

    fn fee(&self) -> BoxFuture<'_, Option<Msat>> {
        Box::pin(async { None })
    }

    fn splice_out(
        &self,
        _key: String,
        _channel_id: String,
        _to: String,
        _amount: Msat,
        _run: tollhouse::store::RuleRun,
    ) -> BoxFuture<'_, Result<OperationRow, Unspliced>> {
        Box::pin(async { Err(Unspliced { code: "no_channel", why: "made up".to_owned() }) })
    }
}

/// A channel that can be used, with this much on each side.
pub(crate) fn usable_channel(spendable_sat: u64, receivable_sat: u64) -> ChannelView {
    ChannelView {
        channel_id: "11".repeat(32),
        peer: "03".repeat(33),
        funding: None,
        capacity_sat: spendable_sat + receivable_sat + 2_000,
        spendable_msat: spendable_sat * 1_000,
        receivable_msat: receivable_sat * 1_000,
        largest_receivable_msat: receivable_sat * 1_000,
        reserved_sat: 1_000,
        their_reserved_sat: 1_000,
        confirmations: Some(6),
        confirmations_required: Some(3),
        ready: true,
        usable: true,
        announced: false,
        local_id: "1".to_owned(),
        outbound: false,
        without_anchors: false,
        fees: ForwardingFees::default(),
        force_close_blocks: Some(144),
    }
}
