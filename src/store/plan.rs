//! Queries that the operator's pages and reports ask again and again.
//!
//! Invariant: none of them walks a table that grows with every sale. In tests each is refused, wherever it
//! is asked, when SQLite's plan says that it would.

use rusqlite::{CachedStatement, Connection};

/// Prepares such a query.
pub(super) fn asked<'c>(connection: &'c Connection, sql: &str) -> rusqlite::Result<CachedStatement<'c>> {
    #[cfg(test)]
    check(connection, sql);
    connection.prepare_cached(sql)
}

/// What may be walked: tables that do not grow with the sales, and what a query made of a part before.
#[cfg(test)]
const SMALL: &[&str] = &["totals", "names", "sums", "newest", "CONSTANT"];

/// The steps of the plan that walk something else.
#[cfg(test)]
pub(super) fn walks(connection: &Connection, sql: &str) -> Vec<String> {
    let mut plan = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect("the query reads");
    // Its parameters stay unbound: nothing is asked.
    let steps = plan.raw_query().mapped(|row| row.get::<_, String>("detail"));
    let steps: Vec<String> = steps.map(|step| step.expect("a plan is text")).collect();
    let walks = |step: &String| {
        step.strip_prefix("SCAN ")
            .is_some_and(|what| !SMALL.contains(&what.split(' ').next().unwrap_or_default()))
    };
    steps.into_iter().filter(walks).collect()
}

#[cfg(test)]
fn check(connection: &Connection, sql: &str) {
    let walks = walks(connection, sql);
    assert!(walks.is_empty(), "a report would walk a table: {walks:?} in {sql}");
}
