//! The consumer and the outbox against a node that is made of answers.

mod consume;
mod operations;
mod outbox;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bitcoin::Network;
use bitcoin::hashes::{Hash, sha256};
use bitcoin::secp256k1::{Secp256k1, SecretKey};
use lightning_invoice::{Currency, InvoiceBuilder, PaymentSecret};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Outbox, PayAsk, Reconciled, consume};
use crate::clock::{Clock, FixedClock};
use crate::event::Event;
use crate::ledger::RecentChallenges;
use crate::ports::{BoxFuture, NodeEvent, NodeEvents, NodeFault, Outgoing, Payer, SendFault};
use crate::pricing::{Exchange, Rate, RateFault};
use crate::store::Ledger;
use crate::types::{Msat, PaymentHash, Preimage, Timestamp};

const NOW: u64 = 1_800_000_000;

pub(crate) fn preimage(seed: u8) -> Preimage {
    Preimage::from_bytes([seed; 32])
}

pub(crate) fn hash(seed: u8) -> PaymentHash {
    preimage(seed).payment_hash()
}

fn msat(amount: u64) -> Msat {
    Msat::new(amount).unwrap()
}

/// A signed invoice over 5,000 msat, an hour to pay.
pub(crate) fn invoice(seed: u8, currency: Currency, amount: Option<u64>) -> String {
    let key = SecretKey::from_slice(&[42; 32]).unwrap();
    let mut builder = InvoiceBuilder::new(currency)
        .description("test".to_owned())
        .payment_hash(sha256::Hash::from_byte_array(*hash(seed).as_bytes()))
        .payment_secret(PaymentSecret([1; 32]))
        .duration_since_epoch(Duration::from_secs(NOW))
        .expiry_time(Duration::from_secs(3_600))
        .min_final_cltv_expiry_delta(42);
    if let Some(amount) = amount {
        builder = builder.amount_milli_satoshis(amount);
    }
    builder
        .build_signed(|message| Secp256k1::new().sign_ecdsa_recoverable(message, &key))
        .unwrap()
        .to_string()
}

fn ask(seed: u8) -> PayAsk {
    let bolt11 = invoice(seed, Currency::Regtest, Some(5_000));
    PayAsk { bolt11, max_amount: msat(10_000), max_fee: msat(100), wallet: None }
}

/// A node whose every answer the test decides.
#[derive(Default)]
struct FakeNode {
    sends: Mutex<Vec<String>>,
    /// What a send answers, when not that it began.
    fault: Mutex<Option<SendFault>>,
    /// A send that has begun waits here, once, when set.
    stalls: AtomicBool,
    stalled: Notify,
    go_on: Notify,
    known: Mutex<HashMap<PaymentHash, Outgoing>>,
    queue: Mutex<VecDeque<NodeEvent>>,
    /// An event that is put into the queue the moment that a send begins.
    at_send: Mutex<Option<NodeEvent>>,
    arrived: Notify,
    acknowledged: Notify,
    refused_acknowledgements: Mutex<u32>,
}

impl FakeNode {
    fn sends(&self) -> usize {
        self.sends.lock().unwrap().len()
    }

    fn knows(&self, seed: u8, what: Outgoing) {
        self.known.lock().unwrap().insert(hash(seed), what);
    }

    fn tell(&self, event: NodeEvent) {
        self.queue.lock().unwrap().push_back(event);
        self.arrived.notify_one();
    }
}

impl Payer for FakeNode {
    fn send(&self, bolt11: &str, _: Msat) -> BoxFuture<'_, Result<(), SendFault>> {
        self.sends.lock().unwrap().push(bolt11.to_owned());
        if let Some(event) = self.at_send.lock().unwrap().take() {
            self.tell(event);
        }
        Box::pin(async {
            if self.stalls.swap(false, Ordering::AcqRel) {
                self.stalled.notify_one();
                self.go_on.notified().await;
            }
            match self.fault.lock().unwrap().clone() {
                Some(fault) => Err(fault),
                None => Ok(()),
            }
        })
    }

    fn outgoing(&self, payment_hash: PaymentHash) -> BoxFuture<'_, Outgoing> {
        let known = self.known.lock().unwrap().get(&payment_hash).cloned();
        Box::pin(async { known.unwrap_or(Outgoing::Unknown) })
    }
}

impl NodeEvents for FakeNode {
    fn next_event(&self) -> BoxFuture<'_, NodeEvent> {
        Box::pin(async {
            loop {
                let head = self.queue.lock().unwrap().front().cloned();
                match head {
                    Some(event) => return event,
                    None => self.arrived.notified().await,
                }
            }
        })
    }

    fn acknowledge(&self) -> BoxFuture<'_, Result<(), NodeFault>> {
        Box::pin(async {
            let mut refused = self.refused_acknowledgements.lock().unwrap();
            if let Some(fewer) = refused.checked_sub(1) {
                *refused = fewer;
                return Err(NodeFault("not now".to_owned()));
            }
            self.queue.lock().unwrap().pop_front();
            self.acknowledged.notify_one();
            Ok(())
        })
    }
}

/// A ledger, a node and what runs between them.
struct World {
    folder: tempfile::TempDir,
    clock: Arc<FixedClock>,
    ledger: Ledger,
    node: Arc<FakeNode>,
    outbox: Arc<Outbox>,
    recent: Arc<RecentChallenges>,
    tasks: TaskTracker,
    stop: CancellationToken,
    rate: Arc<Mutex<Option<Rate>>>,
}

/// Knows the rate that a test put there.
struct Known(Arc<Mutex<Option<Rate>>>);

impl Exchange for Known {
    fn rate(&self, currency: crate::pricing::Currency, _: Timestamp) -> Result<Rate, RateFault> {
        Err(RateFault::Unknown(currency))
    }

    fn noted(&self) -> Option<Rate> {
        *self.0.lock().unwrap()
    }
}

impl World {
    fn new() -> World {
        let (folder, node) = (tempfile::tempdir().unwrap(), Arc::new(FakeNode::default()));
        let clock = FixedClock::at(Timestamp::from_secs(NOW + 10));
        World::on(folder, clock, node)
    }

    fn on(folder: tempfile::TempDir, clock: Arc<FixedClock>, node: Arc<FakeNode>) -> World {
        let (ledger, _) = Ledger::open(&folder.path().join("ledger.db"), clock.clone()).unwrap();
        let tasks = TaskTracker::new();
        let as_clock: Arc<dyn Clock> = clock.clone();
        let outbox = Outbox::new(ledger.clone(), node.clone(), as_clock, Network::Regtest, tasks.clone());
        let recent = Arc::new(RecentChallenges::new(8));
        let (outbox, stop) = (Arc::new(outbox), CancellationToken::new());
        World { folder, clock, ledger, node, outbox, recent, rate: Arc::default(), tasks, stop }
    }

    /// The same files, after a stop in the middle of whatever was going on; the node lives on.
    async fn restart(self) -> World {
        self.stop.cancel();
        self.ledger.close().await.unwrap();
        World::on(self.folder, self.clock, self.node)
    }

    fn consume(&self) {
        let (events, payer, ledger) = (self.node.clone(), self.node.clone(), self.ledger.clone());
        let exchange = Arc::new(Known(Arc::clone(&self.rate)));
        self.tasks.spawn(consume(events, payer, ledger, self.recent.clone(), exchange, self.stop.clone()));
    }

    /// The node is asked once about all that is open: how many have an end now, and about how many it could not be.
    async fn looked(&self) -> (usize, usize) {
        let Reconciled { ended, unasked } = self.outbox.reconcile().await.unwrap();
        (ended, unasked)
    }

    async fn log(&self) -> Vec<Event> {
        self.ledger.events_after(0, 1_000).await.unwrap().into_iter().map(|logged| logged.event).collect()
    }
}
