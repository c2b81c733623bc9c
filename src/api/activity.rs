//! `GET /api/v1/activity`: what happened, newest first, whole or about one subject; `activity.csv` the same as a
//! table.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{bad_query, ledger_fault};
use crate::event::{LoggedEvent, Subject};
use crate::web::sheet::{self, Cell};
use crate::web::{MayRead, Operator, Problem};

/// The most rows of one page.
const MOST: u32 = 500;
/// Rows of a table that are read at once.
const BATCH: u32 = 1_000;

/// Which page.
#[derive(Debug, Deserialize)]
pub(super) struct Page {
    #[serde(default = "fifty")]
    limit: u32,
    before: Option<i64>,
    about: Option<String>,
}

fn fifty() -> u32 {
    50
}

fn subject(about: Option<&str>) -> Result<Option<Subject>, Problem> {
    let Some(word) = about.filter(|word| !word.is_empty()) else { return Ok(None) };
    let known = || Subject::ALL.map(Subject::word).join(", ");
    let unknown = || Problem::bad_request("bad_query", format!("about is one of {}.", known()));
    Subject::of_word(word).map(Some).ok_or_else(unknown)
}

/// `next_before` goes into the next question; it is `null` on the last page.
pub(super) async fn list(
    _: MayRead,
    State(op): State<Arc<Operator>>,
    query: Result<Query<Page>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(Page { limit, before, about }) = query.map_err(bad_query)?;
    let subject = subject(about.as_deref())?;
    if !(1..=MOST).contains(&limit) {
        return Err(Problem::bad_request("bad_query", format!("limit must be 1 to {MOST}.")));
    }
    // One more than asked for tells whether there is a next page.
    let mut rows = op.parts.ledger.activity(subject, before, limit + 1).await.map_err(ledger_fault)?;
    let shown = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = rows.len() > shown;
    rows.truncate(shown);
    let next_before = more.then(|| rows.last().map(|row| row.id)).flatten();
    Ok(Json(json!({ "activity": rows, "next_before": next_before })))
}

/// Which rows.
#[derive(Debug, Deserialize)]
pub(super) struct Rows {
    about: Option<String>,
}

/// `GET /api/v1/activity.csv`: all of it.
pub(super) async fn table(
    _: MayRead,
    State(op): State<Arc<Operator>>,
    query: Result<Query<Rows>, QueryRejection>,
) -> Result<Response, Problem> {
    let subject = subject(query.map_err(bad_query)?.0.about.as_deref())?;
    let next = move |before: Option<i64>| {
        let op = Arc::clone(&op);
        async move {
            let rows =
                op.parts.ledger.activity(subject, before, BATCH).await.map_err(std::io::Error::other)?;
            let last = rows.last().map(|row| row.id).or(before);
            Ok((rows.iter().map(cells).collect(), last))
        }
    };
    Ok(sheet::download("activity.csv", &["id", "at", "kind", "what"], None, next))
}

fn cells(row: &LoggedEvent) -> Vec<Cell> {
    let mut what = json!(row.event);
    let kind = what.as_object_mut().and_then(|fields| fields.remove("kind"));
    vec![
        Cell::Number(row.id),
        Cell::Time(row.at),
        Cell::text(kind.as_ref().and_then(Value::as_str)),
        Cell::Text(what.to_string()),
    ]
}
