//! `POST /api/v1/password`: another password for the operator's pages.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::response::NoContent;
use schemars::JsonSchema;
use serde::Deserialize;

use super::answer::OwnSession;
use super::unlock::unreadable;
use crate::secrets::Passphrase;
use crate::web::password::Password;
use crate::web::{Caller, MayAdmin, Operator, Problem};

/// What `POST /api/v1/password` takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    /// The one that is set.
    current: Passphrase,
    /// The one that is set from now on: 12 characters at least.
    new: Passphrase,
}

/// `POST /api/v1/password`: every other session ends; keys stay as they are.
pub(super) async fn change(
    MayAdmin(caller): MayAdmin,
    State(op): State<Arc<Operator>>,
    OwnSession(own): OwnSession,
    body: Result<Json<Change>, JsonRejection>,
) -> Result<NoContent, Problem> {
    let Json(Change { current, new }) = body.map_err(unreadable)?;
    let own = own.filter(|_| matches!(caller, Caller::Session(_)));
    op.change_password(&caller, own.as_ref(), Password::new(current.text()), Password::new(new.text()))
        .await?;
    Ok(NoContent)
}
