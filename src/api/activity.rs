//! `GET /api/v1/activity`: what happened, newest first, whole or about one subject; `activity.csv` the same as a
//! table.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answer::Table;
use super::{bad_query, ledger_fault};
use crate::event::{LoggedEvent, Subject};
use crate::web::sheet::{self, Cell};
use crate::web::{MayRead, Operator, Problem, Rows};

/// Rows of a table that are read at once.
const BATCH: u32 = 1_000;

/// Which page.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Page {
    #[serde(default)]
    limit: Rows,
    before: Option<i64>,
    about: Option<Subject>,
}

/// What happened, newest first.
#[derive(Serialize, JsonSchema)]
pub(super) struct Activity {
    activity: Vec<LoggedEvent>,
    next_before: Option<i64>,
}

/// `next_before` goes into the next question; it is `null` on the last page.
pub(super) async fn list(
    _: MayRead,
    State(op): State<Arc<Operator>>,
    query: Result<Query<Page>, QueryRejection>,
) -> Result<Json<Activity>, Problem> {
    let Query(Page { limit, before, about }) = query.map_err(bad_query)?;
    let mut rows = op.parts.ledger.activity(about, before, limit.to_read()).await.map_err(ledger_fault)?;
    let next_before = limit.page(&mut rows, |row| row.id);
    Ok(Json(Activity { activity: rows, next_before }))
}

/// Which rows.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Which {
    about: Option<Subject>,
}

/// `GET /api/v1/activity.csv`: all of it.
pub(super) async fn table(
    _: MayRead,
    State(op): State<Arc<Operator>>,
    query: Result<Query<Which>, QueryRejection>,
) -> Result<Table, Problem> {
    let about = query.map_err(bad_query)?.0.about;
    let next = move |before: Option<i64>| {
        let op = Arc::clone(&op);
        async move {
            let rows = op.parts.ledger.activity(about, before, BATCH).await.map_err(std::io::Error::other)?;
            let last = rows.last().map(|row| row.id).or(before);
            Ok((rows.iter().map(cells).collect(), last))
        }
    };
    Ok(Table(sheet::download("activity.csv", &["id", "at", "kind", "what"], None, next)))
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
