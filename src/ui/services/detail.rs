//! One service: how it stands, what each of its routes costs, how it sold of late.

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query};
use axum::response::Response;
use http::StatusCode;

use super::passage::Passage;
use super::saving::{Silent, silent};
use super::wording::{Sales, price, sold_as};
use super::wrongs::told;
use super::{After, Health, Stand, address, found, said};
use crate::catalog::{DEFAULT_ROUTE, Mode, Service, Terms};
use crate::storefront::Stocked;
use crate::types::Name;
use crate::ui::figures::{grouped, sats_exact};
use crate::ui::shell::{Desk, Section, Shell};
use crate::ui::{entry, fault, html};

/// What some of the requests cost.
struct Price {
    requests: String,
    name: String,
    price: String,
    also: String,
    calls: String,
    earned: String,
    /// Where it is changed, where it may be.
    edit: Option<String>,
}

#[derive(Template)]
#[template(path = "services/detail.html")]
struct Page {
    shell: Shell,
    said: Option<&'static str>,
    silent: Vec<Silent>,
    name: String,
    title: String,
    description: Option<String>,
    address: String,
    owner: Option<String>,
    stand: Stand,
    mode: &'static str,
    faults: Vec<String>,
    doubts: Vec<String>,
    earned: String,
    calls: String,
    granted: String,
    shadow: Option<String>,
    passage: Passage,
    health: Health,
    prices: Vec<Price>,
}

/// `GET /services/{name}`.
pub(super) async fn page(
    desk: Desk,
    Path(name): Path<String>,
    query: Result<Query<After>, QueryRejection>,
) -> Response {
    let Ok(Query(after)) = query else { return entry::incomplete() };
    let own = match found(&desk, &name).await {
        Ok(own) => own,
        Err(response) => return response,
    };
    let sales = match Sales::lately(&desk).await {
        Ok(sales) => sales,
        Err(error) => return fault(&error),
    };
    let table = desk.op.parts.storefront.catalog().current();
    let service = table.services().iter().find(|service| service.name == own.name).map(AsRef::as_ref);
    let sums = sales.of(&own.name, None);
    let page = Page {
        said: after.said.as_deref().and_then(said),
        silent: silent(&desk, after.silent.as_deref()),
        title: own.spec.title.clone().unwrap_or_else(|| name.clone()),
        description: own.spec.description.clone(),
        address: address(&name),
        owner: own.owner.clone(),
        stand: Stand::of(&own, service),
        mode: match service.map(|service| service.mode) {
            Some(Mode::On) => "on",
            Some(Mode::Shadow) => "shadow",
            Some(Mode::Off) | None => "off",
        },
        faults: own.faults.iter().map(|fault| told(fault, &own.spec)).collect(),
        doubts: own.spec.doubts().iter().map(|doubt| told(doubt, &own.spec)).collect(),
        earned: sats_exact(sums.earned_msat.msat()),
        calls: grouped(sums.calls),
        granted: grouped(sums.granted_calls),
        shadow: (sums.shadow_calls > 0).then(|| sats_exact(sums.shadow_msat.msat())),
        passage: passage(&own, &desk.op.parts.config.gateway),
        health: Health::of(&desk, &own.name),
        prices: service
            .filter(|_| own.faults.is_empty())
            .map(|service| prices(service, &own, &sales))
            .unwrap_or_default(),
        shell: desk.shell(Section::Services).await,
        name,
    };
    html(StatusCode::OK, &page)
}

/// Where customers reach it, and what its API is asked for it.
fn passage(own: &Stocked, gateway: &str) -> Passage {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let public = own.spec.host.as_deref().unwrap_or(gateway);
    let (path, strip) = (text(&own.spec.path), text(&own.spec.strip_prefix));
    Passage::of(public, &text(&own.spec.upstream), &path, &strip, "/…")
}

fn prices(service: &Service, own: &Stocked, sales: &Sales) -> Vec<Price> {
    let line = |requests: String, name: &Name, terms: &Terms, edit: String| {
        let sums = sales.of(&service.name, Some(name));
        Price {
            requests,
            name: name.to_string(),
            price: price(terms),
            also: sold_as(terms),
            calls: grouped(sums.calls),
            earned: sats_exact(sums.earned_msat.msat()),
            edit: own.owner.is_none().then_some(edit),
        }
    };
    let here = address(service.name.as_str());
    let route = |(at, route): (usize, &crate::catalog::Route)| {
        let method = route.method.as_ref().map(|method| format!("{method} ")).unwrap_or_default();
        let requests = format!("{method}{}", route.path);
        line(requests, &route.name, &route.terms, format!("{here}/routes/{at}"))
    };
    let rest = DEFAULT_ROUTE.parse().expect("the default route's name is a name");
    let what = if service.routes.is_empty() { "Every request" } else { "Every other request" };
    let rest = line(what.to_owned(), &rest, &service.terms, format!("{here}/edit"));
    service.routes.iter().enumerate().map(route).chain([rest]).collect()
}
