//! Carries a payout to its end: what is needed to find it again is noted before each step that moves money.

use std::time::Duration;

use bitcoin::hashes::Hash;
use lightning_invoice::Bolt11Invoice;
use serde_json::{Value, json};
use thiserror::Error;

use super::{PAY_OUT, Payee, PayoutPlan, Payouts};
use crate::moment::Moment;
use crate::payments::{PayAsk, PayError};
use crate::ports::{OfferAsk, OfferPayment, SendFault};
use crate::store::{
    CUT_OFF, OfferEnd, OperationRow, OperationState, OutgoingRow, OutgoingState, StoreError, UNLISTED,
};
use crate::types::{Msat, PaymentHash};
use crate::upkeep::lnurl::LnurlFault;

/// The node gives up on an invoice that does not come within minutes, and tells. A payment to an offer
/// of which it says nothing for so long was lost with its memory, or hangs on its way: a person should know.
const OFFER_PATIENCE: Duration = Duration::from_secs(30 * 60);
/// Invoices that are on their way are looked at anew this often, should news have been missed.
const LOOK: Duration = Duration::from_secs(60);

/// The first pause before a payout is looked up again whose ledger failed; it doubles up to [`LOOK`].
const AGAIN: Duration = Duration::from_millis(500);

/// What an operation's end says when the node was never asked.
const NEVER_SENT: &str = "never_sent";

/// Why a payout that was set going is not paid.
#[derive(Debug, Error)]
enum Miss {
    #[error(transparent)]
    Server(#[from] LnurlFault),
    #[error(transparent)]
    Pay(#[from] PayError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0}")]
    Refused(String),
}

impl Payouts {
    /// Finishes a new operation in a task of its own.
    pub(super) fn set_going(&self, id: i64, plan: PayoutPlan) {
        self.carry(id);
        let this = self.clone();
        self.parts.tracker.spawn(async move {
            let done = match plan.payee.clone() {
                Payee::Offer(offer) => this.pay_offer(id, offer, &plan).await,
                Payee::Invoice(bolt11) => this.pay_invoice(id, bolt11, &plan).await,
                Payee::Server(server) => {
                    let (egress, reach) = (&this.parts.egress, this.parts.reach);
                    match server.request.invoice(egress, reach, plan.amount).await {
                        Ok(bolt11) => this.pay_invoice(id, bolt11, &plan).await,
                        Err(fault) => Err(fault.into()),
                    }
                }
            };
            this.ended(id, done).await;
        });
    }

    /// Looks up what an earlier run left open; call it once the node runs. It pays nothing.
    ///
    /// # Errors
    /// When the ledger fails.
    pub async fn resume(&self) -> Result<(), StoreError> {
        for row in self.parts.ledger.open_operations().await? {
            if row.kind == PAY_OUT && self.carry(row.id) {
                let this = self.clone();
                self.parts.tracker.spawn(async move {
                    let done = this.look_up(&row).await;
                    this.ended(row.id, done).await;
                });
            }
        }
        Ok(())
    }

    async fn look_up(&self, row: &OperationRow) -> Result<(), Miss> {
        if let Some(note) = row.outcome["note"].as_str() {
            return self.look_up_offer(row.id, note).await;
        }
        let hash = row.outcome["payment_hash"].as_str().and_then(|hash| hash.parse().ok());
        let known = match hash {
            Some(hash) => self.parts.ledger.outgoing(hash).await?.is_some(),
            None => false,
        };
        match hash {
            Some(hash) if known => self.follow_invoice(row.id, hash).await,
            // Nothing was asked of the node: everything that it is asked for is noted before.
            _ => Err(Miss::Refused(NEVER_SENT.to_owned())),
        }
    }

    /// Puts the operation down, once its end is noted. While the ledger fails it is looked up again and again, as at a
    /// start.
    async fn ended(&self, id: i64, mut done: Result<(), Miss>) {
        let mut pause = AGAIN;
        while let Err(error) = self.note_end(id, done).await {
            tracing::error!(%error, operation = id, "the end of a payout could not be noted");
            // It stays open until the next start, which looks it up.
            if matches!(error, StoreError::Closed | StoreError::Corrupt(_)) {
                break;
            }
            let again = async {
                tokio::time::sleep(pause).await;
                self.look_again(id).await
            };
            let Some(looked) = self.parts.stop.run_until_cancelled(again).await else { break };
            done = looked;
            pause = pause.saturating_mul(2).min(LOOK);
        }
        self.put_down(id);
    }

    /// What failed before any money could move ends it.
    async fn note_end(&self, id: i64, done: Result<(), Miss>) -> Result<(), StoreError> {
        match done {
            Ok(()) => Ok(()),
            // What the ledger cannot say is no failure of the payment: it may be on its way.
            Err(Miss::Store(error) | Miss::Pay(PayError::Store(error)))
                if !matches!(error, StoreError::Parked) =>
            {
                Err(error)
            }
            Err(miss) => self.note(id, OperationState::Failed, json!({ "reason": miss.to_string() })).await,
        }
    }

    /// What a start does with a payout that is open: the node is asked about payments whose end is not known, and then
    /// it is looked up.
    async fn look_again(&self, id: i64) -> Result<(), Miss> {
        self.parts.outbox.reconcile().await?;
        match self.parts.ledger.operation(id).await? {
            Some(row) if !row.state.is_final() => self.look_up(&row).await,
            _ => Ok(()),
        }
    }

    async fn note(&self, id: i64, state: OperationState, outcome: Value) -> Result<(), StoreError> {
        self.parts.ledger.note_operation(id, state, outcome).await.map(drop)
    }

    async fn pay_invoice(&self, id: i64, bolt11: String, plan: &PayoutPlan) -> Result<(), Miss> {
        let invoice: Bolt11Invoice =
            bolt11.trim().parse().map_err(|_| Miss::Refused("not a BOLT 11 invoice".to_owned()))?;
        let hash = PaymentHash::from_bytes(invoice.payment_hash().to_byte_array());
        self.note(id, OperationState::Intended, json!({ "payment_hash": hash })).await?;
        Moment::Intended.reached();
        let ask = PayAsk { bolt11, max_amount: plan.amount, max_fee: plan.max_fee, wallet: None };
        match self.parts.outbox.pay(ask, Duration::ZERO).await {
            Ok(_) => self.follow_invoice(id, hash).await,
            Err(error) => Err(error.into()),
        }
    }

    /// Follows a payment that the outbox has, until its end.
    async fn follow_invoice(&self, id: i64, hash: PaymentHash) -> Result<(), Miss> {
        loop {
            let followed = self.parts.outbox.follow(hash, LOOK);
            let Some(followed) = self.parts.stop.run_until_cancelled(followed).await else { return Ok(()) };
            let row = followed?.ok_or(StoreError::Corrupt("an intended payment vanished"))?;
            let (state, outcome) = standing(&row);
            let ledger = &self.parts.ledger;
            let gone = StoreError::Corrupt("an operation that was begun is missing");
            let known = ledger.operation(id).await?.ok_or(gone)?;
            if known.state.is_final() {
                return Ok(());
            }
            // Of a payment that the node lost, being sent is no news.
            if known.state != OperationState::Unclear || state.is_final() {
                ledger.note_facts(id, known.state, state, outcome).await?;
            }
            // Of one that was cut off, what the node tells later ends the operation, or the operator does.
            if row.state.is_final() {
                return Ok(());
            }
        }
    }

    async fn pay_offer(&self, id: i64, offer: String, plan: &PayoutPlan) -> Result<(), Miss> {
        let note = self.fresh_note();
        self.note(id, OperationState::Intended, json!({ "note": note })).await?;
        Moment::Intended.reached();
        let ask = OfferAsk { offer, amount: plan.amount, max_fee: plan.max_fee, note: note.clone() };
        let sent = self.parts.offers.send_offer(ask).await;
        Moment::Asked.reached();
        match sent {
            Ok(()) => self.note(id, OperationState::Sent, json!({ "note": note })).await?,
            Err(SendFault::Away(why) | SendFault::Refused(why)) => return Err(Miss::Refused(why)),
            Err(SendFault::Uncertain(why)) => {
                let outcome = json!({ "note": note, "reason": why });
                self.note(id, OperationState::Sent, outcome).await?;
            }
        }
        self.await_offer(id, &note).await
    }

    async fn look_up_offer(&self, id: i64, note: &str) -> Result<(), Miss> {
        match self.parts.offers.offer_payment(note).await {
            // It may have died between taking the payment and noting it.
            OfferPayment::Unknown => {
                let outcome = json!({ "note": note, "reason": UNLISTED });
                Ok(self.note(id, OperationState::Unclear, outcome).await?)
            }
            _ => self.await_offer(id, note).await,
        }
    }

    /// Waits until the consumer of the node's events has noted the end, or the node's list shows it.
    async fn await_offer(&self, id: i64, note: &str) -> Result<(), Miss> {
        let (ledger, stop) = (&self.parts.ledger, &self.parts.stop);
        let mut news = ledger.watch();
        let patience = tokio::time::sleep(OFFER_PATIENCE);
        tokio::pin!(patience);
        loop {
            news.borrow_and_update();
            if ledger.operation(id).await?.is_none_or(|row| row.state.is_final()) {
                return Ok(());
            }
            if self.ask_node(note).await? {
                continue;
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                changed = news.changed() => changed.map_err(|_| StoreError::Closed)?,
                () = tokio::time::sleep(LOOK) => {}
                () = &mut patience => {
                    let reason = "the node has not said for half an hour what became of it";
                    let outcome = json!({ "note": note, "reason": reason });
                    return Ok(self.note(id, OperationState::Unclear, outcome).await?);
                }
            }
        }
    }

    /// Notes the end of a payment to an offer, where the node's list shows one.
    async fn ask_node(&self, note: &str) -> Result<bool, StoreError> {
        let end = match self.parts.offers.offer_payment(note).await {
            OfferPayment::Succeeded { payment_hash, preimage, amount, fee } => {
                OfferEnd::Arrived { payment_hash, preimage, amount, fee }
            }
            OfferPayment::Failed => OfferEnd::Failed { reason: "failed at the node".to_owned() },
            OfferPayment::Unknown | OfferPayment::Pending | OfferPayment::Away => return Ok(false),
        };
        self.parts.ledger.settle_offer(Some(note.to_owned()), end).await?;
        Ok(true)
    }

    /// The payee reads it: it says nothing of us, and no other payment of this node ever has it.
    fn fresh_note(&self) -> String {
        let mut unique = [0u8; 12];
        self.parts.entropy.fill(&mut unique);
        format!("payout {}", hex::encode(unique))
    }
}

/// How an operation stands whose payment stands like this.
fn standing(row: &OutgoingRow) -> (OperationState, Value) {
    let mut outcome = json!({ "payment_hash": row.payment_hash, "amount_msat": row.amount });
    let state = match &row.state {
        OutgoingState::Intended | OutgoingState::Sent => OperationState::Sent,
        OutgoingState::Succeeded { fee, .. } => {
            outcome["fee_msat"] = json!(fee);
            OperationState::Done
        }
        OutgoingState::Presumed => OperationState::Done,
        // It may have left, and its payee would be paid again with another invoice.
        OutgoingState::Failed { reason } if reason == CUT_OFF => {
            outcome["reason"] = json!(UNLISTED);
            OperationState::Unclear
        }
        OutgoingState::Failed { reason } => {
            outcome["reason"] = json!(reason);
            OperationState::Failed
        }
    };
    (state, outcome)
}

/// What an operation has drawn from a day's budget: all that it may cost until its end is known.
pub fn drawn(row: &OperationRow) -> Msat {
    let msat = |value: &Value| value.as_u64().and_then(|msat| Msat::new(msat).ok());
    let sum = |of: &Value, fee: &str| {
        let parts = (msat(&of["amount_msat"]), msat(&of[fee]).unwrap_or(Msat::ZERO));
        parts.0.and_then(|amount| amount.checked_add(parts.1).ok()).unwrap_or(Msat::MAX)
    };
    match row.state {
        OperationState::Failed => Msat::ZERO,
        OperationState::Done if row.outcome["amount_msat"].is_u64() => sum(&row.outcome, "fee_msat"),
        // A splice: while its transaction's fee is not known, it is reckoned by who asks.
        _ if row.ask["amount_sat"].is_u64() => {
            let fee = row.outcome["fee_sat"].as_u64().unwrap_or(0);
            let sat = row.ask["amount_sat"].as_u64().and_then(|sat| sat.checked_add(fee));
            sat.and_then(|sat| Msat::from_sat(sat).ok()).unwrap_or(Msat::MAX)
        }
        _ => sum(&row.ask, "max_fee_msat"),
    }
}
