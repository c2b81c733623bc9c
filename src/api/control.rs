//! Coins and channels: a fresh address, open, close. The results come as events.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{bad_body, bad_query};
use crate::ports::{CloseHow, NodeFault, OpenAsk};
use crate::types::Msat;
use crate::web::{MayAdmin, Operator, Problem};

/// `POST /api/v1/onchain/address`.
pub(super) async fn new_address(
    _: MayAdmin,
    State(op): State<Arc<Operator>>,
) -> Result<Json<Value>, Problem> {
    let address = op.parts.control.new_address().await.map_err(refused)?;
    Ok(Json(json!({ "address": address })))
}

/// What `POST /api/v1/channels` takes.
#[derive(Debug, Deserialize)]
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
pub(super) async fn open_channel(
    _: MayAdmin,
    State(op): State<Arc<Operator>>,
    body: Result<Json<Open>, JsonRejection>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let Json(Open { peer, address, amount_sat, push_msat, announce }) = body.map_err(bad_body)?;
    let value = Msat::from_sat(amount_sat)
        .map_err(|error| Problem::bad_request("bad_amount", format!("amount_sat: {error}.")))?;
    if push_msat >= value {
        return Err(Problem::bad_request("bad_amount", "push_msat must be less than the channel's value."));
    }
    let ask = OpenAsk { peer, address, amount_sat, push: push_msat, announce };
    op.parts.control.open_channel(ask).await.map_err(refused)?;
    Ok((StatusCode::ACCEPTED, Json(json!({ "status": "opening" }))))
}

/// What `DELETE /api/v1/channels/{id}` takes in its query.
#[derive(Debug, Deserialize)]
pub(super) struct Close {
    #[serde(default)]
    force: bool,
}

/// `DELETE /api/v1/channels/{id}`, `?force=true` without the peer's consent.
pub(super) async fn close_channel(
    _: MayAdmin,
    State(op): State<Arc<Operator>>,
    Path(channel_id): Path<String>,
    query: Result<Query<Close>, QueryRejection>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let Query(close) = query.map_err(bad_query)?;
    let how = if close.force { CloseHow::Force } else { CloseHow::Cooperative };
    op.parts.control.close_channel(&channel_id, how).await.map_err(refused)?;
    Ok((StatusCode::ACCEPTED, Json(json!({ "status": "closing" }))))
}

/// The node said no. Its words are for the operator, who is the one that asks here.
fn refused(fault: NodeFault) -> Problem {
    tracing::warn!(%fault, "the node refused what the admin API asked");
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "node_refused", format!("The node refused: {fault}."))
}
