//! What is done to a whole service: sold, sold in shadow, not sold, taken away.

use axum::extract::Path;
use axum::response::{IntoResponse, Redirect, Response};
use http::StatusCode;

use super::wrongs::Wrongs;
use super::{address, back, changeable};
use crate::storefront::Run;
use crate::ui::form::Fields;
use crate::ui::question::{Question, notice};
use crate::ui::shell::{Desk, Section};

/// `POST /services/{name}/mode`.
pub(super) async fn set_mode(desk: Desk, Path(name): Path<String>, fields: Fields) -> Response {
    let own = match changeable(&desk, &name).await {
        Ok(own) => own,
        Err(response) => return response,
    };
    let mut spec = own.spec.clone();
    spec.mode = Some(fields.text("mode").to_owned());
    match desk.op.parts.storefront.put(vec![(spec, Vec::new())], Run::Real).await {
        Ok(plan) => back(&name, if plan.changes.is_empty() { "same" } else { "saved" }),
        Err(refusal) => refused(&desk, &name, &refusal).await,
    }
}

/// `POST /services/{name}/delete`.
pub(super) async fn remove(desk: Desk, Path(name): Path<String>, fields: Fields) -> Response {
    if let Err(response) = changeable(&desk, &name).await {
        return response;
    }
    let question = Question {
        section: Section::Services,
        above: (address(&name), name.clone()),
        title: format!("Take the service {name} away?"),
        lines: vec![
            "Its addresses answer 404 from then on.".to_owned(),
            "Tokens that were sold for it open nothing any more, also what is left of packs, passes and balances: \
             their buyers have paid."
                .to_owned(),
            "Payments and sums of it stay in the books.".to_owned(),
        ],
        warning: Some(
            "To stop selling and keep it, turn it off instead. A service of the same name that is added later \
             opens for those tokens again."
                .to_owned(),
        ),
        action: format!("{}/delete", address(&name)),
        fields: Vec::new(),
        yes: Some("Take it away"),
        refusal: None,
    };
    if let Err(response) = question.answered(&desk, &fields).await {
        return response;
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
