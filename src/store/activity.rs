//! The log from its end, page by page, whole or about one subject.
//!
//! Customers' payments are most of it, so those are found by walking it; everything else is found by its kind
//! in an index without them, however rare it is.

use rusqlite::{Connection, Row, params_from_iter};

use super::lives::Lives;
use super::plan::asked;
use super::rows::column;
use super::{Ledger, StoreError};
use crate::event::{LoggedEvent, Subject, UNLISTED};
use crate::types::Timestamp;

/// As the index says it.
const APART: &str = "json_extract(body, '$.kind') NOT IN ('payment_received', 'sale_attributed')";

impl Ledger {
    /// The newest events before number `before`, newest first, at most `limit`; about one subject when one is
    /// named.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn activity(
        &self,
        subject: Option<Subject>,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<LoggedEvent>, StoreError> {
        let before = before.unwrap_or(i64::MAX);
        self.0.readers.read(move |connection| list(connection, subject, before, limit)).await
    }
}

fn list(
    connection: &Connection,
    subject: Option<Subject>,
    before: i64,
    limit: u32,
) -> Result<Vec<LoggedEvent>, StoreError> {
    let lives = Lives::read(connection)?;
    let mut query = asked(connection, &sql(subject))?;
    let values = params_from_iter([before, i64::from(limit)]);
    let rows = query.query_map(values, row)?;
    rows.map(|row| {
        let (id, at, body) = row?;
        let event =
            serde_json::from_str(&body).map_err(|_| StoreError::Corrupt("an event of an unknown kind"))?;
        Ok(LoggedEvent { id, generation: lives.of(id), at, event })
    })
    .collect()
}

/// The words in it are ours: nothing that anybody typed is among them.
fn sql(subject: Option<Subject>) -> String {
    let walk = |condition: &str| {
        format!(
            "SELECT id, at, body FROM events WHERE id < ?1 AND json_extract(body, '$.kind') {condition}
             ORDER BY id DESC LIMIT ?2"
        )
    };
    match subject {
        None => walk(&format!("!= '{UNLISTED}'")),
        Some(Subject::Payments) => walk("IN ('payment_received', 'possible_surplus')"),
        Some(subject) => {
            let each = subject.kinds().iter().map(|kind| {
                format!(
                    "SELECT id FROM (SELECT id FROM events
                        WHERE {APART} AND json_extract(body, '$.kind') = '{kind}' AND id < ?1
                        ORDER BY id DESC LIMIT ?2) AS newest"
                )
            });
            let all = each.collect::<Vec<_>>().join(" UNION ALL ");
            format!("SELECT id, at, body FROM events WHERE id IN ({all}) ORDER BY id DESC LIMIT ?2")
        }
    }
}

fn row(row: &Row<'_>) -> rusqlite::Result<(i64, Timestamp, String)> {
    Ok((row.get("id")?, column::<Timestamp>(row, "at")?, row.get("body")?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;
    use crate::store::plan::walks;
    use crate::store::tests::World;
    use crate::types::{Msat, PaymentHash};

    #[tokio::test]
    async fn the_log_is_read_from_its_end_by_subject() {
        let world = World::new();
        let (ledger, _) = world.open();
        for n in 0..20u8 {
            ledger.receive(PaymentHash::from_bytes([n; 32]), Msat::from_sat(5).unwrap(), None).await.unwrap();
            if n.is_multiple_of(4) {
                ledger.log(Event::SeedVerified).await.unwrap();
                ledger
                    .log(Event::ServiceChanged { service: "a".parse().unwrap(), before: None, after: None })
                    .await
                    .unwrap();
            }
        }
        let of = async |subject, before| ledger.activity(subject, before, 3).await.unwrap();
        let system = of(Some(Subject::System), None).await;
        assert!(system.len() == 3 && system.iter().all(|row| row.event == Event::SeedVerified));
        assert!(system[0].id > system[1].id);
        let next = of(Some(Subject::System), Some(system[2].id)).await;
        assert!(next.iter().any(|row| row.event == Event::SeedVerified) && next[0].id < system[2].id);
        let payments = of(Some(Subject::Payments), None).await;
        assert!(payments.iter().all(|row| matches!(row.event, Event::PaymentReceived { .. })));
        assert_eq!(of(None, None).await.len(), 3);
        assert_eq!(of(None, Some(1)).await, []);
    }

    #[tokio::test]
    async fn what_is_rare_is_found_by_its_index() {
        let world = World::new();
        let (ledger, _) = world.open();
        let plans = |connection: &Connection| {
            let rare = Subject::ALL.into_iter().filter(|subject| *subject != Subject::Payments);
            let plans = rare.map(|subject| {
                let explain = format!("EXPLAIN QUERY PLAN {}", sql(Some(subject)));
                let mut plan = connection.prepare(&explain).unwrap();
                let steps = plan.raw_query().mapped(|row| row.get::<_, String>("detail"));
                let steps: Vec<String> = steps.map(Result::unwrap).collect();
                assert_eq!(walks(connection, &sql(Some(subject))), Vec::<String>::new());
                steps.iter().filter(|step| step.contains("events_of_kind")).count() == subject.kinds().len()
            });
            Ok(plans.collect::<Vec<bool>>())
        };
        let plans = ledger.0.readers.read(plans).await.unwrap();
        assert!(plans.into_iter().all(|by_index| by_index));
    }
}
