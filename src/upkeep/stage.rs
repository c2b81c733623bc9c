//! A stage for tests: a ledger in a folder, a node that is made of answers, and a payee's server.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bitcoin::Network;
use bitcoin::hashes::{Hash, sha256};
use bitcoin::secp256k1::{Secp256k1, SecretKey};
use lightning_invoice::{Currency, InvoiceBuilder, PaymentSecret};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{PayoutAsk, Payouts, PayoutsParts};
use crate::clock::{Clock, FixedClock, SystemEntropy};
use crate::egress::{Egress, Reach, SystemResolver};
use crate::event::Event;
use crate::payments::Outbox;
use crate::ports::{
    BoxFuture, ChannelView, NodeFault, NodeView, NodeWatch, OfferAsk, OfferPayer, OfferPayment, OfferTerms,
    Outgoing, Payer, SendFault,
};
use crate::store::{Ledger, OfferEnd, OutgoingState};
use crate::types::{Msat, PaymentHash, Preimage, Timestamp};

pub(super) const NOW: u64 = 1_800_000_000;
pub(super) const METADATA: &str = "[[\"text/plain\",\"me\"]]";

pub(super) fn sat(sat: u64) -> Msat {
    Msat::from_sat(sat).unwrap()
}

pub(super) fn preimage(seed: u8) -> Preimage {
    Preimage::from_bytes([seed; 32])
}

/// An invoice over `amount`, with the metadata's hash or a text.
pub(super) fn invoice(seed: u8, amount: Msat, metadata: Option<&str>) -> String {
    let key = SecretKey::from_slice(&[42; 32]).unwrap();
    let hash = sha256::Hash::from_byte_array(*preimage(seed).payment_hash().as_bytes());
    let builder = InvoiceBuilder::new(Currency::Regtest);
    let builder = match metadata {
        Some(metadata) => builder.description_hash(sha256::Hash::hash(metadata.as_bytes())),
        None => builder.description("test".to_owned()),
    };
    builder
        .payment_hash(hash)
        .payment_secret(PaymentSecret([1; 32]))
        .duration_since_epoch(Duration::from_secs(NOW))
        .expiry_time(Duration::from_secs(3_600))
        .min_final_cltv_expiry_delta(42)
        .amount_milli_satoshis(amount.msat())
        .build_signed(|message| Secp256k1::new().sign_ecdsa_recoverable(message, &key))
        .unwrap()
        .to_string()
}

/// A node whose every answer the test decides. It lives on when the appliance dies.
#[derive(Default)]
pub(super) struct FakeNode {
    pub(super) view: Mutex<NodeView>,
    /// What invoices' payments became.
    pub(super) invoices: Mutex<HashMap<PaymentHash, Outgoing>>,
    /// The invoices that it was asked to pay.
    pub(super) sends: Mutex<Vec<PaymentHash>>,
    /// What the node was asked to pay to offers.
    pub(super) asked: Mutex<Vec<OfferAsk>>,
    /// What became of them, by their notes.
    pub(super) offers: Mutex<HashMap<String, OfferPayment>>,
    /// What paying an offer answers, when not that it began.
    pub(super) fault: Mutex<Option<SendFault>>,
    /// The node takes the payment and the appliance dies before it hears so.
    pub(super) cut: AtomicBool,
    /// Its list does not show what it took: it died before it noted that.
    pub(super) forgets: AtomicBool,
}

impl FakeNode {
    /// What can be spent and received now, over one channel.
    pub(super) fn has(&self, spendable: Msat, receivable: Msat) {
        let channel = ChannelView {
            channel_id: "c1".to_owned(),
            spendable_msat: spendable.msat(),
            receivable_msat: receivable.msat(),
            ready: true,
            usable: true,
            ..channel()
        };
        *self.view.lock().unwrap() = NodeView {
            running: true,
            spendable_msat: spendable.msat(),
            receivable_msat: receivable.msat(),
            channels: vec![channel],
            ..NodeView::default()
        };
    }

    /// What it was asked for over all offers.
    pub(super) fn asked(&self) -> Vec<OfferAsk> {
        self.asked.lock().unwrap().clone()
    }

    pub(super) fn becomes(&self, note: &str, what: OfferPayment) {
        self.offers.lock().unwrap().insert(note.to_owned(), what);
    }
}

fn channel() -> ChannelView {
    ChannelView::default()
}

impl Payer for FakeNode {
    fn send(&self, bolt11: &str, _: Msat) -> BoxFuture<'_, Result<(), SendFault>> {
        let invoice: lightning_invoice::Bolt11Invoice = bolt11.parse().unwrap();
        let hash = PaymentHash::from_bytes(invoice.payment_hash().to_byte_array());
        if !self.forgets.load(Ordering::SeqCst) {
            self.invoices.lock().unwrap().insert(hash, Outgoing::Pending);
        }
        self.sends.lock().unwrap().push(hash);
        Box::pin(async {
            if self.cut.load(Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
            Ok(())
        })
    }

    fn outgoing(&self, hash: PaymentHash) -> BoxFuture<'_, Outgoing> {
        let known = self.invoices.lock().unwrap().get(&hash).cloned();
        Box::pin(async { known.unwrap_or(Outgoing::Unknown) })
    }
}

impl OfferPayer for FakeNode {
    fn offer_terms(&self, offer: &str) -> Result<OfferTerms, NodeFault> {
        match offer {
            "lno1any" => Ok(OfferTerms::default()),
            "lno1five" => Ok(OfferTerms { amount: Some(sat(5_000)), ..OfferTerms::default() }),
            _ => Err(NodeFault("not an offer".to_owned())),
        }
    }

    fn send_offer(&self, ask: OfferAsk) -> BoxFuture<'_, Result<(), SendFault>> {
        Box::pin(async move {
            if let Some(fault) = self.fault.lock().unwrap().clone() {
                return Err(fault);
            }
            if !self.forgets.load(Ordering::SeqCst) {
                self.becomes(&ask.note, OfferPayment::Pending);
            }
            self.asked.lock().unwrap().push(ask);
            if self.cut.load(Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
            Ok(())
        })
    }

    fn offer_payment(&self, note: &str) -> BoxFuture<'_, OfferPayment> {
        let known = self.offers.lock().unwrap().get(note).cloned();
        Box::pin(async { known.unwrap_or(OfferPayment::Unknown) })
    }
}

impl NodeWatch for FakeNode {
    fn view(&self) -> BoxFuture<'_, NodeView> {
        Box::pin(async { self.view.lock().unwrap().clone() })
    }
}

/// A ledger, a node and what pays out between them.
pub(super) struct Stage {
    pub(super) folder: tempfile::TempDir,
    pub(super) clock: Arc<FixedClock>,
    pub(super) ledger: Ledger,
    pub(super) node: Arc<FakeNode>,
    pub(super) outbox: Arc<Outbox>,
    pub(super) payouts: Payouts,
    pub(super) stop: CancellationToken,
}

impl Stage {
    pub(super) fn new() -> Stage {
        let node = Arc::new(FakeNode::default());
        node.has(sat(100_000), sat(1_000));
        Stage::on(tempfile::tempdir().unwrap(), FixedClock::at(Timestamp::from_secs(NOW + 10)), node)
    }

    fn on(folder: tempfile::TempDir, clock: Arc<FixedClock>, node: Arc<FakeNode>) -> Stage {
        let (ledger, _) = Ledger::open(&folder.path().join("ledger.db"), clock.clone()).unwrap();
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let as_clock: Arc<dyn Clock> = clock.clone();
        let outbox =
            Outbox::new(ledger.clone(), node.clone(), Arc::clone(&as_clock), Network::Regtest, tasks.clone());
        let outbox = Arc::new(outbox);
        let payouts = Payouts::new(PayoutsParts {
            ledger: ledger.clone(),
            outbox: Arc::clone(&outbox),
            offers: node.clone(),
            node: node.clone(),
            egress: Arc::new(Egress::new(Arc::new(SystemResolver)).unwrap()),
            reach: Reach::Private,
            network: Network::Regtest,
            clock: as_clock,
            entropy: SystemEntropy::new(),
            tracker: tasks.clone(),
            stop: stop.clone(),
        });
        Stage { folder, clock, ledger, node, outbox, payouts, stop }
    }

    /// The same files after the appliance died in the middle of whatever was going on; the node lives on.
    pub(super) async fn die_and_start(self) -> Stage {
        self.stop.cancel();
        self.ledger.close().await.unwrap();
        self.node.cut.store(false, Ordering::SeqCst);
        Stage::on(self.folder, self.clock, self.node)
    }

    /// The node tells how the payment with this note ended.
    pub(super) async fn offer_arrives(&self, note: &str, seed: u8, amount: Msat, fee: Msat) {
        let (payment_hash, preimage) = (preimage(seed).payment_hash(), preimage(seed));
        self.node.becomes(note, OfferPayment::Succeeded { payment_hash, preimage, amount, fee });
        let end = OfferEnd::Arrived { payment_hash, preimage, amount, fee };
        self.ledger.settle_offer(Some(note.to_owned()), end).await.unwrap();
    }

    pub(super) async fn invoice_arrives(&self, seed: u8, fee: Msat) {
        let state = OutgoingState::Succeeded { preimage: preimage(seed), fee };
        self.ledger.settle_outgoing(preimage(seed).payment_hash(), state).await.unwrap();
    }

    pub(super) async fn log(&self) -> Vec<Event> {
        self.ledger.events_after(0, 1_000).await.unwrap().into_iter().map(|logged| logged.event).collect()
    }

    /// Waits until `look` finds what it looks for; each change of the ledger is a reason to look.
    pub(super) async fn until<T>(&self, mut look: impl AsyncFnMut() -> Option<T>) -> T {
        let found = tokio::time::timeout(Duration::from_secs(30), async {
            let mut news = self.ledger.watch();
            loop {
                news.borrow_and_update();
                if let Some(found) = look().await {
                    return found;
                }
                let _ = tokio::time::timeout(Duration::from_millis(20), news.changed()).await;
            }
        });
        found.await.expect("waited in vain")
    }
}

pub(super) fn to_offer(amount: u64) -> PayoutAsk {
    PayoutAsk { to: "lno1any".to_owned(), amount: Some(sat(amount)), max_fee: Some(sat(10)), why: None }
}

/// What a payee's server gives; every answer can be spoilt.
#[derive(Clone, Default)]
pub(super) struct Server {
    pub(super) origin: String,
    spoilt: Arc<Mutex<HashMap<&'static str, Value>>>,
    pub(super) asked: Arc<Mutex<Vec<u64>>>,
}

impl Server {
    /// A Lightning address on this machine that takes 1,000 to 50,000 sat.
    pub(super) async fn start() -> Server {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Server { origin: listener.local_addr().unwrap().to_string(), ..Server::default() };
        let serving = server.clone();
        TaskTracker::new().spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                let head = String::from_utf8(head).unwrap();
                let body = serving.answer(head.split(' ').nth(1).unwrap()).to_string();
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                );
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        server
    }

    pub(super) fn address(&self) -> String {
        format!("me@{}", self.origin)
    }

    /// From now on this field of its answers is another.
    pub(super) fn spoil(&self, field: &'static str, value: Value) {
        self.spoilt.lock().unwrap().insert(field, value);
    }

    fn answer(&self, target: &str) -> Value {
        let mut answer = match target.split_once("amount=") {
            None => json!({
                "tag": "payRequest", "callback": format!("http://{}/pay?x=1", self.origin),
                "minSendable": 1_000_000, "maxSendable": 50_000_000, "metadata": METADATA,
            }),
            Some((_, amount)) => {
                let amount: u64 = amount.parse().unwrap();
                self.asked.lock().unwrap().push(amount);
                json!({ "pr": invoice(7, Msat::new(amount).unwrap(), Some(METADATA)), "routes": [] })
            }
        };
        for (field, value) in self.spoilt.lock().unwrap().iter() {
            if !answer[*field].is_null() {
                answer[*field] = value.clone();
            }
        }
        answer
    }
}
