//! The form of a whole service: a new one, or one that is changed.

use askama::Template;
use axum::extract::Path;
use axum::response::Response;
use http::StatusCode;

use super::change::word_of;
use super::draft::Draft;
use super::knock::back_after;
use super::terms_draft::TermsDraft;
use super::wrongs::Wrongs;
use super::{STALE, address, back, changeable, fresh, seen, status};
use crate::catalog::spec::{Spec, SpecFault, Wrong};
use crate::storefront::{Refusal, Run, ServiceFault, Stocked};
use crate::ui::html;
use crate::ui::shell::{Desk, Section, Shell};
use crate::ui::vouched::Vouched;

#[derive(Template)]
#[template(path = "services/edit.html")]
struct Page<'p> {
    shell: Shell,
    above: (String, String),
    title: String,
    action: String,
    seen: String,
    is_new: bool,
    inherits: bool,
    draft: &'p Draft,
    terms: &'p TermsDraft,
    wrongs: &'p Wrongs,
}

/// `GET /services/new`.
pub(super) async fn new_form(desk: Desk) -> Response {
    show_new(&desk, &Draft::of(&Spec::default()), &Wrongs::none(), StatusCode::OK).await
}

/// `POST /services/new`.
pub(super) async fn add(desk: Desk, Vouched(fields): Vouched) -> Response {
    let draft = Draft::typed(&fields);
    let (spec, shape) = draft.spec(&Spec::default());
    let name = spec.name.clone();
    let taken = desk.op.parts.storefront.stock().iter().any(|own| own.name.as_str() == name);
    let done = if taken {
        let wrong = Wrong::new(
            format!("there is a service called {name}"),
            "Choose another name, or change that one.",
        );
        let fault = SpecFault::new("name", wrong);
        Err(Refusal::Faults(vec![ServiceFault { index: 0, service: name.clone(), fault }]))
    } else {
        desk.op.parts.storefront.put(vec![(spec, shape)], Run::Real).await
    };
    match done {
        Ok(_) => back_after(&desk, &name, "added").await,
        Err(refusal) => {
            show_new(&desk, &draft, &Wrongs::of(&refusal, "", &names(&draft)), status(&refusal)).await
        }
    }
}

async fn show_new(desk: &Desk, draft: &Draft, wrongs: &Wrongs, status: StatusCode) -> Response {
    let page = Page {
        above: ("/services".to_owned(), "Services & prices".to_owned()),
        title: "Sell an API".to_owned(),
        action: "/services/new".to_owned(),
        seen: String::new(),
        is_new: true,
        inherits: false,
        terms: &draft.terms,
        draft,
        wrongs,
        shell: desk.shell(Section::Services).await,
    };
    html(status, &page)
}

/// `GET /services/{name}/edit`: the text, where a form cannot show all.
pub(super) async fn form(desk: Desk, Path(name): Path<String>) -> Response {
    match changeable(&desk, &name).await {
        Ok(own) if Draft::holds(&own.spec.redacted()) => {
            let draft = Draft::of(&own.spec.redacted());
            let wrongs = Wrongs::closed(&own.faults, &names(&draft));
            show(&desk, &own, &draft, &wrongs, StatusCode::OK).await
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
    let draft = Draft { name: name.clone(), ..Draft::typed(&fields) };
    if !fresh(&own, &fields) {
        return show(&desk, &own, &draft, &Wrongs::whole(STALE), StatusCode::CONFLICT).await;
    }
    let (spec, shape) = draft.spec(&own.spec.redacted());
    let word = word_of(own.spec.mode.as_deref(), spec.mode.as_deref());
    match desk.op.parts.storefront.put(vec![(spec, shape)], Run::Real).await {
        Ok(plan) if plan.changes.is_empty() => back(&name, "same"),
        Ok(_) => back_after(&desk, &name, word).await,
        Err(refusal) => {
            let wrongs = Wrongs::of(&refusal, "", &names(&draft));
            show(&desk, &own, &draft, &wrongs, status(&refusal)).await
        }
    }
}

async fn show(desk: &Desk, own: &Stocked, draft: &Draft, wrongs: &Wrongs, status: StatusCode) -> Response {
    let name = own.name.as_str();
    let page = Page {
        above: (address(name), name.to_owned()),
        title: format!("Change {name}"),
        action: format!("{}/edit", address(name)),
        seen: seen(own),
        is_new: false,
        inherits: false,
        terms: &draft.terms,
        draft,
        wrongs,
        shell: desk.shell(Section::Services).await,
    };
    html(status, &page)
}

fn names(draft: &Draft) -> Vec<&str> {
    draft.headers.iter().map(|row| row.name.as_str()).collect()
}
