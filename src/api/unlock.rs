//! What a locked appliance answers: that it lives, that it is locked, and to the right passphrase.

use std::sync::Arc;

use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::routing::{get, post};
use axum::{Json, Router};
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{bad_body, first_seed};
use crate::secrets::Passphrase;
use crate::web::Problem;
use crate::web::locked::{Door, StillLocked};

/// The addresses of a locked appliance.
pub fn locked_router() -> Router<Arc<Door>> {
    Router::new()
        .route("/livez", get(super::health::alive))
        .route("/api/v1/status", get(status))
        .route("/api/v1/unlock", post(unlock))
        .route("/api/v1/seed/new", post(first_seed::make))
        .route("/api/v1/seed/restore", post(first_seed::restore))
        .route("/api/v1/seed/questions", post(first_seed::ask))
        .route("/api/v1/seed/verify", post(first_seed::prove))
}

/// What a locked appliance says of itself.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Locked")]
pub(super) struct Standing {
    version: &'static str,
    network: String,
    /// Always true: one that is up answers otherwise.
    locked: bool,
    /// There is a seed; without one the one-time link makes it.
    has_seed: bool,
    /// A passphrase opens it; else its key file alone does.
    takes_passphrase: bool,
}

/// `GET /api/v1/status` of one that is locked.
pub(super) async fn status(State(door): State<Arc<Door>>) -> Json<Standing> {
    Json(Standing {
        version: env!("CARGO_PKG_VERSION"),
        network: door.network().to_string(),
        locked: true,
        has_seed: door.first_seed().is_none(),
        takes_passphrase: door.takes_passphrase(),
    })
}

/// It opens: the rest of the API is there in a moment.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Opening")]
pub(super) struct Opening {
    locked: bool,
}

impl Opening {
    /// What everybody is told who opened it.
    pub(super) const fn told() -> Json<Opening> {
        Json(Opening { locked: false })
    }
}

/// What `POST /api/v1/unlock` takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Unlock {
    passphrase: Passphrase,
}

/// `POST /api/v1/unlock`: the answer comes before the rest of the API is there, a moment later.
pub(super) async fn unlock(
    State(door): State<Arc<Door>>,
    body: Result<Json<Unlock>, JsonRejection>,
) -> Result<Json<Opening>, Problem> {
    let Json(Unlock { passphrase }) = body.map_err(unreadable)?;
    door.unlock(passphrase).await.map_err(refused)?;
    Ok(Opening::told())
}

/// `POST /api/v1/unlock` of one that is not locked.
pub(super) async fn unlocked() -> Problem {
    Problem::new(StatusCode::CONFLICT, "not_locked", "It is not locked: nothing was done.")
}

/// What was sent may hold the passphrase: nothing of it is said back.
pub(super) fn unreadable(rejection: JsonRejection) -> Problem {
    match rejection {
        JsonRejection::JsonDataError(_) | JsonRejection::JsonSyntaxError(_) => {
            Problem::bad_request("bad_body", "That is not the JSON object that this takes; see the README.")
        }
        other => bad_body(other),
    }
}

fn refused(why: StillLocked) -> Problem {
    let problem = |status, code| Problem::new(status, code, why.to_string());
    match why {
        StillLocked::Wrong => problem(StatusCode::FORBIDDEN, "wrong_passphrase"),
        StillLocked::Wait { secs } => {
            problem(StatusCode::TOO_MANY_REQUESTS, "too_many_tries").retry_after(secs)
        }
        StillLocked::Busy => problem(StatusCode::TOO_MANY_REQUESTS, "busy").retry_after(1),
        StillLocked::NoSeed => problem(StatusCode::CONFLICT, "no_seed"),
        StillLocked::Broken => problem(StatusCode::INTERNAL_SERVER_ERROR, "seed_unreadable"),
    }
}
