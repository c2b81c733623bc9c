//! The pages of an appliance that has no seed yet: make one, or bring one back from its words.

use std::sync::Arc;

use askama::Template;
use axum::Form;
use axum::extract::rejection::{FormRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::{StatusCode, header};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::figures::network_word;
use super::html;
use crate::secrets::{ASKED_WORDS, Passphrase, SHORTEST_PASSPHRASE, WordCount};
use crate::web::first_seed::{FirstSeed, NotMade};
use crate::web::locked::Door;

/// What is asked.
enum Ask {
    /// The link is not there: how to come by it.
    Link,
    /// New words, or old ones.
    /// `restoring`: the old ones were refused.
    Choose { token: String, made: bool, restoring: bool },
    /// That the words are written down.
    Write { token: String, words: Zeroizing<String> },
    /// Three of them.
    Check { token: String, numbers: [usize; ASKED_WORDS] },
    /// Nothing: it starts.
    Open { next: String },
}

#[derive(Template)]
#[template(path = "first_seed.html")]
struct Page {
    network: String,
    asks_passphrase: bool,
    shortest: usize,
    refusal: Option<String>,
    ask: Ask,
}

fn shown(door: &Door, first: &FirstSeed, status: StatusCode, ask: Ask, refusal: Option<String>) -> Response {
    let page = Page {
        network: network_word(&door.network().to_string()).to_owned(),
        asks_passphrase: first.asks_passphrase(),
        shortest: SHORTEST_PASSPHRASE,
        refusal,
        ask,
    };
    html(status, &page)
}

/// What the link carries.
#[derive(Deserialize)]
pub(super) struct Link {
    #[serde(default)]
    token: String,
}

/// `GET /` of an appliance without a seed.
pub(super) fn landing(door: &Door, first: &FirstSeed) -> Response {
    shown(door, first, StatusCode::SERVICE_UNAVAILABLE, Ask::Link, None)
}

/// `GET /seed?token=…`.
pub(super) async fn page(
    State(door): State<Arc<Door>>,
    query: Result<Query<Link>, QueryRejection>,
) -> Response {
    let (Some(first), Ok(Query(Link { token }))) = (door.first_seed(), query) else { return home() };
    match first.admit(&token) {
        Ok(()) => {
            let made = first.is_made();
            shown(&door, first, StatusCode::OK, Ask::Choose { token, made, restoring: false }, None)
        }
        Err(why) => shown(&door, first, StatusCode::FORBIDDEN, Ask::Link, Some(why.to_string())),
    }
}

/// What the forms send.
#[derive(Deserialize)]
pub(super) struct Sent {
    token: String,
    passphrase: Option<Passphrase>,
    again: Option<Passphrase>,
    words: Option<Passphrase>,
    first: Option<Passphrase>,
    second: Option<Passphrase>,
    third: Option<Passphrase>,
}

impl Sent {
    fn chosen(&mut self) -> Option<(Passphrase, Passphrase)> {
        self.passphrase.take().zip(self.again.take())
    }
}

type SentForm = Result<Form<Sent>, FormRejection>;

/// The form, of somebody who has the link.
fn admitted(door: &Door, form: SentForm) -> Result<(&Arc<FirstSeed>, Sent), Box<Response>> {
    let (Some(first), Ok(Form(sent))) = (door.first_seed(), form) else { return Err(Box::new(home())) };
    match first.admit(&sent.token) {
        Ok(()) => Ok((first, sent)),
        Err(why) => {
            Err(Box::new(shown(door, first, StatusCode::FORBIDDEN, Ask::Link, Some(why.to_string()))))
        }
    }
}

/// `POST /seed/new`: makes one, and shows its words.
pub(super) async fn make(State(door): State<Arc<Door>>, form: SentForm) -> Response {
    let (first, mut sent) = match admitted(&door, form) {
        Ok(admitted) => admitted,
        Err(response) => return *response,
    };
    match first.make(WordCount::default(), sent.chosen()).await {
        Ok(()) => write(&door, first, sent.token),
        Err(why) => again(&door, first, sent.token, &why),
    }
}

/// `POST /seed/words`: the words of the one that was made, until they were proved.
pub(super) async fn words(State(door): State<Arc<Door>>, form: SentForm) -> Response {
    match admitted(&door, form) {
        Ok((first, sent)) => write(&door, first, sent.token),
        Err(response) => *response,
    }
}

fn write(door: &Door, first: &FirstSeed, token: String) -> Response {
    match first.words() {
        Ok(words) => shown(door, first, StatusCode::OK, Ask::Write { token, words }, None),
        Err(why) => again(door, first, token, &why),
    }
}

/// `POST /seed/ask`: asks for three of them.
pub(super) async fn ask(State(door): State<Arc<Door>>, form: SentForm) -> Response {
    match admitted(&door, form) {
        Ok((first, sent)) => asking(&door, first, sent.token, StatusCode::OK, None),
        Err(response) => *response,
    }
}

fn asking(
    door: &Door,
    first: &FirstSeed,
    token: String,
    status: StatusCode,
    refusal: Option<String>,
) -> Response {
    match first.ask() {
        Ok(numbers) => shown(door, first, status, Ask::Check { token, numbers }, refusal),
        Err(why) => again(door, first, token, &why),
    }
}

/// `POST /seed/check`: the three words; then everything starts.
pub(super) async fn check(State(door): State<Arc<Door>>, form: SentForm) -> Response {
    let (first, sent) = match admitted(&door, form) {
        Ok(admitted) => admitted,
        Err(response) => return *response,
    };
    let words = [sent.first, sent.second, sent.third].into_iter().flatten();
    let words = words.map(|word| Zeroizing::new(word.text().to_owned())).collect();
    match first.prove(words).await {
        Ok(secrets) => {
            door.open(secrets);
            opening(&door, first)
        }
        Err(why @ NotMade::WrongWords) => {
            asking(&door, first, sent.token, StatusCode::FORBIDDEN, Some(why.to_string()))
        }
        Err(why) => again(&door, first, sent.token, &why),
    }
}

/// `POST /seed/restore`: brings one back from its words; then everything starts.
pub(super) async fn restore(State(door): State<Arc<Door>>, form: SentForm) -> Response {
    let (first, mut sent) = match admitted(&door, form) {
        Ok(admitted) => admitted,
        Err(response) => return *response,
    };
    let chosen = sent.chosen();
    let words = sent.words.take().unwrap_or_else(|| Passphrase::new(""));
    match first.restore(words.text(), chosen).await {
        Ok(secrets) => {
            door.open(secrets);
            opening(&door, first)
        }
        Err(why) => choosing(&door, first, sent.token, &why, true),
    }
}

/// It starts, and then the same link claims it.
fn opening(door: &Door, first: &FirstSeed) -> Response {
    let next = format!("/claim?token={}", first.token().text());
    let refresh = format!("3; url={next}");
    ([(header::REFRESH, refresh)], shown(door, first, StatusCode::OK, Ask::Open { next }, None))
        .into_response()
}

fn again(door: &Door, first: &FirstSeed, token: String, why: &NotMade) -> Response {
    choosing(door, first, token, why, false)
}

fn choosing(door: &Door, first: &FirstSeed, token: String, why: &NotMade, restoring: bool) -> Response {
    let status = match why {
        NotMade::NotValid(_) | NotMade::WrongWords => StatusCode::FORBIDDEN,
        NotMade::Differ | NotMade::Unfit(_) | NotMade::NotWords => StatusCode::UNPROCESSABLE_ENTITY,
        NotMade::Exists | NotMade::Nothing => StatusCode::CONFLICT,
        NotMade::Busy => StatusCode::TOO_MANY_REQUESTS,
        NotMade::Broken => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let made = first.is_made();
    let restoring = restoring && !made;
    shown(door, first, status, Ask::Choose { token, made, restoring }, Some(why.to_string()))
}

fn home() -> Response {
    Redirect::to("/").into_response()
}
