//! Services and prices: what is sold, what it costs, how it sells; and the forms that change it.
//!
//! Invariants: what a form does not show stays as it is; a change that cannot be sold changes nothing and names the
//! field; a form that was opened before somebody else's change is not taken.

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::response::Response;
use axum::routing::{get, post};
use http::StatusCode;
use serde::Deserialize;

use self::saving::{Silent, silent};
use self::wording::{Sales, offers, price};
use super::figures::{counted, grouped, iso, sats_exact, utc};
use super::form::Fields;
use super::question::notice;
use super::shell::{Desk, Section, Shell};
use super::{entry, fault, html};
use crate::catalog::{Mode, Service};
use crate::storefront::{Refusal, Stocked};
use crate::types::Name;
use crate::web::Operator;

mod cells;
mod change;
mod dearer;
mod detail;
mod draft;
mod edit;
mod frame;
mod offer_rows;
mod passage;
mod routes;
pub(super) mod saving;
mod terms_draft;
mod text;
mod trial;
mod typed;
mod wording;
mod wrongs;

/// The pages' addresses.
pub(super) fn router() -> Router<Arc<Operator>> {
    Router::new()
        .route("/services", get(page))
        .route("/services/new", get(edit::new_form).post(edit::add))
        .route("/services/new/text", get(text::new_form).post(text::add))
        .route("/services/{name}", get(detail::page))
        .route("/services/{name}/edit", get(edit::form).post(edit::change))
        .route("/services/{name}/text", get(text::form).post(text::change))
        .route("/services/{name}/mode", post(change::set_mode))
        .route("/services/{name}/delete", post(change::remove))
        .route("/services/{name}/try", get(trial::form).post(trial::make))
        .route("/services/{name}/routes/new", get(routes::new_form).post(routes::add))
        .route("/services/{name}/routes/{at}", get(routes::form).post(routes::change))
        .route("/services/{name}/routes/{at}/delete", post(routes::remove))
}

/// How a service stands.
struct Stand {
    /// The dot's kind.
    class: &'static str,
    short: &'static str,
    says: &'static str,
}

impl Stand {
    fn of(own: &Stocked, service: Option<&Service>) -> Stand {
        let (class, short, says) = match service.map(|service| service.mode) {
            _ if !own.faults.is_empty() => {
                ("bad", "Closed", "Closed: it can be sold no more as it is written")
            }
            Some(Mode::On) => ("good", "On sale", "On sale"),
            Some(Mode::Shadow) => ("", "In shadow", "In shadow: everything passes, nothing is charged"),
            Some(Mode::Off) | None => ("bad", "Off", "Off: nothing is served"),
        };
        Stand { class, short, says }
    }
}

/// How a service's own API answered last.
struct Health {
    /// The dot's kind.
    class: &'static str,
    says: String,
    at: Option<(String, String)>,
    well: bool,
}

impl Health {
    fn of(desk: &Desk, name: &Name) -> Health {
        let Some(look) = desk.op.parts.checkout.upstreams().last(name) else {
            let says = "Not asked since Tollhouse started".to_owned();
            return Health { class: "", says, at: None, well: true };
        };
        let says = match look.answer {
            Ok(status) => format!("Answered {}", status.as_u16()),
            Err("upstream_unreachable") => "Could not be reached".to_owned(),
            Err("upstream_timeout") => "Did not answer in time".to_owned(),
            Err(_) => "Broke off before it answered".to_owned(),
        };
        let well = look.well();
        Health {
            class: if well { "good" } else { "bad" },
            says,
            at: Some((iso(look.at), utc(look.at))),
            well,
        }
    }
}

/// One line of the list.
struct Line {
    address: String,
    name: String,
    about: String,
    price: String,
    /// What else may be bought, one by one.
    offers: Vec<String>,
    more: Option<String>,
    calls: String,
    earned: String,
    stand: Stand,
    health: Health,
}

#[derive(Template)]
#[template(path = "services.html")]
struct Page {
    shell: Shell,
    said: Option<&'static str>,
    silent: Vec<Silent>,
    lines: Vec<Line>,
}

/// What a page is asked for after a change that went well.
#[derive(Debug, Deserialize)]
pub(super) struct After {
    said: Option<String>,
    silent: Option<String>,
}

/// `GET /services`.
async fn page(desk: Desk, query: Result<Query<After>, QueryRejection>) -> Response {
    let Ok(Query(after)) = query else { return entry::incomplete() };
    let sales = match Sales::lately(&desk).await {
        Ok(sales) => sales,
        Err(error) => return fault(&error),
    };
    let table = desk.op.parts.storefront.catalog().current();
    let stock = desk.op.parts.storefront.stock();
    let line = |own: &Stocked| {
        let service = table.services().iter().find(|service| service.name == own.name);
        let sums = sales.of(&own.name, None);
        let more = service.map_or(0, |service| service.routes.len());
        let sold = service.filter(|_| own.faults.is_empty());
        Line {
            address: address(own.name.as_str()),
            name: own.spec.title.clone().unwrap_or_else(|| own.name.to_string()),
            about: place(own),
            price: sold.map_or_else(String::new, |service| price(&service.terms)),
            offers: sold.map_or_else(Vec::new, |service| offers(&service.terms)),
            more: (more > 0 && own.faults.is_empty())
                .then(|| format!("{} priced apart", counted(count(more), "route"))),
            calls: grouped(sums.calls),
            earned: sats_exact(sums.earned_msat.msat()),
            stand: Stand::of(own, service.map(AsRef::as_ref)),
            health: Health::of(&desk, &own.name),
        }
    };
    let page = Page {
        said: after.said.as_deref().and_then(said),
        silent: silent(&desk, after.silent.as_deref()),
        lines: stock.iter().map(line).collect(),
        shell: desk.shell(Section::Services).await,
    };
    html(StatusCode::OK, &page)
}

/// The sentence for a change's word.
fn said(word: &str) -> Option<&'static str> {
    Some(match word {
        "added" => "It is on sale.",
        "saved" => "Saved. It holds for requests from now on.",
        "on" => "It is on sale. Requests that come from now on are paid for.",
        "shadow" => {
            "It is in shadow. Customers pay nothing from now on, and what it would have earned is counted."
        }
        "off" => "It is off. Requests for it are refused from now on.",
        "same" => "Nothing was different, so nothing changed.",
        "removed" => "The service is gone. Tokens that were sold for it open nothing any more.",
        "applied" => "All of it is in force.",
        _ => return None,
    })
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// Where customers reach it.
fn place(own: &Stocked) -> String {
    let path = own.spec.path.as_deref().unwrap_or("/");
    format!("{}{path}", own.spec.host.as_deref().unwrap_or_default())
}

/// The address of a service's page.
fn address(name: &str) -> String {
    match name {
        // A service may have the name of a page.
        "new" => "/services/%6eew".to_owned(),
        name => format!("/services/{name}"),
    }
}

/// The service called `name` as it stands.
async fn found(desk: &Desk, name: &str) -> Result<Stocked, Response> {
    let stock = desk.op.parts.storefront.stock();
    match stock.iter().find(|own| own.name.as_str() == name) {
        Some(own) => Ok(own.clone()),
        None => {
            let up = ("/services".to_owned(), "Services".to_owned());
            let said = ("No such service", "There is no service of this name, or not any more.");
            Err(notice(desk, Section::Services, up, StatusCode::NOT_FOUND, said).await)
        }
    }
}

/// The same, where it may be changed here.
async fn changeable(desk: &Desk, name: &str) -> Result<Stocked, Response> {
    let own = found(desk, name).await?;
    let Some(file) = &own.owner else { return Ok(own) };
    let up = (address(name), own.name.to_string());
    let text = format!(
        "This service is in the file {file}. Change it there, and send Tollhouse a SIGHUP or start it again; to \
         change it here, take it out of the file first."
    );
    Err(notice(desk, Section::Services, up, StatusCode::CONFLICT, ("It belongs to a file", &text)).await)
}

/// What a form carries of the moment at which it was opened.
fn seen(own: &Stocked) -> String {
    own.changed_at.millis().to_string()
}

/// Whether nobody changed the service since the form was opened.
fn fresh(own: &Stocked, fields: &Fields) -> bool {
    fields.text("seen") == seen(own)
}

/// What is said when somebody did.
const STALE: &str = "it was changed meanwhile, by another page or a program. What you typed is below; open the page \
                     again to see how it is now";

/// The status that goes with a refusal.
fn status(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::Faults(_) => StatusCode::UNPROCESSABLE_ENTITY,
        Refusal::Owned { .. } | Refusal::Clash(_) => StatusCode::CONFLICT,
        Refusal::Unknown(_) => StatusCode::NOT_FOUND,
        Refusal::Unreadable(_) | Refusal::Store(_) => {
            tracing::error!(%refusal, "a page could not change what is sold");
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }
}
