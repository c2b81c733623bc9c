//! What the node tells of splices, noted on the operation that asked for one.
//!
//! Invariants: what is told is written with its event in one transaction, so that none is lost when the
//! process dies; an operation that has ended never changes.

use serde_json::{Value, json};

use super::operations::{OperationRow, OperationState, note_on, open_on, with};
use super::page::Page;
use super::{Ledger, StoreError, fundings};
use crate::event::Event;

/// Why a splice is given up, as far as the library says it.
const GIVEN_UP: &str = "the two nodes did not come to an agreement on the new size: the other side refused, or the \
                        connection was lost; the channel stays as it was, and no coins moved";

impl Ledger {
    /// A splice is agreed: its transaction, `txid:vout` of the new funding output, waits for confirmations.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn splice_agreed(&self, channel_id: String, funding: String) -> Result<(), StoreError> {
        let work = move |page: &mut Page<'_>| {
            if let Some(row) = asked_by(page, &channel_id)? {
                let txid = funding.split(':').next().unwrap_or_default();
                let facts = json!({ "txid": txid, "spliced_to": funding, "reason": Value::Null });
                note_on(page, row.id, OperationState::Sent, with(&row.outcome, &facts))?;
            }
            let mut follow = page.connection.prepare_cached(
                "UPDATE channels SET spliced_to = ?2 WHERE channel_id = ?1 AND closed_at IS NULL",
            )?;
            follow.execute([&channel_id, &funding])?;
            fundings::note_agreed(page.connection, &channel_id, &funding, page.now)?;
            page.log(&Event::SplicePending { channel_id, funding })?;
            Ok(())
        };
        self.0.writer.call(work).await
    }

    /// A splice of ours is given up: nothing was signed, nothing moves.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn splice_given_up(&self, channel_id: String) -> Result<(), StoreError> {
        let work = move |page: &mut Page<'_>| {
            if let Some(row) = asked_by(page, &channel_id)? {
                let facts = json!({ "reason": GIVEN_UP });
                note_on(page, row.id, OperationState::Failed, with(&row.outcome, &facts))?;
            }
            page.log(&Event::SpliceFailed { channel_id })?;
            Ok(())
        };
        self.0.writer.call(work).await
    }
}

/// The operation that asked for the splice that is being told of. A node works on one splice of a channel at
/// a time, and what has a transaction is told of no more; what the node took goes before what a crash hid.
fn asked_by(page: &mut Page<'_>, channel_id: &str) -> Result<Option<OperationRow>, StoreError> {
    let asked = |row: &OperationRow| {
        matches!(row.kind.as_str(), "splice_in" | "splice_out")
            && row.ask["channel_id"] == channel_id
            && row.outcome["txid"].is_null()
    };
    let open = open_on(page.connection)?.into_iter().filter(asked);
    Ok(open.max_by_key(|row| (row.state != OperationState::Unclear, row.id)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::BegunOperation;
    use crate::store::tests::{World, events};

    async fn begun(ledger: &Ledger, key: &str, channel_id: &str) -> i64 {
        let ask = json!({ "channel_id": channel_id, "amount_sat": 7 });
        match ledger.begin_operation(key, "splice_in", ask).await.unwrap() {
            BegunOperation::New(id) => id,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn what_is_told_ends_the_operation_that_asked() {
        let world = World::new();
        let (ledger, _) = world.open();
        let other = begun(&ledger, "other", "bb").await;
        let first = begun(&ledger, "first", "aa").await;
        ledger.splice_given_up("aa".to_owned()).await.unwrap();
        let row = ledger.operation(first).await.unwrap().unwrap();
        assert_eq!(row.state, OperationState::Failed);
        assert_eq!(row.outcome["reason"], GIVEN_UP);

        // The answer to the call comes after what was told: it changes nothing any more.
        let late = ledger.note_facts(first, OperationState::Intended, OperationState::Sent, Value::Null);
        assert_eq!(late.await.unwrap(), row);

        let hidden = begun(&ledger, "hidden", "aa").await;
        ledger.note_operation(hidden, OperationState::Unclear, Value::Null).await.unwrap();
        let second = begun(&ledger, "second", "aa").await;
        ledger.splice_agreed("aa".to_owned(), "f1:0".to_owned()).await.unwrap();
        let row = ledger.operation(second).await.unwrap().unwrap();
        assert_eq!((row.state, &row.outcome["txid"]), (OperationState::Sent, &json!("f1")));
        assert_eq!(row.outcome["spliced_to"], "f1:0");
        // Nothing else of that channel was asked for but what a crash hid.
        ledger.splice_agreed("aa".to_owned(), "f2:1".to_owned()).await.unwrap();
        let row = ledger.operation(hidden).await.unwrap().unwrap();
        assert_eq!((row.state, &row.outcome["txid"]), (OperationState::Sent, &json!("f2")));
        // One of the other side: there is no operation of ours to note it on.
        ledger.splice_agreed("aa".to_owned(), "f3:0".to_owned()).await.unwrap();
        ledger.splice_given_up("aa".to_owned()).await.unwrap();
        let states: Vec<_> = ledger.open_operations().await.unwrap().into_iter().map(|row| row.id).collect();
        assert_eq!(states, [other, hidden, second]);
        let told = events(&ledger).await;
        let splices = told
            .iter()
            .filter(|event| matches!(event, Event::SplicePending { .. } | Event::SpliceFailed { .. }));
        assert_eq!(splices.count(), 5);
    }
}
