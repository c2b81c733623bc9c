//! Calls that move coins: each is one row, from before the node is asked until its outcome is known.
//!
//! Invariants (MONEY rule 14): a key names one operation for good, and one that asks for something else
//! under it is refused; an operation that has ended never changes; nothing here asks the node.

use rusqlite::{Connection, Row, params};
use serde_json::{Value, json};

use super::page::Page;
use super::rows::Stored;
use super::{Ledger, OutgoingState, StoreError, generations, optional, outgoing};
use crate::event::Event;
use crate::types::{PaymentHash, Timestamp};

/// The longest key, in bytes.
pub const LONGEST_OPERATION_KEY: usize = 255;

/// What the keys of a rule's operations begin with.
pub const RULE_KEYS: &str = "rule/";

/// What the key of an operation that pays for an ordered channel begins with.
pub const ORDER_KEYS: &str = "inbound-order-";

/// What the key of a payment begins with that the node lost.
pub(super) const LOST_KEYS: &str = "payment-";

/// Whether a key is one that Tollhouse makes from what it does: nobody else's may be like it.
pub fn is_reserved_key(key: &str) -> bool {
    [RULE_KEYS, ORDER_KEYS, LOST_KEYS].iter().any(|own| key.starts_with(own))
}

/// Where an operation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationState {
    /// Noted; the node was perhaps asked, perhaps not.
    Intended,
    /// The node took it; its end comes later.
    Sent,
    /// It is done.
    Done,
    /// It is not done, and nothing moved.
    Failed,
    /// A crash hid what became of it: only a person, or what the node finds later, can tell.
    Unclear,
}

impl OperationState {
    /// As it is stored and shown.
    pub const fn word(self) -> &'static str {
        match self {
            OperationState::Intended => "intended",
            OperationState::Sent => "sent",
            OperationState::Done => "done",
            OperationState::Failed => "failed",
            OperationState::Unclear => "unclear",
        }
    }

    /// Whether nothing more will happen to it.
    pub const fn is_final(self) -> bool {
        matches!(self, OperationState::Done | OperationState::Failed)
    }

    fn read(word: &str) -> Result<OperationState, StoreError> {
        let states = [Self::Intended, Self::Sent, Self::Done, Self::Failed, Self::Unclear];
        states
            .into_iter()
            .find(|state| state.word() == word)
            .ok_or(StoreError::Corrupt("an operation in an unknown state"))
    }
}

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationRow {
    /// Its number: rises, never reused.
    pub id: i64,
    /// The key that names it.
    pub key: String,
    /// What it does, a stable word such as `send` or `open_channel`.
    pub kind: String,
    /// What was asked for.
    pub ask: Value,
    /// Where it stands.
    pub state: OperationState,
    /// What is known of its outcome: a transaction, a channel, the reason of a failure.
    pub outcome: Value,
    /// When it was noted.
    pub begun_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// What became of noting an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BegunOperation {
    /// It is new: do it.
    New(i64),
    /// It was begun before, for the same thing: do not do it again.
    Known(OperationRow),
    /// The key names an operation that asked for something else: do nothing.
    Another(OperationRow),
}

/// Which rule begins an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleRun {
    /// Its name.
    pub rule: String,
    /// Why it does.
    pub why: String,
}

impl Ledger {
    /// Notes an operation before it is done.
    ///
    /// # Errors
    /// When the disk fails, or sending is parked after a restore; do nothing then.
    pub async fn begin_operation(
        &self,
        key: &str,
        kind: &str,
        ask: Value,
    ) -> Result<BegunOperation, StoreError> {
        self.begin_marked_operation(key, kind, ask, Value::Null, None).await
    }

    /// Notes an operation before it is done, with what helps to find out later what became of it, and tells
    /// which rule does it, if one does.
    ///
    /// # Errors
    /// When the disk fails, or sending is parked after a restore; do nothing then.
    pub async fn begin_marked_operation(
        &self,
        key: &str,
        kind: &str,
        ask: Value,
        before: Value,
        run: Option<RuleRun>,
    ) -> Result<BegunOperation, StoreError> {
        let (key, kind) = (key.to_owned(), kind.to_owned());
        let work = move |page: &mut Page<'_>| {
            if let Some(known) = by_key(page.connection, &key)? {
                let same = known.kind == kind && known.ask == ask;
                return Ok(if same { BegunOperation::Known(known) } else { BegunOperation::Another(known) });
            }
            generations::may_send(page)?;
            let operation = begin_on(page, &key, &kind, OperationState::Intended, (ask, before))?;
            if let Some(RuleRun { rule, why }) = run {
                page.log(&Event::RuleRan { rule, operation, why })?;
            }
            Ok(BegunOperation::New(operation))
        };
        self.0.writer.call(work).await
    }

    /// Notes what became of an operation. One that has ended stays as it is; gives how it stands now.
    ///
    /// # Errors
    /// When the disk fails, or there is no such operation.
    pub async fn note_operation(
        &self,
        operation: i64,
        state: OperationState,
        outcome: Value,
    ) -> Result<OperationRow, StoreError> {
        self.0.writer.call(move |page| note_on(page, operation, state, outcome)).await
    }

    /// Adds to what is known of an operation that still stands as `was`; one that moved on meanwhile stays as
    /// it is. Gives how it stands now.
    ///
    /// # Errors
    /// When the disk fails, or there is no such operation.
    pub async fn note_facts(
        &self,
        operation: i64,
        was: OperationState,
        state: OperationState,
        facts: Value,
    ) -> Result<OperationRow, StoreError> {
        let work = move |page: &mut Page<'_>| {
            let missing = StoreError::Corrupt("an operation that was begun is missing");
            let now = by_id(page.connection, operation)?.ok_or(missing)?;
            if now.state != was {
                return Ok(now);
            }
            note_on(page, operation, state, with(&now.outcome, &facts))
        };
        self.0.writer.call(work).await
    }

    /// The ids of channels that an operation was to open and that can never come to be.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn void_channels(&self) -> Result<Vec<String>, StoreError> {
        let read = move |connection: &Connection| {
            let mut query = connection.prepare_cached(
                "SELECT json_extract(outcome, '$.channel_id') FROM operations
                 WHERE kind = 'open_channel' AND state = 'failed'
                   AND json_extract(outcome, '$.void_by') IS NOT NULL
                   AND json_extract(outcome, '$.channel_id') IS NOT NULL",
            )?;
            let rows = query.query_map([], |row| row.get(0))?;
            Ok(rows.collect::<Result<_, _>>()?)
        };
        self.0.readers.read(read).await
    }

    /// Ends an operation that stands as `was` with what the operator found out, and the payment that it is
    /// about with it. One that moved on meanwhile stays as it is; gives how it stands now.
    ///
    /// # Errors
    /// When the disk fails, or there is no such operation.
    pub async fn settle_operation(
        &self,
        operation: i64,
        was: OperationState,
        end: OperationState,
    ) -> Result<OperationRow, StoreError> {
        let work = move |page: &mut Page<'_>| {
            let missing = StoreError::Corrupt("an operation that was begun is missing");
            let now = by_id(page.connection, operation)?.ok_or(missing)?;
            if now.state != was || !end.is_final() {
                return Ok(now);
            }
            let outcome = with(&now.outcome, &json!({ "settled_by": "operator" }));
            let settled = note_on(page, operation, end, outcome)?;
            if let Some(payment_hash) = pays(&settled) {
                let state = match end {
                    OperationState::Done => OutgoingState::Presumed,
                    _ => OutgoingState::Failed { reason: "settled_by_operator".to_owned() },
                };
                outgoing::settle_on(page, payment_hash, &state)?;
            }
            Ok(settled)
        };
        self.0.writer.call(work).await
    }

    /// One operation.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn operation(&self, operation: i64) -> Result<Option<OperationRow>, StoreError> {
        self.0.readers.read(move |connection| by_id(connection, operation)).await
    }

    /// The operation that a key names.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn operation_of_key(&self, key: &str) -> Result<Option<OperationRow>, StoreError> {
        let key = key.to_owned();
        self.0.readers.read(move |connection| by_key(connection, &key)).await
    }

    /// The first operation of that kind that pays this hash and did not fail.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn payout_of(
        &self,
        kind: &'static str,
        payment_hash: PaymentHash,
    ) -> Result<Option<OperationRow>, StoreError> {
        let sql = "SELECT * FROM operations
                   WHERE kind = ?1 AND json_extract(outcome, '$.payment_hash') = ?2 AND state <> 'failed'
                   ORDER BY id LIMIT 1";
        let work = move |connection: &Connection| many(connection, sql, params![kind, payment_hash.to_hex()]);
        Ok(self.0.readers.read(work).await?.into_iter().next())
    }

    /// The operations whose keys begin with `prefix`, oldest first: those that a rule began on a day.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn operations_keyed(&self, prefix: &str) -> Result<Vec<OperationRow>, StoreError> {
        // A range and no pattern, so that the keys' index is used; no key holds the highest character.
        let (from, to) = (prefix.to_owned(), format!("{prefix}\u{10ffff}"));
        let sql = "SELECT * FROM operations WHERE key >= ?1 AND key < ?2 ORDER BY id";
        self.0.readers.read(move |connection| many(connection, sql, params![from, to])).await
    }

    /// The newest operations of one kind with a number below `before`, newest first, at most `limit`.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn operations_of(
        &self,
        kind: &str,
        before: i64,
        limit: u32,
    ) -> Result<Vec<OperationRow>, StoreError> {
        let kind = kind.to_owned();
        let sql = "SELECT * FROM operations WHERE kind = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3";
        self.0.readers.read(move |connection| many(connection, sql, params![kind, before, limit])).await
    }

    /// The newest operations with a number below `before`, newest first, at most `limit`.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn operations(&self, before: i64, limit: u32) -> Result<Vec<OperationRow>, StoreError> {
        let sql = "SELECT * FROM operations WHERE id < ?1 ORDER BY id DESC LIMIT ?2";
        self.0.readers.read(move |connection| many(connection, sql, params![before, limit])).await
    }

    /// The operations without an end, oldest first.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn open_operations(&self) -> Result<Vec<OperationRow>, StoreError> {
        self.0.readers.read(open_on).await
    }
}

pub(super) fn open_on(connection: &Connection) -> Result<Vec<OperationRow>, StoreError> {
    many(connection, "SELECT * FROM operations WHERE ended_at IS NULL ORDER BY id", params![])
}

/// What is known, with what was found; a fact that is null is dropped.
pub(super) fn with(known: &Value, facts: &Value) -> Value {
    let mut all = known.as_object().cloned().unwrap_or_default();
    for (name, value) in facts.as_object().into_iter().flatten() {
        if value.is_null() {
            all.remove(name);
        } else {
            all.insert(name.clone(), value.clone());
        }
    }
    all.into()
}

/// The operations without an end that pay this hash.
pub(super) fn paying(
    connection: &Connection,
    payment_hash: PaymentHash,
) -> Result<Vec<OperationRow>, StoreError> {
    let sql = "SELECT * FROM operations WHERE ended_at IS NULL
               AND (json_extract(outcome, '$.payment_hash') = ?1 OR json_extract(ask, '$.payment_hash') = ?1)
               ORDER BY id";
    many(connection, sql, params![payment_hash.to_hex()])
}

/// The payment that an operation is about.
fn pays(row: &OperationRow) -> Option<PaymentHash> {
    let said = [&row.outcome["payment_hash"], &row.ask["payment_hash"]];
    said.into_iter().find_map(|hash| hash.as_str()?.parse().ok())
}

/// Notes a new operation, of what was asked and what is known, under a key that names none.
pub(super) fn begin_on(
    page: &mut Page<'_>,
    key: &str,
    kind: &str,
    state: OperationState,
    (ask, outcome): (Value, Value),
) -> Result<i64, StoreError> {
    let mut insert = page.connection.prepare_cached(
        "INSERT INTO operations (key, kind, ask, state, outcome, begun_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    let (asked, known) = (ask.to_string(), outcome.to_string());
    insert.execute(params![key, kind, asked, state.word(), known, Stored(page.now)])?;
    let operation = page.connection.last_insert_rowid();
    page.log(&Event::OperationBegun { operation, what: kind.to_owned(), ask })?;
    if state != OperationState::Intended {
        let state = state.word().to_owned();
        page.log(&Event::OperationChanged { operation, what: kind.to_owned(), state, outcome })?;
    }
    Ok(operation)
}

pub(super) fn note_on(
    page: &mut Page<'_>,
    operation: i64,
    state: OperationState,
    outcome: Value,
) -> Result<OperationRow, StoreError> {
    let missing = StoreError::Corrupt("an operation that was begun is missing");
    let before = by_id(page.connection, operation)?.ok_or(missing)?;
    if before.state.is_final() || (before.state == state && before.outcome == outcome) {
        return Ok(before);
    }
    let ended_at = state.is_final().then_some(page.now);
    let mut update = page
        .connection
        .prepare_cached("UPDATE operations SET state = ?2, outcome = ?3, ended_at = ?4 WHERE id = ?1")?;
    update.execute(params![operation, state.word(), outcome.to_string(), ended_at.map(Stored)])?;
    let (what, state_word) = (before.kind.clone(), state.word().to_owned());
    page.log(&Event::OperationChanged { operation, what, state: state_word, outcome: outcome.clone() })?;
    Ok(OperationRow { state, outcome, ended_at, ..before })
}

pub(super) fn by_key(connection: &Connection, key: &str) -> Result<Option<OperationRow>, StoreError> {
    let mut query = connection.prepare_cached("SELECT * FROM operations WHERE key = ?1")?;
    optional(query.query_row([key], read))?.transpose()
}

fn by_id(connection: &Connection, id: i64) -> Result<Option<OperationRow>, StoreError> {
    let mut query = connection.prepare_cached("SELECT * FROM operations WHERE id = ?1")?;
    optional(query.query_row([id], read))?.transpose()
}

pub(super) fn many(
    connection: &Connection,
    sql: &str,
    of: &[&dyn rusqlite::ToSql],
) -> Result<Vec<OperationRow>, StoreError> {
    let mut query = connection.prepare_cached(sql)?;
    let rows = query.query_map(of, read)?;
    rows.map(|row| row?).collect()
}

fn read(row: &Row<'_>) -> rusqlite::Result<Result<OperationRow, StoreError>> {
    let (ask, outcome): (String, String) = (row.get("ask")?, row.get("outcome")?);
    let state: String = row.get("state")?;
    let Stored(begun_at) = row.get("begun_at")?;
    let ended_at: Option<Stored<Timestamp>> = row.get("ended_at")?;
    let (id, key, kind) = (row.get("id")?, row.get("key")?, row.get("kind")?);
    Ok((|| {
        let json = |text: &str| {
            serde_json::from_str(text).map_err(|_| StoreError::Corrupt("an operation that is not JSON"))
        };
        let ended_at = ended_at.map(|Stored(at)| at);
        let (ask, outcome, state) = (json(&ask)?, json(&outcome)?, OperationState::read(&state)?);
        Ok(OperationRow { id, key, kind, ask, state, outcome, begun_at, ended_at })
    })())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::{World, events};

    #[tokio::test]
    async fn a_key_names_one_operation_for_good() {
        let world = World::new();
        let (ledger, _) = world.open();
        let ask = json!({ "address": "bcrt1q", "amount_sat": 5 });
        let BegunOperation::New(id) = ledger.begin_operation("a", "send", ask.clone()).await.unwrap() else {
            panic!("it is new");
        };
        let BegunOperation::Known(row) = ledger.begin_operation("a", "send", ask.clone()).await.unwrap()
        else {
            panic!("it is known");
        };
        assert_eq!((row.id, row.state, row.ended_at), (id, OperationState::Intended, None));
        for (kind, ask) in [("send", json!({ "amount_sat": 6 })), ("send_all", ask.clone())] {
            let other = ledger.begin_operation("a", kind, ask).await.unwrap();
            assert!(matches!(other, BegunOperation::Another(row) if row.id == id));
        }
        assert_eq!(ledger.open_operations().await.unwrap().len(), 1);
        let sent = ledger.note_operation(id, OperationState::Sent, json!({ "txid": "x" })).await.unwrap();
        assert_eq!((sent.state, sent.ended_at), (OperationState::Sent, None));
        let done = ledger.note_operation(id, OperationState::Done, json!({ "txid": "x" })).await.unwrap();
        assert!(done.state.is_final() && done.ended_at.is_some());
        let late = ledger.note_operation(id, OperationState::Failed, json!("no")).await.unwrap();
        assert_eq!(late, done, "an end is an end");
        assert!(ledger.open_operations().await.unwrap().is_empty());
        assert_eq!(ledger.operation(id).await.unwrap(), Some(done.clone()));
        assert_eq!(ledger.operations(i64::MAX, 10).await.unwrap(), [done]);
        assert!(ledger.note_operation(99, OperationState::Done, Value::Null).await.is_err());
        let told = events(&ledger).await;
        let states: Vec<_> = told
            .iter()
            .filter_map(|event| match event {
                Event::OperationChanged { state, .. } => Some(state.as_str()),
                _ => None,
            })
            .collect();
        assert_eq!(states, ["sent", "done"]);
    }
}
