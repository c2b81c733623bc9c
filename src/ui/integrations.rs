//! Integrations: who is connected? Keys for programs, endpoints that hear of what happens, and what was
//! delivered to them.

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::response::Response;
use axum::routing::{get, post};
use http::StatusCode;
use serde::Deserialize;

use super::entry;
use super::figures::{grouped, iso, sats_exact, utc};
use super::html;
use super::shell::{Desk, Section, Shell};
use crate::store::{ApiKeyRow, DeliveryFilter, StoreError, WalletRow, WebhookRow};
use crate::types::Timestamp;
use crate::web::Operator;
use crate::web::keys::Scope;

pub(super) mod deliveries;
pub(super) mod endpoints;
pub(super) mod keys;
mod meanings;
mod refused;

use deliveries::DeliveryLine;

/// The addresses of these pages.
pub(super) fn router() -> Router<Arc<Operator>> {
    Router::new()
        .route("/integrations", get(page))
        .route("/integrations/keys/new", get(keys::form))
        .route("/integrations/keys", post(keys::add))
        .route("/integrations/keys/{id}/revoke", post(keys::revoke))
        .route("/integrations/webhooks/new", get(endpoints::form))
        .route("/integrations/webhooks", post(endpoints::add))
        .route("/integrations/webhooks/{id}", get(endpoints::page))
        .route("/integrations/webhooks/{id}/test", post(endpoints::test))
        .route("/integrations/webhooks/{id}/enable", post(endpoints::enable))
        .route("/integrations/webhooks/{id}/disable", post(endpoints::disable))
        .route("/integrations/webhooks/{id}/remove", post(endpoints::remove))
        .route("/integrations/deliveries/{id}/redeliver", post(deliveries::redeliver))
}

/// Deliveries that the page shows; an endpoint's own page has them all.
const SHOWN: u32 = 10;

/// Where the pages below this one lead back to.
fn above() -> (String, String) {
    ("/integrations".to_owned(), "Integrations".to_owned())
}

/// A page says one thing that was done, by a fixed word of the query.
#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    said: String,
}

fn said(word: &str) -> Option<&'static str> {
    match word {
        "revoked" => Some("The key opens nothing any more."),
        "removed" => Some("The endpoint is forgotten, with its secret and its deliveries."),
        _ => None,
    }
}

/// A key as a line of a list.
struct KeyLine {
    id: i64,
    label: String,
    may: String,
    today: Option<String>,
    made: String,
    made_iso: String,
    ends: Option<(String, String)>,
    state: &'static str,
}

/// An endpoint as a line of a list.
struct EndpointLine {
    id: i64,
    label: String,
    url: String,
    gets: String,
    /// Deliveries that did not arrive so far.
    left: Option<String>,
    state: String,
    state_class: &'static str,
}

#[derive(Template)]
#[template(path = "integrations/page.html")]
struct Page {
    shell: Shell,
    said: Option<&'static str>,
    keys: Vec<KeyLine>,
    dead: Vec<KeyLine>,
    endpoints: Vec<EndpointLine>,
    deliveries: Vec<DeliveryLine>,
    alone: bool,
    sample: String,
}

/// `GET /integrations`.
pub(super) async fn page(desk: Desk, query: Result<Query<Asked>, QueryRejection>) -> Response {
    let Ok(Query(asked)) = query else { return entry::incomplete() };
    match read(&desk, &asked.said).await {
        Ok(page) => html(StatusCode::OK, &page),
        Err(error) => super::fault(&error),
    }
}

async fn read(desk: &Desk, word: &str) -> Result<Page, StoreError> {
    let (ledger, now) = (&desk.op.parts.ledger, desk.op.parts.clock.now());
    let rows = ledger.list_api_keys().await?;
    let wallets = ledger.wallets(now).await?;
    let line = |row: &ApiKeyRow| key_line(row, wallets.iter().find(|wallet| wallet.key == row.id), now);
    // The newest first: it is the one that somebody is about to use.
    let (keys, dead) = rows.iter().rev().map(line).partition(|line| line.state == "live");
    let hooks = ledger.webhooks().await?;
    let deliveries = ledger.deliveries(DeliveryFilter::default(), SHOWN).await?;
    Ok(Page {
        said: said(word),
        keys,
        dead,
        deliveries: deliveries.iter().map(|row| DeliveryLine::of(row, &hooks)).collect(),
        endpoints: hooks.iter().map(endpoint_line).collect(),
        alone: false,
        sample: crate::webhooks::sample(now),
        shell: desk.shell(Section::Integrations).await,
    })
}

fn key_line(row: &ApiKeyRow, wallet: Option<&WalletRow>, now: Timestamp) -> KeyLine {
    let over = row.expires_at.is_some_and(|ends| ends <= now);
    KeyLine {
        id: row.id,
        label: row.label.clone(),
        may: may(&row.scopes),
        today: wallet.map(|wallet| {
            let sat = |amount: crate::types::Msat| sats_exact(amount.msat());
            format!("{} of {} sat", sat(wallet.spent), sat(wallet.limits.per_day))
        }),
        made: utc(row.created_at),
        made_iso: iso(row.created_at),
        ends: row.expires_at.map(|ends| (utc(ends), iso(ends))),
        state: match (row.revoked_at, over) {
            (Some(_), _) => "revoked",
            (None, true) => "ran out",
            (None, false) => "live",
        },
    }
}

/// The words of a key's scopes, each told once.
fn may(scopes: &str) -> String {
    let words =
        Scope::ALL.into_iter().filter(|scope| scopes.split([' ', ',']).any(|word| word == scope.word()));
    words.map(Scope::word).collect::<Vec<_>>().join(", ")
}

fn endpoint_line(row: &WebhookRow) -> EndpointLine {
    let (state, state_class) = standing(row);
    EndpointLine {
        id: row.id,
        label: row.label.clone(),
        url: row.url.clone(),
        gets: gets(&row.topics),
        left: left(row),
        state,
        state_class,
    }
}

/// What did not arrive at an endpoint: what waits, and what was given up.
fn left(row: &WebhookRow) -> Option<String> {
    match (row.waiting, row.parked) {
        (0, 0) => None,
        // How it stands says how many.
        (_, 0) if row.failing > 0 => None,
        (waiting, 0) => Some(format!("{} waiting", grouped(waiting))),
        (0, parked) => Some(format!("{} given up", grouped(parked))),
        (_, parked) if row.failing > 0 => Some(format!("{} given up", grouped(parked))),
        (waiting, parked) => Some(format!("{} waiting, {} given up", grouped(waiting), grouped(parked))),
    }
}

/// How an endpoint stands, in words and as a dot.
fn standing(row: &WebhookRow) -> (String, &'static str) {
    match &row.disabled {
        Some((_, why)) => (format!("Disabled: {why}"), "bad"),
        None if row.failing > 0 => (format!("Failing, {} waiting", grouped(row.waiting)), "bad"),
        None if row.parked > 0 => ("Some deliveries were given up".to_owned(), "bad"),
        None => ("Enabled".to_owned(), "good"),
    }
}

/// What an endpoint chose.
fn gets(topics: &str) -> String {
    match topics.split_whitespace().collect::<Vec<_>>().as_slice() {
        [] => "everything".to_owned(),
        chosen if chosen.len() > 3 => format!("{} and {} more", chosen[0], chosen.len() - 1),
        chosen => chosen.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_key_may_and_an_endpoint_gets_is_told_shortly() {
        assert_eq!(may("pay read"), "read, pay");
        assert_eq!(may("admin"), "admin");
        assert_eq!(gets(""), "everything");
        assert_eq!(gets("payment.received token.revoked"), "payment.received, token.revoked");
        assert_eq!(gets("a b c d"), "a and 3 more");
    }
}
