//! `/api/v1/seed`: how the seed is kept, its words until somebody proved to have them, that proof, and the
//! passphrase. What is sent and answered here is said nowhere else: not in the log, not in an event.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use serde::Deserialize;
use serde_json::{Value, json};

use super::unlock::unreadable;
use crate::secrets::{KeyFiles, Passphrase, Seed};
use crate::web::{MayAdmin, MayRead, Operator, Problem, seed_problem};

/// `GET /api/v1/seed`.
pub(super) async fn status(_: MayRead, State(op): State<Arc<Operator>>) -> Json<Value> {
    Json(told(op.seed.seed()))
}

/// What `POST /api/v1/seed/words` takes.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Show {
    again: bool,
    passphrase: Option<Passphrase>,
}

/// `POST /api/v1/seed/words`: the words, once; `again` until they were verified, with the passphrase.
pub(super) async fn words(
    _: MayAdmin,
    State(op): State<Arc<Operator>>,
    body: Result<Json<Show>, JsonRejection>,
) -> Result<Json<Value>, Problem> {
    let Json(Show { again, passphrase }) = body.map_err(unreadable)?;
    let words = op.seed_words(again.then_some(passphrase)).await.map_err(seed_problem)?;
    Ok(Json(json!({ "words": words.split(' ').collect::<Vec<_>>() })))
}

/// `POST /api/v1/seed/questions`: which words to say, by their numbers from 1.
pub(super) async fn questions(_: MayAdmin, State(op): State<Arc<Operator>>) -> Json<Value> {
    Json(json!({ "numbers": op.seed.seed().ask(op.parts.entropy.as_ref()) }))
}

/// What `POST /api/v1/seed/verify` takes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Answer {
    words: Vec<Word>,
}

/// A word that is wiped when it was looked at.
#[derive(Deserialize)]
#[serde(transparent)]
struct Word(Passphrase);

impl AsRef<str> for Word {
    fn as_ref(&self) -> &str {
        self.0.text()
    }
}

/// `POST /api/v1/seed/verify`: the words that were asked for, in their order.
pub(super) async fn verify(
    _: MayAdmin,
    State(op): State<Arc<Operator>>,
    body: Result<Json<Answer>, JsonRejection>,
) -> Result<Json<Value>, Problem> {
    let Json(Answer { words }) = body.map_err(unreadable)?;
    op.verify_seed(words).await.map_err(seed_problem)?;
    Ok(Json(told(op.seed.seed())))
}

/// What `POST /api/v1/seed/passphrase` takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    current: Option<Passphrase>,
    new: Passphrase,
    #[serde(default)]
    keep_key_file: bool,
}

/// `POST /api/v1/seed/passphrase`: what opens the seed from now on.
pub(super) async fn passphrase(
    _: MayAdmin,
    State(op): State<Arc<Operator>>,
    body: Result<Json<Change>, JsonRejection>,
) -> Result<Json<Value>, Problem> {
    let Json(Change { current, new, keep_key_file }) = body.map_err(unreadable)?;
    let key_files = if keep_key_file { KeyFiles::Keep } else { KeyFiles::Forget };
    op.set_seed_passphrase(current, new, key_files).await.map_err(seed_problem)?;
    Ok(Json(told(op.seed.seed())))
}

fn told(seed: &Seed) -> Value {
    let status = seed.status();
    let ways = [("passphrase", status.opens_with.passphrase), ("key_file", status.opens_with.key_file)];
    let ways: Vec<&str> = ways.into_iter().filter(|way| way.1).map(|way| way.0).collect();
    json!({
        "words": seed.word_count(),
        "opens_with": ways,
        "shown_at": status.shown_at,
        "verified_at": status.verified_at,
    })
}
