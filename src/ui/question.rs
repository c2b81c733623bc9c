//! What is asked before something that cannot be taken back, and what is said when something went wrong.
//!
//! A form that moves coins is sent twice. The first time it is answered with a question: what would happen to
//! which sats, what it costs, what cannot be undone. The second time it carries the question's key, under which
//! the move is made once, and the password when it was last said more than five minutes ago.

use askama::Template;
use axum::response::{IntoResponse, Redirect, Response};
use http::StatusCode;

use super::figures::{grouped_in, quoted, typeset};
use super::form::Fields;
use super::shell::{Desk, Section, Shell};
use super::{fault, html};
use crate::ports::FeeRate;
use crate::store::{OperationRow, OperationState, is_reserved_key};
use crate::treasury::{Deed, Preview};
use crate::web::Problem;
use crate::web::claim;
use crate::web::password::Denied;

/// The field that carries the fee rate that was shown.
pub(super) const AGREED_RATE: &str = "most_sat_per_kvb";

/// A question before something is done.
pub(super) struct Question {
    /// The page that it belongs to.
    pub(super) section: Section,
    /// Where one came from: address and name.
    pub(super) above: (String, String),
    /// What is asked: `Send 20,000 sat?`.
    pub(super) title: String,
    /// What will happen, sentence by sentence.
    pub(super) lines: Vec<String>,
    /// What cannot be undone.
    pub(super) warning: Option<String>,
    /// Where the answer goes.
    pub(super) action: String,
    /// The form's fields, sent again with the answer.
    pub(super) fields: Vec<(String, String)>,
    /// The button that does it, a verb: `Send`. `None` when it cannot be done.
    pub(super) yes: Option<&'static str>,
    /// Why the last answer was not taken.
    pub(super) refusal: Option<String>,
}

#[derive(Template)]
#[template(path = "question.html")]
struct Page {
    shell: Shell,
    question: Question,
    key: String,
    password: bool,
}

#[derive(Template)]
#[template(path = "notice.html")]
struct Notice {
    shell: Shell,
    above: (String, String),
    title: String,
    text: String,
}

/// How the buttons of what takes something away begin.
const TAKES: [&str; 6] = ["Remove", "Revoke", "Close", "Force", "Give up", "Let them go"];

impl Question {
    /// Whether a yes takes something away for good, so that its button is not dressed as one that earns.
    fn takes(&self) -> bool {
        self.yes.is_some_and(|yes| TAKES.iter().any(|verb| yes.starts_with(verb)))
    }

    /// Shows it, under a key of its own.
    pub(super) async fn ask(self, desk: &Desk) -> Response {
        let key = desk.op.fresh_key();
        self.under(desk, key, StatusCode::OK).await
    }

    /// Whether `fields` answer it: the key, once the person who says so is known again. What is not an answer
    /// has the question shown.
    pub(super) async fn answered(self, desk: &Desk, fields: &Fields) -> Result<String, Response> {
        // A name that the house gives to its own moves is nobody's answer.
        let key = fields.optional("key").filter(|key| !is_reserved_key(key)).map(str::to_owned);
        let Some(key) = key else { return Err(self.ask(desk).await) };
        match desk.prove(fields.password()).await {
            Ok(()) => Ok(key),
            Err(NotProven::Denied(denied)) => {
                let refusal = Some(denied.to_string());
                let status = if denied == Denied::Wrong {
                    StatusCode::FORBIDDEN
                } else {
                    StatusCode::TOO_MANY_REQUESTS
                };
                Err(Question { refusal, ..self }.under(desk, key, status).await)
            }
            Err(NotProven::Unsaid) => {
                let refusal =
                    Some("Say the password: it was last said more than five minutes ago.".to_owned());
                Err(Question { refusal, ..self }.under(desk, key, StatusCode::FORBIDDEN).await)
            }
            Err(NotProven::Store(error)) => Err(fault(&error)),
        }
    }

    async fn under(self, desk: &Desk, key: String, status: StatusCode) -> Response {
        let shell = desk.shell(self.section).await;
        html(status, &Page { shell, password: !desk.proven(), key, question: self })
    }
}

impl Desk {
    /// Whether what these fields answer was done or begun already: then nobody can say it beforehand any more.
    pub(super) async fn was_begun(&self, fields: &Fields) -> bool {
        let Some(key) = fields.optional("key") else { return false };
        matches!(self.op.parts.ledger.operation_of_key(key).await, Ok(Some(_)))
    }
}

/// Why nobody is known again.
pub(super) enum NotProven {
    /// It is time to say the password, and it was not said.
    Unsaid,
    /// It was wrong, or it is too early to try.
    Denied(Denied),
    /// It could not be looked up.
    Store(crate::store::StoreError),
}

impl Desk {
    /// Whether the password was said lately, or `password` is it.
    pub(super) async fn prove(
        &self,
        password: Option<crate::web::password::Password>,
    ) -> Result<(), NotProven> {
        if self.proven() {
            return Ok(());
        }
        let password = password.ok_or(NotProven::Unsaid)?;
        let stored = claim::stored_password(&self.op).await.map_err(NotProven::Store)?;
        let stored = stored.ok_or(NotProven::Denied(Denied::Broken))?;
        self.op.passwords.check_again(&self.visit, password, stored).await.map_err(NotProven::Denied)?;
        self.say_proven();
        Ok(())
    }
}

/// A move of coins that a form asks for.
pub(super) struct Errand {
    /// The page that it belongs to.
    pub(super) section: Section,
    /// Where one came from: address and name.
    pub(super) above: (String, String),
    /// What is asked: `Send 20,000 sat?`.
    pub(super) title: String,
    /// The button, a verb.
    pub(super) yes: &'static str,
    /// Where the form goes, both times.
    pub(super) action: String,
    /// The form's fields, sent again with the answer.
    pub(super) fields: Vec<(String, String)>,
    /// What is to be done.
    pub(super) deed: Deed,
}

impl Errand {
    /// Asks, or when `fields` answer the question, does it once and goes to the operation's page.
    ///
    /// # Errors
    /// What makes no sense or was refused, for the form to be shown again with.
    pub(super) async fn run(self, desk: &Desk, fields: &Fields) -> Result<Response, Problem> {
        let preview = desk.op.preview(&self.deed).await;
        // Under a key it may have been done already, and then it can no longer be said beforehand.
        let mut asked = self.fields;
        let (lines, enough, undoable) = match preview {
            // Who answers said yes while there was enough, and may have begun it.
            Ok(preview) if !preview.enough && fields.optional("key").is_none() => {
                return Err(not_enough(&preview));
            }
            Ok(preview) => {
                let rate = preview.figures["fee_rate_sat_per_kvb"].as_u64();
                asked.extend(rate.map(|rate| (AGREED_RATE.to_owned(), rate.to_string())));
                let lines = preview.lines.iter().map(|line| typeset(&grouped_in(line))).collect();
                (lines, preview.enough, preview.undoable)
            }
            Err(_) if desk.was_begun(fields).await => (Vec::new(), true, false),
            Err(problem) => return Err(problem),
        };
        let question = Question {
            section: self.section,
            above: self.above,
            title: self.title,
            lines,
            warning: (!undoable).then(|| "This cannot be undone.".to_owned()),
            action: self.action,
            fields: asked,
            yes: Some(self.yes),
            refusal: (!enough).then(|| "There is not enough for this; nothing was done.".to_owned()),
        };
        let key = match question.answered(desk, fields).await {
            Ok(key) => key,
            Err(response) => return Ok(response),
        };
        let row = desk.op.carry_out(&key, self.deed, agreed_rate(fields)).await?;
        Ok(seen(&row))
    }
}

/// That there is not enough for it, with the most that there is.
fn not_enough(preview: &Preview) -> Problem {
    let lines: Vec<String> = preview.lines.iter().map(|line| typeset(&grouped_in(line))).collect();
    let detail = format!("There is not enough for this; nothing was done. {}", lines.join(" "));
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "not_enough", detail)
}

/// The fee rate that was shown in the question which `fields` answer.
pub(super) fn agreed_rate(fields: &Fields) -> Option<FeeRate> {
    FeeRate::of_sat_per_kvb(fields.optional(AGREED_RATE)?.parse().ok()?)
}

/// Where one sees what became of an operation.
fn seen(row: &OperationRow) -> Response {
    let place = match row.state {
        OperationState::Failed => "#failed",
        _ => "",
    };
    Redirect::to(&format!("/operations/{}{place}", row.id)).into_response()
}

/// A page of `section` that says one thing, with the way back.
pub(super) async fn notice(
    desk: &Desk,
    section: Section,
    above: (String, String),
    status: StatusCode,
    (title, text): (&str, &str),
) -> Response {
    let shell = desk.shell(section).await;
    html(status, &Notice { shell, above, title: title.to_owned(), text: quoted(text) })
}
