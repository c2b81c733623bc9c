//! Home: am I earning, and can I keep earning?

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use super::live::Live;
use super::shell::{Desk, Section, Shell};
use super::{fault, html};
use crate::web::{LoggedIn, Operator};

#[derive(Template)]
#[template(path = "home.html")]
struct Home {
    shell: Shell,
    live: Live,
}

/// `GET /`.
pub(super) async fn page(desk: Desk) -> Response {
    match Live::read(&desk.op).await {
        Ok(live) => html(StatusCode::OK, &Home { shell: desk.shell(Section::Home).await, live }),
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
