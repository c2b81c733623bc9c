//! What is done to a whole service: sold, sold in shadow, not sold, taken away.

use axum::extract::Path;
use axum::response::{IntoResponse, Redirect, Response};
use http::StatusCode;

use super::knock::back_after;
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
    let mode = fields.text("mode");
    let asked = match unsold(&name, mode, &fields) {
        Some(question) => question.answered(&desk, &fields).await.map(|_| ()),
        None => desk.vouched(&format!("{}/mode", address(&name)), &fields).await,
    };
    if let Err(response) = asked {
        return response;
    }
    let mut spec = own.spec.clone();
    spec.mode = Some(mode.to_owned());
    let word = word_of(own.spec.mode.as_deref(), spec.mode.as_deref());
    match desk.op.parts.storefront.put(vec![(spec, Vec::new())], Run::Real).await {
        Ok(plan) if plan.changes.is_empty() => back(&name, "same"),
        Ok(_) => back_after(&desk, &name, word).await,
        Err(refusal) => refused(&desk, &name, &refusal).await,
    }
}

/// What is asked before nothing is sold any more.
fn unsold(name: &str, mode: &str, fields: &Fields) -> Option<Question> {
    let (title, lines, yes) = match mode {
        "shadow" => (
            format!("Let everybody use {name} for nothing?"),
            vec![
                "Customers pay nothing from then on: every request passes, also without a token.".to_owned(),
                "What it would have earned is counted, and the page shows it.".to_owned(),
                "Nothing is drawn from tokens meanwhile.".to_owned(),
            ],
            "Let all pass",
        ),
        "off" => (
            format!("Turn {name} off?"),
            vec![
                "Customers are refused from then on: its addresses answer 404, also to those who have paid for \
                 a pack, a pass or a balance."
                    .to_owned(),
                "What is left of their tokens stays theirs, and opens again when it is back on sale; passes go \
                 on running out."
                    .to_owned(),
            ],
            "Turn it off",
        ),
        _ => return None,
    };
    Some(Question {
        section: Section::Services,
        above: (address(name), name.to_owned()),
        title,
        lines,
        warning: None,
        action: format!("{}/mode", address(name)),
        fields: fields.again(&["mode"]),
        yes: Some(yes),
        refusal: None,
    })
}

/// What is said of a service that was changed, where its mode was `before` and is `after`.
pub(super) fn word_of(before: Option<&str>, after: Option<&str>) -> &'static str {
    let plain = |mode: Option<&str>| mode.filter(|mode| !mode.is_empty()).unwrap_or("on").to_owned();
    match (plain(before), plain(after)) {
        (before, after) if before == after => "saved",
        (_, after) => match after.as_str() {
            "on" => "on",
            "shadow" => "shadow",
            "off" => "off",
            _ => "saved",
        },
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
