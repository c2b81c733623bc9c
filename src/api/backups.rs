//! `/api/v1/backups`: copies of the ledger, made, listed, opened again and fetched; and what follows a
//! restore: the ledger's lives, the tokens in doubt, and leave to send again.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;

use super::answer::{Created, Path};
use super::document::signature::Answers;
use super::document::told::Told;
use super::{bad_body, ledger_fault};
use crate::backup::{BackupFault, Shelved, Verified};
use crate::store::{Doubt, Generation};
use crate::types::{PaymentHash, Timestamp};
use crate::web::{MayAdmin, MayRead, MaySpend, Operator, Problem, backup_problem};

/// Rows of tokens in doubt.
const MOST_DOUBTS: u32 = 500;
/// Read and sent at once.
const CHUNK: usize = 64 * 1024;

/// `GET /api/v1/backups`, the newest first.
pub(super) async fn list(_: MayRead, State(op): State<Arc<Operator>>) -> Result<Json<BackupList>, Problem> {
    let standing = op.parts.backups.standing().await;
    let backups = op.parts.backups.list().await.map_err(backup_problem)?;
    let crate::backup::Standing { dir, apart, every_seconds, keep, failed, others, .. } = standing;
    Ok(Json(BackupList { dir, apart, every_seconds, keep, failed, others, backups }))
}

/// The backups, the newest first.
#[derive(Serialize, JsonSchema)]
pub(super) struct BackupList {
    dir: Option<PathBuf>,
    /// Whether that is on another file system than the data; nothing where nobody can tell.
    apart: Option<bool>,
    every_seconds: u64,
    keep: usize,
    /// Why the last try failed, when it did.
    failed: Option<String>,
    /// Copies of other lives of the ledger, beside those that this one was brought back from; never removed.
    others: u64,
    backups: Vec<Shelved>,
}

/// `POST /api/v1/backups`: one more, now.
pub(super) async fn make(_: MayAdmin, State(op): State<Arc<Operator>>) -> Result<Created<Shelved>, Problem> {
    // It goes on when the caller leaves.
    let backups = Arc::clone(&op.parts.backups);
    let made = op.parts.tracker.spawn(async move { backups.make().await }).await;
    let made = made.map_err(|_| Problem::internal())?.map_err(backup_problem)?;
    Ok(Created(made))
}

/// `POST /api/v1/backups/{file}/verify`: opens it, and audits the ledger in it.
pub(super) async fn verify(
    _: MayAdmin,
    State(op): State<Arc<Operator>>,
    Path(file): Path<String>,
) -> Result<Json<Verified>, Problem> {
    Ok(Json(op.parts.backups.verify(&file).await.map_err(backup_problem)?))
}

/// `GET /api/v1/backups/{file}`: the file. It is sealed; only the seed opens it.
pub(super) async fn fetch(
    _: MaySpend,
    State(op): State<Arc<Operator>>,
    Path(file): Path<String>,
) -> Result<Sealed, Problem> {
    let path = op.parts.backups.path(&file).map_err(backup_problem)?;
    let failed = |error| backup_problem(BackupFault::File { path: PathBuf::from(&file), error });
    sealed(&path, &file).await.map_err(failed)
}

/// The file at `path`, to be kept as `name`.
pub(super) async fn sealed(path: &std::path::Path, name: &str) -> std::io::Result<Sealed> {
    let opened = tokio::fs::File::open(path).await?;
    let bytes = opened.metadata().await?.len();
    let chunks = stream::try_unfold(opened, |mut opened| async move {
        let mut chunk = vec![0u8; CHUNK];
        let count = opened.read(&mut chunk).await?;
        chunk.truncate(count);
        Ok::<_, std::io::Error>((count > 0).then(|| (Bytes::from(chunk), opened)))
    });
    let mut response = Response::new(Body::from_stream(chunks));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes));
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
        headers.insert(CONTENT_DISPOSITION, value);
    }
    Ok(Sealed(response))
}

/// A file that is sealed.
pub(super) struct Sealed(Response);

impl IntoResponse for Sealed {
    fn into_response(self) -> Response {
        self.0
    }
}

impl Answers for Sealed {
    fn answer(told: &mut Told<'_>) {
        told.gives_of(StatusCode::OK, "application/octet-stream", None);
    }
}

/// The ledger's lives, the first one first.
#[derive(Serialize, JsonSchema)]
pub(super) struct Generations {
    current: Option<Generation>,
    generations: Vec<Generation>,
}

/// Whether coins could not be sent before.
#[derive(Serialize, JsonSchema)]
pub(super) struct Released {
    released: bool,
}

/// Tokens that the restored ledger cannot prove.
#[derive(Serialize, JsonSchema)]
pub(super) struct Doubtful {
    generation: u64,
    /// Tokens of master keys below this epoch are in doubt; 0 when none is.
    below_epoch: u32,
    since: Timestamp,
    tokens: Vec<Doubt>,
}

/// Whether something changed.
#[derive(Serialize, JsonSchema)]
pub(super) struct Honoured {
    honoured: bool,
}

/// `GET /api/v1/generations`: the ledger's lives, the first one first. A new one begins with a restore.
pub(super) async fn generations(
    _: MayRead,
    State(op): State<Arc<Operator>>,
) -> Result<Json<Generations>, Problem> {
    let lives = op.parts.ledger.generations().await.map_err(ledger_fault)?;
    Ok(Json(Generations { current: lives.last().cloned(), generations: lives }))
}

/// `POST /api/v1/payouts/release`: coins may be sent again after a restore.
pub(super) async fn release(_: MaySpend, State(op): State<Arc<Operator>>) -> Result<Json<Released>, Problem> {
    let released = op.parts.ledger.release_payouts().await.map_err(ledger_fault)?;
    Ok(Json(Released { released }))
}

/// `GET /api/v1/tokens/doubtful`: tokens that the restored ledger cannot prove and that were presented or
/// honoured.
pub(super) async fn doubtful(_: MayRead, State(op): State<Arc<Operator>>) -> Result<Json<Doubtful>, Problem> {
    let ledger = &op.parts.ledger;
    ledger.barrier().await;
    let life = ledger.generation().await.map_err(ledger_fault)?;
    let tokens = ledger.doubts(MOST_DOUBTS).await.map_err(ledger_fault)?;
    Ok(Json(Doubtful {
        generation: life.generation,
        below_epoch: life.doubtful_below_epoch,
        since: life.begun_at,
        tokens,
    }))
}

/// What `POST /api/v1/tokens/honour` takes: one payment's token, or all.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Honour {
    payment_hash: Option<PaymentHash>,
    #[serde(default)]
    all: bool,
}

/// `POST /api/v1/tokens/honour`.
pub(super) async fn honour(
    _: MaySpend,
    State(op): State<Arc<Operator>>,
    body: Result<Json<Honour>, JsonRejection>,
) -> Result<Json<Honoured>, Problem> {
    let Json(ask) = body.map_err(bad_body)?;
    let ledger = &op.parts.ledger;
    let honoured = match (ask.payment_hash, ask.all) {
        (Some(hash), false) => {
            if ledger.is_given_after(hash).await.map_err(ledger_fault)? {
                return Err(Problem::new(
                    StatusCode::CONFLICT,
                    "not_granted",
                    "Nothing changed: this token was given away after the copy was made, so that nobody knows what \
                     may be drawn from it. Give its holder another one: tollhouse tokens grant.",
                ));
            }
            ledger.honour(hash).await
        }
        (None, true) => ledger.honour_all().await,
        _ => {
            return Err(Problem::bad_request("bad_body", "Say either a payment_hash or all=true."));
        }
    };
    Ok(Json(Honoured { honoured: honoured.map_err(ledger_fault)? }))
}
