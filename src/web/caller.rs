//! Who asks, and whether they may: a session's cookie or a bearer key with the scope.
//!
//! A program's request is judged by its key alone, never by a cookie beside it.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Redirect, Response};
use http::request::Parts;
use http::{HeaderMap, StatusCode, header};

use super::hosts::own_proof;
use super::keys::{self, Scope};
use super::session::Visit;
use super::{Operator, Problem, cookie, landing};

/// Who asks.
#[derive(Clone, Debug)]
pub enum Caller {
    /// The operator's browser.
    Session(Visit),
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
            Caller::Session(visit) if visit.ended.is_cancelled() => {
                return Err(unauthenticated("The session ended."));
            }
            Caller::Session(_) => return Ok(()),
            Caller::Key(hash) => *hash,
        };
        let known = op.parts.ledger.api_key(hash, op.parts.clock.now()).await.map_err(|error| {
            tracing::error!(%error, "an API key could not be looked up");
            Problem::internal()
        })?;
        match known {
            None => Err(unauthenticated("No such API key, or it was revoked or has run out.")),
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

/// The live session that the request's cookie names. What a page's script asks for by itself, such as newer
/// numbers, is no use of it: a browser that stands open is logged out as one that was closed.
fn session(op: &Operator, headers: &HeaderMap) -> Option<Visit> {
    let id = cookie::presented(&op.parts.config, headers)?;
    let by_a_script = headers.get("sec-fetch-dest").is_some_and(|dest| dest == "empty");
    if by_a_script { op.sessions.look(&id) } else { op.sessions.touch(&id) }
}

/// Turns away a person who has not said the password lately; a key is its own proof.
fn surely(caller: Caller) -> Result<Caller, Problem> {
    match caller {
        Caller::Session(visit) if !visit.proven => Err(Problem::new(
            StatusCode::FORBIDDEN,
            "password_needed",
            "The password was last said more than five minutes ago, so nothing was done. Say it again on the page that \
             asks for this, or send an API key in Authorization: Bearer.",
        )),
        caller => Ok(caller),
    }
}

macro_rules! may {
    ($name:ident, $scope:expr, $doc:literal) => {
        may!($name, $scope, $doc, Ok);
    };
    ($name:ident, $scope:expr, $doc:literal, $and:expr) => {
        #[doc = $doc]
        #[derive(Clone, Debug)]
        pub struct $name(pub Caller);

        impl FromRequestParts<Arc<Operator>> for $name {
            type Rejection = Problem;

            async fn from_request_parts(parts: &mut Parts, op: &Arc<Operator>) -> Result<Self, Problem> {
                Caller::admit(op, &parts.headers, $scope).await.and_then($and).map($name)
            }
        }
    };
}
may!(MayRead, Scope::Read, "Proof that the caller may read.");
may!(MayPay, Scope::Pay, "Proof that the caller may pay.");
may!(MayAdmin, Scope::Admin, "Proof that the caller may change what moves no coins and hands out no secret.");
may!(MayMeter, Scope::Metrics, "Proof that the caller may read the metrics.");
may!(MayIntegrate, Scope::Integrate, "Proof that the caller may sell and settle for an application.");
may!(
    MaySpend,
    Scope::Admin,
    "Proof that the caller may do what moves coins, hands out a secret or turns earning away: a key with the scope \
     `admin`, or a person who said the password within [`super::session::STEP_UP`].",
    surely
);
may!(
    MaySend,
    Scope::Pay,
    "Proof that the caller may pay: a key with the scope `pay`, or a person who said the password lately.",
    surely
);

/// Proof that a person is logged in; who is not is sent to the login page, which leads back.
#[derive(Clone, Debug)]
pub struct LoggedIn(pub Visit);

impl FromRequestParts<Arc<Operator>> for LoggedIn {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, op: &Arc<Operator>) -> Result<LoggedIn, Response> {
        // What a program proves itself with was no reason to believe that one of our pages sent the cookie.
        let visit = if own_proof(&parts.headers) { None } else { session(op, &parts.headers) };
        visit.map(LoggedIn).ok_or_else(|| Redirect::to(&landing::login(parts)).into_response())
    }
}
