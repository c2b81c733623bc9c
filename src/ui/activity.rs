//! Activity: what happened, in one list.

mod codes;
mod prices;
mod superseded;
mod words;

use std::collections::BTreeSet;

use askama::Template;
use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use super::figures::{iso, utc};
use super::listing::{Choice, Pages};
use super::sale::Sale;
use super::shell::{Desk, Section, Shell};
use super::{entry, fault, html};
use crate::event::{Event, LoggedEvent, Subject};
use crate::store::{ChannelRow, OperationRow, OperationState, StoreError};
use superseded::Superseded;
use words::Told;

/// Events on one page.
const SHOWN: u32 = 50;

/// What the page is asked for.
#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    about: Option<String>,
    before: Option<i64>,
}

/// One event.
struct Line {
    at: String,
    at_iso: String,
    told: Told,
}

#[derive(Template)]
#[template(path = "activity.html")]
struct Page {
    shell: Shell,
    choices: Vec<Choice>,
    lines: Vec<Line>,
    pages: Pages,
    table: String,
    sale: Sale,
}

/// `GET /activity?about&before`.
pub(super) async fn page(desk: Desk, query: Result<Query<Asked>, QueryRejection>) -> Response {
    let Ok(Query(asked)) = query else { return entry::incomplete() };
    let subject = asked.about.as_deref().and_then(Subject::of_word);
    let mut rows = match desk.op.parts.ledger.activity(subject, asked.before, SHOWN + 1).await {
        Ok(rows) => rows,
        Err(error) => return fault(&error),
    };
    let to = |before| link("/activity", subject, before);
    let pages = Pages::of(&mut rows, SHOWN, asked.before, |row| row.id, to);
    if let Err(error) = name_sales(&desk, &mut rows).await {
        return fault(&error);
    }
    let lines = match lines(&desk, &rows).await {
        Ok(lines) => lines,
        Err(error) => return fault(&error),
    };
    let page = Page {
        choices: choices(subject),
        pages,
        table: link("/api/v1/activity.csv", subject, None),
        lines,
        sale: Sale::of(&desk.op),
        shell: desk.shell(Section::Activity).await,
    };
    html(StatusCode::OK, &page)
}

/// What became known of payments after they were logged: what they were for.
async fn name_sales(desk: &Desk, rows: &mut [LoggedEvent]) -> Result<(), StoreError> {
    for row in rows {
        if let Event::PaymentReceived { payment_hash, service, route, .. } = &mut row.event
            && service.is_none()
            && let Some(known) = desk.op.parts.ledger.payment(*payment_hash).await?
        {
            (*service, *route) = (known.service, known.route);
        }
    }
    Ok(())
}

/// The rows in words. The newest of a move of coins says how it stands; its older ones are left to the table.
async fn lines(desk: &Desk, rows: &[LoggedEvent]) -> Result<Vec<Line>, StoreError> {
    let ledger = &desk.op.parts.ledger;
    let (mut lines, mut moves) = (Vec::new(), BTreeSet::new());
    let told = Superseded::among(ledger, rows).await?;
    for row in rows {
        if told.leaves_out(row) {
            continue;
        }
        let told = match &row.event {
            Event::OperationBegun { operation, .. } | Event::OperationChanged { operation, .. } => {
                let known = ledger.operation(*operation).await?;
                let newest = known.as_ref().is_none_or(|known| is_newest(&row.event, known));
                if !newest || !moves.insert(*operation) {
                    continue;
                }
                told_beside(&row.event, &known.map(|known| known.ask).unwrap_or_default(), None)
            }
            Event::ChannelClosed { local_id, .. } => {
                let record = ledger.channel_record(local_id).await?;
                told_beside(&row.event, &Value::Null, record.as_ref())
            }
            Event::ChannelReady { channel_id, peer } if told.was_ready(row) => {
                Told::resized(channel_id, peer)
            }
            Event::ChannelCoinsHome { channel_id, .. } => {
                let record = ledger.channel_called(channel_id).await?;
                told_beside(&row.event, &Value::Null, record.as_ref())
            }
            event => Told::of(event),
        };
        lines.push(Line { at: utc(row.at), at_iso: iso(row.at), told });
    }
    Ok(lines)
}

/// `event` with what stands beside it: `ask` is what its operation asked for, `record` that of its channel.
fn told_beside(event: &Event, ask: &Value, record: Option<&ChannelRow>) -> Told {
    match event {
        Event::OperationBegun { .. } | Event::OperationChanged { .. } => Told::of_move(event, ask),
        Event::ChannelClosed { .. } => {
            let told = Told::of(event).returning(record.and_then(ChannelRow::back_sat));
            record.into_iter().fold(told, Told::costing)
        }
        Event::ChannelCoinsHome { channel_id, peer, amount_sat, exactly } => {
            // What the wallet got may be known since.
            let came = record.and_then(|record| record.came_sat);
            Told::of(&Event::ChannelCoinsHome {
                channel_id: channel_id.clone(),
                peer: peer.clone(),
                amount_sat: came.unwrap_or(*amount_sat),
                exactly: *exactly || came.is_some(),
            })
        }
        event => Told::of(event),
    }
}

/// An event in the words of this page.
pub struct Said {
    /// What happened.
    pub what: String,
    /// More of it.
    pub more: Option<String>,
    /// What came or went, with its sign, satoshi; without one what only changed its place.
    pub amount: Option<String>,
}

/// `event` as this page tells it, for who reads the log elsewhere. `ask` is what its operation asked for, `record` that of
/// its channel, as far as they are known.
pub fn said(event: &Event, ask: &Value, record: Option<&ChannelRow>) -> Said {
    let Told { what, more, amount, .. } = told_beside(event, ask, record);
    Said { what, more, amount }
}

/// Whether the move still stands as `event` says, so that no newer line of it is on any page.
fn is_newest(event: &Event, known: &OperationRow) -> bool {
    match event {
        Event::OperationChanged { state, outcome, .. } => {
            known.state.word() == state && known.outcome == *outcome
        }
        _ => known.state == OperationState::Intended,
    }
}

const fn name(subject: Subject) -> &'static str {
    match subject {
        Subject::Payments => "Payments",
        Subject::Tokens => "Tokens",
        Subject::Payouts => "Payouts",
        Subject::Coins => "Coins",
        Subject::Channels => "Channels",
        Subject::Services => "Services",
        Subject::System => "System",
    }
}

fn choices(chosen: Option<Subject>) -> Vec<Choice> {
    let all = Choice { name: "Everything", href: "/activity".to_owned(), chosen: chosen.is_none() };
    let one = |subject: Subject| Choice {
        name: name(subject),
        href: link("/activity", Some(subject), None),
        chosen: chosen == Some(subject),
    };
    std::iter::once(all).chain(Subject::ALL.into_iter().map(one)).collect()
}

fn link(page: &str, subject: Option<Subject>, before: Option<i64>) -> String {
    let about = subject.map(|subject| format!("about={}", subject.word()));
    let before = before.map(|before| format!("before={before}"));
    let query: Vec<String> = about.into_iter().chain(before).collect();
    if query.is_empty() { page.to_owned() } else { format!("{page}?{}", query.join("&")) }
}
