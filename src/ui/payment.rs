//! One payment in full: what arrived, what was sold for it, and what became of every unit.

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query};
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;

use super::figures::{counted, fiat, grouped, iso, sats_exact, utc};
use super::payment_line::PaymentLine;
use super::shell::{Desk, Section, Shell};
use super::{entry, fault, html};
use crate::clock::in_words;
use crate::pricing::Fiat;
use crate::store::{GrantRow, SpendRow, StoreError};
use crate::storefront::TooDear;
use crate::types::{Kind, PaymentHash, Timestamp};

/// Requests shown.
const SHOWN: u32 = 100;

/// A name and what is said of it.
struct Fact {
    name: &'static str,
    value: String,
    /// Of a moment, as a machine reads it.
    iso: Option<String>,
}

/// One request that was charged.
struct Spend {
    number: String,
    at: String,
    at_iso: String,
    route: String,
    used: String,
    earned: String,
    bytes: String,
    how: &'static str,
}

#[derive(Template)]
#[template(path = "payment.html")]
struct Page {
    shell: Shell,
    hash: String,
    payment: Option<PaymentLine>,
    quote: Option<String>,
    kept: Option<String>,
    label: Option<String>,
    facts: Vec<Fact>,
    /// It was used or given away: the ledger knows what is in it.
    presented: bool,
    spends: Vec<Spend>,
    more: bool,
    /// Whether it may be revoked: something may still be drawn, or it was not presented yet.
    revocable: bool,
    /// It was revoked a moment ago.
    revoked: bool,
}

/// What the page is asked for after a change that went well.
#[derive(Debug, Deserialize)]
pub(super) struct After {
    said: Option<String>,
}

/// `GET /payments/{payment_hash}`: of a granted token, too.
pub(super) async fn page(
    desk: Desk,
    Path(hash): Path<String>,
    query: Result<Query<After>, QueryRejection>,
) -> Response {
    let Ok(hash) = hash.parse::<PaymentHash>() else {
        return entry::unknown(
            "This is not a payment hash: one has 64 digits of 0-9 and a-f, all of them. Tokens finds one by how it begins, or \
             by its label.",
        );
    };
    let Ok(Query(after)) = query else { return entry::incomplete() };
    let revoked = after.said.as_deref() == Some("revoked");
    match read(&desk, hash).await.map(|page| page.map(|page| Page { revoked, ..page })) {
        Ok(Some(page)) => html(StatusCode::OK, &page),
        Ok(None) => entry::unknown("No payment with that hash arrived, and no token was granted under it."),
        Err(error) => fault(&error),
    }
}

async fn read(desk: &Desk, hash: PaymentHash) -> Result<Option<Page>, StoreError> {
    let ledger = &desk.op.parts.ledger;
    ledger.barrier().await;
    let (payment, grant) = (ledger.payment(hash).await?, ledger.grant(hash).await?);
    if payment.is_none() && grant.is_none() {
        return Ok(None);
    }
    let revoked_at = ledger.revoked_at(hash).await?;
    let mut spends = ledger.spends(hash, SHOWN + 1, None).await?;
    let shown = usize::try_from(SHOWN).unwrap_or(usize::MAX);
    let more = spends.len() > shown;
    spends.truncate(shown);
    let refused = grant.as_ref().and_then(|row| desk.op.parts.storefront.refuses(row));
    let quote = payment.as_ref().and_then(|row| row.quote.clone());
    let quote = quote.or_else(|| grant.as_ref().and_then(|row| row.quote.clone()));
    let kept = payment.as_ref().map_or(0, |row| row.opening_fee.msat());
    Ok(Some(Page {
        hash: hash.to_hex(),
        quote: quote.as_deref().map(quoted),
        kept: (kept > 0).then(|| sats_exact(kept)),
        label: grant.as_ref().and_then(|row| row.label.clone()),
        facts: facts(grant.as_ref(), refused, revoked_at),
        presented: grant.is_some(),
        spends: spends.iter().map(|spend| used(spend, grant.as_ref())).collect(),
        shell: desk.shell(if payment.is_some() { Section::Revenue } else { Section::Tokens }).await,
        payment: payment.as_ref().map(PaymentLine::of),
        more,
        revocable: revoked_at.is_none() && grant.as_ref().is_none_or(|row| row.over_at.is_none()),
        revoked: false,
    }))
}

/// `0.32 USD@64000`, as a token holds it, with its rate as a person reads it.
fn quoted(quote: &str) -> String {
    let told = || {
        let (price, rate) = quote.split_once('@')?;
        let price: Fiat = price.parse().ok()?;
        let rate: Fiat = format!("{rate} {}", price.currency).parse().ok()?;
        Some(format!("{} at {} for one bitcoin", fiat(price), fiat(rate)))
    };
    told().unwrap_or_else(|| quote.to_owned())
}

/// How the token stands, what became of its units, and its time.
fn facts(grant: Option<&GrantRow>, refused: Option<TooDear>, revoked_at: Option<Timestamp>) -> Vec<Fact> {
    let said = |name, value: String| Fact { name, value, iso: None };
    let moment = |name, at| Fact { name, value: utc(at), iso: Some(iso(at)) };
    let revoked = revoked_at.map(|at| moment("Revoked on", at));
    let Some(row) = grant else {
        return revoked.into_iter().flat_map(|when| [said("State", "Revoked".to_owned()), when]).collect();
    };
    let state = row.state().words();
    let state = refused.map_or_else(|| state.to_owned(), |why| format!("{state}, but refused now: {why}"));
    let mut facts = vec![said("State", state)];
    facts.extend(revoked);
    facts.extend(units(row));
    let since = if row.grant.kind == Kind::Granted { "Valid from" } else { "First used" };
    facts.push(moment(since, row.redeemed_at));
    let until = if revoked_at.is_some() { "Was to be valid until" } else { "Valid until" };
    facts.push(moment(until, row.grant.valid_until));
    if row.grant.kind != Kind::Granted {
        let made_of = "the invoice’s time, 2 hours for a payment that arrives late, and the token’s own time";
        facts.push(said("That is", made_of.to_owned()));
    }
    facts
}

/// What became of a token's units.
fn units(row: &GrantRow) -> Vec<Fact> {
    let grant = &row.grant;
    let budget = grant.budget.map(|budget| Fact {
        name: "Budget",
        value: format!("{} in each {}", amount(grant.kind, budget.units), in_words(budget.per)),
        iso: None,
    });
    let sold = match (grant.kind, grant.budget) {
        (Kind::Granted, Some(_)) => "Given so far",
        (Kind::Granted, None) => "Given",
        _ => "Sold",
    };
    let amounts = [
        (sold, grant.sold),
        ("Left", grant.left),
        ("On its way", grant.held),
        ("Used", grant.spent),
        ("Expired", grant.expired),
        ("Revoked", grant.revoked),
    ];
    // What did not happen is not told; how much was sold and what is left always is.
    let told = amounts.into_iter().filter(|(name, units)| *units > 0 || *name == sold || *name == "Left");
    let told = told.map(|(name, units)| Fact { name, value: amount(grant.kind, units), iso: None });
    let back = grant.restored.saturating_add(grant.crash_restored);
    let back = (back > 0).then(|| Fact {
        name: "Given back after a failure",
        value: counted(back, "request"),
        iso: None,
    });
    budget.into_iter().chain(told).chain(back).collect()
}

/// So many of a kind's units, with their unit.
pub(super) fn amount(kind: Kind, units: u64) -> String {
    match kind {
        Kind::Balance | Kind::Granted => format!("{} sat", sats_exact(units)),
        Kind::Pass if units == 1 => "1 pass".to_owned(),
        Kind::Pass => format!("{} passes", grouped(units)),
        Kind::Request | Kind::Pack => counted(units, "request"),
    }
}

fn used(spend: &SpendRow, grant: Option<&GrantRow>) -> Spend {
    let kind = grant.map_or(Kind::Request, |row| row.grant.kind);
    Spend {
        number: grouped(spend.number),
        at: utc(spend.at),
        at_iso: iso(spend.at),
        route: spend.route.to_string(),
        used: amount(kind, spend.units),
        earned: sats_exact(spend.earned.msat()),
        bytes: grouped(spend.bytes),
        how: spend.how.code(),
    }
}
