//! `/api/v1/webhooks`: endpoints that hear of what happens, and the log of what was delivered to them.
//!
//! An endpoint's secret is shown in the answer that makes it and never again. A test says no more of the
//! endpoint's answer than its status.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::response::NoContent;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::answer::{Created, Path, Taken};
use super::{bad_body, bad_query, label, ledger_fault};
use crate::egress::Reach;
use crate::store::{DeliveryFilter, DeliveryRow, DeliveryState, WebhookRow};
use crate::types::Timestamp;
use crate::web::{MayAdmin, MayRead, MaySpend, Operator, Problem, Rows, webhook_problem};
use crate::webhooks::{WebhookAsk, WebhookError, topics};

/// What `POST /api/v1/webhooks` takes.
#[derive(Debug, Deserialize, JsonSchema)]
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
    _: MaySpend,
    State(op): State<Arc<Operator>>,
    body: Result<Json<Add>, JsonRejection>,
) -> Result<Created<Made>, Problem> {
    let Json(Add { url, label: text, topics, allow_private }) = body.map_err(bad_body)?;
    let label = label(&text)?.to_owned();
    let ask = WebhookAsk { url, topics: topics.clone(), label, reach: Reach::allowing(allow_private) };
    let (id, secret) = op.parts.webhooks.add(ask).await.map_err(webhook_problem)?;
    Ok(Created(Made { id, topics, secret: secret.text().as_str().to_owned() }))
}

/// An endpoint that was made.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "WebhookMade")]
pub(super) struct Made {
    id: i64,
    /// What it hears of; empty is all.
    topics: Vec<String>,
    /// Signs its messages. It is shown in this answer and never again.
    secret: String,
}

/// The endpoints, and all that they may hear of.
#[derive(Serialize, JsonSchema)]
pub(super) struct WebhookList {
    webhooks: Vec<Endpoint>,
    topics: Vec<&'static str>,
}

/// `GET /api/v1/webhooks`.
pub(super) async fn list(_: MayRead, State(op): State<Arc<Operator>>) -> Result<Json<WebhookList>, Problem> {
    let rows = op.parts.ledger.webhooks().await.map_err(ledger_fault)?;
    let webhooks = rows.into_iter().map(Endpoint::from).collect();
    Ok(Json(WebhookList { webhooks, topics: topics().collect() }))
}

/// `DELETE /api/v1/webhooks/{id}`.
pub(super) async fn remove(
    _: MaySpend,
    State(op): State<Arc<Operator>>,
    Path(id): Path<String>,
) -> Result<NoContent, Problem> {
    op.parts.webhooks.remove(endpoint_id(&id)?).await.map_err(webhook_problem)?;
    Ok(NoContent)
}

/// `POST /api/v1/webhooks/{id}/enable`.
pub(super) async fn enable(
    _: MaySpend,
    State(op): State<Arc<Operator>>,
    Path(id): Path<String>,
) -> Result<NoContent, Problem> {
    op.parts.webhooks.enable(endpoint_id(&id)?).await.map_err(webhook_problem)?;
    Ok(NoContent)
}

/// `POST /api/v1/webhooks/{id}/disable`.
pub(super) async fn disable(
    _: MaySpend,
    State(op): State<Arc<Operator>>,
    Path(id): Path<String>,
) -> Result<NoContent, Problem> {
    op.parts.webhooks.disable(endpoint_id(&id)?).await.map_err(webhook_problem)?;
    Ok(NoContent)
}

/// `POST /api/v1/webhooks/{id}/test`: sends a message of the type `webhook.test` and says how it went.
pub(super) async fn test(
    _: MayAdmin,
    State(op): State<Arc<Operator>>,
    Path(id): Path<String>,
) -> Result<Json<Tested>, Problem> {
    let tested = op.parts.webhooks.test(endpoint_id(&id)?).await.map_err(webhook_problem)?;
    Ok(Json(Tested {
        delivered: tested.error.is_none(),
        status: tested.status.map(|status| status.as_u16()),
        error: tested.error,
        took_ms: u64::try_from(tested.took.as_millis()).unwrap_or(u64::MAX),
    }))
}

/// How a test message fared.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "WebhookTested")]
pub(super) struct Tested {
    delivered: bool,
    /// What the endpoint answered.
    status: Option<u16>,
    error: Option<String>,
    took_ms: u64,
}

/// Which page of the delivery log.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Page {
    #[serde(default)]
    limit: Rows,
    before: Option<i64>,
    webhook: Option<i64>,
    state: Option<String>,
}

/// Deliveries, newest first.
#[derive(Serialize, JsonSchema)]
pub(super) struct Deliveries {
    deliveries: Vec<Delivery>,
    next_before: Option<i64>,
}

/// `GET /api/v1/deliveries`: the delivery log, newest first; `next_before` goes into the next question.
pub(super) async fn deliveries(
    _: MayRead,
    State(op): State<Arc<Operator>>,
    query: Result<Query<Page>, QueryRejection>,
) -> Result<Json<Deliveries>, Problem> {
    let Query(Page { limit, before, webhook, state }) = query.map_err(bad_query)?;
    let known = |word: &str| {
        let unknown = || Problem::bad_request("bad_query", "state is waiting, delivered or parked.");
        DeliveryState::of(word).ok_or_else(unknown)
    };
    let state = state.as_deref().map(known).transpose()?;
    let filter = DeliveryFilter { webhook, state, before };
    let mut rows = op.parts.ledger.deliveries(filter, limit.to_read()).await.map_err(ledger_fault)?;
    let next_before = limit.page(&mut rows, |row| row.id);
    Ok(Json(Deliveries { deliveries: rows.into_iter().map(Delivery::from).collect(), next_before }))
}

/// `POST /api/v1/deliveries/{id}/redeliver`.
pub(super) async fn redeliver(
    _: MayAdmin,
    State(op): State<Arc<Operator>>,
    Path(id): Path<String>,
) -> Result<Taken, Problem> {
    op.parts.webhooks.redeliver(delivery_id(&id)?).await.map_err(webhook_problem)?;
    Ok(Taken)
}

/// What is no number names nothing.
fn endpoint_id(text: &str) -> Result<i64, Problem> {
    text.parse().map_err(|_| webhook_problem(WebhookError::Unknown))
}

fn delivery_id(text: &str) -> Result<i64, Problem> {
    text.parse().map_err(|_| webhook_problem(WebhookError::UnknownDelivery))
}

/// An endpoint.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Webhook")]
struct Endpoint {
    id: i64,
    url: String,
    label: String,
    /// What it hears of; empty is all.
    topics: Vec<String>,
    allow_private: bool,
    created_at: Timestamp,
    disabled_at: Option<Timestamp>,
    disabled_why: Option<String>,
    /// Deliveries that wait.
    waiting: u64,
    /// Deliveries whose tries are used up.
    parked: u64,
}

impl From<WebhookRow> for Endpoint {
    fn from(row: WebhookRow) -> Endpoint {
        let (disabled_at, disabled_why) = row.disabled.unzip();
        Endpoint {
            id: row.id,
            url: row.url,
            label: row.label,
            topics: row.topics.split_whitespace().map(str::to_owned).collect(),
            allow_private: row.allow_private,
            created_at: row.created_at,
            disabled_at,
            disabled_why,
            waiting: row.waiting,
            parked: row.parked,
        }
    }
}

/// One event for one endpoint.
#[derive(Serialize, JsonSchema)]
struct Delivery {
    id: i64,
    /// The endpoint's number.
    webhook: i64,
    /// The event's number; null of a test message.
    event: Option<i64>,
    topic: String,
    /// `waiting`, `delivered` or `parked`.
    state: &'static str,
    attempts: u32,
    /// When it is tried next, while it waits.
    next_at: Option<Timestamp>,
    last_status: Option<u16>,
    last_error: Option<String>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl From<DeliveryRow> for Delivery {
    fn from(row: DeliveryRow) -> Delivery {
        Delivery {
            id: row.id,
            webhook: row.webhook,
            event: row.event,
            topic: row.topic,
            state: row.state.as_str(),
            attempts: row.attempts,
            next_at: (row.state == DeliveryState::Waiting).then_some(row.next_at),
            last_status: row.last_status,
            last_error: row.last_error,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}
