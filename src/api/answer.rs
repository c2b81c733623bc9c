//! What handlers take and give beside axum's own words: each type says its status, so that the description
//! of the API reads it off the signature.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Json;
use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::web::session::SessionId;
use crate::web::{Operator, Problem, cookie};

/// 201 with what was made.
pub(super) struct Created<T>(pub(super) T);

/// 202 with how it stands.
pub(super) struct Accepted<T>(pub(super) T);

/// 202 without more words.
pub(super) struct Taken;

/// 200 with plain text.
pub(super) struct Text(pub(super) String);

/// 200 with a table for spreadsheets ([`crate::web::sheet`]).
pub(super) struct Table(pub(super) Response);

impl IntoResponse for Table {
    fn into_response(self) -> Response {
        self.0
    }
}

impl IntoResponse for Text {
    fn into_response(self) -> Response {
        // A string is sent as text/plain in UTF-8.
        self.0.into_response()
    }
}

impl<T: Serialize> IntoResponse for Created<T> {
    fn into_response(self) -> Response {
        (StatusCode::CREATED, Json(self.0)).into_response()
    }
}

impl<T: Serialize> IntoResponse for Accepted<T> {
    fn into_response(self) -> Response {
        (StatusCode::ACCEPTED, Json(self.0)).into_response()
    }
}

impl IntoResponse for Taken {
    fn into_response(self) -> Response {
        StatusCode::ACCEPTED.into_response()
    }
}

/// What the address leaves open. What cannot be read names nothing: 404.
pub(super) struct Path<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Path<T>, Problem> {
        let read = axum::extract::Path::from_request_parts(parts, state).await;
        read.map(|axum::extract::Path(open)| Path(open)).map_err(|_| {
            Problem::new(StatusCode::NOT_FOUND, "not_found", "There is nothing at this address.")
        })
    }
}

/// The session that the request's cookie names, if it names one.
pub(super) struct OwnSession(pub(super) Option<SessionId>);

impl FromRequestParts<Arc<Operator>> for OwnSession {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, op: &Arc<Operator>) -> Result<OwnSession, Infallible> {
        Ok(OwnSession(cookie::presented(&op.parts.config, &parts.headers)))
    }
}

macro_rules! header {
    ($($type:ident: $name:literal, $doc:literal;)*) => {$(
        #[doc = $doc]
        pub(super) struct $type(pub(super) Option<HeaderValue>);

        impl $type {
            /// The header's name.
            pub(super) const NAME: &'static str = $name;
            /// What it is for.
            pub(super) const WHAT: &'static str = $doc;
        }

        impl<S: Sync> FromRequestParts<S> for $type {
            type Rejection = Infallible;

            async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<$type, Infallible> {
                Ok($type(parts.headers.get($name).cloned()))
            }
        }
    )*};
}
header! {
    IdempotencyKey: "idempotency-key", "Names what is asked: asked again under it, it is done once.";
    LastEventId: "last-event-id", "The id of the last event that was seen: the stream goes on after it.";
}
