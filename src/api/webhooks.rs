//! `/api/v1/webhooks`: endpoints that hear of what happens, and the log of what was delivered to them.
//!
//! An endpoint's secret is shown in the answer that makes it and never again. A test says no more of the
//! endpoint's answer than its status.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{bad_body, bad_query, label, ledger_fault};
use crate::egress::Reach;
use crate::store::{DeliveryFilter, DeliveryRow, DeliveryState, WebhookRow};
use crate::web::{MayAdmin, MayRead, Operator, Problem, webhook_problem};
use crate::webhooks::{WebhookAsk, WebhookError, topics};

/// The most rows of one page.
const MOST: u32 = 500;

/// What `POST /api/v1/webhooks` takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Add {
    url: String,
    label: String,
    #[serde(default)]
    topics: Vec<String>,
    #[serde(default)]
    allow_private: bool,
}

/// `POST /api/v1/webhooks`.
pub(super) async fn add(
    _: MayAdmin,
    State(op): State<Arc<Operator>>,
    body: Result<Json<Add>, JsonRejection>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let Json(Add { url, label: text, topics, allow_private }) = body.map_err(bad_body)?;
    let label = label(&text)?.to_owned();
    let ask = WebhookAsk { url, topics: topics.clone(), label, reach: Reach::allowing(allow_private) };
    let (id, secret) = op.parts.webhooks.add(ask).await.map_err(webhook_problem)?;
    let made = json!({ "id": id, "topics": topics, "secret": secret.text().as_str() });
    Ok((StatusCode::CREATED, Json(made)))
}

/// `GET /api/v1/webhooks`.
pub(super) async fn list(_: MayRead, State(op): State<Arc<Operator>>) -> Result<Json<Value>, Problem> {
    let rows = op.parts.ledger.webhooks().await.map_err(ledger_fault)?;
    let shown: Vec<Value> = rows.iter().map(endpoint).collect();
    Ok(Json(json!({ "webhooks": shown, "topics": topics().collect::<Vec<_>>() })))
}

/// `DELETE /api/v1/webhooks/{id}`.
pub(super) async fn remove(
    _: MayAdmin,
    State(op): State<Arc<Operator>>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    op.parts.webhooks.remove(endpoint_id(&id)?).await.map_err(webhook_problem)?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /api/v1/webhooks/{id}/enable`.
pub(super) async fn enable(
    _: MayAdmin,
    State(op): State<Arc<Operator>>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    op.parts.webhooks.enable(endpoint_id(&id)?).await.map_err(webhook_problem)?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /api/v1/webhooks/{id}/disable`.
pub(super) async fn disable(
    _: MayAdmin,
    State(op): State<Arc<Operator>>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    op.parts.webhooks.disable(endpoint_id(&id)?).await.map_err(webhook_problem)?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /api/v1/webhooks/{id}/test`: sends a message of the type `webhook.test` and says how it went.
pub(super) async fn test(
    _: MayAdmin,
    State(op): State<Arc<Operator>>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let tested = op.parts.webhooks.test(endpoint_id(&id)?).await.map_err(webhook_problem)?;
    Ok(Json(json!({
        "delivered": tested.error.is_none(),
        "status": tested.status.map(|status| status.as_u16()),
        "error": tested.error,
        "took_ms": u64::try_from(tested.took.as_millis()).unwrap_or(u64::MAX),
    })))
}

/// Which page of the delivery log.
#[derive(Debug, Deserialize)]
pub(super) struct Page {
    #[serde(default = "fifty")]
    limit: u32,
    before: Option<i64>,
    webhook: Option<i64>,
    state: Option<String>,
}

fn fifty() -> u32 {
    50
}

/// `GET /api/v1/deliveries`: the delivery log, newest first; `next_before` goes into the next question.
pub(super) async fn deliveries(
    _: MayRead,
    State(op): State<Arc<Operator>>,
    query: Result<Query<Page>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(Page { limit, before, webhook, state }) = query.map_err(bad_query)?;
    if !(1..=MOST).contains(&limit) {
        return Err(Problem::bad_request("bad_query", format!("limit must be 1 to {MOST}.")));
    }
    let known = |word: &str| {
        let unknown = || Problem::bad_request("bad_query", "state is waiting, delivered or parked.");
        DeliveryState::of(word).ok_or_else(unknown)
    };
    let state = state.as_deref().map(known).transpose()?;
    let filter = DeliveryFilter { webhook, state, before };
    // One more than asked for tells whether there is a next page.
    let mut rows = op.parts.ledger.deliveries(filter, limit + 1).await.map_err(ledger_fault)?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next_before = more.then(|| rows.last().map(|row| row.id)).flatten();
    let shown: Vec<Value> = rows.iter().map(delivery).collect();
    Ok(Json(json!({ "deliveries": shown, "next_before": next_before })))
}

/// `POST /api/v1/deliveries/{id}/redeliver`.
pub(super) async fn redeliver(
    _: MayAdmin,
    State(op): State<Arc<Operator>>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    op.parts.webhooks.redeliver(delivery_id(&id)?).await.map_err(webhook_problem)?;
    Ok(StatusCode::ACCEPTED)
}

/// What is no number names nothing.
fn endpoint_id(text: &str) -> Result<i64, Problem> {
    text.parse().map_err(|_| webhook_problem(WebhookError::Unknown))
}

fn delivery_id(text: &str) -> Result<i64, Problem> {
    text.parse().map_err(|_| webhook_problem(WebhookError::UnknownDelivery))
}

fn endpoint(row: &WebhookRow) -> Value {
    json!({
        "id": row.id,
        "url": row.url,
        "label": row.label,
        "topics": row.topics.split_whitespace().collect::<Vec<_>>(),
        "allow_private": row.allow_private,
        "created_at": row.created_at,
        "disabled_at": row.disabled.as_ref().map(|(at, _)| at),
        "disabled_why": row.disabled.as_ref().map(|(_, why)| why),
        "waiting": row.waiting,
        "parked": row.parked,
    })
}

fn delivery(row: &DeliveryRow) -> Value {
    let waits = row.state == DeliveryState::Waiting;
    json!({
        "id": row.id,
        "webhook": row.webhook,
        "event": row.event,
        "topic": row.topic,
        "state": row.state.as_str(),
        "attempts": row.attempts,
        "next_at": waits.then_some(row.next_at),
        "last_status": row.last_status,
        "last_error": row.last_error,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
    })
}
