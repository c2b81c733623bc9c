//! `/api/v1/checklist`: what a new operator has to see to.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{bad_body, ledger_fault};
use crate::web::{Checklist, MayAdmin, MayRead, Operator, Problem};

/// `GET /api/v1/checklist`.
pub(super) async fn read(_: MayRead, State(op): State<Arc<Operator>>) -> Result<Json<Checklist>, Problem> {
    op.checklist().await.map(Json).map_err(ledger_fault)
}

/// What `PUT /api/v1/checklist` takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Put {
    hidden: bool,
}

/// `PUT /api/v1/checklist`: puts the list away, or brings it back.
pub(super) async fn put(
    _: MayAdmin,
    State(op): State<Arc<Operator>>,
    body: Result<Json<Put>, JsonRejection>,
) -> Result<Json<Checklist>, Problem> {
    let Json(Put { hidden }) = body.map_err(bad_body)?;
    let done = if hidden { op.hide_checklist().await } else { op.show_checklist().await };
    done.map_err(ledger_fault)?;
    op.checklist().await.map(Json).map_err(ledger_fault)
}
