//! `/api/v1/inbound`: who opens channels to us, on what terms, and what was ordered.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::answer::{Accepted, Created, Path};
use super::{bad_body, ledger_fault};
use crate::inbound::{Agreed, OpeningsView, OrderError, Orders, OrdersView};
use crate::ports::{FeeRate, OrderAsk, OrderLimits, OrderPayment};
use crate::store::{OperationRow, OrderRow, OrderState, OrderWay};
use crate::types::Timestamp;
use crate::web::{MayAdmin, MayRead, MaySpend, Operator, Problem};

/// Orders that are shown.
const SHOWN: u32 = 100;

/// For how many blocks a channel is ordered when nothing is said: half a year.
const USUAL_BLOCKS: u32 = 26_000;

/// What is set, and how it stands.
pub(super) async fn read(_: MayRead, State(op): State<Arc<Operator>>) -> Json<InboundView> {
    let inbound = &op.parts.inbound;
    Json(InboundView {
        just_in_time: inbound.openings.as_ref().map(|openings| openings.view()),
        orders: inbound.orders.as_ref().map(|orders| orders.view()),
    })
}

/// Who opens channels to us.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Inbound")]
pub(super) struct InboundView {
    just_in_time: Option<OpeningsView>,
    orders: Option<OrdersView>,
}

/// Channels that were ordered, the newest first.
#[derive(Serialize, JsonSchema)]
pub(super) struct OrderList {
    orders: Vec<Order>,
}

/// `GET /api/v1/inbound/limits`: what may be ordered.
pub(super) async fn limits(
    _: MayRead,
    State(op): State<Arc<Operator>>,
) -> Result<Json<OrderLimits>, Problem> {
    Ok(Json(desk(&op)?.limits().await.map_err(refused)?))
}

/// `GET /api/v1/inbound/orders`.
pub(super) async fn list(_: MayRead, State(op): State<Arc<Operator>>) -> Result<Json<OrderList>, Problem> {
    let rows = op.parts.ledger.orders(SHOWN).await.map_err(ledger_fault)?;
    let paying = op.parts.ledger.operations_of_orders(SHOWN).await.map_err(ledger_fault)?;
    let orders = rows.into_iter().map(|row| {
        let operation = paying.get(&row.id);
        Order::new(row, operation)
    });
    Ok(Json(OrderList { orders: orders.collect() }))
}

/// `GET /api/v1/inbound/orders/{id}`: asks the provider when it is not over.
pub(super) async fn look(
    _: MayRead,
    State(op): State<Arc<Operator>>,
    Path(order): Path<i64>,
) -> Result<Json<Order>, Problem> {
    let row = desk(&op)?.look(order).await.map_err(refused)?;
    Ok(Json(shown(&op, row).await?))
}

/// What `POST /api/v1/inbound/orders` takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Quote {
    receivable_sat: u64,
    blocks: Option<u32>,
    #[serde(default)]
    announce: bool,
}

/// Asks for a price. Nothing is paid.
pub(super) async fn quote(
    _: MayAdmin,
    State(op): State<Arc<Operator>>,
    body: Result<Json<Quote>, JsonRejection>,
) -> Result<Created<Order>, Problem> {
    let Json(Quote { receivable_sat, blocks, announce }) = body.map_err(bad_body)?;
    let ask = OrderAsk { receivable_sat, blocks: blocks.unwrap_or(USUAL_BLOCKS), announce };
    let row = desk(&op)?.quote(ask).await.map_err(refused)?;
    Ok(Created(shown(&op, row).await?))
}

/// What `POST /api/v1/inbound/orders/{id}/pay` takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Pay {
    way: Way,
    /// The price that was seen.
    max_total_sat: u64,
    /// Of the way `onchain`: the highest fee rate that its transaction may pay, in satoshi for 1,000 virtual bytes.
    /// While the chain asks for more, nothing is paid. Without it, what the chain asks for is paid.
    max_sat_per_kvb: Option<FeeRate>,
}

/// How an order is to be paid.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Way {
    Lightning,
    Onchain,
}

/// Pays an order, once however often it is asked: its number is the key of the operation.
pub(super) async fn pay(
    _: MaySpend,
    State(op): State<Arc<Operator>>,
    Path(order): Path<i64>,
    body: Result<Json<Pay>, JsonRejection>,
) -> Result<Accepted<Order>, Problem> {
    let Json(Pay { way, max_total_sat, max_sat_per_kvb }) = body.map_err(bad_body)?;
    let way = match way {
        Way::Lightning => OrderWay::Lightning,
        Way::Onchain => OrderWay::Onchain,
    };
    let agreed = Agreed { most_sat: max_total_sat, most_rate: max_sat_per_kvb };
    let row = desk(&op)?.pay(order, way, agreed).await.map_err(refused)?;
    Ok(Accepted(shown(&op, row).await?))
}

/// Ends an order whose money came back, as its provider says: the operator saw it come.
pub(super) async fn close(
    _: MaySpend,
    State(op): State<Arc<Operator>>,
    Path(order): Path<i64>,
) -> Result<Json<Order>, Problem> {
    let row = desk(&op)?.close(order).await.map_err(refused)?;
    Ok(Json(shown(&op, row).await?))
}

/// An order, with the operation that pays it.
async fn shown(op: &Operator, row: OrderRow) -> Result<Order, Problem> {
    let operation = Orders::operation(&op.parts.ledger, &row).await.map_err(ledger_fault)?;
    Ok(Order::new(row, operation.as_ref()))
}

fn desk(op: &Operator) -> Result<&Orders, Problem> {
    let missing = || {
        let detail = "No provider sells channels here: set liquidity.lsps1.node and address.";
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "no_provider", detail)
    };
    op.parts.inbound.orders.as_deref().ok_or_else(missing)
}

/// An ordered channel.
#[derive(Serialize, JsonSchema)]
pub(super) struct Order {
    id: i64,
    /// The provider's name for it.
    order_id: String,
    /// The provider.
    lsp: String,
    state: OrderState,
    /// The provider says that it gave the money back, and nothing here shows that it came.
    refund_said: bool,
    receivable_sat: u64,
    /// For how long, in blocks.
    blocks: u32,
    announce: bool,
    /// What it costs over Lightning.
    lightning: Option<OrderPayment>,
    /// What it costs on-chain.
    onchain: Option<OrderPayment>,
    /// How it was paid.
    way: Option<OrderWay>,
    /// The recorded operation that pays it. An order that is `paying` and has none was refused for now: nothing was
    /// sent, and asked again it is tried again.
    operation: Option<i64>,
    /// How that operation stands.
    operation_state: Option<&'static str>,
    /// The channel's transaction output.
    funding: Option<String>,
    placed_at: Timestamp,
    changed_at: Timestamp,
}

impl Order {
    fn new(row: OrderRow, operation: Option<&OperationRow>) -> Order {
        Order {
            operation: operation.map(|operation| operation.id),
            operation_state: operation.map(|operation| operation.state.word()),
            id: row.id,
            refund_said: row.refund_is_said(),
            order_id: row.told.order_id,
            lsp: row.lsp,
            state: row.state,
            receivable_sat: row.ask.receivable_sat,
            blocks: row.ask.blocks,
            announce: row.ask.announce,
            lightning: row.told.lightning,
            onchain: row.told.onchain,
            way: row.way,
            funding: row.told.funding,
            placed_at: row.placed_at,
            changed_at: row.changed_at,
        }
    }
}

fn refused(error: OrderError) -> Problem {
    match error {
        OrderError::Store(error) => ledger_fault(error),
        OrderError::Unknown(_) => {
            Problem::new(StatusCode::NOT_FOUND, "unknown_order", "There is no such order.")
        }
        refusal @ OrderError::NotRefunded => {
            let detail = format!("The order stays as it is: {refusal}.");
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, refusal.code(), detail)
        }
        refusal => {
            tracing::warn!(%refusal, "an order of a channel was refused");
            let detail = match &refusal {
                OrderError::NotYet(_) => {
                    format!("As far as is known, {refusal}. Asked again, it is paid once.")
                }
                _ => format!("Nothing was paid: {refusal}."),
            };
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, refusal.code(), detail)
        }
    }
}
