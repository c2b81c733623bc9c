//! `GET /api/v1/snapshot`: the channels' recovery snapshot, to be kept off the machine.

use std::sync::Arc;

use axum::extract::State;

use super::backups::{Sealed, sealed};
use crate::web::{MaySpend, Operator, Problem};

/// `GET /api/v1/snapshot`: the newest one that is in place. It is sealed; only the seed opens it.
pub(super) async fn fetch(_: MaySpend, State(op): State<Arc<Operator>>) -> Result<Sealed, Problem> {
    let (path, name) = op.newest_snapshot().await?;
    sealed(&path, &name).await.map_err(|error| {
        tracing::error!(%error, path = %path.display(), "the recovery snapshot could not be read");
        Problem::internal()
    })
}
