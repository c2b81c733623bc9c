//! Services as text: everything that they say, as a services file has it.

use askama::Template;
use axum::extract::Path;
use axum::response::{IntoResponse, Redirect, Response};
use http::StatusCode;
use serde_json::Value;

use super::knock::back_after;
use super::typed::lines;
use super::wrongs::{Wrong, Wrongs};
use super::{STALE, address, back, changeable, fresh, seen, status};
use crate::catalog::spec::{Spec, SpecFault};
use crate::storefront::{Refusal, Run, Stocked};
use crate::ui::html;
use crate::ui::shell::{Desk, Section, Shell};
use crate::ui::vouched::Vouched;

#[derive(Template)]
#[template(path = "services/text.html")]
struct Page<'p> {
    shell: Shell,
    above: (String, String),
    title: String,
    action: String,
    seen: String,
    is_new: bool,
    toml: String,
    wrongs: &'p Wrongs,
}

/// What a new one may look like.
const EXAMPLE: &str = "[[service]]
name = \"rates\"
path = \"/v1\"
upstream = \"http://127.0.0.1:9000\"
price = \"5 sat\"
offers = [\"request\", { pack = 100, price = \"400 sat\" }]

[[service.route]]
path = \"/v1/health\"
price = \"free\"
";

/// `GET /services/new/text`.
pub(super) async fn new_form(desk: Desk) -> Response {
    show(&desk, None, EXAMPLE.to_owned(), &Wrongs::none(), StatusCode::OK).await
}

/// `POST /services/new/text`: adds or changes all of these, or none.
pub(super) async fn add(desk: Desk, Vouched(fields): Vouched) -> Response {
    let text = lines(fields.text("toml"));
    let given = match read(&text) {
        Ok(given) => given,
        Err(wrongs) => return show(&desk, None, text, &wrongs, StatusCode::UNPROCESSABLE_ENTITY).await,
    };
    match desk.op.parts.storefront.put(given, Run::Real).await {
        Ok(_) => Redirect::to("/services?said=applied").into_response(),
        Err(refusal) => show(&desk, None, text, &told(&refusal), status(&refusal)).await,
    }
}

/// `GET /services/{name}/text`.
pub(super) async fn form(desk: Desk, Path(name): Path<String>) -> Response {
    match changeable(&desk, &name).await {
        Ok(own) => {
            let wrongs = Wrongs::closed(&own.faults, &[]);
            show(&desk, Some(&own), own.spec.redacted().to_toml(), &wrongs, StatusCode::OK).await
        }
        Err(response) => response,
    }
}

/// The text in place of a form, for a service that says what forms cannot.
pub(super) async fn odd(desk: &Desk, own: &Stocked) -> Response {
    let mut wrongs = Wrongs::closed(&own.faults, &[]);
    if !wrongs.any() {
        wrongs.intro = "This service says things that the form cannot show, so it is changed as text.";
    }
    show(desk, Some(own), own.spec.redacted().to_toml(), &wrongs, StatusCode::OK).await
}

/// `POST /services/{name}/text`.
pub(super) async fn change(desk: Desk, Path(name): Path<String>, Vouched(fields): Vouched) -> Response {
    let own = match changeable(&desk, &name).await {
        Ok(own) => own,
        Err(response) => return response,
    };
    let text = lines(fields.text("toml"));
    let refuse = |wrongs: Wrongs, status| {
        let (desk, own, text) = (&desk, &own, text.clone());
        async move { show(desk, Some(own), text, &wrongs, status).await }
    };
    if !fresh(&own, &fields) {
        return refuse(Wrongs::whole(STALE), StatusCode::CONFLICT).await;
    }
    let given = match read(&text) {
        Ok(given) => given,
        Err(wrongs) => return refuse(wrongs, StatusCode::UNPROCESSABLE_ENTITY).await,
    };
    if !matches!(given.as_slice(), [(spec, _)] if spec.name == name) {
        let what = format!("here stands the service {name} alone, under its name");
        return refuse(Wrongs::whole(&what), StatusCode::UNPROCESSABLE_ENTITY).await;
    }
    match desk.op.parts.storefront.put(given, Run::Real).await {
        Ok(plan) if plan.changes.is_empty() => back(&name, "same"),
        Ok(_) => back_after(&desk, &name, "saved").await,
        Err(refusal) => refuse(told(&refusal), status(&refusal)).await,
    }
}

/// The services of a text, each with what is wrong with its shape.
fn read(text: &str) -> Result<Vec<(Spec, Vec<SpecFault>)>, Wrongs> {
    let mut file: Value = toml::from_str(text).map_err(|error| {
        let place = error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        let place = place.map(|line| format!("line {line}: ")).unwrap_or_default();
        Wrongs::whole(&format!("{place}{}", error.message()))
    })?;
    let list = file.get_mut("service").map(Value::take);
    match list {
        Some(Value::Array(services)) if !services.is_empty() => Ok(services.iter().map(Spec::read).collect()),
        _ => Err(Wrongs::whole("a service begins with a line [[service]]")),
    }
}

/// Settings are named as the text has them.
fn told(refusal: &Refusal) -> Wrongs {
    let Refusal::Faults(faults) = refusal else { return Wrongs::whole(&refusal.to_string()) };
    let one = |wrong: &crate::storefront::ServiceFault| Wrong {
        id: None,
        label: [wrong.service.as_str(), &wrong.fault.field].join(" ").trim().to_owned(),
        says: format!("{}. {}", wrong.fault.what, wrong.fault.help).trim_end().to_owned(),
    };
    Wrongs::unsaved(faults.iter().map(one).collect())
}

async fn show(
    desk: &Desk,
    own: Option<&Stocked>,
    toml: String,
    wrongs: &Wrongs,
    status: StatusCode,
) -> Response {
    let (above, title, action) = match own {
        Some(own) => {
            let (at, name) = (address(own.name.as_str()), own.name.to_string());
            ((at.clone(), name.clone()), format!("{name} as text"), format!("{at}/text"))
        }
        None => {
            let up = ("/services".to_owned(), "Services & prices".to_owned());
            (up, "Services as text".to_owned(), "/services/new/text".to_owned())
        }
    };
    let page = Page {
        above,
        title,
        action,
        seen: own.map(seen).unwrap_or_default(),
        is_new: own.is_none(),
        toml,
        wrongs,
        shell: desk.shell(Section::Services).await,
    };
    html(status, &page)
}
