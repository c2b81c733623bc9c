//! The first thing to sell: a name, where the API is, and what a call costs.

use askama::Template;
use axum::response::Response;
use http::StatusCode;
use serde_json::json;

use super::Onward;
use crate::catalog::spec::{Spec, SpecFault};
use crate::storefront::Refusal;
use crate::ui::services::saving::{Saving, Unsaved};
use crate::ui::shell::{Desk, Section, Shell};
use crate::ui::vouched::Vouched;
use crate::ui::{fault, html};
use crate::web::Step;

/// What was typed.
#[derive(Default)]
struct Typed {
    name: String,
    upstream: String,
    price: String,
    path: String,
}

#[derive(Template)]
#[template(path = "start/service.html")]
struct Page {
    shell: Shell,
    onward: Onward,
    on_sale: Vec<String>,
    /// It is the example of a new configuration file alone, and nothing answered behind it yet.
    example: bool,
    typed: Typed,
    refusal: Option<Mistake>,
}

/// What is wrong with what was typed.
struct Mistake {
    /// The field's name, when it is one.
    field: String,
    says: String,
}

impl Mistake {
    fn with(field: &str, says: impl Into<String>) -> Mistake {
        Mistake { field: field.to_owned(), says: says.into() }
    }
}

impl Page {
    fn is_wrong(&self, field: &str) -> bool {
        self.refusal.as_ref().is_some_and(|mistake| mistake.field == field)
    }
}

/// `GET /start/service`.
pub(in crate::ui) async fn page(desk: Desk) -> Response {
    shown(&desk, StatusCode::OK, Typed::default(), None).await
}

async fn shown(desk: &Desk, status: StatusCode, typed: Typed, refusal: Option<Mistake>) -> Response {
    let onward = match Onward::from(desk, Step::Service).await {
        Ok(onward) => onward,
        Err(error) => return fault(&error),
    };
    let on_sale = desk.op.parts.storefront.stock().iter().map(|own| own.name.to_string()).collect();
    let example = match desk.op.checklist().await {
        Ok(list) => list.example,
        Err(error) => return fault(&error),
    };
    let shell = desk.shell(Section::Services).await;
    html(status, &Page { shell, onward, on_sale, example, typed, refusal })
}

/// `POST /start/service`: puts it on sale, and goes on to buying it.
pub(in crate::ui) async fn add(desk: Desk, Vouched(fields): Vouched) -> Response {
    let typed = Typed {
        name: fields.text("name").to_owned(),
        upstream: fields.text("upstream").to_owned(),
        price: fields.text("price").to_owned(),
        path: fields.text("path").to_owned(),
    };
    let given = match read(&desk, &typed) {
        Ok(given) => given,
        Err(mistake) => return shown(&desk, StatusCode::UNPROCESSABLE_ENTITY, typed, Some(mistake)).await,
    };
    match Saving::first(given).save(&desk, &fields).await {
        Ok(saved) => saved.lead("/start/payment", &[("service", &typed.name), ("said", "on_sale")]),
        Err(Unsaved::Asked(response)) => response,
        Err(Unsaved::Refused(refusal)) => {
            shown(&desk, StatusCode::UNPROCESSABLE_ENTITY, typed, Some(mistake(refusal))).await
        }
    }
}

/// What was typed, as a service.
fn read(desk: &Desk, typed: &Typed) -> Result<(Spec, Vec<SpecFault>), Mistake> {
    for (field, text, what) in [
        ("name", &typed.name, "The name is missing."),
        ("upstream", &typed.upstream, "Your API’s address is missing."),
        ("price", &typed.price, "The price is missing."),
    ] {
        if text.is_empty() {
            return Err(Mistake::with(field, what));
        }
    }
    let storefront = &desk.op.parts.storefront;
    // To put it once more would change one that is there, with settings that this form does not show.
    if storefront.stock().iter().any(|own| own.name.as_str() == typed.name) {
        let says = format!("There is a service called {} already. Change it on its own page.", typed.name);
        return Err(Mistake::with("name", says));
    }
    let path = if typed.path.is_empty() { format!("/{}", typed.name) } else { typed.path.clone() };
    let mut spec =
        json!({ "name": typed.name, "path": path, "upstream": typed.upstream, "price": typed.price });
    if path.len() > 1 {
        spec["strip_prefix"] = json!(path);
    }
    Ok(Spec::read(&spec))
}

fn mistake(refusal: Refusal) -> Mistake {
    match refusal {
        Refusal::Faults(faults) => {
            let first = faults.into_iter().next().map(|wrong| wrong.fault);
            first.map_or_else(
                || Mistake::with("", "It cannot be sold like this."),
                |fault| {
                    // The form sets both from one field.
                    let field = if fault.field == "strip_prefix" { "path" } else { fault.field.as_str() };
                    Mistake::with(field, format!("{}: {}. {}", label(field), fault.what, fault.help))
                },
            )
        }
        Refusal::Store(error) => {
            tracing::error!(%error, "the ledger could not keep a service");
            Mistake::with("", "The ledger could not be written; nothing was changed. The log says why.")
        }
        refusal => Mistake::with("path", format!("Nothing was changed: {refusal}.")),
    }
}

fn label(field: &str) -> &str {
    match field {
        "name" => "Name",
        "upstream" => "Your API’s address",
        "price" => "Price",
        "path" => "Path",
        other => other,
    }
}
