//! One event for one endpoint, as a line of a list, and making it once more.

use axum::extract::Path;
use axum::response::{IntoResponse, Redirect, Response};

use super::refused::failed;
use crate::store::{DeliveryRow, DeliveryState, WebhookRow};
use crate::ui::figures::{iso, utc};
use crate::ui::form::Fields;
use crate::ui::shell::Desk;

/// A delivery as a line.
pub(super) struct DeliveryLine {
    pub(super) id: i64,
    pub(super) webhook: i64,
    pub(super) endpoint: String,
    pub(super) topic: String,
    /// The event's number; a test message has none, and is not delivered again.
    pub(super) event: Option<i64>,
    pub(super) at: String,
    pub(super) at_iso: String,
    pub(super) state: &'static str,
    pub(super) state_class: &'static str,
    /// What the endpoint answered, or what went wrong.
    pub(super) answer: String,
    /// When it is tried again.
    pub(super) next: Option<(String, String)>,
}

impl DeliveryLine {
    /// The line of `row`, of one of `hooks`.
    pub(super) fn of(row: &DeliveryRow, hooks: &[WebhookRow]) -> DeliveryLine {
        let (state, state_class) = match row.state {
            DeliveryState::Waiting => ("Waiting", ""),
            DeliveryState::Delivered => ("Delivered", "good"),
            DeliveryState::Parked if row.event.is_none() => ("Did not arrive", "bad"),
            DeliveryState::Parked => ("Given up", "bad"),
        };
        let hook = hooks.iter().find(|hook| hook.id == row.webhook);
        DeliveryLine {
            id: row.id,
            webhook: row.webhook,
            endpoint: hook.map_or_else(|| format!("{}", row.webhook), |hook| hook.label.clone()),
            topic: row.topic.clone(),
            event: row.event,
            at: utc(row.updated_at),
            at_iso: iso(row.updated_at),
            state,
            state_class,
            answer: answer(row),
            next: (row.state == DeliveryState::Waiting && row.attempts > 0)
                .then(|| (utc(row.next_at), iso(row.next_at))),
        }
    }
}

/// What became of it, in a few words.
fn answer(row: &DeliveryRow) -> String {
    let status = row.last_status.map(|status| format!("answered {status}"));
    let told = match (status, &row.last_error) {
        (_, Some(error)) => error.replacen("it answers", "it answered", 1),
        (Some(status), None) => status,
        (None, None) => return "not tried yet".to_owned(),
    };
    let tries = if row.attempts == 1 { "1 try".to_owned() } else { format!("{} tries", row.attempts) };
    format!("{told} ({tries})")
}

/// `POST /integrations/deliveries/{id}/redeliver`.
pub(in crate::ui) async fn redeliver(desk: Desk, Path(id): Path<String>, fields: Fields) -> Response {
    match desk.op.parts.webhooks.redeliver(id.parse().unwrap_or(-1)).await {
        Ok(()) => {
            // Only a number is taken from what was sent.
            let hook: i64 = fields.text("webhook").parse().unwrap_or_default();
            Redirect::to(&format!("/integrations/webhooks/{hook}?said=redelivered")).into_response()
        }
        Err(error) => failed(&desk, error).await,
    }
}
