//! The seed's words: shown once, checked by three of them, and the passphrase that opens the seed.

use askama::Template;
use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::response::{IntoResponse, Redirect, Response};
use http::StatusCode;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::Onward;
use crate::secrets::{KeyFiles, Passphrase, SHORTEST_PASSPHRASE, SeedStatus};
use crate::ui::figures::{iso, utc};
use crate::ui::form::Fields;
use crate::ui::question::NotProven;
use crate::ui::shell::{Desk, Section, Shell};
use crate::ui::{fault, html};
use crate::web::{NoAnswer, Step, seed_problem};

/// Where the words stand.
enum Stage {
    /// Nobody saw them.
    Unseen,
    /// They were shown.
    Shown { at: String, iso: String },
    /// Somebody proved to have them.
    Checked { at: String, iso: String },
}

#[derive(Template)]
#[template(path = "start/seed.html")]
struct Page {
    shell: Shell,
    onward: Onward,
    network: String,
    stage: Stage,
    count: usize,
    has_passphrase: bool,
    has_key_file: bool,
    password: bool,
    said: Option<&'static str>,
    refusal: Option<String>,
    shortest: usize,
}

#[derive(Template)]
#[template(path = "start/words.html")]
struct WordsPage {
    shell: Shell,
    words: Zeroizing<String>,
}

#[derive(Template)]
#[template(path = "start/check.html")]
struct CheckPage {
    shell: Shell,
    numbers: [usize; crate::secrets::ASKED_WORDS],
    refusal: Option<String>,
}

/// What the page may be asked to say.
#[derive(Deserialize)]
pub(in crate::ui) struct Said {
    said: Option<String>,
}

/// `GET /start/seed`.
pub(in crate::ui) async fn page(desk: Desk, query: Result<Query<Said>, QueryRejection>) -> Response {
    let said = query.ok().and_then(|Query(said)| said.said);
    let said = match said.as_deref() {
        Some("checked") => Some("You have the words. They are not shown any more: what is on paper counts."),
        Some("passphrase") => Some("From now on the new passphrase opens the seed when Tollhouse starts."),
        _ => None,
    };
    shown(&desk, StatusCode::OK, said, None).await
}

async fn shown(
    desk: &Desk,
    status: StatusCode,
    said: Option<&'static str>,
    refusal: Option<String>,
) -> Response {
    let onward = match Onward::from(desk, Step::Words).await {
        Ok(onward) => onward,
        Err(error) => return fault(&error),
    };
    let seed = desk.op.seed.seed();
    let stands = seed.status();
    let shell = desk.shell(Section::Backup).await;
    let page = Page {
        network: shell.network.clone(),
        shell,
        onward,
        stage: stage(&stands),
        count: seed.word_count(),
        has_passphrase: stands.opens_with.passphrase,
        has_key_file: stands.opens_with.key_file,
        password: !desk.proven(),
        said,
        refusal,
        shortest: SHORTEST_PASSPHRASE,
    };
    html(status, &page)
}

fn stage(stands: &SeedStatus) -> Stage {
    match (stands.verified_at, stands.shown_at) {
        (Some(at), _) => Stage::Checked { at: utc(at), iso: iso(at) },
        (None, Some(at)) => Stage::Shown { at: utc(at), iso: iso(at) },
        (None, None) => Stage::Unseen,
    }
}

/// `POST /start/seed/words`: the words, to who says the password, and again only with the passphrase.
pub(in crate::ui) async fn words(desk: Desk, fields: Fields) -> Response {
    match desk.prove(fields.password()).await {
        Ok(()) => {}
        Err(NotProven::Unsaid) => {
            let refusal = Some("Say the password: it was last said more than five minutes ago.".to_owned());
            return shown(&desk, StatusCode::FORBIDDEN, None, refusal).await;
        }
        Err(NotProven::Denied(denied)) => {
            return shown(&desk, StatusCode::FORBIDDEN, None, Some(denied.to_string())).await;
        }
        Err(NotProven::Store(error)) => return fault(&error),
    }
    let again = fields.ticked("again").then(|| fields.secret("passphrase"));
    match desk.op.seed_words(again).await {
        Ok(words) => {
            let shell = desk.shell(Section::Backup).await;
            html(StatusCode::OK, &WordsPage { shell, words })
        }
        Err(why) => refused(&desk, why).await,
    }
}

/// `GET /start/seed/check`: asks for three words.
pub(in crate::ui) async fn check_page(desk: Desk) -> Response {
    asking(&desk, StatusCode::OK, None).await
}

async fn asking(desk: &Desk, status: StatusCode, refusal: Option<String>) -> Response {
    let numbers = desk.op.seed.seed().ask(desk.op.parts.entropy.as_ref());
    html(status, &CheckPage { shell: desk.shell(Section::Backup).await, numbers, refusal })
}

/// `POST /start/seed/check`.
pub(in crate::ui) async fn check(desk: Desk, fields: Fields) -> Response {
    let word = |name| Zeroizing::new(fields.text(name).to_owned());
    let words: Vec<Word> = ["first", "second", "third"].into_iter().map(|name| Word(word(name))).collect();
    match desk.op.verify_seed(words).await {
        Ok(()) => Redirect::to("/start/seed?said=checked").into_response(),
        Err(why) => {
            let problem = seed_problem(why);
            asking(&desk, problem.status, Some(problem.detail)).await
        }
    }
}

/// A word that is wiped when it was looked at.
struct Word(Zeroizing<String>);

impl AsRef<str> for Word {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// `POST /start/seed/passphrase`: what opens the seed from the next start on.
pub(in crate::ui) async fn passphrase(desk: Desk, fields: Fields) -> Response {
    match desk.prove(fields.password()).await {
        Ok(()) => {}
        Err(NotProven::Store(error)) => return fault(&error),
        Err(NotProven::Denied(denied)) => {
            return shown(&desk, StatusCode::FORBIDDEN, None, Some(denied.to_string())).await;
        }
        Err(NotProven::Unsaid) => {
            let refusal = Some("Say the password: it was last said more than five minutes ago.".to_owned());
            return shown(&desk, StatusCode::FORBIDDEN, None, refusal).await;
        }
    }
    let (Some(new), Some(again)) = (fields.secret("new"), fields.secret("again")) else {
        let refusal = Some("The new passphrase is missing. Nothing was changed.".to_owned());
        return shown(&desk, StatusCode::UNPROCESSABLE_ENTITY, None, refusal).await;
    };
    if !new.repeats(&again) {
        let refusal = Some("The two new passphrases are not the same. Nothing was changed.".to_owned());
        return shown(&desk, StatusCode::UNPROCESSABLE_ENTITY, None, refusal).await;
    }
    let key_files = if fields.ticked("keep_key_file") { KeyFiles::Keep } else { KeyFiles::Forget };
    match desk.op.set_seed_passphrase(fields.secret("passphrase"), new, key_files).await {
        Ok(()) => Redirect::to("/start/seed?said=passphrase").into_response(),
        Err(why) => refused(&desk, why).await,
    }
}

async fn refused(desk: &Desk, why: NoAnswer) -> Response {
    let problem = seed_problem(why);
    shown(desk, problem.status, None, Some(problem.detail)).await
}

impl Fields {
    /// A passphrase as it was typed, if any was.
    fn secret(&self, name: &str) -> Option<Passphrase> {
        self.raw(name).map(Passphrase::new)
    }
}
