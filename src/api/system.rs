//! `/api/v1/system`, `/api/v1/config`, `/api/v1/log` and `/api/v1/diagnostics`: how the appliance is, what it was
//! told, and what it said lately.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing::Level;

use super::answer::Text;
use super::{bad_query, ledger_fault};
use crate::web::{Configuration, LogLine, MayAdmin, MayRead, Operator, Problem, SystemView};

/// The most lines of one answer.
const MOST: usize = 2_000;

/// `GET /api/v1/system`.
pub(super) async fn read(_: MayRead, State(op): State<Arc<Operator>>) -> Result<Json<SystemView>, Problem> {
    op.system().await.map(Json).map_err(ledger_fault)
}

/// `GET /api/v1/config`: the settings in force, each with where it was said; secrets are hidden.
pub(super) async fn config(_: MayAdmin, State(op): State<Arc<Operator>>) -> Json<Configuration> {
    Json(op.parts.config.configuration.clone())
}

/// Which lines of the log.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Asked {
    /// The least grave level that is wanted.
    level: Option<String>,
    /// Lines after this number: what `last` of the answer before said.
    #[serde(default)]
    after: u64,
    #[serde(default = "hundred")]
    limit: usize,
}

fn hundred() -> usize {
    100
}

/// The end of the log.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Tail {
    /// The oldest first.
    lines: Vec<LogLine>,
    /// The number of the newest line that there is: goes into the next question's `after`.
    last: u64,
}

/// `GET /api/v1/log?level&after&limit`: the newest lines, the oldest of them first.
pub(super) async fn log(
    _: MayAdmin,
    State(op): State<Arc<Operator>>,
    query: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Tail>, Problem> {
    let Query(Asked { level, after, limit }) = query.map_err(bad_query)?;
    if !(1..=MOST).contains(&limit) {
        return Err(Problem::bad_request("bad_query", format!("limit must be 1 to {MOST}.")));
    }
    let known = ["error", "warn", "info", "debug", "trace"];
    let level = match level.as_deref() {
        None => Level::TRACE,
        Some(word) if known.contains(&word) => word.parse().unwrap_or(Level::TRACE),
        Some(_) => {
            return Err(Problem::bad_request("bad_query", "level is error, warn, info, debug or trace."));
        }
    };
    // First the count: a line that comes between the two is told again, never missed.
    let last = op.parts.log.written();
    let lines = op.parts.log.lines(level, after, limit);
    Ok(Json(Tail { last: lines.last().map_or(last, |line| line.number.max(last)), lines }))
}

/// `GET /api/v1/diagnostics`: text to hand to somebody who helps; keys, hashes and addresses are cut short.
pub(super) async fn diagnostics(_: MayAdmin, State(op): State<Arc<Operator>>) -> Result<Text, Problem> {
    Ok(Text(op.diagnostics().await.map_err(ledger_fault)?))
}
