//! `GET /api/v1/openapi.json`: the description of the API, for programs that read such things. It says
//! nothing of this appliance, so no key is asked for.

use std::sync::Arc;

use axum::Router;
use axum::response::IntoResponse;
use axum::routing::get;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use serde_json::Value;

use crate::web::Operator;

/// Where it is.
pub(super) const PATH: &str = "/api/v1/openapi.json";

/// The address of `document`.
pub(super) fn router(document: Value) -> Router<Arc<Operator>> {
    let text = Bytes::from(document.to_string());
    let answer = async move || ([(CONTENT_TYPE, "application/json")], text.clone()).into_response();
    Router::new().route(PATH, get(answer))
}
