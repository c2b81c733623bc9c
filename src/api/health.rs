//! `GET /api/v1/health`, and for whoever starts and stops processes `GET /livez` and `GET /readyz`.
//!
//! The latter two ask for no key and tell no details: one word is all that a stranger on the admin listener gets.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde_json::{Value, json};

use super::ledger_fault;
use crate::ports::Check;
use crate::store::AlarmRow;
use crate::types::Severity;
use crate::watchman::Unready;
use crate::web::{MayRead, Operator, Problem};

/// `GET /api/v1/health`: everything that is looked at, and the alarms that stand.
pub(super) async fn read(_: MayRead, State(op): State<Arc<Operator>>) -> Result<Json<Value>, Problem> {
    let watchman = &op.parts.watchman;
    let health = watchman.look().await.map_err(ledger_fault)?;
    let ready = watchman.ready().await;
    Ok(Json(json!({
        "status": health.worst().map_or("ok", Severity::as_str),
        "ready": ready.is_ok(),
        "not_ready": ready.err().map(Unready::code),
        "time": health.at,
        "checks": health.checks.iter().map(check).collect::<Vec<_>>(),
        "alarms": health.alarms.iter().map(alarm).collect::<Vec<_>>(),
    })))
}

fn check(check: &Check) -> Value {
    json!({
        "name": check.name,
        "status": check.worst().map_or("ok", Severity::as_str),
        "detail": check.detail,
        "age_secs": check.age.map(|age| age.as_secs()),
    })
}

fn alarm(row: &AlarmRow) -> Value {
    let mut alarm = json!(row.alarm);
    alarm["raised_at"] = json!(row.raised_at);
    alarm["changed_at"] = json!(row.changed_at);
    alarm
}

/// `GET /livez`: this process answers. It is no reason to be restarted that a node or a chain source is away.
pub(super) async fn alive() -> Json<Value> {
    Json(json!({ "live": true }))
}

/// `GET /readyz`: 200 when a request can be sold, else 503.
pub(super) async fn ready(State(op): State<Arc<Operator>>) -> (StatusCode, Json<Value>) {
    match op.parts.watchman.ready().await {
        Ok(()) => (StatusCode::OK, Json(json!({ "ready": true }))),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "ready": false, "code": why.code() }))),
    }
}
