//! Home: am I earning, and can I keep earning?

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use super::live::Live;
use super::{fault, html};
use crate::web::{LoggedIn, Nonce, Operator};

#[derive(Template)]
#[template(path = "home.html")]
struct Home<'a> {
    live: Live,
    nonce: Nonce,
    version: &'static str,
    gateway: &'a str,
}

/// `GET /`.
pub(super) async fn page(
    _: LoggedIn,
    State(op): State<Arc<Operator>>,
    Extension(nonce): Extension<Nonce>,
) -> Response {
    match Live::read(&op).await {
        Ok(live) => {
            let gateway = op.parts.config.gateway.as_str();
            html(StatusCode::OK, &Home { live, nonce, version: env!("CARGO_PKG_VERSION"), gateway })
        }
        Err(error) => fault(&error),
    }
}

/// `GET /live`: the part of Home that the event log moves.
pub(super) async fn part(_: LoggedIn, State(op): State<Arc<Operator>>) -> Response {
    match Live::read(&op).await {
        Ok(live) => html(StatusCode::OK, &live),
        Err(error) => fault(&error),
    }
}
