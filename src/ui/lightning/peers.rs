//! `/lightning/peers`: the nodes that this one is connected to or keeps calling, and how others reach it.

use askama::Template;
use axum::extract::Query;
use axum::response::{IntoResponse, Redirect, Response};
use http::StatusCode;

use super::place::Place;
use super::{Said, Tab, ways};
use crate::qr::{self, Drawn};
use crate::ui::figures::quoted;
use crate::ui::form::Fields;
use crate::ui::html;
use crate::ui::shell::{Desk, Section, Shell};

const PATH: &str = "/lightning/peers";

/// One peer.
struct Line {
    peer: String,
    peer_short: String,
    address: String,
    state: &'static str,
    dot: &'static str,
    /// There is a channel with it.
    needed: bool,
}

/// One way to reach this node.
struct Address {
    place: String,
    qr: Option<Drawn>,
}

#[derive(Template)]
#[template(path = "lightning/peers.html")]
struct Page {
    shell: Shell,
    tab: Tab,
    said: Option<&'static str>,
    refusal: Option<String>,
    node: String,
    peers: Vec<Line>,
    away: Option<String>,
    addresses: Vec<Address>,
    key: String,
    listens: bool,
}

/// `GET /lightning/peers`.
pub(super) async fn page(desk: Desk, Query(said): Query<Said>) -> Response {
    let said = match said.said.as_str() {
        "connected" => Some("Connected. The node is called again whenever the connection is lost."),
        "forgotten" => Some("Disconnected and forgotten."),
        _ => None,
    };
    shown(&desk, StatusCode::OK, said, None, "").await
}

/// `POST /lightning/peers`: connects, and keeps calling.
pub(super) async fn connect(desk: Desk, fields: Fields) -> Response {
    let node = fields.text("node");
    let place = match Place::read(node) {
        Ok(place) => place,
        Err(refusal) => return shown(&desk, StatusCode::BAD_REQUEST, None, Some(refusal), node).await,
    };
    match desk.op.parts.control.connect(&place.peer, &place.address).await {
        Ok(()) => Redirect::to(&format!("{PATH}?said=connected")).into_response(),
        Err(fault) => {
            tracing::warn!(%fault, "a peer could not be connected to");
            let refusal = format!("No connection came about: {fault}.");
            shown(&desk, StatusCode::UNPROCESSABLE_ENTITY, None, Some(refusal), node).await
        }
    }
}

/// `POST /lightning/peers/forget`: disconnects; not while a channel needs the peer.
pub(super) async fn forget(desk: Desk, fields: Fields) -> Response {
    let peer = fields.text("peer");
    let channels = desk.op.parts.node.view().await.channels;
    if channels.iter().any(|channel| channel.peer == peer) {
        let refusal = "There is a channel with that node: close it first, or it cannot be used.".to_owned();
        return shown(&desk, StatusCode::CONFLICT, None, Some(refusal), "").await;
    }
    match desk.op.parts.peers.forget(peer).await {
        Ok(()) => Redirect::to(&format!("{PATH}?said=forgotten")).into_response(),
        Err(fault) => {
            tracing::warn!(%fault, "a peer could not be forgotten");
            let refusal = format!("It was not forgotten: {fault}.");
            shown(&desk, StatusCode::UNPROCESSABLE_ENTITY, None, Some(refusal), "").await
        }
    }
}

async fn shown(
    desk: &Desk,
    status: StatusCode,
    said: Option<&'static str>,
    refusal: Option<String>,
    node: &str,
) -> Response {
    let parts = &desk.op.parts;
    let view = parts.node.view().await;
    let (mut peers, away) = match parts.peers.peers().await {
        Ok(peers) => (peers, None),
        Err(fault) => (Vec::new(), Some(format!("The node cannot be asked now: {fault}."))),
    };
    peers.sort_by_key(|peer| (!peer.connected, peer.peer.clone()));
    let line = |peer: crate::ports::PeerView| {
        let needed = view.channels.iter().any(|channel| channel.peer == peer.peer);
        let (state, dot) = match (peer.connected, peer.kept) {
            (true, _) => ("Connected", "good"),
            (false, true) => ("Away; tried again by itself", ""),
            (false, false) => ("Away", ""),
        };
        let peer_short = crate::ui::figures::shortened(&peer.peer);
        Line { peer_short, peer: peer.peer, address: peer.address, state, dot, needed }
    };
    let address = |listening: &String| {
        let place = format!("{}@{listening}", view.node_id);
        Address { qr: qr::drawn(&place), place }
    };
    let page = Page {
        shell: desk.shell(Section::Lightning).await,
        tab: Tab::Peers,
        said,
        refusal: refusal.map(|text| quoted(&text)),
        node: node.to_owned(),
        away,
        addresses: view.listening.iter().map(address).collect(),
        key: ways::address(&view),
        listens: !view.listening.is_empty(),
        peers: peers.into_iter().map(line).collect(),
    };
    html(status, &page)
}
