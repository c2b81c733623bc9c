//! Tokens: who holds what, what is left of it, when it was used last.

mod doubtful;
mod grant;
mod revoke;

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use http::StatusCode;
use serde::Deserialize;

use super::figures::{counted, iso, sats_exact, shortened, utc};
use super::listing::{Choice, Pages};
use super::payment::amount;
use super::shell::{Desk, Section, Shell};
use super::{entry, fault, html};
use crate::store::{GrantFilter, GrantRow, GrantState, PaymentState, StoreError};
use crate::storefront::TooDear;
use crate::types::{Kind, Name, PaymentHash, Timestamp};
use crate::web::Operator;

/// Tokens on one page.
const SHOWN: u32 = 25;
/// The longest search that is looked for, in bytes.
const LONGEST_SEARCH: usize = 100;
/// The page above those of this room.
fn above() -> (String, String) {
    ("/tokens".to_owned(), "Tokens".to_owned())
}

/// The pages' addresses.
pub(super) fn router() -> Router<Arc<Operator>> {
    Router::new()
        .route("/tokens", get(page))
        .route("/tokens/grant", get(grant::form).post(grant::give))
        .route("/tokens/doubtful", get(doubtful::page).post(doubtful::honour))
        .route("/payments/{payment_hash}/revoke", post(revoke::revoke))
}

/// What the page is asked for.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    search: Option<String>,
    state: Option<String>,
    service: Option<String>,
    before: Option<i64>,
}

/// One line of the list.
struct Line {
    hash: String,
    short: String,
    label: Option<String>,
    about: String,
    what: String,
    left: String,
    state: &'static str,
    class: &'static str,
    /// Why what is left is refused at this moment.
    refused: Option<String>,
    used: Option<(String, String)>,
}

#[derive(Template)]
#[template(path = "tokens.html")]
struct Page {
    shell: Shell,
    search: String,
    state: String,
    service: Option<Name>,
    states: Vec<Choice>,
    lines: Vec<Line>,
    /// Whether something narrows the list.
    narrowed: bool,
    refusal: Option<&'static str>,
    /// What was paid ahead, if anything was.
    unearned: Option<String>,
    doubt: bool,
    pages: Pages,
}

/// `GET /tokens?search&state&service&before`; the whole hash of a payment leads to its page.
async fn page(desk: Desk, query: Result<Query<Asked>, QueryRejection>) -> Response {
    let Ok(Query(asked)) = query else { return entry::incomplete() };
    let search = asked.search.as_deref().map(str::trim).unwrap_or_default();
    if let Ok(hash) = search.parse::<PaymentHash>() {
        match known(&desk, hash).await {
            Ok(true) => return Redirect::to(&format!("/payments/{}", hash.to_hex())).into_response(),
            Ok(false) => {}
            Err(error) => return fault(&error),
        }
    }
    match read(&desk, &asked, search).await {
        Ok(page) => html(StatusCode::OK, &page),
        Err(error) => fault(&error),
    }
}

async fn known(desk: &Desk, hash: PaymentHash) -> Result<bool, StoreError> {
    let ledger = &desk.op.parts.ledger;
    ledger.barrier().await;
    Ok(ledger.grant(hash).await?.is_some() || ledger.payment(hash).await?.is_some())
}

async fn read(desk: &Desk, asked: &Asked, search: &str) -> Result<Page, StoreError> {
    let ledger = &desk.op.parts.ledger;
    ledger.barrier().await;
    let state = GrantState::ALL.into_iter().find(|(word, _)| asked.state.as_deref() == Some(*word));
    let service = asked.service.as_deref().and_then(|name| name.parse::<Name>().ok());
    let long = search.len() > LONGEST_SEARCH;
    let filter = GrantFilter {
        text: Some(search.to_owned()).filter(|text| !text.is_empty()),
        service: service.clone(),
        kind: None,
        state: state.map(|(_, state)| state),
    };
    // One more than is shown tells whether there is a next page.
    let mut rows = if long { Vec::new() } else { ledger.grants(filter, SHOWN + 1, asked.before).await? };
    let word = state.map_or("", |(word, _)| word);
    let link = |state: &str, before| link(search, state, service.as_ref(), before);
    let pages = Pages::of(&mut rows, SHOWN, asked.before, |row| row.id, |before| link(word, before));
    let mut lines = Vec::with_capacity(rows.len());
    for row in &rows {
        let spends = ledger.spends(row.payment_hash, 1, None).await?;
        let refused = desk.op.parts.storefront.refuses(row);
        lines.push(line(row, refused, spends.first().map(|spend| spend.at)));
    }
    let now = desk.op.parts.clock.now();
    let unearned = ledger.revenue(now).await?.unearned.msat();
    Ok(Page {
        search: search.to_owned(),
        state: word.to_owned(),
        states: STATES
            .into_iter()
            .map(|(state, name)| Choice { name, href: link(state, None), chosen: state == word })
            .collect(),
        lines,
        narrowed: !search.is_empty() || !word.is_empty() || service.is_some(),
        refusal: long.then_some("A search has 100 letters at most."),
        unearned: (unearned > 0).then(|| sats_exact(unearned)),
        doubt: ledger.generation().await?.doubtful_below_epoch > 0,
        pages,
        service,
        shell: desk.shell(Section::Tokens).await,
    })
}

const STATES: [(&str, &str); 5] =
    [("", "All"), ("live", "Live"), ("held", "In use now"), ("over", "Over"), ("revoked", "Revoked")];

fn link(search: &str, state: &str, service: Option<&Name>, before: Option<i64>) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    let texts = [("search", search), ("state", state), ("service", service.map_or("", Name::as_str))];
    for (name, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
        query.append_pair(name, text);
    }
    if let Some(before) = before {
        query.append_pair("before", &before.to_string());
    }
    match query.finish() {
        all if all.is_empty() => "/tokens".to_owned(),
        some => format!("/tokens?{some}"),
    }
}

fn line(row: &GrantRow, refused: Option<TooDear>, used: Option<Timestamp>) -> Line {
    let grant = &row.grant;
    let hash = row.payment_hash.to_hex();
    let state = if refused.is_some() { "Refused now" } else { row.state().words() };
    let class = match row.state() {
        _ if refused.is_some() => "bad",
        PaymentState::Held | PaymentState::Unredeemed | PaymentState::Left => "good",
        PaymentState::Spent | PaymentState::Expired => "",
        PaymentState::Revoked => "bad",
    };
    Line {
        short: shortened(&hash),
        hash,
        label: row.label.clone(),
        about: match grant.kind {
            Kind::Granted => row.service.to_string(),
            _ if row.service == row.route => row.service.to_string(),
            _ => format!("{} / {}", row.service, row.route),
        },
        what: what(row),
        left: left(row),
        state,
        class,
        refused: refused.map(|why| why.to_string()),
        used: used.map(|at| (iso(at), utc(at))),
    }
}

/// What was sold or given.
fn what(row: &GrantRow) -> String {
    let grant = &row.grant;
    match grant.kind {
        Kind::Request => "One request".to_owned(),
        Kind::Pack => format!("Pack of {}", counted(grant.sold, "request")),
        Kind::Pass => "Pass".to_owned(),
        Kind::Balance => format!("Balance of {}", amount(grant.kind, grant.sold)),
        Kind::Granted => match grant.budget {
            Some(budget) => format!(
                "Given: {} in each {}",
                amount(grant.kind, budget.units),
                crate::clock::in_words(budget.per)
            ),
            None => format!("Given: {}", amount(grant.kind, grant.sold)),
        },
    }
}

fn left(row: &GrantRow) -> String {
    let grant = &row.grant;
    match (grant.kind, grant.opens_until) {
        (Kind::Pass, Some(until)) => format!("open until {}", utc(until)),
        _ if row.too_little() => format!("{}, too little for a request", amount(grant.kind, grant.left)),
        _ => amount(grant.kind, grant.left),
    }
}
