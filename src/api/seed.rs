//! `/api/v1/seed`: how the seed is kept, its words until somebody proved to have them, that proof, and the
//! passphrase. What is sent and answered here is said nowhere else: not in the log, not in an event.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Query, State};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bad_query;
use super::unlock::unreadable;
use crate::secrets::{KeyFiles, Passphrase, Seed};
use crate::types::Timestamp;
use crate::web::{MayAdmin, MayRead, MaySpend, Operator, Problem, seed_problem};

/// `GET /api/v1/seed`.
pub(super) async fn status(_: MayRead, State(op): State<Arc<Operator>>) -> Json<SeedStatus> {
    Json(told(op.seed.seed()))
}

/// What `POST /api/v1/seed/words` takes.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Show {
    again: bool,
    passphrase: Option<Passphrase>,
}

/// `POST /api/v1/seed/words`: the words, once; `again` until they were verified, with the passphrase.
pub(super) async fn words(
    _: MaySpend,
    State(op): State<Arc<Operator>>,
    body: Result<Json<Show>, JsonRejection>,
) -> Result<Json<Words>, Problem> {
    let Json(Show { again, passphrase }) = body.map_err(unreadable)?;
    let words = op.seed_words(again.then_some(passphrase)).await.map_err(seed_problem)?;
    Ok(Json(Words { words: words.split(' ').map(str::to_owned).collect() }))
}

/// The seed words, in their order.
#[derive(Serialize, JsonSchema)]
pub(super) struct Words {
    words: Vec<String>,
}

/// Which words to say, counted from 1.
#[derive(Serialize, JsonSchema)]
pub(super) struct Questions {
    pub(super) numbers: Vec<usize>,
}

/// `POST /api/v1/seed/questions`: which words to say, by their numbers from 1.
pub(super) async fn questions(_: MayAdmin, State(op): State<Arc<Operator>>) -> Json<Questions> {
    Json(Questions { numbers: op.seed.seed().ask(op.parts.entropy.as_ref()).to_vec() })
}

/// What `POST /api/v1/seed/verify` takes.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Answer {
    words: Vec<Word>,
}

/// A word that is wiped when it was looked at.
#[derive(Deserialize, JsonSchema)]
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
) -> Result<Json<SeedStatus>, Problem> {
    let Json(Answer { words }) = body.map_err(unreadable)?;
    op.verify_seed(words).await.map_err(seed_problem)?;
    Ok(Json(told(op.seed.seed())))
}

/// What `POST /api/v1/seed/passphrase` takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    current: Option<Passphrase>,
    /// What opens it from now on; not needed with `dry_run`.
    new: Option<Passphrase>,
    #[serde(default)]
    keep_key_file: bool,
}

/// How it is said, in the query.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Only {
    /// Only look whether `current` opens the seed.
    #[serde(default)]
    dry_run: bool,
}

/// `POST /api/v1/seed/passphrase`: what opens the seed from now on. With `?dry_run=true` only whether `current` does.
pub(super) async fn passphrase(
    _: MaySpend,
    State(op): State<Arc<Operator>>,
    only: Result<Query<Only>, QueryRejection>,
    body: Result<Json<Change>, JsonRejection>,
) -> Result<Json<SeedStatus>, Problem> {
    let Query(Only { dry_run }) = only.map_err(bad_query)?;
    let Json(Change { current, new, keep_key_file }) = body.map_err(unreadable)?;
    let Some(new) = new.filter(|_| !dry_run) else {
        if !dry_run {
            return Err(Problem::bad_request("bad_json", "Say the new passphrase."));
        }
        op.check_seed_passphrase(current).await.map_err(seed_problem)?;
        return Ok(Json(told(op.seed.seed())));
    };
    let key_files = if keep_key_file { KeyFiles::Keep } else { KeyFiles::Forget };
    op.set_seed_passphrase(current, new, key_files).await.map_err(seed_problem)?;
    Ok(Json(told(op.seed.seed())))
}

/// How the seed is kept.
#[derive(Serialize, JsonSchema)]
pub(super) struct SeedStatus {
    /// How many words it has.
    words: usize,
    /// `passphrase`, `key_file` or both.
    opens_with: Vec<&'static str>,
    /// When its words were shown.
    shown_at: Option<Timestamp>,
    /// When somebody last proved to have them.
    verified_at: Option<Timestamp>,
}

fn told(seed: &Seed) -> SeedStatus {
    let status = seed.status();
    let ways = [("passphrase", status.opens_with.passphrase), ("key_file", status.opens_with.key_file)];
    SeedStatus {
        words: seed.word_count(),
        opens_with: ways.into_iter().filter(|way| way.1).map(|way| way.0).collect(),
        shown_at: status.shown_at,
        verified_at: status.verified_at,
    }
}
