//! `/api/v1/inbound`: who opens channels to us, on what terms, and what became of it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::web::{MayRead, Operator};

/// What is set, and how it stands.
pub(super) async fn read(_: MayRead, State(op): State<Arc<Operator>>) -> Json<Value> {
    let openings = op.parts.inbound.openings.as_ref().map(|openings| openings.view());
    Json(json!({ "just_in_time": openings }))
}
