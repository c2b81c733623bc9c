//! The doors: claim with the one-time link, log in, log out.

use std::sync::Arc;

use askama::Template;
use axum::Form;
use axum::extract::rejection::{FormRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;

use super::{fault, html};
use crate::web::claim::{self, ClaimError};
use crate::web::password::{Denied, Password};
use crate::web::{Landing, Operator, cookie};

/// What a door asks for.
enum Ask {
    Login(Back),
    Claim(String),
    Nothing,
}

/// Where a login leads.
#[derive(Default, Deserialize)]
pub(super) struct Back {
    /// The page that was asked for, as a stranger may have written it.
    #[serde(default)]
    to: String,
    /// A form was sent without a session: nothing was done.
    #[serde(default)]
    undone: String,
}

impl Back {
    /// The page to land on.
    fn landing(&self) -> Option<Landing> {
        Landing::read(&self.to)
    }

    /// The same, as the form carries it; empty for Home.
    fn carried(&self) -> String {
        self.landing().map(|landing| landing.as_str().to_owned()).unwrap_or_default()
    }

    fn is_undone(&self) -> bool {
        !self.undone.is_empty()
    }
}

/// One door.
#[derive(Template)]
#[template(path = "entry.html")]
struct Entry {
    title: &'static str,
    refusal: Option<String>,
    ask: Ask,
    text: &'static str,
    way: Option<(&'static str, &'static str)>,
}

impl Entry {
    fn asking(title: &'static str, ask: Ask, refusal: Option<String>) -> Entry {
        Entry { title, refusal, ask, text: "", way: None }
    }

    fn saying(title: &'static str, text: &'static str, way: Option<(&'static str, &'static str)>) -> Entry {
        Entry { title, refusal: None, ask: Ask::Nothing, text, way }
    }
}

/// `GET /login?to&undone`.
pub(super) async fn login_page(
    State(op): State<Arc<Operator>>,
    back: Result<Query<Back>, QueryRejection>,
) -> Response {
    let back = back.map(|Query(back)| back).unwrap_or_default();
    match claim::stored_password(&op).await {
        Ok(Some(_)) => html(StatusCode::OK, &Entry::asking("Log in", Ask::Login(back), None)),
        Ok(None) => html(StatusCode::OK, &unclaimed()),
        Err(error) => fault(&error),
    }
}

/// What the login form sends.
#[derive(Deserialize)]
pub(super) struct Login {
    password: Password,
    #[serde(default)]
    to: String,
}

/// `POST /login`: a right password opens a session with a new id, on the page that was asked for.
pub(super) async fn login(
    State(op): State<Arc<Operator>>,
    headers: HeaderMap,
    form: Result<Form<Login>, FormRejection>,
) -> Response {
    let Ok(Form(Login { password, to })) = form else { return incomplete() };
    let back = Back { to, undone: String::new() };
    let stored = match claim::stored_password(&op).await {
        Ok(Some(stored)) => stored,
        Ok(None) => return html(StatusCode::FORBIDDEN, &unclaimed()),
        Err(error) => return fault(&error),
    };
    match op.passwords.check(password, stored).await {
        Ok(()) => open_session(&op, &headers, back.landing().as_ref().map_or("/", Landing::as_str)),
        Err(denied) => refuse_login(denied, back),
    }
}

/// `POST /logout`.
pub(super) async fn logout(State(op): State<Arc<Operator>>, headers: HeaderMap) -> Response {
    if let Some(id) = cookie::presented(&op.parts.config, &headers) {
        op.sessions.end(&id);
    }
    ([(header::SET_COOKIE, cookie::clear(&op.parts.config))], Redirect::to("/login")).into_response()
}

/// What the claim link carries.
#[derive(Deserialize)]
pub(super) struct Link {
    #[serde(default)]
    token: String,
}

/// `GET /claim?token=…`: looking does not use the link up.
pub(super) async fn claim_page(
    State(op): State<Arc<Operator>>,
    query: Result<Query<Link>, QueryRejection>,
) -> Response {
    let Ok(Query(Link { token })) = query else { return incomplete() };
    match claim::look(&op, &token).await {
        Ok(()) => html(StatusCode::OK, &Entry::asking("Claim this Tollhouse", Ask::Claim(token), None)),
        Err(error) => refuse_claim(error, token),
    }
}

/// What the claim form sends.
#[derive(Deserialize)]
pub(super) struct Claim {
    token: String,
    password: Password,
    again: Password,
}

/// `POST /claim`: sets the password, uses the link up, and opens the first session.
pub(super) async fn claim(
    State(op): State<Arc<Operator>>,
    headers: HeaderMap,
    form: Result<Form<Claim>, FormRejection>,
) -> Response {
    let Ok(Form(Claim { token, password, again })) = form else { return incomplete() };
    match claim::take(&op, &token, password, &again).await {
        Ok(()) => open_session(&op, &headers, "/start"),
        Err(error) => refuse_claim(error, token),
    }
}

/// The page for what the ledger or the disk could not do.
pub(super) fn failure() -> Response {
    let text = "Tollhouse could not read or write its ledger. Its log says why. If something was to be paid or sent, \
                look under Activity whether it was done before you do it again.";
    html(
        StatusCode::INTERNAL_SERVER_ERROR,
        &Entry::saying("Something is wrong", text, Some(("/", "Try again"))),
    )
}

fn open_session(op: &Operator, headers: &HeaderMap, to: &str) -> Response {
    let old = cookie::presented(&op.parts.config, headers);
    let id = op.sessions.open(op.parts.entropy.as_ref(), old.as_ref());
    ([(header::SET_COOKIE, cookie::set(&op.parts.config, &id))], Redirect::to(to)).into_response()
}

fn refuse_login(denied: Denied, back: Back) -> Response {
    let (status, wait) = refusal_status(denied);
    let mut response = html(status, &Entry::asking("Log in", Ask::Login(back), Some(denied.to_string())));
    if let Some(secs) = wait {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(secs));
    }
    response
}

fn refusal_status(denied: Denied) -> (StatusCode, Option<u64>) {
    match denied {
        Denied::Wrong => (StatusCode::FORBIDDEN, None),
        Denied::Wait { secs } => (StatusCode::TOO_MANY_REQUESTS, Some(secs)),
        Denied::Busy => (StatusCode::TOO_MANY_REQUESTS, Some(1)),
        Denied::Broken => (StatusCode::INTERNAL_SERVER_ERROR, None),
    }
}

fn refuse_claim(error: ClaimError, token: String) -> Response {
    let again = |status, error: &ClaimError| {
        let refusal = Some(error.to_string());
        html(status, &Entry::asking("Claim this Tollhouse", Ask::Claim(token), refusal))
    };
    match &error {
        ClaimError::NotValid => {
            let text = "It works once, and a new start of an unclaimed Tollhouse makes a new one. If you set \
                        the password already, log in. If someone else did, stop Tollhouse now.";
            let page =
                Entry::saying("This link is used up or not complete", text, Some(("/login", "Log in")));
            html(StatusCode::FORBIDDEN, &page)
        }
        ClaimError::Differ | ClaimError::Unfit(_) => again(StatusCode::UNPROCESSABLE_ENTITY, &error),
        ClaimError::Denied(denied) => again(refusal_status(*denied).0, &error),
        ClaimError::Store(cause) => fault(cause),
        ClaimError::File { .. } => {
            tracing::error!(%error, "the claim failed");
            failure()
        }
    }
}

fn unclaimed() -> Entry {
    let text = "Nobody has set a password yet. Open the one-time link that Tollhouse printed when it started; the \
                same link is in the file named claim in its data directory, which only its owner can read.";
    Entry::saying("Not claimed yet", text, None)
}

/// The page for an address that names nothing.
pub(super) fn unknown(text: &'static str) -> Response {
    html(StatusCode::NOT_FOUND, &Entry::saying("Nothing is here", text, Some(("/", "Home"))))
}

pub(super) fn incomplete() -> Response {
    let page =
        Entry::saying("That was not complete", "The form did not arrive whole.", Some(("/", "Start again")));
    html(StatusCode::BAD_REQUEST, &page)
}
