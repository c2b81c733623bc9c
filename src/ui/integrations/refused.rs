//! What could not be done with an endpoint, said on a page that leads back.

use axum::response::Response;
use http::StatusCode;

use super::above;
use crate::ui::question::notice;
use crate::ui::shell::{Desk, Section};
use crate::web::webhook_problem;
use crate::webhooks::WebhookError;

/// There is no endpoint of that number, or none any more.
pub(super) async fn unknown(desk: &Desk) -> Response {
    let told = ("There is no such endpoint", "It may have been removed. Nothing was changed.");
    notice(desk, Section::Integrations, above(), StatusCode::NOT_FOUND, told).await
}

/// What was refused, on a page that leads back.
pub(super) async fn failed(desk: &Desk, error: WebhookError) -> Response {
    if matches!(error, WebhookError::Unknown) {
        return unknown(desk).await;
    }
    let problem = webhook_problem(error);
    let told = ("This was not done", problem.detail.as_str());
    notice(desk, Section::Integrations, above(), problem.status, told).await
}
