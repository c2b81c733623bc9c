//! Pays invoices, once for each payment hash (MONEY rule 14).
//!
//! The intent is on disk before the node hears of it, and what became of it is read from the ledger,
//! never from memory. An intent whose sender died is not sent again by itself: it is asked about at the
//! node. One that the node never heard of is marked `cut_off`; only a fresh call pays it. Should the
//! node have taken it all the same, it refuses the same hash a second time, and its proof still arrives:
//! who would pay with another invoice instead takes it as unclear.
//! One that the node took and forgot is unclear: only the operator, or a late event, can end it.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bitcoin::Network;
use lightning_invoice::Bolt11Invoice;
use thiserror::Error;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::moment::Moment;
use crate::ports::{Outgoing, Payer, SendFault};
use crate::store::{
    CUT_OFF, Intended, Intent, Ledger, OperationRow, OutgoingRow, OutgoingState, OverBudget, PAYMENT,
    StoreError,
};
use crate::types::{AmountOutOfRange, Msat, PaymentHash};

/// Why a payment failed that was not given to the node: it was not there.
const NEVER_SENT: &str = "never_sent";

/// The first pause before a node that could not be asked is asked again; it doubles up to [`LOOK`].
const AGAIN: Duration = Duration::from_millis(500);
/// The longest pause between two questions.
const LOOK: Duration = Duration::from_secs(60);
/// Once all that an earlier run left was asked about, only payments that nothing was told of for so long are.
const QUIET: Duration = Duration::from_secs(10 * 60);

/// What is to be paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayAsk {
    /// The invoice (BOLT 11).
    pub bolt11: String,
    /// Refuse to pay more than this, fee not counted.
    pub max_amount: Msat,
    /// The most that routing may cost.
    pub max_fee: Msat,
    /// The wallet that asks, by its key's number; `None` is the operator.
    pub wallet: Option<i64>,
}

/// Why nothing was paid.
#[derive(Clone, Debug, Error)]
pub enum PayError {
    /// Not an invoice.
    #[error("this is not a valid BOLT 11 invoice")]
    NotAnInvoice,
    /// An invoice of another network.
    #[error("the invoice is for {theirs}, this node is on {ours}")]
    WrongNetwork {
        /// The invoice's.
        theirs: Network,
        /// Ours.
        ours: Network,
    },
    /// The invoice leaves the amount open.
    #[error("the invoice has no amount")]
    NoAmount,
    /// More than there is.
    #[error("the invoice's amount: {0}")]
    Amount(#[from] AmountOutOfRange),
    /// The invoice may not be paid any more.
    #[error("the invoice has expired")]
    Expired,
    /// Dearer than allowed.
    #[error("the invoice asks for {amount}, the limit is {limit}")]
    TooExpensive {
        /// The invoice's.
        amount: Msat,
        /// The caller's.
        limit: Msat,
    },
    /// The wallet's limits do not reach.
    #[error("{0}")]
    OverBudget(#[from] OverBudget),
    /// Another wallet, or the operator, has paid this hash or is paying it: its proof is theirs.
    #[error("this invoice was paid already, or is being paid, for somebody else")]
    AnothersPayment,
    /// The key names another operation.
    #[error("the key names operation {0}, which asked for something else")]
    KeyTaken(i64),
    /// The ledger cannot write, so nothing was sent.
    #[error("the ledger cannot be used: {0}")]
    Store(#[from] StoreError),
}

impl PayError {
    /// Stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            PayError::NotAnInvoice => "not_an_invoice",
            PayError::WrongNetwork { .. } => "wrong_network",
            PayError::NoAmount => "no_amount",
            PayError::Amount(_) => "bad_amount",
            PayError::Expired => "invoice_expired",
            PayError::TooExpensive { .. } => "too_expensive",
            PayError::OverBudget(OverBudget::Closed) => "wallet_closed",
            PayError::OverBudget(OverBudget::Payment { .. }) => "over_payment_limit",
            PayError::OverBudget(OverBudget::Day { .. }) => "over_day_limit",
            PayError::AnothersPayment => "already_paid",
            PayError::KeyTaken(_) => "idempotency_key_reused",
            PayError::Store(StoreError::Parked) => "payouts_parked",
            PayError::Store(_) => "ledger_unavailable",
        }
    }
}

/// Pays invoices through a node, each payment hash once.
pub struct Outbox {
    inside: Arc<Inside>,
    tracker: TaskTracker,
}

struct Inside {
    ledger: Ledger,
    payer: Arc<dyn Payer>,
    clock: Arc<dyn Clock>,
    network: Network,
    /// Who starts a payment takes its hash's turn, so that of two calls one sends.
    turns: Mutex<HashMap<PaymentHash, Weak<tokio::sync::Mutex<()>>>>,
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox").field("network", &self.inside.network).finish_non_exhaustive()
    }
}

impl Outbox {
    /// Pays through `payer`, which is on `network`. A send that has begun is finished on `tracker`,
    /// though its caller be gone.
    pub fn new(
        ledger: Ledger,
        payer: Arc<dyn Payer>,
        clock: Arc<dyn Clock>,
        network: Network,
        tracker: TaskTracker,
    ) -> Outbox {
        let inside = Inside { ledger, payer, clock, network, turns: Mutex::default() };
        Outbox { inside: Arc::new(inside), tracker }
    }

    /// Pays, or joins the payment of this hash that is on its way or done; waits for its end for at most
    /// `wait`. What comes back may still be unresolved: ask again, or look it up. A payment that failed
    /// before is tried anew. The call may be dropped at any moment.
    ///
    /// # Errors
    /// When the invoice is not to be paid or the ledger cannot write; nothing was sent then.
    pub async fn pay(&self, ask: PayAsk, wait: Duration) -> Result<OutgoingRow, PayError> {
        self.pay_as(ask, None, wait).await
    }

    /// The same as an operation that `key` names for good: asked again under it, nothing is sent, also when
    /// the payment failed. One that joins another's payment makes no operation.
    ///
    /// # Errors
    /// When the invoice is not to be paid, the key names something else, or the ledger cannot write; nothing
    /// was sent then.
    pub async fn pay_under(&self, key: &str, ask: PayAsk, wait: Duration) -> Result<OutgoingRow, PayError> {
        self.pay_as(ask, Some(key.to_owned()), wait).await
    }

    async fn pay_as(
        &self,
        ask: PayAsk,
        key: Option<String>,
        wait: Duration,
    ) -> Result<OutgoingRow, PayError> {
        let invoice = self.inside.read(&ask)?;
        // Before anything is sent: an end that comes at once is not missed.
        let news = self.inside.ledger.watch();
        let hash = invoice.payment_hash;
        let inside = Arc::clone(&self.inside);
        let started = self.tracker.spawn(async move { inside.start(&ask, &invoice, key).await });
        // A task that was ended by force leaves an intent that is asked about at the node.
        started.await.map_err(|_| StoreError::Closed)??;
        let row = self.await_end(hash, news, wait).await?;
        Ok(row.ok_or(StoreError::Corrupt("an intended payment vanished"))?)
    }

    /// Waits for the end of a payment for at most `wait`, and gives how it stands then; `None` when nobody
    /// asked for it. Pays nothing.
    ///
    /// # Errors
    /// When the ledger fails.
    pub async fn follow(&self, hash: PaymentHash, wait: Duration) -> Result<Option<OutgoingRow>, StoreError> {
        self.await_end(hash, self.inside.ledger.watch(), wait).await
    }

    async fn await_end(
        &self,
        hash: PaymentHash,
        mut news: watch::Receiver<i64>,
        wait: Duration,
    ) -> Result<Option<OutgoingRow>, StoreError> {
        let ledger = &self.inside.ledger;
        let ended = async {
            loop {
                news.borrow_and_update();
                match ledger.outgoing(hash).await? {
                    Some(row) if !row.state.is_final() => {}
                    ended => return Ok::<_, StoreError>(ended),
                }
                news.changed().await.map_err(|_| StoreError::Closed)?;
            }
        };
        match tokio::time::timeout(wait, ended).await {
            Ok(ended) => ended,
            Err(_) => ledger.outgoing(hash).await,
        }
    }

    /// Asks the node about every payment that an earlier run left without an end, again and again until it could be
    /// asked about each; then about those that nothing was told of for long, until `stop`: what the ledger or the node
    /// failed to note in its moment is found too. It sends nothing. Begin when the node runs.
    pub async fn look_up(&self, stop: CancellationToken) {
        let _ = stop.run_until_cancelled(self.look_up_all()).await;
    }

    async fn look_up_all(&self) {
        let (mut pause, mut quiet) = (AGAIN, Duration::ZERO);
        loop {
            match self.reconcile_quiet(quiet).await {
                Ok(Reconciled { unasked: 0, .. }) => (pause, quiet) = (LOOK, QUIET),
                Ok(Reconciled { unasked, .. }) => {
                    tracing::debug!(unasked, "the node cannot be asked about open payments yet");
                }
                Err(StoreError::Closed) => return,
                Err(error) => tracing::warn!(%error, "open payments could not be looked up yet"),
            }
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2).min(LOOK);
        }
    }

    /// Asks the node once about every payment whose end is not known; it sends nothing.
    ///
    /// # Errors
    /// When the ledger fails.
    pub async fn reconcile(&self) -> Result<Reconciled, StoreError> {
        self.reconcile_quiet(Duration::ZERO).await
    }

    async fn reconcile_quiet(&self, quiet: Duration) -> Result<Reconciled, StoreError> {
        let inside = &self.inside;
        let mut told = Reconciled::default();
        let before = inside.clock.now().minus(quiet);
        let open = inside.ledger.unresolved_outgoing().await?;
        for row in open.into_iter().filter(|row| row.updated_at <= before) {
            let turn = inside.turn(row.payment_hash);
            let _mine = turn.lock().await;
            // It may have moved on while others had their turn.
            if let Some(row) = inside.ledger.outgoing(row.payment_hash).await?
                && !row.state.is_final()
            {
                match inside.ask_node(&row).await? {
                    None => told.unasked += 1,
                    Some(state) => told.ended += usize::from(state.is_final()),
                }
            }
        }
        Ok(told)
    }
}

/// What the node said of payments whose end was not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// So many have an end now.
    pub ended: usize,
    /// About so many it could not be asked.
    pub unasked: usize,
}

impl Inside {
    fn read(&self, ask: &PayAsk) -> Result<Invoice, PayError> {
        let invoice = Bolt11Invoice::from_str(ask.bolt11.trim()).map_err(|_| PayError::NotAnInvoice)?;
        if invoice.network() != self.network {
            return Err(PayError::WrongNetwork { theirs: invoice.network(), ours: self.network });
        }
        let amount = Msat::new(invoice.amount_milli_satoshis().ok_or(PayError::NoAmount)?)?;
        if amount == Msat::ZERO {
            return Err(PayError::NoAmount);
        }
        let hash: &[u8; 32] = invoice.payment_hash().as_ref();
        let now = Duration::from_millis(self.clock.now().millis());
        Ok(Invoice {
            payment_hash: PaymentHash::from_bytes(*hash),
            amount,
            expired: invoice.would_expire(now),
        })
    }

    /// Sees to it that the payment is on its way, or has ended.
    async fn start(&self, ask: &PayAsk, invoice: &Invoice, key: Option<String>) -> Result<(), PayError> {
        let turn = self.turn(invoice.payment_hash);
        let _mine = turn.lock().await;
        if let Some(key) = &key
            && let Some(named) = self.ledger.operation_of_key(key).await?
        {
            named_for(&named, invoice)?;
            // Cut off before it was sent, as below; nothing is sent under this key any more.
            if let Some(row) = self.ledger.outgoing(invoice.payment_hash).await?
                && row.state == OutgoingState::Intended
            {
                self.ask_node(&row).await?;
            }
            return Ok(());
        }
        let known = self.ledger.outgoing(invoice.payment_hash).await?;
        let stands = match known {
            // It is our turn, so whoever noted it was cut off before it could tell what the node said.
            Some(row) if row.state == OutgoingState::Intended => {
                Some(self.ask_node(&row).await?.unwrap_or(row.state))
            }
            Some(row) => Some(row.state),
            None => None,
        };
        if stands.as_ref().is_some_and(|state| !matches!(state, OutgoingState::Failed { .. })) {
            return self.may_join(ask, invoice).await;
        }
        let cut_off = matches!(&stands, Some(OutgoingState::Failed { reason }) if reason.as_str() == CUT_OFF);
        if invoice.expired {
            return Err(PayError::Expired);
        }
        if invoice.amount > ask.max_amount {
            return Err(PayError::TooExpensive { amount: invoice.amount, limit: ask.max_amount });
        }
        let intent = Intent {
            payment_hash: invoice.payment_hash,
            bolt11: ask.bolt11.trim().to_owned(),
            amount: invoice.amount,
            max_fee: ask.max_fee,
            wallet: ask.wallet,
        };
        let intended = match key {
            Some(key) => self.ledger.intend_under(key, intent.clone()).await?,
            None => self.ledger.intend(intent.clone()).await?,
        };
        match intended {
            Intended::Named(named) => named_for(&named, invoice),
            Intended::New { max_fee } => {
                Moment::Intended.reached();
                Ok(self.send(&Intent { max_fee, ..intent }, cut_off).await?)
            }
            Intended::OverBudget(over) => Err(over.into()),
            Intended::Existing(_) => self.may_join(ask, invoice).await,
        }
    }

    /// A wallet gets the proof of what it paid itself; the operator of everything.
    async fn may_join(&self, ask: &PayAsk, invoice: &Invoice) -> Result<(), PayError> {
        let Some(key) = ask.wallet else { return Ok(()) };
        let own = self.ledger.wallet_payment(key, invoice.payment_hash).await?;
        own.map(drop).ok_or(PayError::AnothersPayment)
    }

    /// Sends. Where an earlier try was cut off, that this one is refused says nothing of that one: it may hold the
    /// coins that this one lacks.
    async fn send(&self, intent: &Intent, cut_off: bool) -> Result<(), StoreError> {
        let hash = intent.payment_hash;
        let sent = self.payer.send(&intent.bolt11, intent.max_fee).await;
        Moment::Asked.reached();
        let Err(fault) = sent else {
            return self.ledger.settle_outgoing(hash, OutgoingState::Sent).await;
        };
        let state = match (fault, self.payer.outgoing(hash).await) {
            (SendFault::Away(_), Outgoing::Unknown | Outgoing::Away) => {
                OutgoingState::Failed { reason: NEVER_SENT.to_owned() }
            }
            (SendFault::Refused(reason), Outgoing::Unknown | Outgoing::Away | Outgoing::Failed) => {
                OutgoingState::Failed { reason }
            }
            // The library pays this hash though its own list does not say so: its event will tell the end.
            (SendFault::Uncertain(_), Outgoing::Unknown | Outgoing::Away) => OutgoingState::Sent,
            (_, known) => state_of(known).unwrap_or(OutgoingState::Sent),
        };
        let state = match state {
            OutgoingState::Failed { .. } if cut_off => OutgoingState::Failed { reason: CUT_OFF.to_owned() },
            state => state,
        };
        self.ledger.settle_outgoing(hash, state).await
    }

    /// Brings the ledger up to what the node knows; gives where the payment stands, and nothing when the node could
    /// not be asked: then nothing is written, and whoever comes next asks again.
    async fn ask_node(&self, row: &OutgoingRow) -> Result<Option<OutgoingState>, StoreError> {
        let known = self.payer.outgoing(row.payment_hash).await;
        if known == Outgoing::Unknown && row.state == OutgoingState::Sent {
            // It took the payment and has forgotten it: only a person can know whether money left.
            if self.ledger.lose_outgoing(row.payment_hash).await? {
                tracing::error!(hash = %row.payment_hash, "the node does not know a payment that it took");
            }
            return Ok(Some(OutgoingState::Sent));
        }
        let Some(state) = state_of(known) else { return Ok(None) };
        // Of one that was tried before, the list may tell the end of that try.
        let again = row.state == OutgoingState::Intended && row.created_at < row.updated_at;
        let state = match state {
            OutgoingState::Failed { .. } if again => OutgoingState::Failed { reason: CUT_OFF.to_owned() },
            state => state,
        };
        self.ledger.settle_outgoing(row.payment_hash, state.clone()).await?;
        Ok(Some(state))
    }

    fn turn(&self, payment_hash: PaymentHash) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| turn.strong_count() > 0);
        if let Some(turn) = turns.get(&payment_hash).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::default();
        turns.insert(payment_hash, Arc::downgrade(&turn));
        turn
    }
}

/// A key stands for what it was used for first.
fn named_for(named: &OperationRow, invoice: &Invoice) -> Result<(), PayError> {
    let same = named.kind == PAYMENT && named.ask["payment_hash"] == invoice.payment_hash.to_hex();
    if same { Ok(()) } else { Err(PayError::KeyTaken(named.id)) }
}

/// What matters of an invoice.
struct Invoice {
    payment_hash: PaymentHash,
    amount: Msat,
    expired: bool,
}

/// Where a payment stands by the node's word; `None` when it could not be asked.
fn state_of(known: Outgoing) -> Option<OutgoingState> {
    Some(match known {
        Outgoing::Away => return None,
        Outgoing::Unknown => OutgoingState::Failed { reason: CUT_OFF.to_owned() },
        Outgoing::Pending => OutgoingState::Sent,
        Outgoing::Succeeded { preimage, fee } => {
            OutgoingState::Succeeded { preimage, fee: fee.unwrap_or(Msat::ZERO) }
        }
        Outgoing::Failed => OutgoingState::Failed { reason: "failed at the node".to_owned() },
    })
}
