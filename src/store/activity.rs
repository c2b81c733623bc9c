//! The log from its end, page by page, whole or about one subject.
//!
//! Customers' payments are most of it, so those are found by walking it; everything else is found by its kind
//! in an index without them, however rare it is.

use rusqlite::{Connection, Row, params_from_iter};

use super::lives::Lives;
use super::plan::asked;
use super::rows::column;
use super::schema::newest_event;
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
        self.0.readers.read(move |connection| list(connection, &sql(subject), [before, limit.into()])).await
    }

    /// The newest events of each of these kinds after number `after`, oldest first, at most `limit` of a kind, and
    /// the number of the newest event of all. What lies between them is not read, however much it is.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn rare_events(
        &self,
        kinds: &'static [&'static str],
        after: i64,
        limit: u32,
    ) -> Result<(Vec<LoggedEvent>, i64), StoreError> {
        let work = move |connection: &Connection| {
            // What is logged between the two questions is for the next time.
            let newest = newest_event(connection)?;
            let sql = of_kinds(kinds, "id > ?1 AND id <= ?3", "ORDER BY id");
            let rows = list(connection, &sql, [after, limit.into(), newest])?;
            Ok((rows, newest))
        };
        self.0.readers.read(work).await
    }
}

fn list<const N: usize>(
    connection: &Connection,
    sql: &str,
    values: [i64; N],
) -> Result<Vec<LoggedEvent>, StoreError> {
    let lives = Lives::read(connection)?;
    let mut query = asked(connection, sql)?;
    let rows = query.query_map(params_from_iter(values), row)?;
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
        Some(subject) => of_kinds(subject.kinds(), "id < ?1", "ORDER BY id DESC LIMIT ?2"),
    }
}

/// Of each kind the newest `?2` where `range` is so, all of them in `order`. The kinds are in the index.
fn of_kinds(kinds: &[&str], range: &str, order: &str) -> String {
    let each = kinds.iter().map(|kind| {
        format!(
            "SELECT id FROM (SELECT id FROM events
                WHERE {APART} AND json_extract(body, '$.kind') = '{kind}' AND {range}
                ORDER BY id DESC LIMIT ?2) AS newest"
        )
    });
    let all = each.collect::<Vec<_>>().join(" UNION ALL ");
    format!("SELECT id, at, body FROM events WHERE id IN ({all}) {order}")
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

    /// How many steps of the plan find a kind in its index.
    fn by_index(connection: &Connection, sql: &str) -> usize {
        let mut plan = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let steps = plan.raw_query().mapped(|row| row.get::<_, String>("detail"));
        steps.map(Result::unwrap).filter(|step| step.contains("events_of_kind")).count()
    }

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
    async fn rare_events_are_found_without_what_lies_between() {
        let world = World::new();
        let (ledger, _) = world.open();
        for n in 0..6u8 {
            ledger.log(Event::SeedVerified).await.unwrap();
            ledger.receive(PaymentHash::from_bytes([n; 32]), Msat::from_sat(5).unwrap(), None).await.unwrap();
        }
        ledger.log(Event::Stopped).await.unwrap();
        let of = async |kinds, after, limit| {
            let (rows, newest) = ledger.rare_events(kinds, after, limit).await.unwrap();
            (rows.iter().map(|row| row.id).collect::<Vec<_>>(), newest)
        };
        let (seeds, newest) = of(&["seed_verified", "books_audited"], 0, 10).await;
        assert!(seeds.len() == 6 && seeds.is_sorted(), "{seeds:?}");
        assert_eq!(of(&["seed_verified"], 0, 2).await, (seeds[4..].to_vec(), newest), "the newest of them");
        assert_eq!(of(&["seed_verified"], seeds[3], 10).await.0, seeds[4..]);
        assert_eq!(of(&["seed_verified", "stopped"], seeds[5], 10).await, (vec![newest], newest));
        let walked = |connection: &Connection| {
            let sql = of_kinds(&["seed_verified"], "id > ?1 AND id <= ?3", "ORDER BY id");
            Ok((walks(connection, &sql), by_index(connection, &sql)))
        };
        assert_eq!(ledger.0.readers.read(walked).await.unwrap(), (Vec::new(), 1));
    }

    #[tokio::test]
    async fn what_is_rare_is_found_by_its_index() {
        let world = World::new();
        let (ledger, _) = world.open();
        let plans = |connection: &Connection| {
            let rare = Subject::ALL.into_iter().filter(|subject| *subject != Subject::Payments);
            let plans = rare.map(|subject| {
                assert_eq!(walks(connection, &sql(Some(subject))), Vec::<String>::new());
                by_index(connection, &sql(Some(subject))) == subject.kinds().len()
            });
            Ok(plans.collect::<Vec<bool>>())
        };
        let plans = ledger.0.readers.read(plans).await.unwrap();
        assert!(plans.into_iter().all(|by_index| by_index));
    }
}
