//! Tokens that a restored ledger cannot prove: refused until the operator says that they are good.

use askama::Template;
use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::response::{IntoResponse, Redirect, Response};
use http::StatusCode;
use serde::Deserialize;

use crate::store::{Doubt, StoreError};
use crate::types::PaymentHash;
use crate::ui::figures::{iso, sats_exact, shortened, utc};
use crate::ui::form::Fields;
use crate::ui::question::Question;
use crate::ui::shell::{Desk, Section, Shell};
use crate::ui::{entry, fault, html};

/// Tokens shown.
const SHOWN: u32 = 200;

/// One token in doubt.
struct Line {
    hash: String,
    short: String,
    about: String,
    price: String,
    came: Option<(String, String)>,
    honoured: bool,
    /// Given away after the copy was made: nobody knows what may be drawn from it.
    given_after: bool,
}

#[derive(Template)]
#[template(path = "tokens/doubtful.html")]
struct Page {
    shell: Shell,
    said: Option<&'static str>,
    /// Since when, where any token is in doubt.
    since: Option<(String, String)>,
    lines: Vec<Line>,
}

/// What the page is asked for.
#[derive(Debug, Deserialize)]
pub(super) struct After {
    said: Option<String>,
}

/// `GET /tokens/doubtful`.
pub(super) async fn page(desk: Desk, query: Result<Query<After>, QueryRejection>) -> Response {
    let Ok(Query(after)) = query else { return entry::incomplete() };
    let said = match after.said.as_deref() {
        Some("honoured") => Some("It is good again, as far as the copy of the ledger knows it."),
        Some("all") => Some("All of them are good again, as far as the copy of the ledger knows them."),
        Some("given") => Some(
            "Nothing changed: it was given away after the copy was made, so nobody knows what may be drawn from it. \
             Give its holder another one.",
        ),
        Some("same") => Some("Nothing changed: it was honoured before, or no token is in doubt."),
        _ => None,
    };
    match read(&desk, said).await {
        Ok(page) => html(StatusCode::OK, &page),
        Err(error) => fault(&error),
    }
}

async fn read(desk: &Desk, said: Option<&'static str>) -> Result<Page, StoreError> {
    let ledger = &desk.op.parts.ledger;
    ledger.barrier().await;
    let life = ledger.generation().await?;
    let doubts = ledger.doubts(SHOWN).await?;
    Ok(Page {
        said,
        since: (life.doubtful_below_epoch > 0).then(|| (iso(life.begun_at), utc(life.begun_at))),
        lines: doubts.iter().map(line).collect(),
        shell: desk.shell(Section::Tokens).await,
    })
}

fn line(doubt: &Doubt) -> Line {
    let hash = doubt.payment_hash.to_hex();
    let names = [doubt.service.as_ref(), doubt.route.as_ref()];
    let names: Vec<&str> = names.into_iter().flatten().map(crate::types::Name::as_str).collect();
    Line {
        short: shortened(&hash),
        hash,
        about: match (names.is_empty(), doubt.presented_at) {
            (true, None) => "not presented yet".to_owned(),
            (true, Some(_)) => "–".to_owned(),
            (false, _) => names.join(" / "),
        },
        price: doubt
            .price_msat
            .map_or_else(|| "–".to_owned(), |msat| format!("{} sat", sats_exact(msat.msat()))),
        came: doubt.presented_at.map(|at| (iso(at), utc(at))),
        honoured: doubt.honoured_at.is_some(),
        given_after: doubt.given_after,
    }
}

/// `POST /tokens/doubtful`: one by its hash, or all.
pub(super) async fn honour(desk: Desk, fields: Fields) -> Response {
    let one = match fields.optional("hash").map(str::parse::<PaymentHash>) {
        None => None,
        Some(Ok(hash)) => Some(hash),
        Some(Err(_)) => return entry::incomplete(),
    };
    let (title, what) = match one {
        Some(hash) => (
            "Honour this token?".to_owned(),
            format!("The token of payment {} opens again what the copy says is left of it.", hash.to_hex()),
        ),
        None => (
            "Honour all tokens from before the restore?".to_owned(),
            "Every token from before the restore opens again what the copy says is left of it, also those that did \
             not come yet."
                .to_owned(),
        ),
    };
    let unearned = match desk.op.parts.ledger.revenue(desk.op.parts.clock.now()).await {
        Ok(revenue) => sats_exact(revenue.unearned.msat()),
        Err(error) => return fault(&error),
    };
    let question = Question {
        section: Section::Tokens,
        above: ("/tokens/doubtful".to_owned(), "Tokens in doubt".to_owned()),
        title,
        lines: vec![
            what,
            // What was sold after the copy was made, it does not know.
            match (one, unearned.as_str()) {
                (Some(_), _) | (None, "0") => String::new(),
                (None, unearned) => {
                    format!("As far as the copy knows, {unearned} sat were paid ahead and are not used up.")
                }
            },
            "What was used after the copy was made can be used once more: you lose that, and no buyer loses \
             anything."
                .to_owned(),
        ]
        .into_iter()
        .filter(|line| !line.is_empty())
        .collect(),
        warning: Some("This cannot be undone.".to_owned()),
        action: "/tokens/doubtful".to_owned(),
        fields: fields.again(&["hash"]),
        yes: Some(if one.is_some() { "Honour it" } else { "Honour them all" }),
        refusal: None,
    };
    let ledger = &desk.op.parts.ledger;
    if let Some(hash) = one {
        match ledger.is_given_after(hash).await {
            Ok(false) => {}
            Ok(true) => return Redirect::to("/tokens/doubtful?said=given").into_response(),
            Err(error) => return fault(&error),
        }
    }
    if let Err(response) = question.answered(&desk, &fields).await {
        return response;
    }
    let done = match one {
        Some(hash) => ledger.honour(hash).await,
        None => ledger.honour_all().await,
    };
    let word = match (done, one) {
        (Ok(true), Some(_)) => "honoured",
        (Ok(true), None) => "all",
        (Ok(false), _) => "same",
        (Err(error), _) => return fault(&error),
    };
    Redirect::to(&format!("/tokens/doubtful?said={word}")).into_response()
}
