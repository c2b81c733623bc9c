//! `GET /api/v1/activity`: what happened, newest first, whole or about one subject; `activity.csv` the same as a
//! table.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answer::Table;
use super::{bad_query, ledger_fault};
use crate::event::{Event, LoggedEvent, Subject};
use crate::store::{ChannelRow, Ledger, OperationRow, OperationState, StoreError};
use crate::treasury::Moved;
use crate::types::Msat;
use crate::web::sheet::{self, Cell};
use crate::web::{MayRead, Operator, Problem, Rows};

/// Rows of a table that are read at once.
const BATCH: u32 = 1_000;

/// Which page.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Page {
    #[serde(default)]
    limit: Rows,
    before: Option<i64>,
    about: Option<Subject>,
}

/// What happened, newest first.
#[derive(Serialize, JsonSchema)]
pub(super) struct Activity {
    activity: Vec<LoggedEvent>,
    next_before: Option<i64>,
}

/// `next_before` goes into the next question; it is `null` on the last page.
pub(super) async fn list(
    _: MayRead,
    State(op): State<Arc<Operator>>,
    query: Result<Query<Page>, QueryRejection>,
) -> Result<Json<Activity>, Problem> {
    let Query(Page { limit, before, about }) = query.map_err(bad_query)?;
    let mut rows = op.parts.ledger.activity(about, before, limit.to_read()).await.map_err(ledger_fault)?;
    let next_before = limit.page(&mut rows, |row| row.id);
    Ok(Json(Activity { activity: rows, next_before }))
}

/// Which rows.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Which {
    about: Option<Subject>,
}

/// `GET /api/v1/activity.csv`: all of it.
pub(super) async fn table(
    _: MayRead,
    State(op): State<Arc<Operator>>,
    query: Result<Query<Which>, QueryRejection>,
) -> Result<Table, Problem> {
    let about = query.map_err(bad_query)?.0.about;
    let next = move |before: Option<i64>| {
        let op = Arc::clone(&op);
        async move {
            let ledger = &op.parts.ledger;
            let rows = ledger.activity(about, before, BATCH).await.map_err(std::io::Error::other)?;
            let last = rows.last().map(|row| row.id).or(before);
            let mut table = Vec::new();
            for row in &rows {
                let more = Beside::of(ledger, &row.event).await.map_err(std::io::Error::other)?;
                table.push(cells(row, &more));
            }
            Ok((table, last))
        }
    };
    Ok(Table(sheet::download("activity.csv", &HEAD, None, next)))
}

/// What of a row stands beside its event.
#[derive(Default)]
struct Beside {
    /// What was asked for stands in the operation alone.
    operation: Option<OperationRow>,
    /// What a channel's close cost is known when its coins are home: its record has it.
    closed: Option<ChannelRow>,
}

impl Beside {
    async fn of(ledger: &Ledger, event: &Event) -> Result<Beside, StoreError> {
        Ok(match event {
            Event::OperationChanged { operation, .. } => {
                Beside { operation: ledger.operation(*operation).await?, closed: None }
            }
            Event::ChannelClosed { local_id, .. } => {
                Beside { operation: None, closed: ledger.channel_record(local_id).await? }
            }
            _ => Beside::default(),
        })
    }
}

/// The columns. What came has a plus and what left for good a minus, once for each deed; `moved_sat` is what only went
/// from one place of ours to another. What a close cost stands where the channel closed, from when its coins are home.
/// `event` is the whole event, as the API has it.
const HEAD: [&str; 12] = [
    "id",
    "at",
    "kind",
    "what",
    "amount_msat",
    "amount_sat",
    "moved_sat",
    "payment_hash",
    "channel_id",
    "txid",
    "operation",
    "event",
];

fn cells(row: &LoggedEvent, beside: &Beside) -> Vec<Cell> {
    let mut body = json!(row.event);
    let kind = body.as_object_mut().and_then(|fields| fields.remove("kind")).unwrap_or_default();
    let kind = kind.as_str().unwrap_or_default().to_owned();
    let known = |name: &str| body[name].as_str().or_else(|| body["outcome"][name].as_str());
    let funding = || known("funding").and_then(|output| output.split(':').next());
    let operation = beside.operation.as_ref();
    let (amount, moved) = amounts(&row.event, beside);
    let of = |name: &str| Cell::text(known(name));
    vec![
        Cell::Number(row.id),
        Cell::Time(row.at),
        Cell::Text(kind.clone()),
        Cell::Text(what(&row.event, &kind, &body, beside)),
        amount.map_or(Cell::Empty, Cell::Number),
        amount.map_or(Cell::Empty, Cell::Satoshi),
        moved.and_then(|sat| i64::try_from(sat).ok()).map_or(Cell::Empty, Cell::Number),
        of("payment_hash"),
        Cell::text(known("channel_id").or_else(|| operation?.ask["channel_id"].as_str())),
        Cell::text(known("txid").or_else(funding)),
        Cell::text(body["operation"].as_i64()),
        Cell::Text(body.to_string()),
    ]
}

/// In words, with what is said of it.
fn what(event: &Event, kind: &str, body: &Value, beside: &Beside) -> String {
    let plain = |word: &str| word.replace('_', " ");
    let word = |name: &str| body[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    match event {
        Event::OperationBegun { what, .. } => format!("{}: asked for", plain(what)),
        Event::OperationChanged { what, state, outcome, .. } => {
            let reason = outcome["reason"].as_str().map(|reason| format!(", {reason}")).unwrap_or_default();
            let ask = beside.operation.as_ref().map(|row| row.ask.clone()).unwrap_or_default();
            let own = Moved::of(what, &ask, outcome).to_own;
            let own = if own { ", to an address of your own wallet" } else { "" };
            format!("{}: {}{own}{reason}", plain(what), plain(state))
        }
        Event::ChannelClosed { cause, reason, .. } => {
            let why = if cause.is_empty() { reason } else { cause };
            format!("{}: {why}{}", plain(kind), beside.closed.as_ref().map(cost).unwrap_or_default())
        }
        Event::VaultMoved { received_sat, sent_sat, height, .. } => {
            let way = if sent_sat <= received_sat { "came to the vault" } else { "left the vault" };
            match height {
                Some(height) => format!("coins {way}, in block {height}"),
                None => format!("coins {way}, in no block yet"),
            }
        }
        _ => {
            let said = ["text", "cause", "reason", "why", "state", "label", "service", "file", "code"];
            let said = said.into_iter().find_map(word).map(|said| format!(": {said}")).unwrap_or_default();
            format!("{}{said}", plain(kind))
        }
    }
}

/// That what a close cost is not known, or not yet, where that is so.
fn cost(record: &ChannelRow) -> &'static str {
    match (record.closing_cost_msat, record.back_sat(), record.cause.as_deref()) {
        (Some(_), ..) | (_, _, Some("never_opened")) => "",
        (None, Some((_, true)), _) => "; what closing it cost is not known",
        (None, ..) => "; what closing it costs is not known yet",
    }
}

/// What came or went for good, millisatoshi with its sign, and what only changed its place, satoshi. Each deed has them
/// once: a move of coins when it is done, a transaction of the vault when it is in a block.
fn amounts(event: &Event, beside: &Beside) -> (Option<i64>, Option<u64>) {
    let msat = |amount: Msat| i64::try_from(amount.msat()).ok();
    let sat = |sat: u64| i64::try_from(sat).ok()?.checked_mul(1_000);
    match event {
        Event::PaymentReceived { amount_msat, opening_fee_msat, .. } => {
            (msat(*amount_msat).zip(msat(*opening_fee_msat)).map(|(all, fee)| all - fee), None)
        }
        Event::PossibleSurplus { amount_msat, .. } => (msat(*amount_msat), None),
        Event::PaymentSent { amount_msat, fee_msat, .. } => {
            (msat(*amount_msat).zip(msat(*fee_msat)).map(|(paid, fee)| -paid - fee), None)
        }
        Event::CoinsArrived { amount_sat, .. } => (sat(*amount_sat), None),
        Event::CloseFeePaid { fee_sat, .. } => (sat(*fee_sat).map(|fee| -fee), None),
        Event::VaultMoved { received_sat, sent_sat, height: Some(_), .. } => {
            (sat(*received_sat).zip(sat(*sent_sat)).map(|(came, went)| came - went), None)
        }
        Event::ChannelClosed { .. } => {
            let cost = beside.closed.as_ref().and_then(|record| record.closing_cost_msat);
            (cost.filter(|msat| *msat > 0).and_then(|msat| i64::try_from(msat).ok()).map(|cost| -cost), None)
        }
        Event::ChannelCoinsHome { amount_sat, exactly: true, .. } => (None, Some(*amount_sat)),
        Event::OperationChanged { what, state, outcome, .. } if state == OperationState::Done.word() => {
            let ask = beside.operation.as_ref().map(|row| row.ask.clone()).unwrap_or_default();
            let moved = Moved::of(what, &ask, outcome);
            (moved.gone_sat.and_then(sat).map(|gone| -gone), moved.kept_sat)
        }
        _ => (None, None),
    }
}
