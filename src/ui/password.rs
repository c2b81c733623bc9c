//! The operator's own password: another one is set by who says the one that is set.

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use http::StatusCode;

use super::form::Fields;
use super::html;
use super::shell::{Desk, Section, Shell};
use crate::web::Operator;
use crate::web::password::{Password, SHORTEST};

/// The address of this page.
pub(super) fn router() -> Router<Arc<Operator>> {
    Router::new().route("/system/password", get(page).post(change))
}

#[derive(Template)]
#[template(path = "system/password.html")]
struct Page {
    shell: Shell,
    refusal: Option<String>,
    shortest: usize,
}

/// `GET /system/password`.
async fn page(desk: Desk) -> Response {
    shown(&desk, StatusCode::OK, None).await
}

async fn shown(desk: &Desk, status: StatusCode, refusal: Option<String>) -> Response {
    let shell = desk.shell(Section::System).await;
    html(status, &Page { shell, refusal, shortest: SHORTEST })
}

/// `POST /system/password`: a password that was said a moment ago is asked for all the same.
async fn change(desk: Desk, fields: Fields) -> Response {
    let typed = |name| fields.raw(name).map(Password::new);
    let Some(current) = fields.password() else {
        let refusal = Some("Say the password that is set now. Nothing was changed.".to_owned());
        return shown(&desk, StatusCode::FORBIDDEN, refusal).await;
    };
    let (Some(new), Some(again)) = (typed("new"), typed("again")) else {
        let refusal = Some("The new password is missing. Nothing was changed.".to_owned());
        return shown(&desk, StatusCode::UNPROCESSABLE_ENTITY, refusal).await;
    };
    if !new.repeats(&again) {
        let refusal = Some("The two new passwords are not the same. Nothing was changed.".to_owned());
        return shown(&desk, StatusCode::UNPROCESSABLE_ENTITY, refusal).await;
    }
    match desk.op.change_password(&desk.caller(), desk.own_session(), current, new).await {
        Ok(()) => Redirect::to("/system?said=password").into_response(),
        Err(problem) => shown(&desk, problem.status, Some(problem.detail)).await,
    }
}
