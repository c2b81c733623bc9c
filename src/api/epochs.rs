//! `/api/v1/epochs`: the tokens' master keys by epoch, and what each epoch's tokens are still good for;
//! begin a new one, retire an old one.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::answer::{Created, Path};
use super::{bad_query, ledger_fault};
use crate::event::Event;
use crate::secrets::{EpochFault, Epochs};
use crate::store::EpochSums;
use crate::types::Msat;
use crate::web::{MayRead, MaySpend, Operator, Problem};

/// `GET /api/v1/epochs`, the newest first.
pub(super) async fn list(_: MayRead, State(op): State<Arc<Operator>>) -> Result<Json<EpochList>, Problem> {
    op.parts.ledger.barrier().await;
    let sums = op.parts.ledger.epochs().await.map_err(ledger_fault)?;
    let keys = op.parts.epochs.ring().keys();
    let mut known = sums.known;
    for epoch in keys.epochs() {
        known.entry(epoch).or_default();
    }
    let state = |epoch| match epoch {
        epoch if epoch == keys.current_epoch() => "mints",
        epoch if keys.epochs().any(|one| one == epoch) => "verifies",
        _ => "retired",
    };
    let epochs = known.iter().rev().map(|(epoch, sums)| Epoch::of(*epoch, state(*epoch), sums)).collect();
    Ok(Json(EpochList { epochs, unknown_msat: sums.unknown_msat }))
}

/// The epochs, the newest first.
#[derive(Serialize, JsonSchema)]
pub(super) struct EpochList {
    epochs: Vec<Epoch>,
    /// Paid for and not presented yet, of an epoch that nobody remembers.
    unknown_msat: u64,
}

/// An epoch that began.
#[derive(Serialize, JsonSchema)]
pub(super) struct Begun {
    epoch: u32,
}

/// `POST /api/v1/epochs`: a new master key, which mints from now on. Tokens of the others stay good.
pub(super) async fn rotate(_: MaySpend, State(op): State<Arc<Operator>>) -> Result<Created<Begun>, Problem> {
    let entropy = Arc::clone(&op.parts.entropy);
    let epoch = on_disk(&op, move |epochs| epochs.rotate(entropy.as_ref())).await?;
    noted(&op, Event::EpochBegun { epoch }).await;
    Ok(Created(Begun { epoch }))
}

/// What `DELETE /api/v1/epochs/{epoch}` takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Sure {
    /// What the caller saw that it takes from those who paid; more than this is not taken.
    unearned_msat: Option<u64>,
}

/// `DELETE /api/v1/epochs/{epoch}?unearned_msat=…`: its key is destroyed, and its tokens open nothing any
/// more. Whoever asks says that they know what it takes from those who paid.
pub(super) async fn retire(
    _: MaySpend,
    State(op): State<Arc<Operator>>,
    Path(epoch): Path<u32>,
    sure: Result<Query<Sure>, QueryRejection>,
) -> Result<Json<Epoch>, Problem> {
    let Query(Sure { unearned_msat }) = sure.map_err(bad_query)?;
    op.parts.ledger.barrier().await;
    let sums = op.parts.ledger.epochs().await.map_err(ledger_fault)?;
    let was = sums.known.get(&epoch).copied().unwrap_or_default();
    let takes = was.unearned_msat();
    if unearned_msat.is_none_or(|seen| takes > seen) {
        let tokens = was.tokens.saturating_add(was.waiting);
        let detail = format!(
            "{tokens} live tokens of epoch {epoch} would open nothing any more, and {} of what was paid for them \
             is not used up. Say unearned_msat={takes} to retire it all the same.",
            amount(takes),
        );
        return Err(Problem::new(StatusCode::CONFLICT, "confirm_unearned", detail));
    }
    on_disk(&op, move |epochs| epochs.retire(epoch)).await?;
    let tokens = was.tokens.saturating_add(was.waiting);
    noted(&op, Event::EpochRetired { epoch, tokens, unearned_msat: takes }).await;
    Ok(Json(Epoch::of(epoch, "retired", &was)))
}

/// Changes the keys' file where blocking is allowed.
async fn on_disk<T: Send + 'static>(
    op: &Operator,
    change: impl FnOnce(&Epochs) -> Result<T, EpochFault> + Send + 'static,
) -> Result<T, Problem> {
    let epochs = Arc::clone(&op.parts.epochs);
    let changed = tokio::task::spawn_blocking(move || change(&epochs)).await;
    match changed {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(fault)) => Err(refused(fault)),
        Err(error) => {
            tracing::error!(%error, "the master keys could not be changed");
            Err(Problem::internal())
        }
    }
}

fn refused(fault: EpochFault) -> Problem {
    let detail = format!("Nothing changed: {fault}.");
    match fault {
        EpochFault::Unknown(_) => Problem::new(StatusCode::NOT_FOUND, "unknown_epoch", detail),
        EpochFault::Mints(_) => Problem::new(StatusCode::CONFLICT, "epoch_mints", detail),
        EpochFault::Last => Problem::new(StatusCode::CONFLICT, "no_higher_epoch", detail),
        EpochFault::File(_) | EpochFault::Keys(_) | EpochFault::Damaged => {
            tracing::error!(error = %fault, "the master keys could not be changed");
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "keys_not_changed", detail)
        }
    }
}

/// Notes in the log what was done; that it was done does not depend on it.
async fn noted(op: &Operator, event: Event) {
    if let Err(error) = op.parts.ledger.log(event).await {
        tracing::error!(%error, "a change of the master keys could not be noted");
    }
}

fn amount(msat: u64) -> String {
    Msat::new(msat).map_or_else(|_| format!("{msat} msat"), |amount| amount.to_string())
}

/// What an epoch's tokens are still good for.
#[derive(Serialize, JsonSchema)]
pub(super) struct Epoch {
    epoch: u32,
    /// `mints`, `verifies` or `retired`.
    state: &'static str,
    /// Tokens of which something is left.
    tokens: u64,
    /// Paid for and not presented yet.
    waiting: u64,
    /// What retiring it takes from those who paid.
    unearned_msat: u64,
    owed_msat: u64,
    waiting_msat: u64,
    granted_msat: u64,
}

impl Epoch {
    fn of(epoch: u32, state: &'static str, sums: &EpochSums) -> Epoch {
        Epoch {
            epoch,
            state,
            tokens: sums.tokens,
            waiting: sums.waiting,
            unearned_msat: sums.unearned_msat(),
            owed_msat: sums.owed_msat,
            waiting_msat: sums.waiting_msat,
            granted_msat: sums.granted_msat,
        }
    }
}
