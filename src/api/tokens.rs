//! `/api/v1/tokens`: every token that the ledger knows, bought or given away; give one, take one back.
//!
//! The credential of a token that is given away stands in the answer that gives it and nowhere else.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{bad_body, bad_query, ledger_fault};
use crate::ledger::Counter;
use crate::store::{CounterRow, GrantFilter, GrantRow, GrantState, SpendRow};
use crate::types::{Bound, Kind, Name, PaymentHash};
use crate::web::{GiftWords, MayAdmin, MayRead, MaySpend, Operator, Problem};

/// The most rows of one page.
const MOST: u32 = 500;
/// The longest search that is looked for, in bytes.
const LONGEST_SEARCH: usize = 100;
/// What `POST /api/v1/tokens/grant` takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Give {
    service: Name,
    /// Such as `1000 sat`.
    budget: String,
    /// The budget is for each of so long, such as `day`; by default for the token's whole life.
    per: Option<String>,
    /// How long it is good, such as `30 days`.
    expires: Option<String>,
    label: String,
}

/// `POST /api/v1/tokens/grant`.
pub(super) async fn give(
    _: MaySpend,
    State(op): State<Arc<Operator>>,
    body: Result<Json<Give>, JsonRejection>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let Json(give) = body.map_err(bad_body)?;
    let words = GiftWords {
        service: give.service,
        budget: &give.budget,
        per: give.per.as_deref(),
        expires: give.expires.as_deref(),
        label: &give.label,
    };
    let ask = words.read()?;
    let told = ask.clone();
    let gift = op.give(ask).await?;
    let shown = json!({
        "payment_hash": gift.payment_hash,
        "service": told.service,
        "label": told.label,
        "budget_msat": told.budget,
        "per_seconds": told.per.map(|per| per.as_secs()),
        "valid_until": gift.valid_until,
        "macaroon": gift.macaroon(),
        "preimage": gift.preimage(),
        "authorization": gift.authorization(),
    });
    Ok((StatusCode::CREATED, Json(shown)))
}

/// Which tokens, and which page of them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    /// The beginning of a payment hash, or a part of a label.
    search: Option<String>,
    service: Option<Name>,
    kind: Option<String>,
    state: Option<String>,
    #[serde(default = "fifty")]
    limit: u32,
    before: Option<i64>,
}

fn fifty() -> u32 {
    50
}

/// `GET /api/v1/tokens`, newest first. `next_before` goes into the next question; it is `null` on the
/// last page.
pub(super) async fn list(
    _: MayRead,
    State(op): State<Arc<Operator>>,
    query: Result<Query<Page>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(page) = query.map_err(bad_query)?;
    if !(1..=MOST).contains(&page.limit) {
        return Err(Problem::bad_request("bad_query", format!("limit must be 1 to {MOST}.")));
    }
    let filter = filter(&page)?;
    op.parts.ledger.barrier().await;
    // One more than asked for tells whether there is a next page.
    let rows = op.parts.ledger.grants(filter, page.limit + 1, page.before).await;
    let mut rows = rows.map_err(ledger_fault)?;
    let most = usize::try_from(page.limit).unwrap_or(usize::MAX);
    let more = rows.len() > most;
    rows.truncate(most);
    let next_before = more.then(|| rows.last().map(|row| row.id)).flatten();
    let tokens: Vec<Value> = rows.iter().map(shown).collect();
    Ok(Json(json!({ "tokens": tokens, "next_before": next_before })))
}

fn filter(page: &Page) -> Result<GrantFilter, Problem> {
    let unknown = |what: &str, text: &str, known: Vec<&str>| {
        let detail = format!("`{text}` is no {what}: there are {}.", known.join(", "));
        Problem::bad_request("bad_query", detail)
    };
    let kind = |text: &String| {
        let known = || Kind::ALL.map(Kind::as_str).to_vec();
        text.parse::<Kind>().map_err(|_| unknown("kind", text, known()))
    };
    let state = |text: &String| {
        let found = GrantState::ALL.into_iter().find(|(word, _)| word == text);
        let known = || GrantState::ALL.map(|(word, _)| word).to_vec();
        found.map(|(_, state)| state).ok_or_else(|| unknown("state", text, known()))
    };
    let text = page.search.as_deref().map(str::trim).filter(|text| !text.is_empty());
    if text.is_some_and(|text| text.len() > LONGEST_SEARCH) {
        return Err(Problem::bad_request(
            "bad_query",
            format!("A search has {LONGEST_SEARCH} bytes at most."),
        ));
    }
    Ok(GrantFilter {
        text: text.map(str::to_owned),
        service: page.service.clone(),
        kind: page.kind.as_ref().map(kind).transpose()?,
        state: page.state.as_ref().map(state).transpose()?,
    })
}

/// Which page of a token's requests.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Spends {
    #[serde(default = "fifty")]
    limit: u32,
    before: Option<u64>,
}

/// `GET /api/v1/tokens/{payment_hash}`: one token, the requests that were charged to it, and what its
/// holders allowed others.
pub(super) async fn look(
    _: MayRead,
    State(op): State<Arc<Operator>>,
    Path(payment_hash): Path<String>,
    query: Result<Query<Spends>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(Spends { limit, before }) = query.map_err(bad_query)?;
    if !(1..=MOST).contains(&limit) {
        return Err(Problem::bad_request("bad_query", format!("limit must be 1 to {MOST}.")));
    }
    let hash = hash(&payment_hash)?;
    op.parts.ledger.barrier().await;
    let row = op.parts.ledger.grant(hash).await.map_err(ledger_fault)?.ok_or_else(|| {
        let detail = "No token of that payment was used or granted yet.";
        Problem::new(StatusCode::NOT_FOUND, "unknown_token", detail)
    })?;
    let spends = op.parts.ledger.spends(hash, limit, before).await.map_err(ledger_fault)?;
    let limits = op.parts.ledger.counters(hash).await.map_err(ledger_fault)?;
    let mut token = shown(&row);
    token["limits"] = limits.iter().map(limited).collect();
    token["spends"] = spends.iter().map(spend).collect();
    Ok(Json(token))
}

/// `DELETE /api/v1/tokens/{payment_hash}`: the token opens nothing any more, used before or not, and an
/// answer that is metered for it ends.
pub(super) async fn revoke(
    _: MayAdmin,
    State(op): State<Arc<Operator>>,
    Path(payment_hash): Path<String>,
) -> Result<Json<Value>, Problem> {
    let hash = hash(&payment_hash)?;
    let ledger = &op.parts.ledger;
    let known = ledger.grant(hash).await.map_err(ledger_fault)?.is_some();
    let units = ledger.revoke(hash).await.map_err(ledger_fault)?;
    Ok(Json(json!({ "payment_hash": hash, "known": known, "revoked_units": units })))
}

fn hash(text: &str) -> Result<PaymentHash, Problem> {
    text.parse()
        .map_err(|error| Problem::bad_request("bad_payment_hash", format!("The payment hash: {error}.")))
}

fn shown(row: &GrantRow) -> Value {
    let grant = &row.grant;
    let unit = match grant.kind {
        Kind::Request | Kind::Pack => "request",
        Kind::Pass => "pass",
        Kind::Balance | Kind::Granted => "msat",
    };
    json!({
        "payment_hash": row.payment_hash,
        "kind": grant.kind,
        "state": row.state().code(),
        "label": row.label,
        "service": row.service,
        "route": row.route,
        "price_msat": grant.price,
        "quote": row.quote,
        "unit": unit,
        "units": {
            "sold": grant.sold,
            "left": grant.left,
            "held": grant.held,
            "spent": grant.spent,
            "expired": grant.expired,
            "revoked": grant.revoked,
        },
        "calls": grant.calls,
        "bytes": grant.bytes,
        "restored": grant.restored,
        "budget_msat": grant.budget.map(|budget| budget.units),
        "per_seconds": grant.budget.map(|budget| budget.per.as_secs()),
        "opens_until": grant.opens_until,
        "since": row.redeemed_at,
        "valid_until": grant.valid_until,
        "over_at": row.over_at,
    })
}

fn limited(row: &CounterRow) -> Value {
    let Counter { bound, used, held } = row.counter;
    let unit = match bound {
        Bound::Uses(_) => "request",
        Bound::Spend(_) => "msat",
    };
    json!({
        "counter": row.id,
        "below": row.below,
        "unit": unit,
        "most": bound.most(),
        "used": used,
        "held": held,
        "left": row.counter.rest(),
    })
}

fn spend(row: &SpendRow) -> Value {
    json!({
        "number": row.number,
        "at": row.at,
        "route": row.route,
        "units": row.units,
        "earned_msat": row.earned,
        "bytes": row.bytes,
        "how": row.how.code(),
    })
}
