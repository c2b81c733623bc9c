//! `/api/v1/peers`: the nodes that we are connected to or keep calling.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::bad_body;
use crate::web::{MayAdmin, MayRead, Operator, Problem, node_fault};

/// `GET /api/v1/peers`.
pub(super) async fn list(_: MayRead, State(op): State<Arc<Operator>>) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "peers": op.parts.peers.peers().await.map_err(node_fault)? })))
}

/// What `POST /api/v1/peers` takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Connect {
    peer: String,
    address: String,
}

/// `POST /api/v1/peers`: connects, and keeps calling.
pub(super) async fn connect(
    _: MayAdmin,
    State(op): State<Arc<Operator>>,
    body: Result<Json<Connect>, JsonRejection>,
) -> Result<Json<Value>, Problem> {
    let Json(Connect { peer, address }) = body.map_err(bad_body)?;
    op.parts.control.connect(&peer, &address).await.map_err(node_fault)?;
    Ok(Json(json!({ "peer": peer, "address": address, "connected": true })))
}

/// `DELETE /api/v1/peers/{peer}`: disconnects and forgets; not while a channel needs the peer.
pub(super) async fn forget(
    _: MayAdmin,
    State(op): State<Arc<Operator>>,
    Path(peer): Path<String>,
) -> Result<StatusCode, Problem> {
    let channels = op.parts.node.view().await.channels;
    if channels.iter().any(|channel| channel.peer == peer) {
        let detail = "There is a channel with that peer: close it first, or it cannot be used.";
        return Err(Problem::new(StatusCode::CONFLICT, "peer_has_channel", detail));
    }
    op.parts.peers.forget(&peer).await.map_err(node_fault)?;
    Ok(StatusCode::NO_CONTENT)
}
