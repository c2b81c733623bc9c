//! `/api/v1/peers`: the nodes that we are connected to or keep calling.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::response::NoContent;
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::answer::Path;
use super::bad_body;
use crate::ports::PeerView;
use crate::web::{MayAdmin, MayRead, Operator, Problem, node_fault};

/// `GET /api/v1/peers`.
pub(super) async fn list(_: MayRead, State(op): State<Arc<Operator>>) -> Result<Json<PeerList>, Problem> {
    let suggested = op.customer().and_then(|customer| customer.place());
    Ok(Json(PeerList { peers: op.parts.peers.peers().await.map_err(node_fault)?, suggested }))
}

/// The nodes that there is to do with.
#[derive(Serialize, JsonSchema)]
pub(super) struct PeerList {
    peers: Vec<PeerView>,
    /// The sandbox's payer, `KEY@HOST:PORT`, to open a channel to; `null` where coins are worth something.
    suggested: Option<String>,
}

/// A node that is connected now, and called again when it goes away.
#[derive(Serialize, JsonSchema)]
pub(super) struct Connected {
    peer: String,
    address: String,
    connected: bool,
}

/// What `POST /api/v1/peers` takes.
#[derive(Debug, Deserialize, JsonSchema)]
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
) -> Result<Json<Connected>, Problem> {
    let Json(Connect { peer, address }) = body.map_err(bad_body)?;
    op.parts.control.connect(&peer, &address).await.map_err(node_fault)?;
    Ok(Json(Connected { peer, address, connected: true }))
}

/// `DELETE /api/v1/peers/{peer}`: disconnects and forgets; not while a channel needs the peer.
pub(super) async fn forget(
    _: MayAdmin,
    State(op): State<Arc<Operator>>,
    Path(peer): Path<String>,
) -> Result<NoContent, Problem> {
    let channels = op.parts.node.view().await.channels;
    if channels.iter().any(|channel| channel.peer == peer) {
        let detail = "There is a channel with that peer: close it first, or it cannot be used.";
        return Err(Problem::new(StatusCode::CONFLICT, "peer_has_channel", detail));
    }
    op.parts.peers.forget(&peer).await.map_err(node_fault)?;
    Ok(NoContent)
}
