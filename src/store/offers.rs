//! Payments of ours to offers (BOLT 12): known by a note in their operation's outcome until they end, and
//! by their hash from then on.

use rusqlite::{OptionalExtension, params};
use serde_json::{Value, json};

use super::operations::{OperationState, note_on};
use super::page::Page;
use super::rows::Stored;
use super::{Ledger, StoreError};
use crate::event::Event;
use crate::types::{Msat, PaymentHash, Preimage};

/// How a payment to an offer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OfferEnd {
    /// It arrived.
    Arrived {
        /// The invoice's hash.
        payment_hash: PaymentHash,
        /// The proof.
        preimage: Preimage,
        /// What it paid.
        amount: Msat,
        /// What routing cost.
        fee: Msat,
    },
    /// It will not arrive.
    Failed {
        /// Why.
        reason: String,
    },
}

impl Ledger {
    /// Notes how the payment with this note ended: the payment, its operation and the events in one
    /// transaction. One whose operation is not open any more, or that has no note, is noted all the same
    /// when it arrived: money left. The same end may come again.
    ///
    /// # Errors
    /// When the disk fails: then nothing changed.
    pub async fn settle_offer(&self, note: Option<String>, end: OfferEnd) -> Result<(), StoreError> {
        self.0.writer.call(move |page| settle_on(page, note.as_deref(), end)).await
    }
}

fn settle_on(page: &mut Page<'_>, note: Option<&str>, end: OfferEnd) -> Result<(), StoreError> {
    let open = match note {
        Some(note) => open_with(page, note)?,
        None => None,
    };
    match end {
        OfferEnd::Failed { reason } => {
            if let Some((operation, _)) = open {
                let outcome = json!({ "note": note, "reason": reason });
                note_on(page, operation, OperationState::Failed, outcome)?;
            }
        }
        OfferEnd::Arrived { payment_hash, preimage, amount, fee } => {
            let mut insert = page.connection.prepare_cached(
                "INSERT INTO outgoing (payment_hash, bolt11, amount_msat, max_fee_msat, state, preimage,
                                       fee_msat, created_at, updated_at)
                 VALUES (?1, '', ?2, ?3, 'succeeded', ?4, ?3, ?5, ?5) ON CONFLICT DO NOTHING",
            )?;
            let proof = preimage.as_bytes().as_slice();
            let row = params![Stored(payment_hash), Stored(amount), Stored(fee), proof, Stored(page.now)];
            let new = insert.execute(row)? > 0;
            drop(insert);
            if new {
                page.log(&match open {
                    Some(_) => Event::PaymentSent { payment_hash, amount_msat: amount, fee_msat: fee },
                    None => Event::UnknownPaymentSent { payment_hash, fee_msat: fee },
                })?;
            }
            if let Some((operation, mut outcome)) = open {
                outcome["payment_hash"] = json!(payment_hash);
                outcome["amount_msat"] = json!(amount);
                outcome["fee_msat"] = json!(fee);
                note_on(page, operation, OperationState::Done, outcome)?;
            }
        }
    }
    Ok(())
}

/// The open operation whose payment carries this note, with what is known of it.
fn open_with(page: &Page<'_>, note: &str) -> Result<Option<(i64, Value)>, StoreError> {
    let mut query = page.connection.prepare_cached(
        "SELECT id, outcome FROM operations WHERE ended_at IS NULL AND json_extract(outcome, '$.note') = ?1",
    )?;
    let found: Option<(i64, String)> =
        query.query_row([note], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let json = |text: &str| {
        serde_json::from_str(text).map_err(|_| StoreError::Corrupt("an operation that is not JSON"))
    };
    found.map(|(id, outcome)| Ok((id, json(&outcome)?))).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::BegunOperation;
    use crate::store::tests::{World, events};

    fn arrived(fee: u64) -> OfferEnd {
        let preimage = Preimage::from_bytes([7; 32]);
        OfferEnd::Arrived {
            payment_hash: preimage.payment_hash(),
            preimage,
            amount: Msat::from_sat(5).unwrap(),
            fee: Msat::new(fee).unwrap(),
        }
    }

    #[tokio::test]
    async fn the_end_of_a_payment_finds_its_operation_by_the_note() {
        let world = World::new();
        let (ledger, _) = world.open();
        let ask = json!({ "to": "lno1", "amount_sat": 5 });
        let BegunOperation::New(id) = ledger.begin_operation("a", "pay_out", ask).await.unwrap() else {
            panic!("it is new");
        };
        let outcome = json!({ "note": "payout 1" });
        ledger.note_operation(id, OperationState::Sent, outcome).await.unwrap();
        ledger
            .settle_offer(Some("payout 2".to_owned()), OfferEnd::Failed { reason: "x".to_owned() })
            .await
            .unwrap();
        assert!(!ledger.operation(id).await.unwrap().unwrap().state.is_final(), "another payment's end");
        for _ in 0..2 {
            ledger.settle_offer(Some("payout 1".to_owned()), arrived(9)).await.unwrap();
        }
        let row = ledger.operation(id).await.unwrap().unwrap();
        assert_eq!(row.state, OperationState::Done);
        assert_eq!((&row.outcome["amount_msat"], &row.outcome["fee_msat"]), (&json!(5_000), &json!(9)));
        let sent = events(&ledger).await.into_iter().filter(|e| matches!(e, Event::PaymentSent { .. }));
        assert_eq!(sent.count(), 1, "told twice, noted once");
        assert!(ledger.audit().await.unwrap().ok);
    }

    #[tokio::test]
    async fn money_that_left_unasked_is_noted() {
        let world = World::new();
        let (ledger, _) = world.open();
        ledger.settle_offer(None, arrived(1)).await.unwrap();
        let told = events(&ledger).await;
        assert!(told.iter().any(|event| matches!(event, Event::UnknownPaymentSent { .. })), "{told:?}");
    }
}
