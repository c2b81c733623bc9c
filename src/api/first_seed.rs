//! The seed of an appliance that has none yet: the same calls as its pages. Each takes the token of the one-time link.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::seed::Questions;
use super::unlock::{Opening, unreadable};
use crate::secrets::{Passphrase, WordCount};
use crate::web::Problem;
use crate::web::first_seed::{FirstSeed, NotMade};
use crate::web::locked::Door;

/// What `POST /api/v1/seed/new` takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Make {
    token: Passphrase,
    passphrase: Option<Passphrase>,
    /// 24 or 12.
    words: Option<u8>,
}

/// `POST /api/v1/seed/new`: the words, and the numbers of those that have to be said before it is used.
pub(super) async fn make(
    State(door): State<Arc<Door>>,
    body: Result<Json<Make>, JsonRejection>,
) -> Result<Json<Made>, Problem> {
    let Json(Make { token, passphrase, words }) = body.map_err(unreadable)?;
    let first = admitted(&door, &token)?;
    let count = match words {
        None | Some(24) => WordCount::TwentyFour,
        Some(12) => WordCount::Twelve,
        Some(_) => return Err(Problem::bad_request("bad_words", "A seed has 24 words, or 12.")),
    };
    first.make(count, passphrase.map(|said| (said.clone(), said))).await.map_err(refused)?;
    let (words, numbers) = (first.words().map_err(refused)?, first.ask().map_err(refused)?);
    Ok(Json(Made { words: words.split(' ').map(str::to_owned).collect(), numbers: numbers.to_vec() }))
}

/// A seed that was made and is not used yet.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "FirstSeed")]
pub(super) struct Made {
    /// Its words, in their order.
    words: Vec<String>,
    /// Which of them to say, counted from 1.
    numbers: Vec<usize>,
}

/// `POST /api/v1/seed/new` and `/restore` of one that has a seed.
pub(super) async fn exists() -> Problem {
    Problem::new(StatusCode::CONFLICT, "seed_exists", "There is a seed already: nothing was done.")
}

/// What `POST /api/v1/seed/restore` takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Restore {
    token: Passphrase,
    words: Passphrase,
    passphrase: Option<Passphrase>,
}

/// `POST /api/v1/seed/restore`: the answer comes before the rest of the API is there, a moment later.
pub(super) async fn restore(
    State(door): State<Arc<Door>>,
    body: Result<Json<Restore>, JsonRejection>,
) -> Result<Json<Opening>, Problem> {
    let Json(Restore { token, words, passphrase }) = body.map_err(unreadable)?;
    let first = admitted(&door, &token)?;
    let passphrase = passphrase.map(|said| (said.clone(), said));
    door.open(first.restore(words.text(), passphrase).await.map_err(refused)?);
    Ok(Opening::told())
}

/// What `POST /api/v1/seed/questions` takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Ask {
    token: Passphrase,
}

/// `POST /api/v1/seed/questions`: which words to say.
pub(super) async fn ask(
    State(door): State<Arc<Door>>,
    body: Result<Json<Ask>, JsonRejection>,
) -> Result<Json<Questions>, Problem> {
    let Json(Ask { token }) = body.map_err(unreadable)?;
    Ok(Json(Questions { numbers: admitted(&door, &token)?.ask().map_err(refused)?.to_vec() }))
}

/// What `POST /api/v1/seed/verify` takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Prove {
    token: Passphrase,
    words: Vec<Passphrase>,
}

/// `POST /api/v1/seed/verify`: the words that were asked for; then everything starts.
pub(super) async fn prove(
    State(door): State<Arc<Door>>,
    body: Result<Json<Prove>, JsonRejection>,
) -> Result<Json<Opening>, Problem> {
    let Json(Prove { token, words }) = body.map_err(unreadable)?;
    let first = admitted(&door, &token)?;
    let words = words.iter().map(|word| Zeroizing::new(word.text().to_owned())).collect();
    door.open(first.prove(words).await.map_err(refused)?);
    Ok(Opening::told())
}

fn admitted<'d>(door: &'d Door, token: &Passphrase) -> Result<&'d Arc<FirstSeed>, Problem> {
    let there = || Problem::new(StatusCode::CONFLICT, "seed_exists", "There is a seed: say its passphrase.");
    let first = door.first_seed().ok_or_else(there)?;
    first.admit(token.text()).map_err(refused)?;
    Ok(first)
}

fn refused(why: NotMade) -> Problem {
    let problem = |status, code| Problem::new(status, code, why.to_string());
    match &why {
        NotMade::NotValid(_) => problem(StatusCode::FORBIDDEN, "bad_token"),
        NotMade::Differ | NotMade::Unfit(_) => problem(StatusCode::UNPROCESSABLE_ENTITY, "unfit_passphrase"),
        NotMade::NotWords => problem(StatusCode::UNPROCESSABLE_ENTITY, "not_words"),
        NotMade::Exists => problem(StatusCode::CONFLICT, "seed_exists"),
        NotMade::Nothing => problem(StatusCode::CONFLICT, "not_asked"),
        NotMade::WrongWords => problem(StatusCode::FORBIDDEN, "wrong_words"),
        NotMade::Busy => problem(StatusCode::TOO_MANY_REQUESTS, "busy").retry_after(1),
        NotMade::Broken => Problem::internal(),
    }
}
