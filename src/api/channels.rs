//! `/api/v1/channels`: the channels, and what changes them.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Query, State};
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::answer::{IdempotencyKey, Path};
use super::operations::{Answer, How, Operation, carry_out};
use super::{bad_body, bad_query, ledger_fault};
use crate::ports::ForwardingFees;
use crate::store::ChannelRow;
use crate::treasury::{Deed, OpenChannel};
use crate::types::Msat;
use crate::web::{MayAdmin, MayRead, MaySpend, Operator, Problem, node_fault, treasury_problem};

/// `GET /api/v1/channels`; refused while nobody can tell, for no channels would be said to be there.
pub(super) async fn list(_: MayRead, State(op): State<Arc<Operator>>) -> Result<Json<Channels>, Problem> {
    let view = op.parts.node.view().await;
    if view.running {
        let channels = op.parts.treasury.standing(&view.channels).await.map_err(ledger_fault)?;
        return Ok(Json(Channels { channels }));
    }
    let why = op.node_waits_for().await.map(|why| format!(": {why}")).unwrap_or_default();
    let detail = format!("The channels cannot be told while the Lightning node is not up{why}.");
    Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "node_not_ready", detail))
}

/// The channels that there are.
#[derive(Serialize, JsonSchema)]
pub(super) struct Channels {
    channels: Vec<OpenChannel>,
}

/// The channels that there were.
#[derive(Serialize, JsonSchema)]
pub(super) struct Closed {
    channels: Vec<ChannelRow>,
}

/// How many are listed at most.
const MOST_CLOSED: u32 = 500;

/// `GET /api/v1/channels/closed`: the records of closed channels, the last one first.
pub(super) async fn closed(_: MayRead, State(op): State<Arc<Operator>>) -> Result<Json<Closed>, Problem> {
    let rows = op.parts.treasury.closed_channels(MOST_CLOSED).await.map_err(treasury_problem)?;
    Ok(Json(Closed { channels: rows }))
}

/// One channel, open or closed.
#[derive(Serialize, JsonSchema)]
pub(super) struct Channel {
    /// As the node has it; `null` once it is closed.
    open: Option<OpenChannel>,
    /// Its record; `null` before it was seen for the first time.
    record: Option<ChannelRow>,
    /// The moves of coins that asked for it or made it, the newest first.
    operations: Vec<Operation>,
}

/// `GET /api/v1/channels/{id}`: by its id, or by our own of it.
pub(super) async fn look(
    _: MayRead,
    State(op): State<Arc<Operator>>,
    Path(channel_id): Path<String>,
) -> Result<Json<Channel>, Problem> {
    let treasury = &op.parts.treasury;
    let known = treasury.channel(&channel_id).await.map_err(treasury_problem)?;
    let known = known.ok_or_else(|| {
        Problem::new(StatusCode::NOT_FOUND, "unknown_channel", "There is and was no such channel.")
    })?;
    let rows = treasury.operations_of_channel(&known).await.map_err(treasury_problem)?;
    let operations = rows.into_iter().map(Operation::from).collect();
    let open = treasury.standing(known.open.as_slice()).await.map_err(ledger_fault)?.into_iter().next();
    Ok(Json(Channel { open, record: known.record, operations }))
}

/// What `POST /api/v1/channels` takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Open {
    peer: String,
    address: String,
    amount_sat: u64,
    #[serde(default)]
    push_msat: Msat,
    #[serde(default)]
    announce: bool,
}

/// `POST /api/v1/channels`.
pub(super) async fn open(
    _: MaySpend,
    State(op): State<Arc<Operator>>,
    how: Result<Query<How>, QueryRejection>,
    key: IdempotencyKey,
    body: Result<Json<Open>, JsonRejection>,
) -> Answer {
    let Json(Open { peer, address, amount_sat, push_msat, announce }) = body.map_err(bad_body)?;
    carry_out(
        &op,
        how.map_err(bad_query)?.0,
        key,
        Deed::OpenChannel { peer, address, amount_sat, push_msat, announce },
    )
    .await
}

/// What `DELETE /api/v1/channels/{id}` takes in its query.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Close {
    #[serde(default)]
    force: bool,
}

/// `DELETE /api/v1/channels/{id}`, by its id or by our own of it; `?force=true` without the peer's consent.
pub(super) async fn close(
    _: MaySpend,
    State(op): State<Arc<Operator>>,
    Path(channel_id): Path<String>,
    key: IdempotencyKey,
    query: Result<Query<Close>, QueryRejection>,
    how: Result<Query<How>, QueryRejection>,
) -> Answer {
    let Query(close) = query.map_err(bad_query)?;
    let channel_id = op.parts.treasury.channel_id(channel_id).await.map_err(treasury_problem)?;
    let deed =
        if close.force { Deed::ForceCloseChannel { channel_id } } else { Deed::CloseChannel { channel_id } };
    carry_out(&op, how.map_err(bad_query)?.0, key, deed).await
}

/// `PUT /api/v1/channels/{id}/fees`: what forwarding through it costs others.
pub(super) async fn set_fees(
    _: MayAdmin,
    State(op): State<Arc<Operator>>,
    Path(channel_id): Path<String>,
    body: Result<Json<ForwardingFees>, JsonRejection>,
) -> Result<Json<ForwardingFees>, Problem> {
    let Json(fees) = body.map_err(bad_body)?;
    let channel_id = op.parts.treasury.channel_id(channel_id).await.map_err(treasury_problem)?;
    op.parts.peers.set_fees(&channel_id, fees).await.map_err(node_fault)?;
    Ok(Json(fees))
}

/// What `POST /api/v1/channels/{id}/splice-in` takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct In {
    amount_sat: u64,
}

/// `POST /api/v1/channels/{id}/splice-in`.
pub(super) async fn splice_in(
    _: MaySpend,
    State(op): State<Arc<Operator>>,
    Path(channel_id): Path<String>,
    how: Result<Query<How>, QueryRejection>,
    key: IdempotencyKey,
    body: Result<Json<In>, JsonRejection>,
) -> Answer {
    let Json(In { amount_sat }) = body.map_err(bad_body)?;
    let channel_id = op.parts.treasury.channel_id(channel_id).await.map_err(treasury_problem)?;
    carry_out(&op, how.map_err(bad_query)?.0, key, Deed::SpliceIn { channel_id, amount_sat }).await
}

/// What `POST /api/v1/channels/{id}/splice-out` takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Out {
    amount_sat: u64,
    /// An address; or `vault` or `wallet`, for a fresh one of the vault or of this node's own wallet.
    address: String,
}

/// `POST /api/v1/channels/{id}/splice-out`.
pub(super) async fn splice_out(
    _: MaySpend,
    State(op): State<Arc<Operator>>,
    Path(channel_id): Path<String>,
    how: Result<Query<How>, QueryRejection>,
    key: IdempotencyKey,
    body: Result<Json<Out>, JsonRejection>,
) -> Answer {
    let Json(Out { amount_sat, address }) = body.map_err(bad_body)?;
    let channel_id = op.parts.treasury.channel_id(channel_id).await.map_err(treasury_problem)?;
    carry_out(&op, how.map_err(bad_query)?.0, key, Deed::SpliceOut { channel_id, address, amount_sat }).await
}
