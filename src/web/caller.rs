//! Who asks, and whether they may: a session's cookie or a bearer key with the scope.
//!
//! A request that carries `Authorization` is judged by it alone, never by a cookie beside it.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Redirect, Response};
use http::request::Parts;
use http::{HeaderMap, StatusCode, header};
use tokio_util::sync::CancellationToken;

use super::keys::{self, Scope};
use super::{Operator, Problem, cookie};

/// Who asks.
#[derive(Clone, Debug)]
pub enum Caller {
    /// The operator's browser; the token tells when the session ends.
    Session(CancellationToken),
    /// A program, by the hash of its key.
    Key([u8; 32]),
}

impl Caller {
    /// The caller, if they may do what `scope` covers.
    ///
    /// # Errors
    /// 401 without a live session or key, 403 when the key's scopes do not reach.
    async fn admit(op: &Operator, headers: &HeaderMap, scope: Scope) -> Result<Caller, Problem> {
        let Some(value) = headers.get(header::AUTHORIZATION) else {
            return session(op, headers)
                .map(Caller::Session)
                .ok_or_else(|| unauthenticated("Log in, or send an API key in Authorization: Bearer."));
        };
        let text = value.to_str().unwrap_or_default();
        let (scheme, key) = text.split_once(' ').unwrap_or((text, ""));
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(unauthenticated("Only the scheme Bearer is understood here."));
        }
        let caller = Caller::Key(keys::hash(key.trim()));
        caller.still_may(op, scope).await.map(|()| caller)
    }

    /// Whether the caller still may, for a stream that outlives its first answer.
    ///
    /// # Errors
    /// As for a fresh request.
    pub async fn still_may(&self, op: &Operator, scope: Scope) -> Result<(), Problem> {
        let hash = match self {
            Caller::Session(ended) if ended.is_cancelled() => {
                return Err(unauthenticated("The session ended."));
            }
            Caller::Session(_) => return Ok(()),
            Caller::Key(hash) => *hash,
        };
        let known = op.parts.ledger.api_key(hash).await.map_err(|error| {
            tracing::error!(%error, "an API key could not be looked up");
            Problem::internal()
        })?;
        match known {
            None => Err(unauthenticated("No such API key, or it was revoked.")),
            Some(row) if scope.allowed_by(&row.scopes) => Ok(()),
            Some(_) => Err(Problem::new(
                StatusCode::FORBIDDEN,
                "missing_scope",
                format!("This API key does not have the scope `{}`.", scope.word()),
            )),
        }
    }
}

fn unauthenticated(detail: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail)
}

/// The live session that the request's cookie names.
fn session(op: &Operator, headers: &HeaderMap) -> Option<CancellationToken> {
    cookie::presented(&op.parts.config, headers).and_then(|id| op.sessions.touch(&id))
}

macro_rules! may {
    ($name:ident, $scope:expr, $doc:literal) => {
        #[doc = $doc]
        #[derive(Clone, Debug)]
        pub struct $name(pub Caller);

        impl FromRequestParts<Arc<Operator>> for $name {
            type Rejection = Problem;

            async fn from_request_parts(parts: &mut Parts, op: &Arc<Operator>) -> Result<Self, Problem> {
                Caller::admit(op, &parts.headers, $scope).await.map($name)
            }
        }
    };
}
may!(MayRead, Scope::Read, "Proof that the caller may read.");
may!(MayPay, Scope::Pay, "Proof that the caller may pay.");
may!(MayAdmin, Scope::Admin, "Proof that the caller may move coins and channels.");
may!(MayIntegrate, Scope::Integrate, "Proof that the caller may sell and settle for an application.");

/// Proof that a person is logged in; who is not is sent to the login page.
#[derive(Clone, Copy, Debug)]
pub struct LoggedIn;

impl FromRequestParts<Arc<Operator>> for LoggedIn {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, op: &Arc<Operator>) -> Result<LoggedIn, Response> {
        match session(op, &parts.headers) {
            Some(_) => Ok(LoggedIn),
            None => Err(Redirect::to("/login").into_response()),
        }
    }
}
