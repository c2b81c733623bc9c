//! The page of a locked appliance: a field for the passphrase.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::extract::rejection::FormRejection;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Form, Router};
use http::{HeaderValue, StatusCode, header};
use serde::Deserialize;

use super::figures::network_word;
use super::{first_seed, html};
use crate::secrets::Passphrase;
use crate::web::locked::{Door, StillLocked};

#[derive(Template)]
#[template(path = "locked.html")]
struct Page {
    network: String,
    takes_passphrase: bool,
    opening: bool,
    refusal: Option<String>,
}

/// The pages of a locked appliance.
pub fn locked_router() -> Router<Arc<Door>> {
    Router::new()
        .route("/", get(page))
        .route("/login", get(async || Redirect::to("/")))
        .route("/unlock", post(unlock))
        .route("/seed", get(first_seed::page))
        .route("/seed/new", post(first_seed::make))
        .route("/seed/words", post(first_seed::words))
        .route("/seed/ask", post(first_seed::ask))
        .route("/seed/check", post(first_seed::check))
        .route("/seed/restore", post(first_seed::restore))
}

fn asking(door: &Door, refusal: Option<String>) -> Page {
    let network = network_word(&door.network().to_string()).to_owned();
    Page { network, takes_passphrase: door.takes_passphrase(), opening: false, refusal }
}

async fn page(State(door): State<Arc<Door>>) -> Response {
    if let Some(first) = door.first_seed() {
        return first_seed::landing(&door, first);
    }
    html(StatusCode::SERVICE_UNAVAILABLE, &asking(&door, None))
}

#[derive(Debug, Deserialize)]
struct Unlock {
    passphrase: Passphrase,
}

async fn unlock(State(door): State<Arc<Door>>, form: Result<Form<Unlock>, FormRejection>) -> Response {
    let Ok(Form(Unlock { passphrase })) = form else { return Redirect::to("/").into_response() };
    let refusal = match door.unlock(passphrase).await {
        Ok(()) => {
            let page = Page { opening: true, ..asking(&door, None) };
            return ([(header::REFRESH, "2; url=/")], html(StatusCode::OK, &page)).into_response();
        }
        Err(refusal) => refusal,
    };
    let page = asking(&door, Some(refusal.to_string()));
    let (status, wait) = match refusal {
        StillLocked::Wrong => (StatusCode::FORBIDDEN, None),
        StillLocked::Wait { secs } => (StatusCode::TOO_MANY_REQUESTS, Some(secs)),
        StillLocked::NoSeed => (StatusCode::CONFLICT, None),
        StillLocked::Busy => (StatusCode::TOO_MANY_REQUESTS, Some(1)),
        StillLocked::Broken => (StatusCode::INTERNAL_SERVER_ERROR, None),
    };
    let mut response = html(status, &page);
    if let Some(secs) = wait {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(secs));
    }
    response
}
