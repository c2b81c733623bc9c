//! `/lightning/inbound`: room to receive that others bring, and what it costs.

use std::time::Duration;

use askama::Template;
use axum::response::{IntoResponse, Redirect, Response};
use http::StatusCode;

use super::{Tab, ways};
use crate::inbound::{OpeningsView, OrderError, Orders};
use crate::ports::{OrderAsk, OrderLimits};
use crate::store::{OperationRow, OperationState, OrderRow, OrderState, StoreError};
use crate::ui::figures::{grouped, iso, quoted, sats_exact, shortened, utc};
use crate::ui::form::Fields;
use crate::ui::shell::{Desk, Section, Shell};
use crate::ui::{fault, html};

/// A provider that does not tell its limits by then is not waited for.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// Orders shown.
const SHOWN: u32 = 50;
/// For how long a channel may be ordered: blocks, and about how long that is.
const SPANS: &[(u32, &str)] =
    &[(4_320, "a month"), (12_960, "three months"), (26_000, "half a year"), (52_000, "a year")];
/// Half a year.
const USUAL_BLOCKS: u32 = 26_000;

/// The provider that opens a channel for a payment.
struct JustInTime {
    provider: String,
    problem: Option<String>,
    least: Option<(String, String)>,
    most_fee: String,
    most_percent: u32,
    in_an_hour: u32,
    made: usize,
}

/// The provider that sells channels.
struct Seller {
    provider: String,
    limits: Option<(String, String)>,
}

/// One order.
struct Line {
    id: i64,
    at: String,
    at_iso: String,
    size: String,
    price: String,
    state: &'static str,
    dot: &'static str,
}

/// For how long.
struct Span {
    blocks: u32,
    name: &'static str,
    chosen: bool,
}

#[derive(Template)]
#[template(path = "lightning/inbound.html")]
struct Page {
    shell: Shell,
    tab: Tab,
    refusal: Option<String>,
    node: String,
    just_in_time: Option<JustInTime>,
    seller: Option<Seller>,
    receivable_sat: String,
    spans: Vec<Span>,
    announce: bool,
    orders: Vec<Line>,
}

/// `GET /lightning/inbound`.
pub(super) async fn page(desk: Desk) -> Response {
    shown(&desk, StatusCode::OK, None, &Fields::default()).await
}

/// `POST /lightning/inbound`: asks the provider for a price. Nothing is paid.
pub(super) async fn quote(desk: Desk, fields: Fields) -> Response {
    let Some(orders) = desk.op.parts.inbound.orders.clone() else {
        let refusal = "No provider sells channels here: the settings name none.".to_owned();
        return shown(&desk, StatusCode::UNPROCESSABLE_ENTITY, Some(refusal), &fields).await;
    };
    let ask = match read(&fields) {
        Ok(ask) => ask,
        Err(refusal) => return shown(&desk, StatusCode::BAD_REQUEST, Some(refusal), &fields).await,
    };
    match orders.quote(ask).await {
        Ok(row) => Redirect::to(&format!("/lightning/inbound/orders/{}", row.id)).into_response(),
        Err(OrderError::Store(error)) => fault(&error),
        Err(refusal) => {
            tracing::warn!(%refusal, "a price of a channel was refused");
            let refusal = plain(&refusal);
            shown(&desk, StatusCode::UNPROCESSABLE_ENTITY, Some(refusal), &fields).await
        }
    }
}

const ONCE: &str = "It is not paid, as far as is known; pay it again, and it is paid once at the most.";

/// Why nothing was paid, for a person.
pub(super) fn plain(error: &OrderError) -> String {
    match error {
        OrderError::OutOfLimits { what: "receivable_sat", least, most } => {
            format!("This provider opens channels of {} to {} sat.", grouped(*least), grouped(*most))
        }
        OrderError::OutOfLimits { most, .. } => {
            format!("This provider keeps a channel open for {} blocks at most.", grouped(*most))
        }
        OrderError::NotPaid(why) => format!("Nothing was paid. {}", super::words::sentence(why)),
        OrderError::NotYet(why) => format!("{} {ONCE}", super::words::sentence(why)),
        refusal => format!("Nothing was paid: {refusal}."),
    }
}

fn read(fields: &Fields) -> Result<OrderAsk, String> {
    let receivable_sat = fields.number("receivable_sat", "How much you want to receive")?;
    let blocks = fields.optional_number("blocks", "For how long")?.unwrap_or(USUAL_BLOCKS.into());
    let blocks = u32::try_from(blocks).map_err(|_| "That is too long.".to_owned())?;
    Ok(OrderAsk { receivable_sat, blocks, announce: fields.ticked("announce") })
}

async fn shown(desk: &Desk, status: StatusCode, refusal: Option<String>, fields: &Fields) -> Response {
    let parts = &desk.op.parts;
    let rows = match parts.ledger.orders(SHOWN).await {
        Ok(rows) => rows,
        Err(error) => return fault(&error),
    };
    let paying = match parts.ledger.operations_of_orders(SHOWN).await {
        Ok(paying) => paying,
        Err(error) => return fault(&error),
    };
    let standing = |row: &OrderRow| Standing::by(row, paying.get(&row.id));
    let orders = rows.iter().map(|row| line(row, standing(row).words(row))).collect();
    let limits = limits(desk).await;
    let seller = parts.inbound.orders.as_ref().map(|orders| {
        let view = orders.view();
        let limits = limits.map(|limits| (grouped(least(&limits)), grouped(most(&limits))));
        Seller { provider: format!("{}@{}", shortened(&view.node), view.address), limits }
    });
    let chosen = fields.text("blocks").parse().unwrap_or(USUAL_BLOCKS);
    let offered =
        SPANS.iter().filter(|(blocks, _)| limits.is_none_or(|limits| *blocks <= limits.most_blocks));
    let page = Page {
        shell: desk.shell(Section::Lightning).await,
        tab: Tab::Inbound,
        refusal: refusal.map(|text| quoted(&text)),
        node: ways::address(&parts.node.view().await),
        just_in_time: parts.inbound.openings.as_ref().map(|openings| just_in_time(&openings.view())),
        seller,
        receivable_sat: fields.text("receivable_sat").to_owned(),
        spans: offered
            .map(|(blocks, name)| Span { blocks: *blocks, name, chosen: *blocks == chosen })
            .collect(),
        announce: fields.ticked("announce"),
        orders,
    };
    html(status, &page)
}

/// What the provider sells, where it says so soon enough.
async fn limits(desk: &Desk) -> Option<OrderLimits> {
    let orders = desk.op.parts.inbound.orders.as_ref()?;
    tokio::time::timeout(PATIENCE, orders.limits()).await.ok()?.ok()
}

fn least(limits: &OrderLimits) -> u64 {
    limits.smallest_receivable_sat.max(limits.smallest_channel_sat)
}

fn most(limits: &OrderLimits) -> u64 {
    limits.largest_receivable_sat.min(limits.largest_channel_sat)
}

fn just_in_time(view: &OpeningsView) -> JustInTime {
    let sat = |amount: crate::types::Msat| sats_exact(amount.msat());
    JustInTime {
        provider: format!("{}@{}", shortened(&view.node), view.address),
        problem: view.problem.as_deref().map(super::words::sentence),
        least: view.least_msat.zip(view.least_fee_msat).map(|(least, fee)| (sat(least), sat(fee))),
        most_fee: grouped(view.max_fee_sat),
        most_percent: view.max_fee_percent,
        in_an_hour: view.max_per_hour,
        made: view.made_last_hour,
    }
}

/// What is known of an order's payment beside the order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It was refused for now.
    Refused,
    /// The operation with this number pays it, and whether it did is not known, for this reason.
    Unclear(i64, String),
    /// What the order says.
    Told,
}

impl Standing {
    pub(super) async fn of(desk: &Desk, row: &OrderRow) -> Result<Standing, StoreError> {
        let operation = Orders::operation(&desk.op.parts.ledger, row).await?;
        Ok(Standing::by(row, operation.as_ref()))
    }

    /// Of an order that this operation pays.
    fn by(row: &OrderRow, operation: Option<&OperationRow>) -> Standing {
        if row.state != OrderState::Paying || row.refund_is_said() {
            return Standing::Told;
        }
        match operation {
            None => Standing::Refused,
            Some(operation) if operation.state == OperationState::Unclear => {
                let why = operation.outcome["reason"].as_str().unwrap_or("a stop hid what became of it");
                Standing::Unclear(operation.id, super::words::sentence(why))
            }
            Some(_) => Standing::Told,
        }
    }

    /// In words, and its dot.
    pub(super) fn words(&self, row: &OrderRow) -> (&'static str, &'static str) {
        match self {
            Standing::Refused => ("Not paid yet", "bad"),
            Standing::Unclear(..) => ("Perhaps paid", "bad"),
            Standing::Told => state(row),
        }
    }
}

fn state(row: &OrderRow) -> (&'static str, &'static str) {
    match row.state {
        _ if row.refund_is_said() => ("Refunded, says the provider", "bad"),
        OrderState::Quoted => ("Waits for payment", ""),
        OrderState::Paying => ("Being paid", ""),
        OrderState::Paid => ("Paid, the channel is to come", ""),
        OrderState::Opened => ("The channel is opened", "good"),
        OrderState::Refunded => ("The money is back", ""),
        OrderState::Expired => ("Ran out unpaid", ""),
        OrderState::Failed => ("Not paid, nothing moved", "bad"),
    }
}

fn line(row: &OrderRow, (state, dot): (&'static str, &'static str)) -> Line {
    let price = row.told.lightning.as_ref().or(row.told.onchain.as_ref()).map(|payment| payment.total_sat);
    Line {
        id: row.id,
        at: utc(row.placed_at),
        at_iso: iso(row.placed_at),
        size: grouped(row.ask.receivable_sat),
        price: price.map(grouped).unwrap_or_default(),
        state,
        dot,
    }
}
