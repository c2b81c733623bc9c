//! `GET /api/v1/health`, and for whoever starts and stops processes `GET /livez` and `GET /readyz`.
//!
//! The latter two ask for no key and tell no details: one word is all that a stranger on the admin listener gets.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;

use super::document::signature::Answers;
use super::document::told::Told;
use super::ledger_fault;
use crate::ports::{Alarm, Check};
use crate::store::AlarmRow;
use crate::types::{Severity, Timestamp};
use crate::watchman::Unready;
use crate::web::{MayRead, Operator, Problem};

/// `GET /api/v1/health`: everything that is looked at, and the alarms that stand.
pub(super) async fn read(_: MayRead, State(op): State<Arc<Operator>>) -> Result<Json<Health>, Problem> {
    let watchman = &op.parts.watchman;
    let health = watchman.look().await.map_err(ledger_fault)?;
    let ready = watchman.ready().await;
    Ok(Json(Health {
        status: health.worst().map_or("ok", Severity::as_str),
        ready: ready.is_ok(),
        not_ready: ready.err().map(Unready::code),
        time: health.at,
        checks: health.checks.iter().map(Looked::from).collect(),
        alarms: health.alarms.into_iter().map(Raised::from).collect(),
    }))
}

/// How the appliance fares.
#[derive(Serialize, JsonSchema)]
pub(super) struct Health {
    /// `ok`, or the severity of the worst.
    status: &'static str,
    /// A request can be sold.
    ready: bool,
    /// Why none can.
    not_ready: Option<&'static str>,
    time: Timestamp,
    checks: Vec<Looked>,
    alarms: Vec<Raised>,
}

/// One thing that was looked at.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Check")]
struct Looked {
    name: &'static str,
    /// `ok`, or the severity of the worst.
    status: &'static str,
    detail: String,
    /// How old what it speaks of is.
    age_secs: Option<u64>,
}

impl From<&Check> for Looked {
    fn from(check: &Check) -> Looked {
        Looked {
            name: check.name,
            status: check.worst().map_or("ok", Severity::as_str),
            detail: check.detail.clone(),
            age_secs: check.age.map(|age| age.as_secs()),
        }
    }
}

/// An alarm that stands.
#[derive(Serialize, JsonSchema)]
struct Raised {
    #[serde(flatten)]
    alarm: Alarm,
    raised_at: Timestamp,
    /// When its severity changed last.
    changed_at: Timestamp,
}

impl From<AlarmRow> for Raised {
    fn from(row: AlarmRow) -> Raised {
        Raised { alarm: row.alarm, raised_at: row.raised_at, changed_at: row.changed_at }
    }
}

/// That it lives.
#[derive(Serialize, JsonSchema)]
pub(super) struct Alive {
    live: bool,
}

/// `GET /livez`: this process answers. It is no reason to be restarted that a node or a chain source is away.
pub(super) async fn alive() -> Json<Alive> {
    Json(Alive { live: true })
}

/// Whether a request can be sold.
#[derive(Serialize, JsonSchema)]
pub(super) struct Ready {
    ready: bool,
    /// Why none can.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
}

impl IntoResponse for Ready {
    fn into_response(self) -> Response {
        let status = if self.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        (status, Json(self)).into_response()
    }
}

impl Answers for Ready {
    fn answer(told: &mut Told<'_>) {
        told.gives::<Ready>(StatusCode::OK);
        told.gives::<Ready>(StatusCode::SERVICE_UNAVAILABLE);
    }
}

/// `GET /readyz`: 200 when a request can be sold, else 503.
pub(super) async fn ready(State(op): State<Arc<Operator>>) -> Ready {
    let ready = op.parts.watchman.ready().await;
    Ready { ready: ready.is_ok(), code: ready.err().map(Unready::code) }
}
