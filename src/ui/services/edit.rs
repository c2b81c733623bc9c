//! The form of a whole service: a new one, or one that is changed.

use askama::Template;
use axum::extract::Path;
use axum::response::Response;
use http::StatusCode;

use super::draft::Draft;
use super::frame::Frame;
use super::passage::Example;
use super::saving::{Saving, Unsaved};
use super::terms_draft::TermsDraft;
use super::wrongs::Wrongs;
use super::{STALE, changeable, fresh, status};
use crate::catalog::spec::{Spec, SpecFault, Wrong};
use crate::storefront::{Refusal, ServiceFault, Stocked};
use crate::ui::html;
use crate::ui::shell::{Desk, Section, Shell};
use crate::ui::vouched::Vouched;

#[derive(Template)]
#[template(path = "services/edit.html")]
struct Page<'p> {
    shell: Shell,
    frame: Frame,
    inherits: bool,
    draft: &'p Draft,
    terms: &'p TermsDraft,
    example: Example,
    wrongs: &'p Wrongs,
}

fn frame_of_new() -> Frame {
    Frame::adding("Sell an API", "/services/new")
}

fn frame_of(own: &Stocked) -> Frame {
    Frame::of(own, format!("Change “{}”", own.name), "edit")
}

/// `GET /services/new`.
pub(super) async fn new_form(desk: Desk) -> Response {
    show(&desk, frame_of_new(), &Draft::of(&Spec::default()), &Wrongs::none(), StatusCode::OK).await
}

/// `POST /services/new`.
pub(super) async fn add(desk: Desk, Vouched(fields): Vouched) -> Response {
    let draft = Draft::typed(&fields);
    let (spec, shape) = draft.spec(&Spec::default());
    let (frame, name) = (frame_of_new(), spec.name.clone());
    let taken = desk.op.parts.storefront.stock().iter().any(|own| own.name.as_str() == name);
    let done = if taken {
        let wrong = Wrong::new(
            format!("there is a service called {name}"),
            "Choose another name, or change that one.",
        );
        let fault = SpecFault::new("name", wrong);
        Err(Unsaved::Refused(Refusal::Faults(vec![ServiceFault { index: 0, service: name.clone(), fault }])))
    } else {
        Saving::typed(&frame, vec![(spec, shape)]).save(&desk, &fields).await
    };
    match done {
        Ok(saved) => saved.back(&name),
        Err(unsaved) => unsaved_again(&desk, frame, &draft, unsaved).await,
    }
}

/// `GET /services/{name}/edit`: the text, where a form cannot show all.
pub(super) async fn form(desk: Desk, Path(name): Path<String>) -> Response {
    match changeable(&desk, &name).await {
        Ok(own) if Draft::holds(&own.spec.redacted()) => {
            let draft = Draft::of(&own.spec.redacted());
            let wrongs = Wrongs::closed(&own.faults, &names(&draft));
            show(&desk, frame_of(&own), &draft, &wrongs, StatusCode::OK).await
        }
        Ok(own) => super::text::odd(&desk, &own).await,
        Err(response) => response,
    }
}

/// `POST /services/{name}/edit`.
pub(super) async fn change(desk: Desk, Path(name): Path<String>, Vouched(fields): Vouched) -> Response {
    let own = match changeable(&desk, &name).await {
        Ok(own) => own,
        Err(response) => return response,
    };
    // The name is the service's own, whatever is sent.
    let (frame, draft) = (frame_of(&own), Draft { name: name.clone(), ..Draft::typed(&fields) });
    if !fresh(&own, &fields) {
        return show(&desk, frame, &draft, &Wrongs::whole(STALE), StatusCode::CONFLICT).await;
    }
    let saving = Saving::typed(&frame, vec![draft.spec(&own.spec.redacted())]);
    match saving.save(&desk, &fields).await {
        Ok(saved) => saved.back(&name),
        Err(unsaved) => unsaved_again(&desk, frame, &draft, unsaved).await,
    }
}

/// The question, or the form again with what is wrong.
async fn unsaved_again(desk: &Desk, frame: Frame, draft: &Draft, unsaved: Unsaved) -> Response {
    match unsaved {
        Unsaved::Asked(response) => response,
        Unsaved::Refused(refusal) => {
            let wrongs = Wrongs::of(&refusal, "", &names(draft));
            show(desk, frame, draft, &wrongs, status(&refusal)).await
        }
    }
}

async fn show(desk: &Desk, frame: Frame, draft: &Draft, wrongs: &Wrongs, status: StatusCode) -> Response {
    let shell = desk.shell(Section::Services).await;
    let example = Example::of(draft, frame.is_new, &shell.gateway);
    html(status, &Page { shell, frame, inherits: false, terms: &draft.terms, example, draft, wrongs })
}

fn names(draft: &Draft) -> Vec<&str> {
    draft.headers.iter().map(|row| row.name.as_str()).collect()
}
