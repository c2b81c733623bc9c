//! Services as text: everything that they say, as a services file has it.

use askama::Template;
use axum::extract::Path;
use axum::response::Response;
use http::StatusCode;
use serde_json::Value;

use super::frame::Frame;
use super::saving::{Saving, Unsaved};
use super::typed::lines;
use super::wrongs::{Wrong, Wrongs};
use super::{STALE, changeable, fresh, status};
use crate::catalog::spec::{Spec, SpecFault};
use crate::storefront::{Refusal, Stocked};
use crate::ui::html;
use crate::ui::shell::{Desk, Section, Shell};
use crate::ui::vouched::Vouched;

#[derive(Template)]
#[template(path = "services/text.html")]
struct Page<'p> {
    shell: Shell,
    frame: Frame,
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

fn frame_of_new() -> Frame {
    Frame::adding("Services as text", "/services/new/text")
}

fn frame_of(own: &Stocked) -> Frame {
    Frame::of(own, format!("{} as text", own.name), "text")
}

/// `GET /services/new/text`.
pub(super) async fn new_form(desk: Desk) -> Response {
    show(&desk, frame_of_new(), EXAMPLE.to_owned(), &Wrongs::none(), StatusCode::OK).await
}

/// `POST /services/new/text`: adds or changes all of these, or none.
pub(super) async fn add(desk: Desk, Vouched(fields): Vouched) -> Response {
    let (frame, text) = (frame_of_new(), lines(fields.text("toml")));
    let given = match read(&text) {
        Ok(given) => given,
        Err(wrongs) => return show(&desk, frame, text, &wrongs, StatusCode::UNPROCESSABLE_ENTITY).await,
    };
    match Saving::typed(&frame, given).save(&desk, &fields).await {
        Ok(saved) => saved.lead("/services", &[("said", "applied")]),
        Err(unsaved) => unsaved_again(&desk, frame, text, unsaved).await,
    }
}

/// `GET /services/{name}/text`.
pub(super) async fn form(desk: Desk, Path(name): Path<String>) -> Response {
    match changeable(&desk, &name).await {
        Ok(own) => {
            let wrongs = Wrongs::closed(&own.faults, &[]);
            show(&desk, frame_of(&own), own.spec.redacted().to_toml(), &wrongs, StatusCode::OK).await
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
    show(desk, frame_of(own), own.spec.redacted().to_toml(), &wrongs, StatusCode::OK).await
}

/// `POST /services/{name}/text`.
pub(super) async fn change(desk: Desk, Path(name): Path<String>, Vouched(fields): Vouched) -> Response {
    let own = match changeable(&desk, &name).await {
        Ok(own) => own,
        Err(response) => return response,
    };
    let (frame, text) = (frame_of(&own), lines(fields.text("toml")));
    if !fresh(&own, &fields) {
        return show(&desk, frame, text, &Wrongs::whole(STALE), StatusCode::CONFLICT).await;
    }
    let given = read(&text).and_then(|given| match given.as_slice() {
        [(spec, _)] if spec.name == name => Ok(given),
        _ => Err(Wrongs::whole(&format!("here stands the service {name} alone, under its name"))),
    });
    let given = match given {
        Ok(given) => given,
        Err(wrongs) => return show(&desk, frame, text, &wrongs, StatusCode::UNPROCESSABLE_ENTITY).await,
    };
    match Saving::typed(&frame, given).save(&desk, &fields).await {
        Ok(saved) => saved.back(&name),
        Err(unsaved) => unsaved_again(&desk, frame, text, unsaved).await,
    }
}

/// The question, or the text again with what is wrong.
async fn unsaved_again(desk: &Desk, frame: Frame, text: String, unsaved: Unsaved) -> Response {
    match unsaved {
        Unsaved::Asked(response) => response,
        Unsaved::Refused(refusal) => show(desk, frame, text, &told(&refusal), status(&refusal)).await,
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

async fn show(desk: &Desk, frame: Frame, toml: String, wrongs: &Wrongs, status: StatusCode) -> Response {
    let shell = desk.shell(Section::Services).await;
    html(status, &Page { shell, frame, toml, wrongs })
}
