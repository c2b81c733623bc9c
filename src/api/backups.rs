//! `/api/v1/backups`: copies of the ledger, made, listed, opened again and fetched; and what follows a
//! restore: the ledger's lives, the tokens in doubt, and leave to send again.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use futures_util::stream;
use http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

use super::{bad_body, ledger_fault};
use crate::backup::{BackupFault, Shelved, Verified};
use crate::types::PaymentHash;
use crate::web::{MayAdmin, MayRead, Operator, Problem, backup_problem};

/// Rows of tokens in doubt.
const MOST_DOUBTS: u32 = 500;
/// Read and sent at once.
const CHUNK: usize = 64 * 1024;

/// `GET /api/v1/backups`, the newest first.
pub(super) async fn list(_: MayRead, State(op): State<Arc<Operator>>) -> Result<Json<Value>, Problem> {
    let standing = op.parts.backups.standing().await;
    let backups = op.parts.backups.list().await.map_err(backup_problem)?;
    Ok(Json(json!({
        "dir": standing.dir,
        "every_seconds": standing.every_seconds,
        "keep": standing.keep,
        "failed": standing.failed,
        "backups": backups,
    })))
}

/// `POST /api/v1/backups`: one more, now.
pub(super) async fn make(
    _: MayAdmin,
    State(op): State<Arc<Operator>>,
) -> Result<(StatusCode, Json<Shelved>), Problem> {
    // It goes on when the caller leaves.
    let backups = Arc::clone(&op.parts.backups);
    let made = op.parts.tracker.spawn(async move { backups.make().await }).await;
    let made = made.map_err(|_| Problem::internal())?.map_err(backup_problem)?;
    Ok((StatusCode::CREATED, Json(made)))
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
    _: MayAdmin,
    State(op): State<Arc<Operator>>,
    Path(file): Path<String>,
) -> Result<Response, Problem> {
    let path = op.parts.backups.path(&file).map_err(backup_problem)?;
    let failed = |error| backup_problem(BackupFault::File { path: PathBuf::from(&file), error });
    let opened = tokio::fs::File::open(path).await.map_err(failed)?;
    let bytes = opened.metadata().await.map_err(failed)?.len();
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
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{file}\"")) {
        headers.insert(CONTENT_DISPOSITION, value);
    }
    Ok(response)
}

/// `GET /api/v1/generations`: the ledger's lives, the first one first. A new one begins with a restore.
pub(super) async fn generations(_: MayRead, State(op): State<Arc<Operator>>) -> Result<Json<Value>, Problem> {
    let lives = op.parts.ledger.generations().await.map_err(ledger_fault)?;
    Ok(Json(json!({ "current": lives.last(), "generations": lives })))
}

/// `POST /api/v1/payouts/release`: coins may be sent again after a restore.
pub(super) async fn release(_: MayAdmin, State(op): State<Arc<Operator>>) -> Result<Json<Value>, Problem> {
    let released = op.parts.ledger.release_payouts().await.map_err(ledger_fault)?;
    Ok(Json(json!({ "released": released })))
}

/// `GET /api/v1/tokens/doubtful`: tokens that the restored ledger cannot prove and that were presented or
/// honoured.
pub(super) async fn doubtful(_: MayRead, State(op): State<Arc<Operator>>) -> Result<Json<Value>, Problem> {
    let ledger = &op.parts.ledger;
    ledger.barrier().await;
    let life = ledger.generation().await.map_err(ledger_fault)?;
    let tokens = ledger.doubts(MOST_DOUBTS).await.map_err(ledger_fault)?;
    Ok(Json(json!({
        "generation": life.generation,
        "below_epoch": life.doubtful_below_epoch,
        "since": life.begun_at,
        "tokens": tokens,
    })))
}

/// What `POST /api/v1/tokens/honour` takes: one payment's token, or all.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Honour {
    payment_hash: Option<PaymentHash>,
    #[serde(default)]
    all: bool,
}

/// `POST /api/v1/tokens/honour`.
pub(super) async fn honour(
    _: MayAdmin,
    State(op): State<Arc<Operator>>,
    body: Result<Json<Honour>, JsonRejection>,
) -> Result<Json<Value>, Problem> {
    let Json(ask) = body.map_err(bad_body)?;
    let ledger = &op.parts.ledger;
    let honoured = match (ask.payment_hash, ask.all) {
        (Some(hash), false) => {
            let doubts = ledger.doubts(MOST_DOUBTS).await.map_err(ledger_fault)?;
            if doubts.iter().any(|doubt| doubt.payment_hash == hash && doubt.given_after) {
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
    Ok(Json(json!({ "honoured": honoured.map_err(ledger_fault)? })))
}
