//! What is done to a whole service: sold, sold in shadow, not sold, taken away.

use axum::extract::Path;
use axum::response::{IntoResponse, Redirect, Response};
use http::StatusCode;

use super::saving::{Saving, Unsaved, asked, paid_ahead};
use super::wrongs::Wrongs;
use super::{address, changeable};
use crate::storefront::{How, Run, Stop};
use crate::ui::form::Fields;
use crate::ui::question::notice;
use crate::ui::shell::{Desk, Section};

/// `POST /services/{name}/mode`.
pub(super) async fn set_mode(desk: Desk, Path(name): Path<String>, fields: Fields) -> Response {
    let own = match changeable(&desk, &name).await {
        Ok(own) => own,
        Err(response) => return response,
    };
    let mut spec = own.spec.clone();
    spec.mode = Some(fields.text("mode").to_owned());
    match Saving::pressed(spec, "mode").save(&desk, &fields).await {
        Ok(saved) => saved.back(&name),
        Err(Unsaved::Asked(response)) => response,
        Err(Unsaved::Refused(refusal)) => refused(&desk, &name, &refusal).await,
    }
}

/// `POST /services/{name}/delete`.
pub(super) async fn remove(desk: Desk, Path(name): Path<String>, fields: Fields) -> Response {
    let own = match changeable(&desk, &name).await {
        Ok(own) => own,
        Err(response) => return response,
    };
    // It is asked about whether it earns or not: it would be gone.
    let stop = Stop { service: own.name, how: How::Removed, requests: Vec::new() };
    let here = address(&name);
    let stops = [stop];
    if let Some(mut question) = asked(&stops, &[], (here.clone(), name.clone()), format!("{here}/delete")) {
        question.lines.extend(paid_ahead(&desk, &stops).await);
        if let Err(response) = question.answered(&desk, &fields).await {
            return response;
        }
    }
    match desk.op.parts.storefront.remove(&name, Run::Real).await {
        Ok(_) => Redirect::to("/services?said=removed").into_response(),
        Err(refusal) => refused(&desk, &name, &refusal).await,
    }
}

/// Says why nothing changed, on a page of its own.
pub(super) async fn refused(desk: &Desk, name: &str, refusal: &crate::storefront::Refusal) -> Response {
    let status: StatusCode = super::status(refusal);
    let wrongs = Wrongs::of(refusal, "", &[]);
    let lines = wrongs.list.iter().map(|wrong| match wrong.label.as_str() {
        "" => wrong.says.clone(),
        label => format!("{label}: {}", wrong.says),
    });
    let text = lines.collect::<Vec<_>>().join(" ");
    let up = (address(name), name.to_owned());
    notice(desk, Section::Services, up, status, ("Nothing changed", &text)).await
}
