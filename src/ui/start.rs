//! The first steps: from a fresh appliance to its first paid request. Each step is a page of its own, which can be
//! reached alone and done later.

use askama::Template;
use axum::response::{IntoResponse, Redirect, Response};
use http::StatusCode;

use super::form::Fields;
use super::shell::{Desk, Section, Shell};
use super::steps::StepLine;
use super::{fault, html};
use crate::store::StoreError;
use crate::web::Step;

pub(super) mod chain;
pub(super) mod payment;
pub(super) mod receive;
pub(super) mod seed;
pub(super) mod service;

#[derive(Template)]
#[template(path = "start/overview.html")]
struct Overview {
    shell: Shell,
    steps: Vec<StepLine>,
    done: bool,
    complete: bool,
    next: Option<(&'static str, &'static str, &'static str)>,
}

/// `GET /start`.
pub(super) async fn page(desk: Desk) -> Response {
    match desk.op.checklist().await {
        Ok(list) => {
            let steps = StepLine::all(&list);
            let next = steps.iter().find(|step| step.next).map(|step| (step.href, step.verb, step.name));
            let shell = desk.shell(Section::Home).await;
            html(
                StatusCode::OK,
                &Overview {
                    shell,
                    steps,
                    done: list.done,
                    complete: list.points.iter().all(|point| point.done && list.but(point.step).is_none()),
                    next,
                },
            )
        }
        Err(error) => fault(&error),
    }
}

/// `POST /start/hide`: Home does not show the list any more; `again` brings it back.
pub(super) async fn hide(desk: Desk, fields: Fields) -> Response {
    let done = match fields.ticked("again") {
        true => desk.op.show_checklist().await,
        false => desk.op.hide_checklist().await,
    };
    done.map_or_else(|error| fault(&error), |()| Redirect::to("/").into_response())
}

/// The way on from one step.
struct Onward {
    /// The step that comes next in the list, done or not.
    href: &'static str,
    /// This one is seen to.
    done: bool,
}

impl Onward {
    async fn from(desk: &Desk, step: Step) -> Result<Onward, StoreError> {
        let list = desk.op.checklist().await?;
        let done = list.is_done(step);
        let lines = StepLine::all(&list);
        let after = lines.iter().skip_while(|line| line.step != step).nth(1);
        Ok(Onward { href: after.map_or("/start", |line| line.href), done })
    }
}
