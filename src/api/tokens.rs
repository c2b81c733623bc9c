//! `/api/v1/tokens`: every token that the ledger knows, bought or given away; give one, take one back.
//!
//! The credential of a token that is given away stands in the answer that gives it and nowhere else.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Query, State};
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::answer::{Created, Path};
use super::{bad_body, bad_query, ledger_fault};
use crate::ledger::Counter;
use crate::store::{CounterRow, GrantFilter, GrantRow, GrantState, SpendRow};
use crate::storefront::Storefront;
use crate::types::{Bound, CounterId, Kind, Msat, Name, PaymentHash, Timestamp};
use crate::web::{GiftWords, MayRead, MaySpend, Operator, Problem, Rows};

/// The longest search that is looked for, in bytes.
const LONGEST_SEARCH: usize = 100;

/// What `POST /api/v1/tokens/grant` takes.
#[derive(Debug, Deserialize, JsonSchema)]
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
) -> Result<Created<Gift>, Problem> {
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
    Ok(Created(Gift {
        payment_hash: gift.payment_hash,
        service: told.service,
        label: told.label,
        budget_msat: told.budget,
        per_seconds: told.per.map(|per| per.as_secs()),
        valid_until: gift.valid_until,
        macaroon: gift.macaroon(),
        preimage: gift.preimage(),
        authorization: gift.authorization(),
    }))
}

/// A token that was given away. Its credential is shown in this answer and never again.
#[derive(Serialize, JsonSchema)]
pub(super) struct Gift {
    payment_hash: PaymentHash,
    service: Name,
    label: String,
    budget_msat: Msat,
    /// The budget is filled up after each of so long.
    per_seconds: Option<u64>,
    valid_until: Timestamp,
    macaroon: String,
    preimage: String,
    /// Both, as the header of a request carries them.
    authorization: String,
}

/// Which tokens, and which page of them.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    /// The beginning of a payment hash, or a part of a label.
    search: Option<String>,
    service: Option<Name>,
    kind: Option<String>,
    state: Option<String>,
    #[serde(default)]
    limit: Rows,
    before: Option<i64>,
}

/// Tokens, newest first.
#[derive(Serialize, JsonSchema)]
pub(super) struct Tokens {
    tokens: Vec<Token>,
    next_before: Option<i64>,
}

/// `GET /api/v1/tokens`, newest first. `next_before` goes into the next question; it is `null` on the
/// last page.
pub(super) async fn list(
    _: MayRead,
    State(op): State<Arc<Operator>>,
    query: Result<Query<Page>, QueryRejection>,
) -> Result<Json<Tokens>, Problem> {
    let Query(page) = query.map_err(bad_query)?;
    let filter = filter(&page)?;
    op.parts.ledger.barrier().await;
    let rows = op.parts.ledger.grants(filter, page.limit.to_read(), page.before).await;
    let mut rows = rows.map_err(ledger_fault)?;
    let next_before = page.limit.page(&mut rows, |row| row.id);
    let tokens = rows.into_iter().map(|row| Token::of(row, &op.parts.storefront)).collect();
    Ok(Json(Tokens { tokens, next_before }))
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
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Spends {
    #[serde(default)]
    limit: Rows,
    before: Option<u64>,
}

/// `GET /api/v1/tokens/{payment_hash}`: one token, the requests that were charged to it, and what its
/// holders allowed others.
pub(super) async fn look(
    _: MayRead,
    State(op): State<Arc<Operator>>,
    Path(payment_hash): Path<String>,
    query: Result<Query<Spends>, QueryRejection>,
) -> Result<Json<Looked>, Problem> {
    let Query(page) = query.map_err(bad_query)?;
    let hash = hash(&payment_hash)?;
    op.parts.ledger.barrier().await;
    let found = in_full(&op, hash, &page).await?.ok_or_else(|| {
        let detail = "No token of that payment was used or granted yet.";
        Problem::new(StatusCode::NOT_FOUND, "unknown_token", detail)
    })?;
    Ok(Json(found))
}

/// The token, and a page of what was charged to it.
pub(super) async fn in_full(
    op: &Operator,
    hash: PaymentHash,
    Spends { limit, before }: &Spends,
) -> Result<Option<Looked>, Problem> {
    let (limit, before) = (*limit, *before);
    let Some(row) = op.parts.ledger.grant(hash).await.map_err(ledger_fault)? else { return Ok(None) };
    let mut spends = op.parts.ledger.spends(hash, limit.to_read(), before).await.map_err(ledger_fault)?;
    let next_before = limit.page(&mut spends, |spend| spend.number);
    let limits = op.parts.ledger.counters(hash).await.map_err(ledger_fault)?;
    Ok(Some(Looked {
        token: Token::of(row, &op.parts.storefront),
        limits: limits.iter().map(Limited::from).collect(),
        spends: spends.into_iter().map(Spend::from).collect(),
        next_before,
    }))
}

/// `DELETE /api/v1/tokens/{payment_hash}`: the token opens nothing any more, used before or not, and an
/// answer that is metered for it ends.
pub(super) async fn revoke(
    _: MaySpend,
    State(op): State<Arc<Operator>>,
    Path(payment_hash): Path<String>,
) -> Result<Json<Revoked>, Problem> {
    let hash = hash(&payment_hash)?;
    let ledger = &op.parts.ledger;
    let known = ledger.grant(hash).await.map_err(ledger_fault)?.is_some();
    let units = ledger.revoke(hash).await.map_err(ledger_fault)?;
    Ok(Json(Revoked { payment_hash: hash, known, revoked_units: units }))
}

/// What a payment hash looks like, and where one stands.
const NO_HASH: &str = "This is not a payment hash: one has 64 hexadecimal digits (0-9, a-f), all of them. The lists of \
                       payments and of tokens show them (GET /api/v1/payments, GET /api/v1/tokens?search=…).";

pub(super) fn hash(text: &str) -> Result<PaymentHash, Problem> {
    text.parse().map_err(|_| Problem::bad_request("bad_payment_hash", NO_HASH))
}

/// A token that was taken back.
#[derive(Serialize, JsonSchema)]
pub(super) struct Revoked {
    payment_hash: PaymentHash,
    /// It was used or granted before.
    known: bool,
    /// What was left of it.
    revoked_units: u64,
}

/// What somebody may use.
#[derive(Serialize, JsonSchema)]
struct Token {
    payment_hash: PaymentHash,
    kind: Kind,
    /// `held`, `left`, `spent` (used up), `expired` or `revoked`.
    state: &'static str,
    /// What is left was too little for a request that came; a cheaper one may draw it.
    too_little: bool,
    /// What is left is refused at its route's price of today, with an offer at that price; null where it opens it, or
    /// where that depends on the request.
    price_refused: Option<PriceRefused>,
    /// What the operator calls a token that was granted.
    label: Option<String>,
    service: Name,
    route: Name,
    price_msat: Msat,
    /// The price in another currency, with its rate.
    quote: Option<String>,
    /// What the units are.
    unit: &'static str,
    units: Units,
    /// Requests that were charged.
    calls: u64,
    /// Bytes of their answers.
    bytes: u64,
    /// Units that were given back.
    restored: u64,
    budget_msat: Option<u64>,
    /// The budget is filled up after each of so long.
    per_seconds: Option<u64>,
    /// Until when a pass must be used first.
    opens_until: Option<Timestamp>,
    since: Timestamp,
    valid_until: Timestamp,
    /// Since when nothing more can happen to it.
    over_at: Option<Timestamp>,
}

/// A price that a token does not open.
#[derive(Serialize, JsonSchema)]
struct PriceRefused {
    /// The dearest request that it opens.
    opens_msat: Msat,
    /// What a request of its route costs today.
    price_msat: Msat,
    /// Of a pack: it is good again when so many requests are sold together…
    #[serde(skip_serializing_if = "Option::is_none")]
    pack_requests: Option<u64>,
    /// … for this or less.
    #[serde(skip_serializing_if = "Option::is_none")]
    pack_msat: Option<Msat>,
}

/// What became of a token's units.
#[derive(Serialize, JsonSchema)]
struct Units {
    sold: u64,
    left: u64,
    held: u64,
    spent: u64,
    expired: u64,
    revoked: u64,
}

impl Token {
    fn of(row: GrantRow, storefront: &Storefront) -> Token {
        let refused = storefront.refuses(&row);
        let price_refused = refused.map(|why| PriceRefused {
            opens_msat: why.opens,
            price_msat: why.price,
            pack_requests: why.pack.map(|(requests, _)| requests),
            pack_msat: why.pack.map(|(_, sold)| sold),
        });
        let (state, too_little, grant) = (row.state().code(), row.too_little(), row.grant);
        let unit = match grant.kind {
            Kind::Request | Kind::Pack => "request",
            Kind::Pass => "pass",
            Kind::Balance | Kind::Granted => "msat",
        };
        Token {
            payment_hash: row.payment_hash,
            kind: grant.kind,
            state,
            too_little,
            price_refused,
            label: row.label,
            service: row.service,
            route: row.route,
            price_msat: grant.price,
            quote: row.quote,
            unit,
            units: Units {
                sold: grant.sold,
                left: grant.left,
                held: grant.held,
                spent: grant.spent,
                expired: grant.expired,
                revoked: grant.revoked,
            },
            calls: grant.calls,
            bytes: grant.bytes,
            restored: grant.restored,
            budget_msat: grant.budget.map(|budget| budget.units),
            per_seconds: grant.budget.map(|budget| budget.per.as_secs()),
            opens_until: grant.opens_until,
            since: row.redeemed_at,
            valid_until: grant.valid_until,
            over_at: row.over_at,
        }
    }
}

/// A token with what was charged to it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TokenInFull")]
pub(super) struct Looked {
    #[serde(flatten)]
    token: Token,
    /// What its holders allowed others.
    limits: Vec<Limited>,
    /// The requests that were charged to it, newest first.
    spends: Vec<Spend>,
    next_before: Option<u64>,
}

/// A limit that a holder put into a copy of the token.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TokenLimit")]
struct Limited {
    counter: CounterId,
    /// The first limit of its chain, when it is not that itself.
    below: Option<CounterId>,
    unit: &'static str,
    most: u64,
    used: u64,
    held: u64,
    left: u64,
}

impl From<&CounterRow> for Limited {
    fn from(row: &CounterRow) -> Limited {
        let Counter { bound, used, held } = row.counter;
        Limited {
            counter: row.id,
            below: row.below,
            unit: match bound {
                Bound::Uses(_) => "request",
                Bound::Spend(_) => "msat",
            },
            most: bound.most(),
            used,
            held,
            left: row.counter.rest(),
        }
    }
}

/// A request that was charged.
#[derive(Serialize, JsonSchema)]
struct Spend {
    /// Counts the token's requests from 1.
    number: u64,
    at: Timestamp,
    route: Name,
    units: u64,
    earned_msat: Msat,
    bytes: u64,
    /// How it came to be charged.
    how: &'static str,
}

impl From<SpendRow> for Spend {
    fn from(row: SpendRow) -> Spend {
        Spend {
            number: row.number,
            at: row.at,
            route: row.route,
            units: row.units,
            earned_msat: row.earned,
            bytes: row.bytes,
            how: row.how.code(),
        }
    }
}
