//! Payments of ours: the intent is on disk before anything is sent (MONEY rule 14).

use std::time::Duration;

use rusqlite::{Connection, Row, params};
use serde_json::{Value, json};

use super::budgets::{self, OverBudget};
use super::page::Page;
use super::rows::{Stored, column};

use super::{Ledger, OperationRow, OperationState, StoreError, generations, operations, optional, schema};
use crate::event::Event;
use crate::types::{Msat, PaymentHash, Preimage, Timestamp};

/// Why a payment failed that a stop cut off, and that the node's list does not have: as good as certainly it was never
/// sent. The same invoice may be paid again, because a node that began it after all refuses its hash a second time;
/// who would pay with another invoice instead waits for a person's word.
pub const CUT_OFF: &str = "cut_off";
/// The same of an operation that is unclear for it, for a person.
pub const UNLISTED: &str = "the node's list has no such payment; it may have begun it just before it stopped";

/// What we mean to pay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// Its hash: one payment for each.
    pub payment_hash: PaymentHash,
    /// The invoice.
    pub bolt11: String,
    /// What it asks for.
    pub amount: Msat,
    /// The most that routing may cost.
    pub max_fee: Msat,
    /// The wallet that asks, by its key's number; its limits bound amount and fee.
    pub wallet: Option<i64>,
}

/// What became of noting an intent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Intended {
    /// It is new, or the one before it failed: send it.
    New {
        /// The most that routing may cost now: a wallet's limits may leave less than was asked for.
        max_fee: Msat,
    },
    /// Its wallet may not pay it: nothing was noted.
    OverBudget(OverBudget),
    /// It is known: do not send it.
    Existing(OutgoingRow),
    /// The key names this operation: do not send it.
    Named(OperationRow),
}

/// Where a payment of ours stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutgoingState {
    /// Noted; perhaps sent, perhaps not.
    Intended,
    /// Handed to the node.
    Sent,
    /// Arrived.
    Succeeded {
        /// The proof.
        preimage: Preimage,
        /// What routing cost.
        fee: Msat,
    },
    /// The node lost it, and the operator found out that it arrived; there is no proof.
    Presumed,
    /// Will not arrive.
    Failed {
        /// Why.
        reason: String,
    },
}

impl OutgoingState {
    const fn word(&self) -> &'static str {
        match self {
            OutgoingState::Intended => "intended",
            OutgoingState::Sent => "sent",
            OutgoingState::Succeeded { .. } | OutgoingState::Presumed => "succeeded",
            OutgoingState::Failed { .. } => "failed",
        }
    }

    /// Whether nothing more will happen to it.
    pub const fn is_final(&self) -> bool {
        !matches!(self, OutgoingState::Intended | OutgoingState::Sent)
    }
}

/// One payment of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutgoingRow {
    /// Its hash.
    pub payment_hash: PaymentHash,
    /// What it pays.
    pub amount: Msat,
    /// Where it stands.
    pub state: OutgoingState,
    /// When it was noted.
    pub created_at: Timestamp,
    /// When it changed last.
    pub updated_at: Timestamp,
}

impl Ledger {
    /// Notes an intent, on disk when this returns. A failed payment may be intended anew.
    ///
    /// # Errors
    /// When the disk fails, or sending is parked after a restore: then do not send.
    pub async fn intend(&self, intent: Intent) -> Result<Intended, StoreError> {
        self.0.writer.call(move |page| intend_on(page, &intent, None)).await
    }

    /// The same as an operation that `key` names, noted with the intent: it moves and ends with the payment.
    /// A key that names an operation already sends nothing.
    ///
    /// # Errors
    /// When the disk fails, or sending is parked after a restore: then do not send.
    pub async fn intend_under(&self, key: String, intent: Intent) -> Result<Intended, StoreError> {
        self.0.writer.call(move |page| intend_on(page, &intent, Some(&key))).await
    }

    /// One payment of ours.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn outgoing(&self, payment_hash: PaymentHash) -> Result<Option<OutgoingRow>, StoreError> {
        self.0.readers.read(move |connection| find(connection, payment_hash)).await
    }

    /// Moves a payment of ours on, and logs its end. Nothing follows success; success follows even a
    /// failure that was told before it, because the node's proof is the truth. A payment that the
    /// ledger does not know is noted when it succeeded: money left.
    ///
    /// # Errors
    /// When the disk fails: then nothing changed.
    pub async fn settle_outgoing(
        &self,
        payment_hash: PaymentHash,
        state: OutgoingState,
    ) -> Result<(), StoreError> {
        self.0.writer.call(move |page| settle_on(page, payment_hash, &state)).await
    }

    /// Notes that the node does not know a payment that it took: only a person, or what the node tells later,
    /// can say what became of it. The operation that pays it is unclear from now on; one that no operation
    /// pays gets one, so that somebody is told and can end it. Gives whether it is news.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn lose_outgoing(&self, payment_hash: PaymentHash) -> Result<bool, StoreError> {
        self.0.writer.call(move |page| lose_on(page, payment_hash, FORGOTTEN)).await
    }

    /// Notes which memory the node starts with ([`NodeStore::memory`](super::NodeStore::memory)). Where it is another
    /// than last time, that the node does not know a payment which was noted before proves nothing: it may have
    /// been sent by the node that was lost. So such a payment counts as sent and lost, as in
    /// [`Ledger::lose_outgoing`]. Gives how many there were. Call it before anything is sent.
    ///
    /// # Errors
    /// When the disk fails: then nothing changed.
    pub async fn note_node_memory(&self, memory: i64) -> Result<usize, StoreError> {
        self.0.writer.call(move |page| remember_on(page, memory)).await
    }

    /// Payments of ours whose end is not known.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn unresolved_outgoing(&self) -> Result<Vec<OutgoingRow>, StoreError> {
        let work = |connection: &Connection| {
            let mut query =
                connection.prepare_cached("SELECT * FROM outgoing WHERE state IN ('intended', 'sent')")?;
            let rows = query.query_map([], read)?;
            rows.map(|row| row?).collect()
        };
        self.0.readers.read(work).await
    }
}

fn intend_on(page: &mut Page<'_>, intent: &Intent, key: Option<&str>) -> Result<Intended, StoreError> {
    if let Some(key) = key
        && let Some(named) = operations::by_key(page.connection, key)?
    {
        return Ok(Intended::Named(named));
    }
    if let Some(row) = find(page.connection, intent.payment_hash)?
        && !matches!(row.state, OutgoingState::Failed { .. })
    {
        return Ok(Intended::Existing(row));
    }
    generations::may_send(page)?;
    let max_fee = match intent.wallet {
        Some(key) => match budgets::allowed_fee(page, key, intent)? {
            Ok(fee) => fee,
            Err(over) => return Ok(Intended::OverBudget(over)),
        },
        None => intent.max_fee,
    };
    let mut upsert = page.connection.prepare_cached(
        "INSERT INTO outgoing (payment_hash, bolt11, amount_msat, max_fee_msat, state, created_at, updated_at)
         VALUES (?1, ?2, ?3, ?4, 'intended', ?5, ?5)
         ON CONFLICT DO UPDATE SET bolt11 = ?2, amount_msat = ?3, max_fee_msat = ?4, state = 'intended',
                                   reason = NULL, updated_at = ?5",
    )?;
    upsert.execute(params![
        Stored(intent.payment_hash),
        intent.bolt11,
        Stored(intent.amount),
        Stored(max_fee),
        Stored(page.now),
    ])?;
    budgets::draw(page, intent.payment_hash, intent.wallet)?;
    if let Some(key) = key {
        let ask = json!({
            "payment_hash": intent.payment_hash, "amount_msat": intent.amount, "max_fee_msat": intent.max_fee,
        });
        operations::begin_on(page, key, PAYMENT, OperationState::Intended, (ask, Value::Null))?;
    }
    Ok(Intended::New { max_fee })
}

fn remember_on(page: &mut Page<'_>, memory: i64) -> Result<usize, StoreError> {
    if schema::note_node_memory(page.connection, memory)? {
        return Ok(0);
    }
    // One that was cut off may still be paid again under the same invoice: the old node would have refused its hash.
    let mut again = page.connection.prepare_cached(
        "UPDATE outgoing SET state = 'intended', reason = NULL
         WHERE state = 'failed' AND reason = ?1 AND updated_at > ?2",
    )?;
    again.execute(params![CUT_OFF, Stored(page.now.minus(PAYABLE))])?;
    let perhaps: Vec<OutgoingRow> = {
        let mut query = page.connection.prepare_cached("SELECT * FROM outgoing WHERE state = 'intended'")?;
        let rows = query.query_map([], read)?;
        rows.map(|row| row?).collect::<Result<_, StoreError>>()?
    };
    for OutgoingRow { payment_hash, .. } in &perhaps {
        settle_on(page, *payment_hash, &OutgoingState::Sent)?;
        lose_on(page, *payment_hash, REPLACED)?;
    }
    Ok(perhaps.len())
}

/// Hardly an invoice can be paid for longer than this.
const PAYABLE: Duration = Duration::from_secs(30 * 24 * 3_600);

/// Why a payment is lost.
const FORGOTTEN: &str = "the node does not know a payment that it took";
const REPLACED: &str = "the node's memory was lost before it told whether it took the payment";

fn lose_on(page: &mut Page<'_>, payment_hash: PaymentHash, why: &str) -> Result<bool, StoreError> {
    let Some(row) = find(page.connection, payment_hash)?.filter(|row| row.state == OutgoingState::Sent)
    else {
        return Ok(false);
    };
    let facts = json!({ "payment_hash": payment_hash, "reason": why });
    let paying = operations::paying(page.connection, payment_hash)?;
    // It may be paid anew, and lost again.
    let key = format!("{}{payment_hash}-{}", operations::LOST_KEYS, row.updated_at.millis());
    if paying.is_empty() && operations::by_key(page.connection, &key)?.is_none() {
        let ask = json!({ "payment_hash": payment_hash, "amount_msat": row.amount });
        operations::begin_on(page, &key, PAYMENT, OperationState::Unclear, (ask, facts))?;
        return Ok(true);
    }
    let news = paying.iter().any(|operation| operation.state != OperationState::Unclear);
    for operation in paying {
        let outcome = operations::with(&operation.outcome, &facts);
        operations::note_on(page, operation.id, OperationState::Unclear, outcome)?;
    }
    Ok(news)
}

/// The kind of an operation that is one payment and nothing else: one that was asked for under a key, or one
/// that the node lost.
pub const PAYMENT: &str = "pay_invoice";

/// Moves the operations on that are this payment, and ends those that wait for a person to say what became
/// of it. Others are ended by who began them.
fn follow(page: &mut Page<'_>, payment_hash: PaymentHash, state: &OutgoingState) -> Result<(), StoreError> {
    let (end, facts) = match state {
        OutgoingState::Intended => return Ok(()),
        OutgoingState::Sent => (OperationState::Sent, json!({})),
        OutgoingState::Succeeded { fee, .. } => {
            (OperationState::Done, json!({ "fee_msat": fee, "reason": null }))
        }
        OutgoingState::Presumed => (OperationState::Done, json!({ "reason": null })),
        OutgoingState::Failed { reason } if reason == CUT_OFF => {
            (OperationState::Unclear, json!({ "reason": UNLISTED }))
        }
        OutgoingState::Failed { reason } => (OperationState::Failed, json!({ "reason": reason })),
    };
    let paying = operations::paying(page.connection, payment_hash)?;
    for operation in paying {
        let unclear = operation.state == OperationState::Unclear;
        // Of one that is lost or cut off, being sent is no news, nor that it is cut off again.
        let moves = if unclear { end.is_final() } else { operation.kind == PAYMENT };
        if moves {
            operations::note_on(page, operation.id, end, operations::with(&operation.outcome, &facts))?;
        }
    }
    Ok(())
}

pub(super) fn settle_on(
    page: &mut Page<'_>,
    payment_hash: PaymentHash,
    state: &OutgoingState,
) -> Result<(), StoreError> {
    let Some(row) = find(page.connection, payment_hash)? else {
        return settle_unknown(page, payment_hash, state);
    };
    let moves = match (&row.state, state) {
        (OutgoingState::Succeeded { .. }, _) | (_, OutgoingState::Intended) => false,
        (_, OutgoingState::Succeeded { .. }) => true,
        (OutgoingState::Intended, OutgoingState::Sent) => true,
        (_, OutgoingState::Sent) => false,
        // Of one that was cut off, the operator may know better.
        (OutgoingState::Failed { reason }, OutgoingState::Presumed) => reason == CUT_OFF,
        // The node had it after all, and tells its end.
        (OutgoingState::Failed { reason: old }, OutgoingState::Failed { reason }) => {
            old == CUT_OFF && reason != CUT_OFF
        }
        (before, OutgoingState::Failed { .. } | OutgoingState::Presumed) => !before.is_final(),
    };
    if !moves {
        return Ok(());
    }
    let (preimage, fee, reason) = match state {
        OutgoingState::Succeeded { preimage, fee } => {
            (Some(preimage.as_bytes().as_slice()), Some(*fee), None)
        }
        OutgoingState::Failed { reason } => (None, None, Some(reason.as_str())),
        OutgoingState::Intended | OutgoingState::Sent | OutgoingState::Presumed => (None, None, None),
    };
    let mut update = page.connection.prepare_cached(
        "UPDATE outgoing SET state = ?2, preimage = ?3, fee_msat = ?4, reason = ?5, updated_at = ?6
         WHERE payment_hash = ?1",
    )?;
    let fee = fee.map(Stored);
    update.execute(params![Stored(payment_hash), state.word(), preimage, fee, reason, Stored(page.now)])?;
    match state {
        // It was told when the operator said so.
        OutgoingState::Succeeded { .. } if row.state == OutgoingState::Presumed => {}
        OutgoingState::Succeeded { fee, .. } => {
            page.log(&Event::PaymentSent { payment_hash, amount_msat: row.amount, fee_msat: *fee })?;
        }
        OutgoingState::Presumed => {
            let fee_msat = Msat::ZERO;
            page.log(&Event::PaymentSent { payment_hash, amount_msat: row.amount, fee_msat })?;
        }
        OutgoingState::Failed { reason } => {
            page.log(&Event::PaymentFailed { payment_hash, reason: reason.clone() })?;
        }
        OutgoingState::Intended | OutgoingState::Sent => {}
    }
    follow(page, payment_hash, state)
}

fn settle_unknown(
    page: &mut Page<'_>,
    payment_hash: PaymentHash,
    state: &OutgoingState,
) -> Result<(), StoreError> {
    let OutgoingState::Succeeded { preimage, fee } = state else { return Ok(()) };
    let mut insert = page.connection.prepare_cached(
        "INSERT INTO outgoing (payment_hash, bolt11, amount_msat, max_fee_msat, state, preimage, fee_msat,
                               created_at, updated_at)
         VALUES (?1, '', 0, 0, 'succeeded', ?2, ?3, ?4, ?4)",
    )?;
    let preimage = preimage.as_bytes().as_slice();
    insert.execute(params![Stored(payment_hash), preimage, Stored(*fee), Stored(page.now)])?;
    page.log(&Event::UnknownPaymentSent { payment_hash, fee_msat: *fee })?;
    Ok(())
}

fn find(connection: &Connection, payment_hash: PaymentHash) -> Result<Option<OutgoingRow>, StoreError> {
    let mut query = connection.prepare_cached("SELECT * FROM outgoing WHERE payment_hash = ?1")?;
    optional(query.query_row([Stored(payment_hash)], read))?.transpose()
}

pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Result<OutgoingRow, StoreError>> {
    let word: String = row.get("state")?;
    let preimage: Option<[u8; 32]> = row.get("preimage")?;
    let fee = row.get::<_, Option<Stored<Msat>>>("fee_msat")?.map_or(Msat::ZERO, |stored| stored.0);
    let reason = row.get::<_, Option<String>>("reason")?.unwrap_or_default();
    let state = match (word.as_str(), preimage) {
        ("intended", _) => OutgoingState::Intended,
        ("sent", _) => OutgoingState::Sent,
        ("succeeded", Some(bytes)) => OutgoingState::Succeeded { preimage: Preimage::from_bytes(bytes), fee },
        ("succeeded", None) => OutgoingState::Presumed,
        ("failed", _) => OutgoingState::Failed { reason },
        _ => return Ok(Err(StoreError::Corrupt("an outgoing payment without a state"))),
    };
    Ok(Ok(OutgoingRow {
        payment_hash: column(row, "payment_hash")?,
        amount: column(row, "amount_msat")?,
        state,
        created_at: column(row, "created_at")?,
        updated_at: column(row, "updated_at")?,
    }))
}
