//! `/api/v1/rates`: what bitcoin costs in other currencies, and who says so.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use crate::rates::RatesView;
use crate::web::{MayAdmin, MayRead, Operator};

/// `GET /api/v1/rates`.
pub(super) async fn read(_: MayRead, State(op): State<Arc<Operator>>) -> Json<RatesView> {
    Json(op.parts.rates.view())
}

/// `POST /api/v1/rates/refresh`: asks every source now, whether something needs its rate or not.
pub(super) async fn refresh(_: MayAdmin, State(op): State<Arc<Operator>>) -> Json<RatesView> {
    op.parts.rates.poll_all().await;
    Json(op.parts.rates.view())
}
