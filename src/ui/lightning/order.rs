//! `/lightning/inbound/orders/{id}`: a channel that was ordered, from its price to its end.

use askama::Template;
use axum::extract::Path;
use axum::response::{IntoResponse, Redirect, Response};
use http::StatusCode;

use super::inbound::{Standing, plain};
use crate::inbound::{Agreed, OrderError};
use crate::ports::OrderPayment;
use crate::store::{OrderRow, OrderState, OrderWay, StoreError};
use crate::treasury::{Deed, FeeChoice};
use crate::types::Timestamp;
use crate::ui::figures::{grouped, grouped_in, iso, sats_whole, shortened, typeset, utc};
use crate::ui::form::Fields;
use crate::ui::lapse::lasting;
use crate::ui::question::{AGREED_RATE, Question, agreed_rate, notice};
use crate::ui::shell::{Desk, Section, Shell};
use crate::ui::{fault, html};

/// One way to pay.
struct Way {
    word: &'static str,
    name: &'static str,
    total: String,
    fee: String,
    /// What else is in the total; nothing, as a rule.
    rest: Option<String>,
    until: String,
    until_iso: String,
}

#[derive(Template)]
#[template(path = "lightning/order.html")]
struct Page {
    shell: Shell,
    id: i64,
    refusal: Option<String>,
    /// The operation that pays it, when whether it did is not known.
    unclear: Option<i64>,
    state: &'static str,
    dot: &'static str,
    meaning: String,
    size: String,
    blocks: String,
    /// How long that is.
    lasts: String,
    announce: bool,
    provider: String,
    at: String,
    at_iso: String,
    paid_by: Option<String>,
    /// The provider's name of the order.
    order: String,
    funding: Option<String>,
    ways: Vec<Way>,
    /// It waits for a payment whose price holds no more.
    lapsed: bool,
    /// Its money is back, if its provider is right.
    closes: bool,
}

fn path(id: i64) -> String {
    format!("/lightning/inbound/orders/{id}")
}

/// `GET /lightning/inbound/orders/{id}`.
pub(super) async fn page(desk: Desk, Path(id): Path<String>) -> Response {
    match find(&desk, &id).await {
        Ok(row) => shown(&desk, &row, StatusCode::OK, None).await,
        Err(response) => response,
    }
}

async fn find(desk: &Desk, id: &str) -> Result<OrderRow, Response> {
    let row = match id.parse() {
        Ok(id) => desk.op.parts.ledger.order(id).await.map_err(|error| fault(&error))?,
        Err(_) => None,
    };
    let Some(row) = row else {
        let above = ("/lightning/inbound".to_owned(), "Room to receive".to_owned());
        let said = ("No such order", "No channel was ordered under that number.");
        return Err(notice(desk, Section::Lightning, above, StatusCode::NOT_FOUND, said).await);
    };
    Ok(row)
}

async fn shown(desk: &Desk, row: &OrderRow, status: StatusCode, refusal: Option<String>) -> Response {
    let standing = match Standing::of(desk, row).await {
        Ok(standing) => standing,
        Err(error) => return fault(&error),
    };
    let refused = standing == Standing::Refused;
    let (name, dot) = standing.words(row);
    let mut ways = match row.state {
        OrderState::Quoted => ways(row, desk.op.parts.clock.now()),
        OrderState::Paying if refused => ways(row, desk.op.parts.clock.now()),
        _ => Vec::new(),
    };
    // What was chosen is chosen.
    ways.retain(|way| row.way.is_none_or(|chosen| chosen.word() == way.word));
    let meaning = match standing {
        Standing::Refused => unpaid(desk).await,
        Standing::Unclear(_, ref why) => Ok(format!("{UNCLEAR} {why}")),
        Standing::Told => Ok(meaning(row).to_owned()),
    };
    let meaning = match meaning {
        Ok(meaning) => meaning,
        Err(error) => return fault(&error),
    };
    let page = Page {
        shell: desk.shell(Section::Lightning).await,
        id: row.id,
        refusal,
        unclear: match standing {
            Standing::Unclear(operation, _) => Some(operation),
            _ => None,
        },
        state: name,
        dot,
        meaning,
        closes: row.refund_is_said(),
        size: grouped(row.ask.receivable_sat),
        blocks: grouped(row.ask.blocks.into()),
        lasts: format!("about {}", lasting(row.ask.blocks)),
        announce: row.ask.announce,
        provider: shortened(&row.lsp),
        at: utc(row.placed_at),
        at_iso: iso(row.placed_at),
        paid_by: row.way.filter(|_| !refused).map(|way| {
            let price = match way {
                OrderWay::Lightning => row.told.lightning.as_ref(),
                OrderWay::Onchain => row.told.onchain.as_ref(),
            };
            let total = price.map(|price| format!("{} sat ", grouped(price.total_sat))).unwrap_or_default();
            format!("{total}{}", named(way))
        }),
        order: row.told.order_id.clone(),
        funding: row.told.funding.clone(),
        lapsed: (row.state == OrderState::Quoted || refused) && ways.is_empty(),
        ways,
    };
    html(status, &page)
}

const fn named(way: OrderWay) -> &'static str {
    match way {
        OrderWay::Lightning => "over Lightning",
        OrderWay::Onchain => "from the on-chain wallet",
    }
}

/// The ways whose price holds still.
fn ways(row: &OrderRow, now: Timestamp) -> Vec<Way> {
    let way = |way: OrderWay, payment: Option<&OrderPayment>| {
        payment.filter(|payment| now < payment.expires_at).map(|payment| Way {
            word: way.word(),
            name: named(way),
            total: grouped(payment.total_sat),
            fee: grouped(payment.fee_sat),
            rest: payment.total_sat.checked_sub(payment.fee_sat).filter(|rest| *rest > 0).map(grouped),
            until: utc(payment.expires_at),
            until_iso: iso(payment.expires_at),
        })
    };
    let both = [
        way(OrderWay::Lightning, row.told.lightning.as_ref()),
        way(OrderWay::Onchain, row.told.onchain.as_ref()),
    ];
    both.into_iter().flatten().collect()
}

fn meaning(row: &OrderRow) -> &'static str {
    match row.state {
        _ if row.refund_is_said() => {
            "The provider says that it gave the money back. Nothing here shows that it came: look for it among what came \
             in. If it is not there, ask the provider with the order's name. It owes the channel or the money."
        }
        OrderState::Quoted => "It binds nobody until it is paid.",
        OrderState::Paying => "The payment is on its way to the provider.",
        OrderState::Paid => "The provider has the money, and is to open the channel.",
        OrderState::Opened => {
            "The transaction that funds the channel is published. It is listed under Channels."
        }
        OrderState::Refunded => "The money is back, and no channel comes of it.",
        OrderState::Expired => "Its price holds no more. Ask for another one.",
        OrderState::Failed => "The payment did not come about. Ask for another price.",
    }
}

const UNCLEAR: &str = "Perhaps the provider has the money: what became of the payment is not known. It is not paid again \
                       by itself, and no other order should take its place before that is known. Ask the \
                       provider, by the order’s name below.";

/// That a payment was refused for now, and why it would be again, as far as one can see.
async fn unpaid(desk: &Desk) -> Result<String, StoreError> {
    let parked = desk.op.parts.ledger.generation().await?.payouts_parked;
    let running = desk.op.parts.node.view().await.running;
    let why = match (parked, running) {
        (true, _) => {
            " Since the ledger was brought back from a copy, nothing is paid until you let coins be sent again, under Backup."
        }
        (false, false) => " The Lightning node is not running now.",
        (false, true) => "",
    };
    Ok(format!("It was to be paid, and that was refused for now: nothing was sent.{why}"))
}

/// `POST /lightning/inbound/orders/{id}/pay`: asks, then pays, once however often it is sent.
pub(super) async fn pay(desk: Desk, Path(id): Path<String>, fields: Fields) -> Response {
    let row = match find(&desk, &id).await {
        Ok(row) => row,
        Err(response) => return response,
    };
    let (way, payment) = match fields.text("way") {
        "lightning" => (OrderWay::Lightning, row.told.lightning.clone()),
        _ => (OrderWay::Onchain, row.told.onchain.clone()),
    };
    let (Some(payment), Some(orders)) = (payment, desk.op.parts.inbound.orders.clone()) else {
        let refusal = "Nothing was paid: the provider does not take that way of paying.".to_owned();
        return shown(&desk, &row, StatusCode::UNPROCESSABLE_ENTITY, Some(refusal)).await;
    };
    // What was seen when it was asked is what is paid at the most.
    let most_sat = fields.number("total_sat", "The price").unwrap_or(payment.total_sat);
    let question = question(&desk, &row, way, &payment).await;
    if let Err(response) = question.answered(&desk, &fields).await {
        return response;
    }
    let agreed = Agreed { most_sat, most_rate: agreed_rate(&fields) };
    match orders.pay(row.id, way, agreed).await {
        Ok(row) => Redirect::to(&path(row.id)).into_response(),
        Err(OrderError::Store(error)) => fault(&error),
        Err(refusal) => {
            tracing::warn!(%refusal, "an order of a channel was not paid");
            let row = match find(&desk, &id).await {
                Ok(row) => row,
                Err(response) => return response,
            };
            shown(&desk, &row, StatusCode::UNPROCESSABLE_ENTITY, Some(plain(&refusal))).await
        }
    }
}

/// `POST /lightning/inbound/orders/{id}/close`: asks, then ends an order whose money came back.
pub(super) async fn close(desk: Desk, Path(id): Path<String>, fields: Fields) -> Response {
    let row = match find(&desk, &id).await {
        Ok(row) => row,
        Err(response) => return response,
    };
    let Some(orders) = desk.op.parts.inbound.orders.clone() else {
        let refusal = "The order stays as it is: no provider sells channels here.".to_owned();
        return shown(&desk, &row, StatusCode::UNPROCESSABLE_ENTITY, Some(refusal)).await;
    };
    let question = Question {
        section: Section::Lightning,
        above: (path(row.id), format!("Order {}", row.id)),
        title: "Did the money come back?".to_owned(),
        lines: vec![
            "The provider says that it gave it back. Only you can know that it came.".to_owned(),
            "The order is over then: nobody asks the provider about it any more, and no alarm tells of it."
                .to_owned(),
        ],
        warning: None,
        action: format!("{}/close", path(row.id)),
        fields: Vec::new(),
        yes: Some("It came: end the order"),
        refusal: None,
    };
    if let Err(response) = question.answered(&desk, &fields).await {
        return response;
    }
    match orders.close(row.id).await {
        Ok(row) => Redirect::to(&path(row.id)).into_response(),
        Err(OrderError::Store(error)) => fault(&error),
        Err(refusal) => {
            let refusal = Some(format!("The order stays as it is: {refusal}."));
            shown(&desk, &row, StatusCode::UNPROCESSABLE_ENTITY, refusal).await
        }
    }
}

/// What paying takes beside the price.
struct Costs {
    lines: Vec<String>,
    /// The fee rate of its transaction.
    rate: Option<u64>,
    /// Why it cannot be paid that way now.
    refusal: Option<String>,
}

const NOT_ENOUGH: &str = "There is not enough for this; nothing was paid.";

async fn costs(desk: &Desk, way: OrderWay, payment: &OrderPayment) -> Costs {
    if way == OrderWay::Lightning {
        let node = desk.op.parts.node.view().await;
        let has = match node.running {
            true => format!("{} sat are spendable that way.", sats_whole(node.spendable_msat)),
            false => "The node does not run, so what is spendable is not known.".to_owned(),
        };
        let too_little = node.running && node.spendable_msat / 1_000 < payment.total_sat;
        let refusal = too_little.then(|| format!("{NOT_ENOUGH} {has}"));
        let lines = vec!["Routing costs at most 1 % of it, or 50 sat.".to_owned(), has];
        return Costs { lines, rate: None, refusal };
    }
    let (address, amount_sat) = (payment.to.clone(), payment.total_sat);
    let deed = Deed::Send { address, amount_sat, fee: FeeChoice::default() };
    match desk.op.preview(&deed).await {
        Ok(preview) => {
            let lines: Vec<String> = preview.lines.iter().map(|line| typeset(&grouped_in(line))).collect();
            Costs {
                refusal: (!preview.enough).then(|| format!("{NOT_ENOUGH} {}", lines.join(" "))),
                // Where it goes is said before.
                lines: lines.into_iter().skip(1).collect(),
                rate: preview.figures["fee_rate_sat_per_kvb"].as_u64(),
            }
        }
        Err(problem) => {
            let why = problem.detail;
            let refusal =
                Some(format!("What its transaction costs cannot be said, so nothing was paid. {why}"));
            Costs { lines: Vec::new(), rate: None, refusal }
        }
    }
}

async fn question(desk: &Desk, row: &OrderRow, way: OrderWay, payment: &OrderPayment) -> Question {
    let Costs { lines: costs, rate, refusal } = costs(desk, way, payment).await;
    let total = grouped(payment.total_sat);
    let mut lines = vec![format!(
        "{total} sat go to the provider, {}; {} sat of them are its fee.",
        named(way),
        grouped(payment.fee_sat)
    )];
    lines.extend(costs);
    lines.push(format!(
        "It opens a channel over which you can receive {} sat, and keeps it open for {} blocks or more.",
        grouped(row.ask.receivable_sat),
        grouped(row.ask.blocks.into())
    ));
    let mut fields = vec![
        ("way".to_owned(), way.word().to_owned()),
        ("total_sat".to_owned(), payment.total_sat.to_string()),
    ];
    fields.extend(rate.map(|rate| (AGREED_RATE.to_owned(), rate.to_string())));
    let warning = "A payment cannot be taken back. A provider that opens no channel must give it back, but nobody can \
                   make it.";
    let can = refusal.is_none();
    Question {
        section: Section::Lightning,
        above: (path(row.id), format!("Order {}", row.id)),
        title: format!("Pay {total} sat for a channel?"),
        // What would happen is not told where it will not.
        lines: if can { lines } else { Vec::new() },
        warning: can.then(|| warning.to_owned()),
        action: format!("{}/pay", path(row.id)),
        fields,
        yes: can.then_some("Pay"),
        refusal,
    }
}
