//! Forms that are taken at once, without a question of their own, and yet want the password when it was last said
//! more than five minutes ago: those that change what is sold, where it goes, and who hears of it.

use std::sync::Arc;

use askama::Template;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::Response;
use http::StatusCode;

use super::form::Fields;
use super::question::NotProven;
use super::shell::{Desk, Section, Shell};
use super::{fault, html};
use crate::web::Operator;
use crate::web::password::Denied;

/// The fields of a form whose sender said the password lately, or says it with them. Who did neither is asked on a
/// page that keeps what was filled in.
pub(super) struct Vouched(pub(super) Fields);

#[derive(Template)]
#[template(path = "vouched.html")]
struct Page<'p> {
    shell: Shell,
    /// Where the form goes. Opened as a page it leads to where the form came from.
    action: &'p str,
    /// What waits for the password.
    act: String,
    fields: Vec<(&'p str, &'p str)>,
    refusal: Option<String>,
}

impl FromRequest<Arc<Operator>> for Vouched {
    type Rejection = Response;

    async fn from_request(request: Request, op: &Arc<Operator>) -> Result<Vouched, Response> {
        let (mut parts, body) = request.into_parts();
        let desk = Desk::from_request_parts(&mut parts, op).await?;
        let action = parts.uri.path().to_owned();
        let fields = Fields::from_request(Request::from_parts(parts, body), op).await?;
        desk.vouched(&action, &fields).await.map(|()| Vouched(fields))
    }
}

/// What a form at `action` does, as a sentence; `name` is what was typed as its name.
fn act(action: &str, name: &str) -> String {
    let parts: Vec<&str> = action.split('/').skip(1).collect();
    match parts.as_slice() {
        ["start", "service"] | ["services", "new", ..] if !name.is_empty() => {
            format!("You want to add the service “{name}”.")
        }
        ["start", "service"] | ["services", "new", ..] => "You want to add what is sold.".to_owned(),
        ["services", service, ..] => format!("You want to change the service “{service}”."),
        ["integrations", ..] => "You want to tell somebody else what happens here.".to_owned(),
        ["backup", ..] => "You want a copy of what this Tollhouse keeps.".to_owned(),
        _ => "You want to change something that needs your password.".to_owned(),
    }
}

impl Desk {
    /// Whether the password was said lately, or stands in `fields`; else the page that asks for it, for a form
    /// that goes to `action`.
    pub(super) async fn vouched(&self, action: &str, fields: &Fields) -> Result<(), Response> {
        let (status, refusal) = match self.prove(fields.password()).await {
            Ok(()) => return Ok(()),
            Err(NotProven::Unsaid) => (StatusCode::FORBIDDEN, None),
            Err(NotProven::Denied(denied)) => {
                let wrong = denied == Denied::Wrong;
                let status = if wrong { StatusCode::FORBIDDEN } else { StatusCode::TOO_MANY_REQUESTS };
                (status, Some(denied.to_string()))
            }
            Err(NotProven::Store(error)) => return Err(fault(&error)),
        };
        let shell = self.shell(Section::of(action)).await;
        let act = act(action, fields.text("name"));
        let fields = fields.all().filter(|(name, _)| *name != "password").collect();
        Err(html(status, &Page { shell, action, act, fields, refusal }))
    }
}
